/*
 * The configuration files of the demo's servers, as text. No file is touched here.
 */
#ifndef HF_CLI_DEMO_CONFIG_H
#define HF_CLI_DEMO_CONFIG_H

#include <stddef.h>

struct demo_config_values {
    const char *name;
    int port;
    int upstream_port;       /* 0: a primary */
    const char *socket_path; /* without characters that would need quoting */
};

#define DEMO_CONFIG_SIZE 4096

/* postgresql.conf. Returns out. */
char *demo_config_server(const struct demo_config_values *values, char out[DEMO_CONFIG_SIZE]);

/* pg_hba.conf: who comes in, the same for all servers. Static text. */
const char *demo_config_access(void);

#endif
