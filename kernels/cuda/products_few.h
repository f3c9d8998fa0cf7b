/* Products of up to 8 tokens (kernels_products.h). A lane of a warp is a row; the warps of a block,
 * and parts of a warp where a block has fewer than 32 rows, take different chunks of 256 columns,
 * so that all of a row's bytes are under way at the same time. The integer sums are exact and go to
 * shared memory; then a lane for each row adds them up in increasing column order, as the CPU does.
 * That is done for one token while the others' sums are made: token t's chain runs on warp t. */
#ifndef RAD_CUDA_PRODUCTS_FEW_H
#define RAD_CUDA_PRODUCTS_FEW_H

#include "kernels/cuda/formats.h"
#include "kernels/cuda/products_behind.h"
#include "kernels/cuda/products_heads.h"
#include "kernels/cuda/products_normed.h"

/* What a chunk of a row comes to for one token: words that go to shared memory, by family. */
template <class F> struct rad_few {
    enum {
        N_SUMS = F::FAMILY == RAD_CUDA_BLOCK || F::FAMILY == RAD_CUDA_BLOCK_16 ||
                         F::FAMILY == RAD_CUDA_AFFINE
                     ? 8
                 : F::FAMILY == RAD_CUDA_SUPER && F::HAS_MINIMUM ? 2
                                                                 : 1,
        N_WORDS = N_SUMS + F::N_HEADER, /* sums, header */
        N_CODES = 4 * (F::N_LANE + F::N_WHOLE)
    };
};

/* Words i and i + 4 of a step, from all words of a row's sections. */
template <class F> struct rad_row_view {
    const uint32_t *words, *h;
    int i;
    RAD_MEMBER uint32_t lane(int section) const
    {
        return words[4 * section + i];
    }
    RAD_MEMBER uint32_t whole(int section, int word) const
    {
        return words[4 * (F::N_LANE + section) + word];
    }
    RAD_MEMBER uint32_t header(int word) const
    {
        return h[word];
    }
};

template <class F> struct rad_few_weights {
    uint32_t codes[rad_few<F>::N_CODES];
    uint32_t header[F::N_HEADER > 0 ? F::N_HEADER : 1];
};

template <class F> RAD_DEVICE void few_load(rad_few_weights<F> &w, rad_weights_row at)
{
#pragma unroll
    for (int s = 0; s < F::N_LANE + F::N_WHOLE; s++) {
        rad_u4 v = rad_load16_once(section_at(at, (uint32_t)s * 16, 16));
        w.codes[4 * s] = v.x;
        w.codes[4 * s + 1] = v.y;
        w.codes[4 * s + 2] = v.z;
        w.codes[4 * s + 3] = v.w;
    }
    F::load_header(at, w.header);
}

/* Of a step: the sums of quants times activations, of each half. */
template <class F>
RAD_DEVICE void few_step(const rad_few_weights<F> &w, const uint8_t *tile, int step,
                         int32_t half[2])
{
    const rad_u4 x0 = rad_load16(tile + 32 * step), x1 = rad_load16(tile + 32 * step + 16);
    const uint32_t x[8] = {x0.x, x0.y, x0.z, x0.w, x1.x, x1.y, x1.z, x1.w};
    half[0] = F::OFFSET != 0 ? F::OFFSET * sum_of_16(tile, 2 * step) : 0;
    half[1] = F::OFFSET != 0 ? F::OFFSET * sum_of_16(tile, 2 * step + 1) : 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        uint32_t low, high;
        const rad_row_view<F> view = {w.codes, w.header, i};
        F::codes(view, step, low, high);
        half[0] = rad_dp4a((int32_t)low, (int32_t)x[i], half[0]);
        half[1] = rad_dp4a((int32_t)high, (int32_t)x[4 + i], half[1]);
    }
}

