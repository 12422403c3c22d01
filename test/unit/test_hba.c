#include "unit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "proxy/hba.h"

static enum hf_rc read_rules(struct hba **hba, const char *text, struct mem *mem,
                             struct hf_err *err)
{
    *hba = NULL;
    return hba_new(hba, sv_from_cstr(text), mem, err);
}

/* "unix", or an IP address. */
static struct peer peer_of(const char *text)
{
    struct peer peer = {.family = AF_UNIX};
    if (strcmp(text, "unix") == 0)
        return peer;
    peer.family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
    assert_int_equal(inet_pton(peer.family, text, peer.ip), 1);
    return peer;
}

/* The line of the rule that decides, 0 for none. */
static uint32_t line_for(const struct hba *hba, const char *peer_text, bool is_tls,
                         const char *database, const char *user)
{
    const struct peer peer = peer_of(peer_text);
    const struct hba_request request = {
        .peer = &peer,
        .is_tls = is_tls,
        .is_replication = strcmp(database, "(replication)") == 0,
        .database = sv_from_cstr(database),
        .user = sv_from_cstr(user),
    };
    const struct hba_rule *rule = hba_match(hba, &request);
    return rule != NULL ? rule->line : 0;
}

/* ---- reading ---- */

/* What is said of a rule; NULL: nothing, it is taken. */
static const struct {
    const char *text;
    const char *message;
} wrong_cases[] = {
    {"", "there is no rule, so nobody could come in"},
    {"# only this\n\n", "there is no rule, so nobody could come in"},
    {"\n\nhos all all all trust", "line 3: \"hos\" is no type of a rule"},
    {"local all all trust\nhostgssenc all all all trust", "line 2: \"hostgssenc\" can fit nobody"},
    {"include other.conf", "line 1: \"include\" is not supported"},
    {"include_dir conf.d", "line 1: \"include_dir\" is not supported"},
    {"local", "line 1: there is no database"},
    {"local all", "line 1: there is no user"},
    {"local all all", "line 1: there is no method"},
    {"host all all", "line 1: there is no address"},
    {"host all all 192.0.2.0/24", "line 1: there is no method"},
    {"host all all 192.0.2.1", "line 1: there is no mask"},
    {"host all all 192.0.2.1,192.0.2.2 trust", "line 1: there is more than one address"},
    {"local,host all all trust", "line 1: there is more than one type"},
    {"local all all trust,md5", "line 1: there is more than one method"},
    {"local all all ident", "line 1: \"ident\" is no method that is supported"},
    {"host all all all peer", "line 1: \"peer\" asks the kernel who is at the other end"},
    {"local all all TRUST", "line 1: \"TRUST\" is no method that is supported"},
    {"local all all cert", "line 1: \"cert\" needs a connection with TLS"},
    {"host all all all cert", "line 1: \"cert\" needs a connection with TLS"},
    {"hostssl all all all cert map=x", NULL},
    {"hostssl all all all cert map=",
     "line 1: \"map=\" is an option, and this one is not supported"},
    {"hostssl all all all cert map=a,b", "line 1: there is more than one value of an option"},
    {"local all all md5 map=x", "line 1: \"map=x\" needs a name to be mapped"},
    {"hostssl all all all md5 clientcert=verify-ca map=x",
     "line 1: \"map=x\" needs a name to be mapped"},
    {"hostssl all all all md5 clientcert=verify-full map=x clientname=DN", NULL},
    {"host all all all md5 clientcert=verify-ca",
     "line 1: \"clientcert\" needs a connection with TLS"},
    {"hostssl all all all md5 clientcert=1", "line 1: \"1\" is no value of clientcert"},
    {"hostssl all all all cert clientcert=verify-ca",
     "line 1: \"verify-ca\" is less than the method demands"},
    {"hostssl all all all cert clientname=SAN",
     "line 1: \"clientname=SAN\" is no name of a certificate"},
    {"local all all peer clientname=CN", "line 1: \"clientname=CN\" is no name of a certificate"},
    {"local all +group md5",
     "line 1: \"+group\" is a group, and the proxy does not know who is in it"},
    {"local all bob,@file md5",
     "line 1: \"@file\" is a file of names, and those are not supported"},
    {"local @file all md5", "line 1: \"@file\" is a file of names, and those are not supported"},
    {"local /^db all md5", "line 1: \"/^db\" is a regular expression, and those are not supported"},
    {"local \"/^db\" all md5",
     "line 1: \"/^db\" is a regular expression, and those are not supported"},
    {"local samerole all md5",
     "line 1: \"samerole\" needs groups, and the proxy does not know who is in them"},
    {"local all,,x all md5", "line 1: \"\" is no name"},
    {"local \"\" all md5", "line 1: \"\" is no name"},
    {"local \"all all md5", "line 1: a quote is not closed"},
    {"local all all md5,", "line 1: a list ends with a comma"},
    {"local all \\\n all \\\n pam\n", "line 1: \"pam\" is no method that is supported"},
    {"# a comment \\\n goes on\nlocal all all pam",
     "line 3: \"pam\" is no method that is supported"},
    {"local all all trust a b c d e f g h i, j, k",
     "line 1: \"a\" is an option, and this one is not supported"},
    {"local all all trust a b c d e f g h i j k l m", "line 1: the line has more than 16 fields"},
};

