/*
 * What the two halves of sql_prepared.h share: sql_prepared.c sends the texts,
 * sql_prepared_settle.c takes what the server says of them.
 */
#ifndef HF_PROXY_SQL_PREPARED_INT_H
#define HF_PROXY_SQL_PREPARED_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "proxy/sql_prepared.h"
#include "wire/retext.h"

#define SQL_ALIASES_MAX 16

enum stage {
    STAGE_IDLE,
    STAGE_QUERY,     /* a Query was sent: up to its ReadyForQuery */
    STAGE_EXECUTING, /* an Execute of such a text */
    STAGE_ASKING,    /* what the server is asked for, and told to close */
};

enum armed {
    ARMED_NOT,
    ARMED_UNNAMED, /* the next Execute may be of the text: it is the unnamed statement */
    ARMED_NAMED,
};

enum op_kind {
    OP_USE,     /* the name is only used, or will be refused */
    OP_PREPARE, /* under a token */
    OP_DEALLOCATE,
};

enum op_state {
    OP_SENT,
    OP_TYPING, /* PREPARE: it is there; the types of its parameters are to be asked for */
    OP_OVER,
};

/* What a text does with one word of it. */
struct sql_op {
    uint8_t kind;
    uint8_t state;
    bool has_types;
    bool is_there;  /* PREPARE: its token is a statement of the server now */
    bool is_wanted; /* PREPARE: the statement is to be prepared under its own name, too */
    uint32_t id;    /* PREPARE: the statement, without types; held while it is SENT or TYPING */
    uint32_t tag;   /* USE: of the statement: see prepared_forget(); 0 */
};

/* A statement, prepared by name, that executes another one. */
struct alias {
    uint8_t name_size;
    uint8_t target_size;
    char name[RETEXT_NAME_MAX];
    char target[RETEXT_NAME_MAX];
};

struct sql_prepared {
    uint8_t stage;   /* enum stage */
    uint8_t armed;   /* enum armed */
    bool is_bound;   /* armed: the unnamed portal is one of the unnamed statement */
    bool may_run;    /* armed: the last Execute may be one of the text */
    bool is_due;     /* the server is to be asked, once the client has been told */
    bool needs_sync; /* a Query of the client was dropped: it still gets its ReadyForQuery */
    bool is_refused; /* the text that was sent fails, and this is why */
    uint8_t alias_count;
    uint8_t alias_next;
    uint32_t owed; /* ASKING: requests of ours that are not answered */
    struct retext retext;
    struct sql_op ops[RETEXT_WORDS_MAX]; /* of its words */
    struct alias aliases[SQL_ALIASES_MAX];
    struct hf_err refusal;
};

/* The statement that it holds, if it does. */
void sql_prepared_release(struct client *client, struct sql_op *op);
/* Nothing is under way, and no text was sent. */
void sql_prepared_clear(struct client *client);

/* A message of a few bytes in our own name: P (of an empty text), D and C of a statement, S. */
bool sql_prepared_send(struct server *server, char type, enum replies_whose whose, struct sv name);

#endif
