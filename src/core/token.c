/*
 * A promise as text. The checksum is SipHash with a key that everybody knows, folded to 32 bits: it
 * finds damage as well as any, and is there already.
 */
#include "core/token.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/ns.h"

#define TOKEN_FIELDS 5 /* version, system, timeline, position, checksum */

static const struct sv token_version = SV_INIT("h1");

bool token_settle(struct route_promise *promise, const struct snapshot *view)
{
    if (promise->lsn != 0 || promise->written_at_ns == 0)
        return true;
    uint64_t lsn = snapshot_lsn_after(view, promise->written_at_ns);
    if (lsn == 0)
        return false;
    promise->lsn = lsn;
    promise->timeline = view->timeline;
    return true;
}

static uint32_t checksum_of(struct sv text)
{
    static const struct hash_key key = {UINT64_C(0x686f6c6466617374), UINT64_C(0x70726f6d69736531)};
    uint64_t hash = hash_bytes(&key, text);
    return (uint32_t)(hash ^ hash >> 32);
}

static void print(uint64_t system_id, uint32_t timeline, uint64_t lsn, char out[TOKEN_BYTES])
{
    int size = snprintf(out, TOKEN_BYTES, SV_FMT ".%" PRIx64 ".%" PRIx32 ".%" PRIx64,
                        SV_ARG(token_version), system_id, timeline, lsn);
    uint32_t checksum = checksum_of(sv_from(out, (size_t)size));
    snprintf(out + size, TOKEN_BYTES - (size_t)size, ".%08" PRIx32, checksum);
}

enum hf_rc token_write(const struct route_promise *promise, uint64_t system_id,
                       char out[TOKEN_BYTES], struct hf_err *err)
{
    out[0] = '\0';
    if (promise->lsn == 0 && promise->written_at_ns != 0) {
        err_set(err, HF_RC_AGAIN, "55000",
                "could not make a token: the position of the session's "
                "last write is not known yet");
        return err_hint(err, "Ask again after the next look at the primary.");
    }
    print(system_id, promise->lsn != 0 ? promise->timeline : 0, promise->lsn, out);
    return HF_OK;
}

/* A hexadecimal number of at most `digits` digits, as print() writes it. */
static bool read_number(struct sv text, size_t digits, uint64_t *out)
{
    uint64_t number = 0;
    if (text.size == 0 || text.size > digits || (text.size > 1 && text.data[0] == '0'))
        return false;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool is_letter = c >= 'a' && c <= 'f';
        if (!is_letter && (c < '0' || c > '9'))
            return false;
        number = number << 4 | (uint64_t)(is_letter ? c - 'a' + 10 : c - '0');
    }
    *out = number;
    return true;
}

static enum hf_rc is_none(struct sv text, const char *why, struct hf_err *err)
{
    err_set(err, HF_RC_INVALID, "22023", "invalid session token: %s", why);
    return err_detail(err, "The token is \"" SV_FMT "\".", SV_ARG(text));
}

static enum hf_rc of_another_cluster(uint64_t theirs, uint64_t ours, struct hf_err *err)
{
    err_set(err, HF_RC_INVALID, "22023", "invalid session token: it is of another cluster");
    return err_detail(err,
                      "The token's system identifier is %" PRIu64 ", this cluster's %" PRIu64 ".",
                      theirs, ours);
}

enum hf_rc token_read(struct sv text, uint64_t system_id, int64_t now_ns,
                      struct route_promise *promise, struct hf_err *err)
{
    struct sv field[TOKEN_FIELDS], rest = text = sv_trim(text);
    size_t count = 0;
    uint64_t system, timeline, lsn;
    char again[TOKEN_BYTES];
    if (text.size >= TOKEN_BYTES)
        return is_none(text, "it is too long", err);
    while (count < TOKEN_FIELDS && sv_split(&rest, '.', &field[count]))
        ++count;
    if (!sv_eq(field[0], token_version))
        return is_none(text, "it does not begin with \"h1.\"", err);
    if (count < TOKEN_FIELDS || rest.data != NULL || !read_number(field[1], 16, &system) ||
        !read_number(field[2], 8, &timeline) || !read_number(field[3], 16, &lsn))
        return is_none(text, "it is cut or mistyped", err);
    print(system, (uint32_t)timeline, lsn, again);
    if (!sv_eq(text, sv_from_cstr(again)) || (lsn == 0 && timeline != 0))
        return is_none(text, "its checksum does not fit", err);
    if (system != 0 && system_id != 0 && system != system_id)
        return of_another_cluster(system, system_id, err);
    *promise = (struct route_promise){0};
    if (lsn != 0)
        *promise = (struct route_promise){
            .lsn = lsn,
            .written_at_ns = now_ns,
            .timeline = (uint32_t)timeline,
        };
    return HF_OK;
}

static bool is_empty(const struct route_promise *promise)
{
    return promise->lsn == 0 && promise->written_at_ns == 0;
}

struct route_promise token_join(const struct route_promise *a, const struct route_promise *b,
                                int64_t now_ns)
{
    if (is_empty(a))
        return *b;
    if (is_empty(b))
        return *a;
    int64_t a_ns = a->written_at_ns != 0 ? a->written_at_ns : now_ns;
    int64_t b_ns = b->written_at_ns != 0 ? b->written_at_ns : now_ns;
    struct route_promise both = {.written_at_ns = ns_max(a_ns, b_ns)};
    if (a->lsn != 0 && b->lsn != 0) {
        both.lsn = a->lsn > b->lsn ? a->lsn : b->lsn;
        both.timeline = a->timeline > b->timeline ? a->timeline : b->timeline;
    }
    return both;
}
