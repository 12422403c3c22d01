#include "client/statement_copy.h"

#include <string.h>

/* Bytes that a parameter points to. */
static size_t bytes_of(const struct hf_param *param)
{
    if (param->value == NULL || param->length < 0)
        return 0;
    return param->format == HF_BINARY ? (size_t)param->length : strlen(param->value) + 1;
}

struct statement_copy *statement_copy_new(struct mem *mem, const char *sql,
                                          const struct hf_params *params)
{
    size_t text_size = strlen(sql) + 1;
    size_t count = params != NULL ? params->count : 0;
    size_t size = sizeof(struct statement_copy) + count * sizeof(struct hf_param) + text_size;
    for (size_t i = 0; i < count; i++)
        size += bytes_of(&params->list[i]);
    struct statement_copy *copy = mem_alloc(mem, size);
    if (copy == NULL)
        return NULL;
    struct hf_param *list = (struct hf_param *)(void *)(copy + 1);
    char *at = (char *)(list + count);
    for (size_t i = 0; i < count; i++) {
        size_t bytes = bytes_of(&params->list[i]);
        list[i] = params->list[i];
        if (bytes > 0)
            list[i].value = memcpy(at, params->list[i].value, bytes);
        at += bytes;
    }
    copy->sql = memcpy(at, sql, text_size);
    copy->params = (struct hf_params){.list = list, .count = count};
    return copy;
}
