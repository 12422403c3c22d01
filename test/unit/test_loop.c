#include "loop_rig.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- connecting ---- */

static void loop__a_connection_is_made_and_what_was_put_before_is_sent(void **state)
{
    struct rig rig;
    struct actor server;
    struct actor client = {.manner = SINK, .closes_at_end = true};
    rig_open(&rig, rig_io(state), 64);
    server = (struct actor){.manner = ECHO, .closes_at_end = true};
    rig.next = &server;
    stream_connect(rig.loop, &client.stream, &rig.listener.address, 3);
    assert_int_equal(client.connected, 0); /* always later */
    assert_int_equal(stream_send(rig.loop, &client.stream, SV("hello")), 5);
    rig_until(&rig, client.bytes == 5);
    assert_int_equal(client.connected, 1);
    assert_true(client.sum == fold(0, SV("hello")));
    stream_close(rig.loop, &client.stream, true);
    rig_until(&rig, client.gone == 1 && server.gone == 1);
    assert_int_equal(server.ended, 1);
    assert_int_equal(client.ended, 0); /* whoever closes hears of nothing but the end */
    rig_close(&rig);
}

static void loop__a_refused_connection_ends(void **state)
{
    struct rig rig;
    struct actor client = {0};
    struct address address;
    rig_open(&rig, rig_io(state), 64);
    assert_true(address_literal(&address, SV("127.0.0.1"), 1));
    stream_connect(rig.loop, &client.stream, &address, 3);
    rig_until(&rig, client.ended == 1);
    assert_int_equal(client.error, ECONNREFUSED);
    assert_int_equal(client.connected, 0);
    rig_part(&rig, &client);
    struct hf_err err;
    client = (struct actor){0};
    assert_int_equal(address_unix(&address, SV("/tmp/no such folder"), 1, &err), HF_OK);
    stream_connect(rig.loop, &client.stream, &address, 3); /* cannot even begin */
    assert_int_equal(client.ended, 0);
    rig_until(&rig, client.ended == 1);
    assert_int_equal(client.error, ENOENT);
    rig_part(&rig, &client);
    rig_close(&rig);
}

static void loop__a_connection_can_be_given_up_while_it_is_made(void **state)
{
    struct rig rig;
    struct actor client = {0};
    struct address address;
    rig_open(&rig, rig_io(state), 64);
    /* RFC 5737: nobody is there. Without a route the failure comes at once instead. */
    assert_true(address_literal(&address, SV("192.0.2.1"), 5432));
    stream_connect(rig.loop, &client.stream, &address, 3);
    rig_turn(&rig, 0);
    rig_part(&rig, &client);
    rig_close(&rig);
}

/* ---- pausing ---- */

static void loop__a_paused_stream_is_told_of_nothing_and_loses_nothing(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, SINK);
    stream_pause(rig.loop, &actor.stream);
    uint64_t sent = 0;
    for (int quiet = 0; quiet < 20;) {
        size_t count = raw_write(fd, sent, 32768);
        sent += count;
        quiet = count == 0 ? quiet + 1 : 0;
        rig_turn(&rig, count == 0 ? HF_MS(1) : 0);
        assert_true(sent < UINT64_C(4) << 20);
    }
    assert_int_equal(actor.received, 0);
    uint32_t turns = rig.turns;
    rig_idle(&rig, HF_MS(30));
    assert_in_range(rig.turns - turns, 1, 20);
    stream_resume(rig.loop, &actor.stream);
    rig_until(&rig, actor.bytes == sent);
    uint64_t sum = 0;
    for (uint64_t at = 0; at < sent; at++) {
        char byte = pattern(at);
        sum = fold(sum, sv_from(&byte, 1));
    }
    assert_true(actor.sum == sum);
    stream_pause(rig.loop, &actor.stream);
    stream_resume(rig.loop, &actor.stream);
    sent += raw_write(fd, sent, 100);
    rig_until(&rig, actor.bytes == sent);
    rig_part(&rig, &actor);
    close(fd);
    rig_close(&rig);
}

static void loop__a_peer_that_goes_during_a_pause_is_told_of(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, SINK);
    rig_turn(&rig, 0);
    stream_pause(rig.loop, &actor.stream);
    rig_turn(&rig, 0);
    close(fd);
    rig_until(&rig, actor.gone == 1);
    assert_int_equal(actor.ended, 1);
    rig_close(&rig);
}

