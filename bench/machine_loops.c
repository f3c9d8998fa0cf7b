/* The loops that find the machine's limits: nothing but reads, or nothing but multiply-adds in
 * registers. */
#include "machine_loops.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define MACHINE_X86 1
#endif

enum { ACCUMULATORS = 10 };

/* ---- loops: each returns how many multiply-adds it made ---- */

static double float_plain(uint64_t rounds)
{
    float sums[16] = {0};
    float a = 1.0f;
    for (uint64_t i = 0; i < rounds; i++) {
        __asm__ volatile("" : "+m"(a));
        for (int k = 0; k < 16; k++)
            sums[k] += a * 0.5f;
    }
    __asm__ volatile("" : : "m"(sums));
    return 16.0 * (double)rounds;
}

static double int8_plain(uint64_t rounds)
{
    int32_t sums[16] = {0};
    int8_t a = 3;
    for (uint64_t i = 0; i < rounds; i++) {
        __asm__ volatile("" : "+m"(a));
        for (int k = 0; k < 16; k++)
            sums[k] += a * (int8_t)(k + 1);
    }
    __asm__ volatile("" : : "m"(sums));
    return 16.0 * (double)rounds;
}

/* Three ways to read memory, of which the fastest counts: in order; in order with the lines ahead
 * asked for early; and at several places in turn, so that more than one page is under way. */
enum { LINE = 64, WORDS = 8, STREAMS = 4, AHEAD = 32 * LINE };
typedef uint64_t line_words __attribute__((vector_size(LINE), aligned(8), may_alias));

/* Inlined into a function for each instruction set. */
#define READ_INLINE static inline __attribute__((always_inline))

READ_INLINE double read_in_order(const unsigned char *data, size_t size, size_t ahead)
{
    line_words sums[4] = {{0}, {0}, {0}, {0}};
    for (size_t i = 0; i + 4 * LINE <= size; i += 4 * LINE) {
        for (size_t k = 0; k < 4; k++) {
            if (ahead != 0)
                __builtin_prefetch(data + i + ahead + k * LINE);
            sums[k] ^= *(const line_words *)(const void *)(data + i + k * LINE);
        }
    }
    sums[0] ^= sums[1] ^ sums[2] ^ sums[3];
    __asm__ volatile("" : : "m"(sums));
    return (double)size;
}

READ_INLINE double read_in_turn(const unsigned char *data, size_t size)
{
    line_words sums[STREAMS] = {{0}, {0}, {0}, {0}};
    size_t part = size / STREAMS / (2 * LINE) * (2 * LINE);
    for (size_t i = 0; i < part; i += 2 * LINE) {
        for (size_t k = 0; k < STREAMS; k++) {
            const unsigned char *at = data + k * part + i;
            sums[k] ^= *(const line_words *)(const void *)at;
            sums[k] ^= *(const line_words *)(const void *)(at + LINE);
        }
    }
    sums[0] ^= sums[1] ^ sums[2] ^ sums[3];
    __asm__ volatile("" : : "m"(sums));
    return (double)(part * STREAMS);
}

#define READ_LOOPS(name, target)                                                                   \
    target static double read_forward_##name(const unsigned char *data, size_t size)               \
    {                                                                                              \
        return read_in_order(data, size, 0);                                                       \
    }                                                                                              \
    target static double read_ahead_##name(const unsigned char *data, size_t size)                 \
    {                                                                                              \
        return read_in_order(data, size, AHEAD);                                                   \
    }                                                                                              \
    target static double read_streams_##name(const unsigned char *data, size_t size)               \
    {                                                                                              \
        return read_in_turn(data, size);                                                           \
    }
#define READ_NAMES(name)                                                                           \
    {                                                                                              \
        read_forward_##name, read_ahead_##name, read_streams_##name                                \
    }

READ_LOOPS(plain, )

#if MACHINE_X86
__attribute__((target("avx2,fma"))) static double float_avx2(uint64_t rounds)
{
    __m256 sums[ACCUMULATORS];
    __m256 a = _mm256_set1_ps(0.5f);
    for (int k = 0; k < ACCUMULATORS; k++)
        sums[k] = _mm256_setzero_ps();
    for (uint64_t i = 0; i < rounds; i++) {
        __asm__ volatile("" : "+x"(a));
        for (int k = 0; k < ACCUMULATORS; k++)
            sums[k] = _mm256_fmadd_ps(a, a, sums[k]);
    }
    for (int k = 0; k < ACCUMULATORS; k++)
        __asm__ volatile("" : : "x"(sums[k]));
    return 8.0 * ACCUMULATORS * (double)rounds;
}

