/* The kernel table for Armv8 NEON without dot products. */
#include "kernels/cpu/neon/vector_neon.h"

#include "kernels/cpu/tables.h"

#define TABLE_NAME  rad_kernels_neon
#define TABLE_LAYER &rad_layer_kernels_neon
#define TABLE_TEXT  "neon"
#define TABLE_ISA   RAD_ISA_NEON
#include "kernels/cpu/x86/table.h"
