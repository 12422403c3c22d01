/*
 * The lexer and the shapes it is made into, from any bytes, under both rules for backslashes.
 *
 * Checked beside the absence of crashes: tokens come in order and do not overlap; a shape is its
 * own shape, in the same state and with the same hash; it is as long as it says, within its limit.
 * And hints, which are wrong or right and never half of it.
 */
#include <string.h>

#include "fuzz.h"
#include "sql/hint.h"
#include "sql/shape.h"

static void check_tokens(struct sv text, const struct lex_rules *rules)
{
    struct lex lex;
    struct lex_token token;
    size_t at = 0;
    lex_init(&lex, text, rules);
    while (lex_next(&lex, &token) != LEX_END) {
        FUZZ_CHECK(token.begin >= at && token.end > token.begin && token.end <= text.size);
        at = token.end;
    }
    FUZZ_CHECK(lex_next(&lex, &token) == LEX_END);
}

static void check_shape(struct sv text, const struct lex_rules *rules)
{
    static char buffers[2][SHAPE_SIZE_MAX + 1];
    const struct shape_key key = shape_key_from_seed(1);
    struct shape shape, again;
    shape_make(&shape, text, rules, &key, buffers[0]);
    FUZZ_CHECK(shape.text.size <= SHAPE_SIZE_MAX && shape.text.data == buffers[0]);
    FUZZ_CHECK(buffers[0][shape.text.size] == '\0');
    FUZZ_CHECK(shape.is_empty == (shape.text.size == 0));
    if (shape.state != SHAPE_OK && shape.state != SHAPE_BROKEN)
        return;
    shape_make(&again, shape.text, rules, &key, buffers[1]);
    FUZZ_CHECK(again.state == shape.state);
    FUZZ_CHECK(sv_eq(again.text, shape.text));
    FUZZ_CHECK(memcmp(again.hash, shape.hash, sizeof shape.hash) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct sv text = sv_from((const char *)data, size);
    for (int i = 0; i < 2; i++) {
        const struct lex_rules rules = {.backslash_escapes = i == 1};
        check_tokens(text, &rules);
        check_shape(text, &rules);
    }
    const struct hint hint = hint_read(text);
    FUZZ_CHECK(hint.is_there || !(hint.is_wrong || hint.has_intent || hint.has_consistency));
    FUZZ_CHECK(!hint.is_wrong || !(hint.has_intent || hint.has_consistency));
    return 0;
}
