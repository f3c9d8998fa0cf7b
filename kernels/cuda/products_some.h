/* Products of 2 to 16 tokens by matrix instructions (kernels_products.h). A block has 16 rows; its
 * warps take different chunks of 256 columns, of 8 tokens each, so that all bytes of a row are
 * under way at the same time, and a weight is taken apart once for 8 tokens. The integer sums are
 * exact and go to shared memory; then each output's chain of multiply-adds, on a lane of its own,
 * takes them in increasing column order. */
#ifndef RAD_CUDA_PRODUCTS_SOME_H
#define RAD_CUDA_PRODUCTS_SOME_H

#include "kernels/cuda/products_few.h"
#include "kernels/cuda/products_fragment.h"

enum {
    RAD_SOME_TOKENS = 8,                                         /* of a warp */
    RAD_SOME_CHAINS = RAD_CUDA_SOME_ROWS * RAD_SOME_TOKENS,      /* of a warp's sums */
    RAD_SOME_TILE_BYTES = RAD_SOME_TOKENS * RAD_FEW_TILE_STRIDE, /* of a warp's chunk */
    RAD_SOME_WARPS = RAD_FEW_THREADS / 32
};

/* What a warp leaves for the chains: the sums of its chunk, at [sum][row][token]; the rows'
 * headers, at [word][row]; the scales and the sums of activations, at [step][token] and [8 +
 * step][token]. */
template <class F> struct some_sums {
    uint32_t words[rad_few<F>::N_SUMS * RAD_SOME_CHAINS];
    uint32_t headers[F::N_HEADER * RAD_CUDA_SOME_ROWS + (F::N_HEADER == 0 ? 4 : 0)];
    float scales[16 * RAD_SOME_TOKENS];
};

/* Where they are small there are two of them, and a chain runs while the next sums are made. */
template <class F> struct some_shared {
    enum { N_BUFFERS = rad_few<F>::N_SUMS > 2 ? 1 : 2 };
    some_sums<F> sums[N_BUFFERS][RAD_SOME_WARPS];
    uint8_t tiles[RAD_SOME_WARPS][RAD_SOME_TILE_BYTES];
    rad_u4 starts[RAD_SOME_WARPS][8 * RAD_SOME_TOKENS / 2]; /* of sums, at [step][token], twice */
};

/* What a block works on, and a warp of it. */
struct some_job {
    few_job few;
    uint32_t n_groups;        /* of 8 tokens */
    uint32_t slot;            /* the warp's chunk of those in work */
    uint32_t token, n_tokens; /* the warp's */
};

RAD_DEVICE void some_find(const rad_cuda_few_arguments &a, uint64_t chunk_bytes, some_job &job)
{
    few_find(a, chunk_bytes, job.few);
    job.n_groups = a.n_tokens > RAD_SOME_TOKENS ? 2 : 1;
    job.few.n_slots = RAD_SOME_WARPS / job.n_groups;
    job.slot = rad_warp() / job.n_groups;
    job.token = rad_warp() % job.n_groups * RAD_SOME_TOKENS;
    const uint32_t left = a.n_tokens - job.token;
    job.n_tokens = left < RAD_SOME_TOKENS ? left : (uint32_t)RAD_SOME_TOKENS;
}

/* The first tile of the lane's token: four lanes copy a tile. NULL: no such token. */
RAD_DEVICE const uint8_t *some_tiles(const some_job &job)
{
    const uint32_t token = rad_lane() / 4;
    if (token >= job.n_tokens)
        return nullptr;
    return job.few.tiles + (uint64_t)(job.token + token) * job.few.n_chunks * RAD_CUDA_TILE_BYTES;
}

/* Begins to copy this warp's tiles of a chunk. */
RAD_DEVICE void some_fetch(const uint8_t *from, uint32_t chunk, uint32_t n_chunks, uint8_t *tiles)
{
    const uint32_t token = rad_lane() / 4, first = rad_lane() % 4 * 16;
    if (from != nullptr && chunk < n_chunks) {
#pragma unroll
        for (uint32_t i = 0; i < RAD_CUDA_TILE_BYTES; i += 64)
            rad_copy_async16(tiles + token * RAD_FEW_TILE_STRIDE + first + i,
                             from + (uint64_t)chunk * RAD_CUDA_TILE_BYTES + first + i);
    }
    rad_copy_async_commit();
}

