/*
 * The cheapest proxy that the loop allows: it accepts on one port of 127.0.0.1, connects to another
 * for each client, and carries bytes. What PgBouncer costs beside it is the room that the real
 * proxy has for everything that it does with a query.
 *
 *     relay LISTEN_PORT SERVER_PORT [auto|uring|epoll]
 *
 * Runs until it is killed. CPU time per transaction is what /proc/PID/stat says, over what pgbench
 * says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/container_of.h"
#include "base/ns.h"
#include "net/loop.h"

enum side {
    CLIENT,
    SERVER,
};

struct pair {
    struct stream streams[2]; /* by side */
    int alive;                /* streams that are not gone */
};

struct relay {
    struct loop *loop;
    struct mem mem;
    struct listener listener;
    struct address server;
};

static struct pair *pair_of(struct stream *stream)
{
    return stream->kind == CLIENT ? container_of(stream, struct pair, streams[CLIENT])
                                  : container_of(stream, struct pair, streams[SERVER]);
}

static struct stream *other(struct stream *stream)
{
    return &pair_of(stream)->streams[stream->kind == CLIENT ? SERVER : CLIENT];
}

static void on_accepted(struct relay *relay, int fd)
{
    struct pair *pair = mem_alloc(&relay->mem, sizeof *pair);
    hf_assert(pair != NULL);
    pair->alive = 2;
    stream_start(relay->loop, &pair->streams[CLIENT], fd, CLIENT);
    stream_connect(relay->loop, &pair->streams[SERVER], &relay->server, SERVER);
}

static void carry(struct relay *relay, struct stream *from, struct stream *to)
{
    size_t done = stream_send(relay->loop, to, stream_view(from));
    stream_consume(relay->loop, from, done);
}

static void on_event(struct relay *relay, const struct loop_event *event)
{
    struct stream *stream = event->stream;
    switch (event->kind) {
    case LOOP_ACCEPTED:
        on_accepted(relay, event->fd);
        break;
    case LOOP_RECEIVED:
        carry(relay, stream, other(stream));
        break;
    case LOOP_DRAINED:
        carry(relay, other(stream), stream);
        break;
    case LOOP_ENDED:
        stream_close(relay->loop, stream, false);
        stream_close(relay->loop, other(stream), true);
        break;
    case LOOP_GONE:
        if (--pair_of(stream)->alive == 0)
            mem_free(&relay->mem, pair_of(stream));
        break;
    case LOOP_CONNECTED:
    case LOOP_SECURED:
    case LOOP_LEFT:
    case LOOP_POSTED:
        break;
    }
}

static enum loop_io io_from(const char *name)
{
    if (strcmp(name, "epoll") == 0)
        return LOOP_IO_EPOLL;
    return strcmp(name, "uring") == 0 ? LOOP_IO_URING : LOOP_IO_AUTO;
}

static enum hf_rc run(struct relay *relay, struct hf_err *err)
{
    enum hf_rc rc = HF_OK;
    while (rc == HF_OK) {
        rc = loop_wait(relay->loop, HF_NEVER, err);
        struct loop_event event;
        while (loop_next(relay->loop, &event))
            on_event(relay, &event);
    }
    return rc;
}

static enum hf_rc start(struct relay *relay, int argc, char **argv, struct hf_err *err)
{
    struct loop_config config = {
        .io = io_from(argc > 3 ? argv[3] : "auto"),
        .blocks = 16384,
    };
    struct address here;
    uint16_t listen_port = (uint16_t)strtoul(argv[1], NULL, 10);
    uint16_t server_port = (uint16_t)strtoul(argv[2], NULL, 10);
    if (!address_literal(&here, SV("127.0.0.1"), listen_port) ||
        !address_literal(&relay->server, SV("127.0.0.1"), server_port))
        return err_set(err, HF_RC_INVALID, NULL, "no such address");
    enum hf_rc rc = loop_new(&relay->loop, &config, &relay->mem, err);
    if (rc == HF_OK)
        rc = listener_open(&relay->listener, &here, false, err);
    if (rc == HF_OK)
        rc = loop_listen(relay->loop, &relay->listener, err);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: relay LISTEN_PORT SERVER_PORT [auto|uring|epoll]\n", stderr);
        return 2;
    }
    struct relay relay = {0};
    struct hf_err err;
    mem_init(&relay.mem, 0);
    enum hf_rc rc = start(&relay, argc, argv, &err);
    if (rc == HF_OK) {
        fprintf(stderr, "relay: %s %s\n", loop_io(relay.loop) == LOOP_IO_URING ? "uring" : "epoll",
                loop_io_reason(relay.loop));
        rc = run(&relay, &err);
    }
    if (rc != HF_OK)
        fprintf(stderr, "relay: %s\n", err.message);
    return 1;
}
