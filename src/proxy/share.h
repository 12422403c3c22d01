/*
 * One budget of server connections for all processes of a machine that name the same file: those
 * behind one port, those of several instances, and the old and the new one of an upgrade.
 *
 *     share_open(share, file, connections)   the file is mapped, and this process gets a number
 *     share_try(share)                       a token: one server connection more, for all of them
 *     share_return(share)
 *     share_is_wanted(share, seen)           somebody else found none: idle ones should make room
 *
 * The file, which lives in memory (/run), is
 *
 *     head      what it is
 *     seats     SHARE_SEATS of them, one for each process: how often others wanted a token
 *     tokens    SHARE_TOKENS_MAX words: 0 is free, else the number of the seat that has it
 *
 * A token is taken and given back by one compare-and-swap, and there are as many as connections
 * are allowed; so the sum is right at any time, whatever happens in between.
 *
 * Whoever dies leaves tokens behind. Each process holds a lock of the kernel on the byte of its
 * seat in the file, which ends with it, kill -9 included. Who finds no free token tries to lock the
 * seats that tokens are held by: a lock that is granted is one of somebody dead, and while it is
 * held nobody can sit down there and all its tokens are freed. The same happens to a seat before it
 * is taken. So no token of a living process is ever freed by another.
 *
 * Invariants
 *  1. No more tokens are held than the largest number of connections that one of the processes was
 *     told.
 *  2. What the file holds is not believed: a number that is no seat's is a free token.
 *
 * Connecting is what needs a token, so the path of a query never comes here. share_is_wanted() is
 * for all threads; the others are called under proxy->lock.
 */
#ifndef HF_PROXY_SHARE_H
#define HF_PROXY_SHARE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "os/mem.h"

#define SHARE_SEATS      64
#define SHARE_TOKENS_MAX 100000

struct share_file;

struct share {
    struct share_file *file; /* mapped; NULL: there is no shared budget */
    struct mem *mem;
    int fd;
    uint32_t seat;        /* from 1 on */
    uint32_t connections; /* how many tokens count */
    uint32_t held_count;
    uint32_t *held; /* which ones are ours */
    uint32_t next;  /* where the search for a free one begins */
};

/* Makes the file if it is missing. HF_RC_LIMIT: every seat is taken; HF_RC_INVALID: it is some
 * other file. */
enum hf_rc share_open(struct share *share, const char *path, uint32_t connections, struct mem *mem,
                      struct hf_err *err) HF_MUST_USE;
/* Gives everything back. */
void share_close(struct share *share);

/* Another number of connections, from a reload. Those above it are given back as they end. */
void share_resize(struct share *share, uint32_t connections);

/* False: all processes together have as many as they may, and the others are told. */
bool share_try(struct share *share);
void share_return(struct share *share);

/* How many all of them have now; a walk over the tokens. */
uint32_t share_used(const struct share *share);

/* True once for each `seen` after somebody else found no token. */
bool share_is_wanted(const struct share *share, uint32_t *seen);

#endif
