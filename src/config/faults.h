/*
 * What is wrong with a configuration: all of it and not only the first thing, so that a file is
 * mended in one go. Each fault has its place, the key's path and an hf_err.
 */
#ifndef HF_CONFIG_FAULTS_H
#define HF_CONFIG_FAULTS_H

#include <stddef.h>

#include "base/err.h"
#include "base/sv.h"
#include "config/tree.h"

#define FAULTS_MAX      20
#define FAULTS_KEY_SIZE 192
#define FAULTS_TEXT_MAX 1280

struct config_fault {
    struct tree_place place;   /* line 0: of the file as a whole, or there is no file */
    char key[FAULTS_KEY_SIZE]; /* "databases.app.pool_size"; "" for the file as a whole */
    struct hf_err err;
};

struct config_faults {
    size_t count; /* of those kept, and of those there were */
    size_t total;
    struct config_fault list[FAULTS_MAX];
};

void faults_init(struct config_faults *faults);

/* Adds one, or only counts it if there are FAULTS_MAX; returns err->rc. */
enum hf_rc faults_add(struct config_faults *faults, struct tree_place place, const char *key,
                      const struct hf_err *err);

/* The same of a key below a path; either may be empty. */
enum hf_rc faults_add_below(struct config_faults *faults, struct tree_place place, const char *path,
                            struct sv key, const struct hf_err *err);

/* Into the order of the file. */
void faults_sort(struct config_faults *faults);

/* "holdfast.yml:3:14: pools.pool_size: 0 is too small", without what is not known. Returns out. */
char *faults_text(const struct config_fault *fault, const char *file, char out[FAULTS_TEXT_MAX]);

#endif
