/*
 * Opening and closing a database, from options that have been read.
 *
 * hf_open() and hf_open_with() are thin: they make a client_config of what they are given (from a
 * file as well, client/options.h) and call db_open().
 */
#ifndef HF_CLIENT_OPEN_H
#define HF_CLIENT_OPEN_H

#include "client/db.h"

/* `config` has passed options_check(). Waits for the first server as config->start_ns says. */
int db_open(struct hf_db **db, const struct client_config *config, const struct hf_hooks *hooks,
            struct hf_error *err);

#endif
