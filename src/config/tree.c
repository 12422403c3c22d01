/*
 * libyaml gives events with their places; a stack of open nodes makes the tree of them. Memory
 * comes in chunks that never move, as nobody knows beforehand how many nodes a text has.
 */
#include "config/tree.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/arena.h"
#include "base/bug.h"

#define CHUNK_SIZE ((size_t)32 << 10)

struct tree_chunk {
    struct tree_chunk *next;
    struct arena arena;
};

/* ---- memory ---- */

static void *alloc(struct tree *tree, size_t size, struct hf_err *err)
{
    struct tree_chunk *chunk = tree->chunks;
    void *memory =
        chunk != NULL ? arena_alloc(&chunk->arena, size, _Alignof(struct tree_node)) : NULL;
    if (memory == NULL) {
        const size_t room = size > CHUNK_SIZE ? size : CHUNK_SIZE;
        chunk = mem_alloc(tree->mem, sizeof *chunk + room);
        if (chunk == NULL) {
            mem_refused(tree->mem, room, err);
            return NULL;
        }
        _Static_assert(sizeof(struct tree_chunk) % _Alignof(struct tree_node) == 0,
                       "what is behind the struct is aligned for nodes");
        arena_init(&chunk->arena, chunk + 1, room);
        chunk->next = tree->chunks;
        tree->chunks = chunk;
        memory = arena_alloc(&chunk->arena, size, _Alignof(struct tree_node));
    }
    hf_assert(memory != NULL);
    memset(memory, 0, size);
    return memory;
}

static bool copy_text(struct tree *tree, const unsigned char *text, size_t size, struct sv *out,
                      struct hf_err *err)
{
    char *copy = alloc(tree, size + 1, err);
    if (copy == NULL)
        return false;
    memcpy(copy, text, size);
    *out = sv_from(copy, size);
    return true;
}

void tree_free(struct tree *tree)
{
    while (tree->chunks != NULL) {
        struct tree_chunk *chunk = tree->chunks;
        tree->chunks = chunk->next;
        explicit_bzero(chunk->arena.block, chunk->arena.size);
        mem_free(tree->mem, chunk);
    }
    tree->root = NULL;
}

/* ---- building ---- */

struct builder {
    struct tree *tree;
    struct tree_place *place;
    struct hf_err *err;
    struct tree_node *open[TREE_DEPTH_MAX]; /* maps and lists around the next node */
    struct tree_node *last[TREE_DEPTH_MAX]; /* the newest child of each */
    size_t depth;
    bool has_key; /* of the next node */
    struct sv key;
    struct tree_place key_place;
};

