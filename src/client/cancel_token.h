/*
 * What hf_cancel_fire() sets off: a flag that stays, and a descriptor that wakes whoever polls.
 * Both may be touched by a signal handler.
 */
#ifndef HF_CLIENT_CANCEL_TOKEN_H
#define HF_CLIENT_CANCEL_TOKEN_H

#include <stdbool.h>

#include "holdfast.h"

/* Readable from hf_cancel_fire() to hf_cancel_reset(). */
int cancel_token_fd(const struct hf_cancel *cancel);
bool cancel_token_is_fired(const struct hf_cancel *cancel);
/* A call is not begun that it would stop at once: true, and `err` says so. NULL is allowed: false.
 */
bool cancel_token_refuses(const struct hf_cancel *cancel, struct hf_error *err);

#endif
