#include "unit.h"

#include "os/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ns.h"
#include "os/clock.h"

/* The linker sends child.c's calls here: the one whose turn it is fails. */
static const char *failing = "";
int __real_pipe2(int ends[2], int flags);
int __wrap_pipe2(int ends[2], int flags);
pid_t __real_fork(void);
pid_t __wrap_fork(void);
int __real_pidfd_open(pid_t pid, unsigned flags);
int __wrap_pidfd_open(pid_t pid, unsigned flags);

int __wrap_pipe2(int ends[2], int flags)
{
    if (strcmp(failing, "pipe2") != 0)
        return __real_pipe2(ends, flags);
    errno = EMFILE;
    return -1;
}

pid_t __wrap_fork(void)
{
    if (strcmp(failing, "fork") != 0)
        return __real_fork();
    errno = EAGAIN;
    return -1;
}

int __wrap_pidfd_open(pid_t pid, unsigned flags)
{
    if (strcmp(failing, "pidfd_open") != 0)
        return __real_pidfd_open(pid, flags);
    errno = ENOSYS;
    return -1;
}

static int count_open_files(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

#define SHELL(text) ((const char *const[]){"/bin/sh", "-c", (text), NULL})

/* A run of at most 20 s, with what it wrote in a static buffer. */
static struct child_run run_of(struct child_spec spec)
{
    static char out[4096];
    return (struct child_run){
        .spec = spec,
        .deadline_ns = clock_now() + HF_SEC(20),
        .interrupt_fd = -1,
        .out = out,
        .size = sizeof out,
    };
}

static void run_it(struct child_run *run)
{
    struct hf_err err;
    if (child_run(run, &err) != HF_OK)
        fail_msg("%s", err.message);
}

/* Runs a line of shell and returns what it wrote. */
static const char *shell(struct child *child, const char *line)
{
    struct child_run run = run_of((struct child_spec){.argv = SHELL(line)});
    run_it(&run);
    *child = run.child;
    return run.out;
}

static void child__runs_to_its_end_with_output_and_status(void **state)
{
    (void)state;
    struct child child;
    char text[CHILD_TEXT_SIZE];
    assert_string_equal(shell(&child, "echo out; echo err >&2"), "out\nerr\n");
    assert_true(child_succeeded(&child));
    assert_string_equal(child_describe(&child, text), "exit status 0");
    assert_string_equal(shell(&child, "exit 3"), "");
    assert_false(child_succeeded(&child));
    assert_string_equal(child_describe(&child, text), "exit status 3");
    shell(&child, "kill -9 $$");
    assert_false(child_succeeded(&child));
    assert_string_equal(child_describe(&child, text), "killed by SIGKILL");
}

static void child__arguments_reach_it_untouched_by_a_shell(void **state)
{
    (void)state;
    const char *const argv[] = {"printf", "%s", "a b'$HOME;\n*", NULL};
    struct child_run run = run_of((struct child_spec){.argv = argv});
    run_it(&run);
    assert_string_equal(run.out, "a b'$HOME;\n*");
}

static void child__long_output_is_kept_by_its_end(void **state)
{
    (void)state;
    struct child_run run = run_of((struct child_spec){
        .argv = SHELL("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done")});
    run.size = 64;
    run_it(&run);
    assert_true(child_succeeded(&run.child));
    const char *last = "line 1999\n";
    assert_string_equal(run.out + strlen(run.out) - strlen(last), last);
}

static void child__inherits_nothing_but_what_it_was_given(void **state)
{
    (void)state;
    struct child child;
    /* A file without O_CLOEXEC, as something that we inherited ourselves. */
    int leaky = open("/dev/null", O_RDONLY);
    assert_true(leaky >= 0);
    sigset_t blocked;
    sigfillset(&blocked);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    signal(SIGPIPE, SIG_IGN);
    /* ls itself opens the folder, as number 3. */
    assert_string_equal(shell(&child, "ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 ");
    assert_string_equal(shell(&child, "grep -E 'Sig(Blk|Ign)' /proc/self/status | cut -f 2"),
                        "0000000000000000\n0000000000000000\n");
    assert_string_equal(shell(&child, "cat; readlink /proc/self/fd/0"), "/dev/null\n");
    sigprocmask(SIG_UNBLOCK, &blocked, NULL);
    close(leaky);
}

static void child__has_a_process_group_of_its_own(void **state)
{
    (void)state;
    struct child child;
    const char *group = shell(&child, "cut -d' ' -f5 /proc/$$/stat");
    assert_int_equal(strtol(group, NULL, 10), child.pid);
}

static void child__starts_where_it_is_told(void **state)
{
    (void)state;
    struct child_run run = run_of((struct child_spec){.argv = SHELL("pwd"), .directory = "/usr"});
    run_it(&run);
    assert_string_equal(run.out, "/usr\n");
}

static void child__what_cannot_start_is_the_callers_failure(void **state)
{
    (void)state;
    struct child_user user;
    struct hf_err err;
    struct child child;
    assert_int_equal(child_user_find(&user, "no-such-user-here", &err), HF_RC_MISSING);
    assert_non_null(strstr(err.message, "\"no-such-user-here\""));

    const struct {
        struct child_spec spec;
        enum hf_rc rc;
        const char *message;
    } cases[] = {
        {{.argv = (const char *const[]){"/nowhere/x", NULL}},
         HF_RC_MISSING,
         "could not run \"/nowhere/x\": no such file or directory"},
        {{.argv = (const char *const[]){"holdfast-no-such-program", NULL}},
         HF_RC_MISSING,
         "could not run \"holdfast-no-such-program\": no such file or directory"},
        {{.argv = (const char *const[]){"/etc/passwd", NULL}},
         HF_RC_DENIED,
         "could not run \"/etc/passwd\": permission denied"},
        {{.argv = SHELL("true"), .directory = "/nowhere"},
         HF_RC_MISSING,
         "could not run \"/bin/sh\" in the folder \"/nowhere\": no such file or directory"},
        {{.argv = SHELL("true"), .output = 999},
         HF_RC_IO,
         "could not run \"/bin/sh\": Bad file descriptor"},
    };
    int before = count_open_files();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(child_start(&child, &cases[i].spec, &err), cases[i].rc);
        assert_string_equal(err.message, cases[i].message);
        assert_true(child_poll(&child));
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie is left */
    }
    assert_int_equal(count_open_files(), before);
}

static void child__each_system_call_may_fail(void **state)
{
    (void)state;
    const char *const calls[] = {"pipe2", "fork", "pidfd_open"};
    const struct child_spec spec = {.argv = SHELL("sleep 100")};
    int before = count_open_files();
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        struct child child;
        struct hf_err err;
        struct child_run run = run_of(spec);
        failing = calls[i];
        assert_int_not_equal(child_start(&child, &spec, &err), HF_OK);
        assert_non_null(strstr(err.message, "\"/bin/sh\": "));
        assert_int_not_equal(child_run(&run, &err), HF_OK);
        failing = "";
        assert_int_equal(child_stop(&child, NULL, 0), 0);
        assert_int_equal(count_open_files(), before);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    }
}

