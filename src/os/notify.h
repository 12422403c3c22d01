/*
 * What a service manager and a service say to each other, as systemd has it, without its library:
 * datagrams to the socket in $NOTIFY_SOCKET, and listening sockets that were opened for us.
 *
 *     struct notify notify;
 *     notify_init(&notify);                          reads the environment, once, at the start
 *     notify_say(&notify, "READY=1\nSTATUS=...");    nothing happens where nobody listens
 *     if (notify.watchdog_ns != HF_NEVER) ...        WATCHDOG=1 has to be said that often, or more
 *
 * What is for another process (LISTEN_PID, WATCHDOG_PID say which) is not looked at. Those two and
 * what belongs to the first are removed from the environment; the rest stays, for a process of ours
 * that takes over from us.
 *
 * One thread, which is the main one.
 */
#ifndef HF_OS_NOTIFY_H
#define HF_OS_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include "base/err.h"

#define NOTIFY_SOCKETS_MAX 64
#define NOTIFY_FIRST_FD    3 /* SD_LISTEN_FDS_START */

struct notify {
    struct sockaddr_un address;
    size_t address_size; /* 0: nobody wants to be told */
    int64_t watchdog_ns; /* HF_NEVER: nobody watches */
    uint32_t sockets;    /* that were opened for us: NOTIFY_FIRST_FD and those behind it */
};

/* Fails if there are more sockets than can be taken, or an address that cannot be one. */
enum hf_rc notify_init(struct notify *notify, struct hf_err *err) HF_MUST_USE;

/* Lines of NAME=VALUE. Never waits; a message that cannot be sent is lost, as nothing could be done
 * about it. */
void notify_say(const struct notify *notify, const char *text);

#endif
