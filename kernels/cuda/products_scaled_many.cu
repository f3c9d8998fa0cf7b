/* Products with FP8, NF4 and FP4 weights of many tokens. */
#include "kernels/cuda/products_scaled_many.h"

typedef scaled_tile<128, 128, 32, 64> large_tile;
typedef scaled_tile<64, 64, 32, 32> small_tile;

static_assert(sizeof(scaled_shared<large_tile>) == RAD_CUDA_SCALED_BYTES(128, 128) &&
                  sizeof(scaled_shared<small_tile>) == RAD_CUDA_SCALED_BYTES(64, 64),
              "what launches give");
static_assert((uint32_t)RAD_CUDA_MANY_TOKENS == small_tile::TOKENS, "tiles of experts");

RAD_CUDA_KERNEL(scaled_128x128_fp8, large_tile::THREADS, rad_cuda_half_arguments, a)
{
    scaled_many<large_tile, scaled_fp8>(a);
}

RAD_CUDA_KERNEL(scaled_128x128_level4, large_tile::THREADS, rad_cuda_half_arguments, a)
{
    scaled_many<large_tile, scaled_level4>(a);
}

RAD_CUDA_KERNEL(scaled_64x64_fp8, small_tile::THREADS, rad_cuda_half_arguments, a)
{
    scaled_many<small_tile, scaled_fp8>(a);
}

RAD_CUDA_KERNEL(scaled_64x64_level4, small_tile::THREADS, rad_cuda_half_arguments, a)
{
    scaled_many<small_tile, scaled_level4>(a);
}

RAD_CUDA_KERNEL(scaled_grouped_fp8, small_tile::THREADS, rad_cuda_half_arguments, a)
{
    scaled_grouped<small_tile, scaled_fp8>(a);
}

RAD_CUDA_KERNEL(scaled_grouped_level4, small_tile::THREADS, rad_cuda_half_arguments, a)
{
    scaled_grouped<small_tile, scaled_level4>(a);
}
