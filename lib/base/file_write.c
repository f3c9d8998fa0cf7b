#include "base/file_write.h"
#include "base/file_path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SIZE ((size_t)64 << 10)
#define WRITE_CHUNK ((size_t)1 << 30)
#define SUFFIX      ".partial"
#define PRIVATE     (S_IRUSR | S_IWUSR)

struct rad_output {
    rad_allocator allocator;
    int descriptor;
    uint64_t position; /* bytes taken from the caller */
    size_t buffered;   /* of them still in `buffer` */
    void *memory;      /* NULL: of a file, or nothing came yet */
    size_t memory_size, memory_capacity;
    bool in_memory;
    char *path;
    char *temporary; /* NULL where path is written directly */
    bool made;       /* the temporary one stands, and is this one's */
    size_t path_size;
    size_t temporary_size;
    char label[RAD_PATH_LABEL_SIZE];
    uint8_t buffer[BUFFER_SIZE];
};

static radllm_status fail_write(const rad_output *output, const char *action, int number,
                                radllm_error *error)
{
    char text[128];
    const char *remedy = "check the path and the storage device";
    if (number == ENOSPC || number == EDQUOT)
        remedy = "free space or write to another disk";
    else if (number == EFBIG)
        remedy = "raise the limit of a file's size (ulimit -f), or write to a disk whose file "
                 "system takes files as large";
    else if (number == EPIPE)
        remedy = "what reads it has ended";
    else if (number == EACCES || number == EPERM || number == EROFS)
        remedy = "check the permissions of the folder";
    else if (number == ENOENT || number == ENOTDIR)
        remedy = "make the folder first";
    return rad_fail(error, RADLLM_E_IO, "%s: cannot %s the file at byte %" PRIu64 ": %s; %s",
                    output->label, action, output->position - output->buffered,
                    strerror_r(number, text, sizeof text), remedy);
}

/* A link is followed, so that it is the file behind it which is replaced: /dev/stdout is one. */
static radllm_status make_paths(rad_output *output, const char *path, radllm_error *error)
{
    struct stat information, link;
    char behind[PATH_MAX];
    bool direct = stat(path, &information) == 0 && !S_ISREG(information.st_mode);
    if (!direct && lstat(path, &link) == 0 && S_ISLNK(link.st_mode)) {
        if (realpath(path, behind) != NULL)
            path = behind;
        else if (stat(path, &information) == 0) /* a file that has no name any more */
            direct = true;
        else
            return rad_fail(error, RADLLM_E_IO,
                            "%s is a link that leads to no file; name the file that is to be "
                            "written",
                            output->label);
    }
    output->path_size = strlen(path) + 1;
    output->path = rad_alloc(&output->allocator, output->path_size);
    if (output->path == NULL)
        return rad_fail_memory(error, output->path_size);
    memcpy(output->path, path, output->path_size);
    if (direct)
        return RADLLM_OK;
    output->temporary_size = output->path_size + sizeof SUFFIX;
    output->temporary = rad_alloc(&output->allocator, output->temporary_size);
    if (output->temporary == NULL)
        return rad_fail_memory(error, output->temporary_size);
    snprintf(output->temporary, output->temporary_size, "%s" SUFFIX, path);
    return RADLLM_OK;
}

bool rad_is_kept_by_owner(const char *path)
{
    struct stat own, parent;
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t size = slash != NULL ? (size_t)(slash - path) + 1 : 0;
    if (size + 2 > sizeof folder || lstat(path, &own) != 0)
        return false;
    memcpy(folder, path, size);
    memcpy(folder + size, ".", 2);
    uid_t user = geteuid();
    return user != 0 && stat(folder, &parent) == 0 && (parent.st_mode & S_ISVTX) != 0 &&
           user != own.st_uid && user != parent.st_uid;
}

/* Whether nobody else writes the temporary file, as far as the file system can tell. What a killed
 * attempt left is locked by nobody. */
