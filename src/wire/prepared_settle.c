#include "wire/prepared.h"

#include "base/bug.h"
#include "wire/prepared_int.h"

/* ---- What became of them ---- */

static void release(const struct prepared *prepared, uint32_t id)
{
    if (id != STATEMENTS_NONE)
        statements_release(prepared->store, id);
}

/* A name that is undefined stays as long as a change speaks of it. */
static void tidy_name(const struct prepared *prepared, uint16_t name)
{
    if (name == PREPARED_NO_NAME || prepared_id_of_name(prepared, name) != STATEMENTS_NONE)
        return;
    for (uint32_t place = 0; place < prepared->server->changes_used; place++)
        if (prepared_server_change(prepared->server, place)->name == name)
            return;
    prepared_client_remove(prepared->client, prepared->key, name);
}

/* The oldest change, which must be the one with this tag. */
static struct prepared_change *first_change(const struct prepared *prepared, uint32_t tag)
{
    struct prepared_change *change = prepared_server_change(prepared->server, 0);
    hf_assert(change->tag == tag);
    return change;
}

/* The Parse of a name that the client had was meant to fail, and did not: what stood before it in
 * the pipeline has dropped all statements. So the client has the name anew, and the server the
 * statement. */
static void take_duplicate(const struct prepared *prepared, const struct prepared_change *change)
{
    if (prepared_server_find(prepared->server, change->id) == PREPARED_NO_SLOT) {
        uint16_t slot = prepared_server_add(prepared->server, change->id);
        prepared->server->slot[slot].is_noted =
            statements_get(prepared->store, change->id).is_noted;
        statements_hold(prepared->store, change->id);
    }
    if (change->name == PREPARED_NO_NAME)
        return;
    release(prepared, prepared_id_of_name(prepared, change->name));
    prepared->client->names[change->name].id = change->id;
    statements_hold(prepared->store, change->id);
}

void prepared_done(const struct prepared *prepared, uint32_t tag)
{
    const struct prepared_change change = *first_change(prepared, tag);
    prepared_server_pop(prepared->server);
    release(prepared, change.before);
    if ((change.bits & PREPARED_DUPLICATES) != 0)
        take_duplicate(prepared, &change);
    if ((change.bits & (PREPARED_EVICTS | PREPARED_DUPLICATES)) != 0)
        release(prepared, change.id);
    tidy_name(prepared, change.name);
}

/* The name is again what it was before the oldest change. Later ones of it will be dropped too: so
 * they have nothing to take back any more. */
static void restore_name(const struct prepared *prepared, const struct prepared_change *first)
{
    for (uint32_t place = 1; place < prepared->server->changes_used; place++) {
        struct prepared_change *change = prepared_server_change(prepared->server, place);
        if (!prepared_changes_name(change, first->name))
            continue;
        release(prepared, change->before);
        change->before = STATEMENTS_NONE;
        change->bits &= (uint16_t)~PREPARED_NAME_BITS;
    }
    release(prepared, prepared_id_of_name(prepared, first->name));
    prepared->client->names[first->name].id = first->before;
}

/* The same for the statement on the server. */
static void restore_statement(const struct prepared *prepared, const struct prepared_change *first)
{
    struct prepared_server *server = prepared->server;
    for (uint32_t place = 1; place < server->changes_used; place++) {
        struct prepared_change *change = prepared_server_change(server, place);
        if (!prepared_changes_id(change, first->id))
            continue;
        if ((change->bits & PREPARED_EVICTS) != 0)
            release(prepared, change->id);
        change->bits &= (uint16_t)~PREPARED_SERVER_BITS;
    }
    uint16_t slot = prepared_server_find(server, first->id);
    if (slot != PREPARED_NO_SLOT) {
        prepared_server_remove(server, slot);
        release(prepared, first->id);
    }
    if ((first->bits & PREPARED_EVICTS) == 0)
        return;
    slot = prepared_server_add(server, first->id);
    server->slot[slot].is_stale = (first->bits & PREPARED_WAS_STALE) != 0;
    server->slot[slot].is_noted = statements_get(prepared->store, first->id).is_noted;
}

