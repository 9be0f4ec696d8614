/* A disk with a memory, put between a process and the C library (LD_PRELOAD).
 *
 *   open, linkat, rename, unlink, mkdir, fsync ──► the real call ──► a line in the log, if a path lies below a root
 *                                        └► or a fault instead of it, or after it
 *
 * The log tells faults.py what a power failure could take away: names that were made and whose folder was not synced since,
 * bytes behind the length that was synced. What is removed or replaced stays in a "grave", so that it can come back.
 *
 * A line is written behind its operation, in one piece. A process that is killed in between has heard of nothing, so nothing
 * can have been built on it; for a file or a folder it counts as not synced, for a name as there for good.
 *
 *   DISK_ROOTS   folders, with ':' in between
 *   DISK_LOG     file that lines are added to
 *   DISK_GRAVE   folder on the same file system
 *   DISK_FAULTS  seed fail full slow half done: chances of each in a million, for writes below the first root
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FDS_MAX 65536
#define ROOTS_MAX 8
#define SLOW_MS_MAX 200
/* A disk stays full for so long. */
#define FULL_MS 150

enum fault { NONE, FAIL, FULL, SLOW, HALF, DONE, FAULTS };

static const char *roots[ROOTS_MAX];
static int roots_n, log_fd = -1;
static const char *grave;
static uint64_t random_state, chance[FAULTS], full_until_ms;
static unsigned long sequence = 1, graves;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* By descriptor: the path that it was opened with, if that lies below a root. */
static char *paths[FDS_MAX];

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

__attribute__((constructor)) static void begin(void) {
    char *text = getenv("DISK_ROOTS");
    text = text ? strdup(text) : NULL;
    for (char *root = text ? strtok(text, ":") : NULL; root && roots_n < ROOTS_MAX; root = strtok(NULL, ":"))
        roots[roots_n++] = root;
    grave = getenv("DISK_GRAVE");
    const char *log = getenv("DISK_LOG"), *faults = getenv("DISK_FAULTS");
    if (log)
        log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (faults)
        sscanf(faults, "%lu %lu %lu %lu %lu %lu", &random_state, &chance[FAIL], &chance[FULL], &chance[SLOW], &chance[HALF],
               &chance[DONE]);
}

/* The number of the root that a path lies below, from 1; 0: of none. */
static int root_of(const char *path) {
    for (int i = 0; path && i < roots_n; i++) {
        size_t n = strlen(roots[i]);
        if (strncmp(path, roots[i], n) == 0 && (path[n] == '/' || path[n] == 0))
            return i + 1;
    }
    return 0;
}

/* splitmix64. */
static uint64_t draw(void) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static enum fault fault_at(const char *path) {
    if (root_of(path) != 1)
        return NONE;
    pthread_mutex_lock(&lock);
    uint64_t at = draw() % 1000000, wait_ms = draw() % SLOW_MS_MAX;
    enum fault found = NONE;
    for (int kind = FAIL; kind < FAULTS && found == NONE; kind++) {
        if (at < chance[kind])
            found = kind;
        else
            at -= chance[kind];
    }
    if (found == FULL)
        full_until_ms = now_ms() + FULL_MS;
    else if (now_ms() < full_until_ms)
        found = FULL;
    pthread_mutex_unlock(&lock);
    if (found == SLOW) {
        struct timespec t = {0, (long)wait_ms * 1000000};
        nanosleep(&t, NULL);
        found = NONE;
    }
    return found;
}

static int fails(enum fault fault) {
    errno = fault == FULL ? ENOSPC : EIO;
    return -1;
}

/* Adds a line; the caller holds the lock. */
static void note(const char *format, ...) {
    char line[8192];
    va_list args;
    int n = snprintf(line, sizeof line, "%lu\t", sequence++);
    va_start(args, format);
    n += vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    va_end(args);
    if (log_fd >= 0 && n < (int)sizeof line - 1) {
        line[n++] = '\n';
        ssize_t written = syscall(SYS_write, log_fd, line, (size_t)n);
        (void)written;
    }
}

/* Another name for what is about to lose one; the caller holds the lock. Its name, or "-". */
static const char *bury(const char *path, char *into) {
    struct stat found;
    if (grave && lstat(path, &found) == 0 && S_ISREG(found.st_mode)) {
        sprintf(into, "%s/%d-%lu", grave, (int)getpid(), graves++);
        if (syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, into, 0) == 0)
            return into;
    }
    return "-";
}

