/* Chooses the kernel table that this CPU can run. */
#include "kernels/kernels.h"

#include "base/platform.h"
#include "kernels/cpu/float_block.h"
#include "kernels/cpu/lane.h"
#include "kernels/cpu/tables.h"

/* The best table of exactly this instruction set, or NULL. */
static const rad_kernels *table_of(rad_isa isa)
{
#if defined(__x86_64__)
    rad_cpu cpu = rad_cpu_detect();
    if (isa == RAD_ISA_SCALAR && cpu.avx2) /* which is with FMA */
        return &rad_kernels_scalar_fma;
    if (isa == RAD_ISA_AVX512 && cpu.avx512)
        return cpu.avx512_vnni ? &rad_kernels_avx512_vnni : &rad_kernels_avx512;
    if (isa == RAD_ISA_AVX2 && cpu.avx2)
        return cpu.avx_vnni ? &rad_kernels_avx2_vnni : &rad_kernels_avx2;
#elif defined(__aarch64__)
    rad_cpu cpu = rad_cpu_detect();
    if (isa == RAD_ISA_NEON && cpu.neon)
        return cpu.i8mm       ? &rad_kernels_neon_i8mm
               : cpu.dot_prod ? &rad_kernels_neon_dotprod
                              : &rad_kernels_neon;
#endif
    return isa == RAD_ISA_SCALAR ? &rad_kernels_scalar : NULL;
}

const rad_kernels *rad_kernels_find(rad_isa limit, bool exact)
{
    const rad_kernels *table = table_of(limit);
    while (table == NULL && !exact && limit > RAD_ISA_SCALAR) {
        limit = (rad_isa)(limit - 1);
        table = table_of(limit);
    }
    return table;
}

size_t rad_product_scratch_bytes(const rad_matrix *w)
{
    /* Quantized formats: unpacked panels of 16 rows x 256 columns with their scales, and the sums
     * of a run of tokens. Float formats: rows widened to F32 and partial sums. */
    const rad_type_info *info = rad_type_find((uint32_t)w->type);
    if (info == NULL || info->family == RAD_FAMILY_NONE)
        return 64;
    if (info->family == RAD_FAMILY_FLOAT || info->family == RAD_FAMILY_SCALED)
        return rad_float_scratch_bytes(w->n_columns);
    return RAD_PRODUCT_SCRATCH;
}
