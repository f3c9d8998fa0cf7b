/* The inside of libradllm-cuda.so's host half, shared by its files. */
#ifndef RAD_CUDA_H
#define RAD_CUDA_H

#include <pthread.h>

#include "backend/cuda/cuda_interface.h"
#include "backend/cuda/device.h"
#include "backend/cuda/layout.h"
#include "kernels/cuda/kernels_layer.h"
#include "base/platform.h"

/* A GPU that an engine uses. */
typedef struct rad_cuda_gpu {
    uint32_t number, place; /* as the driver counts; in the choice */
    rad_cuda_device *device;
    uint64_t context_bytes, free_at_open;
    uint64_t library_bytes; /* that `fast` took */
    /* The part of each page that its layers have: device memory, bytes from one page to the next;
     * which bytes of the whole page they are. */
    uint8_t *pages[RAD_CACHE_GROUPS];
    uint64_t page_bytes[RAD_CACHE_GROUPS], pages_bytes[RAD_CACHE_GROUPS];
    uint64_t page_first[RAD_CACHE_GROUPS], page_used[RAD_CACHE_GROUPS];
} rad_cuda_gpu;

/* Those of an engine, in the order of their layers. A device is for one thread at a time, and pages
 * are taken and given back by others than the one that computes. */
struct rad_cuda {
    rad_host host;
    const rad_cuda_library *library;
    pthread_mutex_t mutex;
    int64_t process; /* that opened it: in a child made by fork() nothing of CUDA may be called */
    rad_cuda_choice choice;
    bool chosen;                          /* the choice is the host's */
    uint32_t n_tried;                     /* of the choice */
    char fast[RAD_CUDA_GEMM_NAME];        /* "": products are inside the numeric contract */
    uintptr_t host_context;               /* while it is locked: the calling thread's own */
    uint64_t far_bytes[RAD_CACHE_GROUPS]; /* of a page, all layers on GPUs together */
    uint32_t n_gpus;
    rad_cuda_gpu gpus[RAD_CUDA_GPUS];
};

/* Around all that calls devices: one thread at a time, which is given back as it was, whatever the
 * host's program itself does with CUDA on it. */
void rad_cuda_lock(rad_cuda *cuda);
void rad_cuda_unlock(rad_cuda *cuda);
/* A device's message as errors have it: all of it, without what is not printable. */
void rad_cuda_message(char out[RAD_CUDA_MESSAGE_SIZE], const char *message);
/* Turns what a device function answered into an error of the library: RADLLM_E_MEMORY, or
 * RADLLM_E_DEVICE for good. The caller holds the mutex. */
radllm_status rad_cuda_failed(const rad_cuda_device *device, radllm_status status,
                              radllm_error *error);
/* Opens the next one of the choice; *out becomes NULL where there is none. One that cannot be
 * opened is passed over unless it was chosen, and `why` says so. */
radllm_status rad_cuda_open_next(rad_cuda *cuda, rad_cuda_gpu **out, char why[RAD_CUDA_TEXT],
                                 radllm_error *error);
/* Closes those that have no share, and puts the others into the order of their shares. */
void rad_cuda_keep(rad_cuda *cuda, const rad_cuda_placement *placement);

/* Tokens of a block of attention, at most. */
#define RAD_CUDA_BLOCK_TOKENS RAD_CUDA_ATTEND_MANY_ROWS

/* A weight on the device. */
typedef struct rad_cuda_weight {
    const uint8_t *data; /* of a matrix, or of a stack of them, in the device's layout */
    const float *values; /* of a vector */
    const float *scales; /* of each of its matrices; NULL: products are not multiplied */
    const uint32_t
        *columns; /* where its rows have them in another order; of experts each its own */
} rad_cuda_weight;

/* Where everything stands in the backend's block of device memory. What a step tells the device is
 * one piece, of which the step at hand uses as much as it needs: where in it the parts are, and
 * those of the values that the CPU makes first, follows from the step's key. */
