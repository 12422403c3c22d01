/*
 * TCP ports on 127.0.0.1 for the demo's servers: chosen free, and remembered, so that a psql line
 * that worked yesterday works today.
 */
#ifndef HF_CLI_PORTS_H
#define HF_CLI_PORTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* How far from the base a free port is looked for, and a remembered one is still wanted. */
#define PORTS_REACH 1000

/* True if a server could listen there now. Somebody else may take it the next moment: who starts
 * the server must be ready for that. */
bool ports_is_free(int port);

/* True if somebody listens there. */
bool ports_answers(int port);

/* The first free port from `base` up, below `max`, that is none of the `taken` ones; 0 if there is
 * none within reach. */
int ports_find(int base, int max, const int *taken, size_t count);

#endif
