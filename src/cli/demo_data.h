/*
 * What is in the demo's servers: data folders by initdb and base backup, roles, tables, slots.
 */
#ifndef HF_CLI_DEMO_DATA_H
#define HF_CLI_DEMO_DATA_H

#include <stdbool.h>

#include "base/err.h"
#include "base/secret.h"
#include "cli/demo_server.h"
#include "pg/conn.h"

/* The primary's data folder, empty but for what initdb makes. */
enum hf_rc HF_MUST_USE demo_data_init(const struct demo_place *place,
                                      const struct demo_server *primary, struct hf_err *err);

/* A replica's, copied from the running primary. */
enum hf_rc HF_MUST_USE demo_data_copy(const struct demo_place *place,
                                      const struct demo_server *primary,
                                      const struct demo_server *replica, struct hf_err *err);

/* Roles, database and tables, unless an earlier start has finished making them; and the password,
 * if it is new. */
enum hf_rc HF_MUST_USE demo_data_fill(const struct demo_place *place,
                                      const struct demo_server *primary,
                                      const struct secret *password, bool is_new_password,
                                      struct hf_err *err);

/* True until demo_data_fill() has done its work once. */
bool demo_data_is_bare(const struct demo_place *place);

/* The slot on the primary that keeps WAL for a replica of this name, unless it is there. */
enum hf_rc HF_MUST_USE demo_data_make_slot(struct conn *primary, const char *name,
                                           struct hf_err *err);

#endif
