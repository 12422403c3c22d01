#include "loop_rig.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct address local(uint16_t port)
{
    struct address address;
    assert_true(address_literal(&address, SV("127.0.0.1"), port));
    return address;
}

static void listener__port_0_is_any_and_is_told(void **state)
{
    (void)state;
    struct listener listener;
    struct hf_err err;
    struct address address = local(0);
    assert_int_equal(listener_open(&listener, &address, false, &err), HF_OK);
    assert_true(address_port(&listener.address) > 0);
    listener_close(&listener);
    assert_int_equal(listener.fd, -1);
    listener_close(&listener); /* twice does no harm */
}

static void listener__a_port_that_is_taken_is_named(void **state)
{
    (void)state;
    struct listener first;
    struct listener second;
    struct hf_err err;
    char text[ADDRESS_TEXT_SIZE];
    struct address address = local(0);
    assert_int_equal(listener_open(&first, &address, false, &err), HF_OK);
    assert_int_equal(listener_open(&second, &first.address, false, &err), HF_RC_AGAIN);
    assert_non_null(strstr(err.message, address_text(&first.address, text)));
    assert_non_null(strstr(err.message, "in use"));
    assert_int_equal(second.fd, -1);
    listener_close(&first);
}

static void listener__a_shared_port_is_for_those_who_share(void **state)
{
    (void)state;
    struct listener first;
    struct listener second;
    struct listener third;
    struct hf_err err;
    struct address address = local(0);
    assert_int_equal(listener_open(&first, &address, true, &err), HF_OK);
    assert_int_equal(listener_open(&second, &first.address, true, &err), HF_OK);
    assert_int_equal(listener_open(&third, &first.address, false, &err), HF_RC_AGAIN);
    listener_close(&first);
    listener_close(&second);
}

static void listener__both_families_may_have_the_same_port(void **state)
{
    (void)state;
    struct listener v4;
    struct listener v6;
    struct hf_err err;
    struct address address;
    enum hf_rc rc = HF_RC_AGAIN;
    /* Somebody else may have that port of IPv4 just now. */
    for (int i = 0; i < 50 && rc == HF_RC_AGAIN; i++) {
        address_any_v6(&address, 0);
        if (listener_open(&v6, &address, false, &err) != HF_OK)
            skip(); /* a machine without IPv6 */
        address_any_v4(&address, address_port(&v6.address));
        rc = listener_open(&v4, &address, false, &err);
        if (rc != HF_OK)
            listener_close(&v6);
    }
    assert_int_equal(rc, HF_OK);
    listener_close(&v4);
    listener_close(&v6);
}

struct folder {
    char path[64];
    struct address address;
};

static void folder_open(struct folder *folder)
{
    struct hf_err err;
    *folder = (struct folder){.path = "/tmp/hf-listener-XXXXXX"};
    assert_non_null(mkdtemp(folder->path));
    assert_int_equal(address_unix(&folder->address, sv_from_cstr(folder->path), 5432, &err), HF_OK);
}

static void listener__the_file_of_a_dead_process_gives_way(void **state)
{
    (void)state;
    struct folder folder;
    struct listener dead;
    struct listener listener;
    struct listener rival;
    struct hf_err err;
    folder_open(&folder);
    assert_int_equal(listener_open(&dead, &folder.address, false, &err), HF_OK);
    close(dead.fd); /* as a kill does: the file stays */
    assert_int_equal(listener_open(&listener, &folder.address, false, &err), HF_OK);
    assert_int_equal(listener_open(&rival, &folder.address, false, &err), HF_RC_AGAIN);
    listener_close(&listener); /* removes the file */
    assert_int_equal(rmdir(folder.path), 0);
}

static void listener__a_file_that_is_no_socket_stays(void **state)
{
    (void)state;
    struct folder folder;
    struct listener listener;
    struct hf_err err;
    struct stat status;
    folder_open(&folder);
    const char *path = folder.address.sa.path.sun_path;
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(listener_open(&listener, &folder.address, false, &err), HF_RC_AGAIN);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder.path), 0);
}

