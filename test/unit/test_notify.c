#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ns.h"
#include "os/notify.h"

static int begin(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    return 0;
}

static void set_number(const char *name, long number)
{
    char text[24];
    snprintf(text, sizeof text, "%ld", number);
    setenv(name, text, 1);
}

static void notify__without_a_manager_nothing_is_said(void **state)
{
    (void)state;
    struct notify notify;
    struct hf_err err;
    assert_int_equal(notify_init(&notify, &err), HF_OK);
    assert_int_equal(notify.address_size, 0);
    assert_int_equal(notify.sockets, 0);
    assert_true(notify.watchdog_ns == HF_NEVER);
    notify_say(&notify, "READY=1");
}

/* A name in the abstract name space needs no file. */
static void notify__what_is_said_is_heard(void **state)
{
    (void)state;
    struct notify notify;
    struct hf_err err;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char heard[64] = {0};
    int size =
        snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "hf-notify-%d", (int)getpid());
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size)),
                     0);
    char name[sizeof address.sun_path + 1];
    snprintf(name, sizeof name, "@%s", address.sun_path + 1);
    setenv("NOTIFY_SOCKET", name, 1);
    assert_int_equal(notify_init(&notify, &err), HF_OK);
    assert_non_null(getenv("NOTIFY_SOCKET")); /* for who takes over from us */
    notify_say(&notify, "READY=1\nSTATUS=well");
    assert_int_equal(recv(fd, heard, sizeof heard - 1, 0), 19);
    assert_string_equal(heard, "READY=1\nSTATUS=well");
    close(fd);
    notify_say(&notify, "nobody is there any more");
}

static void notify__an_address_that_is_none_is_refused(void **state)
{
    (void)state;
    char longest[200];
    struct notify notify;
    struct hf_err err;
    memset(longest, 'x', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    const char *const wrong[] = {"vsock:2:1234", "relative", "@", longest};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        setenv("NOTIFY_SOCKET", wrong[i], 1);
        assert_int_equal(notify_init(&notify, &err), HF_RC_INVALID);
    }
}

static void notify__a_watchdog_of_another_process_is_not_ours(void **state)
{
    (void)state;
    static const struct {
        const char *usec;
        long pid_more; /* than ours; -1: not said */
        int64_t ns;
    } cases[] = {
        {"400000", -1, HF_MS(400)}, {"400000", 0, HF_MS(400)}, {"400000", 1, HF_NEVER},
        {"0", 0, HF_NEVER},         {"many", 0, HF_NEVER},
    };
    struct notify notify;
    struct hf_err err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        setenv("WATCHDOG_USEC", cases[i].usec, 1);
        if (cases[i].pid_more >= 0)
            set_number("WATCHDOG_PID", getpid() + cases[i].pid_more);
        assert_int_equal(notify_init(&notify, &err), HF_OK);
        assert_true(notify.watchdog_ns == cases[i].ns);
        assert_null(getenv("WATCHDOG_PID"));
    }
}

static void notify__sockets_of_another_process_are_not_ours(void **state)
{
    (void)state;
    static const struct {
        long pid_more;
        const char *count;
        enum hf_rc rc;
        uint32_t sockets;
    } cases[] = {
        {1, "1", HF_OK, 0},        {0, "0", HF_OK, 0}, {0, "none", HF_OK, 0},
        {0, "65", HF_RC_LIMIT, 0}, {0, "1", HF_OK, 1},
    };
    struct notify notify;
    struct hf_err err;
    int kept = dup(NOTIFY_FIRST_FD); /* it may be open, and somebody's */
    assert_int_equal(dup2(STDIN_FILENO, NOTIFY_FIRST_FD), NOTIFY_FIRST_FD);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        set_number("LISTEN_PID", getpid() + cases[i].pid_more);
        setenv("LISTEN_FDS", cases[i].count, 1);
        assert_int_equal(notify_init(&notify, &err), cases[i].rc);
        assert_int_equal(notify.sockets, cases[i].sockets);
        assert_null(getenv("LISTEN_FDS"));
    }
    if (kept >= 0) {
        dup2(kept, NOTIFY_FIRST_FD);
        close(kept);
    }
}

#define CASE(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(notify__without_a_manager_nothing_is_said),
        CASE(notify__what_is_said_is_heard),
        CASE(notify__an_address_that_is_none_is_refused),
        CASE(notify__a_watchdog_of_another_process_is_not_ours),
        CASE(notify__sockets_of_another_process_are_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
