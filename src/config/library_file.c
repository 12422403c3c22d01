#include "config/library_file.h"

#include <stdio.h>
#include <string.h>

#include "base/bug.h"
#include "config/value.h"
#include "os/file.h"
#include "proxy/proxy_config.h"

#define PATH_SIZE 4096

/* Where reading is: what a fault needs to be blamed on the right place. */
struct reader {
    const char *folder; /* where relative paths begin */
    struct config_faults *faults;
    struct mem *mem;
    const char *database; /* that is asked for; NULL: the only one */
    int profile;          /* of the caller; 0: the file's */
};

/* ---- faults ---- */

/* `KEY:` with nothing behind it is a map of nothing. */
static bool is_map(struct reader *reader, const struct tree_node *node, const char *path)
{
    struct hf_err err;
    const bool is_empty = node->kind == TREE_SCALAR && node->is_plain && node->text.size == 0;
    if (node->kind == TREE_MAP || is_empty)
        return true;
    err_set(&err, HF_RC_INVALID, "F0000", "a map of settings was expected, and this is %s",
            tree_kind_name(node->kind));
    faults_add_below(reader->faults, node->place, path, SV(""), &err);
    return false;
}

/* ---- one setting ---- */

/* `row` has the node's own key, or that of the secret whose file it names. */
static enum hf_rc set_value(struct reader *reader, const struct opt_row *row, void *config,
                            const struct tree_node *node, struct tree_place *place,
                            struct hf_err *err)
{
    struct value value;
    const bool is_file = !sv_eq(node->key, sv_from_cstr(row->key));
    *place = node->place;
    if (node->kind == TREE_MAP || (node->kind == TREE_LIST && !value_may_be_list(row)))
        return err_set(err, HF_RC_INVALID, "F0000", "a value was expected, and this is %s",
                       tree_kind_name(node->kind));
    enum hf_rc rc = is_file ? value_from_file(&value, node, reader->folder, err)
                            : value_from_node(&value, row, node, reader->folder, place, err);
    if (rc == HF_OK)
        rc = opt_set_row(row, config, value_text(&value), err);
    value_wipe(&value);
    return rc;
}

/* The secret whose file a key names: "password" for "password_file"; NULL if it is none. */
static const struct opt_row *find_secret(const struct opt_table *table, struct sv key)
{
    const struct sv suffix = SV("_file");
    if (!sv_ends_with(key, suffix))
        return NULL;
    const struct opt_row *row = opt_find(table, sv_take(key, key.size - suffix.size));
    return row != NULL && row->type == OPT_SECRET ? row : NULL;
}

/* Sets what one node says. A key that has no row is refused, or with `is_shared` left to others. */
static void set_node(struct reader *reader, const struct opt_table *table, void *config,
                     const struct tree_node *node, const char *path, bool is_shared)
{
    struct hf_err err;
    struct tree_place place = node->key_place;
    const struct opt_row *row = opt_find(table, node->key);
    const struct opt_row *secret = row == NULL ? find_secret(table, node->key) : NULL;
    enum hf_rc rc = HF_OK;
    if (row != NULL || secret != NULL)
        rc = set_value(reader, row != NULL ? row : secret, config, node, &place, &err);
    else if (!is_shared) /* which fails, and knows the nearest one */
        rc = opt_set(table, config, node->key, SV(""), &err);
    if (rc != HF_OK)
        faults_add_below(reader->faults, place, path, node->key, &err);
}

static void set_map(struct reader *reader, const struct opt_table *table, void *config,
                    const struct tree_node *map, const char *path, bool is_shared)
{
    if (map == NULL || !is_map(reader, map, path))
        return;
    for (const struct tree_node *node = map->first; node != NULL; node = node->next)
        set_node(reader, table, config, node, path, is_shared);
}

/* ---- library ---- */

static void read_endpoints(struct reader *reader, struct client_config *config,
                           const struct options_section *section, const struct tree_node *map)
{
    if (!is_map(reader, map, "library.endpoints"))
        return;
    for (const struct tree_node *node = map->first; node != NULL; node = node->next) {
        struct hf_err err;
        char path[FAULTS_KEY_SIZE];
        struct client_endpoint_config *endpoint = options_endpoint(config, node->key, &err);
        snprintf(path, sizeof path, "library.endpoints." SV_FMT, SV_ARG(node->key));
        if (endpoint == NULL)
            faults_add_below(reader->faults, node->key_place, path, SV(""), &err);
        else
            set_map(reader, &section->table, endpoint, node, path, false);
    }
}

