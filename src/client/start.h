/*
 * hf_open() waits for a database that is still coming up: until a server has let the watcher in, or
 * until it is clear that none ever will (password, database name, an option of the connection).
 */
#ifndef HF_CLIENT_START_H
#define HF_CLIENT_START_H

#include <stdint.h>

#include "client/db.h"

int start_wait(struct hf_db *db, int64_t start_ns, const struct hf_hooks *hooks,
               struct hf_error *err);

#endif
