#include "cli/url_proxy.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ns.h"
#include "cli/ports.h"
#include "os/clock.h"

#define PORT         6432
#define PORT_MAX     65535
#define START_NS_MAX HF_SEC(60)
#define LOOK_NS      HF_MS(20)

/* The string with the settings that this proxy has beside its defaults. To be freed. */
static char *with_settings(const char *url, int port)
{
    const bool is_url =
        strncmp(url, "postgresql://", 13) == 0 || strncmp(url, "postgres://", 11) == 0;
    const char *between = is_url ? "&" : " ";
    const char *first = is_url && strchr(url, '?') == NULL ? "?" : between;
    const size_t room = strlen(url) + 100;
    char *text = malloc(room);
    if (text != NULL)
        snprintf(text, room, "%s%slisten=127.0.0.1:%d%slog_connections=off%slog_disconnections=off",
                 url, first, port, between, between);
    return text;
}

static enum hf_rc start_child(struct url_proxy *proxy, const char *url, struct hf_err *err)
{
    char *text = with_settings(url, proxy->port);
    if (text == NULL)
        return err_set(err, HF_RC_LIMIT, "53200", "out of memory");
    const char *const argv[] = {"/proc/self/exe", "proxy", text, NULL};
    const struct child_spec spec = {
        .argv = argv, .output = CHILD_SHARED, .signal_at_our_end = SIGINT};
    const enum hf_rc rc = child_start(&proxy->child, &spec, err);
    explicit_bzero(text, strlen(text));
    free(text);
    return rc;
}

enum hf_rc url_proxy_start(struct url_proxy *proxy, const char *url, int stop_fd,
                           struct hf_err *err)
{
    *proxy = (struct url_proxy){.port = ports_find(PORT, PORT_MAX, NULL, 0)};
    if (proxy->port == 0)
        return err_set(err, HF_RC_AGAIN, "55006", "no free port for the proxy");
    const enum hf_rc rc = start_child(proxy, url, err);
    if (rc != HF_OK)
        return rc;
    const int64_t until_ns = clock_now() + START_NS_MAX;
    while (!ports_answers(proxy->port)) {
        const int64_t look_ns = clock_now() + LOOK_NS;
        if (look_ns < until_ns &&
            child_wait(&proxy->child, look_ns, stop_fd) == CHILD_WAIT_DEADLINE)
            continue;
        url_proxy_stop(proxy);
        return err_set(err, HF_RC_AGAIN, "58000", "the proxy has not started");
    }
    return HF_OK;
}

void url_proxy_print(const struct url_proxy *proxy, const struct connstr *shown)
{
    char user[3 * sizeof shown->user], database[3 * sizeof shown->database];
    printf("\nProtected\n  psql 'postgresql://%s%s127.0.0.1:%d/%s'\n",
           connstr_encode(shown->user, user, sizeof user), shown->user[0] != '\0' ? "@" : "",
           proxy->port, connstr_encode(shown->database, database, sizeof database));
    printf("  goes through the proxy, process %d: the address for applications.\n",
           (int)proxy->child.pid);
}

bool url_proxy_is_lost(struct url_proxy *proxy)
{
    return proxy->child.is_running && child_poll(&proxy->child);
}

void url_proxy_stop(struct url_proxy *proxy)
{
    static const struct child_step steps[] = {{SIGINT, HF_SEC(3), false}};
    child_stop(&proxy->child, steps, 1);
}