typedef struct rad_cuda_layout {
    uint64_t told, told_end;
    uint64_t values[RAD_MAX_VALUES];
    uint64_t rows;                          /* rad_cuda_row[n_tokens] */
    uint64_t outputs;                       /* uint32_t[n_outputs] */
    uint64_t draws;                         /* rad_cuda_draw[n_outputs], where some are drawn */
    uint64_t tables[RAD_CACHE_GROUPS];      /* uint32_t[n_spans][stride] */
    uint64_t blocks[RAD_CUDA_BLOCK_TOKENS]; /* rad_cuda_attend_block[], by a block's tokens - 1 */
    uint64_t tiles;                         /* quantized input of products */
    uint64_t tiles_behind;                  /* the same, made by the blocks of a product */
    uint64_t pieces;                        /* counters of those: rad_cuda_behind */
    uint64_t states, states_bytes;          /* of attention */
    uint64_t counters;                      /* the same: rad_cuda_attend_counters() */
    uint64_t slopes;                        /* float[n_layers][max_heads], with ALiBi */
    uint64_t slot_expert, slot_itself;      /* of experts, uint32_t[slot]: a slot for each choice */
    uint64_t expert_tokens;                 /* uint64_t[n_layers][n_experts] */
    uint64_t parts;                         /* rad_cuda_greatest[max_outputs][n_parts] */
    uint32_t n_parts;                       /* of a row of logits; 0: there are none */
    /* Of each output row. */
    uint64_t candidate_counts, candidate_masses, n_candidate_keys, candidate_keys, draw_sums;
    /* Slots by expert, and tiles of them: rad_cuda_group_arguments. */
    uint64_t starts, token_of, row_of, expert_of, tile_expert, tile_first, n_tiles;
    uint64_t total;
} rad_cuda_layout;

/* Where a value is up to date: a set of these. */
#define RAD_CUDA_HERE       1u
#define RAD_CUDA_THERE(gpu) (2u << (gpu))

/* An adapter's matrices on a device. */
#define RAD_CUDA_ADAPTERS 32
typedef struct rad_cuda_adapter {
    uint32_t id;
    uint8_t *data;        /* NULL: there is none */
    uint64_t bytes, used; /* the run that used it last */
} rad_cuda_adapter;

/* Consecutive rows of a batch with one set of adapters. */
typedef struct rad_cuda_adapted {
    const rad_adapter_set *set;
    uint32_t first_row, n_rows;
} rad_cuda_adapted;

/* What decides the launches of a step, besides the program. */
typedef struct rad_cuda_step_key {
    uint32_t n_tokens, n_outputs, n_spans, hidden, chooses, narrows, draws, longest_span, most_keys;
    uint32_t n_blocks[RAD_CUDA_BLOCK_TOKENS];
    uint32_t n_adapters; /* of all rows */
    struct {
        uint32_t id;
        float scale;
    } adapters[RAD_ADAPTERS_MAX];
} rad_cuda_step_key;

/* A step that was seen, and its graph from the second time on. */
#define RAD_CUDA_REPLAYS 16
typedef struct rad_cuda_replay {
    rad_cuda_step_key key;
    uint64_t used; /* when last; 0: never */
    bool is_new;
    rad_cuda_graph *graph;
} rad_cuda_replay;

/* One GPU's part of the backend: it computes the operations from `first` on, up to the next GPU's
 * first one. */