static void read_profile(struct reader *reader, struct client_config *config,
                         const struct tree_node *node)
{
    struct hf_err err;
    const int profile = node->kind == TREE_SCALAR ? options_profile_find(node->text) : -1;
    if (profile >= 0 && options_profile(config, profile, &err) == HF_OK)
        return;
    err_set(&err, HF_RC_INVALID, "22023",
            "default, conservative, aggressive, api or batch was expected");
    faults_add_below(reader->faults, node->place, "library", node->key, &err);
}

static const struct opt_row conninfo_row = {.key = "conninfo",
                                            .type = OPT_STRING,
                                            OPT_FIELD(struct client_config, conninfo),
                                            .default_text = "",
                                            .since = "0.3",
                                            .sentence = "What libpq shall be told."};
static const struct opt_table conninfo_table = {.rows = &conninfo_row, .count = 1};

/* One key of `library`: a section, or an option of the database as a whole. */
static void read_key(struct reader *reader, struct client_config *config,
                     const struct tree_node *node)
{
    char path[FAULTS_KEY_SIZE];
    const struct options_section *section =
        node->key.size > 0 ? options_section_find(node->key) : NULL;
    snprintf(path, sizeof path, "library." SV_FMT, SV_ARG(node->key));
    if (sv_eq(node->key, SV("profile")))
        return; /* went before all others */
    if (sv_eq(node->key, SV("conninfo")))
        set_node(reader, &conninfo_table, config, node, "library", false);
    else if (section == NULL)
        set_node(reader, &options_section_find(SV(""))->table, config, node, "library", false);
    else if (section->is_endpoint)
        read_endpoints(reader, config, section, node);
    else
        set_map(reader, &section->table, (char *)config + section->offset, node, path, false);
}

void library_file_section(struct client_config *config, const struct tree_node *library,
                          int profile, const char *folder, struct config_faults *faults)
{
    struct reader reader = {.folder = folder, .faults = faults};
    struct hf_err err;
    options_defaults(config, OPTIONS_DATABASE);
    const struct tree_node *named = tree_find(library, SV("profile"));
    if (profile != 0 && options_profile(config, profile, &err) != HF_OK)
        faults_add(faults, (struct tree_place){0, 0}, "", &err);
    else if (profile == 0 && named != NULL)
        read_profile(&reader, config, named);
    if (library == NULL || !is_map(&reader, library, "library"))
        return;
    for (const struct tree_node *node = library->first; node != NULL; node = node->next)
        read_key(&reader, config, node);
    if (faults->total == 0 && options_check(config, &err) != HF_OK)
        faults_add(faults, library->key_place, "library", &err);
}

/* ---- databases ---- */

/* What the library takes of an entry; the rows of all its settings are the proxy's. */
struct place {
    char hosts[PROXY_LIST_SIZE];
    char dbname[128];
    char user[128];
    struct secret password;
    char sslmode[32];
};

#define ROW(field, row_type, words)                                                                \
    {                                                                                              \
        .key = #field, .type = (row_type), OPT_FIELD(struct place, field), .default_text = "",     \
        .since = "0.3", .sentence = (words)                                                        \
    }

static const struct opt_row place_rows[] = {
    ROW(hosts, OPT_STRING, "Servers of the database."),
    ROW(dbname, OPT_STRING, "Its name at the servers."),
    ROW(user, OPT_STRING, "Role that servers are entered as."),
    ROW(password, OPT_SECRET, "Password of user."),
    ROW(sslmode, OPT_STRING, "TLS to its servers."),
};

static const struct opt_table place_table = OPT_TABLE(place_rows);

