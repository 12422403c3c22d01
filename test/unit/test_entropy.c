#include "unit.h"

#include "os/entropy.h"

#include <ctype.h>
#include <string.h>

static void entropy__fills_every_byte(void **state)
{
    (void)state;
    /* A byte that stays zero in 40 fills is one that is not filled: chance is 2^-320. Longer than
     * 256 bytes, because up to that size the kernel answers in one piece. */
    static unsigned char seen[1000];
    unsigned char bytes[sizeof seen];
    for (int round = 0; round < 40; round++) {
        memset(bytes, 0, sizeof bytes);
        entropy_fill(bytes, sizeof bytes);
        for (size_t i = 0; i < sizeof bytes; i++)
            seen[i] |= bytes[i];
    }
    assert_null(memchr(seen, 0, sizeof seen));
    entropy_fill(bytes, 0);
}

static void entropy__seeds_differ(void **state)
{
    (void)state;
    assert_int_not_equal(entropy_seed(), entropy_seed());
}

static void entropy__passwords_are_letters_and_digits_all_of_them(void **state)
{
    (void)state;
    int count[256] = {0};
    for (int round = 0; round < 400; round++) {
        char text[32];
        memset(text, 'x', sizeof text);
        entropy_password(text, sizeof text);
        assert_int_equal(strlen(text), sizeof text - 1);
        for (size_t i = 0; i < sizeof text - 1; i++) {
            assert_true(isalnum((unsigned char)text[i]));
            count[(unsigned char)text[i]]++;
        }
    }
    /* 12400 letters over 62 kinds: 200 of each; 100 away would be seven standard deviations. */
    for (int c = 0; c < 256; c++) {
        if (isalnum(c))
            assert_in_range(count[c], 100, 300);
    }
    char shortest[1];
    entropy_password(shortest, sizeof shortest);
    assert_int_equal(shortest[0], '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entropy__fills_every_byte),
        cmocka_unit_test(entropy__seeds_differ),
        cmocka_unit_test(entropy__passwords_are_letters_and_digits_all_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
