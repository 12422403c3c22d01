#include "unit.h"

#include <string.h>

#include "wire/base64.h"

/* Section 10 of RFC 4648, and bytes that use the last letters. */
static const struct {
    struct sv bytes;
    const char *text;
} known[] = {
    {SV_INIT(""), ""},
    {SV_INIT("f"), "Zg=="},
    {SV_INIT("fo"), "Zm8="},
    {SV_INIT("foo"), "Zm9v"},
    {SV_INIT("foob"), "Zm9vYg=="},
    {SV_INIT("fooba"), "Zm9vYmE="},
    {SV_INIT("foobar"), "Zm9vYmFy"},
    {SV_INIT("\xff\xff\xff\xfb\xf0\0"), "////+/AA"},
    {SV_INIT("n,,"), "biws"},
};

static void base64__known_texts_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        char out[32] = {0};
        size_t size = 99;
        struct sv text = sv_from_cstr(known[i].text);
        base64_encode(known[i].bytes, out);
        assert_string_equal(out, known[i].text);
        assert_int_equal(BASE64_SIZE(known[i].bytes.size), text.size);
        assert_true(base64_decode(text, out, known[i].bytes.size, &size));
        assert_true(sv_eq(sv_from(out, size), known[i].bytes));
        if (size > 0)
            assert_false(base64_decode(text, out, size - 1, &size));
    }
}

static void base64__every_byte_comes_back(void **state)
{
    (void)state;
    char bytes[256], text[BASE64_SIZE(256)], back[256];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)i;
    for (size_t size = 0; size <= sizeof bytes; size++) {
        size_t decoded = 0;
        base64_encode(sv_from(bytes, size), text);
        assert_true(base64_decode(sv_from(text, BASE64_SIZE(size)), back, size, &decoded));
        assert_int_equal(decoded, size);
        assert_memory_equal(back, bytes, size);
    }
}

static void base64__other_texts_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "Z",    "Zg",   "Zg=",  "=",      "==",   "====", "Z===",  "=g==",     "Zg==Zg==",
        "Zh==", "Zm9=", "Zm 9", "Zm9v\n", "Zm-_", "Zg=a", "Zm9v=", "Zm9v====",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char out[32];
        size_t size;
        assert_false(base64_decode(sv_from_cstr(texts[i]), out, sizeof out, &size));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64__known_texts_both_ways),
        cmocka_unit_test(base64__every_byte_comes_back),
        cmocka_unit_test(base64__other_texts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
