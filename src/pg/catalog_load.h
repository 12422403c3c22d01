/*
 * Asks a server for its catalogue: the driver of sql/catalog.h.
 *
 *     rc = catalog_load(&catalog, &conn, generation, deadline_ns, mem, &err);
 *     ... catalog_judge(catalog, ...) in any thread ...
 *     catalog_drop(catalog, mem);      when nobody looks at it any more
 *
 * Whether loading again would bring anything new is one small question, catalog_state(): two equal
 * answers mean no. So an owner asks that every few seconds, and loads only when it has changed, or
 * when verdicts with VERDICT_IS_UNSEEN come.
 *
 * The four questions are asked one after the other and take some 20 ms on a bare server; what they
 * bring is at most CATALOG_LOAD_SIZE_MAX. The connection must have been opened with
 * CATALOG_LOAD_OPTIONS (libpq's "options"), so that no other search_path can put its operators in
 * the place of the server's.
 *
 * Threads: those of the connection.
 */
#ifndef HF_PG_CATALOG_LOAD_H
#define HF_PG_CATALOG_LOAD_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "os/mem.h"
#include "pg/conn.h"
#include "sql/catalog.h"

#define CATALOG_LOAD_OPTIONS  "-c search_path=pg_catalog -c default_transaction_read_only=on"
#define CATALOG_LOAD_SIZE_MAX ((size_t)64 << 20)

/* On failure `*catalog` is NULL. */
enum hf_rc HF_MUST_USE catalog_load(struct catalog **catalog, struct conn *conn,
                                    uint32_t generation, int64_t deadline_ns, struct mem *mem,
                                    struct hf_err *err);

/* NULL is fine. */
void catalog_drop(struct catalog *catalog, struct mem *mem);

#define CATALOG_STATE_SIZE 512

/* What would differ if the catalogue did. */
enum hf_rc HF_MUST_USE catalog_state(char state[CATALOG_STATE_SIZE], struct conn *conn,
                                     int64_t deadline_ns, struct hf_err *err);

#endif
