/* Prints how many nanoseconds of processor time this process takes, both ends of its connections and the kernel's work for them
 * together. It is the same whatever else the machine does.
 *
 *     connect N   socket, connect, accept and the two closes: the mean of N
 *     hold N      N connections that all stay: the mean
 *     ping N      one byte there and back on one connection: the mean of N
 *     stream N    N MiB through one connection: the mean of one
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static int listener;
static struct sockaddr_in address = { .sin_family = AF_INET };
static socklen_t length = sizeof address;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void pair(int ends[2])
{
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (ends[0] < 0 || connect(ends[0], (struct sockaddr *)&address, length) < 0)
        fail("connect");
    ends[1] = accept(listener, NULL, NULL);
    if (ends[1] < 0)
        fail("accept");
}

/* Closes without a connection left in TIME_WAIT. */
static void end(int ends[2])
{
    struct linger now = { 1, 0 };

    setsockopt(ends[0], SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(ends[0]);
    close(ends[1]);
}

static void *echo(void *end)
{
    char byte;

    while (read(*(int *)end, &byte, 1) == 1)
        if (write(*(int *)end, &byte, 1) != 1)
            fail("write");
    return NULL;
}

static void *drain(void *end)
{
    static char buffer[1 << 18];

    while (read(*(int *)end, buffer, sizeof buffer) > 0)
        ;
    return NULL;
}

/* How long it takes. A process may not have as many descriptors, so there is one after the other, and all stay. */
static double hold(long count)
{
    const long share = 8000;
    double whole = 0, took;
    int told[2], stay[2];

    if (pipe(told) || pipe(stay))
        fail("pipe");
    for (long first = 0; first < count; first += share) {
        if (!fork()) {
            close(stay[1]);
            /* Another address each time, so that there are ports enough. */
            address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + first / share);
            double start = now();
            for (long i = 0; i < share && first + i < count; i++)
                pair((int[2]){ 0 });
            took = now() - start;
            if (write(told[1], &took, sizeof took) != sizeof took)
                fail("write");
            /* Until the first process ends. */
            _exit(read(stay[0], &took, 1) != 0);
        }
        if (read(told[0], &took, sizeof took) != sizeof took)
            fail("read");
        whole += took;
    }
    return whole;
}

int main(int argc, char **argv)
{
    static char buffer[1 << 18];
    pthread_t thread;
    int ends[2], on = 1;
    char byte = 1;

    if (argc != 3)
        return 2;
    long count = atol(argv[2]);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    /* Every address of the loopback interface, so that there are ports enough. */
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 128))
        fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (!strcmp(argv[1], "connect")) {
        for (long i = 0; i < count / 10; i++)
            pair(ends), end(ends);
        double start = now();
        for (long i = 0; i < count; i++)
            pair(ends), end(ends);
        printf("%.1f\n", (now() - start) / count);
    } else if (!strcmp(argv[1], "hold")) {
        printf("%.1f\n", hold(count) / count);
    } else if (!strcmp(argv[1], "ping")) {
        pair(ends);
        for (int i = 0; i < 2; i++)
            setsockopt(ends[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        pthread_create(&thread, NULL, echo, &ends[1]);
        double start = now();
        for (long i = 0; i < count; i++)
            if (write(ends[0], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1)
                fail("ping");
        printf("%.1f\n", (now() - start) / count);
    } else if (!strcmp(argv[1], "stream")) {
        pair(ends);
        pthread_create(&thread, NULL, drain, &ends[1]);
        double start = now();
        for (long sent = 0; sent < count << 20;) {
            ssize_t n = write(ends[0], buffer, sizeof buffer);
            if (n < 0)
                fail("write");
            sent += n;
        }
        shutdown(ends[0], SHUT_WR);
        pthread_join(thread, NULL);
        printf("%.1f\n", (now() - start) / count);
    } else {
        return 2;
    }
    return 0;
}
