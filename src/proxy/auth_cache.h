/*
 * What auth_query has answered: secrets of users that auth_file does not name, kept for a while.
 *
 *     login, any worker                                    who asks (auth_ask.h), one thread
 *     auth_cache_get() -- AUTH_KNOWN: a secret, or none
 *                      -- AUTH_WAIT --- queued, once ----> auth_cache_next()
 *                                                          ... asks the server ...
 *     woken, gets again <------- by the mask ------------- auth_cache_answer() or _fail()
 *
 * An answer's life, the same for a secret and for "there is none" (which lives a third as long):
 *
 *     answered      ttl or VALID UNTIL                          + stale
 *        |-------------------|---------------------------------------|-------------> time
 *          counts              asked again; counts while nobody can    asked again; nothing counts
 *                              be asked, but never after VALID UNTIL
 *
 * A place is where and as whom it is asked, and by which query: databases that share all of it
 * share answers. A secret outlives its entry for whoever holds it: keys that a client has shown are
 * beside it (users.h), and enter servers.
 *
 * Invariants
 *  1. However many ask for a user, he is asked for once at a time.
 *  2. No more than AUTH_USERS_MAX users are known or asked for. The one unused for longest makes
 *     room; first those that are none, so that made-up names do not drive out real ones.
 *  3. No more than AUTH_ASKED_MAX wait to be asked for: the next one is refused.
 *  4. A wrong password makes the answer old, at most once in AUTH_DOUBT_NS: so a password that was
 *     changed works at the next try, and guessing asks a question in that time and not more.
 *
 * Any thread may call everything; the lock is held for lookups in memory only.
 */
#ifndef HF_PROXY_AUTH_CACHE_H
#define HF_PROXY_AUTH_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ns.h"
#include "base/sv.h"
#include "os/mem.h"
#include "proxy/proxy_config.h"
#include "proxy/users.h"

#define AUTH_USERS_MAX  20000
#define AUTH_PLACES_MAX (2 * PROXY_DATABASES_MAX)
#define AUTH_ASKED_MAX  1000
#define AUTH_DOUBT_NS   HF_MS(200)
#define AUTH_PAUSE_NS   HF_MS(500) /* after a failure, before a user is asked for again */

struct auth_cache;

/* A secret and what was learned of it; shared by whoever holds it. */
struct auth_secret;

/* Where is asked. */
struct auth_place {
    char entry[PROXY_NAME_SIZE];  /* of databases, whose servers are asked */
    char dbname[PROXY_NAME_SIZE]; /* at these servers */
    char user[PROXY_NAME_SIZE];   /* who asks */
    char query[PROXY_LIST_SIZE];
};

/* For how long answers count. */
struct auth_times {
    int64_t ttl_ns;
    int64_t stale_ns;
};

/* A user who is to be asked for. */
struct auth_question {
    const struct auth_place *place; /* lives as long as the cache */
    char user[PROXY_NAME_SIZE];
    uint32_t index; /* private */
};

/* Why there is no secret. */
enum auth_nothing {
    AUTH_NO_USER,   /* no row */
    AUTH_NO_SECRET, /* NULL: none, or one that has expired */
};

enum auth_answer {
    AUTH_KNOWN,  /* see struct auth_found */
    AUTH_WAIT,   /* the worker will be woken: get again */
    AUTH_FAILED, /* err: cannot be asked for now */
};

struct auth_found {
    struct auth_secret *secret; /* held; NULL: there is none */
    enum auth_nothing nothing;
    bool is_stale; /* nobody could be asked */
    bool must_ask; /* with AUTH_WAIT: the question is new, and whoever asks has to be told */
};

/* `seed` is for hashing. */
enum hf_rc auth_cache_new(struct auth_cache **cache, const struct auth_times *times, uint64_t seed,
                          struct mem *mem, struct hf_err *err) HF_MUST_USE;
/* NULL is allowed. Nobody waits any more. */
void auth_cache_free(struct auth_cache *cache);

/* Takes over answers of `before`, with what is left of their time, and what was learned. */
void auth_cache_adopt(struct auth_cache *cache, struct auth_cache *before, int64_t now_ns);

/* A login that needs a user's secret. */
struct auth_wish {
    const struct auth_place *place;
    struct sv user;
    uint32_t worker;  /* that is woken if it is to WAIT */
    int64_t asked_ns; /* when it was told AUTH_WAIT first; 0: never. An answer that came after that
                       * counts for it, even if its time is over already */
};

enum auth_answer auth_cache_get(struct auth_cache *cache, const struct auth_wish *wish,
                                int64_t now_ns, struct auth_found *found, struct hf_err *err);

/* The secret for entering a server as this user, however old the answer is; held, or NULL. */
struct auth_secret *auth_cache_peek(struct auth_cache *cache, const struct auth_place *place,
                                    struct sv user);

/* The secret did not fit: from now on it is asked for again. */
void auth_cache_doubt(struct auth_cache *cache, const struct auth_place *place, struct sv user,
                      int64_t now_ns);

/* ---- for who asks ---- */

/* The next question; false: there is none. It has to be answered, or to fail. */
bool auth_cache_next(struct auth_cache *cache, struct auth_question *question);

/* Is an answer there that may still count? Then who cannot ask need not let anybody wait. */
bool auth_cache_has_stale(struct auth_cache *cache, const struct auth_question *question,
                          int64_t now_ns);

/* A secret, valid until `valid_ns` (HF_NEVER), or none (`secret` has NULL data). Both give the
 * workers that are to be woken, a bit for each. */
uint64_t auth_cache_answer(struct auth_cache *cache, const struct auth_question *question,
                           struct sv secret, enum auth_nothing nothing, int64_t valid_ns,
                           int64_t now_ns);
uint64_t auth_cache_fail(struct auth_cache *cache, const struct auth_question *question,
                         const struct hf_err *err, int64_t now_ns);

/* ---- secrets ---- */

struct user *auth_secret_user(struct auth_secret *secret);
/* NULL is allowed; the last one wipes it. */
void auth_secret_drop(struct auth_secret *secret);

#endif
