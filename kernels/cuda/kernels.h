/* What the host half of the CUDA backend knows of the kernels: their arguments and descriptors.
 * Valid C11 and C++; pointers in argument structs are device pointers. A kernel takes one struct by
 * value, has one-dimensional blocks and grids of up to three dimensions. Sections per part. */
#ifndef RAD_CUDA_KERNELS_H
#define RAD_CUDA_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rad_cuda_kernel {
    const char *name;
    void (*entry)(void);     /* what launching names: the runtime's stub, or the host's function */
    uint32_t threads;        /* of a block, a multiple of 32 */
    uint32_t argument_bytes; /* of the struct */
} rad_cuda_kernel;

#define RAD_CUDA_DECLARE(name) extern const rad_cuda_kernel rad_cuda_kernel_##name

/* ---- elementwise ---------------------------------------------------------------------------- */

/* y[i] += x[i] for i < n; x and y aligned to 16. Grid: ceil(n / 1024). */
typedef struct rad_cuda_add_arguments {
    const float *x;
    float *y;
    uint64_t n;
} rad_cuda_add_arguments;
RAD_CUDA_DECLARE(add);

/* ---- measurements ---------------------------------------------------------------------------- */

/* Each warp does eight matrix instructions a round: of signed bytes (16 x 8 x 32 multiply-adds) or
 * bfloat16 (16 x 8 x 16). Grid: any number of blocks. */
enum { RAD_CUDA_PEAK_THREADS = 256 };
typedef struct rad_cuda_peak_arguments {
    uint32_t *out; /* a word of each thread, of no use */
    uint32_t rounds;
} rad_cuda_peak_arguments;
RAD_CUDA_DECLARE(peak_bytes);
RAD_CUDA_DECLARE(peak_halves);

/* ---- batches, the cache ---------------------------------------------------------------------- */

/* What a batch says of each of its rows (tokens). A row that is only there to fill up a batch has
 * end 0: nothing is stored of it, and attention gives zeros. */
typedef struct rad_cuda_row {
    uint32_t position;
    uint32_t end;      /* behind the last position that it sees: position + 1, or its span's end */
    uint32_t sequence; /* whose pages: row of the page tables */
    uint32_t token;
} rad_cuda_row;

/* Pages of one group of layers. The page of a sequence's tile t is number
 * tables[sequence * table_stride + (t < n_sinks ? t : n_sinks + t % n_slots)] of the pool. */
typedef struct rad_cuda_pages {
    uint8_t *pool;
    const uint32_t *tables;
    uint64_t page_bytes;
    uint32_t table_stride, n_sinks, n_slots;
    uint32_t reserved;
} rad_cuda_pages;

#include "kernels/cuda/kernels_products.h"
#include "kernels/cuda/kernels_products_float.h"

#ifdef __cplusplus
}
#endif

#endif
