#include "cli/demo_config.h"

#include <stdio.h>

#include "base/bug.h"
#include "cli/demo_server.h"

char *demo_config_server(const struct demo_config_values *values, char out[DEMO_CONFIG_SIZE])
{
    int used = snprintf(
        out, DEMO_CONFIG_SIZE,
        "# Written by holdfast demo at each start. Settings of your own: ALTER SYSTEM.\n"
        "cluster_name = '%s'\n"
        "listen_addresses = '127.0.0.1'\n"
        "port = %d\n"
        "unix_socket_directories = '%s'\n"
        "unix_socket_permissions = 0700\n"
        "max_connections = 100\n"
        "password_encryption = 'scram-sha-256'\n"
        "shared_buffers = '64MB'\n"
        "\n"
        "# Replication: two replicas and room to play. A replica that is away keeps the WAL it\n"
        "# needs on the primary, up to 1 GB.\n"
        "wal_level = 'replica'\n"
        "hot_standby = on\n"
        "hot_standby_feedback = on\n"
        "max_wal_senders = 20\n"
        "max_replication_slots = 20\n"
        "max_slot_wal_keep_size = '1GB'\n"
        "min_wal_size = '48MB'\n"
        "max_wal_size = '256MB'\n"
        "wal_log_hints = on\n"
        "wal_receiver_status_interval = '1s'\n"
        "wal_retrieve_retry_interval = '500ms'\n"
        "\n"
        "# One file for each server, which the demo shows the end of when a server dies.\n"
        "logging_collector = off\n"
        "log_destination = 'stderr'\n"
        "log_line_prefix = '%%m [%%p] '\n"
        "log_error_verbosity = 'default'\n"
        "log_statement = 'none'\n",
        values->name, values->port, values->socket_path);
    if (values->upstream_port != 0)
        used += snprintf(
            out + used, DEMO_CONFIG_SIZE - (size_t)used,
            "\n"
            "# Whom this replica follows, as whom, and the slot there that keeps its WAL.\n"
            "primary_conninfo = 'host=''%s'' port=%d user=%s application_name=%s "
            "connect_timeout=5'\n"
            "primary_slot_name = '%s'\n",
            values->socket_path, values->upstream_port, DEMO_REPLICATOR, values->name,
            values->name);
    /* The path is bounded, so that this cannot be longer. */
    hf_assert(used > 0 && used < DEMO_CONFIG_SIZE);
    return out;
}

const char *demo_config_access(void)
{
    return "# Written by holdfast demo at each start.\n"
           "# The folder of the unix sockets is closed to all but the servers' own user (and "
           "root):\n"
           "# who gets there may do anything. Over TCP a password is needed, and only the role\n"
           "# \"" DEMO_USER "\" has one.\n"
           "local   all           all                 trust\n"
           "local   replication   all                 trust\n"
           "host    all           all   127.0.0.1/32  scram-sha-256\n";
}
