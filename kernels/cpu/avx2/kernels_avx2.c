/* The kernel table for AVX2 with FMA and F16C. */
#include "kernels/cpu/x86/vector_avx2.h"

#define TABLE_NAME rad_kernels_avx2
#define TABLE_ISA RAD_ISA_AVX2
#define TABLE_TEXT "avx2"

#include "kernels/kernels.h"

extern const rad_kernels rad_kernels_avx2;

#include "kernels/cpu/x86/table.h"
