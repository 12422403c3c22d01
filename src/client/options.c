/*
 * Reading the public structs by the rows, and turning the result into what the deciders take.
 *
 * The public structs count in milliseconds and whole per cents, with 0 for "the default"; inside
 * everything is in the units of the rows. So a public number is converted first and then held
 * against the row's range, and the message shows it as the caller wrote it.
 */
#include "client/options.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "base/ns.h"
#include "base/units.h"
#include "client/options_int.h"
#include "holdfast.h"

#define TEXT_MAX 384 /* of a path or a range in a message */

/* ---- defaults and profiles ---- */

/* Texts of the tables: what one of them says wrongly is a bug, which a test finds. */
static void set_known(struct client_config *config, const struct option_change *change)
{
    const struct options_section *section = options_section_find(sv_from_cstr(change->section));
    hf_assert(section != NULL);
    const enum hf_rc rc = opt_set(&section->table, (char *)config + section->offset,
                                  sv_from_cstr(change->key), sv_from_cstr(change->text), NULL);
    hf_assert(rc == HF_OK);
}

static void set_all(struct client_config *config, const struct option_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++)
        set_known(config, &changes->list[i]);
}

void options_defaults(struct client_config *config, enum options_use use)
{
    memset(config, 0, sizeof *config);
    for (size_t i = 0; i < options_section_count(); i++) {
        const struct options_section *section = options_section_at(i);
        if (!section->is_endpoint)
            opt_defaults(&section->table, (char *)config + section->offset);
    }
    if (use == OPTIONS_GUARD)
        set_all(config, options_changes_for_guard());
}

enum hf_rc options_profile(struct client_config *config, int profile, struct hf_err *err)
{
    const struct option_changes *changes = options_changes(profile);
    if (changes == NULL) {
        err_set(err, HF_RC_INVALID, "22023", "options.profile is %d, which is no profile", profile);
        return err_hint(err, "See enum hf_profile.");
    }
    set_all(config, changes);
    return HF_OK;
}

const char *options_profile_name(int profile)
{
    const struct option_changes *changes = options_changes(profile);
    return changes != NULL ? changes->name : NULL;
}

int options_profile_find(struct sv name)
{
    for (int i = 0; options_changes(i) != NULL; i++)
        if (sv_eq(name, sv_from_cstr(options_changes(i)->name)))
            return i;
    return -1;
}

static const char *changed_text(const struct option_changes *changes, const char *section,
                                const char *key)
{
    for (size_t i = 0; i < changes->count; i++)
        if (strcmp(changes->list[i].section, section) == 0 &&
            strcmp(changes->list[i].key, key) == 0)
            return changes->list[i].text;
    return NULL;
}

const char *options_text(enum options_use use, const struct options_section *section,
                         const struct opt_row *row, int profile)
{
    const struct option_changes *changes = options_changes(profile);
    hf_assert(changes != NULL);
    const char *text = changed_text(changes, section->name, row->key);
    if (text == NULL && use == OPTIONS_GUARD)
        text = changed_text(options_changes_for_guard(), section->name, row->key);
    return text != NULL ? text : row->default_text;
}

/* ---- one public field ---- */

/* Where a field stands, for messages: "options.pool" and "size_max". */
struct place {
    const char *path;
    const struct opt_row *row;
    const struct option_mate *mate;
};

static enum hf_rc refuse_number(const struct place *place, int64_t number, struct hf_err *err)
{
    const struct opt_row *row = place->row;
    char low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX];
    err_set(err, HF_RC_INVALID, "22023", "%s.%s is %lld, and %s to %s%s%s was expected",
            place->path, place->mate->field, (long long)number,
            opt_print_number(row->type, row->min, low), opt_print_number(row->type, row->max, high),
            row->unit != NULL ? " " : "", row->unit != NULL ? row->unit : "");
    return err_detail(err, "0 is the default, %s%s.", row->default_text,
                      place->mate->has_none ? "; a negative number is none" : "");
}

