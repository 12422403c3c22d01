#include "unit.h"

#include <openssl/ssl.h>
#include <stdlib.h>

#include "base/rng.h"
#include "net/tls.h"
#include "net/tls_int.h"
#include "tls_pair.h"

struct rig {
    struct certs certs;
    char server_crt[CERTS_PATH_SIZE], server_key[CERTS_PATH_SIZE], ca_crt[CERTS_PATH_SIZE];
    struct mem mem;
    struct tls_context *server; /* PostgreSQL's ALPN, no certificates of clients */
    struct tls_context *client; /* verify-full */
    struct tls_pair pair;
};

static struct tls_config server_config(const struct rig *rig)
{
    return (struct tls_config){.side = TLS_SERVER,
                               .cert_file = rig->server_crt,
                               .key_file = rig->server_key,
                               .alpn = TLS_ALPN_POSTGRESQL};
}

static struct tls_config client_config(const struct rig *rig)
{
    return (struct tls_config){.side = TLS_CLIENT,
                               .ca_file = rig->ca_crt,
                               .verify = TLS_VERIFY_FULL,
                               .alpn = TLS_ALPN_POSTGRESQL};
}

static const struct tls_options to_db = {.host_name = "db.example"};

static int rig_set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    certs_init(&rig->certs);
    certs_add(&rig->certs, "ca", &(struct certs_spec){.name = "Test CA", .is_authority = true});
    certs_add(&rig->certs, "server",
              &(struct certs_spec){.name = "db", .names = "DNS:db.example", .issuer = "ca"});
    certs_path(&rig->certs, "ca.crt", rig->ca_crt);
    certs_path(&rig->certs, "server.crt", rig->server_crt);
    certs_path(&rig->certs, "server.key", rig->server_key);
    mem_init(&rig->mem, 0);
    struct tls_config config = server_config(rig);
    rig->server = tls_pair_context(&rig->mem, &config);
    config = client_config(rig);
    rig->client = tls_pair_context(&rig->mem, &config);
    *state = rig;
    return 0;
}

static int rig_tear_down(void **state)
{
    struct rig *rig = *state;
    tls_pair_deinit(&rig->pair);
    tls_context_drop(rig->client);
    tls_context_drop(rig->server);
    mem_deinit(&rig->mem);
    certs_deinit(&rig->certs);
    free(rig);
    return 0;
}

/* ---- handshakes ---- */

static void assert_open(const struct tls *tls)
{
    if (tls_state(tls) == TLS_FAILED)
        fail_msg("%s (%s)", tls_error(tls)->message, tls_error(tls)->detail);
    assert_int_equal(tls_state(tls), TLS_OPEN);
    assert_null(tls_error(tls));
}

static void shake(struct rig *rig, const struct tls_options *options)
{
    tls_pair_deinit(&rig->pair);
    tls_pair_init(&rig->pair, rig->client, rig->server, options);
    tls_pair_shake(&rig->pair, SIZE_MAX);
    assert_open(rig->pair.client);
    assert_open(rig->pair.server);
}

static void say(struct tls *from, struct tls_wire *wire, struct tls *to, struct sv text,
                size_t step)
{
    char out[64];
    size_t count = 0;
    struct sv rest = text;
    tls_pair_collect(from, &rest, wire);
    assert_int_equal(rest.size, 0);
    while (wire->start < wire->end)
        count += tls_pair_deliver(to, wire, step, out + count, sizeof out - count);
    assert_true(sv_eq(sv_from(out, count), text));
}

static void tls__a_handshake_works_at_every_split(void **state)
{
    struct rig *rig = *state;
    static const size_t steps[] = {1, 2, 5, 6, 100, 1400, SIZE_MAX};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct tls_pair *pair = &rig->pair;
        tls_pair_deinit(pair);
        tls_pair_init(pair, rig->client, rig->server, &to_db);
        assert_int_equal(tls_state(pair->client), TLS_HANDSHAKE);
        assert_true(tls_has_output(pair->client));
        assert_false(tls_has_output(pair->server));
        tls_pair_shake(pair, steps[i]);
        assert_open(pair->client);
        assert_open(pair->server);
        say(pair->client, &pair->to_server, pair->server, SV("select 1"), steps[i]);
        say(pair->server, &pair->to_client, pair->client, SV("1 row"), steps[i]);
    }
}

