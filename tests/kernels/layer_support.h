/* What the tests of the layer kernels share: the tables, input of three flavours, guards. Included
 * once by each test program. */
#ifndef LAYER_SUPPORT_H
#define LAYER_SUPPORT_H

#include "unit/harness.h"

#include <string.h>

#include "base/numeric.h"
#include "base/numeric_f32.h"
#include "base/platform.h"
#include "kernels/cpu/layer.h"

#define GUARD     0x7f1234abu /* a signalling NaN that no kernel makes */
#define GUARDS    64
#define MAX_DIM   576
#define MAX_QUERY 40

/* Check notes every assertion, which is slow: in loops over values failures alone are told. */
#define require(truth)                                                                             \
    do {                                                                                           \
        if (!(truth))                                                                              \
            ck_abort_msg("not true: %s", #truth);                                                  \
    } while (0)

#if defined(RAD_TEST_EMULATED)
extern const rad_layer_kernels rad_layer_kernels_emulated;
#endif
#if defined(RAD_TEST_EVEX)
/* The AVX-VNNI table in EVEX encoding, for machines that have the instructions in that alone. */
extern const rad_layer_kernels rad_layer_kernels_evex_avx2_vnni;
#endif

typedef struct table {
    const char *name;
    const rad_layer_kernels *kernels;
} table;

static table tables[8];
static size_t n_tables;

static void find_tables(void)
{
    n_tables = 0;
    tables[n_tables++] = (table){"scalar", &rad_layer_kernels_scalar};
#if defined(__x86_64__)
    rad_cpu cpu = rad_cpu_detect();
    if (cpu.avx2) {
        tables[n_tables++] = (table){"scalar fma", &rad_layer_kernels_scalar_fma};
        tables[n_tables++] = (table){"avx2", &rad_layer_kernels_avx2};
    }
#if defined(RAD_TEST_EMULATED)
    if (cpu.avx2) /* the emulation is built upon AVX2 */
        tables[n_tables++] = (table){"emulated", &rad_layer_kernels_emulated};
#endif
    if (cpu.avx512)
        tables[n_tables++] = (table){"avx512", &rad_layer_kernels_avx512};
    if (cpu.avx_vnni)
        tables[n_tables++] = (table){"avx2 vnni", &rad_layer_kernels_avx2_vnni};
    if (cpu.avx512_vnni)
        tables[n_tables++] = (table){"avx512 vnni", &rad_layer_kernels_avx512_vnni};
#if defined(RAD_TEST_EVEX)
    if (cpu.avx512_vnni)
        tables[n_tables++] = (table){"evex avx2 vnni", &rad_layer_kernels_evex_avx2_vnni};
#endif
#elif defined(__aarch64__)
    rad_cpu cpu = rad_cpu_detect();
    if (cpu.neon)
        tables[n_tables++] = (table){"neon", &rad_layer_kernels_neon};
    if (cpu.dot_prod)
        tables[n_tables++] = (table){"neon dotprod", &rad_layer_kernels_neon_dotprod};
#endif
}

/* ---- input -------------------------------------------------------------------------------- */

typedef enum flavour { ORDINARY, WIDE, EXTREME, FLAVOURS } flavour;

static uint64_t stream;

static uint32_t random_bits(void)
{
    uint32_t counter[4] = {(uint32_t)stream, (uint32_t)(stream >> 32), 7, 0};
    uint32_t key[2] = {0x1234, 0}, out[4];
    stream++;
    rad_philox(counter, key, out);
    return out[0];
}

static uint32_t random_below(uint32_t limit)
{
    return (uint32_t)((uint64_t)random_bits() * limit >> 32);
}

static float random_value(flavour kind)
{
    static const uint32_t extremes[] = {
        0x7fc00000, 0x7f800000, 0xff800000, 0x00000000, 0x80000000, 0x00000001, 0x807fffff,
        0x00800000, 0x7f7fffff, 0xff7fffff, 0x477fe000, 0x477ff000, 0x47800000, 0xc77fefff,
        0x33000000, 0x33000001, 0x387fc000, 0x42b17218, 0xc2ae0000, 0xc2ae0001, 0x7fa00000};
    uint32_t bits = random_bits();
    if (kind == ORDINARY)
        return ((float)(bits >> 8) - 8388608.0f) * 0x1p-22f;
    if (kind == EXTREME && random_below(8) == 0)
        return rad_float_of_bits(extremes[random_below(sizeof extremes / sizeof extremes[0])]);
    uint32_t exponent = kind == WIDE ? 100 + random_below(50) : random_below(255);
    return rad_float_of_bits((bits & 0x807fffffu) | exponent << 23);
}

static void fill(float *values, size_t n, flavour kind)
{
    for (size_t i = 0; i < n; i++)
        values[i] = random_value(kind);
}

static void fill_guards(float *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = GUARD;
        memcpy(values + i, &bits, sizeof bits);
    }
}

static void check_guards(const float *values, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, values + i, sizeof bits);
        if (bits != GUARD)
            ck_abort_msg("%s wrote %zu floats beyond its output", what, i + 1);
    }
}

static bool same(float a, float b)
{
    return rad_float_bits(a) == rad_float_bits(b) || (a != a && b != b);
}

static void check_same(const float *expected, const float *got, size_t n, const char *what,
                       const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!same(expected[i], got[i]))
            ck_abort_msg("%s of %s: value %zu of %zu is %a, not %a", what, name, i, n,
                         (double)got[i], (double)expected[i]);
}

#endif
