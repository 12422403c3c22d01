#include "config/config_doc.h"

#include <string.h>

#include "base/ns.h"
#include "base/sv.h"
#include "base/units.h"
#include "client/options.h"
#include "proxy/proxy_config.h"

#define COLUMNS 100

/* ---- words about a row ---- */

/* "1 to 10000 connections", "session, transaction, statement"; Markdown marks words with `mark`. */
static void print_range(FILE *out, const struct opt_row *row, const char *mark)
{
    char low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX];
    switch (row->type) {
    case OPT_BOOL:
        fprintf(out, "%son%s or %soff%s", mark, mark, mark, mark);
        break;
    case OPT_INT:
    case OPT_DURATION:
    case OPT_SIZE:
    case OPT_PERCENT:
        fprintf(out, "%s to %s%s%s", opt_print_number(row->type, row->min, low),
                opt_print_number(row->type, row->max, high), row->unit != NULL ? " " : "",
                row->unit != NULL ? row->unit : "");
        break;
    case OPT_ENUM:
        for (size_t i = 0; row->names[i] != NULL; i++)
            fprintf(out, "%s%s%s%s", i > 0 ? ", " : "", mark, row->names[i], mark);
        break;
    case OPT_STRING:
    case OPT_SECRET:
        fprintf(out, "%s", opt_type_name(row->type));
        break;
    }
}

/* ---- the sample ---- */

/* Words as a comment, in lines that fit. */
static void print_comment(FILE *out, unsigned indent, const char *text)
{
    struct sv rest = sv_from_cstr(text), word;
    size_t column = 0;
    while (sv_split(&rest, ' ', &word)) {
        if (column > 0 && column + 1 + word.size > COLUMNS) {
            fprintf(out, "\n");
            column = 0;
        }
        if (column == 0)
            column = (size_t)fprintf(out, "%*s#", (int)indent, "");
        column += (size_t)fprintf(out, " %.*s", (int)word.size, word.data);
    }
    fprintf(out, "\n");
}

/* A default as YAML takes it: what is long goes on in lines that stand further in. */
static void print_default(FILE *out, unsigned indent, const struct opt_row *row)
{
    struct sv rest = sv_from_cstr(row->default_text), word;
    size_t column = (size_t)fprintf(out, "%*s#%s:", (int)indent, "", row->key);
    if (rest.size == 0)
        fprintf(out, " \"\"");
    while (rest.size > 0 && sv_split(&rest, ' ', &word)) {
        if (column + 1 + word.size > COLUMNS)
            column = (size_t)fprintf(out, "\n%*s# ", (int)indent, "") - 1;
        column += (size_t)fprintf(out, " %.*s", (int)word.size, word.data);
    }
    fprintf(out, "\n");
}

static void print_sample_rows(FILE *out, unsigned indent, const struct opt_table *table,
                              const char *skipped)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct opt_row *row = &table->rows[i];
        if (strcmp(row->key, skipped) == 0)
            continue;
        fprintf(out, "\n");
        print_comment(out, indent, row->sentence);
        if (row->type == OPT_ENUM) {
            fprintf(out, "%*s# One of: ", (int)indent, "");
            print_range(out, row, "");
            fprintf(out, "\n");
        }
        print_default(out, indent, row);
    }
}

static void print_sample_section(FILE *out, const struct proxy_section *section)
{
    const char *dot = strchr(section->path, '.');
    const char *name = dot != NULL ? dot + 1 : section->path;
    unsigned indent = dot != NULL ? 2 : 0;
    fprintf(out, "\n");
    print_comment(out, indent, section->sentence);
    fprintf(out, "%*s%s:\n", (int)indent, "", name);
    indent += 2;
    if (section->kind == PROXY_SECTION_DATABASES) {
        fprintf(out, "  \"*\":\n    hosts: 127.0.0.1:5432\n");
        indent += 2;
    } else if (section->kind == PROXY_SECTION_ROLES) {
        fprintf(out, "  \"*\":\n");
        indent += 2;
    } else if (section->kind == PROXY_SECTION_GROUPS) {
        fprintf(out, "  everybody:\n");
        indent += 2;
    } else if (section->kind == PROXY_SECTION_LISTENERS) {
        fprintf(out, "  #reports:\n");
        indent += 2;
    } else if (section->kind == PROXY_SECTION_PEERS) {
        fprintf(out, "  #second:\n");
        indent += 2;
    }
    print_sample_rows(out, indent, &section->tables[0], "hosts");
}

