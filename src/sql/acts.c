#include "sql/acts.h"

#include <string.h>

#include "base/bug.h"
#include "sql/acts_plain.h"

#define CODE_TOKENS_MAX 256 /* arguments of a set_config() that are looked at */
#define NAME_SIZE_MAX   63  /* of a name of PostgreSQL's */

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

/* Letters only: what else is there becomes something that is no letter either. */
static char small(char c)
{
    return (char)(c | 0x20);
}

/* ---- One pass over a statement's tokens ---- */

/* What a word is to the pass. */
enum word {
    WORD_OTHER,
    WORD_CREATE,
    WORD_OR,
    WORD_REPLACE,
    WORD_ROUTINE, /* FUNCTION, PROCEDURE */
    WORD_INSERT,
    WORD_BEFORE_TEMP, /* LOCAL, GLOBAL, INTO */
    WORD_TEMP,
    WORD_BEGIN,
    WORD_ATOMIC,
    WORD_CASE,
    WORD_END,
    WORD_SET_CONFIG,
    WORD_ADVISORY,
    WORD_PG_TEMP,
};

static const struct {
    struct sv text;
    enum word word;
} words[] = {
    {SV_INIT("create"), WORD_CREATE},
    {SV_INIT("or"), WORD_OR},
    {SV_INIT("replace"), WORD_REPLACE},
    {SV_INIT("function"), WORD_ROUTINE},
    {SV_INIT("procedure"), WORD_ROUTINE},
    {SV_INIT("insert"), WORD_INSERT},
    {SV_INIT("merge"), WORD_INSERT},
    {SV_INIT("local"), WORD_BEFORE_TEMP},
    {SV_INIT("global"), WORD_BEFORE_TEMP},
    {SV_INIT("into"), WORD_BEFORE_TEMP},
    {SV_INIT("temp"), WORD_TEMP},
    {SV_INIT("temporary"), WORD_TEMP},
    {SV_INIT("begin"), WORD_BEGIN},
    {SV_INIT("atomic"), WORD_ATOMIC},
    {SV_INIT("case"), WORD_CASE},
    {SV_INIT("end"), WORD_END},
    {SV_INIT("set_config"), WORD_SET_CONFIG},
    {SV_INIT("pg_advisory_lock"), WORD_ADVISORY},
    {SV_INIT("pg_advisory_lock_shared"), WORD_ADVISORY},
    {SV_INIT("pg_try_advisory_lock"), WORD_ADVISORY},
    {SV_INIT("pg_try_advisory_lock_shared"), WORD_ADVISORY},
    {SV_INIT("pg_advisory_unlock"), WORD_ADVISORY},
    {SV_INIT("pg_advisory_unlock_shared"), WORD_ADVISORY},
    {SV_INIT("pg_advisory_unlock_all"), WORD_ADVISORY},
};

static enum word word_of(struct sv text)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (text.size == words[i].text.size && small(text.data[0]) == words[i].text.data[0] &&
            sv_eq_nocase(text, words[i].text))
            return words[i].word;
    return sv_eq_nocase(sv_take(text, 7), SV("pg_temp")) ? WORD_PG_TEMP : WORD_OTHER;
}

struct pass {
    struct lex *lex;
    size_t begin;
    size_t end; /* behind the last token */
    uint32_t mask;
    uint32_t count; /* of tokens */
    int depth;
    int blocks; /* of a body BEGIN ATOMIC ... END, in which a semicolon ends nothing */
    enum word first;
    enum word before; /* the token before */
    bool is_routine;
};

/* A set_config() whose last argument is the word true sets until the transaction ends. The lexer is
 * behind its name. */
static uint32_t set_config_mask(struct lex lex)
{
    struct lex_token token, before = {.kind = LEX_END};
    if (lex_next(&lex, &token) != LEX_OPEN)
        return 0;
    bool is_true = false;
    for (int depth = 1, count = 0; depth > 0 && count < CODE_TOKENS_MAX; count++) {
        enum lex_kind kind = lex_next(&lex, &token);
        if (kind == LEX_END)
            break;
        depth += (kind == LEX_OPEN) - (kind == LEX_CLOSE);
        if (depth == 0)
            return is_true ? ACTS_SET_LOCAL : ACTS_SET;
        is_true = depth == 1 && before.kind == LEX_COMMA && kind == LEX_WORD &&
                  sv_eq_nocase(lex_text(&lex, &token), SV("true"));
        before = token;
    }
    return ACTS_SET;
}

