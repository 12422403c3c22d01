/*
 * What a statement is, for calls that do not say (HF_AUTO), and for what must be known in any case:
 * does it commit parts of itself, does it leave something behind in the session.
 *
 *     key of the text (client/client_statements.h) -> memo: 1024 places, no lock ---------> known
 *                                                '-> under a lock: sql/judge.h: shape, its cache,
 *                                                    PostgreSQL's own parser, the catalogue
 *
 * The memo is by the exact text, so that a statement that comes again costs a look at one place:
 * the 128 bits of its key decide, which nobody can steer who does not know the process's secret.
 * What was learned (a replica said 25006) and what a newer catalogue says replaces what is in it.
 *
 * Any thread.
 */
#ifndef HF_CLIENT_INTENTS_H
#define HF_CLIENT_INTENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "client/client_statements.h"
#include "core/route.h"
#include "os/mem.h"

struct intents;
struct catalog;

struct intent {
    enum route_intent route;
    uint8_t is;      /* enum verdict_class */
    uint32_t traits; /* enum verdict_trait */
};

enum hf_rc HF_MUST_USE intents_new(struct intents **intents, struct mem *mem, uint64_t seed,
                                   struct hf_err *err);
/* NULL is fine. */
void intents_free(struct intents *intents, struct mem *mem);

struct intent intents_of(struct intents *intents, struct statement_key key, const char *sql);

/* A replica refused it as a write. */
void intents_learn(struct intents *intents, struct statement_key key, const char *sql);

/* Another catalogue, or NULL for none: what was judged by the one before is judged anew, and nobody
 * uses that one any more when this returns. */
void intents_renew(struct intents *intents, const struct catalog *catalog);
/* A statement used a name that nobody knows: true once after each. */
bool intents_take_wish(struct intents *intents);

/* It changes what the next user of the connection would find: settings, temporary tables, LISTEN,
 * prepared statements, locks of the session. */
bool intent_leaves_traces(const struct intent *intent);

#endif
