#include "proxy/order.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "os/sys.h"
#include "proxy/proxy.h"

enum hf_rc order_init(struct order *order, struct hf_err *err)
{
    *order = (struct order){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    if (order->fd >= 0)
        return HF_OK;
    return sys_fail(err, errno, "could not make an eventfd");
}

void order_deinit(struct order *order)
{
    if (order->state == ORDER_ASKED)
        proxy_config_free(order->config);
    if (order->fd >= 0)
        close(order->fd);
    order->fd = -1;
}

void order_wake(struct proxy *proxy)
{
    uint64_t one = 1;
    /* It can only fail when the count would overflow: then the main thread is awake anyway. */
    if (write(proxy->order.fd, &one, sizeof one) < 0)
        errno = 0;
}

uint64_t order_give(struct proxy *proxy, enum order_kind kind, struct proxy_config *config)
{
    struct order *order = &proxy->order;
    uint64_t number = 0;
    pthread_mutex_lock(&proxy->lock);
    if (order->state == ORDER_FREE || order->state == ORDER_DONE) {
        order->kind = kind;
        order->config = config;
        order->state = ORDER_ASKED;
        number = ++order->number;
    }
    pthread_mutex_unlock(&proxy->lock);
    if (number != 0)
        order_wake(proxy);
    return number;
}

bool order_answer(struct proxy *proxy, uint64_t number, struct hf_err *err)
{
    pthread_mutex_lock(&proxy->lock);
    const struct order_end *end = &proxy->order.ends[number % ORDER_ENDS];
    bool is_done = end->number >= number;
    err_clear(err);
    if (end->number == number)
        *err = end->err;
    pthread_mutex_unlock(&proxy->lock);
    return is_done;
}

enum order_kind order_take(struct proxy *proxy, struct proxy_config **config)
{
    struct order *order = &proxy->order;
    enum order_kind kind = ORDER_NONE;
    uint64_t count;
    if (read(order->fd, &count, sizeof count) < 0)
        errno = 0; /* nobody has called */
    pthread_mutex_lock(&proxy->lock);
    if (order->state == ORDER_ASKED) {
        kind = order->kind;
        *config = order->config;
        order->config = NULL;
        order->state = ORDER_TAKEN;
    }
    pthread_mutex_unlock(&proxy->lock);
    return kind;
}

void order_done(struct proxy *proxy, const struct hf_err *err)
{
    struct order *order = &proxy->order;
    pthread_mutex_lock(&proxy->lock);
    order->ends[order->number % ORDER_ENDS] = (struct order_end){order->number, *err};
    order->state = ORDER_DONE;
    pthread_mutex_unlock(&proxy->lock);
}
