/*
 * Signals as something to wait for: a file descriptor that becomes readable, not a handler that
 * runs between any two instructions.
 *
 * signals_open() blocks the signals it was given and from then on they queue up on `fd`. SIGHUP
 * stays ignored if it was ignored when the program started: that is nohup, and meant. Others are
 * taken even then: a script that starts us with "&" makes us ignore SIGINT without meaning it, and
 * would find that `kill -INT` does nothing. SIGPIPE is ignored: writing to a closed pipe is an
 * error code, not death.
 *
 * Threads started afterwards inherit the blocked signals, so that only the reader of `fd` sees
 * them: open before starting threads. Children started with os/child.h get everything back to
 * normal.
 *
 *     signals_open(&signals, (const int[]){SIGINT, SIGTERM, SIGCHLD}, 3, err)
 *     ... poll signals.fd ...
 *     while ((number = signals_take(&signals)) != 0)
 */
#ifndef HF_OS_SIGNALS_H
#define HF_OS_SIGNALS_H

#include <signal.h>
#include <stddef.h>

#include "base/err.h"

struct signals {
    int fd;          /* poll it for reading; owned, closed on exec */
    sigset_t before; /* what was blocked before */
};

/* One set at a time for a process. On failure nothing has changed. */
enum hf_rc HF_MUST_USE signals_open(struct signals *signals, const int *numbers, size_t count,
                                    struct hf_err *err);

/* The next signal that has come, 0 if there is none; never waits. Several of one kind may have
 * become one, as the kernel keeps no count of them. */
int signals_take(struct signals *signals);

/* Closes, and unblocks what was open before. Signals that came and were not taken are dropped. */
void signals_close(struct signals *signals);

/* Writes "SIGKILL" for 9, and "signal 99" for a number without a name. Returns out. */
#define SIGNALS_NAME_SIZE 24
char *signals_name(int number, char out[SIGNALS_NAME_SIZE]);

#endif
