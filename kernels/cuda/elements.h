/* What is done with each element of a row by itself, which the kernel `elements` and products that
 * are followed by an activation share. */
#ifndef RAD_CUDA_ELEMENTS_H
#define RAD_CUDA_ELEMENTS_H

#include "kernels/cuda/device.h"
#include "kernels/cuda/kernels_layer.h"

RAD_DEVICE float clamped_multiply(float gate, float up)
{
    float g = gate > 7.0f ? 7.0f : gate;
    float u = up > 7.0f ? 7.0f : up;
    u = u < -7.0f ? -7.0f : u;
    return g / (1.0f + rad_expf(-(1.702f * g))) * (u + 1.0f);
}

RAD_DEVICE float relu2_multiply(float gate, float up)
{
    float r = gate < 0.0f ? 0.0f : gate; /* NaN stays */
    return r * r * up;
}

RAD_DEVICE float clamp(float x, float limit)
{
    float below = x > limit ? limit : x;
    return below < -limit ? -limit : below;
}

/* in and out may be the same: each element is read and written by one thread. */
RAD_DEVICE float element(uint32_t kind, float x, float other, float out, float number)
{
    switch (kind) {
    case RAD_CUDA_SILU_MULTIPLY:
        return rad_siluf(x) * other;
    case RAD_CUDA_GELU_TANH_MULTIPLY:
        return rad_gelu_tanhf(x) * other;
    case RAD_CUDA_RELU2_MULTIPLY:
        return relu2_multiply(x, other);
    case RAD_CUDA_CLAMPED_MULTIPLY:
        return clamped_multiply(x, other);
    case RAD_CUDA_GELU_TANH:
        return rad_gelu_tanhf(x);
    case RAD_CUDA_GELU_ERF:
        return rad_gelu_erff(x);
    case RAD_CUDA_CLAMP:
        return clamp(x, number);
    case RAD_CUDA_SOFT_CAP:
        return number * rad_tanhf(x / number);
    case RAD_CUDA_SCALE:
        return x * number;
    case RAD_CUDA_ADD_GATED:
        return rad_fma(x, other, out);
    default:
        return x + other;
    }
}

#endif
