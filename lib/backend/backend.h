/* lib/backend: the operations that a forward pass is made of, and who carries them out. A program
 * is a list of operation records made once for a model; a batch is the data it runs on (tokens,
 * lengths, pages), so that a backend may compile, fuse or record the program. Nothing here knows of
 * sessions or requests. */
#ifndef RAD_BACKEND_H
#define RAD_BACKEND_H

#include "backend/blas/blas_open.h"
#include "cache/sequence.h"
#include "model/adapter.h"

/* A program's intermediate results: matrices with a row for each token of the batch (per_output: at
 * most one for each output row). width is the greatest that any operation uses. */
typedef struct rad_value {
    uint32_t width;
    bool per_output;
} rad_value;

#define RAD_MAX_VALUES 28

typedef enum rad_op_kind {
    RAD_OP_EMBED,        /* out = row of `weight` for each token, times number */
    RAD_OP_ROTARY_TABLE, /* out = cosines and sines of each token's position, at most `limit` */
    RAD_OP_POSITIONS,    /* in place: adds the row of `weight` for each token's position, at most
                            `limit` */
    RAD_OP_NORM,    /* out = norm of in, times the vector `weight`, plus `bias` where LayerNorm */
    RAD_OP_PRODUCT, /* out = `weight` in, plus the vector `bias` where there is one */
    RAD_OP_ADAPT,   /* behind PRODUCT and EMBED: for rows with adapters that have a pair at `slot`,
                       out += scale * number * B (A in); EMBED: the row of A that the token names
                       (lookup), in place of A in. Behind EXPERT_PRODUCT (experts): for the rows
                       of choices, by the pair at `slot` + the chosen expert, which `other`, what
                       ROUTE made, tells. Behind HEAD_PRODUCT (n_heads > 0): parts `to` of out, by
                       parts `from` of in, and each head's rows of A or of B */
    RAD_OP_HEAD_NORM,    /* in place: rms norm of each head of out, times `weight` */
    RAD_OP_ROTATE,       /* out = other, with its parts `to` rotated by the table `in` */
    RAD_OP_COPY,         /* parts `to` of out = parts `from` of in, `width` floats each */
    RAD_OP_HEAD_PRODUCT, /* parts `to` of out = each head's matrix of `weight`, times parts `from`
                            of in */
    RAD_OP_STORE,        /* writes keys `in` and values `other` to the cache of `layer` */
    RAD_OP_ATTEND,   /* out = attention of queries `in` to the cache of `layer`, of `other` to its
                        first positions where the policy keeps them; `bias`: learned sinks */
    RAD_OP_GELU,     /* in place: gelu(out), in the family's form */
    RAD_OP_CLAMP,    /* in place: out held to -number..number */
    RAD_OP_GATED,    /* out = gate(in) * other */
    RAD_OP_ADD,      /* out = in + other */
    RAD_OP_SELECT,   /* out = the output rows of in */
    RAD_OP_SOFT_CAP, /* in place: out = number * tanh(out / number) */
    /* A mixture of experts. A token goes to k experts, so there are k rows for each token: the
     * chosen ones' intermediate results. Which row is whose is the backend's affair. */
    RAD_OP_ROUTE, /* out = the k experts of each token by its logits `in`, and their weights;
                     `bias` for the choice */
    RAD_OP_EXPERT_PRODUCT, /* out = the chosen expert's part of `weight`, times in, plus its part
                              of `bias`; in is a value by token, or (by_choice) by choice */
    RAD_OP_COMBINE,  /* out = sum of the k rows of in, times the weights in `other`, by rank */
    RAD_OP_ADD_GATED /* out = out + in * sigmoid(the one number of other) */
} rad_op_kind;

/* Parts of each row of a value, one for each head. */
typedef struct rad_parts {
    uint32_t row;           /* floats of a row */
    uint32_t first, stride; /* of the first part, and from one to the next; stride 0: the same */
} rad_parts;

