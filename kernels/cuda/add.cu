#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels.h"

/* Four elements a thread; the last few one by one. */
RAD_CUDA_KERNEL(add, 256, rad_cuda_add_arguments, a)
{
    uint64_t first = ((uint64_t)rad_block_x() * 256 + rad_thread()) * 4;
    if (first + 4 <= a.n) {
        rad_f4 x = rad_floats(rad_load16(a.x + first));
        rad_f4 y = rad_floats(rad_load16(a.y + first));
        rad_store16(a.y + first, rad_words({y.x + x.x, y.y + x.y, y.z + x.z, y.w + x.w}));
    } else {
        for (uint64_t i = first; i < a.n; i++)
            a.y[i] += a.x[i];
    }
}
