/*
 * A client and a server of TLS, joined in memory, for tests: what one gives is kept until the other
 * is fed with it, in pieces of any size.
 */
#ifndef HF_TEST_UNIT_TLS_PAIR_H
#define HF_TEST_UNIT_TLS_PAIR_H

#include <stdbool.h>
#include <string.h>

#include "certs.h"
#include "net/tls.h"
#include "os/mem.h"
#include "unit.h"

#define TLS_PAIR_WIRE 400000

/* Ciphertext on its way. */
struct tls_wire {
    size_t start;
    size_t end;
    char bytes[TLS_PAIR_WIRE];
};

struct tls_pair {
    struct tls *client;
    struct tls *server;
    struct tls_wire to_server;
    struct tls_wire to_client;
};

static inline struct tls_context *tls_pair_context(struct mem *mem, const struct tls_config *config)
{
    struct tls_context *context;
    struct hf_err err;
    if (tls_context_new(&context, config, mem, &err) != HF_OK)
        fail_msg("%s (%s)", err.message, err.detail);
    return context;
}

/* Takes what `tls` has to send, with as much of `plain` as is encrypted. */
static inline void tls_pair_collect(struct tls *tls, struct sv *plain, struct tls_wire *wire)
{
    if (wire->start == wire->end)
        wire->start = wire->end = 0;
    while (sizeof wire->bytes - wire->end >= TLS_ROOM_MIN) {
        size_t size = tls_send(tls, plain, wire->bytes + wire->end, sizeof wire->bytes - wire->end);
        wire->end += size;
        if (size == 0)
            break;
    }
}

/* Gives up to `step` bytes from the wire to `tls`; returns how many bytes of plaintext came out. */
static inline size_t tls_pair_deliver(struct tls *tls, struct tls_wire *wire, size_t step,
                                      char *out, size_t room)
{
    size_t size = wire->end - wire->start;
    struct sv bytes = sv_from(wire->bytes + wire->start, size < step ? size : step);
    size_t before = bytes.size;
    size_t count = tls_receive(tls, &bytes, out, room);
    wire->start += before - bytes.size;
    return count;
}

/* Until nothing more is on the way, in pieces of `step` bytes: the handshake, tickets, alerts. No
 * plaintext comes out of it. */
static inline void tls_pair_shake(struct tls_pair *pair, size_t step)
{
    struct sv nothing = sv_from(NULL, 0);
    char out[64];
    bool is_moving;
    do {
        tls_pair_collect(pair->client, &nothing, &pair->to_server);
        tls_pair_collect(pair->server, &nothing, &pair->to_client);
        is_moving = pair->to_server.start < pair->to_server.end ||
                    pair->to_client.start < pair->to_client.end;
        size_t count = tls_pair_deliver(pair->server, &pair->to_server, step, out, sizeof out) +
                       tls_pair_deliver(pair->client, &pair->to_client, step, out, sizeof out);
        assert_int_equal(count, 0);
    } while (is_moving);
}

/* Both sides and nothing more: no handshake yet. */
static inline void tls_pair_init(struct tls_pair *pair, struct tls_context *client,
                                 struct tls_context *server, const struct tls_options *options)
{
    memset(pair, 0, sizeof *pair);
    struct tls_options of_server = {.demands_alpn = options->demands_alpn};
    assert_int_equal(tls_new(&pair->client, client, options, NULL), HF_OK);
    assert_int_equal(tls_new(&pair->server, server, &of_server, NULL), HF_OK);
}

static inline void tls_pair_deinit(struct tls_pair *pair)
{
    tls_free(pair->client);
    tls_free(pair->server);
}

#endif
