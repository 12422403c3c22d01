#include "config/pgbouncer_import.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "base/units.h"
#include "config/pgbouncer_rows.h"
#include "config/pgbouncer_value.h"
#include "config/suggest.h"

#define SOCKET_DIR_UNSET "/tmp" /* where PgBouncer looks for servers without a host */

struct writer {
    struct pgbouncer_import *import;
    const struct pgbouncer_ini *ini;
    FILE *out;
    struct hf_err *err;
    char folder[PATH_MAX]; /* of the file that was named */
    struct pgbouncer_value value;
    struct ini_pair pair;
};

/* ---- YAML ---- */

static bool is_plain(struct sv text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_./";
    if (text.size == 0)
        return false;
    for (size_t i = 0; i < text.size; i++)
        if (memchr(plain, text.data[i], sizeof plain - 1) == NULL &&
            !(text.data[i] == '-' && i > 0))
            return false;
    return true;
}

/* One value as YAML takes it, quoted where it must be, with our ${ escaped. */
static void print_scalar(FILE *out, struct sv text)
{
    if (is_plain(text)) {
        fprintf(out, "%.*s", (int)text.size, text.data);
        return;
    }
    fputc('"', out);
    for (size_t i = 0; i < text.size; i++) {
        const char c = text.data[i];
        const bool is_dollar = c == '$' && i + 1 < text.size && text.data[i + 1] == '{';
        if (c == '\t')
            fputs("\\t", out);
        else if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else
            fprintf(out, is_dollar ? "$%c" : "%c", c);
    }
    fputc('"', out);
}

/* A comment in lines of a readable length. */
static void comment(const struct writer *w, int indent, const char *name, const char *words)
{
    struct sv rest = sv_from_cstr(words), word;
    int column = fprintf(w->out, "%*s#%s%s%s", indent, "", name[0] != '\0' ? " " : "", name,
                         name[0] != '\0' ? ":" : "");
    while (sv_split(&rest, ' ', &word)) {
        if (column + 1 + (int)word.size > 98)
            column = fprintf(w->out, "\n%*s#  ", indent, "") - 1;
        column += fprintf(w->out, " %.*s", (int)word.size, word.data);
    }
    fputc('\n', w->out);
}

static void begin_line(const struct writer *w, int indent, const char *key)
{
    fprintf(w->out, "%*s%s: ", indent, "", key);
}

/* The value that was converted last, and what there is to say about it. */
static void print_value(const struct writer *w, int indent, const struct pgbouncer_row *row,
                        const char *note)
{
    begin_line(w, indent, row->key);
    print_scalar(w->out, sv_from_cstr(w->value.text));
    if (w->value.note[0] != '\0')
        note = w->value.note;
    fprintf(w->out, "%s%s\n", note != NULL ? "  # " : "", note != NULL ? note : "");
}

/* ---- [pgbouncer] ---- */

static struct sv set_or(const struct writer *w, const char *name, const char *unset)
{
    const struct ini_entry *entry = pgbouncer_ini_find(w->ini, INI_PGBOUNCER, sv_from_cstr(name));
    return entry != NULL ? entry->value : sv_from_cstr(unset);
}

/* Whether nobody but this machine reaches what PgBouncer listens on. */
static bool is_local(struct sv listen)
{
    struct sv item;
    while (sv_split(&listen, ',', &item)) {
        item = sv_trim(item);
        if (item.size > 0 && !sv_starts_with(item, SV("127.")) && !sv_eq(item, SV("::1")) &&
            !sv_eq(item, SV("localhost")))
            return false;
    }
    return true;
}

/* What depends on other settings; the value is converted. */
static void adjust(struct writer *w, const struct pgbouncer_row *row)
{
    struct pgbouncer_value *value = &w->value;
    const bool is_hba = sv_eq_nocase(set_or(w, "auth_type", "md5"), SV("hba"));
    if (strcmp(row->name, "auth_type") == 0) {
        if (strcmp(value->text, "trust") != 0 || is_local(set_or(w, "listen_addr", "")))
            return;
        snprintf(value->text, sizeof value->text, "scram-sha-256");
        snprintf(value->note, sizeof value->note,
                 "PgBouncer trusts other machines: here that has to stand in an auth_hba_file");
    } else if (strcmp(row->name, "auth_hba_file") == 0) {
        value->is_absent = !is_hba; /* PgBouncer reads it for that auth_type alone; we always do */
    } else if (row->kind == PGBOUNCER_DIR) {
        value->is_absent = value->text[0] == '\0';
    }
}

