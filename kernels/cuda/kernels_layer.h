/* What the kernels of a layer take, besides those of the products of weights: one struct each,
 * given by value. Valid C11 and C++; every pointer is to memory of the device. Rows of a value are
 * contiguous unless a stride says otherwise. Strides, widths and firsts count elements.
 *
 * Behind each struct stands how it is launched: grid x, y, z, and bytes of dynamic shared memory
 * (none unless said). Grids may be smaller in y where rows are counted: blocks go on with further
 * rows. What each kernel computes is what lib/backend/cpu does for the operation, in the same
 * order: equal bits. */
#ifndef RAD_CUDA_KERNELS_LAYER_H
#define RAD_CUDA_KERNELS_LAYER_H

#include "kernels/cuda/kernels.h"

/* Of the host and of kernels. */
#ifdef __CUDACC__
#define RAD_CUDA_SHARED_INLINE static __host__ __device__ inline
#else
#define RAD_CUDA_SHARED_INLINE static inline
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Number formats of unquantized rows. */
enum { RAD_CUDA_F32 = 0, RAD_CUDA_F16 = 1, RAD_CUDA_BF16 = 2 };

enum { RAD_CUDA_CACHE_F16 = 1, RAD_CUDA_CACHE_Q8_0 = 4 }; /* as in rad_cache_type */

/* ---- rows ------------------------------------------------------------------------------------ */

/* RMS norm, or LayerNorm where `layer_norm`, of each row. With `add`: of in + add, which is written
 * to `sum` as well (RAD_OP_ADD before the norm; sum may be in or add). weight, bias: NULL: none;
 * the bias only in LayerNorm. out may be in. Grid: (n_rows). norm_of_norm: what is added is the RMS
 * norm of `add`, times add_weight, with the same epsilon. */
typedef struct rad_cuda_norm_arguments {
    const float *in, *add, *add_weight;
    float *sum;
    const float *weight, *bias;
    float *out;
    uint32_t n, n_rows;
    uint32_t layer_norm;
    float epsilon;
    uint8_t *tiles; /* NULL, or out quantized as well (kernels_products.h), n being a multiple */
    uint32_t tile_block; /* of 32 and this 32, 64 or 256 */
} rad_cuda_norm_arguments;
RAD_CUDA_DECLARE(norm);
RAD_CUDA_DECLARE(norm_of_norm);

/* In place: RMS norm of each head of each row, all with the same weight (NULL: none). Heads stand
 * `stride` apart from `first` on in rows of `row` floats. Grid: (n_rows * n_heads / 16 rounded up).
 */
typedef struct rad_cuda_head_norm_arguments {
    float *values;
    const float *weight;
    uint32_t row, first, stride;
    uint32_t n, n_heads, n_rows;
    float epsilon;
} rad_cuda_head_norm_arguments;
RAD_CUDA_DECLARE(head_norm);

/* Heads `to` of each row of out = those of in, rotated by the row's table: n_pairs cosines, then
 * n_pairs sines. All else of out's row becomes in's, where they are not the same. in and out have
 * rows of `row` floats; heads stand `stride` apart from `first` on. Grid: (n_heads, n_rows). */
typedef struct rad_cuda_rotate_arguments {
    const float *in;
    float *out;
    const float *table; /* [row][2 * n_pairs] */
    uint32_t row, first, stride;
    uint32_t n_heads, n_pairs, n_rows;
    uint32_t interleaved; /* pairs (2i, 2i + 1), else (i, i + n_pairs) */
} rad_cuda_rotate_arguments;
RAD_CUDA_DECLARE(rotate);

/* Parts of rows: width floats of each of n_heads parts. Row r of out is made of row from_rows[r] of
 * in, or of r where that is NULL. RAD_OP_COPY, RAD_OP_SELECT. Grid: (n_heads * width / 1024 rounded
 * up, n_rows). */
typedef struct rad_cuda_copy_arguments {
    const float *in;
    float *out;
    const uint32_t *from_rows;
    uint32_t from_row, from_first, from_stride;
    uint32_t to_row, to_first, to_stride;
    uint32_t width, n_heads, n_rows;
} rad_cuda_copy_arguments;
RAD_CUDA_DECLARE(copy);

