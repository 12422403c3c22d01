#include "sql/shape.h"

#include <string.h>

#include "base/rng.h"

#define NOWHERE UINT32_MAX

enum frame_kind {
    FRAME_PLAIN, /* the statement itself, or brackets of no special meaning */
    FRAME_LIST,  /* the brackets of IN (...) or ARRAY[...] */
    FRAME_ROW,   /* of a row of VALUES, or of a row within a list */
    FRAME_CASE,  /* CASE ... END, which nests like brackets do */
};

enum rows_state {
    ROWS_NONE,
    ROWS_AWAITED, /* behind VALUES, or behind a row and its comma */
    ROWS_BEHIND,  /* behind a row */
};

/* A part of the output. */
struct span {
    uint32_t at; /* NOWHERE: there is none */
    uint32_t size;
};

/* An open bracket; the outermost one is the statement. */
struct frame {
    enum frame_kind kind;
    enum rows_state rows;
    uint32_t element_at; /* where the current element begins; NOWHERE: it has no token yet */
    uint32_t row_at;     /* and the current row of VALUES */
    struct span element_before;
    struct span row_before;
    uint32_t chain; /* operators since the last comma, AND or OR: each may be a level of the tree */
    uint32_t spine; /* JOINs and UNIONs, which commas and ANDs do not end */
};

/* What UESCAPE would mean here. */
enum escape_state {
    ESCAPE_NONE,
    ESCAPE_OF_NAME, /* behind U&"name": it and its character belong to the name */
    ESCAPE_KEEPS,   /* behind that UESCAPE */
    ESCAPE_OF_TEXT, /* behind U&'text': both go, as the text does */
    ESCAPE_DROPS,   /* behind that UESCAPE */
};

struct builder {
    char *out;
    uint32_t size;
    enum shape_state state;
    enum lex_kind last; /* what was put last; LEX_END: nothing */
    bool last_is_as;    /* it was the word AS: the next is a name */
    char list_opener;   /* the bracket that opens a list if it comes now, or 0 */
    bool has_semicolon; /* one that is put as soon as something follows it */
    enum escape_state escape;
    uint32_t nesting;
    uint32_t outer;       /* levels of the frames around the current one */
    struct frame *frames; /* SHAPE_NESTING_MAX + 1 of them */
};

static struct frame *top(struct builder *b)
{
    return &b->frames[b->nesting];
}

static void fail(struct builder *b, enum shape_state state)
{
    if (b->state == SHAPE_OK || state > SHAPE_BROKEN)
        b->state = state;
}

static bool is_over(const struct builder *b)
{
    return b->state > SHAPE_BROKEN;
}

/* Levels that a bound counts, at this place. */
static void count_levels(struct builder *b)
{
    const struct frame *frame = top(b);
    if (b->outer + frame->chain + frame->spine > SHAPE_DEPTH_MAX)
        fail(b, SHAPE_TOO_DEEP);
}

static bool is_name(enum lex_kind kind)
{
    return kind == LEX_WORD || kind == LEX_QUOTED || kind == LEX_QUOTED_ESC;
}

/* Whether a dot, a cast or a subscript may stand right behind. */
static bool is_operand(enum lex_kind kind)
{
    return is_name(kind) || kind == LEX_CLOSE || kind == LEX_PARAM;
}

static bool is_literal(enum lex_kind kind)
{
    return kind >= LEX_INTEGER && kind <= LEX_HEX_BITS;
}

/*
 * Whether a blank stands between two tokens. Where none does, the two must read as the same two
 * tokens: hence none before a dot but behind what is no number, and none behind it but before what
 * is no number.
 */
static bool wants_blank(enum lex_kind last, enum lex_kind kind, struct sv text)
{
    if (last == LEX_END || last == LEX_OPEN)
        return false;
    if (last == LEX_DOT)
        return !is_name(kind) && !(kind == LEX_OPERATOR && text.size == 1 && text.data[0] == '*');
    if (last == LEX_CAST)
        return !is_name(kind);
    if (kind == LEX_COMMA || kind == LEX_CLOSE || kind == LEX_SEMICOLON)
        return false;
    if (kind == LEX_DOT)
        return !is_operand(last);
    if (kind == LEX_CAST)
        return !is_operand(last) && !is_literal(last);
    if (kind == LEX_OPEN)
        return !is_name(last) && (text.data[0] == '(' || !is_operand(last));
    return true;
}

