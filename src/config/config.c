#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "config/library_file.h"
#include "config/service.h"
#include "config/suggest.h"
#include "config/value.h"
#include "os/file.h"

/* Where reading is: what a fault needs to be blamed on the right place. */
struct reader {
    struct proxy_config *config;
    const struct tree_node *root;
    const char *folder;
    struct config_faults *faults;
    char path[FAULTS_KEY_SIZE];
};

/* ---- faults ---- */

static void blame_kind(struct reader *reader, const struct tree_node *node, const char *path,
                       const char *expected)
{
    struct hf_err err;
    err_set(&err, HF_RC_INVALID, "F0000", "%s was expected, and this is %s", expected,
            tree_kind_name(node->kind));
    faults_add_below(reader->faults, node->place, path, node->key, &err);
}

/* `KEY:` with nothing behind it is a map of nothing. */
static bool is_map(struct reader *reader, const struct tree_node *node, const char *path)
{
    const bool is_empty = node->kind == TREE_SCALAR && node->is_plain && node->text.size == 0;
    if (node->kind == TREE_MAP || is_empty)
        return true;
    blame_kind(reader, node, path, "a map of settings");
    return false;
}

/* ---- one setting ---- */

/* "pool_size" of opt_set_row()'s `option "pool_size": ...` stands in the path already. */
static void drop_prefix(const struct opt_row *row, struct hf_err *err)
{
    char prefix[96];
    const int size = snprintf(prefix, sizeof prefix, "option \"%s\": ", row->key);
    if (size > 0 && strncmp(err->message, prefix, (size_t)size) == 0)
        memmove(err->message, err->message + size, strlen(err->message + size) + 1);
}

static void set_row(struct reader *reader, const struct opt_row *row, void *base,
                    const struct tree_node *node, const char *path, bool is_file)
{
    struct hf_err err;
    struct value value;
    if (node->kind == TREE_MAP || (node->kind == TREE_LIST && !value_may_be_list(row))) {
        char expected[64];
        const char *type = opt_type_name(row->type);
        snprintf(expected, sizeof expected, "%s %s", row->type == OPT_INT ? "an" : "a", type);
        blame_kind(reader, node, path, expected);
        return;
    }
    struct tree_place place = node->place;
    enum hf_rc rc = is_file ? value_from_file(&value, node, reader->folder, &err)
                            : value_from_node(&value, row, node, reader->folder, &place, &err);
    if (rc == HF_OK) {
        rc = opt_set_row(row, base, value_text(&value), &err);
        if (rc != HF_OK)
            drop_prefix(row, &err);
    }
    if (rc != HF_OK)
        faults_add_below(reader->faults, place, path, node->key, &err);
    value_wipe(&value);
}

static const struct opt_row *find_row(const struct proxy_section *section, struct sv key)
{
    const struct opt_row *row = opt_find(&section->tables[0], key);
    return row != NULL || section->tables[1].count == 0 ? row : opt_find(&section->tables[1], key);
}

/* The secret whose file a key names: "password" for "password_file"; NULL if it is none. */
static const struct opt_row *find_secret(const struct proxy_section *section, struct sv key)
{
    if (!sv_ends_with(key, SV("_file")))
        return NULL;
    const struct opt_row *row = find_row(section, sv_take(key, key.size - strlen("_file")));
    return row != NULL && row->type == OPT_SECRET ? row : NULL;
}

static void refuse_key(struct reader *reader, const struct proxy_section *section,
                       const struct tree_node *node, const char *path)
{
    struct hf_err err;
    struct suggest suggest;
    err_set(&err, HF_RC_INVALID, "42704", "there is no such setting here");
    suggest_begin(&suggest, node->key);
    for (size_t t = 0; t < 2; t++)
        for (size_t i = 0; i < section->tables[t].count; i++)
            suggest_consider(&suggest, section->tables[t].rows[i].key);
    suggest_sections(&suggest, section->path);
    suggest_hint(&suggest, &err);
    if (suggest_word(&suggest) == NULL)
        suggest_elsewhere(section, node->key, &err);
    faults_add_below(reader->faults, node->key_place, path, node->key, &err);
}

