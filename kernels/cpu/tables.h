/* The kernel tables of the instruction sets; rad_kernels_find() chooses. */
#ifndef RAD_TABLES_H
#define RAD_TABLES_H

#include "kernels/cpu/layer.h"
#include "kernels/kernels.h"

extern const rad_kernels rad_kernels_scalar;

#if defined(__x86_64__)
extern const rad_kernels rad_kernels_scalar_fma; /* the same C where the processor has FMA */
extern const rad_kernels rad_kernels_avx2;
extern const rad_kernels rad_kernels_avx2_vnni;
extern const rad_kernels rad_kernels_avx512;
extern const rad_kernels rad_kernels_avx512_vnni;
#elif defined(__aarch64__)
extern const rad_kernels rad_kernels_neon;
extern const rad_kernels rad_kernels_neon_dotprod;
extern const rad_kernels rad_kernels_neon_i8mm;
#endif

#endif
