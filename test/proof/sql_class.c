/*
 * What sql/ says of statements, for test/integration/test_sql_class.py, which asks servers.
 *
 *     sql_class --queries           the questions for a catalogue, as catalog_load asks them: the
 *                                   kind, a tab, the text, a zero byte; again and again
 *     sql_class FILE < STATEMENTS   a line for each statement, which ends with a zero byte: class,
 *                                   reason, subject, traits. FILE has the rows of the catalogue:
 *                                   kind, schema, name, volatility and note, with tabs between
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/judge.h"

#define NAMES_MAX 20000
#define TEXT_MAX  (2 << 20)

static void die(const char *why)
{
    fprintf(stderr, "sql_class: %s\n", why);
    exit(1);
}

static void *memory_for(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL)
        die("out of memory");
    return memory;
}

static void print_queries(void)
{
    for (int kind = 0; kind < USES_KINDS; kind++) {
        const char *query = catalog_query((enum uses_kind)kind);
        if (query != NULL)
            printf("%d\t%s%c", kind, query, '\0');
    }
    printf("%d\t%s%c", USES_KINDS, catalog_fingerprint_query(), '\0');
}

static void feed_line(struct catalog *catalog, struct sv line)
{
    struct sv fields[5] = {{0}};
    struct hf_err err;
    int64_t kind;
    for (size_t i = 0; i < 5; i++) {
        if (!sv_split(&line, '\t', &fields[i]))
            die("a row has too few fields");
    }
    if (sv_to_int(fields[0], 0, USES_KINDS - 1, &kind) != SV_NUMBER_OK)
        die("a row has no kind");
    const struct catalog_row row = {(enum uses_kind)kind, fields[1], fields[2], fields[3],
                                    fields[4]};
    if (catalog_feed(catalog, &row, &err) != HF_OK)
        die(err.message);
}

static void read_catalog(struct catalog *catalog, const char *path)
{
    static char line[4096];
    FILE *file = fopen(path, "r");
    if (file == NULL)
        die("cannot open the catalogue's file");
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        feed_line(catalog, sv_from_cstr(line));
    }
    fclose(file);
    catalog_seal(catalog);
}

int main(int argc, char **argv)
{
    static const struct lex_rules standard = {0};
    if (argc != 2)
        die("call it with --queries, or with a file");
    if (strcmp(argv[1], "--queries") == 0) {
        print_queries();
        return 0;
    }
    struct catalog catalog;
    void *memory = memory_for(catalog_size(NAMES_MAX, TEXT_MAX));
    catalog_init(&catalog, memory, NAMES_MAX, TEXT_MAX, 1, (struct hash_key){1, 2});
    read_catalog(&catalog, argv[1]);
    void *room = memory_for(judge_size(1024));
    struct judge *judge = judge_init(room, 1024, 1, &catalog, NULL);
    char *text = NULL;
    size_t capacity = 0;
    ssize_t size;
    while ((size = getdelim(&text, &capacity, '\0', stdin)) > 0) {
        const struct verdict *verdict =
            judge_statement(judge, sv_from(text, (size_t)size - 1), &standard);
        printf("%s\t%s\t%s\t%u\n", verdict_class_name(verdict->is),
               verdict_reason_name(verdict->reason), verdict->subject, verdict->traits);
    }
    free(text);
    free(room);
    free(memory);
    return 0;
}