/* The sums of a chunk of 256 columns, to out[i * RAD_FEW_THREADS]. */
template <class F>
RAD_DEVICE void few_sums(const rad_few_weights<F> &w, const uint8_t *tile, uint32_t *out)
{
    int32_t products = 0, minima = 0;
#pragma unroll
    for (int step = 0; step < 8; step++) {
        int32_t half[2];
        few_step<F>(w, tile, step, half);
        if constexpr (F::FAMILY == RAD_CUDA_BLOCK) {
            out[step * RAD_FEW_THREADS] = rad_bits((float)(half[0] + half[1]));
        } else if constexpr (F::FAMILY == RAD_CUDA_BLOCK_16) { /* both fit 16 bits */
            out[step * RAD_FEW_THREADS] = ((uint32_t)half[0] & 0xffffu) | (uint32_t)half[1] << 16;
        } else if constexpr (F::FAMILY == RAD_CUDA_AFFINE) {
            products += half[0] + half[1];
            products -= F::zero(w.header, step) *
                        (sum_of_16(tile, 2 * step) + sum_of_16(tile, 2 * step + 1));
            if (step % F::SPAN == F::SPAN - 1) {
                out[step * RAD_FEW_THREADS] = rad_bits((float)products);
                products = 0;
            }
        } else if constexpr (F::FAMILY == RAD_CUDA_SUPER) {
            if constexpr (F::SUB == 32)
                products += F::sub_scale(w.header, step) * (half[0] + half[1]);
            else
                products += F::sub_scale(w.header, 2 * step) * half[0] +
                            F::sub_scale(w.header, 2 * step + 1) * half[1];
            if constexpr (F::HAS_MINIMUM && F::SUB == 32)
                minima += F::sub_minimum(w.header, step) *
                          (sum_of_16(tile, 2 * step) + sum_of_16(tile, 2 * step + 1));
            else if constexpr (F::HAS_MINIMUM)
                minima += F::sub_minimum(w.header, 2 * step) * sum_of_16(tile, 2 * step) +
                          F::sub_minimum(w.header, 2 * step + 1) * sum_of_16(tile, 2 * step + 1);
        } else {
            products += half[0] + half[1];
        }
    }
    if constexpr (F::FAMILY == RAD_CUDA_SUPER || F::FAMILY == RAD_CUDA_TERNARY)
        out[0] = rad_bits((float)products);
    if constexpr (F::FAMILY == RAD_CUDA_ROW || F::FAMILY == RAD_CUDA_INT8)
        out[0] = (uint32_t)products;
    if constexpr (F::FAMILY == RAD_CUDA_SUPER && F::HAS_MINIMUM)
        out[RAD_FEW_THREADS] = rad_bits((float)minima);
}

/* A row's chain so far: a float, or (ROW, INT8) an integer and the scale of activations. */
struct few_chain {
    float sum;
    int32_t whole;
};

/* A step of a chain that goes on within a chunk. scale, sum: of activations. */
template <class F>
RAD_DEVICE void few_add_step(few_chain &chain, const uint32_t *h, int step, uint32_t word,
                             float scale, float sum)
{
    if constexpr (F::FAMILY == RAD_CUDA_BLOCK_16) {
        chain.sum = rad_fma(F::scale(h, 2 * step) * scale, (float)(int16_t)word, chain.sum);
        chain.sum =
            rad_fma(F::scale(h, 2 * step + 1) * scale, (float)((int32_t)word >> 16), chain.sum);
    } else {
        chain.sum = rad_fma(F::scale(h, step) * scale, rad_float(word), chain.sum);
        if constexpr (F::FAMILY == RAD_CUDA_BLOCK && F::HAS_MINIMUM)
            chain.sum = rad_fma(F::minimum(h, step) * scale, sum, chain.sum);
    }
}