/* out = f(in, other), element by element; out may be in or other. */
enum {
    RAD_CUDA_SILU_MULTIPLY,      /* silu(in) * other */
    RAD_CUDA_GELU_TANH_MULTIPLY, /* gelu(in) * other, in the tanh form */
    RAD_CUDA_RELU2_MULTIPLY,     /* max(0, in)^2 * other */
    RAD_CUDA_CLAMPED_MULTIPLY,   /* gpt-oss */
    RAD_CUDA_GELU_TANH,          /* gelu(in), in the tanh form; other is not read from here on */
    RAD_CUDA_GELU_ERF,           /* gelu(in) itself */
    RAD_CUDA_CLAMP,              /* in held to -number .. number */
    RAD_CUDA_SOFT_CAP,           /* number * tanh(in / number) */
    RAD_CUDA_SCALE,              /* in * number */
    RAD_CUDA_ADD,                /* in + other */
    RAD_CUDA_ADD_GATED           /* out + in * sigmoid(the one number of other's row), by fma */
};
/* Rows are `..._stride` apart. Grid: (n / 1024 rounded up, n_rows). */
typedef struct rad_cuda_elements_arguments {
    const float *in, *other;
    float *out;
    uint32_t in_stride, other_stride, out_stride;
    uint32_t n, n_rows;
    uint32_t kind;
    float number;
    uint8_t *tiles; /* NULL, or out quantized as well (kernels_products.h), n being a multiple */
    uint32_t tile_block; /* of 32 and this 32, 64 or 256 */
} rad_cuda_elements_arguments;
RAD_CUDA_DECLARE(elements);

/* ---- the cache ------------------------------------------------------------------------------- */

/* Writes the keys and values of each row to its slot of the cache, as kernels/cpu/layer.h lays it
 * out. Head h of a layer has its tile of keys at `first + h * (key_bytes + value_bytes)` of a page,
 * its tile of values behind that. Grid: (n_heads, n_rows). */
typedef struct rad_cuda_store_arguments {
    const float *keys, *values; /* rows of n_heads * key_dim, n_heads * value_dim */
    const rad_cuda_row *rows;
    rad_cuda_pages pages;
    uint64_t first;
    uint32_t key_bytes, value_bytes; /* of a tile */
    uint32_t key_type, value_type;   /* rad_cache_type */
    uint32_t key_dim, value_dim;
    uint32_t n_heads, n_rows;
} rad_cuda_store_arguments;
RAD_CUDA_DECLARE(store);

/* RMS norms of heads of n numbers; n 0: none. NULL: no weights. */
typedef struct rad_cuda_head_norms {
    const float *queries, *keys;
    uint32_t n;
    float epsilon;
} rad_cuda_head_norms;

/* Queries and keys normed, where there are norms, and rotated in place, all heads of both, and keys
 * and values stored: the keys are those of the store. Grid: (heads of queries and of keys, n_rows).
 */
typedef struct rad_cuda_rotate_store_arguments {
    rad_cuda_rotate_arguments queries, keys;
    rad_cuda_store_arguments store;
    rad_cuda_head_norms norms;
} rad_cuda_rotate_store_arguments;
RAD_CUDA_DECLARE(rotate_store);

/* Tokens that attention takes together: consecutive rows of one sequence. n_rows 0: nothing. */
typedef struct rad_cuda_attend_block {
    uint32_t first_row, n_rows;
} rad_cuda_attend_block;

/* How the work of a block of tokens and heads is divided, with the same bits. */
enum {
    RAD_CUDA_ATTEND_WHOLE,  /* not: one block takes all keys and writes the output. Many tokens */
    RAD_CUDA_ATTEND_RANGES, /* a block for each 1,024 keys. Few tokens behind very many */
    RAD_CUDA_ATTEND_TILES   /* a block for each part of some tiles. Few tokens */
};

/* Attention of queries to the cache. The bits of a query depend on it and on what it sees alone,
 * however many are computed together and however the keys are divided. Kernels:
 *
 * - attend_8, attend_4, attend_1: the order of lib/backend/cpu/attention.c and layer.h in every
 *   number format and shape, bit for bit.
 * - attend_many_bytes, attend_few_bytes: the same bits for keys and values in Q8_0, by integer
 * matrix instructions.
 * - attend_many, attend_few: for keys and values in F16, by matrix instructions of halves (queries
 * as sums of two, probabilities rounded). Powers and the merging of tiles have formulas of their
 * own, and the bits are others: within 2^-11 of the greatest value of those of the CPU.
 * ..._128, ..._64: the same where keys and values have 128 or 64 dimensions, without ALiBi and cap;
 * attend_many_128 also without sinks of the policy. Of many tokens there is only the former.
 *
 * Where keys are divided, attend_merge follows with the same arguments:
 * rad_cuda_attend_is_merged_apart(). attend_few and attend_few_bytes merge themselves: the last
 * block to be done with a range, and the last range of a query.
 *
 * A block takes up to `rows` queries (128 of "many", in bytes 64, 16 of "few", or the number in the
 * name) of heads that share keys, of one token and of those behind it: heads_per_block heads of
 * tokens_per_block tokens. Rows of `blocks` have no more tokens than that. In this order:
 * rad_cuda_attend_choose(), rad_cuda_attend_heads(), the blocks, rad_cuda_attend_plan().
 *
 * Grid: (n_blocks, n_kv_heads * head_blocks, n_parts) of rad_cuda_attend_kernel(), shared:
 * rad_cuda_attend_shared(). attend_merge: (n_blocks, n_heads), shared:
 * rad_cuda_attend_merge_shared(). */
