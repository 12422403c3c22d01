#include "proxy/secure.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "net/tls.h"
#include "proxy/client.h"
#include "proxy/pool.h"
#include "proxy/server.h"
#include "proxy/worker.h"

#define PASSWD_SIZE 4096 /* of what the system says of a user */

static enum tls_version version_of(enum proxy_tls_version version)
{
    return version == PROXY_TLS_1_3 ? TLS_VERSION_1_3 : TLS_VERSION_1_2;
}

static enum hf_rc make_client_side(struct secure *secure, const struct proxy_tls *tls,
                                   struct mem *mem, struct hf_err *err)
{
    enum tls_clients clients = TLS_CLIENTS_OFF;
    if (tls->sslmode == PROXY_SSL_DISABLE)
        return HF_OK;
    if (tls->sslmode >= PROXY_SSL_VERIFY_CA)
        clients = TLS_CLIENTS_REQUIRED;
    else if (tls->ca_file[0] != '\0')
        clients = TLS_CLIENTS_OPTIONAL;
    const struct tls_config config = {
        .side = TLS_SERVER,
        .cert_file = tls->cert_file,
        .key_file = tls->key_file,
        .ca_file = tls->ca_file,
        .clients = clients,
        .min_version = version_of(tls->min_protocol),
        .ciphers = tls->ciphers,
        .alpn = TLS_ALPN_POSTGRESQL,
    };
    return tls_context_new(&secure->clients, &config, mem, err);
}

static enum hf_rc make_server_side(struct secure *secure, const struct proxy_tls *tls,
                                   enum tls_verify verify, struct mem *mem, struct hf_err *err)
{
    const struct tls_config config = {
        .side = TLS_CLIENT,
        .cert_file = tls->cert_file,
        .key_file = tls->key_file,
        .ca_file = verify == TLS_VERIFY_NONE || tls->ca_file[0] != '\0' ? tls->ca_file : "system",
        .verify = verify,
        .min_version = version_of(tls->min_protocol),
        .ciphers = tls->ciphers,
    };
    return tls_context_new(&secure->servers[verify], &config, mem, err);
}

enum hf_rc secure_new(struct secure *secure, const struct proxy_config *config, struct mem *mem,
                      struct hf_err *err)
{
    *secure = (struct secure){0};
    enum hf_rc rc = make_client_side(secure, &config->client_tls, mem, err);
    for (int verify = TLS_VERIFY_NONE; rc == HF_OK && verify <= TLS_VERIFY_FULL; verify++) {
        rc = make_server_side(secure, &config->server_tls, (enum tls_verify)verify, mem, err);
    }
    if (rc != HF_OK)
        secure_drop(secure);
    return rc;
}

void secure_drop(struct secure *secure)
{
    tls_context_drop(secure->clients);
    for (int verify = TLS_VERIFY_NONE; verify <= TLS_VERIFY_FULL; verify++)
        tls_context_drop(secure->servers[verify]);
    *secure = (struct secure){0};
}

/* One of the contexts in force, held: a reload may put others in its place. */
static struct tls_context *hold(struct proxy *proxy, struct tls_context **context)
{
    pthread_mutex_lock(&proxy->lock);
    struct tls_context *held = *context != NULL ? tls_context_hold(*context) : NULL;
    pthread_mutex_unlock(&proxy->lock);
    return held;
}

bool secure_is_offered(struct proxy *proxy)
{
    struct tls_context *context = hold(proxy, &proxy->secure.clients);
    tls_context_drop(context);
    return context != NULL;
}

bool secure_client(struct client *client, bool is_direct)
{
    struct proxy *proxy = client->worker->proxy;
    struct tls *tls;
    struct hf_err err;
    const struct tls_options options = {.demands_alpn = is_direct};
    struct tls_context *context = hold(proxy, &proxy->secure.clients);
    bool is_made = context != NULL && tls_new(&tls, context, &options, &err) == HF_OK;
    tls_context_drop(context);
    if (is_made)
        stream_secure(client->worker->loop, &client->stream, tls);
    return is_made;
}

static enum tls_verify verify_of(const struct proxy_config *config, enum proxy_sslmode sslmode)
{
    if (sslmode == PROXY_SSL_VERIFY_FULL)
        return TLS_VERIFY_FULL;
    /* libpq's require verifies like verify-ca where there is a file of authorities. */
    if (sslmode == PROXY_SSL_VERIFY_CA ||
        (sslmode == PROXY_SSL_REQUIRE && config->server_tls.ca_file[0] != '\0'))
        return TLS_VERIFY_CA;
    return TLS_VERIFY_NONE;
}

bool secure_server(struct worker *worker, struct stream *stream, const struct proxy_host *host,
                   enum proxy_sslmode sslmode, struct hf_err *err)
{
    struct proxy *proxy = worker->proxy;
    struct tls *tls;
    char key[PROXY_HOST_SIZE + 8];
    enum tls_verify verify = verify_of(worker->config, sslmode);
    struct tls_context *context = hold(proxy, &proxy->secure.servers[verify]);
    snprintf(key, sizeof key, "%s:%u", host->name, host->port);
    const struct tls_options options = {.host_name = host->name, .session_key = key};
    if (context == NULL) {
        err_set(err, HF_RC_INVALID, "08001", "cannot verify the server's certificate");
        err_hint(err, "Name a file of authorities in server_tls.ca_file.");
        return false;
    }
    bool is_made = tls_new(&tls, context, &options, err) == HF_OK;
    tls_context_drop(context);
    if (is_made)
        stream_secure(worker->loop, stream, tls);
    return is_made;
}

void secure_binding(const struct stream *stream, struct scram_binding *binding)
{
    char hash[TLS_BINDING_MAX];
    *binding = (struct scram_binding){0};
    if (stream->tls == NULL)
        return;
    size_t size = tls_binding(stream->tls, hash);
    if (size > 0 && size <= sizeof binding->data) {
        memcpy(binding->data, hash, size);
        binding->size = size;
    }
}

bool secure_certificate(const struct stream *stream, bool by_subject, char name[TLS_NAME_SIZE])
{
    char subject[TLS_NAME_SIZE];
    name[0] = '\0';
    /* Without a subject that can be told there is no certificate that could be known again. */
    if (stream->tls == NULL || !tls_peer_subject(stream->tls, subject))
        return false;
    if (by_subject)
        memcpy(name, subject, sizeof subject);
    else
        (void)!tls_peer_common_name(stream->tls, name);
    return true;
}

bool secure_socket_name(int fd, char name[TLS_NAME_SIZE])
{
    struct ucred peer;
    struct passwd found, *entry = NULL;
    socklen_t size = sizeof peer;
    char memory[PASSWD_SIZE];
    name[0] = '\0';
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
        getpwuid_r(peer.uid, &found, memory, sizeof memory, &entry) != 0 || entry == NULL)
        return false;
    return sv_copy(sv_from_cstr(entry->pw_name), name, TLS_NAME_SIZE);
}