/* What goes with the tiles' quants: for the chains, and what integer sums start from. */
template <class F>
RAD_DEVICE void some_put_scales(const uint8_t *tiles, uint32_t n_tokens, float *scales,
                                rad_u4 *starts)
{
    const uint32_t token = rad_lane() % RAD_SOME_TOKENS;
    const uint8_t *tile = tiles + token * RAD_FEW_TILE_STRIDE;
    if (token >= n_tokens)
        return;
#pragma unroll
    for (uint32_t k = 0; k < 2; k++) {
        const uint32_t step = rad_lane() / RAD_SOME_TOKENS + 4 * k;
        const int32_t sum = sum_of_16(tile, 2 * (int)step) + sum_of_16(tile, 2 * (int)step + 1);
        scales[step * RAD_SOME_TOKENS + token] =
            ((const float *)(tile + RAD_CUDA_TILE_SCALES))[step];
        if constexpr (F::FAMILY == RAD_CUDA_BLOCK && F::HAS_MINIMUM)
            scales[(8 + step) * RAD_SOME_TOKENS + token] = (float)sum;
        if constexpr (F::FAMILY == RAD_CUDA_AFFINE ||
                      (F::FAMILY == RAD_CUDA_BLOCK && F::OFFSET != 0)) {
            const int32_t start =
                F::FAMILY == RAD_CUDA_AFFINE ? sum : RAD_MANY_BITS + F::OFFSET * sum;
            int32_t *at = (int32_t *)&starts[step * RAD_SOME_TOKENS / 2 + token / 2] + token % 2;
            at[0] = at[2] = start;
        }
    }
}

template <class F> RAD_DEVICE void some_put_headers(const many_row<F> w[2], uint32_t *headers)
{
    const uint32_t four = rad_lane() % 4, group = rad_lane() / 4;
    if (four != 0)
        return;
#pragma unroll
    for (int i = 0; i < F::N_HEADER; i++) {
        headers[i * RAD_CUDA_SOME_ROWS + group] = w[0].header[i];
        headers[i * RAD_CUDA_SOME_ROWS + 8 + group] = w[1].header[i];
    }
}

/* Four sums as a matrix instruction leaves them. */
RAD_DEVICE void some_put(uint32_t *words, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    const uint32_t four = rad_lane() % 4, group = rad_lane() / 4;
    rad_store8(words + group * RAD_SOME_TOKENS + 2 * four, {a, b});
    rad_store8(words + (8 + group) * RAD_SOME_TOKENS + 2 * four, {c, d});
}

/* A step of 32 columns: its sums, or more of the chunk's. b: the tokens' quants; starts: of this
 * step. */
template <class F>
RAD_DEVICE void some_add(const many_row<F> w[2], const uint32_t a[4], const uint32_t b[2], int step,
                         const rad_u4 *starts, int32_t products[4], uint32_t *words)
{
    const uint32_t four = rad_lane() % 4;
    words += step * RAD_SOME_CHAINS;
    if constexpr (F::FAMILY == RAD_CUDA_BLOCK) {
        int32_t c[4], start[4] = {RAD_MANY_BITS, RAD_MANY_BITS, RAD_MANY_BITS, RAD_MANY_BITS};
        if constexpr (F::OFFSET != 0) {
            const rad_u4 from = rad_load16(starts + four);
            start[0] = (int32_t)from.x;
            start[1] = (int32_t)from.y;
            start[2] = (int32_t)from.z;
            start[3] = (int32_t)from.w;
        }
        rad_mma_s8_to(c, start, a, b);
        some_put(words, rad_bits(rad_float((uint32_t)c[0]) - RAD_MANY_MIDDLE),
                 rad_bits(rad_float((uint32_t)c[1]) - RAD_MANY_MIDDLE),
                 rad_bits(rad_float((uint32_t)c[2]) - RAD_MANY_MIDDLE),
                 rad_bits(rad_float((uint32_t)c[3]) - RAD_MANY_MIDDLE));
    } else if constexpr (F::FAMILY == RAD_CUDA_BLOCK_16) { /* both halves fit 16 bits */
        const int32_t none[4] = {0, 0, 0, 0};
        uint32_t both[4];
        int32_t c[2][4];
#pragma unroll
        for (int k = 0; k < 2; k++)
            rad_mma_s8_half_to(c[k], none, a[2 * k], a[2 * k + 1], b[k]);
#pragma unroll
        for (int i = 0; i < 4; i++)
            both[i] = ((uint32_t)c[0][i] & 0xffffu) | (uint32_t)c[1][i] << 16;
        some_put(words, both[0], both[1], both[2], both[3]);
    } else if constexpr (F::FAMILY == RAD_CUDA_AFFINE) {
        const rad_u2 both = rad_load8(starts + four);
        rad_mma_s8(products, a, b);
#pragma unroll
        for (int i = 0; i < 4; i++)
            products[i] -= F::zero(w[i / 2].header, step) * (int32_t)(i % 2 != 0 ? both.y : both.x);
        if (step % F::SPAN != F::SPAN - 1)
            return;
        some_put(words, rad_bits((float)products[0]), rad_bits((float)products[1]),
                 rad_bits((float)products[2]), rad_bits((float)products[3]));
#pragma unroll
        for (int i = 0; i < 4; i++)
            products[i] = 0;
    } else {
        many_add_integers<F>(w, a, b, step, products);
    }
}

