/* radllm.h - libradllm: run open-weights language models inside your program.
 *
 * Conventions, valid for every function here:
 *  - Fallible calls return a radllm_status and take a radllm_error pointer, which may be NULL. On
 *    failure the error receives a message that says what was wrong, where, and what to do. On
 *    success it is cleared. Output parameters are written on success only, unless said otherwise.
 *  - Text goes in as pointer and length in bytes (it may hold NUL); RADLLM_NUL as length means
 *    "up to the terminating NUL". Text comes out into a buffer of the caller: `capacity` bytes are
 *    available, *length receives the bytes that the whole text has (also when it did not fit, with
 *    RADLLM_E_BUFFER; nothing is written then). A NUL is added when there is room for it, and is
 *    not counted. buffer may be NULL when capacity is 0, to ask for the length.
 *  - A struct that is filled by a call begins with its size, which is set before the call
 *    (RADLLM_E_ARGUMENT without); members that an older host does not know are not written.
 *  - An object made by a `_new` or `_open` function belongs to the caller, who frees it with the
 *    `_free` function of the same type; `_free(NULL)` does nothing. Objects keep what they were
 *    made from alive, so they may be freed in any order.
 *  - Thread rules are written at each type. "One thread at a time" means that calls on the same
 *    object must not overlap; different objects never disturb each other.
 *  - No function aborts, exits, prints, installs a signal handler, reads an environment variable
 *    or opens a socket. After fork(), in the child every fallible call but `_free` on an object
 *    made before the fork answers RADLLM_E_FORKED; only a radllm_error goes on receiving messages.
 *  - Calls may be made from a thread with a stack of 64 KiB or more.
 *
 * The header is C99 and C++. Functions and values that stand here are stable: they are neither
 * removed nor changed; new ones are added. SPDX-License-Identifier: Apache-2.0 */
#ifndef RADLLM_RADLLM_H
#define RADLLM_RADLLM_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define RADLLM_API
#elif defined(__GNUC__)
#define RADLLM_API __attribute__((visibility("default")))
#else
#define RADLLM_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- version ----------------------------------------------------------------------------- */

#define RADLLM_VERSION_MAJOR 0
#define RADLLM_VERSION_MINOR 1
#define RADLLM_VERSION_PATCH 0

/* The library's version as major * 1000000 + minor * 1000 + patch. */
RADLLM_API uint32_t radllm_version(void);

/* The library's version as text, "0.1.0". Static storage. */
RADLLM_API const char *radllm_version_text(void);

/* Changes only when a released change alters the bits of logits or tokens for some model on the
 * CPU backend. Same model file, same request, same numeric version: same answer. */
RADLLM_API uint32_t radllm_numeric_version(void);

/* ---- status and error -------------------------------------------------------------------- */

typedef int32_t radllm_status;

enum {
    RADLLM_OK = 0,
    RADLLM_E_ARGUMENT = 1,    /* a NULL, a value out of range, an unknown option */
    RADLLM_E_MEMORY = 2,      /* an allocation failed */
    RADLLM_E_IO = 3,          /* a file could not be opened or read */
    RADLLM_E_FORMAT = 4,      /* a file is malformed or contradicts itself */
    RADLLM_E_UNSUPPORTED = 5, /* well-formed, but this version cannot do it */
    RADLLM_E_LIMIT = 6,       /* more tokens than the context holds, or a like limit */
    RADLLM_E_BUDGET = 7,      /* the memory budget is too small for what was asked */
    RADLLM_E_NUMERIC = 8,     /* the model produced logits that are not finite */
    RADLLM_E_CANCELLED = 9,   /* a cancellation object or callback asked to stop */
    RADLLM_E_STATE = 10,      /* not possible now: running, not finished, called from a callback */
    RADLLM_E_NOT_FOUND = 11,  /* no entry of that name or index */
    RADLLM_E_BUFFER = 12,     /* the caller's buffer is too small; the needed size was written */
    RADLLM_E_FORKED = 13,     /* the object was made before fork() in another process */
    RADLLM_E_INTERNAL = 14,   /* a fault of the library; please report it */
    RADLLM_E_DEVICE = 15      /* the GPU or its driver failed: the engine can compute no more, the
                               * model can go on with another one */
};

/* The name of a status, "RADLLM_E_FORMAT"; "unknown status" for others. Static storage. */
RADLLM_API const char *radllm_status_name(radllm_status status);

/* Receives the message of a failed call. One thread at a time. */
typedef struct radllm_error radllm_error;

/* Makes an error object. Fails with RADLLM_E_MEMORY only. */
RADLLM_API radllm_status radllm_error_new(radllm_error **out);
RADLLM_API void radllm_error_free(radllm_error *error);
/* The status of the last call that was given this object; RADLLM_OK for NULL. */
RADLLM_API radllm_status radllm_error_status(const radllm_error *error);
/* The message, printable UTF-8, never NULL; valid until the object is used or freed. */
RADLLM_API const char *radllm_error_message(const radllm_error *error);

/* Length that means "the text ends at its NUL". */
#define RADLLM_NUL ((size_t)-1)

/* ---- host: what your program supplies -------------------------------------------------------- */

/* Settings of the surrounding program. Copied into each object that is made with it, so it may be
 * changed or freed afterwards. One thread at a time. Wherever a host is a parameter, NULL means
 * the defaults: the C library's memory, no log, own threads, no progress. */
typedef struct radllm_host radllm_host;

/* Returns `size` bytes aligned to `alignment` (a power of two), or NULL. Any thread. */
typedef void *(*radllm_allocate_fn)(void *user, size_t size, size_t alignment);
/* Takes back what radllm_allocate_fn gave, with the same size. Any thread. */
typedef void (*radllm_release_fn)(void *user, void *pointer, size_t size);

enum { RADLLM_LOG_ERROR = 1, RADLLM_LOG_WARNING = 2, RADLLM_LOG_INFO = 3, RADLLM_LOG_DEBUG = 4 };
/* One line, without a line break, never holding prompt or output text. Any thread. */
typedef void (*radllm_log_fn)(void *user, int32_t level, const char *line);

/* A unit of work of the library. */
typedef void (*radllm_task_fn)(void *task_data, uint32_t index);
/* Runs task(task_data, i) once for each i in 0..count-1, in any order, on any threads, and returns
 * when all have returned. Tasks are independent: they never wait for each other. */
typedef void (*radllm_executor_fn)(void *user, radllm_task_fn task, void *task_data,
                                   uint32_t count);

/* Called now and then during long work, on the calling thread: `done` of `total` units of `stage`
 * ("load", "upload" to a GPU and "check" of it, "hash", "quantize", "calibrate"). A value other
 * than 0 cancels the work (RADLLM_E_CANCELLED). */
