#include "unit.h"

#include <string.h>

#include "dies.h"
#include "scram_cases.h"
#include "wire/scram.h"

/* Section 11 of RFC 7914: PBKDF2 with HMAC-SHA-256, the first 32 bytes; what a stretched password
 * is before keys are made of it. */
static void scram__known_stretchings(void **state)
{
    (void)state;
    static const struct {
        const char *password, *salt;
        uint32_t iterations;
        const char *sum;
    } cases[] = {
        {"passwd", "salt", 1,
         "\x55\xac\x04\x6e\x56\xe3\x08\x9f\xec\x16\x91\xc2\x25\x44\xb6\x05"
         "\xf9\x41\x85\x21\x6d\xde\x04\x65\xe6\x8b\x9d\x57\xc2\x0d\xac\xbc"},
        {"Password", "NaCl", 80000,
         "\x4d\xdc\xd8\xf6\x0b\x98\xbe\x21\x83\x0c\xee\x5e\xf2\x27\x01\xf9"
         "\x64\x1a\x44\x18\xd0\x4c\x04\x14\xae\xff\x08\x87\x6b\x34\xab\x56"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scram_stretch stretch;
        scram_stretch_begin(&stretch, sv_from_cstr(cases[i].password), sv_from_cstr(cases[i].salt),
                            cases[i].iterations);
        assert_true(scram_stretch_run(&stretch, cases[i].iterations));
        assert_memory_equal(stretch.sum, cases[i].sum, SHA256_SIZE);
    }
}

static void scram__slices_add_up(void **state)
{
    (void)state;
    static const char zeros[sizeof(struct scram_stretch)];
    struct scram_keys whole, sliced;
    for (uint32_t slice = 1; slice <= 40; slice += 3) {
        struct scram_stretch stretch;
        uint32_t slices = 1;
        scram_stretch_begin(&stretch, SV("pw"), SV("salt"), 40);
        assert_int_equal(scram_stretch_run(&stretch, 0), false);
        assert_true(scram_stretch_run(&stretch, 39));
        assert_true(scram_stretch_run(&stretch, 39));
        scram_stretch_end(&stretch, &whole);
        scram_stretch_begin(&stretch, SV("pw"), SV("salt"), 40);
        while (!scram_stretch_run(&stretch, slice))
            slices++;
        assert_int_equal(slices, (39 + slice - 1) / slice);
        scram_stretch_end(&stretch, &sliced);
        assert_memory_equal(&sliced, &whole, sizeof whole);
        assert_memory_equal(&stretch, zeros, sizeof stretch);
    }
}

static void scram__a_verifier_is_made_of_keys_and_read_from_text(void **state)
{
    (void)state;
    struct scram_verifier made, parsed = case_verifier();
    struct scram_keys keys = case_keys();
    assert_int_equal(parsed.iterations, 4096);
    assert_int_equal(parsed.salt_size, 16);
    assert_false(parsed.is_mock);
    scram_verifier_init(&made, &keys, scram_verifier_salt(&parsed), 4096);
    assert_memory_equal(&made, &parsed, sizeof made);
    assert_true(scram_verifier_fits(&parsed, &keys));
    keys.client[31] ^= 1;
    assert_false(scram_verifier_fits(&parsed, &keys));
    keys.client[31] ^= 1;
    keys.server[0] ^= 1;
    assert_false(scram_verifier_fits(&parsed, &keys));
    keys.server[0] ^= 1;
    parsed.is_mock = true;
    assert_false(scram_verifier_fits(&parsed, &keys));
}

#define KEYS                                                                                       \
    "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define SALT_66                                                                                    \
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static void scram__other_texts_are_no_verifiers(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "SCRAM-SHA-256",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$4096",
        "SCRAM-SHA-256$4096:",
        "SCRAM-SHA-256$4096:AAAA",
        "SCRAM-SHA-256$4096:AAAA$",
        "SCRAM-SHA-1$4096:AAAA" KEYS,
        "SCRAM-SHA-256$0:AAAA" KEYS,
        "SCRAM-SHA-256$-1:AAAA" KEYS,
        "SCRAM-SHA-256$2147483648:AAAA" KEYS,
        "SCRAM-SHA-256$4096:" KEYS,
        "SCRAM-SHA-256$4096" KEYS,
        "SCRAM-SHA-256$:AAAA" KEYS,
        "SCRAM-SHA-256$4096:A" KEYS,
        "SCRAM-SHA-256$4096:" SALT_66 KEYS,
        "SCRAM-SHA-256$4096:AAAA" KEYS "=",
        "SCRAM-SHA-256$4096:AAAA" KEYS ":",
        "SCRAM-SHA-256$4096:AAAA" KEYS "$",
        "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA",
        "SCRAM-SHA-256$4096:AAAA$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=",
        "SCRAM-SHA-256$4096:AAAA$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:",
    };
    static const struct scram_verifier zeros;
    struct scram_verifier verifier;
    struct hf_err err;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        enum hf_rc rc = scram_verifier_parse(&verifier, sv_from_cstr(texts[i]), &err);
        assert_int_equal(rc, HF_RC_INVALID);
        assert_string_equal(err.message, "the text is not a SCRAM-SHA-256 secret");
        assert_memory_equal(&verifier, &zeros, sizeof zeros);
    }
    struct sv good = SV("SCRAM-SHA-256$1:AAAA" KEYS);
    assert_int_equal(scram_verifier_parse(&verifier, good, &err), HF_OK);
    for (size_t size = 0; size < good.size; size++)
        assert_int_equal(scram_verifier_parse(&verifier, sv_take(good, size), &err), HF_RC_INVALID);
}

