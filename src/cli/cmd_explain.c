#include <stdio.h>
#include <string.h>

#include "base/ns.h"
#include "base/units.h"
#include "cli/args.h"
#include "cli/explain_cluster.h"
#include "cli/report.h"
#include "cli/subcommand.h"
#include "config/connstr.h"
#include "os/entropy.h"
#include "pg/catalog_load.h"
#include "sql/judge.h"

struct explain_config {
    char url[CONNSTR_SIZE];
    enum route_consistency consistency;
    int64_t staleness_ns_max;
};

static const char *const consistencies[] = {"session", "bounded", "any", "primary", NULL};

static const struct opt_row rows[] = {
    {.key = "url",
     .type = OPT_STRING,
     OPT_FIELD(struct explain_config, url),
     .default_text = "",
     .since = "0.1",
     .sentence = "Connection string of a server or cluster: its catalogue judges the functions, "
                 "and its servers are shown with what would choose among them."},
    {.key = "consistency",
     .type = OPT_ENUM,
     OPT_FIELD(struct explain_config, consistency),
     .default_text = "session",
     .names = consistencies,
     .since = "0.1",
     .sentence = "What a read would be promised, where the statement has no hint of its own."},
    {.key = "staleness",
     .type = OPT_DURATION,
     OPT_FIELD(struct explain_config, staleness_ns_max),
     .default_text = "5s",
     .min = 0,
     .max = HF_SEC(86400),
     .since = "0.1",
     .sentence = "How old data may be with consistency bounded."},
};

#define SHAPES 8 /* one is judged, but the cache is part of the judge */

static const struct lex_rules standard = {0};

/* ---- what is printed ---- */

static void print_verdict(const struct verdict *verdict)
{
    printf("Class        %s: %s%s%s%s\n", verdict_class_name(verdict->is),
           verdict_reason_name(verdict->reason), verdict->subject[0] != '\0' ? " (" : "",
           verdict->subject, verdict->subject[0] != '\0' ? ")" : "");
    const char *before = "Traits       ";
    for (uint32_t i = 0; i < 32; i++) {
        const uint32_t trait = UINT32_C(1) << i;
        if ((verdict->traits & trait) == 0)
            continue;
        printf("%s%s", before, verdict_trait_name(trait));
        before = ", ";
    }
    if (verdict->traits != 0)
        printf("\n");
}

static void print_transaction(const struct verdict_tx *tx)
{
    static const char *const isolations[] = {"", ", read uncommitted", ", read committed",
                                             ", repeatable read", ", serializable"};
    static const char *const read_only[] = {"", ", read only", ", read write"};
    static const char *const deferrable[] = {"", ", deferrable", ", not deferrable"};
    if (tx->verb == VERDICT_TX_NONE)
        return;
    printf("Transaction  %s%s%s%s%s\n", verdict_tx_name(tx->verb), isolations[tx->isolation],
           read_only[tx->read_only], deferrable[tx->deferrable], tx->chain ? ", and chain" : "");
}

static void print_hint(const struct hint *hint)
{
    char time[UNITS_TEXT_MAX];
    if (!hint->is_there)
        return;
    if (hint->is_wrong) {
        printf("Hint         not understood, and so ignored\n");
        return;
    }
    printf("Hint         intent %s", hint->has_intent ? route_intent_name(hint->intent) : "auto");
    if (hint->has_consistency)
        printf(", consistency %s", consistencies[hint->consistency]);
    if (hint->has_consistency && hint->consistency == ROUTE_BOUNDED)
        printf(" %s", units_print_duration(hint->staleness_ns_max, time));
    printf("\n");
}

static void print_uses(const struct judge *judge, enum uses_kind kind, const char *title)
{
    const struct uses *uses = &judge->uses;
    for (uint32_t i = 0; i < uses->count; i++) {
        char name[2 * USES_NAME_SIZE];
        const char *note;
        if (uses->names[i].kind != (uint8_t)kind)
            continue;
        const struct sv schema = uses_schema(uses, i), last = uses_name(uses, i);
        const enum catalog_volatility volatility =
            catalog_find(judge->catalog, judge->lists, kind, schema, last, &note);
        /* Of others than functions only the volatile ones are listed, with what they call. */
        const char *is = catalog_volatility_name(volatility);
        if (uses_is_with(uses, i))
            is = "a WITH query";
        else if (kind != USES_FUNCTION && volatility == CATALOG_VOLATILE)
            is = "calls";
        else if (kind != USES_FUNCTION && volatility != CATALOG_UNKNOWN)
            is = "";
        snprintf(name, sizeof name, "%.*s%s%.*s", (int)schema.size, schema.data,
                 schema.size > 0 ? "." : "", (int)last.size, last.data);
        printf("%-12s %-*s%s%s%s%s\n", title, is[0] != '\0' ? 24 : 0, name,
               is[0] != '\0' ? " " : "", is, note[0] != '\0' ? " " : "", note);
        title = "";
    }
}

static void print_source(const struct judge *judge, const struct connstr *shown)
{
    if (judge->catalog != NULL)
        printf("Judged by    the catalogue of %s: %u names\n", shown->endpoint,
               (unsigned)judge->catalog->count);
    else
        printf("Judged by    the names that PostgreSQL 15 has built in; --url asks a server\n");
}

