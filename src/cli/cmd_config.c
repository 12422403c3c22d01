#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/report.h"
#include "cli/subcommand.h"
#include "config/config.h"
#include "config/config_doc.h"
#include "config/library_doc.h"
#include "os/mem.h"
#include "proxy/access.h"
#include "proxy/secure.h"

/* What to do stands before the operand, where other subcommands have options. */
enum action {
    ACTION_CHECK,
    ACTION_EXAMPLE,
    ACTION_REFERENCE,
    ACTION_LIBRARY,
    ACTION_COUNT,
};

static const char *const action_names[ACTION_COUNT] = {"check", "example", "reference", "library"};

static void print_faults(const struct config_faults *faults, const char *file)
{
    char text[FAULTS_TEXT_MAX];
    for (size_t i = 0; i < faults->count; i++) {
        const struct hf_err *err = &faults->list[i].err;
        fprintf(stderr, "%s\n", faults_text(&faults->list[i], file, text));
        if (err->detail[0] != '\0')
            fprintf(stderr, "    %s\n", err->detail);
        if (err->hint[0] != '\0')
            fprintf(stderr, "    %s\n", err->hint);
    }
    if (faults->total > faults->count)
        fprintf(stderr, "%s: and %zu more\n", file, faults->total - faults->count);
}

/* Not wrong, and yet hardly what was meant. */
static void note_nobody(const struct proxy_config *config, const struct users *users)
{
    const struct proxy_settings *proxy = &config->proxy;
    const bool needs_users = proxy->auth_type != PROXY_AUTH_TRUST &&
                             proxy->auth_type != PROXY_AUTH_CERT &&
                             proxy->auth_type != PROXY_AUTH_PEER && proxy->lookup.user[0] == '\0';
    if (users_count(users) == 0 && needs_users && proxy->auth_hba_file[0] == '\0')
        printf("    But nobody can log in: name users in proxy.auth_file, or give passwords in "
               "roles.\n");
}

/* The files that the configuration names belong to it: a proxy does not start without them. */
static int check_files(const struct proxy_config *config, struct mem *mem, const char *file)
{
    struct hf_err err;
    struct access *access = NULL;
    struct secure secure;
    if (access_new(&access, config, NULL, mem, &err) != HF_OK)
        return report_failure(&err);
    if (secure_new(&secure, config, mem, &err) != HF_OK) {
        access_drop(access);
        return report_failure(&err);
    }
    secure_drop(&secure);
    printf("%s is fine: databases %u, roles %u, users %u, rules %u\n", file,
           (unsigned)config->database_count, (unsigned)config->role_count,
           (unsigned)users_count(access->users), (unsigned)hba_count(access->hba));
    note_nobody(config, access->users);
    access_drop(access);
    return CLI_OK;
}

static int check(const char *file)
{
    struct config_faults faults;
    struct proxy_config *config = NULL;
    struct mem mem;
    int status = CLI_FAILED;
    mem_init(&mem, 0);
    if (config_read_file(&config, file, &mem, &faults) == HF_OK)
        status = check_files(config, &mem, file);
    else
        print_faults(&faults, file);
    proxy_config_free(config);
    mem_deinit(&mem);
    return status;
}

static enum hf_rc find_action(int argc, char **argv, enum action *action, struct hf_err *err)
{
    for (int i = 0; argc > 0 && i < ACTION_COUNT; i++) {
        if (strcmp(argv[0], action_names[i]) != 0)
            continue;
        *action = (enum action)i;
        return HF_OK;
    }
    if (argc > 0)
        err_set(err, HF_RC_INVALID, "42601", "config cannot \"%.16s\"", argv[0]);
    else
        err_set(err, HF_RC_INVALID, "42601", "config needs to know what to do");
    return err_hint(err, "Write holdfast config check FILE, or example, or reference, or library.");
}

static int run(const struct subcommand *self, int argc, char **argv)
{
    struct args args;
    struct hf_err err;
    enum action action = ACTION_CHECK;
    if (find_action(argc, argv, &action, &err) != HF_OK ||
        args_parse(&args, self, NULL, argc - 1, argv + 1, &err) != HF_OK)
        return report_usage(&err);
    if ((action == ACTION_CHECK) != (args.operand != NULL)) {
        err_set(&err, HF_RC_INVALID, "42601", "config %s %s", action_names[action],
                action == ACTION_CHECK ? "needs a file" : "takes no file");
        if (action == ACTION_CHECK)
            err_hint(&err, "Write holdfast config check holdfast.yml.");
        else
            err_hint(&err, "It prints to stdout: write holdfast config %s > FILE.",
                     action_names[action]);
        return report_usage(&err);
    }
    if (action == ACTION_CHECK)
        return check(args.operand);
    if (action == ACTION_EXAMPLE)
        config_doc_example(stdout);
    else if (action == ACTION_REFERENCE)
        config_doc_reference(stdout);
    else
        library_doc_reference(stdout);
    return CLI_OK;
}

const struct subcommand *cmd_config(void)
{
    static const struct subcommand subcommand = {
        .name = "config",
        .summary = "check a configuration file, print a sample or the reference",
        .operand = "check FILE | example | reference | library",
        .operand_sentence = "What to do: look for what is wrong with a file, print a file to start "
                            "from, print the page about every setting, or the one about the "
                            "options of libholdfast.",
        .description =
            "A file is wrong where a key is unknown, a value is none or out of its range, or "
            "settings do not go together. Each of these is told with file, line, column, key and "
            "what was expected, and the exit status is 1. The files that it names (users, hba "
            "rules, certificates) are read as well. Nothing is connected to.",
        .examples = {{"holdfast config example > holdfast.yml", "Begins a configuration."},
                     {"holdfast config check holdfast.yml", "Says what is wrong with it."}},
        .run = run,
    };
    return &subcommand;
}
