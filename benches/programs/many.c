/* many COUNT
 *
 * Opens so many connections in a network of its own, over as many processes as the limit of descriptors takes, and
 * holds them all. Prints the milliseconds until all were open, and the number of processes. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "clock.h"
#include "network.h"

/* Less than there are ephemeral ports (32768 to 60999): so many connections go to one address. */
enum { PER_ADDRESS = 20000, SPARE = 64 };

static void fail_if(int failed, const char *what)
{
    if (failed)
        err(1, "%s", what);
}

static int listen_at(struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct linger reset = {1, 0};
    fail_if(fd < 0, "socket");
    fail_if(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), "linger");
    fail_if(bind(fd, (struct sockaddr *)address, sizeof *address), "bind");
    fail_if(listen(fd, 16), "listen");
    return fd;
}

/* The share of one process. At its end the accepted sockets are reset, so that nothing lingers on. */
static void open_connections(int process, long share, int ready, int end)
{
    int listener = -1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(7)};
    for (long i = 0; i < share; i++) {
        if (i % PER_ADDRESS == 0) {
            address.sin_addr.s_addr = htonl(0x7f010000 + process * 256 + i / PER_ADDRESS + 1);
            listener = listen_at(&address);
        }
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        fail_if(fd < 0, "socket");
        fail_if(connect(fd, (struct sockaddr *)&address, sizeof address), "connect");
        fail_if(accept(listener, NULL, NULL) < 0, "accept");
    }
    char byte = 0;
    fail_if(write(ready, &byte, 1) != 1, "ready");
    /* Until the parent closes it. */
    if (read(end, &byte, 1) != 0)
        exit(1);
}

int main(int argc, char **argv)
{
    long count = argc == 2 ? atol(argv[1]) : 0;
    if (count <= 0)
        errx(2, "usage: many COUNT");
    own_network();
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    long most = ((long)limit.rlim_cur - SPARE) / 2;
    if (most <= 0)
        errx(1, "too few descriptors");
    int processes = (count + most - 1) / most;
    int ready[2], end[2];
    fail_if(pipe(ready) || pipe(end), "pipe");

    double start = now();
    for (int i = 0; i < processes; i++) {
        pid_t pid = fork();
        fail_if(pid < 0, "fork");
        if (pid == 0) {
            close(end[1]);
            open_connections(i, count / processes + (i < count % processes), ready[1], end[0]);
            _exit(0);
        }
    }
    close(ready[1]);
    close(end[0]);
    char byte;
    for (int i = 0; i < processes; i++)
        if (read(ready[0], &byte, 1) != 1)
            errx(1, "a process has failed");
    printf("%.1f %d\n", (now() - start) / 1e6, processes);
    close(end[1]);
    while (wait(NULL) > 0)
        ;
    return 0;
}
