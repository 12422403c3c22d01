#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/share.h"

/* Each struct share stands for a process, as locks belong to the open file. */
struct fixture {
    struct mem mem;
    char folder[32];
    char path[48];
};

static struct fixture fixture;

static int begin(void **state)
{
    (void)state;
    mem_init(&fixture.mem, 0);
    snprintf(fixture.folder, sizeof fixture.folder, "/tmp/hf-share-XXXXXX");
    assert_non_null(mkdtemp(fixture.folder));
    snprintf(fixture.path, sizeof fixture.path, "%s/budget", fixture.folder);
    return 0;
}

static int end(void **state)
{
    (void)state;
    unlink(fixture.path);
    rmdir(fixture.folder);
    mem_deinit(&fixture.mem);
    return 0;
}

static void open_well(struct share *share, uint32_t connections)
{
    struct hf_err err = {0};
    if (share_open(share, fixture.path, connections, &fixture.mem, &err) != HF_OK)
        fail_msg("%s", err.message);
}

static uint32_t take_all(struct share *share)
{
    uint32_t count = 0;
    while (share_try(share))
        count++;
    return count;
}

static void share__all_together_have_no_more_than_there_are(void **state)
{
    (void)state;
    struct share a, b;
    open_well(&a, 5);
    open_well(&b, 5);
    assert_int_not_equal(a.seat, b.seat);
    assert_true(share_try(&a) && share_try(&a) && share_try(&b));
    assert_int_equal(share_used(&b), 3);
    assert_int_equal(take_all(&a), 2);
    assert_false(share_try(&b));
    share_return(&a);
    assert_true(share_try(&b));
    assert_false(share_try(&a));
    share_close(&a); /* gives back what it has */
    assert_int_equal(take_all(&b), 3);
    share_close(&b);
}

static void share__who_finds_none_is_heard_by_the_others(void **state)
{
    (void)state;
    struct share a, b;
    uint32_t seen = 0;
    open_well(&a, 1);
    open_well(&b, 1);
    assert_true(share_try(&a));
    assert_false(share_is_wanted(&a, &seen));
    assert_false(share_try(&b));
    assert_true(share_is_wanted(&a, &seen));
    assert_false(share_is_wanted(&a, &seen));
    uint32_t other = 0;
    assert_true(share_is_wanted(&a, &other)); /* each thread of it hears once */
    share_close(&a);
    share_close(&b);
}

/* Another process, which takes all it gets and is killed when the caller says so. */
struct other {
    pid_t pid;
    uint8_t seat;
    uint8_t taken;
};

static void start_other(struct other *other, uint32_t connections)
{
    int ready[2];
    uint8_t told[2] = {0};
    assert_int_equal(pipe(ready), 0);
    other->pid = fork();
    if (other->pid == 0) {
        struct share share;
        struct hf_err err;
        if (share_open(&share, fixture.path, connections, &fixture.mem, &err) != HF_OK)
            _exit(1);
        told[0] = (uint8_t)take_all(&share);
        told[1] = (uint8_t)share.seat;
        if (write(ready[1], told, 2) == 2)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], told, 2), 2);
    other->taken = told[0];
    other->seat = told[1];
    close(ready[0]);
    close(ready[1]);
}

static void kill_other(const struct other *other)
{
    kill(other->pid, SIGKILL);
    waitpid(other->pid, NULL, 0);
}

static void share__who_is_killed_leaves_nothing_behind(void **state)
{
    (void)state;
    struct share living;
    struct other other;
    open_well(&living, 10);
    assert_true(share_try(&living));
    start_other(&other, 10);
    assert_int_equal(other.taken, 9);
    assert_false(share_try(&living));
    kill_other(&other);
    assert_int_equal(take_all(&living), 9);
    assert_int_equal(living.held_count, 10);
    share_close(&living);
}

static void share__a_seat_is_clean_for_who_sits_down(void **state)
{
    (void)state;
    struct share next;
    struct other other;
    start_other(&other, 4);
    assert_int_equal(other.taken, 4);
    kill_other(&other);
    open_well(&next, 4);
    assert_int_equal(next.seat, other.seat);
    assert_int_equal(take_all(&next), 4);
    share_close(&next);
}

static void share__fewer_connections_are_reached_as_they_end(void **state)
{
    (void)state;
    struct share a;
    open_well(&a, 6);
    assert_int_equal(take_all(&a), 6);
    share_resize(&a, 2);
    for (uint32_t left = 5; left >= 2; left--) {
        share_return(&a);
        assert_int_equal(share_used(&a), left);
        assert_false(share_try(&a));
    }
    share_return(&a);
    assert_true(share_try(&a));
    share_resize(&a, 3);
    assert_int_equal(take_all(&a), 1);
    share_close(&a);
}

static void fill(const char *bytes, size_t size, off_t length)
{
    FILE *file = fopen(fixture.path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
    assert_int_equal(truncate(fixture.path, length), 0);
}

static void share__some_other_file_is_left_alone(void **state)
{
    (void)state;
    struct share share;
    struct hf_err err;
    struct stat status;
    fill("precious", 8, 8);
    assert_int_equal(share_open(&share, fixture.path, 4, &fixture.mem, &err), HF_RC_INVALID);
    unlink(fixture.path);
    open_well(&share, 4);
    share_close(&share);
    assert_int_equal(stat(fixture.path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    fill("precious", 8, status.st_size); /* of the right size even */
    assert_int_equal(share_open(&share, fixture.path, 4, &fixture.mem, &err), HF_RC_INVALID);
    unlink(fixture.path);
    assert_int_equal(symlink("/tmp", fixture.path), 0);
    assert_int_not_equal(share_open(&share, fixture.path, 4, &fixture.mem, &err), HF_OK);
}

/* Numbers that are nobody's: tokens that nobody could ever give back. */
static void share__garbage_in_the_file_is_no_lack_of_tokens(void **state)
{
    (void)state;
    struct share share;
    struct stat status;
    open_well(&share, 8);
    share_close(&share);
    assert_int_equal(stat(fixture.path, &status), 0);
    FILE *file = fopen(fixture.path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 16, SEEK_SET), 0);
    for (off_t i = 16; i < status.st_size; i++)
        fputc(0xee, file);
    fclose(file);
    open_well(&share, 8);
    assert_int_equal(take_all(&share), 8);
    share_close(&share);
}

static void share__there_are_seats_for_so_many(void **state)
{
    (void)state;
    static struct share shares[SHARE_SEATS + 1];
    struct hf_err err;
    for (uint32_t i = 0; i < SHARE_SEATS; i++)
        open_well(&shares[i], 1);
    assert_int_equal(share_open(&shares[SHARE_SEATS], fixture.path, 1, &fixture.mem, &err),
                     HF_RC_LIMIT);
    share_close(&shares[3]);
    open_well(&shares[3], 1);
    assert_int_equal(shares[3].seat, 4);
    for (uint32_t i = 0; i < SHARE_SEATS; i++)
        share_close(&shares[i]);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(share__all_together_have_no_more_than_there_are),
        CASE(share__who_finds_none_is_heard_by_the_others),
        CASE(share__who_is_killed_leaves_nothing_behind),
        CASE(share__a_seat_is_clean_for_who_sits_down),
        CASE(share__fewer_connections_are_reached_as_they_end),
        CASE(share__some_other_file_is_left_alone),
        CASE(share__garbage_in_the_file_is_no_lack_of_tokens),
        CASE(share__there_are_seats_for_so_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