static void scram__a_mock_is_the_same_for_the_same_user_only(void **state)
{
    (void)state;
    struct scram_verifier ann, again, bob, other;
    scram_verifier_mock(&ann, SV("seed"), SV("ann"), 4096);
    scram_verifier_mock(&again, SV("seed"), SV("ann"), 4096);
    scram_verifier_mock(&bob, SV("seed"), SV("bob"), 4096);
    scram_verifier_mock(&other, SV("tree"), SV("ann"), 4096);
    assert_memory_equal(&ann, &again, sizeof ann);
    assert_memory_not_equal(ann.salt, bob.salt, 16);
    assert_memory_not_equal(ann.salt, other.salt, 16);
    assert_int_equal(ann.salt_size, 16);
    assert_int_equal(ann.iterations, 4096);
    assert_true(ann.is_mock);
}

static void scram__attributes_come_one_after_the_other(void **state)
{
    (void)state;
    struct sv rest = SV("r=abc,s=,i=4=5,x"), value;
    assert_false(scram_attribute(&rest, 's', &value));
    assert_true(scram_attribute(&rest, 'r', &value) && sv_eq(value, SV("abc")));
    assert_true(scram_attribute(&rest, 's', &value) && sv_eq(value, SV("")));
    assert_true(scram_attribute(&rest, 'i', &value) && sv_eq(value, SV("4=5")));
    assert_false(scram_attribute(&rest, 'x', &value));
    rest = SV("v=last");
    assert_true(scram_attribute(&rest, 'v', &value) && rest.data == NULL);
    assert_false(scram_attribute(&rest, 'v', &value));
}

static void scram__nonces_are_printable_and_short(void **state)
{
    (void)state;
    char nonce[SCRAM_NONCE_MAX + 1];
    memset(nonce, '~', sizeof nonce);
    assert_true(scram_nonce_is_good(sv_from(nonce, SCRAM_NONCE_MAX)));
    assert_false(scram_nonce_is_good(sv_from(nonce, SCRAM_NONCE_MAX + 1)));
    assert_true(scram_nonce_is_good(SV("!")));
    assert_false(scram_nonce_is_good(SV("")));
    assert_false(scram_nonce_is_good(SV("a b")));
    assert_false(scram_nonce_is_good(SV("a,b")));
    assert_false(scram_nonce_is_good(SV("a\x7f")));
    assert_false(scram_nonce_is_good(SV("a\xff")));
}

static void end_too_early(void *argument)
{
    struct scram_keys keys;
    scram_stretch_end(argument, &keys);
}

static void scram__an_unfinished_stretch_gives_no_keys(void **state)
{
    (void)state;
    struct scram_stretch stretch;
    scram_stretch_begin(&stretch, SV("pw"), SV("salt"), 2);
    assert_true(dies(end_too_early, &stretch));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scram__known_stretchings),
        cmocka_unit_test(scram__slices_add_up),
        cmocka_unit_test(scram__a_verifier_is_made_of_keys_and_read_from_text),
        cmocka_unit_test(scram__other_texts_are_no_verifiers),
        cmocka_unit_test(scram__a_mock_is_the_same_for_the_same_user_only),
        cmocka_unit_test(scram__attributes_come_one_after_the_other),
        cmocka_unit_test(scram__nonces_are_printable_and_short),
        cmocka_unit_test(scram__an_unfinished_stretch_gives_no_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
