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

/* A table of this build, and whether this processor can run it. */
typedef struct candidate {
    bool runs;
    const rad_kernels *products;
    const rad_layer_kernels *layer;
} candidate;

/* All of them. Returns how many. */
static int all_candidates(candidate out[MAX_TABLES])
{
    rad_cpu cpu = rad_cpu_detect();
    int n = 0;
    out[n++] = (candidate){true, &rad_kernels_scalar, &rad_layer_kernels_scalar};
#if defined(__x86_64__)
    out[n++] = (candidate){cpu.avx2, &rad_kernels_scalar_fma, &rad_layer_kernels_scalar_fma};
    out[n++] = (candidate){cpu.avx2, &rad_kernels_avx2, &rad_layer_kernels_avx2};
    out[n++] = (candidate){cpu.avx_vnni, &rad_kernels_avx2_vnni, &rad_layer_kernels_avx2_vnni};
    out[n++] = (candidate){cpu.avx512, &rad_kernels_avx512, &rad_layer_kernels_avx512};
    out[n++] =
        (candidate){cpu.avx512_vnni, &rad_kernels_avx512_vnni, &rad_layer_kernels_avx512_vnni};
#if defined(RAD_TEST_EVEX)
    out[n++] = (candidate){cpu.avx512_vnni, &rad_kernels_evex_avx2_vnni,
                           &rad_layer_kernels_evex_avx2_vnni};
#endif
#if defined(RAD_TEST_EMULATED) /* built upon AVX2 */
    out[n++] = (candidate){cpu.avx2, &rad_kernels_emulated_avx512, &rad_layer_kernels_emulated};
    out[n++] = (candidate){cpu.avx2, &rad_kernels_emulated_avx512_vnni, NULL};
#endif
#elif defined(__aarch64__)
    out[n++] = (candidate){cpu.neon, &rad_kernels_neon, &rad_layer_kernels_neon};
    out[n++] =
        (candidate){cpu.dot_prod, &rad_kernels_neon_dotprod, &rad_layer_kernels_neon_dotprod};
    out[n++] = (candidate){cpu.i8mm, &rad_kernels_neon_i8mm, &rad_layer_kernels_neon_dotprod};
#else
    (void)cpu;
#endif
    return n;
}

int all_tables(table tables[MAX_TABLES])
{
    candidate known[MAX_TABLES];
    int n_known = all_candidates(known), n = 0;
    for (int i = 0; i < n_known; i++) {
        if (!known[i].runs)
            continue;
        tables[n] = (table){known[i].products->name, known[i].products, known[i].layer};
        for (int earlier = 0; earlier < n; earlier++)
            if (tables[earlier].layer == tables[n].layer) /* of two that share it, the first */
                tables[n].layer = NULL;
        n++;
    }
    return n;
}

int missing_tables(const char *names[MAX_TABLES])
{
    candidate known[MAX_TABLES];
    int n_known = all_candidates(known), n = 0;
    for (int i = 0; i < n_known; i++)
        if (!known[i].runs)
            names[n++] = known[i].products->name;
    return n;
}
