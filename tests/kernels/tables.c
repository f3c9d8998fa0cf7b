#include "tests/kernels/tables.h"

#include "base/platform.h"
#include "kernels/cpu/tables.h"

#if defined(RAD_TEST_EMULATED)
extern const rad_kernels rad_kernels_emulated_avx512;
extern const rad_kernels rad_kernels_emulated_avx512_vnni;
#endif

#if defined(RAD_TEST_EVEX)
extern const rad_kernels rad_kernels_evex_avx2_vnni;
#endif

/* What this CPU can run although a better table of the same set takes its place. */
static int other_tables(const rad_kernels *tables[])
{
    rad_cpu cpu = rad_cpu_detect();
    int n = 0;
#if defined(__x86_64__)
    if (cpu.avx2)
        tables[n++] = &rad_kernels_scalar;
    if (cpu.avx_vnni)
        tables[n++] = &rad_kernels_avx2;
#if defined(RAD_TEST_EVEX)
    if (cpu.avx512_vnni)
        tables[n++] = &rad_kernels_evex_avx2_vnni;
#endif
    if (cpu.avx512_vnni)
        tables[n++] = &rad_kernels_avx512;
#elif defined(__aarch64__)
    if (cpu.i8mm)
        tables[n++] = &rad_kernels_neon_dotprod;
    if (cpu.dot_prod)
        tables[n++] = &rad_kernels_neon;
#endif
    return n;
}

#if defined(RAD_TEST_EMULATED)
/* Sanitizers watch the same sources where the processor itself runs them, in a tenth of the time.
 */
static bool is_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__)
    return true;
#elif defined(__has_feature)
    return __has_feature(address_sanitizer);
#else
    return false;
#endif
}
#endif

int all_tables(const rad_kernels *tables[MAX_TABLES])
{
    int n = 0;
    for (int isa = RAD_ISA_SCALAR; isa <= RAD_ISA_BEST; isa++) {
        const rad_kernels *table = rad_kernels_find((rad_isa)isa, true);
        if (table != NULL)
            tables[n++] = table;
    }
    n += other_tables(tables + n);
#if defined(RAD_TEST_EMULATED)
    if (!is_sanitized() || !rad_cpu_detect().avx512_vnni) {
        tables[n++] = &rad_kernels_emulated_avx512;
        tables[n++] = &rad_kernels_emulated_avx512_vnni;
    }
#endif
    return n;
}
