#include "sql/parse.h"

#include <stdio.h>
#include <string.h>

#include <pg_query.h>

#include "base/bug.h"

_Static_assert(sizeof(PgQueryParseResult) <= sizeof((struct parse){0}.result),
               "struct parse keeps libpg_query's result as it is");

void parse_run(struct parse *parse, struct sv text)
{
    hf_assert(text.data[text.size] == '\0');
    const PgQueryParseResult result = pg_query_parse(text.data);
    *parse = (struct parse){.is_ok = result.error == NULL};
    memcpy(parse->result, &result, sizeof result);
    if (result.error != NULL)
        snprintf(parse->error, sizeof parse->error, "%s", result.error->message);
    else
        parse->tree = sv_from_cstr(result.parse_tree);
}

void parse_free(struct parse *parse)
{
    PgQueryParseResult result;
    memcpy(&result, parse->result, sizeof result);
    pg_query_free_parse_result(result);
    *parse = (struct parse){0};
}

uint64_t parse_fingerprint(const char *text)
{
    const PgQueryFingerprintResult result = pg_query_fingerprint(text);
    const uint64_t fingerprint = result.error == NULL ? result.fingerprint : 0;
    pg_query_free_fingerprint_result(result);
    return fingerprint;
}
