/*
 * What every option of the library is called, means and may be; where it stands in the public
 * structs; and what the profiles make of it.
 *
 * A default that differs from what other libraries ship has its reason in a comment here and in
 * docs/reference/library.md.
 */
#include "base/bug.h"
#include "base/ns.h"
#include "client/options.h"
#include "client/options_int.h"
#include "holdfast.h"

#include <string.h>

/* A row takes a line or two this way, and its neighbours can be compared. Everything is read when
 * a database is opened, so nothing is reloadable. */
#define ROW(struct_name, field, name, row_type, text, ...)                                         \
    {                                                                                              \
        .key = (name), .type = (row_type), OPT_FIELD(struct struct_name, field),                   \
        .default_text = (text), .since = "0.3", __VA_ARGS__                                        \
    }
#define TIME(s, field, name, text, low, high, words)                                               \
    ROW(s, field, name, OPT_DURATION, text, .min = (low), .max = (high), .sentence = (words))
#define COUNT(s, field, name, text, low, high, what, words)                                        \
    ROW(s, field, name, OPT_INT, text, .min = (low), .max = (high), .unit = (what),                \
        .sentence = (words))
#define PERCENT(s, field, name, text, words)                                                       \
    ROW(s, field, name, OPT_PERCENT, text, .min = 0, .max = 1000000, .sentence = (words))
#define SIZE(s, field, name, text, words)                                                          \
    ROW(s, field, name, OPT_SIZE, text, .min = 0, .max = TB, .sentence = (words))
#define BOOL(s, field, name, words) ROW(s, field, name, OPT_BOOL, "off", .sentence = (words))
#define ENUM(s, field, name, text, list, words)                                                    \
    ROW(s, field, name, OPT_ENUM, text, .names = (list), .sentence = (words))
#define TEXT(s, field, name, words) ROW(s, field, name, OPT_STRING, "", .sentence = (words))

/* What stands behind the field's name: how it is read, and what else is to be said of it. */
#define MATE(struct_name, name, ...)                                                               \
    {                                                                                              \
        .field = #name, .offset = offsetof(struct struct_name, name),                              \
        .size = sizeof(((struct struct_name *)0)->name), .unit = __VA_ARGS__                       \
    }
#define NONE(value) .has_none = true, .none = (value)

#define HOUR      HF_SEC(3600)
#define TB        (INT64_C(1) << 40)
#define COUNT_MAX 100000

/* The rows of a section and their mates are two tables of one length; a test holds each mate
 * against its row. */
#define SAME_LENGTH(rows, mates)                                                                   \
    _Static_assert(sizeof(rows) / sizeof(rows)[0] == sizeof(mates) / sizeof(mates)[0],             \
                   "a field in the public struct for each option")

/* ---- the database itself ---- */

static const struct opt_row top_rows[] = {
    TIME(client_config, deadline_ns, "deadline", "30s", HF_MS(1), 24 * HOUR,
         "How long a call may take that brings no deadline of its own, retries and waiting "
         "included."),
    TIME(client_config, start_ns, "start", "10s", 0, 24 * HOUR,
         "How long hf_open() waits for a server to answer; 0 does not wait."),
    TIME(client_config, resolve_ns, "resolve", "10s", HF_MS(1), HOUR,
         "How long the outcome of a COMMIT whose answer was lost is searched for, within the "
         "deadline."),
    TIME(client_config, hold_ns, "hold", "10s", 0, HOUR,
         "How long a call waits for a server that fits, such as a primary during a failover; 0 "
         "refuses at once."),
    SIZE(client_config, memory_max, "memory_max", "0",
         "Most memory for all that the library keeps for this database; 0 is no limit."),
    TIME(client_config, slow_ns, "slow", "1s", 0, HF_NEVER,
         "From how long on a call is reported as slow."),
};

static const struct option_mate top_mates[] = {
    MATE(hf_options, deadline_ms, OPTION_MS),
    MATE(hf_options, start_ms, OPTION_MS, NONE(0)),
    MATE(hf_options, resolve_ms, OPTION_MS),
    MATE(hf_options, hold_ms, OPTION_MS, NONE(0)),
    MATE(hf_options, memory_max, OPTION_COUNT, NONE(0)),
    MATE(hf_options, hooks.slow_ms, OPTION_MS, NONE(HF_NEVER)),
};
SAME_LENGTH(top_rows, top_mates);

