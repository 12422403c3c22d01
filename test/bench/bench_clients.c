/*
 * Clients for test/bench/run proxy that cost as little as they can, so that what is measured is the
 * proxy: they log in, and out again or not.
 *
 *     bench_clients login --port P [--threads N] --seconds S
 *         each thread logs in and out as often as it can; then prints one line,
 *         {"logins": 12345, "seconds": 1.002}
 *
 *     bench_clients idle --port P --clients N [--statements M --bytes B]
 *         logs in N clients, prepares M statements with each (every text is another one, of B
 *         bytes), prints "ready" and stays until its standard input ends
 *
 *     both: [--user U] [--database D] [--password W] [--tls]
 *
 * A password is stretched once (wire/scram.h), not at each login as libpq does it: those 2 ms are
 * the client's and would hide the proxy's share. TLS sessions are not resumed. Each connection
 * comes from the next address of 127.0.0.0/8, so that no number of them runs out of ports.
 *
 * Any failure ends the program with 1: figures of half a run are none.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "wire/build.h"
#include "wire/bytes.h"
#include "wire/message.h"
#include "wire/scram_client.h"
#include "wire/startup.h"

#define MESSAGE_SIZE_MAX 16384
#define PATIENCE_S       30 /* for one answer */
#define THREADS_MAX      64

struct options {
    const char *user;
    const char *database;
    const char *password; /* NULL: none is given */
    uint16_t port;
    bool is_tls;
    double seconds;
    uint32_t threads;
    uint32_t clients;
    uint32_t statements;
    uint32_t bytes;
    SSL_CTX *tls;
    int64_t end_ns;
};

/* A thread's keys for the challenge it was given last. */
struct keyring {
    struct scram_keys keys;
    struct scram_verifier verifier;
    bool is_set;
};

struct link {
    const struct options *options;
    struct keyring *keyring;
    int fd;
    SSL *ssl;
    struct buffer out;
    char out_block[MESSAGE_SIZE_MAX];
    char in[MESSAGE_SIZE_MAX];
    size_t in_start; /* of what was received and not looked at */
    size_t in_end;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench_clients: %s: %s\n", what, errno != 0 ? strerror(errno) : "it failed");
    exit(1);
}

/* What the other side, or a module of wire/, said; an error's fields end with zero bytes. */
static _Noreturn void die_saying(const char *what, struct sv why)
{
    fprintf(stderr, "bench_clients: %s: ", what);
    for (size_t i = 0; i < why.size; i++)
        fputc(why.data[i] != '\0' ? why.data[i] : ' ', stderr);
    fputc('\n', stderr);
    exit(1);
}

static void demand(enum hf_rc rc, const char *what)
{
    if (rc != HF_OK)
        die_saying(what, sv_from_cstr("not possible"));
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- One connection ---- */

/* The kernel chooses the port when it connects, and then only needs it to be free for this pair of
 * addresses. */
static void bind_source(int fd)
{
    static _Atomic uint32_t count;
    const int yes = 1;
    uint32_t host = 0x7f000002U + atomic_fetch_add(&count, 1) % 250;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(host)};
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes) != 0 ||
        bind(fd, (const struct sockaddr *)&from, sizeof from) != 0)
        die("could not take an address of 127.0.0.0/8");
}

