#include "unit.h"

#include "core/publish_mt.h"

#include <pthread.h>
#include <stdlib.h>

#define WORDS   400
#define READERS 3
#define ROUNDS  20000

struct block {
    uint64_t words[WORDS];
};

static struct publish *make(void)
{
    void *memory = NULL;
    assert_int_equal(posix_memalign(&memory, PUBLISH_ALIGN, publish_size(sizeof(struct block))), 0);
    return publish_init(memory, sizeof(struct block));
}

static void put(struct publish *p, uint64_t number)
{
    struct block block;
    for (size_t i = 0; i < WORDS; i++)
        block.words[i] = number;
    publish_put(p, &block);
}

static void publish_mt__nothing_is_seen_before_the_first_and_each_only_once(void **state)
{
    (void)state;
    struct publish *p = make();
    struct block block = {{7}};
    uint64_t seen = 0;
    assert_false(publish_get(p, &seen, &block));
    assert_int_equal(block.words[0], 7);
    put(p, 42);
    assert_true(publish_get(p, &seen, &block));
    assert_int_equal(block.words[WORDS - 1], 42);
    assert_false(publish_get(p, &seen, &block));
    put(p, 43);
    put(p, 44);
    assert_true(publish_get(p, &seen, &block)); /* who is late gets the newest */
    assert_int_equal(block.words[0], 44);
    assert_int_equal(publish_version(p), 3);
    free(p);
}

struct reader {
    pthread_t thread;
    const struct publish *p;
    uint64_t got;
    bool is_torn, is_backwards;
};

static void *read_all(void *argument)
{
    struct reader *reader = argument;
    static _Thread_local struct block block;
    uint64_t seen = 0, last = 0;
    while (last < ROUNDS) {
        if (!publish_get(reader->p, &seen, &block))
            continue;
        for (size_t i = 1; i < WORDS; i++)
            reader->is_torn = reader->is_torn || block.words[i] != block.words[0];
        reader->is_backwards = reader->is_backwards || block.words[0] <= last;
        last = block.words[0];
        ++reader->got;
    }
    return NULL;
}

static void publish_mt__readers_in_a_storm_see_whole_blocks_in_order(void **state)
{
    (void)state;
    struct publish *p = make();
    struct reader readers[READERS];
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.p = p};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_all, &readers[i]), 0);
    }
    for (uint64_t number = 1; number <= ROUNDS; number++)
        put(p, number);
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        assert_false(readers[i].is_torn);
        assert_false(readers[i].is_backwards);
        assert_true(readers[i].got > 0);
    }
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publish_mt__nothing_is_seen_before_the_first_and_each_only_once),
        cmocka_unit_test(publish_mt__readers_in_a_storm_see_whole_blocks_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
