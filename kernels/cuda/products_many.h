/* Products of many tokens by matrix instructions (kernels_products.h): the sums of 32 columns are
 * exact integers, and each output's chain of multiply-adds runs in increasing column order in the
 * thread that holds it, so that the bits are those of few tokens.
 *
 * A block has 64 rows and 64 tokens, a warp 16 and 32. It reads its rows' codes straight from
 * memory: a thread needs the words i and i + 4 of a step of two rows, i being its place among four
 * threads, and a word of each section gives them. Activations go through shared memory, in two
 * buffers of a chunk. What the next chunk needs is under way while one is multiplied. */
#ifndef RAD_CUDA_PRODUCTS_MANY_H
#define RAD_CUDA_PRODUCTS_MANY_H

#include "kernels/cuda/products_fragment.h"

enum {
    RAD_MANY_THREADS = 256,
    RAD_MANY_TILES = 4,                   /* of 8 tokens, of a warp */
    RAD_MANY_STRIDE = RAD_CUDA_CHUNK + 16 /* of a token's quants: rows meet different banks */
};

/* The scale of steps behind the last column: minus zero. Their weights are zeros, so that minus
 * zero is added, which leaves a sum as it is (zero would not leave -0), and chains need no end. */
#define RAD_MANY_NOTHING 0x80000000u

/* One buffer of activations of a chunk. What goes with a block is at [step][token]; what goes with
 * a chunk, at [token]. */
struct many_blocks {
    uint8_t quants[RAD_CUDA_MANY_TOKENS * RAD_MANY_STRIDE];
    rad_u2 steps[8 * RAD_CUDA_MANY_TOKENS]; /* two floats: the scale, and see RAD_MANY_MIDDLE */
};
struct many_chunk {
    uint8_t quants[RAD_CUDA_MANY_TOKENS * RAD_MANY_STRIDE];
    float scales[RAD_CUDA_MANY_TOKENS];
    rad_u4 low[RAD_CUDA_MANY_TOKENS]; /* the sums of 16 columns: six bits, and those above */
    rad_u4 high[RAD_CUDA_MANY_TOKENS];
};

/* The matrix, the tokens. */
struct many_job {
    const rad_cuda_product_part *part;
    const uint8_t *group;    /* of the warp's rows */
    uint32_t row, token;     /* the warp's first */
    uint32_t first_of_group; /* that row in its group */
    uint32_t n_chunks, n_steps;
    uint32_t expert, first, n_tokens; /* outputs of this block */
};

RAD_DEVICE bool many_find(const rad_cuda_many_arguments &a, uint64_t chunk_bytes, many_job &job)
{
    const uint32_t block = rad_block_x();
    uint32_t p = 0, last = a.n_tokens;
    while (p + 1 < a.n_parts && block >= a.parts[p + 1].first_block)
        p++;
    job.part = &a.parts[p];
    job.n_chunks = (a.n_columns + RAD_CUDA_CHUNK - 1) / RAD_CUDA_CHUNK;
    job.n_steps = a.n_columns / 32;
    job.first = rad_block_y() * RAD_CUDA_MANY_TOKENS;
    job.expert = 0;
    if (a.tile_expert != nullptr) { /* which kernels before this one have chosen */
        rad_wait_for_earlier();
        if (rad_block_y() >= *a.n_tiles)
            return false;
        job.expert = a.tile_expert[rad_block_y()];
        job.first = a.tile_first[rad_block_y()];
        last = a.starts[job.expert + 1];
    }
    job.n_tokens =
        last - job.first < RAD_CUDA_MANY_TOKENS ? last - job.first : (uint32_t)RAD_CUDA_MANY_TOKENS;
    job.row = (block - job.part->first_block) * RAD_CUDA_MANY_ROWS + rad_warp() % 4 * 16;
    job.token = rad_warp() / 4 * (8 * RAD_MANY_TILES);
    /* A warp behind the last row reads the first one's, for nothing. */
    const uint32_t row = job.row < job.part->n_rows ? job.row : 0;
    job.first_of_group = row % RAD_CUDA_GROUP_ROWS;
    job.group =
        job.part->weights + job.expert * job.part->expert_bytes +
        (uint64_t)(row / RAD_CUDA_GROUP_ROWS) * job.n_chunks * chunk_bytes * RAD_CUDA_GROUP_ROWS;
    return true;
}