typedef int32_t (*radllm_progress_fn)(void *user, const char *stage, uint64_t done, uint64_t total);

/* allocate and release both NULL: the C library's memory. */
RADLLM_API radllm_status radllm_host_new(radllm_allocate_fn allocate, radllm_release_fn release,
                                         void *user, radllm_host **out, radllm_error *error);
RADLLM_API void radllm_host_free(radllm_host *host);
RADLLM_API radllm_status radllm_host_set_log(radllm_host *host, radllm_log_fn log, void *user,
                                             int32_t level, radllm_error *error);
/* workers: how many tasks the executor runs at the same time at most (1 to 1024). */
RADLLM_API radllm_status radllm_host_set_executor(radllm_host *host, radllm_executor_fn executor,
                                                  void *user, uint32_t workers,
                                                  radllm_error *error);
RADLLM_API radllm_status radllm_host_set_progress(radllm_host *host, radllm_progress_fn progress,
                                                  void *user, radllm_error *error);

/* A flag that stops long calls. Any thread; radllm_cancel_set() also from a signal handler. */
typedef struct radllm_cancel radllm_cancel;
RADLLM_API radllm_status radllm_cancel_new(const radllm_host *host, radllm_cancel **out,
                                           radllm_error *error);
/* Must not be freed while an object that was given it is in use. */
RADLLM_API void radllm_cancel_free(radllm_cancel *cancel);
RADLLM_API void radllm_cancel_set(radllm_cancel *cancel);
RADLLM_API void radllm_cancel_reset(radllm_cancel *cancel);

/* ---- options ----------------------------------------------------------------------------- */

/* Settings by key, for models, engines and requests alike; each takes the keys of its scope and
 * ignores the others. radllm_option_describe() lists them. One thread at a time. Wherever options
 * are a parameter, NULL means the defaults; they are copied, so they may be freed afterwards. */
typedef struct radllm_options radllm_options;

enum {
    RADLLM_OPTION_INTEGER = 1,
    RADLLM_OPTION_REAL = 2,
    RADLLM_OPTION_BOOLEAN = 3, /* 0 or 1; as text also true, false, on, off, yes, no */
    RADLLM_OPTION_TEXT = 4,
    RADLLM_OPTION_CHOICE = 5, /* one of a list of words */
    RADLLM_OPTION_LIST = 6    /* of texts: each set adds one; radllm_options_reset() empties it */
};

enum {
    RADLLM_SCOPE_MODEL = 1,
    RADLLM_SCOPE_ENGINE = 2,
    RADLLM_SCOPE_REQUEST = 4,
    RADLLM_SCOPE_QUANTIZE = 8,
    RADLLM_SCOPE_EMBED = 16
};

RADLLM_API radllm_status radllm_options_new(const radllm_host *host, radllm_options **out,
                                            radllm_error *error);
RADLLM_API void radllm_options_free(radllm_options *options);
/* Text for any type of option: numbers are parsed as C does, whatever the locale. */
RADLLM_API radllm_status radllm_options_set_text(radllm_options *options, const char *key,
                                                 const char *value, size_t length,
                                                 radllm_error *error);
RADLLM_API radllm_status radllm_options_set_integer(radllm_options *options, const char *key,
                                                    int64_t value, radllm_error *error);
RADLLM_API radllm_status radllm_options_set_real(radllm_options *options, const char *key,
                                                 double value, radllm_error *error);
/* Back to the default. */
RADLLM_API radllm_status radllm_options_reset(radllm_options *options, const char *key,
                                              radllm_error *error);
/* The value as text (for a list: its items, one a line). */
RADLLM_API radllm_status radllm_options_get_text(const radllm_options *options, const char *key,
                                                 char *buffer, size_t capacity, size_t *length,
                                                 radllm_error *error);

/* What an option is. Set `size` to sizeof(radllm_option_info) before the call. Members that this
 * version of the library does not know stay untouched. All texts have static storage. */
typedef struct radllm_option_info {
    size_t size;
    const char *name;
    int32_t type;   /* RADLLM_OPTION_... */
    int32_t scope;  /* RADLLM_SCOPE_... added together */
    double minimum; /* of numbers; of texts: the least length */
    double maximum;
    const char *default_value; /* as text */
    const char *choices;       /* of RADLLM_OPTION_CHOICE: words with '|' between; else "" */
    const char *description;
} radllm_option_info;

/* Describes option number `index` (0, 1, ...); RADLLM_E_NOT_FOUND behind the last one. */
RADLLM_API radllm_status radllm_option_describe(uint32_t index, radllm_option_info *info);

/* ---- model files --------------------------------------------------------------------------- */

/* A model file that was opened and checked, without its weights in memory: metadata, tensors and a
 * memory plan. Immutable; any number of threads. */
typedef struct radllm_file radllm_file;

/* Opens a GGUF file (version 2 or 3; for a split model its first part: the others are found beside
 * it), a folder as Hugging Face has them (config.json, safetensors files), a .safetensors file, or
 * the index of several (model.safetensors.index.json). A folder's metadata and tensors are named as
 * GGUF names them. A tokenizer.json opens for its vocabulary alone (option vocab_only). Only the
 * container is checked here; radllm_file_check_model() and radllm_model_load() check that it is a
 * model that this library can run. */
RADLLM_API radllm_status radllm_file_open(const radllm_host *host, const char *path,
                                          radllm_file **out, radllm_error *error);

/* Copies `size` bytes at `offset` to `buffer`; returns 0, or another value when that failed. Any
 * thread, possibly several at once. */
typedef int32_t (*radllm_read_fn)(void *user, uint64_t offset, void *buffer, size_t size);
/* The same from bytes that the host supplies (an encrypted or embedded model), of file_size
 * bytes. `read` is used until the file and every model loaded from it are freed. */
RADLLM_API radllm_status radllm_file_open_callback(const radllm_host *host, radllm_read_fn read,
                                                   void *user, uint64_t file_size,
                                                   radllm_file **out, radllm_error *error);
/* A model that is not at hand: opens its configuration (a config.json, or a folder with one) as if
 * its weights stood beside it in the number format of the option "quantize" (BF16, Q4_K_M, ...).
 * Its tensors can be listed and the model be planned; it cannot be loaded (RADLLM_E_UNSUPPORTED).
 * Biases are left out. */
RADLLM_API radllm_status radllm_file_open_shape(const radllm_host *host, const char *path,
                                                const radllm_options *options, radllm_file **out,
                                                radllm_error *error);
RADLLM_API void radllm_file_free(radllm_file *file);

/* Checks all that loading would check, without loading: architecture, hyper-parameters, names and
 * shapes of tensors, tokenizer. */
