#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "wire/sha256.h"

static void assert_hex(const char digest[SHA256_SIZE], const char *expected)
{
    char text[2 * SHA256_SIZE + 1];
    for (size_t i = 0; i < SHA256_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", (unsigned char)digest[i]);
    assert_string_equal(text, expected);
}

/* The examples of FIPS 180-4's companion documents. */
static const struct {
    const char *text, *digest;
} known[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqr"
     "lmnopqrsmnopqrstnopqrstu",
     "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
};

static void sha256__known_digests(void **state)
{
    (void)state;
    static char million[1000000];
    char digest[SHA256_SIZE];
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        sha256(sv_from_cstr(known[i].text), digest);
        assert_hex(digest, known[i].digest);
    }
    memset(million, 'a', sizeof million);
    sha256(sv_from(million, sizeof million), digest);
    assert_hex(digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* Every length around the edges of a block, in two pieces cut everywhere. */
static void sha256__pieces_are_the_whole(void **state)
{
    (void)state;
    char text[200];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(7 * i);
    for (size_t size = 0; size <= sizeof text; size++) {
        char whole[SHA256_SIZE], pieces[SHA256_SIZE];
        sha256(sv_from(text, size), whole);
        for (size_t cut = 0; cut <= size; cut++) {
            struct sha256 hash;
            sha256_begin(&hash);
            sha256_add(&hash, sv_from(text, cut));
            sha256_add(&hash, sv_from(text + cut, size - cut));
            sha256_end(&hash, pieces);
            assert_memory_equal(pieces, whole, SHA256_SIZE);
        }
    }
}

static void sha256__known_codes(void **state)
{
    (void)state;
    /* RFC 4231, test cases 1, 2, 3 and 6. */
    char ones[20], many[20], long_key[131], data[50], code[SHA256_SIZE];
    memset(ones, 0x0b, sizeof ones);
    memset(many, 0xaa, sizeof many);
    memset(long_key, 0xaa, sizeof long_key);
    memset(data, 0xdd, sizeof data);
    hmac(sv_from(ones, sizeof ones), SV("Hi There"), code);
    assert_hex(code, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac(SV("Jefe"), SV("what do ya want for nothing?"), code);
    assert_hex(code, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    hmac(sv_from(many, sizeof many), sv_from(data, sizeof data), code);
    assert_hex(code, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    hmac(sv_from(long_key, sizeof long_key),
         SV("Test Using Larger Than Block-Size Key - Hash Key First"), code);
    assert_hex(code, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void sha256__a_step_is_the_code_of_32_bytes(void **state)
{
    (void)state;
    char bytes[SHA256_SIZE], expected[SHA256_SIZE];
    struct hmac_key key;
    memset(bytes, 'x', sizeof bytes);
    hmac_key_init(&key, SV("a secret"));
    hmac(SV("a secret"), sv_from(bytes, sizeof bytes), expected);
    hmac_step(&key, bytes, bytes);
    assert_memory_equal(bytes, expected, sizeof bytes);
}

static void sha256__an_ended_state_holds_nothing(void **state)
{
    (void)state;
    static const char zeros[sizeof(struct hmac)];
    char out[SHA256_SIZE];
    struct hmac_key key;
    hmac_key_init(&key, SV("a secret"));
    struct hmac code = hmac_begin(&key);
    hmac_add(&code, SV("text"));
    hmac_end(&code, out);
    assert_memory_equal(&code, zeros, sizeof code);
    struct sha256 hash;
    sha256_begin(&hash);
    sha256_add(&hash, SV("text"));
    sha256_end(&hash, out);
    assert_memory_equal(&hash, zeros, sizeof hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256__known_digests),
        cmocka_unit_test(sha256__pieces_are_the_whole),
        cmocka_unit_test(sha256__known_codes),
        cmocka_unit_test(sha256__a_step_is_the_code_of_32_bytes),
        cmocka_unit_test(sha256__an_ended_state_holds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