static void tls__what_was_agreed_is_told(void **state)
{
    struct rig *rig = *state;
    shake(rig, &to_db);
    struct tls_info of_client, of_server;
    tls_info(rig->pair.client, &of_client);
    tls_info(rig->pair.server, &of_server);
    assert_string_equal(of_client.version, "TLSv1.3");
    assert_string_equal(of_server.version, "TLSv1.3");
    assert_string_equal(of_client.cipher, of_server.cipher);
    assert_true(of_client.bits >= 128);
    assert_true(sv_eq(of_client.alpn, SV("postgresql")));
    assert_true(sv_eq(of_server.alpn, SV("postgresql")));
    assert_false(of_client.is_resumed);
}

static void tls__nothing_is_encrypted_before_the_handshake_is_done(void **state)
{
    struct rig *rig = *state;
    tls_pair_init(&rig->pair, rig->client, rig->server, &to_db);
    struct sv text = SV("password");
    char wire[4096];
    assert_true(tls_send(rig->pair.client, &text, wire, sizeof wire) > 0); /* the hello */
    assert_int_equal(text.size, 8);
    assert_false(tls_has_output(rig->pair.client));
    assert_int_equal(tls_send(rig->pair.client, &text, wire, sizeof wire), 0);
    assert_int_equal(text.size, 8);
}

static void tls__data_behind_the_handshake_comes_in_the_same_call(void **state)
{
    struct rig *rig = *state;
    struct tls_pair *pair = &rig->pair;
    struct sv nothing = sv_from(NULL, 0), text = SV("startup");
    char out[64];
    tls_pair_init(pair, rig->client, rig->server, &to_db);
    tls_pair_collect(pair->client, &nothing, &pair->to_server);
    tls_pair_deliver(pair->server, &pair->to_server, SIZE_MAX, out, sizeof out);
    tls_pair_collect(pair->server, &nothing, &pair->to_client);
    tls_pair_deliver(pair->client, &pair->to_client, SIZE_MAX, out, sizeof out);
    assert_open(pair->client);
    /* The client's last flight, and what it says at once, in one piece. */
    tls_pair_collect(pair->client, &text, &pair->to_server);
    assert_int_equal(tls_pair_deliver(pair->server, &pair->to_server, SIZE_MAX, out, sizeof out),
                     7);
    assert_memory_equal(out, "startup", 7);
    assert_open(pair->server);
}

/* ---- direct TLS ---- */

static void tls__direct_tls_needs_the_protocols_name(void **state)
{
    struct rig *rig = *state;
    struct tls_config config = client_config(rig);
    config.alpn = NULL;
    struct tls_context *nameless = tls_pair_context(&rig->mem, &config);
    struct tls_options of_server = {.demands_alpn = true};
    assert_int_equal(tls_new(&rig->pair.client, nameless, &to_db, NULL), HF_OK);
    assert_int_equal(tls_new(&rig->pair.server, rig->server, &of_server, NULL), HF_OK);
    tls_pair_shake(&rig->pair, SIZE_MAX);
    tls_context_drop(nameless);
    assert_int_equal(tls_state(rig->pair.server), TLS_FAILED);
    assert_string_equal(tls_error(rig->pair.server)->message,
                        "client began TLS without naming its protocol (ALPN)");
    /* The alert reached the client before anything else did. */
    assert_int_equal(tls_state(rig->pair.client), TLS_FAILED);
    assert_string_equal(tls_error(rig->pair.client)->message,
                        "server speaks none of our protocols (ALPN)");
}

static void tls__direct_tls_with_the_name_is_let_in(void **state)
{
    struct rig *rig = *state;
    shake(rig, &(struct tls_options){.host_name = "db.example", .demands_alpn = true});
}

