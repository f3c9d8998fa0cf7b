/* Products of many tokens: codes of fixed width, ternary types, LLM.int8. */
#include "kernels/cuda/products_many.h"

RAD_MANY(iq3_xxs, rad_format_iq3_xxs)
RAD_MANY(iq3_s, rad_format_iq3_s)
RAD_MANY(iq2_xxs, rad_format_iq2_xxs)
RAD_MANY(iq2_s, rad_format_iq2_s)
RAD_MANY(iq1_m, rad_format_iq1_m)
RAD_MANY(iq1_s, rad_format_iq1_s)
RAD_MANY(tq2_0, rad_format_tq2_0)
RAD_MANY(i2_s, rad_format_i2_s)
RAD_MANY(int8, rad_format_int8)
