/* A small program with threads: its start is measured. */
#include <pthread.h>
#include <stddef.h>

static void *nothing(void *argument)
{
    return argument;
}

int main(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, nothing, NULL))
            return 1;
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
