#include "base/folder_write.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_path.h"

struct rad_folder_output {
    rad_allocator allocator;
    char *path, *partial, *replaced, *scratch;
    size_t size; /* of each of these */
    int lock;    /* the partial folder, while it stands and is this one's; else -1 */
    bool replace;
    char label[RAD_PATH_LABEL_SIZE];
};

static radllm_status fail_folder(const rad_folder_output *folder, const char *action, int number,
                                 radllm_error *error)
{
    char text[128];
    return rad_fail(error, RADLLM_E_IO,
                    "%s: cannot %s the folder: %s; check the path, its permissions and the storage "
                    "device",
                    folder->label, action, strerror_r(number, text, sizeof text));
}

/* Names that a model's folder has, and that may be removed with it. */
static bool is_model_file(const char *name)
{
    static const char *const endings[] = {
        ".safetensors", ".safetensors.index.json", ".json", ".jinja", ".txt", ".model"};
    static const char partial[] = ".partial"; /* what a killed attempt left */
    size_t size = strlen(name), end = sizeof partial - 1;
    if (size > end && strcmp(name + size - end, partial) == 0)
        size -= end;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t tail = strlen(endings[i]);
        if (size > tail && memcmp(name + size - tail, endings[i], tail) == 0)
            return true;
    }
    return false;
}

/* The folders that a model's folder may hold. */
#define INSIDE "1_Pooling|additional_chat_templates"

/* Looks at all names below `parent`/`path`: removes them, or tells whether all are of a model and
 * can be removed (`strange` gets one that is not; none: nothing can be removed there). Inside of
 * INSIDE there is no further folder. */
static bool walk(int parent, const char *path, bool remove, char strange[256])
{
    int number = openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = number >= 0 ? fdopendir(number) : NULL;
    bool top = parent == AT_FDCWD;
    if (directory == NULL && number >= 0)
        (void)close(number);
    bool fine = directory != NULL && faccessat(parent, path, W_OK | X_OK, AT_EACCESS) == 0;
    struct dirent *entry;
    while (fine && (entry = readdir(directory)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        struct stat information;
        bool known = fstatat(dirfd(directory), name, &information, AT_SYMLINK_NOFOLLOW) == 0;
        if (!known && errno == ENOENT) /* whoever writes it gave it its name */
            continue;
        bool file = known && (S_ISREG(information.st_mode) || S_ISLNK(information.st_mode));
        bool inside = known && top && S_ISDIR(information.st_mode) && rad_is_one_of(name, INSIDE);
        fine = inside ? walk(dirfd(directory), name, remove, NULL) : file && is_model_file(name);
        if (fine && remove)
            fine = unlinkat(dirfd(directory), name, inside ? AT_REMOVEDIR : 0) == 0;
        if (!fine && strange != NULL)
            snprintf(strange, 256, "%s", name);
    }
    if (directory != NULL)
        (void)closedir(directory);
    return fine;
}

static bool remove_folder(const char *path)
{
    return walk(AT_FDCWD, path, true, NULL) && rmdir(path) == 0;
}

/* A folder is made beside its name and takes its place at the end: what stands in the way of that
 * is told before hours of work. */
static radllm_status check_place(const rad_folder_output *folder, radllm_error *error)
{
    struct stat own, parent;
    const char *slash = strrchr(folder->path, '/'),
               *last = slash != NULL ? slash + 1 : folder->path;
    if (rad_is_one_of(last, ".|..") || last[0] == '\0')
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "%s: give the folder's own name, by which it can be replaced",
                        folder->label);
    bool there = stat(folder->path, &own) == 0;
    snprintf(folder->scratch, folder->size, "%.*s.", (int)(last - folder->path), folder->path);
    if (access(folder->scratch, W_OK | X_OK) != 0)
        return fail_folder(folder, "make", errno, error);
    if (there && stat(folder->scratch, &parent) == 0 && own.st_dev != parent.st_dev)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "%s is where a disk is mounted, which cannot be replaced; name a folder "
                        "inside of it",
                        folder->label);
    if (there && rad_is_kept_by_owner(folder->path))
        return rad_fail(error, RADLLM_E_IO,
                        "%s: the folder is another user's, in one where only its owner may replace "
                        "it; give another name",
                        folder->label);
    const char *const beside[] = {folder->partial, folder->replaced};
    for (size_t i = 0; i < 2; i++)
        if (lstat(beside[i], &own) == 0 &&
            (!S_ISDIR(own.st_mode) || !walk(AT_FDCWD, beside[i], false, NULL)))
            return rad_fail(error, RADLLM_E_ARGUMENT,
                            "%s%s, which is made on the way, is there and is no model's folder: "
                            "remove it, or name another folder",
                            folder->label, beside[i] + strlen(folder->path));
    return RADLLM_OK;
}

static radllm_status check_target(const rad_folder_output *folder, radllm_error *error)
{
    struct stat information;
    char strange[256] = "", quoted[RAD_QUOTE_SIZE];
    radllm_status status = check_place(folder, error);
    if (status != RADLLM_OK || lstat(folder->path, &information) != 0)
        return status;
    if (!folder->replace)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "%s exists; name another folder, or ask for it to be replaced (--force of "
                        "radllm-convert)",
                        folder->label);
    if (!S_ISDIR(information.st_mode))
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "%s is no folder and is not replaced by one; remove it first",
                        folder->label);
    bool fine = walk(AT_FDCWD, folder->path, false, strange);
    if (!fine && strange[0] == '\0')
        return fail_folder(folder, "empty", EACCES, error);
    if (!fine)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "%s holds '%s', which is no file of a model: it is not replaced; name "
                        "another folder, or remove it yourself",
                        folder->label, rad_quote(quoted, strange, strlen(strange)));
    return RADLLM_OK;
}

