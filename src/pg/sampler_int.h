/*
 * How the sampler reads positions; apart, so that tests reach it.
 */
#ifndef HF_PG_SAMPLER_INT_H
#define HF_PG_SAMPLER_INT_H

#include <stdint.h>

/* "16/B374D848"; 0 if it is none. */
uint64_t sampler_read_lsn(const char *text);

/* The end of the last record before an insert position. Where a record ends with its page, the
 * server tells the place after the next page's header, which no replica ever replays to while
 * nothing else is written: it would look late for ever. */
uint64_t sampler_end_of_records(uint64_t lsn, uint64_t block_bytes, uint64_t segment_bytes);

#endif
