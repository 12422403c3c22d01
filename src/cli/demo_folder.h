/*
 * The demo's folder: whose it is, who may use it, what may be deleted.
 *
 *     DIR/holdfast-demo      the marker: this folder is ours, and what is in it may be deleted
 *     DIR/lock               locked by the demo that runs, with its process number inside
 *     DIR/ports              which server had which port, to have it again
 *     DIR/password           of the role "demo"; for us
 *     DIR/passfile           the same for psql, readable for whoever started the demo
 *     DIR/socket/            unix sockets, closed to others: who gets here needs no password
 *     DIR/log/NAME.log       of each server
 *     DIR/NAME/              a server's data; NAME.new while it is being made
 *
 * Invariants
 *   1. Nothing is written into, or deleted from, a folder that is not empty and lacks the marker.
 *   2. One demo uses a folder at a time. The lock is the kernel's, so it ends with its holder
 *      whatever the end, and the number in it is only for the message.
 *   3. PostgreSQL does not run as root, and neither does anything here: started by root, the demo
 *      prepares the folder, gives it to the user "postgres" and becomes that user for good. A
 *      planted link in the folder can then reach no further than that user could.
 */
#ifndef HF_CLI_DEMO_FOLDER_H
#define HF_CLI_DEMO_FOLDER_H

#include <limits.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/secret.h"
#include "os/child.h"

/* A socket's name must fit 107 bytes: this, "/socket", "/.s.PGSQL.17432". */
#define DEMO_FOLDER_SIZE 86

struct demo_folder {
    char path[DEMO_FOLDER_SIZE]; /* absolute */
    struct child_user owner;     /* who the servers run as, and by now this process */
    int lock_fd;                 /* owned; -1: not locked */
    int passfile_fd;             /* owned; -1: none of another user was prepared */
    bool is_root_demo;           /* root started it */
};

/* Finds the folder ("": the default for this user), makes it or takes an empty one, becomes its
 * user, locks and marks it. On failure nothing is locked. */
enum hf_rc HF_MUST_USE demo_folder_open(struct demo_folder *folder, const char *path,
                                        struct hf_err *err);

/* Lets the next one in. */
void demo_folder_close(struct demo_folder *folder);

/* Deletes everything but marker and lock. */
enum hf_rc HF_MUST_USE demo_folder_empty(const struct demo_folder *folder, struct hf_err *err);

/* DIR/name. Returns out. */
char *demo_folder_path(const struct demo_folder *folder, const char *name, char out[PATH_MAX]);

/* Reads the password, or makes one: `*is_new` then, and the server has to be told. */
enum hf_rc HF_MUST_USE demo_folder_password(const struct demo_folder *folder,
                                            struct secret *password, bool *is_new,
                                            struct hf_err *err);

/* Writes the passfile for psql. */
enum hf_rc HF_MUST_USE demo_folder_write_passfile(struct demo_folder *folder,
                                                  const struct secret *password,
                                                  struct hf_err *err);

#endif
