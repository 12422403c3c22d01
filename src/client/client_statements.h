/*
 * The statements that are prepared on one connection: a small table, the least recently used one
 * makes room.
 *
 *     slot = statements_use(s, key, &verdict)
 *     STATEMENTS_PLAIN     send it with its text: it has come for the first time, or is not kept
 *     STATEMENTS_PREPARE   its second time: prepare it under statements_name(slot), then execute
 *     STATEMENTS_READY     execute statements_name(slot)
 *     `evicted`            another one made room: DEALLOCATE that name first
 *
 * Preparing costs a round trip of its own, so what comes only once is not prepared. A statement is
 * known by 128 bits of two keyed hashes over its text and the types of its parameters: no text is
 * kept, and nobody can bring two texts together who does not know the process's keys.
 *
 * Belongs to its connection, so to one thread at a time.
 */
#ifndef HF_CLIENT_CLIENT_STATEMENTS_H
#define HF_CLIENT_CLIENT_STATEMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "holdfast.h"
#include "os/mem.h"

#define STATEMENTS_MAX        64
#define STATEMENTS_NAME_BYTES 16
#define STATEMENTS_NONE       UINT32_MAX

struct statement_key {
    uint64_t a, b;
};

enum statements_verdict {
    STATEMENTS_PLAIN,
    STATEMENTS_PREPARE,
    STATEMENTS_READY,
};

struct statements;

/* NULL: no memory; then nothing is prepared. */
struct statements *statements_new(struct mem *mem);
void statements_free(struct statements *statements, struct mem *mem); /* NULL is allowed */

/* `seed` is the process's secret. */
struct statement_key statement_key_of(uint64_t seed, const char *sql,
                                      const struct hf_params *params);

/* The text that somebody asked last, with its hash: who asks the same again, as most do, pays for a
 * comparison instead of two hashes. All zero: nothing yet. Longer texts are not kept. */
#define STATEMENT_MEMO_BYTES 488

struct statement_memo {
    struct statement_key key; /* of the text alone */
    size_t size;
    char text[STATEMENT_MEMO_BYTES];
};

/* The same key. A memo belongs to one seed. */
struct statement_key statement_key_again(struct statement_memo *memo, uint64_t seed,
                                         const char *sql, const struct hf_params *params);

/* Looks up, and notes the use. With PREPARE `evicted` is a name to DEALLOCATE, or "". */
uint32_t statements_use(struct statements *statements, struct statement_key key,
                        enum statements_verdict *verdict, char evicted[STATEMENTS_NAME_BYTES]);
/* The server has confirmed it. */
void statements_prepared(struct statements *statements, uint32_t slot);
/* It is stale, or could not be prepared: its next use begins anew, under a new name. `is_gone`: the
 * server has nothing of that name. */
void statements_forget(struct statements *statements, uint32_t slot, bool is_gone);
/* DISCARD ALL, DEALLOCATE ALL: nothing is prepared any more. */
void statements_clear(struct statements *statements);

const char *statements_name(const struct statements *statements, uint32_t slot);

#endif
