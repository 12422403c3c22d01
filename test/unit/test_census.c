#include "unit.h"

#include <string.h>

#include "base/buffer.h"
#include "wire/build.h"
#include "wire/census.h"

struct rig {
    struct settings store;
    _Alignas(8) char memory[262144];
};

static struct rig rig;

static void make_store(void)
{
    const struct settings_config config = {.entries_max = 256, .bytes_max = 65536};
    assert_true(settings_size(&config) <= sizeof rig.memory);
    settings_init(&rig.store, rig.memory, &config);
}

/* A DataRow of three columns; NULL: none. */
static struct message row_of(char *memory, size_t size, const char *sort, const char *name,
                             const char *value)
{
    struct buffer out;
    const char *columns[] = {sort, name, value};
    buffer_init(&out, memory, size);
    struct build build = build_begin(&out, 'D');
    build_u16(&build, 3);
    for (size_t i = 0; i < 3; i++) {
        struct sv text = sv_from_cstr(columns[i]);
        build_u32(&build, columns[i] != NULL ? (uint32_t)text.size : UINT32_MAX);
        build_bytes(&build, text);
    }
    assert_int_equal(build_end(&build), HF_OK);
    return (struct message){sv_drop(buffer_view(&out), 5), true};
}

static enum hf_rc take(struct census *census, const char *sort, const char *name, const char *value)
{
    char memory[512];
    return census_row(census, &rig.store, row_of(memory, sizeof memory, sort, name, value));
}

static void check(const struct census *census, const char *name, const char *value)
{
    struct sv found = settings_find(&rig.store, census->set, sv_from_cstr(name));
    if (value == NULL)
        assert_null(found.data);
    else
        assert_true(found.data != NULL && sv_eq(found, sv_from_cstr(value)));
}

static void census__rows_become_settings_and_holds(void **state)
{
    (void)state;
    struct census census = {.user = SV("app")};
    make_store();
    assert_int_equal(take(&census, "-", "", ""), HF_OK);
    assert_int_equal(take(&census, "s", "work_mem", "4096"), HF_OK);
    assert_int_equal(take(&census, "s", "search_path", "a, \"b\\\\\\303\\244\""), HF_OK);
    assert_int_equal(take(&census, "s", "is_superuser", "on"), HF_OK);
    assert_int_equal(take(&census, "c", "app.tenant", ""), HF_OK);
    assert_int_equal(take(&census, "c", "app.none", NULL), HF_OK);
    assert_int_equal(take(&census, "r", "role", "none"), HF_OK);
    assert_int_equal(take(&census, "u", "session_authorization", "app"), HF_OK);
    check(&census, "work_mem", "4096");
    check(&census, "search_path", "a, \"b\\\xc3\xa4\"");
    check(&census, "is_superuser", NULL);
    check(&census, "app.tenant", "");
    check(&census, "app.none", NULL);
    check(&census, "role", NULL);
    check(&census, "session_authorization", NULL);
    assert_int_equal(census.holds, 0);
    assert_int_equal(take(&census, "r", "role", "other"), HF_OK);
    assert_int_equal(take(&census, "u", "session_authorization", "boss"), HF_OK);
    check(&census, "role", "other");
    check(&census, "session_authorization", "boss");
    assert_int_equal(take(&census, "t", "", ""), HF_OK);
    assert_int_equal(take(&census, "l", "", ""), HF_OK);
    assert_int_equal(take(&census, "h", "", ""), HF_OK);
    assert_int_equal(take(&census, "n", "", ""), HF_OK);
    assert_int_equal(census.holds,
                     CENSUS_TEMPORARY | CENSUS_LOCKS | CENSUS_CURSORS | CENSUS_CHANNELS);
    settings_drop(&rig.store, census.set);
    assert_int_equal(rig.store.sets, 0);
}

static void census__what_is_no_row_of_ours_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *sort;
        const char *value;
        enum hf_rc rc;
    } cases[] = {
        {"x", "", HF_RC_PEER},         {"", "", HF_RC_PEER},        {"ss", "", HF_RC_PEER},
        {NULL, "", HF_RC_PEER},        {"s", "\\", HF_RC_LIMIT},    {"s", "\\40", HF_RC_LIMIT},
        {"s", "\\400", HF_RC_LIMIT},   {"s", "\\08a", HF_RC_LIMIT}, {"s", "\\x41", HF_RC_LIMIT},
        {"s", "\\000", HF_RC_INVALID},
    };
    struct census census = {.user = SV("app")};
    make_store();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(take(&census, cases[i].sort, "a", cases[i].value), cases[i].rc);
    assert_int_equal(census_row(&census, &rig.store, (struct message){SV("\0\2"), true}),
                     HF_RC_PEER);
    assert_int_equal(census.set, 0);
}

static bool contains(struct sv text, const char *part)
{
    size_t size = strlen(part);
    for (size_t i = 0; i + size <= text.size; i++)
        if (memcmp(text.data + i, part, size) == 0)
            return true;
    return false;
}

static void census__names_that_would_need_quotes_are_not_asked_for(void **state)
{
    (void)state;
    static const char names[] = "a.b\0c'd.e\0f\\.g\0h.i\0\xc3.j";
    char memory[4096];
    struct buffer out;
    buffer_init(&out, memory, sizeof memory);
    assert_int_equal(census_text(CENSUS_SETTINGS, sv_from(names, sizeof names), &out), HF_OK);
    assert_true(contains(buffer_view(&out), "'{a.b,h.i}'"));
    assert_true(contains(buffer_view(&out), "pg_settings"));
    assert_false(contains(buffer_view(&out), "pg_locks"));
    buffer_clear(&out);
    assert_int_equal(census_text(CENSUS_HOLDS, SV(""), &out), HF_OK);
    assert_true(contains(buffer_view(&out), "pg_locks"));
    assert_false(contains(buffer_view(&out), "pg_settings"));
    buffer_clear(&out);
    assert_int_equal(census_text(CENSUS_SETTINGS | CENSUS_HOLDS, SV("a\0b\0"), &out), HF_OK);
    size_t size = buffer_held(&out);
    for (size_t room = 0; room < size; room++) {
        buffer_init(&out, memory, room);
        assert_int_equal(census_text(CENSUS_SETTINGS | CENSUS_HOLDS, SV("a\0b\0"), &out),
                         HF_RC_LIMIT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(census__rows_become_settings_and_holds),
        cmocka_unit_test(census__what_is_no_row_of_ours_is_refused),
        cmocka_unit_test(census__names_that_would_need_quotes_are_not_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