/* ---- what is done ---- */

static struct route_request request_for(const struct explain_config *config,
                                        const struct verdict *verdict, const struct hint *hint)
{
    struct route_request request = {.intent = verdict_intent(verdict),
                                    .consistency = config->consistency,
                                    .staleness_ns_max = config->staleness_ns_max};
    if (hint->has_intent)
        request.intent = hint->intent;
    if (hint->has_consistency) {
        request.consistency = hint->consistency;
        request.staleness_ns_max = hint->staleness_ns_max;
    }
    return request;
}

static enum hf_rc explain(const struct explain_config *config, const char *sql,
                          const struct catalog *catalog, struct mem *mem, struct hf_err *err)
{
    struct connstr shown = {0};
    enum hf_rc rc = HF_OK;
    if (config->url[0] != '\0')
        rc = connstr_read(&shown, config->url, err);
    if (rc != HF_OK)
        return rc;
    void *memory = mem_alloc(mem, judge_size(SHAPES));
    if (memory == NULL)
        return mem_refused(mem, judge_size(SHAPES), err);
    struct judge *judge = judge_init(memory, SHAPES, entropy_seed(), catalog, NULL);
    const struct verdict *verdict = judge_afresh(judge, sv_from_cstr(sql), &standard);
    const struct hint hint = hint_read(sv_from_cstr(sql));
    const struct route_request request = request_for(config, verdict, &hint);
    print_verdict(verdict);
    print_transaction(&verdict->tx);
    print_hint(&hint);
    printf("Shape        %s\n", judge->shape.text.data);
    print_uses(judge, USES_FUNCTION, "Functions");
    print_uses(judge, USES_RELATION, "Relations");
    print_uses(judge, USES_OPERATOR, "Operators");
    print_uses(judge, USES_TYPE, "Types");
    print_source(judge, &shown);
    printf("Intent       %s\n", route_intent_name(request.intent));
    if (config->url[0] != '\0')
        rc = explain_print_cluster(config->url, &request, mem, err);
    mem_free(mem, memory);
    return rc;
}

static int explain_statement(const struct explain_config *config, const char *sql)
{
    struct catalog *catalog = NULL;
    struct hf_err err;
    struct mem mem;
    enum hf_rc rc = HF_OK;
    mem_init(&mem, 0);
    if (config->url[0] != '\0')
        rc = explain_load_catalog(&catalog, config->url, &mem, &err);
    if (rc == HF_OK)
        rc = explain(config, sql, catalog, &mem, &err);
    const int status = rc == HF_OK ? CLI_OK : report_failure(&err);
    catalog_drop(catalog, &mem);
    mem_deinit(&mem);
    return status;
}

/* A password in it is in ps for a moment only. */
static void hide_url(const char *url, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        char *found = strstr(argv[i], url);
        if (found != NULL)
            connstr_hide(found);
    }
}

static int run(const struct subcommand *self, int argc, char **argv)
{
    struct explain_config config;
    struct args args;
    struct hf_err err;
    if (args_parse(&args, self, &config, argc, argv, &err) != HF_OK)
        return report_usage(&err);
    if (args.operand == NULL) {
        err_set(&err, HF_RC_INVALID, "42601", "explain needs a statement");
        err_hint(&err, "Write holdfast explain \"SELECT ...\".");
        return report_usage(&err);
    }
    if (config.url[0] != '\0' && !connstr_is_one(config.url)) {
        err_set(&err, HF_RC_INVALID, "42601", "--url is no connection string");
        err_hint(&err, "Write --url postgresql://USER@HOST:PORT/DATABASE.");
        return report_usage(&err);
    }
    if (config.url[0] != '\0')
        hide_url(config.url, argc, argv);
    const int status = explain_statement(&config, args.operand);
    explicit_bzero(config.url, sizeof config.url);
    return status;
}

const struct subcommand *cmd_explain(void)
{
    static const struct subcommand subcommand = {
        .name = "explain",
        .summary = "say what a statement is, and on which server it would run",
        .operand = "SQL",
        .operand_sentence = "The statement. It is looked at, and never run.",
        .description =
            "Shows how Holdfast judges a statement: its class (read, write, session ...) and what "
            "decided it, its shape, and the functions, relations and operators that it uses, with "
            "what is known of each. PostgreSQL's own grammar reads the text; the catalogue says "
            "which functions may write.\n\n"
            "With --url it asks a server for its catalogue, looks at every server of the cluster, "
            "and shows which of them the statement would go to and why the others are left out. "
            "It only reads.\n\n"
            "A comment at the very beginning of a statement can say what its text does not:\n\n"
            "    /* holdfast: intent=write consistency=bounded:5s */ SELECT ...",
        .options = OPT_TABLE(rows),
        .config_size = sizeof(struct explain_config),
        .examples = {{"holdfast explain \"SELECT nextval('s')\"", "Says why that is a write."},
                     {"holdfast explain --url 'postgresql://app@db1,db2/shop' \"TABLE orders\"",
                      "Judges by that database, and shows who would answer."}},
        .run = run,
    };
    return &subcommand;
}
