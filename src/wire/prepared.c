#include "wire/prepared.h"

#include <string.h>

#include "base/bug.h"
#include "wire/build.h"
#include "wire/prepared_int.h"

/* How many changes, and requests, one message can lead to: a Close and a Parse of ours, and it. */
#define CHANGES_EACH 3

/* What the names that we give to servers begin with, and the only one that none has. */
#define PREFIX "hf_"

/* ---- Names on servers ---- */

static void set_server_name(struct prepared_plan *plan, uint32_t id)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    char backwards[PREPARED_SERVER_NAME_SIZE];
    size_t count = 0, size = sizeof PREFIX - 1;
    do {
        backwards[count++] = digits[id % 36];
        id /= 36;
    } while (id > 0);
    memcpy(plan->server_name, PREFIX, size);
    while (count > 0)
        plan->server_name[size++] = backwards[--count];
    plan->server_name_size = (uint8_t)size;
}

/* The id that a name of ours would have, or STATEMENTS_NONE. */
static uint32_t id_in_server_name(struct sv name)
{
    struct prepared_plan plan;
    uint64_t id = 0;
    struct sv digits = sv_drop(name, sizeof PREFIX - 1);
    if (!sv_starts_with(name, SV(PREFIX)) || digits.size == 0 || digits.size > 6)
        return STATEMENTS_NONE;
    for (size_t i = 0; i < digits.size; i++) {
        char c = digits.data[i];
        if (c >= '0' && c <= '9')
            id = id * 36 + (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'z')
            id = id * 36 + (uint64_t)(c - 'a') + 10;
        else
            return STATEMENTS_NONE;
    }
    if (id >= STATEMENTS_MAX)
        return STATEMENTS_NONE;
    /* Not one with zeros in front. */
    set_server_name(&plan, (uint32_t)id);
    return sv_eq(prepared_plan_name(&plan), name) ? (uint32_t)id : STATEMENTS_NONE;
}

/* ---- What is there, and how certain ---- */

/* A part of the pipeline before the last Sync or Query has changed the name or the statement, and
 * it is not known yet whether that came to pass. */
static bool is_unsettled(const struct prepared *prepared, uint16_t name, uint32_t id)
{
    struct prepared_server *server = prepared->server;
    for (uint32_t place = 0; place < server->changes_used; place++) {
        const struct prepared_change *change = prepared_server_change(server, place);
        if (change->segment == server->segment)
            return false;
        if (prepared_changes_name(change, name) || prepared_changes_id(change, id))
            return true;
    }
    return false;
}

/* A Sync or Query was not answered: a part of the pipeline before this one may still fail, or drop
 * all statements. */
static bool is_behind(const struct prepared *prepared)
{
    return prepared->server->behind > 0 &&
           replies_room(prepared->replies) < prepared->replies->capacity;
}

/* The server would not find the transaction failed. Where the statement was sent in this very part
 * of the pipeline, it would skip the rest if it did. */
static bool is_harmless(const struct prepared *prepared, uint32_t id)
{
    bool is_known = !is_behind(prepared) && prepared->replies->status != 'E';
    return is_known || prepared_is_changing(prepared->server, id);
}

/* The server has it, and as it should be. */
static bool is_ready(const struct prepared_server *server, uint16_t slot)
{
    return slot != PREPARED_NO_SLOT && !server->slot[slot].is_stale;
}

/* How many statements the server may have when all is settled. Those that were closed before the
 * last Sync may come back, while what is sent now stays. */
static uint32_t count_at_most(struct prepared_server *server)
{
    uint32_t count = server->count;
    for (uint32_t place = 0; place < server->changes_used; place++) {
        const struct prepared_change *change = prepared_server_change(server, place);
        count += change->segment != server->segment && (change->bits & PREPARED_EVICTS) != 0;
    }
    return count;
}

/* The statement to be closed for one more: the one used longest ago of those without a change.
 * False if there is none. STATEMENTS_NONE: none need be closed. */
static bool find_victim(struct prepared_server *server, uint32_t *id)
{
    *id = STATEMENTS_NONE;
    if (count_at_most(server) < server->statements_max)
        return true;
    uint16_t slot = server->oldest;
    while (slot != PREPARED_NO_SLOT && prepared_is_changing(server, server->slot[slot].id))
        slot = server->slot[slot].newer;
    if (slot == PREPARED_NO_SLOT)
        return false;
    *id = server->slot[slot].id;
    return true;
}

/* ---- Plans ---- */

static void ask(struct prepared_plan *plan, char type, enum replies_whose whose, uint32_t tag)
{
    plan->requests[plan->count++] =
        (struct replies_request){.type = type, .target = 'S', .whose = whose, .tag = tag};
}

