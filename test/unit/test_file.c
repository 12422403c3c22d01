#include "unit.h"

#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The linker sends file.c's calls here: the one whose turn it is fails. */
static const char *failing = "";
int __real_fsync(int fd);
int __wrap_fsync(int fd);
ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode);
int __real_close(int fd);
int __wrap_close(int fd);

static bool is_failing(const char *call)
{
    if (strcmp(failing, call) != 0)
        return false;
    errno = ENOSPC;
    return true;
}

int __wrap_fsync(int fd)
{
    return is_failing("fsync") ? -1 : __real_fsync(fd);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
    /* Half of it, so that writers must come back for the rest. */
    return is_failing("write") ? -1 : __real_write(fd, bytes, (size + 1) / 2);
}

int __wrap_rename(const char *from, const char *to)
{
    return is_failing("rename") ? -1 : __real_rename(from, to);
}

int __wrap_fchmod(int fd, mode_t mode)
{
    return is_failing("fchmod") ? -1 : __real_fchmod(fd, mode);
}

int __wrap_close(int fd)
{
    int rc = __real_close(fd);
    return is_failing("close") ? -1 : rc;
}

static char top[100]; /* each test's own folder */

static int make_top(void **state)
{
    (void)state;
    snprintf(top, sizeof top, "/tmp/holdfast-test-file-XXXXXX");
    return mkdtemp(top) == NULL ? -1 : 0;
}

static int delete_top(void **state)
{
    (void)state;
    failing = "";
    return file_remove_tree(top, NULL) == HF_OK && access(top, F_OK) != 0 ? 0 : -1;
}

static const char *under(const char *name)
{
    static char paths[4][200];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", top, name);
    return path;
}