typedef struct rad_cuda_backend {
    rad_cuda *cuda;
    rad_cuda_gpu *gpu;
    rad_cuda_device *device;
    const rad_cuda_library *library;
    const rad_program *program;
    const rad_model *model;
    const rad_cache *cache;
    rad_backend *cpu;
    rad_backend_settings settings;
    bool *on_device;          /* of each operation: on this one */
    rad_cuda_weight *weights; /* by rad_weight.order */
    uint8_t *weight_memory;   /* device memory, as the next */
    uint8_t *memory;
    rad_cuda_layout layout;
    uint32_t first;          /* operation on the device */
    uint32_t needed;         /* values that must be there before it, as a set */
    rad_cuda_event *reached; /* for GPUs that follow; NULL: there is one alone */
    /* Pinned memory for what is needed of GPUs that cannot be copied from; NULL: all can. */
    uint8_t *passed;
    uint64_t passed_bytes;
    uint8_t *staging;           /* pinned memory for what a step tells devices, laid out as there */
    rad_cuda_greatest *choices; /* pinned, of each output row; NULL: logits are not made here */
    rad_cuda_candidates *candidates; /* as these */
    rad_cuda_drawn *drawn;           /* as these */
    rad_cuda_event *arrived;         /* what experts in main memory read; NULL: there are none */

    rad_cuda_replay replays[RAD_CUDA_REPLAYS];
    uint64_t n_replayed;

    rad_cuda_adapter adapters[RAD_CUDA_ADAPTERS];
    uint8_t *adapter_hidden;               /* float[max_tokens][adapter_width] */
    uint64_t adapter_bytes, adapter_limit; /* device memory of both, and what it may become */
    uint32_t adapter_width;                /* ranks, with experts for each that a token has */
    uint64_t n_runs, adapters_retry;

    /* The run in progress. */
    const rad_batch *batch;
    bool adapters_there; /* all that it has */
    /* Rows with some: of all rows, and of output rows; max_spans of each at most. */
    rad_cuda_adapted *adapted[2];
    uint32_t n_adapted[2];
    uint64_t told;  /* behind what the step tells devices */
    bool under_way; /* copies from memory that the CPU's operations write to */
    uint32_t n_blocks[RAD_CUDA_BLOCK_TOKENS];
    uint32_t longest_span, most_keys; /* rows; keys that a row can see */
    bool grouped;                     /* experts' slots stand by expert, in the layer in progress */
    int tiles_value;                  /* whose quantized form stands in the tiles; -1: none */
    uint8_t *tiles;                   /* where */
    rad_activation_kind tiles_kind;   /* F32: rounded to 16 bits, as tiles_type says */
    const rad_op *tiles_maker;        /* that wrote them with its result; NULL: none */
    rad_type tiles_type;
    bool tiles_in_order; /* rounded for cuBLAS */
    const uint32_t *tiles_columns;
} rad_cuda_backend;

/* The whole of it, which the library sees: one GPU after the other, and the CPU where an operation
 * is no GPU's. */
typedef struct rad_cuda_chain {
    rad_backend base;
    rad_cuda *cuda;
    const rad_cuda_library *library;
    const rad_program *program;
    rad_backend *cpu;
    rad_backend_settings settings;
    rad_cuda_placement placement;
    uint32_t n;
    rad_cuda_backend *parts;
    bool *on_device;  /* of each operation: on any */
    uint32_t inputs;  /* values that the CPU makes before the first one there, as a set */
    uint8_t *staging; /* pinned memory, as the next */
    uint64_t staging_bytes;
    float *results; /* for what the host reads of a step; NULL: the CPU's */
    uint64_t results_bytes;
    rad_cuda_greatest *choices;      /* of each output row; NULL: logits are the CPU's */
    rad_cuda_candidates *candidates; /* as these */
    rad_cuda_drawn *drawn;           /* as these */
    float *crossing;                 /* for what experts here read and give; NULL: there are none */
    uint64_t crossing_bytes;

    /* The run in progress. */
    const rad_batch *batch;
    bool chosen; /* `choices` are this batch's, and its logits are not here */
    struct {
        uint32_t where;
        uint64_t floats; /* that were written last */
    } values[RAD_MAX_VALUES];
} rad_cuda_chain;

static inline void *rad_cuda_at(const rad_cuda_backend *b, uint64_t offset)
{
    return b->memory + offset;
}

static inline float *rad_cuda_value(const rad_cuda_backend *b, uint8_t value)
{
    return (float *)rad_cuda_at(b, b->layout.values[value]);
}

