#include "wire/scram_server.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "wire/base64.h"
#include "wire/bytes.h"

enum {
    WAITS_FIRST,
    WAITS_FINAL,
    OVER,
};

void scram_server_init(struct scram_server *server, const struct scram_verifier *verifier,
                       const struct scram_binding *binding, bool is_plus)
{
    *server = (struct scram_server){
        .verifier = *verifier, .binding = *binding, .state = WAITS_FIRST, .is_plus = is_plus};
}

void scram_server_wipe(struct scram_server *server)
{
    bytes_wipe(server, sizeof *server);
    server->state = OVER;
}

static enum hf_rc malformed(struct hf_err *err, const char *what)
{
    err_set(err, HF_RC_PEER, "08P01", "malformed SCRAM message");
    err_detail(err, "%s", what);
    return HF_RC_PEER;
}

/* The GS2 header, flag and authorisation identity, which is taken off the front of `rest`. */
static enum hf_rc read_header(struct scram_server *server, struct sv *rest, struct hf_err *err)
{
    struct sv flag, identity;
    if (!sv_split(rest, ',', &flag) || !sv_split(rest, ',', &identity))
        return malformed(err, "The channel binding flag is incomplete.");
    if (sv_eq(flag, SV("n"))) {
        server->flag = 'n';
    } else if (sv_eq(flag, SV("y"))) {
        server->flag = 'y';
    } else if (sv_starts_with(flag, SV("p="))) {
        server->flag = 'p';
        if (!sv_eq(flag, SV("p=tls-server-end-point")))
            return err_set(err, HF_RC_PEER, "08P01",
                           "unsupported SCRAM channel-binding type \"" SV_FMT "\"",
                           SV_ARG(sv_drop(flag, 2)));
    } else {
        return malformed(err, "The channel binding flag is neither n nor y nor p.");
    }
    if (server->is_plus != (server->flag == 'p'))
        return malformed(err, "Mechanism and channel binding flag contradict each other.");
    if (server->flag == 'y' && server->binding.size > 0) {
        err_set(err, HF_RC_PEER, "28000", "SCRAM channel binding negotiation error");
        err_detail(err, "The client supports SCRAM channel binding but thinks the server "
                        "does not. However, this server does support channel binding.");
        return HF_RC_PEER;
    }
    if (identity.size > 0)
        return err_set(err, HF_RC_PEER, "0A000",
                       "client uses authorization identity, but it is not supported");
    return HF_OK;
}

/* client-first-message-bare: a name that nobody asks for, the nonce, extensions to be ignored. */
static enum hf_rc read_first(struct sv bare, struct sv *nonce, struct hf_err *err)
{
    struct sv rest = bare, name;
    if (sv_starts_with(bare, SV("m=")))
        return err_set(err, HF_RC_PEER, "0A000", "client requires an unsupported SCRAM extension");
    if (!scram_attribute(&rest, 'n', &name) || !scram_attribute(&rest, 'r', nonce))
        return malformed(err, "Expected the attributes n and r.");
    if (!scram_nonce_is_good(*nonce))
        return malformed(err, "The nonce is empty, too long, or has non-printable characters.");
    return HF_OK;
}

/* Both codes are about all that was said. */
static void say(struct scram_server *server, struct sv text)
{
    hmac_add(&server->proof, text);
    hmac_add(&server->signature, text);
}

static void begin_codes(struct scram_server *server)
{
    struct hmac_key key;
    hmac_key_init(&key, sv_from(server->verifier.stored_key, SCRAM_KEY_SIZE));
    server->proof = hmac_begin(&key);
    hmac_key_init(&key, sv_from(server->verifier.server_key, SCRAM_KEY_SIZE));
    server->signature = hmac_begin(&key);
    bytes_wipe(&key, sizeof key);
}

/* server-first-message. */
static enum hf_rc answer_first(struct scram_server *server, struct sv bare, struct buffer *out,
                               struct hf_err *err)
{
    char salt[BASE64_SIZE(SCRAM_SALT_MAX)];
    char text[sizeof server->nonce + sizeof salt + 32];
    base64_encode(scram_verifier_salt(&server->verifier), salt);
    int size =
        snprintf(text, sizeof text, "r=%.*s,s=%.*s,i=%u", server->nonce_size, server->nonce,
                 (int)BASE64_SIZE(server->verifier.salt_size), salt, server->verifier.iterations);
    struct sv answer = sv_from(text, (size_t)size);
    hf_assert(answer.size < sizeof text);
    if (!buffer_append(out, answer))
        return err_set(err, HF_RC_LIMIT, "54000", "no room for a SCRAM message");
    begin_codes(server);
    say(server, bare);
    say(server, SV(","));
    say(server, answer);
    say(server, SV(","));
    server->state = WAITS_FINAL;
    return HF_OK;
}

