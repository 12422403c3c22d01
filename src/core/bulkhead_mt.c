/*
 * The slow path of core/bulkhead_mt.h: calls under the caller's lock, and the closing of a window
 * of the adaptive limit. Every function under the lock begins with tidy(), so that the queue holds
 * only those whose wait is not over, the flag says whether there are any, and the limit is the one
 * that is wanted, unless raising it would make room that nobody then hands out.
 */
#include "core/bulkhead_mt.h"

/* ---- the word ---- */

static uint64_t load(struct bulkhead *b)
{
    return atomic_load_explicit(&b->word, memory_order_relaxed);
}

/* False, with the word read again, if it was not `*word` any more. */
static bool swap(struct bulkhead *b, uint64_t *word, uint64_t next)
{
    return next == *word || atomic_compare_exchange_weak_explicit(
                                &b->word, word, next, memory_order_acq_rel, memory_order_relaxed);
}

static bool set_limit(struct bulkhead *b, uint32_t limit, bool is_locked)
{
    uint64_t word = load(b), next;
    do {
        if (!bulkhead_step_limit(word, limit, is_locked, &next))
            return false;
    } while (!swap(b, &word, next));
    return true;
}

/* The flag follows the queue. */
static void note_empty(struct bulkhead *b)
{
    if (b->queue.count > 0)
        return;
    uint64_t word = load(b);
    while (!swap(b, &word, bulkhead_step_empty(word)))
        ;
}

/* Raises the limit to what bulkhead_adapt() could not raise it to past waiters. It may want another
 * one meanwhile: it says so before it sets it, so whoever comes last has seen the other. */
static void catch_up(struct bulkhead *b, bool may_pass_waiters)
{
    uint32_t wanted = atomic_load(&b->limit_wanted);
    if (wanted <= bulkhead_limit(b))
        return;
    uint32_t was;
    do {
        was = wanted;
        if (!set_limit(b, was, may_pass_waiters))
            return;
        wanted = atomic_load(&b->limit_wanted);
    } while (wanted != was);
}

/* Returns the time, which never goes back. `will_serve`: room that a higher limit makes is given to
 * waiters next, by this call or by the pop_granted calls that must follow it. */
static int64_t tidy(struct bulkhead *b, int64_t now_ns, bool will_serve)
{
    if (now_ns < b->now_ns)
        atomic_fetch_add_explicit(&b->time_backwards, 1, memory_order_relaxed);
    else
        b->now_ns = now_ns;
    bulkhead_queue_expire(&b->queue, b->now_ns);
    note_empty(b);
    catch_up(b, will_serve);
    return b->now_ns;
}

/* ---- life ---- */

size_t bulkhead_size(const struct bulkhead_config *config)
{
    return sizeof(struct bulkhead) +
           (config->has_histograms ? sizeof(struct hist_mt) + sizeof(struct hist) : 0);
}

/* What is read without the lock. */
static void store_config(struct bulkhead *b, const struct bulkhead_config *config)
{
    bool has_histograms = b->waits != NULL;
    b->config = *config;
    b->config.has_histograms = has_histograms;
    atomic_store_explicit(&b->exec_ns_max, config->exec_ns_max, memory_order_relaxed);
    atomic_store_explicit(&b->is_adaptive, config->is_adaptive, memory_order_relaxed);
    atomic_store_explicit(&b->limit_min, config->adapt.limit_min, memory_order_relaxed);
    atomic_store_explicit(&b->limit_max, config->adapt.limit_max, memory_order_relaxed);
    atomic_store_explicit(&b->samples_min, config->adapt.samples_min, memory_order_relaxed);
    atomic_store_explicit(&b->window_ns, config->adapt.window_ns, memory_order_relaxed);
}

struct bulkhead *bulkhead_init(void *memory, const struct bulkhead_config *config, int64_t now_ns)
{
    hf_assert((uintptr_t)memory % BULKHEAD_ALIGN == 0);
    struct bulkhead *b = memory;
    memset(b, 0, sizeof *b);
    bulkhead_queue_init(&b->queue);
    b->now_ns = now_ns;
    if (config->has_histograms) {
        b->executions = (struct hist_mt *)(void *)(b + 1);
        b->waits = (struct hist *)(void *)(b->executions + 1);
        hist_mt_init(b->executions);
        hist_reset(b->waits);
    }
    store_config(b, config);
    bulkhead_resize(b, config->limit, now_ns);
    return b;
}

/* ---- the queue ---- */

static void grant(struct bulkhead *b, struct bulkhead_waiter *waiter, int64_t now_ns)
{
    bulkhead_fill(b, now_ns, &waiter->permit);
    waiter->state = BULKHEAD_WAITER_GRANTED;
}

