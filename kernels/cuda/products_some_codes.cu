/* Products of some tokens: codes of fixed width, ternary types, LLM.int8. */
#include "kernels/cuda/products_some.h"

RAD_SOME(iq3_xxs, rad_format_iq3_xxs)
RAD_SOME(iq3_s, rad_format_iq3_s)
RAD_SOME(iq2_xxs, rad_format_iq2_xxs)
RAD_SOME(iq2_s, rad_format_iq2_s)
RAD_SOME(iq1_m, rad_format_iq1_m)
RAD_SOME(iq1_s, rad_format_iq1_s)
RAD_SOME(tq2_0, rad_format_tq2_0)
RAD_SOME(i2_s, rad_format_i2_s)
RAD_SOME_OF_TWO(int8, rad_format_int8)
