/*
 * Any bytes as what the other side of a SCRAM exchange says, as a stored secret, and as Base64. The
 * first byte chooses.
 *
 * Checked beside the absence of crashes: no server is opened by other bytes than the right ones,
 * and no client believes other ones; what is decoded encodes to the same text; an honest exchange
 * with any password and salt comes to its end, and gives the keys that it began with.
 */
#include <string.h>

#include "fuzz.h"
#include "wire/base64.h"
#include "wire/password.h"
#include "wire/scram_client.h"
#include "wire/scram_server.h"

#define RANDOM "abcdefghijklmnopqr"

static const struct scram_binding no_binding;

/* One side of an exchange of which everything is known. */
struct exchange {
    struct scram_keys keys;
    struct scram_verifier verifier;
    struct scram_server server;
    struct scram_client client;
    char block[1024];
    struct buffer out;
};

static void stretch(struct scram_keys *keys, struct sv password, struct sv salt)
{
    struct scram_stretch work;
    scram_stretch_begin(&work, password, salt, 3);
    while (!scram_stretch_run(&work, 1))
        continue;
    scram_stretch_end(&work, keys);
}

/* Up to where the server waits for the proof, and the client for the signature. */
static void begin(struct exchange *exchange, struct sv password, struct sv salt)
{
    struct sv text;
    stretch(&exchange->keys, password, salt);
    scram_verifier_init(&exchange->verifier, &exchange->keys, salt, 3);
    buffer_init(&exchange->out, exchange->block, sizeof exchange->block);
    scram_client_init(&exchange->client, SCRAM_CHOICE_PLAIN, &no_binding);
    FUZZ_CHECK(scram_client_first(&exchange->client, RANDOM, &exchange->out, NULL) == HF_OK);
    scram_server_init(&exchange->server, &exchange->verifier, &no_binding, false);
    text = buffer_view(&exchange->out);
    FUZZ_CHECK(scram_server_first(&exchange->server, text, RANDOM, &exchange->out, NULL) == HF_OK);
    text = sv_drop(buffer_view(&exchange->out), text.size);
    FUZZ_CHECK(scram_client_challenge(&exchange->client, text, NULL) == HF_OK);
    FUZZ_CHECK(scram_client_fits(&exchange->client, &exchange->verifier));
    buffer_clear(&exchange->out);
    FUZZ_CHECK(scram_client_final(&exchange->client, &exchange->keys, &exchange->out, NULL) ==
               HF_OK);
}

static void try_verifier(struct sv data)
{
    struct scram_verifier verifier;
    struct hf_err err;
    if (scram_verifier_parse(&verifier, data, &err) != HF_OK) {
        FUZZ_CHECK(err.rc == HF_RC_INVALID);
        return;
    }
    FUZZ_CHECK(verifier.salt_size > 0 && verifier.salt_size <= SCRAM_SALT_MAX);
    FUZZ_CHECK(verifier.iterations > 0 && password_kind(data) == PASSWORD_SCRAM);
}

static void try_first(struct sv data)
{
    static struct exchange exchange;
    struct hf_err err;
    begin(&exchange, SV("pw"), SV("salt"));
    scram_server_init(&exchange.server, &exchange.verifier, &no_binding, false);
    buffer_clear(&exchange.out);
    enum hf_rc rc = scram_server_first(&exchange.server, data, RANDOM, &exchange.out, &err);
    FUZZ_CHECK(rc == HF_OK || rc == HF_RC_PEER);
    FUZZ_CHECK((buffer_held(&exchange.out) > 0) == (rc == HF_OK));
}

static void try_final(struct sv data)
{
    static struct exchange exchange;
    struct scram_keys keys;
    char block[128];
    struct buffer out;
    begin(&exchange, SV("pw"), SV("salt"));
    buffer_init(&out, block, sizeof block);
    enum hf_rc rc = scram_server_final(&exchange.server, data, &out, &keys, NULL);
    FUZZ_CHECK((rc == HF_OK) == sv_eq(data, buffer_view(&exchange.out)));
}

