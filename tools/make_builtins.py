#!/usr/bin/python3
"""Makes src/sql/catalog_builtin.c: PostgreSQL's own functions and operators with their volatility.

    tools/make_builtins.py 'postgresql://...' > src/sql/catalog_builtin.c

The server is to be a bare one of the version that libpg_query parses (15): only what is in
pg_catalog and came with initdb is asked for. Run it again when libpg_query is of another version.
"""

import sys

import psycopg

# Objects of initdb have OIDs below this (FirstNormalObjectId).
BUILT_IN = 16384

FUNCTIONS = f"""
SELECT p.proname::text,
       max(greatest(p.provolatile::text, parts.volatility) COLLATE "C")
  FROM pg_proc p
  LEFT JOIN LATERAL (
       SELECT max(q.provolatile::text COLLATE "C") AS volatility
         FROM pg_aggregate a, pg_proc q
        WHERE a.aggfnoid = p.oid
          AND q.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,
                        a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
       ) parts ON p.prokind = 'a'
 WHERE p.prokind <> 'p' AND p.oid < {BUILT_IN}
   AND p.pronamespace = 'pg_catalog'::regnamespace
 GROUP BY p.proname
"""

OPERATORS = f"""
SELECT o.oprname::text, max(f.provolatile::text COLLATE "C")
  FROM pg_operator o JOIN pg_proc f ON f.oid = o.oprcode
 WHERE o.oid < {BUILT_IN} GROUP BY o.oprname
"""

HEAD = """\
/*
 * Made by tools/make_builtins.py from PostgreSQL {version}; not to be edited.
 *
 * The names of one volatility in the order of their bytes, as many as fit on each line. A name is
 * on the last line that does not begin with a greater one.
 */
#include "sql/catalog_builtin.h"

#include <string.h>

/* clang-format off */
"""

TAIL = """\
/* clang-format on */

static int compare(struct sv a, struct sv b)
{
    const int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

static bool has(const char *const *lines, size_t count, struct sv name)
{
    size_t low = 0, high = count; /* the line is in low .. high - 1, if it is there */
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        struct sv line = sv_from_cstr(lines[middle]), first;
        sv_split(&line, ' ', &first);
        if (compare(name, first) < 0)
            high = middle;
        else
            low = middle;
    }
    struct sv rest = sv_from_cstr(lines[low]), word;
    while (sv_split(&rest, ' ', &word)) {
        if (sv_eq(word, name))
            return true;
    }
    return false;
}

#define HAS(lines, name) has(lines, sizeof(lines) / sizeof(lines)[0], name)

char catalog_builtin_function(struct sv name)
{
    if (name.size == 0)
        return '\\0';
    if (HAS(functions_i, name))
        return 'i';
    if (HAS(functions_s, name))
        return 's';
    return HAS(functions_v, name) ? 'v' : '\\0';
}

/* None of them is volatile. */
char catalog_builtin_operator(struct sv name)
{
    if (name.size == 0)
        return '\\0';
    if (HAS(operators_i, name))
        return 'i';
    return HAS(operators_s, name) ? 's' : '\\0';
}
"""


def print_words(name, words):
    """An array of lines of words."""
    lines = [""]
    for word in sorted(words, key=lambda word: word.encode()):
        if len(lines[-1]) + len(word) > 88:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    print(f"static const char *const {name}[] = {{")
    print("".join(f'    "{line}",\n' for line in lines), end="")
    print("};\n")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with psycopg.connect(sys.argv[1], options="-c search_path=pg_catalog") as server:
        version = server.execute("SHOW server_version").fetchone()[0].split()[0]
        print(HEAD.format(version=version), end="")
        for name, query in (("functions", FUNCTIONS), ("operators", OPERATORS)):
            rows = server.execute(query).fetchall()
            for letter in "isv":
                words = [word for word, volatility in rows if volatility == letter]
                if words:
                    print_words(f"{name}_{letter}", words)
        print(TAIL, end="")


if __name__ == "__main__":
    main()
