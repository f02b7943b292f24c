/* stream bulk MEBIBYTES | stream pingpong COUNT
 *
 * One established connection over loopback, between two threads. Prints the nanoseconds per mebibyte or per round
 * trip of one byte. */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

enum { MEBIBYTE = 1 << 20, PIECE = 1 << 16 };

static int pingpong;
static char sent[PIECE], received[PIECE];

static void fail_if(int failed, const char *what)
{
    if (failed)
        err(1, "%s", what);
}

static void *serve(void *argument)
{
    int fd = *(int *)argument;
    ssize_t n;
    while ((n = read(fd, received, sizeof received)) > 0)
        if (pingpong)
            fail_if(write(fd, received, n) != n, "write");
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        errx(2, "usage: stream bulk MEBIBYTES | stream pingpong COUNT");
    pingpong = argv[1][0] == 'p';
    long count = atol(argv[2]);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    fail_if(bind(listener, (struct sockaddr *)&address, length), "bind");
    fail_if(getsockname(listener, (struct sockaddr *)&address, &length), "getsockname");
    fail_if(listen(listener, 1), "listen");
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    fail_if(connect(fd, (struct sockaddr *)&address, length), "connect");
    int accepted = accept(listener, NULL, NULL);
    fail_if(accepted < 0, "accept");
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    pthread_t server;
    fail_if(pthread_create(&server, NULL, serve, &accepted), "thread");

    double start = now();
    if (pingpong) {
        char byte = 0;
        for (long i = 0; i < count; i++)
            fail_if(write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1, "ping");
    } else {
        for (long left = count * MEBIBYTE; left > 0;) {
            ssize_t n = write(fd, sent, sizeof sent);
            fail_if(n < 0, "write");
            left -= n;
        }
    }
    /* The server ends when it has read everything. */
    shutdown(fd, SHUT_WR);
    pthread_join(server, NULL);
    printf("%.1f\n", (now() - start) / count);
    return 0;
}