static enum hf_rc convert(struct writer *w, const struct pgbouncer_row *row,
                          const struct ini_entry *entry, struct sv text)
{
    if (pgbouncer_value_convert(&w->value, row, text, w->folder, w->err) == HF_OK)
        return HF_OK;
    err_while(w->err, "%s", row->name);
    return entry != NULL ? ini_blame(w->ini, entry, w->err) : w->err->rc;
}

static bool has_default(const struct pgbouncer_row *row, struct sv text)
{
    return row->unset != NULL && sv_eq(text, sv_from_cstr(row->unset));
}

/* PgBouncer has one limit of waiting, for busy servers and for those that are down; we have two. */
static void write_down_timeout(const struct writer *w)
{
    const struct opt_row *row =
        opt_find(&proxy_section_find(SV("pools"))->tables[0], SV("server_down_timeout"));
    struct sv text = set_or(w, "query_wait_timeout", "0");
    int64_t wait_ns = 0, down_ns = 0;
    hf_assert(row != NULL);
    const enum hf_rc rc = units_parse_duration(sv_from_cstr(row->default_text), &down_ns, w->err);
    hf_assert(rc == HF_OK);
    if (pgbouncer_value_seconds(text, &wait_ns) && wait_ns > 0 && wait_ns < down_ns)
        fprintf(w->out, "  server_down_timeout: %s  # no longer than for one that is busy\n",
                w->value.text);
}

static enum hf_rc write_global(struct writer *w, const struct pgbouncer_row *row)
{
    const struct ini_entry *entry =
        pgbouncer_ini_find(w->ini, INI_PGBOUNCER, sv_from_cstr(row->name));
    if (entry == NULL && row->unset == NULL)
        return HF_OK;
    const enum hf_rc rc =
        convert(w, row, entry, entry != NULL ? entry->value : sv_from_cstr(row->unset));
    if (rc != HF_OK)
        return rc;
    adjust(w, row);
    w->import->carried += entry != NULL;
    if (!w->value.is_absent)
        print_value(w, 2 + 2 * (strchr(row->section, '.') != NULL), row,
                    entry != NULL ? row->note : "PgBouncer's default");
    if (strcmp(row->name, "query_wait_timeout") == 0)
        write_down_timeout(w);
    return HF_OK;
}

static bool is_used(const struct writer *w, const char *section)
{
    const struct pgbouncer_table *table = pgbouncer_table(INI_PGBOUNCER);
    for (size_t i = 0; i < table->count; i++) {
        const struct pgbouncer_row *row = &table->rows[i];
        if (row->fate == PGBOUNCER_CARRIED && strcmp(row->section, section) == 0 &&
            (row->unset != NULL ||
             pgbouncer_ini_find(w->ini, INI_PGBOUNCER, sv_from_cstr(row->name)) != NULL))
            return true;
    }
    return false;
}

static enum hf_rc write_section(struct writer *w, const char *section)
{
    const struct pgbouncer_table *table = pgbouncer_table(INI_PGBOUNCER);
    const char *dot = strchr(section, '.');
    if (!is_used(w, section))
        return HF_OK;
    fprintf(w->out, dot != NULL ? "  %s:\n" : "\n%s:\n", dot != NULL ? dot + 1 : section);
    for (size_t i = 0; i < table->count; i++) {
        const struct pgbouncer_row *row = &table->rows[i];
        if (row->fate != PGBOUNCER_CARRIED || strcmp(row->section, section) != 0)
            continue;
        const enum hf_rc rc = write_global(w, row);
        if (rc != HF_OK)
            return rc;
    }
    if (strcmp(section, "limits") == 0)
        fprintf(w->out, "  server_connections_max: 0  # PgBouncer has no such limit\n");
    return HF_OK;
}

/* ---- what is not carried ---- */

