#include "core/bulkhead.h"

#include "base/bug.h"
#include "base/container_of.h"
#include "base/hist.h"
#include "base/ns.h"

struct bulkhead_config bulkhead_config_default(void)
{
    return (struct bulkhead_config){
        .limit = 100,
        .queue_max = 50,
        .wait_ns_max = HF_SEC(5),
        .exec_ns_max = HF_SEC(30),
        .refuses_hopeless = true,
        .has_histograms = true,
        .is_adaptive = false,
        .adapt = adapt_config_default(),
    };
}

enum hf_rc bulkhead_config_check(const struct bulkhead_config *config, struct hf_err *err)
{
    if (config->limit > BULKHEAD_LIMIT_MAX) {
        err_set(err, HF_RC_INVALID, "22023", "the limit of a bulkhead is out of range");
        return err_detail(err, "It is %u; 0 (closed) to %d are possible.", config->limit,
                          BULKHEAD_LIMIT_MAX);
    }
    if (config->queue_max > BULKHEAD_QUEUE_MAX) {
        err_set(err, HF_RC_INVALID, "22023", "the queue of a bulkhead is out of range");
        return err_detail(err, "It has %u places; 0 to %d are possible.", config->queue_max,
                          BULKHEAD_QUEUE_MAX);
    }
    if (config->wait_ns_max < 0 || config->wait_ns_max == HF_NEVER) {
        err_set(err, HF_RC_INVALID, "22023", "the wait limit of a bulkhead is out of range");
        return err_hint(err, "A wait without end is a hang: give it a length.");
    }
    if (config->exec_ns_max <= 0)
        return err_set(err, HF_RC_INVALID, "22023",
                       "the execution limit of a bulkhead must be above zero, or never");
    return config->is_adaptive ? adapt_config_check(&config->adapt, err) : HF_OK;
}

/* ---- the word ---- */

bool bulkhead_step_free(uint64_t word, uint64_t *next)
{
    *next = word - 1;
    return !bulkhead_word_has_waiters(word) ||
           bulkhead_word_in_use(word) > bulkhead_word_limit(word);
}

bool bulkhead_step_wait(uint64_t word, uint64_t *next)
{
    *next = word | BULKHEAD_WAITERS;
    return bulkhead_word_has_waiters(word) ||
           bulkhead_word_in_use(word) >= bulkhead_word_limit(word);
}

uint64_t bulkhead_step_empty(uint64_t word)
{
    return word & ~BULKHEAD_WAITERS;
}

uint64_t bulkhead_step_low(uint64_t word)
{
    return (word & ~(BULKHEAD_FIELD << BULKHEAD_HIGH_AT)) | (uint64_t)bulkhead_word_in_use(word)
                                                                << BULKHEAD_HIGH_AT;
}

bool bulkhead_step_limit(uint64_t word, uint32_t limit, bool is_locked, uint64_t *next)
{
    *next = (word & ~(BULKHEAD_FIELD << BULKHEAD_LIMIT_AT)) | (uint64_t)limit << BULKHEAD_LIMIT_AT;
    return is_locked || !bulkhead_word_has_waiters(word) || limit <= bulkhead_word_in_use(word);
}

/* ---- the queue ---- */

void bulkhead_queue_init(struct bulkhead_queue *queue)
{
    *queue = (struct bulkhead_queue){0};
    for (size_t i = 0; i < BULKHEAD_PRIORITIES; i++) {
        list_init(&queue->waiting[i]);
        timerq_init(&queue->ranked[i]);
    }
    list_init(&queue->expired);
    timerq_init(&queue->timers);
}

uint32_t bulkhead_queue_ahead(const struct bulkhead_queue *queue, uint8_t priority)
{
    uint32_t ahead = 0;
    for (size_t i = 0; i <= priority; i++)
        ahead += queue->waiting_count[i];
    return ahead;
}

void bulkhead_queue_push(struct bulkhead_queue *queue, struct bulkhead_waiter *waiter,
                         int64_t until_ns)
{
    if (waiter->rank == 0)
        list_push_back(&queue->waiting[waiter->priority], &waiter->link);
    else
        timerq_add(&queue->ranked[waiter->priority], &waiter->place, (int64_t)waiter->rank);
    timerq_add(&queue->timers, &waiter->timer, until_ns);
    ++queue->waiting_count[waiter->priority];
    ++queue->count;
    waiter->state = BULKHEAD_WAITER_WAITING;
}

