/* The kernel table for Armv8 NEON with USDOT, which multiplies unsigned and signed bytes (i8mm). */
#define WIDE_DOT     1
#define UNSIGNED_DOT 1
#include "kernels/cpu/neon/vector_neon.h"

#include "kernels/cpu/tables.h"

#define TABLE_NAME  rad_kernels_neon_i8mm
#define TABLE_LAYER &rad_layer_kernels_neon_dotprod
#define TABLE_TEXT  "neon i8mm"
#define TABLE_ISA   RAD_ISA_NEON
#include "kernels/cpu/x86/table.h"
