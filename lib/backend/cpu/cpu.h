/* The inside of the CPU backend, shared by its files. */
#ifndef RAD_CPU_BACKEND_H
#define RAD_CPU_BACKEND_H

#include <stdatomic.h>

#include "backend/backend.h"
#include "base/platform.h"

/* Rows of a weight that are widened at a time for BLAS. */
#define RAD_BLAS_ROWS 256

/* Tiles of a range of keys, which are merged before they meet those of other ranges: part of the
 * numeric contract. */
#define RAD_RANGE_TILES 32

/* Fewer tasks than this many for each thread are cut into ranges. */
#define RAD_TASKS_PER_THREAD 4

/* Tokens of a span that one task of attention computes. */
typedef struct rad_attention_block {
    uint32_t span;
    uint32_t first_row; /* in the span */
    uint32_t n_rows;
} rad_attention_block;

/* The rows of one expert, among the rows by choice: the tokens that chose it, in their order. */
typedef struct rad_expert_group {
    uint32_t expert;
    uint32_t first_row, n_rows;
    uint32_t first_tile; /* its tiles of four tokens, counted over all groups */
} rad_expert_group;

/* Where everything stands inside the backend's one block of memory. */
typedef struct rad_cpu_layout {
    size_t values[RAD_MAX_VALUES];   /* offsets */
    size_t quants, scales, sums;     /* the quantized input of products */
    size_t tiles;                    /* the same, four tokens side by side */
    size_t frequencies;              /* double[n_pairs]; local layers' behind them */
    size_t slopes;                   /* float[max_heads], with ALiBi */
    size_t blocks;                   /* rad_attention_block[] */
    size_t task_states, part_states; /* of attention in parts */
    size_t scratch;                  /* for each worker */
    size_t scratch_bytes;            /* of one worker */
    size_t head_input; /* a part of some tokens' rows, for each worker (products by heads) */
    size_t head_input_bytes;
    size_t slab;         /* rows widened to floats for BLAS */
    size_t stream;       /* rows read from the file, for each worker */
    size_t stream_bytes; /* of one worker; 0 when all weights are in memory */
    /* For experts, with a row for each choice of a token; columns: the widest input. */
    size_t choice_values; /* only where a stack of experts reads floats */
    size_t choice_quants, choice_scales, choice_sums, choice_tiles;
    size_t choice_token;  /* uint32_t[]: the token of each row */
    size_t choice_row;    /* uint32_t[token][rank]: the row of a choice */
    size_t groups;        /* rad_expert_group[] */
    size_t tile_group;    /* uint32_t[]: the group of each tile */
    size_t expert_tokens; /* atomic uint64_t[layer][expert] */
    size_t total;
} rad_cpu_layout;

/* The memory for adapters, a block of its own, since it is only taken where there are any: A x of
 * each row first, then the rest. */
typedef struct rad_cpu_adapter_layout {
    uint32_t rank;        /* the greatest that there is room for; 0: none */
    size_t out;           /* sums of a task, for each worker */
    size_t scratch;       /* for each worker */
    size_t scratch_bytes; /* of one worker */
    size_t heads;         /* of a task by heads, for each worker: its input, and A x */
    size_t heads_bytes;   /* of one worker */
    size_t runs;          /* rad_adapter_run[], by token and by output */
    size_t expert_runs;   /* the same by choice, of the operation in progress */
    size_t total;
} rad_cpu_adapter_layout;

typedef struct rad_cpu_backend {
    rad_backend base;
    rad_host host;
    const rad_program *program;
    const rad_model *model;
    const rad_cache *cache;
    const rad_kernels *kernels;
    rad_backend_settings settings;
    rad_pool *pool;
    rad_cpu_layout layout;
    uint8_t *memory;
    float *values[RAD_MAX_VALUES];
    float rope_magnitude;
    uint32_t n_slopes; /* the heads that the slopes are for; 0: none yet */
    rad_blas blas;     /* product NULL: not used */
    rad_cpu_adapter_layout adapters;
    uint8_t *adapter_memory;

    /* The run in progress. */
    const rad_batch *batch;
    uint32_t n_blocks;
    atomic_int failure;      /* status of the first task that could not read its weights */
    radllm_error read_error; /* its message */
    int quantized_value;     /* whose quantized form stands in the buffer; -1: none */
    rad_activation_kind quantized_kind;
    const uint32_t *quantized_columns; /* and in which order; NULL: its own */
    uint32_t n_groups, n_group_tiles;  /* of the layer in progress */
    bool choices_by_token; /* rows by choice stand in the order of choices, not by expert */
    int gathered_value;    /* the same for the rows by choice */
    rad_activation_kind gathered_kind;
    uint32_t n_adapter_runs[2]; /* of rows of tokens, of rows of outputs */
    uint32_t n_adapter_passes;  /* adapters of a row, at most */
} rad_cpu_backend;

static inline float *rad_cpu_value(const rad_cpu_backend *cpu, uint8_t value)
{
    return cpu->values[value];
}