static void tls__after_an_sslrequest_the_name_is_not_needed(void **state)
{
    struct rig *rig = *state;
    struct tls_config config = client_config(rig);
    config.alpn = NULL;
    struct tls_context *nameless = tls_pair_context(&rig->mem, &config);
    tls_pair_init(&rig->pair, nameless, rig->server, &to_db);
    tls_context_drop(nameless); /* the connection keeps it */
    tls_pair_shake(&rig->pair, SIZE_MAX);
    struct tls_info info;
    assert_open(rig->pair.server);
    tls_info(rig->pair.server, &info);
    assert_int_equal(info.alpn.size, 0);
}

static void tls__a_server_without_the_name_is_refused_where_it_is_demanded(void **state)
{
    struct rig *rig = *state;
    struct tls_config config = server_config(rig);
    config.alpn = NULL;
    struct tls_context *nameless = tls_pair_context(&rig->mem, &config);
    struct tls_options options = {.host_name = "db.example", .demands_alpn = true};
    assert_int_equal(tls_new(&rig->pair.client, rig->client, &options, NULL), HF_OK);
    assert_int_equal(tls_new(&rig->pair.server, nameless, NULL, NULL), HF_OK);
    tls_context_drop(nameless);
    tls_pair_shake(&rig->pair, SIZE_MAX);
    assert_int_equal(tls_state(rig->pair.client), TLS_FAILED);
    assert_string_equal(tls_error(rig->pair.client)->message,
                        "server agreed to none of our protocols (ALPN)");
}

static void tls__a_client_of_another_protocol_is_refused(void **state)
{
    struct rig *rig = *state;
    struct tls_config config = client_config(rig);
    config.alpn = "http/1.1, h2";
    struct tls_context *web = tls_pair_context(&rig->mem, &config);
    tls_pair_init(&rig->pair, web, rig->server, &to_db);
    tls_context_drop(web);
    tls_pair_shake(&rig->pair, SIZE_MAX);
    assert_int_equal(tls_state(rig->pair.server), TLS_FAILED);
    assert_string_equal(tls_error(rig->pair.server)->message,
                        "client offers only protocols (ALPN) that are not spoken here");
    assert_string_equal(tls_error(rig->pair.client)->message,
                        "server speaks none of our protocols (ALPN)");
}

/* ---- much data ---- */

/* Byte i of what one side says: no period that is a record's length. */
static char byte_at(size_t i, unsigned side)
{
    return (char)((i * 7 + i / 251 + side * 13) & 0xff);
}

#define FLOW_SIZE 3000000

struct flow {
    struct tls *from, *to;
    struct tls_wire *wire;
    unsigned side;
    size_t sent, received;
};

static void flow_send(struct flow *flow, struct rng *rng)
{
    static char block[40000];
    struct tls_wire *wire = flow->wire;
    if (wire->start == wire->end)
        wire->start = wire->end = 0;
    size_t room = TLS_ROOM_MIN + rng_below(rng, 40000);
    size_t size = 1 + rng_below(rng, sizeof block);
    if (size > FLOW_SIZE - flow->sent)
        size = FLOW_SIZE - flow->sent;
    for (size_t i = 0; i < size; i++)
        block[i] = byte_at(flow->sent + i, flow->side);
    /* A wire that is full: this side cannot send for a while. */
    if (room > sizeof wire->bytes - wire->end)
        return;
    struct sv plain = sv_from(block, size);
    size_t written = tls_send(flow->from, &plain, wire->bytes + wire->end, room);
    assert_true(written <= room);
    assert_true(size == 0 || written > 0);
    wire->end += written;
    flow->sent += size - plain.size;
}

static void flow_receive(struct flow *flow, struct rng *rng)
{
    static char block[20000];
    size_t room = 1 + rng_below(rng, sizeof block);
    size_t count = tls_pair_deliver(flow->to, flow->wire, 1 + rng_below(rng, 50000), block, room);
    for (size_t i = 0; i < count; i++) {
        if (block[i] != byte_at(flow->received + i, flow->side))
            fail_msg("byte %zu of side %u is wrong", flow->received + i, flow->side);
    }
    flow->received += count;
}