/* The end of a chunk that has one sum, and one of minima. */
template <class F>
RAD_DEVICE void some_end(const many_row<F> w[2], const uint8_t *tiles, int32_t products[4],
                         uint32_t *words)
{
    const uint32_t four = rad_lane() % 4, group = rad_lane() / 4;
    if constexpr (F::HAS_MINIMUM || F::OFFSET != 0) {
        const uint32_t a[4] = {many_factors<F>(w[0], four), many_factors<F>(w[1], four), 0, 0};
        uint32_t low, high;
        int32_t extra[4];
        many_split(rad_load8(tiles + group * RAD_FEW_TILE_STRIDE + RAD_CUDA_TILE_SUMS + 8 * four),
                   low, high);
        many_add_extra(a, low, high, extra);
        if constexpr (F::HAS_MINIMUM) {
            some_put(words + RAD_SOME_CHAINS, rad_bits((float)extra[0]), rad_bits((float)extra[1]),
                     rad_bits((float)extra[2]), rad_bits((float)extra[3]));
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++)
                products[i] += F::OFFSET * extra[i];
        }
    }
    if constexpr (F::FAMILY == RAD_CUDA_ROW || F::FAMILY == RAD_CUDA_INT8)
        some_put(words, (uint32_t)products[0], (uint32_t)products[1], (uint32_t)products[2],
                 (uint32_t)products[3]);
    else
        some_put(words, rad_bits((float)products[0]), rad_bits((float)products[1]),
                 rad_bits((float)products[2]), rad_bits((float)products[3]));
}

/* The sums of a warp's chunk. next: the rows in the warp's next chunk, where there is more: what it
 * needs is read as this one's is used up. */
template <class F>
RAD_DEVICE void some_multiply(many_row<F> w[2], many_place next, bool more, const uint8_t *tiles,
                              const rad_u4 *starts, uint32_t *words)
{
    const uint32_t lane = rad_lane();
    many_row<F> later[2] = {};
    int32_t products[4] = {0, 0, 0, 0};
    uint32_t b[4];
    if (more)
        many_load<F>(later, next);
#pragma unroll
    for (int step = 0; step < 8; step++) {
        uint32_t a[4];
        many_fragment<F>(w, (int)(lane % 4), step, a);
        if (more)
            many_refill<F>(w, next, step);
        if (step % 2 == 0) /* both halves of two steps */
            rad_ldmatrix_x4(b, tiles + lane % 8 * RAD_FEW_TILE_STRIDE + step * 32 + lane / 8 * 16);
        some_add<F>(w, a, b + step % 2 * 2, step, starts + step * (RAD_SOME_TOKENS / 2), products,
                    words);
    }
    if constexpr (F::FAMILY != RAD_CUDA_BLOCK && F::FAMILY != RAD_CUDA_BLOCK_16 &&
                  F::FAMILY != RAD_CUDA_AFFINE)
        some_end<F>(w, tiles, products, words);
    many_take<F>(w[0], later[0]);
    many_take<F>(w[1], later[1]);
}

/* One more chunk of a chain. */
template <class F, bool WHOLE>
RAD_DEVICE void some_chain(few_chain &chain, const some_sums<F> &of, uint32_t chain_at,
                           uint32_t steps)
{
    const uint32_t token = chain_at % RAD_SOME_TOKENS, row = chain_at / RAD_SOME_TOKENS;
    few_add<F, RAD_SOME_CHAINS, RAD_CUDA_SOME_ROWS, RAD_SOME_TOKENS, WHOLE>(
        chain, of.words + chain_at, of.headers + row, of.scales + token,
        of.scales + 8 * RAD_SOME_TOKENS + token, steps);
}