/* Chains of multiply-adds that go on within a chunk. */
template <class F> struct many_is_blocks {
    enum {
        value = F::FAMILY == RAD_CUDA_BLOCK || F::FAMILY == RAD_CUDA_BLOCK_16 ||
                F::FAMILY == RAD_CUDA_AFFINE
    };
};

/* ---- activations ------------------------------------------------------------------------------
 */

/* A thread copies a quarter of a token's quants. Begins to do so for the next chunk; `tile` is that
 * chunk's of the thread's token, NULL where there is none. */
RAD_DEVICE void many_fetch(const uint8_t *tile, uint8_t *quants)
{
    const uint32_t token = rad_thread() / 4, i = rad_thread() % 4;
    if (tile != nullptr) {
#pragma unroll
        for (uint32_t k = 0; k < 4; k++)
            rad_copy_async16(quants + token * RAD_MANY_STRIDE + (4 * k + i) * 16,
                             tile + (4 * k + i) * 16);
    }
    rad_copy_async_commit();
}

RAD_DEVICE uint32_t many_input(const rad_cuda_many_arguments &a, uint32_t output)
{
    return a.inputs != nullptr ? a.inputs[output] : output;
}

/* The first tile of the thread's token. */
RAD_DEVICE const uint8_t *many_first_tile(const rad_cuda_many_arguments &a, const many_job &job)
{
    const uint32_t token = rad_thread() / 4, output = job.first + token;
    if (token >= job.n_tokens)
        return nullptr;
    return a.tiles + (uint64_t)many_input(a, output) * job.n_chunks * RAD_CUDA_TILE_BYTES;
}

/* What goes with the quants is read early and written late: of two steps of a token by a thread. */
template <class F> struct many_beside_blocks {
    rad_u2 sums;
    float scales[2];
    RAD_MEMBER void take(const uint8_t *tile)
    {
        const uint32_t i = rad_thread() % 4;
        if (tile == nullptr)
            return;
        sums = rad_load8(tile + RAD_CUDA_TILE_SUMS + 8 * i);
        const rad_u2 both = rad_load8(tile + RAD_CUDA_TILE_SCALES + 8 * i);
        scales[0] = rad_float(both.x);
        scales[1] = rad_float(both.y);
    }
    RAD_MEMBER void put(many_blocks &to, uint32_t n_steps) const
    {
        const uint32_t token = rad_thread() / 4, i = rad_thread() % 4;
        const uint32_t pairs[2] = {sums.x, sums.y};
#pragma unroll
        for (uint32_t k = 0; k < 2; k++) {
            const int32_t sum = (int16_t)pairs[k] + ((int32_t)pairs[k] >> 16);
            to.steps[(2 * i + k) * RAD_CUDA_MANY_TOKENS + token] = {
                2 * i + k < n_steps ? rad_bits(scales[k]) : RAD_MANY_NOTHING,
                F::FAMILY == RAD_CUDA_AFFINE ? (uint32_t)sum
                : F::HAS_MINIMUM             ? rad_bits((float)sum)
                                 : rad_bits(RAD_MANY_MIDDLE - (float)(F::OFFSET * sum))};
        }
    }
};

