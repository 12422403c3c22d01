/*
 * The pure step of core/breaker.h: one function for each event that has more than one answer.
 *
 * Each takes the word apart, asks what the state makes of the event, and returns through one of
 * three: stay() (the word as it is), keep() (other bits of the same state) or become() (another
 * state, the next generation).
 */
#include "core/breaker.h"

#include "base/bits.h"
#include "base/bug.h"
#include "base/rng.h"

#define TIME_UNIT (INT64_C(1) << BREAKER_TIME_UNIT_BITS)

/* ---- words ---- */

static struct breaker_step stay(uint64_t word)
{
    return (struct breaker_step){.word = word};
}

static uint64_t with_aux(uint64_t word, uint32_t aux)
{
    return (word & ((UINT64_C(1) << BREAKER_AUX_AT) - 1)) | (uint64_t)aux << BREAKER_AUX_AT;
}

static struct breaker_step keep(uint64_t word, uint32_t aux)
{
    return stay(with_aux(word, aux));
}

/* HALF_OPEN */
static uint32_t probing(uint32_t leases, uint32_t successes)
{
    return leases | successes << BREAKER_LEASES;
}

static struct breaker_step become(uint64_t word, enum breaker_state state, uint32_t reopened,
                                  uint32_t aux, enum breaker_cause cause)
{
    uint32_t generation = (breaker_word_generation(word) + 1) & BREAKER_GENERATION_MASK;
    uint64_t next = (uint64_t)state | (word & BREAKER_MONITOR) |
                    (uint64_t)reopened << BREAKER_REOPENED_AT |
                    (uint64_t)generation << BREAKER_GENERATION_AT | (uint64_t)aux << BREAKER_AUX_AT;
    return (struct breaker_step){.word = next, .cause = cause};
}

/* ---- the open time ---- */

/* Rounded up, so that an opening is never shorter than it was asked to be. */
static uint32_t until_units(int64_t until_ns)
{
    int64_t units = (until_ns >> BREAKER_TIME_UNIT_BITS) + ((until_ns & (TIME_UNIT - 1)) != 0);
    return (uint32_t)units & BREAKER_AUX_MASK;
}

int64_t breaker_word_open_until(uint64_t word, int64_t near_ns)
{
    int64_t near = near_ns >> BREAKER_TIME_UNIT_BITS;
    int64_t ahead = (breaker_word_aux(word) - (uint32_t)near) & BREAKER_AUX_MASK;
    if (ahead > BREAKER_AUX_MASK / 2)
        ahead -= INT64_C(1) << BREAKER_AUX_BITS;
    return ns_max(near + ahead, 0) * TIME_UNIT;
}

/* ns * ppm / 10^6 by parts, because a day times a million does not fit into 63 bits. */
static int64_t share_of(int64_t ns, uint32_t ppm)
{
    return ns / BREAKER_PPM * ppm + ns % BREAKER_PPM * ppm / BREAKER_PPM;
}

int64_t breaker_open_for(const struct breaker_rules *rules, uint32_t reopened, uint32_t generation)
{
    int64_t open_ns = ns_min(rules->open_ns, rules->open_ns_max);
    for (uint32_t i = 0; i < reopened; i++)
        open_ns = ns_min(share_of(open_ns, rules->open_growth_ppm), rules->open_ns_max);
    int64_t jitter_ns = share_of(open_ns, rules->open_jitter_ppm);
    return open_ns + (jitter_ns * (int64_t)(rng_hash(rules->seed, generation) >> 48) >> 16);
}

static struct breaker_step open_until(uint64_t word, uint32_t reopened, int64_t until_ns,
                                      enum breaker_cause cause)
{
    return become(word, BREAKER_OPEN, reopened, until_units(until_ns), cause);
}

static struct breaker_step open_now(uint64_t word, const struct breaker_rules *rules,
                                    uint32_t reopened, int64_t now_ns, enum breaker_cause cause)
{
    uint32_t generation = (breaker_word_generation(word) + 1) & BREAKER_GENERATION_MASK;
    int64_t until_ns = ns_add(now_ns, breaker_open_for(rules, reopened, generation));
    return open_until(word, reopened, until_ns, cause);
}

static struct breaker_step reopen(uint64_t word, const struct breaker_rules *rules, int64_t now_ns,
                                  enum breaker_cause cause)
{
    uint32_t reopened = breaker_word_reopened(word);
    if (reopened < BREAKER_REOPENED_MAX)
        ++reopened;
    return open_now(word, rules, reopened, now_ns, cause);
}

static bool is_open_time_over(uint64_t word, const struct breaker_event *event)
{
    return event->is_state_old || breaker_word_is_due(word, event->now_ns);
}

static bool has_expired(uint64_t word, const struct breaker_event *event)
{
    return (breaker_word_leases(word) & event->expired) != 0;
}

/* ---- a call asks to run ---- */