/* The entry that is meant: of this name, "*", or the only one; NULL, and blamed, if none is. */
static const struct tree_node *find_entry(struct reader *reader, const struct tree_node *databases)
{
    const char *database = reader->database;
    struct hf_err err;
    const struct tree_node *entry = NULL;
    if (database != NULL)
        entry = tree_find(databases, sv_from_cstr(database));
    if (database != NULL && entry == NULL)
        entry = tree_find(databases, SV("*"));
    if (database == NULL && databases->count == 1)
        entry = databases->first;
    if (entry != NULL)
        return entry;
    if (database != NULL)
        err_set(&err, HF_RC_MISSING, "3D000", "there is no database \"%.64s\" in it", database);
    else
        err_set(&err, HF_RC_INVALID, "F0000",
                "there are %u databases in it, and none was asked for by name",
                (unsigned)databases->count);
    err_hint(&err, "Say which in options.database.");
    faults_add_below(reader->faults, databases->key_place, "databases", SV(""), &err);
    return NULL;
}

/* A connection string under way. */
struct text {
    char *out;
    size_t used, size;
    bool is_cut;
};

static void put(struct text *text, struct sv bytes, bool is_quoted)
{
    for (size_t i = 0; i < bytes.size; i++) {
        const bool is_escaped = is_quoted && (bytes.data[i] == '\'' || bytes.data[i] == '\\');
        if (text->used + 3 > text->size) {
            text->is_cut = true;
            return;
        }
        if (is_escaped)
            text->out[text->used++] = '\\';
        text->out[text->used++] = bytes.data[i];
    }
    text->out[text->used] = '\0';
}

/* " key='value'" as libpq reads it; nothing where there is no value. */
static void put_setting(struct text *text, const char *key, struct sv value)
{
    if (value.size == 0)
        return;
    put(text, SV(" "), false);
    put(text, sv_from_cstr(key), false);
    put(text, SV("='"), false);
    put(text, value, true);
    put(text, SV("'"), false);
}

/* "db1:5433", "[::1]:5433", "/run/postgresql": what stands before the port, and the port. */
static void split_host(struct sv whole, struct sv *host, struct sv *port)
{
    *port = SV("5432");
    *host = whole;
    if (whole.size > 0 && whole.data[0] == '[') {
        const size_t end = sv_find(whole, ']');
        *host = sv_take(sv_drop(whole, 1), end - 1);
        const struct sv rest = sv_drop(whole, end + 1);
        if (rest.size > 1 && rest.data[0] == ':')
            *port = sv_drop(rest, 1);
        return;
    }
    const size_t colon = sv_find(whole, ':');
    if (colon < whole.size && whole.data[0] != '/') {
        *host = sv_take(whole, colon);
        *port = sv_drop(whole, colon + 1);
    }
}

/* The hosts, or the ports, of all servers, separated by commas. */
static void put_hosts(struct text *text, const char *key, const char *hosts, bool is_port)
{
    struct sv rest = sv_from_cstr(hosts), one;
    bool is_first = true;
    put(text, SV(" "), false);
    put(text, sv_from_cstr(key), false);
    put(text, SV("='"), false);
    while (sv_split(&rest, ',', &one)) {
        struct sv host, port;
        split_host(sv_trim(one), &host, &port);
        if (!is_first)
            put(text, SV(","), false);
        put(text, is_port ? port : host, true);
        is_first = false;
    }
    put(text, SV("'"), false);
}

/* What the file says of connecting, after what stands in library.conninfo: of two settings of one
 * key libpq takes the later. */
static enum hf_rc write_conninfo(struct client_config *config, const struct place *place,
                                 struct sv name, struct hf_err *err)
{
    struct text text = {
        .out = config->conninfo, .used = strlen(config->conninfo), .size = sizeof config->conninfo};
    if (strstr(config->conninfo, "://") != NULL) {
        err_set(err, HF_RC_INVALID, "F0000",
                "conninfo is a URL, and the servers are those of databases." SV_FMT, SV_ARG(name));
        return err_hint(err, "Write key=value settings there, or take the database out.");
    }
    put_hosts(&text, "host", place->hosts, false);
    put_hosts(&text, "port", place->hosts, true);
    put_setting(&text, "dbname", place->dbname[0] != '\0' ? sv_from_cstr(place->dbname) : name);
    put_setting(&text, "user", sv_from_cstr(place->user));
    put_setting(&text, "password", secret_reveal(&place->password));
    put_setting(&text, "sslmode", sv_from_cstr(place->sslmode));
    if (text.is_cut)
        return err_set(err, HF_RC_LIMIT, "54000",
                       "hosts, user and the rest are longer than %d characters",
                       CLIENT_CONNINFO_SIZE - 1);
    return HF_OK;
}

