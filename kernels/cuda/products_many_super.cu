/* Products of many tokens: super-blocks. */
#include "kernels/cuda/products_many.h"

RAD_MANY(q4_k, rad_format_q4_k)
RAD_MANY(q5_k, rad_format_q5_k)
RAD_MANY(q6_k, rad_format_q6_k)
RAD_MANY_OF_ONE(q2_k, rad_format_q2_k)
RAD_MANY(q3_k, rad_format_q3_k)
RAD_MANY(iq4_xs, rad_format_iq4_xs)
