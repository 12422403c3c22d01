/*
 * A text is read twice by the same tokenizer: once to count its words, so that memory is asked for
 * once, and once to keep them. A rule points to its words; matching compares them one by one.
 */
#include "proxy/hba.h"

#include <string.h>

#include "base/bug.h"

#define SQLSTATE_CONFIG_FILE "F0000"
#define FIELDS_MAX           8 /* more than any rule has: the last one is refused as an option */

/* A name or keyword; in quotes it is always a name. */
struct word {
    struct sv text; /* in hba->pool */
    bool is_quoted;
};

/* Words between commas. */
struct field {
    const struct word *words; /* in hba->words */
    uint32_t count;
};

enum rule_type {
    RULE_LOCAL,
    RULE_HOST,
    RULE_HOSTSSL,
    RULE_HOSTNOSSL,
};

struct rule {
    struct hba_rule result; /* first */
    enum rule_type type;
    struct field databases;
    struct field users;
    struct cidr address;
};

struct hba {
    struct mem *mem;
    char *pool;         /* owned: the words' letters */
    struct word *words; /* owned */
    struct rule *rules; /* owned */
    uint32_t count;
};

/* ---- words ---- */

struct reader {
    struct sv rest;
    uint32_t line;
    char *pool;
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
static void join_lines(struct reader *reader)
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
static char peek(struct reader *reader)
{
    join_lines(reader);
    if (reader->rest.size == 0 || sv_starts_with(reader->rest, SV("\r\n")))
        return '\n';
    return reader->rest.data[0];
}

static void skip(struct reader *reader)
{
    reader->rest = sv_drop(reader->rest, 1);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* To the next word of the line; false if there is none. */
static bool find_word(struct reader *reader)
{
    while (is_blank(peek(reader)))
        skip(reader);
    if (peek(reader) == '#')
        while (peek(reader) != '\n')
            skip(reader);
    return peek(reader) != '\n';
}

/* Begins the next line; false at the end of the text. */
static bool next_line(struct reader *reader)
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
static enum word_end read_word(struct reader *reader, struct word *word)
{
    if (!find_word(reader))
        return WORD_NONE;
    bool is_inside = false;
    char *start = reader->pool + reader->used;
    *word = (struct word){.is_quoted = peek(reader) == '"'};
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
            err_set(reader->err, HF_RC_INVALID, SQLSTATE_CONFIG_FILE, "there is a zero byte");
            return WORD_BAD;
        }
        reader->pool[reader->used++] = c;
    }
    word->text = sv_from(start, (size_t)(reader->pool + reader->used - start));
    if (is_inside) {
        err_set(reader->err, HF_RC_INVALID, SQLSTATE_CONFIG_FILE, "a quote is not closed");
        return WORD_BAD;
    }
    while (is_blank(peek(reader)))
        skip(reader);
    if (peek(reader) != ',')
        return WORD_FOUND;
    skip(reader);
    return WORD_LIST;
}

