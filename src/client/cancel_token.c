#include "client/cancel_token.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/errors.h"
#include "os/sys.h"

/* It belongs to no database and hence to no allocator: the C library's own. */
struct hf_cancel {
    int fd;
    _Atomic bool is_fired;
};

int hf_cancel_new(struct hf_cancel **cancel, struct hf_error *err)
{
    if (cancel == NULL)
        return error_set(err, HF_E_USAGE, "hf_cancel_new() needs a place for the result");
    *cancel = NULL;
    struct hf_cancel *made = calloc(1, sizeof *made);
    if (made == NULL)
        return error_set(err, HF_E_MEMORY, "out of memory for a struct hf_cancel");
    made->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (made->fd < 0) {
        struct hf_err why;
        sys_fail(&why, errno, "could not make an event descriptor");
        free(made);
        return error_from_err(err, HF_E_MEMORY, &why);
    }
    *cancel = made;
    return HF_SUCCESS;
}

void hf_cancel_fire(struct hf_cancel *cancel)
{
    int saved = errno;  /* a signal handler must leave it as it was */
    if (cancel == NULL) /* and may run before there is one */
        return;
    atomic_store(&cancel->is_fired, true);
    eventfd_write(cancel->fd, 1);
    errno = saved;
}

void hf_cancel_reset(struct hf_cancel *cancel)
{
    eventfd_t count;
    if (cancel == NULL)
        return;
    atomic_store(&cancel->is_fired, false);
    eventfd_read(cancel->fd, &count);
    if (atomic_load(&cancel->is_fired)) /* in between, and who waits has not heard it */
        eventfd_write(cancel->fd, 1);
}

void hf_cancel_free(struct hf_cancel *cancel)
{
    if (cancel == NULL)
        return;
    close(cancel->fd);
    free(cancel);
}

int cancel_token_fd(const struct hf_cancel *cancel)
{
    return cancel->fd;
}

bool cancel_token_is_fired(const struct hf_cancel *cancel)
{
    return atomic_load(&cancel->is_fired);
}

bool cancel_token_refuses(const struct hf_cancel *cancel, struct hf_error *err)
{
    if (cancel == NULL || !cancel_token_is_fired(cancel))
        return false;
    error_set(err, HF_E_CANCELLED, "its hf_cancel has been fired and was not reset");
    return true;
}
