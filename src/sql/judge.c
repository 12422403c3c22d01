#include "sql/judge.h"

#include <string.h>

#include "sql/classify.h"
#include "sql/parse.h"

static size_t aligned(size_t size)
{
    return (size + 15) & ~(size_t)15;
}

size_t judge_size(uint32_t capacity)
{
    return aligned(sizeof(struct judge)) + verdicts_size(capacity);
}

struct judge *judge_init(void *memory, uint32_t capacity, uint64_t seed,
                         const struct catalog *catalog, const struct catalog_lists *lists)
{
    struct judge *judge = memory;
    judge->key = shape_key_from_seed(seed);
    judge->lists = lists;
    judge->shape = (struct shape){0};
    uses_init(&judge->uses);
    verdicts_init(&judge->verdicts, (char *)memory + aligned(sizeof *judge), capacity);
    judge_renew(judge, catalog);
    return judge;
}

void judge_renew(struct judge *judge, const struct catalog *catalog)
{
    judge->catalog = catalog;
    verdicts_renew(&judge->verdicts, catalog != NULL ? catalog->generation : 0);
}

/* By the parser. */
static void judge_text(struct judge *judge, struct verdict *verdict)
{
    struct parse parse;
    parse_run(&parse, judge->shape.text);
    if (parse.is_ok) {
        classify_tree(verdict, &judge->uses, parse.tree);
        catalog_judge(judge->catalog, judge->lists, &judge->uses, verdict);
    } else {
        verdict_strengthen(verdict, VERDICT_WRITE, VERDICT_BY_PARSER, sv_from_cstr(parse.error));
    }
    parse_free(&parse);
}

static void judge_shape(struct judge *judge)
{
    struct verdict *verdict = &judge->verdict;
    memset(verdict, 0, sizeof *verdict);
    uses_init(&judge->uses);
    if (judge->shape.state != SHAPE_OK)
        verdict_strengthen(verdict, VERDICT_WRITE, VERDICT_BY_SHAPE,
                           sv_from_cstr(shape_state_name(judge->shape.state)));
    else if (!judge->shape.is_empty)
        judge_text(judge, verdict);
}

static void make_shape(struct judge *judge, struct sv sql, const struct lex_rules *rules)
{
    shape_make(&judge->shape, sql, rules, &judge->key, judge->buffer);
}

/* True: the text cannot be read, and the verdict says so. */
static bool refuse_encoding(struct judge *judge, const struct lex_rules *rules)
{
    if (!rules->is_unreadable)
        return false;
    judge->shape = (struct shape){.state = SHAPE_BROKEN, .text = SV("")};
    memset(&judge->verdict, 0, sizeof judge->verdict);
    uses_init(&judge->uses);
    verdict_strengthen(&judge->verdict, VERDICT_WRITE, VERDICT_BY_ENCODING, SV(""));
    return true;
}

const struct verdict *judge_afresh(struct judge *judge, struct sv sql,
                                   const struct lex_rules *rules)
{
    if (refuse_encoding(judge, rules))
        return &judge->verdict;
    make_shape(judge, sql, rules);
    judge_shape(judge);
    return &judge->verdict;
}

const struct verdict *judge_statement(struct judge *judge, struct sv sql,
                                      const struct lex_rules *rules)
{
    if (refuse_encoding(judge, rules))
        return &judge->verdict;
    make_shape(judge, sql, rules);
    const struct verdict *known = verdicts_find(&judge->verdicts, &judge->shape);
    if (known != NULL)
        return known;
    judge_shape(judge);
    /* The beginning of a text that was cut stands for no statement. */
    if (judge->shape.state == SHAPE_OK || judge->shape.state == SHAPE_BROKEN)
        verdicts_put(&judge->verdicts, &judge->shape, &judge->verdict);
    return &judge->verdict;
}

void judge_learn(struct judge *judge, struct sv sql, const struct lex_rules *rules)
{
    judge_statement(judge, sql, rules);
    if (rules->is_unreadable)
        return;
    verdicts_learn(&judge->verdicts, &judge->shape);
}