RADLLM_API radllm_status radllm_file_check_model(const radllm_file *file, radllm_error *error);

/* Numbers of things in the file: "version" (of GGUF; 0: safetensors), "alignment", "metadata",
 * "tensors", "parts", "bytes", "tensor_bytes", "elements". RADLLM_E_NOT_FOUND for other names. */
RADLLM_API radllm_status radllm_file_number(const radllm_file *file, const char *name,
                                            uint64_t *out, radllm_error *error);

/* One metadata entry. Set `size` first. Texts belong to the file. */
typedef struct radllm_metadata_info {
    size_t size;
    const char *key;  /* NUL-terminated */
    const char *type; /* "u32", "f32", "bool", "string", "array of i32", ... */
    uint64_t count;   /* items of an array; 1 otherwise */
} radllm_metadata_info;

RADLLM_API radllm_status radllm_file_metadata(const radllm_file *file, uint64_t index,
                                              radllm_metadata_info *info, radllm_error *error);
/* Finds a key's index. */
RADLLM_API radllm_status radllm_file_metadata_find(const radllm_file *file, const char *key,
                                                   uint64_t *index, radllm_error *error);
/* Item `item` (0 for what is no array) of entry `index`, as text. Strings are given as they are. */
RADLLM_API radllm_status radllm_file_metadata_text(const radllm_file *file, uint64_t index,
                                                   uint64_t item, char *buffer, size_t capacity,
                                                   size_t *length, radllm_error *error);

/* One tensor. Set `size` first. Texts belong to the file. */
typedef struct radllm_tensor_info {
    size_t size;
    const char *name;
    const char *type; /* "F32", "Q4_K", ... */
    uint32_t n_dims;  /* 1 to 4 */
    uint64_t dims[4]; /* dims[0] is the contiguous one; unused ones are 1 */
    uint64_t bytes;
    uint64_t offset;    /* from the head of its file part */
    uint32_t part;      /* which file of a split model, from 0 */
    int32_t computable; /* 1 when this version can compute with the type */
} radllm_tensor_info;

RADLLM_API radllm_status radllm_file_tensor(const radllm_file *file, uint64_t index,
                                            radllm_tensor_info *info, radllm_error *error);

/* What loading `file` and running it with `options` (scopes model and engine) would take. */
typedef struct radllm_plan radllm_plan;
RADLLM_API radllm_status radllm_plan_new(const radllm_file *file, const radllm_options *options,
                                         radllm_plan **out, radllm_error *error);
/* The same for an engine with a draft model (radllm_engine_new_with_draft()), which every number
 * then includes. RADLLM_E_ARGUMENT when the two vocabularies differ. */
RADLLM_API radllm_status radllm_plan_new_with_draft(const radllm_file *file,
                                                    const radllm_file *draft,
                                                    const radllm_options *options,
                                                    radllm_plan **out, radllm_error *error);
RADLLM_API void radllm_plan_free(radllm_plan *plan);
/* Bytes of "weights", "cache", "activations", "vocabulary", "overhead" or "total"; also "prefixes",
 * the part of the cache that is for finding common beginnings and for keeping those that no session
 * holds, "draft", the part of the total that is the draft model's, "context", the tokens per
 * session that it was made for, and "largest_context", the most that would fit the option
 * memory_budget (with no budget: the model's own context length). Of a mixture of experts:
 * "experts", "experts_used" (0 for other models) and "active_weights", the bytes of matrices that
 * one token reads. "adapters": the part of the weights that is the option adapter's. Where layers
 * are placed on a GPU (options device, gpu_layers, vram_limit; else 0): "gpu_layers", "gpu_output"
 * (1: the last product, too), and bytes there: "gpu_weights", "gpu_cache", "gpu_activations",
 * "gpu_context" (the driver's for this process), "gpu_libraries", "gpu_draft" (all of a draft model
 * that is there, which no other of these has), "gpu_total", "gpu_memory" (all that it has). "cache"
 * and "draft" are then without what keys and values take there. Of several GPUs these are sums;
 * "gpu_count" is how many there are, and "gpu0_layers", "gpu1_total" and so on are of one of them,
 * in the order of their layers ("gpu0_number": as the driver counts them). */
RADLLM_API radllm_status radllm_plan_number(const radllm_plan *plan, const char *name,
                                            uint64_t *out, radllm_error *error);

/* The hash of the file or files: 64 hexadecimal digits. Each file is cut into pieces of 4 MiB; the
 * hash is the SHA-256 of the SHA-256 digests (32 bytes each) of all pieces in order. It is computed
 * at the first call, in parallel, and kept: models loaded from the file share it. Reads the whole
 * file; `cancel` may be NULL. */
RADLLM_API radllm_status radllm_file_hash(const radllm_file *file, const radllm_cancel *cancel,
                                          char *buffer, size_t capacity, size_t *length,
                                          radllm_error *error);

/* ---- model --------------------------------------------------------------------------------- */

/* Weights, vocabulary and hyper-parameters. Immutable after loading; any number of threads. */
typedef struct radllm_model radllm_model;

/* Loads the model in an opened file. `cancel` may be NULL. Large models (option "load_wait") are
 * given out before their matrices are in memory: the first tokens are computed from the file while
 * threads of the model copy it, with the same bits. A file that becomes unreadable meanwhile fails
 * the calls that compute with RADLLM_E_IO. */
RADLLM_API radllm_status radllm_model_load(const radllm_host *host, const radllm_file *file,
                                           const radllm_options *options,
                                           const radllm_cancel *cancel, radllm_model **out,
                                           radllm_error *error);
/* radllm_file_open() and radllm_model_load() in one. */
RADLLM_API radllm_status radllm_model_open(const radllm_host *host, const char *path,
                                           const radllm_options *options,
                                           const radllm_cancel *cancel, radllm_model **out,
                                           radllm_error *error);
RADLLM_API void radllm_model_free(radllm_model *model);

/* Numbers: "vocab_size", "context_length", "embedding_length", "layers", "heads", "kv_heads",
 * "head_dim", "parameters", "active_parameters" (of which one token uses no more: those of the
 * chosen experts), "experts" (0: it has none), "experts_used", "weight_bytes" (in memory),
 * "bos_token", "eos_token" (-1 when there is none), "adds_bos", "adds_eos", "generates" (0: it
 * gives embeddings and no text). RADLLM_E_NOT_FOUND for other names. */
RADLLM_API radllm_status radllm_model_number(const radllm_model *model, const char *name,
                                             int64_t *out, radllm_error *error);
