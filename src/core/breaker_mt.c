/*
 * What core/breaker_mt.h leaves out: everything but the admission and the success of a call while
 * CLOSED. All changes of the word go through apply().
 */
#include "core/breaker_mt.h"

#include <string.h>

#include "base/bits.h"
#include "base/bug.h"
#include "base/units.h"

/* A state of this age is past every open time, and well before 31 bits of time turn. */
#define OLD_NS (INT64_C(1) << (BREAKER_TIME_UNIT_BITS + 29))
_Static_assert(OLD_NS > 3 * BREAKER_OPEN_NS_LIMIT, "an opening with jitter lasts at most two days");

/* ---- configuration ---- */

struct breaker_config breaker_config_default(void)
{
    return (struct breaker_config){
        .failure_threshold = BREAKER_FAILURE_THRESHOLD,
        .failure_rate_ppm = BREAKER_FAILURE_RATE_PPM,
        .slow_rate_ppm = BREAKER_SLOW_RATE_PPM,
        .slow_ns = BREAKER_SLOW_NS,
        .min_calls = BREAKER_MIN_CALLS,
        .window_kind = BREAKER_WINDOW_KIND,
        .window_ns = BREAKER_WINDOW_NS,
        .window_slices = BREAKER_WINDOW_SLICES,
        .window_calls = BREAKER_WINDOW_CALLS,
        .open_ns = BREAKER_OPEN_NS,
        .open_ns_max = BREAKER_OPEN_NS_MAX,
        .open_growth_ppm = BREAKER_OPEN_GROWTH_PPM,
        .open_jitter_ppm = BREAKER_OPEN_JITTER_PPM,
        .half_open_calls = BREAKER_HALF_OPEN_CALLS,
        .success_threshold = BREAKER_SUCCESS_THRESHOLD,
        .probe_ns = BREAKER_PROBE_NS,
        .history = BREAKER_HISTORY,
    };
}

static struct window_config window_of(const struct breaker_config *config)
{
    return (struct window_config){
        .kind = config->window_kind,
        .calls = config->window_calls,
        .span_ns = config->window_ns,
        .slices = config->window_slices,
        .has_durations = config->has_durations,
    };
}

typedef const char *print_quantity(int64_t value, char out[UNITS_TEXT_MAX]);

struct range {
    const char *what;
    int64_t value, min, max;
    print_quantity *print;
};

static enum hf_rc check_range(const struct range *range, struct hf_err *err)
{
    if (range->value >= range->min && range->value <= range->max)
        return HF_OK;
    char value[UNITS_TEXT_MAX], min[UNITS_TEXT_MAX], max[UNITS_TEXT_MAX];
    err_set(err, HF_RC_INVALID, "22023", "the %s of a breaker is out of range", range->what);
    return err_detail(err, "It is %s; %s to %s are possible.", range->print(range->value, value),
                      range->print(range->min, min), range->print(range->max, max));
}

enum hf_rc breaker_config_check(const struct breaker_config *config, struct hf_err *err)
{
    const struct range ranges[] = {
        {"failure threshold", config->failure_threshold, 0, 1000000, units_print_int},
        {"failure rate", config->failure_rate_ppm, 0, BREAKER_PPM, units_print_percent},
        {"slow call rate", config->slow_rate_ppm, 0, BREAKER_PPM, units_print_percent},
        {"slow call time", config->slow_rate_ppm == 0 ? INFLIGHT_SLOW_NS_MIN : config->slow_ns,
         INFLIGHT_SLOW_NS_MIN, BREAKER_OPEN_NS_LIMIT, units_print_duration},
        {"minimum of calls", config->min_calls, 1,
         config->window_kind == WINDOW_COUNT ? config->window_calls : UINT32_MAX, units_print_int},
        {"open time", config->open_ns, BREAKER_OPEN_NS_LEAST, BREAKER_OPEN_NS_LIMIT,
         units_print_duration},
        {"longest open time", config->open_ns_max, config->open_ns, BREAKER_OPEN_NS_LIMIT,
         units_print_duration},
        {"growth of the open time", config->open_growth_ppm, BREAKER_PPM,
         BREAKER_OPEN_GROWTH_PPM_MAX, units_print_percent},
        {"jitter of the open time", config->open_jitter_ppm, 0, BREAKER_PPM, units_print_percent},
        {"number of probes at once", config->half_open_calls, 1, BREAKER_LEASES, units_print_int},
        {"success threshold", config->success_threshold, 1, BREAKER_SUCCESSES_MAX, units_print_int},
        {"time of a probe", config->probe_ns, BREAKER_OPEN_NS_LEAST, BREAKER_OPEN_NS_LIMIT,
         units_print_duration},
        {"history", config->history, 1, BREAKER_HISTORY_MAX, units_print_int},
    };
    const struct window_config window = window_of(config);
    if (window_config_check(&window, err) != HF_OK)
        return err_while(err, "checking a breaker");
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (check_range(&ranges[i], err) != HF_OK)
            return HF_RC_INVALID;
    return HF_OK;
}

