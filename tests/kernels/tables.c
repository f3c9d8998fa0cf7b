#include "tests/kernels/tables.h"

int all_tables(const rad_kernels *tables[MAX_TABLES])
{
    int n = 0;
    for (int isa = RAD_ISA_SCALAR; isa <= RAD_ISA_AVX512; isa++) {
        const rad_kernels *table = rad_kernels_find((rad_isa)isa, true);
        if (table != NULL)
            tables[n++] = table;
    }
    return n;
}