static void try_challenge(struct sv data)
{
    static struct exchange exchange;
    begin(&exchange, SV("pw"), SV("salt"));
    scram_client_init(&exchange.client, SCRAM_CHOICE_PLAIN, &no_binding);
    FUZZ_CHECK(scram_client_first(&exchange.client, RANDOM, &exchange.out, NULL) == HF_OK);
    enum hf_rc rc = scram_client_challenge(&exchange.client, data, NULL);
    FUZZ_CHECK(rc == HF_OK || rc == HF_RC_PEER);
    if (rc != HF_OK)
        return;
    FUZZ_CHECK(exchange.client.iterations > 0 &&
               exchange.client.iterations <= SCRAM_ITERATIONS_MAX);
    FUZZ_CHECK(exchange.client.salt_size > 0);
    FUZZ_CHECK(scram_client_final(&exchange.client, &exchange.keys, &exchange.out, NULL) == HF_OK);
}

static void try_verify(struct sv data)
{
    static struct exchange exchange;
    char right[2 + BASE64_SIZE(SHA256_SIZE)] = "v=";
    begin(&exchange, SV("pw"), SV("salt"));
    base64_encode(sv_from(exchange.client.signature, SHA256_SIZE), right + 2);
    enum hf_rc rc = scram_client_verify(&exchange.client, data, NULL);
    struct sv said = sv_take(data, sv_find(data, ','));
    FUZZ_CHECK((rc == HF_OK) == sv_eq(said, sv_from(right, sizeof right)));
    FUZZ_CHECK(scram_client_is_done(&exchange.client) == (rc == HF_OK));
}

static void try_base64(struct sv data)
{
    static char bytes[4096], text[4096];
    size_t size;
    if (data.size > 3000)
        return;
    base64_encode(data, text);
    FUZZ_CHECK(base64_decode(sv_from(text, BASE64_SIZE(data.size)), bytes, data.size, &size));
    FUZZ_CHECK(sv_eq(sv_from(bytes, size), data));
    if (!base64_decode(data, bytes, sizeof bytes, &size))
        return;
    FUZZ_CHECK(BASE64_SIZE(size) == data.size);
    base64_encode(sv_from(bytes, size), text);
    FUZZ_CHECK(sv_eq(sv_from(text, data.size), data));
}

static void try_honest(struct sv data)
{
    static struct exchange exchange;
    struct scram_keys keys;
    struct sv password = sv_take(data, data.size / 2), salt = sv_drop(data, data.size / 2);
    struct sv text;
    salt = sv_take(salt, SCRAM_SALT_MAX);
    if (salt.size == 0)
        return;
    begin(&exchange, password, salt);
    text = buffer_view(&exchange.out);
    FUZZ_CHECK(scram_server_final(&exchange.server, text, &exchange.out, &keys, NULL) == HF_OK);
    text = sv_drop(buffer_view(&exchange.out), text.size);
    FUZZ_CHECK(scram_client_verify(&exchange.client, text, NULL) == HF_OK);
    FUZZ_CHECK(memcmp(&keys, &exchange.keys, sizeof keys) == 0);
}

static void try_password(struct sv data)
{
    char stored[PASSWORD_MD5_SIZE], answer[PASSWORD_MD5_SIZE];
    bool is_plain = password_kind(data) == PASSWORD_PLAIN && data.size > 0;
    password_md5_store(data, SV("ann"), stored);
    FUZZ_CHECK(password_kind(sv_from(stored, sizeof stored)) == PASSWORD_MD5);
    password_md5_answer(stored, "salt", answer);
    struct sv answered = sv_from(answer, sizeof answer);
    FUZZ_CHECK(password_md5_check(data, SV("ann"), "salt", answered) == is_plain);
    FUZZ_CHECK(password_plain_check(data, SV("ann"), data) == is_plain);
    FUZZ_CHECK(password_plain_check(sv_from(stored, sizeof stored), SV("ann"), data));
    FUZZ_CHECK(!password_md5_check(SV("pw"), SV("ann"), "salt", data));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(struct sv) = {
        try_verifier, try_first,  try_final,  try_challenge,
        try_verify,   try_base64, try_honest, try_password,
    };
    if (size == 0)
        return 0;
    tries[data[0] % (sizeof tries / sizeof tries[0])](sv_from((const char *)data + 1, size - 1));
    return 0;
}