static void pass_name(struct pass *pass, enum word word)
{
    if (word == WORD_SET_CONFIG)
        pass->mask |= set_config_mask(*pass->lex);
    else if (word == WORD_ADVISORY)
        pass->mask |= ACTS_ADVISORY;
    else if (word == WORD_PG_TEMP)
        pass->mask |= ACTS_TEMPORARY;
}

/* Words that mean something without being names of functions. */
static void pass_keyword(struct pass *pass, enum word word)
{
    enum word before = pass->before;
    if (word == WORD_TEMP && pass->first != WORD_INSERT &&
        (before == WORD_CREATE || before == WORD_REPLACE || before == WORD_BEFORE_TEMP))
        pass->mask |= ACTS_TEMPORARY;
    if (word == WORD_ROUTINE && (before == WORD_CREATE || before == WORD_REPLACE) &&
        pass->first == WORD_CREATE)
        pass->is_routine = true;
    if (!pass->is_routine)
        return;
    if (word == WORD_ATOMIC && before == WORD_BEGIN)
        pass->blocks++;
    else if (word == WORD_CASE && pass->blocks > 0)
        pass->blocks++;
    else if (word == WORD_END && pass->blocks > 0)
        pass->blocks--;
}

static void pass_token(struct pass *pass, const struct lex_token *token)
{
    struct sv text = lex_text(pass->lex, token);
    enum word word = WORD_OTHER;
    if (token->kind == LEX_WORD) {
        word = word_of(text);
        pass_name(pass, word);
        pass_keyword(pass, word);
    } else if (token->kind == LEX_QUOTED && text.size > 2) {
        pass_name(pass, word_of(sv_take(sv_drop(text, 1), text.size - 2)));
    } else if (token->kind == LEX_QUOTED_ESC) {
        pass->mask |= ACTS_UNKNOWN; /* it may be the name of anything */
    } else if (token->kind == LEX_OPEN) {
        pass->depth++;
    } else if (token->kind == LEX_CLOSE) {
        pass->depth--;
    }
    if (pass->count++ == 0) {
        pass->begin = token->begin;
        pass->first = word;
    }
    pass->end = token->end;
    pass->before = word;
}

/* The next statement that is not empty. False: there is none. */
static bool pass_statement(struct pass *pass)
{
    struct lex_token token;
    for (;;) {
        enum lex_kind kind = lex_next(pass->lex, &token);
        if (kind == LEX_END)
            return pass->count > 0;
        bool is_end = kind == LEX_SEMICOLON && pass->depth <= 0 && pass->blocks == 0;
        if (is_end && pass->count > 0)
            return true;
        if (!is_end)
            pass_token(pass, &token);
    }
}

/* ---- What a statement is, by its first words ---- */

/* A statement is read from its front; `token` is the one that is looked at. */
struct reader {
    struct lex lex;
    struct lex_token token;
    struct acts_statement *out;
};

static void step(struct reader *reader)
{
    lex_next(&reader->lex, &reader->token);
}

static bool at(const struct reader *reader, const char *word)
{
    return reader->token.kind == LEX_WORD &&
           sv_eq_nocase(lex_text(&reader->lex, &reader->token), sv_from_cstr(word));
}

static bool skip(struct reader *reader, const char *word)
{
    bool is_there = at(reader, word);
    if (is_there)
        step(reader);
    return is_there;
}

/* From the token at hand to the end. */
static struct sv rest(const struct reader *reader)
{
    return sv_drop(reader->out->text, reader->token.begin);
}

/* The token at hand. */
static struct sv take(struct reader *reader)
{
    struct sv text = lex_text(&reader->lex, &reader->token);
    step(reader);
    return text;
}