static enum prepared_do pass(struct prepared_plan *plan, char type, char target)
{
    ask(plan, type, REPLIES_CLIENT, 0);
    plan->requests[0].target = target;
    return PREPARED_PASS;
}

/* What a message that is not passed anyway needs: the server does not skip it, and there is room
 * for all that can come of it. PREPARED_LOCAL: so far, so good. */
static enum prepared_do begin(const struct prepared *prepared, struct prepared_plan *plan,
                              struct sv name, char type)
{
    *plan = (struct prepared_plan){0};
    hf_assert(prepared->server != NULL);
    if (name.size == 0 || prepared->replies->is_skipping)
        return pass(plan, type, 'S');
    if (prepared_server_room(prepared->server) < CHANGES_EACH ||
        replies_room(prepared->replies) < CHANGES_EACH)
        return PREPARED_WAIT;
    return PREPARED_LOCAL;
}

static size_t size_of_close(uint32_t id)
{
    struct prepared_plan plan;
    set_server_name(&plan, id);
    return FRAME_HEADER_SIZE + 1 + prepared_plan_name(&plan).size + 1;
}

static size_t size_of_parse(struct statement statement, struct sv name)
{
    return FRAME_HEADER_SIZE + name.size + 1 + statement.text.size + 1 + 2 + statement.types.size;
}

static void put_close(const struct prepared *prepared, uint32_t id)
{
    struct prepared_plan plan;
    set_server_name(&plan, id);
    enum hf_rc rc = build_close_statement(prepared->ahead, prepared_plan_name(&plan));
    hf_assert(rc == HF_OK);
}

static void put_parse(const struct prepared *prepared, struct statement statement, struct sv name)
{
    struct build build = build_begin(prepared->ahead, 'P');
    build_cstr(&build, name);
    build_cstr(&build, statement.text);
    build_u16(&build, (uint16_t)(statement.types.size / 4));
    build_bytes(&build, statement.types);
    enum hf_rc rc = build_end(&build);
    hf_assert(rc == HF_OK);
}

/* The server loses a statement. */
static void evict(const struct prepared *prepared, struct prepared_plan *plan, uint32_t id)
{
    struct prepared_server *server = prepared->server;
    uint16_t slot = prepared_server_find(server, id);
    uint16_t stale = server->slot[slot].is_stale ? PREPARED_WAS_STALE : 0;
    struct prepared_change *change =
        prepared_server_push(server, (uint16_t)(PREPARED_EVICTS | stale));
    change->id = id; /* held by the change now */
    prepared_server_remove(server, slot);
    put_close(prepared, id);
    ask(plan, 'C', REPLIES_STANDIN, change->tag);
}

/* Sees to it that the server, when the client's message comes, lacks one statement
 * (STATEMENTS_NONE: none) and then has another one (none). PREPARED_LOCAL: so be it. */
static enum prepared_do go_ahead(const struct prepared *prepared, struct prepared_plan *plan,
                                 uint32_t lacked, uint32_t added)
{
    struct statement statement = {0};
    size_t size = 0;
    if (lacked != STATEMENTS_NONE)
        size += size_of_close(lacked);
    if (added != STATEMENTS_NONE) {
        statement = statements_get(prepared->store, added);
        size += size_of_parse(statement, prepared_plan_name(plan));
    }
    if (buffer_free(prepared->ahead) < size) {
        plan->size = size;
        return PREPARED_ROOM;
    }
    if (lacked != STATEMENTS_NONE)
        evict(prepared, plan, lacked);
    if (added == STATEMENTS_NONE)
        return PREPARED_LOCAL;
    struct prepared_change *change = prepared_server_push(prepared->server, PREPARED_ADDS);
    change->id = added;
    statements_hold(prepared->store, added);
    plan->is_noted = statement.is_noted;
    uint16_t slot = prepared_server_add(prepared->server, added);
    prepared->server->slot[slot].is_noted = statement.is_noted;
    put_parse(prepared, statement, prepared_plan_name(plan));
    ask(plan, 'P', REPLIES_STANDIN, change->tag);
    return PREPARED_LOCAL;
}

/* What must be closed before a statement is prepared: itself if it is there, else maybe another. */
static bool find_lacked(struct prepared_server *server, uint32_t id, uint32_t *lacked)
{
    if (prepared_server_find(server, id) == PREPARED_NO_SLOT)
        return find_victim(server, lacked);
    *lacked = id;
    return true;
}

