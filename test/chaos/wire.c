/*
 * The wire between machines that are network namespaces: carries IP packets from one to the other,
 * and on request loses or delays them.
 *
 *     wire app=NETNS=10.77.0.1 s1=NETNS=10.77.0.11 ...
 *
 * It makes a TUN device named hf0 in each namespace (whoever starts it gives them their addresses)
 * and says "ready". Then it takes orders on standard input, one a line, and answers each by "ok":
 *
 *     cut FROM TO          packets from FROM to TO vanish; the other direction is another order
 *     delay FROM TO MS     they take MS milliseconds
 *     heal                 as in the beginning
 *
 * Both ends keep a whole kernel's TCP, so a cut is what it is in a data centre: no reset, no error,
 * silence. Why not veth and tc: netem, filters and bridges are modules that many kernels of
 * continuous integration do not have, and TUN is in all of them. Ends when standard input does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
    MACHINES_MAX = 8,
    PACKET_BYTES = 1600,
    WAITING_MAX = 8192, /* packets under way; more are lost, as on a full line */
    IPV4_BYTES_MIN = 20,
    IPV4_DESTINATION = 16, /* where it stands in the header */
    ORDER_BYTES = 256,
};

struct machine {
    char name[16];
    char netns[64];
    struct in_addr address;
    int fd;
};

struct packet {
    int64_t due_ns;
    uint64_t number; /* of two that are due at the same time the older one goes first */
    int to;
    size_t size;
    unsigned char bytes[PACKET_BYTES];
};

struct wire {
    struct machine machines[MACHINES_MAX];
    int count;
    bool is_cut[MACHINES_MAX][MACHINES_MAX];
    int64_t delay_ns[MACHINES_MAX][MACHINES_MAX];
    struct packet *waiting[WAITING_MAX]; /* a heap, the next one first */
    size_t waiting_count;
    uint64_t carried;
    char order[ORDER_BYTES]; /* what has come of the next line */
    size_t order_bytes;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "wire: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool is_before(const struct packet *a, const struct packet *b)
{
    return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->number < b->number);
}

static void swap(struct packet **a, struct packet **b)
{
    struct packet *kept = *a;

    *a = *b;
    *b = kept;
}

