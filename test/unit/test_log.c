#include "unit.h"

#include "os/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dies.h"

static int64_t now_ns;

static int64_t test_clock(void)
{
    return now_ns;
}

static char room[64 * 1024];

static void open_capture(struct log *log, uint32_t burst)
{
    struct log_config config = LOG_DEFAULTS;
    config.now = test_clock;
    config.burst = burst;
    now_ns = HF_SEC(100);
    log_init_capture(log, &config, room, sizeof room);
}

static void log__a_line_is_taken_once_by_a_part_of_it(void **state)
{
    (void)state;
    struct log log;
    char line[LOG_LINE_MAX];
    open_capture(&log, 0);
    log_emit(&log, LOG_AT_INFO, "first");
    log_emit(&log, LOG_AT_WARNING, "second", log_int("port", 5432), log_text("name", "db1"));
    log_emit(&log, LOG_AT_ERROR, "third");
    assert_int_equal(log_left(&log), 3);
    assert_true(log_take(&log, "port=5432", line, sizeof line));
    assert_non_null(strstr(line, " level=warning msg=second port=5432 name=db1"));
    assert_false(log_take(&log, "port=5432", NULL, 0));
    assert_true(log_take(&log, "msg=", line, sizeof line));
    assert_non_null(strstr(line, "msg=first"));
    assert_true(log_take(&log, "msg=", line, 10));
    assert_int_equal(strlen(line), 9);
    assert_int_equal(log_left(&log), 0);
    assert_int_equal(log_stats(&log).written, 3);
    log_deinit(&log);
}

static void leave_a_line(void *argument)
{
    struct log *log = argument;
    log_emit(log, LOG_AT_INFO, "nobody expects this");
    log_deinit(log);
}

static void overflow(void *argument)
{
    struct log *log = argument;
    log->capture_size = 10;
    log_emit(log, LOG_AT_INFO, "this is longer than ten bytes");
    log_deinit(log);
}

static void log__an_unexpected_line_fails_the_test(void **state)
{
    (void)state;
    struct log log;
    open_capture(&log, 0);
    assert_true(dies(leave_a_line, &log));
    assert_true(dies(overflow, &log));
    log_deinit(&log);
}

static int evaluated;

static struct log_field expensive(void)
{
    evaluated++;
    return log_int("cost", 1);
}

static void log__events_below_the_level_cost_nothing(void **state)
{
    (void)state;
    struct log log;
    open_capture(&log, 0);
    log_emit(&log, LOG_AT_DEBUG, "quiet", expensive());
    assert_int_equal(evaluated, 0);
    assert_false(log_wants(&log, LOG_AT_DEBUG));
    log_emit_at(&log, LOG_AT_DEBUG, __FILE__, __LINE__, "quiet",
                &(const struct log_field){.key = NULL});
    assert_int_equal(log_stats(&log).written, 0);
    log_deinit(&log);
}

static void say_it(struct log *log)
{
    log_emit(log, LOG_AT_WARNING, "again");
}

static void log__a_place_that_repeats_itself_is_suppressed_and_counted(void **state)
{
    (void)state;
    struct log log;
    char line[LOG_LINE_MAX];
    open_capture(&log, 2);
    for (int i = 0; i < 10; i++)
        say_it(&log);
    log_emit(&log, LOG_AT_INFO, "another place is not affected");
    assert_true(log_take(&log, "another", NULL, 0));
    for (int i = 0; i < 2; i++) {
        assert_true(log_take(&log, "again", line, sizeof line));
        assert_null(strstr(line, "suppressed"));
    }
    assert_int_equal(log_left(&log), 0);

    now_ns += HF_SEC(1) - 1;
    say_it(&log);
    assert_int_equal(log_left(&log), 0);
    now_ns += 1;
    say_it(&log);
    assert_true(log_take(&log, "msg=again suppressed=9", NULL, 0));
    say_it(&log);
    assert_true(log_take(&log, "msg=again", line, sizeof line));
    assert_null(strstr(line, "suppressed"));
    assert_int_equal(log_stats(&log).suppressed, 9);
    log_deinit(&log);
}

static void log__where_each_line_is_wanted_none_is_suppressed(void **state)
{
    (void)state;
    struct log log;
    open_capture(&log, 2);
    for (int i = 0; i < 10; i++)
        log_emit_each(&log, LOG_AT_INFO, "each", log_int("number", i));
    for (int i = 0; i < 10; i++)
        assert_true(log_take(&log, "msg=each number=", NULL, 0));
    log_deinit(&log);
}