/* The server will have the statement, as it should be. */
static enum prepared_do provide(const struct prepared *prepared, struct prepared_plan *plan,
                                uint32_t id)
{
    uint16_t slot = prepared_server_find(prepared->server, id);
    uint32_t lacked;
    if (is_ready(prepared->server, slot)) {
        prepared_server_touch(prepared->server, slot);
        plan->is_noted = prepared->server->slot[slot].is_noted;
        return PREPARED_LOCAL;
    }
    if (prepared->store == NULL)
        return PREPARED_STORE;
    if (!find_lacked(prepared->server, id, &lacked))
        return PREPARED_WAIT;
    return go_ahead(prepared, plan, lacked, id);
}

/* ---- Bind and Describe ---- */

/* A name that the client does not have: the server shall say so, even if it has a statement of ours
 * that is called so. */
static enum prepared_do use_unknown(const struct prepared *prepared, struct sv name, char type,
                                    struct prepared_plan *plan)
{
    uint32_t id = id_in_server_name(name);
    if (is_unsettled(prepared, PREPARED_NO_NAME, id))
        return PREPARED_WAIT;
    if (id != STATEMENTS_NONE && prepared_server_find(prepared->server, id) != PREPARED_NO_SLOT) {
        enum prepared_do todo = go_ahead(prepared, plan, id, STATEMENTS_NONE);
        if (todo != PREPARED_LOCAL)
            return todo;
    }
    ask(plan, type, REPLIES_CLIENT, 0);
    return PREPARED_PASS;
}

static enum prepared_do use(const struct prepared *prepared, struct sv name, char type,
                            struct prepared_plan *plan)
{
    enum prepared_do todo = begin(prepared, plan, name, type);
    if (todo != PREPARED_LOCAL)
        return todo;
    uint16_t index = prepared_client_find(prepared->client, prepared->key, name);
    uint32_t id = prepared_id_of_name(prepared, index);
    if (is_unsettled(prepared, index, id))
        return PREPARED_WAIT;
    if (id == STATEMENTS_NONE)
        return use_unknown(prepared, name, type, plan);
    set_server_name(plan, id);
    todo = provide(prepared, plan, id);
    if (todo != PREPARED_LOCAL)
        return todo;
    ask(plan, type, REPLIES_CLIENT, PREPARED_TAG_USE | id);
    return PREPARED_RENAME;
}

enum prepared_do prepared_bind(const struct prepared *prepared, const struct message_bind *bind,
                               struct prepared_plan *plan)
{
    return use(prepared, bind->statement, 'B', plan);
}

enum prepared_do prepared_describe(const struct prepared *prepared,
                                   const struct message_target *target, struct prepared_plan *plan)
{
    if (target->kind == 'S')
        return use(prepared, target->name, 'D', plan);
    *plan = (struct prepared_plan){0};
    return pass(plan, 'D', target->kind);
}

/* ---- Close ---- */

enum prepared_do prepared_close(const struct prepared *prepared,
                                const struct message_target *target, struct prepared_plan *plan)
{
    if (target->kind != 'S') {
        *plan = (struct prepared_plan){0};
        return pass(plan, 'C', target->kind);
    }
    enum prepared_do todo = begin(prepared, plan, target->name, 'C');
    if (todo != PREPARED_LOCAL)
        return todo;
    uint16_t name = prepared_client_find(prepared->client, prepared->key, target->name);
    uint32_t id = prepared_id_of_name(prepared, name), tag = 0;
    if (is_unsettled(prepared, name, STATEMENTS_NONE))
        return PREPARED_WAIT;
    if (id != STATEMENTS_NONE) {
        struct prepared_change *change =
            prepared_server_push(prepared->server, PREPARED_UNDEFINES | PREPARED_IS_LOCAL);
        change->name = name;
        change->before = id;
        prepared->client->names[name].id = STATEMENTS_NONE;
        tag = change->tag;
    }
    ask(plan, 'C', REPLIES_LOCAL, tag);
    return PREPARED_LOCAL;
}

/* ---- Parse ---- */

/* It must fail in its turn, and so a Describe that must fail goes in its place. */
static enum prepared_do refuse(const struct prepared *prepared, struct prepared_plan *plan,
                               uint16_t why)
{
    plan->size = FRAME_HEADER_SIZE + 1 + sizeof PREFIX;
    if (buffer_free(prepared->ahead) < plan->size)
        return PREPARED_ROOM;
    struct build build = build_begin(prepared->ahead, 'D');
    build_u8(&build, 'S');
    build_cstr(&build, SV(PREFIX));
    enum hf_rc rc = build_end(&build);
    hf_assert(rc == HF_OK);
    ask(plan, 'P', REPLIES_CLIENT, prepared_server_push(prepared->server, why)->tag);
    return PREPARED_INSTEAD;
}

/* The client has the name already: the server must have the text, and then refuse it. What would
 * make it wrong to have sent the text is waited for; few clients do this, and none often. */