static int opened(const char *path, int flags, mode_t mode) {
    int is_ours = root_of(path) != 0;
    int makes = is_ours && (flags & (O_CREAT | O_TRUNC)), is_new = 0;
    if (makes) {
        enum fault fault = fault_at(path);
        if (fault == FAIL || fault == FULL)
            return fails(fault);
        pthread_mutex_lock(&lock);
        struct stat before;
        is_new = stat(path, &before) != 0;
    }
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    struct stat found;
    if (makes) {
        if (fd >= 0 && fstat(fd, &found) == 0)
            note("%s\t%lu\t%ld\t%s", is_new ? "create" : "open", (unsigned long)found.st_ino, (long)found.st_size, path);
        pthread_mutex_unlock(&lock);
    } else if (is_ours && fd >= 0 && (flags & O_ACCMODE) != O_RDONLY && fstat(fd, &found) == 0) {
        pthread_mutex_lock(&lock);
        note("open\t%lu\t%ld\t%s", (unsigned long)found.st_ino, (long)found.st_size, path);
        pthread_mutex_unlock(&lock);
    }
    if (fd >= 0 && fd < FDS_MAX) {
        free(paths[fd]);
        paths[fd] = is_ours ? strdup(path) : NULL;
    }
    return fd;
}

static mode_t mode_of(int flags, va_list args) {
    return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(args, int) : 0;
}

#define OPEN(name)                                                                                                                  \
    int name(const char *path, int flags, ...) {                                                                                    \
        va_list args;                                                                                                               \
        va_start(args, flags);                                                                                                      \
        mode_t mode = mode_of(flags, args);                                                                                         \
        va_end(args);                                                                                                               \
        return opened(path, flags, mode);                                                                                           \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    if (fd >= 0 && fd < FDS_MAX) {
        free(paths[fd]);
        paths[fd] = NULL;
    }
    return (int)syscall(SYS_close, fd);
}

ssize_t write(int fd, const void *bytes, size_t n) {
    enum fault fault = fd >= 0 && fd < FDS_MAX ? fault_at(paths[fd]) : NONE;
    if (fault == HALF) {
        ssize_t written = syscall(SYS_write, fd, bytes, n / 2);
        (void)written;
    }
    return fault == NONE || fault == DONE ? syscall(SYS_write, fd, bytes, n) : fails(fault);
}

static int synced(int fd, int call) {
    const char *path = fd >= 0 && fd < FDS_MAX ? paths[fd] : NULL;
    if (!root_of(path))
        return (int)syscall(call, fd);
    enum fault fault = fault_at(path);
    if (fault == FAIL || fault == FULL)
        return fails(fault);
    struct stat found;
    pthread_mutex_lock(&lock);
    unsigned long begun = sequence;
    pthread_mutex_unlock(&lock);
    int known = fstat(fd, &found) == 0, result = (int)syscall(call, fd);
    if (result == 0 && known) {
        pthread_mutex_lock(&lock);
        if (S_ISDIR(found.st_mode))
            note("folder\t%lu\t%s", begun, path);
        else
            note("sync\t%lu\t%ld", (unsigned long)found.st_ino, (long)found.st_size);
        pthread_mutex_unlock(&lock);
    }
    return fault == DONE ? fails(fault) : result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

/* Does what changes names, notes it, and tells what a fault wants told. */
#define NAMES(path, needs_space, does, notes)                                                                                       \
    enum fault fault = fault_at(path);                                                                                              \
    if (fault == FAIL || (fault == FULL && needs_space))                                                                            \
        return fails(fault);                                                                                                        \
    pthread_mutex_lock(&lock);                                                                                                      \
    int result = (int)(does), error = errno;                                                                                        \
    if (result == 0)                                                                                                                \
        notes;                                                                                                                      \
    pthread_mutex_unlock(&lock);                                                                                                    \
    errno = error;                                                                                                                  \
    return fault == DONE && result == 0 ? fails(fault) : result

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
    if (!root_of(to))
        return (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
    NAMES(to, 1, syscall(SYS_linkat, from_fd, from, to_fd, to, flags), note("link\t%s", to));
}

int rename(const char *from, const char *to) {
    char buried[4096];
    const char *kept = "-";
    if (!root_of(to))
        return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    NAMES(to, 1, (kept = bury(to, buried), syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to)), note("rename\t%s\t%s\t%s", from, to, kept));
}

int unlink(const char *path) {
    char buried[4096];
    const char *kept = "-";
    if (!root_of(path))
        return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    NAMES(path, 0, (kept = bury(path, buried), syscall(SYS_unlinkat, AT_FDCWD, path, 0)), note("unlink\t%s\t%s", path, kept));
}

int mkdir(const char *path, mode_t mode) {
    if (!root_of(path))
        return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    NAMES(path, 1, syscall(SYS_mkdirat, AT_FDCWD, path, mode), note("mkdir\t%s", path));
}