/* A name with dots. */
static struct sv take_dotted(struct reader *reader)
{
    size_t begin = reader->token.begin, end = reader->token.end;
    step(reader);
    while (reader->token.kind == LEX_DOT) {
        step(reader);
        end = reader->token.end;
        step(reader);
    }
    return sv_from(reader->lex.data + begin, end - begin);
}

/* Brackets with all that is in them; or nothing, if there are none. */
static struct sv take_brackets(struct reader *reader)
{
    size_t begin = reader->token.begin;
    if (reader->token.kind != LEX_OPEN)
        return sv_from(reader->lex.data + begin, 0);
    size_t end;
    int depth = 0;
    do {
        depth += (reader->token.kind == LEX_OPEN) - (reader->token.kind == LEX_CLOSE);
        end = reader->token.end;
        step(reader);
    } while (depth > 0 && reader->token.kind != LEX_END);
    return sv_from(reader->lex.data + begin, end - begin);
}

static void is_a(struct reader *reader, enum acts_kind kind, uint32_t mask)
{
    reader->out->kind = kind;
    reader->out->mask |= mask;
}

static bool is_reported(struct sv name)
{
    static const struct sv names[] = {SV_INIT("application_name"),
                                      SV_INIT("client_encoding"),
                                      SV_INIT("DateStyle"),
                                      SV_INIT("IntervalStyle"),
                                      SV_INIT("TimeZone"),
                                      SV_INIT("standard_conforming_"
                                              "strings")};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (sv_eq_nocase(name, names[i]))
            return true;
    return false;
}

/* Settings that have a syntax of their own, and RESET has it too. */
static bool read_special_name(struct reader *reader)
{
    static const struct {
        const char *first;
        const char *second; /* NULL: none */
        struct sv name;
    } specials[] = {
        {"time", "zone", SV_INIT("TimeZone")},
        {"session", "authorization", SV_INIT("session_authorization")},
        {"role", NULL, SV_INIT("role")},
        {"names", NULL, SV_INIT("client_encoding")},
        {"schema", NULL, SV_INIT("search_path")},
        {"xml", "option", SV_INIT("xmloption")},
    };
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++) {
        struct reader ahead = *reader;
        if (!skip(&ahead, specials[i].first) ||
            (specials[i].second != NULL && !skip(&ahead, specials[i].second)))
            continue;
        *reader = ahead;
        reader->out->name = specials[i].name;
        return true;
    }
    return false;
}

/* Behind SET [LOCAL | SESSION]. */
static void read_assignment(struct reader *reader, bool is_local)
{
    bool is_special = read_special_name(reader);
    struct acts_statement *out = reader->out;
    if (!is_special)
        out->name = take_dotted(reader);
    /* SET role TO x is legal, as is SET TIME ZONE x. */
    bool has_mark = skip(reader, "to");
    if (!has_mark && reader->token.kind == LEX_OPERATOR) {
        has_mark = sv_eq(lex_text(&reader->lex, &reader->token), SV("="));
        if (has_mark)
            step(reader);
    }
    out->value = rest(reader);
    bool is_default = at(reader, "default") || (is_special && out->value.size == 0) ||
                      (sv_eq(out->name, SV("TimeZone")) && !has_mark && at(reader, "local"));
    if (is_local)
        is_a(reader, ACTS_IS_SET_LOCAL, ACTS_SET_LOCAL);
    else if (is_default)
        is_a(reader, ACTS_IS_SET_DEFAULT, ACTS_RESET);
    else
        is_a(reader, ACTS_IS_SET, is_reported(out->name) ? ACTS_SET_REPORTED : ACTS_SET);
}

static void read_set(struct reader *reader)
{
    bool is_local = skip(reader, "local");
    if (!is_local && at(reader, "session")) {
        struct reader ahead = *reader;
        step(&ahead);
        if (skip(&ahead, "characteristics")) {
            reader->out->value = rest(&ahead);
            is_a(reader, ACTS_IS_CHARACTERISTICS, ACTS_SET);
            return;
        }
        if (!at(&ahead, "authorization"))
            *reader = ahead;
    }
    if (at(reader, "transaction") || at(reader, "constraints"))
        is_a(reader, ACTS_IS_SET_TRANSACTION, ACTS_SET_LOCAL);
    else
        read_assignment(reader, is_local);
}

