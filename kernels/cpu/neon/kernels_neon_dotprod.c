/* The kernel table for Armv8 NEON with SDOT. */
#define WIDE_DOT 1
#include "kernels/cpu/neon/vector_neon.h"

#include "kernels/cpu/tables.h"

#define TABLE_NAME  rad_kernels_neon_dotprod
#define TABLE_LAYER &rad_layer_kernels_neon_dotprod
#define TABLE_TEXT  "neon dotprod"
#define TABLE_ISA   RAD_ISA_NEON
#include "kernels/cpu/x86/table.h"
