/*
 * What the tests of transactions have in common: servers, a line that breaks, a database opened
 * through it, and checks that say what they found.
 */
#ifndef HF_TEST_CLIENT_TX_RIG_H
#define HF_TEST_CLIENT_TX_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "holdfast.h"
#include "pg_rig.h"
#include "wire_cutter.h"

/* The servers of the whole program, and a cutter in front of the first. */
struct tx_rig {
    struct rig servers;
    struct cutter *cutter;
};

void tx_rig_begin(struct tx_rig *rig, size_t standbys);
void tx_rig_end(struct tx_rig *rig);

/* A database over the cutter (and the standbys directly), an empty table t(id int primary key, v
 * int) in it. `options` may be NULL; its conninfo is set here. */
struct hf_db *tx_rig_open(struct tx_rig *rig, const struct hf_options *options);

/* Fails the test with the error's own words. */
#define assert_ok(code, err) tx_rig_assert_ok((code), (err), __FILE__, __LINE__)
void tx_rig_assert_ok(int code, const struct hf_error *err, const char *file, int line);
#define assert_code(code, wanted, err)                                                             \
    tx_rig_assert_code((code), (wanted), (err), __FILE__, __LINE__)
void tx_rig_assert_code(int code, int wanted, const struct hf_error *err, const char *file,
                        int line);

/* Rows in t, as the server itself sees it. */
long tx_rig_count(const struct rig_server *server);

int64_t tx_rig_ms(void); /* a clock */

#endif