typedef struct rad_cuda_attend_arguments {
    const float *queries;      /* rows of n_heads * key_dim */
    const float *sink_queries; /* the same, rotated for the first keys of the policy `sinks` */
    const rad_cuda_row *rows;
    const rad_cuda_attend_block *blocks;
    rad_cuda_pages pages;
    uint64_t first; /* as for the store, also what follows */
    uint32_t key_bytes, value_bytes;
    uint32_t key_type, value_type;
    uint32_t key_dim, value_dim;
    uint32_t n_heads, n_kv_heads;
    uint32_t window, sinks;     /* rad_reach */
    const float *learned_sinks; /* of the heads; NULL: none */
    const float *slopes;        /* ALiBi, of the heads; NULL: none */
    float scale, cap;
    float *out; /* rows of n_heads * value_dim */
    uint32_t n_blocks;

    uint32_t n_parts;         /* at most; blocks behind the last part that there is do nothing */
    uint32_t division;        /* RAD_CUDA_ATTEND_.. */
    uint32_t heads_per_block; /* of a group of heads with common keys */
    uint32_t head_blocks;     /* such blocks in a group */
    uint32_t tokens_per_block;
    uint32_t at_once;     /* how many queries the kernel takes */
    uint32_t part_log2;   /* of RAD_CUDA_ATTEND_TILES: parts of 4, 8, 16 or 32 tiles */
    uint32_t n_units;     /* states of a query in `states` */
    uint32_t first_group; /* unit of the first of those behind, which are merged ranges */
    float *states;        /* [query of a block, by block][unit][rad_cuda_attend_state()] */
    uint32_t *counters;   /* rad_cuda_attend_counters() of the bytes for states; all 0 before and
                             after the kernel */
    /* Of attend_few.. alone: NULL, or out quantized as well (kernels_products.h), head_blocks being
     * 1 and the columns of a block's heads a multiple of tile_block, which is 32, 64 or 256. */
    uint8_t *tiles;
    uint32_t tile_block;
} rad_cuda_attend_arguments;
RAD_CUDA_DECLARE(attend_8);
RAD_CUDA_DECLARE(attend_4);
RAD_CUDA_DECLARE(attend_1);
RAD_CUDA_DECLARE(attend_few);
RAD_CUDA_DECLARE(attend_few_128);
RAD_CUDA_DECLARE(attend_few_64);
RAD_CUDA_DECLARE(attend_many);
RAD_CUDA_DECLARE(attend_many_128);
RAD_CUDA_DECLARE(attend_few_bytes);
RAD_CUDA_DECLARE(attend_few_bytes_128);
RAD_CUDA_DECLARE(attend_few_bytes_64);
RAD_CUDA_DECLARE(attend_many_bytes);
RAD_CUDA_DECLARE(attend_many_bytes_128);
RAD_CUDA_DECLARE(attend_merge);

enum {
    RAD_CUDA_ATTEND_WARPS = 8,         /* of a block, each with a tile */
    RAD_CUDA_ATTEND_HALF_WARPS = 4,    /* of attend_many and attend_few */
    RAD_CUDA_ATTEND_HALF_VALUES = 128, /* dimensions of a value that they can take */
    RAD_CUDA_ATTEND_MANY_ROWS = 128,
    RAD_CUDA_ATTEND_MANY_BYTES_ROWS = 64,
    RAD_CUDA_ATTEND_FEW_ROWS = 16,
    RAD_CUDA_ATTEND_SCRATCH = 49,    /* words of a warp for each query */
    RAD_CUDA_ATTEND_RANGE_TILES = 32 /* RAD_RANGE_TILES of the CPU backend */
};

/* Whether attend_many or attend_few does it, which merge tiles by formulas of their own. */
RAD_CUDA_SHARED_INLINE int rad_cuda_attend_by_halves(const rad_cuda_attend_arguments *a)
{
    return a->at_once >= RAD_CUDA_ATTEND_FEW_ROWS && a->key_type == RAD_CUDA_CACHE_F16;
}

/* Floats of a state: outputs, maximum, sum, and for values in integers the step of each 32. */
RAD_CUDA_SHARED_INLINE uint32_t rad_cuda_attend_state(uint32_t value_dim)
{
    return (value_dim + 2 + (value_dim + 31) / 32 + 3) / 4 * 4;
}

RAD_CUDA_SHARED_INLINE uint32_t rad_cuda_attend_query(uint32_t key_dim)
{
    uint32_t integers = (key_dim + 31) / 32 * 10;
    return integers > key_dim ? integers : key_dim;
}

/* Bytes of a query in halves, so that eight rows meet all banks of shared memory; of the values of
 * a slot; of a tile of keys and values. */
RAD_CUDA_SHARED_INLINE uint32_t rad_cuda_attend_pitch(uint32_t key_dim)
{
    return key_dim * 2 + 16;
}

