#include "config/faults.h"

#include <stdio.h>
#include <stdlib.h>

void faults_init(struct config_faults *faults)
{
    faults->count = 0;
    faults->total = 0;
}

enum hf_rc faults_add(struct config_faults *faults, struct tree_place place, const char *key,
                      const struct hf_err *err)
{
    const enum hf_rc rc = err->rc;
    faults->total++;
    if (faults->count == FAULTS_MAX)
        return rc;
    struct config_fault *fault = &faults->list[faults->count++];
    fault->place = place;
    fault->err = *err;
    snprintf(fault->key, sizeof fault->key, "%.*s", FAULTS_KEY_SIZE - 1, key);
    return rc;
}

enum hf_rc faults_add_below(struct config_faults *faults, struct tree_place place, const char *path,
                            struct sv key, const struct hf_err *err)
{
    char full[FAULTS_KEY_SIZE + SV_PRINT_MAX + 2]; /* both fit; faults_add cuts what is too long */
    snprintf(full, sizeof full, "%s%s" SV_FMT, path, path[0] != '\0' && key.size > 0 ? "." : "",
             SV_ARG(key));
    return faults_add(faults, place, full, err);
}

static int order(const void *a, const void *b)
{
    const struct tree_place x = ((const struct config_fault *)a)->place;
    const struct tree_place y = ((const struct config_fault *)b)->place;
    if (x.line != y.line)
        return x.line < y.line ? -1 : 1;
    return (x.column > y.column) - (x.column < y.column);
}

void faults_sort(struct config_faults *faults)
{
    qsort(faults->list, faults->count, sizeof faults->list[0], order);
}

char *faults_text(const struct config_fault *fault, const char *file, char out[FAULTS_TEXT_MAX])
{
    char place[40] = "";
    if (fault->place.line > 0)
        snprintf(place, sizeof place, ":%u:%u", (unsigned)fault->place.line,
                 (unsigned)fault->place.column);
    snprintf(out, FAULTS_TEXT_MAX, "%.512s%s: %s%s%s", file, place, fault->key,
             fault->key[0] != '\0' ? ": " : "", fault->err.message);
    return out;
}