static void run_both_ways(struct rig *rig, uint64_t seed, bool updates_keys)
{
    struct tls_pair *pair = &rig->pair;
    struct flow flows[] = {
        {.from = pair->client, .to = pair->server, .wire = &pair->to_server, .side = 0},
        {.from = pair->server, .to = pair->client, .wire = &pair->to_client, .side = 1},
    };
    struct rng rng;
    rng_init(&rng, seed);
    unsigned updates = 0;
    while (flows[0].received < FLOW_SIZE || flows[1].received < FLOW_SIZE) {
        uint64_t dice = rng_below(&rng, 100);
        struct flow *flow = &flows[dice & 1];
        /* Long stretches in which one side only sends, or only receives. */
        for (uint64_t i = rng_below(&rng, 12); i > 0; i--) {
            if (dice < 50)
                flow_send(flow, &rng);
            else
                flow_receive(flow, &rng);
        }
        /* Refused while the last one has not been sent. */
        if (updates_keys && dice % 10 == 0)
            updates += SSL_key_update(flow->from->ssl, SSL_KEY_UPDATE_REQUESTED) == 1 ? 1 : 0;
        assert_open(pair->client);
        assert_open(pair->server);
    }
    assert_true(!updates_keys || updates > 10);
    assert_int_equal(flows[0].received, FLOW_SIZE);
    assert_int_equal(flows[1].received, FLOW_SIZE);
}

static void tls__large_writes_both_ways_with_key_updates_in_the_middle(void **state)
{
    struct rig *rig = *state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        shake(rig, &to_db);
        run_both_ways(rig, seed, true);
    }
}

static void tls__large_writes_both_ways_in_tls_1_2(void **state)
{
    struct rig *rig = *state;
    struct tls_config config = server_config(rig);
    /* The cipher whose records cost the most. */
    config.max_version = TLS_VERSION_1_2;
    config.ciphers = "ECDHE-ECDSA-AES256-SHA384";
    tls_context_drop(rig->server);
    rig->server = tls_pair_context(&rig->mem, &config);
    shake(rig, &to_db);
    struct tls_info info;
    tls_info(rig->pair.client, &info);
    assert_string_equal(info.version, "TLSv1.2");
    assert_string_equal(info.cipher, "ECDHE-ECDSA-AES256-SHA384");
    run_both_ways(rig, 5, false);
}

static void tls__every_room_is_enough_or_gives_nothing(void **state)
{
    struct rig *rig = *state;
    shake(rig, &to_db);
    static char block[16384], wire[20000];
    for (size_t room = 0; room <= TLS_ROOM_MIN + 100; room++) {
        struct sv plain = sv_from(block, sizeof block);
        size_t size = tls_send(rig->pair.client, &plain, wire, room);
        assert_true(size <= room);
        assert_int_equal(size > 0, plain.size < sizeof block);
        assert_true(room < TLS_ROOM_MIN || size > 0);
        assert_true(room >= 1024 || size == 0); /* no crumbs of records */
        /* What was taken is out, whole: nothing of ours is held back. */
        assert_false(tls_has_output(rig->pair.client));
        size_t rest = size;
        memcpy(rig->pair.to_server.bytes, wire, size);
        rig->pair.to_server.start = 0;
        rig->pair.to_server.end = rest;
        static char out[16384];
        assert_int_equal(
            tls_pair_deliver(rig->pair.server, &rig->pair.to_server, SIZE_MAX, out, sizeof out),
            sizeof block - plain.size);
    }
}