/* The section of libholdfast, whose rows are the library's. */
static void print_sample_library(FILE *out)
{
    fprintf(out, "\n");
    print_comment(out, 0,
                  "What programs that link libholdfast read of this file; they take where a "
                  "database is from databases.");
    fprintf(out, "library:\n");
    for (size_t i = 0; i < options_section_count(); i++) {
        const struct options_section *section = options_section_at(i);
        const bool is_top = section->name[0] == '\0';
        if (section->is_endpoint)
            continue; /* there is nothing to be said of a server without a name */
        if (!is_top) {
            fprintf(out, "\n");
            print_comment(out, 2, section->sentence);
            fprintf(out, "  %s:\n", section->name);
        }
        print_sample_rows(out, is_top ? 2 : 4, &section->table, "");
    }
}

void config_doc_example(FILE *out)
{
    print_comment(out, 0,
                  "holdfast.yml: the configuration of Holdfast. Every setting is here, with its "
                  "default; remove the # before one to change it. `holdfast config check FILE` "
                  "says what is wrong with a file, and `holdfast config reference` says more about "
                  "everything.");
    for (size_t i = 0; i < proxy_section_count(); i++)
        print_sample_section(out, proxy_section_at(i));
    print_sample_library(out);
}

/* ---- the reference ---- */

static const char introduction[] =
    "# holdfast.yml: reference\n"
    "\n"
    "Made by `holdfast config reference` from the rows that the settings are read by.\n"
    "`holdfast config example` prints a file to start from, and `holdfast config check FILE` says\n"
    "what is wrong with one: file, line, column, key, what was expected.\n"
    "\n"
    "## How values are written\n"
    "\n"
    "- A **duration** has its unit: `100ms`, `5s`, `1h30min`, and `never` where a setting allows "
    "it. A **size** as\n"
    "  well: `8kB`, `512MB`. A **percentage** is `20%` or `0.2`.\n"
    "- `${NAME}` in a value is the environment variable of that name; one that is not set is an\n"
    "  error. `$${` stands for `${` itself.\n"
    "- A **secret** may stand in a file of its own: the key with `_file` behind it, such as\n"
    "  `password_file`, names the file. Secrets are never printed.\n"
    "- A list is written as text with commas, or as a list of YAML: `db1, db2` or `[db1, db2]`.\n"
    "- A path in a key that ends in `_file` or `_dir` is relative to the folder of the file.\n"
    "- YAML's anchors, aliases and tags are not supported, and no key may come twice.\n"
    "\n"
    "A reload (SIGHUP, or `RELOAD` on the console) changes every setting but those marked\n"
    "*restart*. A file that is wrong changes nothing.\n"
    "\n"
    "## Without a file\n"
    "\n"
    "`holdfast proxy` also takes a connection string, URL or key=value, as libpq reads it:\n"
    "\n"
    "    holdfast proxy 'postgresql://app@db1:5432,db2:5432/?sslmode=require"
    "&pool_mode=transaction'\n"
    "\n"
    "Every database of the servers is proxied. Beside libpq's own parameters the string may hold\n"
    "the settings of `proxy` (but `port`, which is the servers') and of `pools`. Who may come in:\n"
    "\n"
    "- With a password (in the string, in `PGPASSWORD`, or in `~/.pgpass`) clients log in as that\n"
    "  user, with that password. An application changes host and port of its URL, nothing else.\n"
    "  That user may also use the console, unless `admin_users` names others.\n"
    "- Without one, clients of this machine are trusted, as the servers trust this machine; the\n"
    "  proxy listens on loopback only. A user in the string is who the servers are entered as.\n"
    "- Without one, but with a unix socket or a client certificate, trust would lend this "
    "process's\n"
    "  identity to everybody on the machine. It is refused, unless the string says\n"
    "  `auth_type=trust`.\n"
    "- With `auth_file` or `auth_hba_file`, those say who may come in.\n";

static void print_reference_rows(FILE *out, const struct opt_table *table)
{
    fprintf(out, "\n| key | value | default | |\n|---|---|---|---|\n");
    for (size_t i = 0; i < table->count; i++) {
        const struct opt_row *row = &table->rows[i];
        fprintf(out, "| `%s` | ", row->key);
        print_range(out, row, "`");
        fprintf(out, " | ");
        if (row->default_text[0] != '\0')
            fprintf(out, "`%s`", row->default_text);
        fprintf(out, " | %s%s |\n", row->sentence, row->is_reloadable ? "" : " *Restart.*");
    }
}

void config_doc_reference(FILE *out)
{
    fprintf(out, "%s", introduction);
    for (size_t i = 0; i < proxy_section_count(); i++) {
        const struct proxy_section *section = proxy_section_at(i);
        const bool is_map = section->kind != PROXY_SECTION_ONE;
        fprintf(out, "\n## %s%s\n\n%s\n", section->path, is_map ? ".NAME" : "", section->sentence);
        print_reference_rows(out, &section->tables[0]);
    }
}
