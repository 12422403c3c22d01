#include "os/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/ns.h"
#include "os/clock.h"
#include "os/signals.h"
#include "os/sys.h"

enum hf_rc child_user_find(struct child_user *user, const char *name, struct hf_err *err)
{
    char text[4096];
    struct passwd entry;
    struct passwd *found = NULL;
    int reason = getpwnam_r(name, &entry, text, sizeof text, &found);
    if (reason != 0)
        return sys_fail(err, reason, "could not look up the user \"%s\"", name);
    if (found == NULL)
        return err_set(err, HF_RC_MISSING, "42704", "there is no user \"%s\" on this machine",
                       name);

    memset(user, 0, sizeof *user);
    user->uid = entry.pw_uid;
    user->gid = entry.pw_gid;
    snprintf(user->name, sizeof user->name, "%s", entry.pw_name);
    snprintf(user->home, sizeof user->home, "%s", entry.pw_dir);
    /* Looked up here, in the parent: reading /etc/group allocates, which a forked child of a
     * program with threads must not. */
    int count = CHILD_GROUPS_MAX;
    if (getgrouplist(name, user->gid, user->groups, &count) < 0)
        return err_set(err, HF_RC_LIMIT, "54000", "the user \"%s\" is in more than %d groups", name,
                       CHILD_GROUPS_MAX);
    user->group_count = (size_t)count;
    return HF_OK;
}

/* Groups first: without root they could no longer be changed. All three user ids at once, so that
 * there is no way back. Returns 0 or an errno; async-signal-safe in a child of one thread. */
static int become(const struct child_user *user)
{
    if (geteuid() == user->uid && getuid() == user->uid)
        return 0;
    if (setgroups(user->group_count, user->groups) != 0 ||
        setresgid(user->gid, user->gid, user->gid) != 0 ||
        setresuid(user->uid, user->uid, user->uid) != 0)
        return errno;
    return 0;
}

enum hf_rc child_user_become(const struct child_user *user, struct hf_err *err)
{
    int reason = become(user);
    return reason == 0 ? HF_OK : sys_fail(err, reason, "could not become user \"%s\"", user->name);
}

/* What the child tells us when it cannot become the program: which step failed, and why. */
enum stage {
    STAGE_FILES,
    STAGE_USER,
    STAGE_DIRECTORY,
    STAGE_ORPHANED,
    STAGE_PROGRAM,
};

struct complaint {
    enum stage stage;
    int reason;
};

static _Noreturn void complain(int report, enum stage stage, int reason)
{
    const struct complaint complaint = {stage, reason};
    ssize_t written = write(report, &complaint, sizeof complaint);
    _exit(written == (ssize_t)sizeof complaint ? 127 : 126);
}

static void reset_signals(void)
{
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL); /* fails for SIGKILL and SIGSTOP, which cannot be changed anyway */
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
}

/* True if stdin, stdout and stderr are what the spec asks for. */
static bool set_files(const struct child_spec *spec)
{
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing < 0)
        return false;
    int output = spec->output == CHILD_SILENT ? nothing : spec->output;
    return dup2(nothing, STDIN_FILENO) >= 0 &&
           (output == CHILD_SHARED ||
            (dup2(output, STDOUT_FILENO) >= 0 && dup2(output, STDERR_FILENO) >= 0));
}

/* The child between fork and exec. Only async-signal-safe calls: another thread of the parent may
 * have held any lock. */
static _Noreturn void turn_into(const struct child_spec *spec, pid_t parent, int report)
{
    setpgid(0, 0);
    reset_signals();
    /* Our own files are all O_CLOEXEC; this is for what we inherited ourselves. A kernel without
     * the call (before 5.11) leaves things as they were. */
    syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
    if (!set_files(spec))
        complain(report, STAGE_FILES, errno);
    if (spec->user != NULL) {
        int reason = become(spec->user);
        if (reason != 0)
            complain(report, STAGE_USER, reason);
    }
    if (spec->directory != NULL && chdir(spec->directory) != 0)
        complain(report, STAGE_DIRECTORY, errno);
    /* After the change of user, which clears it; and the parent may be gone already. */
    prctl(PR_SET_PDEATHSIG, spec->signal_at_our_end != 0 ? spec->signal_at_our_end : SIGKILL);
    if (getppid() != parent)
        complain(report, STAGE_ORPHANED, ECHILD);
    /* execvp takes what it does not change as changeable, for the sake of old programs. */
    char *const *argv = (char *const *)(uintptr_t)spec->argv;
    execvp(argv[0], argv);
    complain(report, STAGE_PROGRAM, errno);
}