static void loop__a_half_closed_peer_in_a_pause_does_not_make_it_spin(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, SINK);
    stream_pause(rig.loop, &actor.stream);
    rig_turn(&rig, 0);
    assert_int_equal(raw_write(fd, 0, 500), 500);
    shutdown(fd, SHUT_WR);
    rig_idle(&rig, HF_MS(5));
    uint32_t turns = rig.turns;
    rig_idle(&rig, HF_MS(30));
    assert_in_range(rig.turns - turns, 1, 20);
    assert_int_equal(actor.ended, 0); /* there are bytes before it */
    stream_resume(rig.loop, &actor.stream);
    rig_until(&rig, actor.gone == 1);
    assert_int_equal(actor.bytes, 500);
    close(fd);
    rig_close(&rig);
}

/* ---- leaving ---- */

struct handover {
    struct loop_message message; /* first */
    int fd;
};

struct worker {
    enum loop_io io;
    pthread_t thread;
    struct rig rig;
    struct actor adopted;
    _Atomic(bool) is_ready;
};

static void adopt(struct rig *rig, struct loop_message *message)
{
    struct worker *worker = (struct worker *)(void *)((char *)rig - offsetof(struct worker, rig));
    worker->adopted = (struct actor){.manner = ECHO, .closes_at_end = true};
    int fd = ((struct handover *)(void *)message)->fd;
    stream_start(rig->loop, &worker->adopted.stream, fd, 9);
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    rig_open(&worker->rig, worker->io, 64);
    worker->rig.on_posted = adopt;
    atomic_store(&worker->is_ready, true);
    rig_until(&worker->rig, worker->adopted.gone == 1);
    rig_close(&worker->rig);
    return NULL;
}

static void loop__a_stream_leaves_for_another_threads_loop(void **state)
{
    struct rig rig;
    struct actor actor;
    struct worker worker = {.io = rig_io(state)};
    rig_open(&rig, rig_io(state), 64);
    assert_int_equal(pthread_create(&worker.thread, NULL, work, &worker), 0);
    rig_until(&rig, atomic_load(&worker.is_ready));
    int fd = rig_meet(&rig, &actor, ECHO);
    echo_through(&rig, fd, 1000);
    stream_leave(rig.loop, &actor.stream);
    rig_until(&rig, actor.left == 1);
    struct handover handover = {.message.kind = 1, .fd = actor.fd};
    assert_int_equal(raw_write(fd, 0, 700), 700); /* may arrive between the two */
    loop_post(worker.rig.loop, &handover.message);
    uint64_t got = 0;
    int64_t limit_ns = clock_now() + HF_SEC(30);
    while (got < 700 && clock_now() < limit_ns)
        got += raw_read(fd, got);
    assert_int_equal(got, 700);
    close(fd);
    assert_int_equal(pthread_join(worker.thread, NULL), 0);
    assert_int_equal(actor.gone, 0);
    rig_close(&rig);
}

static void loop__who_hears_something_while_leaving_has_not_left(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, SINK);
    /* Bytes and leaving meet in every order that there is time for. */
    uint64_t sent = 0;
    for (int i = 0; i < 200 && actor.left == 0; i++) {
        if (i % 2 == 0)
            sent += raw_write(fd, sent, 10);
        stream_leave(rig.loop, &actor.stream);
        if (i % 2 == 1)
            sent += raw_write(fd, sent, 10);
        rig_until(&rig, actor.left == 1 || actor.bytes == sent);
        if (actor.left == 0)
            rig_until(&rig, actor.stream.state == STREAM_OPEN);
    }
    /* Whatever way it went, no byte was lost: it is here, or still in the socket. */
    uint64_t in_socket = 0;
    if (actor.left == 1) {
        in_socket = raw_read(actor.fd, actor.bytes);
        close(actor.fd);
    } else {
        rig_part(&rig, &actor);
    }
    assert_int_equal(actor.bytes + in_socket, sent);
    close(fd);
    rig_close(&rig);
}

