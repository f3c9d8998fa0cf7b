#define RAD_LAYER_NEON
#define RAD_LAYER_DOTPROD
#define RAD_LAYER_TABLE rad_layer_kernels_neon_dotprod
#include "kernels/cpu/layer_template.c"
