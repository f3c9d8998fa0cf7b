/* The AVX-512 layer kernels with every instruction emulated, for machines that lack them. */
#define RAD_LAYER_AVX512
#define RAD_LAYER_EMULATED
#define RAD_LAYER_TABLE rad_layer_kernels_emulated
#include "kernels/cpu/layer.h"
extern const rad_layer_kernels rad_layer_kernels_emulated;
#include "kernels/cpu/layer_template.c"
