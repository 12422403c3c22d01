#include "wire/scram.h"

#include <string.h>

#include "base/bug.h"
#include "wire/base64.h"
#include "wire/bytes.h"

/* A key in Base64, of exactly its size. */
static bool parse_key(struct sv text, char out[SCRAM_KEY_SIZE])
{
    size_t size = 0;
    return base64_decode(text, out, SCRAM_KEY_SIZE, &size) && size == SCRAM_KEY_SIZE;
}

enum hf_rc scram_verifier_parse(struct scram_verifier *verifier, struct sv text, struct hf_err *err)
{
    struct sv rest = text, scheme, cost, iterations, salt, stored;
    int64_t number = 0;
    size_t salt_size = 0;
    *verifier = (struct scram_verifier){0};
    /* What was split off is empty where a separator is missing, and then not what is expected. */
    sv_split(&rest, '$', &scheme);
    cost = stored = sv_from(NULL, 0);
    sv_split(&rest, '$', &cost);
    salt = cost;
    iterations = sv_from(NULL, 0);
    sv_split(&salt, ':', &iterations);
    sv_split(&rest, ':', &stored);
    bool is_good = sv_eq(scheme, SV(SCRAM_SHA_256)) &&
                   sv_to_int(iterations, 1, INT32_MAX, &number) == SV_NUMBER_OK &&
                   base64_decode(salt, verifier->salt, SCRAM_SALT_MAX, &salt_size) &&
                   salt_size > 0 && parse_key(stored, verifier->stored_key) &&
                   parse_key(rest, verifier->server_key);
    if (!is_good) {
        bytes_wipe(verifier, sizeof *verifier);
        err_set(err, HF_RC_INVALID, "22023", "the text is not a SCRAM-SHA-256 secret");
        return err_detail(err,
                          "Expected SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>"
                          ", with a salt of at most %d bytes.",
                          SCRAM_SALT_MAX);
    }
    verifier->iterations = (uint32_t)number;
    verifier->salt_size = (uint32_t)salt_size;
    return HF_OK;
}

void scram_verifier_init(struct scram_verifier *verifier, const struct scram_keys *keys,
                         struct sv salt, uint32_t iterations)
{
    hf_assert(salt.size > 0 && salt.size <= SCRAM_SALT_MAX && iterations > 0);
    *verifier = (struct scram_verifier){.iterations = iterations, .salt_size = (uint32_t)salt.size};
    memcpy(verifier->salt, salt.data, salt.size);
    scram_stored_key(keys->client, verifier->stored_key);
    memcpy(verifier->server_key, keys->server, SCRAM_KEY_SIZE);
}

void scram_verifier_mock(struct scram_verifier *verifier, struct sv seed, struct sv user,
                         uint32_t iterations)
{
    char digest[SHA256_SIZE];
    hf_assert(iterations > 0);
    hmac(seed, user, digest);
    *verifier = (struct scram_verifier){.iterations = iterations, .salt_size = 16, .is_mock = true};
    memcpy(verifier->salt, digest, verifier->salt_size);
}

bool scram_verifier_fits(const struct scram_verifier *verifier, const struct scram_keys *keys)
{
    char stored[SCRAM_KEY_SIZE];
    scram_stored_key(keys->client, stored);
    bool client_fits = bytes_eq_secret(stored, verifier->stored_key, SCRAM_KEY_SIZE);
    bool server_fits = bytes_eq_secret(keys->server, verifier->server_key, SCRAM_KEY_SIZE);
    return client_fits && server_fits && !verifier->is_mock;
}

void scram_stretch_begin(struct scram_stretch *stretch, struct sv password, struct sv salt,
                         uint32_t iterations)
{
    static const char block_number[4] = {0, 0, 0, 1}; /* the only one: 32 bytes are wanted */
    hf_assert(iterations > 0 && salt.size <= SCRAM_SALT_MAX);
    hmac_key_init(&stretch->key, password);
    struct hmac first = hmac_begin(&stretch->key);
    hmac_add(&first, salt);
    hmac_add(&first, sv_from(block_number, sizeof block_number));
    hmac_end(&first, stretch->last);
    memcpy(stretch->sum, stretch->last, SHA256_SIZE);
    stretch->left = iterations - 1;
}

bool scram_stretch_run(struct scram_stretch *stretch, uint32_t steps)
{
    for (; steps > 0 && stretch->left > 0; steps--, stretch->left--) {
        hmac_step(&stretch->key, stretch->last, stretch->last);
        for (size_t i = 0; i < SHA256_SIZE; i++)
            stretch->sum[i] ^= stretch->last[i];
    }
    return stretch->left == 0;
}

void scram_stretch_end(struct scram_stretch *stretch, struct scram_keys *keys)
{
    hf_assert(stretch->left == 0);
    struct sv salted = sv_from(stretch->sum, SHA256_SIZE);
    hmac(salted, SV("Client Key"), keys->client);
    hmac(salted, SV("Server Key"), keys->server);
    bytes_wipe(stretch, sizeof *stretch);
}

void scram_stored_key(const char client_key[SCRAM_KEY_SIZE], char out[SCRAM_KEY_SIZE])
{
    sha256(sv_from(client_key, SCRAM_KEY_SIZE), out);
}

struct sv scram_binding_text(char flag, const struct scram_binding *binding,
                             char out[SCRAM_BINDING_TEXT_MAX])
{
    static const char bound[] = "p=tls-server-end-point,,";
    char header[sizeof bound + SCRAM_BINDING_MAX] = {flag, ',', ','};
    size_t size = 3;
    if (flag == 'p') {
        hf_assert(binding->size > 0 && binding->size <= SCRAM_BINDING_MAX);
        size = sizeof bound - 1;
        memcpy(header, bound, size);
        memcpy(header + size, binding->data, binding->size);
        size += binding->size;
    }
    base64_encode(sv_from(header, size), out);
    return sv_from(out, BASE64_SIZE(size));
}

bool scram_attribute(struct sv *rest, char letter, struct sv *value)
{
    struct sv ahead = *rest, attribute;
    if (!sv_split(&ahead, ',', &attribute))
        return false;
    if (attribute.size < 2 || attribute.data[0] != letter || attribute.data[1] != '=')
        return false;
    *value = sv_drop(attribute, 2);
    *rest = ahead;
    return true;
}

bool scram_nonce_is_good(struct sv nonce)
{
    if (nonce.size == 0 || nonce.size > SCRAM_NONCE_MAX)
        return false;
    for (size_t i = 0; i < nonce.size; i++)
        if (nonce.data[i] < '!' || nonce.data[i] > '~' || nonce.data[i] == ',')
            return false;
    return true;
}