static void loop__who_is_left_alone_leaves(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, ECHO);
    for (int i = 0; i < 20; i++) {
        echo_through(&rig, fd, 100);
        actor.left = 0;
        stream_leave(rig.loop, &actor.stream);
        rig_until(&rig, actor.left == 1);
        stream_start(rig.loop, &actor.stream, actor.fd, 2);
    }
    actor.left = 0;
    stream_leave(rig.loop, &actor.stream);
    stream_close(rig.loop, &actor.stream, false); /* and changes its mind */
    rig_until(&rig, actor.gone == 1);
    assert_int_equal(actor.left, 0);
    close(fd);
    rig_close(&rig);
}

/* ---- posts ---- */

#define POSTERS 4
#define POSTS   5000

struct numbered {
    struct loop_message message; /* first */
    int number;
};

struct poster {
    struct loop *loop;
    pthread_t thread;
    struct numbered posts[POSTS];
};

static int last_number[POSTERS];

static void *post_all(void *arg)
{
    struct poster *poster = arg;
    for (int i = 0; i < POSTS; i++)
        loop_post(poster->loop, &poster->posts[i].message);
    return NULL;
}

static void see_order(struct rig *rig, struct loop_message *message)
{
    (void)rig;
    int number = ((struct numbered *)(void *)message)->number;
    assert_int_equal(number, last_number[message->kind] + 1);
    last_number[message->kind] = number;
}

static void loop__posts_of_many_threads_arrive_each_once_and_in_order(void **state)
{
    struct rig rig;
    rig_open(&rig, rig_io(state), 64);
    rig.on_posted = see_order;
    struct poster *posters = calloc(POSTERS, sizeof *posters);
    assert_non_null(posters);
    for (uint32_t i = 0; i < POSTERS; i++) {
        posters[i].loop = rig.loop;
        last_number[i] = 0;
        for (int k = 0; k < POSTS; k++)
            posters[i].posts[k] = (struct numbered){.message.kind = i, .number = k + 1};
    }
    for (int i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]), 0);
    rig_until(&rig, rig.posted == POSTERS * POSTS);
    for (int i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_join(posters[i].thread, NULL), 0);
    rig_idle(&rig, HF_MS(5));
    assert_int_equal(rig.posted, POSTERS * POSTS);
    free(posters);
    rig_close(&rig);
}

/* The kernel's timer stays set from wait to wait. */
static void loop__a_limit_counts_whatever_limits_waits_before_had(void **state)
{
    static const int64_t first_ns[] = {HF_SEC(20), HF_MS(8), HF_MS(1)};
    struct rig rig;
    struct hf_err err;
    struct loop_event event;
    rig_open(&rig, rig_io(state), 64);
    for (size_t i = 0; i < sizeof first_ns / sizeof *first_ns; i++) {
        struct loop_message message = {0};
        loop_post(rig.loop, &message);
        int64_t now_ns = clock_now();
        assert_int_equal(loop_wait(rig.loop, now_ns + first_ns[i], &err), HF_OK);
        assert_true(loop_next(rig.loop, &event));
        int waits = 0;
        while (clock_now() < now_ns + HF_MS(4)) {
            waits++;
            assert_int_equal(loop_wait(rig.loop, now_ns + HF_MS(4), &err), HF_OK);
            assert_false(loop_next(rig.loop, &event));
        }
        assert_true(clock_now() < now_ns + HF_SEC(15));
        assert_in_range(waits, 0, 3);
    }
    rig_close(&rig);
}

/* ---- accepting and closing ---- */

static int open_files(void)
{
    int count = 0;
    for (int fd = 0; fd < 4096; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

#define CROWD 500

static void loop__thousands_come_and_go(void **state)
{
    struct rig rig;
    rig_open(&rig, rig_io(state), 512);
    rig_turn(&rig, 0);
    int files = open_files();
    struct actor *actors = calloc(CROWD, sizeof *actors);
    int *fds = calloc(CROWD, sizeof *fds);
    assert_true(actors != NULL && fds != NULL);
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < CROWD; i++) {
            fds[i] = rig_meet(&rig, &actors[i], ECHO);
            assert_int_equal(raw_write(fds[i], 0, 100), 100);
        }
        for (int i = 0; i < CROWD; i++) {
            if (i % 3 == 0) /* we close, they close, both do */
                stream_close(rig.loop, &actors[i].stream, i % 2 == 0);
            if (i % 3 != 0 || i % 4 == 0)
                shutdown(fds[i], SHUT_RDWR);
        }
        for (int i = 0; i < CROWD; i++) {
            rig_until(&rig, actors[i].gone == 1);
            close(fds[i]);
        }
        assert_int_equal(rig.loop->streams, 0);
        assert_int_equal(rig.loop->pool.lent, 0);
    }
    assert_int_equal(open_files(), files);
    free(actors);
    free(fds);
    rig_close(&rig);
}

