/* Work that needs what several blocks of a kernel make: the last one of them goes on with it. */
#ifndef RAD_CUDA_LAST_BLOCK_H
#define RAD_CUDA_LAST_BLOCK_H

#include "kernels/cuda/device.h"

/* Whether this block is the last of n that come here: it then sees what they wrote. The counter is
 * 0 before the first and behind the last one. flag: in shared memory. */
RAD_DEVICE bool is_last(uint32_t *counter, uint32_t n, uint32_t *flag)
{
    rad_barrier();
    if (rad_thread() == 0) {
        rad_fence();
        bool last = rad_atomic_add_u32(counter, 1) + 1 == n;
        *flag = last ? 1 : 0;
        if (last) {
            *counter = 0;
            rad_fence();
        }
    }
    rad_barrier();
    return *flag != 0;
}

#endif
