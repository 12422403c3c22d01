/*
 * The key of a session, which a cancel request must carry, comes in the message BackendKeyData.
 * libpq keeps it to itself: it hands out a PGcancel, whose only use is a call that blocks. But it
 * can be asked to write its messages down (PQtrace), and that is a documented interface: a line for
 * each message, with its name and its fields. So the key is read from there, and believed only if
 * the process number beside it is the one that PQbackendPID() tells. Where another libpq words it
 * differently the key stays unknown, and a session is closed instead of cancelled.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg/conn_int.h"

static const char key_message[] = "BackendKeyData";

static void read_line(struct conn *conn)
{
    const char *fields = strstr(conn->trace.line, key_message);
    if (fields == NULL)
        return;
    char *rest = NULL;
    const long pid = strtol(fields + sizeof key_message - 1, &rest, 10);
    char *end = NULL;
    const long secret = strtol(rest, &end, 10);
    if (end == rest)
        return;
    conn->key.pid = (uint32_t)pid;
    conn->key.secret = (uint32_t)secret;
    conn->key.is_known = true;
}

/* A line that is too long is none that we look for. */
static ssize_t hear(void *cookie, const char *bytes, size_t size)
{
    struct conn *conn = cookie;
    struct conn_trace *trace = &conn->trace;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '\n') {
            trace->line[trace->used] = '\0';
            read_line(conn);
            trace->used = 0;
        } else if (trace->used < sizeof trace->line - 1) {
            trace->line[trace->used++] = bytes[i];
        }
    }
    return (ssize_t)size;
}

void conn_trace_begin(struct conn *conn)
{
    conn->trace.stream = fopencookie(conn, "w", (cookie_io_functions_t){.write = hear});
    if (conn->trace.stream == NULL)
        return;
    PQtrace(conn->pg, conn->trace.stream);
    PQsetTraceFlags(conn->pg, PQTRACE_SUPPRESS_TIMESTAMPS);
}

bool conn_trace_end(struct conn *conn)
{
    if (conn->trace.stream == NULL)
        return false;
    PQuntrace(conn->pg);
    fclose(conn->trace.stream);
    explicit_bzero(&conn->trace, sizeof conn->trace);
    conn->key.is_known = conn->key.is_known && conn->key.pid == (uint32_t)PQbackendPID(conn->pg);
    conn->key.peer_size = sizeof conn->key.peer;
    if (conn->key.is_known && getpeername(PQsocket(conn->pg), (struct sockaddr *)&conn->key.peer,
                                          &conn->key.peer_size) != 0)
        conn->key.is_known = false;
    return conn->key.is_known;
}
