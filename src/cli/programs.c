#include "cli/programs.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/ns.h"
#include "base/sv.h"
#include "os/child.h"
#include "os/clock.h"

static const char *const needed[] = {"postgres", "initdb", "pg_basebackup"};
static const char *const patterns[] = {
    "/usr/lib/postgresql/*/bin", /* Debian, Ubuntu */
    "/usr/pgsql-*/bin",          /* PGDG on Red Hat's family */
    "/usr/local/pgsql/bin",      /* make install */
};

char *programs_path(const struct programs *programs, const char *name, char out[PATH_MAX])
{
    if (snprintf(out, PATH_MAX, "%s/%s", programs->folder, name) >= PATH_MAX)
        out[0] = '\0';
    return out;
}

/* The first of the needed programs that is not there, or NULL. */
static const char *find_missing(const struct programs *programs)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (access(programs_path(programs, needed[i], path), X_OK) != 0)
            return needed[i];
    }
    return NULL;
}

/* "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)"; a beta says "18beta1". */
static bool read_version(struct programs *programs, const char *text)
{
    static const char before[] = "(PostgreSQL) ";
    const char *at = strstr(text, before);
    if (at == NULL)
        return false;
    at += strlen(before);
    snprintf(programs->version, sizeof programs->version, "%.*s", (int)strcspn(at, " \n"), at);
    programs->major = (int)strtol(at, NULL, 10);
    return programs->major > 0;
}

static enum hf_rc ask_version(struct programs *programs, struct hf_err *err)
{
    char path[PATH_MAX];
    char said[512] = "";
    const char *const argv[] = {programs_path(programs, "postgres", path), "--version", NULL};
    struct child_run run = {
        .spec = {.argv = argv},
        .deadline_ns = clock_now() + HF_SEC(10),
        .interrupt_fd = -1,
        .out = said,
        .size = sizeof said,
    };
    enum hf_rc rc = child_run(&run, err);
    if (rc != HF_OK)
        return rc;
    if (!child_succeeded(&run.child) || !read_version(programs, said))
        return err_set(err, HF_RC_PEER, "58000", "\"%s --version\" gave no version", path);
    return HF_OK;
}

/* Is there a whole PostgreSQL in that folder? Fills programs if so. */
static enum hf_rc look_into(struct programs *programs, const char *folder, struct hf_err *err)
{
    *programs = (struct programs){.major = 0};
    snprintf(programs->folder, sizeof programs->folder, "%s", folder);
    const char *missing = find_missing(programs);
    if (missing != NULL)
        return err_set(err, HF_RC_MISSING, "58P01", "there is no program %s in \"%s\"", missing,
                       folder);
    enum hf_rc rc = ask_version(programs, err);
    if (rc == HF_OK && programs->major < PROGRAMS_MAJOR_MIN)
        return err_set(err, HF_RC_MISSING, "0A000", "\"%s\" holds PostgreSQL %s, which is too old",
                       folder, programs->version);
    return rc;
}

/* Takes what is in the folder if it is better than what was found before. */
static void consider(struct programs *best, const char *folder, int wanted_major)
{
    struct programs found;
    if (best->major != 0 && best->major == wanted_major)
        return;
    if (look_into(&found, folder, NULL) != HF_OK)
        return;
    if (found.major == wanted_major || found.major > best->major)
        *best = found;
}

static void consider_path(struct programs *best, int wanted_major)
{
    struct sv rest = sv_from_cstr(getenv("PATH")); // NOLINT(concurrency-mt-unsafe): one thread
    struct sv folder;
    while (sv_split(&rest, ':', &folder)) {
        char path[PATH_MAX];
        if (folder.size > 0 && folder.data[0] == '/' && sv_copy(folder, path, sizeof path))
            consider(best, path, wanted_major);
    }
}

enum hf_rc programs_find(struct programs *programs, const char *folder, int wanted_major,
                         struct hf_err *err)
{
    if (folder[0] != '\0') {
        enum hf_rc rc = look_into(programs, folder, err);
        if (rc != HF_OK)
            err_hint(err,
                     "--bindir wants a folder with the server programs of PostgreSQL %d or "
                     "newer, such as /usr/lib/postgresql/15/bin.",
                     PROGRAMS_MAJOR_MIN);
        return rc;
    }
    *programs = (struct programs){.major = 0};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        glob_t found;
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
        if (glob(patterns[i], GLOB_NOSORT, NULL, &found) != 0)
            continue;
        for (size_t k = 0; k < found.gl_pathc; k++)
            consider(programs, found.gl_pathv[k], wanted_major);
        globfree(&found);
    }
    if (programs->major == 0)
        consider_path(programs, wanted_major);
    if (programs->major != 0)
        return HF_OK;
    err_set(err, HF_RC_MISSING, "58P01",
            "could not find the server programs of PostgreSQL %d or "
            "newer",
            PROGRAMS_MAJOR_MIN);
    err_detail(err, "Looked into /usr/lib/postgresql/*/bin, /usr/pgsql-*/bin, "
                    "/usr/local/pgsql/bin and PATH.");
    return err_hint(err, "Install them (Debian: apt-get install postgresql-15), or say where they "
                         "are with --bindir.");
}

char *programs_psql(const struct programs *programs, char out[PATH_MAX])
{
    struct sv rest = sv_from_cstr(getenv("PATH")); // NOLINT(concurrency-mt-unsafe): one thread
    struct sv folder;
    while (sv_split(&rest, ':', &folder)) {
        if (folder.size + sizeof "/psql" > PATH_MAX)
            continue;
        snprintf(out, PATH_MAX, "%.*s/psql", (int)folder.size, sv_print_data(folder));
        if (access(out, X_OK) == 0) {
            snprintf(out, PATH_MAX, "psql");
            return out;
        }
    }
    return programs_path(programs, "psql", out);
}
