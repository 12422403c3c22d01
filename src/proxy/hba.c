/* A rule points to its words; matching compares them one by one. */
#include "proxy/hba.h"

#include <string.h>

#include "base/bug.h"
#include "proxy/rule_words.h"

enum rule_type {
    RULE_LOCAL,
    RULE_HOST,
    RULE_HOSTSSL,
    RULE_HOSTNOSSL,
};

struct rule {
    struct hba_rule result; /* first */
    enum rule_type type;
    struct rule_field databases;
    struct rule_field users;
    struct cidr address;
};

struct hba {
    struct mem *mem;
    struct rule_book book;
    struct rule *rules; /* owned */
    uint32_t count;
};

/* ---- rules ---- */

static enum hf_rc read_type(const struct rule_word *word, enum rule_type *type, struct hf_err *err)
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
        return rule_refuse(err, word->text, "can fit nobody",
                           "Encryption by GSS is not spoken here: remove the line.");
    if (sv_starts_with(word->text, SV("include")))
        return rule_refuse(err, word->text, "is not supported", "Write the rules into this file.");
    return rule_refuse(err, word->text, "is no type of a rule",
                       "Begin with local, host, hostssl or hostnossl.");
}

/* Names that PostgreSQL would read in another way than as a name. */
static enum hf_rc check_names(const struct rule_field *field, bool is_users, struct hf_err *err)
{
    for (uint32_t i = 0; i < field->count; i++) {
        const struct rule_word *word = &field->words[i];
        const struct sv text = word->text;
        if (text.size == 0)
            return rule_refuse(err, text, "is no name", "Two commas in a row, or empty quotes?");
        if (text.data[0] == '/')
            return rule_refuse(err, text, "is a regular expression, and those are not supported",
                               "Write the names, or all.");
        if (word->is_quoted)
            continue;
        if (text.data[0] == '@')
            return rule_refuse(err, text, "is a file of names, and those are not supported",
                               "Write the names into the rule.");
        if (is_users && text.data[0] == '+')
            return rule_refuse(err, text, "is a group, and the proxy does not know who is in it",
                               "Write the names of its members.");
        if (!is_users &&
            (rule_is_keyword(word, SV("samerole")) || rule_is_keyword(word, SV("samegroup"))))
            return rule_refuse(err, text,
                               "needs groups, and the proxy does not know who is in them",
                               "Write the names of users.");
    }
    return HF_OK;
}

static enum hf_rc read_address(const struct rule_field *fields, uint32_t count, uint32_t *at,
                               struct cidr *cidr, struct hf_err *err)
{
    const struct rule_word *mask = NULL;
    struct address literal;
    const struct rule_word *address = rule_single(fields, count, (*at)++, "address", err);
    if (address == NULL)
        return HF_RC_INVALID;
    /* Only an address without a slash has its mask beside it: then the next word cannot be a
     * method. */
    if (address_literal(&literal, address->text, 0)) {
        mask = rule_single(fields, count, (*at)++, "mask", err);
        if (mask == NULL)
            return HF_RC_INVALID;
    }
    return cidr_parse(cidr, address->text, mask != NULL ? mask->text : SV(""), err);
}

static enum hf_rc read_method(const struct rule_word *word, enum rule_type type,
                              enum proxy_auth *method, struct hf_err *err)
{
    for (int i = 0; i <= PROXY_AUTH_PEER; i++) {
        if (!sv_eq(word->text, sv_from_cstr(proxy_auth_name((enum proxy_auth)i))))
            continue;
        *method = (enum proxy_auth)i;
        if (*method == PROXY_AUTH_CERT && type != RULE_HOSTSSL)
            return rule_refuse(err, word->text, "needs a connection with TLS",
                               "Begin with hostssl.");
        if (*method == PROXY_AUTH_PEER && type != RULE_LOCAL)
            return rule_refuse(err, word->text, "asks the kernel who is at the other end",
                               "It can tell only of a unix socket: begin with local.");
        return HF_OK;
    }
    return rule_refuse(err, word->text, "is no method that is supported",
                       "Choose one of trust, reject, password, md5, scram-sha-256, cert, peer.");
}

static enum hf_rc read_clientcert(struct rule *rule, struct sv value, struct hf_err *err)
{
    if (rule->type != RULE_HOSTSSL)
        return rule_refuse(err, SV("clientcert"), "needs a connection with TLS",
                           "Begin with hostssl.");
    if (sv_eq(value, SV("verify-ca")) && rule->result.method == PROXY_AUTH_CERT)
        return rule_refuse(err, value, "is less than the method demands",
                           "cert compares the name: leave clientcert away.");
    if (sv_eq(value, SV("verify-ca")))
        rule->result.clientcert = HBA_CLIENTCERT_CA;
    else if (sv_eq(value, SV("verify-full")))
        rule->result.clientcert = HBA_CLIENTCERT_FULL;
    else
        return rule_refuse(err, value, "is no value of clientcert",
                           "Write verify-ca or verify-full.");
    return HF_OK;
}

