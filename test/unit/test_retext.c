#include <string.h>

#include "unit.h"

#include "wire/build.h"
#include "wire/message.h"
#include "wire/retext.h"

/* Each `<old|new|name>` of a script is a word. */
static void read_script(struct retext *retext, const char *script, char *text)
{
    size_t size = 0;
    retext_init(retext);
    for (const char *at = script; *at != '\0'; at++) {
        if (*at != '<') {
            text[size++] = *at;
            continue;
        }
        const char *old = at + 1, *put = strchr(old, '|') + 1, *name = strchr(put, '|') + 1;
        size_t old_size = (size_t)(put - old) - 1;
        at = strchr(name, '>');
        assert_true(retext_add(retext, size, old_size, sv_from(put, (size_t)(name - put) - 1),
                               sv_from(name, (size_t)(at - name))));
        memcpy(text + size, old, old_size);
        size += old_size;
    }
    text[size] = '\0';
}

static void check_text(const char *script, const char *old, const char *new)
{
    char text[200], out[200];
    struct retext retext;
    read_script(&retext, script, text);
    assert_string_equal(text, old);
    size_t size = retext_size(&retext, sv_from_cstr(text));
    assert_int_equal(size, strlen(new));
    retext_write(&retext, sv_from_cstr(text), out);
    assert_memory_equal(out, new, size);
}

static void retext__words_are_replaced_whatever_their_lengths(void **state)
{
    (void)state;
    check_text("SELECT 1", "SELECT 1", "SELECT 1");
    check_text("", "", "");
    check_text("<one|hf_1|one>", "one", "hf_1");
    check_text("EXECUTE <a|hf_12|a>(1)", "EXECUTE a(1)", "EXECUTE hf_12(1)");
    check_text("EXECUTE <\"A long one\"|hf_0|A long one>(1)", "EXECUTE \"A long one\"(1)",
               "EXECUTE hf_0(1)");
    check_text("PREPARE <a|hf__0|a> AS SELECT 1; EXECUTE <a|hf__0|a>",
               "PREPARE a AS SELECT 1; EXECUTE a", "PREPARE hf__0 AS SELECT 1; EXECUTE hf__0");
    check_text("<a|hf_0|a><b|hf_1|b>", "ab", "hf_0hf_1");
}

static void retext__there_are_only_so_many_words(void **state)
{
    (void)state;
    struct retext retext;
    retext_init(&retext);
    for (size_t i = 0; i < RETEXT_WORDS_MAX; i++)
        assert_true(retext_add(&retext, i, 1, SV("hf_0"), SV("a")));
    assert_false(retext_add(&retext, RETEXT_WORDS_MAX, 1, SV("hf_0"), SV("a")));
    assert_int_equal(retext.count, RETEXT_WORDS_MAX);
    assert_true(sv_eq(retext_put(&retext, 7), SV("hf_0")));
    assert_true(sv_eq(retext_name(&retext, 7), SV("a")));
}

static void retext__a_place_in_the_new_text_is_one_in_the_old(void **state)
{
    (void)state;
    static const struct {
        const char *script;
        size_t position, wanted;
    } cases[] = {
        {"EXECUTE <a|hf_12|a>(x)", 1, 1},
        {"EXECUTE <a|hf_12|a>(x)", 8, 8},
        {"EXECUTE <a|hf_12|a>(x)", 9, 9},
        {"EXECUTE <a|hf_12|a>(x)", 11, 9},
        {"EXECUTE <a|hf_12|a>(x)", 13, 9},
        {"EXECUTE <a|hf_12|a>(x)", 14, 10},
        {"EXECUTE <a|hf_12|a>(x)", 15, 11},
        {"EXECUTE <a|hf_12|a>(x)", 99, 95},
        {"<longest|hf_1|longest> x", 6, 9},
        {"<a|hf_1|a>;<bcdefg|hf_2|b> x", 5, 2},
        {"<a|hf_1|a>;<bcdefg|hf_2|b> x", 7, 3},
        {"<a|hf_1|a>;<bcdefg|hf_2|b> x", 11, 10},
        /* Characters are counted, in front of a word and in it. */
        {"'\xc3\xa4\xc3\xb6' <\"\xc3\xbc\"|hf_1|\xc3\xbc> x", 6, 6},
        {"'\xc3\xa4\xc3\xb6' <\"\xc3\xbc\"|hf_1|\xc3\xbc> x", 11, 10},
        {"no words", 3, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[200], out[200];
        struct retext retext;
        read_script(&retext, cases[i].script, text);
        retext_write(&retext, sv_from_cstr(text), out);
        assert_int_equal(retext_position(&retext, cases[i].position), cases[i].wanted);
    }
}

/* The body of an error, `|` being a zero byte. */
static struct sv body_of(const char *script, char *out)
{
    size_t size = strlen(script);
    for (size_t i = 0; i < size; i++)
        out[i] = script[i] == '|' ? '\0' : script[i];
    return sv_from(out, size);
}

static void retext__an_error_speaks_of_the_clients_text(void **state)
{
    (void)state;
    static const struct {
        const char *was, *wanted;
    } cases[] = {
        {"SERROR|C26000|Mprepared statement \"hf_1\" does not exist||",
         "SERROR|C26000|Mprepared statement \"one\" does not exist||"},
        {"SERROR|C42601|Mhf_1 and hf_10, xhf_1 hf_1|P12|DIn hf_1.||",
         "SERROR|C42601|Mone and two, xhf_1 one|P9|DIn hf_1.||"},
        {"Mhf_1x hf_1_ hf_100||", "Mhf_1x hf_1_ hf_100||"},
        {"M|P13|P|Pabc|P0|P99999999999||", "M|P12|P|Pabc|P0|P99999999999||"},
        {"|", "|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[200], out[200], was[200], wanted[200], block[400];
        struct retext retext;
        struct buffer buffer;
        read_script(&retext, "EXECUTE <one|hf_1|one>; EXECUTE <b|hf_10|two>", text);
        retext_write(&retext, sv_from_cstr(text), out);
        buffer_init(&buffer, block, sizeof block);
        struct sv body = body_of(cases[i].wanted, wanted);
        assert_int_equal(retext_error(&retext, 'E', body_of(cases[i].was, was), &buffer), HF_OK);
        assert_int_equal(buffer_held(&buffer), body.size + 5);
        assert_memory_equal(buffer_view(&buffer).data + 5, body.data, body.size);
    }
}

static void retext__what_is_no_error_is_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {"", "Mx", "Mx|", "Mx|Py|", "Mx||y"};
    char text[200], out[200], block[100];
    struct retext retext;
    read_script(&retext, "EXECUTE <a|hf_1|a>", text);
    retext_write(&retext, sv_from_cstr(text), out);
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct buffer buffer;
        buffer_init(&buffer, block, sizeof block);
        assert_int_equal(retext_error(&retext, 'E', body_of(bodies[i], out), &buffer),
                         HF_RC_INVALID);
        assert_int_equal(buffer_held(&buffer), 0);
    }
    struct buffer small;
    buffer_init(&small, block, 8);
    assert_int_equal(retext_error(&retext, 'E', body_of("Mlonger than that||", out), &small),
                     HF_RC_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retext__words_are_replaced_whatever_their_lengths),
        cmocka_unit_test(retext__there_are_only_so_many_words),
        cmocka_unit_test(retext__a_place_in_the_new_text_is_one_in_the_old),
        cmocka_unit_test(retext__an_error_speaks_of_the_clients_text),
        cmocka_unit_test(retext__what_is_no_error_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