template <class F> RAD_DEVICE void some_product(const rad_cuda_few_arguments &a)
{
    some_shared<F> &shared = *(some_shared<F> *)rad_dynamic_shared();
    const uint32_t thread = rad_thread(), warp = rad_warp(), n_steps = a.n_columns / 32;
    const uint64_t chunk_stride = (uint64_t)F::CHUNK_BYTES * RAD_CUDA_GROUP_ROWS;
    some_job job;
    some_find(a, F::CHUNK_BYTES, job);
    const uint32_t n_chunks = job.few.n_chunks, n_slots = job.few.n_slots;
    uint8_t *tiles = shared.tiles[warp];
    rad_u4 *starts = shared.starts[warp];
    many_place at = many_place_at({job.few.group + job.slot * chunk_stride,
                                   job.few.first_row % RAD_CUDA_GROUP_ROWS + rad_lane() / 4});
    many_row<F> w[2] = {};
    if (job.slot < n_chunks) {
        many_load<F>(w, at);
        many_refill<F>(w, at, -1);
    }
    if (job.token == 0)
        for (uint32_t chunk = job.slot + n_slots; chunk < n_chunks; chunk += n_slots)
            prefetch_rows<F>(job.few.group + chunk * chunk_stride,
                             job.few.first_row % RAD_CUDA_GROUP_ROWS, RAD_CUDA_SOME_ROWS);
    rad_wait_for_earlier();
    const uint8_t *from = some_tiles(job);
    some_fetch(from, job.slot, n_chunks, tiles);
    /* Thread t has the chain of token t % 8 of 8 and of row t / 8 of 16. */
    const uint32_t chain_group = thread / RAD_SOME_CHAINS, chain_at = thread % RAD_SOME_CHAINS;
    const uint32_t chain_token = chain_at % RAD_SOME_TOKENS, chain_row = chain_at / RAD_SOME_TOKENS;
    const uint32_t token = chain_group * RAD_SOME_TOKENS + chain_token;
    few_chain chain = {0.0f, 0};
    for (uint32_t first = 0, round = 0; first < n_chunks; first += n_slots, round++) {
        const uint32_t chunk = first + job.slot;
        const uint32_t n = n_chunks - first < n_slots ? n_chunks - first : n_slots;
        const uint32_t buffer = round % some_shared<F>::N_BUFFERS;
        some_sums<F> &to = shared.sums[buffer][warp];
        rad_copy_async_wait(0);
        rad_warp_barrier();
        if (chunk < n_chunks) {
            some_put_scales<F>(tiles, job.n_tokens, to.scales, starts);
            some_put_headers<F>(w, to.headers);
            rad_warp_barrier();
            many_advance(at, n_slots * chunk_stride);
            some_multiply<F>(w, at, chunk + n_slots < n_chunks, tiles, starts, to.words);
        }
        rad_warp_barrier();
        some_fetch(from, chunk + n_slots, n_chunks, tiles);
        rad_barrier();
        if (token < a.n_tokens) {
            const uint32_t whole = few_whole(n_steps, first, n);
            const some_sums<F> *of = &shared.sums[buffer][chain_group];
#pragma unroll(rad_few <F>::N_SUMS > 2 ? 2 : 4)
            for (uint32_t c = 0; c < whole; c++, of += job.n_groups)
                some_chain<F, true>(chain, *of, chain_at, 8);
            if (whole < n)
                some_chain<F, false>(chain, *of, chain_at, n_steps % 8);
        }
        if constexpr (some_shared<F>::N_BUFFERS == 1)
            rad_barrier();
    }
    const uint32_t row = job.few.first_row + chain_row;
    if (token < a.n_tokens && row < job.few.part->n_rows) {
        if constexpr (F::FAMILY == RAD_CUDA_ROW)
            chain.sum *= (float)chain.whole;
        if constexpr (F::FAMILY == RAD_CUDA_INT8)
            chain.sum = int8_output(
                {job.few.group, row % RAD_CUDA_GROUP_ROWS},
                job.few.tiles + (uint64_t)token * n_chunks * RAD_CUDA_TILE_BYTES, a.n_columns,
                a.x + (job.few.first_input + token) * a.x_stride, chain.sum, chain.whole);
        finish_product(*job.few.part, job.few.expert, (uint64_t)job.few.first_output + token, row,
                       chain.sum);
    }
    go_on_behind(a);
}

#define RAD_SOME_BLOCKS(name, format, blocks)                                                      \
    RAD_CUDA_KERNEL_EARLY_BLOCKS(some_##name, RAD_FEW_THREADS, blocks, rad_cuda_few_arguments, a)  \
    {                                                                                              \
        static_assert(sizeof(some_shared<format>) ==                                               \
                          RAD_CUDA_SOME_BYTES(rad_few<format>::N_SUMS, format::N_HEADER),          \
                      "the launch must give as much");                                             \
        some_product<format>(a);                                                                   \
    }
#define RAD_SOME(name, format)        RAD_SOME_BLOCKS(name, format, 3)
#define RAD_SOME_OF_TWO(name, format) RAD_SOME_BLOCKS(name, format, 2) /* else some is spilled */

#endif
