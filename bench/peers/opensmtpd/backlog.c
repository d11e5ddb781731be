/* OpenSMTPD listens with a backlog of 5, and a benchmark's connections arrive at once: preloaded, this asks for 1024. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>

int listen(int descriptor, int backlog)
{
    (void)backlog;
    return (int)syscall(SYS_listen, descriptor, 1024);
}
