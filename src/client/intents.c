#include "client/intents.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "sql/judge.h"
#include "sql/verdict.h"

#define MEMO_PLACES 1024 /* a power of two */
#define SHAPES_KEPT 512

/* Three words without a lock: who reads while somebody writes sees words that do not belong
 * together, and then `b_mixed` does not come out as the key's second half. A verdict of zero is
 * nobody's. */
struct memo {
    _Atomic uint64_t a;
    _Atomic uint64_t b_mixed; /* b ^ verdict */
    _Atomic uint64_t verdict;
};

struct intents {
    struct memo memos[MEMO_PLACES];
    pthread_mutex_t lock; /* over the judge */
    struct judge *judge;
    _Atomic bool wants_catalog;
};

#define VERDICT_KNOWN (UINT64_C(1) << 63)

/* The process's statements are its own: what PostgreSQL reads with another encoding or with
 * backslashes in plain strings is not asked for here. */
static const struct lex_rules rules = {.backslash_escapes = false};

static uint64_t pack(const struct intent *intent)
{
    return VERDICT_KNOWN | (uint64_t)intent->route << 48 | (uint64_t)intent->is << 40 |
           intent->traits;
}

static struct intent unpack(uint64_t packed)
{
    return (struct intent){
        .route = (enum route_intent)(packed >> 48 & 0xff),
        .is = (uint8_t)(packed >> 40 & 0xff),
        .traits = (uint32_t)packed,
    };
}

static struct memo *memo_of(struct intents *intents, struct statement_key key)
{
    return &intents->memos[key.a % MEMO_PLACES];
}

static void remember(struct intents *intents, struct statement_key key, const struct intent *intent)
{
    struct memo *memo = memo_of(intents, key);
    uint64_t packed = pack(intent);
    atomic_store_explicit(&memo->a, key.a, memory_order_relaxed);
    atomic_store_explicit(&memo->b_mixed, key.b ^ packed, memory_order_relaxed);
    atomic_store_explicit(&memo->verdict, packed, memory_order_relaxed);
}

/* Where the words are of two keys, a ^ b ^ verdict of one would have to meet those of the other by
 * chance: 2^-64. */
static bool recall(struct intents *intents, struct statement_key key, struct intent *out)
{
    struct memo *memo = memo_of(intents, key);
    uint64_t packed = atomic_load_explicit(&memo->verdict, memory_order_relaxed);
    if ((packed & VERDICT_KNOWN) == 0 ||
        atomic_load_explicit(&memo->a, memory_order_relaxed) != key.a ||
        (atomic_load_explicit(&memo->b_mixed, memory_order_relaxed) ^ packed) != key.b)
        return false;
    *out = unpack(packed);
    return true;
}

enum hf_rc intents_new(struct intents **out, struct mem *mem, uint64_t seed, struct hf_err *err)
{
    *out = NULL;
    struct intents *intents = mem_alloc(mem, sizeof *intents);
    if (intents == NULL)
        return mem_refused(mem, sizeof *intents, err);
    void *room = mem_alloc(mem, judge_size(SHAPES_KEPT));
    if (room == NULL) {
        mem_free(mem, intents);
        return mem_refused(mem, judge_size(SHAPES_KEPT), err);
    }
    pthread_mutex_init(&intents->lock, NULL);
    intents->judge = judge_init(room, SHAPES_KEPT, seed, NULL, NULL);
    *out = intents;
    return HF_OK;
}

void intents_free(struct intents *intents, struct mem *mem)
{
    if (intents == NULL)
        return;
    pthread_mutex_destroy(&intents->lock);
    mem_free(mem, intents->judge);
    mem_free(mem, intents);
}

static struct intent judge(struct intents *intents, const char *sql)
{
    const struct verdict *verdict =
        judge_statement(intents->judge, sv_from(sql, strlen(sql)), &rules);
    if ((verdict->traits & VERDICT_IS_UNSEEN) != 0)
        atomic_store_explicit(&intents->wants_catalog, true, memory_order_relaxed);
    return (struct intent){
        .route = verdict_intent(verdict), .is = verdict->is, .traits = verdict->traits};
}

struct intent intents_of(struct intents *intents, struct statement_key key, const char *sql)
{
    struct intent intent;
    if (recall(intents, key, &intent))
        return intent;
    pthread_mutex_lock(&intents->lock);
    intent = judge(intents, sql);
    remember(intents, key, &intent);
    pthread_mutex_unlock(&intents->lock);
    return intent;
}

void intents_learn(struct intents *intents, struct statement_key key, const char *sql)
{
    pthread_mutex_lock(&intents->lock);
    judge_learn(intents->judge, sv_from(sql, strlen(sql)), &rules);
    struct intent intent = judge(intents, sql);
    remember(intents, key, &intent);
    pthread_mutex_unlock(&intents->lock);
}

void intents_renew(struct intents *intents, const struct catalog *catalog)
{
    pthread_mutex_lock(&intents->lock);
    judge_renew(intents->judge, catalog);
    for (size_t i = 0; i < MEMO_PLACES; i++)
        atomic_store_explicit(&intents->memos[i].verdict, 0, memory_order_relaxed);
    pthread_mutex_unlock(&intents->lock);
}

bool intents_take_wish(struct intents *intents)
{
    return atomic_load_explicit(&intents->wants_catalog, memory_order_relaxed) &&
           atomic_exchange(&intents->wants_catalog, false);
}

bool intent_leaves_traces(const struct intent *intent)
{
    return (intent->traits &
            (VERDICT_SETS | VERDICT_SETS_ROLE | VERDICT_PREPARES | VERDICT_LISTENS |
             VERDICT_ADVISORY | VERDICT_HOLDS_CURSOR | VERDICT_HAS_TEMPORARY)) != 0;
}