RAD_CUDA_SHARED_INLINE uint32_t rad_cuda_attend_value_pitch(uint32_t value_dim)
{
    return (value_dim + 63) / 64 * 128;
}

RAD_CUDA_SHARED_INLINE uint32_t rad_cuda_attend_staged(uint32_t key_dim, uint32_t value_dim)
{
    return key_dim * 64 + 32 * rad_cuda_attend_value_pitch(value_dim);
}

/* All that attend_many has in shared memory: queries as two halves, two tiles, five words of each
 * query, and what it knows of its work. */
RAD_CUDA_SHARED_INLINE uint32_t rad_cuda_attend_many_shared(uint32_t key_dim, uint32_t value_dim)
{
    return RAD_CUDA_ATTEND_MANY_ROWS * (2 * rad_cuda_attend_value_pitch(key_dim) + 5 * 4) +
           2 * rad_cuda_attend_staged(key_dim, value_dim) + 272;
}

/* The same two of keys and values in Q8_0. */
RAD_CUDA_SHARED_INLINE uint32_t rad_cuda_attend_byte_query(uint32_t key_dim)
{
    return key_dim + 16 + key_dim / 8;
}

RAD_CUDA_SHARED_INLINE uint32_t rad_cuda_attend_staged_bytes(uint32_t key_dim, uint32_t value_dim)
{
    return key_dim / 4 * 160 + key_dim * 2 + 16 * (2 * value_dim + 16) + value_dim * 2;
}

/* Of attend_few and attend_few_bytes: without states, and states of a query. */
static inline uint32_t rad_cuda_attend_few_base(const rad_cuda_attend_arguments *a)
{
    int halves = a->key_type == RAD_CUDA_CACHE_F16;
    uint32_t query =
        halves ? 2 * rad_cuda_attend_pitch(a->key_dim) : rad_cuda_attend_byte_query(a->key_dim);
    uint32_t tile = halves ? rad_cuda_attend_staged(a->key_dim, a->value_dim)
                           : rad_cuda_attend_staged_bytes(a->key_dim, a->value_dim);
    return RAD_CUDA_ATTEND_FEW_ROWS * query + RAD_CUDA_ATTEND_HALF_WARPS * tile;
}

static inline uint32_t rad_cuda_attend_few_states(const rad_cuda_attend_arguments *a)
{
    return (RAD_CUDA_ATTEND_HALF_WARPS + 1) * rad_cuda_attend_state(a->value_dim) * 4;
}

/* Dynamic shared memory of the kernel for `rows` queries. */
static inline uint32_t rad_cuda_attend_shared(const rad_cuda_attend_arguments *a, uint32_t rows)
{
    int apart = a->division == RAD_CUDA_ATTEND_TILES, halves = a->key_type == RAD_CUDA_CACHE_F16;
    if (rows >= RAD_CUDA_ATTEND_FEW_ROWS && apart)
        return rad_cuda_attend_few_base(a) +
               a->heads_per_block * a->tokens_per_block * rad_cuda_attend_few_states(a);
    if (rows >= RAD_CUDA_ATTEND_FEW_ROWS && halves && !apart)
        return rad_cuda_attend_many_shared(a->key_dim, a->value_dim);
    if (rows >= RAD_CUDA_ATTEND_FEW_ROWS) {
        uint32_t query =
            halves ? 2 * rad_cuda_attend_pitch(a->key_dim) : rad_cuda_attend_byte_query(a->key_dim);
        uint32_t tile = halves ? rad_cuda_attend_staged(a->key_dim, a->value_dim)
                               : rad_cuda_attend_staged_bytes(a->key_dim, a->value_dim);
        return RAD_CUDA_ATTEND_MANY_BYTES_ROWS * query + 2 * tile;
    }
    uint32_t states = apart ? 0 : RAD_CUDA_ATTEND_WARPS + 2;
    uint32_t floats = rad_cuda_attend_query(a->key_dim) +
                      RAD_CUDA_ATTEND_WARPS * RAD_CUDA_ATTEND_SCRATCH +
                      states * rad_cuda_attend_state(a->value_dim);
    return floats * rows * 4;
}

static inline uint32_t rad_cuda_attend_merge_shared(uint32_t value_dim)
{
    return (RAD_CUDA_ATTEND_WARPS + 1) * rad_cuda_attend_state(value_dim) * 4;
}

/* Static bytes of shared memory that kernels have besides: those of few tokens, of many in bytes,
 * and those in the CPU's order, at most. */
enum {
    RAD_CUDA_ATTEND_FEW_STATIC = 208,
    RAD_CUDA_ATTEND_BYTES_STATIC = 768,
    RAD_CUDA_ATTEND_PLAIN_STATIC = 96
};

