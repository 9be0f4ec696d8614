/* A disk with a memory, put between a process and the C library (LD_PRELOAD).
 *
 *   open, linkat, rename, unlink, mkdir, fsync ──► the real call ──► a line in the log, if a path lies below a root
 *                                        └► or a fault instead of it, or after it
 *                                        └► or the end of the process before it, behind it, or half-way
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
 *   DISK_AIM     phase n: at the n-th point of this phase the process kills itself, as `kill -9` does
 *
 * What a process is at is told by what it does, where the first root is its state:
 *   restore     reads below journal/ and objects/, and its claim in the journal, until it makes its first object or checkpoint
 *   checkpoint  makes objects and manifests
 *   compaction  reads objects that another call has made, makes one that is named -c<n>, removes objects
 *   commit      makes and renames files of output (errors/ of the state, and what lies below the other roots), removes staged ones
 * Points lie before and behind each such call, and in the middle of each write.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
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
/* A claim in the journal is an entry and its witness. */
#define CLAIM_NAMES 2

enum fault { NONE, FAIL, FULL, SLOW, HALF, DONE, FAULTS };
enum phase { OTHER, RESTORE, CHECKPOINT, COMPACTION, COMMIT, PHASES };

static const char *const phase_names[PHASES] = {"", "restore", "checkpoint", "compaction", "commit"};

static const char *roots[ROOTS_MAX];
static int roots_n, log_fd = -1;
static const char *grave;
static uint64_t random_state, chance[FAULTS], full_until_ms;
static unsigned long sequence = 1, graves;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum phase aimed_at;
static unsigned long aim_points;
/* Names that this process has made below journal/, and whether it has begun to make what a checkpoint needs. */
static int journal_names, has_begun;
/* The object that this thread has made last: it is read back. */
static __thread char last_object[256];
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
    const char *log = getenv("DISK_LOG"), *faults = getenv("DISK_FAULTS"), *aim = getenv("DISK_AIM");
    char name[32];
    if (aim && sscanf(aim, "%31s %lu", name, &aim_points) == 2)
        for (int phase = OTHER + 1; phase < PHASES; phase++)
            if (strcmp(name, phase_names[phase]) == 0)
                aimed_at = (enum phase)phase;
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

/* What lies behind the folder `name` of the state, or NULL. */
static const char *state_file(const char *path, const char *name) {
    size_t n = root_of(path) == 1 ? strlen(roots[0]) : 0, length = strlen(name);
    return n && path[n] == '/' && strncmp(path + n + 1, name, length) == 0 && path[n + 1 + length] ? path + n + 1 + length : NULL;
}

static int is_temporary(const char *name) { return strncmp(name, ".tmp-", 5) == 0; }

enum change { BYTES, NAME, REMOVAL };

/* The phase of a call that changes `path`. */
static enum phase phase_of_change(const char *path, enum change change) {
    const char *name = state_file(path, "objects/");
    if (name && (has_begun || change != REMOVAL))
        return !is_temporary(name) && (change == REMOVAL || strstr(name, "-c")) ? COMPACTION : CHECKPOINT;
    if (name || state_file(path, "journal/"))
        return has_begun || journal_names >= CLAIM_NAMES ? CHECKPOINT : RESTORE;
    /* Rows that are staged are no commit, nor is the list of commits that a folder gets before there is one. */
    int is_list = path && strstr(path, "/.commits") != NULL, runs = has_begun || journal_names > CLAIM_NAMES;
    int commits = is_list ? runs : change != BYTES || (path && strstr(path, ".merged"));
    return commits && (state_file(path, "errors/") || root_of(path) > 1) ? COMMIT : OTHER;
}

static enum phase phase_of_read(const char *path) {
    const char *name = state_file(path, "objects/");
    if (name && has_begun)
        return strcmp(name, last_object) == 0 ? CHECKPOINT : COMPACTION;
    return name || (state_file(path, "journal/") && !has_begun && journal_names < CLAIM_NAMES) ? RESTORE : OTHER;
}

/* A place where a process may die that is in this phase. */
static void point(enum phase phase) {
    if (phase != OTHER && phase == aimed_at && __atomic_sub_fetch(&aim_points, 1, __ATOMIC_SEQ_CST) == 0)
        syscall(SYS_kill, getpid(), SIGKILL);
}

