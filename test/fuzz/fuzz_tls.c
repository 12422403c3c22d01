/*
 * TLS between two of our own sides, with somebody hostile on the wire: the input is a list of what
 * happens, two bytes each, and of bytes that are put in.
 *
 *     say (from client, from server), deliver (to server, to client), change, put in, leave out,
 * close
 *
 * What must hold: nobody ever receives a byte that the other side did not say, in that order; an
 * end has a reason; and what is pending stays within its limit (the filter asserts that itself).
 */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "net/tls.h"
#include "os/mem.h"

#define WIRE_SIZE  100000
#define CHUNK_SIZE 20000
#define HOST       "db.example"

int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct mem mem;
static struct tls_context *contexts[2]; /* by side: TLS_SERVER, TLS_CLIENT */

/* One side: what it is, what is on its way to it, what it has said and heard so far. */
struct end {
    struct tls *tls;
    size_t said, heard;
    size_t wire_start, wire_end;
    char wire[WIRE_SIZE];
};

static struct end ends[2];

/* A file in memory; its path for OpenSSL. */
static FILE *memory_file(const char *name, char path[64])
{
    int fd = memfd_create(name, 0);
    FUZZ_CHECK(fd >= 0 && fchmod(fd, 0600) == 0);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    FILE *file = fdopen(fd, "w");
    FUZZ_CHECK(file != NULL);
    return file;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    FUZZ_CHECK(key != NULL && certificate != NULL);
    X509_set_version(certificate, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 365L * 24 * 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)HOST, -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    FUZZ_CHECK(X509_sign(certificate, key, EVP_sha256()) > 0);
    char crt_path[64], key_path[64];
    FILE *crt_file = memory_file("crt", crt_path), *key_file = memory_file("key", key_path);
    FUZZ_CHECK(PEM_write_X509(crt_file, certificate) == 1 && fflush(crt_file) == 0);
    FUZZ_CHECK(PEM_write_PrivateKey(key_file, key, NULL, NULL, 0, NULL, NULL) == 1);
    FUZZ_CHECK(fflush(key_file) == 0);

    mem_init(&mem, 0);
    const struct tls_config server = {.side = TLS_SERVER,
                                      .cert_file = crt_path,
                                      .key_file = key_path,
                                      .alpn = TLS_ALPN_POSTGRESQL};
    const struct tls_config client = {.side = TLS_CLIENT,
                                      .ca_file = crt_path,
                                      .verify = TLS_VERIFY_FULL,
                                      .alpn = TLS_ALPN_POSTGRESQL};
    FUZZ_CHECK(tls_context_new(&contexts[TLS_SERVER], &server, &mem, NULL) == HF_OK);
    FUZZ_CHECK(tls_context_new(&contexts[TLS_CLIENT], &client, &mem, NULL) == HF_OK);
    fclose(crt_file);
    fclose(key_file);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return 0;
}

/* Byte i of what a side says. */
static char byte_at(size_t i, size_t side)
{
    return (char)((i * 5 + i / 253 + side * 31) & 0xff);
}

/* Takes what `from` has to send, with up to `size` bytes that it says. */
static void say(size_t from, size_t size)
{
    static char plain[CHUNK_SIZE];
    struct end *end = &ends[from], *to = &ends[1 - from];
    memmove(to->wire, to->wire + to->wire_start, to->wire_end - to->wire_start);
    to->wire_end -= to->wire_start;
    to->wire_start = 0;
    for (size_t i = 0; i < size; i++)
        plain[i] = byte_at(end->said + i, from);
    struct sv rest = sv_from(plain, size);
    to->wire_end += tls_send(end->tls, &rest, to->wire + to->wire_end, WIRE_SIZE - to->wire_end);
    end->said += size - rest.size;
}

static void deliver(size_t to, size_t size, size_t room)
{
    static char plain[CHUNK_SIZE];
    struct end *end = &ends[to];
    size_t there = end->wire_end - end->wire_start;
    struct sv wire = sv_from(end->wire + end->wire_start, there < size ? there : size);
    size_t before = wire.size;
    size_t count = tls_receive(end->tls, &wire, plain, room);
    end->wire_start += before - wire.size;
    for (size_t i = 0; i < count; i++)
        FUZZ_CHECK(plain[i] == byte_at(end->heard + i, 1 - to));
    end->heard += count;
    FUZZ_CHECK(end->heard <= ends[1 - to].said);
    FUZZ_CHECK(tls_state(end->tls) != TLS_FAILED || tls_error(end->tls)->message[0] != '\0');
}

/* Puts bytes of the input in front of what is on its way. */
static void put_in(size_t to, const uint8_t *bytes, size_t size)
{
    struct end *end = &ends[to];
    if (end->wire_end + size > WIRE_SIZE)
        return;
    memmove(end->wire + end->wire_start + size, end->wire + end->wire_start,
            end->wire_end - end->wire_start);
    memcpy(end->wire + end->wire_start, bytes, size);
    end->wire_end += size;
}

static void happen(uint8_t what, uint8_t much, const uint8_t *rest, size_t rest_size)
{
    size_t side = what & 1;
    struct end *end = &ends[side];
    size_t there = end->wire_end - end->wire_start;
    switch (what >> 1 & 7) {
    case 0:
        say(side, (size_t)much * 70);
        break;
    case 1:
        deliver(side, WIRE_SIZE, CHUNK_SIZE);
        break;
    case 2:
        deliver(side, much, (size_t)much * 8);
        break;
    case 3:
        if (much < there)
            end->wire[end->wire_start + much] ^= (char)(1 << (what >> 5));
        break;
    case 4:
        put_in(side, rest, much < rest_size ? much : rest_size);
        break;
    case 5:
        end->wire_start += much < there ? much : there;
        break;
    case 6:
        tls_close(end->tls);
        break;
    default:
        tls_cut(end->tls);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < 2; i++) {
        const struct tls_options options = {.host_name = i == TLS_CLIENT ? HOST : NULL,
                                            .session_key = "db:5432"};
        ends[i].said = ends[i].heard = ends[i].wire_start = ends[i].wire_end = 0;
        FUZZ_CHECK(tls_new(&ends[i].tls, contexts[i], &options, NULL) == HF_OK);
    }
    for (size_t i = 0; i + 2 <= size; i += 2)
        happen(data[i], data[i + 1], data + i + 2, size - i - 2);
    tls_free(ends[0].tls);
    tls_free(ends[1].tls);
    return 0;
}