static void child__waiting_ends_by_deadline_or_interrupt_and_can_go_on(void **state)
{
    (void)state;
    struct child child;
    struct hf_err err;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const struct child_spec spec = {.argv = SHELL("read line < /dev/null; exec sleep 100")};
    assert_int_equal(child_start(&child, &spec, &err), HF_OK);
    char text[CHILD_TEXT_SIZE];
    assert_non_null(strstr(child_describe(&child, text), "running as process "));
    assert_false(child_succeeded(&child));
    assert_false(child_poll(&child));
    int64_t deadline = clock_now() + HF_MS(20);
    assert_int_equal(child_wait(&child, deadline, ends[0]), CHILD_WAIT_DEADLINE);
    assert_true(clock_now() >= deadline);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(child_wait(&child, HF_NEVER, ends[0]), CHILD_WAIT_INTERRUPTED);
    child_signal(&child, SIGKILL);
    assert_int_equal(child_wait(&child, HF_NEVER, -1), CHILD_WAIT_ENDED);
    assert_int_equal(child_wait(&child, 0, -1), CHILD_WAIT_ENDED);
    child_signal(&child, SIGKILL); /* harmless: it is gone */
    close(ends[0]);
    close(ends[1]);
}

static void child__stopping_goes_step_by_step_as_far_as_needed(void **state)
{
    (void)state;
    const struct {
        const char *line;
        size_t steps;
        const char *end;
    } cases[] = {
        {"trap 'exit 4' INT; echo; while :; do sleep 0.01; done", 1, "exit status 4"},
        {"trap '' INT; echo; while :; do sleep 0.01; done", 2, "killed by SIGTERM"},
        {"trap '' INT TERM; echo; while :; do sleep 0.01; done", 3, "killed by SIGKILL"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct child child;
        struct hf_err err;
        int ends[2];
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        const struct child_spec spec = {.argv = SHELL(cases[i].line), .output = ends[1]};
        assert_int_equal(child_start(&child, &spec, &err), HF_OK);
        char ready;
        assert_int_equal(read(ends[0], &ready, 1), 1); /* the traps are set */
        const struct child_step steps[] = {
            {SIGINT, i == 0 ? HF_SEC(20) : HF_MS(50), false},
            {SIGTERM, i == 1 ? HF_SEC(20) : HF_MS(50), true},
        };
        assert_int_equal(child_stop(&child, steps, 2), cases[i].steps);
        char text[CHILD_TEXT_SIZE];
        assert_string_equal(child_describe(&child, text), cases[i].end);
        assert_int_equal(child_stop(&child, steps, 2), 0);
        close(ends[0]);
        close(ends[1]);
    }
}

static void child__a_run_ends_at_its_deadline_with_everything_it_started(void **state)
{
    (void)state;
    struct child_run run =
        run_of((struct child_spec){.argv = SHELL("echo begun; sleep 100 & wait")});
    int64_t begun = clock_now();
    run.deadline_ns = begun + HF_SEC(2);
    run_it(&run);
    assert_int_equal(run.waited, CHILD_WAIT_DEADLINE);
    assert_true(clock_now() < begun + HF_SEC(60));
    assert_string_equal(run.out, "begun\n");
    /* Nobody is left in its group, once the orphan has been reaped by its new parent. */
    int64_t deadline = clock_now() + HF_SEC(20);
    while (kill(-run.child.pid, 0) == 0 && clock_now() < deadline)
        clock_sleep_until(clock_now() + HF_MS(5));
    assert_int_equal(kill(-run.child.pid, 0), -1);
}

static void child__a_run_can_be_interrupted(void **state)
{
    (void)state;
    struct child_run run = run_of((struct child_spec){.argv = SHELL("sleep 100")});
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    run.deadline_ns = HF_NEVER;
    run.interrupt_fd = ends[0];
    run_it(&run);
    assert_int_equal(run.waited, CHILD_WAIT_INTERRUPTED);
    char text[CHILD_TEXT_SIZE];
    assert_string_equal(child_describe(&run.child, text), "killed by SIGKILL");
    close(ends[0]);
    close(ends[1]);
}

static void child__a_run_does_not_wait_for_a_grandchild_that_holds_the_pipe(void **state)
{
    (void)state;
    struct child child;
    int64_t begun = clock_now();
    assert_string_equal(shell(&child, "sleep 30 & echo done"), "done\n");
    assert_true(clock_now() < begun + HF_SEC(25));
    assert_int_equal(kill(-child.pid, SIGKILL), 0); /* the sleep is still there, and ours to end */
}

/* A parent that is killed takes its child along: the grandchild of this test reports its number,
 * then its parent, our child, is killed. */
static void child__dies_with_its_parent(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t middle = __real_fork();
    if (middle == 0) {
        struct child child;
        const struct child_spec spec = {.argv = SHELL("sleep 100"), .signal_at_our_end = SIGTERM};
        if (child_start(&child, &spec, NULL) != HF_OK)
            _exit(1);
        ssize_t written = write(ends[1], &child.pid, sizeof child.pid);
        pause();
        _exit(written != 0);
    }
    pid_t inner;
    assert_int_equal(read(ends[0], &inner, sizeof inner), sizeof inner);
    assert_int_equal(kill(inner, 0), 0);
    kill(middle, SIGKILL);
    assert_int_equal(waitpid(middle, NULL, 0), middle);
    int64_t deadline = clock_now() + HF_SEC(20);
    while (kill(inner, 0) == 0 && clock_now() < deadline)
        clock_sleep_until(clock_now() + HF_MS(5));
    assert_int_equal(kill(inner, 0), -1);
    close(ends[0]);
    close(ends[1]);
}

static void child__root_can_start_it_as_somebody_else(void **state)
{
    (void)state;
    struct child_user user;
    struct hf_err err;
    if (getuid() != 0)
        skip();
    assert_int_equal(child_user_find(&user, "nobody", &err), HF_OK);
    assert_string_equal(user.name, "nobody");
    struct child_run run =
        run_of((struct child_spec){.argv = SHELL("id -un; id -u -r; id -G"), .user = &user});
    run_it(&run);
    char expected[100];
    snprintf(expected, sizeof expected, "nobody\n%u\n%u\n", user.uid, user.gid);
    assert_string_equal(run.out, expected);
    assert_int_equal(getuid(), 0);

    /* In a process of its own: there is no way back. */
    pid_t pid = __real_fork();
    if (pid == 0) {
        bool is_changed = child_user_become(&user, NULL) == HF_OK && getuid() == user.uid;
        /* As that user: again is fine, somebody else is not. */
        bool is_stable = child_user_become(&user, NULL) == HF_OK;
        user.uid = 0;
        _exit(is_changed && is_stable && child_user_become(&user, NULL) == HF_RC_DENIED ? 7 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(child__runs_to_its_end_with_output_and_status),
        cmocka_unit_test(child__arguments_reach_it_untouched_by_a_shell),
        cmocka_unit_test(child__long_output_is_kept_by_its_end),
        cmocka_unit_test(child__inherits_nothing_but_what_it_was_given),
        cmocka_unit_test(child__has_a_process_group_of_its_own),
        cmocka_unit_test(child__starts_where_it_is_told),
        cmocka_unit_test(child__what_cannot_start_is_the_callers_failure),
        cmocka_unit_test(child__each_system_call_may_fail),
        cmocka_unit_test(child__waiting_ends_by_deadline_or_interrupt_and_can_go_on),
        cmocka_unit_test(child__stopping_goes_step_by_step_as_far_as_needed),
        cmocka_unit_test(child__a_run_ends_at_its_deadline_with_everything_it_started),
        cmocka_unit_test(child__a_run_can_be_interrupted),
        cmocka_unit_test(child__a_run_does_not_wait_for_a_grandchild_that_holds_the_pipe),
        cmocka_unit_test(child__dies_with_its_parent),
        cmocka_unit_test(child__root_can_start_it_as_somebody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
