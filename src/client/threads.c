#include "client/threads.h"

#include <signal.h>
#include <string.h>

enum hf_rc threads_start(pthread_t *thread, void *(*run)(void *), void *arg, struct hf_err *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int why = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (why != 0)
        return err_set(err, HF_RC_IO, "53000", "could not start a thread: %s", strerror(why));
    return HF_OK;
}
