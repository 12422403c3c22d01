/*
 * The options of the library: one row for each, and what they mean to the deciders.
 *
 *     struct hf_options (public, ms, 0 is the default) --options_apply()-------.
 *     struct hf_guard_options                          --options_for_guard()---+--> struct
 *     library: of holdfast.yml (text)                  --opt_set()-------------'    client_config
 *                                                                                     |
 *          breaker_config, bulkhead_config, retry_config, budget_config, <--options_breaker() ...
 *          route_policy, guard_config
 *
 * Each option is declared once, in option_rows.c: its key, range, default and sentence, its field
 * here and its field in the public structs. The reference (docs/reference/library.md), the reading
 * of the file, the checks and their messages come out of the rows.
 *
 * PRECEDENCE, weakest first: default, profile, file, fields of the public struct.
 *
 *     without a file   options_for_database(&config, options, err)
 *     with one         options_defaults(&config, OPTIONS_DATABASE)
 *                      options_profile(&config, options->profile, or else the file's, err)
 *                      the file's keys: opt_set() by options_section_find()
 *                      options_apply(&config, options, err)     the public fields that are not 0
 *                      options_check(&config, err)              what makes no sense together
 *
 * Messages name the field as the caller wrote it ("options.pool.size_min"), its value, and what was
 * expected. No secret is ever in one.
 *
 * Plain data and plain functions; any thread may read a config that nobody changes.
 */
#ifndef HF_CLIENT_OPTIONS_H
#define HF_CLIENT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/opt.h"
#include "core/breaker_mt.h"
#include "core/budget.h"
#include "core/bulkhead.h"
#include "core/guard.h"
#include "core/retry.h"
#include "core/route.h"
#include "core/snapshot.h"

struct hf_options;
struct hf_guard_options;
struct hf_call_options;

#define CLIENT_NAME_BYTES    SNAPSHOT_NAME_BYTES
#define CLIENT_CONNINFO_SIZE 4096

enum client_trip {
    CLIENT_TRIP_EITHER, /* whichever comes first */
    CLIENT_TRIP_CONSECUTIVE,
    CLIENT_TRIP_RATE,
};

struct client_pool_config {
    uint32_t size_max;
    uint32_t size_min;
    uint32_t idle_max;
    int64_t lifetime_ns;    /* HF_NEVER: no limit */
    int64_t idle_ns;        /* HF_NEVER: no limit */
    int64_t check_after_ns; /* HF_NEVER: not looked at */
    int64_t connect_timeout_ns;
};

struct client_breaker_config {
    enum client_trip trip;
    uint32_t failure_threshold;
    uint32_t failure_rate_ppm;
    uint32_t calls_min;
    int64_t window_ns;
    int64_t slow_ns;
    uint32_t slow_rate_ppm; /* 0: slow calls are not watched */
    uint32_t half_open_calls;
    uint32_t success_threshold;
    int64_t open_ns;
    int64_t open_ns_max;
    bool is_disabled;
    bool is_monitor;
};

struct client_bulkhead_config {
    uint32_t concurrent_max; /* 0: the size of the pool */
    uint32_t queue_max;
    int64_t wait_ns;
    int64_t execution_ns; /* HF_NEVER: no limit */
    bool is_adaptive;
};

struct client_retry_config {
    uint32_t attempts_max;
    int64_t initial_ns;
    int64_t cap_ns;
    uint32_t budget_ppm; /* 0: unbounded */
};

struct client_cache_config {
    int64_t bytes_max; /* 0: no cache */
    int64_t ttl_ns;
    int64_t stale_ns; /* after which it is fit for nothing */
};

struct client_route_config {
    enum route_consistency consistency;
    int64_t staleness_ns;
    int64_t lag_ns_max; /* HF_NEVER: no limit */
    enum route_balance balance;
    enum route_primary_reads primary_reads;
    int64_t interval_ns;
    char zone[CLIENT_NAME_BYTES];
    char patroni[256];
    bool follow_replicas;
};

struct client_endpoint_config {
    char name[CLIENT_NAME_BYTES];
    char zone[CLIENT_NAME_BYTES];
    uint32_t priority;
    uint32_t weight;
    uint32_t concurrent_max; /* 0: as bulkhead.concurrent_max */
};

struct client_config {
    /* A connection string as libpq takes it. Holds secrets: wipe it. */
    char conninfo[CLIENT_CONNINFO_SIZE];
    int64_t deadline_ns;
    int64_t start_ns; /* 0: hf_open() does not wait */
    int64_t resolve_ns;
    int64_t hold_ns;    /* 0: refused at once */
    int64_t memory_max; /* bytes; 0: no limit */
    int64_t slow_ns;    /* HF_NEVER: no call is */
    struct client_pool_config pool;
    struct client_breaker_config breaker;
    struct client_bulkhead_config bulkhead;
    struct client_retry_config retry;
    struct client_retry_config tx_retry;
    struct client_cache_config cache;
    struct client_route_config route;
    struct client_endpoint_config endpoints[SNAPSHOT_ENDPOINTS_MAX];
    size_t endpoint_count;
};