/* Texts: "architecture", "name", "chat_template" (the file's own text, "" without), "template" (the
 * name of the built-in chat template that equals it, "" when none does), "isa" (of the kernels in
 * use), "layout", "load", "nf4" (how weights in NF4 are computed), "cache_type" (the number format
 * `cache=auto` stands for), "tokenizer", "unicode_version", "kind" ("base": it goes on with texts;
 * "instruct": it was taught to follow instructions; "chat": it holds conversations), "kind_reason"
 * (how that was decided: from what the file says of itself, its chat template, the token that ends
 * its answers, or the file's name), "adapters" (a line HASH=SCALE for each that sessions begin
 * with, or that was merged), "pooling" (of embeddings: "none", "mean", "cls", "last"; "" where the
 * model does not say: it is no embedding model). */
RADLLM_API radllm_status radllm_model_text(const radllm_model *model, const char *name,
                                           char *buffer, size_t capacity, size_t *length,
                                           radllm_error *error);
/* The hash of the model's file or files, as of radllm_file_hash(). Reads the file again. */
RADLLM_API radllm_status radllm_model_hash(const radllm_model *model, const radllm_cancel *cancel,
                                           char *buffer, size_t capacity, size_t *length,
                                           radllm_error *error);

/* ---- adapters -------------------------------------------------------------------------------- */

/* A LoRA adapter in memory, for one model: pairs of small matrices A and B, by which sessions
 * compute W x + scale B (A x) where the model has W x. Immutable; any number of threads. */
typedef struct radllm_adapter radllm_adapter;
/* Reads an adapter: a folder as PEFT writes it (adapter_config.json, adapter_model.safetensors), or
 * a GGUF file whose general.type is "adapter". The model's weights may be of any number format, and
 * are not changed. Of the options memory_budget counts: the bytes that this adapter may take.
 * RADLLM_E_ARGUMENT, with the tensor that does not fit, for an adapter of another model;
 * RADLLM_E_UNSUPPORTED for what is not LoRA, DoRA, modules_to_save, biases, and pairs for experts.
 * The option "adapter" gives all sessions of a model some from the beginning; with "adapter_merge"
 * they become part of the weights, and may then hold modules_to_save and biases, or be of DoRA. */
RADLLM_API radllm_status radllm_adapter_open(radllm_model *model, const char *path,
                                             const radllm_options *options, radllm_adapter **out,
                                             radllm_error *error);
/* Sessions that use it keep what they need of it. */
RADLLM_API void radllm_adapter_free(radllm_adapter *adapter);

/* What an adapter is. Set `size` first. */
typedef struct radllm_adapter_facts {
    size_t size;
    uint32_t rank;    /* the greatest of its pairs */
    uint32_t pairs;   /* matrices of the model that it changes */
    uint64_t tensors; /* in its file */
    uint64_t bytes;   /* in memory */
    double alpha;     /* the file's; pairs are scaled by alpha / rank (rsLoRA: / sqrt(rank)) */
} radllm_adapter_facts;
RADLLM_API radllm_status radllm_adapter_info(const radllm_adapter *adapter,
                                             radllm_adapter_facts *facts, radllm_error *error);
/* The SHA-256 of what it computes, which number formats, names and scales are part of: 64
 * hexadecimal digits. */
RADLLM_API radllm_status radllm_adapter_hash(const radllm_adapter *adapter, char *buffer,
                                             size_t capacity, size_t *length, radllm_error *error);

/* ---- tokens ---------------------------------------------------------------------------------- */

enum {
    /* Add the BOS, EOS or CLS/SEP tokens that the model's tokenizer asks for. */
    RADLLM_TOKENIZE_ADD_SPECIAL = 1,
    /* Read the texts of control tokens ("<|im_end|>") as those tokens. Never set this for text
     * that comes from outside. */
    RADLLM_TOKENIZE_PARSE_SPECIAL = 2
};

/* Writes the token ids of text. *count receives how many there are, also with RADLLM_E_BUFFER. */
RADLLM_API radllm_status radllm_tokenize(const radllm_model *model, const char *text, size_t length,
                                         uint32_t flags, int32_t *tokens, size_t capacity,
                                         size_t *count, radllm_error *error);

enum {
    RADLLM_DETOKENIZE_SPECIAL = 1 /* also write the texts of control tokens */
};

/* The text of tokens, as bytes: it is the model's and need not be valid UTF-8. */
RADLLM_API radllm_status radllm_detokenize(const radllm_model *model, const int32_t *tokens,
                                           size_t count, uint32_t flags, char *buffer,
                                           size_t capacity, size_t *length, radllm_error *error);

/* The vocabulary entry of a token as it stands in the file. */
RADLLM_API radllm_status radllm_token_piece(const radllm_model *model, int32_t token, char *buffer,
                                            size_t capacity, size_t *length, radllm_error *error);

/* 1 when the token ends a generation (EOS, end of turn, ...), else 0, also for ids out of range. */
RADLLM_API int32_t radllm_token_is_end(const radllm_model *model, int32_t token);

/* Turns a stream of tokens into text that never ends within a UTF-8 character. One thread at a
 * time. */
typedef struct radllm_detokenizer radllm_detokenizer;
RADLLM_API radllm_status radllm_detokenizer_new(const radllm_model *model, uint32_t flags,
                                                radllm_detokenizer **out, radllm_error *error);
RADLLM_API void radllm_detokenizer_free(radllm_detokenizer *detokenizer);
/* Adds a token and writes the text that became complete (it may be empty). With RADLLM_E_BUFFER
 * the token was taken: call again with token -1 and a larger buffer. Bytes that cannot begin or
 * continue a character are given as U+FFFD. */
RADLLM_API radllm_status radllm_detokenizer_push(radllm_detokenizer *detokenizer, int32_t token,
                                                 char *buffer, size_t capacity, size_t *length,
                                                 radllm_error *error);
/* Ends the stream: what is left of an incomplete character, as U+FFFD; with the decoder BPEDecoder
 * of a tokenizer.json also the rest of a last token that holds the suffix of words inside: a space
 * stands there only if another token follows. */
RADLLM_API radllm_status radllm_detokenizer_finish(radllm_detokenizer *detokenizer, char *buffer,
                                                   size_t capacity, size_t *length,
                                                   radllm_error *error);

/* ---- chat ------------------------------------------------------------------------------------ */

/* A chat template that is built in. Set `size` to sizeof(radllm_template_info) before the call.
 * Everything has static storage. */
typedef struct radllm_template_info {
    size_t size;
    const char *name;         /* for the option "template" */
    const char *const *stops; /* texts that end an answer in this template, besides the end tokens
                                 of the model; NULL behind the last */
    const char *date;         /* the date it writes without the option "date"; "" when none */
} radllm_template_info;