static void list_row(const struct writer *w, const struct ini_entry *entry, const char *words)
{
    char name[256];
    snprintf(name, sizeof name, "  " SV_FMT " (%s:%u)", SV_ARG(entry->key),
             w->ini->files[entry->file].path, (unsigned)entry->line);
    comment(w, 0, name, words);
}

/* Names that nobody knows come from a newer PgBouncer, or it refuses them as well. */
static void list_unknown(struct writer *w, const struct ini_entry *entry)
{
    char words[160];
    struct suggest suggest;
    const struct pgbouncer_table *table = pgbouncer_table(entry->section);
    suggest_begin(&suggest, entry->key);
    for (size_t i = 0; i < table->count; i++)
        suggest_consider(&suggest, table->rows[i].name);
    const char *nearest = suggest_word(&suggest);
    snprintf(words, sizeof words, "PgBouncer 1.25 has no such setting.%s%s%s",
             nearest != NULL ? " Did it mean " : "", nearest != NULL ? nearest : "",
             nearest != NULL ? "?" : "");
    list_row(w, entry, words);
    w->import->unknown++;
}

static void list_entry(struct writer *w, const struct ini_entry *entry, enum pgbouncer_fate fate)
{
    const struct pgbouncer_row *row = pgbouncer_row_find(INI_PGBOUNCER, entry->key);
    if (pgbouncer_ini_find(w->ini, INI_PGBOUNCER, entry->key) != entry)
        return; /* a later one counts */
    if (row == NULL) {
        if (fate == PGBOUNCER_LOST)
            list_unknown(w, entry);
        return;
    }
    if (row->fate != fate)
        return;
    if (has_default(row, entry->value)) { /* it does nothing there either */
        w->import->needless++;
        return;
    }
    list_row(w, entry, row->note);
    if (fate == PGBOUNCER_LOST)
        w->import->lost++;
    else
        w->import->needless++;
}

/* PgBouncer looks at its peers only if it has a number itself. */
static bool has_peers(const struct writer *w)
{
    const struct sv id = set_or(w, "peer_id", "0");
    return !sv_eq(id, SV("0")) && !sv_eq(id, SV(""));
}

static void list_peers(struct writer *w)
{
    for (size_t i = 0; i < w->ini->count && !has_peers(w); i++) {
        if (w->ini->entries[i].section != INI_PEERS)
            continue;
        list_row(w, &w->ini->entries[i], "PgBouncer has no peers without a peer_id of its own.");
        w->import->needless++;
    }
}

/* How many entries [pgbouncer] has of that fate that are worth a word. */
static bool has_any(const struct writer *w, enum pgbouncer_fate fate)
{
    for (size_t i = 0; i < w->ini->count; i++) {
        const struct ini_entry *entry = &w->ini->entries[i];
        const struct pgbouncer_row *row = pgbouncer_row_find(INI_PGBOUNCER, entry->key);
        if (entry->section == INI_PEERS && fate == PGBOUNCER_NEEDLESS && !has_peers(w))
            return true;
        if (entry->section != INI_PGBOUNCER)
            continue;
        if (row == NULL ? fate == PGBOUNCER_LOST
                        : row->fate == fate && !has_default(row, entry->value))
            return true;
    }
    return false;
}

static void list_fate(struct writer *w, enum pgbouncer_fate fate, const char *words)
{
    if (has_any(w, fate)) {
        fprintf(w->out, "#\n");
        comment(w, 0, "", words);
    }
    for (size_t i = 0; i < w->ini->count; i++)
        if (w->ini->entries[i].section == INI_PGBOUNCER)
            list_entry(w, &w->ini->entries[i], fate);
    if (fate == PGBOUNCER_NEEDLESS)
        list_peers(w);
}

static void write_head(struct writer *w)
{
    fprintf(w->out, "# Made by holdfast import from %s.\n", w->ini->files[0].path);
    list_fate(w, PGBOUNCER_LOST, "What has no equivalent, and what happens instead:");
    list_fate(w, PGBOUNCER_NEEDLESS, "What needs no setting here:");
}

/* ---- [databases], [users], [peers] ---- */