void prepared_undone(const struct prepared *prepared, uint32_t tag)
{
    const struct prepared_change change = *first_change(prepared, tag);
    if ((change.bits & PREPARED_NAME_BITS) != 0)
        restore_name(prepared, &change);
    if ((change.bits & PREPARED_SERVER_BITS) != 0)
        restore_statement(prepared, &change);
    if ((change.bits & PREPARED_DUPLICATES) != 0)
        release(prepared, change.id);
    prepared_server_pop(prepared->server);
    tidy_name(prepared, change.name);
}

/* The error that the client gets in place of one that we have provoked. */
static bool is_replaced(const struct prepared *prepared, const struct prepared_change *change,
                        const struct message_error *error, struct hf_err *err)
{
    bool is_missing = sv_eq(error->sqlstate, SV("26000"));
    bool is_there = sv_eq(error->sqlstate, SV("42P05"));
    if ((change->bits & PREPARED_DUPLICATES) != 0 && is_there && prepared->client != NULL) {
        struct sv name = prepared_client_name(prepared->client, change->name);
        err_set(err, HF_RC_INVALID, "42P05", "prepared statement \"%.*s\" already exists",
                (int)name.size, name.data);
        return true;
    }
    if ((change->bits & PREPARED_REFUSES_NAME) != 0 && is_missing) {
        err_set(err, HF_RC_LIMIT, "53400", "too many prepared statements");
        err_detail(err, "A client may have %u of them.", (unsigned)prepared->names_max);
        err_hint(err, "Close those that are not needed any more.");
        return true;
    }
    if ((change->bits & PREPARED_REFUSES_TEXT) != 0 && is_missing) {
        err_set(err, HF_RC_LIMIT, "53200", "out of memory for prepared statements");
        err_detail(err, "All clients together have %u different statements.",
                   (unsigned)prepared->store->count);
        err_hint(err, "Close those that are not needed any more, or pass values as parameters.");
        return true;
    }
    return false;
}

bool prepared_failed(const struct prepared *prepared, uint32_t tag,
                     const struct message_error *error, struct hf_err *err)
{
    bool is_ours = is_replaced(prepared, first_change(prepared, tag), error, err);
    prepared_undone(prepared, tag);
    return is_ours;
}

bool prepared_is_stale(const struct message_error *error)
{
    if (sv_eq(error->sqlstate, SV("26000")))
        return true;
    if (!sv_eq(error->sqlstate, SV("0A000")))
        return false;
    /* The routine is the same in every language. */
    return sv_eq(error->routine, SV("RevalidateCachedQuery")) ||
           sv_eq(error->message, SV("cached plan must not change result type"));
}

void prepared_forget(struct prepared_server *server, uint32_t tag)
{
    uint32_t id = tag & ~PREPARED_TAG_USE;
    if (!prepared_is_use(tag))
        return;
    uint16_t slot = prepared_server_find(server, id);
    if (slot != PREPARED_NO_SLOT)
        server->slot[slot].is_stale = true;
    /* It may be closed behind the request that failed, and so come back. */
    for (uint32_t place = 0; place < server->changes_used; place++) {
        struct prepared_change *change = prepared_server_change(server, place);
        if (change->id == id && (change->bits & PREPARED_EVICTS) != 0)
            change->bits |= PREPARED_WAS_STALE;
    }
}

/* ---- Names given and taken by SQL ---- */

bool prepared_is_defined(const struct prepared *prepared, struct sv name)
{
    uint16_t index = prepared_client_find(prepared->client, prepared->key, name);
    return prepared_id_of_name(prepared, index) != STATEMENTS_NONE;
}

void prepared_define(const struct prepared *prepared, struct sv name, uint32_t id)
{
    uint16_t index = prepared_client_find(prepared->client, prepared->key, name);
    hf_assert(prepared->server == NULL || prepared->server->changes_used == 0);
    if (index == PREPARED_NO_NAME) {
        prepared_client_add(prepared->client, prepared->key, name, id);
        return;
    }
    release(prepared, prepared_id_of_name(prepared, index));
    prepared->client->names[index].id = id;
}

void prepared_undefine(const struct prepared *prepared, struct sv name)
{
    uint16_t index = prepared_client_find(prepared->client, prepared->key, name);
    hf_assert(prepared->server == NULL || prepared->server->changes_used == 0);
    if (index == PREPARED_NO_NAME)
        return;
    release(prepared, prepared_id_of_name(prepared, index));
    prepared_client_remove(prepared->client, prepared->key, index);
}