/* ---- pool ---- */

static const struct opt_row pool_rows[] = {
    COUNT(client_pool_config, size_max, "size_max", "25", 1, 10000, "connections",
          "Most connections to each server."),
    COUNT(client_pool_config, size_min, "size_min", "0", 0, 10000, "connections",
          "Connections kept open to each server, used or not."),
    COUNT(client_pool_config, idle_max, "idle_max", "5", 0, 10000, "connections",
          "Most connections kept while nobody needs them."),
    TIME(client_pool_config, lifetime_ns, "lifetime", "5min", HF_SEC(1), HF_NEVER,
         "How old a connection becomes before it is replaced, up to a tenth sooner by chance so "
         "that those made together do not end together."),
    TIME(client_pool_config, idle_ns, "idle", "10min", HF_MS(100), HF_NEVER,
         "How long a connection is kept without being used."),
    /* A write on a connection whose server has just closed it ends with an unknown outcome. The
     * look costs a microsecond, which is nothing to who comes a hundred times a second. */
    TIME(client_pool_config, check_after_ns, "check_after", "10ms", 0, HF_NEVER,
         "A connection that was idle for longer is looked at before it is used."),
    TIME(client_pool_config, connect_timeout_ns, "connect_timeout", "5s", HF_MS(10), HOUR,
         "How long one attempt to connect may take."),
};

static const struct option_mate pool_mates[] = {
    MATE(hf_pool_options, size_max, OPTION_COUNT),
    MATE(hf_pool_options, size_min, OPTION_COUNT, NONE(0)),
    MATE(hf_pool_options, idle_max, OPTION_COUNT, NONE(0)),
    MATE(hf_pool_options, lifetime_ms, OPTION_MS, NONE(HF_NEVER)),
    MATE(hf_pool_options, idle_ms, OPTION_MS, NONE(HF_NEVER)),
    MATE(hf_pool_options, check_after_ms, OPTION_MS, NONE(HF_NEVER)),
    MATE(hf_pool_options, connect_timeout_ms, OPTION_MS),
};
SAME_LENGTH(pool_rows, pool_mates);

/* ---- breaker ---- */

static const char *const trips[] = {"either", "consecutive", "rate", NULL};

static const struct opt_row breaker_rows[] = {
    /* A row of failures says little under load, where one slow success ends it, and a rate says
     * little where calls are few: either alone is blind somewhere. */
    ENUM(client_breaker_config, trip, "trip", "either", trips,
         "What opens it: failures in a row, the rate of failures, or either of them."),
    COUNT(client_breaker_config, failure_threshold, "failure_threshold", "5", 1, COUNT_MAX,
          "failures", "Failures in a row that open it."),
    PERCENT(client_breaker_config, failure_rate_ppm, "failure_rate", "50%",
            "Share of failures among the calls of the window that opens it."),
    COUNT(client_breaker_config, calls_min, "calls_min", "20", 1, COUNT_MAX, "calls",
          "Rates are not judged while the window holds fewer calls."),
    TIME(client_breaker_config, window_ns, "window", "10s", HF_MS(100), HOUR,
         "The time that rates are judged over."),
    TIME(client_breaker_config, slow_ns, "slow", "5s", HF_MS(1), HOUR,
         "From how long on a call counts as slow, whether it has ended or not."),
    /* 100 % hardly ever comes about while some calls are short; four of five is a server that
     * hangs, and no report that takes its time. */
    PERCENT(client_breaker_config, slow_rate_ppm, "slow_rate", "80%",
            "Share of slow calls in the window that opens it; 0% is never."),
    COUNT(client_breaker_config, half_open_calls, "half_open_calls", "3", 1, BREAKER_LEASES,
          "calls", "Calls at a time that an open breaker tries the server with."),
    COUNT(client_breaker_config, success_threshold, "success_threshold", "3", 1,
          BREAKER_SUCCESSES_MAX, "calls", "Tries that must succeed to close it."),
    /* Behind a server stands the watcher, which looks every 100 ms: a server that is gone gets no
     * calls anyway, and one that is back must not wait for half a minute. */
    TIME(client_breaker_config, open_ns, "open", "1s", HF_MS(1), HOUR,
         "How long it refuses before it tries again; up to a tenth longer by chance."),
    TIME(client_breaker_config, open_ns_max, "open_max", "10s", HF_MS(1), 24 * HOUR,
         "The open time doubles each time that the tries fail, up to here."),
    BOOL(client_breaker_config, is_disabled, "disabled", "Lets everything through."),
    BOOL(client_breaker_config, is_monitor, "monitor", "Decides and reports, and refuses nothing."),
};

