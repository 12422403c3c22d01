#include "client/threads.h"

#include <signal.h>
#include <unistd.h>

#include "os/sys.h"

enum hf_rc threads_start(pthread_t *thread, void *(*run)(void *), void *arg, struct hf_err *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int why = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (why != 0)
        return sys_fail(err, why, "could not start a thread");
    return HF_OK;
}

uint32_t threads_number(void)
{
    static _Thread_local uint32_t own;
    if (own == 0)
        own = (uint32_t)gettid();
    return own;
}