/* Describes template number `index` (0, 1, ...); RADLLM_E_NOT_FOUND behind the last one. */
RADLLM_API radllm_status radllm_template_describe(uint32_t index, radllm_template_info *info);

/* A list of messages. One thread at a time. */
typedef struct radllm_chat radllm_chat;
RADLLM_API radllm_status radllm_chat_new(const radllm_host *host, radllm_chat **out,
                                         radllm_error *error);
RADLLM_API void radllm_chat_free(radllm_chat *chat);
/* role: "system", "user" or "assistant". The text never becomes a control token. */
RADLLM_API radllm_status radllm_chat_add(radllm_chat *chat, const char *role, const char *text,
                                         size_t length, radllm_error *error);
RADLLM_API void radllm_chat_clear(radllm_chat *chat);
/* The tokens that a chat becomes with the template of `options` (key "template"), ending where the
 * assistant's answer begins. */
RADLLM_API radllm_status radllm_chat_tokenize(const radllm_model *model, const radllm_chat *chat,
                                              const radllm_options *options, int32_t *tokens,
                                              size_t capacity, size_t *count, radllm_error *error);

/* ---- engine ------------------------------------------------------------------------------------
 */

/* Schedules requests over one model: what is pending is computed together, and the answers do not
 * depend on the company. Any number of threads may call; one steps at a time. */
typedef struct radllm_engine radllm_engine;
RADLLM_API radllm_status radllm_engine_new(const radllm_host *host, radllm_model *model,
                                           const radllm_options *options, radllm_engine **out,
                                           radllm_error *error);
/* The same with a smaller model that proposes tokens to requests whose option "speculate" is
 * "draft". It changes no answer, only the speed. `draft` needs the same vocabulary (one may be
 * padded with unused entries), else RADLLM_E_ARGUMENT says what differs; its weights and memory
 * count for memory_budget. The options' scope engine is for both models. */
RADLLM_API radllm_status radllm_engine_new_with_draft(const radllm_host *host, radllm_model *model,
                                                      radllm_model *draft,
                                                      const radllm_options *options,
                                                      radllm_engine **out, radllm_error *error);
/* Frees the engine when its last session is freed too. Ends its worker. */
RADLLM_API void radllm_engine_free(radllm_engine *engine);
/* Computes one batch: prompt pieces and one token of each running request. Callbacks of requests
 * run on the calling thread. *pending receives the number of requests that are not finished. A
 * request that fails keeps its own status and does not make the step fail. */
RADLLM_API radllm_status radllm_engine_step(radllm_engine *engine, uint32_t *pending,
                                            radllm_error *error);
/* Starts a thread that steps while requests are pending; the host then need not. */
RADLLM_API radllm_status radllm_engine_start_worker(radllm_engine *engine, radllm_error *error);
RADLLM_API radllm_status radllm_engine_stop_worker(radllm_engine *engine, radllm_error *error);
/* Forgets what is kept of the beginnings of sequences for other sessions (option "prefix_cache"),
 * and wipes what no session holds. */
RADLLM_API radllm_status radllm_engine_clear_prefixes(radllm_engine *engine, radllm_error *error);
/* Numbers: "threads", "context", "sessions", "batch", "positions" (of a session at most: its
 * context, or, where attention goes on without end, 4294901760), "window", "sinks",
 * "recompute_period" (of the attention policy; 0: not used), "cache_bytes",
 * "cache_position_bytes" (of one position in all layers), "cache_positions" (the option; 0: not
 * limited), "activation_bytes",
 * "tokens_computed", "tokens_reused" (not computed, since the session or another one had done it),
 * "tokens_shared" (of those, the ones that another had done), "draft_bytes" (what the draft model
 * takes, weights included; 0 without), "drafted_tokens", "accepted_tokens" (of all requests so
 * far). Of common beginnings: "prefix_memory" (bytes planned for them, in "cache_bytes" as well),
 * "prefix_blocks" (of 32 tokens, kept now), "prefix_bytes" (of their pages, those that sessions
 * hold included), "pages_evicted" (so far), "pages_copied" (so far, since only some of their tokens
 * were shared), "pages_free" (that nobody holds now). Of a GPU: the numbers of radllm_plan_number()
 * that begin with "gpu", "gpu_used" and "gpu0_used" (bytes that all programs have taken there now),
 * "gpu_upload_ns" (nanoseconds that the weights' way there took), "gpu_check_ns" (that the option
 * gpu_check took; 0: not done), "gpu_bandwidth" (bytes a second
 * that a copy on the first one reads and writes), "gpu_int8_macs" and "gpu_float_macs" (multiply-
 * adds a second of its matrix instructions mma.sync, of bytes and of bfloat16): each of these three
 * is measured by the call in some milliseconds, with memory that it takes and gives back; 0 where
 * there is no room. */
RADLLM_API radllm_status radllm_engine_number(const radllm_engine *engine, const char *name,
                                              int64_t *out, radllm_error *error);

/* Texts: "isa" (of the kernels in use), "cache_type" (the number format of cached keys and
 * values, "q8_0", or "q8_0/f16" where keys and values differ), "attention" (the policy's name),
 * "fast" (what computes outside the numeric contract, "" when nothing does), "device" ("cpu", or
 * "cuda: " and the GPUs' names), "placement" (which layers are where, in words). Where layers are
 * computed decides bits, so the last two belong into the record of a run. */
RADLLM_API radllm_status radllm_engine_text(const radllm_engine *engine, const char *name,
                                            char *buffer, size_t capacity, size_t *length,
                                            radllm_error *error);

/* How much an expert of a mixture of experts had to do. Set `size` first. */
typedef struct radllm_expert_info {
    size_t size;
    uint64_t tokens; /* that went to it, in this layer, since the engine was made */
} radllm_expert_info;
/* Of an expert of a layer (both from 0): RADLLM_E_NOT_FOUND where there is none. Tokens that a
 * draft model computes do not count. Any thread, also during a step. */
RADLLM_API radllm_status radllm_engine_expert(const radllm_engine *engine, uint32_t layer,
                                              uint32_t expert, radllm_expert_info *info,
                                              radllm_error *error);

/* ---- session -----------------------------------------------------------------------------------
 */

/* One sequence of tokens and its key/value memory. Under the options attention=window, sinks and
 * recompute it goes on without end and keeps the last tokens, as many as the option context: these
 * are what penalties, speculation and rewinding can go back to. One thread at a time. A request on
 * a session keeps the longest common beginning of the tokens it holds and the new ones, and
 * computes only the rest: the answer is the same as if it had computed all. */
typedef struct radllm_session radllm_session;
/* RADLLM_E_LIMIT when the engine has as many sessions as its option "sessions" says;
 * RADLLM_E_UNSUPPORTED for a model that gives embeddings and no text. */
