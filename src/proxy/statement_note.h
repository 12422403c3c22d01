/*
 * What is remembered of a statement while it runs, for SHOW STATEMENTS and the query log: the first
 * bytes of the message that brought it, as they came. What they say is found out when somebody
 * asks; so a query costs one copy of a few dozen bytes.
 *
 *     Q: the text          P: name, text          B: portal, name of the statement, whose text the
 *                                                    store of prepared statements has
 *
 * What is shown has no literals in it, but by an explicit setting: they may be secrets. Text that
 * was cut, or cannot be read for certain, is shown as far as it is certain.
 */
#ifndef HF_PROXY_STATEMENT_NOTE_H
#define HF_PROXY_STATEMENT_NOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/sv.h"
#include "wire/frame.h"

struct client;

#define STATEMENT_NOTE_SIZE 120  /* of each server connection */
#define STATEMENT_TEXT_SIZE 1024 /* of each client whose queries are logged */

struct statement_note {
    char type; /* Q, P, B; 0: nothing yet */
    bool is_cut;
    uint16_t size;
};

/* Notes the first part of a message in `bytes`, if it brings a statement. A Bind of the unnamed
 * statement leaves the Parse that it is of. */
static inline void statement_note_take(struct statement_note *note, char *bytes, size_t capacity,
                                       const struct frame_part *part)
{
    struct sv body = sv_drop(part->bytes, FRAME_HEADER_SIZE);
    if (part->type != 'Q' && part->type != 'P' && part->type != 'B')
        return;
    if (part->type == 'B' && body.size > 1 && body.data[0] == '\0' && body.data[1] == '\0')
        return;
    note->type = part->type;
    note->size = (uint16_t)(body.size < capacity ? body.size : capacity);
    note->is_cut = part->size > note->size + (size_t)FRAME_HEADER_SIZE;
    memcpy(bytes, body.data, note->size);
}

enum statement_show {
    STATEMENT_SHAPE, /* literals stripped */
    STATEMENT_FULL,
};

struct statement_shown {
    bool is_known;
    bool is_cut;
    uint64_t shape[2]; /* the hash of its shape: equal for statements that differ in literals */
    size_t size;
    char text[STATEMENT_TEXT_SIZE + 1];
};

/* What the note says, of a statement of this client. */
void statement_note_show(const struct client *client, const struct statement_note *note,
                         const char *bytes, enum statement_show how, struct statement_shown *out);

/* The same of a message that has come and waits. */
void statement_note_waiting(const struct client *client, struct statement_shown *out);

#endif