static enum hf_rc refuse_enum(const struct place *place, int64_t number, struct hf_err *err)
{
    int64_t count = 0;
    while (place->row->names[count] != NULL)
        count++;
    return err_set(err, HF_RC_INVALID, "22023", "%s.%s is %lld, and 0 to %lld was expected",
                   place->path, place->mate->field, (long long)number,
                   (long long)(place->mate->enum_first + count - 1));
}

static int64_t read_number(const void *field, size_t size)
{
    if (size == sizeof(int64_t)) {
        int64_t number;
        memcpy(&number, field, sizeof number);
        return number;
    }
    int32_t number;
    hf_assert(size == sizeof number);
    memcpy(&number, field, sizeof number);
    return number;
}

static void write_number(void *field, size_t size, int64_t number)
{
    if (size == sizeof number) {
        memcpy(field, &number, sizeof number);
        return;
    }
    const uint32_t narrow = (uint32_t)number; /* the row's range fits its field: opt_check() */
    hf_assert(size == sizeof narrow);
    memcpy(field, &narrow, sizeof narrow);
}

static enum hf_rc apply_number(const struct place *place, void *config, const void *options,
                               struct hf_err *err)
{
    const struct option_mate *mate = place->mate;
    const struct opt_row *row = place->row;
    const int64_t number = read_number((const char *)options + mate->offset, mate->size);
    const int64_t unit = mate->unit == OPTION_MS        ? HF_MS(1)
                         : mate->unit == OPTION_PERCENT ? UNITS_PERCENT_PPM
                                                        : 1;
    int64_t value = mate->none;
    if (number == 0)
        return HF_OK;
    if (number > 0) {
        if (number > INT64_MAX / unit || number * unit < row->min || number * unit > row->max)
            return refuse_number(place, number, err);
        value = number * unit;
    } else if (!mate->has_none) {
        return refuse_number(place, number, err);
    }
    write_number((char *)config + row->offset, row->size, value);
    return HF_OK;
}

static enum hf_rc apply_enum(const struct place *place, void *config, const void *options,
                             struct hf_err *err)
{
    const struct opt_row *row = place->row;
    const int64_t number =
        read_number((const char *)options + place->mate->offset, place->mate->size);
    int64_t count = 0;
    if (number == 0)
        return HF_OK;
    while (row->names[count] != NULL)
        count++;
    if (number < place->mate->enum_first || number >= place->mate->enum_first + count)
        return refuse_enum(place, number, err);
    write_number((char *)config + row->offset, row->size, number - place->mate->enum_first);
    return HF_OK;
}

static enum hf_rc apply_text(const struct place *place, void *config, const void *options,
                             struct hf_err *err)
{
    const char *text;
    memcpy(&text, (const char *)options + place->mate->offset, sizeof text);
    if (text == NULL || text[0] == '\0')
        return HF_OK;
    if (opt_set_row(place->row, config, sv_from_cstr(text), err) != HF_OK)
        return err_while(err, "%s.%s", place->path, place->mate->field);
    return HF_OK;
}

static enum hf_rc apply_one(const struct place *place, void *config, const void *options,
                            struct hf_err *err)
{
    switch (place->mate->unit) {
    case OPTION_COUNT:
    case OPTION_MS:
    case OPTION_PERCENT:
        return apply_number(place, config, options, err);
    case OPTION_ENUM:
        return apply_enum(place, config, options, err);
    case OPTION_TEXT:
        return apply_text(place, config, options, err);
    case OPTION_BOOL:
        break;
    }
    if (*((const bool *)options + place->mate->offset))
        *(bool *)((char *)config + place->row->offset) = true;
    return HF_OK;
}

/* A public struct into the struct of its section. */
static enum hf_rc apply_section(const struct options_section *section, const char *path,
                                void *config, const void *options, struct hf_err *err)
{
    for (size_t i = 0; i < section->table.count; i++) {
        const struct place place = {path, &section->table.rows[i], &section->mates[i]};
        if (apply_one(&place, config, options, err) != HF_OK)
            return HF_RC_INVALID;
    }
    return HF_OK;
}

/* ---- the public structs ---- */

