#include "unit.h"

#include "cli/ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* Listens on 127.0.0.1, on the first port that can be had from one that few others begin at. */
static int listen_somewhere(int *port)
{
    for (*port = 20000 + (int)(getpid() % 10000);; ++*port) {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const struct sockaddr_in address = {
            .sin_family = AF_INET,
            .sin_port = htons((uint16_t)*port),
            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        const int on = 1;
        assert_true(fd >= 0 && *port < 32768);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* as PostgreSQL does */
        if (bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1) == 0)
            return fd;
        close(fd);
    }
}

static void ports__what_somebody_listens_on_is_not_free(void **state)
{
    (void)state;
    int port;
    int fd = listen_somewhere(&port);
    assert_false(ports_is_free(port));
    assert_true(ports_answers(port));
    assert_true(ports_find(port, 32767, NULL, 0) > port);
    assert_int_equal(ports_find(port, port, NULL, 0), 0);
    close(fd);
    assert_true(ports_is_free(port));
    assert_false(ports_answers(port));
    assert_int_equal(ports_find(port, 32767, NULL, 0), port);
}

static void ports__the_taken_ones_are_left_out(void **state)
{
    (void)state;
    int port;
    close(listen_somewhere(&port));
    const int taken[] = {port, port + 1};
    assert_true(ports_find(port, 32767, taken, 2) > port + 1);
}

/* Connections that are over linger on the server's port for a minute; PostgreSQL starts there all
 * the same, and so the port counts as free. */
static void ports__what_lingers_is_not_taken(void **state)
{
    (void)state;
    int port;
    int fd = listen_somewhere(&port);
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    assert_int_equal(connect(client, (const struct sockaddr *)&address, sizeof address), 0);
    const int accepted = accept(fd, NULL, NULL);
    assert_true(accepted >= 0);
    close(accepted); /* the server's side closes first, and keeps the port in TIME_WAIT */
    char byte;
    assert_int_equal(read(client, &byte, 1), 0);
    close(client);
    close(fd);
    assert_true(ports_is_free(port));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports__what_somebody_listens_on_is_not_free),
        cmocka_unit_test(ports__the_taken_ones_are_left_out),
        cmocka_unit_test(ports__what_lingers_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
