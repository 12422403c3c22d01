/*
 * How long a TCP connection whose other side says nothing is believed in: the kernel's times, where
 * they are not to be the system's own (net.ipv4.tcp_keepalive_*: 2 h, 75 s, 9 times).
 *
 *     idle        silence until the first probe
 *     interval    between probes
 *     count       probes without an answer, until the connection is given up
 *     user        how long what was sent may lack an acknowledgement; counts in place of the other
 *                 three once it is over
 *
 * That probes are sent at all is for who opens the socket: stream_connect() and listeners do.
 */
#ifndef HF_NET_KEEPALIVE_H
#define HF_NET_KEEPALIVE_H

#include <stdint.h>

/* 0 is the system's, in each of them. */
struct keepalive {
    int64_t idle_ns;     /* whole seconds for the kernel: what is between is rounded up */
    int64_t interval_ns; /* the same */
    int64_t count;
    int64_t user_ns; /* whole milliseconds, the same way */
};

/* What the kernel refuses stays as it is; a unix socket has none of it. */
void keepalive_apply(int fd, const struct keepalive *keepalive);

#endif
