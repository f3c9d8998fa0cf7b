#include "api/number_text.h"

#include <math.h>
#include <string.h>

bool rad_parse_integer(rad_text text, int64_t *out)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    size_t i = negative || (text.size > 0 && text.data[0] == '+') ? 1 : 0;
    if (i == text.size)
        return false;
    int64_t value = 0;
    for (; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        int64_t digit = text.data[i] - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digit, &value)) /* downwards: reaches the least number */
            return false;
    }
    if (!negative && value == INT64_MIN)
        return false;
    *out = negative ? value : -value;
    return true;
}

static double power_of_ten(int64_t exponent)
{
    double result = 1.0; /* exact up to 10^22 */
    for (int64_t i = 0; i < exponent; i++)
        result *= 10.0;
    return result;
}

/* Digits, an optional point and exponent, inf. Exactly rounded for up to 15 digits. */
bool rad_parse_real(rad_text text, double *out)
{
    const char *p = text.data, *end = text.data + text.size;
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (end - p == 3 && memcmp(p, "inf", 3) == 0) {
        *out = negative ? -INFINITY : INFINITY;
        return true;
    }
    uint64_t mantissa = 0;
    int64_t exponent = 0, digits = 0;
    bool point = false;
    for (; p < end && ((*p >= '0' && *p <= '9') || (*p == '.' && !point)); p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        digits++;
        if (mantissa < 900000000000000ull) {
            mantissa = mantissa * 10 + (uint64_t)(*p - '0');
            exponent -= point ? 1 : 0;
        } else {
            exponent += point ? 0 : 1;
        }
    }
    if (digits == 0)
        return false;
    if (p < end && (*p == 'e' || *p == 'E')) {
        int64_t shift;
        if (!rad_parse_integer((rad_text){p + 1, (size_t)(end - p - 1)}, &shift) || shift > 400 ||
            shift < -400)
            return false;
        exponent += shift;
        p = end;
    }
    exponent = exponent > 400 ? 400 : exponent < -400 ? -400 : exponent;
    double value = (double)mantissa;
    value = exponent < 0 ? value / power_of_ten(-exponent) : value * power_of_ten(exponent);
    *out = negative ? -value : value;
    return p == end;
}
