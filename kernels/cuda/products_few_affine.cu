/* Products of few tokens: affine types of folders. */
#include "kernels/cuda/products_few.h"

#define AFFINE(bits, elements)                                                                     \
    typedef rad_format_affine<bits, elements> rad_format_a##bits##_##elements;                     \
    RAD_FEW_OF_TWO(a##bits##_##elements, rad_format_a##bits##_##elements)                          \
    RAD_NORMED(a##bits##_##elements, rad_format_a##bits##_##elements, 2)

AFFINE(2, 32)
AFFINE(3, 32)
AFFINE(4, 32)
AFFINE(5, 32)
AFFINE(6, 32)
AFFINE(8, 32)
AFFINE(2, 128)
AFFINE(3, 128)
AFFINE(4, 128)
AFFINE(5, 128)
AFFINE(6, 128)
AFFINE(8, 128)
