/* The kernel table for AVX2 with FMA and F16C. */
#include "kernels/cpu/x86/vector_avx2.h"

#include "kernels/cpu/tables.h"

#define TABLE_NAME  rad_kernels_avx2
#define TABLE_ISA   RAD_ISA_AVX2
#define TABLE_TEXT  "avx2"
#define TABLE_LAYER &rad_layer_kernels_avx2
#include "kernels/cpu/x86/table.h"
