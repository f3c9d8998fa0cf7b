/* Rotation of a head's pairs, which the kernels `rotate` and `rotate_store` share. */
#ifndef RAD_CUDA_ROTARY_H
#define RAD_CUDA_ROTARY_H

#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels_layer.h"

/* Head `head` of a row, by all threads of a block. */
RAD_DEVICE void rotate_head(const rad_cuda_rotate_arguments &a, uint64_t row, uint32_t head)
{
    const float *in = a.in + row * a.row;
    float *out = a.out + row * a.row;
    const float *cosines = a.table + row * 2 * a.n_pairs;
    const float *sines = cosines + a.n_pairs;
    uint32_t start = a.first + head * a.stride;
    for (uint32_t pair = rad_thread(); pair < a.n_pairs; pair += rad_threads()) {
        uint32_t i = start + (a.interleaved ? 2 * pair : pair);
        uint32_t j = a.interleaved ? i + 1 : i + a.n_pairs;
        float x = in[i], y = in[j], cosine = cosines[pair], sine = sines[pair];
        out[i] = rad_fma(x, cosine, -(y * sine));
        out[j] = rad_fma(x, sine, y * cosine);
    }
}

#endif