struct client_endpoint_config *options_endpoint(struct client_config *config, struct sv name,
                                                struct hf_err *err)
{
    struct client_endpoint_config *endpoint;
    for (size_t i = 0; i < config->endpoint_count; i++)
        if (sv_eq(name, sv_from_cstr(config->endpoints[i].name)))
            return &config->endpoints[i];
    if (config->endpoint_count == SNAPSHOT_ENDPOINTS_MAX) {
        err_set(err, HF_RC_LIMIT, "54000", "more than %d servers", SNAPSHOT_ENDPOINTS_MAX);
        return NULL;
    }
    endpoint = &config->endpoints[config->endpoint_count];
    if (name.size == 0 || !sv_copy(name, endpoint->name, sizeof endpoint->name)) {
        err_set(err, HF_RC_INVALID, "22023",
                "the name of a server must have 1 to %d characters, and \"" SV_FMT "\" has %zu",
                CLIENT_NAME_BYTES - 1, SV_ARG(name), name.size);
        return NULL;
    }
    opt_defaults(&options_section_find(SV("endpoints"))->table, endpoint);
    ++config->endpoint_count;
    return endpoint;
}

static enum hf_rc apply_endpoints(struct client_config *config, const struct hf_options *options,
                                  struct hf_err *err)
{
    for (size_t i = 0; i < options->endpoint_count; i++) {
        char path[TEXT_MAX];
        const struct hf_endpoint_options *given = &options->endpoints[i];
        snprintf(path, sizeof path, "options.endpoints[%zu]", i);
        struct client_endpoint_config *endpoint =
            options_endpoint(config, sv_from_cstr(given->name), err);
        if (endpoint == NULL)
            return err_while(err, "%s.name", path);
        if (apply_section(options_section_find(SV("endpoints")), path, endpoint, given, err) !=
            HF_OK)
            return HF_RC_INVALID;
    }
    return HF_OK;
}

static const char *section_path(const struct options_section *section, char out[TEXT_MAX])
{
    snprintf(out, TEXT_MAX, "options%s%s", section->name[0] != '\0' ? "." : "", section->name);
    return out;
}

enum hf_rc options_apply(struct client_config *config, const struct hf_options *options,
                         struct hf_err *err)
{
    for (size_t i = 0; i < options_section_count(); i++) {
        const struct options_section *section = options_section_at(i);
        char path[TEXT_MAX];
        if (!section->is_endpoint &&
            apply_section(section, section_path(section, path), (char *)config + section->offset,
                          (const char *)options + section->public_offset, err) != HF_OK)
            return HF_RC_INVALID;
    }
    if (options->endpoint_count > 0 && options->endpoints == NULL)
        return err_set(err, HF_RC_INVALID, "22023",
                       "options.endpoint_count is %zu, and options.endpoints is NULL",
                       options->endpoint_count);
    if (options->conninfo != NULL && options->conninfo[0] != '\0' &&
        !sv_copy(sv_from_cstr(options->conninfo), config->conninfo, sizeof config->conninfo))
        return err_set(err, HF_RC_INVALID, "22023",
                       "the connection string is longer than %d characters",
                       CLIENT_CONNINFO_SIZE - 1);
    return apply_endpoints(config, options, err);
}

/* A guard has some of the sections, at other places in its struct. */
static enum hf_rc apply_guard(struct client_config *config, const struct hf_guard_options *options,
                              struct hf_err *err)
{
    /* The fields of the database as a whole that a guard has too are read by their own rows. */
    const struct hf_options top = {.deadline_ms = options->deadline_ms,
                                   .hooks.slow_ms = options->hooks.slow_ms};
    const struct {
        const char *name;
        const void *options;
    } parts[] = {
        {"", &top},
        {"breaker", &options->breaker},
        {"bulkhead", &options->bulkhead},
        {"retry", &options->retry},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const struct options_section *section = options_section_find(sv_from_cstr(parts[i].name));
        char path[TEXT_MAX];
        if (apply_section(section, section_path(section, path), (char *)config + section->offset,
                          parts[i].options, err) != HF_OK)
            return HF_RC_INVALID;
    }
    return HF_OK;
}

