#include "loop_rig.h"

#include <dirent.h>

/* ---- bytes ---- */

static void stream__what_is_sent_comes_back_in_order(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, ECHO);
    assert_int_equal(actor.stream.kind, 7);
    echo_through(&rig, fd, 5);
    echo_through(&rig, fd, 1);
    echo_through(&rig, fd, UINT64_C(32) << 20);
    assert_true(stream_is_flushed(&actor.stream));
    assert_int_equal(stream_view(&actor.stream).size, 0);
    rig_idle(&rig, HF_MS(5));
    assert_null(actor.stream.in); /* an idle stream holds nothing */
    assert_null(actor.stream.out);
    assert_null(actor.stream.sending);
    close(fd);
    rig_until(&rig, actor.gone == 1);
    rig_close(&rig);
}

static void stream__a_peer_that_does_not_read_is_held_back(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, ECHO);
    uint64_t sent = 0;
    for (int quiet = 0; quiet < 20;) {
        size_t count = raw_write(fd, sent, 32768);
        sent += count;
        quiet = count == 0 ? quiet + 1 : 0;
        rig_turn(&rig, count == 0 ? HF_MS(1) : 0);
        assert_true(sent < UINT64_C(8) << 20);
    }
    /* Two blocks for sending, one for receiving. */
    assert_in_range(rig.loop->pool.lent, 1, 3);
    /* And the loop sleeps. */
    uint32_t turns = rig.turns;
    rig_idle(&rig, HF_MS(30));
    assert_in_range(rig.turns - turns, 1, 20);
    uint64_t got = 0;
    while (got < sent) {
        got += raw_read(fd, got);
        rig_turn(&rig, 0);
    }
    assert_int_equal(got, sent);
    rig_idle(&rig, HF_MS(5));
    assert_int_equal(rig.loop->pool.lent, 0);
    close(fd);
    rig_until(&rig, actor.gone == 1);
    rig_close(&rig);
}

static void stream__what_nobody_consumes_holds_the_peer_back(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, HOARD);
    uint64_t sent = 0;
    for (int quiet = 0; quiet < 20;) {
        size_t count = raw_write(fd, sent, 32768);
        sent += count;
        quiet = count == 0 ? quiet + 1 : 0;
        rig_turn(&rig, count == 0 ? HF_MS(1) : 0);
        assert_true(sent < UINT64_C(4) << 20);
    }
    assert_int_equal(stream_view(&actor.stream).size, LOOP_BLOCK_SIZE);
    assert_int_equal(rig.loop->pool.lent, 1);
    /* What io_uring had received before it could be told to stop: one burst of it. */
    size_t kept = 0;
    for (const struct loop_block *at = actor.stream.in->next; at != NULL; at = at->next)
        kept++;
    assert_true(kept < 80);
    uint32_t turns = rig.turns;
    rig_idle(&rig, HF_MS(30));
    assert_in_range(rig.turns - turns, 1, 20);
    actor.manner = SINK;
    actor_serve(&rig, &actor);
    rig_until(&rig, actor.bytes == sent);
    uint64_t sum = 0;
    for (uint64_t at = 0; at < sent; at++) {
        char byte = pattern(at);
        sum = fold(sum, sv_from(&byte, 1));
    }
    assert_true(actor.sum == sum);
    close(fd);
    rig_until(&rig, actor.gone == 1);
    rig_close(&rig);
}

static void stream__what_is_left_is_there_with_more_behind_it(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, HOARD);
    uint64_t sent = 0;
    while (sent < 12000) {
        sent += raw_write(fd, sent, 1500);
        rig_until(&rig, stream_view(&actor.stream).size == sent);
    }
    assert_int_equal(actor.received, 8);
    uint64_t at = 0;
    while (at < sent) { /* consumed in odd pieces, while more comes */
        struct sv view = stream_view(&actor.stream);
        size_t part = view.size < 700 ? view.size : 700;
        for (size_t i = 0; i < part; i++)
            assert_int_equal(view.data[i], pattern(at + i));
        stream_consume(rig.loop, &actor.stream, part);
        at += part;
        if (sent < 100000)
            sent += raw_write(fd, sent, 900);
        if (stream_view(&actor.stream).size == 0)
            rig_until(&rig, at == sent || stream_view(&actor.stream).size > 0);
        rig_turn(&rig, 0);
    }
    rig_part(&rig, &actor);
    close(fd);
    rig_close(&rig);
}