/* Appends a token. Unquoted words become lower case on the way. */
static void put(struct builder *b, enum lex_kind kind, struct sv text)
{
    const bool has_blank = wants_blank(b->last, kind, text);
    if (text.size + has_blank > SHAPE_SIZE_MAX - b->size) {
        fail(b, SHAPE_TOO_LONG);
        return;
    }
    if (has_blank)
        b->out[b->size++] = ' ';
    if (top(b)->element_at == NOWHERE)
        top(b)->element_at = b->size;
    char *out = b->out + b->size;
    if (kind == LEX_WORD) {
        for (size_t i = 0; i < text.size; i++) {
            const char c = text.data[i];
            out[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        }
    } else {
        memcpy(out, text.data, text.size);
    }
    b->size += (uint32_t)text.size;
    b->last = kind;
}

static void start_frame(struct frame *frame, enum frame_kind kind)
{
    *frame = (struct frame){.kind = kind,
                            .element_at = NOWHERE,
                            .row_at = NOWHERE,
                            .element_before = {.at = NOWHERE},
                            .row_before = {.at = NOWHERE}};
}

static void push(struct builder *b, enum frame_kind kind)
{
    if (b->nesting == SHAPE_NESTING_MAX) {
        fail(b, SHAPE_TOO_DEEP);
        return;
    }
    const struct frame *frame = top(b);
    b->outer += frame->chain + frame->spine + 1;
    b->nesting++;
    start_frame(top(b), kind);
    count_levels(b);
}

static void pop(struct builder *b)
{
    b->nesting--;
    const struct frame *frame = top(b);
    b->outer -= frame->chain + frame->spine + 1;
}

static struct sv since(const struct builder *b, uint32_t at)
{
    return sv_from(b->out + at, b->size - at);
}

/* If the output from `at` on is the same as the span before, it goes, together with its comma. If
 * not, it is what the next one is compared with. */
static void drop_repetition(struct builder *b, struct span *before, uint32_t at)
{
    if (before->at != NOWHERE && sv_eq(since(b, at), sv_from(b->out + before->at, before->size)))
        b->size = before->at + before->size;
    else
        *before = (struct span){.at = at, .size = b->size - at};
}

/* A number with a sign is one value to people, though two tokens. */
static struct sv without_sign(struct sv text)
{
    if (sv_starts_with(text, SV("- ")) || sv_starts_with(text, SV("+ "))) {
        const struct sv rest = sv_drop(text, 2);
        if (sv_eq(rest, SV("1")) || sv_eq(rest, SV("1.0")))
            return rest;
    }
    return text;
}

static bool is_plain_value(struct sv text)
{
    static const struct sv values[] = {
        SV_INIT("$1"),   SV_INIT("1"),     SV_INIT("''"),  SV_INIT("1.0"), SV_INIT("null"),
        SV_INIT("true"), SV_INIT("false"), SV_INIT("n''"), SV_INIT("b''"), SV_INIT("x''")};
    if (text.size > 5)
        return false;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (sv_eq(text, values[i]))
            return true;
    }
    return false;
}

/* A comma or the closing bracket has come. */
static void end_element(struct builder *b)
{
    struct frame *frame = top(b);
    const uint32_t at = frame->element_at;
    frame->element_at = NOWHERE;
    if (at == NOWHERE || b->nesting == 0 || frame->kind == FRAME_CASE)
        return;
    const struct sv text = without_sign(since(b, at));
    if (frame->kind != FRAME_PLAIN && is_plain_value(text)) {
        memcpy(b->out + at, "$1", 2);
        b->size = at + 2;
        b->last = LEX_PARAM;
    } else if (text.size != b->size - at) {
        memmove(b->out + at, text.data, text.size);
        b->size = at + (uint32_t)text.size;
    }
    if (frame->kind == FRAME_LIST)
        drop_repetition(b, &frame->element_before, at);
}

