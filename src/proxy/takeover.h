/*
 * A restart that nobody notices: a new process takes the listening sockets over from the old one.
 *
 *     old                                   new: takeover_ask(), then proxy_start()
 *     takeover_open(): a unix socket in     |
 *     run_dir waits for somebody            |
 *     <------------------- HELLO -----------|
 *     -- SOCKETS (SCM_RIGHTS) ------------->|  its configuration is read, its workers are made
 *     (goes on accepting)                   |  (accepts, too: the queues are the same)
 *     <------------------- READY -----------|  takeover_ready(), takeover_open() of its own
 *     accepts no more; its clients stay, up |
 *     to limits.leave_timeout               |
 *     <------------------- CANCEL ----------|  for clients of the old one: their requests come to
 *                                              where the port is
 *
 * If the new process fails before it says READY, its end of the connection closes, and nothing has
 * changed for the old one. Until READY both accept; so no connection finds a closed port, and none
 * is lost in a queue.
 *
 * Only this user's own processes and root's are listened to (SO_PEERCRED), and only theirs are
 * believed. The socket's file is for this user alone.
 *
 * All but takeover_cancel() belongs to the main thread.
 */
#ifndef HF_PROXY_TAKEOVER_H
#define HF_PROXY_TAKEOVER_H

#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"
#include "proxy/sockets.h"

struct proxy;

/* Files to be polled: the socket that waits, and who is talked to. */
#define TAKEOVER_FILES 2

enum takeover_state {
    TAKEOVER_NONE,    /* nobody asks */
    TAKEOVER_OFFERED, /* somebody has our sockets, and is not ready yet */
    TAKEOVER_YIELDED, /* somebody else accepts now */
};

struct takeover {
    struct proxy *proxy;
    enum takeover_state state;
    int waiting_fd;   /* -1: nobody can take over */
    int heir_fd;      /* the new process, from HELLO on */
    int64_t until_ns; /* OFFERED: how long its start may take */
    uint32_t heir_pid;
    char path[108];
};

/* ---- the new process, before proxy_start() ---- */

/* Asks the one that runs with this folder for its sockets. HF_RC_MISSING: nobody does. What remains
 * is a connection to it: *fd. */
enum hf_rc takeover_ask(const char *run_dir, struct sockets *sockets, int *fd,
                        struct hf_err *err) HF_MUST_USE;
/* We accept: the old one is to leave, and says where those before it can be told of cancel
 * requests (proxy->before). */
enum hf_rc takeover_ready(struct proxy *proxy, struct hf_err *err) HF_MUST_USE;

/* ---- the running one ---- */

/* Waits for who takes over from us, in this folder; "" is no folder. Who took over takes the place
 * of the one before; anybody else is refused it (HF_RC_AGAIN) while somebody waits there. */
enum hf_rc takeover_open(struct takeover *takeover, struct proxy *proxy, const char *run_dir,
                         bool has_taken_over, struct hf_err *err) HF_MUST_USE;
void takeover_close(struct takeover *takeover);

/* What is to be polled; unused ones are -1. */
void takeover_files(const struct takeover *takeover, struct pollfd files[TAKEOVER_FILES]);
/* Looks after all of it, without waiting. True: the new process (heir_pid) accepts; whoever has to
 * know is told before takeover_yield(), after which this process is to leave. */
bool takeover_step(struct takeover *takeover);
void takeover_yield(struct takeover *takeover);

/* ---- any thread of the new one ---- */

/* A cancel request, for the processes before us: its client may be there. */
void takeover_cancel(struct proxy *proxy, uint32_t pid, struct sv key);

#endif
