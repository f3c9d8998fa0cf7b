#define RAD_LAYER_AVX2
#define RAD_LAYER_TABLE rad_layer_kernels_avx2
#include "kernels/cpu/layer_template.c"
