/*
 * The listening sockets of a proxy: opened by it, opened for it by systemd, or taken over from the
 * process before it.
 *
 *     sockets_inherit()  those that others opened, by their descriptors
 *     sockets_open()     for each address of the configuration: what was inherited for it, and what
 *                        is missing
 *     sockets_share()    each worker its listeners
 *     sockets_leave()    a worker listens no more; the last one of a socket closes it
 *     sockets_keep()     somebody else has them now: unix sockets keep their files
 *
 * A TCP address has one socket for each worker, all with SO_REUSEPORT, so that the kernel spreads
 * connections over them and no two threads wake for one. Each has a queue of its own, of
 * connections that the kernel has completed and nobody has accepted. A socket that is closed takes
 * its queue with it, so a process that goes on for another must go on with every single one of its
 * sockets: a proxy with fewer workers than the one before listens on several in each. A unix
 * socket, and one that systemd has opened, is one for all workers.
 *
 * Sockets that were inherited and are for an address that is no longer configured are closed.
 *
 * `entries` are changed before the workers start, and closed as the last of their workers leaves.
 */
#ifndef HF_PROXY_SOCKETS_H
#define HF_PROXY_SOCKETS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"
#include "proxy/proxy_config.h"

#define SOCKETS_MAX 1024 /* of one process; addresses times workers */

struct worker;

struct sockets_entry {
    struct listener listener; /* its kind: which of config->proxy.listeners it is for */
    bool is_inherited;
    bool is_activated;      /* systemd has it too, and opens no others beside it */
    uint32_t ordinal;       /* among those of the same address */
    uint32_t group_size;    /* how many those are */
    _Atomic uint32_t users; /* workers that listen on it */
};

struct sockets {
    uint32_t count;
    uint32_t inherited;
    struct sockets_entry entries[SOCKETS_MAX];
};

/* Descriptors of sockets that listen; they are the sockets' from now on, also after a failure. */
enum hf_rc sockets_inherit(struct sockets *sockets, int fd, bool is_activated,
                           struct hf_err *err) HF_MUST_USE;

/* All that the configuration names, for so many workers. */
enum hf_rc sockets_open(struct sockets *sockets, const struct proxy_config *config,
                        uint32_t workers, struct hf_err *err) HF_MUST_USE;

/* Makes a worker listen; it has room for all of them. */
enum hf_rc sockets_share(struct sockets *sockets, struct worker *worker, uint32_t workers,
                         struct hf_err *err) HF_MUST_USE;

/* The worker listens on none of them any more; may be called again. Gently: what the kernel has
 * accepted already is still told. */
void sockets_leave(struct sockets *sockets, struct worker *worker, bool gently);

/* Whoever goes on with them needs the files of unix sockets. Before any worker leaves. */
void sockets_keep(struct sockets *sockets);

/* Closes what is still open. */
void sockets_close(struct sockets *sockets);

#endif
