/* Half-precision conversions in integer arithmetic, so that neither the rounding mode nor
 * flush-to-zero of the floating-point environment can change them. */
#include "quant/quant.h"

#include <string.h>

static float float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint32_t bits_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

float rad_f16_to_f32(uint16_t value)
{
    uint32_t sign = (uint32_t)(value & 0x8000u) << 16;
    uint32_t exponent = (value >> 10) & 0x1fu;
    uint32_t fraction = value & 0x3ffu;

    if (exponent == 0x1f) /* infinity, or NaN made quiet as the hardware does */
        return float_from_bits(sign | 0x7f800000u | (fraction << 13) |
                               (fraction ? 0x00400000u : 0));
    if (exponent == 0) {
        if (fraction == 0)
            return float_from_bits(sign);
        /* A subnormal is fraction * 2^-24: shift its leading one into the hidden place. */
        uint32_t shift = (uint32_t)__builtin_clz(fraction) - 21;
        fraction = (fraction << shift) & 0x3ffu;
        exponent = 1 - shift; /* may wrap below zero; the sum beneath does not */
    }
    return float_from_bits(sign | ((exponent + 112) << 23) | (fraction << 13));
}

uint16_t rad_f32_to_f16(float value)
{
    uint32_t bits = bits_from_float(value);
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
    uint32_t magnitude = bits & 0x7fffffffu;

    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    if (magnitude >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude >= 0x38800000u) { /* normal numbers, from 2^-14 */
        uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
        return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
    }
    if (magnitude < 0x33000000u) /* below 2^-25, half of the smallest subnormal */
        return sign;
    /* Subnormal result: units of 2^-24. */
    uint32_t shift = 126 - (magnitude >> 23);
    uint32_t fraction = (magnitude & 0x7fffffu) | 0x800000u;
    uint32_t result = fraction >> shift;
    uint32_t rest = fraction & ((1u << shift) - 1);
    uint32_t half = 1u << (shift - 1);
    if (rest > half || (rest == half && (result & 1u)))
        result++;
    return (uint16_t)(sign | result);
}

uint16_t rad_f32_to_f16_saturated(float value)
{
    uint32_t magnitude = bits_from_float(value) & 0x7fffffffu;
    uint16_t result = rad_f32_to_f16(value);
    if ((result & 0x7fffu) == 0x7c00u && magnitude != 0x7f800000u)
        result = (uint16_t)(result - 1);
    return result;
}

uint16_t rad_f32_to_bf16(float value)
{
    uint32_t bits = bits_from_float(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
