#include "cli/demo_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/report.h"
#include "os/entropy.h"
#include "os/file.h"
#include "os/sys.h"

#define MARKER          "holdfast-demo"
#define ROOT_PATH       "/var/lib/holdfast/demo"
#define SERVER_USER     "postgres"
#define PASSWORD_LENGTH 24

static const char *const kept[] = {MARKER, "lock", NULL};

static const char marker_text[] =
    "This folder belongs to the Holdfast demo. Everything in it was made by `holdfast demo`, and\n"
    "`holdfast demo --fresh` deletes all of it. Keep nothing of your own here.\n";

char *demo_folder_path(const struct demo_folder *folder, const char *name, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%s", folder->path, name);
    return out;
}

/* One thread runs here; the linter cannot know. */
static const char *environment(const char *name)
{
    const char *value = getenv(name); // NOLINT(concurrency-mt-unsafe): one thread
    return value != NULL ? value : "";
}

/* ---- Which folder ---- */

static enum hf_rc default_path(char *out, size_t size, struct hf_err *err)
{
    const char *data = environment("XDG_DATA_HOME");
    const char *home = environment("HOME");
    if (geteuid() == 0) {
        snprintf(out, size, "%s", ROOT_PATH);
    } else if (data[0] == '/') {
        snprintf(out, size, "%s/holdfast/demo", data);
    } else if (home[0] == '/') {
        snprintf(out, size, "%s/.local/share/holdfast/demo", home);
    } else {
        err_set(err, HF_RC_MISSING, "58P01", "could not choose a folder: HOME is not set");
        return err_hint(err, "Say where the data shall be with --dir DIR.");
    }
    return HF_OK;
}

/* PostgreSQL's own files put the path between quotes and into lists; rather than quote it in five
 * ways, such characters are refused. */
static bool is_quotable(const char *path)
{
    for (const char *at = path; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || strchr("'\"\\,$`%", *at) != NULL)
            return false;
    }
    return true;
}

static enum hf_rc set_path(struct demo_folder *folder, const char *given, struct hf_err *err)
{
    char path[PATH_MAX] = "";
    if (given[0] == '/') {
        snprintf(path, sizeof path, "%s", given);
    } else if (given[0] != '\0') {
        char here[PATH_MAX];
        if (getcwd(here, sizeof here) == NULL)
            return sys_fail(err, errno, "could not tell in which folder this runs");
        if (snprintf(path, sizeof path, "%s/%s", here, given) >= (int)sizeof path)
            return sys_fail(err, ENAMETOOLONG, "could not use \"%s\"", given);
    } else if (default_path(path, sizeof path, err) != HF_OK) {
        return err->rc;
    }
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        path[--length] = '\0';
    if (!is_quotable(path)) {
        err_set(err, HF_RC_INVALID, "22023", "cannot use the folder \"%s\"", path);
        return err_hint(err, "Choose one with --dir whose name has no quotes, commas, $, %% or "
                             "backslashes.");
    }
    if (length >= sizeof folder->path) {
        err_set(err, HF_RC_LIMIT, "54000",
                "cannot use a folder whose name has %zu bytes: at most "
                "%zu leave room for the name of a unix socket",
                length, sizeof folder->path - 1);
        return err_hint(err, "Choose a shorter one with --dir.");
    }
    memcpy(folder->path, path, length + 1);
    return HF_OK;
}

/* ---- Whose folder ---- */

static enum hf_rc choose_owner(struct demo_folder *folder, struct hf_err *err)
{
    folder->is_root_demo = geteuid() == 0;
    if (folder->is_root_demo) {
        enum hf_rc rc = child_user_find(&folder->owner, SERVER_USER, err);
        if (rc == HF_RC_MISSING)
            err_hint(err, "PostgreSQL refuses to run as root: install postgresql-15, which brings "
                          "that user, or start the demo as an ordinary user.");
        return rc;
    }
    folder->owner = (struct child_user){.uid = geteuid(), .gid = getegid()};
    return HF_OK;
}

/* What a person reads instead of a number. */
static const char *user_name(uid_t uid, char *out, size_t size)
{
    char room[2048];
    struct passwd entry;
    struct passwd *found = NULL;
    if (getpwuid_r(uid, &entry, room, sizeof room, &found) == 0 && found != NULL)
        snprintf(out, size, "%s", entry.pw_name);
    else
        snprintf(out, size, "number %u", (unsigned)uid);
    return out;
}

