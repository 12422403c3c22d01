#include "config/config_diff.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"

#define NOTHING "(none)"

void config_diff_begin(struct config_diff *diff, const struct proxy_config *before,
                       const struct proxy_config *after)
{
    *diff = (struct config_diff){.before = before, .after = after};
}

/* ---- one change ---- */

static void set_value(char out[CONFIG_CHANGE_VALUE_SIZE], const struct opt_row *row,
                      const void *base)
{
    char text[PROXY_LIST_SIZE + 1];
    struct buffer buffer;
    buffer_init(&buffer, text, sizeof text - 1);
    if (!opt_print(row, base, &buffer))
        buffer_clear(&buffer);
    const struct sv view = buffer_view(&buffer);
    if (view.size == 0) {
        snprintf(out, CONFIG_CHANGE_VALUE_SIZE, "%s", row->type == OPT_SECRET ? NOTHING : "\"\"");
    } else if (view.size < CONFIG_CHANGE_VALUE_SIZE) {
        sv_copy(view, out, CONFIG_CHANGE_VALUE_SIZE);
    } else {
        snprintf(out, CONFIG_CHANGE_VALUE_SIZE, "%.*s...", CONFIG_CHANGE_VALUE_SIZE - 4, view.data);
    }
}

static void set_change(struct config_change *change, const char *path, const char *entry,
                       const struct opt_row *row, const void *before, const void *after)
{
    snprintf(change->key, sizeof change->key, "%s%s%s.%s", path, entry[0] != '\0' ? "." : "", entry,
             row->key);
    set_value(change->before, row, before);
    set_value(change->after, row, after);
    change->needs_restart = !row->is_reloadable;
}

static void set_entry(struct config_change *change, const char *path, const char *entry,
                      bool is_new)
{
    snprintf(change->key, sizeof change->key, "%s.%s", path, entry);
    snprintf(change->before, sizeof change->before, "%s", is_new ? NOTHING : "there");
    snprintf(change->after, sizeof change->after, "%s", is_new ? "there" : NOTHING);
    change->needs_restart = false;
}

/* The next setting that differs in the tables of a section, between two structs. */
static bool next_row(struct config_diff *diff, const struct proxy_section *section,
                     const char *entry, const void *before, const void *after,
                     struct config_change *change)
{
    for (; diff->table < 2; diff->table++, diff->cursor = 0) {
        const struct opt_row *row =
            opt_diff(&section->tables[diff->table], before, after, &diff->cursor);
        if (row == NULL)
            continue;
        set_change(change, section->path, entry, row, before, after);
        return true;
    }
    diff->table = 0;
    diff->cursor = 0;
    return false;
}

/* ---- databases, roles and groups: two sorted lists side by side ---- */

struct entries {
    const char *first;
    uint32_t count;
    size_t size;
    size_t name_offset;
};

static struct entries entries_of(const struct proxy_config *config,
                                 const struct proxy_section *section)
{
    if (section->kind == PROXY_SECTION_DATABASES)
        return (struct entries){(const char *)config->databases, config->database_count,
                                sizeof(struct proxy_database),
                                offsetof(struct proxy_database, name)};
    if (section->kind == PROXY_SECTION_GROUPS)
        return (struct entries){(const char *)config->groups, config->group_count,
                                sizeof(struct group), offsetof(struct group, name)};
    if (section->kind == PROXY_SECTION_LISTENERS)
        return (struct entries){(const char *)config->places, config->place_count,
                                sizeof(struct proxy_listener),
                                offsetof(struct proxy_listener, name)};
    if (section->kind == PROXY_SECTION_PEERS)
        return (struct entries){(const char *)config->peers, config->peer_count,
                                sizeof(struct proxy_peer), offsetof(struct proxy_peer, name)};
    return (struct entries){(const char *)config->roles, config->role_count,
                            sizeof(struct proxy_role), offsetof(struct proxy_role, name)};
}

static const char *entry_at(const struct entries *entries, uint32_t at)
{
    return at < entries->count ? entries->first + at * entries->size : NULL;
}

/* "*" is the last one on both sides. */
static int compare(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return (a == NULL) - (b == NULL);
    const bool is_a_any = strcmp(a, "*") == 0, is_b_any = strcmp(b, "*") == 0;
    return is_a_any || is_b_any ? (int)is_a_any - (int)is_b_any : strcmp(a, b);
}

static bool next_entry(struct config_diff *diff, const struct proxy_section *section,
                       struct config_change *change)
{
    const struct entries left = entries_of(diff->before, section);
    const struct entries right = entries_of(diff->after, section);
    for (;;) {
        const char *before = entry_at(&left, diff->at_before);
        const char *after = entry_at(&right, diff->at_after);
        if (before == NULL && after == NULL)
            break;
        const char *before_name = before != NULL ? before + left.name_offset : NULL;
        const char *after_name = after != NULL ? after + right.name_offset : NULL;
        const int order = compare(before_name, after_name);
        if (order == 0 && next_row(diff, section, before_name, before, after, change))
            return true;
        diff->at_before += order <= 0;
        diff->at_after += order >= 0;
        if (order == 0)
            continue;
        set_entry(change, section->path, order < 0 ? before_name : after_name, order > 0);
        return true;
    }
    diff->at_before = 0;
    diff->at_after = 0;
    return false;
}

bool config_diff_next(struct config_diff *diff, struct config_change *change)
{
    for (; diff->section < proxy_section_count(); diff->section++) {
        const struct proxy_section *section = proxy_section_at(diff->section);
        const bool is_found =
            section->kind == PROXY_SECTION_ONE
                ? next_row(diff, section, "", (const char *)diff->before + section->offset,
                           (const char *)diff->after + section->offset, change)
                : next_entry(diff, section, change);
        if (is_found)
            return true;
    }
    return false;
}
