/* Products in the CPU's order (kernels_products_float.h). Four lanes have a row, each four of the
 * sixteen partial sums: lane q adds up the columns i with i / 4 % 4 = q, by increasing i. The 32
 * bytes or more that a row's lanes load together are whole sectors of memory. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels.h"

enum { DOT_THREADS = 4 * RAD_CUDA_DOT_ROWS, DOT_CHUNK = 64, NUMBERS = 16 };

/* A format gives, of 64 columns, the lane's numbers w[4 s + j] = column 16 s + 4 q + j: load() what
 * memory holds, widen() them. number() is one number of a row. */
struct dot_f32_format {
    enum { CHUNK_BYTES = 256, LINE = 16 };
    rad_u4 words[4];
    RAD_MEMBER void load(const uint8_t *chunk, uint32_t q, bool aligned)
    {
        for (uint32_t s = 0; s < 4; s++)
            words[s] =
                aligned ? rad_load16_once(chunk + 64 * s + 16 * q) : slow(chunk + 64 * s + 16 * q);
    }
    static RAD_MEMBER rad_u4 slow(const uint8_t *at)
    {
        const uint32_t *w = (const uint32_t *)at;
        return {w[0], w[1], w[2], w[3]};
    }
    RAD_MEMBER void widen(float w[NUMBERS], const float *) const
    {
        for (int s = 0; s < 4; s++) {
            rad_f4 f = rad_floats(words[s]);
            w[4 * s] = f.x, w[4 * s + 1] = f.y, w[4 * s + 2] = f.z, w[4 * s + 3] = f.w;
        }
    }
    static RAD_MEMBER float number(const uint8_t *row, uint32_t i)
    {
        return ((const float *)row)[i];
    }
};

template <bool bf16> struct dot_half_format {
    enum { CHUNK_BYTES = 128, LINE = 8 };
    rad_u2 words[4];
    RAD_MEMBER void load(const uint8_t *chunk, uint32_t q, bool aligned)
    {
        for (uint32_t s = 0; s < 4; s++)
            words[s] = aligned ? rad_load8(chunk + 32 * s + 8 * q) : slow(chunk + 32 * s + 8 * q);
    }
    static RAD_MEMBER rad_u2 slow(const uint8_t *at)
    {
        const uint16_t *w = (const uint16_t *)at;
        return {w[0] | (uint32_t)w[1] << 16, w[2] | (uint32_t)w[3] << 16};
    }
    static RAD_MEMBER float widened(uint32_t bits)
    {
        return bf16 ? rad_bf16_to_float((uint16_t)bits) : rad_half_to_float((uint16_t)bits);
    }
    RAD_MEMBER void widen(float w[NUMBERS], const float *) const
    {
        for (int s = 0; s < 4; s++) {
            w[4 * s] = widened(words[s].x & 0xffffu);
            w[4 * s + 1] = widened(words[s].x >> 16);
            w[4 * s + 2] = widened(words[s].y & 0xffffu);
            w[4 * s + 3] = widened(words[s].y >> 16);
        }
    }
    static RAD_MEMBER float number(const uint8_t *row, uint32_t i)
    {
        return widened(((const uint16_t *)row)[i]);
    }
};

/* Blocks of a scale and 64 numbers: quant/fp8.c. */
struct dot_fp8_format {
    enum { CHUNK_BYTES = 68, LINE = 4 };
    float scale;
    uint32_t words[4];
    RAD_MEMBER void load(const uint8_t *chunk, uint32_t q, bool)
    {
        scale = *(const float *)chunk;
        for (uint32_t s = 0; s < 4; s++)
            words[s] = ((const uint32_t *)chunk)[1 + 4 * s + q];
    }
    RAD_MEMBER void widen(float w[NUMBERS], const float *) const
    {
        float factor = scale * 256.0f;
        for (int i = 0; i < NUMBERS; i++) {
            uint32_t code = words[i / 4] >> (8 * (i % 4));
            w[i] =
                rad_half_to_float((uint16_t)((code & 0x80u) << 8 | (code & 0x7fu) << 7)) * factor;
        }
    }
    static RAD_MEMBER float number(const uint8_t *, uint32_t)
    {
        return 0.0f; /* rows are whole blocks */
    }
};

