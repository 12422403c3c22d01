/*
 * A text is read twice by the same tokenizer: once to count its words, so that memory is asked for
 * once, and once to keep them.
 */
#include "proxy/rule_words.h"

struct rule_reader {
    struct sv rest;
    uint32_t line;
    char *letters; /* room for as many bytes as the text */
    size_t used;
    struct hf_err *err;
};

enum word_end {
    WORD_FOUND,
    WORD_LIST, /* found, and a comma follows: the field goes on */
    WORD_NONE, /* the line has no more */
    WORD_BAD,
};

/* Forgets a backslash at the end of a line, with the end: the next line belongs to this one. */
static void join_lines(struct rule_reader *reader)
{
    for (;;) {
        const size_t skip = sv_starts_with(reader->rest, SV("\\\n"))     ? 2
                            : sv_starts_with(reader->rest, SV("\\\r\n")) ? 3
                                                                         : 0;
        if (skip == 0)
            return;
        reader->rest = sv_drop(reader->rest, skip);
        reader->line++;
    }
}

/* The next character, or '\n' at the end of the text. */
static char peek(struct rule_reader *reader)
{
    join_lines(reader);
    if (reader->rest.size == 0 || sv_starts_with(reader->rest, SV("\r\n")))
        return '\n';
    return reader->rest.data[0];
}