template <class F> struct many_beside_chunk {
    rad_u2 sums;
    float scale;
    RAD_MEMBER void take(const uint8_t *tile)
    {
        const uint32_t i = rad_thread() % 4;
        if (tile == nullptr)
            return;
        sums = rad_load8(tile + RAD_CUDA_TILE_SUMS + 8 * i);
        scale = *(const float *)(tile + RAD_CUDA_TILE_SCALES);
    }
    RAD_MEMBER void put(many_chunk &to, uint32_t) const
    {
        const uint32_t token = rad_thread() / 4, i = rad_thread() % 4;
        uint32_t low, high;
        many_split(sums, low, high);
        ((uint32_t *)&to.low[token])[i] = low;
        ((uint32_t *)&to.high[token])[i] = high;
        if (i == 0)
            to.scales[token] = scale;
    }
};

/* The fragments of two times 8 tokens of a step: b[0], b[1] and b[2], b[3]. */
RAD_DEVICE void many_tokens(const uint8_t *quants, int step, int pair, uint32_t b[4])
{
    const uint32_t lane = rad_lane(), token = (uint32_t)pair * 16 + lane / 16 * 8 + lane % 8;
    rad_ldmatrix_x4(b, quants + token * RAD_MANY_STRIDE + step * 32 + lane / 8 % 2 * 16);
}

/* ---- sums -------------------------------------------------------------------------------------
 */

/* Outputs of a thread: [8 tokens][rows i, i + 8 times two tokens], as a matrix instruction has
 * them. */
struct many_outputs {
    float sums[RAD_MANY_TILES][4];
    int32_t products[RAD_MANY_TILES][4];
};

/* Blocks: a step of 32 (or two of 16) columns of 8 tokens ends in the chains. b: the tokens'
 * quants; t: their scales, and what many_beside_blocks puts beside them. */
template <class F>
RAD_DEVICE void many_add_step(const many_row<F> w[2], const uint32_t a[4], const uint32_t b[2],
                              rad_u4 t, int step, float sums[4])
{
    const float scales[2] = {rad_float(t.x), rad_float(t.z)};
    const float others[2] = {rad_float(t.y), rad_float(t.w)};
    const int32_t middle[4] = {RAD_MANY_BITS, RAD_MANY_BITS, RAD_MANY_BITS, RAD_MANY_BITS};
    if constexpr (F::FAMILY == RAD_CUDA_BLOCK_16) {
#pragma unroll
        for (int k = 0; k < 2; k++) {
            int32_t c[4];
            rad_mma_s8_half_to(c, middle, a[2 * k], a[2 * k + 1], b[k]);
#pragma unroll
            for (int i = 0; i < 4; i++)
                sums[i] = rad_fma(F::scale(w[i / 2].header, 2 * step + k) * scales[i % 2],
                                  rad_float((uint32_t)c[i]) - RAD_MANY_MIDDLE, sums[i]);
        }
    } else {
        int32_t c[4];
        rad_mma_s8_to(c, middle, a, b);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float product =
                rad_float((uint32_t)c[i]) - (F::OFFSET != 0 ? others[i % 2] : RAD_MANY_MIDDLE);
            sums[i] = rad_fma(F::scale(w[i / 2].header, step) * scales[i % 2], product, sums[i]);
            if constexpr (F::HAS_MINIMUM)
                sums[i] = rad_fma(F::minimum(w[i / 2].header, step) * scales[i % 2], others[i % 2],
                                  sums[i]);
        }
    }
}

/* The same with zeros: `products` go on over F::SPAN steps. */
template <class F>
RAD_DEVICE void many_add_affine(const many_row<F> w[2], const uint32_t a[4], const uint32_t b[2],
                                rad_u4 t, int step, int32_t products[4], float sums[4])
{
    const float scales[2] = {rad_float(t.x), rad_float(t.z)};
    const int32_t others[2] = {(int32_t)t.y, (int32_t)t.w};
    rad_mma_s8(products, a, b);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        products[i] -= F::zero(w[i / 2].header, step) * others[i % 2];
        if (step % F::SPAN == F::SPAN - 1) {
            sums[i] = rad_fma(F::scale(w[i / 2].header, step) * scales[i % 2], (float)products[i],
                              sums[i]);
            products[i] = 0;
        }
    }
}

