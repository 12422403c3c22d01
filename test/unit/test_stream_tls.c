#include "loop_rig.h"

#include "certs.h"
#include "net/tls.h"

/* A client and a server, both streams of the rig's loop, that agree on TLS as PostgreSQL's protocol
 * has it: a request of eight bytes in clear, an answer of one, the handshake. */
struct party {
    struct actor actor; /* first */
    struct tls_context *context;
    bool asks;
    bool is_client;
    int secured;
    uint64_t sent; /* of the pattern */
    uint64_t got;
    uint64_t to_send;
};

struct scene {
    struct rig rig;
    struct certs certs;
    struct party client;
    struct party server;
};

static struct tls_context *context_of(struct scene *scene, enum tls_side side)
{
    char cert[CERTS_PATH_SIZE];
    char key[CERTS_PATH_SIZE];
    struct tls_context *context;
    struct hf_err err;
    struct tls_config config = {.side = side};
    if (side == TLS_SERVER) {
        config.cert_file = certs_path(&scene->certs, "server.crt", cert);
        config.key_file = certs_path(&scene->certs, "server.key", key);
    }
    if (tls_context_new(&context, &config, &scene->rig.mem, &err) != HF_OK)
        fail_msg("%s (%s)", err.message, err.detail);
    return context;
}

static void scene_open(struct scene *scene, enum loop_io io)
{
    memset(scene, 0, sizeof *scene);
    rig_open(&scene->rig, io, 64);
    certs_init(&scene->certs);
    certs_add(&scene->certs, "server", &(struct certs_spec){.name = "db"});
    scene->client = (struct party){.is_client = true, .context = context_of(scene, TLS_CLIENT)};
    scene->server = (struct party){.context = context_of(scene, TLS_SERVER)};
    scene->client.actor.manner = SINK;
    scene->server.actor.manner = ECHO;
}

static void scene_close(struct scene *scene)
{
    tls_context_drop(scene->client.context);
    tls_context_drop(scene->server.context);
    certs_deinit(&scene->certs);
    rig_close(&scene->rig);
}

static void secure(struct scene *scene, struct party *party)
{
    struct tls *tls;
    struct hf_err err;
    assert_int_equal(tls_new(&tls, party->context, NULL, &err), HF_OK);
    stream_secure(scene->rig.loop, &party->actor.stream, tls);
}

/* True: the bytes belonged to the talk before TLS. */
static bool talk_in_clear(struct scene *scene, struct party *party)
{
    struct stream *stream = &party->actor.stream;
    struct sv view = stream_view(stream);
    if (stream->tls != NULL)
        return false;
    if (party->is_client) {
        assert_int_equal(view.size, 1);
        assert_int_equal(view.data[0], 'S');
        stream_consume(scene->rig.loop, stream, 1);
        secure(scene, party);
    } else if (view.size >= 8) {
        stream_consume(scene->rig.loop, stream, 8);
        assert_int_equal(stream_send(scene->rig.loop, stream, SV("S")), 1);
        secure(scene, party);
    }
    return true;
}

static void check_pattern(struct scene *scene, struct party *party)
{
    struct sv view = stream_view(&party->actor.stream);
    for (size_t i = 0; i < view.size; i++) {
        if (view.data[i] != pattern(party->got + i))
            fail_msg("byte %llu is not what was sent", (unsigned long long)(party->got + i));
    }
    party->got += view.size;
    stream_consume(scene->rig.loop, &party->actor.stream, view.size);
}

static void put_pattern(struct scene *scene, struct party *party)
{
    struct stream *stream = &party->actor.stream;
    while (party->sent < party->to_send) {
        char bytes[3000];
        size_t size = stream_room(scene->rig.loop, stream);
        size = size > sizeof bytes ? sizeof bytes : size;
        size = size > party->to_send - party->sent ? party->to_send - party->sent : size;
        if (size == 0)
            return;
        for (size_t i = 0; i < size; i++)
            bytes[i] = pattern(party->sent + i);
        assert_int_equal(stream_send(scene->rig.loop, stream, sv_from(bytes, size)), size);
        party->sent += size;
    }
}

