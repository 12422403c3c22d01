#include "proxy/statement_note.h"

#include "proxy/client.h"
#include "proxy/pool.h"
#include "proxy/worker.h"
#include "sql/shape.h"
#include "wire/message.h"
#include "wire/prepared.h"

/* Hashes are for logs, which are compared over restarts and instances; so the key is no secret. */
#define SHAPE_SEED 1

/* How the client's server reads a text. False: it cannot be read here. */
static bool rules_of(const struct client *client, struct lex_rules *rules)
{
    struct proxy *proxy = client->worker->proxy;
    pthread_mutex_lock(&proxy->lock);
    struct sv escapes =
        settings_find(&proxy->settings, client->told, SV("standard_conforming_strings"));
    struct sv encoding = settings_find(&proxy->settings, client->told, SV("client_encoding"));
    *rules = (struct lex_rules){.backslash_escapes = sv_eq(escapes, SV("off"))};
    bool is_safe = encoding.data == NULL || lex_encoding_is_safe(encoding);
    pthread_mutex_unlock(&proxy->lock);
    return is_safe;
}

/* Up to the first zero byte. */
static struct sv word_of(struct sv *rest)
{
    size_t end = sv_find(*rest, '\0');
    struct sv word = sv_take(*rest, end);
    *rest = sv_drop(*rest, end + 1);
    return word;
}

/* The text of a statement that the client has prepared under this name, copied. */
static struct sv prepared_text(const struct client *client, struct sv name, char *copy,
                               bool *is_cut)
{
    struct proxy *proxy = client->worker->proxy;
    uint16_t index = prepared_client_find(client->prepared, &proxy->hash_key, name);
    if (index == PREPARED_NO_NAME)
        return sv_from(NULL, 0);
    pthread_mutex_lock(&proxy->lock);
    struct sv text = statements_get(&proxy->statements, client->prepared->names[index].id).text;
    *is_cut = text.size > STATEMENT_TEXT_SIZE;
    text = sv_take(text, STATEMENT_TEXT_SIZE);
    memcpy(copy, text.data, text.size);
    pthread_mutex_unlock(&proxy->lock);
    return sv_from(copy, text.size);
}

/* Without what was not certain: a token that reaches to the end of a text that was cut. */
static struct sv certain_part(struct sv text, bool is_cut, const struct lex_rules *rules)
{
    struct lex lex;
    struct lex_token token;
    size_t certain = 0;
    lex_init(&lex, text, rules);
    while (lex_next(&lex, &token) != LEX_END) {
        if (token.kind == LEX_OPEN_ENDED || (is_cut && token.end == text.size))
            return sv_take(text, certain);
        certain = token.end;
    }
    return sv_take(text, certain);
}

static void show_text(struct sv text, enum statement_show how, const struct lex_rules *rules,
                      struct statement_shown *out)
{
    char buffer[SHAPE_SIZE_MAX + 1];
    struct shape_key key = shape_key_from_seed(SHAPE_SEED);
    struct shape shape;
    shape_make(&shape, certain_part(text, out->is_cut, rules), rules, &key, buffer);
    out->shape[0] = shape.hash[0];
    out->shape[1] = shape.hash[1];
    struct sv shown = how == STATEMENT_FULL ? text : shape.text;
    if (how == STATEMENT_SHAPE && shape.state != SHAPE_OK)
        shown = sv_from(NULL, 0);
    out->is_cut = out->is_cut || shown.size > STATEMENT_TEXT_SIZE;
    shown = sv_take(shown, STATEMENT_TEXT_SIZE);
    if (shown.size > 0)
        memcpy(out->text, shown.data, shown.size);
    out->text[shown.size] = '\0';
    out->size = shown.size;
    out->is_known = true;
}

void statement_note_show(const struct client *client, const struct statement_note *note,
                         const char *bytes, enum statement_show how, struct statement_shown *out)
{
    char copy[STATEMENT_TEXT_SIZE];
    struct lex_rules rules;
    struct sv rest = sv_from(bytes, note->size), text;
    out->is_known = false;
    out->size = 0;
    out->text[0] = '\0';
    out->is_cut = note->is_cut;
    if (note->type == 0 || !rules_of(client, &rules))
        return;
    if (note->type != 'Q')
        (void)word_of(&rest); /* the statement's name, or the portal's */
    text = word_of(&rest);
    if (note->type == 'B')
        text = prepared_text(client, text, copy, &out->is_cut);
    if (text.data != NULL)
        show_text(text, how, &rules, out);
}

void statement_note_waiting(const struct client *client, struct statement_shown *out)
{
    char bytes[STATEMENT_TEXT_SIZE];
    struct statement_note note = {0};
    struct frame frame = client->frame; /* what is only looked at is not taken */
    struct frame_part part;
    if (frame_look(&frame, stream_view(&client->stream), &part) == FRAME_PART && part.is_first)
        statement_note_take(&note, bytes, sizeof bytes, &part);
    statement_note_show(client, &note, bytes, STATEMENT_SHAPE, out);
}