/* The first in line gets the permit that the word already counts. */
static struct bulkhead_waiter *grant_first(struct bulkhead *b, int64_t now_ns)
{
    struct bulkhead_waiter *waiter = bulkhead_queue_pop(&b->queue);
    note_empty(b);
    grant(b, waiter, now_ns);
    ++b->granted_late;
    if (b->waits != NULL)
        hist_record(b->waits, now_ns - waiter->entered_ns);
    return waiter;
}

/* Whether a newcomer for whom there is no room may wait. Fills b->reason. */
static enum bulkhead_answer judge(struct bulkhead *b, uint64_t word)
{
    struct bulkhead_reason *reason = &b->reason;
    reason->in_use = bulkhead_word_in_use(word);
    reason->limit = bulkhead_word_limit(word);
    if (reason->limit == 0 && !b->config.waits_at_zero)
        return BULKHEAD_REFUSED_LIMIT;
    if (b->queue.count >= b->config.queue_max)
        return BULKHEAD_REFUSED_FULL;
    /* A debt has to be paid before the first in line is served. */
    uint32_t debt = reason->in_use > reason->limit ? reason->in_use - reason->limit : 0;
    uint32_t nth = reason->ahead + debt + 1;
    int64_t mean_ns = atomic_load_explicit(&b->mean_exec_ns, memory_order_relaxed);
    uint32_t limit = reason->limit > 0 ? reason->limit : 1;
    reason->expected_ns = bulkhead_expected_ns(nth, limit, mean_ns);
    if (reason->wait_left_ns <= 0 ||
        (b->config.refuses_hopeless &&
         bulkhead_is_hopeless(nth, limit, mean_ns, reason->wait_left_ns)))
        return BULKHEAD_REFUSED_HOPELESS;
    return BULKHEAD_QUEUED;
}

/* Decides, and changes the word accordingly. */
static enum bulkhead_answer decide(struct bulkhead *b)
{
    uint64_t word = load(b), next;
    for (;;) {
        if (b->reason.ahead == 0 && bulkhead_step_grant(word, &next)) {
            if (swap(b, &word, next))
                return BULKHEAD_GRANTED;
            continue;
        }
        enum bulkhead_answer answer = judge(b, word);
        if (answer != BULKHEAD_QUEUED)
            return answer;
        /* Either there is no room, or others wait and the flag is set already. */
        bool may_wait = bulkhead_step_wait(word, &next);
        hf_assert(may_wait);
        if (swap(b, &word, next))
            return BULKHEAD_QUEUED;
    }
}

enum bulkhead_answer bulkhead_enter(struct bulkhead *b, struct bulkhead_waiter *waiter,
                                    int64_t now_ns, uint8_t priority, int64_t wait_until_ns)
{
    hf_assert(waiter->state == BULKHEAD_WAITER_IDLE || waiter->state == BULKHEAD_WAITER_GRANTED);
    now_ns = tidy(b, now_ns, false);
    int64_t until_ns = ns_min(wait_until_ns, ns_add(now_ns, b->config.wait_ns_max));
    waiter->state = BULKHEAD_WAITER_IDLE;
    waiter->priority = priority < BULKHEAD_PRIORITIES ? priority : BULKHEAD_PRIORITIES - 1;
    waiter->entered_ns = now_ns;
    b->reason = (struct bulkhead_reason){
        .priority = waiter->priority,
        .ahead = bulkhead_queue_ahead(&b->queue, waiter->priority),
        .at_ns = now_ns,
        .wait_left_ns = until_ns - now_ns,
    };
    enum bulkhead_answer answer = decide(b);
    if (answer == BULKHEAD_GRANTED) {
        grant(b, waiter, now_ns);
    } else if (answer == BULKHEAD_QUEUED) {
        bulkhead_queue_push(&b->queue, waiter, until_ns);
        ++b->queued;
    } else {
        ++b->refused[answer];
    }
    b->reason.answer = answer;
    waiter->reason = b->reason;
    return answer;
}

struct bulkhead_waiter *bulkhead_hand_over(struct bulkhead *b, struct bulkhead_permit *permit,
                                           int64_t now_ns)
{
    hf_assert(permit->is_held);
    int64_t clamped_ns = tidy(b, now_ns, true);
    uint64_t word = load(b), next;
    bool is_free;
    do {
        hf_assert(bulkhead_word_in_use(word) > 0);
        is_free = bulkhead_step_free(word, &next);
    } while (is_free && !swap(b, &word, next));
    permit->is_held = false;
    struct bulkhead_waiter *first = is_free ? NULL : grant_first(b, clamped_ns);
    bulkhead_book(b, permit, now_ns);
    return first;
}

