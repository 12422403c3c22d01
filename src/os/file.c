#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/bug.h"
#include "os/sys.h"

/* Reads until `size` bytes, the end, or an error; returns the count, -1 for an error. */
static ssize_t read_up_to(int fd, char *out, size_t size)
{
    size_t used = 0;
    while (used < size) {
        ssize_t got = read(fd, out + used, size - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        used += (size_t)got;
    }
    return (ssize_t)used;
}

/* What its other end has not written yet would look like the end of a file. */
static bool is_pipe(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode));
}

enum hf_rc file_read(const char *path, char *out, size_t size, struct hf_err *err)
{
    out[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */
    if (fd < 0)
        return sys_fail(err, errno, "could not open \"%s\"", path);
    if (is_pipe(fd)) {
        close(fd);
        err_set(err, HF_RC_INVALID, "42809", "cannot read \"%s\": it is a pipe", path);
        return err_hint(err, "Write what comes out of it to a file, and name that.");
    }

    /* One byte more than fits tells a full buffer from a file that is too long. */
    ssize_t got = read_up_to(fd, out, size);
    int reason = errno;
    close(fd);
    out[got > 0 && got < (ssize_t)size ? got : 0] = '\0';
    if (got < 0)
        return sys_fail(err, reason, "could not read \"%s\"", path);
    if (got == (ssize_t)size)
        return err_set(err, HF_RC_LIMIT, "54000", "could not read \"%s\": more than %zu bytes",
                       path, size - 1);
    return HF_OK;
}

static bool write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        bytes += written;
        size -= (size_t)written;
    }
    return true;
}

/* A rename is durable only once the folder that holds the name is. */
static bool sync_parent(const char *path)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int length = slash == NULL ? 1 : (int)(slash - path) + 1;
    snprintf(parent, sizeof parent, "%.*s", length, slash == NULL ? "." : path);
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool is_synced = fsync(fd) == 0;
    int reason = errno;
    close(fd);
    errno = reason;
    return is_synced;
}

enum hf_rc file_write(const char *path, const char *text, mode_t mode, struct hf_err *err)
{
    char temporary[PATH_MAX];
    int length = snprintf(temporary, sizeof temporary, "%s.new", path);
    if (length >= (int)sizeof temporary)
        return sys_fail(err, ENAMETOOLONG, "could not write \"%s\"", path);

    /* What a killed writer left is thrown away, and nobody's link is followed. */
    unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return sys_fail(err, errno, "could not make \"%s\"", temporary);
    bool is_written = fchmod(fd, mode) == 0 && write_all(fd, text, strlen(text)) && fsync(fd) == 0;
    int reason = errno;
    if (close(fd) != 0 && is_written) {
        is_written = false;
        reason = errno;
    }
    if (is_written && (rename(temporary, path) != 0 || !sync_parent(path))) {
        is_written = false;
        reason = errno;
    }
    if (is_written)
        return HF_OK;
    unlink(temporary);
    return sys_fail(err, reason, "could not write \"%s\"", path);
}

enum hf_rc file_rename(const char *from, const char *to, struct hf_err *err)
{
    if (rename(from, to) == 0 && sync_parent(to))
        return HF_OK;
    return sys_fail(err, errno, "could not rename \"%s\" to \"%s\"", from, to);
}

enum hf_rc file_make_dirs(const char *path, mode_t mode, struct hf_err *err)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof part)
        return sys_fail(err, ENAMETOOLONG, "could not make the folder \"%s\"", path);
    const mode_t above = (mode & 077) == 0 ? 0700 : 0755;
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, path[i] == '\0' ? mode : above) == 0 || errno == EEXIST)
            continue;
        /* On a read-only or closed parent the kernel may complain before it sees that the folder
         * is there. */
        int reason = errno;
        struct stat info;
        if (stat(part, &info) != 0 || !S_ISDIR(info.st_mode))
            return sys_fail(err, reason, "could not make the folder \"%s\"", part);
    }
    struct stat info;
    if (stat(path, &info) != 0)
        return sys_fail(err, errno, "could not look at \"%s\"", path);
    if (!S_ISDIR(info.st_mode))
        return err_set(err, HF_RC_INVALID, "58P02", "\"%s\" exists and is not a folder", path);
    return HF_OK;
}