static const struct option_mate breaker_mates[] = {
    MATE(hf_breaker_options, trip, OPTION_ENUM, .enum_first = HF_TRIP_EITHER),
    MATE(hf_breaker_options, failure_threshold, OPTION_COUNT),
    MATE(hf_breaker_options, failure_percent, OPTION_PERCENT),
    MATE(hf_breaker_options, calls_min, OPTION_COUNT),
    MATE(hf_breaker_options, window_ms, OPTION_MS),
    MATE(hf_breaker_options, slow_ms, OPTION_MS),
    MATE(hf_breaker_options, slow_percent, OPTION_PERCENT, NONE(0)),
    MATE(hf_breaker_options, half_open_calls, OPTION_COUNT),
    MATE(hf_breaker_options, success_threshold, OPTION_COUNT),
    MATE(hf_breaker_options, open_ms, OPTION_MS),
    MATE(hf_breaker_options, open_ms_max, OPTION_MS),
    MATE(hf_breaker_options, is_disabled, OPTION_BOOL),
    MATE(hf_breaker_options, is_monitor, OPTION_BOOL),
};
SAME_LENGTH(breaker_rows, breaker_mates);

/* ---- bulkhead ---- */

static const struct opt_row bulkhead_rows[] = {
    /* More calls at once than there are connections would only wait inside instead of outside. */
    COUNT(client_bulkhead_config, concurrent_max, "concurrent_max", "0", 0, COUNT_MAX, "calls",
          "Most calls at a time; 0 is as many as the pool has connections."),
    COUNT(client_bulkhead_config, queue_max, "queue_max", "50", 0, BULKHEAD_QUEUE_MAX, "calls",
          "Most calls that wait for a place; the next one is refused."),
    TIME(client_bulkhead_config, wait_ns, "wait", "5s", 0, HOUR,
         "How long a call waits for a place; one that cannot come to its turn in that time is "
         "refused at once."),
    TIME(client_bulkhead_config, execution_ns, "execution", "30s", HF_MS(1), HF_NEVER,
         "How long an attempt may take before it is stopped."),
    BOOL(client_bulkhead_config, is_adaptive, "adaptive",
         "Finds its limit by the latency it sees, below concurrent_max."),
};

static const struct option_mate bulkhead_mates[] = {
    MATE(hf_bulkhead_options, concurrent_max, OPTION_COUNT),
    MATE(hf_bulkhead_options, queue_max, OPTION_COUNT, NONE(0)),
    MATE(hf_bulkhead_options, wait_ms, OPTION_MS, NONE(0)),
    MATE(hf_bulkhead_options, execution_ms, OPTION_MS, NONE(HF_NEVER)),
    MATE(hf_bulkhead_options, is_adaptive, OPTION_BOOL),
};
SAME_LENGTH(bulkhead_rows, bulkhead_mates);

/* ---- retry, tx_retry ---- */

/* 20 % is what Finagle, Envoy and failsafe-go let retries add to the load: core/budget.h. */
#define RETRY_ROWS(attempts, initial, cap)                                                         \
    COUNT(client_retry_config, attempts_max, "attempts_max", attempts, 1, RETRY_ATTEMPTS_MAX,      \
          "attempts", "Most attempts, the first one included."),                                   \
        TIME(client_retry_config, initial_ns, "initial", initial, HF_US(1), HOUR,                  \
             "The wait before the first retry is drawn from 0 to here; each further one doubles "  \
             "that."),                                                                             \
        TIME(client_retry_config, cap_ns, "cap", cap, HF_US(1), 24 * HOUR, "No wait is longer."),  \
        PERCENT(client_retry_config, budget_ppm, "budget", "20%",                                  \
                "Share of the load that retries may add to it; 0% bounds nothing.")