static inline const rad_cuda_weight *rad_cuda_weight_of(const rad_cuda_backend *b,
                                                        const rad_weight *weight)
{
    return &b->weights[weight->order];
}

/* Rows that an operation runs on. */
static inline uint32_t rad_cuda_rows(const rad_cuda_backend *b, const rad_op *op)
{
    return op->per_output ? b->batch->n_outputs : b->batch->n_tokens;
}

/* Entries of a sequence's row in the page tables of a group. */
static inline uint32_t rad_cuda_table_stride(const rad_cache_group *group)
{
    return group->n_sinks + group->n_slots;
}

/* ---- operations.c: one call for each operation that the device computes -------------------------
 */

/* What is known of a device before anything is made. */
typedef struct rad_cuda_means {
    const rad_model *model;
    const rad_cache_plan *cache;
    const rad_cuda_properties *properties;
    const rad_cuda_library *library;
} rad_cuda_means;

/* NULL where the device computes an operation, else what is missing ("products with weights of type
 * X"), written into `why` where it is made up. */
const char *rad_cuda_missing(const rad_cuda_means *means, const rad_op *op,
                             char why[RAD_CUDA_TEXT]);
/* How an operation that attends cuts its queries, and into how many of a block; what follows from
 * a batch is left open. */
rad_cuda_attend_arguments rad_cuda_attend_shape(const rad_cuda_means *means, const rad_op *op,
                                                uint32_t longest_span, uint32_t *rows);
radllm_status rad_cuda_run_op(rad_cuda_backend *b, const rad_op *op);
/* The greatest logit of each output row, into `choices`; behind that the best of them, into
 * `candidates`, and what is drawn, into `drawn`. */
radllm_status rad_cuda_run_greatest(rad_cuda_backend *b);
radllm_status rad_cuda_run_candidates(rad_cuda_backend *b);
radllm_status rad_cuda_run_draw(rad_cuda_backend *b);
/* Whether something from an operation on reads a value that was there before. */
bool rad_cuda_is_read(const rad_cuda_backend *b, const rad_op *op, uint8_t value);
/* Whether two products can be one launch, but (any_type) for their types; up to
 * RAD_CUDA_PRODUCT_PARTS of them in one. */
bool rad_cuda_can_join(const rad_cuda_backend *b, const rad_op *op, const rad_op *next,
                       bool any_type);
/* The same of two products of experts, and both of them. */
bool rad_cuda_can_join_experts(const rad_cuda_backend *b, const rad_op *op, const rad_op *next);
radllm_status rad_cuda_run_two_experts(rad_cuda_backend *b, const rad_op *op, const rad_op *next);
/* Products that read the same input, in one launch with what is before and behind them. */
typedef struct rad_cuda_products {
    const rad_op *norm; /* of one row, by each block for itself: their input; NULL: none */
    const rad_op *ops[RAD_CUDA_PRODUCT_PARTS];
    uint32_t n;
    const rad_op *behind; /* that their blocks go on with; NULL: none */
    const rad_op *heads;  /* of queries, keys, values: both rotations and the store; NULL: not so */
} rad_cuda_products;
radllm_status rad_cuda_run_products(rad_cuda_backend *b, const rad_cuda_products *products);
/* How such products are launched where one launch of few tokens does them; else the kernel is NULL.
 */
rad_cuda_few_launch rad_cuda_few_of(const rad_cuda_backend *b, const rad_op *const *ops,
                                    uint32_t n);
/* Tiles of slots that stand by expert, at most. */
uint64_t rad_cuda_most_expert_tiles(const rad_hparams *hparams, uint64_t n_tokens);

/* ---- behind.c -----------------------------------------------------------------------------------
 */

/* What stays a kernel of its own, though others could do it, as a set: for measurements, by the
 * option gpu_apart. With the last one products have the CPU's bits, which records are told of. */
