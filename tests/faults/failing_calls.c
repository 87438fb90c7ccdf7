/* Makes file calls of a process fail as a network file system does: LD_PRELOAD of this library with

       FAIL_PATH   part of the paths that fail
       FAIL_ERRNO  the number that the calls leave
       FAIL_AFTER  so many calls on such paths go well first
       FAIL_COUNT  then so many fail, and all after them go well
       FAIL_CALLS  which: any of "open", "write", "rename", "mkdir", separated by commas
       FAIL_IN     of several processes only that with this JAXFACS_PROCESS_INDEX

   Built by the tests. TensorStore calls libc from C++, so that nothing in Python could stand in. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_int met;

static int number(const char *name) {
    const char *text = getenv(name);
    return text ? atoi(text) : 0;
}

static int fails(const char *call, const char *path) {
    const char *part = getenv("FAIL_PATH"), *calls = getenv("FAIL_CALLS");
    const char *in = getenv("FAIL_IN"), *index = getenv("JAXFACS_PROCESS_INDEX");
    if (!part || !calls || !path || !strstr(calls, call) || !strstr(path, part)) return 0;
    if (in && index && strcmp(in, index)) return 0;
    int before = atomic_fetch_add(&met, 1), after = number("FAIL_AFTER");
    if (before < after || before >= after + number("FAIL_COUNT")) return 0;
    errno = number("FAIL_ERRNO");
    return 1;
}

static int fails_fd(const char *call, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails(call, path);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define OPEN(name)                                            \
    int name(const char *path, int flags, ...) {              \
        REAL(name);                                           \
        va_list rest;                                         \
        va_start(rest, flags);                                \
        mode_t mode = va_arg(rest, mode_t);                   \
        va_end(rest);                                         \
        if ((flags & O_CREAT) && fails("open", path)) return -1; \
        return real(path, flags, mode);                       \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                          \
    int name(int at, const char *path, int flags, ...) {      \
        REAL(name);                                           \
        va_list rest;                                         \
        va_start(rest, flags);                                \
        mode_t mode = va_arg(rest, mode_t);                   \
        va_end(rest);                                         \
        if ((flags & O_CREAT) && fails("open", path)) return -1; \
        return real(at, path, flags, mode);                   \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    return fails_fd("write", fd) ? -1 : real(fd, data, size);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    return fails_fd("write", fd) ? -1 : real(fd, parts, count);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    return fails_fd("write", fd) ? -1 : real(fd, data, size, at);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    return fails_fd("write", fd) ? -1 : real(fd, data, size, at);
}
int rename(const char *from, const char *to) {
    REAL(rename);
    return fails("rename", from) ? -1 : real(from, to);
}
int renameat(int at, const char *from, int to_at, const char *to) {
    REAL(renameat);
    return fails("rename", from) ? -1 : real(at, from, to_at, to);
}
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return fails("mkdir", path) ? -1 : real(path, mode);
}
