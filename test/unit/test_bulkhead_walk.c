/*
 * The bulkhead beside a model that is too simple to be wrong: a few clients with a state each, and
 * no queue at all (who is first is looked up). Every step is made on both and compared.
 *
 * What a thread does without the lock is a step of its own; what it does under the lock is one
 * step, but for the loop of pop_granted calls, between which other threads may still take the fast
 * path. The walk makes every step in every state that three clients can reach; the random test
 * makes many steps with more of everything.
 */
#include "unit.h"

#include <stdalign.h>
#include <string.h>

#include "base/ns.h"
#include "base/rng.h"
#include "core/bulkhead_mt.h"

#define CLIENTS_MAX 8
#define LIMIT_MAX   5

enum client_state {
    OUT,
    HOLDS,
    RETURNS, /* bulkhead_release said that somebody waits: the hand-over is still to come */
    WAITS,
    EXPIRED, /* its limit has passed, and the bulkhead has noticed */
};

struct client {
    enum client_state state;
    bool by_waiter; /* the permit came to the waiter, not from bulkhead_try() */
    uint8_t priority;
    uint32_t arrival;
    int64_t until_ns;
    struct bulkhead_permit permit;
    struct bulkhead_waiter waiter;
};

/* The bulkhead and its model. Holds pointers into itself: it is saved and restored in place. */
static struct world {
    alignas(BULKHEAD_ALIGN) char memory[sizeof(struct bulkhead)];
    int64_t now_ns;
    uint32_t clients, queue_max, limit, wanted, arrivals;
    bool waits_at_zero;
    bool is_popping; /* whoever holds the lock has not yet heard NULL from pop_granted */
    uint64_t accepted, queued, granted_late, timed_out, cancelled, refused[BULKHEAD_ANSWERS];
    struct client client[CLIENTS_MAX];
} world;

static struct bulkhead *bulkhead(void)
{
    return (struct bulkhead *)(void *)world.memory;
}

static void begin(uint32_t clients, uint32_t limit, uint32_t queue_max, bool waits_at_zero)
{
    memset(&world, 0, sizeof world);
    world.waits_at_zero = waits_at_zero;
    world.clients = clients;
    world.queue_max = queue_max;
    world.limit = world.wanted = limit;
    struct bulkhead_config config = bulkhead_config_default();
    config.limit = limit;
    config.queue_max = queue_max;
    config.waits_at_zero = waits_at_zero;
    config.refuses_hopeless = false;
    config.has_histograms = false;
    assert_int_equal(bulkhead_size(&config), sizeof world.memory);
    bulkhead_init(world.memory, &config, 0);
}

/* ---- the model ---- */

static uint32_t count(enum client_state state)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < world.clients; i++)
        n += world.client[i].state == state;
    return n;
}

static uint32_t held(void)
{
    return count(HOLDS) + count(RETURNS);
}

/* What every call under the lock does first. `will_serve`: who waits is looked after next. */
static void model_tidy(bool will_serve)
{
    for (uint32_t i = 0; i < world.clients; i++) {
        struct client *client = &world.client[i];
        if (client->state == WAITS && client->until_ns <= world.now_ns) {
            client->state = EXPIRED;
            ++world.timed_out;
        }
    }
    if (world.wanted > world.limit && (will_serve || count(WAITS) == 0 || world.wanted <= held()))
        world.limit = world.wanted;
}

static struct client *first_waiter(void)
{
    struct client *first = NULL;
    for (uint32_t i = 0; i < world.clients; i++) {
        struct client *client = &world.client[i];
        if (client->state != WAITS)
            continue;
        if (first == NULL || client->priority < first->priority ||
            (client->priority == first->priority && client->arrival < first->arrival))
            first = client;
    }
    return first;
}

static void model_grant(struct client *client, bool by_waiter)
{
    client->by_waiter = by_waiter;
    client->state = HOLDS;
    ++world.accepted;
    assert_true(held() <= world.limit);
}

/* ---- steps: each returns false where it makes no sense ---- */

static void granted(struct bulkhead_waiter *waiter, struct client *expected)
{
    assert_ptr_equal(waiter, expected != NULL ? &expected->waiter : NULL);
    if (expected == NULL)
        return;
    assert_int_equal(expected->waiter.state, BULKHEAD_WAITER_GRANTED);
    assert_true(expected->until_ns > world.now_ns);
    expected->permit = expected->waiter.permit;
    model_grant(expected, true);
    ++world.granted_late;
}

