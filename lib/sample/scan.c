/* Scans of all logits, at the width of the machine's vectors. The greatest of a set does not depend
 * on the order in which it is looked for, so every width finds the same. */
#include "sample/scan.h"

#include <math.h>

#include "base/platform.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { PIECE = 64 * RAD_SCAN_BLOCK };

/* ---- greatest of each block -------------------------------------------------------------------
 */

#define LANES 16 /* maxima side by side: compilers make vectors of them */

static bool block_maxima_plain(const float *logits, uint32_t n_blocks, float *maxima)
{
    uint32_t any_bad = 0;
    for (uint32_t block = 0; block < n_blocks; block++, logits += RAD_SCAN_BLOCK) {
        float most[LANES];
        uint32_t bad[LANES] = {0};
        for (int j = 0; j < LANES; j++)
            most[j] = -INFINITY;
        for (int i = 0; i < RAD_SCAN_BLOCK; i += LANES) {
            for (int j = 0; j < LANES; j++) {
                most[j] = logits[i + j] > most[j] ? logits[i + j] : most[j];
                bad[j] |= !(logits[i + j] < INFINITY);
            }
        }
        for (int j = 1; j < LANES; j++) {
            most[0] = most[j] > most[0] ? most[j] : most[0];
            bad[0] |= bad[j];
        }
        maxima[block] = most[0];
        any_bad |= bad[0];
    }
    return any_bad == 0;
}

#if defined(__x86_64__)
/* The instructions' maximum of (x, most) is x > most ? x : most, so NaN in x leaves most. Of the
 * lanes of `most` none is NaN. */
__attribute__((target("avx2"))) static float greatest_of_8(__m256 most)
{
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

__attribute__((target("avx2"))) static bool block_maxima_avx2(const float *logits,
                                                              uint32_t n_blocks, float *maxima)
{
    const __m256 infinite = _mm256_set1_ps(INFINITY);
    __m256 bad = _mm256_setzero_ps();
    for (uint32_t block = 0; block < n_blocks; block++, logits += RAD_SCAN_BLOCK) {
        __m256 even = _mm256_set1_ps(-INFINITY), odd = even;
        for (int i = 0; i < RAD_SCAN_BLOCK; i += 16) {
            __m256 a = _mm256_loadu_ps(logits + i), b = _mm256_loadu_ps(logits + i + 8);
            even = _mm256_max_ps(a, even);
            odd = _mm256_max_ps(b, odd);
            bad = _mm256_or_ps(bad, _mm256_or_ps(_mm256_cmp_ps(a, infinite, _CMP_NLT_UQ),
                                                 _mm256_cmp_ps(b, infinite, _CMP_NLT_UQ)));
        }
        maxima[block] = greatest_of_8(_mm256_max_ps(even, odd));
    }
    return _mm256_movemask_ps(bad) == 0;
}

__attribute__((target("avx512f,avx512dq"))) static bool
block_maxima_avx512(const float *logits, uint32_t n_blocks, float *maxima)
{
    const __m512 infinite = _mm512_set1_ps(INFINITY);
    __mmask16 bad = 0;
    for (uint32_t block = 0; block < n_blocks; block++, logits += RAD_SCAN_BLOCK) {
        __m512 most[4];
        for (int i = 0; i < 4; i++) {
            __m512 x = _mm512_loadu_ps(logits + 16 * i);
            most[i] = _mm512_max_ps(x, _mm512_set1_ps(-INFINITY));
            bad |= _mm512_cmp_ps_mask(x, infinite, _CMP_NLT_UQ);
        }
        __m512 one =
            _mm512_max_ps(_mm512_max_ps(most[0], most[1]), _mm512_max_ps(most[2], most[3]));
        __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(one), _mm512_extractf32x8_ps(one, 1));
        __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        maxima[block] = _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
    }
    return bad == 0;
}
#endif

bool rad_block_maxima(int level, const float *logits, uint32_t n_blocks, float *maxima)
{
#if defined(__x86_64__)
    if (level == 2)
        return block_maxima_avx512(logits, n_blocks, maxima);
    if (level == 1)
        return block_maxima_avx2(logits, n_blocks, maxima);
#endif
    (void)level;
    return block_maxima_plain(logits, n_blocks, maxima);
}

/* ---- the greatest -----------------------------------------------------------------------------
 */

/* The greatest of the last, fewer than RAD_SCAN_BLOCK, logits. */
static float greatest_of_rest(const float *logits, uint32_t n, bool *finite)
{
    float greatest = -INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        greatest = logits[i] > greatest ? logits[i] : greatest;
        *finite = *finite && logits[i] < INFINITY;
    }
    return greatest;
}

/* Only a block whose greatest is above all before it can hold the first of the greatest. */
rad_logit_scan rad_scan_logits(int level, const float *logits, uint32_t n)
{
    rad_logit_scan scan = {.greatest = -INFINITY, .finite = true};
    float maxima[PIECE / RAD_SCAN_BLOCK];
    uint32_t whole = n / RAD_SCAN_BLOCK, block_of_greatest = 0;
    for (uint32_t block = 0; block < whole; block += PIECE / RAD_SCAN_BLOCK) {
        uint32_t left = whole - block;
        left = left < PIECE / RAD_SCAN_BLOCK ? left : PIECE / RAD_SCAN_BLOCK;
        bool finite =
            rad_block_maxima(level, logits + (size_t)block * RAD_SCAN_BLOCK, left, maxima);
        scan.finite = scan.finite && finite;
        for (uint32_t i = 0; i < left; i++) {
            if (maxima[i] > scan.greatest) {
                scan.greatest = maxima[i];
                block_of_greatest = block + i;
            }
        }
    }
    uint32_t done = whole * RAD_SCAN_BLOCK;
    float rest = greatest_of_rest(logits + done, n - done, &scan.finite);
    scan.first = block_of_greatest * RAD_SCAN_BLOCK;
    if (rest > scan.greatest) {
        scan.greatest = rest;
        scan.first = done;
    }
    while (scan.first + 1 < n && logits[scan.first] != scan.greatest)
        scan.first++;
    return scan;
}
