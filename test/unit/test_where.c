#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/where.h"

static struct where where;
static struct hf_err err;

static void parse(const char *conninfo)
{
    if (where_parse(&where, conninfo, &err) != HF_OK)
        fail_msg("%s: %s", conninfo, err.message);
}

static void where__takes_hosts_as_libpq_does(void **state)
{
    (void)state;
    static const struct {
        const char *conninfo;
        const char *names[3];
    } cases[] = {
        {"postgresql://app@db1,db2:6000,db3/shop", {"db1:5432", "db2:6000", "db3:5432"}},
        {"host=db1,db2 port=5433", {"db1:5433", "db2:5433"}},
        {"host=db1,db2 port=5433,5434", {"db1:5433", "db2:5434"}},
        {"host=a hostaddr=10.0.0.1", {"a:5432"}},
        {"hostaddr=10.0.0.1,10.0.0.2", {"10.0.0.1:5432", "10.0.0.2:5432"}},
        {"host=::1", {"[::1]:5432"}},
        {"host=db1,db1", {"db1:5432"}},
        {"host=/tmp port=6000", {"/tmp:6000"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t wanted = 0;
        parse(cases[i].conninfo);
        while (wanted < 3 && cases[i].names[wanted] != NULL) {
            assert_true(wanted < where.count);
            assert_string_equal(where.hosts[wanted].name, cases[i].names[wanted]);
            ++wanted;
        }
        assert_int_equal(where.count, wanted);
    }
    parse("host=a hostaddr=10.0.0.1");
    assert_string_equal(where.hosts[0].hostaddr, "10.0.0.1");
}

static void where__without_a_host_it_is_the_local_socket(void **state)
{
    (void)state;
    unsetenv("PGHOST");
    parse("dbname=shop");
    assert_int_equal(where.count, 1);
    assert_int_equal(where.hosts[0].host[0], '/');
    parse("");
    assert_int_equal(where.count, 1);
}

static void where__keeps_everything_else_and_quotes_it(void **state)
{
    (void)state;
    parse("host=db1 user=app dbname='my shop' password='it\\'s \\\\ secret' "
          "application_name=x connect_timeout=3 target_session_attrs=read-write");
    assert_non_null(strstr(where.conninfo, "user='app'"));
    assert_non_null(strstr(where.conninfo, "dbname='my shop'"));
    assert_non_null(strstr(where.conninfo, "password='it\\'s \\\\ secret'"));
    assert_non_null(strstr(where.conninfo, "application_name='x'"));
    assert_null(strstr(where.conninfo, "db1"));
    assert_null(strstr(where.conninfo, "connect_timeout"));
    assert_null(strstr(where.conninfo, "target_session_attrs"));
}

static void where__reads_environment_and_service_file(void **state)
{
    (void)state;
    char path[] = "/tmp/holdfast-service-XXXXXX";
    int fd = mkstemp(path);
    static const char text[] = "[shop]\nhost=s1,s2\nport=7000\nuser=clerk\n";
    assert_true(fd >= 0 && write(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1);
    close(fd);
    setenv("PGSERVICEFILE", path, 1);
    setenv("PGAPPNAME", "from the environment", 1);
    parse("service=shop dbname=x");
    unlink(path);
    unsetenv("PGSERVICEFILE");
    unsetenv("PGAPPNAME");
    assert_int_equal(where.count, 2);
    assert_string_equal(where.hosts[1].name, "s2:7000");
    assert_non_null(strstr(where.conninfo, "user='clerk'"));
    assert_non_null(strstr(where.conninfo, "application_name='from the environment'"));
    assert_null(strstr(where.conninfo, "service"));
}

static void where__refuses_what_libpq_refuses(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "shop",
        "host=db1 prot=5432",
        "postgresql://app@db1:port/shop",
        "host=a,b hostaddr=10.0.0.1",
        "host=a,b,c port=1,2",
        "host=a sslmode=perhaps",
        "host=a port=99999",
        "host='a",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (where_parse(&where, wrong[i], &err) == HF_OK)
            fail_msg("%s was taken", wrong[i]);
        assert_string_equal(err.sqlstate, "F0000");
        assert_non_null(strstr(err.message, "cannot read the connection string"));
    }
}

static void where__more_hosts_than_places_are_refused(void **state)
{
    (void)state;
    char text[2000] = "host=h0";
    for (int i = 1; i < 40; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), ",h%d", i);
    assert_int_equal(where_parse(&where, text, &err), HF_RC_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where__takes_hosts_as_libpq_does),
        cmocka_unit_test(where__without_a_host_it_is_the_local_socket),
        cmocka_unit_test(where__keeps_everything_else_and_quotes_it),
        cmocka_unit_test(where__reads_environment_and_service_file),
        cmocka_unit_test(where__refuses_what_libpq_refuses),
        cmocka_unit_test(where__more_hosts_than_places_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
