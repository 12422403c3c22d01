/*
 * Token: a session's promise as a short text, to be handed to another process, another machine, a
 * browser's cookie.
 *
 * Whoever wrote gets a token; whoever reads with the token sees that write, through any replica
 * that has replayed it, wherever the reader runs.
 *
 *     h1.6b01c3a5d1f0a2c1.2.3000148.c8d69d40
 *      |         |        |    |       '-- checksum over all that stands before it
 *      |         |        |    '-- WAL position, all hexadecimal without leading zeros
 *      |         |        '-- its timeline
 *      |         '-- system identifier: of which cluster the position is
 *      '-- version
 *
 * What is not in it is a time. Inside one process a promise may be a mere time ("my write was
 * acknowledged at t", route.h), since one monotonic clock orders the write and the watcher's
 * questions. That clock means nothing elsewhere. So before it becomes a token, a promise that holds
 * only a time is settled: replaced by a position that surely contains the write.
 *
 *     token_settle(&promise, view)      a position that the primary was asked for after the write
 *         -> true:  promise.lsn and promise.timeline are known; write the token
 *         -> false: nobody has asked the primary since. Try again with the next snapshot
 *                   (snapshot_next_ns), at most a sampling interval away; a caller in a hurry asks
 *                   the primary itself for pg_current_wal_insert_lsn()
 *
 * A routed read that met the promise hands out such a position too: route_decision.promise_lsn.
 *
 * Reading gives a promise with the token's position and, as its time, the moment of reading: the
 * write was acknowledged before its token got here, so a position asked for from now on contains it
 * as well. Either is enough. That costs nothing, and helps where the primary has changed since: the
 * positions of a new timeline may not reach the token's for long.
 *
 * A token proves nothing and protects nothing: the checksum finds damage (cut, mistyped, mixed with
 * another), not forgery. The worst that a forged one can do is to send its bearer's own reads to
 * the primary, which he could ask for anyway.
 *
 * Invariants
 *  1. One promise has one token: equal tokens are equal texts, and reading accepts no other
 *     spelling.
 *  2. Reading is total: any bytes give a promise or an error, and never read past their end.
 *  3. A token never promises less than the promise it was made of.
 *
 * Pure functions; nothing is shared.
 */
#ifndef HF_CORE_TOKEN_H
#define HF_CORE_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"
#include "core/route.h"
#include "core/snapshot.h"

#define TOKEN_BYTES 55 /* the longest, with its NUL: h1. 16 . 8 . 16 . 8 */

/* Gives the promise a position if it has none, by what the view's primary was asked for since. True
 * if it now has one, or promises nothing at all. */
bool token_settle(struct route_promise *promise, const struct snapshot *view);

/* Writes the token of a settled promise: one that promises nothing gives a token that promises
 * nothing. `system_id` 0: not known, then readers cannot tell another cluster's token from theirs.
 * Fails (HF_RC_AGAIN) if the promise holds a time and no position. */
HF_MUST_USE enum hf_rc token_write(const struct route_promise *promise, uint64_t system_id,
                                   char out[TOKEN_BYTES], struct hf_err *err);

/* Reads a token; blanks around it are allowed. `now_ns` is the reader's clock, read when the token
 * was in hand. Fails (HF_RC_INVALID) if it is none, or is of another cluster than `system_id`; 0 on
 * either side matches any. `promise` is then left as it was. */
HF_MUST_USE enum hf_rc token_read(struct sv text, uint64_t system_id, int64_t now_ns,
                                  struct route_promise *promise, struct hf_err *err);

/* What a session may rely on after two promises, say its own and a token's: both. `now_ns` stands
 * in for a time that one of them does not know: whatever was promised was acknowledged by now. */
struct route_promise token_join(const struct route_promise *a, const struct route_promise *b,
                                int64_t now_ns);

#endif