static void connect_to(struct link *link)
{
    const int yes = 1;
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(link->options->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (link->fd < 0)
        die("could not make a socket");
    bind_source(link->fd);
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(link->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(link->fd, (const struct sockaddr *)&to, sizeof to) != 0)
        die("could not connect");
}

static void send_out(struct link *link)
{
    struct sv view = buffer_view(&link->out);
    while (view.size > 0) {
        ssize_t sent = link->ssl != NULL ? SSL_write(link->ssl, view.data, (int)view.size)
                                         : send(link->fd, view.data, view.size, MSG_NOSIGNAL);
        if (sent <= 0)
            die("could not send");
        view = sv_drop(view, (size_t)sent);
    }
    buffer_clear(&link->out);
}

static void receive_more(struct link *link)
{
    if (link->in_start > 0) {
        memmove(link->in, link->in + link->in_start, link->in_end - link->in_start);
        link->in_end -= link->in_start;
        link->in_start = 0;
    }
    size_t room = sizeof link->in - link->in_end;
    if (room == 0)
        die_saying("could not receive", sv_from_cstr("a message is too long"));
    errno = 0;
    ssize_t got = link->ssl != NULL ? SSL_read(link->ssl, link->in + link->in_end, (int)room)
                                    : recv(link->fd, link->in + link->in_end, room, 0);
    if (got <= 0)
        die("could not receive");
    link->in_end += (size_t)got;
}

/* The next message; its body stays valid until the next call. An error ends the program. */
static char receive(struct link *link, struct sv *body)
{
    for (;;) {
        size_t held = link->in_end - link->in_start;
        const char *at = link->in + link->in_start;
        size_t size = held >= FRAME_HEADER_SIZE ? (size_t)bytes_u32(at + 1) + 1 : SIZE_MAX;
        if (held >= size) {
            *body = sv_from(at + FRAME_HEADER_SIZE, size - FRAME_HEADER_SIZE);
            link->in_start += size;
            if (at[0] == 'E')
                die_saying("the other side said", *body);
            return at[0];
        }
        receive_more(link);
    }
}

static void await_ready(struct link *link)
{
    struct sv body;
    while (receive(link, &body) != 'Z')
        continue;
}

static void secure(struct link *link)
{
    char answer = 0;
    demand(build_request(&link->out, STARTUP_CODE_SSL), "an SSLRequest");
    send_out(link);
    if (recv(link->fd, &answer, 1, 0) != 1 || answer != 'S')
        die_saying("could not use TLS", sv_from_cstr("it was refused"));
    SSL *ssl = SSL_new(link->options->tls);
    if (ssl == NULL || SSL_set_fd(ssl, link->fd) != 1 || SSL_connect(ssl) != 1)
        die("could not shake hands for TLS");
    link->ssl = ssl;
}

/* ---- Logging in ---- */

static const struct scram_keys *keys_for(struct link *link, const struct scram_client *client)
{
    struct keyring *ring = link->keyring;
    if (ring->is_set && scram_client_fits(client, &ring->verifier))
        return &ring->keys;
    struct scram_stretch stretch;
    struct sv salt = scram_client_salt(client);
    scram_stretch_begin(&stretch, sv_from_cstr(link->options->password), salt, client->iterations);
    while (!scram_stretch_run(&stretch, client->iterations))
        continue;
    scram_stretch_end(&stretch, &ring->keys);
    scram_verifier_init(&ring->verifier, &ring->keys, salt, client->iterations);
    ring->is_set = true;
    return &ring->keys;
}

static void begin_scram(struct link *link, struct scram_client *client)
{
    char random[SCRAM_NONCE_BYTES];
    char block[512];
    struct buffer text;
    const struct scram_binding none = {.size = 0};
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        die("could not get random bytes");
    buffer_init(&text, block, sizeof block);
    scram_client_init(client, SCRAM_CHOICE_PLAIN, &none);
    demand(scram_client_first(client, random, &text, NULL), "SCRAM's first message");
    demand(build_sasl_initial(&link->out, sv_from_cstr(SCRAM_SHA_256), buffer_view(&text)),
           "SASLInitialResponse");
    send_out(link);
}

static void answer_challenge(struct link *link, struct scram_client *client, struct sv data)
{
    char block[512];
    struct buffer text;
    buffer_init(&text, block, sizeof block);
    demand(scram_client_challenge(client, data, NULL), "SCRAM's challenge");
    demand(scram_client_final(client, keys_for(link, client), &text, NULL), "SCRAM's proof");
    demand(build_sasl_response(&link->out, buffer_view(&text)), "SASLResponse");
    send_out(link);
}

static void authenticate(struct link *link, struct scram_client *client, struct sv body)
{
    struct message_auth auth;
    if (message_auth((struct message){body, true}, &auth) != MESSAGE_OK)
        die_saying("could not log in", sv_from_cstr("a broken message"));
    switch (auth.kind) {
    case BUILD_AUTH_OK:
        break;
    case BUILD_AUTH_SASL:
        if (link->options->password == NULL)
            die_saying("could not log in", sv_from_cstr("a password is wanted"));
        begin_scram(link, client);
        break;
    case BUILD_AUTH_SASL_CONTINUE:
        answer_challenge(link, client, auth.data);
        break;
    case BUILD_AUTH_SASL_FINAL:
        demand(scram_client_verify(client, auth.data, NULL), "SCRAM's last word");
        break;
    default:
        die_saying("could not log in", sv_from_cstr("another kind of authentication is wanted"));
    }
}

static void link_open(struct link *link, const struct options *options, struct keyring *keyring)
{
    struct scram_client client = {.state = 0};
    struct sv body;
    char type;
    link->options = options;
    link->keyring = keyring;
    link->ssl = NULL;
    link->in_start = link->in_end = 0;
    buffer_init(&link->out, link->out_block, sizeof link->out_block);
    connect_to(link);
    if (options->is_tls)
        secure(link);
    const struct build_parameter parameters[] = {
        {sv_from_cstr("user"), sv_from_cstr(options->user)},
        {sv_from_cstr("database"), sv_from_cstr(options->database)},
    };
    demand(build_startup(&link->out, STARTUP_VERSION_OLDEST, parameters, 2), "a StartupMessage");
    send_out(link);
    while ((type = receive(link, &body)) != 'Z') {
        if (type == 'R')
            authenticate(link, &client, body);
    }
}

static void link_close(struct link *link)
{
    demand(build_empty(&link->out, 'X'), "Terminate");
    send_out(link);
    if (link->ssl != NULL)
        SSL_free(link->ssl);
    close(link->fd);
}

/* ---- login ---- */

struct worker {
    pthread_t id;
    const struct options *options;
    uint64_t logins;
};

static void *log_in_and_out(void *argument)
{
    struct worker *worker = argument;
    struct keyring keyring = {.is_set = false};
    struct link *link = malloc(sizeof *link);
    if (link == NULL)
        die("could not get memory");
    /* The first one is before the time that counts: it stretches the password. */
    link_open(link, worker->options, &keyring);
    link_close(link);
    while (now_ns() < worker->options->end_ns) {
        link_open(link, worker->options, &keyring);
        link_close(link);
        worker->logins++;
    }
    free(link);
    return NULL;
}

static int run_login(struct options *options)
{
    struct worker workers[THREADS_MAX];
    int64_t begun_ns = now_ns();
    options->end_ns = begun_ns + (int64_t)(options->seconds * 1e9);
    for (uint32_t i = 0; i < options->threads; i++) {
        workers[i] = (struct worker){.options = options};
        if (pthread_create(&workers[i].id, NULL, log_in_and_out, &workers[i]) != 0)
            die("could not start a thread");
    }
    uint64_t logins = 0;
    for (uint32_t i = 0; i < options->threads; i++) {
        pthread_join(workers[i].id, NULL);
        logins += workers[i].logins;
    }
    printf("{\"logins\": %llu, \"seconds\": %.6f}\n", (unsigned long long)logins,
           (double)(now_ns() - begun_ns) / 1e9);
    return 0;
}

/* ---- idle ---- */

/* A text as long as it is asked to be, and not like any other. */
static void prepare(struct link *link, uint32_t client, uint32_t statement)
{
    char name[32];
    char text[MESSAGE_SIZE_MAX / 2];
    struct sv body;
    int used = snprintf(text, sizeof text, "SELECT %u + %u -- ", client, statement);
    size_t size = link->options->bytes < sizeof text ? link->options->bytes : sizeof text;
    if ((size_t)used < size)
        memset(text + used, 'x', size - (size_t)used);
    else
        size = (size_t)used;
    snprintf(name, sizeof name, "s%u", statement);
    demand(build_parse(&link->out, sv_from_cstr(name), sv_from(text, size)), "Parse");
    demand(build_empty(&link->out, 'S'), "Sync");
    send_out(link);
    if (receive(link, &body) != '1')
        die_saying("could not prepare", sv_from_cstr("no ParseComplete came"));
    await_ready(link);
}

static int run_idle(struct options *options)
{
    struct keyring keyring = {.is_set = false};
    struct link *link = malloc(sizeof *link);
    char ignored[64];
    if (link == NULL)
        die("could not get memory");
    for (uint32_t i = 0; i < options->clients; i++) {
        link_open(link, options, &keyring); /* left open: this process is its socket's owner */
        for (uint32_t k = 0; k < options->statements; k++)
            prepare(link, i, k);
    }
    free(link);
    printf("ready\n");
    fflush(stdout);
    while (read(STDIN_FILENO, ignored, sizeof ignored) > 0)
        continue;
    return 0;
}

/* ---- main ---- */

static uint32_t number_of(const char *text)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text || value > UINT32_MAX)
        die_saying("not a number", sv_from_cstr(text));
    return (uint32_t)value;
}

