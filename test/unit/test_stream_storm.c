#include "loop_rig.h"

#include <stdlib.h>

#include "base/rng.h"

/* Everything at once, by chance, from a seed: streams that echo, pause, dawdle, leave and close,
 * peers that send, read, half close, reset and go, and fewer blocks than all of them could use.
 * What must hold: bytes come back in order and none too many; each stream ends once; nothing is
 * lent in the end. */
#define PLACES 24

struct place {
    struct actor actor; /* first */
    int fd;             /* the raw socket */
    uint64_t sent;
    uint64_t got;
    bool is_open;
    bool is_shut; /* the peer has closed its side */
    bool is_rude; /* something was cut off: not all bytes need come back */
    bool is_paused;
    bool is_closed; /* we told the stream to close */
};

struct storm {
    struct rig rig;
    struct rng rng;
    struct place places[PLACES];
};

static uint32_t chance(struct storm *storm, uint32_t below)
{
    return (uint32_t)rng_below(&storm->rng, below);
}

static void peer_sends(struct storm *storm, struct place *place)
{
    if (!place->is_shut)
        place->sent += raw_write(place->fd, place->sent, 1 + chance(storm, 30000));
}

static void peer_reads(struct place *place)
{
    size_t count = raw_read(place->fd, place->got);
    place->got += count;
    assert_true(place->got <= place->sent);
}