static void tls__plaintext_that_had_no_room_waits_for_it(void **state)
{
    struct rig *rig = *state;
    struct tls_pair *pair = &rig->pair;
    shake(rig, &to_db);
    struct sv text = SV("0123456789");
    char out[16];
    tls_pair_collect(pair->client, &text, &pair->to_server);
    assert_int_equal(tls_pair_deliver(pair->server, &pair->to_server, SIZE_MAX, out, 4), 4);
    assert_int_equal(pair->to_server.start, pair->to_server.end);
    assert_true(tls_has_input(pair->server));
    struct sv nothing = sv_from(NULL, 0);
    assert_int_equal(tls_receive(pair->server, &nothing, out + 4, sizeof out - 4), 6);
    assert_memory_equal(out, "0123456789", 10);
    assert_false(tls_has_input(pair->server));
}

/* ---- the end ---- */

static void tls__a_side_that_closes_may_still_be_spoken_to(void **state)
{
    struct rig *rig = *state;
    struct tls_pair *pair = &rig->pair;
    char out[16];
    struct sv nothing = sv_from(NULL, 0), late = SV("late");
    shake(rig, &to_db);
    tls_close(pair->client);
    tls_close(pair->client);
    assert_true(tls_has_output(pair->client));
    tls_pair_collect(pair->client, &late, &pair->to_server);
    assert_int_equal(late.size, 4); /* it has said that it says no more */
    assert_int_equal(tls_pair_deliver(pair->server, &pair->to_server, SIZE_MAX, out, sizeof out),
                     0);
    assert_int_equal(tls_state(pair->server), TLS_ENDED);
    say(pair->server, &pair->to_client, pair->client, SV("last words"), SIZE_MAX);
    tls_close(pair->server);
    tls_pair_collect(pair->server, &nothing, &pair->to_client);
    assert_int_equal(tls_pair_deliver(pair->client, &pair->to_client, SIZE_MAX, out, sizeof out),
                     0);
    assert_int_equal(tls_state(pair->client), TLS_ENDED);
    /* Behind the end everything is dropped. */
    struct sv more = SV("more");
    assert_int_equal(tls_receive(pair->client, &more, out, sizeof out), 0);
    assert_int_equal(more.size, 0);
}

static void tls__a_connection_cut_in_the_handshake_fails_in_words(void **state)
{
    struct rig *rig = *state;
    tls_pair_init(&rig->pair, rig->client, rig->server, &to_db);
    tls_cut(rig->pair.client);
    tls_cut(rig->pair.server);
    assert_int_equal(tls_state(rig->pair.client), TLS_FAILED);
    assert_string_equal(tls_error(rig->pair.client)->message,
                        "server closed the connection during the TLS handshake");
    assert_string_equal(tls_error(rig->pair.server)->message,
                        "client closed the connection during the TLS handshake");
    shake(rig, &to_db);
    tls_cut(rig->pair.client);
    assert_open(rig->pair.client);
}

static void tls__a_record_that_was_changed_ends_the_connection(void **state)
{
    struct rig *rig = *state;
    struct tls_pair *pair = &rig->pair;
    char out[64];
    shake(rig, &to_db);
    struct sv text = SV("a query of some length");
    tls_pair_collect(pair->client, &text, &pair->to_server);
    pair->to_server.bytes[pair->to_server.start + 9] ^= 1;
    assert_int_equal(tls_pair_deliver(pair->server, &pair->to_server, SIZE_MAX, out, sizeof out),
                     0);
    assert_int_equal(tls_state(pair->server), TLS_FAILED);
    assert_string_equal(tls_error(pair->server)->message,
                        "client sent a record that was changed on its way");
    assert_true(tls_has_output(pair->server)); /* the alert */
    struct sv answer = SV("answer");
    tls_pair_collect(pair->server, &answer, &pair->to_client);
    assert_int_equal(answer.size, 6);
    tls_pair_deliver(pair->client, &pair->to_client, SIZE_MAX, out, sizeof out);
    assert_string_equal(tls_error(pair->client)->message,
                        "server got a record that was changed on its way");
}

/* ---- what is no TLS ---- */

