/*
 * Channels of LISTEN and NOTIFY, as far as they are text: which queries may ask for them or look at
 * them, and the statements by which a connection of ours listens to many at once.
 *
 *     if (channels_may_matter(text)) ...          the session's channels must be there first
 *
 *     struct build query = build_begin(&out, 'Q');
 *     while (channels_fit(&query) && ...)
 *         channels_ask(&query, CHANNELS_LISTEN, name);
 *     rc = channels_end(&query);
 *
 * Names are as the server has them: any bytes but NUL, up to 63 of them, in the encoding of the
 * connection that says them.
 */
#ifndef HF_WIRE_CHANNELS_H
#define HF_WIRE_CHANNELS_H

#include <stdbool.h>

#include "base/err.h"
#include "base/sv.h"
#include "wire/build.h"

/* Whether a text may listen, stop listening, look at what is listened to, or begin a transaction in
 * which one of these may follow. It looks for letters, not for words: true for nothing costs a
 * round trip and is right all the same. */
bool channels_may_matter(struct sv text);

enum channels_verb {
    CHANNELS_LISTEN,
    CHANNELS_UNLISTEN,
};

/* Another statement surely fits into the message. */
bool channels_fit(const struct build *query);
/* Adds one statement for one channel. */
void channels_ask(struct build *query, enum channels_verb verb, struct sv name);
/* Ends the message, or says why not: no room. */
enum hf_rc channels_end(struct build *query) HF_MUST_USE;

#endif