static void read_database(struct reader *reader, struct client_config *config,
                          const struct tree_node *databases)
{
    struct hf_err err;
    char path[FAULTS_KEY_SIZE];
    struct place place;
    if (!is_map(reader, databases, "databases"))
        return;
    const struct tree_node *entry = find_entry(reader, databases);
    if (entry == NULL)
        return;
    snprintf(path, sizeof path, "databases." SV_FMT, SV_ARG(entry->key));
    memset(&place, 0, sizeof place);
    set_map(reader, &place_table, &place, entry, path, true);
    /* The entry for any database has no name of its own. */
    const struct sv name =
        !sv_eq(entry->key, SV("*")) ? entry->key : sv_from_cstr(reader->database);
    if (place.hosts[0] == '\0') {
        err_set(&err, HF_RC_INVALID, "F0000", "its hosts are missing");
        faults_add_below(reader->faults, entry->key_place, path, SV("hosts"), &err);
    } else if (write_conninfo(config, &place, name, &err) != HF_OK) {
        faults_add_below(reader->faults, entry->key_place, path, SV(""), &err);
    }
    secret_wipe(&place.password);
}

/* ---- the file ---- */

static void read_tree(struct reader *reader, struct client_config *config,
                      const struct tree_node *root)
{
    const struct tree_node *databases = tree_find(root, SV("databases"));
    library_file_section(config, tree_find(root, SV("library")), reader->profile, reader->folder,
                         reader->faults);
    if (databases != NULL)
        read_database(reader, config, databases);
}

static void read_text(struct reader *reader, struct client_config *config, const char *text)
{
    struct tree tree;
    struct tree_place place;
    struct hf_err err;
    if (tree_read(&tree, sv_from_cstr(text), reader->mem, &place, &err) != HF_OK)
        faults_add(reader->faults, place, "", &err);
    else
        read_tree(reader, config, tree.root);
    tree_free(&tree);
}

static enum hf_rc read_file(struct reader *reader, struct client_config *config, const char *path,
                            struct hf_err *err)
{
    const int64_t bytes = file_size(path);
    const size_t room = bytes <= (int64_t)TREE_TEXT_MAX ? (size_t)bytes + 2 : TREE_TEXT_MAX + 1;
    char *text = mem_alloc(reader->mem, room);
    if (text == NULL)
        return mem_refused(reader->mem, room, err);
    enum hf_rc rc = file_read(path, text, room, err);
    if (rc == HF_OK && strlen(text) < (size_t)bytes)
        rc = err_set(err, HF_RC_INVALID, "F0000", "%s: it holds a zero byte", path);
    if (rc == HF_OK)
        read_text(reader, config, text);
    explicit_bzero(text, room);
    mem_free(reader->mem, text);
    return rc;
}

/* The first fault, with its place in front; the beginning may be cut, never the end. */
static enum hf_rc tell_fault(const struct config_faults *faults, const char *path,
                             struct hf_err *err)
{
    char text[FAULTS_TEXT_MAX];
    *err = faults->list[0].err;
    faults_text(&faults->list[0], path, text);
    const size_t size = strlen(text);
    const size_t cut = size >= sizeof err->message ? size - sizeof err->message + 1 : 0;
    snprintf(err->message, sizeof err->message, "%.*s", (int)(sizeof err->message - 1), text + cut);
    return err->rc;
}

enum hf_rc library_file_read(struct client_config *config, const char *path, const char *database,
                             int profile, struct mem *mem, struct hf_err *err)
{
    char folder[PATH_SIZE];
    const char *slash = strrchr(path, '/');
    const size_t size = slash != NULL ? (size_t)(slash - path) + 1 : 0;
    if (size >= sizeof folder)
        return err_set(err, HF_RC_LIMIT, "54000", "the path of the file is too long");
    struct config_faults *faults = mem_alloc(mem, sizeof *faults);
    if (faults == NULL)
        return mem_refused(mem, sizeof *faults, err);
    memcpy(folder, path, size);
    folder[size] = '\0';
    faults_init(faults);
    struct reader reader = {
        .folder = folder, .faults = faults, .mem = mem, .database = database, .profile = profile};
    enum hf_rc rc = read_file(&reader, config, path, err);
    faults_sort(faults);
    if (rc == HF_OK && faults->total > 0)
        rc = tell_fault(faults, path, err);
    mem_free(mem, faults);
    return rc;
}
