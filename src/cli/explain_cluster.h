/*
 * The part of holdfast explain that speaks of servers: loads the catalogue from one, watches all of
 * them until each was asked once, and says where a statement would go and why not elsewhere.
 */
#ifndef HF_CLI_EXPLAIN_CLUSTER_H
#define HF_CLI_EXPLAIN_CLUSTER_H

#include "base/err.h"
#include "core/route.h"
#include "os/mem.h"
#include "sql/catalog.h"

/* The catalogue of the first server of `url` that answers; catalog_drop() it. */
enum hf_rc HF_MUST_USE explain_load_catalog(struct catalog **catalog, const char *url,
                                            struct mem *mem, struct hf_err *err);

/* Prints where `request` would run now, and each server with its role and what leaves it out.
 * Replicas that the primary names are looked at too. */
enum hf_rc HF_MUST_USE explain_print_cluster(const char *url, const struct route_request *request,
                                             struct mem *mem, struct hf_err *err);

#endif
