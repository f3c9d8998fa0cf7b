/* The 32 numbers of a tile to one, in the order 16, 8, 4, 2, 1 apart: their sum, and the greatest
 * that is no NaN (-infinity: none). Of one tile, and of REDUCED_TILES at a time, whose vectors are
 * brought together while they shrink, so that no step is done on a vector that is mostly empty.
 * Included by layer_vector.h alone; without these layer_template.c has plain loops. */
#ifndef RAD_LAYER_REDUCE_H
#define RAD_LAYER_REDUCE_H

#if defined(RAD_LAYER_AVX2) || defined(RAD_LAYER_AVX512)
#define RAD_LAYER_REDUCES
#define REDUCED_TILES 8

/* max(a, b) is b where a is NaN. */
ALWAYS_INLINE __m256 first_add(__m256 a, __m256 b)
{
    return _mm256_add_ps(a, b);
}

ALWAYS_INLINE __m256 first_max(__m256 a, __m256 b)
{
    return _mm256_max_ps(b, _mm256_max_ps(a, _mm256_set1_ps(-INFINITY)));
}

#define REDUCE_TILE(name, operation)                                                               \
    ALWAYS_INLINE __m256 name##_eight(const float *p)                                              \
    {                                                                                              \
        __m256 low = first_##operation(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 16));               \
        __m256 high = first_##operation(_mm256_loadu_ps(p + 8), _mm256_loadu_ps(p + 24));          \
        return _mm256_##operation##_ps(low, high);                                                 \
    }                                                                                              \
                                                                                                   \
    ALWAYS_INLINE float name(const float *p)                                                       \
    {                                                                                              \
        __m256 eight = name##_eight(p);                                                            \
        __m128 four =                                                                              \
            _mm_##operation##_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));  \
        __m128 two = _mm_##operation##_ps(four, _mm_movehl_ps(four, four));                        \
        return _mm_cvtss_f32(_mm_##operation##_ss(two, _mm_movehdup_ps(two)));                     \
    }
REDUCE_TILE(greatest_of_tile, max)
REDUCE_TILE(sum_of_tile, add)

#if defined(RAD_LAYER_AVX512) && !defined(RAD_LAYER_EMULATED)

ALWAYS_INLINE __m512 wide_first_add(__m512 a, __m512 b)
{
    return _mm512_add_ps(a, b);
}

ALWAYS_INLINE __m512 wide_first_max(__m512 a, __m512 b)
{
    return _mm512_max_ps(b, _mm512_max_ps(a, _mm512_set1_ps(-INFINITY)));
}

/* Parts of 128 bits: of two tiles side by side, of four, then pairs of numbers of eight. */
#define REDUCE_TILES(name, operation)                                                              \
    ALWAYS_INLINE void name(float(*tiles)[32], float *out)                                         \
    {                                                                                              \
        __m512 a[8];                                                                               \
        UNROLL                                                                                     \
        for (int i = 0; i < 8; i++)                                                                \
            a[i] =                                                                                 \
                wide_first_##operation(_mm512_load_ps(tiles[i]), _mm512_load_ps(tiles[i] + 16));   \
        UNROLL                                                                                     \
        for (int i = 0; i < 4; i++)                                                                \
            a[i] = _mm512_##operation##_ps(_mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0x44),     \
                                           _mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0xee));    \
        UNROLL                                                                                     \
        for (int i = 0; i < 2; i++)                                                                \
            a[i] = _mm512_##operation##_ps(_mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0x88),     \
                                           _mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0xdd));    \
        __m512 two = _mm512_##operation##_ps(_mm512_shuffle_ps(a[0], a[1], 0x44),                  \
                                             _mm512_shuffle_ps(a[0], a[1], 0xee));                 \
        __m512 one = _mm512_##operation##_ps(_mm512_shuffle_ps(two, two, 0x88),                    \
                                             _mm512_shuffle_ps(two, two, 0xdd));                   \
        /* In part i stand tiles i and 4 + i, twice. */                                            \
        const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 0, 0, 0, 0, 0, 0, 0); \
        _mm256_storeu_ps(out, _mm512_castps512_ps256(_mm512_permutexvar_ps(order, one)));          \
    }

#else

#define REDUCE_TILES(name, operation)                                                              \
    ALWAYS_INLINE void name(float(*tiles)[32], float *out)                                         \
    {                                                                                              \
        __m256 a[8];                                                                               \
        UNROLL                                                                                     \
        for (int i = 0; i < 8; i++)                                                                \
            a[i] = REDUCED_EIGHT(operation)(tiles[i]);                                             \
        UNROLL                                                                                     \
        for (int i = 0; i < 4; i++)                                                                \
            a[i] = _mm256_##operation##_ps(_mm256_permute2f128_ps(a[2 * i], a[2 * i + 1], 0x20),   \
                                           _mm256_permute2f128_ps(a[2 * i], a[2 * i + 1], 0x31));  \
        UNROLL                                                                                     \
        for (int i = 0; i < 2; i++)                                                                \
            a[i] = _mm256_##operation##_ps(_mm256_shuffle_ps(a[2 * i], a[2 * i + 1], 0x44),        \
                                           _mm256_shuffle_ps(a[2 * i], a[2 * i + 1], 0xee));       \
        __m256 one = _mm256_##operation##_ps(_mm256_shuffle_ps(a[0], a[1], 0x88),                  \
                                             _mm256_shuffle_ps(a[0], a[1], 0xdd));                 \
        /* Even tiles in the low half, odd ones in the high. */                                    \
        const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);                           \
        _mm256_storeu_ps(out, _mm256_permutevar8x32_ps(one, order));                               \
    }
#define REDUCED_EIGHT(operation) reduced_eight_##operation
#define reduced_eight_max        greatest_of_tile_eight
#define reduced_eight_add        sum_of_tile_eight

#endif

REDUCE_TILES(greatest_of_tiles, max)
REDUCE_TILES(sums_of_tiles, add)

#else

#define REDUCED_TILES                 1024 /* more than a group has: never */
#define greatest_of_tiles(tiles, out) ((void)(tiles), (void)(out))
#define sums_of_tiles(tiles, out)     ((void)(tiles), (void)(out))

#endif

#endif
