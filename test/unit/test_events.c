/*
 * Events and log lines: in order, one at a time, without a lock, bounded, and without secrets.
 */
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "client/events.h"

#define NOW HF_SEC(100)

static struct mem mem;
static struct events *events;
static struct hf_err err;

static struct {
    size_t events, lines;
    char line[512], name[64], detail[300];
    int level;
    int64_t duration_ms;
    void *arg;
    bool tells_more; /* the hook itself causes news, as a call in it would */
} heard;

static void on_event(const struct hf_event *event, void *arg)
{
    ++heard.events;
    heard.arg = arg;
    heard.duration_ms = event->duration_ms;
    snprintf(heard.name, sizeof heard.name, "%s", event->name);
    snprintf(heard.detail, sizeof heard.detail, "%s", event->detail);
    if (heard.tells_more) {
        heard.tells_more = false;
        events_tell(events, NOW, &(struct hf_event){.kind = HF_EVENT_SLOW, .name = "inner"});
        events_deliver(events); /* must neither recurse nor wait */
        assert_int_equal(heard.events, 1);
    }
}

static void on_log(int level, const char *line, void *arg)
{
    (void)arg;
    ++heard.lines;
    heard.level = level;
    snprintf(heard.line, sizeof heard.line, "%s", line);
}

static void open_events(void)
{
    const struct hf_hooks hooks = {.on_event = on_event, .on_log = on_log, .arg = &heard};
    memset(&heard, 0, sizeof heard);
    mem_init(&mem, 0);
    assert_int_equal(events_new(&events, &hooks, &mem, &err), HF_OK);
    assert_true(events_wants(events));
}

static void close_events(void)
{
    events_free(events);
    mem_deinit(&mem);
}

static void tell(int kind, const char *name, const char *from, const char *to, const char *detail)
{
    events_tell(
        events, NOW,
        &(struct hf_event){.kind = kind, .name = name, .from = from, .to = to, .detail = detail});
}

static void events__an_event_reaches_both_hooks_when_it_is_delivered(void **state)
{
    (void)state;
    open_events();
    tell(HF_EVENT_BREAKER, "db1:5432", "closed", "open", "too many calls failed");
    assert_int_equal(heard.events, 0);
    events_deliver(events);
    assert_int_equal(heard.events, 1);
    assert_ptr_equal(heard.arg, &heard);
    assert_string_equal(heard.name, "db1:5432");
    assert_string_equal(heard.line, "breaker db1:5432: closed -> open: too many calls failed");
    assert_int_equal(heard.level, HF_LOG_WARNING);
    events_deliver(events);
    assert_int_equal(heard.events, 1);
    close_events();
}

static void events__a_line_says_what_there_is_and_how_loud_it_is(void **state)
{
    (void)state;
    const struct {
        struct hf_event event;
        const char *line;
        int level;
    } rows[] = {
        {{.kind = HF_EVENT_BREAKER, .name = "db1", .from = "open", .to = "half_open"},
         "breaker db1: open -> half_open",
         HF_LOG_INFO},
        {{.kind = HF_EVENT_LEVEL, .from = "full", .to = "read_only", .detail = "lost"},
         "level: full -> read_only: lost",
         HF_LOG_WARNING},
        {{.kind = HF_EVENT_LEVEL, .from = "read_only", .to = "full"},
         "level: read_only -> full",
         HF_LOG_INFO},
        {{.kind = HF_EVENT_ENDPOINT, .name = "db2", .from = "up", .to = "down"},
         "endpoint db2: up -> down",
         HF_LOG_WARNING},
        {{.kind = HF_EVENT_ENDPOINT, .name = "db2", .from = "down", .to = "up"},
         "endpoint db2: down -> up",
         HF_LOG_INFO},
        {{.kind = HF_EVENT_ROLE, .name = "db2", .to = "primary"}, "role db2: primary", HF_LOG_INFO},
        {{.kind = HF_EVENT_ROLE, .name = "db2", .to = "fenced"}, "role db2: fenced", HF_LOG_ERROR},
        {{.kind = HF_EVENT_RETRY, .name = "list", .detail = "again"},
         "retry list: again",
         HF_LOG_DEBUG},
        {{.kind = HF_EVENT_SLOW, .name = "list", .duration_ms = 1500},
         "slow list (1500 ms)",
         HF_LOG_WARNING},
        {{.kind = HF_EVENT_RESOLVED, .to = "committed"}, "resolved: committed", HF_LOG_INFO},
        {{.kind = HF_EVENT_BULKHEAD, .name = "db1", .to = "full"},
         "bulkhead db1: full",
         HF_LOG_WARNING},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        open_events();
        events_tell(events, NOW, &rows[i].event);
        events_deliver(events);
        assert_string_equal(heard.line, rows[i].line);
        assert_int_equal(heard.level, rows[i].level);
        close_events();
    }
    assert_string_equal(events_kind_name(HF_EVENT_BULKHEAD + 1), "event");
}

