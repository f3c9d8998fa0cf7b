/* Kernels that test the harness itself: what it must compute, and what it must find. */
#ifndef RAD_CUDA_HARNESS_KERNELS_H
#define RAD_CUDA_HARNESS_KERNELS_H

#include "kernels/cuda/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum rad_harness_mode {
    HARNESS_REVERSE,         /* out[i] = in[n - 1 - i] of each block, by shared memory */
    HARNESS_NO_BARRIER,      /* the same without its barrier */
    HARNESS_EARLY_RETURN,    /* thread 7 returns before it */
    HARNESS_TWO_BARRIERS,    /* thread 7 waits at another one */
    HARNESS_MISSING_LANE,    /* lane 5 does not come to a shuffle */
    HARNESS_OTHER_OPERATION, /* lane 5 comes to another operation */
    HARNESS_READ_BEHIND,     /* reads in[n] */
    HARNESS_READ_BEFORE,     /* reads in[-1] */
    HARNESS_WRITE_BEHIND,    /* writes out[n] */
    HARNESS_SHARED_BEHIND,   /* writes behind a shared array */
    HARNESS_DYNAMIC_BEHIND,  /* writes behind the dynamic shared bytes */
    HARNESS_MISALIGNED,      /* 16 bytes from an address that is no multiple of 16 */
    HARNESS_UNINITIALISED,   /* out = shared memory that nobody wrote */
    HARNESS_COPY_ASYNC,      /* out = in, by asynchronous copies in two groups */
    HARNESS_COPY_NOT_WAITED, /* the same without the last wait */
    HARNESS_DEEP_STACK,      /* more stack than there is */
    HARNESS_WARP,            /* shuffles, ballots, atomics: out is written by the formulas below */
    /* of harness_early: */
    HARNESS_EARLY,       /* out = in, which is read before the kernel has waited for earlier ones */
    HARNESS_EARLY_COPY,  /* the same by an asynchronous copy */
    HARNESS_EARLY_WRITE, /* writes before it has waited */
    HARNESS_NEVER_WAITS, /* thread 33 does not */
} rad_harness_mode;

/* One block of 64 threads per 64 numbers; 64 words of dynamic shared memory. */
typedef struct rad_cuda_harness_arguments {
    int mode;
    const uint32_t *in;
    uint32_t *out;
    uint32_t *counter; /* of HARNESS_WARP */
} rad_cuda_harness_arguments;
RAD_CUDA_DECLARE(harness);
RAD_CUDA_DECLARE(harness_early);

/* One warp: d = a b + d in each kind of matrix instruction; a 16 rows, b by column (8), c 16 x 8.
 */
typedef enum rad_harness_mma { HARNESS_S8, HARNESS_F16, HARNESS_BF16 } rad_harness_mma;
typedef struct rad_cuda_harness_mma_arguments {
    int kind;
    const uint8_t *a, *b; /* 32 bytes a row, or a column */
    uint32_t *c;
} rad_cuda_harness_mma_arguments;
RAD_CUDA_DECLARE(harness_mma);

#ifdef __cplusplus
}
#endif

#endif
