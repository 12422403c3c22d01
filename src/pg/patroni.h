/*
 * Patroni's REST endpoint, as far as it tells where the servers are: GET /cluster.
 *
 *     {"members": [{"name": "a", "role": "leader", "state": "running", "host": "10.0.0.1",
 *                   "port": 5432, "timeline": 3}, ...], "scope": "demo"}
 *
 * Only addresses are taken from it. Who is the primary is asked of the servers themselves, who know
 * it sooner and better than a document that was made some time ago.
 *
 * Plain HTTP/1.0, one request for each connection, an answer of PATRONI_BYTES_MAX at most. HTTPS is
 * not spoken: an endpoint that is behind TLS, or asks for client certificates, cannot be used.
 */
#ifndef HF_PG_PATRONI_H
#define HF_PG_PATRONI_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "pg/errand.h"

#define PATRONI_BYTES_MAX ((size_t)64 * 1024)

/* Asks, one after the other, the URLs that commas separate, until one answers; 2 s for each. Ends
 * soon after `*is_stopping`. Fills rc, err, count and places of the answer; so does the next one.
 */
void patroni_ask(const char *urls, const _Atomic bool *is_stopping, struct errand_answer *answer);

/* The members in the body of an answer. A member without host or port is left out, as one that has
 * never started has none. */
enum hf_rc patroni_read(const char *body, size_t size, struct errand_answer *answer);

#endif
