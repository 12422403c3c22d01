/*
 * TLS of the proxy: contexts from the configuration, connections from contexts.
 */
#ifndef HF_PROXY_SECURE_H
#define HF_PROXY_SECURE_H

#include <stdbool.h>

#include "base/err.h"
#include "proxy/proxy_config.h"
#include "wire/scram.h"

struct client;
struct proxy;
struct server;
struct stream;

/* Reads the files that the configuration names. */
enum hf_rc secure_start(struct proxy *proxy, struct hf_err *err) HF_MUST_USE;
void secure_end(struct proxy *proxy);

/* Begins the handshake with a client that wants it; false: there is no TLS here. */
bool secure_client(struct client *client, bool is_direct);
/* With a server that agreed to it. */
bool secure_server(struct server *server, const struct proxy_host *host, struct hf_err *err);

/* What SCRAM can bind itself to; empty if the stream is plain. */
void secure_binding(const struct stream *stream, struct scram_binding *binding);

#endif