/* A folder that exists must be ours, or an empty one of root's that root lets us have. */
static enum hf_rc adopt(const struct demo_folder *folder, const struct stat *info,
                        struct hf_err *err)
{
    char name[64];
    if (!S_ISDIR(info->st_mode)) {
        err_set(err, HF_RC_INVALID, "58P02", "\"%s\" exists and is not a folder", folder->path);
        return err_hint(err, "Choose another one with --dir.");
    }
    if (info->st_uid == folder->owner.uid)
        return HF_OK;
    if (folder->is_root_demo && info->st_uid == 0 && file_dir_is_empty(folder->path, NULL)) {
        if (chown(folder->path, folder->owner.uid, folder->owner.gid) != 0)
            return sys_fail(err, errno, "could not give \"%s\" to the user %s", folder->path,
                            SERVER_USER);
        return HF_OK;
    }
    err_set(err, HF_RC_DENIED, "42501", "cannot use \"%s\": it belongs to the user %s",
            folder->path, user_name(info->st_uid, name, sizeof name));
    return err_hint(err, "Start the demo as that user, or choose another folder with --dir.");
}

static enum hf_rc make_or_adopt(const struct demo_folder *folder, struct hf_err *err)
{
    struct stat info;
    if (stat(folder->path, &info) == 0)
        return adopt(folder, &info, err);
    if (errno != ENOENT) {
        sys_fail(err, errno, "could not look at \"%s\"", folder->path);
        return err_hint(err, "Choose a folder that you can reach with --dir.");
    }
    /* Root's servers run as somebody else, and whoever calls psql must get to the passfile: others
     * may pass through, but not list. */
    const mode_t mode = folder->is_root_demo ? 0711 : 0700;
    enum hf_rc rc = file_make_dirs(folder->path, mode, err);
    if (rc != HF_OK) {
        if (err->hint[0] == '\0')
            err_hint(err, "Choose a folder that you may write to with --dir.");
        return rc;
    }
    if (folder->is_root_demo && (chown(folder->path, folder->owner.uid, folder->owner.gid) != 0 ||
                                 chmod(folder->path, mode) != 0))
        return sys_fail(err, errno, "could not give \"%s\" to the user %s", folder->path,
                        SERVER_USER);
    return HF_OK;
}

/* With sudo, the psql line is for the user behind it: his passfile has to be made while this is
 * still root. The folder is the server user's, so nothing in it is trusted: a new file, no link. */
static enum hf_rc prepare_passfile(struct demo_folder *folder, struct hf_err *err)
{
    char path[PATH_MAX];
    const char *sudo_uid = environment("SUDO_UID");
    if (!folder->is_root_demo || sudo_uid[0] == '\0' || strcmp(sudo_uid, "0") == 0)
        return HF_OK;
    const uid_t uid = (uid_t)strtoul(sudo_uid, NULL, 10);
    demo_folder_path(folder, "passfile.new", path);
    unlink(path);
    folder->passfile_fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (folder->passfile_fd < 0 || fchown(folder->passfile_fd, uid, (gid_t)-1) != 0)
        return sys_fail(err, errno, "could not make \"%s\"", path);
    return HF_OK;
}

/* The first folder on the way that does not let us through. */
static enum hf_rc explain_unreachable(const struct demo_folder *folder, struct hf_err *err)
{
    char part[DEMO_FOLDER_SIZE];
    char name[64];
    const size_t length = strlen(folder->path);
    user_name(geteuid(), name, sizeof name);
    for (size_t i = 1; i <= length; i++) {
        if (folder->path[i] != '/' && folder->path[i] != '\0')
            continue;
        memcpy(part, folder->path, i);
        part[i] = '\0';
        const int wanted = i == length ? R_OK | W_OK | X_OK : X_OK;
        if (access(part, wanted) == 0)
            continue;
        err_set(err, HF_RC_DENIED, "42501", "cannot use \"%s\": \"%s\" is closed to the user %s",
                folder->path, part, name);
        return err_hint(err, "Choose a folder that this user can reach with --dir%s.",
                        folder->is_root_demo ? ", or none for " ROOT_PATH : "");
    }
    return HF_OK;
}

/* ---- Ours alone ---- */

static enum hf_rc check_marker(const struct demo_folder *folder, struct hf_err *err)
{
    char path[PATH_MAX];
    if (access(demo_folder_path(folder, MARKER, path), F_OK) == 0)
        return HF_OK;
    /* What an earlier start may have left before it came to the marker does not count. */
    static const char *const early[] = {"lock", "passfile.new", MARKER ".new", NULL};
    if (file_dir_is_empty(folder->path, early))
        return HF_OK;
    err_set(err, HF_RC_INVALID, "58P02",
            "\"%s\" is not empty and is not a folder of the demo: "
            "nothing was touched",
            folder->path);
    return err_hint(err, "Choose an empty or a new one with --dir.");
}

