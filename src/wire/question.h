/*
 * A question of ours to a server, in the session of a client: what it sets, what it listens to.
 *
 * It is asked by the extended protocol and a name of its own. A Query would end the unnamed
 * prepared statement, which the client may Bind again in its next batch. The name is closed in the
 * same batch; if that is skipped for an error the name stays, so a question begins with a Close,
 * which never fails. The portal is the unnamed one: it ends with the transaction, outside of which
 * nothing of it can be the client's.
 *
 *     rc = question_put(&out, text);     one statement; as many as there is room for
 *     rc = build_empty(&out, 'S');       there always is for this one
 */
#ifndef HF_WIRE_QUESTION_H
#define HF_WIRE_QUESTION_H

#include "base/buffer.h"
#include "base/err.h"
#include "base/sv.h"

/* The types of its messages, in their order. */
#define QUESTION_REQUESTS "CPBEC"

/* HF_RC_LIMIT: it does not fit, and nothing was written. */
enum hf_rc question_put(struct buffer *out, struct sv text) HF_MUST_USE;

#endif
