#include "proxy/groups.h"

enum hf_rc group_finish(struct group *group, const char **key, struct hf_err *err)
{
    struct sv rest = sv_trim(sv_from_cstr(group->address)), item;
    group->address_count = 0;
    *key = "address";
    while (rest.size > 0 && sv_split(&rest, ',', &item)) {
        if (group->address_count == GROUPS_ADDRESSES_MAX) {
            err_set(err, HF_RC_LIMIT, "54000", "there are more than %d addresses",
                    GROUPS_ADDRESSES_MAX);
            return err_hint(err, "Make two groups of them.");
        }
        enum hf_rc rc =
            cidr_parse(&group->addresses[group->address_count], sv_trim(item), SV(""), err);
        if (rc != HF_OK)
            return rc;
        group->address_count++;
    }
    return HF_OK;
}

bool group_limits(const struct group *group)
{
    return group->clients_max > 0 || group->concurrency_max > 0 || group->rate > 0 ||
           group->weight > 0;
}

/* ---- who is meant ---- */

/* Goes back to the last star only: so it takes size times size at most, and one pass mostly. */
static bool fits_one(struct sv pattern, struct sv name)
{
    size_t p = 0, n = 0, star = SIZE_MAX, from = 0;
    while (n < name.size) {
        if (p < pattern.size && pattern.data[p] == '*') {
            star = p++;
            from = n;
        } else if (p < pattern.size &&
                   (pattern.data[p] == '?' || pattern.data[p] == name.data[n])) {
            p++;
            n++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            n = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.size && pattern.data[p] == '*')
        p++;
    return p == pattern.size;
}

bool group_fits(const char *patterns, struct sv name)
{
    struct sv rest = sv_trim(sv_from_cstr(patterns)), item;
    if (rest.size == 0)
        return true;
    while (sv_split(&rest, ',', &item))
        if (fits_one(sv_trim(item), name))
            return true;
    return false;
}

bool group_has(const struct group *group, const struct group_member *member)
{
    if (!group_fits(group->role, member->role) || !group_fits(group->database, member->database) ||
        !group_fits(group->application_name, member->application_name))
        return false;
    bool is_here = group->address_count == 0;
    for (uint32_t i = 0; i < group->address_count && !is_here; i++)
        is_here = cidr_match(&group->addresses[i], member->peer);
    return is_here;
}
