/*
 * Records what a process does to the files of one directory, and what it sends to its clients.
 * Loaded with LD_PRELOAD; RECORDER_DIRECTORY and RECORDER_LOG name the directory and the record.
 *
 * A record is: kind, thread, inode, offset, length of the path, length of the data, path, data
 * (char, then four 64-bit numbers, in the machine's order). A change is recorded together with the
 * call that made it, a sync before and after its call, an answer before it is sent.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int record_fd = -1;
static const char *directory = "";

__attribute__((constructor)) static void start(void) {
    const char *log = getenv("RECORDER_LOG");
    const char *named = getenv("RECORDER_DIRECTORY");
    if (log == NULL || named == NULL) {
        return;
    }
    directory = named;
    record_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (record_fd < 0) {
        abort();
    }
}

static void put(const void *bytes, size_t count) {
    const char *rest = bytes;
    while (count > 0) {
        ssize_t done = syscall(SYS_write, record_fd, rest, count);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            abort();
        }
        rest += done;
        count -= (size_t)done;
    }
}

/* The caller holds the lock. */
static void put_record(char kind, uint64_t inode, uint64_t offset, const char *path,
                       const void *data, size_t count) {
    int saved = errno;
    uint64_t numbers[5] = {(uint64_t)syscall(SYS_gettid), inode, offset, strlen(path), count};
    put(&kind, 1);
    put(numbers, sizeof numbers);
    put(path, strlen(path));
    put(data, count);
    errno = saved;
}

/* Whether the file is to be recorded; its path and inode. */
static int is_recorded(int fd, char *path, size_t size, uint64_t *inode) {
    char link[64];
    struct stat status;
    int saved = errno;
    if (record_fd < 0 || fstat(fd, &status) != 0) {
        errno = saved;
        return 0;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    errno = saved;
    if (length < 0) {
        return 0;
    }
    path[length] = '\0';
    *inode = status.st_ino;
    return strncmp(path, directory, strlen(directory)) == 0;
}

static int is_socket(int fd) {
    struct stat status;
    int saved = errno;
    int is = record_fd >= 0 && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
    errno = saved;
    return is;
}

static void record_answer(int fd, const void *data, size_t count) {
    if (is_socket(fd)) {
        pthread_mutex_lock(&lock);
        put_record('A', 0, 0, "", data, count);
        pthread_mutex_unlock(&lock);
    }
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t offset) {
    char path[4096];
    uint64_t inode;
    if (!is_recorded(fd, path, sizeof path, &inode)) {
        return syscall(SYS_pwrite64, fd, data, count, offset);
    }
    pthread_mutex_lock(&lock);
    ssize_t done = syscall(SYS_pwrite64, fd, data, count, offset);
    if (done > 0) {
        put_record('W', inode, (uint64_t)offset, path, data, (size_t)done);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t offset) {
    return pwrite64(fd, data, count, offset);
}

ssize_t write(int fd, const void *data, size_t count) {
    char path[4096];
    uint64_t inode;
    record_answer(fd, data, count);
    if (!is_recorded(fd, path, sizeof path, &inode)) {
        return syscall(SYS_write, fd, data, count);
    }
    pthread_mutex_lock(&lock);
    off_t end = lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    ssize_t done = syscall(SYS_write, fd, data, count);
    if (done > 0) {
        put_record('W', inode, (uint64_t)end, path, data, (size_t)done);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t send(int fd, const void *data, size_t count, int flags) {
    record_answer(fd, data, count);
    return syscall(SYS_sendto, fd, data, count, flags, NULL, 0);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (count > 0) {
        record_answer(fd, parts[0].iov_base, parts[0].iov_len);
    }
    return syscall(SYS_writev, fd, parts, count);
}

static int sync_file(int fd, long call) {
    char path[4096];
    uint64_t inode;
    if (!is_recorded(fd, path, sizeof path, &inode)) {
        return (int)syscall(call, fd);
    }
    pthread_mutex_lock(&lock);
    put_record('S', inode, 0, path, "", 0);
    pthread_mutex_unlock(&lock);
    int outcome = (int)syscall(call, fd);
    if (outcome == 0) {
        pthread_mutex_lock(&lock);
        put_record('E', inode, 0, path, "", 0);
        pthread_mutex_unlock(&lock);
    }
    return outcome;
}

int fsync(int fd) { return sync_file(fd, SYS_fsync); }

int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

int ftruncate64(int fd, off64_t size) {
    char path[4096];
    uint64_t inode;
    if (!is_recorded(fd, path, sizeof path, &inode)) {
        return (int)syscall(SYS_ftruncate, fd, size);
    }
    pthread_mutex_lock(&lock);
    int outcome = (int)syscall(SYS_ftruncate, fd, size);
    if (outcome == 0) {
        put_record('T', inode, (uint64_t)size, path, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return outcome;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int unlink(const char *path) {
    pthread_mutex_lock(&lock);
    int outcome = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (outcome == 0 && record_fd >= 0 && strncmp(path, directory, strlen(directory)) == 0) {
        put_record('U', 0, 0, path, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return outcome;
}
