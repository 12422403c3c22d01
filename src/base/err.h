/*
 * hf_err: why something failed, in a form that a person, a log line and a PostgreSQL ErrorResponse
 * can all use.
 *
 * The caller owns it (stack or member, never heap). The lowest level that knows the reason fills
 * it, levels above may add context in front with err_while(), and only the top logs or answers it.
 * Text follows PostgreSQL's rules: message short, lower case, no full stop; detail facts and
 * numbers; hint advice. Too long text is cut, never lost to an overflow. `rc` is HF_OK only in an
 * hf_err that nobody filled.
 *
 *     if (units_parse_duration(sv_from_cstr(text), &wait_ns, err) != HF_OK)
 *         return err_while(err, "reading \"%s\"", key);
 */
#ifndef HF_BASE_ERR_H
#define HF_BASE_ERR_H

#include <stdbool.h>

/* What a caller must do with a failure is part of its type. */
enum hf_rc {
    HF_OK = 0,
    HF_RC_INVALID, /* the input is wrong and will be wrong again */
    HF_RC_LIMIT,   /* a configured bound was reached */
    HF_RC_MISSING, /* something that must be there is not: file, program, user, package */
    HF_RC_DENIED,  /* the system refused permission */
    HF_RC_AGAIN,   /* could work next time: port taken, disk full, server starting */
    HF_RC_IO,      /* a system call or child process failed */
    HF_RC_PEER,    /* the other side said no, or spoke nonsense */
};

struct hf_err {
    enum hf_rc rc;
    char sqlstate[6];
    char message[256];
    char detail[256];
    char hint[256];
    const char *file; /* static: the place that filled it */
    int line;
};

/* Rarely run: kept apart from what is, so that the path of a call is short in the caches. */
#define HF_COLD              __attribute__((cold))
#define HF_MUST_USE          __attribute__((warn_unused_result))
#define HF_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Empties it. An hf_err need not be cleared before use: err_set() overwrites all fields. */
void err_clear(struct hf_err *err);

/* Fills rc, SQLSTATE (five characters; NULL means XX000) and message; empties detail and hint;
 * returns rc. `err` may be NULL: then only rc is returned, here and in the calls below. */
#define err_set(err, rc, sqlstate, ...)                                                            \
    err_set_at(err, rc, sqlstate, __FILE__, __LINE__, __VA_ARGS__)
HF_COLD enum hf_rc err_set_at(struct hf_err *err, enum hf_rc rc, const char *sqlstate,
                              const char *file, int line, const char *format, ...) HF_PRINTF(6, 7);

/* Replaces the detail or the hint; returns err->rc, so that `return err_hint(err, ...)` reads well.
 */
HF_COLD enum hf_rc err_detail(struct hf_err *err, const char *format, ...) HF_PRINTF(2, 3);
HF_COLD enum hf_rc err_hint(struct hf_err *err, const char *format, ...) HF_PRINTF(2, 3);

/* Puts "<context>: " in front of the message; returns err->rc. */
enum hf_rc err_while(struct hf_err *err, const char *format, ...) HF_PRINTF(2, 3);

#endif