static enum prepared_do parse_again(const struct prepared *prepared, uint16_t name, uint32_t id,
                                    struct prepared_plan *plan)
{
    if (is_behind(prepared))
        return PREPARED_WAIT;
    enum prepared_do todo = provide(prepared, plan, id);
    if (todo != PREPARED_LOCAL)
        return todo;
    struct prepared_change *change = prepared_server_push(prepared->server, PREPARED_DUPLICATES);
    change->name = name;
    change->id = id;
    statements_hold(prepared->store, id);
    ask(plan, 'P', REPLIES_CLIENT, change->tag);
    return PREPARED_RENAME;
}

/* The client gets a new name, and the server the statement unless it has it. */
static enum prepared_do parse_new(const struct prepared *prepared, struct sv text_of_name,
                                  uint16_t name, uint32_t id, struct prepared_plan *plan)
{
    struct prepared_server *server = prepared->server;
    uint16_t slot = prepared_server_find(server, id);
    uint16_t bits = PREPARED_DEFINES;
    if (is_ready(server, slot) && is_harmless(prepared, id)) {
        prepared_server_touch(server, slot);
        bits |= PREPARED_IS_LOCAL;
    } else {
        uint32_t lacked;
        if (!find_lacked(server, id, &lacked))
            return PREPARED_WAIT;
        enum prepared_do todo = go_ahead(prepared, plan, lacked, STATEMENTS_NONE);
        if (todo != PREPARED_LOCAL)
            return todo;
        slot = prepared_server_add(server, id);
        statements_hold(prepared->store, id);
        bits |= PREPARED_ADDS;
    }
    server->slot[slot].is_noted = statements_get(prepared->store, id).is_noted;
    if (name == PREPARED_NO_NAME)
        name = prepared_client_add(prepared->client, prepared->key, text_of_name, id);
    else
        prepared->client->names[name].id = id;
    statements_hold(prepared->store, id);
    struct prepared_change *change = prepared_server_push(server, bits);
    change->name = name;
    change->id = id;
    bool is_local = (bits & PREPARED_IS_LOCAL) != 0;
    ask(plan, 'P', is_local ? REPLIES_LOCAL : REPLIES_CLIENT, change->tag);
    return is_local ? PREPARED_LOCAL : PREPARED_RENAME;
}

/* There is place for one more name. PREPARED_LOCAL: so it is. */
static enum prepared_do make_place(const struct prepared *prepared, struct sv name,
                                   struct prepared_plan *plan)
{
    const struct prepared_client *client = prepared->client;
    uint16_t count = client != NULL ? client->count : 0;
    /* Some of the names may be on their way out. */
    if (count >= prepared->names_max && prepared->server->changes_used > 0)
        return PREPARED_WAIT;
    if (count >= prepared->names_max)
        return refuse(prepared, plan, PREPARED_REFUSES_NAME);
    if (prepared_client_fits(client, name))
        return PREPARED_LOCAL;
    plan->names = prepared_client_want(client, name);
    plan->size = prepared_client_size(plan->names);
    return PREPARED_GROW_NAMES;
}

enum prepared_do prepared_parse(const struct prepared *prepared, const struct message_parse *parse,
                                struct prepared_plan *plan)
{
    enum prepared_do todo = begin(prepared, plan, parse->name, 'P');
    if (todo != PREPARED_LOCAL)
        return todo;
    uint16_t name = prepared_client_find(prepared->client, prepared->key, parse->name);
    uint32_t id;
    if (is_unsettled(prepared, name, STATEMENTS_NONE))
        return PREPARED_WAIT;
    if (name == PREPARED_NO_NAME)
        todo = make_place(prepared, parse->name, plan);
    if (todo != PREPARED_LOCAL)
        return todo;
    if (prepared->store == NULL)
        return PREPARED_STORE;
    switch (statements_add(prepared->store, parse->text, parse->types, &id)) {
    case STATEMENTS_OK:
        if (prepared->is_noted)
            statements_note(prepared->store, id);
        break;
    case STATEMENTS_WANT:
        return PREPARED_GROW_STORE;
    case STATEMENTS_FULL:
        return refuse(prepared, plan, PREPARED_REFUSES_TEXT);
    }
    set_server_name(plan, id);
    if (is_unsettled(prepared, PREPARED_NO_NAME, id))
        todo = PREPARED_WAIT;
    else if (prepared_id_of_name(prepared, name) != STATEMENTS_NONE)
        todo = parse_again(prepared, name, id, plan);
    else
        todo = parse_new(prepared, parse->name, name, id, plan);
    /* Held until here, so that it was there to be looked at. */
    statements_release(prepared->store, id);
    return todo;
}
