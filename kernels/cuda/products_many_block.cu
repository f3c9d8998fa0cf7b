/* Products of many tokens: blocks. */
#include "kernels/cuda/products_many.h"

RAD_MANY(q4_0, rad_format_q4_0)
RAD_MANY(q4_1, rad_format_q4_1)
RAD_MANY(q5_0, rad_format_q5_0)
RAD_MANY(q5_1, rad_format_q5_1)
RAD_MANY(q8_0, rad_format_q8_0)
RAD_MANY(iq4_nl, rad_format_iq4_nl)
RAD_MANY_OF_ONE(mxfp4, rad_format_mxfp4)
RAD_MANY(nvfp4, rad_format_nvfp4)
RAD_MANY(q1_0, rad_format_q1_0)
RAD_MANY(q2_0, rad_format_q2_0)