static enum hf_rc explain(const struct child_spec *spec, struct complaint complaint,
                          struct hf_err *err)
{
    const char *program = spec->argv[0];
    switch (complaint.stage) {
    case STAGE_USER:
        return sys_fail(err, complaint.reason, "could not run \"%s\" as user \"%s\"", program,
                        spec->user->name);
    case STAGE_DIRECTORY:
        return sys_fail(err, complaint.reason, "could not run \"%s\" in the folder \"%s\"", program,
                        spec->directory);
    case STAGE_FILES:
    case STAGE_ORPHANED:
    case STAGE_PROGRAM:
        break;
    }
    return sys_fail(err, complaint.reason, "could not run \"%s\"", program);
}

/* Waits for the word of the child: silence means that exec closed the pipe. */
static bool has_complained(int report, struct complaint *complaint)
{
    ssize_t got;
    do {
        got = read(report, complaint, sizeof *complaint);
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof *complaint;
}

static void reap(struct child *child)
{
    pid_t got;
    do {
        got = waitpid(child->pid, &child->status, 0);
    } while (got < 0 && errno == EINTR);
    /* ECHILD means that somebody else reaped it, which takes an ignored SIGCHLD or a stray
     * waitpid(-1): a bug in this program. */
    hf_assert(got == child->pid);
    child->is_running = false;
    if (child->watch >= 0)
        close(child->watch);
    child->watch = -1;
}

enum hf_rc child_start(struct child *child, const struct child_spec *spec, struct hf_err *err)
{
    *child = (struct child){.watch = -1};
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0)
        return sys_fail(err, errno, "could not run \"%s\"", spec->argv[0]);

    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid == 0)
        turn_into(spec, parent, report[1]);
    int reason = errno;
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        return sys_fail(err, reason, "could not run \"%s\"", spec->argv[0]);
    }
    child->pid = pid;
    child->is_running = true;
    setpgid(pid, pid); /* whoever comes first, child or parent: afterwards the group is there */

    struct complaint complaint;
    bool is_refused = has_complained(report[0], &complaint);
    close(report[0]);
    if (is_refused) {
        reap(child);
        return explain(spec, complaint, err);
    }
    child->watch = pidfd_open(pid, 0); /* closed on exec by definition */
    if (child->watch < 0) {
        reason = errno;
        kill(-pid, SIGKILL);
        reap(child);
        return sys_fail(err, reason, "could not watch \"%s\"", spec->argv[0]);
    }
    return HF_OK;
}

bool child_poll(struct child *child)
{
    return child_wait(child, 0, -1) == CHILD_WAIT_ENDED;
}

/* Milliseconds for poll(), rounded up so that a deadline is not missed by a busy loop; -1 for
 * never. */
static int poll_timeout(int64_t deadline_ns)
{
    if (deadline_ns == HF_NEVER)
        return -1;
    int64_t left_ns = deadline_ns - clock_now();
    if (left_ns <= 0)
        return 0;
    return (int)ns_min((left_ns + HF_MS(1) - 1) / HF_MS(1), 60000);
}

enum child_wait child_wait(struct child *child, int64_t deadline_ns, int interrupt_fd)
{
    for (;;) {
        if (!child->is_running)
            return CHILD_WAIT_ENDED;
        /* poll() overlooks a negative file. */
        struct pollfd files[2] = {
            {.fd = child->watch, .events = POLLIN},
            {.fd = interrupt_fd, .events = POLLIN},
        };
        poll(files, 2, poll_timeout(deadline_ns));
        if (files[0].revents != 0) {
            reap(child);
            return CHILD_WAIT_ENDED;
        }
        if (files[1].revents != 0)
            return CHILD_WAIT_INTERRUPTED;
        if (deadline_ns != HF_NEVER && clock_now() >= deadline_ns)
            return CHILD_WAIT_DEADLINE;
    }
}