typedef struct rad_op {
    rad_op_kind kind;
    uint32_t layer;
    uint8_t in, other, out; /* values */
    bool per_output;        /* runs on the output rows, not on all tokens */
    const rad_weight *weight, *bias;
    uint32_t width;   /* of a row of out; of the keys for RAD_OP_STORE. Rows are contiguous */
    uint32_t n_heads; /* of out (head norm, rotate, copy, head product and what adapts it) */
    rad_parts from, to;
    bool by_choice; /* expert product, adapt: in has a row for each choice of a token */
    float number;
    uint32_t limit;
    bool local;    /* rotary table: of the layers that rotate by a base of their own */
    uint32_t slot; /* of the weight, in adapters */
    bool lookup;   /* adapt: of the embedding */
    bool experts;  /* adapt: of a stack */
} rad_op;

typedef struct rad_program {
    const rad_model *model;
    uint32_t context; /* what rotations follow from, where they depend on it */
    rad_op *ops;
    uint32_t n_ops;
    rad_value values[RAD_MAX_VALUES];
    uint32_t n_values;
    uint8_t logits; /* the value that holds them at the end */
    /* What the output rows are before logits are made of them stands in `hidden` behind the first
     * n_hidden_ops operations. An encoder has no more. */
    uint8_t hidden;
    uint32_t n_hidden_ops;
} rad_program;

/* Consecutive tokens of one sequence, which holds all pages that they see and their own. */
typedef struct rad_token_span {
    uint32_t first_row; /* in the batch */
    uint32_t n_rows;
    uint32_t first_position;
    const rad_sequence *sequence;
    const rad_adapter_set *adapters; /* of no greater rank than were reserved; NULL: none */
} rad_token_span;

/* A token drawn from all of an output row, by what rad_sampler_choose() says at 8. */
typedef struct rad_draw {
    double unit;        /* the random number */
    double temperature; /* a float above 0; 0: none is drawn */
} rad_draw;

typedef struct rad_batch {
    uint32_t n_tokens;
    const int32_t *tokens; /* checked against the vocabulary */
    uint32_t n_spans;      /* in the order of their rows, covering all of them */
    const rad_token_span *spans;
    uint32_t n_outputs; /* rows whose logits are wanted, ascending */
    const uint32_t *outputs;
    bool hidden; /* no logits are wanted of them, but what these are made of */
    /* The most likely token may be all that is wanted of some output rows: a backend may then give
     * that alone, and logits when they are fetched. */
    bool chooses;
    bool narrows;          /* the same of the best tokens */
    const rad_draw *draws; /* the same of drawn ones: for each output row; NULL: none */
} rad_batch;

/* What a backend can do. */
typedef struct rad_backend rad_backend;
typedef struct rad_backend_table {
    /* Runs a program on a batch, at most as large as at creation. RADLLM_E_CANCELLED when `cancel`
     * was set, RADLLM_E_IO when weights that are not in memory yet cannot be read; the results are
     * then undefined. */
    radllm_status (*run)(rad_backend *backend, const rad_batch *batch, const radllm_cancel *cancel,
                         radllm_error *error);
    /* Logits of output row `index` of the last batch: n_vocab floats, valid until the next run. Of
     * a batch that chooses they must be fetched before. */
    const float *(*logits)(const rad_backend *backend, uint32_t index);
    /* The token with the greatest logit of an output row, the lowest id of several; -1 where the
     * logits are to be looked at: they are here, or not all of them are numbers. */
    int32_t (*choice)(const rad_backend *backend, uint32_t index);
    /* Of a batch that narrows: the best tokens of an output row. NULL: never. */
    rad_best_tokens (*best)(const rad_backend *backend, uint32_t index);
    /* Of a batch that draws: the token of an output row that is to be drawn; -1 where the logits
     * are to be looked at. NULL: never. */
    int32_t (*drawn)(const rad_backend *backend, uint32_t index);
    /* Brings the logits of n output rows. */
    radllm_status (*fetch)(rad_backend *backend, uint32_t first, uint32_t n, radllm_error *error);
    /* Makes sure of memory for computing with some adapters, between two runs. */
    radllm_status (*reserve_adapters)(rad_backend *backend, const rad_adapter_set *set,
                                      radllm_error *error);
    /* The same of a batch that wants no logits: as many floats as the model is wide. */
    const float *(*hidden)(const rad_backend *backend, uint32_t index);
    void (*free)(rad_backend *backend);
} rad_backend_table;

