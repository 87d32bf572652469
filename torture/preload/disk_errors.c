/*
 * A disk that fails now and then: fsync, write and truncate of the files of one directory return an
 * error. Loaded with LD_PRELOAD.
 *
 * DISK_ERRORS_DIRECTORY names the directory, DISK_ERRORS_CONTROL a file of three 32-bit numbers in
 * the machine's order, which may change at any time: the error (0: none), one call of how many
 * fails, and which calls (1: syncs, 2: writes and truncates, 3: all).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SYNCS = 1, WRITES = 2 };

static const volatile uint32_t *control;
static const char *directory = "";
static atomic_uint calls;

__attribute__((constructor)) static void start(void) {
    const char *named = getenv("DISK_ERRORS_DIRECTORY");
    const char *file = getenv("DISK_ERRORS_CONTROL");
    if (named == NULL || file == NULL) {
        return;
    }
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    void *shared = fd < 0 ? MAP_FAILED : mmap(NULL, 12, PROT_READ, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED) {
        abort();
    }
    close(fd);
    directory = named;
    control = shared;
}

/* Whether this call fails; errno is set then. */
static int fails(int fd, uint32_t kind) {
    if (control == NULL || control[0] == 0 || (control[2] & kind) == 0) {
        return 0;
    }
    char link[64], path[4096];
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = saved;
    if (length < 0) {
        return 0;
    }
    path[length] = '\0';
    size_t prefix = strlen(directory);
    if (strncmp(path, directory, prefix) != 0 || path[prefix] != '/') {
        return 0;
    }
    uint32_t one_of = control[1] == 0 ? 1 : control[1];
    if (atomic_fetch_add(&calls, 1) % one_of != 0) {
        return 0;
    }
    errno = (int)control[0];
    return 1;
}

#define CALL(type, name, kind, parameters, arguments)                       \
    type name parameters {                                                  \
        static type(*real) parameters;                                      \
        if (real == NULL) {                                                 \
            *(void **)&real = dlsym(RTLD_NEXT, #name);                      \
        }                                                                   \
        return fails(fd, kind) ? -1 : real arguments;                       \
    }

CALL(int, fsync, SYNCS, (int fd), (fd))
CALL(int, fdatasync, SYNCS, (int fd), (fd))
CALL(int, ftruncate, WRITES, (int fd, off_t size), (fd, size))
CALL(int, ftruncate64, WRITES, (int fd, off64_t size), (fd, size))
CALL(ssize_t, write, WRITES, (int fd, const void *data, size_t count), (fd, data, count))
CALL(ssize_t, pwrite, WRITES, (int fd, const void *data, size_t count, off_t at), (fd, data, count, at))
CALL(ssize_t, pwrite64, WRITES, (int fd, const void *data, size_t count, off64_t at), (fd, data, count, at))