/* name=value behind the method. */
static enum hf_rc read_option(struct rule *rule, const struct rule_word *word, struct hf_err *err)
{
    struct sv value = word->text, name;
    const bool has_value = sv_find(value, '=') < value.size && sv_split(&value, '=', &name);
    const bool names_user =
        rule->result.method == PROXY_AUTH_CERT || rule->result.method == PROXY_AUTH_PEER;
    if (has_value && sv_eq(name, SV("clientcert")))
        return read_clientcert(rule, value, err);
    const bool has_name = names_user || rule->result.clientcert == HBA_CLIENTCERT_FULL;
    if (has_value && sv_eq(name, SV("map")) && value.size > 0) {
        if (!has_name)
            return rule_refuse(err, word->text, "needs a name to be mapped",
                               "Maps are for cert, peer and clientcert=verify-full, written before "
                               "them.");
        rule->result.map = value;
        return HF_OK;
    }
    if (has_value && sv_eq(name, SV("clientname"))) {
        rule->result.is_by_subject = sv_eq(value, SV("DN"));
        if (rule->type == RULE_HOSTSSL && (rule->result.is_by_subject || sv_eq(value, SV("CN"))))
            return HF_OK;
        return rule_refuse(err, word->text, "is no name of a certificate",
                           "In hostssl, clientname is CN or DN.");
    }
    return rule_refuse(err, word->text, "is an option, and this one is not supported",
                       "Supported are map, clientcert and clientname.");
}

static enum hf_rc read_options(struct rule *rule, const struct rule_field *fields, uint32_t count,
                               uint32_t at, struct hf_err *err)
{
    enum hf_rc rc = HF_OK;
    for (; rc == HF_OK && at < count; at++) {
        const struct rule_word *word = rule_single(fields, count, at, "value of an option", err);
        rc = word != NULL ? read_option(rule, word, err) : HF_RC_INVALID;
    }
    return rc;
}

static enum hf_rc read_rule(struct rule *rule, const struct rule_field *fields, uint32_t count,
                            struct hf_err *err)
{
    uint32_t at = 3;
    const struct rule_word *type = rule_single(fields, count, 0, "type", err);
    if (type == NULL || read_type(type, &rule->type, err) != HF_OK)
        return HF_RC_INVALID;
    if (count < 3)
        return err_set(err, HF_RC_INVALID, RULE_SQLSTATE, "there is no %s",
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
    const struct rule_word *method = rule_single(fields, count, at++, "method", err);
    if (method == NULL)
        return HF_RC_INVALID;
    rc = read_method(method, rule->type, &rule->result.method, err);
    if (rc == HF_OK)
        rc = read_options(rule, fields, count, at, err);
    return rc;
}

/* ---- life ---- */

static enum hf_rc make_room(void *owner, size_t rules, struct hf_err *err)
{
    struct hba *hba = owner;
    hba->rules = mem_alloc_array(hba->mem, rules, sizeof hba->rules[0]);
    return hba->rules != NULL ? HF_OK : mem_refused(hba->mem, rules * sizeof hba->rules[0], err);
}

static enum hf_rc take_rule(void *owner, const struct rule_field *fields, uint32_t count,
                            uint32_t line, struct hf_err *err)
{
    struct hba *hba = owner;
    struct rule *rule = &hba->rules[hba->count++];
    rule->result.line = line;
    return read_rule(rule, fields, count, err);
}

enum hf_rc hba_new(struct hba **out, struct sv text, struct mem *mem, struct hf_err *err)
{
    static const struct rule_kind kind = {
        .lines = "rules",
        .lines_max = HBA_RULES_MAX,
        .words_min = 4,
        .text_size_max = HBA_TEXT_MAX,
        .make_room = make_room,
        .take = take_rule,
    };
    struct hf_err scratch;
    err = err != NULL ? err : &scratch;
    struct hba *hba = mem_alloc(mem, sizeof *hba);
    if (hba == NULL)
        return mem_refused(mem, sizeof *hba, err);
    hba->mem = mem;
    enum hf_rc rc = rule_read(&hba->book, &kind, hba, text, mem, err);
    if (rc == HF_OK && hba->count == 0)
        rc =
            err_set(err, HF_RC_INVALID, RULE_SQLSTATE, "there is no rule, so nobody could come in");
    if (rc == HF_OK)
        *out = hba;
    else
        hba_free(hba);
    return rc;
}

const struct hba_rule *hba_at(const struct hba *hba, uint32_t index)
{
    hf_assert(index < hba->count);
    return &hba->rules[index].result;
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
    rule_book_free(&hba->book);
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
        const struct rule_word *word = &rule->databases.words[i];
        bool fits = false;
        if (request->is_replication) /* it has no database, whatever it says */
            fits = rule_is_keyword(word, SV("replication"));
        else if (rule_is_keyword(word, SV("all")))
            fits = true;
        else if (rule_is_keyword(word, SV("sameuser")))
            fits = sv_eq(request->database, request->user);
        else if (!rule_is_keyword(word, SV("replication")))
            fits = sv_eq(word->text, request->database);
        if (fits)
            return true;
    }
    return false;
}

static bool user_fits(const struct rule *rule, const struct hba_request *request)
{
    for (uint32_t i = 0; i < rule->users.count; i++) {
        const struct rule_word *word = &rule->users.words[i];
        if (rule_is_keyword(word, SV("all")) || sv_eq(word->text, request->user))
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