static void keep(struct wire *wire, struct packet *packet)
{
    size_t at = wire->waiting_count++;

    wire->waiting[at] = packet;
    while (at > 0 && is_before(wire->waiting[at], wire->waiting[(at - 1) / 2])) {
        swap(&wire->waiting[at], &wire->waiting[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
}

static struct packet *take_first(struct wire *wire)
{
    struct packet *first = wire->waiting[0];
    size_t at = 0;

    wire->waiting[0] = wire->waiting[--wire->waiting_count];
    for (;;) {
        size_t least = at;

        for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
            if (child < wire->waiting_count &&
                is_before(wire->waiting[child], wire->waiting[least]))
                least = child;
        }
        if (least == at)
            return first;
        swap(&wire->waiting[at], &wire->waiting[least]);
        at = least;
    }
}

/* A device that takes no more loses the packet, which is TCP's business. */
static void deliver(struct wire *wire, int to, const unsigned char *bytes, size_t size)
{
    if (write(wire->machines[to].fd, bytes, size) < 0 && errno != EAGAIN && errno != EIO &&
        errno != ENOBUFS)
        die("could not write to a device");
}

static void carry(struct wire *wire, int from, int to, const unsigned char *bytes, size_t size)
{
    struct packet *packet;

    if (wire->is_cut[from][to])
        return;
    wire->carried++;
    if (wire->delay_ns[from][to] == 0) {
        deliver(wire, to, bytes, size);
        return;
    }
    if (wire->waiting_count == WAITING_MAX)
        return;
    packet = malloc(sizeof(*packet));
    if (packet == NULL)
        die("no memory");
    packet->due_ns = now_ns() + wire->delay_ns[from][to];
    packet->number = wire->carried;
    packet->to = to;
    packet->size = size;
    memcpy(packet->bytes, bytes, size);
    keep(wire, packet);
}

static void receive(struct wire *wire, int from)
{
    unsigned char bytes[PACKET_BYTES];

    for (;;) {
        ssize_t size = read(wire->machines[from].fd, bytes, sizeof(bytes));

        if (size < 0)
            return;
        if (size < IPV4_BYTES_MIN || bytes[0] >> 4 != 4)
            continue;
        for (int to = 0; to < wire->count; to++) {
            if (memcmp(bytes + IPV4_DESTINATION, &wire->machines[to].address, 4) == 0)
                carry(wire, from, to, bytes, (size_t)size);
        }
    }
}

static void deliver_due(struct wire *wire)
{
    int64_t now = now_ns();

    while (wire->waiting_count > 0 && wire->waiting[0]->due_ns <= now) {
        struct packet *packet = take_first(wire);

        deliver(wire, packet->to, packet->bytes, packet->size);
        free(packet);
    }
}

static int find(const struct wire *wire, const char *name)
{
    for (int i = 0; i < wire->count; i++) {
        if (strcmp(wire->machines[i].name, name) == 0)
            return i;
    }
    fprintf(stderr, "wire: there is no %s\n", name);
    exit(1);
}

static void obey(struct wire *wire, const char *line)
{
    char from[16];
    char to[16];
    int used = 0;

    if (strcmp(line, "heal") == 0) {
        memset(wire->is_cut, 0, sizeof(wire->is_cut));
        memset(wire->delay_ns, 0, sizeof(wire->delay_ns));
    } else if (sscanf(line, "cut %15s %15s", from, to) == 2) {
        wire->is_cut[find(wire, from)][find(wire, to)] = true;
    } else if (sscanf(line, "delay %15s %15s %n", from, to, &used) == 2 && used > 0) {
        wire->delay_ns[find(wire, from)][find(wire, to)] = strtol(line + used, NULL, 10) * 1000000;
    } else {
        fprintf(stderr, "wire: what is \"%s\"?\n", line);
        exit(1);
    }
    puts("ok");
    fflush(stdout);
}

/* False when nobody gives orders any more. */
static bool take_orders(struct wire *wire)
{
    ssize_t size = read(STDIN_FILENO, wire->order + wire->order_bytes,
                        sizeof(wire->order) - wire->order_bytes);
    char *end;

    if (size <= 0)
        return false;
    wire->order_bytes += (size_t)size;
    while ((end = memchr(wire->order, '\n', wire->order_bytes)) != NULL) {
        size_t used = (size_t)(end - wire->order) + 1;

        *end = '\0';
        obey(wire, wire->order);
        wire->order_bytes -= used;
        memmove(wire->order, wire->order + used, wire->order_bytes);
    }
    return true;
}

/* Opened inside of the namespace, the device belongs there and its other end stays here. */
static int open_device(const char *netns)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    char path[128];
    int space;
    int fd;

    snprintf(path, sizeof(path), "/run/netns/%s", netns);
    space = open(path, O_RDONLY | O_CLOEXEC);
    if (space < 0 || setns(space, CLONE_NEWNET) != 0)
        die(path);
    close(space);
    fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "hf0");
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0)
        die("could not make a TUN device");
    return fd;
}

static void add_machine(struct wire *wire, const char *argument)
{
    struct machine *machine = &wire->machines[wire->count];
    char address[32];

    if (wire->count == MACHINES_MAX ||
        sscanf(argument, "%15[^=]=%63[^=]=%31s", machine->name, machine->netns, address) != 3 ||
        inet_pton(AF_INET, address, &machine->address) != 1) {
        fprintf(stderr, "usage: wire NAME=NETNS=ADDRESS ...\n");
        exit(2);
    }
    machine->fd = open_device(machine->netns);
    wire->count++;
}

int main(int argc, char **argv)
{
    static struct wire wire;
    struct pollfd polled[MACHINES_MAX + 1];

    for (int i = 1; i < argc; i++)
        add_machine(&wire, argv[i]);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int64_t wait_ns = wire.waiting_count > 0 ? wire.waiting[0]->due_ns - now_ns() : -1;
        int wait_ms = wire.waiting_count == 0 ? -1
                      : wait_ns <= 0          ? 0
                                              : (int)(wait_ns / 1000000) + 1;

        for (int i = 0; i < wire.count; i++)
            polled[i] = (struct pollfd){.fd = wire.machines[i].fd, .events = POLLIN};
        polled[wire.count] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
        if (poll(polled, (nfds_t)wire.count + 1, wait_ms) < 0 && errno != EINTR)
            die("poll");
        for (int i = 0; i < wire.count; i++) {
            if (polled[i].revents != 0)
                receive(&wire, i);
        }
        deliver_due(&wire);
        if (polled[wire.count].revents != 0 && !take_orders(&wire))
            return 0;
    }
}
