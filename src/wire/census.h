/*
 * A census: what a session has, by the server's own word. It is asked for when a transaction that
 * may have changed the session is over, and before another client gets the connection.
 *
 *     census_text(parts, names, out)       the statement, for wire/question.h
 *     census_row(&census, store, row)      each DataRow of its answer
 *
 * So nothing of what the client said is interpreted here: a SET that was rolled back, SET LOCAL, a
 * savepoint, a function that sets something, quoting of lists: PostgreSQL says what came of it.
 *
 * What it asks
 *  - CENSUS_SETTINGS: each setting whose source is the session (pg_settings), the role and the
 *    session authorization. Settings of an application's own (app.tenant) are listed nowhere, so
 *    they are asked for by the names that the caller has seen.
 *  - CENSUS_NAMES: these only, where it is known that nothing else can have changed. It costs a
 *    server a sixth of the time (PostgreSQL 15: 0.1 ms against 0.6).
 *  - CENSUS_HOLDS: whether there is anything that cannot move to another connection: objects in the
 *    session's temporary schema, advisory locks of the session, cursors WITH HOLD, channels.
 *
 * Everything is called by its schema, operators too: a search_path of the client's can put nothing
 * in the way. Values come in the database's encoding, byte for byte, whatever the client_encoding:
 * what is not ASCII is escaped. So they are what settings_diff() brings to the next connection.
 *
 * Invariants
 *  1. The question changes nothing and needs no privilege.
 *  2. A row that is not understood is refused, and then the census is worth nothing.
 *
 * Pure; the store's owner holds its mutex for census_row().
 */
#ifndef HF_WIRE_CENSUS_H
#define HF_WIRE_CENSUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/sv.h"
#include "wire/message.h"
#include "wire/settings.h"

enum census_part {
    CENSUS_SETTINGS = 1,
    CENSUS_HOLDS = 2,
    CENSUS_NAMES = 4,
};

/* What keeps a session on its connection. */
enum census_hold {
    CENSUS_TEMPORARY = 1,
    CENSUS_LOCKS = 2,
    CENSUS_CURSORS = 4,
    CENSUS_CHANNELS = 8,
};

/* Letters, digits, _ . $ of ASCII only: it can be asked for. */
bool census_can_ask(struct sv name);

/* Writes the statement. `names`: of settings, each with a zero byte behind it; those that cannot be
 * asked for are left out. HF_RC_LIMIT if it does not fit. */
enum hf_rc census_text(uint32_t parts, struct sv names, struct buffer *out) HF_MUST_USE;

struct census {
    uint32_t
        set; /* of the store, the caller's; begins as 0, or with CENSUS_NAMES as what is known */
    uint32_t holds; /* enum census_hold */
    struct sv user; /* that the session logged in as: its authorization is no news */
};

/* HF_RC_PEER: not a row of ours; HF_RC_LIMIT, HF_RC_INVALID: it cannot be kept. */
enum hf_rc census_row(struct census *census, struct settings *store,
                      struct message row) HF_MUST_USE;

#endif
