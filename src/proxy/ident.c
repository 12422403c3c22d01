#include "proxy/ident.h"

#include <regex.h>
#include <string.h>

#include "base/bug.h"
#include "proxy/rule_words.h"

#define NAME_FIELDS 3
#define GROUPS_MAX  9 /* parentheses in each other */

struct line {
    struct sv map;
    struct sv name; /* without the / of a regex */
    struct sv user; /* the same */
    bool is_name_regex, is_user_regex, is_any_user;
    size_t reference; /* where \1 stands in `user`; its size: nowhere */
    regex_t name_regex, user_regex;
};

struct ident {
    struct mem *mem;
    struct rule_book book;
    struct line *lines; /* owned */
    uint32_t count;
};

/* ---- reading ---- */

/* What a regex may not have: see the header. */
static enum hf_rc check_regex(struct sv text, struct hf_err *err)
{
    if (text.size == 0 || text.size >= IDENT_REGEX_MAX)
        return rule_refuse(err, text, "is no regular expression here",
                           "It has 1 to 255 bytes behind the slash.");
    for (size_t i = 0; i < text.size; i++) {
        const char c = text.data[i], next = i + 1 < text.size ? text.data[i + 1] : '\0';
        const bool is_word = (next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z') ||
                             (next >= '0' && next <= '9');
        if (c == '\\' && is_word)
            return rule_refuse(err, text, "has a backslash before a letter or digit",
                               "Use classes such as [0-9] and [[:alnum:]].");
        if (c == '{')
            return rule_refuse(err, text, "counts in braces", "Write *, + or ?, or repeat it.");
        if (c == '(' && next == '?')
            return rule_refuse(err, text, "has a (?", "Use plain parentheses.");
        if (c == '\\')
            i++;
    }
    return HF_OK;
}

/* Behind a bracket expression that begins at `at`; the text's size if it does not end. */
static size_t skip_bracket(struct sv text, size_t at)
{
    at++;
    at += at < text.size && text.data[at] == '^';
    at += at < text.size && text.data[at] == ']'; /* the first one is a member */
    while (at < text.size && text.data[at] != ']') {
        /* [:alpha:], [.x.] and [=x=] have a ] of their own. */
        const char kind = at + 1 < text.size ? text.data[at + 1] : '\0';
        const bool is_class = text.data[at] == '[' && (kind == ':' || kind == '.' || kind == '=');
        at += is_class ? 2 : 1;
        while (is_class && at < text.size &&
               !(text.data[at] == kind && at + 1 < text.size && text.data[at + 1] == ']'))
            at++;
        at += is_class ? 2 : 0;
    }
    return at < text.size ? at + 1 : text.size;
}

/* What stands before a place in a regex. */
enum before {
    BEFORE_NOTHING, /* the beginning, of it or of a group or branch */
    BEFORE_ANCHOR,
    BEFORE_ONCE,    /* something that matches a character at the least */
    BEFORE_REPEATS, /* or repeats, or holds what repeats */
};

struct groups {
    bool repeats[GROUPS_MAX + 1]; /* of each that is open, the outermost first */
    size_t depth;
    enum before before;
};

/* A character that is no letter. NULL: all is well; else what is wrong. */
static const char *look_at(struct groups *groups, char c)
{
    const enum before before = groups->before;
    groups->before = BEFORE_ONCE;
    switch (c) {
    case '*':
    case '+':
    case '?':
        groups->before = BEFORE_REPEATS;
        groups->repeats[groups->depth] = true;
        return before == BEFORE_ONCE      ? NULL
               : before == BEFORE_REPEATS ? "repeats what repeats"
                                          : "repeats what is nothing";
    case '^':
    case '$':
        groups->before = BEFORE_ANCHOR;
        return groups->depth > 0 ? "has ^ or $ in parentheses" : NULL;
    case '|':
        groups->before = BEFORE_NOTHING;
        return before == BEFORE_NOTHING ? "has a branch that is nothing" : NULL;
    case '(':
        groups->before = BEFORE_NOTHING;
        groups->repeats[groups->depth < GROUPS_MAX ? ++groups->depth : 0] = false;
        return groups->depth == GROUPS_MAX ? "has parentheses too deep in others" : NULL;
    case ')':
        if (groups->depth == 0)
            return "closes a parenthesis that is not open";
        groups->before = groups->repeats[groups->depth] ? BEFORE_REPEATS : BEFORE_ONCE;
        groups->depth--;
        groups->repeats[groups->depth] |= groups->before == BEFORE_REPEATS;
        return before == BEFORE_NOTHING ? "has a branch that is nothing" : NULL;
    default:
        return NULL;
    }
}

/* What can take the C library long, or all memory: repeating what repeats, as in ((a+)+)+ and a+++,
 * which it doubles for each; and repeating what may be nothing, on which it may turn for ever. */
static enum hf_rc check_shape(struct sv text, struct hf_err *err)
{
    struct groups groups = {.before = BEFORE_NOTHING};
    for (size_t i = 0; i < text.size;) {
        const char c = text.data[i];
        const char *wrong = look_at(&groups, c);
        if (wrong != NULL)
            return rule_refuse(err, text, wrong,
                               "Write it simpler, or as several lines of the same map.");
        i = c == '[' ? skip_bracket(text, i) : i + (c == '\\' ? 2 : 1);
    }
    if (groups.before != BEFORE_NOTHING)
        return HF_OK;
    return rule_refuse(err, text, "has a branch that is nothing", "Is a name missing?");
}

static enum hf_rc compile(regex_t *regex, struct sv text, struct hf_err *err)
{
    char pattern[IDENT_REGEX_MAX], why[128];
    enum hf_rc rc = check_regex(text, err);
    if (rc == HF_OK)
        rc = check_shape(text, err);
    if (rc != HF_OK)
        return rc;
    const bool fits = sv_copy(text, pattern, sizeof pattern);
    hf_assert(fits);
    const int failure = regcomp(regex, pattern, REG_EXTENDED);
    if (failure == 0)
        return HF_OK;
    regerror(failure, regex, why, sizeof why);
    return err_set(err, HF_RC_INVALID, RULE_SQLSTATE, "\"" SV_FMT "\" is no regular expression: %s",
                   SV_ARG(text), why);
}

/* Where \1 stands; the text's size if it does not. */
static size_t find_reference(struct sv text)
{
    for (size_t i = 0; i + 1 < text.size; i++)
        if (text.data[i] == '\\' && text.data[i + 1] == '1')
            return i;
    return text.size;
}

static enum hf_rc read_name(struct line *line, const struct rule_word *word, struct hf_err *err)
{
    line->name = word->text;
    if (word->text.size == 0)
        return rule_refuse(err, word->text, "is no name", "Are the quotes empty?");
    if (!sv_starts_with(word->text, SV("/")))
        return HF_OK;
    line->name = sv_drop(word->text, 1);
    const enum hf_rc rc = compile(&line->name_regex, line->name, err);
    line->is_name_regex = rc == HF_OK;
    return rc;
}

static enum hf_rc read_user(struct line *line, const struct rule_word *word, struct hf_err *err)
{
    line->user = word->text;
    line->reference = line->user.size;
    if (word->text.size == 0)
        return rule_refuse(err, word->text, "is no name", "Are the quotes empty?");
    if (!word->is_quoted && word->text.data[0] == '+')
        return rule_refuse(err, word->text, "is a group, and the proxy does not know who is in it",
                           "Write a line for each of its members.");
    line->is_any_user = rule_is_keyword(word, SV("all"));
    if (sv_starts_with(word->text, SV("/"))) {
        line->user = sv_drop(word->text, 1);
        const enum hf_rc rc = compile(&line->user_regex, line->user, err);
        line->is_user_regex = rc == HF_OK;
        return rc;
    }
    if (!line->is_name_regex)
        return HF_OK;
    line->reference = find_reference(line->user);
    if (line->reference == line->user.size || line->name_regex.re_nsub > 0)
        return HF_OK;
    return rule_refuse(err, line->name, "has no parentheses for \\1 to stand for",
                       "Put ( and ) around what shall be the user.");
}

static enum hf_rc read_fields(struct line *line, const struct rule_field *fields, uint32_t count,
                              struct hf_err *err)
{
    const struct rule_word *map = rule_single(fields, count, 0, "name of a map", err);
    const struct rule_word *name =
        map != NULL ? rule_single(fields, count, 1, "name of the system", err) : NULL;
    const struct rule_word *user = name != NULL ? rule_single(fields, count, 2, "user", err) : NULL;
    if (user == NULL)
        return HF_RC_INVALID;
    if (count > NAME_FIELDS)
        return rule_refuse(err, fields[NAME_FIELDS].words[0].text, "is one word too many",
                           "A line has a map, a name and a user.");
    if (!map->is_quoted && sv_starts_with(map->text, SV("include")))
        return rule_refuse(err, map->text, "is not supported", "Write the lines into this file.");
    line->map = map->text;
    const enum hf_rc rc = read_name(line, name, err);
    return rc == HF_OK ? read_user(line, user, err) : rc;
}

static enum hf_rc make_room(void *owner, size_t lines, struct hf_err *err)
{
    struct ident *ident = owner;
    ident->lines = mem_alloc_array(ident->mem, lines, sizeof ident->lines[0]);
    return ident->lines != NULL ? HF_OK
                                : mem_refused(ident->mem, lines * sizeof ident->lines[0], err);
}

static enum hf_rc take_line(void *owner, const struct rule_field *fields, uint32_t count,
                            uint32_t number, struct hf_err *err)
{
    struct ident *ident = owner;
    (void)number;
    /* Counted first: what it has compiled is given back with the others. */
    return read_fields(&ident->lines[ident->count++], fields, count, err);
}

enum hf_rc ident_new(struct ident **out, struct sv text, struct mem *mem, struct hf_err *err)
{
    static const struct rule_kind kind = {
        .lines = "lines",
        .lines_max = IDENT_LINES_MAX,
        .words_min = NAME_FIELDS,
        .text_size_max = IDENT_TEXT_MAX,
        .make_room = make_room,
        .take = take_line,
    };
    struct hf_err scratch;
    err = err != NULL ? err : &scratch;
    struct ident *ident = mem_alloc(mem, sizeof *ident);
    if (ident == NULL)
        return mem_refused(mem, sizeof *ident, err);
    ident->mem = mem;
    const enum hf_rc rc = rule_read(&ident->book, &kind, ident, text, mem, err);
    if (rc == HF_OK)
        *out = ident;
    else
        ident_free(ident);
    return rc;
}

void ident_free(struct ident *ident)
{
    if (ident == NULL)
        return;
    for (uint32_t i = 0; i < ident->count; i++) {
        if (ident->lines[i].is_name_regex)
            regfree(&ident->lines[i].name_regex);
        if (ident->lines[i].is_user_regex)
            regfree(&ident->lines[i].user_regex);
    }
    mem_free(ident->mem, ident->lines);
    rule_book_free(&ident->book);
    mem_free(ident->mem, ident);
}

/* ---- matching ---- */

bool ident_has(const struct ident *ident, struct sv map)
{
    for (uint32_t i = 0; i < ident->count; i++)
        if (sv_eq(ident->lines[i].map, map))
            return true;
    return false;
}

/* `text` ends in NUL. What the first parentheses have matched goes to `part`. */
static bool regex_fits(const regex_t *regex, const char *text, struct sv *part)
{
    regmatch_t found[2];
    if (regexec(regex, text, 2, found, 0) != 0)
        return false;
    *part = found[1].rm_so >= 0
                ? sv_from(text + found[1].rm_so, (size_t)(found[1].rm_eo - found[1].rm_so))
                : sv_from(text, 0);
    return true;
}

/* The line's user with `part` in place of its \1 is `user`: compared where it stands, so that no
 * name can be too long. */
static bool replaced_is(const struct line *line, struct sv part, struct sv user)
{
    const struct sv head = sv_take(line->user, line->reference);
    const struct sv tail = sv_drop(line->user, line->reference + 2);
    return user.size == head.size + part.size + tail.size && sv_starts_with(user, head) &&
           sv_starts_with(sv_drop(user, head.size), part) && sv_ends_with(user, tail);
}

static bool line_fits(const struct line *line, const char *name, const char *user)
{
    struct sv part = SV(""), unused;
    if (line->is_name_regex ? !regex_fits(&line->name_regex, name, &part)
                            : !sv_eq(line->name, sv_from_cstr(name)))
        return false;
    if (line->is_any_user)
        return true;
    if (line->is_user_regex)
        return regex_fits(&line->user_regex, user, &unused);
    if (line->reference < line->user.size)
        return replaced_is(line, part, sv_from_cstr(user));
    return sv_eq(line->user, sv_from_cstr(user));
}

bool ident_match(const struct ident *ident, struct sv map, struct sv name, struct sv user)
{
    char name_text[IDENT_NAME_MAX], user_text[IDENT_NAME_MAX];
    if (name.size == 0 || user.size == 0)
        return false;
    if (map.size == 0)
        return sv_eq(name, user);
    /* False for a zero byte too: what stands behind it would not be looked at. */
    if (!sv_copy(name, name_text, sizeof name_text) || !sv_copy(user, user_text, sizeof user_text))
        return false;
    for (uint32_t i = 0; i < ident->count; i++)
        if (sv_eq(ident->lines[i].map, map) && line_fits(&ident->lines[i], name_text, user_text))
            return true;
    return false;
}
