#include "unit.h"

#include <string.h>

#include "base/rng.h"
#include "sql/json.h"

static const char text[] =
    "{\"a\":1,\"b\":{\"c\":[\"x\",{\"d\":true},[]],\"e\":\"q\\\"\\\\\\u003c\\n\\u00e4\\u20ac\"},"
    " \"f\" : -12 , \"g\":null,\"h\":false,\"s\":\"{[\"}";

static struct json_at root(void)
{
    return json_text(sv_from(text, sizeof text - 1));
}

static void json__fields_are_found_by_their_names(void **state)
{
    (void)state;
    const struct json_at b = json_field(root(), "b");
    assert_int_equal(json_number(json_field(root(), "a")), 1);
    assert_int_equal(json_number(json_field(root(), "f")), -12);
    assert_false(json_is_there(json_field(root(), "c")));
    assert_false(json_is_true(json_field(root(), "h")));
    assert_int_equal(json_count(json_field(b, "c")), 3);
    assert_true(sv_eq(json_raw_string(json_field(root(), "s")), SV("{[")));
    assert_int_equal(json_number(json_field(root(), "s")), 0);
    assert_int_equal(json_raw_string(json_field(root(), "a")).size, 0);
    assert_false(json_is_there(json_field(json_field(root(), "a"), "x")));
    assert_false(json_is_there(json_field(json_text(SV("")), "x")));
}

static void json__items_come_one_after_the_other(void **state)
{
    (void)state;
    struct json_at items = json_enter(json_field(json_field(root(), "b"), "c")), item;
    assert_true(json_next_item(&items, &item));
    assert_true(sv_eq(json_raw_string(item), SV("x")));
    assert_true(json_next_item(&items, &item));
    assert_true(json_is_true(json_field(item, "d")));
    assert_true(json_next_item(&items, &item));
    assert_int_equal(json_count(item), 0);
    assert_false(json_next_item(&items, &item));
}

static void json__escapes_are_read(void **state)
{
    (void)state;
    char out[32];
    const struct json_at e = json_field(json_field(root(), "b"), "e");
    assert_true(sv_eq(json_string(e, out, sizeof out), SV("q\"\\<\n\xc3\xa4\xe2\x82\xac")));
    assert_true(sv_eq(json_string(e, out, 3), SV("q\"\\")));
    assert_true(sv_eq(json_string(e, out, 6), SV("q\"\\<\n"))); /* no half of a character */
    assert_int_equal(json_string(json_field(root(), "a"), out, sizeof out).size, 0);
    assert_true(sv_eq(json_string(json_text(SV("\"\\u12\"")), out, sizeof out), SV("u12")));
}

static void json__a_walk_sees_every_field(void **state)
{
    (void)state;
    char keys[64] = "";
    struct json_walk walk = json_walk(root());
    struct json_at value;
    struct sv key;
    while (json_walk_next(&walk, &key, &value))
        strncat(keys, key.data, key.size);
    assert_string_equal(keys, "abcdefghs");
    walk = json_walk(json_field(root(), "b"));
    keys[0] = '\0';
    while (json_walk_next(&walk, &key, &value))
        strncat(keys, key.data, key.size);
    assert_string_equal(keys, "cde");
}

/* Broken text leads nowhere outside of it, and ends: this is for the sanitizer. */
static void json__broken_text_ends(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 17);
    for (int round = 0; round < 20000; round++) {
        char broken[sizeof text];
        char out[8];
        const size_t size = (size_t)rng_below(&rng, sizeof text);
        memcpy(broken, text, size);
        for (int i = 0; i < 3 && size > 0; i++)
            broken[rng_below(&rng, size)] = "{}[]\",:\\x "[rng_below(&rng, 10)];
        struct json_walk walk = json_walk(json_text(sv_from(broken, size)));
        struct json_at value;
        struct sv key;
        size_t fields = 0;
        while (json_walk_next(&walk, &key, &value)) {
            json_string(value, out, sizeof out);
            json_count(value);
            json_number(value);
            json_field(value, "c");
            fields++;
        }
        assert_in_range(fields, 0, size);
        json_field(json_text(sv_from(broken, size)), "s");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json__fields_are_found_by_their_names),
        cmocka_unit_test(json__items_come_one_after_the_other),
        cmocka_unit_test(json__escapes_are_read),
        cmocka_unit_test(json__a_walk_sees_every_field),
        cmocka_unit_test(json__broken_text_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
