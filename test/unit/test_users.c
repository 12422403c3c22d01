#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "proxy/users.h"

/* A verifier as PostgreSQL makes it, of the password "secret". */
static void make(struct user_pass *pass, const char *password, const char *salt)
{
    struct scram_stretch stretch;
    scram_stretch_begin(&stretch, sv_from_cstr(password), sv_from_cstr(salt), 4096);
    while (!scram_stretch_run(&stretch, SCRAM_SLICE))
        ;
    scram_stretch_end(&stretch, &pass->keys);
    scram_verifier_init(&pass->verifier, &pass->keys, sv_from_cstr(salt), 4096);
}

/* Of the password "pencil" and the salt of RFC 7677's example. */
#define PENCIL                                                                                     \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"                                                 \
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

struct fixture {
    struct mem mem;
    struct proxy_config *config;
    struct users *users;
    struct hf_err err;
};

static int setup(void **state)
{
    static struct fixture fixture;
    memset(&fixture, 0, sizeof fixture);
    mem_init(&fixture.mem, 0);
    fixture.config = proxy_config_new(&fixture.mem, 0, 4);
    assert_non_null(fixture.config);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    users_free(fixture->users);
    proxy_config_free(fixture->config);
    mem_deinit(&fixture->mem);
    return 0;
}

static enum hf_rc read_users(struct fixture *fixture, const char *text)
{
    users_free(fixture->users);
    fixture->users = NULL;
    return users_new(&fixture->users, sv_from_cstr(text), fixture->config, 1, &fixture->mem,
                     &fixture->err);
}

static struct user *user_of(struct fixture *fixture, const char *text, const char *name)
{
    assert_int_equal(read_users(fixture, text), HF_OK);
    struct user *user = users_find(fixture->users, sv_from_cstr(name));
    assert_non_null(user);
    return user;
}

static void add_role(struct fixture *fixture, const char *name, const char *password)
{
    struct proxy_role *role = NULL;
    assert_int_equal(
        proxy_config_add_role(fixture->config, sv_from_cstr(name), &role, &fixture->err), HF_OK);
    assert_int_equal(secret_set(&role->password, sv_from_cstr(password), &fixture->err), HF_OK);
}

/* ---- reading ---- */

static void users__lines_are_read_as_pgbouncer_writes_them(void **state)
{
    struct fixture *fixture = *state;
    static const char text[] = "; a comment\n"
                               "\n"
                               "# another one\n"
                               "\"bob\" \"his password\"\r\n"
                               "  \"o \"\"hara\"\"\"\t\"a \"\"quote\"\"; #\" ignored \"words\"\n"
                               "\"nobody\" \"\"\n"
                               "\"\xc3\xa9ve\" \"md5d41d8cd98f00b204e9800998ecf8427e\"\n"
                               "\"ann\" \"" PENCIL "\"";
    static const struct {
        const char *name, *secret;
        bool has_verifier;
    } cases[] = {
        {"bob", "his password", false},
        {"o \"hara\"", "a \"quote\"; #", false},
        {"nobody", "", false},
        {"\xc3\xa9ve", "md5d41d8cd98f00b204e9800998ecf8427e", false},
        {"ann", PENCIL, true},
    };
    assert_int_equal(read_users(fixture, text), HF_OK);
    assert_int_equal(users_count(fixture->users), 5);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct user *user = users_find(fixture->users, sv_from_cstr(cases[i].name));
        assert_non_null(user);
        assert_true(sv_eq(user_secret(user), sv_from_cstr(cases[i].secret)));
        assert_int_equal(user_verifier(user) != NULL, cases[i].has_verifier);
    }
    assert_null(users_find(fixture->users, SV("Bob")));
    assert_null(users_find(fixture->users, SV("")));
}

static void users__what_is_wrong_is_said_with_its_line_and_no_secret(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"\"a\" \"b\"\nbob pass1", "line 2: this is not a name and a secret"},
        {"\"bob\"", "line 1: this is not a name and a secret"},
        {"\"bob\" pass1", "line 1: this is not a name and a secret"},
        {"\"bob\" \"pass1", "line 1: this is not a name and a secret"},
        {"\"bob\" \"pass1\"\"", "line 1: this is not a name and a secret"},
        {"\"\" \"pass1\"", "line 1: a name has 1 to 63 bytes, this one has 0"},
        {"\"0123456789012345678901234567890123456789012345678901234567890123\" \"pass1\"",
         "line 1: a name has 1 to 63 bytes, this one has 64"},
        {"\"a\" \"b\"\n\n\"a\" \"pass1\"", "line 3: user \"a\" comes twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_not_equal(read_users(fixture, cases[i].text), HF_OK);
        assert_string_equal(fixture->err.message, cases[i].message);
        assert_null(strstr(fixture->err.hint, "pass1"));
    }
    assert_int_not_equal(read_users(fixture, "\"a\" \"SCRAM-SHA-256$4096:pass1$x:y\""), HF_OK);
    assert_non_null(strstr(fixture->err.message, "line 1: the secret of \"a\": "));
    assert_null(strstr(fixture->err.message, "pass1"));
}

