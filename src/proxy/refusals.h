/*
 * What a client is told when it is refused: always an SQLSTATE, a message, a DETAIL and a HINT.
 *
 * Who refuses knows the reason and says it in err_set(), with the numbers in err_detail() and what
 * to do in err_hint(). Where he had no numbers, the DETAIL is who the client is, so that its error,
 * the log and the console can be put together; where he had no advice, it follows from the
 * SQLSTATE.
 *
 * All refusals are listed in src/proxy/REFUSALS with when they come and a test that reaches each;
 * tools/refusals.py holds everyone to it and makes docs/reference/errors.md.
 */
#ifndef HF_PROXY_REFUSALS_H
#define HF_PROXY_REFUSALS_H

#include "base/err.h"

struct client;

/* The refusal as the client is told it. */
struct hf_err refusal_of(const struct client *client, const struct hf_err *err);

#endif
