#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "proxy/proxy_places.h"

#define DATABASE "databases: {app: {hosts: db1}}\n"

struct fixture {
    struct mem mem;
    struct proxy_config *config;
    struct config_faults faults;
};

static int begin(void **state)
{
    static struct fixture fixture;
    memset(&fixture, 0, sizeof fixture);
    mem_init(&fixture.mem, 0);
    *state = &fixture;
    return 0;
}

static int end(void **state)
{
    struct fixture *fixture = *state;
    proxy_config_free(fixture->config);
    mem_deinit(&fixture->mem);
    return 0;
}

static struct proxy_config *read_well(struct fixture *fixture, const char *text)
{
    char line[FAULTS_TEXT_MAX];
    struct proxy_config *config = NULL;
    if (config_read_text(&config, sv_from_cstr(text), NULL, &fixture->mem, &fixture->faults) !=
        HF_OK)
        fail_msg("%s", faults_text(&fixture->faults.list[0], "f", line));
    return config;
}

/* Behind those of listen and unix_socket_dir, in the order of their names. */
static void proxy_places__rules_are_found_by_name(void **state)
{
    struct fixture *fixture = *state;
    bool is_gone;
    fixture->config =
        read_well(fixture, DATABASE "proxy: {listen: 127.0.0.1, port: 7000, unix_socket_dir: /x}\n"
                                    "listeners:\n"
                                    "  zoo: {address: \"[::1]:7001\", pool_mode: session}\n"
                                    "  any: {address: \"*\", port: 7002, sslmode: disable}\n"
                                    "  way: {address: /run/way, port: 7003, auth_type: trust}\n");
    const struct proxy_settings *proxy = &fixture->config->proxy;
    static const struct {
        const char *host;
        uint16_t port;
        const char *place;
        bool is_unix;
    } expected[] = {
        {"127.0.0.1", 7000, "", false},  {"/x", 7000, "", true},      {"*", 7002, "any", false},
        {"/run/way", 7003, "way", true}, {"::1", 7001, "zoo", false},
    };
    assert_int_equal(proxy->listener_count, 5);
    for (uint32_t i = 0; i < 5; i++) {
        assert_string_equal(proxy->listeners[i].name, expected[i].host);
        assert_int_equal(proxy->listeners[i].port, expected[i].port);
        assert_int_equal(proxy->listeners[i].is_unix, expected[i].is_unix);
        assert_string_equal(proxy->places[i], expected[i].place);
        const struct proxy_listener *place = proxy_listener_of(fixture->config, i, &is_gone);
        assert_false(is_gone);
        assert_int_equal(place != NULL, expected[i].place[0] != '\0');
        if (place != NULL)
            assert_string_equal(place->name, expected[i].place);
    }
    assert_int_equal(proxy_listener_of(fixture->config, 4, &is_gone)->pool_mode,
                     PROXY_ROLE_SESSION);
    assert_int_equal(proxy_listener_of(fixture->config, 3, &is_gone)->auth, PROXY_AUTH_TRUST + 1);
}

/* Sockets stay as they are; who came by one that has no rules any more is told so. */
static void proxy_places__a_reload_keeps_the_places_and_takes_the_rules(void **state)
{
    struct fixture *fixture = *state;
    bool is_gone;
    struct proxy_config *before =
        read_well(fixture, DATABASE "listeners: {a: {port: 7001}, b: {port: 7002}}\n");
    fixture->config =
        read_well(fixture, DATABASE "listeners: {b: {port: 9999, users: app}, c: {port: 7003}}\n");
    proxy_config_keep(fixture->config, before);
    const struct proxy_settings *proxy = &fixture->config->proxy;
    assert_int_equal(proxy->listener_count, 3);
    assert_int_equal(proxy->listeners[1].port, 7001);
    assert_int_equal(proxy->listeners[2].port, 7002);
    assert_null(proxy_listener_of(fixture->config, 0, &is_gone));
    assert_false(is_gone);
    assert_null(proxy_listener_of(fixture->config, 1, &is_gone));
    assert_true(is_gone);
    assert_string_equal(proxy_listener_of(fixture->config, 2, &is_gone)->users, "app");
    assert_false(is_gone);
    proxy_config_free(before);
}