/* The end of a chunk: sub-minima or offsets times sums, then the chains. ROW goes on with the same
 * integers. */
template <class F>
RAD_DEVICE void many_add_chunk(const many_row<F> w[2], const many_chunk &x, uint32_t first,
                               many_outputs &y)
{
    const uint32_t four = rad_lane() % 4, group = rad_lane() / 4;
    const uint32_t a[4] = {many_factors<F>(w[0], four), many_factors<F>(w[1], four), 0, 0};
#pragma unroll
    for (int tile = 0; tile < RAD_MANY_TILES; tile++) {
        int32_t extra[4] = {0, 0, 0, 0};
        if constexpr (F::HAS_MINIMUM || F::OFFSET != 0) {
            const uint32_t token = first + (uint32_t)tile * 8 + group;
            many_add_extra(a, ((const uint32_t *)&x.low[token])[four],
                           ((const uint32_t *)&x.high[token])[four], extra);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float scale = x.scales[first + (uint32_t)(tile * 8 + i % 2) + 2 * four];
            if constexpr (!F::HAS_MINIMUM && F::OFFSET != 0)
                y.products[tile][i] += F::OFFSET * extra[i];
            if constexpr (F::FAMILY == RAD_CUDA_ROW || F::FAMILY == RAD_CUDA_INT8) {
                y.sums[tile][i] = scale;
                continue;
            } else {
                y.sums[tile][i] = rad_fma(F::scale(w[i / 2].header) * scale,
                                          (float)y.products[tile][i], y.sums[tile][i]);
                if constexpr (F::HAS_MINIMUM)
                    y.sums[tile][i] = rad_fma(F::minimum(w[i / 2].header) * scale, (float)extra[i],
                                              y.sums[tile][i]);
                y.products[tile][i] = 0;
            }
        }
    }
}

template <class F, bool> struct many_types {
    typedef many_blocks buffer;
    typedef many_beside_blocks<F> beside;
};
template <class F> struct many_types<F, false> {
    typedef many_chunk buffer;
    typedef many_beside_chunk<F> beside;
};

/* A step of 8 tokens. */
template <class F, class B>
RAD_DEVICE void many_add_tile(const many_row<F> w[2], const uint32_t fragment[4],
                              const uint32_t b[2], const B &x, uint32_t token, int step, int tile,
                              many_outputs &y)
{
    if constexpr (many_is_blocks<F>::value) {
        const rad_u4 t = rad_load16(&x.steps[(uint32_t)step * RAD_CUDA_MANY_TOKENS + token +
                                             (uint32_t)tile * 8 + rad_lane() % 4 * 2]);
        if constexpr (F::FAMILY == RAD_CUDA_AFFINE)
            many_add_affine<F>(w, fragment, b, t, step, y.products[tile], y.sums[tile]);
        else
            many_add_step<F>(w, fragment, b, t, step, y.sums[tile]);
    } else {
        many_add_integers<F>(w, fragment, b, step, y.products[tile]);
    }
}

/* A chunk. Steps that are not there add nothing: see RAD_MANY_NOTHING. */
template <class F, class B>
RAD_DEVICE void many_add(const many_job &job, many_row<F> w[2], many_place next, const B &x,
                         many_outputs &y)
{
    const uint8_t *quants = x.quants + job.token * RAD_MANY_STRIDE;
    uint32_t b[4];
#pragma unroll
    for (int step = 0; step < 8; step++) {
        uint32_t fragment[4];
        many_fragment<F>(w, (int)(rad_lane() % 4), step, fragment);
        many_refill<F>(w, next, step);
#pragma unroll
        for (int tile = 0; tile < RAD_MANY_TILES; tile++) {
            if (tile % 2 == 0)
                many_tokens(quants, step, tile / 2, b);
            many_add_tile<F>(w, fragment, b + tile % 2 * 2, x, job.token, step, tile, y);
        }
    }
    if constexpr (!many_is_blocks<F>::value)
        many_add_chunk<F>(w, x, job.token, y);
}

