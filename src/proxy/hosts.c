#include "proxy/hosts.h"

static bool is_in_turn(const struct proxy_database *database)
{
    return database->load_balance_hosts == PROXY_BALANCE_ROUND_ROBIN;
}

static bool is_first_round(const struct hosts *hosts, const struct proxy_database *database)
{
    return hosts->failed < database->host_count;
}

uint32_t hosts_turn(struct hosts *hosts, const struct proxy_database *database, int64_t now_ns)
{
    if (hosts->home_ns != 0 && hosts->home_ns <= now_ns)
        *hosts = (struct hosts){.next = is_in_turn(database) ? hosts->next : 0};
    uint32_t index = hosts->next % database->host_count;
    hosts->next = is_in_turn(database) ? (index + 1) % database->host_count : index;
    return index;
}

/* Several attempts at one host may fail together; it is passed over once. */
bool hosts_failed(struct hosts *hosts, const struct proxy_database *database, uint32_t index)
{
    if (is_in_turn(database)) {
        hosts->failed++;
    } else if (hosts->next == index) {
        hosts->next = (index + 1) % database->host_count;
        hosts->failed++;
    }
    return hosts->failed % database->host_count != 0;
}

void hosts_worked(struct hosts *hosts, const struct proxy_database *database, uint32_t index,
                  int64_t now_ns)
{
    /* Where a primary had to do in place of a standby, it does until home_ns. */
    bool is_second_best =
        database->target_session_attrs == PROXY_TARGET_PREFER_STANDBY && hosts->failed > 0;
    bool is_home = index == 0 || is_in_turn(database);
    if (hosts->home_ns == 0 && (!is_home || is_second_best))
        hosts->home_ns = ns_add(now_ns, HOSTS_HOME_NS);
    if (!is_second_best)
        hosts->failed = 0;
}

int64_t hosts_patience(const struct hosts *hosts, const struct proxy_database *database,
                       bool is_accepted, int64_t timeout_ns)
{
    if (database->host_count == 1 || !is_first_round(hosts, database))
        return timeout_ns;
    return ns_min(timeout_ns, is_accepted ? HOSTS_LOGIN_NS : HOSTS_CONNECT_NS);
}

bool hosts_fits(const struct hosts *hosts, const struct proxy_database *database,
                struct sv in_hot_standby, struct sv read_only, struct hf_err *err)
{
    bool is_standby = sv_eq(in_hot_standby, SV("on"));
    bool is_read_only = is_standby || sv_eq(read_only, SV("on"));
    const char *wanted = "";
    bool fits = true;
    switch (database->target_session_attrs) {
    case PROXY_TARGET_READ_WRITE:
        wanted = "read-write";
        fits = !is_read_only;
        break;
    case PROXY_TARGET_READ_ONLY:
        wanted = "read-only";
        fits = is_read_only;
        break;
    case PROXY_TARGET_PRIMARY:
        wanted = "primary";
        fits = !is_standby;
        break;
    case PROXY_TARGET_STANDBY:
        wanted = "standby";
        fits = is_standby;
        break;
    case PROXY_TARGET_PREFER_STANDBY:
        wanted = "prefer-standby";
        fits = is_standby || !is_first_round(hosts, database);
        break;
    case PROXY_TARGET_ANY:
    default:
        return true;
    }
    if (fits && in_hot_standby.size > 0)
        return true;
    err_set(err, HF_RC_AGAIN, "57P03", "the server is not what target_session_attrs = %s asks for",
            wanted);
    err_detail(err,
               "It says in_hot_standby = " SV_FMT ", default_transaction_read_only = " SV_FMT ".",
               SV_ARG(in_hot_standby), SV_ARG(read_only));
    if (in_hot_standby.size == 0)
        err_hint(err, "PostgreSQL says which it is from version 14 on.");
    return false;
}
