/* Products with 16-bit weights by small tiles: some tens of tokens, where reading the weights takes
 * the time, and all multiprocessors are to take part. */
#include "kernels/cuda/products_half_many.h"

typedef half_tile<64, 64, 32, 32, 6> square_tile;
typedef half_tile<128, 64, 64, 32, 4> higher_tile;
typedef half_tile<32, 64, 16, 32, 8> wide_tile;
typedef half_tile<64, 32, 32, 16, 8> high_tile;

RAD_CUDA_KERNEL(half_64x64_f16, square_tile::THREADS, rad_cuda_half_arguments, a)
{
    many<square_tile, false>(a);
}

RAD_CUDA_KERNEL(half_64x64_bf16, square_tile::THREADS, rad_cuda_half_arguments, a)
{
    many<square_tile, true>(a);
}

RAD_CUDA_KERNEL(half_32x64_f16, wide_tile::THREADS, rad_cuda_half_arguments, a)
{
    many<wide_tile, false>(a);
}

RAD_CUDA_KERNEL(half_32x64_bf16, wide_tile::THREADS, rad_cuda_half_arguments, a)
{
    many<wide_tile, true>(a);
}

RAD_CUDA_KERNEL(half_64x32_f16, high_tile::THREADS, rad_cuda_half_arguments, a)
{
    many<high_tile, false>(a);
}

RAD_CUDA_KERNEL(half_64x32_bf16, high_tile::THREADS, rad_cuda_half_arguments, a)
{
    many<high_tile, true>(a);
}

RAD_CUDA_KERNEL(half_128x64_f16, higher_tile::THREADS, rad_cuda_half_arguments, a)
{
    many<higher_tile, false>(a);
}

RAD_CUDA_KERNEL(half_128x64_bf16, higher_tile::THREADS, rad_cuda_half_arguments, a)
{
    many<higher_tile, true>(a);
}

static_assert((uint32_t)RAD_CUDA_MANY_TOKENS == square_tile::TOKENS, "tiles of experts");

RAD_CUDA_KERNEL(half_grouped_f16, square_tile::THREADS, rad_cuda_half_arguments, a)
{
    grouped<square_tile, false>(a);
}

RAD_CUDA_KERNEL(half_grouped_bf16, square_tile::THREADS, rad_cuda_half_arguments, a)
{
    grouped<square_tile, true>(a);
}
