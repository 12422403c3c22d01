#include "proxy/application_name.h"

#include <stdio.h>
#include <string.h>

#include "proxy/client.h"
#include "proxy/worker.h"

#define SUFFIX_SIZE (PEER_TEXT_SIZE + 16)

static struct sv suffix_of(const struct peer *peer, char out[SUFFIX_SIZE])
{
    char address[PEER_TEXT_SIZE];
    int size = snprintf(out, SUFFIX_SIZE, " - %s:%u", peer_text(peer, address), peer->port);
    return sv_from(out, (size_t)size);
}

struct sv application_name_with(struct sv name, const struct peer *peer,
                                char out[APPLICATION_NAME_SIZE])
{
    char text[SUFFIX_SIZE];
    struct sv suffix = suffix_of(peer, text);
    if (name.size == 0)
        name = SV("app");
    name = sv_take(name, APPLICATION_NAME_SIZE - 1 - suffix.size);
    memcpy(out, name.data, name.size);
    memcpy(out + name.size, suffix.data, suffix.size);
    out[name.size + suffix.size] = '\0';
    return sv_from(out, name.size + suffix.size);
}

struct sv application_name_plain(struct sv name, const struct peer *peer)
{
    char text[SUFFIX_SIZE];
    struct sv suffix = suffix_of(peer, text);
    return sv_ends_with(name, suffix) ? sv_take(name, name.size - suffix.size) : name;
}

const char *application_name_of(const struct client *client, char out[APPLICATION_NAME_SIZE])
{
    struct proxy *proxy = client->worker->proxy;
    pthread_mutex_lock(&proxy->lock);
    struct sv name = settings_find(&proxy->settings, client->settings, SV("application_name"));
    name = sv_take(name, APPLICATION_NAME_SIZE - 1);
    if (name.size > 0)
        memcpy(out, name.data, name.size);
    pthread_mutex_unlock(&proxy->lock);
    out[name.size] = '\0';
    return out;
}

void application_name_add_host(struct client *client)
{
    struct proxy *proxy = client->worker->proxy;
    struct settings *store = &proxy->settings;
    char text[APPLICATION_NAME_SIZE];
    uint32_t set;
    pthread_mutex_lock(&proxy->lock);
    struct sv name = settings_find(store, client->settings, SV("application_name"));
    name = application_name_with(name, &client->peer, text);
    if (settings_with(store, client->settings, SV("application_name"), name, &set) == HF_OK) {
        settings_keep(store, set);
        settings_drop(store, client->settings);
        settings_drop(store, client->startup);
        client->settings = set;
        client->startup = set;
    }
    pthread_mutex_unlock(&proxy->lock);
}