/* How many queries a block of the few kernels has shared memory for. */
static inline uint32_t rad_cuda_attend_few_queries(const rad_cuda_attend_arguments *a,
                                                   uint32_t shared_limit)
{
    uint32_t base = rad_cuda_attend_few_base(a) + RAD_CUDA_ATTEND_FEW_STATIC;
    uint32_t fit = shared_limit > base ? (shared_limit - base) / rad_cuda_attend_few_states(a) : 0;
    return fit < RAD_CUDA_ATTEND_FEW_ROWS ? fit : (uint32_t)RAD_CUDA_ATTEND_FEW_ROWS;
}

/* Whether there are matrix instructions for attention of this shape, on a device whose blocks can
 * have so much shared memory. */
static inline int rad_cuda_attend_takes_matrix(const rad_cuda_attend_arguments *a,
                                               uint32_t shared_limit)
{
    rad_cuda_attend_arguments whole = *a;
    int halves = a->key_type == RAD_CUDA_CACHE_F16;
    whole.division = RAD_CUDA_ATTEND_WHOLE;
    return (halves || a->key_type == RAD_CUDA_CACHE_Q8_0) && a->value_type == a->key_type &&
           a->key_dim % (halves ? 16 : 32) == 0 && a->value_dim % (halves ? 8 : 32) == 0 &&
           a->key_dim <= 256 && a->value_dim <= RAD_CUDA_ATTEND_HALF_VALUES &&
           rad_cuda_attend_shared(&whole, RAD_CUDA_ATTEND_MANY_ROWS) +
                   (halves ? 0 : RAD_CUDA_ATTEND_BYTES_STATIC) <=
               shared_limit &&
           rad_cuda_attend_few_queries(a, shared_limit) >= 4;
}

/* How many queries at a time in the CPU's order: 8, 4 or 1, as many as a block of tokens has use
 * for and the shared memory of a block has room for. tokens: the greatest number of a sequence in
 * the batch. */
static inline uint32_t rad_cuda_attend_rows(const rad_cuda_attend_arguments *a, uint32_t tokens,
                                            uint32_t shared_limit)
{
    uint64_t wanted = (uint64_t)tokens * (a->n_heads / a->n_kv_heads);
    uint32_t rows = wanted > 4 ? 8 : wanted > 1 ? 4 : 1;
    rad_cuda_attend_arguments whole = *a;
    whole.division = RAD_CUDA_ATTEND_WHOLE;
    while (rows > 1 &&
           rad_cuda_attend_shared(&whole, rows) + RAD_CUDA_ATTEND_PLAIN_STATIC > shared_limit)
        rows = rows == 8 ? 4 : 1;
    return rows;
}

/* Queries of a block of the kernels of many tokens. */
static inline uint32_t rad_cuda_attend_many_rows(const rad_cuda_attend_arguments *a)
{
    return a->key_type == RAD_CUDA_CACHE_F16 ? RAD_CUDA_ATTEND_MANY_ROWS
                                             : RAD_CUDA_ATTEND_MANY_BYTES_ROWS;
}

/* The same of all kernels: also many or 16 where there are matrix instructions for the shape. */
static inline uint32_t rad_cuda_attend_choose(const rad_cuda_attend_arguments *a, uint32_t tokens,
                                              uint32_t shared_limit)
{
    uint64_t wanted = (uint64_t)tokens * (a->n_heads / a->n_kv_heads);
    if (!rad_cuda_attend_takes_matrix(a, shared_limit))
        return rad_cuda_attend_rows(a, tokens, shared_limit);
    return wanted > RAD_CUDA_ATTEND_FEW_ROWS ? rad_cuda_attend_many_rows(a)
                                             : (uint32_t)RAD_CUDA_ATTEND_FEW_ROWS;
}

/* What the kernels ..._128 or ..._64 are made for; the slopes have to be there. */
static inline int rad_cuda_attend_is_usual(const rad_cuda_attend_arguments *a, uint32_t dim)
{
    return a->key_dim == dim && a->value_dim == dim && a->head_blocks == 1 && a->cap <= 0.0f &&
           a->slopes == NULL;
}

static inline const rad_cuda_kernel *rad_cuda_attend_few_kernel(const rad_cuda_attend_arguments *a)
{
    int halves = a->key_type == RAD_CUDA_CACHE_F16;
    if (rad_cuda_attend_is_usual(a, 128))
        return halves ? &rad_cuda_kernel_attend_few_128 : &rad_cuda_kernel_attend_few_bytes_128;
    if (rad_cuda_attend_is_usual(a, 64))
        return halves ? &rad_cuda_kernel_attend_few_64 : &rad_cuda_kernel_attend_few_bytes_64;
    return halves ? &rad_cuda_kernel_attend_few : &rad_cuda_kernel_attend_few_bytes;
}

