#include "unit.h"

#include "os/mem.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs `body` in a child with its stderr in `out`; returns the signal that ended it, or 0. */
static int run_to_its_end(void (*body)(void), char *out, size_t size)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL); /* cmocka catches it to fail the test */
        dup2(ends[1], STDERR_FILENO);
        body();
        _exit(0);
    }
    close(ends[1]);
    size_t used = 0;
    ssize_t got;
    while (used < size - 1 && (got = read(ends[0], out + used, size - 1 - used)) > 0)
        used += (size_t)got;
    out[used] = '\0';
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void mem__blocks_are_zero_and_aligned_and_counted(void **state)
{
    (void)state;
    struct mem mem;
    mem_init(&mem, 0);
    for (size_t size = 0; size < 200; size += 13) {
        unsigned char *block = mem_alloc(&mem, size);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(block[i], 0);
        memset(block, 0xff, size); /* so that the next one of this size starts dirty */
        assert_int_equal(mem_stats(&mem).bytes, size);
        mem_free(&mem, block);
    }
    struct mem_stats stats = mem_stats(&mem);
    assert_int_equal(stats.allocations, 16);
    assert_int_equal(stats.frees, 16);
    assert_int_equal(stats.bytes, 0);
    assert_int_equal(stats.bytes_peak, 195);
    mem_free(&mem, NULL);
    assert_int_equal(mem_stats(&mem).frees, 16);
    mem_deinit(&mem);
}

static void mem__the_limit_refuses_and_says_so(void **state)
{
    (void)state;
    struct mem mem;
    struct hf_err err;
    mem_init(&mem, 100);
    void *first = mem_alloc(&mem, 60);
    assert_non_null(first);
    assert_null(mem_alloc(&mem, 41));
    void *second = mem_alloc(&mem, 40);
    assert_non_null(second);
    assert_null(mem_alloc(&mem, 1));
    assert_int_equal(mem_stats(&mem).refused, 2);
    assert_int_equal(mem_refused(&mem, 1, &err), HF_RC_LIMIT);
    assert_string_equal(err.message, "could not allocate 1 bytes");
    assert_string_equal(err.detail, "100 of 100 bytes are in use");
    assert_string_equal(err.sqlstate, "53200");
    mem_free(&mem, first);
    mem_free(&mem, second);
    assert_int_equal(mem_stats(&mem).bytes_peak, 100);
    mem_deinit(&mem);
}

static void mem__sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    struct mem mem;
    mem_init(&mem, 0);
    assert_null(mem_alloc(&mem, SIZE_MAX));
    assert_null(mem_alloc(&mem, PTRDIFF_MAX));
    assert_null(mem_alloc_array(&mem, SIZE_MAX / 2, 3));
    assert_int_equal(mem_stats(&mem).refused, 3);
    assert_int_equal(mem_stats(&mem).bytes, 0);
    unsigned char *array = mem_alloc_array(&mem, 3, 5);
    assert_non_null(array);
    array[14] = 1;
    mem_free(&mem, array);
    mem_deinit(&mem);
}

/* The machine's own refusal: the linker sends mem.c's calloc here. */
static bool machine_has_no_memory;
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return machine_has_no_memory ? NULL : __real_calloc(count, size);
}

static void mem__a_machine_without_memory_is_a_refusal(void **state)
{
    (void)state;
    struct mem mem;
    struct hf_err err;
    mem_init(&mem, 0);
    machine_has_no_memory = true;
    char *copy = mem_copy_text(&mem, "x");
    machine_has_no_memory = false;
    assert_null(copy);
    assert_int_equal(mem_stats(&mem).bytes, 0);
    assert_int_equal(mem_stats(&mem).refused, 1);
    assert_int_equal(mem_refused(&mem, 2, &err), HF_RC_LIMIT);
    assert_string_equal(err.detail, "0 bytes are in use; the machine gave no more");
    assert_int_equal(mem_refused(&mem, 2, NULL), HF_RC_LIMIT);
    mem_deinit(&mem);
}

static void mem__the_nth_allocation_fails_once(void **state)
{
    (void)state;
    struct mem mem;
    mem_init(&mem, 0);
    mem_fail_nth(&mem, 2);
    char *first = mem_copy_text(&mem, "one");
    assert_string_equal(first, "one");
    assert_null(mem_copy_text(&mem, "two"));
    char *third = mem_copy_text(&mem, "three");
    assert_string_equal(third, "three");
    mem_fail_nth(&mem, 1);
    mem_fail_nth(&mem, 0);
    char *fourth = mem_copy_text(&mem, "");
    assert_string_equal(fourth, "");
    mem_free(&mem, first);
    mem_free(&mem, third);
    mem_free(&mem, fourth);
    mem_deinit(&mem);
}

static void mem__a_counting_seal_counts(void **state)
{
    (void)state;
    struct mem mem;
    mem_init(&mem, 0);
    mem_seal(&mem, MEM_SEAL_COUNT);
    void *block = mem_alloc(&mem, 8);
    assert_non_null(block);
    assert_int_equal(mem_stats(&mem).after_seal, 1);
    mem_unseal(&mem);
    mem_free(&mem, mem_alloc(&mem, 8));
    assert_int_equal(mem_stats(&mem).after_seal, 1);
    mem_free(&mem, block);
    mem_deinit(&mem);
}

static void allocate_after_an_aborting_seal(void)
{
    struct mem mem;
    mem_init(&mem, 0);
    mem_seal(&mem, MEM_SEAL_ABORT);
    mem_free(&mem, mem_alloc(&mem, 24));
}

static void free_a_block_twice(void)
{
    struct mem mem;
    mem_init(&mem, 0);
    /* The head is faked, so that no freed memory is touched: the sanitizer would speak first. */
    uint64_t fake[8] = {(uint64_t)(uintptr_t)&mem, 8, 0, 0};
    mem_free(&mem, &fake[4]);
}

static void free_what_belongs_to_another(void)
{
    struct mem one;
    struct mem other;
    mem_init(&one, 0);
    mem_init(&other, 0);
    mem_free(&other, mem_alloc(&one, 8));
}

static void lose_a_block(void)
{
    struct mem mem;
    mem_init(&mem, 0);
    void *volatile lost = mem_alloc(&mem, 8);
    (void)lost;
    mem_deinit(&mem);
}

static void mem__bugs_abort_and_say_where(void **state)
{
    (void)state;
    const struct {
        void (*body)(void);
        const char *says;
    } cases[] = {
        {allocate_after_an_aborting_seal, "24 bytes allocated after the seal"},
        {free_a_block_twice, "alive"},
        {free_what_belongs_to_another, "owner"},
        {lose_a_block, "1 blocks, 8 bytes were not freed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char said[4096];
        assert_int_equal(run_to_its_end(cases[i].body, said, sizeof said), SIGABRT);
        if (strstr(said, cases[i].says) == NULL)
            fail_msg("case %zu says: %s", i, said);
        if (i == 0)
            assert_non_null(strstr(said, "test_mem.c:"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mem__blocks_are_zero_and_aligned_and_counted),
        cmocka_unit_test(mem__the_limit_refuses_and_says_so),
        cmocka_unit_test(mem__sizes_that_overflow_are_refused),
        cmocka_unit_test(mem__a_machine_without_memory_is_a_refusal),
        cmocka_unit_test(mem__the_nth_allocation_fails_once),
        cmocka_unit_test(mem__a_counting_seal_counts),
        cmocka_unit_test(mem__bugs_abort_and_say_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