/* What the options are for: a database's defaults differ from those of a function that is guarded,
 * behind which no watcher looks and no pool stands. */
enum options_use {
    OPTIONS_DATABASE,
    OPTIONS_GUARD,
};

void options_defaults(struct client_config *config, enum options_use use);

/* Sets what the profile (enum hf_profile) says; fails if there is none of that number. */
enum hf_rc options_profile(struct client_config *config, int profile,
                           struct hf_err *err) HF_MUST_USE;
const char *options_profile_name(int profile); /* "api"; NULL beyond the last */
/* The profile of that name, or -1. */
int options_profile_find(struct sv name);

/* The public struct. Strings are copied. */
enum hf_rc options_apply(struct client_config *config, const struct hf_options *options,
                         struct hf_err *err) HF_MUST_USE;

/* What each option allows, but not all of them together. */
enum hf_rc options_check(const struct client_config *config, struct hf_err *err) HF_MUST_USE;

/* All of the above without a file; `options` may be NULL. */
enum hf_rc options_for_database(struct client_config *config, const struct hf_options *options,
                                struct hf_err *err) HF_MUST_USE;
enum hf_rc options_for_guard(struct client_config *config, const struct hf_guard_options *options,
                             struct hf_err *err) HF_MUST_USE;

/* Fields of a call that no row is for: enumerators and times out of their range. NULL is fine. */
enum hf_rc options_check_call(const struct hf_call_options *options,
                              struct hf_err *err) HF_MUST_USE;

/* Overwrites the connection string. */
void options_wipe(struct client_config *config);

/* ---- text: sections of the file ---- */

/* "", "pool", "breaker", "bulkhead", "retry", "tx_retry", "cache", "route", "endpoints": a table of
 * rows each. The rows of "endpoints" are for one struct client_endpoint_config. */
struct options_section {
    const char *name;
    const char *sentence;
    struct opt_table table;
    const struct option_mate *mates; /* of the same count: the fields in the public structs */
    size_t offset;                   /* of the section in struct client_config */
    size_t public_offset;            /* and in struct hf_options */
    bool is_endpoint;                /* its rows are for one struct client_endpoint_config */
};

size_t options_section_count(void);
const struct options_section *options_section_at(size_t index);
const struct options_section *options_section_find(struct sv name);

/* How a public field is read. */
enum option_unit {
    OPTION_COUNT,   /* as it is */
    OPTION_MS,      /* milliseconds */
    OPTION_PERCENT, /* whole per cents */
    OPTION_ENUM,    /* the public enumerators, which may have a first one for "default" */
    OPTION_BOOL,    /* true; false is the default */
    OPTION_TEXT,    /* NULL is the default */
};

/* Where a row's option stands in the public struct of its section. */
struct option_mate {
    const char *field; /* "lifetime_ms" */
    enum option_unit unit;
    size_t offset;
    size_t size;
    bool has_none; /* a negative number means `none`, in the unit of the row */
    int64_t none;
    int32_t enum_first; /* OPTION_ENUM: the public number of the row's first name */
};

/* The endpoint of that name, added if there is none; NULL if there is no room. */
struct client_endpoint_config *options_endpoint(struct client_config *config, struct sv name,
                                                struct hf_err *err);

/* What an option is set to in a profile (HF_PROFILE_DEFAULT: its default), as text. */
const char *options_text(enum options_use use, const struct options_section *section,
                         const struct opt_row *row, int profile);

/* ---- for the deciders ---- */

/* One that is_disabled is to be told so by breaker_force() once it is made. */
void options_breaker(const struct client_config *config, struct breaker_config *out);
/* `concurrent_max` 0: the configuration's. Never more than the pool has connections. */
void options_bulkhead(const struct client_config *config, uint32_t concurrent_max,
                      struct bulkhead_config *out);
/* Into a ready policy (core/retry.h), whose kinds keep their differences. */
void options_retry(const struct client_retry_config *config, struct retry_config *policy);
/* False: retries are not budgeted. */
bool options_budget(const struct client_retry_config *config, struct budget_config *out);
void options_policy(const struct client_config *config, struct route_policy *out);
/* The guard's, with `retry` or `tx_retry` in it; the ladder is the caller's to set. */
void options_guard(const struct client_config *config, const struct client_retry_config *retry,
                   struct guard_config *out);

#endif
