/*
 * The library's part of holdfast.yml: where the database is, and the options of client/options.h.
 *
 *     library:
 *       profile: api
 *       deadline: 5s
 *       breaker: {open: 2s}
 *       endpoints: {"db1:5432": {zone: a}}
 *       conninfo: application_name=shop        what else libpq shall be told
 *     databases:
 *       shop: {hosts: "db1, db2:5433", user: app, password_file: /run/secrets/app}
 *
 * The file is the same as the proxy's (config/config.h), and so are its rules: values, places of
 * faults, unknown keys. Of an entry of `databases` the library takes what it needs to connect:
 * hosts, dbname, user, password and sslmode; the rest is the proxy's, and `holdfast config check`
 * says what is wrong with it. An entry "*" stands for any database that has none of its own.
 *
 * These files need neither the proxy nor its rows, so that libholdfast can link them without it.
 */
#ifndef HF_CONFIG_LIBRARY_FILE_H
#define HF_CONFIG_LIBRARY_FILE_H

#include "base/err.h"
#include "client/options.h"
#include "config/faults.h"
#include "config/tree.h"
#include "os/mem.h"

/* Reads a file into `config`: its defaults, the profile (`profile` of enum hf_profile, or, where
 * that is 0, the file's), its settings, and its connection string, which is empty if the file has
 * neither databases nor library.conninfo. `database` NULL: the only one.
 * The message of a failure begins with file, line, column and key. */
enum hf_rc library_file_read(struct client_config *config, const char *path, const char *database,
                             int profile, struct mem *mem, struct hf_err *err) HF_MUST_USE;

/* The section `library` alone, for whoever checks the whole file: every fault in it. */
void library_file_section(struct client_config *config, const struct tree_node *library,
                          int profile, const char *folder, struct config_faults *faults);

#endif
