/* Products of few tokens: super-blocks. */
#include "kernels/cuda/products_few.h"

RAD_FEW(q4_k, rad_format_q4_k)
RAD_FEW(q5_k, rad_format_q5_k)
RAD_FEW(q6_k, rad_format_q6_k)
RAD_FEW(q2_k, rad_format_q2_k)
RAD_FEW(q3_k, rad_format_q3_k)
RAD_FEW(iq4_xs, rad_format_iq4_xs)

RAD_NORMED(q4_k, rad_format_q4_k, 3)
RAD_NORMED(q5_k, rad_format_q5_k, 2)
RAD_NORMED(q6_k, rad_format_q6_k, 2)
RAD_NORMED(q2_k, rad_format_q2_k, 3)
RAD_NORMED(q3_k, rad_format_q3_k, 3)
RAD_NORMED(iq4_xs, rad_format_iq4_xs, 2)