/* What else there is to know about a pair of a user. */
static const char *note_of(const struct writer *w, const struct ini_entry *entry,
                           const struct pgbouncer_row *row)
{
    int64_t own = 0, general = 0;
    if (entry->section != INI_USERS || row->kind != PGBOUNCER_LIMIT)
        return row->note;
    const struct sv text = set_or(w, row->name, "0");
    if (!pgbouncer_value_seconds(text, &general) || general == 0 ||
        !pgbouncer_value_seconds(sv_from_cstr(w->pair.value), &own) || (own > 0 && own <= general))
        return row->note;
    return "PgBouncer lets this replace the general one; here the shorter one holds";
}

static enum hf_rc fail_pair(struct writer *w, const struct ini_entry *entry)
{
    err_while(w->err, SV_FMT, SV_ARG(entry->key));
    return ini_blame(w->ini, entry, w->err);
}

/* The last one of a key counts. */
static bool comes_again(struct sv rest, struct sv key)
{
    struct ini_pair pair;
    struct hf_err err;
    bool found = false;
    while (!found && ini_pair_next(&rest, &pair, &err))
        found = sv_eq(pair.key, key);
    explicit_bzero(&pair, sizeof pair);
    return found;
}

static enum hf_rc write_pair(struct writer *w, const struct ini_entry *entry)
{
    const struct pgbouncer_row *row = pgbouncer_row_find(entry->section, w->pair.key);
    char name[80];
    snprintf(name, sizeof name, SV_FMT, SV_ARG(w->pair.key));
    if (row == NULL) {
        comment(w, 4, name, "PgBouncer 1.25 has no such setting.");
        w->import->unknown++;
        return HF_OK;
    }
    if (row->fate != PGBOUNCER_CARRIED) {
        if (row->note != NULL)
            comment(w, 4, name, row->note);
        w->import->lost += row->fate == PGBOUNCER_LOST;
        w->import->carried += row->note == NULL;
        return HF_OK;
    }
    const enum hf_rc rc = convert(w, row, entry, sv_from_cstr(w->pair.value));
    if (rc != HF_OK)
        return rc;
    w->import->carried++;
    w->import->has_secrets = w->import->has_secrets || strcmp(row->name, "password") == 0;
    if (!w->value.is_absent)
        print_value(w, 4, row, note_of(w, entry, row));
    return HF_OK;
}

static enum hf_rc write_pairs(struct writer *w, const struct ini_entry *entry)
{
    struct sv rest = entry->value;
    while (ini_pair_next(&rest, &w->pair, w->err)) {
        if (comes_again(rest, w->pair.key))
            continue;
        const enum hf_rc rc = write_pair(w, entry);
        if (rc != HF_OK)
            return rc;
    }
    return w->err->rc != HF_OK ? fail_pair(w, entry) : HF_OK;
}

/* The value of a pair, copied; "" if there is none. A broken list is told of by write_pairs(). */
static void find_pair(const struct ini_entry *entry, struct sv key, char out[INI_VALUE_SIZE])
{
    struct ini_pair pair;
    struct hf_err err;
    struct sv rest = entry->value;
    out[0] = '\0';
    while (ini_pair_next(&rest, &pair, &err))
        if (sv_eq(pair.key, key))
            memcpy(out, pair.value, strlen(pair.value) + 1);
    explicit_bzero(&pair, sizeof pair);
}

/* host and port as hosts: every host of the list has the same port. */
static enum hf_rc write_hosts(struct writer *w, const struct ini_entry *entry)
{
    char port[INI_VALUE_SIZE], text[INI_VALUE_SIZE];
    struct pgbouncer_value *value = &w->value;
    struct sv rest, item;
    size_t used = 0, count = 0;
    find_pair(entry, SV("port"), port);
    find_pair(entry, SV("host"), text);
    rest = text[0] != '\0' ? sv_from_cstr(text) : set_or(w, "unix_socket_dir", SOCKET_DIR_UNSET);
    if (rest.size == 0)
        rest = SV(SOCKET_DIR_UNSET);
    while (sv_split(&rest, ',', &item)) {
        item = sv_trim(item);
        const bool is_v6 = sv_find(item, ':') < item.size;
        const int size = snprintf(value->text + used, sizeof value->text - used, "%s%s%.*s%s%s%s",
                                  count++ > 0 ? ", " : "", is_v6 ? "[" : "", (int)item.size,
                                  item.data, is_v6 ? "]" : "", port[0] != '\0' ? ":" : "", port);
        if (size < 0 || (size_t)size >= sizeof value->text - used) {
            err_set(w->err, HF_RC_LIMIT, "22023", "there are too many hosts");
            return fail_pair(w, entry);
        }
        used += (size_t)size;
    }
    begin_line(w, 4, "hosts");
    print_scalar(w->out, sv_from_cstr(value->text));
    fputc('\n', w->out);
    find_pair(entry, SV("load_balance_hosts"), text);
    if (count > 1 && text[0] == '\0')
        fprintf(w->out, "    load_balance_hosts: round-robin  # PgBouncer's default\n");
    return HF_OK;
}

