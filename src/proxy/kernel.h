/*
 * What the kernel lets the proxy have, looked at once at the start: open files, the queue of
 * connections that are not accepted yet, io_uring.
 *
 * A limit that is too low is no reason not to start, as the load it is too low for may never come;
 * it is logged, with the numbers and what to do.
 */
#ifndef HF_PROXY_KERNEL_H
#define HF_PROXY_KERNEL_H

struct proxy;

/* Raises the limit of open files as far as this process may. */
void kernel_prepare(struct proxy *proxy);

/* Logs how sockets are driven, once there are workers. */
void kernel_tell(const struct proxy *proxy);

#endif
