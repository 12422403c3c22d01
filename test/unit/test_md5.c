#include "unit.h"

#include <string.h>

#include "wire/md5.h"

/* Appendix A.5 of RFC 1321. */
static const struct {
    const char *text, *digest;
} known[] = {
    {"", "d41d8cd98f00b204e9800998ecf8427e"},
    {"a", "0cc175b9c0f1b6a831c399e269772661"},
    {"abc", "900150983cd24fb0d6963f7d28e17f72"},
    {"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
    {"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
    {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
     "d174ab98d277d9f5a5611c2c9f419d9f"},
    {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
     "57edf4a22be3c955ac49da2e2107b67a"},
};

static void md5__known_digests(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        char hex[MD5_HEX_SIZE];
        struct sv text = sv_from_cstr(known[i].text);
        md5_hex(&text, 1, hex);
        assert_memory_equal(hex, known[i].digest, MD5_HEX_SIZE);
    }
}

/* Lengths at which the end takes one block more, or just not. */
static const struct {
    size_t size;
    const char *digest;
} edges[] = {
    {55, "c19a22ebb7762d7360f6b03ff5b91a0d"},  {56, "a6b24c5356257d0e18e494030514e44e"},
    {63, "9e5bd29f69fbcd360efcba50f5f5606c"},  {64, "214add07fe086a1fc38983a350506922"},
    {65, "7ca6c4704faad99f58ff90ffa7a77ef5"},  {119, "959816dae367f9b96ce1ce7c036ac6b7"},
    {120, "0967bd6e89b2914e79b290d4b9b8b021"}, {128, "37bb419d90a4a1079974f693de75247b"},
};

static void md5__the_end_of_a_block_is_no_edge(void **state)
{
    (void)state;
    char text[128];
    memset(text, 'm', sizeof text);
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        char hex[MD5_HEX_SIZE];
        struct sv view = sv_from(text, edges[i].size);
        md5_hex(&view, 1, hex);
        assert_memory_equal(hex, edges[i].digest, MD5_HEX_SIZE);
    }
}

/* Every length around the edges of a block, cut everywhere. */
static void md5__pieces_are_the_whole(void **state)
{
    (void)state;
    char text[140];
    memset(text, 'm', sizeof text);
    for (size_t size = 0; size <= sizeof text; size++)
        for (size_t cut = 0; cut <= size; cut++) {
            char whole[MD5_HEX_SIZE], pieces[MD5_HEX_SIZE];
            struct sv all = sv_from(text, size);
            struct sv both[] = {sv_take(all, cut), sv_drop(all, cut)};
            md5_hex(&all, 1, whole);
            md5_hex(both, 2, pieces);
            assert_memory_equal(pieces, whole, MD5_HEX_SIZE);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(md5__known_digests),
        cmocka_unit_test(md5__the_end_of_a_block_is_no_edge),
        cmocka_unit_test(md5__pieces_are_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