static void read_reset(struct reader *reader)
{
    if (at(reader, "all")) {
        is_a(reader, ACTS_IS_RESET_ALL, ACTS_RESET);
        return;
    }
    if (!read_special_name(reader))
        reader->out->name = take_dotted(reader);
    is_a(reader, ACTS_IS_RESET, ACTS_RESET);
}

static void read_discard(struct reader *reader)
{
    enum acts_kind kind = ACTS_OTHER;
    if (at(reader, "all"))
        kind = ACTS_IS_DISCARD_ALL;
    else if (at(reader, "plans"))
        kind = ACTS_IS_DISCARD_PLANS;
    else if (at(reader, "sequences"))
        kind = ACTS_IS_DISCARD_SEQUENCES;
    else if (at(reader, "temp") || at(reader, "temporary"))
        kind = ACTS_IS_DISCARD_TEMP;
    is_a(reader, kind, ACTS_DISCARD);
}

static void read_prepare(struct reader *reader)
{
    struct acts_statement *out = reader->out;
    if (skip(reader, "transaction")) {
        out->name = take(reader);
        is_a(reader, ACTS_IS_PREPARE_TRANSACTION, ACTS_TRANSACTION);
        return;
    }
    out->name = take(reader);
    out->value = take_brackets(reader);
    skip(reader, "as");
    out->inner = rest(reader);
    is_a(reader, ACTS_IS_PREPARE, ACTS_PREPARED);
}

static void read_execute(struct reader *reader)
{
    reader->out->name = take(reader);
    reader->out->value = rest(reader);
    is_a(reader, ACTS_IS_EXECUTE, ACTS_PREPARED);
}

/* EXECUTE stands within another statement, and is looked at. */
static void read_execute_inside(struct reader *reader)
{
    reader->out->inner = rest(reader);
    step(reader);
    read_execute(reader);
    reader->out->kind = ACTS_IS_EXECUTE_INSIDE;
}

/* CREATE TABLE ... AS EXECUTE. */
static void read_create(struct reader *reader)
{
    int depth = 0;
    bool is_behind_as = false;
    for (; reader->token.kind != LEX_END; step(reader)) {
        depth += (reader->token.kind == LEX_OPEN) - (reader->token.kind == LEX_CLOSE);
        if (is_behind_as && depth == 0 && at(reader, "execute")) {
            read_execute_inside(reader);
            return;
        }
        is_behind_as = at(reader, "as");
    }
}

static void read_explain(struct reader *reader)
{
    take_brackets(reader);
    while (skip(reader, "analyze") || skip(reader, "analyse") || skip(reader, "verbose"))
        ;
    if (at(reader, "execute"))
        read_execute_inside(reader);
    else if (skip(reader, "create"))
        read_create(reader);
}

static void read_deallocate(struct reader *reader)
{
    skip(reader, "prepare");
    bool is_all = at(reader, "all");
    if (!is_all)
        reader->out->name = take(reader);
    is_a(reader, is_all ? ACTS_IS_DEALLOCATE_ALL : ACTS_IS_DEALLOCATE, ACTS_PREPARED);
}

static void read_listen(struct reader *reader)
{
    reader->out->name = take(reader);
    is_a(reader, ACTS_IS_LISTEN, ACTS_LISTEN);
}

static void read_unlisten(struct reader *reader)
{
    bool is_all = reader->token.kind == LEX_OPERATOR;
    if (!is_all)
        reader->out->name = take(reader);
    is_a(reader, is_all ? ACTS_IS_UNLISTEN_ALL : ACTS_IS_UNLISTEN, ACTS_LISTEN);
}

static void read_notify(struct reader *reader)
{
    reader->out->name = take(reader);
    if (reader->token.kind == LEX_COMMA)
        step(reader);
    reader->out->value = rest(reader);
    is_a(reader, ACTS_IS_NOTIFY, ACTS_NOTIFY);
}