static inline const rad_cuda_kernel *rad_cuda_attend_kernel(const rad_cuda_attend_arguments *a,
                                                            uint32_t rows)
{
    if (rows >= RAD_CUDA_ATTEND_FEW_ROWS && a->division == RAD_CUDA_ATTEND_TILES)
        return rad_cuda_attend_few_kernel(a);
    if (rows >= RAD_CUDA_ATTEND_FEW_ROWS && a->key_type == RAD_CUDA_CACHE_F16)
        return rad_cuda_attend_is_usual(a, 128) && a->sinks == 0 ? &rad_cuda_kernel_attend_many_128
                                                                 : &rad_cuda_kernel_attend_many;
    if (rows >= RAD_CUDA_ATTEND_FEW_ROWS)
        return rad_cuda_attend_is_usual(a, 128) ? &rad_cuda_kernel_attend_many_bytes_128
                                                : &rad_cuda_kernel_attend_many_bytes;
    return rows == 8   ? &rad_cuda_kernel_attend_8
           : rows == 4 ? &rad_cuda_kernel_attend_4
                       : &rad_cuda_kernel_attend_1;
}

/* How heads are divided; before the blocks of tokens are made, which follow from
 * tokens_per_block. tokens: as above. */
static inline void rad_cuda_attend_heads(rad_cuda_attend_arguments *a, uint32_t rows,
                                         uint32_t tokens, uint32_t shared_limit)
{
    uint32_t group = a->n_heads / a->n_kv_heads;
    uint32_t fit =
        rows == RAD_CUDA_ATTEND_FEW_ROWS ? rad_cuda_attend_few_queries(a, shared_limit) : rows;
    a->at_once = rows;
    a->head_blocks = (group + fit - 1) / fit;
    a->heads_per_block = (group + a->head_blocks - 1) / a->head_blocks;
    a->tokens_per_block = fit / a->heads_per_block;
    if (rows <= RAD_CUDA_ATTEND_FEW_ROWS && tokens < a->tokens_per_block)
        a->tokens_per_block = tokens > 0 ? tokens : 1;
}

static inline int rad_cuda_attend_is_merged_apart(const rad_cuda_attend_arguments *a)
{
    return a->division == RAD_CUDA_ATTEND_RANGES ||
           (a->division == RAD_CUDA_ATTEND_TILES && a->at_once < RAD_CUDA_ATTEND_FEW_ROWS);
}

/* Whether the kernel can quantize what it gives, in blocks of heads_per_block * value_dim columns.
 */
static inline int rad_cuda_attend_makes_tiles(const rad_cuda_attend_arguments *a)
{
    return a->division == RAD_CUDA_ATTEND_TILES && a->at_once == RAD_CUDA_ATTEND_FEW_ROWS &&
           a->head_blocks == 1;
}

/* Ranges that a query sees at most, the first of them with all that precedes it. */
static inline uint64_t rad_cuda_attend_groups(uint64_t keys)
{
    return keys / (RAD_CUDA_ATTEND_RANGE_TILES * 32) + 3;
}

/* Each has more bytes in `states`, by far. */
static inline uint64_t rad_cuda_attend_counters(uint64_t states_bytes)
{
    return states_bytes / 48;
}

/* Divides keys in parts of so many tiles. False where that needs more room, or a larger grid, than
 * there is. */
static inline int rad_cuda_attend_cut(rad_cuda_attend_arguments *a, uint64_t keys,
                                      uint32_t part_log2, uint64_t room)
{
    uint32_t part_tiles = 1u << part_log2;
    uint64_t sink_tiles = ((uint64_t)a->sinks + 31) / 32, tiles = (keys + 31) / 32;
    uint64_t parts = (tiles + part_tiles - 1) / part_tiles + (a->window != 0 ? 1 : 0);
    uint64_t units = sink_tiles + parts * part_tiles, groups = 0;
    uint64_t unit = (uint64_t)a->n_blocks * a->n_kv_heads * a->head_blocks * a->heads_per_block *
                    a->tokens_per_block * rad_cuda_attend_state(a->value_dim) * sizeof(float);
    if (a->at_once == RAD_CUDA_ATTEND_FEW_ROWS) {
        groups = rad_cuda_attend_groups(keys) + 1;     /* with a counter for the query itself */
        if (part_tiles == RAD_CUDA_ATTEND_RANGE_TILES) /* but range 0 behind sinks each is whole */
            units = sink_tiles > 0 ? sink_tiles + part_tiles : 0;
    }
    if (parts > 65000 || units + groups > UINT32_MAX || (units + groups) * unit > room)
        return 0;
    a->division = RAD_CUDA_ATTEND_TILES;
    a->part_log2 = part_log2;
    a->n_parts = (uint32_t)parts + (sink_tiles > 0 ? 1 : 0);
    a->n_units = (uint32_t)(units + groups);
    a->first_group = (uint32_t)units;
    return 1;
}