static bool step_try(struct client *client)
{
    if (client->state != OUT)
        return false;
    bool is_expected = count(WAITS) == 0 && held() < world.limit;
    assert_int_equal(bulkhead_try(bulkhead(), world.now_ns, &client->permit), is_expected);
    if (is_expected)
        model_grant(client, false);
    return true;
}

static enum bulkhead_answer model_answer(uint8_t priority, int64_t patience_ns)
{
    uint32_t ahead = 0;
    for (uint32_t i = 0; i < world.clients; i++)
        ahead += world.client[i].state == WAITS && world.client[i].priority <= priority;
    if (ahead == 0 && held() < world.limit)
        return BULKHEAD_GRANTED;
    if (world.limit == 0 && !world.waits_at_zero)
        return BULKHEAD_REFUSED_LIMIT;
    if (count(WAITS) >= world.queue_max)
        return BULKHEAD_REFUSED_FULL;
    return patience_ns > 0 ? BULKHEAD_QUEUED : BULKHEAD_REFUSED_HOPELESS;
}

static bool step_enter(struct client *client, uint8_t priority, int64_t patience_ns)
{
    if (client->state != OUT || world.is_popping)
        return false;
    model_tidy(false);
    enum bulkhead_answer expected = model_answer(priority, patience_ns);
    client->until_ns = world.now_ns + patience_ns;
    assert_int_equal(
        bulkhead_enter(bulkhead(), &client->waiter, world.now_ns, priority, client->until_ns),
        expected);
    client->priority = priority;
    client->arrival = ++world.arrivals;
    if (expected == BULKHEAD_GRANTED) {
        client->permit = client->waiter.permit;
        model_grant(client, true);
    } else if (expected == BULKHEAD_QUEUED) {
        client->state = WAITS;
        ++world.queued;
    } else {
        ++world.refused[expected];
    }
    return true;
}

static bool step_release(struct client *client)
{
    if (client->state != HOLDS)
        return false;
    bool is_expected = count(WAITS) == 0;
    assert_int_equal(bulkhead_release(bulkhead(), &client->permit, world.now_ns), is_expected);
    client->state = is_expected ? OUT : RETURNS;
    return true;
}

static bool step_hand_over(struct client *client)
{
    if (client->state != RETURNS || world.is_popping)
        return false;
    model_tidy(true);
    bool is_passed_on = count(WAITS) > 0 && held() <= world.limit;
    client->state = OUT;
    granted(bulkhead_hand_over(bulkhead(), &client->permit, world.now_ns),
            is_passed_on ? first_waiter() : NULL);
    world.is_popping = true;
    return true;
}

static bool step_pop_granted(void)
{
    if (!world.is_popping)
        return false;
    model_tidy(true);
    struct client *expected = held() < world.limit ? first_waiter() : NULL;
    granted(bulkhead_pop_granted(bulkhead(), world.now_ns), expected);
    world.is_popping = expected != NULL;
    return true;
}

static bool step_withdraw(struct client *client)
{
    if (client->state == OUT || client->state == RETURNS || world.is_popping)
        return false;
    if (client->state == HOLDS && !client->by_waiter)
        return false;
    model_tidy(false);
    assert_int_equal(bulkhead_withdraw(bulkhead(), &client->waiter, world.now_ns),
                     client->state != HOLDS);
    if (client->state == WAITS)
        ++world.cancelled;
    if (client->state != HOLDS)
        client->state = OUT;
    return true;
}

static bool step_pop_expired(void)
{
    if (world.is_popping)
        return false;
    model_tidy(false);
    struct bulkhead_waiter *waiter = bulkhead_pop_expired(bulkhead(), world.now_ns);
    assert_int_equal(waiter != NULL, count(EXPIRED) > 0);
    if (waiter != NULL) {
        struct client *client = container_of(waiter, struct client, waiter);
        assert_int_equal(client->state, EXPIRED);
        client->state = OUT;
    }
    return true;
}

static bool step_resize(uint32_t limit)
{
    if (world.is_popping)
        return false;
    model_tidy(true);
    bulkhead_resize(bulkhead(), limit, world.now_ns);
    world.limit = world.wanted = limit;
    world.is_popping = true;
    return true;
}

/* What an adaptive limit does, from any thread and without the lock. */
static bool step_adapt(uint32_t limit)
{
    atomic_store(&bulkhead()->order, BULKHEAD_ORDER | limit);
    bulkhead_adapt(bulkhead(), world.now_ns);
    world.wanted = limit;
    if (count(WAITS) == 0 || limit <= held())
        world.limit = limit;
    return true;
}

