/*
 * TLS of the proxy: contexts from the configuration, connections from contexts.
 */
#ifndef HF_PROXY_SECURE_H
#define HF_PROXY_SECURE_H

#include <stdbool.h>

#include "base/err.h"
#include "net/tls.h"
#include "os/mem.h"
#include "proxy/proxy_config.h"
#include "wire/scram.h"

struct client;
struct proxy;
struct stream;
struct worker;

/* What one configuration needs: a context for clients, and one for servers for each kind of
 * verifying, as each database may have an sslmode of its own. NULL: there is none. */
struct secure {
    struct tls_context *clients;
    struct tls_context *servers[TLS_VERIFY_FULL + 1];
};

/* Reads the files that the configuration names. */
enum hf_rc secure_new(struct secure *secure, const struct proxy_config *config, struct mem *mem,
                      struct hf_err *err) HF_MUST_USE;
void secure_drop(struct secure *secure);

/* There is TLS for clients. */
bool secure_is_offered(struct proxy *proxy);

/* Begins the handshake with a client that wants it; false: there is no TLS here. */
bool secure_client(struct client *client, bool is_direct);
/* With a server that agreed to it. */
bool secure_server(struct worker *worker, struct stream *stream, const struct proxy_host *host,
                   enum proxy_sslmode sslmode, struct hf_err *err);

/* The client's certificate, which was verified: its common name, or its whole subject. False: it
 * has shown none. `name` is empty too if there is no such name in it. */
bool secure_certificate(const struct stream *stream, bool by_subject, char name[TLS_NAME_SIZE]);

/* The system's user at the other end of a unix socket, by the kernel; false, and `name` empty, if
 * he has no name. Asks the system's list of users, which is quick where that is a file. */
bool secure_socket_name(int fd, char name[TLS_NAME_SIZE]);

/* What SCRAM can bind itself to; empty if the stream is plain. */
void secure_binding(const struct stream *stream, struct scram_binding *binding);

#endif
