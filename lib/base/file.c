#include "base/file_path.h"
#include "base/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* One pread asks for no more: Linux gives at most 2 GiB - 4 KiB at a time anyhow. */
#define READ_CHUNK ((size_t)1 << 30)

struct rad_file {
    rad_allocator allocator;
    int descriptor;
    uint64_t size;
    struct timespec written; /* when it was last, as it was opened */
    const uint8_t *mapped;
    char label[RAD_PATH_LABEL_SIZE]; /* the path, for messages */
};

/* The text of an errno value in a buffer of the caller: strerror() is not safe among threads. */
static const char *errno_text(int number, char buffer[128])
{
    return strerror_r(number, buffer, 128);
}

static radllm_status fail_open(radllm_error *error, const char *label, int number)
{
    char text[128];
    const char *remedy = "check the path and the storage device";
    if (number == ENOENT || number == ENOTDIR)
        remedy = "check the path";
    else if (number == EACCES || number == EPERM)
        remedy = "check the permissions of the file and of its folders";
    else if (number == ELOOP)
        remedy = "a symbolic link in a model's folder may lead anywhere: put the file itself there";
    else if (number == EMFILE || number == ENFILE)
        remedy = "close other files or raise the limit of open files";
    return rad_fail(error, RADLLM_E_IO, "%s: cannot open the file: %s; %s", label,
                    errno_text(number, text), remedy);
}

/* A model is a regular file: its size is known and any part of it can be read again. */
static radllm_status check_kind(const struct stat *status, const char *label, radllm_error *error)
{
    if (S_ISREG(status->st_mode))
        return RADLLM_OK;
    if (S_ISDIR(status->st_mode))
        return rad_fail(error, RADLLM_E_IO,
                        "%s: is a directory; give the path of a model file inside it", label);
    const char *kind = "a special file";
    if (S_ISFIFO(status->st_mode))
        kind = "a pipe (FIFO)";
    else if (S_ISSOCK(status->st_mode))
        kind = "a socket";
    else if (S_ISCHR(status->st_mode) || S_ISBLK(status->st_mode))
        kind = "a device";
    return rad_fail(error, RADLLM_E_IO,
                    "%s: is %s, not a regular file; copy the data to a file and open that", label,
                    kind);
}

static radllm_status open_with(const rad_allocator *allocator, const char *path, int flags,
                               rad_file **out, radllm_error *error)
{
    if (path == NULL || path[0] == '\0')
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the path of the file is empty; give the path of a model file");
    rad_file *file = rad_alloc_zero(allocator, sizeof *file);
    if (file == NULL)
        return rad_fail_memory(error, sizeof *file);
    file->allocator = *allocator;
    rad_path_label(file->label, path);
    /* Non-blocking, so that opening a pipe without a writer returns and can be refused. */
    do
        file->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags);
    while (file->descriptor < 0 && errno == EINTR);
    struct stat information;
    radllm_status status = RADLLM_OK;
    if (file->descriptor < 0 || fstat(file->descriptor, &information) != 0)
        status = fail_open(error, file->label, errno);
    else
        status = check_kind(&information, file->label, error);
    if (status != RADLLM_OK) {
        rad_file_close(file);
        return status;
    }
    file->size = (uint64_t)information.st_size;
    file->written = information.st_mtim;
    *out = file;
    return RADLLM_OK;
}

radllm_status rad_file_open(const rad_allocator *allocator, const char *path, rad_file **out,
                            radllm_error *error)
{
    return open_with(allocator, path, 0, out, error);
}

radllm_status rad_file_open_plain(const rad_allocator *allocator, const char *path, rad_file **out,
                                  radllm_error *error)
{
    return open_with(allocator, path, O_NOFOLLOW, out, error);
}

void rad_file_close(rad_file *file)
{
    if (file == NULL)
        return;
    if (file->mapped != NULL)
        (void)munmap((void *)(uintptr_t)file->mapped, (size_t)file->size);
    if (file->descriptor >= 0)
        (void)close(file->descriptor);
    rad_allocator allocator = file->allocator;
    rad_free(&allocator, file, sizeof *file);
}

uint64_t rad_file_size(const rad_file *file)
{
    return file->size;
}

static radllm_status fail_short(const rad_file *file, uint64_t offset, size_t size,
                                radllm_error *error)
{
    return rad_fail(error, RADLLM_E_IO,
                    "%s: the file ends before byte %" PRIu64 " (%zu bytes wanted there; it had "
                    "%" PRIu64 " bytes when it was opened): it was truncated or replaced while in "
                    "use; fetch it again and reopen it",
                    file->label, offset, size, file->size);
}

radllm_status rad_file_read(const rad_file *file, uint64_t offset, void *buffer, size_t size,
                            radllm_error *error)
{
    uint64_t end;
    if (!rad_add_u64(offset, size, &end) || end > file->size)
        return fail_short(file, offset, size, error);
    uint8_t *out = buffer;
    while (size > 0) {
        ssize_t got =
            pread(file->descriptor, out, size < READ_CHUNK ? size : READ_CHUNK, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            char text[128];
            return rad_fail(error, RADLLM_E_IO,
                            "%s: cannot read %zu bytes at byte %" PRIu64 ": %s; check the storage "
                            "device",
                            file->label, size, offset, errno_text(errno, text));
        }
        if (got == 0)
            return fail_short(file, offset, size, error);
        out += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return RADLLM_OK;
}

radllm_status rad_file_check(const rad_file *file, radllm_error *error)
{
    struct stat now;
    if (fstat(file->descriptor, &now) != 0 ||
        ((uint64_t)now.st_size == file->size && now.st_mtim.tv_sec == file->written.tv_sec &&
         now.st_mtim.tv_nsec == file->written.tv_nsec))
        return RADLLM_OK;
    return rad_fail(error, RADLLM_E_IO,
                    "%s: the file was written to while it was read, so that what was read may be "
                    "of two models; try again when nothing writes it",
                    file->label);
}

radllm_status rad_file_map(rad_file *file, const uint8_t **data, radllm_error *error)
{
    if (file->mapped == NULL) {
        if (file->size == 0 || file->size > PTRDIFF_MAX)
            return rad_fail(error, RADLLM_E_IO, "%s: a file of %" PRIu64 " bytes cannot be mapped",
                            file->label, file->size);
        void *mapped = mmap(NULL, (size_t)file->size, PROT_READ, MAP_SHARED, file->descriptor, 0);
        if (mapped == MAP_FAILED) {
            char text[128];
            return rad_fail(error, RADLLM_E_IO,
                            "%s: cannot map %" PRIu64 " bytes into memory: %s; load with the "
                            "option load=copy instead",
                            file->label, file->size, errno_text(errno, text));
        }
        file->mapped = mapped;
    }
    *data = file->mapped;
    return RADLLM_OK;
}