enum {
    RAD_CUDA_APART_GATE = 1,     /* activations behind products */
    RAD_CUDA_APART_ADD = 2,      /* residual sums behind products */
    RAD_CUDA_APART_NORM = 4,     /* norms before products of one token */
    RAD_CUDA_APART_WIDE = 8,     /* those of them with more blocks than are there at a time */
    RAD_CUDA_APART_HEADS = 16,   /* rotation and store behind products with norms */
    RAD_CUDA_APART_SCALED = 32,  /* products with FP8, NF4 and FP4 weights by multiply-adds */
    RAD_CUDA_APART_VALUES = 64,  /* values of another type than queries and keys */
    RAD_CUDA_APART_EXPERTS = 128 /* gate and up of experts */
};
/* The operation from `next` on that the blocks of products can go on with; NULL: none. */
const rad_op *rad_cuda_find_behind(const rad_cuda_backend *b, const rad_op *const *ops, uint32_t n,
                                   uint32_t next, uint32_t end);
/* Whether blocks that do so for queries, keys and values can rotate and store as well: the first of
 * these three operations, from `next` on; NULL: not so. */
const rad_op *rad_cuda_find_heads(const rad_cuda_backend *b, const rad_cuda_products *products,
                                  uint32_t next, uint32_t end);
/* Whether the blocks of products that read a norm's result can compute it. */
bool rad_cuda_takes_norm(const rad_cuda_backend *b, const rad_op *norm, const rad_op *const *ops,
                         uint32_t n);

/* ---- fast.c -------------------------------------------------------------------------------------
 */

radllm_status rad_cuda_use_fast(rad_cuda *cuda, radllm_error *error);
radllm_status rad_cuda_open_fast(rad_cuda *cuda, rad_cuda_gpu *gpu, radllm_error *error);
/* Whether a product leaves the numeric contract. */
bool rad_cuda_is_fast(const rad_cuda_backend *b, rad_type type, const rad_cuda_product_part *parts,
                      uint32_t n_parts, uint32_t n_tokens);
/* Makes it. x: rows of numbers of the weights' type. */
radllm_status rad_cuda_fast_product(rad_cuda_backend *b, rad_type type,
                                    const rad_cuda_product_part *parts, uint32_t n_parts,
                                    const void *x, uint64_t x_stride, uint32_t n_columns,
                                    uint32_t n_tokens);

/* ---- weights.c ----------------------------------------------------------------------------------
 */

/* Where things in a block of the device's memory begin, as blocks themselves do. */
enum { RAD_CUDA_ALIGNMENT = 256 };

static inline uint64_t rad_cuda_aligned(uint64_t bytes)
{
    return (bytes + RAD_CUDA_ALIGNMENT - 1) & ~(uint64_t)(RAD_CUDA_ALIGNMENT - 1);
}

/* Bytes of a weight on the device; of one expert's rows (of all, where it is no stack). */
uint64_t rad_cuda_expert_bytes(const rad_weight *weight);
uint64_t rad_cuda_weight_bytes(const rad_cuda_library *library, const rad_weight *weight);

/* Orders of columns that a weight has there: 0 or 1; of experts, where one has its own, as many as
 * there are experts. */
uint32_t rad_cuda_orders(const rad_cuda_library *library, const rad_weight *weight);

/* Rows that go up one behind the other: of one matrix, or numbers of 32 bits (weight NULL), and
 * where memory does not have those, 0, 1, 2, and so on. */
typedef struct rad_cuda_stretch {
    const rad_weight *weight;
    const rad_cuda_form *form; /* NULL: they stand there as in the file */
    const uint8_t *from;       /* the first one, as the file has it; NULL: memory does not */
    uint8_t *to;
    uint64_t first, n; /* the first one's number, of all rows of the weight */
    uint64_t file_row_bytes, sent_row_bytes;
} rad_cuda_stretch;

/* Of rows as they are sent: those with codes of fixed width are larger than the file's. */
uint64_t rad_cuda_sent_row_bytes(const rad_weight *weight);
/* Writes down where a weight stands. */
void rad_cuda_place_weight(rad_cuda_backend *b, const rad_weight *weight, uint8_t *to);
/* A weight's stretches, which may be empty; behind the last one false. */
bool rad_cuda_find_stretch(const rad_cuda_backend *b, const rad_weight *weight, uint32_t index,
                           rad_cuda_stretch *out);