static void end_rows(struct frame *frame)
{
    frame->rows = ROWS_NONE;
    frame->row_before.at = NOWHERE;
}

static void put_open(struct builder *b, struct sv text, bool is_list)
{
    struct frame *frame = top(b);
    const char mark = text.data[0];
    enum frame_kind kind = FRAME_PLAIN;
    if (is_list)
        kind = FRAME_LIST;
    else if (mark == '(' && frame->rows == ROWS_AWAITED)
        kind = FRAME_ROW;
    else if (mark == '(' && frame->kind == FRAME_LIST && frame->element_at == NOWHERE)
        kind = FRAME_ROW;
    put(b, LEX_OPEN, text);
    if (kind == FRAME_ROW && frame->rows == ROWS_AWAITED)
        frame->row_at = b->size - 1;
    else
        end_rows(frame);
    push(b, kind);
}

static void put_close(struct builder *b, struct sv text)
{
    while (b->nesting > 0 && top(b)->kind == FRAME_CASE)
        pop(b);
    if (b->nesting > 0) {
        end_element(b);
        pop(b);
    }
    put(b, LEX_CLOSE, text);
    struct frame *frame = top(b);
    if (frame->rows != ROWS_AWAITED)
        return;
    if (frame->row_at == NOWHERE) { /* VALUES) and nothing else */
        end_rows(frame);
        return;
    }
    drop_repetition(b, &frame->row_before, frame->row_at);
    frame->row_at = NOWHERE;
    frame->rows = ROWS_BEHIND;
}

/* Between the rows of VALUES a comma ends no element of the list that all of them are in. */
static void put_comma(struct builder *b, struct sv text)
{
    struct frame *frame = top(b);
    if (frame->rows == ROWS_BEHIND) {
        frame->rows = ROWS_AWAITED;
    } else {
        end_rows(frame);
        end_element(b);
    }
    frame->chain = 0;
    const uint32_t element_at = frame->element_at;
    put(b, LEX_COMMA, text);
    frame->element_at = element_at;
}

enum word {
    WORD_OTHER,
    WORD_AND,
    WORD_ARRAY,
    WORD_AS,
    WORD_CASE,
    WORD_CHAIN, /* may nest without brackets: NOT, LIKE, COLLATE ... */
    WORD_END,
    WORD_IN,
    WORD_SPINE, /* the same, and neither comma nor AND ends it: JOIN, UNION ... */
    WORD_UESCAPE,
    WORD_VALUES,
};

/* `text` is in lower case. What can nest without brackets must be here: the bound on depth counts
 * nothing else but operators. In the order of the alphabet, and where in it a letter begins. */
static enum word word_of(struct sv text)
{
    static const struct {
        struct sv text;
        enum word word;
    } words[] = {
        {SV_INIT("and"), WORD_AND},         {SV_INIT("array"), WORD_ARRAY},
        {SV_INIT("as"), WORD_AS},           {SV_INIT("at"), WORD_CHAIN},
        {SV_INIT("between"), WORD_CHAIN},   {SV_INIT("case"), WORD_CASE},
        {SV_INIT("collate"), WORD_CHAIN},   {SV_INIT("end"), WORD_END},
        {SV_INIT("escape"), WORD_CHAIN},    {SV_INIT("except"), WORD_SPINE},
        {SV_INIT("ilike"), WORD_CHAIN},     {SV_INIT("in"), WORD_IN},
        {SV_INIT("intersect"), WORD_SPINE}, {SV_INIT("is"), WORD_CHAIN},
        {SV_INIT("isnull"), WORD_CHAIN},    {SV_INIT("join"), WORD_SPINE},
        {SV_INIT("like"), WORD_CHAIN},      {SV_INIT("not"), WORD_CHAIN},
        {SV_INIT("notnull"), WORD_CHAIN},   {SV_INIT("operator"), WORD_CHAIN},
        {SV_INIT("or"), WORD_AND},          {SV_INIT("overlaps"), WORD_CHAIN},
        {SV_INIT("similar"), WORD_CHAIN},   {SV_INIT("uescape"), WORD_UESCAPE},
        {SV_INIT("union"), WORD_SPINE},     {SV_INIT("values"), WORD_VALUES},
    };
    static const uint8_t begins['z' - 'a' + 2] = {0,  4,  5,  7,  7,  10, 10, 10, 10,
                                                  15, 16, 16, 17, 17, 19, 22, 22, 22,
                                                  22, 23, 23, 25, 26, 26, 26, 26, 26};
    if (text.size < 2 || text.size > 9 || text.data[0] < 'a' || text.data[0] > 'z')
        return WORD_OTHER;
    const size_t letter = (size_t)(text.data[0] - 'a');
    for (size_t i = begins[letter]; i < begins[letter + 1]; i++) {
        if (sv_eq(words[i].text, text))
            return words[i].word;
    }
    return WORD_OTHER;
}