RADLLM_API radllm_status radllm_session_new(radllm_engine *engine, radllm_session **out,
                                            radllm_error *error);
RADLLM_API void radllm_session_free(radllm_session *session);

/* Appends tokens and computes them; logits of the last one are then in the session. `cancel` may be
 * NULL. On failure the session holds what it held before; nothing, where that was forgotten
 * meanwhile. */
RADLLM_API radllm_status radllm_session_feed(radllm_session *session, const int32_t *tokens,
                                             size_t count, const radllm_cancel *cancel,
                                             radllm_error *error);
/* Receives the logits of one position, n_vocab floats that are valid during the call. A value
 * other than 0 cancels. */
typedef int32_t (*radllm_logits_fn)(void *user, uint32_t position, const float *logits,
                                    uint32_t n_vocab);
/* The same, calling `callback` with the logits of every position fed, in order. */
RADLLM_API radllm_status radllm_session_feed_each(radllm_session *session, const int32_t *tokens,
                                                  size_t count, radllm_logits_fn callback,
                                                  void *user, const radllm_cancel *cancel,
                                                  radllm_error *error);
/* Copies the logits of the last token: n_vocab floats; *count receives n_vocab. */
RADLLM_API radllm_status radllm_session_logits(const radllm_session *session, float *logits,
                                               size_t capacity, size_t *count, radllm_error *error);
/* Chooses the next token from the last logits by the sampler settings in `options`; the session's
 * tokens are the history of the penalties. Does not feed it. logprob (may be NULL) receives the
 * natural logarithm of its probability before the sampler's changes. */
RADLLM_API radllm_status radllm_session_sample(radllm_session *session,
                                               const radllm_options *options, int32_t *token,
                                               float *logprob, radllm_error *error);
/* How many tokens the session holds. */
RADLLM_API uint32_t radllm_session_length(const radllm_session *session);
/* Forgets all tokens from position `length` on. The logits are gone until the next feed.
 * RADLLM_E_LIMIT where what stands before `length` was forgotten as well; 0 is always possible. */
RADLLM_API radllm_status radllm_session_rewind(radllm_session *session, uint32_t length,
                                               radllm_error *error);
/* A second session that holds the same tokens, and counts for the option "sessions". Nothing is
 * computed, and what both hold takes its memory once, until one of them goes on. */
RADLLM_API radllm_status radllm_session_fork(radllm_session *session, radllm_session **out,
                                             radllm_error *error);
/* Gives the session `count` adapters of its model (at most 15) in place of those it has, each
 * times its scale (scales NULL: 1), added in this order; 0 takes all away. Sessions with different
 * adapters are computed together, and each as if it were alone; one without any gives the same bits
 * as if there were no adapters. Where adapters, scales or their order differ from what the session
 * had, what it holds is computed anew when it goes on (or forgotten, where its beginning was), and
 * the logits are gone. Scales from -1e6 to 1e6; an adapter with the scale 0 counts as none. */
RADLLM_API radllm_status radllm_session_set_adapters(radllm_session *session,
                                                     radllm_adapter *const *adapters,
                                                     const float *scales, size_t count,
                                                     radllm_error *error);
/* Takes `count` tokens from position `first` on out of the session. Those that follow move up; they
 * are computed anew when the session goes on, as if they had been fed to a fresh one. The logits
 * are gone until the next feed. */
RADLLM_API radllm_status radllm_session_remove(radllm_session *session, uint32_t first,
                                               uint32_t count, radllm_error *error);
/* Writes what the session holds to a file that only its owner may read: tokens, keys and values,
 * logits. It is written beside `path` first (path.partial) and then renamed, so that a failure
 * (RADLLM_E_IO, a full disk for example) leaves what was there before. `cancel` may be NULL. Asks
 * for the hash of the model, which reads its file the first time. */
RADLLM_API radllm_status radllm_session_snapshot(radllm_session *session, const char *path,
                                                 const radllm_cancel *cancel, radllm_error *error);
/* Puts what such a file holds in place of what the session holds. It goes on with the same bits.
 * Another model or other settings of the cache are RADLLM_E_ARGUMENT, with what differs; a
 * truncated or changed file is RADLLM_E_FORMAT; more tokens than the context are RADLLM_E_LIMIT;
 * the session then holds what it held before. The checksum finds accidents, no forgery: what was
 * restored is not shared with other sessions, but for forks. */
RADLLM_API radllm_status radllm_session_restore(radllm_session *session, const char *path,
                                                const radllm_cancel *cancel, radllm_error *error);

/* ---- requests ----------------------------------------------------------------------------------
 */

/* A task on a session: complete a text, answer a chat, or choose among given answers. One thread at
 * a time, but for radllm_request_cancel() and the state, which any thread may use. A session runs
 * one request at a time. */
typedef struct radllm_request radllm_request;

/* Goes on with a prompt; an empty one is the model's BOS alone. Whether control tokens in it are
 * read says the option "special". */
RADLLM_API radllm_status radllm_request_new_complete(radllm_session *session, const char *prompt,
                                                     size_t length, const radllm_options *options,
                                                     radllm_request **out, radllm_error *error);
/* The same with a prompt of tokens. */
RADLLM_API radllm_status radllm_request_new_tokens(radllm_session *session, const int32_t *tokens,
                                                   size_t count, const radllm_options *options,
                                                   radllm_request **out, radllm_error *error);
/* Answers the last message of a chat. */
RADLLM_API radllm_status radllm_request_new_chat(radllm_session *session, const radllm_chat *chat,
                                                 const radllm_options *options,
                                                 radllm_request **out, radllm_error *error);
/* Makes the request a choice among `count` answers instead of free text; call it before the first
 * step. lengths may be NULL when all texts end with NUL. Each answer's log-probability is the sum
 * over its tokens; probabilities are normalised over the answers. */
RADLLM_API radllm_status radllm_request_set_choices(radllm_request *request,
                                                    const char *const *choices,
                                                    const size_t *lengths, size_t count,
                                                    radllm_error *error);
/* Receives pieces of the answer as they become final: whole UTF-8 characters, held back while they
 * may still be the beginning of a stop string. A value other than 0 cancels the request. */
typedef int32_t (*radllm_text_fn)(void *user, const char *text, size_t length);
RADLLM_API radllm_status radllm_request_set_callback(radllm_request *request,
                                                     radllm_text_fn callback, void *user,
                                                     radllm_error *error);
/* Steps the engine (or waits for its worker) until the request is finished. Returns the request's
 * own status. `cancel` may be NULL. */
