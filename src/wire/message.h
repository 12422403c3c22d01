/*
 * What stands in the messages that the proxy must look into. All others, and all bodies that may be
 * large, pass by unread.
 *
 * A message is looked at where frame.h gave it, and possibly before all of it is in view:
 *
 *     switch (message_bind(message_of(&part), &bind)) {
 *     case MESSAGE_OK:    bind.statement is known, though values may still be on their way
 *     case MESSAGE_MORE:  look again when more is in view
 *     case MESSAGE_LONG:  a name longer than any that is accepted here
 *     case MESSAGE_BAD:   not what a message of this type looks like: a protocol violation
 *     }
 *
 * Parsers look at nothing outside the bytes in view, whatever counts and lengths inside claim, copy
 * nothing, and set fields to 0 or empty when these are not there. Views borrow the bytes in view.
 * With MESSAGE_MORE, fields that are already in view are set, where it says so below.
 *
 * What is MESSAGE_BAD is what PostgreSQL, or libpq for the other direction, calls an invalid
 * message format; texts are not checked for their encoding.
 */
#ifndef HF_WIRE_MESSAGE_H
#define HF_WIRE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sv.h"
#include "wire/frame.h"

/* The longest name of a statement or a portal. PostgreSQL tells names apart by their first 63 bytes
 * only, so no client can make use of more; some send hashes that are a little longer. */
#define MESSAGE_NAME_MAX 255

enum message_rc {
    MESSAGE_OK,
    MESSAGE_MORE,
    MESSAGE_LONG,
    MESSAGE_BAD
};

struct message {
    struct sv body; /* behind the header, as far as it is in view */
    bool is_whole;
};

/* `part` is the first one of its message. */
static inline struct message message_of(const struct frame_part *part)
{
    return (struct message){sv_drop(part->bytes, FRAME_HEADER_SIZE), part->is_last};
}

/* Why: 08P01 for MESSAGE_BAD, 54000 for MESSAGE_LONG. */
enum hf_rc message_explain(enum message_rc rc, enum frame_side side, char type, struct hf_err *err);

/* ---- What clients say ---- */

/* Query. With MESSAGE_MORE, `text` is the beginning that is in view. */
enum message_rc message_query(struct message message, struct sv *text);

struct message_parse {
    struct sv name; /* empty: the unnamed statement */
    struct sv text;
    struct sv types; /* four bytes each: OIDs */
};

enum message_rc message_parse(struct message message, struct message_parse *parse);

struct message_bind {
    struct sv portal;
    struct sv statement;
};

/* MESSAGE_OK as soon as the names are in view; what follows is for the server to judge. */
enum message_rc message_bind(struct message message, struct message_bind *bind);

/* Describe and Close. Statements and portals have separate names: kind S or P. */
struct message_target {
    char kind;
    struct sv name;
};

enum message_rc message_target(struct message message, struct message_target *target);

struct message_execute {
    struct sv portal;
    uint32_t rows_max; /* 0: all */
};

enum message_rc message_execute(struct message message, struct message_execute *execute);

/* Messages that are one text: PasswordMessage, CopyFail; CommandComplete of the other side. */
enum message_rc message_text(struct message message, struct sv *text);

/* SASLInitialResponse; `data` has NULL data if the client sends none. SASLResponse is its body. */
struct message_sasl {
    struct sv mechanism;
    struct sv data;
};

enum message_rc message_sasl(struct message message, struct message_sasl *sasl);

/*
 * The same message with another name: writes to `out` what comes in place of its head, and returns
 * how many bytes that are, or 0 if there is less `room`. `bytes` is the message from its header on,
 * and `name` a view into it, as a parser gave it, at most MESSAGE_NAME_MAX long as `to` is. What is
 * replaced are the first message_head_size() bytes; the rest follows as it is.
 *
 * `out` may overlap `bytes`, so that a name that is not longer can be replaced in place: the
 * message then starts a little later.
 *
 *     size_t head = message_head_size(bytes, name);
 *     char *start = bytes.data + name.size - to.size;
 *     message_rename(bytes, name, to, start, head);
 */
size_t message_rename(struct sv bytes, struct sv name, struct sv to, char *out, size_t room);

static inline size_t message_head_size(struct sv bytes, struct sv name)
{
    return (size_t)(name.data - bytes.data) + name.size + 1;
}

/* ---- What servers say ---- */

/* AuthenticationRequest: enum build_auth, or another number. */
struct message_auth {
    uint32_t kind;
    struct sv data;
};

enum message_rc message_auth(struct message message, struct message_auth *auth);

/* The texts of a list that ends in an empty one or with the view: the mechanisms in the data of
 * AuthenticationSASL, the options of NegotiateProtocolVersion. `rest` starts as the list. */
bool message_list_next(struct sv *rest, struct sv *text);

struct message_negotiate {
    uint32_t version;
    struct sv options; /* a list */
};

enum message_rc message_negotiate(struct message message, struct message_negotiate *negotiate);

struct message_parameter {
    struct sv name;
    struct sv value;
};

enum message_rc message_parameter(struct message message, struct message_parameter *parameter);

struct message_key {
    uint32_t pid;
    struct sv key; /* 4 to 256 bytes */
};

enum message_rc message_key(struct message message, struct message_key *key);

/* ReadyForQuery: I, T or E. */
enum message_rc message_ready(struct message message, char *status);

/* How many rows a command's tag tells, as in "INSERT 0 5"; false if it tells none. */
bool message_tag_rows(struct sv tag, uint64_t *rows);

/* ErrorResponse and NoticeResponse. Any field may be missing, even the SQLSTATE; of one that comes
 * twice the first counts. With MESSAGE_MORE, those that are whole in view are set: a server sends
 * severity and SQLSTATE first. */
struct message_error {
    struct sv severity; /* in English: V, or S from servers before 9.6 */
    struct sv sqlstate;
    struct sv message;
    struct sv detail;
    struct sv hint;
    struct sv routine;
};

enum message_rc message_error_fields(struct message message, struct message_error *error);

/* After such an error the server closes the connection. */
static inline bool message_error_is_fatal(const struct message_error *error)
{
    return sv_eq(error->severity, SV("FATAL")) || sv_eq(error->severity, SV("PANIC"));
}

struct message_notification {
    uint32_t pid;
    struct sv channel;
    struct sv payload;
};

enum message_rc message_notification(struct message message,
                                     struct message_notification *notification);

/* CopyInResponse, CopyOutResponse, CopyBothResponse. */
struct message_copy {
    bool is_binary;
    struct sv formats; /* two bytes for each column */
};

enum message_rc message_copy(struct message message, struct message_copy *copy);

/* DataRow, for queries of our own, whose columns we know: all `count` of them, and no others. NULL
 * has NULL data. */
enum message_rc message_row(struct message message, struct sv *columns, size_t count);

#endif