static void set32(_Atomic uint32_t *field, uint32_t value)
{
    atomic_store_explicit(field, value, memory_order_relaxed);
}

static void set64(_Atomic int64_t *field, int64_t value)
{
    atomic_store_explicit(field, value, memory_order_relaxed);
}

static uint32_t get32(const _Atomic uint32_t *field)
{
    return atomic_load_explicit(field, memory_order_relaxed);
}

static int64_t get64(const _Atomic int64_t *field)
{
    return atomic_load_explicit(field, memory_order_relaxed);
}

/* All but the shapes of window and ring. */
static void set_rules(struct breaker *b, const struct breaker_config *config)
{
    set32(&b->failure_threshold, config->failure_threshold);
    set32(&b->failure_rate_ppm, config->failure_rate_ppm);
    set32(&b->slow_rate_ppm, config->slow_rate_ppm);
    set32(&b->min_calls, config->min_calls);
    set64(&b->slow_ns, config->slow_rate_ppm != 0 ? config->slow_ns : HF_NEVER);
    set64(&b->open_ns, config->open_ns);
    set64(&b->open_ns_max, config->open_ns_max);
    set64(&b->probe_ns, config->probe_ns);
    set32(&b->open_growth_ppm, config->open_growth_ppm);
    set32(&b->open_jitter_ppm, config->open_jitter_ppm);
    set32(&b->half_open_calls, config->half_open_calls);
    set32(&b->success_threshold, config->success_threshold);
}

static struct breaker_rules rules_of(const struct breaker *b)
{
    return (struct breaker_rules){
        .failure_threshold = get32(&b->failure_threshold),
        .success_threshold = get32(&b->success_threshold),
        .half_open_calls = get32(&b->half_open_calls),
        .open_growth_ppm = get32(&b->open_growth_ppm),
        .open_jitter_ppm = get32(&b->open_jitter_ppm),
        .open_ns = get64(&b->open_ns),
        .open_ns_max = get64(&b->open_ns_max),
        .seed = b->seed,
    };
}

/* ---- life ---- */

static size_t history_at(const struct breaker_config *config)
{
    const struct window_config window = window_of(config);
    return offsetof(struct breaker, window) + window_size(&window);
}

size_t breaker_size(const struct breaker_config *config)
{
    return history_at(config) + config->history * sizeof(struct breaker_slot);
}

struct breaker *breaker_init(void *memory, const struct breaker_config *config, uint64_t seed,
                             int64_t now_ns)
{
    hf_assert((uintptr_t)memory % BREAKER_ALIGN == 0);
    hf_assert(breaker_config_check(config, NULL) == HF_OK);
    struct breaker *b = memory;
    memset(memory, 0, breaker_size(config));
    atomic_init(&b->word, breaker_word_first(config->is_monitor));
    atomic_init(&b->changed_at_ns, now_ns);
    atomic_init(&b->last_failure_ns, -1);
    atomic_init(&b->settled, UINT64_MAX);
    b->seed = seed;
    b->history = config->history;
    b->history_at = (uint32_t)history_at(config);
    set_rules(b, config);
    inflight_init(&b->in_flight, get64(&b->slow_ns), now_ns);
    const struct window_config window = window_of(config);
    window_init(&b->window, &window, now_ns);
    return b;
}

