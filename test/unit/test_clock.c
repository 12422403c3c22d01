#include "unit.h"

#include "os/clock.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "base/ns.h"

static void clock__time_does_not_run_backwards(void **state)
{
    (void)state;
    int64_t last = clock_now();
    assert_true(last > 0);
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_now();
        assert_true(now >= last);
        last = now;
    }
}

static void ignore_alarm(int number)
{
    (void)number;
}

static void clock__sleep_ends_at_its_deadline_in_spite_of_signals(void **state)
{
    (void)state;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = ignore_alarm;
    sigaction(SIGALRM, &action, NULL);
    const struct itimerval soon = {{0, 0}, {0, 5000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    int64_t deadline = clock_now() + HF_MS(30);
    clock_sleep_until(deadline);
    assert_true(clock_now() >= deadline);
    signal(SIGALRM, SIG_DFL);

    /* What has passed costs nothing. */
    clock_sleep_until(deadline);
    clock_sleep_until(0);
    clock_sleep_until(-5);
    assert_true(clock_now() < deadline + HF_SEC(5));
}

static void clock__wall_time_is_written_as_iso_8601(void **state)
{
    (void)state;
    const struct {
        int64_t wall_ns;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {HF_SEC(951782400) + HF_MS(7), "2000-02-29T00:00:00.007Z"},
        {HF_SEC(1795259429) + HF_MS(123) + 999999, "2026-11-21T11:10:29.123Z"},
        {INT64_MAX, "2262-04-11T23:47:16.854Z"},
        {INT64_MIN, "1677-09-21T00:12:43.145Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[CLOCK_TEXT_SIZE];
        assert_string_equal(clock_wall_text(cases[i].wall_ns, text), cases[i].text);
    }
    assert_true(clock_wall_now() > HF_SEC(1700000000));
}

static void clock__the_short_form_is_in_the_local_zone(void **state)
{
    (void)state;
    char text[CLOCK_TEXT_SIZE];
    setenv("TZ", "UTC-2", 1); /* two hours ahead of UTC, in POSIX's way of counting */
    tzset();
    assert_string_equal(clock_wall_short(HF_SEC(1795259429), text), "13:10:29");
    unsetenv("TZ");
    tzset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clock__time_does_not_run_backwards),
        cmocka_unit_test(clock__sleep_ends_at_its_deadline_in_spite_of_signals),
        cmocka_unit_test(clock__wall_time_is_written_as_iso_8601),
        cmocka_unit_test(clock__the_short_form_is_in_the_local_zone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
