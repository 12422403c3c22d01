/*
 * What a PostgreSQL server is, at a glance: version, role, replicas and their lag, the settings
 * that decide what survives a crash. Read by one connection, printed to stdout.
 */
#ifndef HF_CLI_SERVER_FACTS_H
#define HF_CLI_SERVER_FACTS_H

#include "base/err.h"
#include "pg/conn.h"

enum hf_rc HF_MUST_USE server_facts_print(struct conn *conn, struct hf_err *err);

#endif
