/* Products of few tokens: Q4_0 and Q8_0. Apart from the other blocks, since tests put faults into
 * what all formats share and compile it anew for each (tests/cuda/mutants.py). */
#include "kernels/cuda/products_few.h"

RAD_FEW_OF_TWO(q4_0, rad_format_q4_0)
RAD_FEW_OF_TWO(q8_0, rad_format_q8_0)

RAD_NORMED(q4_0, rad_format_q4_0, 2)
RAD_NORMED(q8_0, rad_format_q8_0, 2)
