#define RAD_LAYER_AVX512
#define RAD_LAYER_VNNI
#define RAD_LAYER_TABLE rad_layer_kernels_avx512_vnni
#include "kernels/cpu/layer_template.c"