RADLLM_API radllm_status radllm_request_run(radllm_request *request, const radllm_cancel *cancel,
                                            radllm_error *error);
/* Hands the request to the engine without waiting: radllm_engine_step() or the worker does the
 * rest. */
RADLLM_API radllm_status radllm_request_submit(radllm_request *request, radllm_error *error);
RADLLM_API void radllm_request_cancel(radllm_request *request);
/* Cancels the request if it is running. */
RADLLM_API void radllm_request_free(radllm_request *request);

enum {
    RADLLM_REQUEST_NEW = 0,
    RADLLM_REQUEST_PENDING = 1,
    RADLLM_REQUEST_DONE = 2,
    RADLLM_REQUEST_FAILED = 3
};
RADLLM_API int32_t radllm_request_state(const radllm_request *request);

enum {
    RADLLM_FINISH_NONE = 0,   /* not finished */
    RADLLM_FINISH_END = 1,    /* the model ended its answer */
    RADLLM_FINISH_STOP = 2,   /* a stop string or stop token */
    RADLLM_FINISH_LENGTH = 3, /* max_tokens, or the context is full */
    RADLLM_FINISH_CHOICE = 4, /* a choice was made */
    RADLLM_FINISH_CANCELLED = 5,
    RADLLM_FINISH_ERROR = 6
};
RADLLM_API int32_t radllm_request_finish(const radllm_request *request);
/* The error of a failed request; RADLLM_OK when it did not fail. */
RADLLM_API radllm_status radllm_request_status(const radllm_request *request, radllm_error *error);

/* The answer so far, whole characters. For a choice: the chosen answer. */
RADLLM_API radllm_status radllm_request_text(const radllm_request *request, char *buffer,
                                             size_t capacity, size_t *length, radllm_error *error);
/* Takes the part of the answer that was not read yet (polling instead of a callback). */
RADLLM_API radllm_status radllm_request_read(radllm_request *request, char *buffer, size_t capacity,
                                             size_t *length, radllm_error *error);
/* Numbers: "prompt_tokens", "reused_tokens", "answer_tokens", "choice" (index of the best answer,
 * -1 without), "seed", "prompt_ns" (time to the first token), "answer_ns", "drafted_tokens" (by
 * speculation), "accepted_tokens" (of those: proved right, and so not computed one by one). */
RADLLM_API radllm_status radllm_request_number(const radllm_request *request, const char *name,
                                               int64_t *out, radllm_error *error);

/* One token of the answer. Set `size` first. */
typedef struct radllm_answer_token {
    size_t size;
    int32_t token;
    /* Natural logarithm of its probability before the sampler's changes; NaN when the option
     * top_logprobs is 0. */
    float logprob;
} radllm_answer_token;
RADLLM_API radllm_status radllm_request_token(const radllm_request *request, uint64_t index,
                                              radllm_answer_token *out, radllm_error *error);
/* The rank-th most likely token (0 is the best) at answer position `index`, of as many as the
 * option "top_logprobs" asked for. */
RADLLM_API radllm_status radllm_request_top_token(const radllm_request *request, uint64_t index,
                                                  uint32_t rank, radllm_answer_token *out,
                                                  radllm_error *error);

/* One answer of a choice. Set `size` first. */
typedef struct radllm_choice_result {
    size_t size;
    double logprob;     /* sum over the answer's tokens */
    double probability; /* normalised over all answers */
    uint32_t n_tokens;
} radllm_choice_result;
RADLLM_API radllm_status radllm_request_choice(const radllm_request *request, uint64_t index,
                                               radllm_choice_result *out, radllm_error *error);

/* ---- embeddings ------------------------------------------------------------------------------
 */

/* Writes the embeddings of `count` texts, one behind the other: each is "embedding_length" floats
 * (radllm_model_number()); with the option pooling=none as many for each of the text's tokens
 * (radllm_tokenize() with RADLLM_TOKENIZE_ADD_SPECIAL counts them). Texts are computed together as
 * far as the option batch has room; an embedding has the same bits alone and in company.
 *
 * lengths may be NULL when all texts end with NUL. `options` are of scope embed, and "special".
 * capacity and *length are counted in floats; *length (may be NULL) receives how many there are,
 * also with RADLLM_E_BUFFER, when nothing was computed. `cancel` may be NULL. When the call fails
 * otherwise, what stands in `vectors` has no meaning.
 *
 * Of a model that generates text the option pooling must be given, and sessions of the engine that
 * nobody holds are used meanwhile: RADLLM_E_LIMIT without one. RADLLM_E_LIMIT as well for a text of
 * more tokens than the option context; RADLLM_E_UNSUPPORTED without the option where the model is
 * no embedding model; RADLLM_E_NUMERIC for what is not finite. */
RADLLM_API radllm_status radllm_embed(radllm_engine *engine, const char *const *texts,
                                      const size_t *lengths, size_t count,
                                      const radllm_options *options, const radllm_cancel *cancel,
                                      float *vectors, size_t capacity, size_t *length,
                                      radllm_error *error);
/* The same for tokens; nothing is added to them. */
RADLLM_API radllm_status radllm_embed_tokens(radllm_engine *engine, const int32_t *const *tokens,
                                             const size_t *counts, size_t count,
                                             const radllm_options *options,
                                             const radllm_cancel *cancel, float *vectors,
                                             size_t capacity, size_t *length, radllm_error *error);

/* ---- quantizing ------------------------------------------------------------------------------
 */

/* How much each column of each matrix matters: what encoders weigh errors with. Immutable; any
 * number of threads. */
typedef struct radllm_importance radllm_importance;
/* Computes it: runs the model over a text, cut into pieces (options calibrate_context and
 * calibrate_chunks; those of scope engine apply as well), and adds up the squares of what each
 * matrix is multiplied with. The same bits whatever the number of threads. `name` says what the
 * text is, for the files (NULL: nothing). Progress is told by pieces, stage "calibrate". */
RADLLM_API radllm_status radllm_importance_measure(const radllm_host *host,
                                                   const radllm_model *model, const char *text,
                                                   size_t length, const char *name,
                                                   const radllm_options *options,
                                                   const radllm_cancel *cancel,
                                                   radllm_importance **out, radllm_error *error);
/* Reads a file of llama.cpp's imatrix program, of its GGUF form or the older one. */
RADLLM_API radllm_status radllm_importance_open(const radllm_host *host, const char *path,
                                                radllm_importance **out, radllm_error *error);
/* Writes such a file. format: "gguf", or "dat" for the older form. */
RADLLM_API radllm_status radllm_importance_save(const radllm_importance *importance,
                                                const char *path, const char *format,
                                                radllm_error *error);
