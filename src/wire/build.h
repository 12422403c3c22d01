/*
 * Writing messages of PostgreSQL's protocol into a buffer: those that the proxy says in its own
 * name, to clients as a server and to servers as a client.
 *
 * Each call appends one whole message or nothing:
 *
 *     if (build_ready(&out, 'I') != HF_OK)       HF_RC_LIMIT: no room, now or in this buffer
 *
 * Messages without a call of their own are put together with a struct build, which is sticky like a
 * reader: fields are put one after the other, and only the end says whether all went well.
 *
 *     struct build b = build_begin(&out, 'P');
 *     build_cstr(&b, name);
 *     build_cstr(&b, text);
 *     build_u16(&b, 0);
 *     enum hf_rc rc = build_end(&b);
 *
 * A text that would not come out as it went in, because it holds a zero byte, is refused with
 * HF_RC_INVALID: what stands behind that byte would be read as another field.
 *
 * Nothing is written behind the buffer's end until build_end() or the call succeeds, and nobody
 * else may touch the buffer in between.
 */
#ifndef HF_WIRE_BUILD_H
#define HF_WIRE_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/sv.h"

struct build {
    struct buffer *buffer;
    char *start; /* the message, in the buffer's free room */
    size_t room;
    size_t size;        /* of what was put so far */
    size_t length_at;   /* where the length word stands: 1, or 0 in a startup packet */
    enum hf_rc failure; /* the first one */
};

struct build build_begin(struct buffer *buffer, char type);

/* A packet without a type byte, as the first of a connection is. */
struct build build_begin_startup(struct buffer *buffer);

void build_u8(struct build *build, uint8_t value);
void build_u16(struct build *build, uint16_t value);
void build_u32(struct build *build, uint32_t value);
void build_bytes(struct build *build, struct sv bytes);

/* With a zero byte behind it. */
void build_cstr(struct build *build, struct sv text);

/* Writes the length and appends the message; or forgets it and says why. */
enum hf_rc build_end(struct build *build) HF_MUST_USE;

/* Messages of either side that are nothing but their type: Sync, Flush, Terminate, CopyDone,
 * ParseComplete, BindComplete, CloseComplete, NoData, EmptyQueryResponse, PortalSuspended. */
enum hf_rc build_empty(struct buffer *buffer, char type) HF_MUST_USE;

/* ---- What a server says ---- */

/* The kinds of AuthenticationRequest. */
enum build_auth {
    BUILD_AUTH_OK = 0,
    BUILD_AUTH_CLEARTEXT = 3,
    BUILD_AUTH_MD5 = 5,            /* data: the salt, four bytes */
    BUILD_AUTH_SASL = 10,          /* data: see build_auth_sasl() */
    BUILD_AUTH_SASL_CONTINUE = 11, /* data: the mechanism's */
    BUILD_AUTH_SASL_FINAL = 12,    /* data: the mechanism's */
};

enum hf_rc build_auth(struct buffer *buffer, enum build_auth kind, struct sv data) HF_MUST_USE;

/* Offers SCRAM-SHA-256, and before it SCRAM-SHA-256-PLUS if the client can be bound to the channel.
 */
enum hf_rc build_auth_sasl(struct buffer *buffer, bool with_plus) HF_MUST_USE;

/* The version to be spoken and the `_pq_.` options among the parameters of a StartupMessage, all of
 * which are unknown here. */
enum hf_rc build_negotiate(struct buffer *buffer, uint32_t version,
                           struct sv parameters) HF_MUST_USE;

enum hf_rc build_parameter_status(struct buffer *buffer, struct sv name,
                                  struct sv value) HF_MUST_USE;

/* Protocol 3.0 knows only keys of four bytes. */
enum hf_rc build_backend_key(struct buffer *buffer, uint32_t pid, struct sv key) HF_MUST_USE;

/* I: idle, T: in a transaction, E: in a failed one. */
enum hf_rc build_ready(struct buffer *buffer, char status) HF_MUST_USE;

/* Severities are told twice: to people, possibly translated, and to programs. Ours are English. */
#define BUILD_ERROR   "ERROR"
#define BUILD_FATAL   "FATAL"
#define BUILD_WARNING "WARNING"
#define BUILD_NOTICE  "NOTICE"

/* An ErrorResponse for the severities ERROR and FATAL, else a NoticeResponse. What is not UTF-8 in
 * the texts (a name cut in the middle, or bytes that a client sent) becomes question marks, since
 * drivers fail on it. */
enum hf_rc build_error(struct buffer *buffer, const char *severity,
                       const struct hf_err *err) HF_MUST_USE;

/* ---- What a client says ---- */

struct build_parameter {
    struct sv name;
    struct sv value;
};

enum hf_rc build_startup(struct buffer *buffer, uint32_t version,
                         const struct build_parameter *parameters, size_t count) HF_MUST_USE;

/* STARTUP_CODE_SSL or STARTUP_CODE_GSSENC. */
enum hf_rc build_request(struct buffer *buffer, uint32_t code) HF_MUST_USE;

enum hf_rc build_cancel(struct buffer *buffer, uint32_t pid, struct sv key) HF_MUST_USE;

/* A password, or the answer to a salt: PasswordMessage with a text. */
enum hf_rc build_password(struct buffer *buffer, struct sv text) HF_MUST_USE;

enum hf_rc build_sasl_initial(struct buffer *buffer, struct sv mechanism,
                              struct sv data) HF_MUST_USE;
enum hf_rc build_sasl_response(struct buffer *buffer, struct sv data) HF_MUST_USE;

enum hf_rc build_query(struct buffer *buffer, struct sv text) HF_MUST_USE;

/* A Parse whose parameters' types the server finds out. */
enum hf_rc build_parse(struct buffer *buffer, struct sv name, struct sv text) HF_MUST_USE;

/* The client's data will not come; `reason` stands in the server's error. */
enum hf_rc build_copy_fail(struct buffer *buffer, struct sv reason) HF_MUST_USE;

/* Closes a prepared statement. */
enum hf_rc build_close_statement(struct buffer *buffer, struct sv name) HF_MUST_USE;

#endif