static void skip(struct rule_reader *reader)
{
    reader->rest = sv_drop(reader->rest, 1);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* To the next word of the line; false if there is none. */
static bool find_word(struct rule_reader *reader)
{
    while (is_blank(peek(reader)))
        skip(reader);
    if (peek(reader) == '#')
        while (peek(reader) != '\n')
            skip(reader);
    return peek(reader) != '\n';
}

/* Begins the next line; false at the end of the text. */
static bool next_line(struct rule_reader *reader)
{
    if (sv_starts_with(reader->rest, SV("\r\n")))
        skip(reader);
    if (reader->rest.size == 0)
        return false;
    skip(reader);
    reader->line++;
    return true;
}

/* Quotes may begin and end anywhere in a word; two of them inside quotes are one. */
static enum word_end read_word(struct rule_reader *reader, struct rule_word *word)
{
    if (!find_word(reader))
        return WORD_NONE;
    bool is_inside = false;
    char *start = reader->letters + reader->used;
    *word = (struct rule_word){.is_quoted = peek(reader) == '"'};
    for (char c = peek(reader); c != '\n'; c = peek(reader)) {
        if (!is_inside && (is_blank(c) || c == ',' || c == '#'))
            break;
        skip(reader);
        if (c == '"') {
            const bool is_doubled = is_inside && peek(reader) == '"';
            if (!is_doubled) {
                is_inside = !is_inside;
                continue;
            }
            skip(reader);
        }
        if (c == '\0') {
            err_set(reader->err, HF_RC_INVALID, RULE_SQLSTATE, "there is a zero byte");
            return WORD_BAD;
        }
        reader->letters[reader->used++] = c;
    }
    word->text = sv_from(start, (size_t)(reader->letters + reader->used - start));
    if (is_inside) {
        err_set(reader->err, HF_RC_INVALID, RULE_SQLSTATE, "a quote is not closed");
        return WORD_BAD;
    }
    while (is_blank(peek(reader)))
        skip(reader);
    if (peek(reader) != ',')
        return WORD_FOUND;
    skip(reader);
    return WORD_LIST;
}

/* How many words there are, of a reader that stands at the front; `*line` is where it got to. */
static enum hf_rc count_words(struct rule_reader reader, size_t *count, uint32_t *line)
{
    struct rule_word word;
    *count = 0;
    do {
        reader.used = 0;
        *line = reader.line;
        for (;;) {
            const enum word_end end = read_word(&reader, &word);
            if (end == WORD_BAD)
                return reader.err->rc;
            if (end == WORD_NONE)
                break;
            ++*count;
        }
    } while (next_line(&reader));
    return HF_OK;
}

/* The fields of one line; the words go to `*words`, which moves on. No field: it is empty, or a
 * comment. */
static enum hf_rc read_line(struct rule_reader *reader, struct rule_word **words,
                            struct rule_field fields[RULE_FIELDS_MAX], uint32_t *count)
{
    bool goes_on = false;
    *count = 0;
    for (;;) {
        struct rule_word *word = *words;
        const enum word_end end = read_word(reader, word);
        if (end == WORD_BAD)
            return reader->err->rc;
        if (end == WORD_NONE)
            return goes_on ? err_set(reader->err, HF_RC_INVALID, RULE_SQLSTATE,
                                     "a list ends with a comma")
                           : HF_OK;
        ++*words;
        if (goes_on)
            fields[*count - 1].count++;
        else if (*count == RULE_FIELDS_MAX)
            return err_set(reader->err, HF_RC_LIMIT, RULE_SQLSTATE,
                           "the line has more than %d fields", RULE_FIELDS_MAX);
        else
            fields[(*count)++] = (struct rule_field){.words = word, .count = 1};
        goes_on = end == WORD_LIST;
    }
}

static enum hf_rc read_lines(struct rule_reader *reader, const struct rule_kind *kind, void *owner,
                             struct rule_word *words, size_t lines_max, uint32_t *line)
{
    struct rule_field fields[RULE_FIELDS_MAX];
    uint32_t count = 0;
    size_t lines = 0;
    do {
        *line = reader->line;
        enum hf_rc rc = read_line(reader, &words, fields, &count);
        if (rc != HF_OK)
            return rc;
        if (count == 0)
            continue;
        if (lines++ == lines_max)
            return err_set(reader->err, HF_RC_LIMIT, "54000", "there are more than %zu %s",
                           lines_max, kind->lines);
        rc = kind->take(owner, fields, count, *line, reader->err);
        if (rc != HF_OK)
            return rc;
    } while (next_line(reader));
    return HF_OK;
}

/* `*line` is where it got to; 0: the trouble is not in a line. */
static enum hf_rc read_text(struct rule_book *book, const struct rule_kind *kind, void *owner,
                            struct sv text, uint32_t *line, struct hf_err *err)
{
    struct rule_reader reader = {.rest = text, .line = 1, .letters = book->letters, .err = err};
    size_t words = 0;
    enum hf_rc rc = count_words(reader, &words, line);
    if (rc != HF_OK)
        return rc;
    *line = 0;
    /* The first line that has too few words ends it all. */
    size_t lines = words / kind->words_min + 1;
    lines = lines < kind->lines_max ? lines : kind->lines_max;
    book->words = mem_alloc_array(book->mem, words + 1, sizeof book->words[0]);
    if (book->words == NULL)
        return mem_refused(book->mem, words * sizeof book->words[0], err);
    rc = kind->make_room(owner, lines, err);
    return rc == HF_OK ? read_lines(&reader, kind, owner, book->words, lines, line) : rc;
}

enum hf_rc rule_read(struct rule_book *book, const struct rule_kind *kind, void *owner,
                     struct sv text, struct mem *mem, struct hf_err *err)
{
    uint32_t line = 0;
    *book = (struct rule_book){.mem = mem};
    if (text.size > kind->text_size_max)
        return err_set(err, HF_RC_LIMIT, "54000", "the file has more than %zu bytes",
                       kind->text_size_max);
    book->letters = mem_alloc(mem, text.size + 1);
    if (book->letters == NULL)
        return mem_refused(mem, text.size + 1, err);
    const enum hf_rc rc = read_text(book, kind, owner, text, &line, err);
    if (rc != HF_OK && line > 0)
        err_while(err, "line %u", (unsigned)line);
    return rc;
}

void rule_book_free(struct rule_book *book)
{
    if (book->mem == NULL)
        return;
    mem_free(book->mem, book->words);
    mem_free(book->mem, book->letters);
    *book = (struct rule_book){0};
}

/* ---- looking at words ---- */

bool rule_is_keyword(const struct rule_word *word, struct sv keyword)
{
    return !word->is_quoted && sv_eq(word->text, keyword);
}

enum hf_rc rule_refuse(struct hf_err *err, struct sv what, const char *reason, const char *hint)
{
    err_set(err, HF_RC_INVALID, RULE_SQLSTATE, "\"" SV_FMT "\" %s", SV_ARG(what), reason);
    return err_hint(err, "%s", hint);
}

const struct rule_word *rule_single(const struct rule_field *fields, uint32_t count, uint32_t at,
                                    const char *what, struct hf_err *err)
{
    if (at < count && fields[at].count == 1)
        return &fields[at].words[0];
    err_set(err, HF_RC_INVALID, RULE_SQLSTATE, "there is %s %s",
            at < count ? "more than one" : "no", what);
    return NULL;
}
