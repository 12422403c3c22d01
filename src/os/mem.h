/*
 * The allocator: counted, bounded, zeroing, and sealable.
 *
 * Pure folders never allocate; drivers do, through a `struct mem` that is passed to them, when they
 * are made. That buys four things the plain malloc cannot give:
 *
 *   - a limit: what would go over it is refused like a machine without memory, not paid for later
 *     by the kernel's killer;
 *   - a seal: once a server has started, its hot path promises to allocate nothing. mem_seal()
 *     makes the promise checkable: in tests an allocation after it aborts and names its place, in
 *     production it is counted;
 *   - torture: a test can make the Nth allocation fail, for every N, and so walk through each
 *     clean-up path;
 *   - a balance: mem_deinit() aborts if something was not given back.
 *
 * Life:   mem_init -> alloc/free ... -> mem_seal -> (free only) -> mem_unseal -> ... -> mem_deinit
 *
 * Invariants
 *   1. Memory handed out is all zero and aligned for any type.
 *   2. bytes <= bytes_max, always; an allocation that would break it returns NULL and is counted.
 *   3. Freeing what is not a live block of this allocator aborts: freeing twice, freeing another
 *      allocator's block, a block whose head was overwritten.
 *
 * Any thread may allocate and free; init, deinit, seal and mem_fail_nth belong to one thread at a
 * time. The allocator does not move: blocks remember its address.
 */
#ifndef HF_OS_MEM_H
#define HF_OS_MEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* What happens to an allocation after the seal. */
enum mem_seal {
    MEM_OPEN = 0,   /* not sealed */
    MEM_SEAL_COUNT, /* it works, and stats.after_seal tells: production */
    MEM_SEAL_ABORT, /* it aborts and prints its place: tests */
};

struct mem_stats {
    uint64_t allocations; /* that succeeded */
    uint64_t frees;
    uint64_t refused;    /* over the limit, out of memory, or made to fail by a test */
    uint64_t after_seal; /* that succeeded although sealed */
    size_t bytes;        /* handed out now, heads not counted */
    size_t bytes_peak;
};

struct mem {
    size_t bytes_max;          /* SIZE_MAX: no limit */
    _Atomic(int) seal;         /* enum mem_seal */
    _Atomic(uint64_t) fail_in; /* 0: never; 1: the next one fails */
    _Atomic(uint64_t) allocations;
    _Atomic(uint64_t) frees;
    _Atomic(uint64_t) refused;
    _Atomic(uint64_t) after_seal;
    _Atomic(size_t) bytes;
    _Atomic(size_t) bytes_peak;
};

/* `bytes_max` 0 means no limit. */
void mem_init(struct mem *mem, size_t bytes_max);

/* Aborts if a block is still out. */
void mem_deinit(struct mem *mem);

/* `size` bytes of zero, or NULL: over the limit, no memory, or a test's wish. A size of 0 gives a
 * block that can be freed and not used. */
#define mem_alloc(mem, size) mem_alloc_at(mem, size, __FILE__, __LINE__)
void *HF_MUST_USE mem_alloc_at(struct mem *mem, size_t size, const char *file, int line);

/* `count` times `size` bytes; NULL also when the product does not fit a size_t. */
#define mem_alloc_array(mem, count, size) mem_alloc_array_at(mem, count, size, __FILE__, __LINE__)
void *HF_MUST_USE mem_alloc_array_at(struct mem *mem, size_t count, size_t size, const char *file,
                                     int line);

/* A copy of a string, or NULL. */
#define mem_copy_text(mem, text) mem_copy_text_at(mem, text, __FILE__, __LINE__)
char *HF_MUST_USE mem_copy_text_at(struct mem *mem, const char *text, const char *file, int line);

/* NULL is allowed. */
void mem_free(struct mem *mem, void *block);

/* From now on an allocation is a broken promise. */
void mem_seal(struct mem *mem, enum mem_seal how);
void mem_unseal(struct mem *mem);

/* Torture: of the allocations from now on, the nth (from 1) fails, once. 0 calls it off. */
void mem_fail_nth(struct mem *mem, uint64_t nth);

struct mem_stats mem_stats(const struct mem *mem);

/* Fills err for an allocation that returned NULL, in words; returns its code. */
enum hf_rc mem_refused(const struct mem *mem, size_t size, struct hf_err *err);

#endif