static const struct opt_row retry_rows[] = {RETRY_ROWS("5", "100ms", "10s")};
static const struct opt_row tx_retry_rows[] = {RETRY_ROWS("3", "50ms", "1s")};

static const struct option_mate retry_mates[] = {
    MATE(hf_retry_options, attempts_max, OPTION_COUNT, NONE(1)),
    MATE(hf_retry_options, initial_ms, OPTION_MS),
    MATE(hf_retry_options, cap_ms, OPTION_MS),
    MATE(hf_retry_options, budget_percent, OPTION_PERCENT, NONE(0)),
};
SAME_LENGTH(retry_rows, retry_mates);

/* ---- cache ---- */

static const struct opt_row cache_rows[] = {
    SIZE(client_cache_config, bytes_max, "bytes_max", "16MB",
         "Most bytes of all results kept; 0 keeps none."),
    TIME(client_cache_config, ttl_ns, "ttl", "1min", 0, 24 * HOUR, "How long a result is fresh."),
    TIME(client_cache_config, stale_ns, "stale", "10min", 0, 24 * HOUR,
         "How long after that it may be served, marked stale, while no server answers."),
};

static const struct option_mate cache_mates[] = {
    MATE(hf_cache_options, bytes_max, OPTION_COUNT, NONE(0)),
    MATE(hf_cache_options, ttl_ms, OPTION_MS, NONE(0)),
    MATE(hf_cache_options, stale_ms, OPTION_MS, NONE(0)),
};
SAME_LENGTH(cache_rows, cache_mates);

/* ---- route ---- */

static const char *const consistencies[] = {"session", "bounded", "any", "primary", NULL};
static const char *const balances[] = {"least_of_two", "random", "round_robin", NULL};
static const char *const primary_reads[] = {"fallback", "always", "never", NULL};

static const struct opt_row route_rows[] = {
    ENUM(client_route_config, consistency, "consistency", "session", consistencies,
         "What a read may see that asks for nothing itself: all writes of its session, data of a "
         "bounded age, whatever there is, or what the primary shows."),
    TIME(client_route_config, staleness_ns, "staleness", "5s", 0, 24 * HOUR,
         "The age that consistency bounded allows."),
    TIME(client_route_config, lag_ns_max, "lag_max", "never", 0, HF_NEVER,
         "A replica that is further behind serves no read."),
    ENUM(client_route_config, balance, "balance", "least_of_two", balances,
         "How reads are spread over the replicas that fit."),
    ENUM(client_route_config, primary_reads, "primary_reads", "fallback", primary_reads,
         "Whether the primary serves reads: where no healthy replica fits, always, or never."),
    TIME(client_route_config, interval_ns, "interval", "100ms", HF_MS(10), HF_SEC(60),
         "How often each server is asked how it is."),
    TEXT(client_route_config, zone, "zone",
         "Where the caller is; servers of the same zone are preferred."),
    TEXT(client_route_config, patroni, "patroni",
         "Address of a Patroni REST interface, such as http://host:8008, to learn the servers "
         "from."),
    BOOL(client_route_config, follow_replicas, "follow_replicas",
         "Learns replicas from the primary's own list."),
};

static const struct option_mate route_mates[] = {
    MATE(hf_route_options, consistency, OPTION_ENUM, .enum_first = HF_SESSION),
    MATE(hf_route_options, staleness_ms, OPTION_MS, NONE(0)),
    MATE(hf_route_options, lag_ms_max, OPTION_MS, NONE(HF_NEVER)),
    MATE(hf_route_options, balance, OPTION_ENUM, .enum_first = HF_LEAST_OF_TWO),
    MATE(hf_route_options, primary_reads, OPTION_ENUM, .enum_first = HF_PRIMARY_FALLBACK),
    MATE(hf_route_options, interval_ms, OPTION_MS),
    MATE(hf_route_options, zone, OPTION_TEXT),
    MATE(hf_route_options, patroni, OPTION_TEXT),
    MATE(hf_route_options, follow_replicas, OPTION_BOOL),
};
SAME_LENGTH(route_rows, route_mates);