/* Steps that share a scale of activations, if chains go on within a chunk; else 0. */
template <class F> struct few_span {
    enum { value = F::FAMILY == RAD_CUDA_BLOCK || F::FAMILY == RAD_CUDA_BLOCK_16 ? 1 : 0 };
};
template <int BITS, int ELEMENTS> struct few_span<rad_format_affine<BITS, ELEMENTS>> {
    enum { value = rad_format_affine<BITS, ELEMENTS>::SPAN };
};

/* One more chunk of `steps` steps: the row's sums as few_sums() left them, its header, the
 * activations' scales and sums; of each the numbers are so many words apart. All is read before the
 * chain needs it. Only a row's last chunk can be short of the 8 steps that else are WHOLE. */
template <class F, uint32_t WORDS, uint32_t HEADERS, uint32_t SCALES, bool WHOLE>
RAD_DEVICE void few_add(few_chain &chain, const uint32_t *words, const uint32_t *header,
                        const float *scales, const float *sums, uint32_t steps)
{
    constexpr int span = few_span<F>::value;
    uint32_t h[F::N_HEADER > 0 ? F::N_HEADER : 1];
#pragma unroll
    for (int i = 0; i < F::N_HEADER; i++)
        h[i] = header[i * HEADERS];
    if constexpr (span != 0) {
        constexpr bool has_sums = F::FAMILY == RAD_CUDA_BLOCK && F::HAS_MINIMUM;
        uint32_t word[8];
        float scale[8], sum[8];
#pragma unroll
        for (int step = span - 1; step < 8; step += span) {
            word[step] = words[step * WORDS];
            scale[step] = scales[step * SCALES];
            sum[step] = has_sums ? sums[step * SCALES] : 0.0f;
        }
#pragma unroll
        for (int step = span - 1; step < 8; step += span)
            if (WHOLE || (uint32_t)step < steps)
                few_add_step<F>(chain, h, step, word[step], scale[step], sum[step]);
    } else if constexpr (F::FAMILY == RAD_CUDA_ROW || F::FAMILY == RAD_CUDA_INT8) {
        chain.whole += (int32_t)words[0];
        chain.sum = scales[0];
    } else {
        chain.sum = rad_fma(F::scale(h) * scales[0], rad_float(words[0]), chain.sum);
        if constexpr (F::FAMILY == RAD_CUDA_SUPER && F::HAS_MINIMUM)
            chain.sum = rad_fma(F::minimum(h) * scales[0], rad_float(words[WORDS]), chain.sum);
    }
}

/* How many of n chunks from `first` on have 8 steps. */
RAD_DEVICE uint32_t few_whole(uint32_t n_steps, uint32_t first, uint32_t n)
{
    const uint32_t whole = n_steps / 8 - first;
    return whole < n ? whole : n;
}

/* Shared memory, all of it twice, since a chain runs while the next sums are made: the sums of all
 * threads (by phase: a round of chunks and a token), the headers (by round); for each slot (a chunk
 * in work) 16 floats, the scales and the sums of activations; the slots' tiles. */
template <class F> struct few_shared {
    uint32_t *sums[2], *headers[2];
    float *scales[2];
    uint8_t *tiles[2];
};

template <class F> RAD_DEVICE uint32_t few_shared_bytes(uint32_t n_slots)
{
    return 2 * (rad_few<F>::N_WORDS * RAD_FEW_THREADS * 4 + n_slots * (64 + RAD_FEW_TILE_STRIDE));
}

template <class F> RAD_DEVICE few_shared<F> few_shared_at(uint8_t *bytes, uint32_t n_slots)
{
    few_shared<F> s;
    for (int i = 0; i < 2; i++) {
        s.sums[i] = (uint32_t *)bytes;
        s.headers[i] = s.sums[i] + rad_few<F>::N_SUMS * RAD_FEW_THREADS;
        bytes += rad_few<F>::N_WORDS * RAD_FEW_THREADS * 4;
    }
    for (int i = 0; i < 2; i++) {
        s.scales[i] = (float *)bytes;
        bytes += n_slots * 64;
    }
    for (int i = 0; i < 2; i++) {
        s.tiles[i] = bytes;
        bytes += n_slots * RAD_FEW_TILE_STRIDE;
    }
    return s;
}