/* ---- all of them together ---- */

/* `low` must not be above `high`. */
static enum hf_rc check_order(const char *low_name, int64_t low, const char *high_name,
                              int64_t high, enum opt_type type, struct hf_err *err)
{
    char low_text[UNITS_TEXT_MAX], high_text[UNITS_TEXT_MAX];
    if (low <= high)
        return HF_OK;
    err_set(err, HF_RC_INVALID, "22023", "options.%s (%s) is above options.%s (%s)", low_name,
            opt_print_number(type, low, low_text), high_name,
            opt_print_number(type, high, high_text));
    return err_hint(err, "Set both of them.");
}

enum hf_rc options_check(const struct client_config *config, struct hf_err *err)
{
    struct breaker_config breaker;
    struct guard_config guard;
    if (check_order("pool.size_min", config->pool.size_min, "pool.size_max", config->pool.size_max,
                    OPT_INT, err) != HF_OK ||
        check_order("breaker.open", config->breaker.open_ns, "breaker.open_max",
                    config->breaker.open_ns_max, OPT_DURATION, err) != HF_OK ||
        check_order("retry.initial", config->retry.initial_ns, "retry.cap", config->retry.cap_ns,
                    OPT_DURATION, err) != HF_OK ||
        check_order("tx_retry.initial", config->tx_retry.initial_ns, "tx_retry.cap",
                    config->tx_retry.cap_ns, OPT_DURATION, err) != HF_OK)
        return HF_RC_INVALID;
    /* What the deciders know besides. */
    options_breaker(config, &breaker);
    if (breaker_config_check(&breaker, err) != HF_OK)
        return err_while(err, "options.breaker");
    options_guard(config, &config->retry, &guard);
    if (guard_config_check(&guard, err) != HF_OK)
        return err_while(err, "options");
    return HF_OK;
}

enum hf_rc options_for_database(struct client_config *config, const struct hf_options *options,
                                struct hf_err *err)
{
    options_defaults(config, OPTIONS_DATABASE);
    if (options == NULL)
        return HF_OK;
    if (options_profile(config, options->profile, err) != HF_OK ||
        options_apply(config, options, err) != HF_OK)
        return HF_RC_INVALID;
    return options_check(config, err);
}

enum hf_rc options_for_guard(struct client_config *config, const struct hf_guard_options *options,
                             struct hf_err *err)
{
    options_defaults(config, OPTIONS_GUARD);
    if (options != NULL && (options_profile(config, options->profile, err) != HF_OK ||
                            apply_guard(config, options, err) != HF_OK))
        return HF_RC_INVALID;
    /* No pool stands behind a function. */
    config->pool.size_max = config->bulkhead.concurrent_max;
    /* Nothing stops one at its deadline: one that runs past it must at least count as slow. */
    config->breaker.slow_ns = ns_min(config->breaker.slow_ns, config->deadline_ns);
    return options_check(config, err);
}

