/* Products with 16-bit weights by large tiles: prompts. */
#include "kernels/cuda/products_half_many.h"

typedef half_tile<128, 256, 64, 64, 4> largest_tile; /* 255 registers a thread: a block at a time */
typedef half_tile<128, 128, 64, 64, 3> large_tile;   /* two */

RAD_CUDA_KERNEL(half_128x256_f16, largest_tile::THREADS, rad_cuda_half_arguments, a)
{
    many<largest_tile, false>(a);
}

RAD_CUDA_KERNEL(half_128x256_bf16, largest_tile::THREADS, rad_cuda_half_arguments, a)
{
    many<largest_tile, true>(a);
}

RAD_CUDA_KERNEL_BLOCKS(half_128x128_f16, large_tile::THREADS, 2, rad_cuda_half_arguments, a)
{
    many<large_tile, false>(a);
}

RAD_CUDA_KERNEL_BLOCKS(half_128x128_bf16, large_tile::THREADS, 2, rad_cuda_half_arguments, a)
{
    many<large_tile, true>(a);
}