static void peer_goes(struct storm *storm, struct place *place)
{
    if (chance(storm, 2) == 0) {
        shutdown(place->fd, SHUT_WR);
        place->is_shut = true;
        return;
    }
    struct linger linger = {.l_onoff = (int)chance(storm, 2)};
    setsockopt(place->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(place->fd);
    place->fd = -1;
    place->is_rude = true;
}

static void owner_acts(struct storm *storm, struct place *place)
{
    struct loop *loop = storm->rig.loop;
    struct stream *stream = &place->actor.stream;
    if (place->actor.gone > 0 || place->is_closed)
        return;
    switch (chance(storm, 12)) {
    case 0:
        stream_close(loop, stream, chance(storm, 2) == 0);
        place->is_closed = true;
        place->is_rude = true;
        break;
    case 1:
    case 2:
        stream_pause(loop, stream);
        place->is_paused = true;
        break;
    case 3:
        if (stream->state == STREAM_OPEN && stream_view(stream).size == 0 &&
            stream_is_flushed(stream))
            stream_leave(loop, stream);
        break;
    case 4:
        place->actor.manner = HOARD;
        place->is_rude = true; /* it may end with bytes in its view */
        break;
    default:
        place->is_paused = false;
        stream_resume(loop, stream);
        place->actor.manner = ECHO;
        if (stream->state == STREAM_OPEN)
            actor_serve(&storm->rig, &place->actor);
        break;
    }
}

static void open_place(struct storm *storm, struct place *place)
{
    *place = (struct place){.fd = -1};
    place->fd = rig_meet(&storm->rig, &place->actor, ECHO);
    place->is_open = true;
}

/* A stream that left starts again; one that is gone frees its place. */
static void tidy(struct storm *storm, struct place *place)
{
    struct actor *actor = &place->actor;
    if (!place->is_open)
        return;
    assert_true(actor->gone <= 1 && actor->ended <= 1 && actor->left <= 1);
    if (actor->left == 1) {
        assert_int_equal(actor->gone, 0);
        actor->left = 0;
        actor->ended = 0;
        stream_start(storm->rig.loop, &actor->stream, actor->fd, 7);
        if (place->is_closed)
            stream_close(storm->rig.loop, &actor->stream, false);
        else if (place->is_paused)
            stream_pause(storm->rig.loop, &actor->stream);
    }
    if (actor->gone == 1) {
        for (size_t count = 1; !place->is_rude && count > 0;) {
            uint64_t before = place->got;
            peer_reads(place);
            count = place->got - before;
        }
        if (!place->is_rude)
            assert_int_equal(place->got, place->sent);
        if (place->fd >= 0)
            close(place->fd);
        place->is_open = false;
    }
}

static void act(struct storm *storm, struct place *place)
{
    if (!place->is_open) {
        if (chance(storm, 4) == 0)
            open_place(storm, place);
        return;
    }
    if (place->fd >= 0) {
        uint32_t what = chance(storm, 60);
        if (what < 25)
            peer_sends(storm, place);
        else if (what < 59)
            peer_reads(place);
        else
            peer_goes(storm, place);
    }
    if (chance(storm, 8) == 0)
        owner_acts(storm, place);
}

static void rage(enum loop_io io, uint64_t seed)
{
    struct storm *storm = calloc(1, sizeof *storm);
    assert_non_null(storm);
    rig_open(&storm->rig, io, PLACES);
    rng_init(&storm->rng, seed);
    for (int i = 0; i < 3000; i++) {
        act(storm, &storm->places[chance(storm, PLACES)]);
        if (chance(storm, 3) == 0)
            rig_turn(&storm->rig, 0);
        for (int k = 0; k < PLACES; k++)
            tidy(storm, &storm->places[k]);
        assert_true(storm->rig.loop->pool.lent <= PLACES);
    }
    for (int k = 0; k < PLACES; k++) {
        struct place *place = &storm->places[k];
        place->is_rude = true;
        place->is_closed = true;
        if (place->is_open)
            stream_close(storm->rig.loop, &place->actor.stream, false);
    }
    int64_t limit_ns = clock_now() + HF_SEC(30);
    while (storm->rig.loop->streams > 0 && clock_now() < limit_ns) {
        rig_turn(&storm->rig, HF_MS(10));
        for (int k = 0; k < PLACES; k++)
            tidy(storm, &storm->places[k]);
    }
    assert_int_equal(storm->rig.loop->streams, 0);
    for (int k = 0; k < PLACES; k++)
        tidy(storm, &storm->places[k]);
    rig_close(&storm->rig);
    free(storm);
}

static void stream_storm__whatever_happens_bytes_stay_in_order(void **state)
{
    const char *text = getenv("HF_STORM_SEED");
    uint64_t first = text == NULL ? 1 : strtoull(text, NULL, 10);
    uint64_t count = text == NULL ? 12 : 1;
    for (uint64_t seed = first; seed < first + count; seed++) {
        print_message("HF_STORM_SEED=%llu\n", (unsigned long long)seed);
        rage(rig_io(state), seed);
    }
}

/* ---- more than the kernel has buffers for ---- */

#define MANY 300

static void stream_storm__a_ring_run_dry_is_no_obstacle(void **state)
{
    struct rig rig;
    rig_open(&rig, rig_io(state), 2 * MANY);
    struct actor *actors = calloc(MANY, sizeof *actors);
    int *fds = calloc(MANY, sizeof *fds);
    assert_true(actors != NULL && fds != NULL);
    for (int i = 0; i < MANY; i++)
        fds[i] = rig_meet(&rig, &actors[i], HOARD); /* each keeps the buffer that it was given */
    for (int i = 0; i < MANY; i++)
        assert_int_equal(raw_write(fds[i], 0, 10), 10);
    for (int i = 0; i < MANY; i++)
        rig_until(&rig, stream_view(&actors[i].stream).size == 10);
    uint32_t turns = rig.turns;
    rig_idle(&rig, HF_MS(30));
    assert_in_range(rig.turns - turns, 1, 20);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(raw_write(fds[i], 10, 5000), 5000);
    for (int i = 0; i < MANY; i++)
        rig_until(&rig, stream_view(&actors[i].stream).size == 5010);
    for (int i = 0; i < MANY; i++) {
        actors[i].manner = ECHO;
        actor_serve(&rig, &actors[i]);
    }
    for (int i = 0; i < MANY; i++) {
        uint64_t got = 0;
        while (got < 5010) {
            got += raw_read(fds[i], got);
            rig_turn(&rig, 0);
        }
        echo_through(&rig, fds[i], 0);
        close(fds[i]);
    }
    for (int i = 0; i < MANY; i++)
        rig_until(&rig, actors[i].gone == 1);
    free(actors);
    free(fds);
    rig_close(&rig);
}

/* ---- blocks that are all full of what was received ---- */

#define FULL 40

static void stream_storm__full_views_leave_blocks_to_send_them_in(void **state)
{
    struct rig rig;
    struct actor actors[FULL];
    int fds[FULL];
    uint64_t sent[FULL] = {0};
    rig_open(&rig, rig_io(state), FULL);
    for (int i = 0; i < FULL; i++)
        fds[i] = rig_meet(&rig, &actors[i], HOARD);
    for (int i = 0; i < FULL; i++) {
        sent[i] += raw_write(fds[i], 0, 30000);
        rig_turn(&rig, 0);
    }
    rig_idle(&rig, HF_MS(20));
    for (int i = 0; i < FULL; i++) {
        actors[i].manner = ECHO;
        actor_serve(&rig, &actors[i]);
    }
    for (int i = 0; i < FULL; i++) {
        int64_t limit_ns = clock_now() + HF_SEC(30);
        uint64_t got = 0;
        while (got < sent[i] && clock_now() < limit_ns) {
            got += raw_read(fds[i], got);
            rig_turn(&rig, 0);
        }
        assert_int_equal(got, sent[i]);
        close(fds[i]);
    }
    for (int i = 0; i < FULL; i++)
        rig_until(&rig, actors[i].gone == 1);
    rig_close(&rig);
}

static const struct CMUnitTest tests[] = {
    BOTH(stream_storm__whatever_happens_bytes_stay_in_order),
    BOTH(stream_storm__a_ring_run_dry_is_no_obstacle),
    BOTH(stream_storm__full_views_leave_blocks_to_send_them_in),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
