/* TQ1_0, ternary, super-blocks of 256: 48 + 4 bytes of five (the last four: four) base-3 digits,
 * f16 d. A byte holds its digits as a fraction: times 3^n, modulo 256, times 3, the upper byte is
 * digit n. Bytes 0-31 hold elements 0-159 (digit by digit, 32 elements each), bytes 32-47 elements
 * 160-239 (16 each), bytes 48-51 elements 240-255 (4 each). Weight = d * (digit - 1). */
#include "quant/search.h"

enum { BLOCK = 256, BYTES = 54, D = 52 };

static const uint8_t powers[5] = {1, 3, 9, 27, 81};

/* Which byte holds element i, and at which digit. */
static int place(int i, int *digit)
{
    if (i < 160) {
        *digit = i / 32;
        return i % 32;
    }
    if (i < 240) {
        *digit = (i - 160) / 16;
        return 32 + i % 16;
    }
    *digit = (i - 240) / 4;
    return 48 + i % 4;
}

static void take_digits(const uint8_t *bytes, int n_bytes, int n_digits, int8_t *quants)
{
    for (int digit = 0; digit < n_digits; digit++)
        for (int l = 0; l < n_bytes; l++) {
            uint8_t fraction = (uint8_t)(bytes[l] * powers[digit]);
            quants[digit * n_bytes + l] = (int8_t)((fraction * 3 >> 8) - 1);
        }
}

void rad_unpack_tq1_0(const void *block, rad_block *out)
{
    const uint8_t *bytes = block;
    out->scale = rad_load_f16(bytes + D);
    out->minimum = 0.0f;
    take_digits(bytes, 32, 5, out->quants);
    take_digits(bytes + 32, 16, 5, out->quants + 160);
    take_digits(bytes + 48, 4, 4, out->quants + 240);
}

void rad_decode_tq1_0(const void *blocks, float *values, size_t n)
{
    rad_decode_blocks(blocks, values, n, (rad_block_shape){BLOCK, BYTES}, rad_unpack_tq1_0);
}

void rad_encode_tq1_0(const float *values, const float *importance, void *blocks, size_t n)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i += BLOCK, bytes += BYTES) {
        rad_numbers numbers;
        rad_numbers_take(values + i, importance != NULL ? importance + i : NULL, BLOCK, &numbers);
        rad_factor factor = rad_search_ternary_factor(&numbers, BLOCK);
        rad_store_u16(bytes + D, rad_half_in_units(factor.scale * factor.gain, numbers.unit));
        float inverse = factor.scale != 0.0f ? 1.0f / factor.scale : 0.0f;
        int8_t q[BLOCK];
        numbers.lanes->quants(numbers.x, BLOCK, inverse, 0.0f, -1.0f, 1.0f, q);
        uint32_t digits[D] = {0};
        for (int j = 0; j < BLOCK; j++) {
            int digit, at = place(j, &digit);
            digits[at] += (uint32_t)(q[j] + 1) * powers[4 - digit];
        }
        for (int j = 0; j < D; j++) /* the fraction digits / 3^5, rounded up */
            bytes[j] = (uint8_t)((digits[j] * 256 + 242) / 243);
    }
}
