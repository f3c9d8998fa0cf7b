#define TABLE_NAME  rad_kernels_scalar_fma
#define TABLE_TEXT  "scalar fma"
#define TABLE_LAYER rad_layer_kernels_scalar_fma
#include "kernels/cpu/scalar/table.h"
