/*
 * Cancel requests, without waiting and from any thread.
 *
 * A request is a connection of its own that carries process number and key of the session it means
 * and is closed by the server. libpq 15 can only send one by a call that blocks until the server
 * has closed, for minutes where nothing answers; so it is done here, over a socket of our own, to
 * the very address that the session is connected to.
 *
 *     struct cancel_key key = conn.key;                 copied while the session is known to live
 *     step = cancel_start(&cancel, &key);
 *     while (step == CANCEL_WAITS) {
 *         poll cancel.fd for cancel.wants
 *         step = cancel_turn(&cancel);
 *     }
 *     cancel_close(&cancel);
 *
 * A request names a session, not a statement: what reaches the server late stops whatever that
 * session is doing then. So a session must not be given other work before its cancel has ended
 * (CANCEL_DONE: the server has closed, the signal is out), or must be closed instead. Whether a
 * statement was stopped is told by the statement alone: it ends with 57014, or with its result.
 *
 * It goes in plain, also where the session is encrypted, as libpq up to 16 does it. The key can
 * stop a query of ours and nothing else.
 *
 * One cancel belongs to one thread at a time; a key is plain data. close() may be called at any
 * time: the request is then given up.
 */
#ifndef HF_PG_CANCEL_REQUEST_H
#define HF_PG_CANCEL_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Made by conn_connect(). */
struct cancel_key {
    bool is_known; /* else the session cannot be cancelled: its server, or a libpq that nobody has
                    * tried yet, does not tell the key. Close the session instead */
    uint32_t pid;
    uint32_t secret;
    struct sockaddr_storage peer;
    socklen_t peer_size;
};

enum cancel_step {
    CANCEL_WAITS,
    CANCEL_DONE,   /* the server has it */
    CANCEL_FAILED, /* it could not be brought there; errno-like reason in cancel.error */
};

struct cancel {
    int fd;      /* -1: none */
    short wants; /* POLLIN, POLLOUT */
    int error;
    uint8_t request[16];
    uint8_t sent;
};

enum cancel_step cancel_start(struct cancel *cancel, const struct cancel_key *key);

/* When the descriptor is ready. */
enum cancel_step cancel_turn(struct cancel *cancel);

/* Harmless if it is closed already. */
void cancel_close(struct cancel *cancel);

/* The same, waiting until `deadline_ns` at most. True: the server has it. */
bool cancel_run(const struct cancel_key *key, int64_t deadline_ns);

#endif