/* Numbers: "entries" (tensors), "chunks" (pieces of the text), "chunk_tokens". */
RADLLM_API radllm_status radllm_importance_number(const radllm_importance *importance,
                                                  const char *name, uint64_t *out,
                                                  radllm_error *error);
RADLLM_API void radllm_importance_free(radllm_importance *importance);

/* A plan to write a model again with its weights in other number formats, made by `options` (scope
 * quantize): which tensor gets which type. Immutable; any number of threads. */
typedef struct radllm_quantization radllm_quantization;

/* Decides everything and writes nothing. Any file that opens can be taken, whether this version can
 * run the model or not. The adapters of the option "adapter" become part of the weights: decoded,
 * added to as with the option "adapter_merge", and encoded in the type that was asked for, or in
 * their own (which rounds quantized ones a second time). importance may be NULL. RADLLM_E_ARGUMENT
 * for a tensor that is quantized already (option quantize_again), for a pattern that fits no
 * tensor, for importance of another model; RADLLM_E_UNSUPPORTED for tensors whose numbers this
 * version does not know. */
RADLLM_API radllm_status radllm_quantization_new(const radllm_host *host, const radllm_file *file,
                                                 const radllm_importance *importance,
                                                 const radllm_options *options,
                                                 radllm_quantization **out, radllm_error *error);
RADLLM_API void radllm_quantization_free(radllm_quantization *quantization);

/* Numbers: "tensors", "quantized" (tensors that become a quantized type), "weighted" (of these,
 * those that have importance), "fallbacks" (tensors that get another type than meant for them,
 * since its blocks do not divide their rows), "merged" (tensors that adapters change),
 * "rounded_again" (of these, quantized ones that keep their type), "elements", "source_bytes",
 * "tensor_bytes" (of all tensors, before and after), "bytes" (of the file that would be written).
 */
RADLLM_API radllm_status radllm_quantization_number(const radllm_quantization *quantization,
                                                    const char *name, uint64_t *out,
                                                    radllm_error *error);

/* What becomes of a tensor. Set `size` first. Texts belong to the plan. */
typedef struct radllm_quantized_tensor_info {
    size_t size;
    const char *name;
    const char *source_type; /* "F16" */
    const char *type;        /* "Q4_K" */
    uint64_t source_bytes;
    uint64_t bytes;
    int32_t weighted; /* 1 when it has importance */
    int32_t fallback; /* 1 when another type was meant for it */
} radllm_quantized_tensor_info;
RADLLM_API radllm_status radllm_quantization_tensor(const radllm_quantization *quantization,
                                                    uint64_t index,
                                                    radllm_quantized_tensor_info *info,
                                                    radllm_error *error);

/* Writes the GGUF file, with the source's metadata. The same source, options and importance give
 * the same bytes on every machine, whatever the number of threads. It is written beside `path`
 * first (path.partial) and then renamed: a failure (a full disk, RADLLM_E_IO), or a cancellation,
 * leaves what was there before. Takes some MiB for each thread, whatever the size of the model.
 * Progress is told by elements, stage "quantize". `cancel` may be NULL. */
RADLLM_API radllm_status radllm_quantization_write(const radllm_quantization *quantization,
                                                   const char *path, const radllm_cancel *cancel,
                                                   radllm_error *error);

enum {
    RADLLM_FOLDER_REPLACE = 1 /* a model's folder that stands there gives way */
};
/* Writes the model as a folder as Hugging Face has them: model.safetensors, or several files of at
 * most shard_bytes each (0: one) with their index; config.json, generation_config.json;
 * tokenizer.json and tokenizer_config.json with the chat template. Such folders hold F32, F16 and
 * BF16: RADLLM_E_ARGUMENT for a plan with other types, which asks for one of these (option
 * quantize); RADLLM_E_UNSUPPORTED for a model that has no form there, which says what of it has
 * none. RADLLM_E_ARGUMENT where something stands at `path`, without the flag or where it is not the
 * folder of a model. All is written to path.partial/ first and then renamed; a failure or
 * cancellation leaves what was there before. Memory, progress and the same bytes as above. */
RADLLM_API radllm_status radllm_quantization_write_folder(const radllm_quantization *quantization,
                                                          const char *path, uint64_t shard_bytes,
                                                          uint32_t flags,
                                                          const radllm_cancel *cancel,
                                                          radllm_error *error);
/* What radllm_quantization_write() (folder 0) or radllm_quantization_write_folder() (folder 1, with
 * its arguments) would refuse before it writes: the same status and message. Writes nothing; `path`
 * may be NULL and is not looked at then. A folder becomes a GGUF file, and anything a folder, only
 * where it is a whole model: RADLLM_E_FORMAT names what is missing. */
RADLLM_API radllm_status radllm_quantization_check(const radllm_quantization *quantization,
                                                   const char *path, int32_t folder,
                                                   uint64_t shard_bytes, uint32_t flags,
                                                   radllm_error *error);

/* ---- experimental ------------------------------------------------------------------------------
 */

/* Seen with RADLLM_EXPERIMENTAL defined. These may change or go in any release. */
#ifdef RADLLM_EXPERIMENTAL

/* Proposes the tokens that may follow `count` tokens (prompt and answer so far): writes up to
 * `capacity` of them to `draft` and returns how many; less than 1 for none. Wrong ones cost time
 * and change nothing. Runs on the stepping thread. */
typedef int32_t (*radllm_draft_fn)(void *user, const int32_t *tokens, uint32_t count,
                                   int32_t *draft, uint32_t capacity);
/* The host's own speculation, in place of the option "speculate"; "draft_tokens" applies. Call it
 * before the request is submitted. */
RADLLM_API radllm_status radllm_request_set_draft(radllm_request *request, radllm_draft_fn callback,
                                                  void *user, radllm_error *error);
/* As radllm_session_remove(), but what follows is not computed anew: its keys are rotated to their
 * new positions. Quick, and outside of the numeric contract: what follows still knows of what was
 * removed, and later answers differ from those of a fresh session. What such a session holds is
 * shared with no other. Where a layer's window does not hold all that moves, it is computed anew.
 * Each call rounds rotated keys once more to the format of the cache. RADLLM_E_UNSUPPORTED for
 * models whose positions are learned. */
RADLLM_API radllm_status radllm_session_shift(radllm_session *session, uint32_t first,
                                              uint32_t count, radllm_error *error);
/* `callback` receives the logits of each position of the answer (from 0), the one that ends it
 * included, before a token is chosen from them. Call it before the request is submitted. */
RADLLM_API radllm_status radllm_request_set_logits(radllm_request *request,
                                                   radllm_logits_fn callback, void *user,
                                                   radllm_error *error);

#endif

#ifdef __cplusplus
}
#endif

#endif
