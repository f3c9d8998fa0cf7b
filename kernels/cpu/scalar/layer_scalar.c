#define RAD_LAYER_TABLE rad_layer_kernels_scalar
#include "kernels/cpu/layer_template.c"