/* For the few kernels: parts as small as the device has room for all of them at a time. */
static inline int rad_cuda_attend_cut_few(rad_cuda_attend_arguments *a, uint64_t keys,
                                          uint32_t multiprocessors, uint32_t shared_limit,
                                          uint64_t room)
{
    uint64_t blocks = (uint64_t)a->n_blocks * a->n_kv_heads * a->head_blocks;
    rad_cuda_attend_arguments tiles = *a;
    tiles.division = RAD_CUDA_ATTEND_TILES;
    uint64_t shared = rad_cuda_attend_shared(&tiles, RAD_CUDA_ATTEND_FEW_ROWS) + 1024;
    uint64_t at_a_time = shared < shared_limit ? shared_limit / shared : 1;
    for (uint32_t log2 = 2; log2 <= 5; log2++) { /* four warps to a range */
        uint64_t parts = (keys + (32u << log2) - 1) >> (5 + log2);
        if ((blocks * parts <= at_a_time * multiprocessors || log2 == 5) &&
            rad_cuda_attend_cut(a, keys, log2, room))
            return 1;
    }
    return 0;
}

/* How keys are divided. keys: the most that a token of the batch sees, with up to 255 in front for
 * a window; multiprocessors and shared_limit: of the device; room: bytes for states. */
static inline void rad_cuda_attend_plan(rad_cuda_attend_arguments *a, uint64_t keys,
                                        uint32_t multiprocessors, uint32_t shared_limit,
                                        uint64_t room)
{
    uint64_t blocks = (uint64_t)a->n_blocks * a->n_kv_heads * a->head_blocks;
    uint64_t unit = blocks * a->heads_per_block * a->tokens_per_block *
                    rad_cuda_attend_state(a->value_dim) * sizeof(float);
    uint64_t range_parts = rad_cuda_attend_groups(keys);
    a->division = RAD_CUDA_ATTEND_WHOLE;
    a->n_parts = 1;
    a->n_units = a->part_log2 = a->first_group = 0;
    if (a->at_once == RAD_CUDA_ATTEND_FEW_ROWS &&
        rad_cuda_attend_cut_few(a, keys, multiprocessors, shared_limit, room))
        return;
    /* Of the kernels of many tokens a multiprocessor has two blocks: whole where that keeps them
     * busy for three quarters of the time. */
    uint64_t slots = 2ull * multiprocessors, turns = (blocks + slots - 1) / slots;
    int busy = a->at_once > RAD_CUDA_ATTEND_FEW_ROWS ? 4 * blocks >= 3 * turns * slots
                                                     : blocks >= 2 * slots;
    if (keys <= 256 || busy)
        return;
    if (blocks * range_parts < 2ull * multiprocessors && a->at_once < RAD_CUDA_ATTEND_FEW_ROWS &&
        rad_cuda_attend_cut(a, keys, 3, room))
        return;
    if (range_parts * unit <= room && range_parts < 65536) {
        a->division = RAD_CUDA_ATTEND_RANGES;
        a->n_parts = a->n_units = (uint32_t)range_parts;
    }
}

/* ---- experts --------------------------------------------------------------------------------- */

/* kernels/route.h for each row: its n_used experts, best first, and behind them their weights.
 * Grid: (n_rows); shared: rad_cuda_route_shared(). */
typedef struct rad_cuda_route_arguments {
    const float *logits; /* [row][n_experts] */
    const float *bias;   /* [n_experts], NULL: none */
    uint32_t *routes;    /* [row][2 * n_used]: experts, then the bits of weights */
    uint32_t n_experts, n_used, n_groups, n_groups_used, group_best;
    uint32_t gating, normalise; /* rad_gating */
    float scale;
    uint32_t n_rows;
} rad_cuda_route_arguments;
RAD_CUDA_DECLARE(route);

static inline uint32_t rad_cuda_route_shared(uint32_t n_experts, uint32_t n_used)
{
    return (4 * n_experts + n_used) * 4;
}

/* Sorts the choices of all rows by expert, and each expert's by row and rank. Then cuts each
 * expert's rows into tiles of at most tile_rows, for products that take them so. Grid: (n_experts);
 * shared: 4 * n_experts bytes. */
typedef struct rad_cuda_group_arguments {
    const uint32_t *routes; /* [row][2 * n_used] */
    uint32_t *starts;    /* [n_experts + 1]: expert e has choice rows starts[e]..starts[e + 1]-1 */
    uint32_t *token_of;  /* [choice row]: the row whose choice it is */
    uint32_t *row_of;    /* [row][n_used]: the choice row */
    uint32_t *expert_of; /* [choice row]; NULL: not wanted */
    uint32_t *tile_expert; /* [tile], room for n_rows * n_used / tile_rows + n_experts of them;
                              NULL: not wanted */
    uint32_t *tile_first;  /* [tile]: its first choice row; the tile ends with its expert's rows */
    uint32_t *n_tiles;     /* how many there are */
    uint64_t *counts;      /* [n_experts]: how many choices are added; NULL: not wanted */
    uint32_t n_experts, n_used, n_rows, tile_rows;
} rad_cuda_group_arguments;
RAD_CUDA_DECLARE(group);