/* What a word changes, once it is put. */
static void heed_word(struct builder *b, enum word word)
{
    struct frame *frame = top(b);
    switch (word) {
    case WORD_AND:
        frame->chain = 0;
        break;
    case WORD_ARRAY:
        b->list_opener = '[';
        break;
    case WORD_IN:
        b->list_opener = '(';
        frame->chain += 2;
        break;
    case WORD_CASE:
        push(b, FRAME_CASE);
        break;
    case WORD_END:
        if (frame->kind == FRAME_CASE)
            pop(b);
        break;
    case WORD_CHAIN:
        frame->chain += 2;
        break;
    case WORD_SPINE:
        frame->spine++;
        frame->chain = 0;
        break;
    case WORD_VALUES:
        frame->rows = ROWS_AWAITED;
        break;
    case WORD_AS:
    case WORD_OTHER:
    case WORD_UESCAPE:
        break;
    }
    count_levels(b);
}

/* `is_label`: a name stands here, whatever the word is. */
static void put_word(struct builder *b, struct sv text, bool is_label)
{
    const uint32_t size = b->size;
    end_rows(top(b));
    put(b, LEX_WORD, text);
    struct sv put_text = since(b, size);
    if (put_text.size > text.size)
        put_text = sv_drop(put_text, 1);
    const enum word word = is_label ? WORD_OTHER : word_of(put_text);
    b->last_is_as = word == WORD_AS;
    heed_word(b, word);
}

static void put_operator(struct builder *b, struct sv text)
{
    end_rows(top(b));
    top(b)->chain++;
    count_levels(b);
    put(b, LEX_OPERATOR, sv_eq(text, SV("!=")) ? SV("<>") : text);
}

/* What stands for a literal of this kind. Numbers are not 0: float(0) is a mistake to the grammar.
 */
static struct sv stripped(enum lex_kind kind)
{
    static const struct sv by_kind[] = {
        [LEX_INTEGER] = SV_INIT("1"),    [LEX_NUMBER] = SV_INIT("1.0"),
        [LEX_STRING] = SV_INIT("''"),    [LEX_STRING_ESC] = SV_INIT("''"),
        [LEX_NATIONAL] = SV_INIT("n''"), [LEX_BITS] = SV_INIT("b''"),
        [LEX_HEX_BITS] = SV_INIT("x''"), [LEX_PARAM] = SV_INIT("$1"),
    };
    return by_kind[kind];
}

/* As much as says what was opened and never closed. */
static struct sv opening_mark(struct sv text)
{
    for (size_t i = 0; i < text.size && i < 3; i++) {
        if (text.data[i] == '\'' || text.data[i] == '"')
            return sv_from(text.data + i, 1);
    }
    return text.data[0] == '$' ? SV("$$") : SV("/*");
}