struct bulkhead_waiter *bulkhead_pop_granted(struct bulkhead *b, int64_t now_ns)
{
    now_ns = tidy(b, now_ns, true);
    if (b->queue.count == 0)
        return NULL;
    uint64_t word = load(b), next;
    do {
        if (!bulkhead_step_grant(word, &next))
            return NULL;
    } while (!swap(b, &word, next));
    return grant_first(b, now_ns);
}

bool bulkhead_withdraw(struct bulkhead *b, struct bulkhead_waiter *waiter, int64_t now_ns)
{
    tidy(b, now_ns, false);
    bool was_waiting = bulkhead_queue_withdraw(&b->queue, waiter);
    note_empty(b);
    return was_waiting;
}

struct bulkhead_waiter *bulkhead_pop_expired(struct bulkhead *b, int64_t now_ns)
{
    tidy(b, now_ns, false);
    return bulkhead_queue_pop_expired(&b->queue);
}

int64_t bulkhead_deadline(const struct bulkhead *b)
{
    return list_is_empty(&b->queue.expired) ? timerq_deadline(&b->queue.timers) : b->now_ns;
}

const struct bulkhead_waiter *bulkhead_first(const struct bulkhead *b)
{
    return bulkhead_queue_first(&b->queue);
}

uint32_t bulkhead_waiting(const struct bulkhead *b)
{
    return b->queue.count;
}

const struct bulkhead_reason *bulkhead_reason(const struct bulkhead *b)
{
    return &b->reason;
}

/* ---- the limit ---- */

/* struct adapt as others may see it: 20 bits crowd | 4 verdict | 40 windows */
static uint64_t seen(const struct adapt *adapt)
{
    return adapt->crowd | (uint64_t)adapt->verdict << 20 | adapt->windows << 24;
}

static struct adapt_config adapt_config_of(struct bulkhead *b)
{
    return (struct adapt_config){
        .limit_min = atomic_load_explicit(&b->limit_min, memory_order_relaxed),
        .limit_max = atomic_load_explicit(&b->limit_max, memory_order_relaxed),
        .samples_min = atomic_load_explicit(&b->samples_min, memory_order_relaxed),
        .window_ns = atomic_load_explicit(&b->window_ns, memory_order_relaxed),
    };
}

/* With the window claimed: how many ran at once in it at most. Counting begins anew. */
static uint32_t take_peak(struct bulkhead *b)
{
    uint64_t word = load(b);
    while (!swap(b, &word, bulkhead_step_low(word)))
        ;
    uint32_t peak = bulkhead_word_high(word);
    if (peak > atomic_load_explicit(&b->high_before, memory_order_relaxed))
        atomic_store_explicit(&b->high_before, peak, memory_order_relaxed);
    return peak;
}

/* With the window claimed: a limit set by hand, or else the one that the samples in `word` tell. */
static void next_window(struct bulkhead *b, uint64_t word, int64_t now_ns)
{
    const struct adapt_config config = adapt_config_of(b);
    bool is_adaptive = atomic_load_explicit(&b->is_adaptive, memory_order_relaxed);
    uint64_t order = atomic_exchange(&b->order, 0);
    uint32_t limit = (uint32_t)order, peak = take_peak(b);
    if (order != 0)
        adapt_init(&b->adapt, &config, limit);
    else if (is_adaptive)
        limit = adapt_close(&b->adapt, &config, word, peak);
    else
        return; /* it was adaptive when the sample was taken */
    struct adapt_window window = adapt_window_open(&config, limit, now_ns);
    atomic_store_explicit(&b->window_begun_ns, window.begun_ns, memory_order_relaxed);
    atomic_store_explicit(&b->window_due_ns, window.due_ns, memory_order_relaxed);
    atomic_store_explicit(&b->window_samples, window.samples, memory_order_relaxed);
    atomic_store_explicit(&b->adapt_seen, seen(&b->adapt), memory_order_relaxed);
    atomic_store(&b->limit_wanted, limit);
    set_limit(b, limit, false);
}

/* Whether a limit was ordered, or the window is over. */
static bool has_cause(struct bulkhead *b, uint64_t word, int64_t now_ns)
{
    struct adapt_window window = {
        .begun_ns = atomic_load_explicit(&b->window_begun_ns, memory_order_relaxed),
        .due_ns = atomic_load_explicit(&b->window_due_ns, memory_order_relaxed),
        .samples = atomic_load_explicit(&b->window_samples, memory_order_relaxed),
    };
    return atomic_load(&b->order) != 0 || adapt_window_is_due(&window, word, now_ns);
}

