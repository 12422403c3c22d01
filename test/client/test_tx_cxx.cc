/*
 * A C++ program: the header compiles, and exceptions that leave a work roll back and go on.
 */
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <setjmp.h>
#include <stdexcept>

extern "C" {
#include <cmocka.h>

#include "pg_rig.h"
}

#include "holdfast.h"

namespace
{

struct rig servers;
int destroyed;

struct witness {
    ~witness()
    {
        ++destroyed;
    }
};

hf_db *open_db()
{
    char conninfo[160];
    std::snprintf(conninfo, sizeof conninfo,
                  "host=127.0.0.1 port=%d user=postgres dbname=postgres sslmode=disable",
                  servers.servers[0].port);
    rig_sql(&servers.servers[0], "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY)",
            nullptr, 0);
    hf_db *db = nullptr;
    hf_error err;
    assert_int_equal(hf_open(&db, conninfo, &err), HF_SUCCESS);
    return db;
}

void insert(struct hf_tx *tx, int id)
{
    hf_param param = hf_int(id);
    hf_params params = {&param, 1};
    hf_error err;
    if (hf_tx_exec(tx, "INSERT INTO t VALUES ($1)", &params, nullptr, nullptr, &err) != HF_SUCCESS)
        throw std::runtime_error(err.message);
}

int throwing_work(struct hf_tx *tx, void *, hf_error *)
{
    witness here;
    insert(tx, 1);
    throw std::runtime_error("thrown by the work");
}

int catching_work(struct hf_tx *tx, void *, hf_error *)
{
    insert(tx, 2);
    try {
        hf_tx_nested(tx, nullptr, throwing_work, nullptr, nullptr);
        fail();
    } catch (const std::runtime_error &) {
    }
    insert(tx, 3);
    return 0;
}

long idle_in_transaction()
{
    return rig_number(&servers.servers[0], "SELECT count(*) FROM pg_stat_activity WHERE state = "
                                           "'idle in transaction'");
}

void cxx__an_exception_rolls_back_and_goes_on(void **)
{
    hf_db *db = open_db();
    destroyed = 0;
    const char *caught = "";
    try {
        hf_tx(db, nullptr, throwing_work, nullptr, nullptr);
        fail();
    } catch (const std::runtime_error &error) {
        caught = "yes";
        assert_string_equal(error.what(), "thrown by the work");
    }
    assert_string_equal(caught, "yes");
    assert_int_equal(destroyed, 1);
    assert_int_equal(idle_in_transaction(), 0);
    assert_int_equal(rig_number(&servers.servers[0], "SELECT count(*) FROM t"), 0);
    hf_error err;
    assert_int_equal(hf_exec(db, "SELECT 1", nullptr, nullptr, nullptr, &err), HF_SUCCESS);
    hf_close(db);
}

void cxx__an_exception_out_of_a_nested_work_undoes_that_alone(void **)
{
    hf_db *db = open_db();
    hf_error err;
    assert_int_equal(hf_tx(db, nullptr, catching_work, nullptr, &err), HF_SUCCESS);
    assert_int_equal(rig_number(&servers.servers[0], "SELECT sum(id) FROM t"), 5);
    hf_close(db);
}

int begin_rig(void **)
{
    rig_begin(&servers, 0);
    return 0;
}

int end_rig(void **)
{
    rig_end(&servers);
    return 0;
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cxx__an_exception_rolls_back_and_goes_on),
        cmocka_unit_test(cxx__an_exception_out_of_a_nested_work_undoes_that_alone),
    };
    return cmocka_run_group_tests(tests, begin_rig, end_rig);
}
