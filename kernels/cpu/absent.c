/* In the place of the kernels of an instruction set that a build leaves out because its machine
 * cannot run them (the option native_kernels): a table with a name alone, which is never chosen. */
#include "kernels/cpu/layer.h"
#include "kernels/cpu/tables.h"

#if defined(TABLE_NAME)
const rad_kernels TABLE_NAME = {.name = TABLE_TEXT};
#else
const rad_layer_kernels RAD_LAYER_TABLE = {.rms_norm = NULL};
#endif