static void tls__a_peer_that_speaks_something_else_is_told_of(void **state)
{
    struct rig *rig = *state;
    static const struct {
        bool at_client;
        struct sv bytes;
        const char *message, *detail;
    } cases[] = {
        {false, SV_INIT("Q\0\0\0\x0dselect 1\0"), "client does not speak TLS",
         "The first byte it sent is 0x51, where a handshake begins with 0x16."},
        {false, SV_INIT("GET / HTTP/1.1\r\n\r\n"), "client does not speak TLS",
         "The first byte it sent is 0x47, where a handshake begins with 0x16."},
        {false, SV_INIT("\0\0\0\0\0\0\0\0\0\0\0\0"), "client does not speak TLS",
         "The first byte it sent is 0x00, where a handshake begins with 0x16."},
        {true, SV_INIT("E\0\0\0\x20SFATAL\0C08006\0Mno\0\0"), "server does not speak TLS",
         "The first byte it sent is 0x45, where a handshake begins with 0x16."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tls_pair_deinit(&rig->pair);
        tls_pair_init(&rig->pair, rig->client, rig->server, &to_db);
        struct tls *tls = cases[i].at_client ? rig->pair.client : rig->pair.server;
        struct sv bytes = cases[i].bytes;
        char out[16];
        assert_int_equal(tls_receive(tls, &bytes, out, sizeof out), 0);
        assert_int_equal(bytes.size, 0);
        assert_int_equal(tls_state(tls), TLS_FAILED);
        assert_string_equal(tls_error(tls)->message, cases[i].message);
        assert_string_equal(tls_error(tls)->detail, cases[i].detail);
        assert_int_equal(tls_error(tls)->rc, HF_RC_PEER);
        assert_int_equal(tls_error(tls)->hint[0] != '\0', cases[i].at_client);
    }
}

static void tls__noise_in_place_of_a_handshake_never_opens(void **state)
{
    struct rig *rig = *state;
    struct rng rng;
    rng_init(&rng, 11);
    for (unsigned i = 0; i < 300; i++) {
        tls_pair_deinit(&rig->pair);
        tls_pair_init(&rig->pair, rig->client, rig->server, &to_db);
        struct sv nothing = sv_from(NULL, 0);
        struct tls_wire *wire = &rig->pair.to_server;
        char out[64];
        /* A true hello, a few bytes of it changed. */
        tls_pair_collect(rig->pair.client, &nothing, wire);
        for (uint64_t n = rng_below(&rng, 4); n < 4; n++)
            wire->bytes[rng_below(&rng, wire->end)] = (char)rng_below(&rng, 256);
        tls_pair_deliver(rig->pair.server, wire, SIZE_MAX, out, sizeof out);
        assert_int_not_equal(tls_state(rig->pair.server), TLS_OPEN);
        assert_true(tls_state(rig->pair.server) != TLS_FAILED ||
                    tls_error(rig->pair.server)->message[0] != '\0');
    }
}

/* ---- resumption ---- */

static bool is_resumed(const struct rig *rig)
{
    struct tls_info of_client, of_server;
    tls_info(rig->pair.client, &of_client);
    tls_info(rig->pair.server, &of_server);
    assert_int_equal(of_client.is_resumed, of_server.is_resumed);
    return of_client.is_resumed;
}

static const struct tls_options to_db_5432 = {.host_name = "db.example",
                                              .session_key = "db.example:5432"};

static void resume(struct rig *rig)
{
    shake(rig, &to_db_5432);
    assert_false(is_resumed(rig));
    /* Each connection leaves what the next one needs. */
    for (int i = 0; i < 3; i++) {
        shake(rig, &to_db_5432);
        assert_true(is_resumed(rig));
        say(rig->pair.client, &rig->pair.to_server, rig->pair.server, SV("again"), SIZE_MAX);
    }
    shake(rig, &(struct tls_options){.host_name = "db.example", .session_key = "db.example:5433"});
    assert_false(is_resumed(rig));
    shake(rig, &to_db);
    assert_false(is_resumed(rig));
}

static void tls__a_client_that_comes_back_resumes_its_session(void **state)
{
    resume(*state);
}

static void tls__a_client_that_comes_back_resumes_its_session_in_tls_1_2(void **state)
{
    struct rig *rig = *state;
    struct tls_config config = client_config(rig);
    config.max_version = TLS_VERSION_1_2;
    tls_context_drop(rig->client);
    rig->client = tls_pair_context(&rig->mem, &config);
    resume(rig);
}

static void tls__a_session_is_resumed_for_the_same_name_only(void **state)
{
    struct rig *rig = *state;
    shake(rig, &to_db_5432);
    tls_pair_deinit(&rig->pair);
    struct tls_options other = {.host_name = "other.example", .session_key = "db.example:5432"};
    tls_pair_init(&rig->pair, rig->client, rig->server, &other);
    tls_pair_shake(&rig->pair, SIZE_MAX);
    assert_int_equal(tls_state(rig->pair.client), TLS_FAILED);
}

static void tls__a_reload_of_the_server_ends_its_sessions(void **state)
{
    struct rig *rig = *state;
    shake(rig, &to_db_5432);
    struct tls_config config = server_config(rig);
    tls_context_drop(rig->server);
    rig->server = tls_pair_context(&rig->mem, &config);
    shake(rig, &to_db_5432);
    assert_false(is_resumed(rig));
}

static void tls__sessions_that_are_kept_have_a_limit(void **state)
{
    (void)state;
    static struct tls_sessions sessions;
    memset(&sessions, 0, sizeof sessions);
    assert_true(tls_sessions_init(&sessions));
    SSL_SESSION *kept = SSL_SESSION_new();
    SSL_SESSION_set_protocol_version(kept, TLS1_3_VERSION);
    SSL_SESSION_up_ref(kept);
    tls_sessions_put(&sessions, "quiet", kept);
    for (int i = 0; i < 1000; i++) {
        SSL_SESSION *session = SSL_SESSION_new();
        SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION);
        tls_sessions_put(&sessions, "busy", session);
    }
    /* One server has its share, and another one's session is still there: once. */
    for (int i = 0; i < TLS_SESSIONS_PER_KEY_MAX; i++) {
        SSL_SESSION *session = tls_sessions_take(&sessions, "busy");
        assert_non_null(session);
        SSL_SESSION_free(session);
    }
    assert_null(tls_sessions_take(&sessions, "busy"));
    SSL_SESSION *again = tls_sessions_take(&sessions, "quiet");
    assert_ptr_equal(again, kept);
    assert_null(tls_sessions_take(&sessions, "quiet"));
    SSL_SESSION_free(again);
    SSL_SESSION_free(kept);
    char key[TLS_SESSION_KEY_SIZE];
    for (int i = 0; i < 2 * TLS_SESSIONS_MAX; i++) {
        snprintf(key, sizeof key, "server %d", i);
        tls_sessions_put(&sessions, key, SSL_SESSION_new());
    }
    assert_null(tls_sessions_take(&sessions, "server 0"));
    again = tls_sessions_take(&sessions, key);
    assert_non_null(again);
    SSL_SESSION_free(again);
    tls_sessions_deinit(&sessions);
}

