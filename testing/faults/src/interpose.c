/* Stands between a program and what it does to the files of one folder.
 *
 * Loaded by LD_PRELOAD. It counts the operations that change files, lets those fail that the
 * environment asks for, and writes down all that were done, in their order:
 *
 *   FAULTS_DIR    the folder, as an absolute path; files in it whose names end in "-shm" do not count,
 *                 since they are memory that happens to have a name
 *   FAULTS_TRACE  where to write the record; none without it
 *   FAULTS_FAIL   "AT COUNT KIND": operations AT to AT+COUNT-1 fail, counted from 1.
 *                 KIND is eio, enospc, short (half is written, once; then enospc) or kill
 *
 * A record is: kind (1 byte), number of the file (8), offset (8), length (4), that many bytes;
 * numbers are little-endian. Kinds are those of trace.rs. What is written to standard output is
 * recorded too, so that what a program had said is known for each moment.
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
#include <unistd.h>

enum { MAX_FD = 4096 };

static pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static const char *folder;
static size_t folder_length;
static int trace = -1;
static long fail_at, fail_count, counted;
static char fail_kind[8];
/* The number (of its inode) of what is open in the folder; 0 for anything else. */
static uint64_t known[MAX_FD];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void start(void) {
    folder = getenv("FAULTS_DIR");
    if (!folder) return;
    folder_length = strlen(folder);
    const char *path = getenv("FAULTS_TRACE");
    if (path) trace = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const char *fail = getenv("FAULTS_FAIL");
    if (fail) sscanf(fail, "%ld %ld %7s", &fail_at, &fail_count, fail_kind);
}

/* The path below the folder, "." for the folder itself, or none. */
static const char *inside(const char *path) {
    if (!folder || !path || strncmp(path, folder, folder_length) != 0) return NULL;
    const char *rest = path + folder_length;
    if (*rest == 0 || strcmp(rest, "/") == 0) return ".";
    if (*rest != '/') return NULL;
    size_t length = strlen(rest);
    if (length > 4 && strcmp(rest + length - 4, "-shm") == 0) return NULL;
    return rest + 1;
}

static void record(char kind, uint64_t file, uint64_t offset, const void *bytes, uint32_t length) {
    if (trace < 0) return;
    unsigned char header[21];
    header[0] = (unsigned char)kind;
    memcpy(header + 1, &file, 8);
    memcpy(header + 9, &offset, 8);
    memcpy(header + 17, &length, 4);
    if (REAL(write)(trace, header, sizeof header) != sizeof header) abort();
    if (length && REAL(write)(trace, bytes, length) != (ssize_t)length) abort();
}

/* Counts an operation. Returns the error that it is to fail with; -1 for a short write. */
static int fault(int is_write) {
    counted++;
    if (!fail_at || counted < fail_at || counted >= fail_at + fail_count) return 0;
    if (strcmp(fail_kind, "kill") == 0) kill(getpid(), SIGKILL);
    if (strcmp(fail_kind, "eio") == 0) return EIO;
    if (strcmp(fail_kind, "short") == 0 && is_write && counted == fail_at) return -1;
    return ENOSPC;
}

static uint64_t number_of(int fd) { return fd >= 0 && fd < MAX_FD ? known[fd] : 0; }

#define ENTER pthread_mutex_lock(&mutex)
#define LEAVE(result) do { int saved = errno; pthread_mutex_unlock(&mutex); errno = saved; \
                           return (result); } while (0)
#define FAIL(error) do { errno = (error); LEAVE(-1); } while (0)

typedef int (*open_function)(const char *, int, ...);

static int open_any(open_function real, const char *path, int flags, mode_t mode) {
    const char *name = inside(path);
    if (!name) return real(path, flags, mode);
    ENTER;
    struct stat status;
    int makes = (flags & O_CREAT) && stat(path, &status) != 0;
    if (makes) {
        int error = fault(0);
        if (error) FAIL(error);
    }
    int fd = real(path, flags, mode);
    if (fd >= 0 && fd < MAX_FD && fstat(fd, &status) == 0) {
        known[fd] = status.st_ino;
        if (makes) record('C', status.st_ino, 0, name, strlen(name));
        else if (strcmp(name, ".") == 0) record('D', status.st_ino, 0, NULL, 0);
        else if (flags & O_TRUNC) record('T', status.st_ino, 0, NULL, 0);
    }
    LEAVE(fd);
}

#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { \
    va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); }

int open(const char *path, int flags, ...) { MODE return open_any(REAL(open), path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return open_any(REAL(open64), path, flags, mode); }

int close(int fd) {
    ENTER;
    if (fd >= 0 && fd < MAX_FD) known[fd] = 0;
    LEAVE(REAL(close)(fd));
}

static ssize_t write_any(int fd, const void *bytes, size_t length, off_t offset, int at) {
    __typeof__(&pwrite) real_at = REAL(pwrite);
    __typeof__(&write) real = REAL(write);
    uint64_t file = number_of(fd);
    if (!file && (fd != 1 || trace < 0)) {
        return at ? real_at(fd, bytes, length, offset) : real(fd, bytes, length);
    }
    ENTER;
    if (!file) {
        record('S', 0, 0, bytes, length);
        LEAVE(real(fd, bytes, length));
    }
    int error = fault(1);
    if (error > 0) FAIL(error);
    if (error < 0 && length > 1) length /= 2;
    if (!at) {
        int appends = fcntl(fd, F_GETFL) & O_APPEND;
        offset = lseek(fd, 0, appends ? SEEK_END : SEEK_CUR);
    }
    ssize_t written = at ? real_at(fd, bytes, length, offset) : real(fd, bytes, length);
    if (written > 0) record('W', file, offset, bytes, written);
    LEAVE(written);
}

ssize_t write(int fd, const void *bytes, size_t length) { return write_any(fd, bytes, length, 0, 0); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return write_any(fd, bytes, length, offset, 1);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    return write_any(fd, bytes, length, offset, 1);
}

static int truncate_any(int fd, off_t length) {
    uint64_t file = number_of(fd);
    if (!file) return REAL(ftruncate)(fd, length);
    ENTER;
    int error = fault(0);
    if (error) FAIL(error);
    int result = REAL(ftruncate)(fd, length);
    if (result == 0) record('T', file, length, NULL, 0);
    LEAVE(result);
}

int ftruncate(int fd, off_t length) { return truncate_any(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncate_any(fd, length); }

static int sync_any(int (*real)(int), int fd) {
    uint64_t file = number_of(fd);
    if (!file) return real(fd);
    ENTER;
    int error = fault(0);
    if (error) FAIL(error);
    int result = real(fd);
    if (result == 0) record('F', file, 0, NULL, 0);
    LEAVE(result);
}

int fsync(int fd) { return sync_any(REAL(fsync), fd); }
int fdatasync(int fd) { return sync_any(REAL(fdatasync), fd); }

int rename(const char *from, const char *to) {
    const char *old = inside(from), *new = inside(to);
    if (!old || !new) return REAL(rename)(from, to);
    ENTER;
    int error = fault(0);
    if (error) FAIL(error);
    int result = REAL(rename)(from, to);
    if (result == 0) {
        char both[8192];
        int length = snprintf(both, sizeof both, "%s%c%s", old, 0, new);
        record('R', 0, 0, both, length);
    }
    LEAVE(result);
}

int unlink(const char *path) {
    const char *name = inside(path);
    if (!name) return REAL(unlink)(path);
    ENTER;
    int error = fault(0);
    if (error) FAIL(error);
    int result = REAL(unlink)(path);
    if (result == 0) record('U', 0, 0, name, strlen(name));
    LEAVE(result);
}
