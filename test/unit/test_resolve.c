/*
 * The resolver against name servers of our own making: the linker sends its calls of getaddrinfo(),
 * of the clock and of loop_post() here.
 */
#include "unit.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/resolve.h"

int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list);
void __wrap_freeaddrinfo(struct addrinfo *list);
int64_t __wrap_clock_now(void);
void __wrap_loop_post(struct loop *loop, struct loop_message *message);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);
int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list);
void __real_freeaddrinfo(struct addrinfo *list);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);

/* ---- the world ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t news;

    /* The name servers: addresses (of 10.0.0.1 and up) for every name, or an error. */
    unsigned first, count;
    int code;
    bool is_real;   /* the system's own */
    bool is_silent; /* no answer until this ends */
    unsigned lookups;

    _Atomic(int64_t) now_ns;
    struct loop_message *posted; /* latest first */
    struct loop *posted_to;
    bool has_no_threads;
} world;

int64_t __wrap_clock_now(void)
{
    return world.now_ns;
}

void __wrap_loop_post(struct loop *loop, struct loop_message *message)
{
    pthread_mutex_lock(&world.lock);
    message->next = world.posted;
    world.posted = message;
    world.posted_to = loop;
    pthread_cond_broadcast(&world.news);
    pthread_mutex_unlock(&world.lock);
}

/* Every address twice, as for two kinds of sockets. */
static struct addrinfo *list_of(unsigned first, unsigned count)
{
    struct addrinfo *list = NULL;
    for (unsigned i = 2 * count; i > 0; i--) {
        struct addrinfo *info = calloc(1, sizeof *info + sizeof(struct sockaddr_in));
        assert_non_null(info);
        struct sockaddr_in *v4 = (struct sockaddr_in *)(info + 1);
        v4->sin_family = AF_INET;
        v4->sin_addr.s_addr = htonl(0x0a000000U + first + (i - 1) / 2);
        info->ai_addr = (struct sockaddr *)v4;
        info->ai_addrlen = sizeof *v4;
        info->ai_next = list;
        list = info;
    }
    return list;
}

int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list)
{
    pthread_mutex_lock(&world.lock);
    world.lookups++;
    pthread_cond_broadcast(&world.news);
    while (world.is_silent)
        pthread_cond_wait(&world.news, &world.lock);
    bool is_real = world.is_real;
    int code = world.code;
    if (!is_real && code == 0)
        *list = list_of(world.first, world.count);
    pthread_mutex_unlock(&world.lock);
    errno = ECONNREFUSED;
    return is_real ? __real_getaddrinfo(host, service, hints, list) : code;
}

void __wrap_freeaddrinfo(struct addrinfo *list)
{
    if (world.is_real) {
        __real_freeaddrinfo(list);
        return;
    }
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;
        free(list);
        list = next;
    }
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument)
{
    if (world.has_no_threads)
        return EAGAIN;
    return __real_pthread_create(thread, attributes, run, argument);
}

static void set_silent(bool is_silent)
{
    pthread_mutex_lock(&world.lock);
    world.is_silent = is_silent;
    pthread_cond_broadcast(&world.news);
    pthread_mutex_unlock(&world.lock);
}

static void set_answer(unsigned first, unsigned count, int code)
{
    pthread_mutex_lock(&world.lock);
    world.first = first;
    world.count = count;
    world.code = code;
    pthread_mutex_unlock(&world.lock);
}

static void wait_for_lookups(unsigned count)
{
    pthread_mutex_lock(&world.lock);
    while (world.lookups < count)
        pthread_cond_wait(&world.news, &world.lock);
    assert_int_equal(world.lookups, count);
    pthread_mutex_unlock(&world.lock);
}

static unsigned lookups(void)
{
    pthread_mutex_lock(&world.lock);
    unsigned count = world.lookups;
    pthread_mutex_unlock(&world.lock);
    return count;
}