void child_signal(const struct child *child, int signal)
{
    /* Not yet reaped, so the number is still its own. */
    if (child->is_running)
        kill(child->pid, signal);
}

size_t child_stop(struct child *child, const struct child_step *steps, size_t count)
{
    if (!child->is_running || child_poll(child))
        return 0;
    for (size_t i = 0; i < count; i++) {
        kill(steps[i].to_group ? -child->pid : child->pid, steps[i].signal);
        if (child_wait(child, ns_add(clock_now(), steps[i].wait_ns), -1) == CHILD_WAIT_ENDED)
            return i + 1;
    }
    kill(-child->pid, SIGKILL);
    reap(child);
    return count + 1;
}

bool child_succeeded(const struct child *child)
{
    return !child->is_running && WIFEXITED(child->status) && WEXITSTATUS(child->status) == 0;
}

char *child_describe(const struct child *child, char out[CHILD_TEXT_SIZE])
{
    char name[SIGNALS_NAME_SIZE];
    if (child->is_running)
        snprintf(out, CHILD_TEXT_SIZE, "running as process %d", (int)child->pid);
    else if (WIFSIGNALED(child->status))
        snprintf(out, CHILD_TEXT_SIZE, "killed by %s", signals_name(WTERMSIG(child->status), name));
    else
        snprintf(out, CHILD_TEXT_SIZE, "exit status %d", WEXITSTATUS(child->status));
    return out;
}

/* The end of a stream in a fixed room: when it is full, the older half goes. */
struct tail {
    char *out;
    size_t size;
    size_t used;
};

/* Takes what can be read now; false at the end of the stream. */
static bool tail_read(struct tail *tail, int fd)
{
    if (tail->used == tail->size - 1) {
        size_t kept = tail->used / 2;
        memmove(tail->out, tail->out + tail->used - kept, kept);
        tail->used = kept;
    }
    ssize_t got = read(fd, tail->out + tail->used, tail->size - 1 - tail->used);
    if (got > 0)
        tail->used += (size_t)got;
    tail->out[tail->used] = '\0';
    return got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN));
}

/* Reads until the child has ended and what it wrote is read, or the time is over. The end of the
 * stream alone is no sign: a grandchild may hold the pipe open, or the child may close it early. */
static enum child_wait read_to_its_end(struct child_run *run, int fd)
{
    struct tail tail = {.out = run->out, .size = run->size};
    bool is_open = true;
    for (;;) {
        struct pollfd files[3] = {
            {.fd = run->child.watch, .events = POLLIN},
            {.fd = run->interrupt_fd, .events = POLLIN},
            {.fd = is_open ? fd : -1, .events = POLLIN},
        };
        poll(files, 3, poll_timeout(run->deadline_ns));
        if (files[2].revents != 0)
            is_open = tail_read(&tail, fd);
        else if (files[0].revents != 0)
            return child_wait(&run->child, HF_NEVER, -1);
        if (files[1].revents != 0)
            return CHILD_WAIT_INTERRUPTED;
        if (run->deadline_ns != HF_NEVER && clock_now() >= run->deadline_ns)
            return CHILD_WAIT_DEADLINE;
    }
}

enum hf_rc child_run(struct child_run *run, struct hf_err *err)
{
    hf_assert(run->size >= 2);
    run->child = (struct child){.watch = -1};
    run->waited = CHILD_WAIT_ENDED;
    run->out[0] = '\0';
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return sys_fail(err, errno, "could not run \"%s\"", run->spec.argv[0]);

    struct child_spec with_pipe = run->spec;
    with_pipe.output = ends[1];
    enum hf_rc rc = child_start(&run->child, &with_pipe, err);
    close(ends[1]);
    if (rc == HF_OK) {
        run->waited = read_to_its_end(run, ends[0]);
        child_stop(&run->child, NULL, 0);
    }
    close(ends[0]);
    return rc;
}
