/*
 * What the console can do: one row for each command, and what carries it out.
 *
 * A command runs in the thread of who gave it. It says its answer (say_end, say_error), or sends a
 * gather round whose end does, or begins to wait: then the client's timer asks admin_command_poll()
 * until it is over, so that no loop ever waits. What is waited for can be given up: a cancel
 * request takes back what the command has begun, as PgBouncer does, and a client that goes leaves a
 * PAUSE in force, and takes a SUSPEND back.
 */
#ifndef HF_PROXY_ADMIN_COMMAND_H
#define HF_PROXY_ADMIN_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/sv.h"
#include "proxy/admin_words.h"

struct client;

enum admin_argument {
    ADMIN_ARGUMENT_NONE,
    ADMIN_ARGUMENT_MAY,  /* a database; without one, all */
    ADMIN_ARGUMENT_MUST, /* a database */
    ADMIN_ARGUMENT_WORD, /* something else, that the command looks at */
};

struct admin_command {
    const char *verb;
    const char *usage; /* behind the verb, in SHOW HELP */
    const char *sentence;
    enum admin_argument argument;
    bool is_for_all; /* for stats_users as well */
    bool is_ours;    /* PgBouncer has none of it */
    void (*run)(struct client *client, const struct admin_words *words);
};

/* By number, in the order of SHOW HELP; NULL behind the last one. SHOW is not among them. */
const struct admin_command *admin_command_at(size_t index);
/* NULL: there is none. */
const struct admin_command *admin_command_find(struct sv verb);

/* Looks whether the argument is as it should be and the client may, and runs it. */
void admin_command_run(struct client *client, const struct admin_command *command,
                       const struct admin_words *words);

/* What is waited for may be over. */
void admin_command_poll(struct client *client);
/* It is given up: by a cancel request, or (is_gone) because the client is gone. */
void admin_command_give_up(struct client *client, bool is_gone);

/* ---- in admin_command_pools.c ---- */

void admin_pause(struct client *client, const struct admin_words *words);
void admin_resume(struct client *client, const struct admin_words *words);
void admin_suspend(struct client *client, const struct admin_words *words);
void admin_reconnect(struct client *client, const struct admin_words *words);
void admin_kill(struct client *client, const struct admin_words *words);
void admin_kill_client(struct client *client, const struct admin_words *words);
void admin_disable(struct client *client, const struct admin_words *words);
void admin_enable(struct client *client, const struct admin_words *words);
void admin_wait_close(struct client *client, const struct admin_words *words);
void admin_pools_poll(struct client *client);
/* Opens what a PAUSE or SUSPEND of this client has closed, everywhere. */
void admin_pools_undo(struct client *client);
/* PAUSE of everything, for a shutdown: clients that wait go; admin_shutdown_closed() follows. */
void admin_pools_close(struct client *client);

/* ---- in admin_show_running.c ---- */

void admin_trace(struct client *client, const struct admin_words *words);
void admin_untrace(struct client *client, const struct admin_words *words);

/* ---- in admin_command.c ---- */

void admin_shutdown_closed(struct client *client);

#endif