/* The message that was posted first of those that are left. */
static struct loop_message *wait_for_message(void)
{
    pthread_mutex_lock(&world.lock);
    while (world.posted == NULL)
        pthread_cond_wait(&world.news, &world.lock);
    struct loop_message **last = &world.posted;
    while ((*last)->next != NULL)
        last = &(*last)->next;
    struct loop_message *message = *last;
    *last = NULL;
    pthread_mutex_unlock(&world.lock);
    return message;
}

/* ---- a resolver in it ---- */

#define TTL     HF_SEC(20)
#define FAILURE HF_SEC(2)
#define STALE   HF_SEC(100)

struct rig {
    struct mem mem;
    struct resolver *resolver;
    struct resolve_request requests[8];
};

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    memset(&world, 0, sizeof world);
    pthread_mutex_init(&world.lock, NULL);
    pthread_cond_init(&world.news, NULL);
    world.now_ns = HF_SEC(1000);
    set_answer(1, 1, 0);
    mem_init(&rig->mem, 0);
    const struct resolver_config config = {
        .ttl_ns = TTL, .failure_ttl_ns = FAILURE, .stale_ns_max = STALE, .names_max = 4};
    assert_int_equal(resolver_new(&rig->resolver, &config, &rig->mem, NULL), HF_OK);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    resolver_free(rig->resolver);
    mem_deinit(&rig->mem);
    pthread_cond_destroy(&world.news);
    pthread_mutex_destroy(&world.lock);
    free(rig);
    return 0;
}

/* The loop is only handed through. */
static struct loop *const our_loop = (struct loop *)&world;

static enum resolve_now ask(struct rig *rig, struct resolve_request *request, const char *host)
{
    assert_true(resolve_request_init(request, our_loop, 7, sv_from_cstr(host), 5432));
    return resolve_ask(rig->resolver, request);
}

/* Asks, and waits if it must; true: it had to. */
static bool get(struct rig *rig, struct resolve_request *request, const char *host)
{
    bool waits = ask(rig, request, host) == RESOLVE_WAITS;
    if (waits)
        assert_ptr_equal(wait_for_message(), &request->message);
    return waits;
}

/* Until what the thread was at is done: it takes one name after the other. Costs a lookup. */
static void let_settle(struct rig *rig)
{
    char host[32];
    snprintf(host, sizeof host, "n%u.example", lookups());
    assert_true(get(rig, &rig->requests[7], host));
}

static void assert_address(const struct resolve_request *request, uint32_t index, const char *text)
{
    char out[ADDRESS_TEXT_SIZE];
    assert_int_equal(request->rc, HF_OK);
    assert_true(index < request->count);
    assert_string_equal(address_text(&request->addresses[index], out), text);
}

static void resolve__a_name_is_looked_up_and_the_answer_posted(void **state)
{
    struct rig *rig = *state;
    struct resolve_request *request = &rig->requests[0];
    set_answer(1, 3, 0);
    assert_int_equal(ask(rig, request, "db.example"), RESOLVE_WAITS);
    struct loop_message *message = wait_for_message();
    assert_ptr_equal(message, &request->message);
    assert_int_equal(message->kind, 7);
    assert_ptr_equal(world.posted_to, our_loop);
    assert_int_equal(request->count, 3);
    assert_address(request, 0, "10.0.0.1:5432");
    assert_address(request, 2, "10.0.0.3:5432");
    assert_false(request->is_stale);
}

static void resolve__more_addresses_than_there_is_room_for_are_cut(void **state)
{
    struct rig *rig = *state;
    set_answer(1, 40, 0);
    assert_true(get(rig, &rig->requests[0], "db.example"));
    assert_int_equal(rig->requests[0].count, RESOLVE_ADDRESSES);
    assert_address(&rig->requests[0], RESOLVE_ADDRESSES - 1, "10.0.0.16:5432");
}

