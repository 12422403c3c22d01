#include "unit.h"

#include "os/signals.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const int wanted[] = {SIGUSR1, SIGHUP, SIGCHLD};

static void signals__they_arrive_on_the_file_once_each(void **state)
{
    (void)state;
    struct signals signals;
    struct hf_err err;
    assert_int_equal(signals_open(&signals, wanted, 3, &err), HF_OK);
    assert_int_equal(signals_take(&signals), 0);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR1);
    struct pollfd poll_fd = {.fd = signals.fd, .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, 1000), 1);
    assert_int_equal(signals_take(&signals), SIGUSR1);
    assert_int_equal(signals_take(&signals), 0);
    kill(getpid(), SIGHUP);
    assert_int_equal(signals_take(&signals), SIGHUP);
    signals_close(&signals);
}

static void signals__a_hangup_that_nohup_ignores_stays_ignored(void **state)
{
    (void)state;
    struct signals signals;
    struct hf_err err;
    signal(SIGHUP, SIG_IGN);
    assert_int_equal(signals_open(&signals, wanted, 3, &err), HF_OK);
    kill(getpid(), SIGHUP);
    assert_int_equal(signals_take(&signals), 0);
    signals_close(&signals);
    signal(SIGHUP, SIG_DFL);
}

/* Shells start background jobs with SIGINT ignored, some container starters leave SIGCHLD so. */
static void signals__others_are_taken_even_if_they_were_ignored(void **state)
{
    (void)state;
    const int numbers[] = {SIGCHLD, SIGINT};
    for (size_t i = 0; i < 2; i++) {
        struct signals signals;
        struct hf_err err;
        signal(numbers[i], SIG_IGN);
        assert_int_equal(signals_open(&signals, numbers, 2, &err), HF_OK);
        kill(getpid(), numbers[i]);
        assert_int_equal(signals_take(&signals), numbers[i]);
        signals_close(&signals);
    }
}

static void signals__closing_unblocks_and_drops_what_is_left(void **state)
{
    (void)state;
    struct signals signals;
    struct hf_err err;
    assert_int_equal(signals_open(&signals, wanted, 3, &err), HF_OK);
    kill(getpid(), SIGUSR1); /* would kill this test if it were delivered */
    signals_close(&signals);
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    assert_false(sigismember(&blocked, SIGUSR1));
}

static void signals__a_closed_pipe_is_an_error_not_a_death(void **state)
{
    (void)state;
    struct signals signals;
    struct hf_err err;
    assert_int_equal(signals_open(&signals, wanted, 3, &err), HF_OK);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    assert_int_equal(write(ends[1], "x", 1), -1);
    close(ends[1]);
    signals_close(&signals);
}

static void signals__opening_fails_without_side_effects(void **state)
{
    (void)state;
    struct signals signals;
    struct hf_err err;
    struct rlimit before;
    getrlimit(RLIMIT_NOFILE, &before);
    const struct rlimit none = {0, before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    enum hf_rc rc = signals_open(&signals, wanted, 3, &err);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(rc, HF_RC_LIMIT);
    assert_non_null(strstr(err.message, "could not open a file for signals"));
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    assert_false(sigismember(&blocked, SIGUSR1));
}

static void signals__names_are_those_people_know(void **state)
{
    (void)state;
    char name[SIGNALS_NAME_SIZE];
    assert_string_equal(signals_name(SIGKILL, name), "SIGKILL");
    assert_string_equal(signals_name(SIGINT, name), "SIGINT");
    assert_string_equal(signals_name(999, name), "signal 999");
    assert_string_equal(signals_name(-1, name), "signal -1");
}

int main(void)
{
    signal(SIGHUP, SIG_DFL); /* whoever runs the tests under nohup */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals__they_arrive_on_the_file_once_each),
        cmocka_unit_test(signals__a_hangup_that_nohup_ignores_stays_ignored),
        cmocka_unit_test(signals__others_are_taken_even_if_they_were_ignored),
        cmocka_unit_test(signals__closing_unblocks_and_drops_what_is_left),
        cmocka_unit_test(signals__a_closed_pipe_is_an_error_not_a_death),
        cmocka_unit_test(signals__opening_fails_without_side_effects),
        cmocka_unit_test(signals__names_are_those_people_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
