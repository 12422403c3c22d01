#include "proxy/door.h"

#include "proxy/admission.h"
#include "proxy/client.h"
#include "proxy/worker.h"

/* NULL: it has no rules of its own. */
static const struct proxy_listener *place_of(const struct client *client)
{
    bool is_gone;
    return proxy_listener_of(client->worker->config, client->listener, &is_gone);
}

bool door_admits(const struct client *client, struct hf_err *err)
{
    const struct admission *admission = client->admission;
    bool is_gone;
    const struct proxy_listener *place =
        proxy_listener_of(client->worker->config, client->listener, &is_gone);
    if (is_gone) {
        err_set(err, HF_RC_DENIED, "57P03", "this listener was removed from the configuration");
        err_hint(err, "It is closed when the proxy is started again.");
        return false;
    }
    if (place == NULL)
        return true;
    if (place->databases[0] != '\0' &&
        !proxy_list_has(place->databases, sv_from_cstr(admission->database))) {
        err_set(err, HF_RC_DENIED, "28000", "database \"%s\" cannot be reached by this listener",
                admission->database);
        err_detail(err, "Listener \"%s\" is for other databases.", place->name);
        err_hint(err, "Connect to another port, or name it in listeners.%s.databases.",
                 place->name);
        return false;
    }
    if (place->users[0] != '\0' && !proxy_list_has(place->users, sv_from_cstr(admission->role))) {
        err_set(err, HF_RC_DENIED, "28000", "user \"%s\" may not come in by this listener",
                admission->role);
        err_detail(err, "Listener \"%s\" is for other users.", place->name);
        err_hint(err, "Connect to another port, or name him in listeners.%s.users.", place->name);
        return false;
    }
    return true;
}

enum proxy_sslmode door_sslmode(const struct client *client)
{
    static const enum proxy_sslmode modes[] = {
        [PROXY_LISTENER_TLS_DISABLE] = PROXY_SSL_DISABLE,
        [PROXY_LISTENER_TLS_ALLOW] = PROXY_SSL_ALLOW,
        [PROXY_LISTENER_TLS_REQUIRE] = PROXY_SSL_REQUIRE,
    };
    const struct proxy_listener *place = place_of(client);
    if (place == NULL || place->tls == PROXY_LISTENER_TLS_DEFAULT)
        return client->worker->config->client_tls.sslmode;
    return modes[place->tls];
}

const struct hba_rule *door_rule(const struct client *client, const struct hba_rule *rule)
{
    static const struct hba_rule rules[] = {
        {.method = PROXY_AUTH_TRUST},    {.method = PROXY_AUTH_REJECT},
        {.method = PROXY_AUTH_PASSWORD}, {.method = PROXY_AUTH_MD5},
        {.method = PROXY_AUTH_SCRAM},    {.method = PROXY_AUTH_CERT},
        {.method = PROXY_AUTH_PEER},
    };
    const struct proxy_listener *place = place_of(client);
    return place == NULL || place->auth == 0 ? rule : &rules[place->auth - 1];
}

enum proxy_role_mode door_mode(const struct client *client)
{
    const struct proxy_listener *place = place_of(client);
    return place != NULL ? place->pool_mode : PROXY_ROLE_AS_DATABASE;
}