/* How many words the text has. */
static enum hf_rc count_words(struct reader reader, size_t *count, uint32_t *line)
{
    struct word word;
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

/* ---- rules ---- */

static bool is_keyword(const struct word *word, struct sv keyword)
{
    return !word->is_quoted && sv_eq(word->text, keyword);
}

static enum hf_rc refuse(struct hf_err *err, struct sv what, const char *reason, const char *hint)
{
    err_set(err, HF_RC_INVALID, SQLSTATE_CONFIG_FILE, "\"" SV_FMT "\" %s", SV_ARG(what), reason);
    return err_hint(err, "%s", hint);
}

static enum hf_rc read_type(const struct word *word, enum rule_type *type, struct hf_err *err)
{
    static const struct {
        struct sv name;
        enum rule_type type;
    } types[] = {
        {SV_INIT("local"), RULE_LOCAL},       {SV_INIT("host"), RULE_HOST},
        {SV_INIT("hostssl"), RULE_HOSTSSL},   {SV_INIT("hostnossl"), RULE_HOSTNOSSL},
        {SV_INIT("hostnogssenc"), RULE_HOST},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (!sv_eq(word->text, types[i].name))
            continue;
        *type = types[i].type;
        return HF_OK;
    }
    if (sv_eq(word->text, SV("hostgssenc")))
        return refuse(err, word->text, "can fit nobody",
                      "Encryption by GSS is not spoken here: remove the line.");
    if (sv_starts_with(word->text, SV("include")))
        return refuse(err, word->text, "is not supported", "Write the rules into this file.");
    return refuse(err, word->text, "is no type of a rule",
                  "Begin with local, host, hostssl or hostnossl.");
}

/* Names that PostgreSQL would read in another way than as a name. */
static enum hf_rc check_names(const struct field *field, bool is_users, struct hf_err *err)
{
    for (uint32_t i = 0; i < field->count; i++) {
        const struct word *word = &field->words[i];
        const struct sv text = word->text;
        if (text.size == 0)
            return refuse(err, text, "is no name", "Two commas in a row, or empty quotes?");
        if (text.data[0] == '/')
            return refuse(err, text, "is a regular expression, and those are not supported",
                          "Write the names, or all.");
        if (word->is_quoted)
            continue;
        if (text.data[0] == '@')
            return refuse(err, text, "is a file of names, and those are not supported",
                          "Write the names into the rule.");
        if (is_users && text.data[0] == '+')
            return refuse(err, text, "is a group, and the proxy does not know who is in it",
                          "Write the names of its members.");
        if (!is_users && (is_keyword(word, SV("samerole")) || is_keyword(word, SV("samegroup"))))
            return refuse(err, text, "needs groups, and the proxy does not know who is in them",
                          "Write the names of users.");
    }
    return HF_OK;
}

/* One word, such as a method; NULL if there is a list or nothing at all. */
static const struct word *read_single(const struct field *fields, uint32_t count, uint32_t at,
                                      const char *what, struct hf_err *err)
{
    if (at < count && fields[at].count == 1)
        return &fields[at].words[0];
    err_set(err, HF_RC_INVALID, SQLSTATE_CONFIG_FILE, "there is %s %s",
            at < count ? "more than one" : "no", what);
    return NULL;
}

static enum hf_rc read_address(const struct field *fields, uint32_t count, uint32_t *at,
                               struct cidr *cidr, struct hf_err *err)
{
    const struct word *mask = NULL;
    struct address literal;
    const struct word *address = read_single(fields, count, (*at)++, "address", err);
    if (address == NULL)
        return HF_RC_INVALID;
    /* Only an address without a slash has its mask beside it: then the next word cannot be a
     * method. */
    if (address_literal(&literal, address->text, 0)) {
        mask = read_single(fields, count, (*at)++, "mask", err);
        if (mask == NULL)
            return HF_RC_INVALID;
    }
    return cidr_parse(cidr, address->text, mask != NULL ? mask->text : SV(""), err);
}

static enum hf_rc read_method(const struct word *word, enum rule_type type, enum proxy_auth *method,
                              struct hf_err *err)
{
    for (int i = 0; i <= PROXY_AUTH_CERT; i++) {
        if (!sv_eq(word->text, sv_from_cstr(proxy_auth_name((enum proxy_auth)i))))
            continue;
        *method = (enum proxy_auth)i;
        if (*method == PROXY_AUTH_CERT && type != RULE_HOSTSSL)
            return refuse(err, word->text, "needs a connection with TLS", "Begin with hostssl.");
        return HF_OK;
    }
    return refuse(err, word->text, "is no method that is supported",
                  "Choose one of trust, reject, password, md5, scram-sha-256, cert.");
}

static enum hf_rc read_rule(struct rule *rule, const struct field *fields, uint32_t count,
                            struct hf_err *err)
{
    uint32_t at = 3;
    const struct word *type = read_single(fields, count, 0, "type", err);
    if (type == NULL || read_type(type, &rule->type, err) != HF_OK)
        return HF_RC_INVALID;
    if (count < 3)
        return err_set(err, HF_RC_INVALID, SQLSTATE_CONFIG_FILE, "there is no %s",
                       count < 2 ? "database" : "user");
    rule->databases = fields[1];
    rule->users = fields[2];
    enum hf_rc rc = check_names(&rule->databases, false, err);
    if (rc == HF_OK)
        rc = check_names(&rule->users, true, err);
    if (rc == HF_OK && rule->type != RULE_LOCAL)
        rc = read_address(fields, count, &at, &rule->address, err);
    if (rc != HF_OK)
        return rc;
    const struct word *method = read_single(fields, count, at++, "method", err);
    if (method == NULL)
        return HF_RC_INVALID;
    rc = read_method(method, rule->type, &rule->result.method, err);
    if (rc == HF_OK && at < count)
        return refuse(err, fields[at].words[0].text, "is an option, and those are not supported",
                      "End the rule with its method.");
    return rc;
}

/* The fields of one line; the words go to `*words`, which moves on. */
static enum hf_rc read_line(struct reader *reader, struct word **words, struct field *fields,
                            uint32_t *count)
{
    bool goes_on = false;
    *count = 0;
    for (;;) {
        struct word *word = *words;
        const enum word_end end = read_word(reader, word);
        if (end == WORD_BAD)
            return reader->err->rc;
        if (end == WORD_NONE)
            return goes_on ? err_set(reader->err, HF_RC_INVALID, SQLSTATE_CONFIG_FILE,
                                     "a list ends with a comma")
                           : HF_OK;
        ++*words;
        if (goes_on)
            fields[*count - 1].count++;
        else if (*count < FIELDS_MAX)
            fields[(*count)++] = (struct field){.words = word, .count = 1};
        goes_on = end == WORD_LIST;
    }
}

static enum hf_rc read_rules(struct hba *hba, struct reader *reader, size_t rules_max,
                             uint32_t *line)
{
    struct word *words = hba->words;
    struct field fields[FIELDS_MAX];
    uint32_t count = 0;
    do {
        *line = reader->line;
        enum hf_rc rc = read_line(reader, &words, fields, &count);
        if (rc != HF_OK)
            return rc;
        if (count == 0)
            continue;
        if (hba->count == rules_max)
            return err_set(reader->err, HF_RC_LIMIT, "54000", "there are more than %zu rules",
                           rules_max);
        struct rule *rule = &hba->rules[hba->count];
        rule->result.line = *line;
        rc = read_rule(rule, fields, count, reader->err);
        if (rc != HF_OK)
            return rc;
        hba->count++;
    } while (next_line(reader));
    return HF_OK;
}

/* ---- life ---- */

static bool make_room(struct hba *hba, size_t words, size_t rules)
{
    hba->words = mem_alloc_array(hba->mem, words + 1, sizeof hba->words[0]);
    hba->rules = mem_alloc_array(hba->mem, rules, sizeof hba->rules[0]);
    return hba->words != NULL && hba->rules != NULL;
}

/* Reads all of it; `*line` is where it got to. */
static enum hf_rc read_text(struct hba *hba, struct sv text, uint32_t *line, struct hf_err *err)
{
    struct reader reader = {.rest = text, .line = 1, .pool = hba->pool, .err = err};
    size_t words = 0;
    const enum hf_rc rc = count_words(reader, &words, line);
    if (rc != HF_OK)
        return rc;
    *line = 0;
    /* Every rule has four words at the least; of lines with fewer, the first one ends it all. */
    size_t rules = words / 4 + 1;
    rules = rules < HBA_RULES_MAX ? rules : HBA_RULES_MAX;
    if (!make_room(hba, words, rules))
        return mem_refused(hba->mem, rules * sizeof hba->rules[0], err);
    return read_rules(hba, &reader, rules, line);
}

enum hf_rc hba_new(struct hba **out, struct sv text, struct mem *mem, struct hf_err *err)
{
    struct hf_err scratch;
    err = err != NULL ? err : &scratch;
    if (text.size > HBA_TEXT_MAX)
        return err_set(err, HF_RC_LIMIT, "54000", "the file has more than %zu bytes", HBA_TEXT_MAX);
    struct hba *hba = mem_alloc(mem, sizeof *hba);
    if (hba == NULL)
        return mem_refused(mem, sizeof *hba, err);
    hba->mem = mem;
    hba->pool = mem_alloc(mem, text.size + 1);
    uint32_t line = 0;
    enum hf_rc rc =
        hba->pool != NULL ? read_text(hba, text, &line, err) : mem_refused(mem, text.size + 1, err);
    if (rc != HF_OK && line > 0)
        err_while(err, "line %u", (unsigned)line);
    if (rc == HF_OK && hba->count == 0)
        rc = err_set(err, HF_RC_INVALID, SQLSTATE_CONFIG_FILE,
                     "there is no rule, so nobody could come in");
    if (rc == HF_OK)
        *out = hba;
    else
        hba_free(hba);
    return rc;
}

uint32_t hba_count(const struct hba *hba)
{
    return hba->count;
}

void hba_free(struct hba *hba)
{
    if (hba == NULL)
        return;
    mem_free(hba->mem, hba->rules);
    mem_free(hba->mem, hba->words);
    mem_free(hba->mem, hba->pool);
    mem_free(hba->mem, hba);
}

/* ---- matching ---- */

static bool type_fits(const struct rule *rule, const struct hba_request *request)
{
    const bool is_local = request->peer->family == AF_UNIX;
    switch (rule->type) {
    case RULE_LOCAL:
        return is_local;
    case RULE_HOST:
        return !is_local;
    case RULE_HOSTSSL:
        return !is_local && request->is_tls;
    case RULE_HOSTNOSSL:
        return !is_local && !request->is_tls;
    }
    return false;
}

static bool database_fits(const struct rule *rule, const struct hba_request *request)
{
    for (uint32_t i = 0; i < rule->databases.count; i++) {
        const struct word *word = &rule->databases.words[i];
        bool fits = false;
        if (request->is_replication) /* it has no database, whatever it says */
            fits = is_keyword(word, SV("replication"));
        else if (is_keyword(word, SV("all")))
            fits = true;
        else if (is_keyword(word, SV("sameuser")))
            fits = sv_eq(request->database, request->user);
        else if (!is_keyword(word, SV("replication")))
            fits = sv_eq(word->text, request->database);
        if (fits)
            return true;
    }
    return false;
}

static bool user_fits(const struct rule *rule, const struct hba_request *request)
{
    for (uint32_t i = 0; i < rule->users.count; i++) {
        const struct word *word = &rule->users.words[i];
        if (is_keyword(word, SV("all")) || sv_eq(word->text, request->user))
            return true;
    }
    return false;
}

const struct hba_rule *hba_match(const struct hba *hba, const struct hba_request *request)
{
    for (uint32_t i = 0; i < hba->count; i++) {
        const struct rule *rule = &hba->rules[i];
        if (!type_fits(rule, request) || !database_fits(rule, request) || !user_fits(rule, request))
            continue;
        /* The address last: it may have to ask the kernel. */
        if (rule->type == RULE_LOCAL || cidr_match(&rule->address, request->peer))
            return &rule->result;
    }
    return NULL;
}