/* ---- endpoints ---- */

static const struct opt_row endpoint_rows[] = {
    TEXT(client_endpoint_config, zone, "zone", "Where the server is."),
    COUNT(client_endpoint_config, priority, "priority", "0", 0, 31, NULL,
          "Servers of a lower number are used first."),
    COUNT(client_endpoint_config, weight, "weight", "1", 1, SNAPSHOT_WEIGHT_MAX, NULL,
          "Its share of the reads among its equals."),
    COUNT(client_endpoint_config, concurrent_max, "concurrent_max", "0", 0, COUNT_MAX, "calls",
          "Most calls at a time on this server; 0 is as bulkhead.concurrent_max."),
};

static const struct option_mate endpoint_mates[] = {
    MATE(hf_endpoint_options, zone, OPTION_TEXT),
    MATE(hf_endpoint_options, priority, OPTION_COUNT),
    MATE(hf_endpoint_options, weight, OPTION_COUNT),
    MATE(hf_endpoint_options, concurrent_max, OPTION_COUNT),
};
SAME_LENGTH(endpoint_rows, endpoint_mates);

/* ---- sections ---- */

static const struct options_section sections[] = {
    {.name = "",
     .sentence = "What holds for the database as a whole.",
     .table = OPT_TABLE(top_rows),
     .mates = top_mates},
    {.name = "pool",
     .sentence = "Connections to each server.",
     .table = OPT_TABLE(pool_rows),
     .mates = pool_mates,
     .offset = offsetof(struct client_config, pool),
     .public_offset = offsetof(struct hf_options, pool)},
    {.name = "breaker",
     .sentence = "The circuit breaker of each server.",
     .table = OPT_TABLE(breaker_rows),
     .mates = breaker_mates,
     .offset = offsetof(struct client_config, breaker),
     .public_offset = offsetof(struct hf_options, breaker)},
    {.name = "bulkhead",
     .sentence = "How many calls run and wait at each server.",
     .table = OPT_TABLE(bulkhead_rows),
     .mates = bulkhead_mates,
     .offset = offsetof(struct client_config, bulkhead),
     .public_offset = offsetof(struct hf_options, bulkhead)},
    {.name = "retry",
     .sentence = "Repetition of single statements, where that is safe.",
     .table = OPT_TABLE(retry_rows),
     .mates = retry_mates,
     .offset = offsetof(struct client_config, retry),
     .public_offset = offsetof(struct hf_options, retry)},
    {.name = "tx_retry",
     .sentence = "Repetition of whole transactions.",
     .table = OPT_TABLE(tx_retry_rows),
     .mates = retry_mates,
     .offset = offsetof(struct client_config, tx_retry),
     .public_offset = offsetof(struct hf_options, tx_retry)},
    {.name = "cache",
     .sentence = "Results kept for calls that ask for it.",
     .table = OPT_TABLE(cache_rows),
     .mates = cache_mates,
     .offset = offsetof(struct client_config, cache),
     .public_offset = offsetof(struct hf_options, cache)},
    {.name = "route",
     .sentence = "Which server a call goes to.",
     .table = OPT_TABLE(route_rows),
     .mates = route_mates,
     .offset = offsetof(struct client_config, route),
     .public_offset = offsetof(struct hf_options, route)},
    {.name = "endpoints",
     .sentence = "What holds for single servers, by their names as in the connection string.",
     .table = OPT_TABLE(endpoint_rows),
     .mates = endpoint_mates,
     .is_endpoint = true},
};

size_t options_section_count(void)
{
    return sizeof sections / sizeof sections[0];
}

const struct options_section *options_section_at(size_t index)
{
    hf_assert(index < options_section_count());
    return &sections[index];
}

const struct options_section *options_section_find(struct sv name)
{
    for (size_t i = 0; i < options_section_count(); i++)
        if (sv_eq(name, sv_from_cstr(sections[i].name)))
            return &sections[i];
    return NULL;
}

/* ---- profiles ---- */

/* What differs for a guarded function: no watcher stands behind it, so its breaker must be careful
 * by itself, as other libraries' are; and nothing limits it but its bulkhead. */
