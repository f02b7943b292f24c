/* silence FAMILY CONNECTIONS SECONDS
 *
 * In a network of its own, connections over loopback that carry nothing. Only the connecting ends have keepalive on.
 * Prints what the kernel has counted meanwhile: probes (TcpExt TCPKeepAlive), packets, and bytes of IP. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "network.h"

struct counters {
    long long probes, packets, bytes;
};

static void fail_if(int failed, const char *what)
{
    if (failed)
        err(1, "%s", what);
}

/* In /proc/net/netstat each line of numbers follows one of names. */
static long long probes(void)
{
    static char names[1 << 14], numbers[1 << 14];
    FILE *file = fopen("/proc/self/net/netstat", "r");
    fail_if(!file, "netstat");
    long long found = -1;
    while (fgets(names, sizeof names, file) && fgets(numbers, sizeof numbers, file)) {
        char *name, *number, *in_names, *in_numbers;
        name = strtok_r(names, " \n", &in_names);
        number = strtok_r(numbers, " \n", &in_numbers);
        while (name && number) {
            if (!strcmp(name, "TCPKeepAlive"))
                found = atoll(number);
            name = strtok_r(NULL, " \n", &in_names);
            number = strtok_r(NULL, " \n", &in_numbers);
        }
    }
    fclose(file);
    if (found < 0)
        errx(1, "no TCPKeepAlive");
    return found;
}

static struct counters count(void)
{
    struct counters now = {.probes = probes()};
    char line[512];
    FILE *file = fopen("/proc/self/net/dev", "r");
    fail_if(!file, "dev");
    while (fgets(line, sizeof line, file))
        sscanf(line, " lo: %lld %lld", &now.bytes, &now.packets);
    fclose(file);
    return now;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        errx(2, "usage: silence FAMILY CONNECTIONS SECONDS");
    int domain = strcmp(argv[1], "6") ? AF_INET : AF_INET6;
    int connections = atoi(argv[2]);
    double seconds = atof(argv[3]);
    own_network();
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback, .sin6_port = htons(7)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(7)};
    struct sockaddr *address = domain == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
    socklen_t length = domain == AF_INET ? sizeof v4 : sizeof v6;
    int listener = socket(domain, SOCK_STREAM, 0), off = 0;
    fail_if(listener < 0, "socket");
    setsockopt(listener, SOL_SOCKET, SO_KEEPALIVE, &off, sizeof off);
    fail_if(bind(listener, address, length), "bind");
    fail_if(listen(listener, 16), "listen");
    for (int i = 0; i < connections; i++) {
        int fd = socket(domain, SOCK_STREAM, 0);
        fail_if(fd < 0, "socket");
        fail_if(connect(fd, address, length), "connect");
        fail_if(accept(listener, NULL, NULL) < 0, "accept");
    }
    struct counters before = count();
    usleep(seconds * 1e6);
    struct counters after = count();
    printf("%lld %lld %lld\n", after.probes - before.probes, after.packets - before.packets,
           after.bytes - before.bytes);
    return 0;
}
