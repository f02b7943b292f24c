/* sockets BATCHES COUNT FAMILY:STEP...
 *
 * FAMILY is tcp4, tcp6, udp or unix. STEP is what is done to each new socket before it is closed: `socket` nothing,
 * `keepalive` SO_KEEPALIVE is set, `connect` to a listener in this process, `accept` the same and the listener accepts.
 * Prints, for each, the nanoseconds that one took in the fastest batch.
 *
 * With OWN in the environment the program makes the system calls itself that a preload would make for it. */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"

static int own;

static int listener;
static struct sockaddr_storage address;
static socklen_t length;

static void fail_if(int failed, const char *what)
{
    if (failed)
        err(1, "%s", what);
}

static void set(int fd, int level, int name, int value)
{
    fail_if(setsockopt(fd, level, name, &value, sizeof value), "setsockopt");
}

static void look(int fd)
{
    int value;
    socklen_t size = sizeof value;
    fail_if(getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, &size), "getsockopt");
}

/* A listener whose connections are reset when they are closed, so that none lingers on; for UDP, a port. */
static void listen_at(const char *family, int domain, int type)
{
    memset(&address, 0, sizeof address);
    address.ss_family = domain;
    length = sizeof address;
    if (domain == AF_UNIX)
        length = sizeof(sa_family_t);
    else if (domain == AF_INET6)
        ((struct sockaddr_in6 *)&address)->sin6_addr = in6addr_loopback;
    else
        ((struct sockaddr_in *)&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(domain, type, 0);
    fail_if(listener < 0, family);
    fail_if(bind(listener, (struct sockaddr *)&address, length), "bind");
    length = sizeof address;
    fail_if(getsockname(listener, (struct sockaddr *)&address, &length), "getsockname");
    if (type != SOCK_STREAM)
        return;
    struct linger reset = {1, 0};
    fail_if(setsockopt(listener, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), "linger");
    fail_if(listen(listener, 128), "listen");
}

static void one(int domain, int type, const char *step, int tcp)
{
    int fd = socket(domain, type, 0);
    fail_if(fd < 0, "socket");
    if (own && tcp) {
        set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
        set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
        set(fd, IPPROTO_TCP, TCP_KEEPCNT, 9);
    }
    if (*step == 'k')
        set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (*step == 'c' || *step == 'a') {
        fail_if(connect(fd, (struct sockaddr *)&address, length), "connect");
        if (own && tcp)
            look(fd);
    }
    if (*step == 'a') {
        int accepted = accept(listener, NULL, NULL);
        fail_if(accepted < 0, "accept");
        if (own && tcp)
            look(accepted);
        close(accepted);
    }
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        errx(2, "usage: sockets BATCHES COUNT FAMILY:STEP...");
    int batches = atoi(argv[1]), count = atoi(argv[2]);
    own = getenv("OWN") != NULL;
    for (int i = 3; i < argc; i++) {
        int tcp = !strncmp(argv[i], "tcp", 3);
        int type = argv[i][1] == 'd' ? SOCK_DGRAM : SOCK_STREAM;
        int domain = !strncmp(argv[i], "tcp6", 4) ? AF_INET6 : !strncmp(argv[i], "unix", 4) ? AF_UNIX : AF_INET;
        const char *step = strchr(argv[i], ':');
        if (!step++)
            errx(2, "%s", argv[i]);
        listen_at(argv[i], domain, type);
        double best = 1e18;
        for (int b = 0; b < batches; b++) {
            double start = now();
            for (int j = 0; j < count; j++)
                one(domain, type, step, tcp);
            double each = (now() - start) / count;
            best = each < best ? each : best;
        }
        close(listener);
        printf("%.1f\n", best);
    }
    return 0;
}
