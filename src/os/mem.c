#include "os/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"

/* Stands in front of each block. 32 bytes keep the block aligned for any type. */
struct head {
    const struct mem *owner;
    size_t size;
    uint64_t alive; /* HEAD_ALIVE; anything else is not a live block */
    uint64_t unused;
};

#define HEAD_ALIVE UINT64_C(0x686f6c6466617374)

_Static_assert(sizeof(struct head) % _Alignof(max_align_t) == 0, "blocks must stay aligned");

void mem_init(struct mem *mem, size_t bytes_max)
{
    memset(mem, 0, sizeof *mem);
    mem->bytes_max = bytes_max == 0 ? SIZE_MAX : bytes_max;
}

void mem_deinit(struct mem *mem)
{
    struct mem_stats stats = mem_stats(mem);
    if (stats.allocations != stats.frees)
        fprintf(stderr, "mem_deinit: %llu blocks, %zu bytes were not freed\n",
                (unsigned long long)(stats.allocations - stats.frees), stats.bytes);
    hf_assert(stats.allocations == stats.frees);
}

/* True when this allocation is the one that a test wants to fail. */
static bool is_made_to_fail(struct mem *mem)
{
    uint64_t left = atomic_load(&mem->fail_in);
    while (left > 0) {
        if (atomic_compare_exchange_weak(&mem->fail_in, &left, left - 1))
            return left == 1;
    }
    return false;
}

/* Takes `size` bytes from the limit, or returns false and takes nothing. */
static bool try_reserve(struct mem *mem, size_t size)
{
    size_t before = atomic_load(&mem->bytes);
    do {
        if (size > mem->bytes_max - before)
            return false;
    } while (!atomic_compare_exchange_weak(&mem->bytes, &before, before + size));

    size_t peak = atomic_load(&mem->bytes_peak);
    while (peak < before + size &&
           !atomic_compare_exchange_weak(&mem->bytes_peak, &peak, before + size))
        continue;
    return true;
}

static void *refuse(struct mem *mem)
{
    atomic_fetch_add(&mem->refused, 1);
    return NULL;
}

static void check_seal(struct mem *mem, size_t size, const char *file, int line)
{
    int seal = atomic_load(&mem->seal);
    if (seal == MEM_SEAL_ABORT) {
        fprintf(stderr, "%s:%d: %zu bytes allocated after the seal\n", file, line, size);
        abort();
    }
    if (seal == MEM_SEAL_COUNT)
        atomic_fetch_add(&mem->after_seal, 1);
}

void *mem_alloc_at(struct mem *mem, size_t size, const char *file, int line)
{
    check_seal(mem, size, file, line);
    /* No object is larger than PTRDIFF_MAX: differences of pointers into it must exist. */
    if (is_made_to_fail(mem) || size > PTRDIFF_MAX - sizeof(struct head) || !try_reserve(mem, size))
        return refuse(mem);

    struct head *head = calloc(1, sizeof *head + size);
    if (head == NULL) {
        atomic_fetch_sub(&mem->bytes, size);
        return refuse(mem);
    }
    head->owner = mem;
    head->size = size;
    head->alive = HEAD_ALIVE;
    atomic_fetch_add(&mem->allocations, 1);
    return head + 1;
}

void *mem_alloc_array_at(struct mem *mem, size_t count, size_t size, const char *file, int line)
{
    size_t product;
    if (__builtin_mul_overflow(count, size, &product))
        return refuse(mem);
    return mem_alloc_at(mem, product, file, line);
}

char *mem_copy_text_at(struct mem *mem, const char *text, const char *file, int line)
{
    size_t size = strlen(text) + 1;
    char *copy = mem_alloc_at(mem, size, file, line);
    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}

void mem_free(struct mem *mem, void *block)
{
    if (block == NULL)
        return;
    struct head *head = (struct head *)block - 1;
    hf_assert(head->alive == HEAD_ALIVE);
    hf_assert(head->owner == mem);
    head->alive = 0;
    atomic_fetch_sub(&mem->bytes, head->size);
    atomic_fetch_add(&mem->frees, 1);
    free(head);
}

void mem_seal(struct mem *mem, enum mem_seal how)
{
    hf_assert(how != MEM_OPEN);
    atomic_store(&mem->seal, how);
}

void mem_unseal(struct mem *mem)
{
    atomic_store(&mem->seal, MEM_OPEN);
}

void mem_fail_nth(struct mem *mem, uint64_t nth)
{
    atomic_store(&mem->fail_in, nth);
}

struct mem_stats mem_stats(const struct mem *mem)
{
    return (struct mem_stats){
        .allocations = atomic_load(&mem->allocations),
        .frees = atomic_load(&mem->frees),
        .refused = atomic_load(&mem->refused),
        .after_seal = atomic_load(&mem->after_seal),
        .bytes = atomic_load(&mem->bytes),
        .bytes_peak = atomic_load(&mem->bytes_peak),
    };
}

enum hf_rc mem_refused(const struct mem *mem, size_t size, struct hf_err *err)
{
    struct mem_stats stats = mem_stats(mem);
    enum hf_rc rc = err_set(err, HF_RC_LIMIT, "53200", "could not allocate %zu bytes", size);
    if (err == NULL)
        return rc;
    if (mem->bytes_max == SIZE_MAX)
        return err_detail(err, "%zu bytes are in use; the machine gave no more", stats.bytes);
    return err_detail(err, "%zu of %zu bytes are in use", stats.bytes, mem->bytes_max);
}
