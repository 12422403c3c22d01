#include "proxy/secure.h"

#include <stdio.h>
#include <string.h>

#include "net/tls.h"
#include "proxy/client.h"
#include "proxy/pool.h"
#include "proxy/server.h"
#include "proxy/worker.h"

static enum tls_version version_of(enum proxy_tls_version version)
{
    return version == PROXY_TLS_1_3 ? TLS_VERSION_1_3 : TLS_VERSION_1_2;
}

static enum hf_rc make_client_side(struct proxy *proxy, struct hf_err *err)
{
    const struct proxy_tls *tls = &proxy->config->client_tls;
    if (tls->sslmode == PROXY_SSL_DISABLE)
        return HF_OK;
    const struct tls_config config = {
        .side = TLS_SERVER,
        .cert_file = tls->cert_file,
        .key_file = tls->key_file,
        .ca_file = tls->ca_file,
        .clients = tls->sslmode >= PROXY_SSL_VERIFY_CA ? TLS_CLIENTS_REQUIRED
                   : tls->ca_file[0] != '\0'           ? TLS_CLIENTS_OPTIONAL
                                                       : TLS_CLIENTS_OFF,
        .min_version = version_of(tls->min_protocol),
        .ciphers = tls->ciphers,
        .alpn = TLS_ALPN_POSTGRESQL,
    };
    return tls_context_new(&proxy->client_tls, &config, proxy->mem, err);
}

static enum hf_rc make_server_side(struct proxy *proxy, enum tls_verify verify,
                                   struct tls_context **out, struct hf_err *err)
{
    const struct proxy_tls *tls = &proxy->config->server_tls;
    const struct tls_config config = {
        .side = TLS_CLIENT,
        .cert_file = tls->cert_file,
        .key_file = tls->key_file,
        .ca_file = tls->ca_file,
        .verify = verify,
        .min_version = version_of(tls->min_protocol),
        .ciphers = tls->ciphers,
    };
    return tls_context_new(out, &config, proxy->mem, err);
}

/* Each database may have an sslmode of its own, so there is a context for each kind of verifying. */
enum hf_rc secure_start(struct proxy *proxy, struct hf_err *err)
{
    bool has_ca = proxy->config->server_tls.ca_file[0] != '\0';
    enum hf_rc rc = make_client_side(proxy, err);
    if (rc == HF_OK)
        rc = make_server_side(proxy, has_ca ? TLS_VERIFY_CA : TLS_VERIFY_NONE,
                              &proxy->server_tls[TLS_VERIFY_NONE], err);
    for (int verify = TLS_VERIFY_CA; rc == HF_OK && has_ca && verify <= TLS_VERIFY_FULL; verify++)
        rc = make_server_side(proxy, (enum tls_verify)verify, &proxy->server_tls[verify], err);
    return rc;
}

void secure_end(struct proxy *proxy)
{
    tls_context_drop(proxy->client_tls);
    for (int verify = TLS_VERIFY_NONE; verify <= TLS_VERIFY_FULL; verify++)
        tls_context_drop(proxy->server_tls[verify]);
}

bool secure_client(struct client *client, bool is_direct)
{
    struct tls *tls;
    struct hf_err err;
    const struct tls_options options = {.demands_alpn = is_direct};
    struct tls_context *context = client->worker->proxy->client_tls;
    if (context == NULL || tls_new(&tls, context, &options, &err) != HF_OK)
        return false;
    stream_secure(client->worker->loop, &client->stream, tls);
    return true;
}

bool secure_server(struct server *server, const struct proxy_host *host, struct hf_err *err)
{
    struct worker *worker = server->part->worker;
    struct tls *tls;
    char key[PROXY_HOST_SIZE + 8];
    enum proxy_sslmode sslmode = server->part->database->sslmode;
    enum tls_verify verify = sslmode == PROXY_SSL_VERIFY_FULL ? TLS_VERIFY_FULL
                             : sslmode == PROXY_SSL_VERIFY_CA ? TLS_VERIFY_CA
                                                              : TLS_VERIFY_NONE;
    struct tls_context *context = worker->proxy->server_tls[verify];
    snprintf(key, sizeof key, "%s:%u", host->name, host->port);
    const struct tls_options options = {.host_name = host->name, .session_key = key};
    if (context == NULL) {
        err_set(err, HF_RC_INVALID, "08001", "cannot verify the server's certificate");
        err_hint(err, "Name a file of authorities in server_tls.ca_file.");
        return false;
    }
    if (tls_new(&tls, context, &options, err) != HF_OK)
        return false;
    stream_secure(worker->loop, &server->stream, tls);
    return true;
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