static void users__long_lines_and_secrets_are_refused(void **state)
{
    struct fixture *fixture = *state;
    char text[4096];
    snprintf(text, sizeof text, "\"a\" \"%0256d\"", 0);
    assert_int_not_equal(read_users(fixture, text), HF_OK);
    snprintf(text, sizeof text, "\"a\" \"%0255d\"", 0);
    assert_int_equal(read_users(fixture, text), HF_OK);
    snprintf(text, sizeof text, "\"a\" \"%03000d\"", 0);
    assert_int_equal(read_users(fixture, text), HF_RC_LIMIT);
    memset(text, '"', sizeof text);
    text[1276] = '\0';
    assert_int_equal(read_users(fixture, text), HF_RC_INVALID);
}

static void users__a_zero_byte_in_a_name_or_secret_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct users *users = NULL;
    assert_int_not_equal(
        users_new(&users, SV("\"a\0\" \"b\""), fixture->config, 1, &fixture->mem, &fixture->err),
        HF_OK);
    assert_int_not_equal(
        users_new(&users, SV("\"a\" \"b\0\""), fixture->config, 1, &fixture->mem, &fixture->err),
        HF_OK);
    assert_null(users);
}

static void users__roles_with_a_password_are_users_too(void **state)
{
    struct fixture *fixture = *state;
    struct proxy_role *role = NULL;
    add_role(fixture, "eve", "hers");
    assert_int_equal(proxy_config_add_role(fixture->config, SV("bob"), &role, &fixture->err),
                     HF_OK);
    const struct user *eve = user_of(fixture, "\"bob\" \"his\"", "eve");
    assert_true(sv_eq(user_secret(eve), SV("hers")));
    assert_int_equal(users_count(fixture->users), 2);
    assert_int_equal(read_users(fixture, "\"eve\" \"other\""), HF_RC_INVALID);
    assert_string_equal(fixture->err.message,
                        "user \"eve\" is in auth_file, and has a password in roles");
}

static void users__many_are_found(void **state)
{
    struct fixture *fixture = *state;
    static char text[100000];
    size_t used = 0;
    char name[16];
    for (int i = 0; i < 3000; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "\"user%d\" \"s%d\"\n", i, i);
    assert_int_equal(read_users(fixture, text), HF_OK);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "user%d", i);
        const struct user *user = users_find(fixture->users, sv_from_cstr(name));
        assert_non_null(user);
        assert_true(sv_eq(sv_drop(user_secret(user), 1), sv_drop(sv_from_cstr(name), 4)));
    }
    assert_null(users_find(fixture->users, SV("user3000")));
}

static void users__every_allocation_may_fail(void **state)
{
    struct fixture *fixture = *state;
    for (uint64_t nth = 1; nth <= 3; nth++) {
        mem_fail_nth(&fixture->mem, nth);
        assert_int_not_equal(read_users(fixture, "\"a\" \"b\""), HF_OK);
    }
    mem_fail_nth(&fixture->mem, 4);
    assert_int_equal(read_users(fixture, "\"a\" \"b\""), HF_OK);
    mem_fail_nth(&fixture->mem, 0);
    users_free(NULL);
}

/* ---- learning ---- */

static void users__a_verifier_of_a_plain_secret_is_kept_once(void **state)
{
    struct fixture *fixture = *state;
    struct user_pass first, second;
    make(&first, "secret", "salt1");
    make(&second, "secret", "salt2");
    struct user *user = user_of(fixture, "\"bob\" \"secret\"", "bob");
    assert_null(user_verifier(user));
    user_set_verifier(user, &first.verifier);
    const struct scram_verifier *verifier = user_verifier(user);
    assert_true(scram_verifier_fits(verifier, &first.keys));
    user_set_verifier(user, &second.verifier);
    assert_ptr_equal(user_verifier(user), verifier);
    assert_true(scram_verifier_fits(verifier, &first.keys));
}

static void users__a_verifier_that_is_the_secret_is_never_replaced(void **state)
{
    struct fixture *fixture = *state;
    struct user_pass other;
    make(&other, "secret", "salt1");
    struct user *ann = user_of(fixture, "\"ann\" \"" PENCIL "\"", "ann");
    user_set_verifier(ann, &other.verifier);
    assert_false(scram_verifier_fits(user_verifier(ann), &other.keys));
    struct user *eve = user_of(fixture, "\"eve\" \"md5d41d8cd98f00b204e9800998ecf8427e\"", "eve");
    user_set_verifier(eve, &other.verifier);
    assert_null(user_verifier(eve));
}

