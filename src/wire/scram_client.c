#include "wire/scram_client.h"

#include <string.h>

#include "base/bug.h"
#include "wire/base64.h"
#include "wire/bytes.h"
#include "wire/message.h"

enum {
    OVER,
    BEGINS,
    WAITS_CHALLENGE,
    WAITS_KEYS,
    WAITS_PROOF,
    DONE,
};

enum scram_choice scram_choose(struct sv mechanisms, bool can_bind)
{
    enum scram_choice choice = SCRAM_CHOICE_NONE;
    struct sv mechanism;
    while (message_list_next(&mechanisms, &mechanism)) {
        if (can_bind && sv_eq(mechanism, SV(SCRAM_SHA_256_PLUS)))
            return SCRAM_CHOICE_PLUS;
        if (sv_eq(mechanism, SV(SCRAM_SHA_256)))
            choice = SCRAM_CHOICE_PLAIN;
    }
    return choice;
}

void scram_client_init(struct scram_client *client, enum scram_choice choice,
                       const struct scram_binding *binding)
{
    hf_assert(choice == SCRAM_CHOICE_PLAIN || (choice == SCRAM_CHOICE_PLUS && binding->size > 0));
    *client = (struct scram_client){.binding = *binding, .state = BEGINS};
    if (choice == SCRAM_CHOICE_PLUS)
        client->flag = 'p';
    else
        client->flag = binding->size > 0 ? 'y' : 'n';
}

void scram_client_wipe(struct scram_client *client)
{
    bytes_wipe(client, sizeof *client); /* which leaves it OVER */
}

bool scram_client_is_done(const struct scram_client *client)
{
    return client->state == DONE;
}

static enum hf_rc malformed(struct hf_err *err, const char *what)
{
    err_set(err, HF_RC_PEER, "08P01", "malformed SCRAM message from the server");
    err_detail(err, "%s", what);
    return HF_RC_PEER;
}

static enum hf_rc no_room(struct hf_err *err)
{
    return err_set(err, HF_RC_LIMIT, "54000", "no room for a SCRAM message");
}

/* Writes the pieces in a row, all or nothing. */
static bool append(struct buffer *out, const struct sv *pieces, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += pieces[i].size;
    if (size > buffer_free(out))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!buffer_append(out, pieces[i]))
            return false;
    return true;
}

static void say(struct scram_client *client, struct sv text)
{
    hf_assert(text.size <= sizeof client->said - client->said_size);
    memcpy(client->said + client->said_size, text.data, text.size);
    client->said_size = (uint16_t)(client->said_size + text.size);
}

enum hf_rc scram_client_first(struct scram_client *client, const char random[SCRAM_NONCE_BYTES],
                              struct buffer *out, struct hf_err *err)
{
    if (client->state != BEGINS)
        return malformed(err, "The exchange is over.");
    client->state = OVER;
    base64_encode(sv_from(random, SCRAM_NONCE_BYTES), client->nonce);
    client->nonce_size = SCRAM_NONCE_SIZE;
    /* The name is empty: servers take the one of the StartupMessage. */
    say(client, SV("n=,r="));
    say(client, sv_from(client->nonce, client->nonce_size));
    const struct sv pieces[] = {
        client->flag == 'p'   ? SV("p=tls-server-end-point,,")
        : client->flag == 'y' ? SV("y,,")
                              : SV("n,,"),
        sv_from(client->said, client->said_size),
    };
    if (!append(out, pieces, sizeof pieces / sizeof pieces[0]))
        return no_room(err);
    client->state = WAITS_CHALLENGE;
    return HF_OK;
}

