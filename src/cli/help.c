#include "cli/help.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/version.h"

#define TEXT_WIDTH 80

/* Prints a paragraph broken between words. The cursor stands at `column`; the lines that follow
 * begin at `indent`. */
static void print_wrapped(struct sv text, size_t column, size_t indent)
{
    struct sv word;
    bool is_first = true;
    while (sv_split(&text, ' ', &word)) {
        if (!is_first && column + 1 + word.size > TEXT_WIDTH) {
            printf("\n%*s", (int)indent, "");
            column = indent;
        } else if (!is_first) {
            printf(" ");
            column++;
        }
        printf("%.*s", (int)word.size, word.data);
        column += word.size;
        is_first = false;
    }
    printf("\n");
}

/* Paragraphs are separated by an empty line, and one that begins with blanks is shown as it is. */
static void print_paragraphs(const char *text)
{
    const char *at = text;
    while (*at != '\0') {
        const char *end = strstr(at, "\n\n");
        const size_t size = end == NULL ? strlen(at) : (size_t)(end - at);
        print_wrapped(sv_from(at, size), 0, 0);
        printf("\n");
        at += end == NULL ? size : size + 2;
    }
}

/* "--port-base N" */
static void option_with_value(const struct opt_row *row, char *out, size_t size)
{
    char option[ARGS_OPTION_SIZE];
    char room[ARGS_OPTION_SIZE];
    const char *placeholder = args_placeholder(row, room);
    snprintf(out, size, "%s%s%s", args_option(row->key, option), placeholder != NULL ? " " : "",
             placeholder != NULL ? placeholder : "");
}

/* Where nothing is said otherwise, what holds; a switch is off, and an empty text says nothing. */
static bool has_default(const struct opt_row *row)
{
    return row->type != OPT_BOOL && row->type != OPT_SECRET && row->default_text[0] != '\0';
}

