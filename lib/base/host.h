/* The cancellation flag's inside. */
#ifndef RAD_HOST_H
#define RAD_HOST_H

#include <stdatomic.h>

#include "base/base.h"

struct radllm_cancel {
    rad_allocator allocator;
    atomic_int stop; /* lock-free, so that a signal handler may set it */
};

#endif
