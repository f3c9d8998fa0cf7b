/* Products of few tokens: blocks, but Q4_0 and Q8_0. */
#include "kernels/cuda/products_few.h"

RAD_FEW_OF_TWO(q4_1, rad_format_q4_1)
RAD_FEW_OF_TWO(q5_0, rad_format_q5_0)
RAD_FEW_OF_TWO(q5_1, rad_format_q5_1)
RAD_FEW_OF_TWO(iq4_nl, rad_format_iq4_nl)
RAD_FEW_OF_TWO(mxfp4, rad_format_mxfp4)
RAD_FEW_OF_TWO(nvfp4, rad_format_nvfp4)
RAD_FEW_OF_TWO(q1_0, rad_format_q1_0)
RAD_FEW_OF_TWO(q2_0, rad_format_q2_0)

RAD_NORMED(q4_1, rad_format_q4_1, 2)
RAD_NORMED(q5_0, rad_format_q5_0, 2)
RAD_NORMED(q5_1, rad_format_q5_1, 2)
RAD_NORMED(iq4_nl, rad_format_iq4_nl, 2)
RAD_NORMED(mxfp4, rad_format_mxfp4, 2)
RAD_NORMED(nvfp4, rad_format_nvfp4, 2)
RAD_NORMED(q1_0, rad_format_q1_0, 3)
RAD_NORMED(q2_0, rad_format_q2_0, 3)