enum hf_rc breaker_configure(struct breaker *b, const struct breaker_config *config, int64_t now_ns,
                             struct hf_err *err)
{
    if (breaker_config_check(config, err) != HF_OK)
        return err_while(err, "changing a breaker");
    const struct window_config window = window_of(config);
    if (config->history != b->history || !window_reshape(&b->window, &window, now_ns)) {
        err_set(err, HF_RC_LIMIT, "55006", "cannot change the memory of a breaker in use");
        return err_hint(err, "Kind, durations and history are fixed, and a window cannot grow much "
                             "when the breaker has been made; make a new one.");
    }
    set_rules(b, config);
    atomic_store_explicit(&b->settled, UINT64_MAX, memory_order_relaxed);
    inflight_configure(&b->in_flight, get64(&b->slow_ns), now_ns);
    breaker_set_mode(b, config->is_monitor);
    return HF_OK;
}

/* ---- history ---- */

/* The tag of a slot: 24 bits of generation over one of these. */
enum {
    SLOT_NEVER,
    SLOT_BUSY,
    SLOT_WHOLE,
};

static struct breaker_slot *slot_of(struct breaker *b, uint32_t generation)
{
    struct breaker_slot *slots = (void *)((unsigned char *)b + b->history_at);
    return &slots[generation % b->history];
}

static uint64_t tag_of(uint32_t generation, unsigned mark)
{
    return (uint64_t)generation << 2 | mark;
}

/* Generations turn after 2^24: how far is one ahead of another? */
static uint32_t ahead_of(uint32_t generation, uint32_t other)
{
    return (generation - other) & BREAKER_GENERATION_MASK;
}