static void on_event(struct scene *scene, const struct loop_event *event)
{
    struct party *party = (struct party *)(void *)event->stream;
    bool is_bytes = event->kind == LOOP_RECEIVED || event->kind == LOOP_DRAINED;
    if (event->kind == LOOP_RECEIVED && talk_in_clear(scene, party))
        return;
    if (event->kind == LOOP_CONNECTED && party->asks)
        assert_int_equal(stream_send(scene->rig.loop, event->stream, SV("12345678")), 8);
    if (event->kind == LOOP_CONNECTED && !party->asks)
        secure(scene, party);
    if (event->kind == LOOP_SECURED) {
        assert_int_equal(party->actor.received, 0);
        party->secured++;
    }
    if (party != NULL && party->is_client && (is_bytes || event->kind == LOOP_SECURED)) {
        check_pattern(scene, party);
        put_pattern(scene, party);
        return;
    }
    rig_on_event(&scene->rig, event);
}

static void turn_for(struct scene *scene, int64_t wait_ns)
{
    struct hf_err err;
    struct loop_event event = {0};
    assert_int_equal(loop_wait(scene->rig.loop, clock_now() + wait_ns, &err), HF_OK);
    while (loop_next(scene->rig.loop, &event)) {
        on_event(scene, &event);
        event = (struct loop_event){0};
    }
}

static void turn(struct scene *scene)
{
    turn_for(scene, HF_MS(20));
}

#define scene_until(scene, condition)                                                              \
    do {                                                                                           \
        int64_t limit_ns = clock_now() + HF_SEC(20);                                               \
        while (!(condition) && clock_now() < limit_ns)                                             \
            turn(scene);                                                                           \
        assert_true(condition);                                                                    \
    } while (0)

static void meet(struct scene *scene, bool asks)
{
    scene->client.asks = asks;
    scene->rig.next = &scene->server.actor;
    stream_connect(scene->rig.loop, &scene->client.actor.stream, &scene->rig.listener.address, 1);
    rig_set_buffers(scene->client.actor.stream.fd, 65536);
    scene_until(scene, scene->rig.accepted == 1);
    if (!asks)
        secure(scene, &scene->server);
    scene_until(scene, scene->client.secured == 1 && scene->server.secured == 1);
}

static void part(struct scene *scene)
{
    if (scene->client.actor.gone == 0)
        stream_close(scene->rig.loop, &scene->client.actor.stream, false);
    if (scene->server.actor.gone == 0)
        stream_close(scene->rig.loop, &scene->server.actor.stream, false);
    scene_until(scene, scene->client.actor.gone == 1 && scene->server.actor.gone == 1);
}

static void stream_tls__bytes_go_there_and_back(void **state)
{
    struct scene scene;
    scene_open(&scene, rig_io(state));
    scene.client.to_send = UINT64_C(6) << 20;
    meet(&scene, true);
    scene_until(&scene, scene.client.got == scene.client.to_send);
    assert_int_equal(scene.server.actor.bytes, scene.client.to_send);
    for (int i = 0; i < 3; i++)
        turn(&scene);
    assert_int_equal(scene.rig.loop->pool.lent, 0); /* idle: nothing is held */
    part(&scene);
    scene_close(&scene);
}

static void stream_tls__the_handshake_may_come_first(void **state)
{
    struct scene scene;
    scene_open(&scene, rig_io(state));
    scene.client.to_send = 100;
    meet(&scene, false);
    scene_until(&scene, scene.client.got == 100);
    part(&scene);
    scene_close(&scene);
}

static void stream_tls__what_is_not_consumed_holds_the_peer_back(void **state)
{
    struct scene scene;
    scene_open(&scene, rig_io(state));
    scene.client.to_send = UINT64_C(4) << 20;
    scene.server.actor.manner = HOARD;
    meet(&scene, true);
    for (int i = 0; i < 20; i++)
        turn(&scene);
    assert_true(scene.client.sent < UINT64_C(2) << 20);
    assert_int_equal(stream_view(&scene.server.actor.stream).size, LOOP_BLOCK_SIZE);
    assert_in_range(scene.rig.loop->pool.lent, 1, 5);
    scene.server.actor.manner = SINK;
    actor_serve(&scene.rig, &scene.server.actor);
    scene_until(&scene, scene.server.actor.bytes == scene.client.to_send);
    part(&scene);
    scene_close(&scene);
}

