/* Products of few tokens: codes of fixed width, ternary types, LLM.int8. */
#include "kernels/cuda/products_few.h"

RAD_FEW(iq3_xxs, rad_format_iq3_xxs)
RAD_FEW(iq3_s, rad_format_iq3_s)
RAD_FEW(iq2_xxs, rad_format_iq2_xxs)
RAD_FEW(iq2_s, rad_format_iq2_s)
RAD_FEW(iq1_m, rad_format_iq1_m)
RAD_FEW(iq1_s, rad_format_iq1_s)
RAD_FEW(tq2_0, rad_format_tq2_0)
RAD_FEW(i2_s, rad_format_i2_s)
RAD_FEW(int8, rad_format_int8)

RAD_NORMED(iq3_xxs, rad_format_iq3_xxs, 2)
RAD_NORMED(iq3_s, rad_format_iq3_s, 2)
RAD_NORMED(iq2_xxs, rad_format_iq2_xxs, 3)
RAD_NORMED(iq2_s, rad_format_iq2_s, 3)
RAD_NORMED(iq1_m, rad_format_iq1_m, 3)
RAD_NORMED(iq1_s, rad_format_iq1_s, 3)
RAD_NORMED(tq2_0, rad_format_tq2_0, 3)
