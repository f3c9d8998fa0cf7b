/* lib/io: reads model files. Whatever the container, the rest of the library sees a rad_source:
 * named tensors and typed metadata. Nothing here knows what the tensors mean. */
#ifndef RAD_MODEL_SOURCE_H
#define RAD_MODEL_SOURCE_H

#include "base/base.h"
#include "quant/quant.h"

/* Types of metadata values, numbered as in GGUF. */
typedef enum rad_meta_type {
    RAD_META_U8 = 0,
    RAD_META_I8 = 1,
    RAD_META_U16 = 2,
    RAD_META_I16 = 3,
    RAD_META_U32 = 4,
    RAD_META_I32 = 5,
    RAD_META_F32 = 6,
    RAD_META_BOOL = 7,
    RAD_META_STRING = 8,
    RAD_META_ARRAY = 9,
    RAD_META_U64 = 10,
    RAD_META_I64 = 11,
    RAD_META_F64 = 12
} rad_meta_type;

/* A piece of text inside the source; not NUL-terminated, any bytes. */
typedef struct rad_text {
    const char *data;
    size_t size;
} rad_text;

/* One metadata entry. For a scalar, count is 1 and is_array false. `items` points at count packed
 * little-endian values of `type` (unaligned: use rad_meta_item_*), for strings at `strings`. */
typedef struct rad_meta {
    rad_text key;       /* also NUL-terminated at key.data[key.size] */
    rad_meta_type type; /* of the items; never RAD_META_ARRAY */
    bool is_array;
    uint64_t count;
    const uint8_t *items;    /* not for strings */
    const rad_text *strings; /* only for strings */
} rad_meta;

/* How a tensor's bytes are put together where no file has them as they are used: io/view.h. */
typedef struct rad_view rad_view;

typedef struct rad_tensor {
    rad_text name; /* also NUL-terminated */
    rad_type type;
    uint32_t n_dims;
    uint64_t dims[4]; /* dims[0] contiguous; unused ones are 1 */
    uint64_t n_elements;
    uint64_t n_bytes;
    uint32_t part;        /* file part */
    uint64_t offset;      /* absolute, inside that part; with a view: of its first piece */
    const rad_view *view; /* NULL: n_bytes stand at offset as they are used */
    const char *stored;   /* of a folder: what it calls the tensor, or a part of it; else NULL */
} rad_tensor;

typedef struct rad_source rad_source;

/* Opens a GGUF file (split models: its first part; the others are found beside it), a folder as
 * Hugging Face has them, a .safetensors file, or the index of several
 * (model.safetensors.index.json). Everything that the container can get wrong is checked here: see
 * gguf.c and safetensors.c. A folder's tensors and hyper-parameters have the names that GGUF has
 * for them (families.c). The path is kept for later reads. */
radllm_status rad_source_open(const rad_host *host, const char *path, rad_source **out,
                              radllm_error *error);
radllm_status rad_source_open_callback(const rad_host *host, radllm_read_fn read, void *user,
                                       uint64_t file_size, rad_source **out, radllm_error *error);
/* Opens a configuration alone (a config.json of whatever name): metadata without tensors. */
radllm_status rad_shape_open(const rad_host *host, const char *path, rad_source **out,
                             radllm_error *error);
/* Whether such a configuration says that the output is the embedding. */
bool rad_source_is_tied(const rad_source *source);
/* Whether it has tensors by name alone, without their bytes, and no part. */
bool rad_source_is_shape(const rad_source *source);
/* Sources are shared: the last release frees. Thread-safe. */
rad_source *rad_source_retain(rad_source *source);
void rad_source_release(rad_source *source);

/* The (first) file's, or folder's, path as messages show it: printable, its end when it is long. */
const char *rad_source_label(const rad_source *source);
/* Whether it is GGUF; else safetensors, perhaps with a configuration beside it. */
bool rad_source_is_gguf(const rad_source *source);
bool rad_source_is_file(const rad_source *source); /* false for a callback source */
/* Whether it is a tokenizer.json that was opened by itself: a vocabulary without a model. */
bool rad_source_is_vocabulary(const rad_source *source);
/* Whether reading a few rows of a weight costs much more than their share of many, so that matrices
 * are better read before the first token than behind it. */
bool rad_source_is_scattered(const rad_source *source);
uint32_t rad_source_version(const rad_source *source);
uint64_t rad_source_alignment(const rad_source *source);
uint32_t rad_source_n_parts(const rad_source *source);
uint64_t rad_source_part_bytes(const rad_source *source, uint32_t part);

uint64_t rad_source_n_meta(const rad_source *source);
const rad_meta *rad_source_meta(const rad_source *source, uint64_t index);
/* NULL when there is no such key. Logarithmic time, for tensors as well: names come from the file,
 * so a hash table could be made slow by them. */
const rad_meta *rad_source_find_meta(const rad_source *source, const char *key);

