/*
 * For tests of assertions: does this call stop the program?
 *
 *     static void return_twice(void *pool) { ... }
 *     assert_true(dies(return_twice, &pool));
 *
 * The call runs in a child process, whose complaint goes to /dev/null.
 */
#ifndef HF_TEST_UNIT_DIES_H
#define HF_TEST_UNIT_DIES_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* True if the call ended in abort(), as hf_assert does; false if it returned or ended otherwise. */
static inline bool dies(void (*call)(void *argument), void *argument)
{
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        signal(SIGABRT, SIG_DFL); /* cmocka catches it */
        setrlimit(RLIMIT_CORE, &no_core);
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        call(argument);
        _exit(0);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGABRT;
}

#endif