static void resolve__a_known_name_is_answered_at_once_and_renewed_before_it_expires(void **state)
{
    struct rig *rig = *state;
    struct resolve_request *request = &rig->requests[0];
    assert_true(get(rig, request, "db.example"));
    world.now_ns += TTL * 3 / 4 - 1;
    assert_false(get(rig, request, "db.example"));
    assert_int_equal(lookups(), 1);
    set_answer(9, 1, 0);
    world.now_ns += 1;
    assert_false(get(rig, request, "db.example"));
    assert_address(request, 0, "10.0.0.1:5432");
    let_settle(rig);
    assert_int_equal(lookups(), 3);
    assert_false(get(rig, request, "db.example"));
    assert_address(request, 0, "10.0.0.9:5432");
    world.now_ns += TTL * 3 / 4 - 1;
    assert_false(get(rig, request, "db.example"));
    assert_int_equal(lookups(), 3);
}

static void resolve__a_name_that_has_expired_is_waited_for(void **state)
{
    struct rig *rig = *state;
    assert_true(get(rig, &rig->requests[0], "db.example"));
    world.now_ns += TTL;
    set_answer(2, 1, 0);
    assert_true(get(rig, &rig->requests[0], "db.example"));
    assert_address(&rig->requests[0], 0, "10.0.0.2:5432");
}

static void resolve__many_who_ask_cause_one_lookup(void **state)
{
    struct rig *rig = *state;
    set_silent(true);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(ask(rig, &rig->requests[i], "db.example"), RESOLVE_WAITS);
        if (i == 3)
            wait_for_lookups(1); /* from here on the thread is at it */
    }
    set_silent(false);
    for (size_t i = 0; i < 7; i++) {
        assert_ptr_equal(wait_for_message(), &rig->requests[i].message);
        assert_address(&rig->requests[i], 0, "10.0.0.1:5432");
    }
    let_settle(rig);
    assert_int_equal(lookups(), 2);
}

static void resolve__a_failure_is_told_in_words_and_kept_for_a_while(void **state)
{
    struct rig *rig = *state;
    struct resolve_request *request = &rig->requests[0];
    set_answer(1, 1, EAI_NONAME);
    assert_true(get(rig, request, "no.example"));
    assert_int_equal(request->rc, HF_RC_MISSING);
    assert_int_equal(request->count, 0);
    assert_string_equal(request->err.message, "could not translate host name \"no.example\" to"
                                              " address: Name or service not known");
    world.now_ns += FAILURE - 1;
    assert_false(get(rig, request, "no.example"));
    assert_int_equal(request->rc, HF_RC_MISSING);
    assert_int_equal(lookups(), 1);
    set_answer(1, 1, EAI_SYSTEM);
    world.now_ns += 1;
    assert_true(get(rig, request, "no.example"));
    assert_int_equal(request->rc, HF_RC_AGAIN);
    assert_string_equal(request->err.message, "could not translate host name \"no.example\" to"
                                              " address: Connection refused");
    world.now_ns += FAILURE;
    set_answer(1, 0, 0);
    assert_true(get(rig, request, "no.example"));
    assert_int_equal(request->rc, HF_RC_MISSING);
    world.now_ns += FAILURE;
    set_answer(1, 1, 0);
    assert_true(get(rig, request, "no.example"));
    assert_int_equal(request->rc, HF_OK);
    assert_string_equal(request->err.message, "");
}

static void resolve__an_old_answer_is_better_than_none_for_a_while(void **state)
{
    struct rig *rig = *state;
    struct resolve_request *request = &rig->requests[0];
    assert_true(get(rig, request, "db.example"));
    int64_t expired_ns = world.now_ns + TTL;
    set_answer(1, 1, EAI_AGAIN);
    world.now_ns = expired_ns;
    assert_true(get(rig, request, "db.example"));
    assert_address(request, 0, "10.0.0.1:5432");
    assert_true(request->is_stale);
    assert_string_equal(request->err.message, "could not translate host name \"db.example\" to"
                                              " address: Temporary failure in name resolution");
    /* Now nobody waits any more, and it is tried again now and then. */
    unsigned before = lookups();
    assert_false(get(rig, request, "db.example"));
    assert_true(request->is_stale);
    assert_int_equal(lookups(), before);
    world.now_ns += FAILURE;
    assert_false(get(rig, request, "db.example"));
    let_settle(rig);
    assert_int_equal(lookups(), before + 2);
    /* It ends. */
    world.now_ns = expired_ns + STALE - 1;
    assert_false(get(rig, request, "db.example"));
    assert_true(request->is_stale);
    let_settle(rig);
    assert_int_equal(lookups(), before + 4);
    world.now_ns += FAILURE;
    get(rig, request, "db.example");
    assert_int_equal(request->rc, HF_RC_AGAIN);
    assert_false(request->is_stale);
    /* And comes back. */
    set_answer(5, 1, 0);
    world.now_ns += FAILURE;
    assert_true(get(rig, request, "db.example"));
    assert_address(request, 0, "10.0.0.5:5432");
    assert_false(request->is_stale);
}