static void unlock_partial(rad_folder_output *folder)
{
    if (folder->lock >= 0)
        (void)close(folder->lock);
    folder->lock = -1;
}

/* Makes and locks it, and empties what a killed attempt left, which nobody locks. A file system
 * without locks tells nothing. 0, or errno: EWOULDBLOCK where somebody else writes it. */
static int take_partial(rad_folder_output *folder)
{
    if (mkdir(folder->partial, 0777) != 0 && errno != EEXIST)
        return errno;
    folder->lock = open(folder->partial, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder->lock < 0)
        return errno;
    int number = flock(folder->lock, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    if (number != EWOULDBLOCK)
        number = walk(AT_FDCWD, folder->partial, true, NULL) ? 0 : ENOTEMPTY;
    if (number != 0)
        unlock_partial(folder);
    return number;
}

static radllm_status make_partial(rad_folder_output *folder, radllm_error *error)
{
    int number = take_partial(folder);
    if (number == EWOULDBLOCK)
        return rad_fail(error, RADLLM_E_IO,
                        "%s: another program or thread writes this folder now (.partial); wait for "
                        "it, or give another path",
                        folder->label);
    return number == 0 ? RADLLM_OK : fail_folder(folder, "make", number, error);
}

static char *with_ending(const rad_folder_output *folder, const char *path, size_t size,
                         const char *ending)
{
    char *text = rad_alloc(&folder->allocator, folder->size);
    if (text != NULL)
        snprintf(text, folder->size, "%.*s%s", (int)size, path, ending);
    return text;
}

radllm_status rad_folder_output_open(const rad_allocator *allocator, const char *path, bool replace,
                                     rad_folder_output **out, radllm_error *error)
{
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/')
        size--;
    if (size == 0 || size > 1 << 20)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the path of the folder to write is empty or too long; give a path");
    rad_folder_output *folder = rad_alloc_zero(allocator, sizeof *folder);
    if (folder == NULL)
        return rad_fail_memory(error, sizeof *folder);
    *folder = (rad_folder_output){
        .allocator = *allocator, .size = size + 16, .lock = -1, .replace = replace};
    rad_path_label(folder->label, path);
    folder->path = with_ending(folder, path, size, "");
    folder->partial = with_ending(folder, path, size, ".partial");
    folder->replaced = with_ending(folder, path, size, ".replaced");
    folder->scratch = with_ending(folder, path, size, "");
    radllm_status status = RADLLM_OK;
    if (folder->path == NULL || folder->partial == NULL || folder->replaced == NULL ||
        folder->scratch == NULL)
        status = rad_fail_memory(error, folder->size);
    if (status == RADLLM_OK)
        status = check_target(folder, error);
    if (status == RADLLM_OK && out != NULL)
        status = make_partial(folder, error);
    if (status == RADLLM_OK && out != NULL)
        *out = folder;
    else
        rad_folder_output_free(folder);
    return status;
}

radllm_status rad_folder_output_file(rad_folder_output *folder, const char *name, rad_output **out,
                                     radllm_error *error)
{
    size_t bytes = folder->size + strlen(name) + 2;
    char *path = rad_alloc(&folder->allocator, bytes);
    if (path == NULL)
        return rad_fail_memory(error, bytes);
    const char *slash = strchr(name, '/');
    snprintf(path, bytes, "%s/%.*s", folder->partial, slash != NULL ? (int)(slash - name) : 0,
             name);
    if (slash != NULL)
        (void)mkdir(path, 0777); /* opening the file tells what is wrong */
    snprintf(path, bytes, "%s/%s", folder->partial, name);
    radllm_status status = rad_output_open(&folder->allocator, path, out, error);
    rad_free(&folder->allocator, path, bytes);
    return status;
}

radllm_status rad_folder_output_commit(rad_folder_output *folder, radllm_error *error)
{
    struct stat information;
    radllm_status status = check_target(folder, error); /* it may have come meanwhile */
    if (status != RADLLM_OK)
        return status;
    bool there = lstat(folder->path, &information) == 0;
    if (there) /* what a killed attempt left: the model before the one that stands there */
        (void)remove_folder(folder->replaced);
    if (there && rename(folder->path, folder->replaced) != 0)
        return fail_folder(folder, "replace", errno, error);
    if (rename(folder->partial, folder->path) != 0) {
        int number = errno;
        if (there)
            (void)rename(folder->replaced, folder->path);
        return fail_folder(folder, "name", number, error);
    }
    unlock_partial(folder);
    there = lstat(folder->replaced, &information) == 0;
    if (there && !remove_folder(folder->replaced))
        return fail_folder(folder, "remove what was replaced (PATH.replaced) of", errno, error);
    return RADLLM_OK;
}

void rad_folder_output_free(rad_folder_output *folder)
{
    if (folder == NULL)
        return;
    if (folder->lock >= 0)
        (void)remove_folder(folder->partial);
    unlock_partial(folder);
    rad_allocator allocator = folder->allocator;
    rad_free(&allocator, folder->path, folder->size);
    rad_free(&allocator, folder->partial, folder->size);
    rad_free(&allocator, folder->replaced, folder->size);
    rad_free(&allocator, folder->scratch, folder->size);
    rad_free(&allocator, folder, sizeof *folder);
}