/* ---- memory ---- */

static void tls__a_quiet_connection_holds_no_buffer(void **state)
{
    struct rig *rig = *state;
    shake(rig, &to_db);
    assert_null(rig->pair.client->pending);
    assert_null(rig->pair.server->pending);
}

static void tls__what_is_pending_keeps_its_order_and_its_limit(void **state)
{
    struct rig *rig = *state;
    tls_pair_init(&rig->pair, rig->client, rig->server, &to_db);
    struct tls *tls = rig->pair.server;
    BIO *bio = SSL_get_wbio(tls->ssl);
    struct sv nothing = sv_from(NULL, 0);
    struct rng rng;
    rng_init(&rng, 3);
    static char block[TLS_PENDING_MAX];
    size_t in = 0, out = 0;
    for (unsigned turn = 0; turn < 20000; turn++) {
        size_t size = rng_below(&rng, turn % 1000 < 500 ? 300 : 100);
        for (size_t i = 0; i < size; i++)
            block[i] = byte_at(in + i, 0);
        if (size > 0 && in - out + size <= TLS_PENDING_MAX) {
            assert_int_equal(BIO_write(bio, block, (int)size), (int)size);
            in += size;
        }
        size = tls_send(tls, &nothing, block, rng_below(&rng, 250));
        for (size_t i = 0; i < size; i++)
            assert_int_equal(block[i], byte_at(out + i, 0));
        out += size;
        assert_int_equal(tls_has_output(tls), in > out);
    }
    assert_int_equal(BIO_write(bio, block, (int)(TLS_PENDING_MAX - (in - out))),
                     TLS_PENDING_MAX - (in - out));
    assert_int_equal(BIO_write(bio, block, 1), -1);
}

