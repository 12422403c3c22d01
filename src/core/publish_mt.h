/*
 * Publishing one block of plain data from one thread to any number of others, without a lock and
 * without anything that a reader could hold up.
 *
 *     writer:   publish_put(p, &snapshot)
 *     reader:   if (publish_get(p, &lane->seen, &lane->view)) ... the view is a newer one
 *
 * Each reader has a copy of its own, good for as long as it likes; while nothing new was published
 * publish_get() is one load of a word that nobody writes. So the path of a query pays a load, and a
 * copy (some 300 ns for a snapshot) a few times a second. Counting references instead would let
 * readers share one copy, at the price of two locked instructions on a line that all threads fight
 * for, in each call, and of a writer that must wait where a reader sleeps.
 *
 * There are two buffers. Version v stands in buffer v % 2; the writer fills the other one, then
 * raises the version. A reader copies and then looks whether the version is still the one that it
 * began with: the buffer is not touched before it changes. The words are written with release and
 * read with acquire, which on x86 costs nothing and makes the order right without fences, which
 * ThreadSanitizer cannot follow.
 *
 * Invariants
 *  1. What publish_get() leaves in `out` after true is one version, whole.
 *  2. A reader never sees an older version after a newer one.
 *  3. Neither side waits for the other; a reader copies again only if a version was published while
 *     it copied.
 *
 * One writer at a time; any number of readers in any threads.
 */
#ifndef HF_CORE_PUBLISH_MT_H
#define HF_CORE_PUBLISH_MT_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bug.h"

#define PUBLISH_ALIGN 64 /* a cache line */

struct publish {
    alignas(PUBLISH_ALIGN) _Atomic uint64_t version; /* 0: nothing yet */
    size_t words;                                    /* in a buffer */
    alignas(PUBLISH_ALIGN) _Atomic uint64_t data[];
};

/* Of the memory for blocks of `bytes`, which must be whole words. */
static inline size_t publish_size(size_t bytes)
{
    return sizeof(struct publish) + 2 * bytes;
}

/* `memory` is publish_size() bytes, aligned to PUBLISH_ALIGN. */
static inline struct publish *publish_init(void *memory, size_t bytes)
{
    struct publish *p = memory;
    hf_assert(bytes % sizeof(uint64_t) == 0);
    p->words = bytes / sizeof(uint64_t);
    atomic_init(&p->version, 0);
    for (size_t i = 0; i < 2 * p->words; i++)
        atomic_init(&p->data[i], 0);
    return p;
}

static inline void publish_put(struct publish *p, const void *block)
{
    const uint64_t next = atomic_load_explicit(&p->version, memory_order_relaxed) + 1;
    _Atomic uint64_t *buffer = p->data + (next % 2) * p->words;
    for (size_t i = 0; i < p->words; i++) {
        uint64_t word;
        memcpy(&word, (const char *)block + i * sizeof word, sizeof word);
        atomic_store_explicit(&buffer[i], word, memory_order_release);
    }
    atomic_store_explicit(&p->version, next, memory_order_release);
}

/* The version that is out now: for who wants to know whether to look. */
static inline uint64_t publish_version(const struct publish *p)
{
    return atomic_load_explicit(&p->version, memory_order_acquire);
}

/* True, and `*seen` and `out` are new, if there is a newer version than `*seen` (0: none seen). */
static inline bool publish_get(const struct publish *p, uint64_t *seen, void *out)
{
    uint64_t version = publish_version(p);
    if (version == *seen)
        return false;
    for (;;) {
        const _Atomic uint64_t *buffer = p->data + (version % 2) * p->words;
        for (size_t i = 0; i < p->words; i++) {
            const uint64_t word = atomic_load_explicit(&buffer[i], memory_order_acquire);
            memcpy((char *)out + i * sizeof word, &word, sizeof word);
        }
        const uint64_t after = publish_version(p);
        if (after == version)
            break;
        version = after;
    }
    *seen = version;
    return true;
}

#endif