/* Its first n rows, which leave it: whole groups where it has a form and they are not all. */
rad_cuda_stretch rad_cuda_cut(rad_cuda_stretch *rest, uint64_t n);

/* ---- upload.c -----------------------------------------------------------------------------------
 */

/* Takes memory for the weights of all operations on the device, and fills it. before, total: bytes
 * that are on other devices already, and that are on all in the end. */
radllm_status rad_cuda_upload(rad_cuda_backend *b, uint64_t before, uint64_t total,
                              const radllm_cancel *cancel, radllm_error *error);

/* ---- place.c ------------------------------------------------------------------------------------
 */

/* Which operations are on a GPU with its share: n_ops flags. */
void rad_cuda_divide(const rad_cuda_means *means, const rad_program *program,
                     const rad_cuda_share *share, bool experts_here, bool *on_device);
/* The first of them; n_ops where there is none. */
uint32_t rad_cuda_first_of(const rad_program *program, const bool *on_device);
/* Values that operations there read and none from their first one on has written, as a set; they
 * end where the next GPU's begin. */
uint32_t rad_cuda_needed(const rad_cuda_means *means, const rad_program *program,
                         const bool *on_device);
/* Values that an operation reads, as a set. written: those that were written before. */
uint32_t rad_cuda_reads(const rad_cuda_means *means, const rad_op *op, uint32_t written);
/* Bytes of the values in a set, and of pinned memory that they pass through on their way to a GPU
 * from those before it: 0 where these can be copied from. */
uint64_t rad_cuda_set_bytes(const rad_program *program, const rad_backend_settings *settings,
                            uint32_t set);
uint64_t rad_cuda_passed_bytes(const rad_cuda *cuda, const rad_program *program,
                               const rad_backend_settings *settings, uint32_t gpu, uint32_t needed);
/* The first operation of the first layer, and the one behind the last layer's; the values that are
 * made before the first, as a set. */
uint32_t rad_cuda_first_of_layers(const rad_program *program);
uint32_t rad_cuda_end_of_layers(const rad_program *program);
uint32_t rad_cuda_inputs(const rad_program *program);
/* Whether the host reads a value that operations on the device write, at a step's end; bytes of all
 * of these. */
bool rad_cuda_is_result(const rad_program *program, const bool *on_device, uint32_t value);
uint64_t rad_cuda_results_bytes(const rad_program *program, const rad_backend_settings *settings,
                                const bool *on_device);
/* Of the most likely token of output rows, of those in front, and of drawn ones; 0 where the device
 * makes no logits. */
uint64_t rad_cuda_choices_bytes(const rad_program *program, const rad_backend_settings *settings,
                                const bool *on_device);
uint64_t rad_cuda_candidates_bytes(const rad_program *program, const rad_backend_settings *settings,
                                   const bool *on_device);
uint64_t rad_cuda_drawn_bytes(const rad_program *program, const rad_backend_settings *settings,
                              const bool *on_device);
/* Values that experts in main memory read of the device, or give to it, as a set. */
uint32_t rad_cuda_crossing(const rad_program *program, const bool *on_device);
/* The layout of everything but weights and pages; false when it exceeds 64 bits. */
bool rad_cuda_lay_out(const rad_cuda_means *means, const rad_program *program,
                      const rad_backend_settings *settings, rad_cuda_layout *layout);

/* ---- divide.c -----------------------------------------------------------------------------------
 */

radllm_status rad_cuda_place(rad_cuda *cuda, const rad_cuda_request *request,
                             rad_cuda_placement *out, radllm_error *error);

/* ---- peers.c ------------------------------------------------------------------------------------
 */

bool rad_cuda_reaches(rad_cuda_device *device, rad_cuda_device *other);