static bool is_out_of_memory(const struct tls *tls)
{
    return tls != NULL && tls_state(tls) == TLS_FAILED && tls_error(tls)->rc == HF_RC_LIMIT;
}

static void tls__each_allocation_may_fail(void **state)
{
    struct rig *rig = *state;
    struct tls_pair *pair = &rig->pair;
    for (uint64_t nth = 1;; nth++) {
        struct hf_err err = {.rc = HF_OK};
        uint64_t refused = mem_stats(&rig->mem).refused;
        mem_fail_nth(&rig->mem, nth);
        tls_pair_deinit(pair);
        memset(pair, 0, sizeof *pair);
        if (tls_new(&pair->client, rig->client, &to_db, &err) == HF_OK &&
            tls_new(&pair->server, rig->server, NULL, &err) == HF_OK)
            tls_pair_shake(pair, SIZE_MAX);
        mem_fail_nth(&rig->mem, 0);
        if (mem_stats(&rig->mem).refused == refused)
            break;
        /* The other side may have heard of it by an alert, and has failed in other words. */
        bool is_told = err.rc == HF_RC_LIMIT || is_out_of_memory(pair->client) ||
                       is_out_of_memory(pair->server);
        assert_true(is_told);
        assert_true(nth < 50);
    }
    assert_open(pair->client);
    assert_open(pair->server);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        CASE(tls__a_handshake_works_at_every_split),
        CASE(tls__what_was_agreed_is_told),
        CASE(tls__nothing_is_encrypted_before_the_handshake_is_done),
        CASE(tls__data_behind_the_handshake_comes_in_the_same_call),
        CASE(tls__direct_tls_needs_the_protocols_name),
        CASE(tls__direct_tls_with_the_name_is_let_in),
        CASE(tls__after_an_sslrequest_the_name_is_not_needed),
        CASE(tls__a_server_without_the_name_is_refused_where_it_is_demanded),
        CASE(tls__a_client_of_another_protocol_is_refused),
        CASE(tls__large_writes_both_ways_with_key_updates_in_the_middle),
        CASE(tls__large_writes_both_ways_in_tls_1_2),
        CASE(tls__every_room_is_enough_or_gives_nothing),
        CASE(tls__plaintext_that_had_no_room_waits_for_it),
        CASE(tls__a_side_that_closes_may_still_be_spoken_to),
        CASE(tls__a_connection_cut_in_the_handshake_fails_in_words),
        CASE(tls__a_record_that_was_changed_ends_the_connection),
        CASE(tls__a_peer_that_speaks_something_else_is_told_of),
        CASE(tls__noise_in_place_of_a_handshake_never_opens),
        CASE(tls__a_client_that_comes_back_resumes_its_session),
        CASE(tls__a_client_that_comes_back_resumes_its_session_in_tls_1_2),
        CASE(tls__a_session_is_resumed_for_the_same_name_only),
        CASE(tls__a_reload_of_the_server_ends_its_sessions),
        CASE(tls__sessions_that_are_kept_have_a_limit),
        CASE(tls__a_quiet_connection_holds_no_buffer),
        CASE(tls__what_is_pending_keeps_its_order_and_its_limit),
        CASE(tls__each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