static void stream__both_directions_flow_at_once(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, SINK);
    uint64_t sent = 0;
    uint64_t put = 0;
    uint64_t got = 0;
    const uint64_t total = UINT64_C(8) << 20;
    /* The peer reads nothing before it has sent all of it: receiving must not wait for sending. */
    while (actor.bytes < total) {
        if (sent < total)
            sent += raw_write(fd, sent, total - sent);
        char bytes[1000];
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = pattern(put + i);
        if (put < total)
            put += stream_send(rig.loop, &actor.stream, sv_from(bytes, sizeof bytes));
        rig_turn(&rig, HF_MS(1));
    }
    assert_true(put < total && put > 0);
    while (got < put) {
        got += raw_read(fd, got);
        rig_turn(&rig, 0);
    }
    close(fd);
    rig_until(&rig, actor.gone == 1);
    rig_close(&rig);
}

/* ---- room ---- */

static void stream__room_is_what_a_put_takes(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, SINK);
    assert_int_equal(stream_room(rig.loop, &actor.stream), LOOP_BLOCK_SIZE);
    uint64_t put = 0;
    size_t room = stream_room(rig.loop, &actor.stream);
    for (int i = 0; room > 0 && i < 1000; i++) {
        char bytes[LOOP_BLOCK_SIZE];
        size_t size = room > 5000 ? 5000 : room;
        for (size_t k = 0; k < size; k++)
            bytes[k] = pattern(put + k);
        assert_int_equal(stream_send(rig.loop, &actor.stream, sv_from(bytes, size)), size);
        put += size;
        if (i % 3 == 0)
            rig_turn(&rig, 0);
        room = stream_room(rig.loop, &actor.stream);
    }
    assert_int_equal(room, 0);
    assert_null(stream_out(rig.loop, &actor.stream, 100));
    rig_idle(&rig, HF_MS(5));
    actor.drained = 0;
    if (stream_room(rig.loop, &actor.stream) > 0) /* the kernel was merely slow */
        assert_int_equal(rig.loop->pool.lent, 1);
    uint64_t got = 0;
    while (got < put) {
        got += raw_read(fd, got);
        rig_turn(&rig, 0);
    }
    rig_idle(&rig, HF_MS(2));
    assert_true(actor.drained <= 1);
    assert_int_equal(stream_room(rig.loop, &actor.stream), LOOP_BLOCK_SIZE);
    assert_true(stream_is_flushed(&actor.stream));
    rig_part(&rig, &actor);
    close(fd);
    rig_close(&rig);
}

static void stream__a_short_put_is_told_of_once_when_there_is_room(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, SINK);
    uint64_t put = 0;
    struct buffer *out = stream_out(rig.loop, &actor.stream, LOOP_BLOCK_SIZE);
    for (int quiet = 0; quiet < 25; quiet = out == NULL ? quiet + 1 : 0) {
        if (out != NULL) {
            char *room = buffer_reserve(out, LOOP_BLOCK_SIZE);
            for (size_t i = 0; i < LOOP_BLOCK_SIZE; i++)
                room[i] = pattern(put + i);
            buffer_commit(out, LOOP_BLOCK_SIZE);
            put += LOOP_BLOCK_SIZE;
        }
        rig_idle(&rig, out == NULL ? HF_MS(8) : 0);
        rig_turn(&rig, 0);
        out = stream_out(rig.loop, &actor.stream, LOOP_BLOCK_SIZE);
    }
    actor.drained = 0;
    rig_idle(&rig, HF_MS(10));
    assert_int_equal(actor.drained, 0);
    uint64_t got = 0;
    while (got < put) {
        got += raw_read(fd, got);
        rig_turn(&rig, 0);
    }
    rig_until(&rig, actor.drained == 1);
    rig_idle(&rig, HF_MS(5));
    assert_int_equal(actor.drained, 1);
    rig_part(&rig, &actor);
    close(fd);
    rig_close(&rig);
}

/* The socket takes everything at once: nothing else will ever wake the loop for this stream. */
static void stream__room_is_told_of_without_another_reason_to_wake(void **state)
{
    struct rig rig;
    struct actor actor;
    char bytes[LOOP_BLOCK_SIZE] = {0};
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, SINK);
    rig_turn(&rig, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(stream_send(rig.loop, &actor.stream, sv_from(bytes, sizeof bytes)),
                         sizeof bytes);
    /* (Over epoll what fills a block is sent at once, so there is room already.) */
    bool is_short = stream_out(rig.loop, &actor.stream, 1) == NULL;
    int64_t start_ns = clock_now();
    while (is_short && actor.drained == 0 && clock_now() - start_ns < HF_SEC(30))
        rig_turn(&rig, HF_SEC(30));
    assert_true(clock_now() - start_ns < HF_SEC(20));
    assert_int_equal(stream_send(rig.loop, &actor.stream, SV("bye")), 3);
    stream_close(rig.loop, &actor.stream, true);
    while (actor.gone == 0 && clock_now() - start_ns < HF_SEC(30))
        rig_turn(&rig, HF_SEC(30));
    assert_true(clock_now() - start_ns < HF_SEC(20));
    close(fd);
    rig_close(&rig);
}

