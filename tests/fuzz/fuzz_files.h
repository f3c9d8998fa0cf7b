/* For targets whose inputs are files: a folder in memory that is gone at the end, and options. */
#ifndef RAD_FUZZ_FILES_H
#define RAD_FUZZ_FILES_H

#include "fuzz_common.h"

#include <sys/stat.h>
#include <unistd.h>

#define MOST_MEMORY ((size_t)64 << 20) /* beyond what such small files may ask for */

static char scratch[64];

static inline const char *scratch_path(char path[160], const char *name)
{
    snprintf(path, 160, "%s/%s", scratch, name);
    return path;
}

static void remove_scratch(void)
{
    rmdir(scratch);
}

static inline void make_scratch(void)
{
    if (scratch[0] != '\0')
        return;
    snprintf(scratch, sizeof scratch, "/dev/shm/radllm-fuzz-XXXXXX");
    if (mkdtemp(scratch) == NULL) {
        snprintf(scratch, sizeof scratch, "/tmp/radllm-fuzz-XXXXXX");
        HOLDS(mkdtemp(scratch) != NULL);
    }
    HOLDS(atexit(remove_scratch) == 0);
}

static inline const char *write_scratch(char path[160], const char *name, input bytes)
{
    FILE *out = fopen(scratch_path(path, name), "wb");
    HOLDS(out != NULL && fwrite(bytes.data, 1, bytes.size, out) == bytes.size && fclose(out) == 0);
    return path;
}

static inline void *take_some(void *user, size_t size, size_t alignment)
{
    return memory_take_within(MOST_MEMORY, user, size, alignment);
}

/* Keys and values, NULL behind the last; NULL when memory is short. */
static inline radllm_options *options_of(const radllm_host *host, const char *const settings[])
{
    radllm_options *options = NULL;
    if (radllm_options_new(host, &options, NULL) != RADLLM_OK)
        return NULL;
    for (size_t i = 0; settings[i] != NULL; i += 2) {
        radllm_status status =
            radllm_options_set_text(options, settings[i], settings[i + 1], RADLLM_NUL, NULL);
        HOLDS(status == RADLLM_OK || status == RADLLM_E_MEMORY);
    }
    return options;
}

/* A refusal has its message. */
static inline bool may_fail(radllm_status status, const radllm_error *error)
{
    return (model_may_end_with(status) || status == RADLLM_E_IO || status == RADLLM_E_STATE) &&
           (status == RADLLM_OK || (error->status == status && error->message[0] != '\0'));
}

/* ---- models as folders ----------------------------------------------------------------------- */

static const char *const folder_names[] = {
    "config.json",  "model.safetensors.index.json", "model.safetensors", "b.safetensors",
    "modules.json", "1_Pooling/config.json",        "1_Pooling"};
enum { CONFIG, INDEX, FIRST, SECOND, MODULES, POOLING, POOLING_FOLDER };

static void remove_pooling(void)
{
    char path[160];
    rmdir(scratch_path(path, folder_names[POOLING_FOLDER]));
}

static inline void make_folder(void)
{
    char path[160];
    if (scratch[0] != '\0')
        return;
    make_scratch();
    HOLDS(mkdir(scratch_path(path, folder_names[POOLING_FOLDER]), 0700) == 0);
    HOLDS(atexit(remove_pooling) == 0); /* before the folder is */
}

/* What begins as a list in place of an index is modules.json; what says pooling, that file. */
static inline int folder_place(int name, const input *text)
{
    if (name != INDEX || text->size < 3)
        return name;
    return text->data[0] == '[' ? MODULES : text->data[2] == 'p' ? POOLING : name;
}

/* The input's head: the sizes of config.json, of the index and of the first file of weights, in 16
 * bits; then these, and the second file. What has no byte is not there. */
static inline void write_folder(input in)
{
    size_t sizes[MODULES];
    char path[160];
    for (int i = 0; i < SECOND; i++) {
        sizes[i] = take_byte(&in);
        sizes[i] |= (size_t)take_byte(&in) << 8;
    }
    sizes[SECOND] = SIZE_MAX;
    for (int i = 0; i < MODULES; i++) {
        input one = take_bytes(&in, sizes[i]);
        if (one.size > 0)
            write_scratch(path, folder_names[folder_place(i, &one)], one);
    }
}

static inline void empty_folder(void)
{
    char path[160];
    for (int i = 0; i < POOLING_FOLDER; i++)
        (void)unlink(scratch_path(path, folder_names[i]));
}

#endif
