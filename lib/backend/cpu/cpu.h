/* The inside of the CPU backend, shared by its files. */
#ifndef RAD_CPU_BACKEND_H
#define RAD_CPU_BACKEND_H

#include <stdatomic.h>

#include "backend/backend.h"
#include "base/platform.h"

/* Rows of a weight that are widened at a time for BLAS. */
#define RAD_BLAS_ROWS 256

/* Queries of one task of attention: this many tokens share the loads of a tile. */
#define RAD_ATTENTION_TOKENS 16

/* Tokens of a span that one task of attention computes. */
typedef struct rad_attention_block {
    uint32_t span;
    uint32_t first_row; /* in the span */
    uint32_t n_rows;
} rad_attention_block;

/* Where everything stands inside the backend's one block of memory. */
typedef struct rad_cpu_layout {
    size_t values[RAD_MAX_VALUES]; /* offsets */
    size_t quants, scales, sums;   /* the quantized input of products */
    size_t tiles;                  /* the same, four tokens side by side */
    size_t frequencies;            /* double[n_pairs] */
    size_t blocks;                 /* rad_attention_block[] */
    size_t scratch;                /* for each worker */
    size_t scratch_bytes;          /* of one worker */
    size_t slab;                   /* rows widened to floats for BLAS */
    size_t stream;                 /* rows read from the file, for each worker */
    size_t stream_bytes;           /* of one worker; 0 when all weights are in memory */
    size_t total;
} rad_cpu_layout;

typedef struct rad_cpu_backend {
    rad_backend base;
    rad_host host;
    const rad_program *program;
    const rad_model *model;
    const rad_page_pool *pages;
    const rad_kernels *kernels;
    rad_backend_settings settings;
    rad_pool *pool;
    rad_cpu_layout layout;
    uint8_t *memory;
    float rope_magnitude;
    rad_blas blas; /* product NULL: not used */

    /* The run in progress. */
    const rad_batch *batch;
    uint32_t n_blocks;
    atomic_int failure;      /* status of the first task that could not read its weights */
    radllm_error read_error; /* its message */
    int quantized_value;     /* whose quantized form stands in the buffer; -1: none */
    rad_activation_kind quantized_kind;
} rad_cpu_backend;

static inline float *rad_cpu_value(const rad_cpu_backend *cpu, uint8_t value)
{
    return (float *)(void *)(cpu->memory + cpu->layout.values[value]);
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

/* One function for each kind of operation. */
void rad_cpu_product(rad_cpu_backend *cpu, const rad_op *op);
void rad_cpu_store(rad_cpu_backend *cpu, const rad_op *op);
void rad_cpu_attend(rad_cpu_backend *cpu, const rad_op *op);
void rad_cpu_rows_op(rad_cpu_backend *cpu, const rad_op *op); /* all others: row by row */

/* Cuts the batch into blocks for rad_cpu_attend(); once for each batch. */
void rad_cpu_plan_attention(rad_cpu_backend *cpu);
/* Scratch of one worker for attention. */
size_t rad_cpu_attention_scratch(const rad_hparams *hparams);

#endif