static void hba__what_is_wrong_is_said_with_its_line(void **state)
{
    (void)state;
    struct mem mem;
    struct hba *hba = NULL;
    struct hf_err err;
    mem_init(&mem, 0);
    for (size_t i = 0; i < sizeof wrong_cases / sizeof wrong_cases[0]; i++) {
        const bool is_taken = read_rules(&hba, wrong_cases[i].text, &mem, &err) == HF_OK;
        if (is_taken != (wrong_cases[i].message == NULL))
            fail_msg("%s: %s", is_taken ? "taken" : "refused", wrong_cases[i].text);
        if (is_taken) {
            hba_free(hba);
            hba = NULL;
            continue;
        }
        assert_string_equal(err.message, wrong_cases[i].message);
        assert_null(hba);
    }
    mem_deinit(&mem);
}

static void hba__addresses_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const addresses[] = {
        "db.example.com", ".example.com",   "192.0.2.0/33", "192.0.2.300/24",
        "::1/129",        "192.0.2.0/24/8", "All"};
    struct mem mem;
    struct hba *hba = NULL;
    struct hf_err err;
    char text[128];
    mem_init(&mem, 0);
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        snprintf(text, sizeof text, "host all all %s trust", addresses[i]);
        if (read_rules(&hba, text, &mem, &err) == HF_OK)
            fail_msg("taken: %s", text);
        assert_non_null(strstr(err.message, "line 1: "));
        assert_string_not_equal(err.hint, "");
    }
    mem_deinit(&mem);
}

static void hba__a_zero_byte_is_refused(void **state)
{
    (void)state;
    struct mem mem;
    struct hba *hba = NULL;
    struct hf_err err;
    mem_init(&mem, 0);
    assert_int_equal(hba_new(&hba, SV("local all all trust\nlocal a\0b all md5"), &mem, &err),
                     HF_RC_INVALID);
    assert_string_equal(err.message, "line 2: there is a zero byte");
    mem_deinit(&mem);
}

static void hba__rules_are_bounded(void **state)
{
    (void)state;
    static const char rule[] = "local all all md5\n";
    static char text[(HBA_RULES_MAX + 1) * (sizeof rule - 1) + 1];
    struct mem mem;
    struct hba *hba = NULL;
    struct hf_err err;
    for (size_t i = 0; i <= HBA_RULES_MAX; i++)
        memcpy(text + i * (sizeof rule - 1), rule, sizeof rule);
    mem_init(&mem, 0);
    assert_int_equal(read_rules(&hba, text, &mem, &err), HF_RC_LIMIT);
    assert_string_equal(err.message, "line 10001: there are more than 10000 rules");
    text[sizeof text - sizeof rule] = '\0';
    assert_int_equal(read_rules(&hba, text, &mem, &err), HF_OK);
    assert_int_equal(hba_count(hba), HBA_RULES_MAX);
    hba_free(hba);
    assert_int_equal(hba_new(&hba, sv_from(text, HBA_TEXT_MAX + 1), &mem, &err), HF_RC_LIMIT);
    mem_deinit(&mem);
}