/* What a block works on. */
struct few_job {
    const rad_cuda_product_part *part;
    const uint8_t *group; /* the weights of the 32 rows around */
    const uint8_t *tiles; /* of the first token */
    uint32_t n_chunks, n_slots;
    uint32_t first_row, expert;
    uint32_t first_input, first_output; /* rows of the first token */
};

/* Begins to copy this warp's tiles of a token for a round. */
RAD_DEVICE void few_fetch(const few_job &job, uint32_t round, uint32_t token, uint8_t *tiles)
{
    const uint32_t per_warp = job.n_slots / 8, pieces = RAD_CUDA_TILE_BYTES / 16;
    const uint32_t first = rad_warp() * per_warp;
    for (uint32_t i = rad_lane(); i < per_warp * pieces; i += 32) {
        const uint32_t slot = first + i / pieces, chunk = round * job.n_slots + slot;
        if (chunk < job.n_chunks)
            rad_copy_async16(tiles + slot * RAD_FEW_TILE_STRIDE + i % pieces * 16,
                             job.tiles +
                                 ((uint64_t)token * job.n_chunks + chunk) * RAD_CUDA_TILE_BYTES +
                                 i % pieces * 16);
    }
    rad_copy_async_commit();
}

/* Of a tile, what the chain needs of step i. */
RAD_DEVICE void few_put_scales(const uint8_t *tile, uint32_t i, float *scales)
{
    scales[i] = ((const float *)(tile + RAD_CUDA_TILE_SCALES))[i];
    scales[8 + i] = (float)(sum_of_16(tile, 2 * (int)i) + sum_of_16(tile, 2 * (int)i + 1));
}

/* Finds the matrix and the expert, which kernels before this one have chosen. */
RAD_DEVICE void few_find(const rad_cuda_few_arguments &a, uint64_t chunk_bytes, few_job &job)
{
    const uint32_t block = rad_block_x(), slot = rad_block_z();
    uint32_t p = 0;
    while (p + 1 < a.n_parts && block >= a.parts[p + 1].first_block)
        p++;
    job.part = &a.parts[p];
    job.n_chunks = (a.n_columns + RAD_CUDA_CHUNK - 1) / RAD_CUDA_CHUNK;
    job.n_slots = RAD_FEW_THREADS >> a.rows_log2;
    job.first_row = (block - a.parts[p].first_block) << a.rows_log2;
    job.expert = 0;
    job.first_input = job.first_output = 0;
    if (a.experts != nullptr) {
        rad_wait_for_earlier();
        job.first_input = a.inputs != nullptr ? a.inputs[slot] : slot / a.slots_per_input;
        const uint32_t rank = a.per_route != 0 ? slot % a.per_route : slot;
        const uint32_t route = a.per_route != 0 ? slot / a.per_route : 0;
        job.expert = a.experts[(uint64_t)route * a.route_stride + rank];
        job.first_output = slot;
    }
    job.tiles = a.tiles + (uint64_t)job.first_input * job.n_chunks * RAD_CUDA_TILE_BYTES;
    job.group = a.parts[p].weights + job.expert * a.parts[p].expert_bytes +
                (uint64_t)(job.first_row / RAD_CUDA_GROUP_ROWS) * job.n_chunks * chunk_bytes *
                    RAD_CUDA_GROUP_ROWS;
}