static void file__what_is_written_is_read_with_its_mode(void **state)
{
    (void)state;
    struct hf_err err;
    char text[16];
    struct stat info;
    mode_t before = umask(077);
    assert_int_equal(file_write(under("a"), "hello", 0644, &err), HF_OK);
    umask(before);
    assert_int_equal(stat(under("a"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0644);
    assert_int_equal(file_read(under("a"), text, sizeof text, &err), HF_OK);
    assert_string_equal(text, "hello");
    assert_int_equal(file_write(under("a"), "", 0600, &err), HF_OK);
    assert_int_equal(file_read(under("a"), text, sizeof text, &err), HF_OK);
    assert_string_equal(text, "");
    assert_int_equal(stat(under("a"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

static void file__a_failed_write_keeps_the_old_text_and_leaves_nothing(void **state)
{
    (void)state;
    const char *const calls[] = {"fchmod", "write", "fsync", "close", "rename"};
    struct hf_err err;
    char text[16];
    assert_int_equal(file_write(under("a"), "old", 0600, &err), HF_OK);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        failing = calls[i];
        enum hf_rc rc = file_write(under("a"), "new", 0600, &err);
        failing = "";
        assert_int_equal(rc, HF_RC_AGAIN);
        assert_non_null(strstr(err.message, "/a\": the disk is full"));
        assert_int_equal(file_read(under("a"), text, sizeof text, &err), HF_OK);
        assert_string_equal(text, "old");
        assert_int_equal(access(under("a.new"), F_OK), -1);
    }
}

static void file__writing_follows_no_link_and_survives_leftovers(void **state)
{
    (void)state;
    struct hf_err err;
    char text[16];
    assert_int_equal(file_write(under("other"), "precious", 0600, &err), HF_OK);
    assert_int_equal(symlink(under("other"), under("a.new")), 0);
    assert_int_equal(file_write(under("a"), "x", 0600, &err), HF_OK);
    assert_int_equal(file_read(under("other"), text, sizeof text, &err), HF_OK);
    assert_string_equal(text, "precious");
    assert_int_equal(file_write(under("no/folder"), "x", 0600, &err), HF_RC_MISSING);
}

static void file__reading_is_whole_or_an_error(void **state)
{
    (void)state;
    struct hf_err err;
    char text[6];
    assert_int_equal(file_write(under("a"), "12345", 0600, &err), HF_OK);
    assert_int_equal(file_read(under("a"), text, sizeof text, &err), HF_OK);
    assert_string_equal(text, "12345");
    assert_int_equal(file_write(under("a"), "123456", 0600, &err), HF_OK);
    assert_int_equal(file_read(under("a"), text, sizeof text, &err), HF_RC_LIMIT);
    assert_non_null(strstr(err.message, "more than 5 bytes"));
    assert_string_equal(text, "");
    assert_int_equal(file_read(under("none"), text, sizeof text, &err), HF_RC_MISSING);
    assert_int_equal(file_read(top, text, sizeof text, &err), HF_RC_INVALID);
    assert_string_equal(err.message + strlen(err.message) - strlen("it is a directory"),
                        "it is a directory");
    assert_int_equal(mkfifo(under("fifo"), 0600), 0);
    assert_int_equal(file_read(under("fifo"), text, sizeof text, &err), HF_RC_INVALID);
    assert_non_null(strstr(err.message, "it is a pipe")); /* and was not waited for */
}

static void file__folders_are_made_with_those_above(void **state)
{
    (void)state;
    struct hf_err err;
    struct stat info;
    mode_t before = umask(022);
    assert_int_equal(file_make_dirs(under("a/b/c"), 0711, &err), HF_OK);
    assert_int_equal(file_make_dirs(under("p/q"), 0700, &err), HF_OK);
    umask(before);
    assert_int_equal(stat(under("a"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0755);
    assert_int_equal(stat(under("a/b/c"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0711);
    assert_int_equal(stat(under("p"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_int_equal(file_make_dirs(under("a/b/c"), 0700, &err), HF_OK);
    assert_int_equal(stat(under("a/b/c"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0711);

    assert_int_equal(file_write(under("file"), "", 0600, &err), HF_OK);
    assert_int_equal(file_make_dirs(under("file"), 0700, &err), HF_RC_INVALID);
    assert_non_null(strstr(err.message, "exists and is not a folder"));
    assert_int_equal(file_make_dirs(under("file/x"), 0700, &err), HF_RC_INVALID);
}

static void file__emptying_keeps_what_it_is_told_and_follows_no_link(void **state)
{
    (void)state;
    struct hf_err err;
    const char *const keep[] = {"marker", NULL};
    assert_int_equal(file_make_dirs(under("d/deep/er"), 0700, &err), HF_OK);
    assert_int_equal(file_make_dirs(under("outside"), 0700, &err), HF_OK);
    assert_int_equal(file_write(under("outside/precious"), "x", 0600, &err), HF_OK);
    assert_int_equal(symlink(under("outside"), under("d/deep/link")), 0);
    assert_int_equal(symlink(under("outside"), under("d/link")), 0);
    assert_int_equal(file_write(under("d/marker"), "x", 0600, &err), HF_OK);
    assert_int_equal(file_write(under("d/deep/marker"), "x", 0600, &err), HF_OK);
    assert_false(file_dir_is_empty(under("d"), NULL));
    assert_int_equal(file_empty_dir(under("d"), keep, &err), HF_OK);
    assert_int_equal(access(under("d/marker"), F_OK), 0);
    assert_false(file_dir_is_empty(under("d"), NULL));
    assert_true(file_dir_is_empty(under("d"), keep));
    assert_int_equal(access(under("d/deep"), F_OK), -1);
    assert_int_equal(access(under("outside/precious"), F_OK), 0);
    assert_int_equal(file_empty_dir(under("d"), NULL, &err), HF_OK);
    assert_true(file_dir_is_empty(under("d"), NULL));
    assert_int_equal(file_empty_dir(under("none"), NULL, &err), HF_RC_MISSING);

    /* A link in place of the folder itself is not entered either. */
    assert_int_equal(symlink(under("outside"), under("alias")), 0);
    assert_int_not_equal(file_empty_dir(under("alias"), NULL, &err), HF_OK);
    assert_int_equal(file_remove_tree(under("alias"), &err), HF_OK);
    assert_int_equal(access(under("outside/precious"), F_OK), 0);
    assert_int_equal(file_remove_tree(under("none"), &err), HF_OK);
    assert_false(file_dir_is_empty(under("none"), NULL));
}

static void file__what_cannot_be_deleted_is_said(void **state)
{
    (void)state;
    struct hf_err err;
    if (geteuid() == 0)
        skip(); /* root may delete anything */
    assert_int_equal(file_make_dirs(under("d/locked"), 0700, &err), HF_OK);
    assert_int_equal(file_write(under("d/locked/x"), "x", 0600, &err), HF_OK);
    assert_int_equal(chmod(under("d/locked"), 0500), 0);
    assert_int_equal(file_remove_tree(under("d"), &err), HF_RC_DENIED);
    assert_int_equal(chmod(under("d/locked"), 0700), 0);
}

static void file__the_tail_is_the_last_whole_lines(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int64_t from;
        size_t lines;
        size_t size;
        const char *tail;
        size_t count;
    } cases[] = {
        {"one\ntwo\nthree\n", 0, 2, 100, "two\nthree", 2},
        {"one\ntwo\nthree", 0, 2, 100, "two\nthree", 2},
        {"one\ntwo\nthree\n\n", 0, 1, 100, "three", 1},
        {"one\ntwo\n", 0, 5, 100, "one\ntwo", 2},
        {"one\ntwo\nthree\n", 4, 5, 100, "two\nthree", 2},
        {"one\ntwo\n", 8, 5, 100, "", 0},
        {"one\ntwo\n", 99, 5, 100, "", 0},
        {"one", 0, 1, 100, "one", 1},
        {"", 0, 3, 100, "", 0},
        {"\n\n", 0, 3, 100, "", 0},
        {"one\ntwo\nthree\n", 0, 9, 8, "\nthree", 2},
        {"a long line without an end", 0, 1, 5, " end", 1},
    };
    struct hf_err err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char tail[100];
        assert_int_equal(file_write(under("log"), cases[i].text, 0600, &err), HF_OK);
        assert_int_equal(
            file_tail(under("log"), cases[i].from, cases[i].lines, tail, cases[i].size),
            cases[i].count);
        assert_int_equal(file_size(under("log")), strlen(cases[i].text));
        assert_string_equal(tail, cases[i].tail);
    }
    char tail[10] = "x";
    assert_int_equal(file_tail(under("none"), 0, 3, tail, sizeof tail), 0);
    assert_string_equal(tail, "");
}

static void file__free_space_is_a_number_or_unknown(void **state)
{
    (void)state;
    assert_int_equal(file_size(under("none")), 0);
    assert_true(file_space_free(top) > 0);
    assert_int_equal(file_space_free(under("none")), -1);
}

int main(void)
{
#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_top, delete_top)
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(file__what_is_written_is_read_with_its_mode),
        IN_A_FOLDER(file__a_failed_write_keeps_the_old_text_and_leaves_nothing),
        IN_A_FOLDER(file__writing_follows_no_link_and_survives_leftovers),
        IN_A_FOLDER(file__reading_is_whole_or_an_error),
        IN_A_FOLDER(file__folders_are_made_with_those_above),
        IN_A_FOLDER(file__emptying_keeps_what_it_is_told_and_follows_no_link),
        IN_A_FOLDER(file__what_cannot_be_deleted_is_said),
        IN_A_FOLDER(file__the_tail_is_the_last_whole_lines),
        IN_A_FOLDER(file__free_space_is_a_number_or_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