/* Refused, unless MONITOR only watches. */
static struct breaker_step refuse(struct breaker_step step)
{
    step.would_refuse = breaker_word_is_monitor(step.word);
    step.role = step.would_refuse ? BREAKER_ROLE_OBSERVER : BREAKER_ROLE_NONE;
    return step;
}

static struct breaker_step probe(struct breaker_step step, unsigned lease)
{
    step.role = BREAKER_ROLE_PROBE;
    step.lease = (uint8_t)lease;
    return step;
}

static struct breaker_step admit_half_open(uint64_t word, const struct breaker_rules *rules,
                                           const struct breaker_event *event)
{
    if (has_expired(word, event))
        return refuse(reopen(word, rules, event->now_ns, BREAKER_CAUSE_PROBE_EXPIRED));
    uint32_t leases = breaker_word_leases(word);
    uint32_t free = ~leases & ((UINT32_C(1) << rules->half_open_calls) - 1);
    if (free == 0)
        return refuse(stay(word));
    unsigned lease = bits_lowest(free);
    leases |= UINT32_C(1) << lease;
    return probe(keep(word, probing(leases, breaker_word_successes(word))), lease);
}

static struct breaker_step admit(uint64_t word, const struct breaker_rules *rules,
                                 const struct breaker_event *event)
{
    struct breaker_step step;
    if (breaker_step_plain(word, event->now_ns, event->is_state_old, &step))
        return step;
    if (breaker_word_state(word) == BREAKER_HALF_OPEN)
        return admit_half_open(word, rules, event);
    return probe(become(word, BREAKER_HALF_OPEN, breaker_word_reopened(word), probing(1, 0),
                        BREAKER_CAUSE_OPEN_TIME_OVER),
                 0);
}

/* ---- a call has ended ---- */

static struct breaker_step normal_result(uint64_t word, const struct breaker_rules *rules,
                                         const struct breaker_event *event)
{
    uint32_t failures = breaker_word_aux(word);
    if (event->result == BREAKER_NEUTRAL)
        return stay(word);
    if (event->result != BREAKER_FAILED || rules->failure_threshold == 0)
        return keep(word, 0);
    if (failures + 1 >= rules->failure_threshold)
        return open_now(word, rules, 0, event->now_ns, BREAKER_CAUSE_CONSECUTIVE);
    return keep(word, failures + 1);
}

static struct breaker_step probe_result(uint64_t word, const struct breaker_rules *rules,
                                        const struct breaker_event *event)
{
    if (has_expired(word, event))
        return reopen(word, rules, event->now_ns, BREAKER_CAUSE_PROBE_EXPIRED);
    uint32_t leases = breaker_word_leases(word) & ~(UINT32_C(1) << event->lease);
    uint32_t successes = breaker_word_successes(word);
    switch (event->result) {
    case BREAKER_SUCCEEDED:
        break;
    case BREAKER_FAILED:
        return reopen(word, rules, event->now_ns, BREAKER_CAUSE_PROBE_FAILED);
    case BREAKER_SLOW:
        return reopen(word, rules, event->now_ns, BREAKER_CAUSE_PROBE_SLOW);
    case BREAKER_NEUTRAL:
        return keep(word, probing(leases, successes));
    }
    if (successes + 1 >= rules->success_threshold)
        return become(word, BREAKER_CLOSED, 0, 0, BREAKER_CAUSE_PROBES_SUCCEEDED);
    return keep(word, probing(leases, successes + 1));
}

static struct breaker_step result(uint64_t word, const struct breaker_rules *rules,
                                  const struct breaker_event *event)
{
    enum breaker_state state = breaker_word_state(word);
    struct breaker_step stale = {.word = word, .was_stale = true};
    if (event->role != BREAKER_ROLE_NORMAL && event->role != BREAKER_ROLE_PROBE)
        return stay(word);
    if (event->generation != breaker_word_generation(word))
        return stale;
    if (event->role == BREAKER_ROLE_NORMAL && state == BREAKER_CLOSED)
        return normal_result(word, rules, event);
    if (event->role == BREAKER_ROLE_PROBE && state == BREAKER_HALF_OPEN &&
        event->lease < BREAKER_LEASES && (breaker_word_leases(word) >> event->lease & 1) != 0)
        return probe_result(word, rules, event);
    return stale;
}

/* ---- orders ---- */

static struct breaker_step order(uint64_t word, const struct breaker_event *event)
{
    enum breaker_state state = breaker_word_state(word);
    int64_t open_ns = ns_min(ns_max(event->open_ns, BREAKER_OPEN_NS_LEAST), BREAKER_OPEN_NS_LIMIT);
    int64_t until_ns = ns_add(event->now_ns, open_ns);
    if (state == BREAKER_FORCED_OPEN || state == BREAKER_DISABLED)
        return stay(word);
    if (state == BREAKER_OPEN && !is_open_time_over(word, event) &&
        breaker_word_open_until(word, event->now_ns) >= until_ns)
        return stay(word);
    return open_until(word, breaker_word_reopened(word), until_ns, BREAKER_CAUSE_ORDER);
}