enum hf_rc scram_client_challenge(struct scram_client *client, struct sv data, struct hf_err *err)
{
    struct sv rest = data, nonce, salt, iterations;
    size_t salt_size = 0;
    int64_t number = 0;
    if (client->state != WAITS_CHALLENGE)
        return malformed(err, "The exchange is over.");
    client->state = OVER;
    if (data.size > SCRAM_CHALLENGE_MAX)
        return malformed(err, "The challenge is too long.");
    if (!scram_attribute(&rest, 'r', &nonce) || !scram_attribute(&rest, 's', &salt) ||
        !scram_attribute(&rest, 'i', &iterations))
        return malformed(err, "Expected the attributes r, s and i.");
    if (!scram_nonce_is_good(nonce) || nonce.size <= client->nonce_size ||
        !sv_starts_with(nonce, sv_from(client->nonce, client->nonce_size)))
        return malformed(err, "The nonce does not continue ours.");
    if (!base64_decode(salt, client->salt, SCRAM_SALT_MAX, &salt_size) || salt_size == 0)
        return malformed(err, "The salt is not 1 to 64 bytes in Base64.");
    if (sv_to_int(iterations, 1, SCRAM_ITERATIONS_MAX, &number) != SV_NUMBER_OK) {
        err_set(err, HF_RC_PEER, "08P01", "the server asks for \"" SV_FMT "\" SCRAM iterations",
                SV_ARG(iterations));
        err_detail(err, "At most %d are made.", SCRAM_ITERATIONS_MAX);
        return HF_RC_PEER;
    }
    memcpy(client->nonce, nonce.data, nonce.size);
    client->nonce_size = (uint8_t)nonce.size;
    client->salt_size = (uint8_t)salt_size;
    client->iterations = (uint32_t)number;
    say(client, SV(","));
    say(client, data);
    client->state = WAITS_KEYS;
    return HF_OK;
}

bool scram_client_fits(const struct scram_client *client, const struct scram_verifier *verifier)
{
    return client->iterations == verifier->iterations &&
           sv_eq(scram_client_salt(client), scram_verifier_salt(verifier));
}

/* The code that a key makes of all that was said. */
static void code_of(const struct scram_client *client, const char key[SCRAM_KEY_SIZE],
                    struct sv without_proof, char out[SHA256_SIZE])
{
    struct hmac_key ready;
    hmac_key_init(&ready, sv_from(key, SCRAM_KEY_SIZE));
    struct hmac code = hmac_begin(&ready);
    hmac_add(&code, sv_from(client->said, client->said_size));
    hmac_add(&code, SV(","));
    hmac_add(&code, without_proof);
    hmac_end(&code, out);
    bytes_wipe(&ready, sizeof ready);
}

enum hf_rc scram_client_final(struct scram_client *client, const struct scram_keys *keys,
                              struct buffer *out, struct hf_err *err)
{
    char binding[SCRAM_BINDING_TEXT_MAX], stored_key[SCRAM_KEY_SIZE], proof[SHA256_SIZE];
    char block[SCRAM_BINDING_TEXT_MAX + SCRAM_NONCE_MAX + 8];
    char text[BASE64_SIZE(SHA256_SIZE)];
    struct buffer without_proof;
    if (client->state != WAITS_KEYS)
        return malformed(err, "The exchange is over.");
    client->state = OVER;
    buffer_init(&without_proof, block, sizeof block);
    const struct sv about[] = {
        SV("c="),
        scram_binding_text(client->flag, &client->binding, binding),
        SV(",r="),
        sv_from(client->nonce, client->nonce_size),
    };
    bool fits = append(&without_proof, about, sizeof about / sizeof about[0]);
    hf_assert(fits);
    scram_stored_key(keys->client, stored_key);
    code_of(client, stored_key, buffer_view(&without_proof), proof);
    for (size_t i = 0; i < SCRAM_KEY_SIZE; i++)
        proof[i] ^= keys->client[i];
    code_of(client, keys->server, buffer_view(&without_proof), client->signature);
    base64_encode(sv_from(proof, sizeof proof), text);
    const struct sv pieces[] = {buffer_view(&without_proof), SV(",p="), sv_from(text, sizeof text)};
    if (!append(out, pieces, sizeof pieces / sizeof pieces[0]))
        return no_room(err);
    client->state = WAITS_PROOF;
    return HF_OK;
}

enum hf_rc scram_client_verify(struct scram_client *client, struct sv data, struct hf_err *err)
{
    char signature[SHA256_SIZE];
    struct sv rest = data, text;
    size_t size = 0;
    if (client->state != WAITS_PROOF)
        return malformed(err, "The exchange is over.");
    client->state = OVER;
    if (scram_attribute(&rest, 'e', &text))
        return err_set(err, HF_RC_PEER, "28P01", "the server refused the SCRAM exchange: " SV_FMT,
                       SV_ARG(text));
    if (!scram_attribute(&rest, 'v', &text) ||
        !base64_decode(text, signature, sizeof signature, &size) || size != sizeof signature)
        return malformed(err, "Expected the attribute v.");
    if (!bytes_eq_secret(signature, client->signature, sizeof signature)) {
        err_set(err, HF_RC_PEER, "28000", "the server does not know the user's SCRAM secret");
        err_detail(err, "Its signature is wrong: it may be an impostor.");
        return HF_RC_PEER;
    }
    client->state = DONE;
    return HF_OK;
}