static void loop__a_stream_can_be_closed_with_bytes_under_way(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, SINK);
    char bytes[LOOP_BLOCK_SIZE] = {0};
    for (int i = 0; i < 200; i++) {
        size_t ignored = stream_send(rig.loop, &actor.stream, sv_from(bytes, sizeof bytes));
        (void)ignored;
        (void)raw_write(fd, 0, 1000);
        rig_turn(&rig, 0);
    }
    assert_false(stream_is_flushed(&actor.stream));
    stream_close(rig.loop, &actor.stream, true);
    assert_int_equal(stream_room(rig.loop, &actor.stream), 0); /* too late for more */
    assert_int_equal(stream_send(rig.loop, &actor.stream, SV("x")), 0);
    rig_idle(&rig, HF_MS(10));
    assert_int_equal(actor.gone, 0); /* nobody reads: its owner must give it up */
    int received = actor.received;
    (void)raw_write(fd, 0, 1000);
    rig_idle(&rig, HF_MS(5));
    assert_int_equal(actor.received, received);
    rig_part(&rig, &actor);
    close(fd);
    rig_close(&rig);
}

static void loop__a_stream_that_ends_can_still_be_resumed_in_vain(void **state)
{
    struct rig rig;
    struct actor actor;
    struct hf_err err;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, SINK);
    rig_turn(&rig, 0);
    stream_pause(rig.loop, &actor.stream);
    stream_close(rig.loop, &actor.stream, false);
    const int64_t patient_until_ns = clock_now() + HF_SEC(30);
    while (!(actor.stream.flags & STREAM_GONE) && clock_now() < patient_until_ns) {
        struct loop_event event;
        assert_int_equal(loop_wait(rig.loop, clock_now(), &err), HF_OK);
        while (rig.loop->backend->step(rig.loop, &event) == LOOP_STEP_DONE)
            continue;
    }
    assert_true(actor.stream.flags & STREAM_GONE);
    /* It is over, and its owner has not been told. */
    stream_resume(rig.loop, &actor.stream);
    stream_close(rig.loop, &actor.stream, true);
    assert_int_equal(stream_room(rig.loop, &actor.stream), 0);
    rig_until(&rig, actor.gone == 1);
    memset(&actor.stream, 0xff, sizeof actor.stream); /* the owner's again: nobody looks at it */
    rig_idle(&rig, HF_MS(5));
    assert_int_equal(actor.gone, 1);
    close(fd);
    rig_close(&rig);
}

/* Events that nobody took come in the next turn; but not those of a stream that is gone by then. */
static void loop__events_may_be_left_for_the_next_turn(void **state)
{
    struct rig rig;
    struct actor actors[3];
    int fds[3];
    struct hf_err err;
    struct loop_event event;
    rig_open(&rig, rig_io(state), 64);
    for (int i = 0; i < 3; i++) {
        fds[i] = rig_meet(&rig, &actors[i], SINK);
        actors[i].closes_at_end = false;
    }
    rig_turn(&rig, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(raw_write(fds[i], 0, 10), 10);
    assert_int_equal(loop_wait(rig.loop, clock_now() + HF_SEC(1), &err), HF_OK);
    assert_true(loop_next(rig.loop, &event));
    rig_on_event(&rig, &event);
    stream_close(rig.loop, &actors[1].stream, false);
    stream_close(rig.loop, &actors[2].stream, false);
    const int64_t patient_until_ns = clock_now() + HF_SEC(30);
    for (int turn = 0;
         turn < 10 || (actors[1].gone + actors[2].gone < 2 && clock_now() < patient_until_ns);
         turn++) {
        assert_int_equal(loop_wait(rig.loop, clock_now(), &err), HF_OK);
        for (int i = 0; i < 2 && loop_next(rig.loop, &event); i++) {
            rig_on_event(&rig, &event);
            if (event.kind == LOOP_GONE)
                memset(event.stream, 0xff, sizeof *event.stream);
        }
    }
    assert_int_equal(actors[1].gone, 1);
    assert_int_equal(actors[2].gone, 1);
    assert_int_equal(actors[0].bytes, 10);
    rig_part(&rig, &actors[0]);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    rig_close(&rig);
}

static void loop__last_words_are_not_lost_to_what_nobody_read(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, HOARD);
    uint64_t sent = 0;
    for (size_t count = 1; count > 0; sent += count)
        count = raw_write(fd, sent, 32768);
    rig_idle(&rig, HF_MS(5));
    assert_int_equal(stream_send(rig.loop, &actor.stream, SV("no")), 2);
    stream_close(rig.loop, &actor.stream, true);
    rig_until(&rig, actor.gone == 1);
    char words[3] = {0};
    assert_int_equal(recv(fd, words, 3, MSG_DONTWAIT), 2);
    assert_string_equal(words, "no");
    assert_int_equal(raw_end(fd), 0);
    close(fd);
    rig_close(&rig);
}

