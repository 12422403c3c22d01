/*
 * The functions and operators of PostgreSQL 15 by name, with the most volatile of those that share
 * it: what is known when no catalogue was loaded. catalog_builtin.c is made from a server by
 * tools/make_builtins.py and is not edited.
 */
#ifndef HF_SQL_CATALOG_BUILTIN_H
#define HF_SQL_CATALOG_BUILTIN_H

#include "base/sv.h"

/* 'i', 's' or 'v', or 0 if PostgreSQL 15 has no such function or operator. */
char catalog_builtin_function(struct sv name);
char catalog_builtin_operator(struct sv name);

#endif