static void hba__every_allocation_may_fail(void **state)
{
    (void)state;
    struct mem mem;
    struct hba *hba = NULL;
    mem_init(&mem, 0);
    for (uint64_t nth = 1; nth <= 4; nth++) {
        mem_fail_nth(&mem, nth);
        assert_int_not_equal(read_rules(&hba, "local all all md5", &mem, NULL), HF_OK);
    }
    mem_fail_nth(&mem, 5);
    assert_int_equal(read_rules(&hba, "local all all md5", &mem, NULL), HF_OK);
    hba_free(hba);
    hba_free(NULL);
    mem_deinit(&mem);
}

/* ---- matching ---- */

static const char many_rules[] =
    "# TYPE  DATABASE  USER  ADDRESS  METHOD\n"                   /* 1 */
    "local   all       postgres                 reject\n"         /* 2 */
    "local   all       all                      trust # why\n"    /* 3 */
    "hostssl app       bob, eve  192.0.2.0/24   cert\r\n"         /* 4 */
    "hostnossl app     bob   192.0.2.0/24       md5\n"            /* 5 */
    "host    \"all\"   \"all\"   all            password\n"       /* 6 */
    "host    sameuser  all   198.51.100.7  255.255.255.255 md5\n" /* 7 */
    "host    \"sameuser\" all 0.0.0.0/0         trust\n"          /* 8 */
    "host    replication repl ::1/128 scram-sha-256\n"            /* 9 */
    "host    \"replication\" all ::1/128 md5\n"                   /* 10 */
    "host    one,\\\n"                                            /* 11 */
    "        two       all   203.0.113.0/24     md5\n"            /* 12 */
    "host \"a \"\"quoted\"\" name\",x#y all all md5\n"            /* 13 */
    "hostnogssenc last all   all                reject\n"         /* 14 */
    "hostnossl open  all   all                md5\n"              /* 15 */
    "hostssl shut    all   all                md5";               /* 16 */

static void hba__the_first_rule_that_fits_decides(void **state)
{
    (void)state;
    static const struct {
        const char *peer;
        bool is_tls;
        const char *database, *user;
        uint32_t line;
    } cases[] = {
        {"unix", false, "app", "postgres", 2},
        {"unix", false, "app", "bob", 3},
        {"unix", false, "(replication)", "bob", 0},
        {"192.0.2.9", true, "app", "eve", 4},
        {"192.0.2.9", true, "app", "bob", 4},
        {"192.0.3.9", true, "app", "bob", 0},
        {"192.0.2.9", false, "app", "bob", 5},
        {"192.0.2.9", false, "app", "eve", 0},
        {"192.0.2.9", false, "APP", "bob", 0},
        {"192.0.2.9", true, "all", "all", 6},
        {"::5", true, "all", "all", 6},
        {"192.0.2.9", true, "all", "bob", 0},
        {"198.51.100.7", true, "bob", "bob", 7},
        {"198.51.100.8", true, "bob", "bob", 0},
        {"198.51.100.7", true, "bob", "eve", 0},
        {"198.51.100.9", true, "sameuser", "bob", 8},
        {"::1", false, "(replication)", "repl", 9},
        {"::1", false, "(replication)", "bob", 0},
        {"::1", false, "replication", "repl", 10},
        {"203.0.113.1", false, "two", "bob", 11},
        {"203.0.113.1", false, "one", "bob", 11},
        {"203.0.113.1", false, "three", "bob", 0},
        {"203.0.113.1", false, "a \"quoted\" name", "bob", 0},
        {"203.0.113.1", false, "last", "bob", 14},
        {"203.0.113.1", true, "last", "bob", 14},
        {"203.0.113.1", false, "open", "bob", 15},
        {"203.0.113.1", true, "open", "bob", 0},
        {"203.0.113.1", false, "shut", "bob", 0},
        {"203.0.113.1", true, "shut", "bob", 16},
    };
    struct mem mem;
    struct hba *hba = NULL;
    struct hf_err err;
    mem_init(&mem, 0);
    /* Line 13: a comment begins inside a word, so the rule ends there. */
    assert_int_equal(read_rules(&hba, many_rules, &mem, &err), HF_RC_INVALID);
    assert_string_equal(err.message, "line 13: there is no user");
    char fixed[sizeof many_rules];
    memcpy(fixed, many_rules, sizeof many_rules);
    memcpy(strstr(fixed, ",x#y"), "    ", 4);
    assert_int_equal(read_rules(&hba, fixed, &mem, &err), HF_OK);
    assert_int_equal(hba_count(hba), 14);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint32_t line =
            line_for(hba, cases[i].peer, cases[i].is_tls, cases[i].database, cases[i].user);
        const uint32_t expected = strchr(cases[i].database, '"') != NULL ? 13 : cases[i].line;
        if (line != expected)
            fail_msg("case %zu: line %u, not %u", i, (unsigned)line, (unsigned)expected);
    }
    hba_free(hba);
    mem_deinit(&mem);
}

