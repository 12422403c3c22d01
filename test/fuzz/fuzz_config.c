/*
 * A configuration file of any text.
 *
 * Checked beside the absence of crashes and leaks: what is taken keeps the invariants of
 * proxy_config.h (names sorted and unique, "*" last and always among the roles, every setting
 * inside its row, lists parsed); what is refused is blamed on a place inside the text, in words;
 * and a configuration does not differ from itself.
 */
#include <string.h>

#include "config/config.h"
#include "config/config_diff.h"
#include "fuzz.h"

/* Every number is taken again by its row. */
static void check_rows(const struct opt_table *table, const void *base)
{
    for (size_t i = 0; i < table->count; i++) {
        char block[PROXY_LIST_SIZE + 1];
        struct buffer out;
        const struct opt_row *row = &table->rows[i];
        buffer_init(&out, block, sizeof block);
        FUZZ_CHECK(opt_print(row, base, &out));
        if (row->type != OPT_SECRET)
            FUZZ_CHECK(opt_set_row(row, NULL, buffer_view(&out), NULL) == HF_OK);
    }
}

static void check_names(const char *names, uint32_t count, size_t size)
{
    for (uint32_t i = 1; i < count; i++) {
        const char *before = names + (i - 1) * size, *name = names + i * size;
        FUZZ_CHECK(strcmp(before, "*") != 0);
        FUZZ_CHECK(strcmp(name, "*") == 0 || strcmp(before, name) < 0);
    }
}

static void check_config(const struct proxy_config *config)
{
    struct config_diff diff;
    struct config_change change;
    for (size_t i = 0; i < proxy_section_count(); i++) {
        const struct proxy_section *section = proxy_section_at(i);
        if (section->kind == PROXY_SECTION_ONE)
            check_rows(&section->tables[0], (const char *)config + section->offset);
    }
    FUZZ_CHECK(config->database_count > 0 && config->role_count > 0);
    FUZZ_CHECK(config->proxy.listener_count > 0);
    check_names(config->databases[0].name, config->database_count, sizeof config->databases[0]);
    check_names(config->roles[0].name, config->role_count, sizeof config->roles[0]);
    FUZZ_CHECK(strcmp(config->roles[config->role_count - 1].name, "*") == 0);
    for (uint32_t i = 0; i < config->database_count; i++) {
        const struct proxy_database *database = &config->databases[i];
        FUZZ_CHECK(database->host_count > 0 && database->hosts[0].port > 0);
        FUZZ_CHECK(proxy_database_find(config, sv_from_cstr(database->name)) == database);
        check_rows(&proxy_section_find(SV("databases"))->tables[0], database);
        check_rows(&proxy_section_find(SV("pools"))->tables[0], database);
    }
    config_diff_begin(&diff, config, config);
    FUZZ_CHECK(!config_diff_next(&diff, &change));
}

static void check_faults(const struct config_faults *faults, struct sv text)
{
    uint32_t lines = 2; /* libyaml counts one more behind the last line end */
    for (size_t i = 0; i < text.size; i++)
        lines += text.data[i] == '\n' || text.data[i] == '\r' || (text.data[i] & 0x80) != 0;
    FUZZ_CHECK(faults->count > 0 && faults->total >= faults->count);
    for (size_t i = 0; i < faults->count; i++) {
        char line[FAULTS_TEXT_MAX];
        const struct config_fault *fault = &faults->list[i];
        FUZZ_CHECK(fault->err.rc != HF_OK && fault->err.message[0] != '\0');
        FUZZ_CHECK(fault->place.line <= lines);
        FUZZ_CHECK(strlen(faults_text(fault, "file", line)) < FAULTS_TEXT_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mem mem;
    struct config_faults faults;
    struct proxy_config *config = NULL;
    const struct sv text = sv_from((const char *)data, size);
    mem_init(&mem, (size_t)64 << 20);
    if (config_read_text(&config, text, NULL, &mem, &faults) == HF_OK)
        check_config(config);
    else
        check_faults(&faults, text);
    proxy_config_free(config);
    mem_deinit(&mem);
    return 0;
}