static void users__a_pass_is_taken_only_if_it_fits(void **state)
{
    struct fixture *fixture = *state;
    struct user_pass right, wrong, out;
    make(&right, "pencil", "\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81");
    make(&wrong, "secret", "salt1");
    struct user *ann = user_of(fixture, "\"ann\" \"" PENCIL "\"", "ann");
    assert_false(user_get_pass(ann, &out));
    user_set_pass(ann, &right.keys, &wrong.verifier);
    assert_false(user_get_pass(ann, &out));
    user_set_pass(ann, &wrong.keys, &wrong.verifier);
    assert_false(user_get_pass(ann, &out));
    user_set_pass(ann, &right.keys, user_verifier(ann));
    assert_true(user_get_pass(ann, &out));
    assert_memory_equal(&out.keys, &right.keys, sizeof out.keys);
    assert_true(scram_verifier_fits(&out.verifier, &out.keys));
    user_pass_wipe(&out);
    static const struct user_pass none;
    assert_memory_equal(&out, &none, sizeof out);
}

static void users__the_newest_pass_of_a_plain_secret_is_kept(void **state)
{
    struct fixture *fixture = *state;
    struct user_pass first, second, out;
    make(&first, "secret", "salt1");
    make(&second, "secret", "salt2");
    struct user *bob = user_of(fixture, "\"bob\" \"secret\"", "bob");
    user_set_pass(bob, &first.keys, &first.verifier);
    user_set_pass(bob, &second.keys, &second.verifier);
    assert_true(user_get_pass(bob, &out));
    assert_memory_equal(&out.keys, &second.keys, sizeof out.keys);
}

static void users__what_was_learned_survives_a_reload_unless_the_secret_changes(void **state)
{
    struct fixture *fixture = *state;
    struct user_pass pass, out;
    struct users *after = NULL;
    make(&pass, "secret", "salt1");
    struct user *bob = user_of(fixture, "\"bob\" \"secret\"\n\"eve\" \"secret\"", "bob");
    struct user *eve = users_find(fixture->users, SV("eve"));
    user_set_verifier(bob, &pass.verifier);
    user_set_pass(bob, &pass.keys, &pass.verifier);
    user_set_pass(eve, &pass.keys, &pass.verifier);
    assert_int_equal(users_new(&after, SV("\"new\" \"x\"\n\"eve\" \"another\"\n\"bob\" \"secret\""),
                               fixture->config, 2, &fixture->mem, &fixture->err),
                     HF_OK);
    users_adopt(after, fixture->users);
    bob = users_find(after, SV("bob"));
    assert_non_null(user_verifier(bob));
    assert_true(user_get_pass(bob, &out));
    assert_memory_equal(&out.keys, &pass.keys, sizeof out.keys);
    assert_false(user_get_pass(users_find(after, SV("eve")), &out));
    assert_null(user_verifier(users_find(after, SV("eve"))));
    assert_false(user_get_pass(users_find(after, SV("new")), &out));
    users_free(after);
}

/* ---- threads ---- */

struct teacher {
    struct user *user;
    const struct user_pass *pass;
    int wrong;
};

/* Teaches and reads at once; a pass that was torn does not fit its own verifier. */
static void *teach(void *argument)
{
    struct teacher *teacher = argument;
    struct user_pass out;
    for (int i = 0; i < 300; i++) {
        user_set_pass(teacher->user, &teacher->pass->keys, &teacher->pass->verifier);
        user_set_verifier(teacher->user, &teacher->pass->verifier);
        const struct scram_verifier *verifier = user_verifier(teacher->user);
        teacher->wrong += verifier == NULL || verifier->iterations != 4096;
        teacher->wrong += !user_get_pass(teacher->user, &out);
        teacher->wrong += !scram_verifier_fits(&out.verifier, &out.keys);
    }
    return NULL;
}

static void users__threads_see_whole_passes(void **state)
{
    struct fixture *fixture = *state;
    struct user_pass passes[2];
    struct teacher teachers[2];
    pthread_t threads[2];
    make(&passes[0], "secret", "salt1");
    make(&passes[1], "secret", "salt2");
    struct user *bob = user_of(fixture, "\"bob\" \"secret\"", "bob");
    for (int i = 0; i < 2; i++) {
        teachers[i] = (struct teacher){.user = bob, .pass = &passes[i]};
        assert_int_equal(pthread_create(&threads[i], NULL, teach, &teachers[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(teachers[i].wrong, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(users__lines_are_read_as_pgbouncer_writes_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(users__what_is_wrong_is_said_with_its_line_and_no_secret,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(users__long_lines_and_secrets_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(users__a_zero_byte_in_a_name_or_secret_is_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(users__roles_with_a_password_are_users_too, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(users__many_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(users__every_allocation_may_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(users__a_verifier_of_a_plain_secret_is_kept_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(users__a_verifier_that_is_the_secret_is_never_replaced,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(users__a_pass_is_taken_only_if_it_fits, setup, teardown),
        cmocka_unit_test_setup_teardown(users__the_newest_pass_of_a_plain_secret_is_kept, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            users__what_was_learned_survives_a_reload_unless_the_secret_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(users__threads_see_whole_passes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
