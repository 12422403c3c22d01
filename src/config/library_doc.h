/*
 * What the rows of the library's options say, for people: the page of its defaults.
 *
 * docs/reference/library.md is that page as library_doc_reference() prints it (`holdfast config
 * library`); a test compares them.
 */
#ifndef HF_CONFIG_LIBRARY_DOC_H
#define HF_CONFIG_LIBRARY_DOC_H

#include <stdio.h>

/* The page, in Markdown. */
void library_doc_reference(FILE *out);

#endif
