/*
 * What an old and a new process of the proxy say to each other while the new one takes over, and
 * afterwards: packets on a unix socket of type SOCK_SEQPACKET, so each of them is whole. Bytes in
 * and out, nothing else; takeover.h does the talking.
 *
 *     new                                          old
 *     HELLO   version, pid               ------->
 *                                        <-------  SOCKETS   count, and so many descriptors beside
 *                                        <-------  ...       it (SCM_RIGHTS); more is said until
 *                                        <-------  SOCKETS   one says that it is the last
 *     (starts; listens)
 *     READY                              ------->  (stops accepting; its clients stay)
 *                                        <-------  YIELDED, and beside it a connection to each of
 *                                                  the processes before this one
 *     CANCEL  pid, key                   ------->  for a client that is still there; any number
 *
 *                                        <-------  REFUSED   reason, instead of an answer
 *
 * A packet is "HFTO", a kind, and what belongs to the kind; numbers are big-endian. Versions: who
 * says HELLO names the oldest and the newest that it speaks, and the answer is one of them.
 * A packet that is longer than its kind is a mistake, so that a later version has to be another
 * one.
 */
#ifndef HF_PROXY_HANDOVER_H
#define HF_PROXY_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/sv.h"
#include "wire/startup.h"

#define HANDOVER_VERSION     1
#define HANDOVER_PACKET_MAX  512
#define HANDOVER_REASON_MAX  255
#define HANDOVER_SOCKETS_MAX 64 /* in one packet; the kernel allows 253 */

enum handover_kind {
    HANDOVER_HELLO = 1,
    HANDOVER_SOCKETS,
    HANDOVER_READY,
    HANDOVER_YIELDED,
    HANDOVER_CANCEL,
    HANDOVER_REFUSED,
};

struct handover {
    enum handover_kind kind;
    uint16_t version_oldest; /* HELLO */
    uint16_t version;        /* HELLO: the newest; SOCKETS: the one that is spoken */
    uint32_t pid;            /* HELLO: the process; CANCEL: of the request */
    uint16_t count;          /* SOCKETS, YIELDED: descriptors beside it */
    uint64_t activated;      /* SOCKETS: a bit for each that systemd has opened */
    bool is_last;            /* SOCKETS */
    uint16_t text_size;
    char text[STARTUP_CANCEL_KEY_MAX]; /* CANCEL: the key; REFUSED: the reason */
};

/* False: it is no packet of this protocol, and `out` is not to be looked at. */
bool handover_read(struct sv packet, struct handover *out);

/* False: it does not fit. A text that is too long is cut, a key is not. */
bool handover_write(const struct handover *message, struct buffer *out);

#endif
