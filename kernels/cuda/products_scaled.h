/* Products with FP8, NF4 and FP4 weights by matrix instructions (kernels_products_float.h): how
 * blocks of 64 columns come apart, and what few and many tokens share.
 *
 * A block's words are multiplied as they stand: of an instruction's 16 columns, lane `four` of four
 * has those that its words hold, and the activations are put into that order when they are rounded.
 * A format says
 * - WORDS of a block that a lane has of a row, and which one step (an instruction) s takes:
 *   word_of(s), in the block word_at(w, four);
 * - pairs(): the step's four numbers as F16, exactly those of the word or of the levels;
 * - column(): which column number e of lane `four` in step s is. */
#ifndef RAD_CUDA_PRODUCTS_SCALED_H
#define RAD_CUDA_PRODUCTS_SCALED_H

#include "kernels/cuda/products_half.h"

enum {
    SCALED_BLOCK = 64, /* columns of a scale, */
    SCALED_STEPS = 4   /* and instructions that they are */
};
static_assert((int)SCALED_BLOCK == (int)LINE, "a stage is a block");

/* Number times 2^-8. */
struct scaled_fp8 {
    enum : uint32_t { BLOCK_WORDS = 17, WORDS = 4 };

    static RAD_MEMBER uint32_t word_of(uint32_t step)
    {
        return step;
    }
    static RAD_MEMBER uint32_t word_at(uint32_t word, uint32_t four)
    {
        return 1 + 4 * word + four;
    }
    /* The sign stays, exponent and mantissa go one bit down. */
    static RAD_MEMBER uint32_t halves(uint32_t high_bytes)
    {
        return (high_bytes & 0x80008000u) | (high_bytes >> 1 & 0x3f803f80u);
    }
    static RAD_MEMBER void pairs(const uint32_t *, uint32_t word, uint32_t, uint32_t &first,
                                 uint32_t &second)
    {
        first = halves(rad_byte_permute(word, 0, 0x1404));
        second = halves(rad_byte_permute(word, 0, 0x3424));
    }
    static RAD_MEMBER uint32_t column(uint32_t step, uint32_t four, uint32_t e)
    {
        return 16 * step + 4 * four + e;
    }
};

/* NF4, FP4. Element e is nibble e / 8 of word e % 8. */
struct scaled_level4 {
    enum : uint32_t { BLOCK_WORDS = 9, WORDS = 2 };

    static RAD_MEMBER uint32_t word_of(uint32_t step)
    {
        return step % 2;
    }
    static RAD_MEMBER uint32_t word_at(uint32_t word, uint32_t four)
    {
        return 1 + 4 * word + four;
    }
    /* Byte i: of level `nibble i of codes`; levels: the same byte of each. */
    static RAD_MEMBER uint32_t look_up(const uint32_t levels[4], uint32_t low_bits, uint32_t upper)
    {
        return rad_byte_permute(rad_byte_permute(levels[0], levels[1], low_bits),
                                rad_byte_permute(levels[2], levels[3], low_bits), upper);
    }
    static RAD_MEMBER void pairs(const uint32_t *levels, uint32_t word, uint32_t step,
                                 uint32_t &first, uint32_t &second)
    {
        const uint32_t codes = word >> step / 2 * 16;
        const uint32_t low_bits = codes & 0x7777u, upper = (codes >> 1 & 0x4444u) | 0x3210u;
        const uint32_t low = look_up(levels, low_bits, upper);
        const uint32_t high = look_up(levels + 4, low_bits, upper);
        first = rad_byte_permute(low, high, 0x5140);
        second = rad_byte_permute(low, high, 0x7362);
    }
    static RAD_MEMBER uint32_t column(uint32_t step, uint32_t four, uint32_t e)
    {
        return 8 * (step / 2 * 4 + e) + 4 * (step % 2) + four;
    }
};

/* A row of blocks. */
template <class F>
RAD_DEVICE const uint32_t *scaled_row(const rad_cuda_product_part &part, uint32_t expert,
                                      uint32_t row, uint32_t n_columns)
{
    return (const uint32_t *)(part.weights + expert * part.expert_bytes) +
           (uint64_t)row * (n_columns / SCALED_BLOCK * F::BLOCK_WORDS);
}

#endif
