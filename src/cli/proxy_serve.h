/*
 * The life of a proxy process, in its main thread: starting (with sockets that others have opened,
 * perhaps), signals, reloads, a successor that takes over, what systemd is told, the end.
 *
 *     read the configuration -> sockets: from systemd, from the process before us, or our own
 *         -> proxy_start -> READY -> SIGHUP   a reload
 *                             |      SIGUSR2  a new process of our own program takes over
 *                             |      SIGTERM  drain, up to limits.drain_timeout; again: at once
 *                             |      SIGINT   at once
 *                             v
 *             somebody has taken over: leave, up to limits.leave_timeout, then drain
 *
 * The watchdog of systemd is fed only while every worker turns its loop: a process whose threads
 * hang is not alive because its main thread can still send datagrams.
 */
#ifndef HF_CLI_PROXY_SERVE_H
#define HF_CLI_PROXY_SERVE_H

#include <stdbool.h>

#include "base/err.h"
#include "os/log.h"
#include "os/mem.h"

/* What a process is started with. */
struct proxy_run {
    struct mem *mem;
    struct log *log;
    const char *file;     /* of the configuration; NULL: url */
    char *url;            /* a connection string; NULL: file */
    bool takes_over;      /* from the process that runs with the same run_dir, if one does */
    const char *program;  /* ours, and what it was given: for who takes over at SIGUSR2 */
    const char *log_form; /* the same */
};

enum hf_rc proxy_serve(const struct proxy_run *run, struct hf_err *err) HF_MUST_USE;

#endif
