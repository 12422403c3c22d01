/*
 * PgBouncer's configuration, of any text (without files that it includes).
 *
 * Checked beside the absence of crashes and leaks: what is refused is blamed on a line of the text;
 * what is taken comes out as YAML that our own reader takes, with every database under its name and
 * not twice, whatever bytes names and values have.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/pgbouncer_import.h"
#include "config/tree.h"
#include "fuzz.h"

static void check_made(const struct pgbouncer_ini *ini, struct sv made, struct mem *mem)
{
    struct tree tree;
    struct tree_place place;
    struct hf_err err;
    FUZZ_CHECK(tree_read(&tree, made, mem, &place, &err) == HF_OK);
    const struct tree_node *databases = tree_find(tree.root, SV("databases"));
    for (size_t i = 0; i < ini->count; i++) {
        if (ini->entries[i].section != INI_DATABASES)
            continue;
        const struct tree_node *entry = tree_find(databases, ini->entries[i].key);
        FUZZ_CHECK(entry != NULL && tree_find(entry, SV("hosts")) != NULL);
    }
    tree_free(&tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pgbouncer_ini ini;
    struct pgbouncer_import import;
    struct mem mem;
    struct hf_err err = {0};
    const struct sv text = sv_from((const char *)data, size);
    char *made = NULL;
    size_t made_size = 0;
    if (memmem(text.data, text.size, "%include", 8) != NULL || size > 65536)
        return 0;
    mem_init(&mem, 0);
    pgbouncer_ini_init(&ini, &mem);
    FILE *out = open_memstream(&made, &made_size);
    FUZZ_CHECK(out != NULL);
    enum hf_rc rc = pgbouncer_ini_read_text(&ini, text, "x.ini", &err);
    if (rc == HF_OK)
        rc = pgbouncer_import_write(&import, &ini, out, &err);
    fclose(out);
    if (rc == HF_OK)
        check_made(&ini, sv_from(made, made_size), &mem);
    else
        FUZZ_CHECK(strncmp(err.message, "x.ini:", 6) == 0);
    free(made);
    pgbouncer_ini_free(&ini);
    mem_deinit(&mem);
    return 0;
}