static void hba__every_method_has_its_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum proxy_auth method;
    } cases[] = {
        {"trust", PROXY_AUTH_TRUST},         {"reject", PROXY_AUTH_REJECT},
        {"password", PROXY_AUTH_PASSWORD},   {"md5", PROXY_AUTH_MD5},
        {"scram-sha-256", PROXY_AUTH_SCRAM}, {"cert", PROXY_AUTH_CERT},
    };
    struct mem mem;
    struct hba *hba = NULL;
    struct hf_err err;
    char text[128];
    const struct peer peer = peer_of("192.0.2.1");
    const struct hba_request request = {
        .peer = &peer, .is_tls = true, .database = SV("d"), .user = SV("u")};
    mem_init(&mem, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(text, sizeof text, "hostssl d u 192.0.2.1/32 %s", cases[i].name);
        assert_int_equal(read_rules(&hba, text, &mem, &err), HF_OK);
        assert_int_equal(hba_match(hba, &request)->method, cases[i].method);
        hba_free(hba);
    }
    mem_deinit(&mem);
}

static void hba__options_say_what_a_certificate_must_be(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        enum proxy_auth method;
        enum hba_clientcert clientcert;
        bool is_by_subject;
        const char *map;
    } cases[] = {
        {"hostssl d u all cert", PROXY_AUTH_CERT, HBA_CLIENTCERT_NO, false, ""},
        {"hostssl d u all cert map=staff", PROXY_AUTH_CERT, HBA_CLIENTCERT_NO, false, "staff"},
        {"hostssl d u all cert map=\"my staff\"", PROXY_AUTH_CERT, HBA_CLIENTCERT_NO, false,
         "my staff"},
        {"hostssl d u all cert clientname=DN", PROXY_AUTH_CERT, HBA_CLIENTCERT_NO, true, ""},
        {"hostssl d u all cert clientcert=verify-full", PROXY_AUTH_CERT, HBA_CLIENTCERT_FULL, false,
         ""},
        {"hostssl d u all md5 clientcert=verify-ca", PROXY_AUTH_MD5, HBA_CLIENTCERT_CA, false, ""},
        {"hostssl d u all trust clientname=CN clientcert=verify-full map=m", PROXY_AUTH_TRUST,
         HBA_CLIENTCERT_FULL, false, "m"},
        {"local d u peer map=os", PROXY_AUTH_PEER, HBA_CLIENTCERT_NO, false, "os"},
    };
    struct mem mem;
    struct hba *hba = NULL;
    struct hf_err err;
    mem_init(&mem, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(read_rules(&hba, cases[i].rule, &mem, &err), HF_OK);
        const struct hba_rule *rule = hba_at(hba, 0);
        assert_int_equal(rule->method, cases[i].method);
        assert_int_equal(rule->clientcert, cases[i].clientcert);
        assert_int_equal(rule->is_by_subject, cases[i].is_by_subject);
        assert_true(sv_eq(rule->map, sv_from_cstr(cases[i].map)));
        hba_free(hba);
    }
    mem_deinit(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hba__what_is_wrong_is_said_with_its_line),
        cmocka_unit_test(hba__addresses_that_are_none_are_refused),
        cmocka_unit_test(hba__a_zero_byte_is_refused),
        cmocka_unit_test(hba__rules_are_bounded),
        cmocka_unit_test(hba__every_allocation_may_fail),
        cmocka_unit_test(hba__the_first_rule_that_fits_decides),
        cmocka_unit_test(hba__every_method_has_its_name),
        cmocka_unit_test(hba__options_say_what_a_certificate_must_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
