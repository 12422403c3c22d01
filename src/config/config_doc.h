/*
 * What the rows say, for people: a sample file to start from, and the reference page.
 *
 * docs/reference/config.md is the page as config_doc_reference() prints it; a test compares them.
 */
#ifndef HF_CONFIG_CONFIG_DOC_H
#define HF_CONFIG_CONFIG_DOC_H

#include <stdio.h>

/* A holdfast.yml that works, with every setting, its meaning and its default as comments. */
void config_doc_example(FILE *out);

/* The page, in Markdown. */
void config_doc_reference(FILE *out);

#endif