static void listener__unix_sockets_carry_bytes_too(void **state)
{
    struct rig rig;
    struct actor actor = {.manner = ECHO, .closes_at_end = true};
    struct actor client = {.manner = SINK, .closes_at_end = true};
    struct folder folder;
    struct listener on_file;
    struct hf_err err;
    folder_open(&folder);
    rig_open(&rig, rig_io(state), 64);
    assert_int_equal(listener_open(&on_file, &folder.address, false, &err), HF_OK);
    assert_int_equal(loop_listen(rig.loop, &on_file, &err), HF_OK);
    rig.next = &actor;
    stream_connect(rig.loop, &client.stream, &folder.address, 1);
    uint64_t sent = 0;
    while (client.bytes < UINT64_C(3) << 20) {
        char bytes[1000];
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = pattern(sent + i);
        if (stream_room(rig.loop, &client.stream) >= sizeof bytes)
            sent += stream_send(rig.loop, &client.stream, sv_from(bytes, sizeof bytes));
        rig_turn(&rig, HF_MS(1));
    }
    stream_close(rig.loop, &client.stream, true);
    rig_until(&rig, client.gone == 1 && actor.gone == 1);
    assert_int_equal(actor.bytes, sent);
    loop_unlisten(rig.loop, &on_file);
    listener_close(&on_file);
    rig_close(&rig);
    assert_int_equal(rmdir(folder.path), 0);
}

static void listener__one_that_listens_already_is_taken_over(void **state)
{
    (void)state;
    struct listener first, second;
    struct hf_err err;
    struct address address = local(0);
    int flag = 0;
    socklen_t size = sizeof flag;
    assert_int_equal(listener_open(&first, &address, true, &err), HF_OK);
    int fd = dup(first.fd);
    assert_int_equal(listener_adopt(&second, fd, &err), HF_OK);
    assert_true(address_eq(&first.address, &second.address));
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &flag, &size), 0);
    assert_int_not_equal(flag, 0);
    flag = 0;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &flag, &size), 0);
    assert_int_not_equal(flag, 0);
    listener_close(&first);
    listener_close(&second);
}

static void listener__what_does_not_listen_is_not_taken_over(void **state)
{
    (void)state;
    struct listener listener;
    struct hf_err err;
    int file = open("/dev/null", O_RDWR | O_CLOEXEC);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(listener_adopt(&listener, file, &err), HF_RC_INVALID);
    assert_int_equal(listener_adopt(&listener, fd, &err), HF_RC_INVALID);
    assert_int_equal(close(file), 0); /* they are the caller's still */
    assert_int_equal(close(fd), 0);
}

static void listener__a_file_that_somebody_else_needs_is_kept(void **state)
{
    (void)state;
    struct listener listener;
    struct hf_err err;
    char folder[] = "/tmp/hf-listener-XXXXXX";
    struct address address;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(address_unix(&address, sv_from_cstr(folder), 1, &err), HF_OK);
    assert_int_equal(listener_open(&listener, &address, false, &err), HF_OK);
    listener.keeps_path = true;
    listener_close(&listener);
    assert_int_equal(unlink(address.sa.path.sun_path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(listener__port_0_is_any_and_is_told),
    cmocka_unit_test(listener__a_port_that_is_taken_is_named),
    cmocka_unit_test(listener__a_shared_port_is_for_those_who_share),
    cmocka_unit_test(listener__both_families_may_have_the_same_port),
    cmocka_unit_test(listener__the_file_of_a_dead_process_gives_way),
    cmocka_unit_test(listener__a_file_that_is_no_socket_stays),
    cmocka_unit_test(listener__one_that_listens_already_is_taken_over),
    cmocka_unit_test(listener__what_does_not_listen_is_not_taken_over),
    cmocka_unit_test(listener__a_file_that_somebody_else_needs_is_kept),
    BOTH(listener__unix_sockets_carry_bytes_too),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