static void resolve__a_failure_before_the_expiry_harms_nobody(void **state)
{
    struct rig *rig = *state;
    struct resolve_request *request = &rig->requests[0];
    assert_true(get(rig, request, "db.example"));
    world.now_ns += TTL - 1;
    set_answer(1, 1, EAI_AGAIN);
    assert_false(get(rig, request, "db.example"));
    let_settle(rig);
    assert_int_equal(rig->requests[7].rc, HF_RC_AGAIN);
    assert_false(get(rig, request, "db.example"));
    assert_false(request->is_stale);
    assert_address(request, 0, "10.0.0.1:5432");
}

static void resolve__who_goes_away_is_not_answered(void **state)
{
    struct rig *rig = *state;
    set_silent(true);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(ask(rig, &rig->requests[i], "db.example"), RESOLVE_WAITS);
    assert_true(resolve_cancel(rig->resolver, &rig->requests[1]));
    memset(&rig->requests[1], 0xa5, sizeof rig->requests[1]);
    set_silent(false);
    assert_ptr_equal(wait_for_message(), &rig->requests[0].message);
    assert_ptr_equal(wait_for_message(), &rig->requests[2].message);
    assert_null(world.posted);
    /* Too late. */
    assert_false(resolve_cancel(rig->resolver, &rig->requests[0]));
}

static void resolve__the_name_unused_for_longest_makes_room(void **state)
{
    struct rig *rig = *state;
    static const char *const names[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < 4; i++) {
        world.now_ns += 1;
        assert_true(get(rig, &rig->requests[0], names[i]));
    }
    world.now_ns += 1;
    assert_false(get(rig, &rig->requests[0], "a"));
    assert_true(get(rig, &rig->requests[0], "e"));
    assert_false(get(rig, &rig->requests[0], "a"));
    assert_true(get(rig, &rig->requests[0], "b"));
}

static void resolve__more_names_than_may_wait_are_refused(void **state)
{
    struct rig *rig = *state;
    static const char *const names[] = {"a", "b", "c", "d"};
    set_silent(true);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(ask(rig, &rig->requests[i], names[i]), RESOLVE_WAITS);
    assert_int_equal(ask(rig, &rig->requests[4], "e"), RESOLVE_DONE);
    assert_int_equal(rig->requests[4].rc, HF_RC_LIMIT);
    assert_string_equal(rig->requests[4].err.message, "too many host names are being looked up");
    assert_int_equal(ask(rig, &rig->requests[5], "d"), RESOLVE_WAITS);
    set_silent(false);
    for (size_t i = 0; i < 5; i++)
        wait_for_message();
    assert_true(get(rig, &rig->requests[4], "e"));
    assert_int_equal(rig->requests[4].rc, HF_OK);
}

static void resolve__what_is_no_name_is_not_asked_for(void **state)
{
    struct rig *rig = *state;
    char longest[RESOLVE_HOST_SIZE];
    memset(longest, 'x', sizeof longest);
    struct resolve_request *request = &rig->requests[0];
    assert_true(resolve_request_init(request, our_loop, 0, sv_from(longest, 255), 1));
    assert_false(resolve_request_init(request, our_loop, 0, sv_from(longest, 256), 1));
    assert_false(resolve_request_init(request, our_loop, 0, SV(""), 1));
    assert_false(resolve_request_init(request, our_loop, 0, SV("a\0b"), 1));
}