static void stream__want_of_blocks_passes(void **state)
{
    struct rig rig;
    struct actor actors[4];
    int fds[4];
    rig_open(&rig, rig_io(state), 2); /* fewer than there are streams */
    uint64_t sent[4] = {0};
    uint64_t got[4] = {0};
    const uint64_t total = 200000;
    for (int i = 0; i < 4; i++)
        fds[i] = rig_meet(&rig, &actors[i], ECHO);
    int64_t limit_ns = clock_now() + HF_SEC(20);
    uint64_t all = 0;
    while (all < 4 * total && clock_now() < limit_ns) {
        all = 0;
        for (int i = 0; i < 4; i++) {
            if (sent[i] < total)
                sent[i] += raw_write(fds[i], sent[i], total - sent[i]);
            got[i] += raw_read(fds[i], got[i]);
            all += got[i];
        }
        rig_turn(&rig, HF_MS(1));
        assert_true(rig.loop->pool.lent <= 2);
    }
    /* Streams may each hold one block and want another: then it stands, and nothing is lost. What
     * frees them is their owners' business: here, that one of them goes. */
    for (int i = 0; i < 4; i++) {
        rig_part(&rig, &actors[i]);
        close(fds[i]);
    }
    assert_int_equal(rig.loop->pool.lent, 0);
    struct actor last;
    int fd = rig_meet(&rig, &last, ECHO);
    echo_through(&rig, fd, 10000);
    rig_part(&rig, &last);
    close(fd);
    rig_close(&rig);
}

/* ---- the peer's end ---- */

static int count_threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    assert_non_null(folder);
    int count = 0;
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

/* Seen with io_uring's own waiting sends: a thread of the kernel for each such peer, which no
 * cancelling reached, so that the stream never ended. */
static void stream__a_half_closed_peer_that_does_not_read_costs_nothing(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, SINK);
    actor.closes_at_end = false;
    int threads = count_threads();
    shutdown(fd, SHUT_WR);
    rig_until(&rig, actor.ended == 1);
    char bytes[LOOP_BLOCK_SIZE] = {0};
    for (int quiet = 0; quiet < 25;) {
        size_t count = stream_send(rig.loop, &actor.stream, sv_from(bytes, sizeof bytes));
        quiet = count == 0 ? quiet + 1 : 0;
        rig_idle(&rig, count == 0 ? HF_MS(4) : 0);
        rig_turn(&rig, 0);
    }
    uint32_t turns = rig.turns;
    rig_idle(&rig, HF_MS(30));
    assert_in_range(rig.turns - turns, 1, 20); /* who spins makes thousands */
    assert_int_equal(count_threads(), threads);
    assert_false(stream_is_flushed(&actor.stream));
    stream_close(rig.loop, &actor.stream, true);
    rig_idle(&rig, HF_MS(10));
    assert_int_equal(actor.gone, 0);
    rig_part(&rig, &actor);
    close(fd);
    rig_close(&rig);
}

static void stream__the_end_comes_after_the_bytes(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, HOARD);
    actor.closes_at_end = false;
    assert_int_equal(raw_write(fd, 0, 3000), 3000);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    rig_until(&rig, actor.ended == 1);
    assert_int_equal(actor.error, 0);
    assert_string_equal(stream_error(&actor.stream), "");
    assert_int_equal(stream_view(&actor.stream).size, 3000);
    rig_idle(&rig, HF_MS(5));
    assert_int_equal(stream_view(&actor.stream).size, 3000); /* and they stay */
    /* Half closed: it can still be answered. */
    assert_int_equal(stream_send(rig.loop, &actor.stream, stream_view(&actor.stream)), 3000);
    stream_consume(rig.loop, &actor.stream, 3000);
    stream_close(rig.loop, &actor.stream, true);
    rig_until(&rig, actor.gone == 1);
    assert_int_equal(raw_read(fd, 0), 3000);
    assert_int_equal(raw_end(fd), 0);
    assert_int_equal(actor.ended, 1);
    close(fd);
    rig_close(&rig);
}

/* Whether or not it is told by itself. */
static void stream__a_reset_behind_the_last_bytes_is_seen_by_looking(void **state)
{
    struct rig rig;
    struct actor actor;
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, SINK);
    rig_turn(&rig, 0);
    assert_int_equal(raw_write(fd, 0, 10), 10);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    close(fd);
    rig_until(&rig, actor.bytes == 10);
    if (actor.ended == 0)
        stream_recheck(rig.loop, &actor.stream);
    rig_until(&rig, actor.gone == 1);
    rig_close(&rig);
}