static void events__a_line_of_the_log_alone_is_no_event(void **state)
{
    (void)state;
    open_events();
    events_log(events, NOW, HF_LOG_INFO, "opened %s\n", "shop");
    events_deliver(events);
    assert_int_equal(heard.events, 0);
    assert_string_equal(heard.line, "opened shop");
    close_events();
}

static void events__a_hook_that_causes_news_gets_them_afterwards(void **state)
{
    (void)state;
    open_events();
    heard.tells_more = true;
    tell(HF_EVENT_SLOW, "outer", NULL, NULL, NULL);
    events_deliver(events);
    assert_int_equal(heard.events, 2);
    assert_string_equal(heard.name, "inner");
    close_events();
}

static void events__lines_are_limited_and_say_how_many_were_kept_back(void **state)
{
    (void)state;
    open_events();
    for (int i = 0; i < 20; i++)
        tell(HF_EVENT_RETRY, "list", NULL, NULL, "again");
    tell(HF_EVENT_SLOW, "list", NULL, NULL, NULL); /* another kind has a limit of its own */
    events_deliver(events);
    assert_int_equal(heard.events, 21);
    assert_int_equal(heard.lines, EVENTS_LINES_MAX + 1);
    events_tell(events, NOW + HF_SEC(1), &(struct hf_event){.kind = HF_EVENT_RETRY, .name = "x"});
    events_deliver(events);
    assert_string_equal(heard.line, "retry x [15 more like it]");
    events_tell(events, NOW + HF_SEC(1), &(struct hf_event){.kind = HF_EVENT_RETRY, .name = "x"});
    events_deliver(events);
    assert_string_equal(heard.line, "retry x");
    close_events();
}

static void events__what_does_not_fit_is_counted_and_told(void **state)
{
    (void)state;
    open_events();
    for (int i = 0; i < EVENTS_RING + 7; i++)
        tell(HF_EVENT_RETRY, "list", NULL, NULL, "again");
    assert_int_equal(events_dropped(events), 7);
    events_deliver(events);
    assert_int_equal(heard.events, EVENTS_RING);
    assert_int_equal(heard.lines, EVENTS_LINES_MAX + 1); /* one of them about the loss */
    close_events();
}

static void events__without_hooks_there_is_nothing(void **state)
{
    (void)state;
    const struct hf_hooks hooks = {0};
    mem_init(&mem, 0);
    assert_int_equal(events_new(&events, &hooks, &mem, &err), HF_OK);
    assert_null(events);
    assert_false(events_wants(events));
    tell(HF_EVENT_SLOW, "list", NULL, NULL, NULL);
    events_log(events, NOW, HF_LOG_INFO, "x");
    events_deliver(events);
    assert_int_equal(events_dropped(events), 0);
    close_events();
}

