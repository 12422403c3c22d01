#include "unit.h"

#include "pg/errand.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/ns.h"
#include "os/clock.h"

static bool await(struct errands *errands, int fd, struct errand_answer *answer)
{
    struct pollfd file = {.fd = fd, .events = POLLIN};
    uint64_t count;
    while (!errand_take(errands, answer))
        if (poll(&file, 1, 10000) != 1 || read(fd, &count, sizeof count) != sizeof count)
            return false;
    return true;
}

static void errand__a_name_is_looked_up_by_another_thread(void **state)
{
    (void)state;
    struct errands *errands;
    struct errand_answer answer;
    struct hf_err err;
    const int fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(errands_new(&errands, fd, &err), HF_OK);
    assert_true(errand_ask(errands, 3, ERRAND_RESOLVE, "127.0.0.7"));
    assert_false(errand_ask(errands, 3, ERRAND_RESOLVE, "127.0.0.7")); /* it is under way */
    assert_true(await(errands, fd, &answer));
    assert_int_equal(answer.id, 3);
    assert_int_equal(answer.rc, HF_OK);
    assert_int_equal(answer.count, 1);
    assert_string_equal(answer.places[0].host, "127.0.0.7");
    assert_false(errand_take(errands, &answer));
    assert_true(errand_ask(errands, 3, ERRAND_PATRONI, "nonsense"));
    assert_true(await(errands, fd, &answer));
    assert_int_equal(answer.kind, ERRAND_PATRONI);
    assert_int_equal(answer.rc, HF_RC_INVALID);
    errands_free(errands);
    close(fd);
}

static void errand__what_has_no_address_is_a_failure_with_its_name(void **state)
{
    (void)state;
    struct errands *errands;
    struct errand_answer answer;
    struct hf_err err;
    const int fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(errands_new(&errands, fd, &err), HF_OK);
    assert_true(errand_ask(errands, 1, ERRAND_RESOLVE, "no such name"));
    assert_true(await(errands, fd, &answer));
    assert_int_equal(answer.rc, HF_RC_AGAIN);
    assert_non_null(strstr(answer.err.message, "\"no such name\""));
    errands_free(errands);
    close(fd);
}

static void errand__jobs_are_bounded_and_stopping_is_prompt(void **state)
{
    (void)state;
    struct errands *errands;
    struct hf_err err;
    uint32_t taken = 0;
    const int fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(errands_new(&errands, fd, &err), HF_OK);
    for (uint32_t id = 0; id < 1000; id++)
        taken += errand_ask(errands, id, ERRAND_RESOLVE, "127.0.0.1");
    assert_int_equal(taken, ERRAND_JOBS_MAX); /* what is answered counts until it is taken */
    const int64_t began_ns = clock_now();
    errands_free(errands);
    assert_true(clock_now() - began_ns < HF_SEC(60));
    errands_free(NULL);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errand__a_name_is_looked_up_by_another_thread),
        cmocka_unit_test(errand__what_has_no_address_is_a_failure_with_its_name),
        cmocka_unit_test(errand__jobs_are_bounded_and_stopping_is_prompt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