/* Is it the name of a section inside this one? */
static bool is_section(const char *path, struct sv key)
{
    char full[64];
    if (key.size >= sizeof full)
        return false;
    snprintf(full, sizeof full, "%s%s%.*s", path, path[0] != '\0' ? "." : "", (int)key.size,
             key.data);
    return proxy_section_find(sv_from_cstr(full)) != NULL;
}

/* All settings of one map into one struct. */
static void read_rows(struct reader *reader, const struct proxy_section *section, void *base,
                      const struct tree_node *map, const char *path)
{
    for (const struct tree_node *node = map->first; node != NULL; node = node->next) {
        const struct opt_row *row = find_row(section, node->key);
        const struct opt_row *secret = row == NULL ? find_secret(section, node->key) : NULL;
        if (row != NULL) {
            set_row(reader, row, base, node, path, false);
        } else if (secret != NULL && tree_find(map, sv_from_cstr(secret->key)) != NULL) {
            struct hf_err err;
            err_set(&err, HF_RC_INVALID, "F0000", "\"%s\" is here, too", secret->key);
            err_hint(&err, "Keep one of the two.");
            faults_add_below(reader->faults, node->key_place, path, node->key, &err);
        } else if (secret != NULL) {
            set_row(reader, secret, base, node, path, true);
        } else if (!is_section(section->path, node->key)) {
            refuse_key(reader, section, node, path);
        }
    }
}

/* ---- sections ---- */

/* The node of a section, which may be in another one; NULL if the file has none. */
static const struct tree_node *find_section(const struct tree_node *root, const char *path)
{
    struct sv rest = sv_from_cstr(path), name;
    const struct tree_node *node = root;
    while (sv_split(&rest, '.', &name) && node != NULL)
        node = tree_find(node, name);
    return node;
}

static void read_entry(struct reader *reader, const struct proxy_section *section,
                       const struct tree_node *node)
{
    struct hf_err err;
    struct proxy_database *database = NULL;
    struct proxy_role *role = NULL;
    struct group *group = NULL;
    struct proxy_listener *listener = NULL;
    struct proxy_peer *peer = NULL;
    void *entry = NULL;
    enum hf_rc rc = HF_OK;
    switch (section->kind) {
    case PROXY_SECTION_DATABASES:
        rc = proxy_config_add_database(reader->config, node->key, &database, &err);
        entry = database;
        break;
    case PROXY_SECTION_ROLES:
        rc = proxy_config_add_role(reader->config, node->key, &role, &err);
        entry = role;
        break;
    case PROXY_SECTION_GROUPS:
        rc = proxy_config_add_group(reader->config, node->key, &group, &err);
        entry = group;
        break;
    case PROXY_SECTION_LISTENERS:
        rc = proxy_config_add_listener(reader->config, node->key, &listener, &err);
        entry = listener;
        break;
    case PROXY_SECTION_PEERS:
        rc = proxy_config_add_peer(reader->config, node->key, &peer, &err);
        entry = peer;
        break;
    case PROXY_SECTION_ONE:
    default:
        return;
    }
    if (rc != HF_OK) {
        faults_add_below(reader->faults, node->key_place, section->path, node->key, &err);
        return;
    }
    if (!is_map(reader, node, section->path))
        return;
    char path[FAULTS_KEY_SIZE];
    snprintf(path, sizeof path, "%s." SV_FMT, section->path, SV_ARG(node->key));
    read_rows(reader, section, entry, node, path);
}

static void read_section(struct reader *reader, const struct proxy_section *section)
{
    const struct tree_node *node = find_section(reader->root, section->path);
    const char *dot = strrchr(section->path, '.');
    char parent[64];
    snprintf(parent, sizeof parent, "%.*s", dot != NULL ? (int)(dot - section->path) : 0,
             section->path);
    if (node == NULL || !is_map(reader, node, parent))
        return;
    if (section->kind == PROXY_SECTION_ONE) {
        read_rows(reader, section, (char *)reader->config + section->offset, node, section->path);
        return;
    }
    for (const struct tree_node *entry = node->first; entry != NULL; entry = entry->next)
        read_entry(reader, section, entry);
}