static bool step_tick(void)
{
    ++world.now_ns;
    return true;
}

/* ---- what always holds ---- */

static void check_counters(void)
{
    struct bulkhead_view view;
    bulkhead_view(bulkhead(), world.now_ns, &view);
    assert_int_equal(view.accepted, world.accepted);
    assert_int_equal(view.queued, world.queued);
    assert_int_equal(view.granted_late, world.granted_late);
    assert_int_equal(view.timed_out, world.timed_out);
    assert_int_equal(view.cancelled, world.cancelled);
    assert_memory_equal(view.refused, world.refused, sizeof world.refused);
}

static void check(void)
{
    const struct bulkhead *b = bulkhead();
    uint32_t waiting = count(WAITS);
    assert_int_equal(bulkhead_in_use(bulkhead()), held());
    assert_int_equal(bulkhead_limit(bulkhead()), world.limit);
    assert_int_equal(bulkhead_waiting(b), waiting);
    assert_int_equal(bulkhead_word_has_waiters(atomic_load(&b->word)), waiting > 0);
    const struct client *first = first_waiter();
    assert_ptr_equal(bulkhead_first(b), first != NULL ? &first->waiter : NULL);
    /* No hand-over is lost: while somebody waits, enough permits are out to serve them. */
    if (waiting > 0 && !world.is_popping)
        assert_true(held() >= world.limit);
    int64_t deadline = HF_NEVER;
    for (uint32_t i = 0; i < world.clients; i++)
        if (world.client[i].state == WAITS || world.client[i].state == EXPIRED)
            deadline = ns_min(deadline, world.client[i].until_ns);
    if (count(EXPIRED) > 0)
        assert_true(bulkhead_deadline(b) <= world.now_ns);
    else
        assert_int_equal(bulkhead_deadline(b), deadline);
    check_counters();
}

/* From wherever we are, everybody gets out if operations end and time goes on. */
static void drain(int64_t patience_ns_max)
{
    for (int64_t i = 0; i <= patience_ns_max; i++) {
        while (world.is_popping)
            step_pop_granted();
        for (uint32_t j = 0; j < world.clients; j++) {
            step_release(&world.client[j]);
            step_hand_over(&world.client[j]);
            while (world.is_popping)
                step_pop_granted();
        }
        do {
            step_pop_expired();
        } while (count(EXPIRED) > 0);
        step_tick();
    }
    assert_int_equal(count(OUT), world.clients);
    check();
    if (world.limit > 0)
        assert_int_equal(model_answer(0, 0), BULKHEAD_GRANTED);
    step_try(&world.client[0]);
}

/* ---- the walk ---- */

#define WALK_CLIENTS  3
#define WALK_PATIENCE 2
#define STATES_MAX    (1 << 20)

/* Step number n of all that there are: false if there is no such step. `was_made` is false where it
 * makes no sense in this state. */
static bool walk_step(uint32_t n, bool *was_made)
{
    struct client *client = &world.client[n % WALK_CLIENTS];
    uint32_t limit = n % 3;
    *was_made = false;
    switch (n / 3) {
    case 0:
        *was_made = step_try(client);
        return true;
    case 1: /* the last client is more important than the others */
        *was_made = step_enter(client, n % WALK_CLIENTS == 2 ? 0 : 1, WALK_PATIENCE);
        return true;
    case 2:
        *was_made = step_release(client);
        return true;
    case 3:
        *was_made = step_hand_over(client);
        return true;
    case 4:
        *was_made = step_withdraw(client);
        return true;
    case 5:
        *was_made = step_resize(limit);
        return true;
    case 6:
        *was_made = step_adapt(limit);
        return true;
    case 7:
        *was_made = limit == 0 ? step_tick() : limit == 1 ? step_pop_granted() : step_pop_expired();
        return true;
    default:
        return false;
    }
}

/* Everything about the world that its future depends on. */
static uint64_t fingerprint(void)
{
    uint64_t key = world.limit | world.wanted << 2 | (uint64_t)world.is_popping << 4;
    unsigned at = 5;
    for (uint32_t i = 0; i < world.clients; i++) {
        const struct client *client = &world.client[i];
        uint64_t rank = 0, left = 0;
        bool is_queued = client->state == WAITS || client->state == EXPIRED;
        for (uint32_t j = 0; is_queued && j < world.clients; j++)
            rank +=
                world.client[j].state == client->state && world.client[j].arrival < client->arrival;
        if (client->state == WAITS)
            left = (uint64_t)ns_max(client->until_ns - world.now_ns, 0);
        bool by_waiter = client->state == HOLDS && client->by_waiter;
        key |= ((uint64_t)client->state | rank << 3 | left << 5 | (uint64_t)by_waiter << 7) << at;
        at += 8;
    }
    return key;
}