static void set_option(struct options *options, const char *name, const char *value)
{
    if (strcmp(name, "--port") == 0)
        options->port = (uint16_t)number_of(value);
    else if (strcmp(name, "--user") == 0)
        options->user = value;
    else if (strcmp(name, "--database") == 0)
        options->database = value;
    else if (strcmp(name, "--password") == 0)
        options->password = value;
    else if (strcmp(name, "--threads") == 0)
        options->threads = number_of(value);
    else if (strcmp(name, "--clients") == 0)
        options->clients = number_of(value);
    else if (strcmp(name, "--statements") == 0)
        options->statements = number_of(value);
    else if (strcmp(name, "--bytes") == 0)
        options->bytes = number_of(value);
    else if (strcmp(name, "--seconds") == 0)
        options->seconds = strtod(value, NULL);
    else
        die_saying("unknown option", sv_from_cstr(name));
}

int main(int argc, char **argv)
{
    struct options options = {.user = "bench", .database = "bench", .threads = 1};
    const char *mode = argc > 1 ? argv[1] : "";
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--tls") == 0) {
            options.is_tls = true;
        } else if (i + 1 < argc) {
            set_option(&options, argv[i], argv[i + 1]);
            i++;
        } else {
            die_saying("an option lacks its value", sv_from_cstr(argv[i]));
        }
    }
    if (options.threads < 1 || options.threads > THREADS_MAX)
        die_saying("--threads", sv_from_cstr("1 to 64"));
    if (options.is_tls) {
        options.tls = SSL_CTX_new(TLS_client_method());
        if (options.tls == NULL)
            die("could not set up TLS");
        SSL_CTX_set_session_cache_mode(options.tls, SSL_SESS_CACHE_OFF);
    }
    if (strcmp(mode, "login") == 0)
        return run_login(&options);
    if (strcmp(mode, "idle") == 0)
        return run_idle(&options);
    die_saying("the first word must be login or idle", sv_from_cstr(mode));
}