/* NORMED: x is the norm of a row, whose tiles are all in shared memory from the beginning on. */
template <class F, bool NORMED> RAD_DEVICE void few_product(const rad_cuda_few_arguments &a)
{
    few_job job;
    few_find(a, F::CHUNK_BYTES, job);
    const few_shared<F> shared = few_shared_at<F>(rad_dynamic_shared(), job.n_slots);
    const uint32_t rows = 1u << a.rows_log2, thread = rad_thread(), warp = rad_warp();
    const uint32_t lane_row = rad_lane() & (rows - 1), slot = thread >> a.rows_log2;
    const uint32_t n_steps = a.n_columns / 32;
    const uint64_t chunk_stride = (uint64_t)F::CHUNK_BYTES * RAD_CUDA_GROUP_ROWS;
    rad_weights_row at = {job.group + slot * chunk_stride,
                          (job.first_row & (RAD_CUDA_GROUP_ROWS - 1)) + lane_row};
    const uint32_t part = NORMED ? (uint32_t)(job.part - a.parts) : 0;
    const uint64_t group_stride = (uint64_t)job.n_chunks * chunk_stride;
    if constexpr (NORMED) {
        const uint32_t row = heads_row(a, part, job.first_row, lane_row);
        at = {job.part->weights + row / RAD_CUDA_GROUP_ROWS * group_stride + slot * chunk_stride,
              row & (RAD_CUDA_GROUP_ROWS - 1)};
    }
    rad_few_weights<F> w = {};
    few_chain chain = {0.0f, 0};
    uint32_t phase = 0;
    if (slot < job.n_chunks)
        few_load<F>(w, at);
    for (uint32_t chunk = job.n_slots + warp; chunk < job.n_chunks; chunk += 8) {
        if constexpr (NORMED) {
            const uint32_t run = heads_are_apart(a, part) ? rows / 2 : rows;
            for (uint32_t i = 0; i < rows; i += run) {
                const uint32_t row = heads_row(a, part, job.first_row, i);
                prefetch_rows<F>(job.part->weights + row / RAD_CUDA_GROUP_ROWS * group_stride +
                                     chunk * chunk_stride,
                                 row & (RAD_CUDA_GROUP_ROWS - 1), run);
            }
        } else {
            prefetch_rows<F>(job.group + chunk * chunk_stride,
                             job.first_row & (RAD_CUDA_GROUP_ROWS - 1), rows);
        }
    }
    few_norm_weights norm_weights;
    if constexpr (NORMED)
#pragma unroll
        for (uint32_t i = 0; i < RAD_FEW_NORM_AHEAD; i++)
            few_norm_load(a, i * 8 + warp, norm_weights.of[i]);
    if constexpr (NORMED)
        if (a.heads.table != nullptr && warp == 0)
            heads_look_up(a, part, heads_row(a, part, job.first_row, lane_row));
    rad_wait_for_earlier();
    uint8_t *normed = rad_dynamic_shared();
    if constexpr (NORMED) { /* the row stands where sums will be, the tiles behind both */
        const uint32_t row_bytes = a.n_columns * 4, others = few_shared_bytes<F>(job.n_slots);
        normed += row_bytes > others ? row_bytes : others;
        few_norm(a, norm_weights, (float *)rad_dynamic_shared(), normed);
    } else {
        few_fetch(job, 0, 0, shared.tiles[0]);
    }
    for (uint32_t first = 0, round = 0; first < job.n_chunks; first += job.n_slots, round++) {
        const uint32_t chunk = first + slot;
        const uint32_t n = job.n_chunks - first < job.n_slots ? job.n_chunks - first : job.n_slots;
        uint32_t *headers = round % 2 != 0 ? shared.headers[1] : shared.headers[0];
#pragma unroll
        for (int i = 0; i < F::N_HEADER; i++) /* of a chunk that is not there: never read */
            headers[i * RAD_FEW_THREADS + thread] = w.header[i];
        for (uint32_t token = 0; token < a.n_tokens; token++, phase++) {
            const bool odd = phase % 2 != 0, last = token + 1 == a.n_tokens;
            uint32_t *sums = odd ? shared.sums[1] : shared.sums[0];
            float *scales = odd ? shared.scales[1] : shared.scales[0];
            const uint8_t *tile =
                NORMED ? normed + chunk * RAD_FEW_TILE_STRIDE
                       : (odd ? shared.tiles[1] : shared.tiles[0]) + slot * RAD_FEW_TILE_STRIDE;
            if constexpr (!NORMED) {
                few_fetch(job, last ? round + 1 : round, last ? 0 : token + 1,
                          odd ? shared.tiles[0] : shared.tiles[1]);
                rad_copy_async_wait(1);
                rad_warp_barrier();
            }
            if (chunk < job.n_chunks) {
                few_sums<F>(w, tile, sums + thread);
                if (lane_row < 8)
                    few_put_scales(tile, lane_row, scales + slot * 16);
            }
            if (last && chunk + job.n_slots < job.n_chunks) {
                at.chunk += job.n_slots * chunk_stride;
                few_load<F>(w, at);
            }
            rad_barrier();
            if (warp == token && rad_lane() < rows) {
                const uint32_t whole = few_whole(n_steps, first, n);
#pragma unroll(rad_few <F>::N_SUMS > 2 ? 2 : 4)
                for (uint32_t c = 0; c < whole; c++)
                    few_add<F, RAD_FEW_THREADS, RAD_FEW_THREADS, 1, true>(
                        chain, sums + (c << a.rows_log2) + lane_row,
                        headers + (c << a.rows_log2) + lane_row, scales + c * 16,
                        scales + c * 16 + 8, 8);
                if (whole < n)
                    few_add<F, RAD_FEW_THREADS, RAD_FEW_THREADS, 1, false>(
                        chain, sums + (whole << a.rows_log2) + lane_row,
                        headers + (whole << a.rows_log2) + lane_row, scales + whole * 16,
                        scales + whole * 16 + 8, n_steps % 8);
            }
        }
    }
    const uint32_t row =
        NORMED ? heads_row(a, part, job.first_row, lane_row) : job.first_row + lane_row;
    if constexpr (NORMED)
        if (a.heads.table != nullptr) {
            const bool is_there = rad_lane() < rows;
            if (warp == 0)
                heads_finish(a, part, row, is_there,
                             is_there ? product_value(*job.part, 0, 0, row, chain.sum) : 0.0f);
            return;
        }
    if (warp < a.n_tokens && rad_lane() < rows && row < job.part->n_rows) {
        if constexpr (F::FAMILY == RAD_CUDA_ROW)
            chain.sum *= (float)chain.whole;
        if constexpr (F::FAMILY == RAD_CUDA_INT8)
            chain.sum = int8_output({job.group, at.row},
                                    job.tiles + (uint64_t)warp * job.n_chunks * RAD_CUDA_TILE_BYTES,
                                    a.n_columns, a.x + (job.first_input + warp) * a.x_stride,
                                    chain.sum, chain.whole);
        finish_product(*job.part, job.expert, (uint64_t)job.first_output + warp, row, chain.sum);
    }
    go_on_behind(a);
}

#define RAD_FEW(name, format)                                                                      \
    RAD_CUDA_KERNEL_EARLY(few_##name, RAD_FEW_THREADS, rad_cuda_few_arguments, a)                  \
    {                                                                                              \
        few_product<format, false>(a);                                                             \
    }
/* Where ptxas else keeps to so few registers that some are spilled. */
#define RAD_FEW_OF_TWO(name, format)                                                               \
    RAD_CUDA_KERNEL_EARLY_BLOCKS(few_##name, RAD_FEW_THREADS, 2, rad_cuda_few_arguments, a)        \
    {                                                                                              \
        few_product<format, false>(a);                                                             \
    }
/* As many blocks on a multiprocessor as without the norm. */
#define RAD_NORMED(name, format, blocks)                                                           \
    RAD_CUDA_KERNEL_EARLY_BLOCKS(normed_##name, RAD_FEW_THREADS, blocks, rad_cuda_few_arguments,   \
                                 a)                                                                \
    {                                                                                              \
        few_product<format, true>(a);                                                              \
    }

#endif