static uint32_t cut32(uint64_t n)
{
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* The winner of a transition owns its generation, but a slot is shared by every n-th of them: one
 * that was stopped here while n others went by must neither mix its words with theirs nor put an
 * old change over a new one. */
static void remember(struct breaker *b, const struct breaker_change *change)
{
    struct breaker_slot *slot = slot_of(b, change->generation);
    uint64_t tag = atomic_load_explicit(&slot->tag, memory_order_relaxed);
    bool is_newer = (tag & 3) != SLOT_NEVER && ahead_of((uint32_t)(tag >> 2), change->generation) <=
                                                   BREAKER_GENERATION_MASK / 2;
    if ((tag & 3) == SLOT_BUSY || is_newer ||
        !atomic_compare_exchange_strong_explicit(&slot->tag, &tag,
                                                 tag_of(change->generation, SLOT_BUSY),
                                                 memory_order_acq_rel, memory_order_relaxed))
        return;
    uint64_t what = (uint64_t)change->from | (uint64_t)change->to << 4 |
                    (uint64_t)change->cause << 8 | (uint64_t)change->slow << 32;
    uint64_t counts = (uint64_t)change->calls | (uint64_t)change->failures << 32;
    /* Releases, so that who reads one of them too early also sees BUSY. */
    atomic_store_explicit(&slot->at_ns, change->at_ns, memory_order_release);
    atomic_store_explicit(&slot->what, what, memory_order_release);
    atomic_store_explicit(&slot->counts, counts, memory_order_release);
    atomic_store_explicit(&slot->tag, tag_of(change->generation, SLOT_WHOLE), memory_order_release);
}

static bool recall(struct breaker *b, uint32_t generation, struct breaker_change *out)
{
    struct breaker_slot *slot = slot_of(b, generation);
    uint64_t whole = tag_of(generation, SLOT_WHOLE);
    if (atomic_load_explicit(&slot->tag, memory_order_acquire) != whole)
        return false;
    int64_t at_ns = atomic_load_explicit(&slot->at_ns, memory_order_acquire);
    uint64_t what = atomic_load_explicit(&slot->what, memory_order_acquire);
    uint64_t counts = atomic_load_explicit(&slot->counts, memory_order_acquire);
    if (atomic_load_explicit(&slot->tag, memory_order_relaxed) != whole)
        return false;
    *out = (struct breaker_change){
        .at_ns = at_ns,
        .generation = generation,
        .from = (enum breaker_state)(what & 15),
        .to = (enum breaker_state)(what >> 4 & 15),
        .cause = (enum breaker_cause)(what >> 8 & 255),
        .calls = (uint32_t)counts,
        .failures = (uint32_t)(counts >> 32),
        .slow = (uint32_t)(what >> 32),
    };
    return true;
}

bool breaker_changes_next(struct breaker *b, uint32_t *cursor, struct breaker_change *out)
{
    uint32_t last = breaker_generation(b);
    uint32_t ahead = ahead_of(last, *cursor);
    /* Those before have been written over. */
    for (uint32_t back = ahead < b->history ? ahead : b->history; back > 0; back--) {
        uint32_t generation = (last - back + 1) & BREAKER_GENERATION_MASK;
        if (recall(b, generation, out)) {
            out->missed = ahead - back;
            *cursor = generation;
            return true;
        }
        /* Not there: it is being written just now, and comes next time. If a later one is there,
         * its thread was stopped, and it is missed: nothing is told out of order. */
    }
    return false;
}

/* ---- the word ---- */

/* To the later of two times. */
static void raise(_Atomic int64_t *field, int64_t value)
{
    int64_t was = get64(field);
    while (was < value && !atomic_compare_exchange_weak_explicit(
                              field, &was, value, memory_order_relaxed, memory_order_relaxed)) {
    }
}

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* Time does not run back before the last change. */
static int64_t no_earlier(struct breaker *b, int64_t now_ns, int64_t than_ns)
{
    if (now_ns >= than_ns)
        return now_ns;
    if (than_ns - now_ns > BREAKER_SKEW_NS)
        count(&b->time_backwards);
    return than_ns;
}

static bool is_state_old(const struct breaker *b, int64_t now_ns)
{
    return now_ns - get64(&b->changed_at_ns) > OLD_NS;
}

/* What the step cannot see in the word. */
static void add_times(const struct breaker *b, uint64_t word, struct breaker_event *event)
{
    event->now_ns = ns_max(event->now_ns, get64(&b->changed_at_ns));
    event->is_state_old = is_state_old(b, event->now_ns);
    event->expired = 0;
    uint32_t leases = breaker_word_state(word) == BREAKER_HALF_OPEN ? breaker_word_leases(word) : 0;
    for (; leases != 0; leases &= leases - 1) {
        unsigned lease = bits_lowest(leases);
        if (get64(&b->lease_until_ns[lease]) <= event->now_ns)
            event->expired = (uint8_t)(event->expired | 1U << lease);
    }
}

/* What is stored before the word changes, so that whoever sees the new word sees it too. */
static void prepare_change(struct breaker *b, uint64_t word, const struct breaker_step *step,
                           const struct breaker_event *event, struct breaker_change *out)
{
    struct window_sum sum = {0};
    *out = (struct breaker_change){
        .at_ns = event->now_ns,
        .generation = breaker_word_generation(step->word),
        .from = breaker_word_state(word),
        .to = breaker_word_state(step->word),
        .cause = step->cause,
    };
    if (out->from == BREAKER_CLOSED)
        window_sum(&b->window, event->now_ns, &sum);
    if (out->from == BREAKER_HALF_OPEN) {
        sum.slow = step->cause == BREAKER_CAUSE_PROBE_SLOW;
        sum.failures =
            step->cause == BREAKER_CAUSE_PROBE_FAILED || step->cause == BREAKER_CAUSE_PROBE_EXPIRED;
        sum.calls = breaker_word_successes(word) + sum.slow + sum.failures +
                    (step->cause == BREAKER_CAUSE_PROBES_SUCCEEDED);
    }
    out->calls = cut32(sum.calls);
    out->failures = cut32(sum.failures);
    out->slow = cut32(sum.slow);
    raise(&b->changed_at_ns, event->now_ns);
    /* What it held belongs to an earlier life, even if another thread wins. */
    if (out->to == BREAKER_CLOSED)
        window_reset(&b->window);
}

static struct breaker_step apply(struct breaker *b, struct breaker_event event)
{
    const struct breaker_rules rules = rules_of(b);
    struct breaker_step step;
    struct breaker_change change = {0};
    uint64_t word = atomic_load_explicit(&b->word, memory_order_acquire);
    do {
        add_times(b, word, &event);
        step = breaker_step(word, &rules, &event);
        if (step.word == word)
            return step;
        if (step.role == BREAKER_ROLE_PROBE)
            raise(&b->lease_until_ns[step.lease], ns_add(event.now_ns, get64(&b->probe_ns)));
        if (step.cause != BREAKER_CAUSE_NONE)
            prepare_change(b, word, &step, &event, &change);
    } while (!atomic_compare_exchange_strong_explicit(&b->word, &word, step.word,
                                                      memory_order_acq_rel, memory_order_acquire));
    if (step.cause != BREAKER_CAUSE_NONE)
        remember(b, &change);
    return step;
}

/* ---- judging ---- */

void breaker_judge_window(struct breaker *b, int64_t now_ns)
{
    uint64_t word = atomic_load_explicit(&b->word, memory_order_acquire);
    if (breaker_word_state(word) != BREAKER_CLOSED)
        return;
    uint32_t overdue = inflight_sweep(&b->in_flight, breaker_word_generation(word), now_ns);
    if (overdue != 0)
        window_evidence(&b->window, overdue, now_ns);
    if (!window_may_hold_bad(&b->window, now_ns))
        return;
    const struct breaker_rates rates = {
        .failure_rate_ppm = get32(&b->failure_rate_ppm),
        .slow_rate_ppm = get32(&b->slow_rate_ppm),
        .min_calls = get32(&b->min_calls),
    };
    struct window_sum sum;
    uint64_t settled = breaker_settled_at(b, word);
    window_sum(&b->window, now_ns, &sum);
    enum breaker_cause cause = breaker_judge(&rates, sum.calls, sum.failures, sum.slow);
    if (cause == BREAKER_CAUSE_NONE) {
        if (sum.calls >= rates.min_calls)
            atomic_store_explicit(&b->settled, settled, memory_order_relaxed);
        return;
    }
    apply(b, (struct breaker_event){.kind = BREAKER_EV_TRIP,
                                    .cause = cause,
                                    .generation = breaker_word_generation(word),
                                    .now_ns = now_ns});
}

/* ---- calls ---- */

static struct breaker_step admit(struct breaker *b, int64_t now_ns)
{
    struct breaker_step step;
    uint64_t word = atomic_load_explicit(&b->word, memory_order_acquire);
    if (breaker_step_plain(word, now_ns, is_state_old(b, now_ns), &step))
        return step;
    return apply(b, (struct breaker_event){.kind = BREAKER_EV_ADMIT, .now_ns = now_ns});
}

bool breaker_admit_rest(struct breaker *b, int64_t now_ns, struct breaker_permit *out)
{
    now_ns = no_earlier(b, now_ns, get64(&b->changed_at_ns));
    if (inflight_is_due(&b->in_flight, now_ns))
        breaker_judge_window(b, now_ns);
    struct breaker_step step = admit(b, now_ns);
    *out = (struct breaker_permit){
        .start_ns = now_ns,
        .generation = breaker_word_generation(step.word),
        .role = (uint8_t)step.role,
        .lease = step.lease,
    };
    if (step.role == BREAKER_ROLE_NORMAL)
        breaker_admit_closed(b, step.word, now_ns, out);
    else if (step.role == BREAKER_ROLE_PROBE)
        count(&b->probes);
    else if (step.would_refuse)
        count(&b->would_reject);
    else if (step.role == BREAKER_ROLE_NONE)
        count(&b->rejected);
    return step.role != BREAKER_ROLE_NONE;
}

bool breaker_would_admit_rest(const struct breaker *b, int64_t now_ns)
{
    const struct breaker_rules rules = rules_of(b);
    uint64_t word = atomic_load_explicit(&b->word, memory_order_acquire);
    struct breaker_event event = {.kind = BREAKER_EV_ADMIT, .now_ns = now_ns};
    add_times(b, word, &event);
    return breaker_step(word, &rules, &event).role != BREAKER_ROLE_NONE;
}

/* What is known of a call that has ended. */
struct ending {
    const struct breaker_permit *permit;
    enum breaker_result result;
    bool is_slow;
    int64_t duration_ns;
    int64_t now_ns;
};

static bool is_failed(const struct ending *ending)
{
    return ending->result == BREAKER_FAILED;
}

/* Into the totals only. */
static void put_aside(struct breaker *b, const struct ending *ending)
{
    const struct window_sum counts = {
        .calls = 1,
        .failures = is_failed(ending),
        .slow = ending->is_slow,
        .duration_ns = (uint64_t)ending->duration_ns,
    };
    if (ending->result != BREAKER_NEUTRAL)
        window_aside(&b->window, &counts);
}

static struct breaker_step apply_result(struct breaker *b, const struct ending *ending)
{
    return apply(b, (struct breaker_event){.kind = BREAKER_EV_RESULT,
                                           .result = ending->result,
                                           .role = (enum breaker_role)ending->permit->role,
                                           .generation = ending->permit->generation,
                                           .lease = ending->permit->lease,
                                           .now_ns = ending->now_ns});
}

/* Admitted while CLOSED, and it is the same life still. */
static void record_normal(struct breaker *b, struct ending *ending)
{
    /* Another thread's clock may have found it slow before this one's does. */
    bool was_counted = inflight_end(&b->in_flight, ending->permit->stamp);
    ending->is_slow = ending->is_slow || was_counted;
    if (ending->result == BREAKER_NEUTRAL)
        return;
    if (was_counted && !is_failed(ending)) {
        put_aside(b, ending);
    } else {
        window_record(&b->window, is_failed(ending), ending->is_slow && !was_counted,
                      ending->duration_ns, ending->now_ns);
        if (was_counted)
            window_aside(&b->window, &(struct window_sum){.slow = 1});
    }
    apply_result(b, ending);
    breaker_judge_window(b, ending->now_ns);
}

void breaker_record_rest(struct breaker *b, const struct breaker_permit *permit,
                         enum outcome_verdict verdict, int64_t now_ns)
{
    if (permit->role == BREAKER_ROLE_NONE)
        return;
    now_ns = no_earlier(b, now_ns, permit->start_ns);
    struct ending ending = {
        .permit = permit,
        .duration_ns = now_ns - permit->start_ns,
        .is_slow = now_ns - permit->start_ns >= get64(&b->slow_ns),
        .now_ns = now_ns,
    };
    if (verdict == OUTCOME_VERDICT_FAILURE) {
        ending.result = BREAKER_FAILED;
        raise(&b->last_failure_ns, now_ns);
    } else if (verdict == OUTCOME_VERDICT_NEUTRAL) {
        ending.result = BREAKER_NEUTRAL;
        count(&b->neutral);
    } else {
        ending.result = ending.is_slow ? BREAKER_SLOW : BREAKER_SUCCEEDED;
    }
    if (permit->role == BREAKER_ROLE_NORMAL && permit->generation == breaker_generation(b)) {
        record_normal(b, &ending);
        return;
    }
    put_aside(b, &ending);
    if (permit->role != BREAKER_ROLE_OBSERVER && apply_result(b, &ending).was_stale)
        count(&b->stale);
}

/* ---- time ---- */

static int64_t first_lease_end(const struct breaker *b, uint64_t word)
{
    int64_t first_ns = HF_NEVER;
    for (uint32_t leases = breaker_word_leases(word); leases != 0; leases &= leases - 1)
        first_ns = ns_min(first_ns, get64(&b->lease_until_ns[bits_lowest(leases)]));
    return first_ns;
}

int64_t breaker_retry_at(const struct breaker *b)
{
    uint64_t word = atomic_load_explicit(&b->word, memory_order_acquire);
    if (breaker_word_is_monitor(word))
        return 0;
    switch (breaker_word_state(word)) {
    case BREAKER_OPEN:
        return breaker_word_open_until(word, get64(&b->changed_at_ns));
    case BREAKER_HALF_OPEN: {
        uint32_t all = (UINT32_C(1) << get32(&b->half_open_calls)) - 1;
        return (all & ~(uint32_t)breaker_word_leases(word)) != 0 ? 0 : first_lease_end(b, word);
    }
    case BREAKER_FORCED_OPEN:
        return HF_NEVER;
    case BREAKER_CLOSED:
    case BREAKER_DISABLED:
    case BREAKER_STATES:
        break;
    }
    return 0;
}

void breaker_tick(struct breaker *b, int64_t now_ns)
{
    now_ns = no_earlier(b, now_ns, get64(&b->changed_at_ns));
    breaker_judge_window(b, now_ns);
    apply(b, (struct breaker_event){.kind = BREAKER_EV_TICK, .now_ns = now_ns});
}

int64_t breaker_deadline(struct breaker *b)
{
    uint64_t word = atomic_load_explicit(&b->word, memory_order_acquire);
    if (breaker_word_state(word) == BREAKER_CLOSED)
        return inflight_deadline(&b->in_flight, breaker_word_generation(word));
    return breaker_word_state(word) == BREAKER_HALF_OPEN ? first_lease_end(b, word) : HF_NEVER;
}

/* ---- by hand ---- */

static struct breaker_step apply_at(struct breaker *b, enum breaker_event_kind kind, int64_t now_ns)
{
    return apply(b, (struct breaker_event){
                        .kind = kind,
                        .now_ns = no_earlier(b, now_ns, get64(&b->changed_at_ns)),
                    });
}

void breaker_force(struct breaker *b, enum breaker_state state, int64_t now_ns)
{
    hf_assert(state == BREAKER_FORCED_OPEN || state == BREAKER_DISABLED);
    apply_at(b, state == BREAKER_DISABLED ? BREAKER_EV_DISABLE : BREAKER_EV_FORCE_OPEN, now_ns);
}

void breaker_reset(struct breaker *b, int64_t now_ns)
{
    apply_at(b, BREAKER_EV_RESET, now_ns);
}

void breaker_set_mode(struct breaker *b, bool is_monitor)
{
    apply(b, (struct breaker_event){.kind = is_monitor ? BREAKER_EV_MONITOR : BREAKER_EV_ENFORCE});
}

bool breaker_trip(struct breaker *b, int64_t open_for_ns, int64_t now_ns)
{
    struct breaker_step step =
        apply(b, (struct breaker_event){
                     .kind = BREAKER_EV_ORDER,
                     .open_ns = open_for_ns,
                     .now_ns = no_earlier(b, now_ns, get64(&b->changed_at_ns)),
                 });
    return step.cause != BREAKER_CAUSE_NONE;
}

/* ---- what can be seen from outside ---- */

static uint64_t total(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void breaker_view(struct breaker *b, int64_t now_ns, struct breaker_view *out)
{
    uint64_t word = atomic_load_explicit(&b->word, memory_order_acquire);
    enum breaker_state state = breaker_word_state(word);
    struct breaker_change last;
    int64_t last_failure_ns = get64(&b->last_failure_ns);
    *out = (struct breaker_view){
        .state = state,
        .is_monitor = breaker_word_is_monitor(word),
        .generation = breaker_word_generation(word),
        .reopened = breaker_word_reopened(word),
        .consecutive = state == BREAKER_CLOSED ? breaker_word_aux(word) : 0,
        .successes = state == BREAKER_HALF_OPEN ? breaker_word_successes(word) : 0,
        .in_flight = inflight_count(&b->in_flight, breaker_word_generation(word)),
        .cause = recall(b, breaker_word_generation(word), &last) ? last.cause : BREAKER_CAUSE_NONE,
        .changed_at_ns = get64(&b->changed_at_ns),
        .last_failure_ns = last_failure_ns >= 0 ? last_failure_ns : HF_NEVER,
        .retry_at_ns = breaker_retry_at(b),
        .rejected = total(&b->rejected),
        .would_reject = total(&b->would_reject),
        .neutral = total(&b->neutral),
        .stale = total(&b->stale),
        .probes = total(&b->probes),
        .time_backwards = total(&b->time_backwards) + window_time_backwards(&b->window),
    };
    uint32_t leases = state == BREAKER_HALF_OPEN ? breaker_word_leases(word) : 0;
    for (; leases != 0; leases &= leases - 1)
        ++out->leases;
    window_sum(&b->window, now_ns, &out->window);
    window_total(&b->window, &out->total);
    out->successes_total = out->total.calls - out->total.failures;
}
