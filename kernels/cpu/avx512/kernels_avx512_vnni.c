/* The kernel table for AVX-512 F, BW, VL and DQ with VNNI. */
#define WIDE_DOT 1
#include "kernels/cpu/x86/vector_avx512.h"

#include "kernels/cpu/tables.h"

#ifndef TABLE_NAME /* the tests build the same table under another name, emulated */
#define TABLE_NAME  rad_kernels_avx512_vnni
#define TABLE_LAYER &rad_layer_kernels_avx512_vnni
#define TABLE_TEXT  "avx512 vnni"
#endif
#define TABLE_ISA RAD_ISA_AVX512
#include "kernels/cpu/x86/table.h"