/* out[row] = sum over the ranks of in[row_of[row][k]] times the weight, by fma from the second on.
 * Grid: (n / 1024 rounded up, n_rows). */
typedef struct rad_cuda_combine_arguments {
    const float *in; /* [choice row][n] */
    const uint32_t *row_of, *routes;
    float *out; /* [row][n] */
    uint32_t n, n_used, n_rows;
} rad_cuda_combine_arguments;
RAD_CUDA_DECLARE(combine);

/* ---- greedy choice --------------------------------------------------------------------------- */

/* The greatest of parts of a row of logits, then of all of it; ties go to the lower id. */
typedef struct rad_cuda_greatest {
    float value;
    uint32_t token;
    uint32_t failed; /* a logit is NaN or +infinity, or (of a row) all are -infinity */
    uint32_t reserved;
} rad_cuda_greatest;

/* First kernel (greatest_parts): grid (n_parts, n_rows), writes parts. Second (greatest): grid
 * (n_rows), writes out, and the same in the place of a row's first part. */
typedef struct rad_cuda_greatest_arguments {
    const float *logits;      /* rows `stride` apart */
    rad_cuda_greatest *parts; /* [row][n_parts] */
    rad_cuda_greatest *out;   /* [row]; may be pinned memory of the host */
    uint64_t stride;
    uint32_t n, n_parts, n_rows;
} rad_cuda_greatest_arguments;
RAD_CUDA_DECLARE(greatest_parts);
RAD_CUDA_DECLARE(greatest);

/* The best tokens of a row of logits: the greatest logits, of equal ones those of lower ids. */
#define RAD_CUDA_CANDIDATES        256
#define RAD_CUDA_CANDIDATE_BUCKETS 1024
#define RAD_CUDA_CANDIDATE_ROOM                                                                    \
    2048 /* keys that are sorted; where more would be, there is no list */

typedef struct rad_cuda_candidate {
    float logit;
    uint32_t token;
} rad_cuda_candidate;

typedef struct rad_cuda_candidates {
    uint32_t n;                                   /* 0: the logits are to be looked at */
    uint32_t all;                                 /* no other logit is above -infinity */
    double mass;                                  /* sum of e^(logit - greatest), over all */
    rad_cuda_candidate list[RAD_CUDA_CANDIDATES]; /* by rising id */
} rad_cuda_candidates;

/* Behind `greatest`. First kernel (candidate_counts): grid (n_parts, n_rows), n_parts being at most
 * 256, adds to counts, writes masses. Second (candidate_keys): the same grid, adds keys. Third
 * (candidates): grid (n_rows), writes out, and zeroes counts and n_keys, which are zero at first.
 * No order of a sum depends on the time of anything. */
typedef struct rad_cuda_candidates_arguments {
    const float *logits;            /* rows `stride` apart */
    const rad_cuda_greatest *parts; /* [row][n_parts]: the first is the row's */
    uint32_t *counts;               /* [row][RAD_CUDA_CANDIDATE_BUCKETS] */
    double *masses;                 /* [row][n_parts] */
    uint32_t *n_keys;               /* [row] */
    uint64_t *keys;                 /* [row][RAD_CUDA_CANDIDATE_ROOM] */
    rad_cuda_candidates *out;       /* [row]; may be pinned memory of the host */
    uint64_t stride;
    uint32_t n, n_parts, n_rows;
} rad_cuda_candidates_arguments;
RAD_CUDA_DECLARE(candidate_counts);
RAD_CUDA_DECLARE(candidate_keys);
RAD_CUDA_DECLARE(candidates);

/* A token drawn from all of a row: the first at which the running sum of the weights
 * e^((logit - greatest) / temperature), exact doubles, is above unit times their sum. */
typedef struct rad_cuda_draw {
    double unit;
    double temperature; /* 0: none is drawn of this row */
} rad_cuda_draw;

/* decided: sums by increasing token in double precision give this token too, however they are
 * rounded. */
typedef struct rad_cuda_drawn {
    uint32_t token, decided;
} rad_cuda_drawn;

/* Behind `greatest`. First kernel (draw_sums): grid (n_parts, n_rows), writes sums. Second (draw):
 * grid (n_rows), n_parts being at most 256, writes out. */
typedef struct rad_cuda_draw_arguments {
    const float *logits;            /* rows `stride` apart */
    const rad_cuda_greatest *parts; /* [row][n_parts]: the first is the row's */
    const rad_cuda_draw *draws;     /* [row] */
    double *sums;                   /* [row][n_parts] */
    rad_cuda_drawn *out;            /* [row]; may be pinned memory of the host */
    uint64_t stride;
    uint32_t n, n_parts, n_rows;
} rad_cuda_draw_arguments;
RAD_CUDA_DECLARE(draw_sums);
RAD_CUDA_DECLARE(draw);

#ifdef __cplusplus
}
#endif

#endif
