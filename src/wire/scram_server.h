/*
 * The server's side of SCRAM-SHA-256: what the proxy does with a client that logs in.
 *
 *     AuthenticationSASL   ->
 *                          <-   SASLInitialResponse   scram_server_first()  reads n,,n=,r=...
 *     ...SASLContinue      ->                                               writes r=,s=,i=...
 *                          <-   SASLResponse          scram_server_final()  reads c=...,r=...,p=...
 *     ...SASLFinal         ->                                               writes v=...
 *
 * Both calls are given the mechanism's data and append the data of the answer to `out`, without the
 * message around it. The user's name in the exchange counts for nothing, as in PostgreSQL: who
 * logs in stands in the StartupMessage, and the caller has chosen the verifier by it, or a mock for
 * a name that is unknown.
 *
 * Channel binding: `binding` has the hash of our own certificate if the client came over TLS and
 * was offered SCRAM-SHA-256-PLUS, and is empty if not. A client that could be bound but was told by
 * somebody in between that we cannot is refused (RFC 5802, section 6).
 *
 * Invariants
 *  1. Only a client that has the ClientKey of the verifier gets HF_OK, and none does with a mock.
 *  2. Wrong proofs and mocks take the same path and the same time to the same answer, HF_RC_DENIED;
 *     what is no SCRAM message is HF_RC_PEER.
 *  3. After anything but HF_OK, or after the end, the exchange is over: every call is HF_RC_PEER.
 *
 * scram_server_wipe() at the end, whatever the end was.
 */
#ifndef HF_WIRE_SCRAM_SERVER_H
#define HF_WIRE_SCRAM_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/sv.h"
#include "wire/scram.h"

struct scram_server {
    struct scram_verifier verifier;
    struct scram_binding binding;
    struct hmac proof;     /* what the proof is about, as far as it was said */
    struct hmac signature; /* the same for our own proof */
    uint8_t state;         /* private */
    char flag;             /* of the client's GS2 header: n, y or p */
    bool is_plus;
    uint8_t nonce_size;
    char nonce[SCRAM_NONCE_MAX + SCRAM_NONCE_SIZE];
};

/* Copies what it is given. `is_plus`: the client chose SCRAM-SHA-256-PLUS. */
void scram_server_init(struct scram_server *server, const struct scram_verifier *verifier,
                       const struct scram_binding *binding, bool is_plus);

/* `random` is fresh each time. */
enum hf_rc scram_server_first(struct scram_server *server, struct sv data,
                              const char random[SCRAM_NONCE_BYTES], struct buffer *out,
                              struct hf_err *err) HF_MUST_USE;

/* With HF_OK, `keys` are what a server whose role has the same verifier can be entered with. */
enum hf_rc scram_server_final(struct scram_server *server, struct sv data, struct buffer *out,
                              struct scram_keys *keys, struct hf_err *err) HF_MUST_USE;

void scram_server_wipe(struct scram_server *server);

#endif