/* Notes what a name that is made means for the phases to come. */
static void made(const char *path) {
    const char *object = state_file(path, "objects/"), *entry = state_file(path, "journal/");
    if (object)
        has_begun = 1;
    if (object && !is_temporary(object))
        snprintf(last_object, sizeof last_object, "%s", object);
    if (entry && !is_temporary(entry))
        __atomic_add_fetch(&journal_names, 1, __ATOMIC_SEQ_CST);
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
    enum phase phase = makes ? phase_of_change(path, BYTES) : is_ours && !(flags & O_DIRECTORY) ? phase_of_read(path) : OTHER;
    point(phase);
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
        made(path);
    } else if (is_ours && fd >= 0 && (flags & O_ACCMODE) != O_RDONLY && fstat(fd, &found) == 0) {
        pthread_mutex_lock(&lock);
        note("open\t%lu\t%ld\t%s", (unsigned long)found.st_ino, (long)found.st_size, path);
        pthread_mutex_unlock(&lock);
    }
    if (fd >= 0 && fd < FDS_MAX) {
        free(paths[fd]);
        paths[fd] = is_ours ? strdup(path) : NULL;
    }
    point(phase);
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
    const char *path = fd >= 0 && fd < FDS_MAX ? paths[fd] : NULL;
    enum fault fault = fault_at(path);
    enum phase phase = path && aimed_at ? phase_of_change(path, BYTES) : OTHER;
    /* Half of the bytes are there then. */
    int dies = phase != OTHER && phase == aimed_at && __atomic_load_n(&aim_points, __ATOMIC_SEQ_CST) == 1;
    if (fault == HALF || dies) {
        ssize_t written = syscall(SYS_write, fd, bytes, n / 2);
        (void)written;
    }
    point(phase);
    return fault == NONE || fault == DONE ? syscall(SYS_write, fd, bytes, n) : fails(fault);
}

static int synced(int fd, int call) {
    const char *path = fd >= 0 && fd < FDS_MAX ? paths[fd] : NULL;
    if (!root_of(path))
        return (int)syscall(call, fd);
    enum fault fault = fault_at(path);
    if (fault == FAIL || fault == FULL)
        return fails(fault);
    enum phase phase = phase_of_change(path, BYTES);
    point(phase);
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
    point(phase);
    return fault == DONE ? fails(fault) : result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

/* Does what changes names, notes it, and tells what a fault wants told. */
#define NAMES(path, change, does, notes)                                                                                            \
    enum phase phase = phase_of_change(path, change);                                                                               \
    enum fault fault = fault_at(path);                                                                                              \
    point(phase);                                                                                                                   \
    if (fault == FAIL || (fault == FULL && change != REMOVAL))                                                                      \
        return fails(fault);                                                                                                        \
    pthread_mutex_lock(&lock);                                                                                                      \
    int result = (int)(does), error = errno;                                                                                        \
    if (result == 0)                                                                                                                \
        notes;                                                                                                                      \
    pthread_mutex_unlock(&lock);                                                                                                    \
    if (result == 0 && change == NAME)                                                                                              \
        made(path);                                                                                                                 \
    point(phase);                                                                                                                   \
    errno = error;                                                                                                                  \
    return fault == DONE && result == 0 ? fails(fault) : result

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
    if (!root_of(to))
        return (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
    NAMES(to, NAME, syscall(SYS_linkat, from_fd, from, to_fd, to, flags), note("link\t%s", to));
}

int rename(const char *from, const char *to) {
    char buried[4096];
    const char *kept = "-";
    if (!root_of(to))
        return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    NAMES(to, NAME, (kept = bury(to, buried), syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to)), note("rename\t%s\t%s\t%s", from, to, kept));
}

int unlink(const char *path) {
    char buried[4096];
    const char *kept = "-";
    if (!root_of(path))
        return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    NAMES(path, REMOVAL, (kept = bury(path, buried), syscall(SYS_unlinkat, AT_FDCWD, path, 0)), note("unlink\t%s\t%s", path, kept));
}

int mkdir(const char *path, mode_t mode) {
    if (!root_of(path))
        return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    NAMES(path, BYTES, syscall(SYS_mkdirat, AT_FDCWD, path, mode), note("mkdir\t%s", path));
}