__attribute__((target("avx2"))) static double int8_avx2(uint64_t rounds)
{
    __m256i sums[ACCUMULATORS];
    __m256i a = _mm256_set1_epi8(3);
    __m256i b = _mm256_set1_epi8(-2);
    __m256i ones = _mm256_set1_epi16(1);
    for (int k = 0; k < ACCUMULATORS; k++)
        sums[k] = _mm256_setzero_si256();
    for (uint64_t i = 0; i < rounds; i++) {
        for (int k = 0; k < ACCUMULATORS; k++) {
            /* Opaque each time, or one product would serve all sums. */
            __asm__ volatile("" : "+x"(a));
            __m256i products = _mm256_maddubs_epi16(a, b);
            sums[k] = _mm256_add_epi32(sums[k], _mm256_madd_epi16(products, ones));
        }
    }
    for (int k = 0; k < ACCUMULATORS; k++)
        __asm__ volatile("" : : "x"(sums[k]));
    return 32.0 * ACCUMULATORS * (double)rounds;
}

READ_LOOPS(avx2, __attribute__((target("avx2"))))
READ_LOOPS(avx512, __attribute__((target("avx512f"))))

__attribute__((target("avx512f"))) static double float_avx512(uint64_t rounds)
{
    __m512 sums[ACCUMULATORS];
    __m512 a = _mm512_set1_ps(0.5f);
    for (int k = 0; k < ACCUMULATORS; k++)
        sums[k] = _mm512_setzero_ps();
    for (uint64_t i = 0; i < rounds; i++) {
        __asm__ volatile("" : "+v"(a));
        for (int k = 0; k < ACCUMULATORS; k++)
            sums[k] = _mm512_fmadd_ps(a, a, sums[k]);
    }
    for (int k = 0; k < ACCUMULATORS; k++)
        __asm__ volatile("" : : "v"(sums[k]));
    return 16.0 * ACCUMULATORS * (double)rounds;
}

__attribute__((target("avx512f,avx512bw"))) static double int8_avx512(uint64_t rounds)
{
    __m512i sums[ACCUMULATORS];
    __m512i a = _mm512_set1_epi8(3);
    __m512i b = _mm512_set1_epi8(-2);
    __m512i ones = _mm512_set1_epi16(1);
    for (int k = 0; k < ACCUMULATORS; k++)
        sums[k] = _mm512_setzero_si512();
    for (uint64_t i = 0; i < rounds; i++) {
        for (int k = 0; k < ACCUMULATORS; k++) {
            __asm__ volatile("" : "+v"(a));
            __m512i products = _mm512_maddubs_epi16(a, b);
            sums[k] = _mm512_add_epi32(sums[k], _mm512_madd_epi16(products, ones));
        }
    }
    for (int k = 0; k < ACCUMULATORS; k++)
        __asm__ volatile("" : : "v"(sums[k]));
    return 64.0 * ACCUMULATORS * (double)rounds;
}

__attribute__((target("avx512f,avx512bw,avx512vnni"))) static double int8_vnni(uint64_t rounds)
{
    __m512i sums[ACCUMULATORS];
    __m512i a = _mm512_set1_epi8(3);
    __m512i b = _mm512_set1_epi8(-2);
    for (int k = 0; k < ACCUMULATORS; k++)
        sums[k] = _mm512_setzero_si512();
    for (uint64_t i = 0; i < rounds; i++) {
        __asm__ volatile("" : "+v"(a));
        for (int k = 0; k < ACCUMULATORS; k++)
            sums[k] = _mm512_dpbusd_epi32(sums[k], a, b);
    }
    for (int k = 0; k < ACCUMULATORS; k++)
        __asm__ volatile("" : : "v"(sums[k]));
    return 64.0 * ACCUMULATORS * (double)rounds;
}
#endif

#define LOOPS(int8_, int8_isa_, real_, real_isa_, read_)                                           \
    (machine_loops)                                                                                \
    {                                                                                              \
        .int8 = int8_, .int8_isa = int8_isa_, .real = real_, .real_isa = real_isa_,                \
        .read = READ_NAMES(read_)                                                                  \
    }

machine_loops machine_best_loops(const char *isa)
{
    machine_loops set = LOOPS(int8_plain, "plain C", float_plain, "plain C", plain);
    (void)isa;
#if MACHINE_X86
    __builtin_cpu_init();
    bool wide = strcmp(isa, "avx2") != 0;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        set = LOOPS(int8_avx2, "avx2", float_avx2, "avx2 fma", avx2);
    if (wide && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
        set = LOOPS(int8_avx512, "avx512bw", float_avx512, "avx512f", avx512);
    if (wide && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni")) {
        set.int8 = int8_vnni;
        set.int8_isa = "avx512 vnni";
    }
#endif
    return set;
}