/* What libholdfast reads of the same file is judged with it, and then thrown away. */
static void check_library(struct reader *reader, const struct tree_node *library)
{
    struct client_config options;
    library_file_section(&options, library, 0, reader->folder, reader->faults);
    options_wipe(&options);
}

static void check_top(struct reader *reader)
{
    const struct tree_node *root = reader->root;
    if (root == NULL || !is_map(reader, root, ""))
        return;
    for (const struct tree_node *node = root->first; node != NULL; node = node->next) {
        struct hf_err err;
        struct suggest suggest;
        if (sv_eq(node->key, SV("library")))
            check_library(reader, node);
        if (sv_eq(node->key, SV("library")) || is_section("", node->key))
            continue;
        err_set(&err, HF_RC_INVALID, "42704", "there is no such section");
        suggest_begin(&suggest, node->key);
        suggest_sections(&suggest, "");
        suggest_hint(&suggest, &err);
        if (suggest_word(&suggest) == NULL)
            suggest_elsewhere(NULL, node->key, &err);
        faults_add_below(reader->faults, node->key_place, "", node->key, &err);
    }
}

/* ---- the whole ---- */

/* The place of what proxy_config_finish() complains about: the setting, or else what is around it.
 */
static struct tree_place place_of(const struct reader *reader, const struct proxy_fault *fault)
{
    const struct tree_node *section = find_section(reader->root, fault->section);
    const struct tree_node *entry = section;
    if (fault->entry[0] != '\0')
        entry = tree_find(section, sv_from_cstr(fault->entry));
    const struct tree_node *node =
        fault->key != NULL ? tree_find(entry, sv_from_cstr(fault->key)) : NULL;
    if (node != NULL)
        return node->place;
    node = entry != NULL ? entry : section;
    return node != NULL ? node->key_place : (struct tree_place){0, 0};
}

/* What databases take from services. */
static void apply_services(struct reader *reader)
{
    const struct tree_node *databases = find_section(reader->root, "databases");
    for (uint32_t i = 0; i < reader->config->database_count; i++) {
        struct proxy_database *database = &reader->config->databases[i];
        struct hf_err err;
        const struct tree_node *entry = tree_find(databases, sv_from_cstr(database->name));
        if (database->service[0] == '\0' ||
            service_apply(database, tree_find(entry, SV("sslmode")) != NULL, &err) == HF_OK)
            continue;
        char path[FAULTS_KEY_SIZE];
        const struct tree_node *node = tree_find(entry, SV("service"));
        snprintf(path, sizeof path, "databases.%s", database->name);
        faults_add_below(reader->faults, node != NULL ? node->place : (struct tree_place){0, 0},
                         path, SV("service"), &err);
    }
}

static void finish(struct reader *reader)
{
    struct proxy_fault fault;
    struct hf_err err;
    if (reader->faults->total == 0)
        apply_services(reader);
    if (reader->faults->total > 0 || proxy_config_finish(reader->config, &fault, &err) == HF_OK)
        return;
    char path[FAULTS_KEY_SIZE];
    snprintf(path, sizeof path, "%s%s%s", fault.section, fault.entry[0] != '\0' ? "." : "",
             fault.entry);
    faults_add_below(reader->faults, place_of(reader, &fault), path, sv_from_cstr(fault.key), &err);
}

static size_t count_entries(struct reader *reader, const char *path, size_t max)
{
    const struct tree_node *node = find_section(reader->root, path);
    struct hf_err err;
    if (node == NULL || node->kind != TREE_MAP)
        return 0;
    if (node->count <= max)
        return node->count;
    err_set(&err, HF_RC_LIMIT, "54000", "there are %u, at most %zu are allowed",
            (unsigned)node->count, max);
    faults_add_below(reader->faults, node->key_place, path, SV(""), &err);
    return 0;
}

