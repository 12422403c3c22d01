#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/options.h"
#include "config/config.h"
#include "config/config_doc.h"

/* What one of the functions prints; to be given back with free(). */
static void print(void (*doc)(FILE *out), char **text)
{
    size_t size = 0;
    FILE *out = open_memstream(text, &size);
    assert_non_null(out);
    doc(out);
    fclose(out);
}

static void read_well(const char *text)
{
    struct mem mem;
    struct config_faults faults;
    struct proxy_config *config = NULL;
    char line[FAULTS_TEXT_MAX];
    mem_init(&mem, 0);
    if (config_read_text(&config, sv_from_cstr(text), NULL, &mem, &faults) != HF_OK)
        fail_msg("%s\n%s", faults_text(&faults.list[0], "sample", line), text);
    proxy_config_free(config);
    mem_deinit(&mem);
}

static void config_doc__the_sample_works_as_it_is(void **state)
{
    (void)state;
    char *text = NULL;
    print(config_doc_example, &text);
    read_well(text);
    free(text);
}

/* The # in front of a setting is all that has to go. */
static void config_doc__every_setting_of_the_sample_can_be_switched_on(void **state)
{
    (void)state;
    char *text = NULL;
    print(config_doc_example, &text);
    int count = 0;
    for (char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1) {
        char *mark = line + strspn(line, " ");
        if (mark[0] != '#' || mark[1] == ' ')
            continue;
        count++;
        memmove(mark, mark + 1, strlen(mark));
        read_well(text);
    }
    size_t rows = 0;
    for (size_t i = 0; i < proxy_section_count(); i++)
        rows += proxy_section_at(i)->tables[0].count;
    for (size_t i = 0; i < options_section_count(); i++)
        rows += options_section_at(i)->is_endpoint ? 0 : options_section_at(i)->table.count;
    /* hosts is on already; the names of a listener and of a peer are not. */
    assert_int_equal(count, rows - 1 + 2);
    free(text);
}

static void config_doc__lines_of_the_sample_fit(void **state)
{
    (void)state;
    char *text = NULL;
    print(config_doc_example, &text);
    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1)
        assert_in_range(strcspn(line, "\n"), 0, 100);
    free(text);
}

static void config_doc__the_reference_has_every_row(void **state)
{
    (void)state;
    char *text = NULL;
    print(config_doc_reference, &text);
    char expected[128];
    for (size_t i = 0; i < proxy_section_count(); i++) {
        const struct proxy_section *section = proxy_section_at(i);
        snprintf(expected, sizeof expected, "\n## %s%s\n", section->path,
                 section->kind == PROXY_SECTION_ONE ? "" : ".NAME");
        const char *at = strstr(text, expected);
        assert_non_null(at);
        for (size_t j = 0; j < section->tables[0].count; j++) {
            snprintf(expected, sizeof expected, "\n| `%s` | ", section->tables[0].rows[j].key);
            at = strstr(at, expected);
            assert_non_null(at);
        }
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_doc__the_sample_works_as_it_is),
        cmocka_unit_test(config_doc__every_setting_of_the_sample_can_be_switched_on),
        cmocka_unit_test(config_doc__lines_of_the_sample_fit),
        cmocka_unit_test(config_doc__the_reference_has_every_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