/* Out of the line; the timer is the caller's affair. */
static void leave(struct bulkhead_queue *queue, struct bulkhead_waiter *waiter)
{
    if (timerq_is_linked(&waiter->place))
        timerq_remove(&queue->ranked[waiter->priority], &waiter->place);
    else
        list_remove(&waiter->link);
    --queue->waiting_count[waiter->priority];
    --queue->count;
    waiter->state = BULKHEAD_WAITER_IDLE;
}

struct bulkhead_waiter *bulkhead_queue_first(const struct bulkhead_queue *queue)
{
    for (size_t i = 0; i < BULKHEAD_PRIORITIES; i++) {
        struct list_node *first = list_first(&queue->waiting[i]);
        if (first != NULL)
            return container_of(first, struct bulkhead_waiter, link);
        if (queue->ranked[i].first != NULL)
            return container_of(queue->ranked[i].first, struct bulkhead_waiter, place);
    }
    return NULL;
}

struct bulkhead_waiter *bulkhead_queue_pop(struct bulkhead_queue *queue)
{
    struct bulkhead_waiter *waiter = bulkhead_queue_first(queue);
    if (waiter == NULL)
        return NULL;
    timerq_remove(&queue->timers, &waiter->timer);
    leave(queue, waiter);
    return waiter;
}

void bulkhead_queue_expire(struct bulkhead_queue *queue, int64_t now_ns)
{
    struct timer *timer;
    while ((timer = timerq_pop_due(&queue->timers, now_ns)) != NULL) {
        struct bulkhead_waiter *waiter = container_of(timer, struct bulkhead_waiter, timer);
        leave(queue, waiter);
        list_push_back(&queue->expired, &waiter->link);
        waiter->state = BULKHEAD_WAITER_EXPIRED;
        ++queue->timed_out;
    }
}

struct bulkhead_waiter *bulkhead_queue_pop_expired(struct bulkhead_queue *queue)
{
    struct list_node *first = list_pop_front(&queue->expired);
    if (first == NULL)
        return NULL;
    struct bulkhead_waiter *waiter = container_of(first, struct bulkhead_waiter, link);
    waiter->state = BULKHEAD_WAITER_IDLE;
    return waiter;
}

bool bulkhead_queue_withdraw(struct bulkhead_queue *queue, struct bulkhead_waiter *waiter)
{
    switch (waiter->state) {
    case BULKHEAD_WAITER_GRANTED:
        return false;
    case BULKHEAD_WAITER_WAITING:
        timerq_remove(&queue->timers, &waiter->timer);
        leave(queue, waiter);
        ++queue->cancelled;
        return true;
    case BULKHEAD_WAITER_EXPIRED:
        list_remove(&waiter->link);
        waiter->state = BULKHEAD_WAITER_IDLE;
        return true;
    case BULKHEAD_WAITER_IDLE:
        break;
    }
    return true;
}

/* ---- hopeless waits ---- */

/* n intervals of mean/limit. Durations beyond what a histogram tells apart are as good as that,
 * and keep the product inside 62 bits. */
static int64_t intervals_ns(uint32_t n, uint32_t limit, int64_t mean_ns)
{
    return (int64_t)n * ns_min(mean_ns, HIST_RANGE_NS) / limit;
}

int64_t bulkhead_expected_ns(uint32_t nth, uint32_t limit, int64_t mean_ns)
{
    return intervals_ns(nth, limit, mean_ns);
}

bool bulkhead_is_hopeless(uint32_t nth, uint32_t limit, int64_t mean_ns, int64_t left_ns)
{
    /* 2 sqrt(n) = sqrt(4 n), rounded up, by Newton's method from above. */
    uint64_t square = 4 * (uint64_t)nth, root = square;
    for (uint64_t next = (root + 1) / 2; next < root; next = (root + square / root) / 2)
        root = next;
    if (root * root < square)
        ++root;
    if (nth <= root)
        return false;
    return intervals_ns(nth - (uint32_t)root, limit, mean_ns) > left_ns;
}

const char *bulkhead_answer_name(enum bulkhead_answer answer)
{
    static const char *const names[BULKHEAD_ANSWERS] = {
        [BULKHEAD_GRANTED] = "granted",
        [BULKHEAD_QUEUED] = "queued",
        [BULKHEAD_REFUSED_FULL] = "refused_full",
        [BULKHEAD_REFUSED_HOPELESS] = "refused_hopeless",
        [BULKHEAD_REFUSED_LIMIT] = "refused_closed",
    };
    hf_assert((unsigned)answer < BULKHEAD_ANSWERS);
    return names[answer];
}