/* ---- Ends ---- */

bool prepared_is_discard(struct sv command)
{
    return sv_eq(command, SV("DISCARD ALL")) || sv_eq(command, SV("DEALLOCATE ALL"));
}

/* All unconfirmed changes were sent behind the command, so what they give stays, and what they take
 * is gone already. */
static void discard_before(const struct prepared *prepared, uint32_t place)
{
    struct prepared_change *change = prepared_server_change(prepared->server, place);
    bool is_first_of_name = (change->bits & PREPARED_UNDEFINES) != 0;
    bool is_first_of_id = (change->bits & PREPARED_EVICTS) != 0;
    for (uint32_t i = 0; i < place; i++) {
        const struct prepared_change *earlier = prepared_server_change(prepared->server, i);
        is_first_of_name = is_first_of_name && !prepared_changes_name(earlier, change->name);
        is_first_of_id = is_first_of_id && !prepared_changes_id(earlier, change->id);
    }
    if (is_first_of_name) {
        release(prepared, change->before);
        change->before = STATEMENTS_NONE;
    }
    if (is_first_of_id) {
        release(prepared, change->id);
        change->bits &= (uint16_t)~PREPARED_EVICTS;
    }
}

static void discard_names(const struct prepared *prepared)
{
    struct prepared_server *server = prepared->server;
    uint16_t name = PREPARED_NO_NAME;
    while ((name = prepared_client_next(prepared->client, name)) != PREPARED_NO_NAME) {
        bool is_kept = false;
        for (uint32_t place = 0; place < server->changes_used; place++) {
            const struct prepared_change *change = prepared_server_change(server, place);
            is_kept = is_kept || prepared_changes_name(change, name);
        }
        if (is_kept)
            continue;
        release(prepared, prepared_id_of_name(prepared, name));
        prepared->client->names[name].id = STATEMENTS_NONE;
        tidy_name(prepared, name);
    }
}

static void discard_statements(const struct prepared *prepared)
{
    struct prepared_server *server = prepared->server;
    uint16_t slot = server->oldest;
    while (slot != PREPARED_NO_SLOT) {
        uint16_t newer = server->slot[slot].newer;
        uint32_t id = server->slot[slot].id;
        if (!prepared_is_changing(server, id)) {
            prepared_server_remove(server, slot);
            release(prepared, id);
        }
        slot = newer;
    }
}

void prepared_discarded(const struct prepared *prepared)
{
    for (uint32_t place = 0; place < prepared->server->changes_used; place++)
        discard_before(prepared, place);
    if (prepared->client != NULL)
        discard_names(prepared);
    discard_statements(prepared);
}

void prepared_reset(const struct prepared *prepared)
{
    struct prepared_server *server = prepared->server;
    while (server->changes_used > 0)
        prepared_undone(prepared, prepared_server_change(server, 0)->tag);
    discard_statements(prepared);
    server->behind = 0;
}

/* Changes of names concern nobody any more, and those that are nothing else are not heard of again:
 * the others close ranks. */
static void forget_names(const struct prepared *prepared)
{
    struct prepared_server *server = prepared->server;
    uint32_t count = server->changes_used, kept = 0;
    for (uint32_t place = 0; place < count; place++) {
        struct prepared_change change = *prepared_server_change(server, place);
        release(prepared, change.before);
        change.before = STATEMENTS_NONE;
        change.name = PREPARED_NO_NAME;
        change.bits &= (uint16_t)~PREPARED_NAME_BITS;
        if ((change.bits & PREPARED_IS_LOCAL) == 0)
            *prepared_server_change(server, kept++) = change;
    }
    server->changes_used = (uint16_t)kept;
}

void prepared_leave(const struct prepared *prepared)
{
    const struct prepared_client *client = prepared->client;
    if (prepared->server != NULL)
        forget_names(prepared);
    if (client == NULL)
        return;
    uint16_t name = PREPARED_NO_NAME;
    while ((name = prepared_client_next(client, name)) != PREPARED_NO_NAME)
        release(prepared, client->names[name].id);
}
