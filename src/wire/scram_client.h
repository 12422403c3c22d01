/*
 * The client's side of SCRAM-SHA-256: how the proxy enters a server.
 *
 *     <-  AuthenticationSASL     scram_choose()              which mechanism
 *     ->  SASLInitialResponse    scram_client_first()        writes n,,n=,r=...
 *     <-  ...SASLContinue        scram_client_challenge()    reads r=...,s=...,i=...
 *                                the keys: from a stretched password, a cache, or pass-through
 *     ->  SASLResponse           scram_client_final()        writes c=...,r=...,p=...
 *     <-  ...SASLFinal           scram_client_verify()       reads v=...
 *
 * After the challenge, scram_client_salt() and `iterations` say what the keys must be made of. Keys
 * from a client's exchange with us (pass-through), or from a cache, fit only if the verifier they
 * belong to has the same: scram_client_fits() tells, before a proof that must be wrong costs a
 * failed login at the server.
 *
 * A server is not believed before scram_client_verify(): whoever does not have the verifier cannot
 * pass it. An AuthenticationOk before that comes from an impostor; scram_client_is_done() tells.
 *
 * After a failure the exchange is over: every call is HF_RC_PEER. scram_client_wipe() at the end,
 * whatever the end was.
 */
#ifndef HF_WIRE_SCRAM_CLIENT_H
#define HF_WIRE_SCRAM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/sv.h"
#include "wire/scram.h"

enum scram_choice {
    SCRAM_CHOICE_NONE, /* the server offers nothing that is known here */
    SCRAM_CHOICE_PLAIN,
    SCRAM_CHOICE_PLUS,
};

/* The best of the list in an AuthenticationSASL; `can_bind` if the connection is encrypted and the
 * hash of the server's certificate is known. */
enum scram_choice scram_choose(struct sv mechanisms, bool can_bind);

/* The longest challenge that is accepted; a server's own has about 100 bytes. */
#define SCRAM_CHALLENGE_MAX 384

struct scram_client {
    struct scram_binding binding;
    uint32_t iterations; /* of the challenge */
    uint8_t salt_size;   /* of the challenge */
    uint8_t state;       /* private */
    char flag;           /* of the GS2 header: n, y or p */
    uint8_t nonce_size;
    char salt[SCRAM_SALT_MAX];
    char nonce[SCRAM_NONCE_MAX];
    char signature[SHA256_SIZE]; /* that the server must come up with */
    uint16_t said_size;
    char said[SCRAM_CHALLENGE_MAX + SCRAM_NONCE_SIZE + 16]; /* what the proofs are about */
};

/* `binding` is empty if the connection cannot be bound. With SCRAM_CHOICE_PLAIN and a binding, the
 * server is told that it could have offered more, which a server that did offer it takes for an
 * attack. */
void scram_client_init(struct scram_client *client, enum scram_choice choice,
                       const struct scram_binding *binding);

/* `random` is fresh each time. */
enum hf_rc scram_client_first(struct scram_client *client, const char random[SCRAM_NONCE_BYTES],
                              struct buffer *out, struct hf_err *err) HF_MUST_USE;

enum hf_rc scram_client_challenge(struct scram_client *client, struct sv data,
                                  struct hf_err *err) HF_MUST_USE;

static inline struct sv scram_client_salt(const struct scram_client *client)
{
    return sv_from(client->salt, client->salt_size);
}

/* The challenge asks for keys of this verifier's salt and iterations. */
bool scram_client_fits(const struct scram_client *client, const struct scram_verifier *verifier);

enum hf_rc scram_client_final(struct scram_client *client, const struct scram_keys *keys,
                              struct buffer *out, struct hf_err *err) HF_MUST_USE;

enum hf_rc scram_client_verify(struct scram_client *client, struct sv data,
                               struct hf_err *err) HF_MUST_USE;

/* The server has proved itself. */
bool scram_client_is_done(const struct scram_client *client);

void scram_client_wipe(struct scram_client *client);

#endif