/* ---- batch.c ------------------------------------------------------------------------------------
 */

uint64_t rad_cuda_staging_bytes(const rad_cuda_layout *layout);
uint32_t rad_cuda_most_blocks(const rad_backend_settings *settings, uint32_t tokens);
/* Bytes of a value's rows, however many there are. */
uint64_t rad_cuda_value_bytes(const rad_program *program, const rad_backend_settings *settings,
                              uint32_t value);
/* Lays out what the device is told of a batch, and writes it down; the CPU's operations before the
 * first one on the device put their values there as well. Then all is sent at once. */
void rad_cuda_tell_batch(rad_cuda_chain *c);
radllm_status rad_cuda_send_batch(rad_cuda_chain *c, radllm_error *error);

/* ---- adapt.c ------------------------------------------------------------------------------------
 */

/* Device memory for the adapters that are known beforehand. */
uint64_t rad_cuda_adapter_bytes(const rad_hparams *hparams, const rad_backend_settings *settings);
/* Brings adapters to the device, as far as they have room. */
radllm_status rad_cuda_reserve_adapters(rad_cuda_backend *b, const rad_adapter_set *set,
                                        radllm_error *error);
void rad_cuda_free_adapters(rad_cuda_backend *b);
/* Looks for those of the batch, and which rows have them. */
void rad_cuda_begin_adapters(rad_cuda_backend *b);
/* Whether a row of a batch has a pair for an operation that adapts. */
bool rad_cuda_is_adapted(const rad_batch *batch, const rad_op *op);
/* Adds to the key which adapters the rows have; false where they are not the same ones for all, or
 * not on the device. */
bool rad_cuda_adapters_key(const rad_cuda_backend *b, rad_cuda_step_key *key);

/* ---- measure.c ----------------------------------------------------------------------------------
 */

/* As rad_cuda_table has them. */
uint64_t rad_cuda_bandwidth(const rad_cuda *cuda);
uint64_t rad_cuda_multiply_adds(const rad_cuda *cuda, bool floats);

/* ---- graphs.c -----------------------------------------------------------------------------------
 */

/* The batch's place among those that were seen (is_new: it was not), where its operations
 * first..end-1 can be a graph; else NULL. */
rad_cuda_replay *rad_cuda_find_replay(rad_cuda_backend *b, uint32_t first, uint32_t end);
void rad_cuda_forget_replays(rad_cuda_backend *b);

/* ---- pages.c ------------------------------------------------------------------------------------
 */

/* Bytes of a group's pages on a GPU with its share: the part that its layers have of one. first:
 * where that begins in the page of all layers, used: what is not padding of it. */
uint64_t rad_cuda_page_part(const rad_cuda_library *library, const rad_cache_plan *plan,
                            const rad_hparams *hparams, const rad_cuda_share *share, uint32_t group,
                            uint64_t *first, uint64_t *used);
radllm_status rad_cuda_create_pages(rad_cuda *cuda, const rad_cuda_placement *placement,
                                    const rad_hparams *hparams, const rad_cache_plan *plan,
                                    rad_far_memory *far, radllm_error *error);
void rad_cuda_free_pages(rad_cuda *cuda);

/* ---- run.c --------------------------------------------------------------------------------------
 */

extern const rad_backend_table rad_cuda_backend_table;
uint64_t rad_cuda_expert_tokens(const rad_backend *backend, uint32_t layer, uint32_t expert);
radllm_status rad_cuda_clear_expert_tokens(rad_backend *backend, radllm_error *error);

/* ---- create.c -----------------------------------------------------------------------------------
 */

radllm_status rad_cuda_create_backend(rad_cuda *cuda, const rad_cuda_placement *placement,
                                      const rad_program *program, const rad_cache *cache,
                                      const rad_backend_settings *settings, rad_backend *cpu,
                                      const radllm_cancel *cancel, rad_backend **out,
                                      radllm_error *error);
void rad_cuda_free_backend(rad_backend *backend);

#endif