/* States by fingerprint, and how each was reached first. */
static struct {
    uint64_t key;
    uint32_t from;
    uint32_t step;
} seen[STATES_MAX];
static uint32_t slots[2 * STATES_MAX]; /* index into `seen`, plus 1 */
static uint32_t seen_count;

static void remember(uint32_t from, uint32_t step)
{
    uint64_t key = fingerprint();
    uint64_t at = rng_mix(key) % (2 * STATES_MAX);
    for (; slots[at] != 0; at = (at + 1) % (2 * STATES_MAX))
        if (seen[slots[at] - 1].key == key)
            return;
    assert_true(seen_count < STATES_MAX);
    seen[seen_count].key = key;
    seen[seen_count].from = from;
    seen[seen_count].step = step;
    slots[at] = ++seen_count;
}

/* Makes the world the n-th state, by the steps that led there. */
static void go_to(uint32_t n, bool waits_at_zero)
{
    uint32_t path[64], length = 0;
    for (uint32_t at = n; at != 0; at = seen[at].from) {
        assert_true(length < 64);
        path[length++] = seen[at].step;
    }
    begin(WALK_CLIENTS, 1, 2, waits_at_zero);
    bool was_made;
    while (length > 0)
        walk_step(path[--length], &was_made);
}

static void walk(bool waits_at_zero)
{
    static struct world here;
    uint64_t steps = 0;
    seen_count = 0;
    memset(slots, 0, sizeof slots);
    begin(WALK_CLIENTS, 1, 2, waits_at_zero);
    remember(0, 0);
    for (uint32_t n = 0; n < seen_count; n++) {
        go_to(n, waits_at_zero);
        here = world;
        drain(WALK_PATIENCE);
        world = here;
        bool was_made;
        for (uint32_t step = 0; walk_step(step, &was_made); step++) {
            if (!was_made)
                continue;
            ++steps;
            check();
            remember(n, step);
            world = here;
        }
    }
    print_message("%u states, %llu steps\n", seen_count, (unsigned long long)steps);
    assert_true(seen_count > 1000);
}

static void bulkhead_walk__every_step_in_every_state_agrees_with_the_model(void **state)
{
    (void)state;
    walk(false);
}

static void bulkhead_walk__so_it_does_where_a_limit_of_zero_is_waited_at(void **state)
{
    (void)state;
    walk(true);
}

/* ---- at random ---- */

static void random_step(struct rng *rng)
{
    struct client *client = &world.client[rng_below(rng, world.clients)];
    switch (rng_below(rng, 12)) {
    case 0:
    case 1:
        step_try(client);
        break;
    case 2:
    case 3:
    case 4:
        step_enter(client, (uint8_t)rng_below(rng, BULKHEAD_PRIORITIES), rng_range_ns(rng, 0, 9));
        break;
    case 5:
    case 6:
        step_release(client);
        break;
    case 7:
        step_withdraw(client);
        break;
    case 8:
        step_pop_expired();
        break;
    case 9:
        step_tick();
        break;
    case 10:
        step_resize((uint32_t)rng_below(rng, LIMIT_MAX + 1));
        break;
    default:
        step_adapt((uint32_t)rng_below(rng, LIMIT_MAX + 1));
        break;
    }
    step_hand_over(client);
    while (world.is_popping && rng_below(rng, 4) != 0)
        step_pop_granted();
}

static void bulkhead_walk__random_steps_agree_with_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        begin(2 + (uint32_t)(seed % (CLIENTS_MAX - 1)), (uint32_t)(seed % LIMIT_MAX),
              (uint32_t)(seed % 5), seed % 2 == 0);
        for (int i = 0; i < 5000; i++) {
            random_step(&rng);
            check();
        }
        drain(9);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bulkhead_walk__every_step_in_every_state_agrees_with_the_model),
        cmocka_unit_test(bulkhead_walk__so_it_does_where_a_limit_of_zero_is_waited_at),
        cmocka_unit_test(bulkhead_walk__random_steps_agree_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
