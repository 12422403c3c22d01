#include "config/library_doc.h"

#include <string.h>

#include "base/units.h"
#include "client/options.h"

static const char introduction[] =
    "# libholdfast: options and their defaults\n"
    "\n"
    "Made by `holdfast config library` from the rows that the options are read by.\n"
    "\n"
    "An option has a field in `struct hf_options` (for a guarded function in `struct\n"
    "hf_guard_options`), and a key in the section `library` of `holdfast.yml`, which `hf_open()`\n"
    "takes as well:\n"
    "\n"
    "    library:\n"
    "      profile: api\n"
    "      deadline: 10s\n"
    "      pool: {size_max: 10}\n"
    "      endpoints: {\"db1:5432\": {zone: a}}\n"
    "      conninfo: application_name=shop\n"
    "    databases:\n"
    "      shop: {hosts: \"db1, db2\", user: app, password_file: /run/secrets/app}\n"
    "\n"
    "What goes before what, the strongest first: a field of the struct, a key of the file, the\n"
    "profile, the default. In the file a value is written as everywhere in it\n"
    "([config.md](config.md)); `holdfast config check FILE` says what is wrong with one. In the\n"
    "structs 0 is the default, times are in milliseconds and shares in per cent, and a negative\n"
    "number is none or no limit, where *none* says so. What is out of its range is refused with\n"
    "`HF_E_CONFIG`; the message names the field, its value, and what was expected.\n"
    "\n"
    "Of an entry of `databases` the library takes `hosts`, `dbname`, `user`, `password` and\n"
    "`sslmode`. `conninfo` is anything else that libpq shall be told, or, without `databases`,\n"
    "all of it. With several databases in the file `options.database` says which is meant.\n"
    "\n"
    "Every call also has options of its own (`struct hf_call_options`), which go before all of\n"
    "these.\n";

static const char reasons[] =
    "\n"
    "## Defaults that are not the usual ones, and why\n"
    "\n"
    "| option | here | elsewhere | why |\n"
    "|---|---|---|---|\n"
    "| `breaker.trip` | `either` | one of the two | A row of failures ends with one slow success "
    "under load, and a rate is blind where calls are few. Together they see a server that is gone "
    "after five calls, and one that is in trouble at any load. |\n"
    "| `breaker.slow_rate` | `80%` | `100%` | A rate of 100 % hardly ever comes about while some "
    "calls are short. Calls that hang count before they end. |\n"
    "| `breaker.open` | `1s` for servers | 30 to 60 s | Behind a server stands the watcher, which "
    "looks every 100 ms: while it is gone it gets no calls anyway, and when it is back nobody "
    "should wait for a timer. A guarded function has no watcher and keeps `30s`. |\n"
    "| `breaker.open_max` | `10s` for servers | fixed | The open time doubles while tries fail, "
    "so a server that answers the watcher and fails calls is tried less and less, but is never "
    "without calls for long once it is well. |\n"
    "| `retry.budget`, `tx_retry.budget` | `20%` | none | Retries are what turns a fault into an "
    "outage. A fifth more load is bearable; Finagle, Envoy and failsafe-go chose the same. |\n"
    "| `bulkhead.concurrent_max` | the pool's size | 25 to 100 | More calls than connections "
    "would wait inside instead of outside, where a deadline is kept and a queue is bounded. |\n"
    "| `pool.check_after` | `10ms` | 0.5 to 30 s | A write on a connection whose server has just "
    "closed it ends with an unknown outcome. The look costs a microsecond. |\n"
    "| `pool.idle` | `10min` | 10 min | It never comes to pass while `pool.lifetime` is shorter; "
    "it is for those who set that to never. |\n"
    "| `deadline` | `30s` | none | Nothing waits for ever. |\n";

/* ---- words about a row ---- */

