/* The inside of rad_source, shared by the files of lib/io and by nothing else. */
#ifndef RAD_SOURCE_H
#define RAD_SOURCE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/file_path.h"
#include "base/platform.h"
#include "io/model_source.h"

/* Metadata and tensor tables may take this much memory. The largest vocabularies in use take about
 * 30 MiB, so a file that needs more is damaged or hostile. */
#define RAD_METADATA_LIMIT ((uint64_t)1 << 30)

typedef struct rad_meta_entry {
    rad_meta meta;
    uint64_t position; /* of the key in its file */
} rad_meta_entry;

/* The metadata of one file. */
typedef struct rad_meta_table {
    rad_meta_entry *entries;
    size_t count;
    size_t capacity;
    uint32_t *order; /* of the entries, sorted by key; `count` items */
} rad_meta_table;

typedef struct rad_tensor_entry {
    rad_tensor tensor; /* first: rad_source_tensor_index() */
    uint64_t position; /* of its description in its file */
} rad_tensor_entry;

typedef struct rad_part {
    rad_file *file; /* NULL where the host supplies the bytes */
    uint64_t size;
    const uint8_t *mapped;           /* valid once rad_source.mapped is true */
    const char *side;                /* the name of a file without weights, in the arena; or NULL */
    char label[RAD_PATH_LABEL_SIZE]; /* for messages */
} rad_part;

struct rad_source {
    rad_host host;
    atomic_uint references;
    char *path; /* in the arena; "" for a callback source */
    char label[RAD_PATH_LABEL_SIZE];
    bool foreign; /* no GGUF: a folder or safetensors */
    bool adapter; /* the folder is of a PEFT adapter */
    bool scattered;
    bool tied;  /* of a folder: its configuration says that the output is the embedding */
    bool shape; /* tensors without their bytes */
    radllm_read_fn read;
    void *read_user;
    rad_arena arena;     /* keys, values, names */
    uint64_t arena_used; /* bytes asked of the arena */
    uint32_t version;
    uint64_t alignment;
    rad_part *parts;
    size_t n_parts;
    size_t parts_capacity;
    rad_meta_table metadata; /* of the first part */
    rad_tensor_entry *tensors;
    size_t n_tensors;
    size_t tensors_capacity;
    uint32_t *tensor_order; /* sorted by name */
    pthread_mutex_t mapping;
    atomic_bool mapped;
    rad_source *base; /* whose tensors this one has in another form (derived.h); NULL: none */
    bool beside;      /* the texts beside the base are beside this one too */
};

/* ---- gguf.c ------------------------------------------------------------------------------ */

/* What one GGUF file says of itself beside its tables. */
typedef struct rad_gguf_header {
    uint32_t version;
    uint64_t alignment;
} rad_gguf_header;

/* Reads and checks file part `part`: its metadata goes to `table` (freed by the caller, also after
 * a failure), its tensors are added to source->tensors. */
radllm_status rad_gguf_read(rad_source *source, uint32_t part, rad_meta_table *table,
                            rad_gguf_header *header, radllm_error *error);

/* ---- tables.c ---------------------------------------------------------------------------- */

/* Sorts indexes 0..count-1 in `order` by `less`; no memory, no recursion, n log n at worst. */
typedef bool (*rad_index_less)(const void *context, uint32_t a, uint32_t b);
void rad_sort_indexes(uint32_t *order, size_t count, rad_index_less less, const void *context);

int rad_text_compare(rad_text a, rad_text b); /* bytes, then length */

/* Sorts the table; two entries of one key are an error. */
radllm_status rad_meta_table_finish(const rad_source *source, const char *label,
                                    rad_meta_table *table, radllm_error *error);
const rad_meta *rad_meta_table_find(const rad_meta_table *table, const char *key);
void rad_meta_table_free(const rad_source *source, rad_meta_table *table);

/* Sorts all tensors; two of one name, or (with check_bytes) two that share bytes, are an error. */
radllm_status rad_tensors_finish(rad_source *source, bool check_bytes, radllm_error *error);

/* ---- meta.c ------------------------------------------------------------------------------ */

/* rad_meta_integer of any table; `label` names the file in messages. */
radllm_status rad_meta_table_integer(const rad_meta_table *table, const char *label,
                                     const char *key, int64_t minimum, int64_t maximum,
                                     int64_t fallback, int64_t *out, radllm_error *error);

/* ---- split.c ----------------------------------------------------------------------------- */

/* After the first file was read: opens and reads the other parts, if there are any. */
radllm_status rad_split_read(rad_source *source, radllm_error *error);

/* ---- source.c ---------------------------------------------------------------------------- */

/* A source without parts; released like any other. */
radllm_status rad_source_new(const rad_host *host, rad_source **out, radllm_error *error);

/* Opens the file at path as the next part. */
radllm_status rad_source_add_part(rad_source *source, const char *path, radllm_error *error);
/* The same for a file beside others that came with it: a symbolic link is refused. */
radllm_status rad_source_add_plain_part(rad_source *source, const char *path, radllm_error *error);

/* ---- side_files.c ------------------------------------------------------------------------ */

/* Whether path names a JSON text that is opened for its vocabulary alone (tokenizer.json). */
bool rad_is_vocabulary_path(const char *path);
/* Opens it, and the files beside it that say more of its tokens. */
radllm_status rad_vocabulary_open(rad_source *source, const char *path, radllm_error *error);

/* ---- foreign.c --------------------------------------------------------------------------- */

/* Fails with a message that names what the file is, when it is not a GGUF file of a version that
 * can be read; RADLLM_OK when it is. */
radllm_status rad_gguf_check_magic(const rad_source *source, uint32_t part, radllm_error *error);

#endif