/* True: the token belongs to a UESCAPE and is dealt with. */
static bool take_escape(struct builder *b, enum lex_kind kind, struct sv text)
{
    const enum escape_state was = b->escape;
    b->escape = ESCAPE_NONE;
    if (was == ESCAPE_OF_NAME || was == ESCAPE_OF_TEXT) {
        if (kind != LEX_WORD || !sv_eq_nocase(text, SV("uescape")))
            return false;
        b->escape = was == ESCAPE_OF_NAME ? ESCAPE_KEEPS : ESCAPE_DROPS;
        return was == ESCAPE_OF_TEXT;
    }
    if (kind != LEX_STRING || text.size > 8)
        return false;
    if (was == ESCAPE_KEEPS)
        put(b, kind, text);
    return was != ESCAPE_NONE;
}

static void put_other(struct builder *b, enum lex_kind kind, struct sv text)
{
    end_rows(top(b));
    if (kind == LEX_OPEN_ENDED || kind == LEX_OTHER)
        fail(b, SHAPE_BROKEN);
    if (kind == LEX_OPEN_ENDED)
        text = opening_mark(text);
    else if (is_literal(kind) || kind == LEX_PARAM)
        text = stripped(kind);
    else if (kind == LEX_CAST)
        top(b)->chain++;
    count_levels(b);
    put(b, kind, text);
    if (kind == LEX_QUOTED_ESC)
        b->escape = ESCAPE_OF_NAME;
    else if (kind == LEX_STRING_ESC)
        b->escape = ESCAPE_OF_TEXT;
}

static void put_token(struct builder *b, enum lex_kind kind, struct sv text)
{
    if (b->escape != ESCAPE_NONE && take_escape(b, kind, text))
        return;
    if (kind == LEX_SEMICOLON) {
        b->has_semicolon = b->last != LEX_END;
        return;
    }
    if (b->has_semicolon) {
        b->has_semicolon = false;
        end_rows(top(b));
        top(b)->chain = 0;
        top(b)->spine = 0;
        put(b, LEX_SEMICOLON, SV(";"));
    }
    const bool is_label = b->last == LEX_DOT || b->last_is_as;
    const char list_opener = b->list_opener;
    b->last_is_as = false;
    b->list_opener = '\0';
    if (kind == LEX_WORD)
        put_word(b, text, is_label);
    else if (kind == LEX_COMMA)
        put_comma(b, text);
    else if (kind == LEX_OPEN)
        put_open(b, text, text.data[0] == list_opener);
    else if (kind == LEX_CLOSE)
        put_close(b, text);
    else if (kind == LEX_OPERATOR)
        put_operator(b, text);
    else
        put_other(b, kind, text);
}

struct shape_key shape_key_from_seed(uint64_t seed)
{
    return (struct shape_key){
        {hash_key_from_seed(rng_hash(seed, 0)), hash_key_from_seed(rng_hash(seed, 1))}};
}

void shape_make(struct shape *shape, struct sv sql, const struct lex_rules *rules,
                const struct shape_key *key, char *buffer)
{
    struct frame frames[SHAPE_NESTING_MAX + 1]; /* start_frame() makes each when it is opened */
    struct builder b = {.out = buffer, .last = LEX_END, .frames = frames};
    struct lex lex;
    struct lex_token token;
    lex_init(&lex, sql, rules);
    start_frame(&frames[0], FRAME_PLAIN);
    while (!is_over(&b) && lex_next(&lex, &token) != LEX_END)
        put_token(&b, token.kind, lex_text(&lex, &token));
    buffer[b.size] = '\0';
    *shape =
        (struct shape){.state = b.state, .is_empty = b.size == 0, .text = sv_from(buffer, b.size)};
    for (size_t i = 0; i < 2; i++)
        shape->hash[i] = hash_bytes(&key->keys[i], shape->text);
}

const char *shape_state_name(enum shape_state state)
{
    static const char *const names[] = {
        [SHAPE_OK] = "whole",
        [SHAPE_BROKEN] = "unfinished",
        [SHAPE_TOO_LONG] = "too long",
        [SHAPE_TOO_DEEP] = "too deep",
    };
    return names[state];
}
