/*
 * Files and folders, the few things that a driver or a command keeps doing with them.
 *
 * Everything here is blocking, opens with O_CLOEXEC, and fails with an hf_err that names the path.
 * What is said to be durable is so in PostgreSQL's order: write a temporary file, fsync it, rename
 * it over the old one, fsync the folder; after a crash one finds the old text or the new one,
 * whole.
 *
 * Any thread may call these; none keeps anything.
 */
#ifndef HF_OS_FILE_H
#define HF_OS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Reads a file that should be small: at most `size - 1` bytes, and a NUL behind them. A longer file
 * is an error (HF_RC_LIMIT) and not a part of itself; a missing one is HF_RC_MISSING; a pipe is
 * HF_RC_INVALID, and is not waited for. */
enum hf_rc HF_MUST_USE file_read(const char *path, char *out, size_t size, struct hf_err *err);

/* Replaces or makes the file, durably, with exactly this mode whatever the umask. */
enum hf_rc HF_MUST_USE file_write(const char *path, const char *text, mode_t mode,
                                  struct hf_err *err);

/* Gives a file or folder a new name, durably. */
enum hf_rc HF_MUST_USE file_rename(const char *from, const char *to, struct hf_err *err);

/* Makes the folder and those above it that are missing; `mode` is the last one's, umask apart, and
 * those above get 0755 or, if the last one is closed to others (0700), 0700 as well. A folder that
 * exists is left as it is. */
enum hf_rc HF_MUST_USE file_make_dirs(const char *path, mode_t mode, struct hf_err *err);

/* Deletes what is inside the folder except the names in `keep` (NULL-terminated, may be NULL) at
 * its top, and leaves the folder itself. Symbolic links are deleted, never followed, and other file
 * systems mounted inside are not entered. */
enum hf_rc HF_MUST_USE file_empty_dir(const char *path, const char *const *keep,
                                      struct hf_err *err);

/* The same for the whole tree, folder included; one that does not exist is fine. */
enum hf_rc HF_MUST_USE file_remove_tree(const char *path, struct hf_err *err);

/* True if nothing is in the folder but, perhaps, the names in `except` (NULL-terminated, may be
 * NULL); false also if it cannot be read. */
bool file_dir_is_empty(const char *path, const char *const *except);

/* The last lines of a text file behind byte `from`, at most `lines` of them and `size - 1` bytes,
 * with a NUL. A line is cut at the front rather than left out if it alone is too long. Returns how
 * many lines there are in `out`; 0 also if the file cannot be read: this is for showing logs, where
 * a reason for their absence would only bury the real one. */
size_t file_tail(const char *path, int64_t from, size_t lines, char *out, size_t size);

/* The file's length, 0 if there is none. */
int64_t file_size(const char *path);

/* Bytes that somebody without privileges may still write in the file system of `path`; -1 if that
 * cannot be told. */
int64_t file_space_free(const char *path);

#endif