static void log__what_was_suppressed_is_told_in_the_end(void **state)
{
    (void)state;
    struct log log;
    open_capture(&log, 1);
    say_it(&log);
    say_it(&log);
    assert_true(log_take(&log, "again", NULL, 0));
    log_flush(&log); /* the interval is not over */
    assert_int_equal(log_left(&log), 0);
    now_ns += HF_SEC(1);
    log_flush(&log);
    assert_true(log_take(&log, "level=warning msg=again suppressed=1", NULL, 0));
    log_flush(&log);
    assert_int_equal(log_left(&log), 0);
    log_deinit(&log);
}

static void log__a_new_place_takes_the_room_of_the_quietest(void **state)
{
    (void)state;
    struct log log;
    const struct log_field none = {.key = NULL};
    open_capture(&log, 1);
    for (int line = 1; line <= LOG_SITES; line++) {
        now_ns += 1000;
        for (int i = 0; i < 3; i++)
            log_emit_at(&log, LOG_AT_INFO, "x.c", line, "many", &none);
    }
    while (log_take(&log, "many", NULL, 0))
        continue;
    log_emit_at(&log, LOG_AT_INFO, "x.c", LOG_SITES + 1, "new", &none);
    assert_true(log_take(&log, "msg=many suppressed=2", NULL, 0));
    assert_true(log_take(&log, "msg=new", NULL, 0));
    assert_int_equal(log_left(&log), 0);
    /* The second one is still known, and limited. */
    log_emit_at(&log, LOG_AT_INFO, "x.c", 2, "many", &none);
    assert_int_equal(log_left(&log), 0);
    now_ns += HF_SEC(2);
    log_flush(&log);
    size_t told = 0;
    while (log_take(&log, "suppressed=", NULL, 0))
        told++;
    assert_int_equal(told, LOG_SITES - 1);
    log_deinit(&log);
}

static void log__lines_go_to_the_file_and_losses_are_counted(void **state)
{
    (void)state;
    struct log log;
    struct log_config config = LOG_DEFAULTS;
    char text[4096];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    config.fd = ends[1];
    config.form = LOG_JSON;
    log_init(&log, &config);
    log_emit(&log, LOG_AT_INFO, "to a file", log_bool("ok", true));
    ssize_t got = read(ends[0], text, sizeof text - 1);
    assert_true(got > 0);
    text[got] = '\0';
    assert_string_equal(text + strlen(text) - strlen("\"msg\":\"to a file\",\"ok\":true}\n"),
                        "\"msg\":\"to a file\",\"ok\":true}\n");
    close(ends[0]);
    close(ends[1]);

    log.config.fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    log_emit(&log, LOG_AT_INFO, "no room");
    assert_int_equal(log_stats(&log).lost, 1);
    assert_int_equal(log_stats(&log).written, 1);
    close(log.config.fd);
    log.config.fd = -1;
    log_emit(&log, LOG_AT_INFO, "thrown away");
    assert_int_equal(log_stats(&log).written, 2);
    log_deinit(&log);
}

static void *log_much(void *argument)
{
    struct log *log = argument;
    for (int i = 0; i < 100; i++)
        log_emit(log, LOG_AT_INFO, "from a thread", log_int("i", i));
    return NULL;
}

static void log__threads_share_a_sink(void **state)
{
    (void)state;
    struct log log;
    pthread_t threads[3];
    open_capture(&log, 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_much, &log), 0);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(log_stats(&log).written, 300);
    for (int i = 0; i < 300; i++)
        assert_true(log_take(&log, "level=info msg=\"from a thread\" i=", NULL, 0));
    log_deinit(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log__a_line_is_taken_once_by_a_part_of_it),
        cmocka_unit_test(log__an_unexpected_line_fails_the_test),
        cmocka_unit_test(log__events_below_the_level_cost_nothing),
        cmocka_unit_test(log__a_place_that_repeats_itself_is_suppressed_and_counted),
        cmocka_unit_test(log__where_each_line_is_wanted_none_is_suppressed),
        cmocka_unit_test(log__what_was_suppressed_is_told_in_the_end),
        cmocka_unit_test(log__a_new_place_takes_the_room_of_the_quietest),
        cmocka_unit_test(log__lines_go_to_the_file_and_losses_are_counted),
        cmocka_unit_test(log__threads_share_a_sink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