enum hf_rc options_check_call(const struct hf_call_options *options, struct hf_err *err)
{
    if (options == NULL)
        return HF_OK;
    const struct {
        const char *field;
        int64_t number, max;
    } fields[] = {
        {"intent", options->intent, HF_WRITE},
        {"consistency", options->consistency, HF_PRIMARY},
        {"cache", options->cache, HF_CACHE_FIRST},
        {"priority", options->priority, BULKHEAD_PRIORITIES - 1},
        {"format", options->format, HF_BINARY},
        {"staleness_ms", options->staleness_ms, HF_NEVER / HF_MS(1)},
        {"deadline_ms", options->deadline_ms, HF_NEVER / HF_MS(1)},
        {"cache_ttl_ms", options->cache_ttl_ms, HF_NEVER / HF_MS(1)},
        {"cache_stale_ms", options->cache_stale_ms, HF_NEVER / HF_MS(1)},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (fields[i].number < 0 || fields[i].number > fields[i].max)
            return err_set(err, HF_RC_INVALID, "22023",
                           "options.%s is %lld, and 0 to %lld was expected", fields[i].field,
                           (long long)fields[i].number, (long long)fields[i].max);
    return HF_OK;
}

void options_wipe(struct client_config *config)
{
    /* Not optimised away: the bytes are read by whoever is passed the config next. */
    volatile char *at = config->conninfo;
    for (size_t i = 0; i < sizeof config->conninfo; i++)
        at[i] = '\0';
}

/* ---- for the deciders ---- */

void options_breaker(const struct client_config *config, struct breaker_config *out)
{
    const struct client_breaker_config *from = &config->breaker;
    *out = breaker_config_default();
    out->failure_threshold = from->trip == CLIENT_TRIP_RATE ? 0 : from->failure_threshold;
    out->failure_rate_ppm = from->trip == CLIENT_TRIP_CONSECUTIVE ? 0 : from->failure_rate_ppm;
    out->slow_rate_ppm = from->slow_rate_ppm;
    out->slow_ns = from->slow_ns;
    out->min_calls = from->calls_min;
    out->window_ns = from->window_ns;
    out->open_ns = from->open_ns;
    out->open_ns_max = from->open_ns_max;
    out->open_growth_ppm = 2 * BREAKER_PPM;
    out->half_open_calls = from->half_open_calls;
    out->success_threshold = from->success_threshold;
    out->is_monitor = from->is_monitor;
}

void options_bulkhead(const struct client_config *config, uint32_t concurrent_max,
                      struct bulkhead_config *out)
{
    const struct client_bulkhead_config *from = &config->bulkhead;
    uint32_t limit = concurrent_max != 0 ? concurrent_max : from->concurrent_max;
    if (limit == 0 || limit > config->pool.size_max)
        limit = config->pool.size_max;
    *out = bulkhead_config_default();
    out->limit = limit;
    out->queue_max = from->queue_max;
    out->wait_ns_max = from->wait_ns;
    out->exec_ns_max = from->execution_ns;
    out->is_adaptive = from->is_adaptive;
    out->adapt.limit_max = limit;
    if (out->adapt.limit_min > limit)
        out->adapt.limit_min = limit;
}

void options_retry(const struct client_retry_config *config, struct retry_config *policy)
{
    const uint32_t retries = config->attempts_max - 1;
    policy->attempts_max = config->attempts_max;
    policy->initial_ns = config->initial_ns;
    policy->cap_ns = config->cap_ns;
    for (size_t kind = 0; kind < OUTCOME_KINDS; kind++)
        policy->rules[kind].initial_ns = ns_min(policy->rules[kind].initial_ns, config->cap_ns);
    /* What heals by itself gets all the retries there are; what the policy gives less keeps that.
     */
    policy->rules[OUTCOME_KIND_TRANSIENT].retries_max = retries;
    policy->rules[OUTCOME_KIND_CONTENTION].retries_max = retries;
    policy->rules[OUTCOME_KIND_ROLE].retries_max = retries;
}

bool options_budget(const struct client_retry_config *config, struct budget_config *out)
{
    *out = budget_config_default();
    out->share_ppm = config->budget_ppm;
    return config->budget_ppm != 0;
}

void options_policy(const struct client_config *config, struct route_policy *out)
{
    *out = route_policy_default();
    out->balance = config->route.balance;
    out->primary_reads = config->route.primary_reads;
    out->lag_ns_max = config->route.lag_ns_max;
    /* Samples that are taken seldom must be good for longer. */
    out->sample_ns_max = ns_max(out->sample_ns_max, 10 * config->route.interval_ns);
}

void options_guard(const struct client_config *config, const struct client_retry_config *retry,
                   struct guard_config *out)
{
    *out = guard_config_default();
    if (retry == &config->tx_retry)
        out->retry = retry_config_transaction();
    options_retry(retry, &out->retry);
    out->call_ns = config->deadline_ns;
    out->attempt_ns_max = config->bulkhead.execution_ns;
    out->queue_ns_max = config->bulkhead.wait_ns;
    out->hold_ns_max = config->hold_ns;
    out->resolve_ns_max = config->resolve_ns;
}
