/*
 * The secrets of SCRAM-SHA-256 (RFC 5802, RFC 7677), as PostgreSQL keeps and uses them.
 *
 *     password --stretch(salt, iterations)--> salted password
 *                     .------------------------'   '-----------------.
 *                     v                                              v
 *     keys:       ClientKey  (the client proves that it has it)   ServerKey  (the server does)
 *                     | H                                            |
 *     verifier:   StoredKey  (enough to check the proof)          ServerKey  + salt, iterations
 *
 * A server stores the verifier, from which no client can be impersonated. A client that proves
 * itself reveals its ClientKey to the server; with that and the ServerKey the proxy can enter a
 * server whose role has the same verifier: that is pass-through, and nobody stores a password.
 * scram_server.h and scram_client.h hold the two sides of the exchange.
 *
 * Stretching is thousands of hashes (about 2 ms for 4096 iterations), and the number comes from the
 * other side. So it is done in slices, between which a worker serves others:
 *
 *     scram_stretch_begin(&stretch, password, salt, iterations);
 *     while (!scram_stretch_run(&stretch, SCRAM_SLICE)) ...         0.3 ms; then back to the loop
 *     scram_stretch_end(&stretch, &keys);
 *
 * and its result is good for as long as password, salt and iterations stay: whoever has a password
 * in plain stretches it once, and keeps the keys or the verifier.
 *
 * Passwords are to be normalised by SASLprep (RFC 4013). PostgreSQL leaves passwords of ASCII
 * alone, and uses the raw bytes of those that are not UTF-8 or hold forbidden characters. Here all
 * are used raw, which is the same for them and for all text that is in form NFKC already, as what
 * keyboards produce nearly always is. It differs for passwords with characters that NFKC changes
 * (decomposed accents, ligatures, full-width letters, blanks other than the space): with those, a
 * login with a password kept in plain fails, while verifiers and pass-through work.
 */
#ifndef HF_WIRE_SCRAM_H
#define HF_WIRE_SCRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sv.h"
#include "wire/sha256.h"

#define SCRAM_SHA_256      "SCRAM-SHA-256"
#define SCRAM_SHA_256_PLUS "SCRAM-SHA-256-PLUS"

#define SCRAM_KEY_SIZE 32
#define SCRAM_SALT_MAX 64 /* PostgreSQL makes 16 */

#define SCRAM_ITERATIONS_DEFAULT 4096
#define SCRAM_ITERATIONS_MAX     1000000 /* that a server may ask for: half a second of work */
#define SCRAM_SLICE              512

/* Our random part of a nonce, and its text. The bytes come from os/. */
#define SCRAM_NONCE_BYTES 18
#define SCRAM_NONCE_SIZE  24

/* The longest nonce that is accepted from the other side. */
#define SCRAM_NONCE_MAX 128

/* Channel binding data of type tls-server-end-point (RFC 5929): a hash of the server's certificate,
 * SHA-512 at the most. */
#define SCRAM_BINDING_MAX 64

/* What an exchange is bound to; size 0 if it cannot be bound. */
struct scram_binding {
    size_t size;
    char data[SCRAM_BINDING_MAX];
};

/* Secret: whoever has them can log in. */
struct scram_keys {
    char client[SCRAM_KEY_SIZE];
    char server[SCRAM_KEY_SIZE];
};

struct scram_verifier {
    uint32_t iterations;
    uint32_t salt_size;
    char salt[SCRAM_SALT_MAX];
    char stored_key[SCRAM_KEY_SIZE];
    char server_key[SCRAM_KEY_SIZE];
    bool is_mock; /* nobody's: every proof is wrong */
};

/* From PostgreSQL's text, SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, as in
 * pg_authid.rolpassword. The error does not quote the text. */
enum hf_rc scram_verifier_parse(struct scram_verifier *verifier, struct sv text,
                                struct hf_err *err) HF_MUST_USE;

/* From keys; the salt has 1 to SCRAM_SALT_MAX bytes. */
void scram_verifier_init(struct scram_verifier *verifier, const struct scram_keys *keys,
                         struct sv salt, uint32_t iterations);

/* For a user who does not exist or has no verifier, so that the answer tells neither: the same user
 * gets the same salt each time, as long as `seed` (a secret of this server) is the same, the
 * exchange runs to its end, and the proof is wrong. */
void scram_verifier_mock(struct scram_verifier *verifier, struct sv seed, struct sv user,
                         uint32_t iterations);

static inline struct sv scram_verifier_salt(const struct scram_verifier *verifier)
{
    return sv_from(verifier->salt, verifier->salt_size);
}

/* These keys are what the verifier was made of. In constant time. */
bool scram_verifier_fits(const struct scram_verifier *verifier, const struct scram_keys *keys);

/* A password being stretched (Hi() of the RFC, PBKDF2). */
struct scram_stretch {
    struct hmac_key key;
    char last[SHA256_SIZE];
    char sum[SHA256_SIZE];
    uint32_t left;
};

/* `iterations` is not 0; the salt has at most SCRAM_SALT_MAX bytes. Nothing is borrowed. */
void scram_stretch_begin(struct scram_stretch *stretch, struct sv password, struct sv salt,
                         uint32_t iterations);

/* At most `steps` more; true when it is done. */
bool scram_stretch_run(struct scram_stretch *stretch, uint32_t steps);

/* The keys of a stretched password; the state is wiped. */
void scram_stretch_end(struct scram_stretch *stretch, struct scram_keys *keys);

/* StoredKey of a ClientKey. */
void scram_stored_key(const char client_key[SCRAM_KEY_SIZE], char out[SCRAM_KEY_SIZE]);

/* What the attribute c of a client's last message must say: the GS2 header, and behind a p the
 * binding, in Base64. `flag` is n, y or p. */
#define SCRAM_BINDING_TEXT_MAX 128
struct sv scram_binding_text(char flag, const struct scram_binding *binding,
                             char out[SCRAM_BINDING_TEXT_MAX]);

/* The next attribute of a SCRAM message, LETTER=VALUE, up to a comma or the end: both are taken off
 * `rest`, whose data is NULL afterwards if that was the last one. False if there is none of that
 * letter at the front. */
bool scram_attribute(struct sv *rest, char letter, struct sv *value);

/* A nonce as the RFC allows it, and not longer than SCRAM_NONCE_MAX. */
bool scram_nonce_is_good(struct sv nonce);

#endif