/* COMMIT and ROLLBACK have the same words behind them. */
static void read_end(struct reader *reader, enum acts_kind kind, enum acts_kind prepared)
{
    struct acts_statement *out = reader->out;
    is_a(reader, kind, ACTS_TRANSACTION);
    if (skip(reader, "prepared")) {
        out->kind = prepared;
        out->name = take(reader);
        return;
    }
    if (!skip(reader, "work"))
        skip(reader, "transaction");
    if (kind == ACTS_IS_ROLLBACK && skip(reader, "to")) {
        skip(reader, "savepoint");
        out->kind = ACTS_IS_ROLLBACK_TO;
        out->name = take(reader);
        return;
    }
    out->has_chain = skip(reader, "and") && at(reader, "chain");
}

static void read_commit(struct reader *reader)
{
    read_end(reader, ACTS_IS_COMMIT, ACTS_IS_COMMIT_PREPARED);
}

static void read_rollback(struct reader *reader)
{
    read_end(reader, ACTS_IS_ROLLBACK, ACTS_IS_ROLLBACK_PREPARED);
}

static void read_savepoint(struct reader *reader)
{
    reader->out->name = take(reader);
    is_a(reader, ACTS_IS_SAVEPOINT, ACTS_TRANSACTION);
}

static void read_release(struct reader *reader)
{
    skip(reader, "savepoint");
    reader->out->name = take(reader);
    is_a(reader, ACTS_IS_RELEASE, ACTS_TRANSACTION);
}

/* WITH HOLD stands before FOR. */
static void read_declare(struct reader *reader)
{
    uint32_t mask = 0;
    reader->out->name = take(reader);
    for (; reader->token.kind == LEX_WORD && !at(reader, "for"); step(reader)) {
        struct reader ahead = *reader;
        if (skip(&ahead, "with") && at(&ahead, "hold"))
            mask = ACTS_CURSOR;
    }
    is_a(reader, ACTS_IS_DECLARE, mask);
}

static void read_close(struct reader *reader)
{
    if (!at(reader, "all"))
        reader->out->name = take(reader);
    is_a(reader, ACTS_IS_CLOSE, ACTS_DROP);
}

static void read_call(struct reader *reader)
{
    reader->out->name = take_dotted(reader);
    is_a(reader, ACTS_IS_CALL, ACTS_UNKNOWN);
}

/* Reads what stands behind the verb; NULL: it is not read, and is the value. */
static const struct {
    struct sv verb;
    void (*read)(struct reader *reader);
    enum acts_kind kind;
    uint32_t mask;
} verbs[] = {
    {SV_INIT("set"), read_set, ACTS_OTHER, 0},
    {SV_INIT("begin"), NULL, ACTS_IS_BEGIN, ACTS_TRANSACTION},
    {SV_INIT("commit"), read_commit, ACTS_OTHER, 0},
    {SV_INIT("end"), read_commit, ACTS_OTHER, 0},
    {SV_INIT("rollback"), read_rollback, ACTS_OTHER, 0},
    {SV_INIT("reset"), read_reset, ACTS_OTHER, 0},
    {SV_INIT("execute"), read_execute, ACTS_OTHER, 0},
    {SV_INIT("prepare"), read_prepare, ACTS_OTHER, 0},
    {SV_INIT("deallocate"), read_deallocate, ACTS_OTHER, 0},
    {SV_INIT("discard"), read_discard, ACTS_OTHER, 0},
    {SV_INIT("start"), NULL, ACTS_IS_BEGIN, ACTS_TRANSACTION},
    {SV_INIT("abort"), read_rollback, ACTS_OTHER, 0},
    {SV_INIT("savepoint"), read_savepoint, ACTS_OTHER, 0},
    {SV_INIT("release"), read_release, ACTS_OTHER, 0},
    {SV_INIT("listen"), read_listen, ACTS_OTHER, 0},
    {SV_INIT("unlisten"), read_unlisten, ACTS_OTHER, 0},
    {SV_INIT("notify"), read_notify, ACTS_OTHER, 0},
    {SV_INIT("declare"), read_declare, ACTS_OTHER, 0},
    {SV_INIT("close"), read_close, ACTS_OTHER, 0},
    {SV_INIT("explain"), read_explain, ACTS_OTHER, 0},
    {SV_INIT("create"), read_create, ACTS_OTHER, 0},
    {SV_INIT("drop"), NULL, ACTS_OTHER, ACTS_DROP},
    {SV_INIT("do"), NULL, ACTS_IS_DO, ACTS_UNKNOWN},
    {SV_INIT("call"), read_call, ACTS_OTHER, 0},
    {SV_INIT("load"), NULL, ACTS_IS_LOAD, ACTS_LOAD},
};

