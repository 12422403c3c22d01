#include "os/signals.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/bug.h"
#include "os/sys.h"

static bool is_ignored(int number)
{
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

enum hf_rc signals_open(struct signals *signals, const int *numbers, size_t count,
                        struct hf_err *err)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] == SIGHUP && is_ignored(SIGHUP))
            continue;
        /* A signal that is ignored would not even queue up. For SIGCHLD, ignoring also means that
         * the kernel reaps our children behind our back. */
        if (is_ignored(numbers[i]))
            signal(numbers[i], SIG_DFL);
        sigaddset(&wanted, numbers[i]);
    }
    /* Closed on exec and never waiting in signals_take(). */
    int fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return sys_fail(err, errno, "could not open a file for signals");
    int rc = pthread_sigmask(SIG_BLOCK, &wanted, &signals->before);
    hf_assert(rc == 0);
    signal(SIGPIPE, SIG_IGN);
    signals->fd = fd;
    return HF_OK;
}

int signals_take(struct signals *signals)
{
    struct signalfd_siginfo info;
    ssize_t got = read(signals->fd, &info, sizeof info);
    return got == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

void signals_close(struct signals *signals)
{
    while (signals_take(signals) != 0)
        continue;
    close(signals->fd);
    signals->fd = -1;
    pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
}

char *signals_name(int number, char out[SIGNALS_NAME_SIZE])
{
    const char *name = sigabbrev_np(number);
    if (name != NULL)
        snprintf(out, SIGNALS_NAME_SIZE, "SIG%s", name);
    else
        snprintf(out, SIGNALS_NAME_SIZE, "signal %d", number);
    return out;
}
