/*
 * sim: runs seeds, says what broke and how to see it again.
 *
 *     sim --seeds 1-2000            these seeds; each twice with --twice, comparing the event logs
 *     sim --seconds 60              fresh seeds for a minute
 *     sim --seed 4711 --log         one seed with its events, to read
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim_int.h"

#include "base/ns.h"

struct options {
    uint64_t first, last;
    double seconds;
    bool wants_log, wants_twice, wants_quiet;
};

struct totals {
    uint64_t seeds, steps, calls, retries;
    struct guard_stats stats;
    uint64_t transitions; /* of breakers */
    int64_t virtual_ns;
    uint64_t found[3], sought[COMMIT_WHYS]; /* lost commits: how searches ended, and why */
};

static double wall_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int usage(void)
{
    fputs("usage: sim [--seeds FIRST-LAST | --seed N | --seconds N] [--twice] [--log] [--quiet]\n",
          stderr);
    return 2;
}

static bool parse_u64(const char *text, char **end, uint64_t *out)
{
    errno = 0;
    *out = strtoull(text, end, 10);
    return errno == 0 && *end != text;
}

static bool parse_range(struct options *options, const char *text)
{
    char *end;
    if (!parse_u64(text, &end, &options->first))
        return false;
    options->last = options->first;
    return *end == '\0' ||
           (*end == '-' && parse_u64(end + 1, &end, &options->last) && *end == '\0');
}

static bool parse(struct options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--log") == 0)
            options->wants_log = true;
        else if (strcmp(argv[i], "--twice") == 0)
            options->wants_twice = true;
        else if (strcmp(argv[i], "--quiet") == 0)
            options->wants_quiet = true;
        else if (strcmp(argv[i], "--seconds") == 0 && has_value)
            options->seconds = strtod(argv[++i], NULL);
        else if ((strcmp(argv[i], "--seeds") == 0 || strcmp(argv[i], "--seed") == 0) && has_value) {
            if (!parse_range(options, argv[++i]))
                return false;
        } else
            return false;
    }
    return true;
}

/* All counters of the lanes, to show what the runs have met. */
static void add_stats(struct guard_stats *into, const struct guard_stats *from)
{
    uint64_t *sum = (uint64_t *)into;
    const uint64_t *add = (const uint64_t *)from;
    for (size_t i = 0; i < sizeof *into / sizeof *sum; i++)
        sum[i] += add[i];
}

/* One run; false if an invariant broke. */
static bool run_seed(struct sim *sim, uint64_t seed, const struct options *options,
                     struct totals *totals)
{
    sim_run(sim, seed, options->wants_log ? stdout : NULL);
    totals->seeds++;
    totals->steps += sim->steps;
    totals->calls += sim->calls_begun;
    totals->retries += sim->retries_begun;
    add_stats(&totals->stats, &sim->lane.stats);
    for (uint32_t i = 0; i < sim->plan.servers; i++)
        totals->transitions += breaker_generation(sim->breakers[i]);
    for (size_t i = 0; i < sizeof sim->found / sizeof sim->found[0]; i++)
        totals->found[i] += sim->found[i];
    for (size_t i = 0; i < COMMIT_WHYS; i++)
        totals->sought[i] += sim->sought[i];
    totals->virtual_ns += sim->now_ns - SIM_EPOCH_NS;
    if (!sim->is_broken)
        return true;
    printf("BROKEN %s\n  seed %llu, step %llu, %.6f s: %s\n  see it again: sim --seed %llu --log\n",
           sim_rule_name(sim->broken), (unsigned long long)seed, (unsigned long long)sim->steps,
           sim_seconds(sim), sim->broken_text, (unsigned long long)seed);
    return false;
}

static bool run_twice(struct sim *sim, uint64_t seed, const struct options *options,
                      struct totals *totals)
{
    if (!run_seed(sim, seed, options, totals))
        return false;
    if (!options->wants_twice)
        return true;
    uint64_t hash = sim->log_hash;
    sim_run(sim, seed, NULL);
    if (sim->log_hash == hash)
        return true;
    printf("BROKEN REPLAY\n  seed %llu: two runs left different event logs\n",
           (unsigned long long)seed);
    return false;
}

static void report(const struct totals *totals, double seconds)
{
    printf("%llu seeds, %llu steps, %llu calls, %llu retries, %.0f virtual seconds in %.1f s: "
           "%.2f million steps a second\n",
           (unsigned long long)totals->seeds, (unsigned long long)totals->steps,
           (unsigned long long)totals->calls, (unsigned long long)totals->retries,
           (double)totals->virtual_ns / 1e9, seconds, (double)totals->steps / seconds / 1e6);
    const struct guard_stats *stats = &totals->stats;
    printf("  %llu served, %llu from cache, %llu failed, %llu refused, %llu unknown; %llu held, "
           "%llu queued, %llu stopped, %llu resolved; %llu changes of breakers\n",
           (unsigned long long)stats->results[GUARD_SERVED],
           (unsigned long long)stats->results[GUARD_SERVED_CACHED],
           (unsigned long long)stats->results[GUARD_FAILED],
           (unsigned long long)stats->results[GUARD_REFUSED],
           (unsigned long long)stats->results[GUARD_UNKNOWN], (unsigned long long)stats->held,
           (unsigned long long)stats->queued, (unsigned long long)stats->stopped,
           (unsigned long long)stats->resolved, (unsigned long long)totals->transitions);
}

static void report_searches(const struct totals *totals)
{
    printf("  lost commits: %llu found committed, %llu aborted, %llu not found out\n",
           (unsigned long long)totals->found[GUARD_COMMITTED],
           (unsigned long long)totals->found[GUARD_ABORTED],
           (unsigned long long)totals->found[GUARD_UNRESOLVED]);
    for (int i = 0; i < COMMIT_WHYS; i++)
        if (totals->sought[i] != 0)
            printf("    %10llu %s\n", (unsigned long long)totals->sought[i],
                   commit_why_name((enum commit_why)i));
}

int main(int argc, char **argv)
{
    struct options options = {.first = 1, .last = 200};
    if (!parse(&options, argc, argv))
        return usage();
    struct sim *sim = aligned_alloc(64, (sizeof *sim + 63) / 64 * 64);
    if (sim == NULL) {
        fputs("sim: out of memory\n", stderr);
        return 1;
    }
    double began = wall_clock(), told = began;
    uint64_t seed = options.first;
    if (options.seconds > 0)
        seed = rng_mix((uint64_t)time(NULL)) >> 24;
    if (options.seconds > 0)
        printf("fresh seeds from %llu\n", (unsigned long long)seed);
    struct totals totals = {0};
    bool is_well = true;
    while (is_well) {
        is_well = run_twice(sim, seed, &options, &totals);
        double now = wall_clock();
        if (!options.wants_quiet && !options.wants_log && now - told > 10) {
            report(&totals, now - began);
            told = now;
        }
        if (options.seconds > 0 ? now - began >= options.seconds : seed >= options.last)
            break;
        seed++;
    }
    report(&totals, wall_clock() - began);
    report_searches(&totals);
    free(sim);
    return is_well ? 0 : 1;
}
