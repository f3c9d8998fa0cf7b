/* Products with formats whose integer sums run over 256 columns (one scale for them) or over the
 * whole row, and with those that have one scale per 16 columns. */
#ifndef RAD_X86_WHOLE_H
#define RAD_X86_WHOLE_H

#include "kernels/cpu/x86/blocks.h"

typedef struct whole_panel {
    uint8_t quants[8][8 * GROUP_BYTES];
    float d[16];
    uint8_t minimum[8][64]; /* where there is one: as in super_scales */
    float dmin[16];         /* negated */
} whole_panel;

typedef enum whole_kind {
    WHOLE_BLOCK,   /* 256 columns */
    WHOLE_MINIMUM, /* 256 columns, and integer minima for every 16 */
    WHOLE_ROW      /* acc holds integers, to which the sums are added, instead of floats */
} whole_kind;

INLINE void whole_terms(int offset, const uint8_t *tile, tile_terms *terms)
{
    int32_t four[4][RAD_TILE_TOKENS]; /* of the sums of 16 columns each: every fourth word's */
    vi first = vi_madd16(vi_load(tile + RAD_TILE_SUMS), vi_set16(-offset));
    vi second = vi_madd16(vi_load(tile + RAD_TILE_SUMS + 64), vi_set16(-offset));
    vi_store(four, vi_add32(first, second));
    for (int t = 0; t < RAD_TILE_TOKENS; t++)
        terms->block.start[0][t] = four[0][t] + four[1][t] + four[2][t] + four[3][t];
}

/* The minima of the panels times the sums of the tokens' activations, tokens side by side so that
 * none waits for its own last sum. */
INLINE void whole_minima(int n_groups, int first, int n, const whole_panel *const *panels,
                         const uint8_t *tile, vi *sums)
{
    const uint8_t *words = tile + RAD_TILE_SUMS + first * 4;
    UNROLL for (int i = 0; i < n_groups * n; i++) sums[i] = vi_zero();
    UNROLL for (int j = 0; j < 8; j++)
    {
        UNROLL for (int i = 0; i < n_groups * n; i++) sums[i] =
            vi_dot16(sums[i], vi_load(panels[i / n]->minimum[j]),
                     vi_broadcast32(words + (j * RAD_TILE_TOKENS + i % n) * 4));
    }
}

/* Without VNNI quants are small: a chain of 8 groups fits int16. */
INLINE void whole_tile_part(whole_kind kind, int n_groups, int first, int n,
                            const whole_panel *const *panels, uint32_t n_blocks,
                            const uint8_t *tile, const tile_terms *terms, float *acc)
{
    const uint8_t *columns = tile + first * 4;
    vi total[PANEL_GROUPS * RAD_TILE_TOKENS];
    UNROLL for (int i = 0; i < n_groups * n; i++) total[i] =
        vi_broadcast32(&terms->block.start[0][first + i % n]);
    for (uint32_t b = 0; b < n_blocks; b++, columns += 8 * RAD_TILE_TOKENS * 4) {
        vi partial[PANEL_GROUPS * RAD_TILE_TOKENS];
        UNROLL for (int group = 0; group < 8; group++)
        {
            UNROLL for (int i = 0; i < n_groups * n; i++)
            {
                vi w = vi_load(panels[i / n]->quants[b] + group * GROUP_BYTES);
                vi column = vi_broadcast32(columns + (group * RAD_TILE_TOKENS + i % n) * 4);
                if (WIDE_DOT)
                    total[i] = vi_dot(total[i], w, column);
                else
                    partial[i] =
                        group == 0 ? vi_dot_first(w, column) : vi_dot(partial[i], w, column);
            }
        }
        UNROLL for (int i = 0; i < n_groups * n && !WIDE_DOT; i++) total[i] =
            vi_accumulate(total[i], vi_widen(partial[i]));
    }
    vi sums[PANEL_GROUPS * RAD_TILE_TOKENS];
    if (kind == WHOLE_MINIMUM)
        whole_minima(n_groups, first, n, panels, tile, sums);
    UNROLL for (int i = 0; i < n_groups * n; i++)
    {
        float *out = tile_sum(acc, i, first, n);
        const whole_panel *panel = panels[i / n];
        if (kind == WHOLE_ROW) {
            vi_store(out, vi_add32(total[i], vi_load(out)));
            continue;
        }
        vf x_scale = vf_broadcast(tile + RAD_TILE_SCALES + (first + i % n) * 4);
        vf sum =
            vf_fma(vf_multiply(vf_load(panel->d), x_scale), vf_from_int(total[i]), vf_load(out));
        if (kind == WHOLE_MINIMUM)
            sum = vf_fma(vf_multiply(vf_load(panel->dmin), x_scale), vf_from_int(sums[i]), sum);
        vf_store(out, sum);
    }
}

/* ---- one scale per 16 ------------------------------------------------------------------------ */

typedef struct block_16_panel {
    uint8_t quants[8][8 * GROUP_BYTES];
    float scale[16][16];
} block_16_panel;

INLINE void block_16_tile_part(int n_groups, int first, int n, const block_16_panel *const *panels,
                               uint32_t n_blocks, const uint8_t *tile, const tile_terms *terms,
                               float *acc)
{
    const uint8_t *columns = tile + first * 4;
    vf sum[PANEL_GROUPS * RAD_TILE_TOKENS];
    UNROLL for (int i = 0; i < n_groups * n; i++) sum[i] = vf_load(tile_sum(acc, i, first, n));
    for (uint32_t b = 0; b < 2 * n_blocks; b++, columns += 4 * RAD_TILE_TOKENS * 4) {
        const size_t scales = RAD_TILE_SCALES + (size_t)b / 2 * RAD_TILE_TOKENS * 4;
        vi total[PANEL_GROUPS * RAD_TILE_TOKENS];
        UNROLL for (int i = 0; i < n_groups * n; i++) total[i] =
            vi_broadcast32(&terms->starts[start_row(4, (int)b)][first + i % n]);
        UNROLL for (int group = 0; group < 4; group++)
        {
            UNROLL for (int i = 0; i < n_groups * n; i++)
            {
                vi w = vi_load(panels[i / n]->quants[0] + (b * 4 + (uint32_t)group) * GROUP_BYTES);
                vi column = vi_broadcast32(columns + (group * RAD_TILE_TOKENS + i % n) * 4);
                /* Two of the largest 5-bit chains fit int16, but none needs a second sum. */
                total[i] = WIDE_DOT ? vi_dot(total[i], w, column)
                                    : vi_add32(total[i], vi_widen(vi_dot_first(w, column)));
            }
        }
        UNROLL for (int i = 0; i < n_groups * n; i++)
        {
            vf x_scale = vf_broadcast(tile + scales + (first + i % n) * 4);
            sum[i] = vf_fma(vf_multiply(vf_load(panels[i / n]->scale[b]), x_scale),
                            vf_from_int(total[i]), sum[i]);
        }
    }
    UNROLL for (int i = 0; i < n_groups * n; i++) vf_store(tile_sum(acc, i, first, n), sum[i]);
}

#endif