static void events__no_memory_is_said(void **state)
{
    (void)state;
    const struct hf_hooks hooks = {.on_log = on_log};
    mem_init(&mem, 0);
    mem_fail_nth(&mem, 1);
    assert_int_equal(events_new(&events, &hooks, &mem, &err), HF_RC_LIMIT);
    close_events();
}

/* ---- threads ---- */

#define TELLERS 4
#define TOLD    2000

static struct {
    _Atomic int inside;
    int last[TELLERS];
    size_t count;
} order;

/* One at a time, and the news of each teller in the order in which it told them. */
static void on_ordered(const struct hf_event *event, void *arg)
{
    (void)arg;
    hf_assert(atomic_fetch_add(&order.inside, 1) == 0);
    const int teller = event->name[0] - '0';
    hf_assert(event->duration_ms > order.last[teller]);
    order.last[teller] = (int)event->duration_ms;
    ++order.count;
    atomic_fetch_sub(&order.inside, 1);
}

static void *tell_many(void *arg)
{
    const char name[2] = {(char)('0' + (int)(intptr_t)arg), '\0'};
    for (int i = 1; i <= TOLD; i++) {
        events_tell(events, NOW,
                    &(struct hf_event){.kind = HF_EVENT_SLOW, .name = name, .duration_ms = i});
        events_deliver(events);
    }
    return NULL;
}

static void events__threads_meet_in_order_and_one_at_a_time(void **state)
{
    (void)state;
    const struct hf_hooks hooks = {.on_event = on_ordered};
    pthread_t threads[TELLERS];
    memset(&order, 0, sizeof order);
    mem_init(&mem, 0);
    assert_int_equal(events_new(&events, &hooks, &mem, &err), HF_OK);
    for (intptr_t i = 0; i < TELLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, tell_many, (void *)i), 0);
    for (int i = 0; i < TELLERS; i++)
        pthread_join(threads[i], NULL);
    events_deliver(events);
    assert_int_equal(order.count + events_dropped(events), TELLERS * TOLD);
    close_events();
}

/* ---- secrets ---- */

static void events__no_form_of_a_connection_string_shows_its_password(void **state)
{
    (void)state;
    static const char *const strings[] = {
        "postgresql://app:s3cret@db1,db2:5433/shop?sslmode=require",
        "postgres://db1/shop?user=app&password=s3cret",
        "host=db1 password=s3cret user=app",
        "host=db1 password='s3cret' sslpassword=s3cret",
        "host=db1 password = 's3cret",  /* does not end */
        "postgresql://app:s3cret@[::1", /* nor this */
        "s3cret",
        "host=db1 s3cret",
        "",
    };
    char out[300], small[8];
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        events_redact(strings[i], out, sizeof out);
        assert_null(strstr(out, "s3cret"));
        events_redact(strings[i], small, sizeof small);
        assert_true(strlen(small) < sizeof small);
    }
    assert_string_equal(events_redact(strings[0], out, sizeof out),
                        "user=app password=*** dbname=shop host=db1,db2 port=,5433 "
                        "sslmode=require");
    assert_string_equal(events_redact(strings[6], out, sizeof out), "(not a connection string)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events__an_event_reaches_both_hooks_when_it_is_delivered),
        cmocka_unit_test(events__a_line_says_what_there_is_and_how_loud_it_is),
        cmocka_unit_test(events__a_line_of_the_log_alone_is_no_event),
        cmocka_unit_test(events__a_hook_that_causes_news_gets_them_afterwards),
        cmocka_unit_test(events__lines_are_limited_and_say_how_many_were_kept_back),
        cmocka_unit_test(events__what_does_not_fit_is_counted_and_told),
        cmocka_unit_test(events__without_hooks_there_is_nothing),
        cmocka_unit_test(events__no_memory_is_said),
        cmocka_unit_test(events__threads_meet_in_order_and_one_at_a_time),
        cmocka_unit_test(events__no_form_of_a_connection_string_shows_its_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
