/*
 * Acts, from any bytes, under both rules for backslashes.
 *
 * Checked beside the absence of crashes: the mask is the union of the walk's, though most texts are
 * passed over by their bytes; statements lie in the text in order, and their parts in them; names
 * that are found are such, and come to an end.
 */
#include "fuzz.h"
#include "sql/acts.h"

/* A constant, or a part of the whole. */
static void check_part(struct sv part, struct sv whole)
{
    bool is_inside = part.data >= whole.data && part.data + part.size <= whole.data + whole.size;
    FUZZ_CHECK(part.size <= 32 || is_inside);
}

static void check_walk(struct sv text, const struct lex_rules *rules)
{
    struct acts_walk walk;
    struct acts_statement statement;
    char name[64];
    uint32_t mask = 0, count = 0;
    const char *at = text.data;
    acts_begin(&walk, text, rules);
    while (acts_next(&walk, &statement)) {
        FUZZ_CHECK(statement.text.size > 0 && statement.text.data >= at);
        at = statement.text.data + statement.text.size;
        FUZZ_CHECK(at <= text.data + text.size);
        check_part(statement.name, statement.text);
        check_part(statement.value, statement.text);
        check_part(statement.inner, statement.text);
        FUZZ_CHECK(acts_name(statement.name, name, sizeof name) < sizeof name);
        mask |= statement.mask;
        count++;
    }
    FUZZ_CHECK(!acts_next(&walk, &statement));
    FUZZ_CHECK(acts_mask(text, rules) == (count > 1 ? mask | ACTS_MANY : mask));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct sv text = sv_from((const char *)data, size);
    struct sv name;
    size_t at = 0;
    for (int i = 0; i < 3; i++) {
        const struct lex_rules rules = {.backslash_escapes = i == 1, .is_unreadable = i == 2};
        check_walk(text, &rules);
    }
    for (size_t before = 0; acts_custom_name(text, &at, &name); before = at) {
        FUZZ_CHECK(at > before && name.size <= ACTS_CUSTOM_NAME_MAX);
        FUZZ_CHECK(sv_find(name, '.') < name.size);
    }
    return 0;
}
