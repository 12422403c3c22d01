#include "unit.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ns.h"
#include "net/keepalive.h"

static int option_of(int fd, int option)
{
    int value = -1;
    socklen_t size = sizeof value;
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, option, &value, &size), 0);
    return value;
}

static void keepalive__what_is_set_is_what_the_kernel_has(void **state)
{
    (void)state;
    static const struct {
        struct keepalive set;
        int idle, interval, count, user; /* 0: as it was */
    } cases[] = {
        {{0}, 0, 0, 0, 0},
        {{.idle_ns = HF_SEC(60)}, 60, 0, 0, 0},
        {{.interval_ns = HF_SEC(10), .count = 4}, 0, 10, 4, 0},
        {{HF_SEC(5), HF_SEC(2), 3, HF_SEC(11)}, 5, 2, 3, 11000},
        {{HF_MS(1), HF_MS(1001), 1, 1}, 1, 2, 1, 1},
        {{.idle_ns = HF_NEVER, .interval_ns = HF_NEVER}, 0, 0, 0, 0}, /* refused */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        assert_true(fd >= 0);
        const int before[] = {option_of(fd, TCP_KEEPIDLE), option_of(fd, TCP_KEEPINTVL),
                              option_of(fd, TCP_KEEPCNT)};
        keepalive_apply(fd, &cases[i].set);
        assert_int_equal(option_of(fd, TCP_KEEPIDLE), cases[i].idle ? cases[i].idle : before[0]);
        assert_int_equal(option_of(fd, TCP_KEEPINTVL),
                         cases[i].interval ? cases[i].interval : before[1]);
        assert_int_equal(option_of(fd, TCP_KEEPCNT), cases[i].count ? cases[i].count : before[2]);
        assert_int_equal(option_of(fd, TCP_USER_TIMEOUT), cases[i].user);
        close(fd);
    }
}

static void keepalive__a_unix_socket_stays_as_it_is(void **state)
{
    (void)state;
    const struct keepalive set = {HF_SEC(5), HF_SEC(2), 3, HF_SEC(11)};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    keepalive_apply(fd, &set);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keepalive__what_is_set_is_what_the_kernel_has),
        cmocka_unit_test(keepalive__a_unix_socket_stays_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
