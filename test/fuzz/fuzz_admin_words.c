/*
 * What is typed at the console, whatever it is.
 *
 * Checked beside the absence of crashes: words are ended and within their sizes; nothing is read
 * behind the text, whose every beginning is parsed too; what was taken apart and is put together
 * again means the same.
 */
#include <stdio.h>
#include <string.h>

#include "fuzz.h"
#include "proxy/admin_words.h"

static void quote(char quote_with, const char *word, char *out)
{
    *out++ = quote_with;
    for (; *word != '\0'; word++) {
        if (*word == quote_with)
            *out++ = quote_with;
        *out++ = *word;
    }
    *out++ = quote_with;
    *out = '\0';
}

static void again(const struct admin_words *words)
{
    static char text[4096];
    char argument[2 * ADMIN_ARGUMENT_SIZE + 4], value[2 * ADMIN_VALUE_SIZE + 4];
    struct admin_words second;
    if (words->verb[0] == '\0' || strchr(words->verb, '"') != NULL)
        return;
    quote('"', words->argument, argument);
    quote('\'', words->value, value);
    snprintf(text, sizeof text, "\"%s\" %s%s%s", words->verb, argument,
             words->has_value ? " = " : "", words->has_value ? value : "");
    FUZZ_CHECK(admin_words_parse(&second, sv_from_cstr(text)) == ADMIN_WORDS_OK);
    FUZZ_CHECK(strcmp(words->verb, second.verb) == 0);
    FUZZ_CHECK(strcmp(words->argument, second.argument) == 0);
    FUZZ_CHECK(strcmp(words->value, second.value) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct admin_words words;
    size_t shortest = size > 64 ? size - 64 : 0;
    for (size_t end = size; end + 1 > shortest; end--) {
        enum admin_words_rc rc = admin_words_parse(&words, sv_from((const char *)data, end));
        FUZZ_CHECK(memchr(words.verb, 0, sizeof words.verb) != NULL);
        FUZZ_CHECK(memchr(words.argument, 0, sizeof words.argument) != NULL);
        FUZZ_CHECK(memchr(words.value, 0, sizeof words.value) != NULL);
        if (rc == ADMIN_WORDS_OK)
            again(&words);
        if (end == 0)
            break;
    }
    return 0;
}
