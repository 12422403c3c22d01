/*
 * A page that knows the process that made it.
 */
#include "unit.h"

#include <sys/wait.h>
#include <unistd.h>

#include "client/alive.h"

static void alive__a_child_of_a_fork_is_told_apart(void **state)
{
    (void)state;
    struct hf_err err;
    const _Atomic uint32_t *alive = alive_new(&err);
    int status = 0;
    assert_non_null(alive);
    assert_true(alive_here(alive));
    const pid_t child = fork();
    if (child == 0)
        _exit(alive_here(alive) ? 1 : 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(alive_here(alive));
    alive_free(alive);
    alive_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alive__a_child_of_a_fork_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