static bool is_kept(const char *name, const char *const *keep)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return true;
    for (; keep != NULL && *keep != NULL; keep++) {
        if (strcmp(name, *keep) == 0)
            return true;
    }
    return false;
}

static int empty_dir_at(int parent, const char *name, dev_t device, const char *const *keep);

/* Deletes one name, whatever it is; returns 0 or an errno. Something that is gone already is fine:
 * a server that is just ending removes its own files. */
static int remove_at(int parent, const char *name, dev_t device)
{
    struct stat info;
    if (fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : errno;
    if (info.st_dev != device)
        return EXDEV;
    if (S_ISDIR(info.st_mode)) {
        int reason = empty_dir_at(parent, name, device, NULL);
        if (reason != 0)
            return reason;
    }
    if (unlinkat(parent, name, S_ISDIR(info.st_mode) ? AT_REMOVEDIR : 0) == 0 || errno == ENOENT)
        return 0;
    return errno;
}

/* Depth first. Each level holds one file open: the depth of a PostgreSQL folder is five, and a
 * hostile one ends with EMFILE, in words. */
static int empty_dir_at(int parent, const char *name, dev_t device, const char *const *keep)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : errno;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        int reason = errno;
        close(fd);
        return reason;
    }
    int reason = 0;
    for (;;) {
        errno = 0;
        /* One DIR belongs to one thread here, for which readdir is safe. */
        struct dirent *entry = readdir(dir); // NOLINT(concurrency-mt-unsafe): see above
        if (entry == NULL)
            break;
        if (is_kept(entry->d_name, keep))
            continue;
        reason = remove_at(fd, entry->d_name, device);
        if (reason != 0)
            break;
    }
    if (reason == 0)
        reason = errno;
    closedir(dir);
    return reason;
}

enum hf_rc file_empty_dir(const char *path, const char *const *keep, struct hf_err *err)
{
    struct stat info;
    if (lstat(path, &info) != 0)
        return sys_fail(err, errno, "could not empty \"%s\"", path);
    int reason = empty_dir_at(AT_FDCWD, path, info.st_dev, keep);
    return reason == 0 ? HF_OK : sys_fail(err, reason, "could not empty \"%s\"", path);
}

enum hf_rc file_remove_tree(const char *path, struct hf_err *err)
{
    struct stat info;
    if (lstat(path, &info) != 0)
        return errno == ENOENT ? HF_OK : sys_fail(err, errno, "could not delete \"%s\"", path);
    int reason = remove_at(AT_FDCWD, path, info.st_dev);
    return reason == 0 ? HF_OK : sys_fail(err, reason, "could not delete \"%s\"", path);
}

bool file_dir_is_empty(const char *path, const char *const *except)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return false;
    bool is_empty = true;
    struct dirent *entry;
    while (is_empty && (entry = readdir(dir)) != NULL) // NOLINT(concurrency-mt-unsafe): own DIR
        is_empty = is_kept(entry->d_name, except);
    closedir(dir);
    return is_empty;
}

size_t file_tail(const char *path, int64_t from, size_t lines, char *out, size_t size)
{
    hf_assert(lines > 0 && size > 0);
    out[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return 0;
    off_t end = lseek(fd, 0, SEEK_END);
    off_t start = end > (off_t)(size - 1) ? end - (off_t)(size - 1) : 0;
    if (start < from)
        start = from;
    ssize_t got = -1;
    if (end >= 0 && lseek(fd, start, SEEK_SET) >= 0)
        got = read_up_to(fd, out, size - 1);
    close(fd);
    if (got <= 0) {
        out[0] = '\0';
        return 0;
    }
    size_t used = (size_t)got;
    while (used > 0 && out[used - 1] == '\n')
        used--;
    out[used] = '\0';

    /* Back from the end, one line break after another. */
    size_t at = used;
    size_t found = 0;
    while (at > 0 && found < lines) {
        at--;
        if (out[at] == '\n')
            found++;
    }
    if (found == lines)
        at++; /* behind that line break */
    else if (used > 0)
        found++; /* the first line, with none in front of it */
    memmove(out, out + at, used - at + 1);
    return found;
}

int64_t file_size(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (int64_t)info.st_size : 0;
}

int64_t file_space_free(const char *path)
{
    struct statvfs info;
    if (statvfs(path, &info) != 0)
        return -1;
    return (int64_t)info.f_bavail * (int64_t)info.f_frsize;
}
