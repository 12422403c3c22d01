/*
 * The few words of SQL that a transaction says itself, and two things that it must know of the
 * caller's: both errors to the safe side.
 */
#ifndef HF_CLIENT_TX_TEXT_H
#define HF_CLIENT_TX_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#define TX_TEXT_SIZE 96

/* "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE". `isolation` is an enum hf_isolation
 * that exists. Returns `out`. */
const char *tx_text_begin(char out[TX_TEXT_SIZE], int32_t isolation, bool is_read_only,
                          bool is_deferrable);

/* "SAVEPOINT hf_2": `verb` and the savepoint's own name. Returns `out`. */
const char *tx_text_savepoint(char out[TX_TEXT_SIZE], const char *verb, uint32_t level);

/* True only if `sql` is certainly not several statements: then it may go by the extended protocol,
 * in one packet with others. */
bool tx_text_is_single(const char *sql);

/* Begins with INSERT, UPDATE, DELETE or MERGE: after it there is an xid to be asked for. */
bool tx_text_is_change(const char *sql);

#endif