static void read_tree(struct reader *reader, struct mem *mem)
{
    const size_t databases = count_entries(reader, "databases", PROXY_DATABASES_MAX);
    const size_t roles = count_entries(reader, "roles", PROXY_ROLES_MAX);
    if (reader->faults->total > 0)
        return;
    reader->config = proxy_config_new(mem, databases, roles);
    if (reader->config == NULL) {
        struct hf_err err;
        mem_refused(mem, sizeof *reader->config, &err);
        faults_add(reader->faults, (struct tree_place){0, 0}, "", &err);
        return;
    }
    check_top(reader);
    for (size_t i = 0; i < proxy_section_count(); i++)
        read_section(reader, proxy_section_at(i));
    finish(reader);
}

enum hf_rc config_read_text(struct proxy_config **config, struct sv text, const char *folder,
                            struct mem *mem, struct config_faults *faults)
{
    struct tree tree;
    struct tree_place place;
    struct hf_err err;
    struct reader reader = {.folder = folder, .faults = faults};
    *config = NULL;
    faults_init(faults);
    if (tree_read(&tree, text, mem, &place, &err) != HF_OK) {
        faults_add(faults, place, "", &err);
    } else {
        reader.root = tree.root;
        read_tree(&reader, mem);
    }
    tree_free(&tree);
    faults_sort(faults);
    if (faults->total > 0) {
        proxy_config_free(reader.config);
        return faults->list[0].err.rc;
    }
    *config = reader.config;
    return HF_OK;
}

static enum hf_rc fail_file(struct config_faults *faults, const struct hf_err *err)
{
    return faults_add(faults, (struct tree_place){0, 0}, "", err);
}

enum hf_rc config_read_file(struct proxy_config **config, const char *path, struct mem *mem,
                            struct config_faults *faults)
{
    struct hf_err err;
    char folder[PROXY_PATH_SIZE];
    const char *slash = strrchr(path, '/');
    *config = NULL;
    faults_init(faults);
    const int size =
        snprintf(folder, sizeof folder, "%.*s", slash != NULL ? (int)(slash - path) + 1 : 0, path);
    if (size < 0 || (size_t)size >= sizeof folder) {
        err_set(&err, HF_RC_LIMIT, "54000", "the path of the file is too long");
        return fail_file(faults, &err);
    }
    /* One that grows while it is read is refused by file_read() as too long. */
    const int64_t bytes = file_size(path);
    const size_t room = bytes <= (int64_t)TREE_TEXT_MAX ? (size_t)bytes + 2 : TREE_TEXT_MAX + 1;
    char *text = mem_alloc(mem, room);
    if (text == NULL) {
        mem_refused(mem, room, &err);
        return fail_file(faults, &err);
    }
    enum hf_rc rc = file_read(path, text, room, &err);
    if (rc == HF_OK && strlen(text) < (size_t)bytes)
        rc = err_set(&err, HF_RC_INVALID, "F0000", "it holds a zero byte");
    if (rc == HF_OK)
        rc = config_read_text(config, sv_from_cstr(text), folder, mem, faults);
    else
        fail_file(faults, &err);
    explicit_bzero(text, room);
    mem_free(mem, text);
    return rc;
}

enum hf_rc config_fault_as_err(const struct config_faults *faults, const char *file,
                               struct hf_err *err)
{
    char text[FAULTS_TEXT_MAX];
    hf_assert(faults->count > 0);
    const struct config_fault *fault = &faults->list[0];
    *err = fault->err;
    /* The beginning may be cut away, never the end, which says what is wrong. */
    faults_text(fault, file, text);
    const size_t size = strlen(text);
    const size_t cut = size >= sizeof err->message ? size - sizeof err->message + 1 : 0;
    snprintf(err->message, sizeof err->message, "%.*s", (int)(sizeof err->message - 1), text + cut);
    if (faults->total > 1)
        err_detail(err, "%zu more settings are wrong.", faults->total - 1);
    return err->rc;
}
