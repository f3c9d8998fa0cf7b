#define RAD_LAYER_TABLE rad_layer_kernels_scalar_fma
#include "kernels/cpu/layer_template.c"