struct rad_backend {
    const rad_backend_table *table;
};

/* Sees what products are multiplied with: n_rows rows, one behind the other, for a matrix or for
 * one expert's part of it. On the thread that runs. */
typedef struct rad_observer {
    void (*rows)(void *user, const rad_weight *weight, uint32_t expert, const float *rows,
                 uint32_t n_rows);
    void *user;
} rad_observer;

typedef struct rad_backend_settings {
    uint32_t n_threads; /* at least 1 */
    uint32_t max_tokens;
    uint32_t max_outputs;
    uint32_t max_spans;
    const rad_adapter_set *adapters; /* that are known beforehand; NULL: none */
    bool blas; /* unquantized products by OpenBLAS, outside the numeric contract */
    /* Computes with the threads of this backend, which must outlive it and have as many; the two
     * never run at the same time. NULL: with threads of its own. */
    const rad_backend *threads_of;
    const rad_observer *observer; /* NULL: none */
    uint32_t apart;               /* on a GPU: RAD_CUDA_APART_.. (backend/cuda/cuda.h) */
} rad_backend_settings;

/* The CPU backend. `program` and `cache` must outlive it. */
radllm_status rad_cpu_backend_create(const rad_host *host, const rad_program *program,
                                     const rad_cache *cache, const rad_backend_settings *settings,
                                     rad_backend **out, radllm_error *error);
/* What carries out unquantized products outside the contract; "" when all is inside. */
const char *rad_cpu_backend_fast(const rad_backend *backend);
/* How many tokens so far went to an expert of a layer that has some. Any thread, also during a
 * run. */
uint64_t rad_cpu_backend_expert_tokens(const rad_backend *backend, uint32_t layer, uint32_t expert);
void rad_cpu_backend_clear_expert_tokens(rad_backend *backend);
/* For a backend that leaves some operations to this one: what run() does, one by one. Between begin
 * and end, operations run in the program's order; those that are left out must have written their
 * values before others read them, and say so. */
void rad_cpu_backend_begin(rad_backend *backend, const rad_batch *batch);
radllm_status rad_cpu_backend_run_op(rad_backend *backend, const rad_op *op, radllm_error *error);
void rad_cpu_backend_end(rad_backend *backend);
/* Before it adapts rows of experts that it did not choose itself: they stand by expert, then by
 * token, or (by_token) in the order of choices. */
void rad_cpu_backend_take_choices(rad_backend *backend, const rad_op *op, bool by_token);
float *rad_cpu_backend_value(const rad_backend *backend, uint8_t value);
void rad_cpu_backend_changed(rad_backend *backend, uint8_t value);
/* From now on a value stands in the caller's memory, which has room for its rows; NULL: in the
 * backend's own again. Between two runs, or before its first row is written. */
void rad_cpu_backend_lend(rad_backend *backend, uint8_t value, float *memory);
/* Runs task for 0..count-1 by the backend's threads, while no batch runs. */
void rad_cpu_backend_parallel(rad_backend *backend, rad_pool_fn task, void *data, uint32_t count);

/* Memory that it will take, threads' scratch included; 0 when it exceeds 64 bits. */
uint64_t rad_cpu_backend_bytes(const rad_program *program, const rad_backend_settings *settings);

#endif