static enum hf_rc take_lock(struct demo_folder *folder, struct hf_err *err)
{
    char path[PATH_MAX];
    char holder[32] = "";
    demo_folder_path(folder, "lock", path);
    folder->lock_fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (folder->lock_fd < 0)
        return sys_fail(err, errno, "could not open \"%s\"", path);
    if (flock(folder->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return sys_fail(err, errno, "could not lock \"%s\"", path);
        if (pread(folder->lock_fd, holder, sizeof holder - 1, 0) <= 0)
            snprintf(holder, sizeof holder, "unknown");
        err_set(err, HF_RC_AGAIN, "55006", "a demo is running already in \"%s\": process %.*s",
                folder->path, (int)strcspn(holder, "\n"), holder);
        return err_hint(err,
                        "Stop it with Ctrl-C in its terminal or kill %.*s, or give this one "
                        "its own folder with --dir.",
                        (int)strcspn(holder, "\n"), holder);
    }
    const int length = snprintf(holder, sizeof holder, "%d\n", (int)getpid());
    if (ftruncate(folder->lock_fd, 0) != 0 ||
        pwrite(folder->lock_fd, holder, (size_t)length, 0) != length)
        return sys_fail(err, errno, "could not write \"%s\"", path);
    return HF_OK;
}

enum hf_rc demo_folder_open(struct demo_folder *folder, const char *path, struct hf_err *err)
{
    *folder = (struct demo_folder){.lock_fd = -1, .passfile_fd = -1};
    char marker[PATH_MAX];
    enum hf_rc rc = set_path(folder, path, err);
    if (rc == HF_OK)
        rc = choose_owner(folder, err);
    if (rc == HF_OK)
        rc = make_or_adopt(folder, err);
    if (rc == HF_OK)
        rc = prepare_passfile(folder, err);
    if (rc == HF_OK && folder->is_root_demo)
        rc = child_user_become(&folder->owner, err);
    if (rc == HF_OK)
        rc = explain_unreachable(folder, err);
    if (rc == HF_OK && chdir(folder->path) != 0)
        rc = sys_fail(err, errno, "could not enter \"%s\"", folder->path);
    if (rc == HF_OK)
        rc = check_marker(folder, err);
    if (rc == HF_OK)
        rc = take_lock(folder, err);
    if (rc == HF_OK)
        rc = file_write(demo_folder_path(folder, MARKER, marker), marker_text, 0600, err);
    if (rc != HF_OK)
        demo_folder_close(folder);
    return rc;
}

void demo_folder_close(struct demo_folder *folder)
{
    if (folder->lock_fd >= 0)
        close(folder->lock_fd);
    if (folder->passfile_fd >= 0)
        close(folder->passfile_fd);
    folder->lock_fd = -1;
    folder->passfile_fd = -1;
}

enum hf_rc demo_folder_empty(const struct demo_folder *folder, struct hf_err *err)
{
    return file_empty_dir(folder->path, kept, err);
}

/* ---- The password ---- */

enum hf_rc demo_folder_password(const struct demo_folder *folder, struct secret *password,
                                bool *is_new, struct hf_err *err)
{
    char path[PATH_MAX];
    char text[PASSWORD_LENGTH + 2];
    demo_folder_path(folder, "password", path);
    enum hf_rc rc = file_read(path, text, sizeof text, NULL);
    *is_new = rc != HF_OK || strlen(text) != PASSWORD_LENGTH;
    if (*is_new) {
        entropy_password(text, PASSWORD_LENGTH + 1);
        rc = file_write(path, text, 0600, err);
    }
    if (rc == HF_OK)
        rc = secret_set(password, sv_from_cstr(text), err);
    explicit_bzero(text, sizeof text);
    return rc;
}

enum hf_rc demo_folder_write_passfile(struct demo_folder *folder, const struct secret *password,
                                      struct hf_err *err)
{
    char path[PATH_MAX];
    char new_path[PATH_MAX];
    char text[512];
    snprintf(text, sizeof text, "# For psql: passfile=%s\n127.0.0.1:*:*:demo:%s\n", folder->path,
             secret_reveal(password).data);
    demo_folder_path(folder, "passfile", path);
    enum hf_rc rc = HF_OK;
    if (folder->passfile_fd < 0) {
        rc = file_write(path, text, 0600, err);
    } else {
        demo_folder_path(folder, "passfile.new", new_path);
        const ssize_t length = (ssize_t)strlen(text);
        if (write(folder->passfile_fd, text, (size_t)length) != length ||
            rename(new_path, path) != 0)
            rc = sys_fail(err, errno, "could not write \"%s\"", path);
    }
    explicit_bzero(text, sizeof text);
    return rc;
}