static void stream_tls__closing_says_goodbye_behind_the_last_words(void **state)
{
    struct scene scene;
    scene_open(&scene, rig_io(state));
    scene.client.to_send = 300000;
    scene.server.actor.manner = SINK;
    scene.server.actor.closes_at_end = true;
    meet(&scene, true);
    scene_until(&scene, scene.client.sent == scene.client.to_send);
    stream_close(scene.rig.loop, &scene.client.actor.stream, true);
    scene_until(&scene, scene.client.actor.gone == 1 && scene.server.actor.gone == 1);
    assert_int_equal(scene.server.actor.bytes, 300000);
    assert_int_equal(scene.server.actor.error, 0);
    scene_close(&scene);
}

static void stream_tls__nonsense_fails_in_words_and_is_answered_with_an_alert(void **state)
{
    struct scene scene;
    scene_open(&scene, rig_io(state));
    int fd = rig_meet(&scene.rig, &scene.server.actor, ECHO);
    scene.server.actor.closes_at_end = false;
    secure(&scene, &scene.server);
    assert_int_equal(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 18);
    scene_until(&scene, scene.server.actor.ended == 1);
    assert_int_equal(scene.server.actor.error, EPROTO);
    assert_true(strlen(stream_error(&scene.server.actor.stream)) > 10);
    stream_close(scene.rig.loop, &scene.server.actor.stream, true);
    scene_until(&scene, scene.server.actor.gone == 1);
    char alert[64];
    ssize_t count = recv(fd, alert, sizeof alert, MSG_DONTWAIT);
    assert_true(count >= 0 && count < 64);
    close(fd);
    scene_close(&scene);
}

static void stream_tls__a_peer_that_goes_during_the_handshake_is_a_failure(void **state)
{
    struct scene scene;
    scene_open(&scene, rig_io(state));
    int fd = rig_meet(&scene.rig, &scene.server.actor, ECHO);
    scene.server.actor.closes_at_end = false;
    secure(&scene, &scene.server);
    assert_int_equal(send(fd, "\x16\x03\x01\x02", 4, MSG_NOSIGNAL), 4);
    turn(&scene);
    close(fd);
    scene_until(&scene, scene.server.actor.ended == 1);
    assert_int_equal(scene.server.actor.error, EPROTO);
    assert_true(strlen(stream_error(&scene.server.actor.stream)) > 10);
    rig_part(&scene.rig, &scene.server.actor);
    scene_close(&scene);
}

/* By chance: both sides pause and go on, the server dawdles. */
static void dawdle(struct scene *scene, struct rng *rng)
{
    struct loop *loop = scene->rig.loop;
    struct actor *server = &scene->server.actor;
    struct stream *either = rng_below(rng, 2) == 0 ? &server->stream : &scene->client.actor.stream;
    switch (rng_below(rng, 6)) {
    case 0:
        stream_pause(loop, either);
        break;
    case 1:
        server->manner = HOARD;
        break;
    case 2:
        server->manner = ECHO;
        actor_serve(&scene->rig, server);
        break;
    default:
        stream_resume(loop, either);
        break;
    }
}

static void stream_tls__pauses_and_full_views_lose_nothing(void **state)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct scene scene;
        struct rng rng;
        rng_init(&rng, seed);
        scene_open(&scene, rig_io(state));
        scene.client.to_send = UINT64_C(1) << 20;
        meet(&scene, true);
        int64_t limit_ns = clock_now() + HF_SEC(20);
        while (scene.client.got < scene.client.to_send && clock_now() < limit_ns) {
            turn_for(&scene, HF_US(200));
            dawdle(&scene, &rng);
        }
        assert_int_equal(scene.client.got, scene.client.to_send);
        assert_int_equal(scene.server.actor.bytes, scene.client.to_send);
        part(&scene);
        scene_close(&scene);
    }
}

static const struct CMUnitTest tests[] = {
    BOTH(stream_tls__bytes_go_there_and_back),
    BOTH(stream_tls__the_handshake_may_come_first),
    BOTH(stream_tls__what_is_not_consumed_holds_the_peer_back),
    BOTH(stream_tls__pauses_and_full_views_lose_nothing),
    BOTH(stream_tls__closing_says_goodbye_behind_the_last_words),
    BOTH(stream_tls__nonsense_fails_in_words_and_is_answered_with_an_alert),
    BOTH(stream_tls__a_peer_that_goes_during_the_handshake_is_a_failure),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
