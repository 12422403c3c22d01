#include "unit.h"

#include <pthread.h>

#include "base/ns.h"
#include "client/client_pool.h"
#include "client/threads.h"
#include "os/mem.h"

enum {
    CONNS = 12,
    GENERATION = 1
};

/* Connections that were never opened: the pool does not mind while it need not look at them. */
struct rig {
    struct mem mem;
    struct pool pool;
    struct pconn *conns[CONNS];
};

static void rig_open(struct rig *rig)
{
    static const struct client_pool_config config = {
        .size_max = CONNS,
        .idle_max = CONNS,
        .lifetime_ns = HF_NEVER,
        .idle_ns = HF_NEVER,
        .check_after_ns = HF_NEVER,
    };
    mem_init(&rig->mem, 0);
    pool_init(&rig->pool, &config, &rig->mem, 1);
    for (int i = 0; i < CONNS; i++)
        rig->conns[i] = pool_make(&rig->pool, GENERATION, HF_SEC(1));
}

static void rig_close(struct rig *rig)
{
    pool_deinit(&rig->pool);
    mem_deinit(&rig->mem);
}

/* As if the thread of that number had given it back. */
static void give_as(struct rig *rig, int which, uint32_t thread)
{
    pool_give(&rig->pool, rig->conns[which], HF_SEC(1));
    rig->conns[which]->thread = thread;
}

static struct pconn *take(struct rig *rig)
{
    return pool_take(&rig->pool, GENERATION, HF_SEC(1));
}

static void client_pool__a_thread_gets_the_connection_that_it_had(void **state)
{
    (void)state;
    struct rig rig;
    const uint32_t me = threads_number();
    rig_open(&rig);
    for (int i = 0; i < CONNS; i++)
        give_as(&rig, i, i == CONNS - 4 ? me : me + 1);
    struct pconn *mine = take(&rig);
    assert_ptr_equal(mine, rig.conns[CONNS - 4]);
    pool_give(&rig.pool, mine, HF_SEC(1));
    assert_ptr_equal(take(&rig), mine);
    pool_give(&rig.pool, mine, HF_SEC(1));
    rig_close(&rig);
}

static void client_pool__else_the_one_that_was_used_last_whoever_had_it(void **state)
{
    (void)state;
    struct rig rig;
    const uint32_t me = threads_number();
    rig_open(&rig);
    /* Its own lies so deep down that it is left to grow old. */
    for (int i = 0; i < CONNS; i++)
        give_as(&rig, i, i == 0 ? me : me + 1);
    struct pconn *conn = take(&rig);
    assert_ptr_equal(conn, rig.conns[CONNS - 1]);
    assert_ptr_equal(take(&rig), rig.conns[CONNS - 2]);
    pool_give(&rig.pool, rig.conns[CONNS - 2], HF_SEC(1));
    pool_give(&rig.pool, conn, HF_SEC(1));
    rig_close(&rig);
}

static void *tell_number(void *out)
{
    *(uint32_t *)out = threads_number();
    return NULL;
}

static void client_pool__threads_are_told_apart_by_their_numbers(void **state)
{
    (void)state;
    pthread_t other;
    uint32_t its_number = 0;
    const uint32_t mine = threads_number();
    assert_int_equal(pthread_create(&other, NULL, tell_number, &its_number), 0);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_true(mine != 0 && its_number != 0);
    assert_int_not_equal(its_number, mine);
    assert_int_equal(threads_number(), mine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_pool__a_thread_gets_the_connection_that_it_had),
        cmocka_unit_test(client_pool__else_the_one_that_was_used_last_whoever_had_it),
        cmocka_unit_test(client_pool__threads_are_told_apart_by_their_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
