/* The kernel table for AVX2 with FMA, F16C and AVX-VNNI. The tests build it once more with the EVEX
 * encoding of the same instructions, for machines that have AVX-512 VNNI alone. */
#define WIDE_DOT 1
#if defined(RAD_EVEX_VNNI)
#define DOT_BYTES(sum, a, b) _mm256_dpbusd_epi32(sum, a, b)
#define DOT_WORDS(sum, a, b) _mm256_dpwssd_epi32(sum, a, b)
#else
#define DOT_BYTES(sum, a, b) _mm256_dpbusd_avx_epi32(sum, a, b)
#define DOT_WORDS(sum, a, b) _mm256_dpwssd_avx_epi32(sum, a, b)
#endif
#include "kernels/cpu/x86/vector_avx2.h"

#include "kernels/cpu/tables.h"

#ifndef TABLE_NAME
#define TABLE_NAME rad_kernels_avx2_vnni
#define TABLE_TEXT "avx2 vnni"
#endif
#define TABLE_ISA   RAD_ISA_AVX2
#define TABLE_LAYER &rad_layer_kernels_avx2_vnni
#include "kernels/cpu/x86/table.h"
