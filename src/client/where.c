#include "client/where.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "base/sv.h"

/* Not of the connection string that all servers share. */
static const char *const not_shared[] = {
    "host", "hostaddr", "port", "service", "connect_timeout", "target_session_attrs",
};

static const char *option(const PQconninfoOption *options, const char *key)
{
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        if (strcmp(o->keyword, key) == 0)
            return o->val != NULL ? o->val : "";
    }
    return "";
}

static bool is_shared(const char *key)
{
    for (size_t i = 0; i < sizeof not_shared / sizeof not_shared[0]; i++) {
        if (strcmp(not_shared[i], key) == 0)
            return false;
    }
    return true;
}

/* key='value', with quotes and backslashes escaped. False: no room. */
static bool append(char *text, size_t size, size_t *used, const char *key, const char *value)
{
    int n = snprintf(text + *used, size - *used, "%s%s='", *used > 0 ? " " : "", key);
    if (n < 0 || (size_t)n >= size - *used)
        return false;
    *used += (size_t)n;
    for (; *value != '\0'; value++) {
        if (*used + 4 > size)
            return false;
        if (*value == '\'' || *value == '\\')
            text[(*used)++] = '\\';
        text[(*used)++] = *value;
    }
    text[(*used)++] = '\'';
    text[*used] = '\0';
    return true;
}

static enum hf_rc take_shared(struct where *where, const PQconninfoOption *options,
                              struct hf_err *err)
{
    size_t used = 0;
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        bool is_set = o->val != NULL && o->val[0] != '\0';
        if (is_set && is_shared(o->keyword) &&
            !append(where->conninfo, sizeof where->conninfo, &used, o->keyword, o->val))
            return err_set(err, HF_RC_LIMIT, "F0000", "connection string is longer than %zu bytes",
                           sizeof where->conninfo - 1);
    }
    return HF_OK;
}

/* The part of a comma-separated list; the last one stands for all beyond if there is only one. */
static struct sv part_of(const char *list, size_t index, bool is_repeated)
{
    const char *at = list;
    for (size_t i = 0; i < index; i++) {
        const char *comma = strchr(at, ',');
        if (comma == NULL)
            return is_repeated && i == 0 ? sv_from(list, strlen(list)) : sv_from("", 0);
        at = comma + 1;
    }
    return sv_from(at, strcspn(at, ","));
}

static size_t parts_in(const char *list)
{
    size_t count = 1;
    for (; *list != '\0'; list++)
        count += *list == ',';
    return count;
}

static void name_host(struct where_host *host)
{
    const char *what = host->host[0] != '\0' ? host->host : host->hostaddr;
    bool is_v6 = strchr(what, ':') != NULL;
    snprintf(host->name, sizeof host->name, is_v6 ? "[%.*s]:%u" : "%.*s:%u",
             (int)sizeof host->name - 9, what, (unsigned)host->port);
}

static enum hf_rc take_host(struct where *where, struct sv name, struct sv address, struct sv port,
                            const char *fallback, struct hf_err *err)
{
    if (where->count == SNAPSHOT_ENDPOINTS_MAX)
        return err_set(err, HF_RC_LIMIT, "F0000", "a database takes at most %d hosts",
                       SNAPSHOT_ENDPOINTS_MAX);
    struct where_host *host = &where->hosts[where->count];
    if (name.size == 0 && address.size == 0)
        name = sv_from(fallback, strlen(fallback));
    if (name.size >= sizeof host->host || address.size >= sizeof host->hostaddr)
        return err_set(err, HF_RC_LIMIT, "F0000", "host name is longer than %zu bytes",
                       sizeof host->host - 1);
    snprintf(host->host, sizeof host->host, "%.*s", (int)name.size, name.data);
    snprintf(host->hostaddr, sizeof host->hostaddr, "%.*s", (int)address.size, address.data);
    int64_t number = 5432;
    /* One that is no number is often a password behind a forgotten '@'. */
    if (port.size > 0 && sv_to_int(port, 1, UINT16_MAX, &number) != SV_NUMBER_OK)
        return err_set(err, HF_RC_INVALID, "F0000",
                       "cannot read the connection string: a port is no number from 1 to 65535");
    host->port = (uint16_t)number;
    name_host(host);
    for (size_t i = 0; i < where->count; i++) {
        if (strcmp(where->hosts[i].name, host->name) == 0)
            return HF_OK; /* named twice: it is one server */
    }
    ++where->count;
    return HF_OK;
}

static enum hf_rc take_hosts(struct where *where, const PGconn *pg, const PQconninfoOption *options,
                             struct hf_err *err)
{
    const char *names = option(options, "host");
    const char *addresses = option(options, "hostaddr");
    const char *ports = option(options, "port");
    const char *fallback = PQhost(pg); /* the folder of unix sockets that libpq was built with */
    size_t count = addresses[0] != '\0' ? parts_in(addresses) : parts_in(names);
    for (size_t i = 0; i < count; i++) {
        struct sv port = part_of(ports, i, true);
        if (take_host(where, part_of(names, i, false), part_of(addresses, i, false), port,
                      fallback != NULL ? fallback : "", err) != HF_OK)
            return err->rc;
    }
    return HF_OK;
}

/* libpq quotes the string, or parts of it, where it cannot read it, and any part of it may be a
 * password put into the wrong place: what stands between the first and the last quote is left out.
 */
static enum hf_rc refuse(struct hf_err *err, const char *text)
{
    const char *first = strchr(text, '"');
    const char *last = strrchr(text, '"');
    if (first == NULL || first == last)
        err_set(err, HF_RC_INVALID, "F0000", "cannot read the connection string: %.*s",
                (int)strcspn(text, "\n\""), text);
    else
        err_set(err, HF_RC_INVALID, "F0000", "cannot read the connection string: %.*s\"...\"%.*s",
                (int)(first - text), text, (int)strcspn(last + 1, "\n"), last + 1);
    return err_hint(err, "It is what libpq takes: \"postgresql://user@host1,host2/database\" or "
                         "\"host=host1,host2 dbname=database\".");
}

enum hf_rc where_parse(struct where *where, const char *conninfo, struct hf_err *err)
{
    const char *const keys[] = {"dbname", "target_session_attrs", NULL};
    const char *const values[] = {conninfo, "none of libpq's", NULL};
    *where = (struct where){0};
    /* Without a "=" or a scheme libpq takes it for the name of a database, which is not what
     * anybody means here. */
    if (strchr(conninfo, '=') == NULL && strstr(conninfo, "://") == NULL && conninfo[0] != '\0')
        return refuse(err, "it is neither a URL nor a list of key=value");
    PGconn *pg = PQconnectStartParams(keys, values, 1);
    if (pg == NULL)
        return err_set(err, HF_RC_LIMIT, "53200", "out of memory");
    enum hf_rc rc;
    PQconninfoOption *options = NULL;
    if (strstr(PQerrorMessage(pg), "target_session_attrs") == NULL) {
        rc = refuse(err, PQerrorMessage(pg));
        goto out;
    }
    options = PQconninfo(pg);
    if (options == NULL) {
        rc = err_set(err, HF_RC_LIMIT, "53200", "out of memory");
        goto out;
    }
    rc = take_shared(where, options, err);
    if (rc == HF_OK)
        rc = take_hosts(where, pg, options, err);
out:
    PQconninfoFree(options);
    PQfinish(pg);
    return rc;
}
