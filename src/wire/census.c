#include "wire/census.h"

#define COLUMNS 3 /* sort, name, value */

/* ---- The question ---- */

#define TEXT_OF(literal) literal "::pg_catalog.text"

static const char begin[] =
    "SELECT k,n,pg_catalog.encode(pg_catalog.convert_to(v,pg_catalog.getdatabaseencoding()),"
    "'escape')FROM(SELECT " TEXT_OF("'-'") " AS k," TEXT_OF("''") " AS n," TEXT_OF("''") " AS v";

/* "role" is none unless somebody has set it. */
static const char settings[] =
    " UNION ALL SELECT 's',name,setting FROM pg_catalog.pg_settings"
    " WHERE source OPERATOR(pg_catalog.=)'session'"
    " UNION ALL SELECT 'r','role',pg_catalog.current_setting('role')"
    " UNION ALL SELECT 'u','session_authorization',session_user::pg_catalog.text";

static const char names_begin[] =
    " UNION ALL SELECT 'c',c,pg_catalog.current_setting(c,true)FROM pg_catalog.unnest('{";
static const char names_end[] = "}'::pg_catalog.text[])AS c";

/* 2615 is pg_namespace: whatever lies in a schema depends on it, and pg_depend has an index. */
static const char holds[] =
    " UNION ALL(SELECT 't','',''FROM pg_catalog.pg_depend"
    " WHERE refclassid OPERATOR(pg_catalog.=)2615::pg_catalog.oid"
    " AND refobjid OPERATOR(pg_catalog.=)pg_catalog.pg_my_temp_schema() LIMIT 1)"
    " UNION ALL(SELECT 'l','',''FROM pg_catalog.pg_locks"
    " WHERE locktype OPERATOR(pg_catalog.=)'advisory'"
    " AND pid OPERATOR(pg_catalog.=)pg_catalog.pg_backend_pid() LIMIT 1)"
    " UNION ALL(SELECT 'h','',''FROM pg_catalog.pg_cursors WHERE is_holdable LIMIT 1)"
    " UNION ALL(SELECT 'n','',''FROM pg_catalog.pg_listening_channels() LIMIT 1)";

static const char end[] = ")AS q";

bool census_can_ask(struct sv name)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && c != '_' && c != '.' && c != '$')
            return false;
    }
    return name.size > 0 && name.size <= SETTINGS_NAME_MAX;
}

static bool put_names(struct sv names, struct buffer *out)
{
    struct sv name;
    bool has_any = false, has_room = true;
    while (names.size > 0 && sv_split(&names, '\0', &name)) {
        if (!census_can_ask(name))
            continue;
        has_room = has_room && buffer_append(out, has_any ? SV(",") : sv_from_cstr(names_begin)) &&
                   buffer_append(out, name);
        has_any = true;
    }
    return has_room && (!has_any || buffer_append(out, sv_from_cstr(names_end)));
}

enum hf_rc census_text(uint32_t parts, struct sv names, struct buffer *out)
{
    bool has_room = buffer_append(out, sv_from_cstr(begin));
    if ((parts & CENSUS_SETTINGS) != 0)
        has_room = has_room && buffer_append(out, sv_from_cstr(settings));
    if ((parts & (CENSUS_SETTINGS | CENSUS_NAMES)) != 0)
        has_room = has_room && put_names(names, out);
    if ((parts & CENSUS_HOLDS) != 0)
        has_room = has_room && buffer_append(out, sv_from_cstr(holds));
    return has_room && buffer_append(out, sv_from_cstr(end)) ? HF_OK : HF_RC_LIMIT;
}

/* ---- The answer ---- */

static int digit_of(char c)
{
    return c >= '0' && c <= '7' ? c - '0' : -1;
}

/* The bytes behind \ooo and two backslashes, as encode(, 'escape') writes them. */
static bool unescape(struct sv text, char *out, size_t room, size_t *size)
{
    *size = 0;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (*size == room)
            return false;
        if (c == '\\' && i + 1 < text.size && text.data[i + 1] == '\\') {
            i++;
        } else if (c == '\\') {
            if (text.size - i < 4)
                return false;
            int high = digit_of(text.data[i + 1]), middle = digit_of(text.data[i + 2]),
                low = digit_of(text.data[i + 3]);
            if (high < 0 || high > 3 || middle < 0 || low < 0)
                return false;
            c = (char)(high << 6 | middle << 3 | low);
            i += 3;
        }
        out[(*size)++] = c;
    }
    return true;
}

static enum hf_rc put(struct census *census, struct settings *store, struct sv name,
                      struct sv escaped)
{
    char value[SETTINGS_VALUE_MAX];
    size_t size;
    uint32_t larger;
    if (!unescape(escaped, value, sizeof value, &size))
        return HF_RC_LIMIT;
    enum hf_rc rc = settings_with(store, census->set, name, sv_from(value, size), &larger);
    if (rc != HF_OK)
        return rc;
    settings_drop(store, census->set);
    census->set = larger;
    return HF_OK;
}

enum hf_rc census_row(struct census *census, struct settings *store, struct message row)
{
    struct sv columns[COLUMNS];
    if (message_row(row, columns, COLUMNS) != MESSAGE_OK || columns[0].size != 1)
        return HF_RC_PEER;
    struct sv name = columns[1], value = columns[2];
    switch (columns[0].data[0]) {
    case '-':
        return HF_OK;
    case 's':
        return settings_can_follow(name) ? put(census, store, name, value) : HF_OK;
    case 'c': /* never heard of, if it has no value */
        return value.data != NULL ? put(census, store, name, value) : HF_OK;
    case 'r':
        return sv_eq(value, SV("none")) ? HF_OK : put(census, store, name, value);
    case 'u':
        return sv_eq(value, census->user) ? HF_OK : put(census, store, name, value);
    case 't':
        census->holds |= CENSUS_TEMPORARY;
        return HF_OK;
    case 'l':
        census->holds |= CENSUS_LOCKS;
        return HF_OK;
    case 'h':
        census->holds |= CENSUS_CURSORS;
        return HF_OK;
    case 'n':
        census->holds |= CENSUS_CHANNELS;
        return HF_OK;
    default:
        return HF_RC_PEER;
    }
}