enum hf_rc scram_server_first(struct scram_server *server, struct sv data,
                              const char random[SCRAM_NONCE_BYTES], struct buffer *out,
                              struct hf_err *err)
{
    struct sv bare = data, nonce = sv_from(NULL, 0);
    if (server->state != WAITS_FIRST)
        return malformed(err, "The exchange is over.");
    server->state = OVER;
    enum hf_rc rc = read_header(server, &bare, err);
    if (rc == HF_OK)
        rc = read_first(bare, &nonce, err);
    if (rc != HF_OK)
        return rc;
    hf_assert(nonce.data != NULL); /* read_first() found one */
    memcpy(server->nonce, nonce.data, nonce.size);
    base64_encode(sv_from(random, SCRAM_NONCE_BYTES), server->nonce + nonce.size);
    server->nonce_size = (uint8_t)(nonce.size + SCRAM_NONCE_SIZE);
    return answer_first(server, bare, out, err);
}

/* client-final-message: `said` is what the proof is about, all but the proof itself. */
static enum hf_rc read_final(const struct scram_server *server, struct sv data, struct sv *said,
                             char proof[SCRAM_KEY_SIZE], struct hf_err *err)
{
    char expected[SCRAM_BINDING_TEXT_MAX];
    struct sv rest = data, binding, nonce, text, extension;
    size_t size = 0;
    if (!scram_attribute(&rest, 'c', &binding) || !scram_attribute(&rest, 'r', &nonce))
        return malformed(err, "Expected the attributes c and r.");
    while (rest.data != NULL && !sv_starts_with(rest, SV("p=")))
        sv_split(&rest, ',', &extension);
    *said = data;
    if (rest.data != NULL)
        said->size = (size_t)(rest.data - data.data) - 1;
    if (!scram_attribute(&rest, 'p', &text) || rest.data != NULL)
        return malformed(err, "Expected the attribute p at the end.");
    if (!base64_decode(text, proof, SCRAM_KEY_SIZE, &size) || size != SCRAM_KEY_SIZE)
        return malformed(err, "The proof is not a key in Base64.");
    if (!sv_eq(nonce, sv_from(server->nonce, server->nonce_size)))
        return malformed(err, "The nonce is not the one that was agreed on.");
    if (!sv_eq(binding, scram_binding_text(server->flag, &server->binding, expected)))
        return err_set(err, HF_RC_PEER, "28000", "SCRAM channel binding check failed");
    return HF_OK;
}

/* The ClientKey is what makes the proof out of our code; it is the right one if its hash is the
 * StoredKey. */
static bool check_proof(struct scram_server *server, char proof[SCRAM_KEY_SIZE],
                        struct scram_keys *keys)
{
    char code[SHA256_SIZE];
    hmac_end(&server->proof, code);
    for (size_t i = 0; i < SCRAM_KEY_SIZE; i++)
        keys->client[i] = (char)(proof[i] ^ code[i]);
    memcpy(keys->server, server->verifier.server_key, SCRAM_KEY_SIZE);
    bytes_wipe(code, sizeof code);
    return scram_verifier_fits(&server->verifier, keys);
}

enum hf_rc scram_server_final(struct scram_server *server, struct sv data, struct buffer *out,
                              struct scram_keys *keys, struct hf_err *err)
{
    char proof[SCRAM_KEY_SIZE], signature[SHA256_SIZE];
    char answer[2 + BASE64_SIZE(SHA256_SIZE)] = "v=";
    struct sv said = sv_from(NULL, 0);
    bytes_wipe(keys, sizeof *keys);
    if (server->state != WAITS_FINAL)
        return malformed(err, "The exchange is over.");
    server->state = OVER;
    enum hf_rc rc = read_final(server, data, &said, proof, err);
    if (rc != HF_OK)
        return rc;
    say(server, said);
    hmac_end(&server->signature, signature);
    base64_encode(sv_from(signature, sizeof signature), answer + 2);
    if (!check_proof(server, proof, keys))
        rc = err_set(err, HF_RC_DENIED, "28P01", "password authentication failed");
    else if (!buffer_append(out, sv_from(answer, sizeof answer)))
        rc = err_set(err, HF_RC_LIMIT, "54000", "no room for a SCRAM message");
    if (rc != HF_OK)
        bytes_wipe(keys, sizeof *keys);
    bytes_wipe(proof, sizeof proof);
    return rc;
}