static struct breaker_step force(uint64_t word, enum breaker_state state, enum breaker_cause cause)
{
    return breaker_word_state(word) == state ? stay(word) : become(word, state, 0, 0, cause);
}

struct breaker_step breaker_step(uint64_t word, const struct breaker_rules *rules,
                                 const struct breaker_event *event)
{
    enum breaker_state state = breaker_word_state(word);
    switch (event->kind) {
    case BREAKER_EV_ADMIT:
        return admit(word, rules, event);
    case BREAKER_EV_RESULT:
        return result(word, rules, event);
    case BREAKER_EV_TRIP:
        if (state != BREAKER_CLOSED || event->generation != breaker_word_generation(word))
            return stay(word);
        return open_now(word, rules, 0, event->now_ns, event->cause);
    case BREAKER_EV_ORDER:
        return order(word, event);
    case BREAKER_EV_TICK:
        if (state == BREAKER_HALF_OPEN && has_expired(word, event))
            return reopen(word, rules, event->now_ns, BREAKER_CAUSE_PROBE_EXPIRED);
        return stay(word);
    case BREAKER_EV_FORCE_OPEN:
        return force(word, BREAKER_FORCED_OPEN, BREAKER_CAUSE_FORCED_OPEN);
    case BREAKER_EV_DISABLE:
        return force(word, BREAKER_DISABLED, BREAKER_CAUSE_DISABLED);
    case BREAKER_EV_RESET:
        return become(word, BREAKER_CLOSED, 0, 0, BREAKER_CAUSE_RESET);
    case BREAKER_EV_ENFORCE:
        return stay(word & ~BREAKER_MONITOR);
    case BREAKER_EV_MONITOR:
        return stay(word | BREAKER_MONITOR);
    case BREAKER_EVENTS:
        break;
    }
    return stay(word);
}

enum breaker_cause breaker_judge(const struct breaker_rates *rates, uint64_t calls,
                                 uint64_t failures, uint64_t slow)
{
    if (calls < rates->min_calls)
        return BREAKER_CAUSE_NONE;
    if (rates->failure_rate_ppm != 0 && failures * BREAKER_PPM >= rates->failure_rate_ppm * calls)
        return BREAKER_CAUSE_FAILURE_RATE;
    if (rates->slow_rate_ppm != 0 && slow * BREAKER_PPM >= rates->slow_rate_ppm * calls)
        return BREAKER_CAUSE_SLOW_RATE;
    return BREAKER_CAUSE_NONE;
}

/* ---- names ---- */

const char *breaker_state_name(enum breaker_state state)
{
    static const char *const names[] = {"closed", "open", "half_open", "forced_open", "disabled"};
    return (unsigned)state < BREAKER_STATES ? names[state] : "unknown";
}

const char *breaker_role_name(enum breaker_role role)
{
    static const char *const names[] = {"none", "normal", "probe", "observer"};
    return (unsigned)role < sizeof names / sizeof names[0] ? names[role] : "unknown";
}

static const struct {
    const char *name;
    const char *text;
} causes[] = {
    [BREAKER_CAUSE_NONE] = {"none", "nothing has changed"},
    [BREAKER_CAUSE_CONSECUTIVE] = {"consecutive", "too many calls in a row failed"},
    [BREAKER_CAUSE_FAILURE_RATE] = {"failure_rate", "too large a share of the calls failed"},
    [BREAKER_CAUSE_SLOW_RATE] = {"slow_rate", "too large a share of the calls was slow"},
    [BREAKER_CAUSE_ORDER] = {"order", "a single result demanded it"},
    [BREAKER_CAUSE_OPEN_TIME_OVER] = {"open_time_over", "the open time is over, a probe goes out"},
    [BREAKER_CAUSE_PROBE_FAILED] = {"probe_failed", "a probe failed"},
    [BREAKER_CAUSE_PROBE_SLOW] = {"probe_slow", "a probe succeeded, but slowly"},
    [BREAKER_CAUSE_PROBE_EXPIRED] = {"probe_expired", "a probe gave no result in time"},
    [BREAKER_CAUSE_PROBES_SUCCEEDED] = {"probes_succeeded", "enough probes succeeded"},
    [BREAKER_CAUSE_FORCED_OPEN] = {"forced_open", "forced open by hand"},
    [BREAKER_CAUSE_DISABLED] = {"disabled", "disabled by hand"},
    [BREAKER_CAUSE_RESET] = {"reset", "reset by hand"},
};

const char *breaker_cause_name(enum breaker_cause cause)
{
    return (unsigned)cause < BREAKER_CAUSES ? causes[cause].name : "unknown";
}

const char *breaker_cause_text(enum breaker_cause cause)
{
    return (unsigned)cause < BREAKER_CAUSES ? causes[cause].text : "unknown";
}