static void print_range(FILE *out, const struct opt_row *row, const struct option_mate *mate)
{
    char low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX];
    if (row->type == OPT_BOOL) {
        fprintf(out, "`on` or `off`");
    } else if (row->type == OPT_ENUM) {
        for (size_t i = 0; row->names[i] != NULL; i++)
            fprintf(out, "%s`%s`", i > 0 ? ", " : "", row->names[i]);
    } else if (row->type == OPT_STRING) {
        fprintf(out, "text");
    } else {
        fprintf(out, "%s to %s%s%s", opt_print_number(row->type, row->min, low),
                opt_print_number(row->type, row->max, high), row->unit != NULL ? " " : "",
                row->unit != NULL ? row->unit : "");
    }
    if (mate->has_none)
        fprintf(out, "; *none*");
}

static void print_default(FILE *out, const struct options_section *section,
                          const struct opt_row *row)
{
    const char *plain = options_text(OPTIONS_DATABASE, section, row, 0);
    const char *guard = options_text(OPTIONS_GUARD, section, row, 0);
    if (plain[0] != '\0')
        fprintf(out, "`%s`", plain);
    if (strcmp(plain, guard) != 0)
        fprintf(out, ", for a guarded function `%s`", guard);
}

static void print_section(FILE *out, const struct options_section *section)
{
    const bool is_top = section->name[0] == '\0';
    fprintf(out, "\n## %s%s%s\n\n%s\n\n", is_top ? "library" : "library.", section->name,
            section->is_endpoint ? ".NAME" : "", section->sentence);
    fprintf(out, "| key | field | value | default | |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < section->table.count; i++) {
        const struct opt_row *row = &section->table.rows[i];
        fprintf(out, "| `%s` | `%s%s%s` | ", row->key,
                section->is_endpoint ? "endpoints[i]" : section->name, is_top ? "" : ".",
                section->mates[i].field);
        print_range(out, row, &section->mates[i]);
        fprintf(out, " | ");
        print_default(out, section, row);
        fprintf(out, " | %s |\n", row->sentence);
    }
}

/* ---- profiles ---- */

static bool differs(const struct options_section *section, const struct opt_row *row)
{
    for (int profile = 1; options_profile_name(profile) != NULL; profile++)
        if (strcmp(options_text(OPTIONS_DATABASE, section, row, profile),
                   options_text(OPTIONS_DATABASE, section, row, 0)) != 0)
            return true;
    return false;
}

static void print_profile_row(FILE *out, const struct options_section *section,
                              const struct opt_row *row)
{
    const char *plain = options_text(OPTIONS_DATABASE, section, row, 0);
    fprintf(out, "| `%s%s%s` | `%s` |", section->name, section->name[0] != '\0' ? "." : "",
            row->key, plain);
    for (int profile = 1; options_profile_name(profile) != NULL; profile++) {
        const char *text = options_text(OPTIONS_DATABASE, section, row, profile);
        if (strcmp(text, plain) == 0)
            fprintf(out, " |");
        else
            fprintf(out, " `%s` |", text);
    }
    fprintf(out, "\n");
}

static void print_profiles(FILE *out)
{
    fprintf(out,
            "\n## Profiles\n\n"
            "`options.profile`, or the key `profile`: `conservative` trips early and repeats "
            "little; `aggressive`\n"
            "tolerates much and repeats more and sooner; `api` is for answers that people wait "
            "for; `batch` is\n"
            "for work that nobody waits for. What a profile leaves empty is the default.\n\n"
            "| option |");
    for (int profile = 0; options_profile_name(profile) != NULL; profile++)
        fprintf(out, " %s |", options_profile_name(profile));
    fprintf(out, "\n|---|");
    for (int profile = 0; options_profile_name(profile) != NULL; profile++)
        fprintf(out, "---|");
    fprintf(out, "\n");
    for (size_t i = 0; i < options_section_count(); i++) {
        const struct options_section *section = options_section_at(i);
        for (size_t n = 0; n < section->table.count; n++)
            if (differs(section, &section->table.rows[n]))
                print_profile_row(out, section, &section->table.rows[n]);
    }
}

void library_doc_reference(FILE *out)
{
    fprintf(out, "%s", introduction);
    for (size_t i = 0; i < options_section_count(); i++)
        print_section(out, options_section_at(i));
    print_profiles(out);
    fprintf(out, "%s", reasons);
}
