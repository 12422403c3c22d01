#include "client/arrays.h"

static bool allocate(struct arrays *arrays, size_t count, struct mem *mem)
{
    arrays->mem = mem;
    arrays->types = mem_alloc_array(mem, count, sizeof *arrays->types);
    arrays->values = mem_alloc_array(mem, count, sizeof *arrays->values);
    arrays->lengths = mem_alloc_array(mem, count, sizeof *arrays->lengths);
    arrays->formats = mem_alloc_array(mem, count, sizeof *arrays->formats);
    return arrays->types != NULL && arrays->values != NULL && arrays->lengths != NULL &&
           arrays->formats != NULL;
}

bool arrays_make(struct arrays *arrays, const struct hf_params *params, struct mem *mem)
{
    size_t count = params != NULL ? params->count : 0;
    arrays->count = (int)count;
    arrays->mem = NULL;
    arrays->types = arrays->small_types;
    arrays->values = arrays->small_values;
    arrays->lengths = arrays->small_lengths;
    arrays->formats = arrays->small_formats;
    if (count > ARRAYS_SMALL && !allocate(arrays, count, mem)) {
        arrays_free(arrays);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const struct hf_param *p = &params->list[i];
        arrays->types[i] = p->type;
        arrays->values[i] = p->length < 0 ? NULL : p->value != NULL ? p->value : p->small;
        arrays->lengths[i] = p->length;
        arrays->formats[i] = p->format == HF_BINARY;
    }
    return true;
}

void arrays_free(struct arrays *arrays)
{
    if (arrays->mem == NULL)
        return;
    mem_free(arrays->mem, arrays->types);
    mem_free(arrays->mem, (void *)arrays->values);
    mem_free(arrays->mem, arrays->lengths);
    mem_free(arrays->mem, arrays->formats);
    arrays->mem = NULL;
}
