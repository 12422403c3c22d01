#include "config/value.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "os/file.h"
#include "proxy/proxy_config.h"

#define NAME_MAX_BYTES 128

void value_wipe(struct value *value)
{
    explicit_bzero(value, sizeof *value);
}

static enum hf_rc append(struct value *value, struct sv bytes, struct hf_err *err)
{
    if (bytes.size >= sizeof value->text - value->size)
        return err_set(err, HF_RC_LIMIT, "54000", "the value has more than %zu bytes",
                       sizeof value->text - 1);
    if (bytes.size > 0)
        memcpy(value->text + value->size, bytes.data, bytes.size);
    value->size += bytes.size;
    value->text[value->size] = '\0';
    return HF_OK;
}

/* ---- environment ---- */

static bool is_name(struct sv name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    if (name.size == 0 || name.size >= NAME_MAX_BYTES ||
        (name.data[0] >= '0' && name.data[0] <= '9'))
        return false;
    for (size_t i = 0; i < name.size; i++)
        if (memchr(letters, name.data[i], sizeof letters - 1) == NULL)
            return false;
    return true;
}

/* `rest` begins behind "${". */
static enum hf_rc append_variable(struct value *value, struct sv *rest, struct hf_err *err)
{
    char name[NAME_MAX_BYTES];
    const size_t end = sv_find(*rest, '}');
    const struct sv text = sv_take(*rest, end);
    if (end == rest->size || !is_name(text)) {
        err_set(err, HF_RC_INVALID, "F0000", "${ is not followed by a name and }");
        return err_hint(err, "Write ${NAME} for an environment variable, and $${ for ${ itself.");
    }
    if (!sv_copy(text, name, sizeof name))
        return err_set(err, HF_RC_INVALID, "F0000", "the name is too long");
    /* Settings are read before there are threads that could change the environment. */
    const char *content = getenv(name); /* NOLINT(concurrency-mt-unsafe) */
    if (content == NULL) {
        err_set(err, HF_RC_MISSING, "F0000", "the environment variable %s is not set", name);
        return err_hint(err, "Set it for this process, or write the value here.");
    }
    *rest = sv_drop(*rest, end + 1);
    return append(value, sv_from_cstr(content), err);
}

/* Puts environment variables in: ${NAME}; and ${ for $${. */
static enum hf_rc HF_MUST_USE expand(struct value *value, struct sv text, struct hf_err *err)
{
    while (text.size > 0) {
        enum hf_rc rc = HF_OK;
        if (sv_starts_with(text, SV("$${"))) {
            text = sv_drop(text, 3);
            rc = append(value, SV("${"), err);
        } else if (sv_starts_with(text, SV("${"))) {
            text = sv_drop(text, 2);
            rc = append_variable(value, &text, err);
        } else {
            /* To the next $, and at least one byte. */
            const size_t plain = 1 + sv_find(sv_drop(text, 1), '$');
            rc = append(value, sv_take(text, plain), err);
            text = sv_drop(text, plain);
        }
        if (rc != HF_OK)
            return rc;
    }
    return HF_OK;
}

/* ---- paths ---- */

static bool is_path(const struct opt_row *row)
{
    const struct sv key = sv_from_cstr(row->key);
    return row->type == OPT_STRING &&
           (sv_ends_with(key, SV("_file")) || sv_ends_with(key, SV("_dir")));
}

/* Appends a path; what begins with / or @ (a socket without a file) is whole. */
static enum hf_rc append_path(struct value *value, struct sv path, const char *folder,
                              struct hf_err *err)
{
    const bool is_whole =
        path.size == 0 || path.data[0] == '/' || path.data[0] == '@' || folder == NULL;
    if (!is_whole && append(value, sv_from_cstr(folder), err) != HF_OK)
        return err->rc;
    return append(value, path, err);
}

/* ---- values ---- */

bool value_may_be_list(const struct opt_row *row)
{
    return row->type == OPT_STRING && row->size == PROXY_LIST_SIZE;
}

static enum hf_rc append_items(struct value *value, const struct tree_node *list,
                               struct tree_place *place, struct hf_err *err)
{
    for (const struct tree_node *item = list->first; item != NULL; item = item->next) {
        *place = item->place;
        if (item->kind != TREE_SCALAR)
            return err_set(err, HF_RC_INVALID, "F0000", "a text was expected, and this is %s",
                           tree_kind_name(item->kind));
        if (item != list->first && append(value, SV(", "), err) != HF_OK)
            return err->rc;
        if (expand(value, item->text, err) != HF_OK)
            return err->rc;
    }
    return HF_OK;
}

enum hf_rc value_from_node(struct value *value, const struct opt_row *row,
                           const struct tree_node *node, const char *folder,
                           struct tree_place *place, struct hf_err *err)
{
    struct value expanded = {.size = 0};
    *value = (struct value){.size = 0};
    *place = node->place;
    if (node->kind == TREE_LIST)
        return append_items(value, node, place, err);
    if (!is_path(row))
        return expand(value, node->text, err);
    enum hf_rc rc = expand(&expanded, node->text, err);
    if (rc == HF_OK)
        rc = append_path(value, value_text(&expanded), folder, err);
    return rc;
}

enum hf_rc value_from_file(struct value *value, const struct tree_node *node, const char *folder,
                           struct hf_err *err)
{
    struct value expanded = {.size = 0}, path = {.size = 0};
    *value = (struct value){.size = 0};
    enum hf_rc rc = expand(&expanded, node->text, err);
    if (rc == HF_OK)
        rc = append_path(&path, value_text(&expanded), folder, err);
    if (rc == HF_OK)
        rc = file_read(path.text, value->text, sizeof value->text, err);
    if (rc != HF_OK)
        return rc;
    value->size = strlen(value->text);
    if (value->size > 0 && value->text[value->size - 1] == '\n')
        value->size--;
    if (value->size > 0 && value->text[value->size - 1] == '\r')
        value->size--;
    if (value->size == 0)
        return err_set(err, HF_RC_INVALID, "F0000", "\"%s\" is empty", path.text);
    return HF_OK;
}
