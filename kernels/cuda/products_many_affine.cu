/* Products of many tokens: affine types of folders. */
#include "kernels/cuda/products_many.h"

#define AFFINE(bits, elements, kernel)                                                             \
    typedef rad_format_affine<bits, elements> rad_format_a##bits##_##elements;                     \
    kernel(a##bits##_##elements, rad_format_a##bits##_##elements)

AFFINE(2, 32, RAD_MANY)
AFFINE(3, 32, RAD_MANY)
AFFINE(4, 32, RAD_MANY)
AFFINE(5, 32, RAD_MANY)
AFFINE(6, 32, RAD_MANY)
AFFINE(8, 32, RAD_MANY_OF_ONE)
AFFINE(2, 128, RAD_MANY)
AFFINE(3, 128, RAD_MANY)
AFFINE(4, 128, RAD_MANY)
AFFINE(5, 128, RAD_MANY)
AFFINE(6, 128, RAD_MANY)
AFFINE(8, 128, RAD_MANY)
