/* Activations of four tokens side by side; kernels.h has the layout. Only words move, so nothing
 * here depends on the instruction set. */
#include <string.h>

#include "kernels/kernels.h"

uint64_t rad_tiles_bytes(uint64_t n_tokens, uint64_t n_columns)
{
    uint64_t tiles = n_tokens / RAD_TILE_TOKENS + (n_tokens % RAD_TILE_TOKENS != 0);
    uint64_t chunks = n_columns / RAD_TILE_COLUMNS + (n_columns % RAD_TILE_COLUMNS != 0);
    uint64_t count, bytes;
    if (__builtin_mul_overflow(tiles, chunks, &count) ||
        __builtin_mul_overflow(count, (uint64_t)RAD_TILE_BYTES, &bytes))
        return 0;
    return bytes;
}

/* n_words 32-bit words of each of n_tokens rows, `stride` bytes apart, to [word][token]. */
static void put_words(const void *rows, size_t stride, uint32_t n_words, uint32_t n_tokens,
                      uint8_t *out)
{
    const uint8_t *from = rows;
    for (uint32_t word = 0; word < n_words; word++)
        for (uint32_t t = 0; t < n_tokens; t++)
            memcpy(out + ((size_t)word * RAD_TILE_TOKENS + t) * 4, from + t * stride + word * 4, 4);
}

/* The sums of each 32 columns, as pairs of int16. */
static void put_pairs(const int16_t *sums, size_t stride, uint32_t n_tokens, uint8_t *out)
{
    for (uint32_t t = 0; t < n_tokens; t++, sums += stride)
        for (size_t i = 0; i < RAD_TILE_COLUMNS / 32; i++) {
            int16_t sum = (int16_t)(sums[2 * i] + sums[2 * i + 1]);
            memcpy(out + ((i / 2 * RAD_TILE_TOKENS + t) * 2 + i % 2) * 2, &sum, sizeof(sum));
        }
}

void rad_arrange_tile(const rad_activations *x, uint32_t tile, uint8_t *tiles)
{
    const size_t n = x->n_columns, token = (size_t)tile * RAD_TILE_TOKENS;
    const uint32_t block = rad_activation_block(x->kind, x->n_columns);
    const size_t n_tiles = (x->n_tokens + RAD_TILE_TOKENS - 1) / RAD_TILE_TOKENS;
    uint32_t left = x->n_tokens - (uint32_t)token;
    uint32_t n_tokens = left < RAD_TILE_TOKENS ? left : RAD_TILE_TOKENS;
    for (size_t column = 0; column < n; column += RAD_TILE_COLUMNS) {
        uint8_t *out = tiles + (column / RAD_TILE_COLUMNS * n_tiles + tile) * RAD_TILE_BYTES;
        uint32_t width = n - column < RAD_TILE_COLUMNS ? (uint32_t)(n - column) : RAD_TILE_COLUMNS;
        const int16_t *sums = x->sums + token * (n / 16) + column / 16;
        if (n_tokens < RAD_TILE_TOKENS || width < RAD_TILE_COLUMNS)
            memset(out, 0, RAD_TILE_BYTES);
        put_words(x->quants + token * n + column, n, width / 4, n_tokens, out);
        put_words(x->scales + token * (n / block) + column / block, n / block * sizeof(float),
                  (width + block - 1) / block, n_tokens, out + RAD_TILE_SCALES);
        put_words(sums, n / 16 * sizeof(int16_t), width / 32, n_tokens, out + RAD_TILE_SUMS);
        if (x->kind == RAD_ACTIVATION_Q8_256)
            put_pairs(sums, n / 16, n_tokens, out + RAD_TILE_PAIRS);
    }
}
