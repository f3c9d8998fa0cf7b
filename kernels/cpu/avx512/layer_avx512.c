#define RAD_LAYER_AVX512
#define RAD_LAYER_TABLE rad_layer_kernels_avx512
#include "kernels/cpu/layer_template.c"