void bulkhead_adapt(struct bulkhead *b, int64_t now_ns)
{
    for (;;) {
        uint64_t word = atomic_load(&b->samples);
        /* Whoever has claimed it looks for orders after opening the next window, as the loop does
         * here, so an order that was stored before this load is not overlooked. */
        if ((word & ADAPT_CLAIMED) != 0 || !has_cause(b, word, now_ns))
            return;
        if (!atomic_compare_exchange_strong_explicit(&b->samples, &word, word | ADAPT_CLAIMED,
                                                     memory_order_seq_cst, memory_order_relaxed))
            continue;
        /* Another thread may have done it and come to an equal word before this one claimed it:
         * now that nobody else can, the question has an answer. */
        bool is_cause_left = has_cause(b, word, now_ns);
        if (is_cause_left)
            next_window(b, word, now_ns);
        atomic_store(&b->samples, is_cause_left ? 0 : word);
    }
}

void bulkhead_resize(struct bulkhead *b, uint32_t limit, int64_t now_ns)
{
    now_ns = tidy(b, now_ns, true);
    if (b->config.is_adaptive && limit != 0)
        limit = adapt_clamp(&b->config.adapt, limit);
    atomic_store(&b->order, BULKHEAD_ORDER | limit);
    bulkhead_adapt(b, now_ns);
    /* A claimer that found the limit before it could see the order may still set the one and then
     * the other; what counts is that from now on this one is in force. */
    atomic_store(&b->limit_wanted, limit);
    set_limit(b, limit, true);
}

void bulkhead_configure(struct bulkhead *b, const struct bulkhead_config *config, int64_t now_ns)
{
    bool is_learning = b->config.is_adaptive && config->is_adaptive;
    uint32_t limit = bulkhead_limit(b), next = config->limit;
    if (is_learning && limit != 0 && next != 0)
        next = adapt_clamp(&config->adapt, limit);
    store_config(b, config);
    if (!is_learning || next != limit)
        bulkhead_resize(b, next, now_ns);
}

/* ---- what can be seen from outside ---- */

static uint64_t completed(struct bulkhead *b)
{
    if (b->executions == NULL)
        return atomic_load_explicit(&b->completed, memory_order_relaxed);
    uint64_t sum = 0;
    for (size_t i = 0; i < HIST_BUCKETS; i++)
        sum += atomic_load_explicit(&b->executions->buckets[i], memory_order_relaxed);
    return sum;
}

void bulkhead_view(struct bulkhead *b, int64_t now_ns, struct bulkhead_view *view)
{
    uint64_t word = load(b);
    uint64_t adapt = atomic_load_explicit(&b->adapt_seen, memory_order_relaxed);
    *view = (struct bulkhead_view){
        .at_ns = now_ns,
        .in_use = bulkhead_word_in_use(word),
        .limit = bulkhead_word_limit(word),
        .high_water = bulkhead_word_high(word),
        .waiting = b->queue.count,
        .completed = completed(b),
        .unused = atomic_load_explicit(&b->unused, memory_order_relaxed),
        .overloaded = atomic_load_explicit(&b->overloaded, memory_order_relaxed),
        .overruns = atomic_load_explicit(&b->overruns, memory_order_relaxed),
        .queued = b->queued,
        .granted_late = b->granted_late,
        .timed_out = b->queue.timed_out,
        .cancelled = b->queue.cancelled,
        .time_backwards = atomic_load_explicit(&b->time_backwards, memory_order_relaxed),
        .mean_exec_ns = atomic_load_explicit(&b->mean_exec_ns, memory_order_relaxed),
        .is_adaptive = b->config.is_adaptive,
        .verdict = (enum adapt_verdict)(adapt >> 20 & 0xf),
        .crowd = (uint32_t)(adapt & BULKHEAD_FIELD),
        .windows = adapt >> 24,
    };
    uint32_t high_before = atomic_load_explicit(&b->high_before, memory_order_relaxed);
    if (high_before > view->high_water)
        view->high_water = high_before;
    view->accepted = view->completed + view->unused + view->in_use;
    memcpy(view->refused, b->refused, sizeof view->refused);
}

void bulkhead_waits(struct bulkhead *b, struct hist *out)
{
    hist_reset(out);
    if (b->waits == NULL)
        return;
    struct bulkhead_view view;
    bulkhead_view(b, b->now_ns, &view);
    hist_merge(out, b->waits);
    /* Permits that are being given back just now may be missing from what was accepted. */
    if (view.accepted > view.granted_late)
        hist_record_n(out, 0, view.accepted - view.granted_late);
}

void bulkhead_executions(struct bulkhead *b, struct hist *out)
{
    if (b->executions == NULL)
        hist_reset(out);
    else
        hist_mt_snapshot(b->executions, out);
}