static void resolve__it_ends_in_the_middle_of_a_lookup(void **state)
{
    struct rig *rig = *state;
    set_silent(true);
    assert_int_equal(ask(rig, &rig->requests[0], "a"), RESOLVE_WAITS);
    assert_int_equal(ask(rig, &rig->requests[1], "b"), RESOLVE_WAITS);
    wait_for_lookups(1);
    assert_true(resolve_cancel(rig->resolver, &rig->requests[0]));
    assert_true(resolve_cancel(rig->resolver, &rig->requests[1]));
    set_silent(false);
    resolver_free(rig->resolver);
    rig->resolver = NULL;
    assert_null(world.posted);
}

static void resolve__what_is_known_can_be_looked_at(void **state)
{
    struct rig *rig = *state;
    struct resolve_seen seen;
    assert_false(resolve_look(rig->resolver, 0, &seen));
    set_silent(true);
    assert_int_equal(ask(rig, &rig->requests[0], "db"), RESOLVE_WAITS);
    assert_true(resolve_look(rig->resolver, 0, &seen));
    assert_string_equal(seen.host, "db");
    assert_true(seen.is_pending && seen.count == 0 && seen.ttl_ns == 0);
    set_silent(false);
    wait_for_message();
    assert_true(resolve_look(rig->resolver, 0, &seen));
    assert_true(!seen.is_pending && seen.count == rig->requests[0].count && seen.ttl_ns > 0);
    for (uint32_t i = 0; i < seen.count; i++)
        address_set_port(&seen.addresses[i], rig->requests[0].port);
    assert_memory_equal(seen.addresses, rig->requests[0].addresses,
                        seen.count * sizeof seen.addresses[0]);
    assert_false(resolve_look(rig->resolver, 1, &seen));
}

static void resolve__the_system_knows_localhost(void **state)
{
    struct rig *rig = *state;
    world.is_real = true;
    assert_true(get(rig, &rig->requests[0], "localhost"));
    assert_int_equal(rig->requests[0].rc, HF_OK);
    char text[ADDRESS_TEXT_SIZE];
    address_text(&rig->requests[0].addresses[0], text);
    assert_true(strcmp(text, "127.0.0.1:5432") == 0 || strcmp(text, "[::1]:5432") == 0);
}

static void resolve__without_memory_or_a_thread_there_is_none(void **state)
{
    struct rig *rig = *state;
    const struct resolver_config config = {.ttl_ns = 0};
    struct resolver *resolver;
    struct hf_err err;
    mem_fail_nth(&rig->mem, 1);
    assert_int_equal(resolver_new(&resolver, &config, &rig->mem, &err), HF_RC_LIMIT);
    assert_null(resolver);
    world.has_no_threads = true;
    assert_int_equal(resolver_new(&resolver, &config, &rig->mem, &err), HF_RC_AGAIN);
    assert_null(resolver);
    assert_string_not_equal(err.hint, "");
    world.has_no_threads = false;
    assert_int_equal(resolver_new(&resolver, &config, &rig->mem, &err), HF_OK);
    resolver_free(resolver);
    resolver_free(NULL);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(resolve__a_name_is_looked_up_and_the_answer_posted),
        CASE(resolve__more_addresses_than_there_is_room_for_are_cut),
        CASE(resolve__a_known_name_is_answered_at_once_and_renewed_before_it_expires),
        CASE(resolve__a_name_that_has_expired_is_waited_for),
        CASE(resolve__many_who_ask_cause_one_lookup),
        CASE(resolve__a_failure_is_told_in_words_and_kept_for_a_while),
        CASE(resolve__an_old_answer_is_better_than_none_for_a_while),
        CASE(resolve__a_failure_before_the_expiry_harms_nobody),
        CASE(resolve__who_goes_away_is_not_answered),
        CASE(resolve__the_name_unused_for_longest_makes_room),
        CASE(resolve__more_names_than_may_wait_are_refused),
        CASE(resolve__what_is_no_name_is_not_asked_for),
        CASE(resolve__it_ends_in_the_middle_of_a_lookup),
        CASE(resolve__what_is_known_can_be_looked_at),
        CASE(resolve__the_system_knows_localhost),
        CASE(resolve__without_memory_or_a_thread_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