static void print_entry(const char *name, size_t width, const char *sentence, const char *more)
{
    char text[512];
    snprintf(text, sizeof text, "%s%s", sentence, more);
    const int column = printf("  %-*s  ", (int)width, name);
    print_wrapped(sv_from_cstr(text), (size_t)column, width + 4);
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void print_options(const struct subcommand *subcommand)
{
    char name[100];
    size_t width = strlen("--help");
    for (size_t i = 0; i < subcommand->options.count; i++) {
        option_with_value(&subcommand->options.rows[i], name, sizeof name);
        width = max_size(width, strlen(name));
    }
    if (subcommand->operand != NULL)
        width = max_size(width, strlen(subcommand->operand));
    if (subcommand->operand != NULL)
        print_entry(subcommand->operand, width, subcommand->operand_sentence, "");
    for (size_t i = 0; i < subcommand->options.count; i++) {
        const struct opt_row *row = &subcommand->options.rows[i];
        char more[100] = "";
        option_with_value(row, name, sizeof name);
        if (has_default(row))
            snprintf(more, sizeof more, " (default: %s)", row->default_text);
        print_entry(name, width, row->sentence, more);
    }
    print_entry("--help", width, "Shows this.", "");
    printf("\n");
}

static size_t example_count(const struct subcommand *subcommand)
{
    const size_t room = sizeof subcommand->examples / sizeof subcommand->examples[0];
    size_t count = 0;
    while (count < room && subcommand->examples[count].line != NULL)
        count++;
    return count;
}

static void print_examples(const struct subcommand *subcommand)
{
    const size_t count = example_count(subcommand);
    if (count > 0)
        printf("Examples\n");
    for (size_t i = 0; i < count; i++)
        printf("  %s\n      %s\n", subcommand->examples[i].line, subcommand->examples[i].sentence);
}

static void print_usage(const struct subcommand *subcommand)
{
    printf("Usage: holdfast %s [OPTION...]", subcommand->name);
    if (subcommand->operand != NULL)
        printf(" [%s]", subcommand->operand);
    printf("\n");
}

void help_subcommand(const struct subcommand *subcommand)
{
    print_usage(subcommand);
    printf("\n");
    print_paragraphs(subcommand->description);
    print_options(subcommand);
    print_examples(subcommand);
}

void help_overview(void)
{
    printf("Holdfast keeps applications working while their PostgreSQL is not.\n\n"
           "Usage: holdfast SUBCOMMAND [OPTION...]\n\n");
    size_t width = 0;
    for (size_t i = 0; i < subcommand_count(); i++)
        width = max_size(width, strlen(subcommand_at(i)->name));
    for (size_t i = 0; i < subcommand_count(); i++)
        print_entry(subcommand_at(i)->name, width, subcommand_at(i)->summary, "");
    printf("\n"
           "holdfast help SUBCOMMAND says everything about one of them; holdfast --version tells\n"
           "which Holdfast this is. The manual page holdfast(1) holds all of it.\n");
}

#define TEXT_OF(x)      #x
#define TEXT(x)         TEXT_OF(x)
#define TRIPLE(a, b, c) TEXT(a) "." TEXT(b) "." TEXT(c)
#ifdef __clang__
static const char compiler[] =
    "clang " TRIPLE(__clang_major__, __clang_minor__, __clang_patchlevel__);
#else
static const char compiler[] = "gcc " TRIPLE(__GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif

void help_version(void)
{
    const char *commit = version_commit();
    const int libpq = PQlibVersion();
    printf("holdfast %s (%s%s%s, libpq %d.%d)\n", version_number(), commit,
           commit[0] != '\0' ? ", " : "", compiler, libpq / 10000, libpq % 10000);
}

/* ---- The man page ---- */

/* Text as roff wants it: '-' would be a hyphen that cannot be copied, a backslash an escape, and a
 * dot or quote at the start of a line a request. An empty line separates paragraphs. */
static void print_roff(const char *text)
{
    bool is_line_start = true;
    for (const char *at = text; *at != '\0'; at++) {
        if (is_line_start && (*at == '.' || *at == '\''))
            printf("\\&");
        if (at[0] == '\n' && at[1] == '\n') {
            printf("\n.PP\n");
            at++;
            is_line_start = true;
            continue;
        }
        if (*at == '-')
            printf("\\-");
        else if (*at == '\\')
            printf("\\e");
        else if (*at == '\'')
            printf("\\(aq"); /* the straight quote, which a shell takes */
        else
            printf("%c", *at);
        is_line_start = *at == '\n';
    }
    printf("\n");
}

static void manual_entry(const char *name, const char *sentence, const char *more)
{
    printf(".TP\n.B ");
    print_roff(name);
    print_roff(sentence);
    if (more[0] != '\0')
        print_roff(more);
}

static void manual_subcommand(const struct subcommand *subcommand)
{
    char name[100];
    printf(".SS ");
    snprintf(name, sizeof name, "holdfast %s [OPTION...]%s%s%s", subcommand->name,
             subcommand->operand != NULL ? " [" : "",
             subcommand->operand != NULL ? subcommand->operand : "",
             subcommand->operand != NULL ? "]" : "");
    print_roff(name);
    print_roff(subcommand->description);
    if (subcommand->operand != NULL)
        manual_entry(subcommand->operand, subcommand->operand_sentence, "");
    for (size_t i = 0; i < subcommand->options.count; i++) {
        const struct opt_row *row = &subcommand->options.rows[i];
        char more[100] = "";
        option_with_value(row, name, sizeof name);
        if (has_default(row))
            snprintf(more, sizeof more, "Default: %s.", row->default_text);
        manual_entry(name, row->sentence, more);
    }
}

static void manual_examples(void)
{
    printf(".SH EXAMPLES\n");
    for (size_t i = 0; i < subcommand_count(); i++) {
        const struct subcommand *subcommand = subcommand_at(i);
        const size_t count = example_count(subcommand);
        for (size_t k = 0; k < count; k++)
            manual_entry(subcommand->examples[k].line, subcommand->examples[k].sentence, "");
    }
}

static void manual_exit_status(void)
{
    printf(".SH EXIT STATUS\n");
    manual_entry("0", "It did what it was asked to.", "");
    manual_entry("1", "It failed; stderr says what, why, and what to do about it.", "");
    manual_entry("2", "It was called wrongly: an unknown subcommand, option or value.", "");
}

void help_manual(void)
{
    printf(".\\\" Made by holdfast help --man from the rows of the subcommands.\n"
           ".TH HOLDFAST 1 \"\" \"Holdfast %s\" \"Holdfast\"\n"
           ".SH NAME\n"
           "holdfast \\- keeps applications working while their PostgreSQL is not\n"
           ".SH SYNOPSIS\n"
           ".B holdfast\n"
           ".I SUBCOMMAND\n"
           "[\\fIOPTION\\fR...]\n"
           ".br\n"
           ".B holdfast\n"
           ".I SUBCOMMAND\n"
           ".B \\-\\-help\n"
           ".br\n"
           ".B holdfast help\n"
           "[\\fISUBCOMMAND\\fR]\n"
           ".br\n"
           ".B holdfast \\-\\-version\n"
           ".SH SUBCOMMANDS\n",
           version_number());
    for (size_t i = 0; i < subcommand_count(); i++)
        manual_subcommand(subcommand_at(i));
    manual_examples();
    manual_exit_status();
    printf(".SH SEE ALSO\n.BR psql (1)\n");
}

/* ---- Completion ---- */

void help_completion(void)
{
    printf("# bash completion for holdfast, made by holdfast help --completion\n"
           "_holdfast() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} words\n"
           "    case $COMP_CWORD:${COMP_WORDS[1]} in\n"
           "    1:*) words='--help --version");
    for (size_t i = 0; i < subcommand_count(); i++)
        printf(" %s", subcommand_at(i)->name);
    printf("' ;;\n");
    for (size_t i = 0; i < subcommand_count(); i++) {
        const struct subcommand *subcommand = subcommand_at(i);
        printf("    *:%s) words='--help", subcommand->name);
        for (size_t k = 0; k < subcommand->options.count; k++) {
            char option[ARGS_OPTION_SIZE];
            printf(" %s", args_option(subcommand->options.rows[k].key, option));
        }
        if (subcommand->operand != NULL && strcmp(subcommand->operand, "SUBCOMMAND") == 0) {
            for (size_t k = 0; k < subcommand_count(); k++)
                printf(" %s", subcommand_at(k)->name);
        }
        printf("' ;;\n");
    }
    printf("    esac\n"
           "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
           "}\n"
           "complete -o default -F _holdfast holdfast\n");
}