template <class F>
RAD_DEVICE void many_write(const rad_cuda_many_arguments &a, const many_job &job,
                           const many_outputs &y_of)
{
    const uint32_t four = rad_lane() % 4, group = rad_lane() / 4;
#pragma unroll
    for (int tile = 0; tile < RAD_MANY_TILES; tile++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const uint32_t token = job.token + (uint32_t)(tile * 8 + i % 2) + 2 * four;
            const uint32_t row = job.row + group + (uint32_t)i / 2 * 8;
            float y = y_of.sums[tile][i];
            if (token >= job.n_tokens || row >= job.part->n_rows)
                continue;
            if constexpr (F::FAMILY == RAD_CUDA_ROW)
                y *= (float)y_of.products[tile][i];
            if constexpr (F::FAMILY == RAD_CUDA_INT8) {
                const uint64_t input = many_input(a, job.first + token);
                y = int8_output({job.group, row % RAD_CUDA_GROUP_ROWS},
                                a.tiles + input * job.n_chunks * RAD_CUDA_TILE_BYTES, a.n_columns,
                                a.x + input * a.x_stride, y, y_of.products[tile][i]);
            }
            finish_product(*job.part, job.expert, (uint64_t)job.first + token, row, y);
        }
    }
}

template <class F> RAD_DEVICE void many_product(const rad_cuda_many_arguments &a)
{
    typedef many_types<F, many_is_blocks<F>::value> types;
    RAD_SHARED(typename types::buffer, buffers, 2);
    many_job job;
    if (!many_find(a, F::CHUNK_BYTES, job))
        return;
    many_row<F> w[2] = {}, next[2] = {};
    typename types::beside beside = {};
    many_outputs y = {};
    many_place at = many_place_at({job.group, job.first_of_group + rad_lane() / 4});
    const bool idle = job.token >= job.n_tokens; /* the whole warp */
    if (!idle) {
        many_load<F>(w, at);
        many_refill<F>(w, at, -1);
    }
    rad_wait_for_earlier();
    const uint8_t *tile = many_first_tile(a, job);
    many_fetch(tile, buffers[0].quants);
    beside.take(tile);
    beside.put(buffers[0], job.n_steps);
    for (uint32_t chunk = 0; chunk < job.n_chunks; chunk++) {
        const bool more = chunk + 1 < job.n_chunks;
        tile = tile != nullptr && more ? tile + RAD_CUDA_TILE_BYTES : nullptr;
        /* The last one is read twice. */
        many_advance(at, more ? F::CHUNK_BYTES * RAD_CUDA_GROUP_ROWS : 0);
        rad_copy_async_wait(0);
        rad_barrier(); /* the chunk is there, and nobody reads the one before */
        many_fetch(tile, buffers[(chunk + 1) % 2].quants);
        beside.take(tile);
        if (!idle) {
            many_load<F>(next, at);
            many_add<F>(job, w, at, buffers[chunk % 2], y);
        }
        beside.put(buffers[(chunk + 1) % 2], job.n_steps - (chunk + 1) * 8);
        many_take<F>(w[0], next[0]);
        many_take<F>(w[1], next[1]);
    }
    many_write<F>(a, job, y);
}

#define RAD_MANY(name, format)                                                                     \
    RAD_CUDA_KERNEL_EARLY(many_##name, RAD_MANY_THREADS, rad_cuda_many_arguments, a)               \
    {                                                                                              \
        many_product<format>(a);                                                                   \
    }
/* Where ptxas else keeps to so few registers that more than a few are spilled. */
#define RAD_MANY_OF_ONE(name, format)                                                              \
    RAD_CUDA_KERNEL_EARLY_BLOCKS(many_##name, RAD_MANY_THREADS, 1, rad_cuda_many_arguments, a)     \
    {                                                                                              \
        many_product<format>(a);                                                                   \
    }

#endif