static inline void *rad_cpu_scratch(const rad_cpu_backend *cpu, uint32_t worker)
{
    return cpu->memory + cpu->layout.scratch + worker * cpu->layout.scratch_bytes;
}

/* Rows that an operation runs on. */
static inline uint32_t rad_cpu_rows(const rad_cpu_backend *cpu, const rad_op *op)
{
    return op->per_output ? cpu->batch->n_outputs : cpu->batch->n_tokens;
}

/* Runs task for index 0..count-1, by the pool where the work (in rough units of one float) pays for
 * waking it, else here. */
void rad_cpu_parallel(rad_cpu_backend *cpu, rad_pool_fn task, void *data, uint32_t count,
                      uint64_t work);

/* Rows first..first+n-1 of a weight that is not in memory, read from the file into the worker's
 * buffer: a matrix of n rows (at most rad_cpu_stream_rows()). False when reading failed; the run
 * then ends with its error. */
bool rad_cpu_read_rows(rad_cpu_backend *cpu, const rad_weight *weight, uint32_t first, uint32_t n,
                       uint32_t worker, rad_matrix *rows);
uint32_t rad_cpu_stream_rows(const rad_cpu_backend *cpu, const rad_matrix *matrix);

/* Tokens of one task of a product by heads. */
#define RAD_HEAD_TOKENS 32

/* One function for each kind of operation. */
void rad_cpu_product(rad_cpu_backend *cpu, const rad_op *op);
void rad_cpu_head_product(rad_cpu_backend *cpu, const rad_op *op);
void rad_cpu_route(rad_cpu_backend *cpu, const rad_op *op);
void rad_cpu_expert_product(rad_cpu_backend *cpu, const rad_op *op);
void rad_cpu_combine(rad_cpu_backend *cpu, const rad_op *op);
void rad_cpu_store(rad_cpu_backend *cpu, const rad_op *op);
void rad_cpu_attend(rad_cpu_backend *cpu, const rad_op *op);
void rad_cpu_adapt(rad_cpu_backend *cpu, const rad_op *op);
void rad_cpu_rows_op(rad_cpu_backend *cpu, const rad_op *op); /* all others: row by row */

/* Visits the experts of an adapting operation with their rows, whose tokens stand at `tokens`, in
 * the order of rows. */
typedef void (*rad_cpu_expert_fn)(void *data, const rad_expert_group *group,
                                  const uint32_t *tokens);
void rad_cpu_each_expert(rad_cpu_backend *cpu, const rad_op *op, rad_cpu_expert_fn visit,
                         void *data);

void rad_cpu_observe(const rad_cpu_backend *cpu, const rad_op *op);

/* ---- parts of products ----------------------------------------------------------------------- */

/* Row `row` of x, whose buffers it is written to, from n_columns floats. */
void rad_cpu_quantize_row(const rad_kernels *kernels, const float *values, const rad_activations *x,
                          uint32_t row);
/* The same from the floats of a row in another order, where columns is not NULL; `ordered` is a
 * buffer for n_columns of them. */
void rad_cpu_quantize_ordered(const rad_kernels *kernels, const float *values,
                              const uint32_t *columns, const rad_activations *x, uint32_t row,
                              float *ordered);
/* The input of an operation in the form that its weight wants, by token. */
void rad_cpu_prepare_input(rad_cpu_backend *cpu, const rad_op *op, rad_activations *x);
/* Rows first..last-1 of an expert's part of the weight (0: of the whole, where it is no stack),
 * times all tokens of x, with scale and bias. Rows of out are `stride` floats apart. `ready`: the
 * weight is in memory. */
void rad_cpu_product_rows(rad_cpu_backend *cpu, const rad_op *op, uint32_t expert,
                          const rad_activations *x, uint32_t first, uint32_t last, bool ready,
                          uint32_t worker, float *out, size_t stride);
/* How many rows a task should take of n_rows that it could take. */
uint32_t rad_cpu_rows_per_task(const rad_cpu_backend *cpu, uint64_t n_rows, uint32_t n_tokens);

/* The greatest that the input of a task of a product by heads takes; 0: the program has none. */
size_t rad_cpu_head_input_bytes(const rad_program *program);

/* Tokens of one task of attention. */
uint32_t rad_cpu_block_tokens(const rad_hparams *hparams);
/* Cuts the batch into blocks for rad_cpu_attend(); once for each batch. */
void rad_cpu_plan_attention(rad_cpu_backend *cpu);
/* Finds the rows with adapters; once for each batch. */
void rad_cpu_plan_adapters(rad_cpu_backend *cpu);
radllm_status rad_cpu_reserve_adapters(rad_backend *backend, const rad_adapter_set *set,
                                       radllm_error *error);
/* What is taken for those that the settings name. */
size_t rad_cpu_adapter_bytes(const rad_program *program, const rad_backend_settings *settings);
void rad_cpu_free_adapters(rad_cpu_backend *cpu);
/* Scratch of one worker for attention. */
size_t rad_cpu_attention_scratch(const rad_hparams *hparams);
/* Floats of the states of tasks, and of parts, when attention is cut into ranges. */
size_t rad_cpu_part_floats(const rad_hparams *hparams);

#endif