static struct tree_place place_of(yaml_mark_t mark)
{
    return (struct tree_place){(uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

static enum hf_rc refuse(struct builder *builder, struct tree_place place, const char *what,
                         const char *hint)
{
    *builder->place = place;
    err_set(builder->err, HF_RC_INVALID, "F0000", "%s", what);
    return err_hint(builder->err, "%s", hint);
}

static bool is_in_map(const struct builder *builder)
{
    return builder->depth > 0 && builder->open[builder->depth - 1]->kind == TREE_MAP;
}

/* NULL: err says why. */
static struct tree_node *add_node(struct builder *builder, enum tree_kind kind,
                                  struct tree_place place)
{
    if (builder->tree->nodes == TREE_NODES_MAX) {
        *builder->place = place;
        err_set(builder->err, HF_RC_LIMIT, "54000", "there are more than %d values",
                TREE_NODES_MAX);
        return NULL;
    }
    struct tree_node *node = alloc(builder->tree, sizeof *node, builder->err);
    if (node == NULL)
        return NULL;
    builder->tree->nodes++;
    *node = (struct tree_node){.kind = kind, .place = place};
    if (builder->depth == 0) {
        builder->tree->root = node;
    } else {
        const size_t top = builder->depth - 1;
        if (builder->last[top] == NULL)
            builder->open[top]->first = node;
        else
            builder->last[top]->next = node;
        builder->last[top] = node;
        builder->open[top]->count++;
    }
    if (is_in_map(builder)) {
        node->key = builder->key;
        node->key_place = builder->key_place;
        builder->has_key = false;
    }
    return node;
}

static enum hf_rc open_node(struct builder *builder, enum tree_kind kind, struct tree_place place)
{
    if (is_in_map(builder) && !builder->has_key)
        return refuse(builder, place, "a key must be a text", "Write KEY: VALUE.");
    if (builder->depth == TREE_DEPTH_MAX)
        return refuse(builder, place, "this is nested too deeply",
                      "No setting is so deep: is the indentation right?");
    struct tree_node *node = add_node(builder, kind, place);
    if (node == NULL)
        return builder->err->rc;
    builder->open[builder->depth] = node;
    builder->last[builder->depth] = NULL;
    builder->depth++;
    return HF_OK;
}

static enum hf_rc add_scalar(struct builder *builder, const yaml_event_t *event)
{
    const struct tree_place place = place_of(event->start_mark);
    struct sv text;
    if (!copy_text(builder->tree, event->data.scalar.value, event->data.scalar.length, &text,
                   builder->err))
        return builder->err->rc;
    if (memchr(text.data, '\0', text.size) != NULL)
        return refuse(builder, place, "there is a zero byte", "Remove it.");
    if (is_in_map(builder) && !builder->has_key) {
        builder->has_key = true;
        builder->key = text;
        builder->key_place = place;
        return HF_OK;
    }
    struct tree_node *node = add_node(builder, TREE_SCALAR, place);
    if (node == NULL)
        return builder->err->rc;
    node->text = text;
    node->is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return HF_OK;
}

/* ---- keys that come twice ---- */

/* What is sorted, to find neighbours of the same name. */
struct child {
    const struct tree_node *node;
};

static int order_places(struct tree_place a, struct tree_place b)
{
    if (a.line != b.line)
        return a.line < b.line ? -1 : 1;
    return (a.column > b.column) - (a.column < b.column);
}

static int order_keys(const void *a, const void *b)
{
    const struct tree_node *x = ((const struct child *)a)->node;
    const struct tree_node *y = ((const struct child *)b)->node;
    if (x->key.size != y->key.size)
        return x->key.size < y->key.size ? -1 : 1;
    const int order = memcmp(x->key.data, y->key.data, x->key.size);
    return order != 0 ? order : order_places(x->key_place, y->key_place);
}

static enum hf_rc refuse_twice(struct builder *builder, const struct tree_node *first,
                               const struct tree_node *second)
{
    *builder->place = second->key_place;
    err_set(builder->err, HF_RC_INVALID, "F0000", "\"" SV_FMT "\" comes twice",
            SV_ARG(second->key));
    return err_hint(builder->err, "It stands in line %u already.", (unsigned)first->key_place.line);
}

static enum hf_rc check_keys(struct builder *builder, const struct tree_node *map)
{
    if (map->count < 2)
        return HF_OK;
    struct child *sorted = mem_alloc_array(builder->tree->mem, map->count, sizeof sorted[0]);
    if (sorted == NULL)
        return mem_refused(builder->tree->mem, map->count * sizeof sorted[0], builder->err);
    size_t count = 0;
    for (const struct tree_node *node = map->first; node != NULL; node = node->next)
        sorted[count++].node = node;
    qsort(sorted, count, sizeof sorted[0], order_keys);
    enum hf_rc rc = HF_OK;
    for (size_t i = 1; i < count && rc == HF_OK; i++)
        if (sv_eq(sorted[i - 1].node->key, sorted[i].node->key))
            rc = refuse_twice(builder, sorted[i - 1].node, sorted[i].node);
    mem_free(builder->tree->mem, sorted);
    return rc;
}

/* ---- events ---- */

static enum hf_rc close_node(struct builder *builder)
{
    hf_assert(builder->depth > 0); /* libyaml pairs its events */
    const struct tree_node *node = builder->open[--builder->depth];
    return node->kind == TREE_MAP ? check_keys(builder, node) : HF_OK;
}

static const char *anchor_of(const yaml_event_t *event)
{
    const unsigned char *anchor = NULL;
    if (event->type == YAML_SCALAR_EVENT)
        anchor = event->data.scalar.anchor;
    else if (event->type == YAML_SEQUENCE_START_EVENT)
        anchor = event->data.sequence_start.anchor;
    else if (event->type == YAML_MAPPING_START_EVENT)
        anchor = event->data.mapping_start.anchor;
    return (const char *)anchor;
}

static const char *tag_of(const yaml_event_t *event)
{
    const unsigned char *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT)
        tag = event->data.scalar.tag;
    else if (event->type == YAML_SEQUENCE_START_EVENT)
        tag = event->data.sequence_start.tag;
    else if (event->type == YAML_MAPPING_START_EVENT)
        tag = event->data.mapping_start.tag;
    return (const char *)tag;
}

static enum hf_rc take_event(struct builder *builder, const yaml_event_t *event)
{
    const struct tree_place place = place_of(event->start_mark);
    if (event->type == YAML_ALIAS_EVENT || anchor_of(event) != NULL)
        return refuse(builder, place, "anchors and aliases are not supported",
                      "Write the value out; what all databases share belongs into pools.");
    if (tag_of(event) != NULL)
        return refuse(builder, place, "tags are not supported",
                      "A text that begins with ! needs quotes.");
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return builder->tree->root == NULL
                   ? HF_OK
                   : refuse(builder, place, "there is more than one document",
                            "Only one --- may stand here, at the top.");
    case YAML_SCALAR_EVENT:
        return add_scalar(builder, event);
    case YAML_SEQUENCE_START_EVENT:
        return open_node(builder, TREE_LIST, place);
    case YAML_MAPPING_START_EVENT:
        return open_node(builder, TREE_MAP, place);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return close_node(builder);
    case YAML_NO_EVENT:
    case YAML_ALIAS_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return HF_OK;
    }
    return HF_OK;
}

/* libyaml's words are its own; they are short, and they are what people search for. */
static enum hf_rc refuse_syntax(struct builder *builder, const yaml_parser_t *parser,
                                struct sv text)
{
    const char *problem = parser->problem != NULL ? parser->problem : "it cannot be read";
    if (parser->error == YAML_MEMORY_ERROR)
        return err_set(builder->err, HF_RC_AGAIN, "53200", "out of memory");
    if (parser->error == YAML_READER_ERROR) {
        *builder->place = (struct tree_place){0, 0};
        return err_set(builder->err, HF_RC_INVALID, "F0000", "byte %zu: %s",
                       parser->problem_offset + 1, problem);
    }
    *builder->place = place_of(parser->problem_mark);
    err_set(builder->err, HF_RC_INVALID, "F0000", "this is not YAML: %s", problem);
    const size_t at = parser->problem_mark.index;
    if (at < text.size && text.data[at] == '\t')
        return err_hint(builder->err, "A tab stands there: YAML is indented with spaces only.");
    if (parser->context != NULL)
        return err_hint(builder->err, "It happened %s that begins in line %zu.", parser->context,
                        parser->context_mark.line + 1);
    return err_hint(builder->err, "Look at indentation, colons and quotes above.");
}

enum hf_rc tree_read(struct tree *tree, struct sv text, struct mem *mem, struct tree_place *place,
                     struct hf_err *err)
{
    struct hf_err scratch;
    struct builder builder = {.tree = tree, .place = place, .err = err != NULL ? err : &scratch};
    *tree = (struct tree){.mem = mem};
    *place = (struct tree_place){0, 0};
    if (text.size > TREE_TEXT_MAX)
        return err_set(builder.err, HF_RC_LIMIT, "54000", "it has more than %zu bytes",
                       TREE_TEXT_MAX);
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0)
        return err_set(builder.err, HF_RC_AGAIN, "53200", "out of memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)sv_print_data(text), text.size);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    enum hf_rc rc = HF_OK;
    for (bool is_over = false; !is_over && rc == HF_OK;) {
        yaml_event_t event;
        if (yaml_parser_parse(&parser, &event) == 0) {
            rc = refuse_syntax(&builder, &parser, text);
            break;
        }
        is_over = event.type == YAML_STREAM_END_EVENT;
        rc = take_event(&builder, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return rc;
}

/* ---- looking ---- */

const struct tree_node *tree_find(const struct tree_node *map, struct sv key)
{
    if (map == NULL || map->kind != TREE_MAP)
        return NULL;
    for (const struct tree_node *node = map->first; node != NULL; node = node->next)
        if (sv_eq(node->key, key))
            return node;
    return NULL;
}

const char *tree_kind_name(enum tree_kind kind)
{
    static const char *const names[] = {"a text", "a list", "a map"};
    hf_assert(kind <= TREE_MAP);
    return names[kind];
}