/* Blocks of a scale and 64 codes: quant/nf4.c. */
struct dot_level4_format {
    enum { CHUNK_BYTES = 36, LINE = 4 };
    float scale;
    uint32_t words[4], first;
    RAD_MEMBER void load(const uint8_t *chunk, uint32_t q, bool)
    {
        scale = *(const float *)chunk;
        first = q / 2;
        for (uint32_t j = 0; j < 4; j++)
            words[j] = ((const uint32_t *)chunk)[1 + 4 * (q % 2) + j];
    }
    RAD_MEMBER void widen(float w[NUMBERS], const float *levels) const
    {
        for (uint32_t i = 0; i < NUMBERS; i++)
            w[i] = levels[words[i % 4] >> (4 * (2 * (i / 4) + first)) & 15] * scale;
    }
    static RAD_MEMBER float number(const uint8_t *, uint32_t)
    {
        return 0.0f; /* rows are whole blocks */
    }
};

/* What a block works on. */
struct dot_job {
    const rad_cuda_product_part *part;
    const uint8_t *weights; /* of the first row of the part */
    const float *x;         /* of the first token */
    uint64_t first_output;
    uint32_t first_row, expert, n_tokens;
};

RAD_DEVICE bool dot_find(const rad_cuda_dot_arguments &a, dot_job &job)
{
    const uint32_t block = rad_block_x(), slot = rad_block_z();
    const uint32_t first_token = rad_block_y() * RAD_CUDA_DOT_TOKENS;
    uint32_t p = 0;
    while (p + 1 < a.n_parts && block >= a.parts[p + 1].first_block)
        p++;
    job.part = &a.parts[p];
    job.first_row = (block - a.parts[p].first_block) * RAD_CUDA_DOT_ROWS;
    job.expert = 0;
    job.first_output = first_token;
    job.x = a.x + first_token * a.x_stride;
    job.n_tokens = a.n_tokens - first_token;
    if (job.n_tokens > RAD_CUDA_DOT_TOKENS)
        job.n_tokens = RAD_CUDA_DOT_TOKENS;
    if (a.experts != nullptr) {
        job.expert = a.experts[slot];
        if (job.expert == UINT32_MAX)
            return false;
        job.first_output = slot;
        job.x = a.x + slot / a.slots_per_input * a.x_stride;
        job.n_tokens = 1;
    }
    job.weights = a.parts[p].weights + job.expert * a.parts[p].expert_bytes;
    return true;
}

/* s[j] of each token over 64 columns from x on, where the lane's begin. */
RAD_DEVICE void dot_add(float sums[RAD_CUDA_DOT_TOKENS][4], const float w[NUMBERS], const float *x,
                        uint64_t x_stride, uint32_t n_tokens, bool aligned)
{
#pragma unroll
    for (uint32_t t = 0; t < RAD_CUDA_DOT_TOKENS; t++) {
        if (t >= n_tokens)
            break;
#pragma unroll
        for (int s = 0; s < 4; s++) {
            const float *at = x + t * x_stride + 16 * s;
            rad_f4 v = aligned ? rad_floats(rad_load16(at)) : rad_f4{at[0], at[1], at[2], at[3]};
            sums[t][0] = rad_fma(w[4 * s], v.x, sums[t][0]);
            sums[t][1] = rad_fma(w[4 * s + 1], v.y, sums[t][1]);
            sums[t][2] = rad_fma(w[4 * s + 2], v.z, sums[t][2]);
            sums[t][3] = rad_fma(w[4 * s + 3], v.w, sums[t][3]);
        }
    }
}

/* The columns behind the last whole chunk. */
template <class F>
RAD_DEVICE void dot_add_rest(float sums[RAD_CUDA_DOT_TOKENS][4], const uint8_t *row,
                             const dot_job &job, const rad_cuda_dot_arguments &a)
{
    const uint32_t q = rad_lane() % 4;
    for (uint32_t first = a.n_columns / DOT_CHUNK * DOT_CHUNK; first < a.n_columns; first += 16)
#pragma unroll
        for (uint32_t j = 0; j < 4; j++) {
            const uint32_t i = first + 4 * q + j;
            if (i >= a.n_columns)
                break;
            const float w = F::number(row, i);
#pragma unroll
            for (uint32_t t = 0; t < RAD_CUDA_DOT_TOKENS; t++)
                if (t < job.n_tokens)
                    sums[t][j] = rad_fma(w, job.x[t * a.x_stride + i], sums[t][j]);
        }
}

