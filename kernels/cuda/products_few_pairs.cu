/* Products of one token with queries and keys in one format and values in another, as mixtures of
 * formats have them (llama.cpp's Q4_K_M: half of the layers). A block has rows of one of the two.
 */
#include "kernels/cuda/products_few.h"

template <class F, class VALUES> RAD_DEVICE void few_pair(const rad_cuda_few_arguments &a)
{
    if (rad_block_x() < a.parts[a.n_parts - 1].first_block)
        few_product<F, true>(a);
    else
        few_product<VALUES, true>(a);
}

#define RAD_NORMED_PAIR(name, values)                                                              \
    RAD_CUDA_KERNEL_EARLY_BLOCKS(normed_##name##_##values, RAD_FEW_THREADS, 2,                     \
                                 rad_cuda_few_arguments, a)                                        \
    {                                                                                              \
        few_pair<rad_format_##name, rad_format_##values>(a);                                       \
    }
RAD_CUDA_FOR_NORMED_PAIRS(RAD_NORMED_PAIR)
