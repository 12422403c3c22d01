#include "tx_rig.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void tx_rig_begin(struct tx_rig *rig, size_t standbys)
{
    rig_begin(&rig->servers, standbys);
    rig->cutter = cutter_new(rig->servers.servers[0].port);
}

void tx_rig_end(struct tx_rig *rig)
{
    cutter_free(rig->cutter);
    rig_end(&rig->servers);
}

struct hf_db *tx_rig_open(struct tx_rig *rig, const struct hf_options *options)
{
    char hosts[128] = "127.0.0.1", ports[64], conninfo[320];
    snprintf(ports, sizeof ports, "%d", cutter_port(rig->cutter));
    for (size_t i = 1; i < rig->servers.count; i++) {
        size_t used = strlen(ports);
        snprintf(ports + used, sizeof ports - used, ",%d", rig->servers.servers[i].port);
        used = strlen(hosts);
        snprintf(hosts + used, sizeof hosts - used, ",127.0.0.1");
    }
    snprintf(conninfo, sizeof conninfo,
             "host=%s port=%s user=postgres dbname=postgres sslmode=disable", hosts, ports);
    rig_sql(&rig->servers.servers[0],
            "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v int)", NULL, 0);
    struct hf_options full = {0};
    if (options != NULL)
        full = *options;
    full.conninfo = conninfo;
    struct hf_error err;
    struct hf_db *db;
    assert_ok(hf_open_with(&db, &full, &err), &err);
    return db;
}

void tx_rig_assert_ok(int code, const struct hf_error *err, const char *file, int line)
{
    tx_rig_assert_code(code, HF_SUCCESS, err, file, line);
}

void tx_rig_assert_code(int code, int wanted, const struct hf_error *err, const char *file,
                        int line)
{
    if (code == wanted)
        return;
    char text[1024] = "";
    if (code != HF_SUCCESS && err != NULL)
        hf_error_text(err, text, sizeof text);
    print_error("%s instead of %s: %s\n%s\n", hf_code_name(code), hf_code_name(wanted), text,
                code != HF_SUCCESS && err != NULL ? err->detail : "");
    _fail(file, line);
}

long tx_rig_count(const struct rig_server *server)
{
    return rig_number(server, "SELECT count(*) FROM t");
}

int64_t tx_rig_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
