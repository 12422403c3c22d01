/*
 * A pipeline of one statement: how a single write is sent whose outcome shall be found out should
 * its answer be lost. In a packet of its own with BEGIN, the probe and COMMIT around it
 * (client/tx.h).
 */
#ifndef HF_CLIENT_PIPELINE_H
#define HF_CLIENT_PIPELINE_H

#include "core/snapshot.h"
#include "holdfast.h"

struct pg_result;

struct pipeline_answer {
    struct pg_result *result; /* the caller's */
    char endpoint[SNAPSHOT_NAME_BYTES];
};

int pipeline_one(struct hf_db *db, const char *sql, const struct hf_params *params,
                 const struct hf_call_options *options, struct pipeline_answer *answer,
                 struct hf_error *err);

#endif
