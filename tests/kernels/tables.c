#include "tests/kernels/tables.h"

#if defined(RAD_TEST_EMULATED)
extern const rad_kernels rad_kernels_emulated_avx512;
extern const rad_kernels rad_kernels_emulated_avx512_vnni;
#endif

int all_tables(const rad_kernels *tables[MAX_TABLES])
{
    int n = 0;
    for (int isa = RAD_ISA_SCALAR; isa <= RAD_ISA_AVX512; isa++) {
        const rad_kernels *table = rad_kernels_find((rad_isa)isa, true);
        if (table != NULL)
            tables[n++] = table;
    }
#if defined(RAD_TEST_EMULATED)
    tables[n++] = &rad_kernels_emulated_avx512;
    tables[n++] = &rad_kernels_emulated_avx512_vnni;
#endif
    return n;
}