static void loop__want_of_descriptors_passes_without_spinning(void **state)
{
    struct rig rig;
    struct rlimit before;
    rig_open(&rig, rig_io(state), 64);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int fd = rig_dial(&rig);
    /* Before the first turn: io_uring goes by the limit at the time when accepting was asked for.
     */
    struct rlimit none = {.rlim_cur = (rlim_t)fd, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    uint32_t turns = rig.turns;
    rig_idle(&rig, HF_MS(250));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(rig.accepted, 0);
    assert_in_range(rig.turns - turns, 1, 12);
    rig_until(&rig, rig.accepted == 1);
    close(rig.accepted_fd);
    close(fd);
    rig_close(&rig);
}

static void loop__no_connection_comes_after_unlisten(void **state)
{
    struct rig rig;
    struct hf_err err;
    rig_open(&rig, rig_io(state), 64);
    rig_turn(&rig, 0);
    loop_unlisten(rig.loop, &rig.listener);
    int fd = rig_dial(&rig);
    rig_idle(&rig, HF_MS(10));
    assert_int_equal(rig.accepted, 0);
    int again = rig_dial(&rig);
    assert_int_equal(loop_listen(rig.loop, &rig.listener, &err), HF_OK);
    rig_until(&rig, rig.accepted >= 1);
    rig_idle(&rig, HF_MS(5));
    close(rig.accepted_fd);
    close(fd);
    close(again);
    rig_close(&rig);
}

/* Who shares the socket gets those who come later; who came in time is told by us, however late. */
static void loop__who_was_accepted_is_told_after_retire(void **state)
{
    struct rig rig;
    struct hf_err err;
    rig_open(&rig, rig_io(state), 64);
    rig_turn(&rig, 0);
    assert_true(loop_is_listening(rig.loop));
    int shared = dup(rig.listener.fd);
    int fd = rig_dial(&rig);
    assert_int_equal(loop_wait(rig.loop, clock_now() + HF_SEC(2), &err), HF_OK);
    loop_retire(rig.loop, &rig.listener); /* it has come, and was not told yet */
    rig_until(&rig, !loop_is_listening(rig.loop));
    int accepted = accept4(shared, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    /* It went to one of the two: nobody is lost. */
    assert_int_equal(rig.accepted + (accepted >= 0), 1);
    int late = rig_dial(&rig);
    rig_idle(&rig, HF_MS(10));
    int second = accept4(shared, NULL, NULL, SOCK_CLOEXEC);
    assert_true(second >= 0);
    close(second);
    close(late);
    if (accepted >= 0)
        close(accepted);
    else
        close(rig.accepted_fd);
    close(shared);
    close(fd);
    rig_close(&rig);
}

static void loop__what_was_posted_to_nobody_can_be_taken_back(void **state)
{
    struct rig rig;
    struct loop_message first = {.kind = 1}, second = {.kind = 2};
    rig_open(&rig, rig_io(state), 64);
    loop_post(rig.loop, &first);
    loop_post(rig.loop, &second);
    assert_ptr_equal(loop_unheard(rig.loop), &first);
    assert_ptr_equal(loop_unheard(rig.loop), &second);
    assert_null(loop_unheard(rig.loop));
    rig_close(&rig);
}

static void loop__a_wait_ends_in_time(void **state)
{
    struct rig rig;
    rig_open(&rig, rig_io(state), 64);
    rig_turn(&rig, 0);
    int64_t start_ns = clock_now();
    uint32_t turns = rig.turns;
    rig_idle(&rig, HF_MS(20)); /* a signal may end a wait early, nothing else may */
    assert_in_range(rig.turns - turns, 1, 6);
    assert_true(loop_now(rig.loop) >= start_ns + HF_MS(20));
    assert_true(loop_now(rig.loop) < start_ns + HF_SEC(15));
    assert_int_equal(loop_io(rig.loop), rig_io(state));
    rig_close(&rig);
}

/* ---- which one ---- */

/* From here on this process is refused io_uring, as a container is. */
static void forbid_uring(int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(3);
}

/* In a child: 0 if the loop fell back to epoll with a reason, and refused where it must not. */
static int fall_back(int error)
{
    struct mem mem;
    struct loop *loop;
    struct hf_err err;
    mem_init(&mem, 0);
    forbid_uring(error);
    struct loop_config config = {.io = LOOP_IO_URING, .blocks = 8};
    if (loop_new(&loop, &config, &mem, &err) == HF_OK)
        return 1;
    config.io = LOOP_IO_AUTO;
    if (loop_new(&loop, &config, &mem, &err) != HF_OK || loop_io(loop) != LOOP_IO_EPOLL)
        return 2;
    bool has_reason = strncmp(loop_io_reason(loop), "could not set up io_uring: ", 27) == 0;
    loop_free(loop);
    mem_deinit(&mem);
    return has_reason ? 0 : 4;
}

static void loop__without_io_uring_it_says_why_and_takes_epoll(void **state)
{
    (void)state;
    static const int errors[] = {ENOSYS, EPERM, EACCES};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            _exit(fall_back(errors[i]));
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

static void loop__each_allocation_may_fail(void **state)
{
    struct loop_config config = {.io = rig_io(state), .blocks = 8};
    int files = open_files();
    for (uint64_t nth = 1;; nth++) {
        struct mem mem;
        struct loop *loop;
        struct hf_err err;
        mem_init(&mem, 0);
        mem_fail_nth(&mem, nth);
        enum hf_rc rc = loop_new(&loop, &config, &mem, &err);
        uint64_t refused = mem_stats(&mem).refused;
        if (rc == HF_OK)
            loop_free(loop);
        mem_deinit(&mem);
        assert_int_equal(open_files(), files);
        if (refused == 0)
            break;
        assert_int_not_equal(rc, HF_OK);
        assert_null(loop);
    }
}

static const struct CMUnitTest tests[] = {
    BOTH(loop__a_connection_is_made_and_what_was_put_before_is_sent),
    BOTH(loop__a_refused_connection_ends),
    BOTH(loop__a_connection_can_be_given_up_while_it_is_made),
    BOTH(loop__a_paused_stream_is_told_of_nothing_and_loses_nothing),
    BOTH(loop__a_peer_that_goes_during_a_pause_is_told_of),
    BOTH(loop__a_half_closed_peer_in_a_pause_does_not_make_it_spin),
    BOTH(loop__a_stream_leaves_for_another_threads_loop),
    BOTH(loop__who_hears_something_while_leaving_has_not_left),
    BOTH(loop__who_is_left_alone_leaves),
    BOTH(loop__posts_of_many_threads_arrive_each_once_and_in_order),
    BOTH(loop__thousands_come_and_go),
    BOTH(loop__a_stream_can_be_closed_with_bytes_under_way),
    BOTH(loop__a_stream_that_ends_can_still_be_resumed_in_vain),
    BOTH(loop__events_may_be_left_for_the_next_turn),
    BOTH(loop__last_words_are_not_lost_to_what_nobody_read),
    BOTH(loop__want_of_descriptors_passes_without_spinning),
    BOTH(loop__no_connection_comes_after_unlisten),
    BOTH(loop__who_was_accepted_is_told_after_retire),
    BOTH(loop__what_was_posted_to_nobody_can_be_taken_back),
    BOTH(loop__a_wait_ends_in_time),
    BOTH(loop__a_limit_counts_whatever_limits_waits_before_had),
    BOTH(loop__each_allocation_may_fail),
    cmocka_unit_test(loop__without_io_uring_it_says_why_and_takes_epoll),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
