#include <string.h>

#include "base/bug.h"
#include "net/tls_int.h"

bool tls_sessions_init(struct tls_sessions *sessions)
{
    return pthread_mutex_init(&sessions->lock, NULL) == 0;
}

void tls_sessions_deinit(struct tls_sessions *sessions)
{
    for (size_t i = 0; i < TLS_SESSIONS_MAX; i++)
        SSL_SESSION_free(sessions->slots[i].session);
    pthread_mutex_destroy(&sessions->lock);
}

static bool has_key(const struct tls_session *slot, const char *key)
{
    return slot->session != NULL && strcmp(slot->key, key) == 0;
}

/* Where the next session of this key goes: instead of the oldest of the same key if there are
 * enough of them, so that one server does not take all slots; else a free slot, else the oldest of
 * all. */
static struct tls_session *slot_for(struct tls_sessions *sessions, const char *key)
{
    struct tls_session *own = NULL, *oldest = &sessions->slots[0];
    size_t own_count = 0;
    for (size_t i = 0; i < TLS_SESSIONS_MAX; i++) {
        struct tls_session *slot = &sessions->slots[i];
        if (slot->sequence < oldest->sequence)
            oldest = slot;
        if (!has_key(slot, key))
            continue;
        own_count++;
        if (own == NULL || slot->sequence < own->sequence)
            own = slot;
    }
    return own_count < TLS_SESSIONS_PER_KEY_MAX ? oldest : own;
}

void tls_sessions_put(struct tls_sessions *sessions, const char *key, SSL_SESSION *session)
{
    size_t size = strlen(key);
    hf_assert(size < TLS_SESSION_KEY_SIZE);
    pthread_mutex_lock(&sessions->lock);
    struct tls_session *slot = slot_for(sessions, key);
    SSL_SESSION *old = slot->session;
    slot->session = session;
    slot->sequence = ++sessions->sequence;
    memcpy(slot->key, key, size + 1);
    pthread_mutex_unlock(&sessions->lock);
    SSL_SESSION_free(old);
}

SSL_SESSION *tls_sessions_take(struct tls_sessions *sessions, const char *key)
{
    struct tls_session *newest = NULL;
    SSL_SESSION *session = NULL;
    pthread_mutex_lock(&sessions->lock);
    for (size_t i = 0; i < TLS_SESSIONS_MAX; i++) {
        struct tls_session *slot = &sessions->slots[i];
        if (has_key(slot, key) && (newest == NULL || slot->sequence > newest->sequence))
            newest = slot;
    }
    if (newest != NULL) {
        session = newest->session;
        if (SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION) {
            SSL_SESSION_up_ref(session);
        } else {
            newest->session = NULL;
            newest->sequence = 0; /* the next one to be filled */
        }
    }
    pthread_mutex_unlock(&sessions->lock);
    return session;
}