static void proxy_places__peers_are_found_by_number(void **state)
{
    struct fixture *fixture = *state;
    fixture->config =
        read_well(fixture, DATABASE "proxy: {instance_id: 1}\n"
                                    "peers: {b: {id: 1}, a: {id: 255, host: \"[::1]:9\"}}\n");
    assert_int_equal(proxy_peer_find(fixture->config, 1)->host.port, 6432);
    assert_string_equal(proxy_peer_find(fixture->config, 255)->host.name, "::1");
    assert_int_equal(proxy_peer_find(fixture->config, 255)->host.port, 9);
    assert_null(proxy_peer_find(fixture->config, 0));
    assert_null(proxy_peer_find(fixture->config, 2));
}

static void proxy_places__mistakes_have_their_place(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *text;
        const char *key;
        const char *words;
    } cases[] = {
        {"listeners: {a: {port: 6432}}", "listeners.a.address", "there is a listener on"},
        {"listeners: {a: {port: 1}, b: {port: 1}}", "listeners.b.address", "there is a listener"},
        {"listeners: {a: {address: \"[::1\"}}", "listeners.a.address", "has no ]"},
        {"listeners: {a: {address: \"*\", auth_type: trust}}", "listeners.a.auth_type",
         "trust would let in"},
        {"listeners: {a: {auth_type: cert}}", "listeners.a.auth_type", "cert needs clients"},
        {"listeners: {a: {sslmode: require}}", "listeners.a.sslmode", "TLS is disabled"},
        {"listeners: {a: {port: 0}}", "listeners.a.port", "0"},
        {"peers: {a: {id: 3}, b: {id: 3}}", "peers.b.id", "has this id as well"},
        {"peers: {a: {id: 256}}", "peers.a.id", "256"},
        {"peers: {a: {host: \"a b\"}}", "peers.a.host", "is no host"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        struct proxy_config *config = NULL;
        snprintf(text, sizeof text, DATABASE "%s\n", cases[i].text);
        assert_int_not_equal(
            config_read_text(&config, sv_from_cstr(text), NULL, &fixture->mem, &fixture->faults),
            HF_OK);
        const struct config_fault *fault = &fixture->faults.list[0];
        assert_string_equal(fault->key, cases[i].key);
        if (strstr(fault->err.message, cases[i].words) == NULL)
            fail_msg("%s: %s", cases[i].key, fault->err.message);
        assert_true(fault->place.line > 0);
    }
}

static void proxy_places__there_are_so_many(void **state)
{
    struct fixture *fixture = *state;
    char text[4096] = DATABASE "listeners:\n";
    struct proxy_config *config = NULL;
    for (int i = 0; i < PROXY_LISTENERS_MAX; i++) {
        char line[64];
        snprintf(line, sizeof line, "  l%02d: {port: %d}\n", i, 7000 + i);
        memcpy(text + strlen(text), line, strlen(line) + 1);
    }
    assert_int_not_equal(
        config_read_text(&config, sv_from_cstr(text), NULL, &fixture->mem, &fixture->faults),
        HF_OK); /* with the one of proxy.listen there is one too many */
    assert_non_null(strstr(fixture->faults.list[0].err.message, "places to listen"));
    const char *none = "proxy: {listen: \"\"}\n";
    memcpy(text + strlen(text), none, strlen(none) + 1);
    fixture->config = read_well(fixture, text);
    assert_int_equal(fixture->config->proxy.listener_count, PROXY_LISTENERS_MAX);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(proxy_places__rules_are_found_by_name),
        CASE(proxy_places__a_reload_keeps_the_places_and_takes_the_rules),
        CASE(proxy_places__peers_are_found_by_number),
        CASE(proxy_places__mistakes_have_their_place),
        CASE(proxy_places__there_are_so_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
