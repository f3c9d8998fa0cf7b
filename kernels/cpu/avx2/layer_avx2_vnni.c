/* The tests build this once more with the EVEX encoding of AVX-VNNI's instructions. */
#define RAD_LAYER_AVX2
#ifndef RAD_LAYER_EVEX_VNNI
#define RAD_LAYER_VNNI
#define RAD_LAYER_TABLE rad_layer_kernels_avx2_vnni
#endif
#include "kernels/cpu/layer_template.c"