/* The tree, then what comes behind a product; every lane of a row has the same sum. */
RAD_DEVICE void dot_finish(const float sums[4], const dot_job &job, uint32_t row, uint32_t token)
{
    float s[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        s[j] = sums[j] + rad_shuffle_xor(sums[j], 2);
        s[j] = s[j] + rad_shuffle_xor(s[j], 1);
    }
    float y = (s[0] + s[2]) + (s[1] + s[3]);
    const rad_cuda_product_part &part = *job.part;
    if (rad_lane() % 4 != 0 || row >= part.n_rows)
        return;
    if (part.scales != nullptr)
        y *= part.scales[job.expert];
    if (part.bias != nullptr)
        y += part.bias[(uint64_t)job.expert * part.n_rows + row];
    const uint64_t at = (job.first_output + token) * part.y_stride + row;
    if (part.add != nullptr)
        y = part.add[at] + y;
    part.y[at] = y;
}

template <class F> RAD_DEVICE void dot(const rad_cuda_dot_arguments &a, const float *levels)
{
    dot_job job;
    if (!dot_find(a, job))
        return;
    const uint32_t q = rad_thread() % 4, row = job.first_row + rad_thread() / 4;
    const uint32_t n_chunks = a.n_columns / DOT_CHUNK, rest = a.n_columns % DOT_CHUNK;
    const uint64_t row_bytes =
        (uint64_t)n_chunks * F::CHUNK_BYTES + rest * (F::CHUNK_BYTES / DOT_CHUNK);
    /* Lanes without a row take the last one's, and write nothing. */
    const uint8_t *weights =
        job.weights + (row < job.part->n_rows ? row : job.part->n_rows - 1) * row_bytes;
    const bool aligned = ((uint64_t)job.weights | row_bytes) % F::LINE == 0;
    const bool x_aligned = ((uint64_t)job.x | a.x_stride * 4) % 16 == 0;
    float sums[RAD_CUDA_DOT_TOKENS][4] = {}, w[NUMBERS];
    F numbers = {};
    if (n_chunks > 0)
        numbers.load(weights, q, aligned);
    for (uint32_t c = 0; c < n_chunks; c++) {
        const F now = numbers;
        if (c + 1 < n_chunks)
            numbers.load(weights + (uint64_t)(c + 1) * F::CHUNK_BYTES, q, aligned);
        now.widen(w, levels);
        dot_add(sums, w, job.x + (uint64_t)c * DOT_CHUNK + 4 * q, a.x_stride, job.n_tokens,
                x_aligned);
    }
    if (rest > 0)
        dot_add_rest<F>(sums, weights, job, a);
#pragma unroll
    for (uint32_t t = 0; t < RAD_CUDA_DOT_TOKENS; t++)
        if (t < job.n_tokens)
            dot_finish(sums[t], job, row, t);
}

RAD_CUDA_KERNEL(dot_f32, DOT_THREADS, rad_cuda_dot_arguments, a)
{
    dot<dot_f32_format>(a, nullptr);
}

RAD_CUDA_KERNEL(dot_f16, DOT_THREADS, rad_cuda_dot_arguments, a)
{
    dot<dot_half_format<false>>(a, nullptr);
}

RAD_CUDA_KERNEL(dot_bf16, DOT_THREADS, rad_cuda_dot_arguments, a)
{
    dot<dot_half_format<true>>(a, nullptr);
}

RAD_CUDA_KERNEL(dot_fp8, DOT_THREADS, rad_cuda_dot_arguments, a)
{
    dot<dot_fp8_format>(a, nullptr);
}

RAD_CUDA_KERNEL(dot_level4, DOT_THREADS, rad_cuda_dot_arguments, a)
{
    RAD_SHARED(float, levels, 16);
    if (rad_thread() < 16)
        levels[rad_thread()] = a.levels[rad_thread()];
    rad_barrier();
    dot<dot_level4_format>(a, levels);
}