static void stream__looking_costs_nothing_but_a_look(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, SINK);
    for (uint64_t sent = 0; sent < 1000; sent += 10) {
        stream_recheck(rig.loop, &actor.stream);
        rig_turn(&rig, 0);
        assert_int_equal(raw_write(fd, sent, 10), 10);
        rig_until(&rig, actor.bytes == sent + 10);
    }
    assert_int_equal(actor.ended, 0);
    rig_part(&rig, &actor);
    close(fd);
    rig_close(&rig);
}

static void stream__a_reset_is_told_in_words(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, SINK);
    actor.closes_at_end = false;
    struct linger linger = {.l_onoff = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    close(fd);
    rig_until(&rig, actor.ended == 1);
    assert_int_equal(actor.error, ECONNRESET);
    assert_string_equal(stream_error(&actor.stream), "Connection reset by peer");
    /* Puts are dropped, not refused for ever. */
    char bytes[10000] = {0};
    for (int i = 0; i < 20; i++) {
        assert_int_equal(stream_send(rig.loop, &actor.stream, sv_from(bytes, sizeof bytes)), 10000);
        rig_turn(&rig, 0);
    }
    stream_close(rig.loop, &actor.stream, true);
    rig_until(&rig, actor.gone == 1);
    assert_int_equal(actor.ended, 1);
    rig_close(&rig);
}

static void stream__last_words_are_heard_though_sending_fails(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, SINK);
    actor.closes_at_end = false;
    stream_pause(rig.loop, &actor.stream);
    rig_turn(&rig, 0);
    /* The peer speaks, and goes with something unread: that resets the connection. */
    assert_int_equal(stream_send(rig.loop, &actor.stream, SV("unread")), 6);
    rig_turn(&rig, HF_MS(1));
    assert_int_equal(raw_write(fd, 0, 2000), 2000);
    close(fd);
    stream_resume(rig.loop, &actor.stream);
    assert_int_equal(stream_send(rig.loop, &actor.stream, SV("too late")), 8);
    rig_until(&rig, actor.ended == 1);
    assert_int_equal(actor.bytes, 2000);
    rig_part(&rig, &actor);
    rig_close(&rig);
}

/* Nothing more can be received, since nobody consumes; but whoever sends finds out, and is told: a
 * client that is gone must not keep the server connection that works for it. */
static void stream__a_peer_that_is_gone_is_told_of_though_the_view_is_full(void **state)
{
    struct rig rig;
    struct actor actor;
    rig_open(&rig, rig_io(state), 64);
    int fd = rig_meet(&rig, &actor, HOARD);
    actor.closes_at_end = false;
    uint64_t sent = 0;
    for (int quiet = 0; quiet < 10;) {
        size_t count = raw_write(fd, sent, 32768);
        sent += count;
        quiet = count == 0 ? quiet + 1 : 0;
        rig_turn(&rig, count == 0 ? HF_MS(1) : 0);
    }
    struct linger linger = {.l_onoff = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    close(fd);
    rig_idle(&rig, HF_MS(5));
    for (int i = 0; i < 50 && actor.ended == 0; i++) {
        (void)!stream_send(rig.loop, &actor.stream, SV("are you there?"));
        rig_turn(&rig, HF_MS(5));
    }
    assert_int_equal(actor.ended, 1);
    assert_true(actor.error == ECONNRESET || actor.error == EPIPE);
    assert_int_equal(stream_view(&actor.stream).size, LOOP_BLOCK_SIZE);
    int received = actor.received;
    actor.manner = SINK;
    actor_serve(&rig, &actor);
    rig_idle(&rig, HF_MS(5));
    assert_int_equal(actor.received, received); /* the end was the last event */
    rig_part(&rig, &actor);
    rig_close(&rig);
}

static const struct CMUnitTest tests[] = {
    BOTH(stream__what_is_sent_comes_back_in_order),
    BOTH(stream__a_peer_that_does_not_read_is_held_back),
    BOTH(stream__what_nobody_consumes_holds_the_peer_back),
    BOTH(stream__what_is_left_is_there_with_more_behind_it),
    BOTH(stream__both_directions_flow_at_once),
    BOTH(stream__room_is_what_a_put_takes),
    BOTH(stream__a_short_put_is_told_of_once_when_there_is_room),
    BOTH(stream__room_is_told_of_without_another_reason_to_wake),
    BOTH(stream__want_of_blocks_passes),
    BOTH(stream__a_half_closed_peer_that_does_not_read_costs_nothing),
    BOTH(stream__the_end_comes_after_the_bytes),
    BOTH(stream__a_reset_behind_the_last_bytes_is_seen_by_looking),
    BOTH(stream__looking_costs_nothing_but_a_look),
    BOTH(stream__a_reset_is_told_in_words),
    BOTH(stream__a_peer_that_is_gone_is_told_of_though_the_view_is_full),
    BOTH(stream__last_words_are_heard_though_sending_fails),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
