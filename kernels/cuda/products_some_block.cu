/* Products of some tokens: blocks. */
#include "kernels/cuda/products_some.h"

RAD_SOME(q4_0, rad_format_q4_0)
RAD_SOME(q4_1, rad_format_q4_1)
RAD_SOME(q5_0, rad_format_q5_0)
RAD_SOME_OF_TWO(q5_1, rad_format_q5_1)
RAD_SOME(q8_0, rad_format_q8_0)
RAD_SOME(iq4_nl, rad_format_iq4_nl)
RAD_SOME(mxfp4, rad_format_mxfp4)
RAD_SOME_OF_TWO(nvfp4, rad_format_nvfp4)
RAD_SOME(q1_0, rad_format_q1_0)
RAD_SOME_OF_TWO(q2_0, rad_format_q2_0)
