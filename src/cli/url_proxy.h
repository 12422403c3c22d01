/*
 * The proxy that `holdfast demo URL` puts in front of a server that exists already: a second
 * holdfast, as a child, on 127.0.0.1 at 6432 or the next free port. Its log lines stand among ours;
 * of clients that come and go it says nothing.
 */
#ifndef HF_CLI_URL_PROXY_H
#define HF_CLI_URL_PROXY_H

#include "base/err.h"
#include "config/connstr.h"
#include "os/child.h"

struct url_proxy {
    struct child child;
    int port;
};

/* Starts it and waits until it can be connected to. A failure leaves nothing running: it may be
 * that a proxy has no use for what the string says. Secrets in it are hidden by the child at once,
 * as by everybody who gets such an argument. */
enum hf_rc HF_MUST_USE url_proxy_start(struct url_proxy *proxy, const char *url, int stop_fd,
                                       struct hf_err *err);

/* How to connect through it. */
void url_proxy_print(const struct url_proxy *proxy, const struct connstr *shown);

/* True once, when it has ended although nobody has stopped it. */
bool url_proxy_is_lost(struct url_proxy *proxy);

void url_proxy_stop(struct url_proxy *proxy);

#endif
