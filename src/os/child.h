/*
 * Child processes: started without a shell, waited for with a deadline, never left behind.
 *
 * A child
 *   - runs argv exactly as given; no shell looks at it, so nothing needs quoting;
 *   - has a process group of its own: Ctrl-C at our terminal reaches us and not it, and a signal
 *     can be sent to it together with what it has started;
 *   - gets the default action of every signal, an empty mask, stdin from /dev/null, and no file of
 *     ours but the ones it was given;
 *   - dies with us: the kernel sends it `signal_at_our_end` when the thread that started it ends,
 *     however it ends, kill -9 included. So start children from a thread that lives as long as they
 *     should: in this program, the main one.
 *
 *     struct child child;
 *     const struct child_spec spec = {.argv = argv, .output = log_fd};
 *     if (child_start(&child, &spec, err) != HF_OK) ...
 *     if (child_wait(&child, clock_now() + HF_SEC(10), interrupt_fd) != CHILD_WAIT_ENDED)
 *         child_stop(&child, steps, 3);
 *
 * Life:   child_start -> RUNNING -> (child_poll | child_wait | child_stop) -> ENDED
 *
 * stdin, stdout and stderr of this process must be open: a pipe of ours that got one of their
 * numbers would be lost on the way. main() sees to that.
 *
 * Once ENDED the process is reaped, its number may belong to somebody else, and no call here
 * touches it again: every call is harmless then. One thread owns a child.
 */
#ifndef HF_OS_CHILD_H
#define HF_OS_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Whom a process is to run as. Groups included: whoever keeps root's groups keeps root's files. */
#define CHILD_GROUPS_MAX 64
struct child_user {
    uid_t uid;
    gid_t gid;
    size_t group_count;
    gid_t groups[CHILD_GROUPS_MAX];
    char name[64];
    char home[256];
};

/* Looks a user up by name; HF_RC_MISSING if there is none of that name. */
enum hf_rc HF_MUST_USE child_user_find(struct child_user *user, const char *name,
                                       struct hf_err *err);

/* This process becomes that user, for good. Needs root, unless it is that user already. */
enum hf_rc HF_MUST_USE child_user_become(const struct child_user *user, struct hf_err *err);

struct child_spec {
    const char *const *argv;       /* argv[0] is a path, or a name to be found in PATH; then NULL */
    const char *directory;         /* to start in; NULL: ours */
    const struct child_user *user; /* NULL: ours */
    int output;                    /* file for stdout and stderr; CHILD_SILENT, CHILD_SHARED */
    int signal_at_our_end;         /* 0 means SIGKILL */
};

/* Instead of a file: throw the output away, or write where we write. 0 cannot be meant, as it is
 * stdin; so a spec that says nothing is silent. */
#define CHILD_SILENT 0
#define CHILD_SHARED (-1)

struct child {
    pid_t pid;       /* > 0 while running */
    int watch;       /* readable once it has ended; owned; -1 when not running */
    bool is_running; /* started and not yet reaped */
    int status;      /* as waitpid gives it, valid once it has ended */
};

/* Starts it. When this returns HF_OK the program itself is running: what can go wrong on the way
 * (no such program, no such directory, no right to become that user) is this call's failure, and
 * leaves nothing behind. */
enum hf_rc HF_MUST_USE child_start(struct child *child, const struct child_spec *spec,
                                   struct hf_err *err);

/* True if it has ended; never waits. */
bool child_poll(struct child *child);

enum child_wait {
    CHILD_WAIT_ENDED,
    CHILD_WAIT_DEADLINE,
    CHILD_WAIT_INTERRUPTED, /* interrupt_fd became readable */
};

/* Waits until it ends, the deadline comes (HF_NEVER: none), or `interrupt_fd` (-1: none) can be
 * read, which is left unread. */
enum child_wait child_wait(struct child *child, int64_t deadline_ns, int interrupt_fd);

/* One step of an escalation: send the signal, then wait at most so long. */
struct child_step {
    int signal;
    int64_t wait_ns;
    bool to_group; /* also to everything in its process group */
};

/* Sends signal after signal until it has ended. After the last step comes SIGKILL to the group, and
 * then a wait without limit that the kernel keeps short. Returns how many steps it took: 0 if it
 * had ended before, count + 1 if it had to be killed. */
size_t child_stop(struct child *child, const struct child_step *steps, size_t count);

/* Sends one signal; to one that has ended, nothing. */
void child_signal(const struct child *child, int signal);

/* Exit status 0. */
bool child_succeeded(const struct child *child);

/* "exit status 1", "killed by SIGKILL": how it ended. Returns out. */
#define CHILD_TEXT_SIZE 64
char *child_describe(const struct child *child, char out[CHILD_TEXT_SIZE]);

/* A program run to its end, and what came of it. */
struct child_run {
    struct child_spec spec; /* its `output` is not looked at */
    int64_t deadline_ns;    /* of clock_now(); HF_NEVER: none */
    int interrupt_fd;       /* -1: none */
    char *out;              /* gets the last size - 1 bytes that it wrote to stdout and stderr */
    size_t size;            /* at least 2 */
    struct child child;     /* result: how it ended */
    enum child_wait waited; /* result: unless CHILD_WAIT_ENDED, why it was killed, group and all */
};

/* Fails only if the program could not be started. */
enum hf_rc HF_MUST_USE child_run(struct child_run *run, struct hf_err *err);

#endif
