/*
 * Randomness from the kernel: seeds for base/rng.h, and secrets. The only file that asks for it.
 *
 * Pure code takes a seed as an argument, so that a run can be repeated; whoever starts the program
 * for real takes that seed from here. Any thread may call these.
 */
#ifndef HF_OS_ENTROPY_H
#define HF_OS_ENTROPY_H

#include <stddef.h>
#include <stdint.h>

/* Fills `out` with bytes fit for keys. Waits, early in boot, until the kernel has gathered enough;
 * after that it never waits and never fails, which is why it returns nothing. A kernel without
 * getrandom() is not supported: it aborts rather than hand out something weaker. */
void entropy_fill(void *out, size_t size_bytes);

/* One random word, for seeding. */
uint64_t entropy_seed(void);

/* Writes `size - 1` random letters and digits and a zero byte: about 5.95 bits of secret each, so
 * 25 bytes of size carry more than 128 bits. Safe to stand unquoted in a URL, a shell line, a
 * passfile or a configuration file. */
void entropy_password(char *out, size_t size);

#endif
