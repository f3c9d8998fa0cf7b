/* Products of few tokens with blocks of 32 columns. */
#include "kernels/cuda/products_few.h"

RAD_CUDA_KERNEL(few_q4_0, RAD_FEW_THREADS, rad_cuda_product_arguments, a)
{
    few_product<rad_format_q4_0>(a);
}

RAD_CUDA_KERNEL(few_q8_0, RAD_FEW_THREADS, rad_cuda_product_arguments, a)
{
    few_product<rad_format_q8_0>(a);
}