static void read_statement(struct acts_statement *statement, const struct lex_rules *rules)
{
    struct reader reader = {.out = statement};
    lex_init(&reader.lex, statement->text, rules);
    step(&reader);
    if (reader.token.kind != LEX_WORD)
        return;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (!sv_eq_nocase(lex_text(&reader.lex, &reader.token), verbs[i].verb))
            continue;
        step(&reader);
        is_a(&reader, verbs[i].kind, verbs[i].mask);
        if (verbs[i].read != NULL)
            verbs[i].read(&reader);
        else
            statement->value = rest(&reader);
        return;
    }
}

/* ---- The walk ---- */

void acts_begin(struct acts_walk *walk, struct sv text, const struct lex_rules *rules)
{
    *walk = (struct acts_walk){0};
    lex_init(&walk->lex, text, rules);
}

bool acts_next(struct acts_walk *walk, struct acts_statement *statement)
{
    *statement = (struct acts_statement){0};
    if (walk->is_over)
        return false;
    if (walk->lex.rules.is_unreadable) {
        walk->is_over = true;
        statement->text = sv_from(walk->lex.data, walk->lex.size);
        statement->mask = ACTS_UNKNOWN;
        return walk->lex.size > 0;
    }
    struct pass pass = {.lex = &walk->lex};
    if (!pass_statement(&pass)) {
        walk->is_over = true;
        return false;
    }
    statement->text = sv_from(walk->lex.data + pass.begin, pass.end - pass.begin);
    statement->mask = pass.mask;
    read_statement(statement, &walk->lex.rules);
    return true;
}

uint32_t acts_mask(struct sv text, const struct lex_rules *rules)
{
    struct acts_walk walk;
    struct acts_statement statement;
    uint32_t mask = 0, count = 0;
    if (!rules->is_unreadable && acts_is_plain(text))
        return 0;
    acts_begin(&walk, text, rules);
    while (acts_next(&walk, &statement)) {
        mask |= statement.mask;
        count++;
    }
    return count > 1 ? mask | ACTS_MANY : mask;
}

/* ---- Names ---- */

size_t acts_name(struct sv written, char *out, size_t out_size)
{
    size_t size = 0;
    bool is_quoted = written.size >= 2 && written.data[0] == '"';
    if (sv_find(written, '&') < written.size && !is_quoted)
        return 0;
    if (is_quoted)
        written = sv_take(sv_drop(written, 1), written.size - 2);
    for (size_t i = 0; i < written.size && size < NAME_SIZE_MAX; i++) {
        char c = written.data[i];
        if (is_quoted && c == '"')
            i++; /* it stands there twice */
        else if (!is_quoted && c >= 'A' && c <= 'Z')
            c = small(c);
        if (size == out_size)
            return 0;
        out[size++] = c;
    }
    return size;
}

bool acts_custom_name(struct sv text, size_t *at, struct sv *name)
{
    for (size_t begin = *at; begin < text.size;) {
        size_t end = begin, dots = 0;
        bool is_good = true, is_part = false; /* in a part of the name, not at its beginning */
        while (end < text.size && (is_name(text.data[end]) || text.data[end] == '.')) {
            char c = text.data[end++];
            bool is_dot = c == '.';
            if (!is_part && (is_dot || (c >= '0' && c <= '9') || c == '$'))
                is_good = false;
            dots += is_dot;
            is_part = !is_dot;
        }
        if (is_good && is_part && dots > 0 && end - begin <= ACTS_CUSTOM_NAME_MAX) {
            *name = sv_from(text.data + begin, end - begin);
            *at = end;
            return true;
        }
        begin = end > begin ? end : begin + 1;
    }
    *at = text.size;
    return false;
}
