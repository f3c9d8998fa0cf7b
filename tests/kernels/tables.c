#include "tests/kernels/tables.h"

#include "base/platform.h"
#include "kernels/cpu/tables.h"

#if defined(RAD_TEST_EMULATED)
extern const rad_kernels rad_kernels_emulated_avx512;
extern const rad_kernels rad_kernels_emulated_avx512_vnni;
extern const rad_layer_kernels rad_layer_kernels_emulated;
#endif

#if defined(RAD_TEST_EVEX)
/* The AVX-VNNI tables in EVEX encoding, for machines that have the instructions in that alone. */
extern const rad_kernels rad_kernels_evex_avx2_vnni;
extern const rad_layer_kernels rad_layer_kernels_evex_avx2_vnni;
#endif

static int put(table *tables, int n, const rad_kernels *products, const rad_layer_kernels *layer)
{
    for (int i = 0; i < n; i++)
        if (tables[i].layer == layer) /* of two tables that share it, the first */
            layer = NULL;
    tables[n] = (table){products->name, products, layer};
    return n + 1;
}

int all_tables(table tables[MAX_TABLES])
{
    rad_cpu cpu = rad_cpu_detect();
    int n = put(tables, 0, &rad_kernels_scalar, &rad_layer_kernels_scalar);
#if defined(__x86_64__)
    if (cpu.avx2) {
        n = put(tables, n, &rad_kernels_scalar_fma, &rad_layer_kernels_scalar_fma);
        n = put(tables, n, &rad_kernels_avx2, &rad_layer_kernels_avx2);
    }
    if (cpu.avx_vnni)
        n = put(tables, n, &rad_kernels_avx2_vnni, &rad_layer_kernels_avx2_vnni);
    if (cpu.avx512)
        n = put(tables, n, &rad_kernels_avx512, &rad_layer_kernels_avx512);
    if (cpu.avx512_vnni)
        n = put(tables, n, &rad_kernels_avx512_vnni, &rad_layer_kernels_avx512_vnni);
#if defined(RAD_TEST_EVEX)
    if (cpu.avx512_vnni)
        n = put(tables, n, &rad_kernels_evex_avx2_vnni, &rad_layer_kernels_evex_avx2_vnni);
#endif
#if defined(RAD_TEST_EMULATED)
    if (cpu.avx2) { /* which the emulation is built upon */
        n = put(tables, n, &rad_kernels_emulated_avx512, &rad_layer_kernels_emulated);
        n = put(tables, n, &rad_kernels_emulated_avx512_vnni, NULL);
    }
#endif
#elif defined(__aarch64__)
    if (cpu.neon)
        n = put(tables, n, &rad_kernels_neon, &rad_layer_kernels_neon);
    if (cpu.dot_prod)
        n = put(tables, n, &rad_kernels_neon_dotprod, &rad_layer_kernels_neon_dotprod);
    if (cpu.i8mm)
        n = put(tables, n, &rad_kernels_neon_i8mm, &rad_layer_kernels_neon_dotprod);
#else
    (void)cpu;
#endif
    return n;
}
