/* What few and many tokens share of products with 16-bit weights (kernels_products_float.h): where
 * operands stand in shared memory, and the order of sums, one chain over the columns of a row, 16
 * after 16. */
#ifndef RAD_CUDA_PRODUCTS_HALF_H
#define RAD_CUDA_PRODUCTS_HALF_H

#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels.h"

/* Columns of two instructions, which a token has in the order that a lane loads them in; columns of
 * a line in shared memory, 128 bytes in 8 pieces. */
enum { STEP = 32, LINE = 64 };

/* Pieces of a line change places by its number, so that matrices of 8 lines are loaded from all
 * banks, and eight lanes that copy a line write to all. */
RAD_DEVICE uint32_t row_place(uint32_t line, uint32_t piece)
{
    return line * LINE + 8 * (piece ^ (line & 7));
}

/* Of tokens four lanes load 64 bytes of a line, the next four of the next one. */
RAD_DEVICE uint32_t token_place(uint32_t line, uint32_t piece)
{
    return line * LINE + 8 * (piece ^ (line & 1) * 4);
}

/* 16 of 64 columns of 16 rows as an instruction takes them. */
RAD_DEVICE void load_rows(uint32_t rows[4], const uint16_t *lines, uint32_t sixteen)
{
    const uint32_t matrix = rad_lane() / 8, row = rad_lane() % 8;
    rad_ldmatrix_x4(rows, lines + row_place(matrix % 2 * 8 + row, 2 * sixteen + matrix / 2));
}

/* c += rows token, over the first or the second 16 of 32 columns. */
template <bool bf16>
RAD_DEVICE void multiply(float c[4], const uint32_t rows[4], const rad_u4 &token, uint32_t second)
{
    const uint32_t columns[2] = {second ? token.z : token.x, second ? token.w : token.y};
    if (bf16)
        rad_mma_bf16(c, rows, columns);
    else
        rad_mma_f16(c, rows, columns);
}

/* What comes behind a product; `bias` is the row's. */
RAD_DEVICE void finish(const rad_cuda_product_part &part, uint32_t expert, float bias,
                       uint64_t output, uint32_t row, float y)
{
    if (part.scales != nullptr)
        y *= part.scales[expert];
    if (part.bias != nullptr)
        y += bias;
    const uint64_t at = output * part.y_stride + row;
    if (part.add != nullptr)
        y = part.add[at] + y;
    part.y[at] = y;
}

/* The part that a block of rows belongs to, and its first row there. */
RAD_DEVICE const rad_cuda_product_part &part_of(const rad_cuda_half_arguments &a, uint32_t block,
                                                uint32_t rows, uint32_t *first_row)
{
    uint32_t p = 0;
    while (p + 1 < a.n_parts && block >= a.parts[p + 1].first_block)
        p++;
    *first_row = (block - a.parts[p].first_block) * rows;
    return a.parts[p];
}

/* What a block of few tokens computes: rows of a part, of one expert there, with up to 8 inputs,
 * for outputs behind each other; or with a slot's. */
struct few_place {
    const rad_cuda_product_part *part;
    uint32_t first_row, expert, n_tokens; /* more than 8: all are there */
    uint64_t input, output;
};

/* False: an empty slot. Which slot it is waits for earlier kernels. */
RAD_DEVICE bool place_few(const rad_cuda_half_arguments &a, few_place &p)
{
    p.expert = 0;
    p.n_tokens = a.n_tokens - rad_block_y() * 8;
    p.part = &part_of(a, rad_block_x(), RAD_CUDA_HALF_FEW_ROWS, &p.first_row);
    p.output = rad_block_y() * 8;
    p.input = p.output;
    if (a.experts != nullptr) {
        rad_wait_for_earlier();
        p.expert = a.experts[rad_block_z()];
        if (p.expert == UINT32_MAX)
            return false;
        p.output = rad_block_z();
        p.input = a.inputs != nullptr ? a.inputs[rad_block_z()] : rad_block_z() / a.slots_per_input;
        p.n_tokens = 1;
    }
    return true;
}

/* The result of one of its rows and tokens, where both are there. */
RAD_DEVICE void finish_few(const few_place &p, uint32_t row, uint32_t token, float y)
{
    if (row >= p.part->n_rows || token >= p.n_tokens)
        return;
    const float bias =
        p.part->bias != nullptr ? p.part->bias[(uint64_t)p.expert * p.part->n_rows + row] : 0.0f;
    finish(*p.part, p.expert, bias, p.output + token, row, y);
}

#endif