static const struct option_change for_guard[] = {
    {"breaker", "open", "30s"},
    {"breaker", "open_max", "1min"},
    {"bulkhead", "concurrent_max", "100"},
    {"retry", "attempts_max", "3"},
    {"retry", "cap", "30s"},
};

/* Trips early, repeats little. */
static const struct option_change conservative[] = {
    {"breaker", "failure_threshold", "3"},
    {"breaker", "failure_rate", "30%"},
    {"breaker", "calls_min", "10"},
    {"breaker", "slow", "2s"},
    {"breaker", "slow_rate", "50%"},
    {"breaker", "half_open_calls", "1"},
    {"breaker", "success_threshold", "5"},
    {"bulkhead", "queue_max", "25"},
    {"bulkhead", "wait", "2s"},
    {"retry", "attempts_max", "2"},
    {"retry", "budget", "10%"},
    {"tx_retry", "attempts_max", "2"},
    {"tx_retry", "budget", "10%"},
};

/* Tolerates much, repeats more and sooner. */
static const struct option_change aggressive[] = {
    {"breaker", "failure_threshold", "10"},
    {"breaker", "failure_rate", "75%"},
    {"breaker", "slow", "15s"},
    {"breaker", "open", "500ms"},
    {"breaker", "open_max", "5s"},
    {"breaker", "success_threshold", "1"},
    {"bulkhead", "queue_max", "200"},
    {"bulkhead", "wait", "10s"},
    {"retry", "attempts_max", "8"},
    {"retry", "initial", "50ms"},
    {"retry", "budget", "40%"},
    {"tx_retry", "attempts_max", "6"},
    {"tx_retry", "initial", "20ms"},
    {"tx_retry", "budget", "40%"},
};

/* For answers that people wait for: five seconds are the patience of one, so nothing inside may
 * take as long. */
static const struct option_change api[] = {
    {"", "deadline", "5s"},
    {"", "resolve", "4s"},
    {"", "hold", "3s"},
    {"", "slow", "250ms"},
    {"pool", "connect_timeout", "2s"},
    {"breaker", "slow", "1s"},
    {"bulkhead", "wait", "1s"},
    {"bulkhead", "execution", "5s"},
    {"retry", "attempts_max", "3"},
    {"retry", "initial", "50ms"},
    {"retry", "cap", "1s"},
    {"tx_retry", "initial", "20ms"},
    {"tx_retry", "cap", "500ms"},
};

/* For work that nobody waits for: it outlasts a slow failover. */
static const struct option_change batch[] = {
    {"", "deadline", "10min"},
    {"", "start", "1min"},
    {"", "resolve", "1min"},
    {"", "hold", "1min"},
    {"", "slow", "1min"},
    {"breaker", "slow", "1min"},
    {"breaker", "failure_threshold", "10"},
    {"bulkhead", "wait", "1min"},
    {"bulkhead", "execution", "10min"},
    {"retry", "attempts_max", "10"},
    {"retry", "initial", "500ms"},
    {"retry", "cap", "30s"},
    {"tx_retry", "attempts_max", "10"},
    {"tx_retry", "initial", "200ms"},
    {"tx_retry", "cap", "10s"},
};

static const struct option_changes profiles[] = {
    [HF_PROFILE_DEFAULT] = {.name = "default"},
    [HF_PROFILE_CONSERVATIVE] = {"conservative", conservative,
                                 sizeof conservative / sizeof conservative[0]},
    [HF_PROFILE_AGGRESSIVE] = {"aggressive", aggressive, sizeof aggressive / sizeof aggressive[0]},
    [HF_PROFILE_API] = {"api", api, sizeof api / sizeof api[0]},
    [HF_PROFILE_BATCH] = {"batch", batch, sizeof batch / sizeof batch[0]},
};

const struct option_changes *options_changes(int profile)
{
    if (profile < 0 || (size_t)profile >= sizeof profiles / sizeof profiles[0])
        return NULL;
    return &profiles[profile];
}

const struct option_changes *options_changes_for_guard(void)
{
    static const struct option_changes changes = {"guard", for_guard,
                                                  sizeof for_guard / sizeof for_guard[0]};
    return &changes;
}