uint64_t rad_source_n_tensors(const rad_source *source);
const rad_tensor *rad_source_tensor(const rad_source *source, uint64_t index);
uint64_t rad_source_tensor_index(const rad_source *source, const rad_tensor *tensor);
const rad_tensor *rad_source_find_tensor(const rad_source *source, const char *name);

/* Reads `size` bytes at absolute `offset` of a part. Any thread. Fails cleanly (RADLLM_E_IO, naming
 * file and offset) when the file has become shorter. */
radllm_status rad_source_read(const rad_source *source, uint32_t part, uint64_t offset,
                              void *buffer, size_t size, radllm_error *error);
/* The same of a tensor: `size` bytes from byte `offset` of its own on, as they are used. With a
 * view both are whole rows (of a vector: whole numbers). */
radllm_status rad_source_read_tensor(const rad_source *source, const rad_tensor *tensor,
                                     uint64_t offset, void *buffer, size_t size,
                                     radllm_error *error);
/* RADLLM_E_IO where one of its files, or of those of what it is made of, was written to since it
 * was opened: what was read may be half of one model and half of another. */
radllm_status rad_source_check(const rad_source *source, radllm_error *error);
/* Where a row's columns stand in another order than the matrix's, as quantizers that look at
 * activations leave them: *n numbers, the matrix's column of each that the row holds, RAD_NO_COLUMN
 * where it holds none (groups are padded: *n is dims[0] or more, and what is read has *n columns).
 * NULL: the *n columns stand as they are. Tensors of equal order may share the array. */
#define RAD_NO_COLUMN UINT32_MAX
const uint32_t *rad_tensor_columns(const rad_tensor *tensor, uint32_t *n);
/* What all numbers of the tensor are to be multiplied with, beside what its type says: 1 for most.
 */
float rad_tensor_scale(const rad_tensor *tensor);
/* Whether it is of a type that folders alone have, or has a scale beside what its blocks say: such
 * a tensor is converted by its numbers alone. */
bool rad_tensor_is_own(const rad_tensor *tensor);
/* Of RAD_FAMILY_INT8: the magnitude from which activations are outliers. */
float rad_tensor_threshold(const rad_tensor *tensor);
/* Whether a mapped file has the tensor as it is used, at an address that kernels can read from. */
bool rad_tensor_is_mappable(const rad_tensor *tensor);
/* A text file beside the weights of a folder ("tokenizer.json"); *data is NULL where there is none.
 * The caller frees it with the source's host and rad_free(); it has a NUL behind its end, which
 * *size does not count but rad_free() wants (*size + 1). RADLLM_E_LIMIT above `most` bytes. */
radllm_status rad_source_side_file(const rad_source *source, const rad_allocator *allocator,
                                   const char *name, size_t most, char **data, size_t *size,
                                   radllm_error *error);
bool rad_source_has_side_file(const rad_source *source, const char *name);
/* The files of chat templates with names, by their number; NULL behind the last one. */
const char *rad_source_template_file(const rad_source *source, size_t index);
/* Maps all parts read-only (once; later calls do nothing); then rad_source_mapped gives pointers.
 * RADLLM_E_UNSUPPORTED for a callback source. */
radllm_status rad_source_map(rad_source *source, radllm_error *error);
const uint8_t *rad_source_mapped(const rad_source *source, uint32_t part); /* NULL: not mapped */

/* Adds to a message that names one of a folder's hyper-parameters as GGUF does what config.json
 * calls it. */
void rad_source_name_key(const rad_source *source, radllm_error *error);

/* ---- typed access ------------------------------------------------------------------------ */

/* "u32", "string", ...; static storage. */
const char *rad_meta_type_name(rad_meta_type type);

/* Item `index` of an entry whose type is a number or bool; the caller checked type and count. */
uint64_t rad_meta_item_u64(const rad_meta *meta, uint64_t index); /* sign-extended */
double rad_meta_item_f64(const rad_meta *meta, uint64_t index);

/* Read a scalar by key. Missing: *out becomes `fallback`, RADLLM_OK. Wrong type (any integer type
 * is taken for an integer, f32 and f64 for a real) or out of [minimum, maximum] (not finite, for
 * reals): RADLLM_E_FORMAT naming the key. */
radllm_status rad_meta_integer(const rad_source *source, const char *key, int64_t minimum,
                               int64_t maximum, int64_t fallback, int64_t *out,
                               radllm_error *error);
radllm_status rad_meta_real(const rad_source *source, const char *key, double minimum,
                            double maximum, double fallback, double *out, radllm_error *error);
radllm_status rad_meta_bool(const rad_source *source, const char *key, bool fallback, bool *out,
                            radllm_error *error);
/* *out has data NULL when the key is missing. */
radllm_status rad_meta_text(const rad_source *source, const char *key, rad_text *out,
                            radllm_error *error);

#endif
