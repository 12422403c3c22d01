/*
 * Reply accounting, in two ways; the first byte chooses.
 *
 * With the model of a server, as in the unit test, the bytes being the chance by which client and
 * server act: every verdict must be true (test/unit/replies_trial.h says what that means).
 *
 * With no server at all: the bytes are messages of either side in any order, most of them nonsense.
 * Then: no row is forwarded that no client of this moment asked for, and no more answers than it
 * has requests; violations are the last word; the queue stays within its capacity.
 */
#include <string.h>

#include "base/rng.h"
#include "fuzz.h"

#define TRIAL_CHECK FUZZ_CHECK
#include "../unit/replies_trial.h"

struct bytes_left {
    const uint8_t *data;
    size_t size;
    uint64_t drawn;
};

/* A byte as long as there are any, then numbers that follow from how many there were. */
static uint32_t draw(void *context, uint32_t n)
{
    struct bytes_left *left = context;
    if (left->size == 0)
        return (uint32_t)(rng_hash(7, left->drawn++) % n);
    left->size--;
    return *left->data++ % n;
}

static void run_trial(const uint8_t *data, size_t size)
{
    static struct trial trial;
    struct bytes_left left = {data, size, size};
    trial_init(&trial, draw, &left);
    trial_go(&trial, 100);
}

/* What a client has sent, and what it was forwarded. */
struct ledger {
    uint64_t asked;    /* requests that may give rows, since it was attached */
    uint64_t requests; /* all that owe something */
    uint64_t ended;
};

static void check_verdict(const struct replies *replies, struct ledger *ledger, char type,
                          struct replies_verdict verdict)
{
    if (verdict.action != REPLIES_FORWARD)
        return;
    FUZZ_CHECK(replies->is_attached && verdict.whose != REPLIES_OURS);
    if (type == 'D') {
        FUZZ_CHECK(verdict.kind == REPLIES_QUERY || verdict.kind == REPLIES_EXECUTE);
        FUZZ_CHECK(verdict.whose == REPLIES_CLIENT && ledger->asked > 0);
    }
    /* Syncs in doubt may be answered twice over: by themselves, and as ignored ones. */
    if (verdict.is_last && verdict.kind != REPLIES_SYNC && verdict.whose == REPLIES_CLIENT)
        FUZZ_CHECK(++ledger->ended <= ledger->requests);
}

static void one_send(struct replies *replies, struct ledger *ledger, uint8_t type, uint8_t how)
{
    static const char types[] = "QFPBDECSHXdcf";
    struct replies_request request = {
        .type = types[type % (sizeof types - 1)],
        .target = (how & 4) != 0 ? 'S' : 'P',
        .whose = (enum replies_whose)(how & 3),
        .tag = how >> 5,
    };
    enum replies_sent sent = replies_send(replies, request);
    FUZZ_CHECK(request.whose == REPLIES_OURS || replies->is_attached || sent == REPLIES_REFUSED);
    if (sent != REPLIES_OWED || request.whose != REPLIES_CLIENT)
        return;
    ledger->requests++;
    ledger->asked += request.type == 'Q' || request.type == 'E';
}

static void one_receive(struct replies *replies, struct ledger *ledger, uint8_t which, uint8_t how)
{
    static const char types[] = "123ACDEGHINSTVWZcdnstR?";
    bool was_over = replies_rest(replies) == REPLIES_OVER;
    char type = types[which % (sizeof types - 1)], detail = 0;
    if (type == 'Z')
        detail = "ITE"[how % 3];
    else if (how == 0)
        detail = REPLIES_FATAL;
    struct replies_verdict verdict = both_receive(replies, type, detail);
    FUZZ_CHECK(!was_over || verdict.action == REPLIES_VIOLATION);
    check_verdict(replies, ledger, type, verdict);
}

static void one_attach(struct replies *replies, struct ledger *ledger)
{
    bool is_clean = replies_is_clean(replies) && !replies->is_attached;
    FUZZ_CHECK(replies_attach(replies) == is_clean);
    FUZZ_CHECK(!is_clean || (replies->used == 0 && replies->doubt == 0));
    if (is_clean)
        *ledger = (struct ledger){0};
}

static void take_all(struct replies *replies, bool takes_dropped, bool takes_local)
{
    struct replies_request local;
    struct replies_dropped dropped;
    while (takes_dropped && replies_next_dropped(replies, &dropped))
        FUZZ_CHECK(dropped.count > 0);
    while (takes_local && replies_next_local(replies, &local))
        FUZZ_CHECK(replies->is_attached);
}

static void run_nonsense(const uint8_t *data, size_t size)
{
    struct replies_run runs[6];
    struct replies replies;
    struct ledger ledger = {0};
    replies_init(&replies, runs, 6, 'I');
    for (; size >= 3; data += 3, size -= 3) {
        if (data[0] < 120)
            one_send(&replies, &ledger, data[1], data[2]);
        else if (data[0] < 240)
            one_receive(&replies, &ledger, data[1], data[2]);
        else if (data[0] < 248)
            one_attach(&replies, &ledger);
        else
            replies_detach(&replies);
        take_all(&replies, data[2] % 2 == 0, data[0] % 2 == 0);
        FUZZ_CHECK(replies.used <= replies.capacity && replies.dropped <= replies.used);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 2 == 0)
        run_trial(data + 1, size - 1);
    else
        run_nonsense(data + 1, size - 1);
    return 0;
}
