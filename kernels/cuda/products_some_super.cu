/* Products of some tokens: super-blocks. */
#include "kernels/cuda/products_some.h"

RAD_SOME(q4_k, rad_format_q4_k)
RAD_SOME_OF_TWO(q5_k, rad_format_q5_k)
RAD_SOME(q6_k, rad_format_q6_k)
RAD_SOME(q2_k, rad_format_q2_k)
RAD_SOME(q3_k, rad_format_q3_k)
RAD_SOME(iq4_xs, rad_format_iq4_xs)
