/*
 * Statements judged from any bytes: by PostgreSQL's parser, and the parse tree itself from bytes
 * that no parser made. An input that begins with '{' is such a tree.
 *
 * Checked beside the absence of crashes: every verdict is one that can be named; what does not
 * parse is a write; a statement has the verdict of its shape; the cache says what was judged; and
 * adding a statement makes a string no weaker.
 */
#include <string.h>

#include "fuzz.h"
#include "sql/classify.h"
#include "sql/judge.h"

static const struct lex_rules standard = {0};

static void check_verdict(const struct verdict *verdict)
{
    FUZZ_CHECK(verdict->is < VERDICT_CLASSES && verdict->reason < VERDICT_REASONS);
    FUZZ_CHECK(memchr(verdict->subject, '\0', sizeof verdict->subject) != NULL);
    FUZZ_CHECK(verdict->tx.verb <= VERDICT_TX_SET);
    FUZZ_CHECK(verdict->traits < (uint32_t)VERDICT_ASKS_SERVER << 1);
    if ((verdict->traits & VERDICT_HAS_WRITES) != 0)
        FUZZ_CHECK(verdict->is >= VERDICT_WRITE);
}

static void check_same(const struct verdict *a, const struct verdict *b)
{
    FUZZ_CHECK(a->is == b->is && a->reason == b->reason && a->traits == b->traits);
    FUZZ_CHECK(a->tx.verb == b->tx.verb && a->tx.isolation == b->tx.isolation);
    FUZZ_CHECK(strcmp(a->subject, b->subject) == 0);
}

static void check_tree(struct sv tree)
{
    static struct uses uses;
    struct verdict verdict;
    classify_tree(&verdict, &uses, tree);
    catalog_judge(NULL, NULL, &uses, &verdict);
    check_verdict(&verdict);
}

static void check_statement(struct judge *judge, struct sv text)
{
    static char shape[SHAPE_SIZE_MAX + 64];
    const struct verdict first = *judge_afresh(judge, text, &standard);
    check_verdict(&first);
    if (judge->shape.state != SHAPE_OK) {
        FUZZ_CHECK(first.is == VERDICT_WRITE && first.reason == VERDICT_BY_SHAPE);
        return;
    }
    const size_t size = judge->shape.text.size;
    memcpy(shape, judge->shape.text.data, size);
    const struct verdict of_shape = *judge_statement(judge, sv_from(shape, size), &standard);
    check_same(&first, &of_shape);
    const struct verdict cached = *judge_statement(judge, text, &standard);
    check_same(&first, &cached);
    memcpy(shape + size, "; select 1", 10);
    const struct verdict longer = *judge_afresh(judge, sv_from(shape, size + 10), &standard);
    FUZZ_CHECK(longer.is >= first.is || longer.is == VERDICT_WRITE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static _Alignas(16) char memory[1 << 18];
    static struct judge *judge;
    const struct sv text = sv_from((const char *)data, size);
    FUZZ_CHECK(judge_size(64) <= sizeof memory);
    if (judge == NULL)
        judge = judge_init(memory, 64, 1, NULL, NULL);
    if (size > 0 && data[0] == '{')
        check_tree(text);
    else
        check_statement(judge, text);
    return 0;
}