static bool is_alone(const rad_output *output)
{
    struct stat opened, named;
    if (flock(output->descriptor, LOCK_EX | LOCK_NB) != 0)
        return errno != EWOULDBLOCK;
    return fstat(output->descriptor, &opened) == 0 && stat(output->temporary, &named) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/* 0, or errno of making a file of this name; the name may hold one that can be written. */
static int cannot_make(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int size =
        snprintf(folder, sizeof folder, "%.*s.", slash != NULL ? (int)(slash - path) + 1 : 0, path);
    if (size >= (int)sizeof folder)
        return ENAMETOOLONG;
    return access(folder, W_OK | X_OK) == 0 ? 0 : errno;
}

/* look: says what is in the way and leaves all as it is. */
static radllm_status open_target(rad_output *output, mode_t mode, bool look, radllm_error *error)
{
    struct stat information;
    const char *target = output->temporary != NULL ? output->temporary : output->path;
    if (output->temporary != NULL && rad_is_kept_by_owner(output->path))
        return rad_fail(error, RADLLM_E_IO,
                        "%s: the file is another user's, in a folder where only its owner may "
                        "replace it; give another name",
                        output->label);
    if (look && output->temporary == NULL) /* to open a pipe waits for its reader */
        return access(target, W_OK) == 0 ? RADLLM_OK : fail_write(output, "create", errno, error);
    if (look && lstat(target, &information) != 0) {
        int number = cannot_make(target);
        return number == 0 ? RADLLM_OK : fail_write(output, "create", number, error);
    }
    int flags = O_WRONLY | O_CLOEXEC | O_NOCTTY | O_CREAT;
    flags |= output->temporary != NULL ? O_NOFOLLOW : O_TRUNC;
    do
        output->descriptor = open(target, flags, mode);
    while (output->descriptor < 0 && errno == EINTR);
    if (output->descriptor < 0)
        return fail_write(output, "create", errno, error);
    if (output->temporary == NULL)
        return RADLLM_OK;
    if (!is_alone(output))
        return rad_fail(error, RADLLM_E_IO,
                        "%s: another program or thread writes this file now (" SUFFIX
                        "); wait for it, or give another path",
                        output->label);
    if (look)
        return RADLLM_OK;
    output->made = true;
    /* What an earlier attempt left may have had other rights. */
    if (ftruncate(output->descriptor, 0) != 0 ||
        (mode == PRIVATE && fchmod(output->descriptor, mode) != 0))
        return fail_write(output, "protect", errno, error);
    return RADLLM_OK;
}

static radllm_status open_output(const rad_allocator *allocator, const char *path, mode_t mode,
                                 rad_output **out, radllm_error *error)
{
    if (path == NULL || path[0] == '\0')
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the path of the file to write is empty; give a path");
    rad_output *output = rad_alloc_zero(allocator, sizeof *output);
    if (output == NULL)
        return rad_fail_memory(error, sizeof *output);
    output->allocator = *allocator;
    output->descriptor = -1;
    rad_path_label(output->label, path);
    radllm_status status = make_paths(output, path, error);
    if (status == RADLLM_OK)
        status = open_target(output, mode, out == NULL, error);
    if (status != RADLLM_OK || out == NULL)
        rad_output_free(output);
    else
        *out = output;
    return status;
}

radllm_status rad_output_open(const rad_allocator *allocator, const char *path, rad_output **out,
                              radllm_error *error)
{
    return open_output(allocator, path, 0666, out, error);
}

radllm_status rad_output_open_private(const rad_allocator *allocator, const char *path,
                                      rad_output **out, radllm_error *error)
{
    return open_output(allocator, path, PRIVATE, out, error);
}

static radllm_status append(rad_output *output, const void *data, size_t size, radllm_error *error)
{
    if (size > SIZE_MAX / 2 - output->memory_size ||
        !rad_reserve(&output->allocator, &output->memory, &output->memory_capacity,
                     output->memory_size + size, 1))
        return rad_fail_memory(error, size);
    memcpy((char *)output->memory + output->memory_size, data, size);
    output->memory_size += size;
    return RADLLM_OK;
}

/* write(), without the signals that a file at its size limit and a closed pipe send to whoever
 * writes: they would end a host that is not prepared for them, and the error says the same. */
static ssize_t write_quietly(int descriptor, const uint8_t *data, size_t size)
{
    static const struct timespec at_once = {0, 0};
    static const int numbers[] = {SIGXFSZ, SIGPIPE};
    sigset_t ours, before, waiting;
    sigemptyset(&ours);
    sigemptyset(&waiting);
    (void)sigpending(&waiting);
    for (int i = 0; i < 2; i++)
        if (sigismember(&waiting, numbers[i]) == 0) /* what the host has waiting stays */
            sigaddset(&ours, numbers[i]);
    bool blocked = pthread_sigmask(SIG_BLOCK, &ours, &before) == 0;
    ssize_t put = write(descriptor, data, size);
    int number = errno;
    if (put < 0 && (number == EFBIG || number == EPIPE))
        while (sigtimedwait(&ours, NULL, &at_once) < 0 && errno == EINTR)
            ;
    if (blocked)
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = number;
    return put;
}

static radllm_status write_all(rad_output *output, const uint8_t *data, size_t size,
                               radllm_error *error)
{
    if (output->in_memory)
        return size > 0 ? append(output, data, size, error) : RADLLM_OK;
    while (size > 0) {
        ssize_t put =
            write_quietly(output->descriptor, data, size < WRITE_CHUNK ? size : WRITE_CHUNK);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return fail_write(output, "write", put < 0 ? errno : ENOSPC, error);
        data += put;
        size -= (size_t)put;
    }
    return RADLLM_OK;
}

static radllm_status flush(rad_output *output, radllm_error *error)
{
    radllm_status status = write_all(output, output->buffer, output->buffered, error);
    if (status == RADLLM_OK)
        output->buffered = 0;
    return status;
}

radllm_status rad_output_write(rad_output *output, const void *data, size_t size,
                               radllm_error *error)
{
    if (size > BUFFER_SIZE - output->buffered) {
        radllm_status status = flush(output, error);
        if (status != RADLLM_OK)
            return status;
    }
    if (size > BUFFER_SIZE) {
        radllm_status status = write_all(output, data, size, error);
        if (status == RADLLM_OK)
            output->position += size;
        return status;
    }
    if (size > 0)
        memcpy(output->buffer + output->buffered, data, size);
    output->buffered += size;
    output->position += size;
    return RADLLM_OK;
}

radllm_status rad_output_open_memory(const rad_allocator *allocator, rad_output **out,
                                     radllm_error *error)
{
    rad_output *output = rad_alloc_zero(allocator, sizeof *output);
    if (output == NULL)
        return rad_fail_memory(error, sizeof *output);
    output->allocator = *allocator;
    output->descriptor = -1;
    output->in_memory = true;
    *out = output;
    return RADLLM_OK;
}

radllm_status rad_output_take(rad_output *output, char **data, size_t *size, radllm_error *error)
{
    radllm_status status = flush(output, error);
    char *copy = NULL;
    if (status == RADLLM_OK) {
        copy = rad_alloc(&output->allocator, output->memory_size + 1);
        if (copy == NULL)
            return rad_fail_memory(error, output->memory_size + 1);
        if (output->memory_size > 0)
            memcpy(copy, output->memory, output->memory_size);
        copy[output->memory_size] = '\0';
        *data = copy;
        *size = output->memory_size;
    }
    return status;
}

uint64_t rad_output_position(const rad_output *output)
{
    return output->position;
}

radllm_status rad_output_commit(rad_output *output, radllm_error *error)
{
    radllm_status status = flush(output, error);
    if (status != RADLLM_OK)
        return status;
    /* A full disk may show only now. Pipes and devices cannot be synchronised: no error. */
    if (output->temporary != NULL && fsync(output->descriptor) != 0)
        return fail_write(output, "write", errno, error);
    /* Before the lock goes with the descriptor. */
    if (output->temporary != NULL && rename(output->temporary, output->path) != 0)
        return fail_write(output, "rename", errno, error);
    output->made = false;
    int closed = close(output->descriptor);
    output->descriptor = -1;
    if (output->temporary == NULL && closed != 0 && errno != EINTR)
        return fail_write(output, "close", errno, error);
    return RADLLM_OK;
}

void rad_output_free(rad_output *output)
{
    if (output == NULL)
        return;
    if (output->made)
        (void)unlink(output->temporary);
    if (output->descriptor >= 0)
        (void)close(output->descriptor);
    rad_wipe(output->buffer, sizeof output->buffer);
    rad_allocator allocator = output->allocator;
    if (output->memory != NULL)
        rad_wipe(output->memory, output->memory_size);
    rad_free(&allocator, output->memory, output->memory_capacity);
    rad_free(&allocator, output->temporary, output->temporary_size);
    rad_free(&allocator, output->path, output->path_size);
    rad_free(&allocator, output, sizeof *output);
}