static enum hf_rc write_entry(struct writer *w, const struct ini_entry *entry)
{
    fprintf(w->out, "  ");
    print_scalar(w->out, entry->key);
    fprintf(w->out, ":\n");
    if (entry->section == INI_PEERS)
        fprintf(w->out, "    id: %.*s\n", (int)entry->key.size, entry->key.data);
    if (entry->section == INI_DATABASES) {
        const enum hf_rc rc = write_hosts(w, entry);
        if (rc != HF_OK)
            return rc;
    }
    return write_pairs(w, entry);
}

/* A user of whom nothing is carried has no place in YAML: a name without anything below it. */
static bool has_carried(const struct ini_entry *entry)
{
    struct ini_pair pair;
    struct hf_err err;
    struct sv rest = entry->value;
    bool found = entry->section == INI_DATABASES;
    while (!found && ini_pair_next(&rest, &pair, &err)) {
        const struct pgbouncer_row *row = pgbouncer_row_find(entry->section, pair.key);
        found = row != NULL && row->fate == PGBOUNCER_CARRIED && pair.value[0] != '-';
    }
    explicit_bzero(&pair, sizeof pair);
    return found;
}

static enum hf_rc write_entries(struct writer *w, enum ini_section section, const char *name)
{
    bool is_first = true;
    for (size_t i = 0; i < w->ini->count; i++) {
        const struct ini_entry *entry = &w->ini->entries[i];
        if (entry->section != section || pgbouncer_ini_find(w->ini, section, entry->key) != entry)
            continue;
        if (!has_carried(entry)) {
            const enum hf_rc rc = write_pairs(w, entry);
            if (rc != HF_OK)
                return rc;
            continue;
        }
        if (is_first)
            fprintf(w->out, "\n%s:\n", name);
        is_first = false;
        const enum hf_rc rc = write_entry(w, entry);
        if (rc != HF_OK)
            return rc;
    }
    return HF_OK;
}

/* ---- the whole ---- */

static void find_folder(struct writer *w)
{
    char whole[PATH_MAX];
    const char *path = w->ini->file_count > 0 ? w->ini->files[0].path : "";
    if (realpath(path, whole) == NULL)
        snprintf(whole, sizeof whole, "%s", path);
    char *slash = strrchr(whole, '/');
    if (slash != NULL)
        *slash = '\0';
    snprintf(w->folder, sizeof w->folder, "%s", slash != NULL ? whole : ".");
}

enum hf_rc pgbouncer_import_write(struct pgbouncer_import *import, const struct pgbouncer_ini *ini,
                                  FILE *out, struct hf_err *err)
{
    static const char *const sections[] = {"proxy", "proxy.client_tls", "proxy.server_tls",
                                           "limits", "pools"};
    struct writer w = {.import = import, .ini = ini, .out = out, .err = err};
    enum hf_rc rc = HF_OK;
    hf_assert(ini->file_count > 0);
    *import = (struct pgbouncer_import){.carried = 0};
    err_clear(err);
    find_folder(&w);
    write_head(&w);
    for (size_t i = 0; rc == HF_OK && i < sizeof sections / sizeof sections[0]; i++)
        rc = write_section(&w, sections[i]);
    if (rc == HF_OK)
        rc = write_entries(&w, INI_DATABASES, "databases");
    if (rc == HF_OK)
        rc = write_entries(&w, INI_USERS, "roles");
    if (rc == HF_OK && has_peers(&w))
        rc = write_entries(&w, INI_PEERS, "peers");
    explicit_bzero(&w.pair, sizeof w.pair);
    explicit_bzero(&w.value, sizeof w.value);
    return rc;
}
