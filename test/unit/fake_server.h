/*
 * A server of a few words, for tests of what happens to a client: a thread that listens on a port
 * of 127.0.0.1 and plays one script for each connection. What it reads is the test's to look at
 * after fake_stop().
 */
#ifndef HF_TEST_UNIT_FAKE_SERVER_H
#define HF_TEST_UNIT_FAKE_SERVER_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum fake_step {
    FAKE_END, /* close */
    FAKE_READ,
    FAKE_SEND,
    FAKE_HANG, /* until the test stops it */
};

struct fake_line {
    enum fake_step step;
    const char *bytes;
    size_t size;
};

struct fake_server {
    pthread_t thread;
    int listener;
    int stop[2];
    char port[8];
    const struct fake_line *script;
    char got[4096]; /* what all connections sent */
    size_t got_size;
};

static inline void fake_play(struct fake_server *fake, int fd)
{
    char bytes[1024];
    for (const struct fake_line *line = fake->script;; line++) {
        struct pollfd files[2] = {{.fd = fake->stop[0], .events = POLLIN},
                                  {.fd = fd, .events = POLLIN}};
        if (line->step == FAKE_END)
            return;
        if (line->step == FAKE_SEND) {
            if (send(fd, line->bytes, line->size, MSG_NOSIGNAL) < 0)
                return;
            continue;
        }
        poll(files, line->step == FAKE_HANG ? 1 : 2, -1);
        if (files[0].revents != 0)
            return;
        const ssize_t got = recv(fd, bytes, sizeof bytes, 0);
        if (got <= 0)
            return;
        if (fake->got_size + (size_t)got <= sizeof fake->got) {
            memcpy(fake->got + fake->got_size, bytes, (size_t)got);
            fake->got_size += (size_t)got;
        }
    }
}

static inline void *fake_run(void *argument)
{
    struct fake_server *fake = argument;
    for (;;) {
        struct pollfd files[2] = {{.fd = fake->stop[0], .events = POLLIN},
                                  {.fd = fake->listener, .events = POLLIN}};
        poll(files, 2, -1);
        if (files[0].revents != 0)
            return NULL;
        const int fd = accept(fake->listener, NULL, NULL);
        if (fd < 0)
            continue;
        fake_play(fake, fd);
        close(fd);
    }
}

static inline bool fake_start(struct fake_server *fake, const struct fake_line *script)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    *fake = (struct fake_server){.script = script};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fake->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fake->listener < 0 || pipe(fake->stop) != 0 ||
        bind(fake->listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fake->listener, 8) != 0 ||
        getsockname(fake->listener, (struct sockaddr *)&address, &size) != 0)
        return false;
    snprintf(fake->port, sizeof fake->port, "%u", (unsigned)ntohs(address.sin_port));
    return pthread_create(&fake->thread, NULL, fake_run, fake) == 0;
}

static inline void fake_stop(struct fake_server *fake)
{
    close(fake->stop[1]); /* the other end becomes readable */
    pthread_join(fake->thread, NULL);
    close(fake->stop[0]);
    close(fake->listener);
}

#endif
