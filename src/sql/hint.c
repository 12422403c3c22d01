#include "sql/hint.h"

#include "base/units.h"
#include "sql/lex.h"

static bool take_intent(struct hint *hint, struct sv value)
{
    hint->has_intent = true;
    if (sv_eq_nocase(value, SV("read")))
        hint->intent = ROUTE_READ;
    else if (sv_eq_nocase(value, SV("write")))
        hint->intent = ROUTE_WRITE;
    else if (sv_eq_nocase(value, SV("auto")))
        hint->has_intent = false;
    else
        return false;
    return true;
}

static bool take_consistency(struct hint *hint, struct sv value)
{
    struct sv name;
    hint->has_consistency = true;
    if (sv_eq_nocase(value, SV("session")))
        hint->consistency = ROUTE_SESSION;
    else if (sv_eq_nocase(value, SV("any")))
        hint->consistency = ROUTE_ANY_AGE;
    else if (sv_eq_nocase(value, SV("primary")))
        hint->consistency = ROUTE_PRIMARY;
    else if (sv_split(&value, ':', &name) && sv_eq_nocase(name, SV("bounded")) &&
             units_parse_duration(value, &hint->staleness_ns_max, NULL) == HF_OK)
        hint->consistency = ROUTE_BOUNDED;
    else
        return false;
    return true;
}

static bool take_pair(struct hint *hint, struct sv pair)
{
    struct sv key;
    if (!sv_split(&pair, '=', &key) || pair.size == 0)
        return false;
    if (sv_eq_nocase(key, SV("intent")))
        return take_intent(hint, pair);
    return sv_eq_nocase(key, SV("consistency")) && take_consistency(hint, pair);
}

static bool is_between_pairs(char c)
{
    return c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The next run of what is no comma and no blank; empty at the end. */
static struct sv next_pair(struct sv *rest)
{
    size_t begin = 0;
    while (begin < rest->size && is_between_pairs(rest->data[begin]))
        begin++;
    size_t end = begin;
    while (end < rest->size && !is_between_pairs(rest->data[end]))
        end++;
    const struct sv pair = sv_from(rest->data + begin, end - begin);
    *rest = sv_drop(*rest, end);
    return pair;
}

struct hint hint_read(struct sv text)
{
    const struct sv mark = SV("holdfast:");
    const struct hint wrong = {.is_there = true, .is_wrong = true};
    struct sv comment = sv_trim(lex_first_comment(text));
    if (!sv_starts_with(comment, mark))
        return (struct hint){0};
    if (comment.size > HINT_SIZE_MAX)
        return wrong;
    struct hint hint = {.is_there = true};
    comment = sv_drop(comment, mark.size);
    for (struct sv pair = next_pair(&comment); pair.size > 0; pair = next_pair(&comment)) {
        if (!take_pair(&hint, pair))
            return wrong;
    }
    return hint;
}
