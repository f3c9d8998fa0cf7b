#define TABLE_NAME  rad_kernels_scalar
#define TABLE_TEXT  "scalar"
#define TABLE_LAYER rad_layer_kernels_scalar
#include "kernels/cpu/scalar/table.h"
