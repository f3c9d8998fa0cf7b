/* Elementary functions against the C library's long double (the tests may use libm, the library may
 * not), their special values, their bits, and random numbers against published vectors. */
#include "unit/harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/numeric.h"
#include "base/numeric_f32.h"

/* ---- measuring ------------------------------------------------------------------------------- */

static uint64_t stream;

static double random_unit(void)
{
    return rad_random_unit(20260101, 3, stream++);
}

static double random_between(double low, double high)
{
    return low + (high - low) * random_unit();
}

/* Any finite positive number, all exponents alike. */
static double random_magnitude(void)
{
    uint64_t bits = (uint64_t)(random_unit() * 0x1p52) | (uint64_t)(random_unit() * 2047) << 52;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* In units of the last place of a double. */
static double error_in_ulp(double got, long double exact)
{
    if (isnan(exact))
        return isnan(got) ? 0.0 : INFINITY;
    long double magnitude = fabsl(exact);
    if (magnitude > 0x1.fffffffffffff7p1023L)
        return isinf(got) && (got > 0) == (exact > 0) ? 0.0 : INFINITY;
    int exponent = -1022;
    if (magnitude >= 0x1p-1022L) {
        frexpl(magnitude, &exponent);
        exponent--;
    }
    return (double)(fabsl((long double)got - exact) / ldexpl(1.0L, exponent - 52));
}

static void note(double error, double x, double *worst, double limit, const char *what)
{
    if (!(error <= limit)) /* an assertion for each number would take ten times as long */
        ck_abort_msg("%s is off by %g units in the last place at %a", what, error, x);
    if (error > *worst)
        *worst = error;
}

#define DRAWS 100000

START_TEST(exp_and_log_are_exact_to_a_unit)
{
    double worst_exp = 0, worst_ln = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = i % 2 ? random_between(-746.0, 710.0) : random_between(-1.0, 1.0);
        note(error_in_ulp(rad_exp(x), expl(x)), x, &worst_exp, 0.9, "rad_exp");
        double y = i % 2 ? random_magnitude() : random_between(0.5, 2.0);
        note(error_in_ulp(rad_ln(y), logl(y)), y, &worst_ln, 0.9, "rad_ln");
    }
    printf("# rad_exp %.3f ulp, rad_ln %.3f ulp\n", worst_exp, worst_ln);
}
END_TEST

START_TEST(pow_is_exact_to_a_unit)
{
    double worst = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = rad_exp(random_between(-50.0, 50.0)), y = random_between(-14.0, 14.0);
        if (i % 3 == 1) { /* as in rotary tables */
            x = random_between(1e3, 1e7);
            y = -random_unit();
        } else if (i % 3 == 2) {
            x = random_between(0.999, 1.001);
            y = random_between(-600000, 600000);
        }
        /* powl itself is right to about 2^-63 of the result. */
        note(error_in_ulp(rad_pow(x, y), powl(x, y)), x, &worst, 0.9, "rad_pow");
    }
    printf("# rad_pow %.3f ulp\n", worst);
}
END_TEST

START_TEST(tanh_is_exact_to_a_unit)
{
    double worst = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = i % 2 ? random_between(-23.0, 23.0) : random_between(-1.0, 1.0);
        if (i % 5 == 0)
            x *= rad_pow(10.0, -12.0 * random_unit());
        note(error_in_ulp(rad_tanh(x), tanhl(x)), x, &worst, 1.1, "rad_tanh");
    }
    printf("# rad_tanh %.3f ulp\n", worst);
}
END_TEST

START_TEST(sin_and_cos_are_exact_to_a_unit)
{
    double worst_sin = 0, worst_cos = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = random_between(-4.0, 4.0);
        if (i % 3 == 1)
            x = random_between(-0x1p33, 0x1p33);
        else if (i % 3 == 2)
            x = rint(random_between(-0x1p31, 0x1p31));
        note(error_in_ulp(rad_sin(x), sinl(x)), x, &worst_sin, 0.9, "rad_sin");
        note(error_in_ulp(rad_cos(x), cosl(x)), x, &worst_cos, 0.9, "rad_cos");
    }
    for (int i = 0; i < DRAWS / 10; i++) { /* the exact reduction, and the seam of the two */
        double x = i % 2 ? random_magnitude() : random_between(0x1p32, 0x1p34);
        note(error_in_ulp(rad_sin(x), sinl(x)), x, &worst_sin, 0.9, "rad_sin");
        note(error_in_ulp(rad_cos(x), cosl(x)), x, &worst_cos, 0.9, "rad_cos");
    }
    for (int i = 1; i < DRAWS / 10; i++) { /* the doubles nearest to multiples of pi / 2 */
        double x = rint(i * random_between(1, 1e5)) * 0x1.921fb54442d18p+0;
        note(error_in_ulp(rad_sin(x), sinl(x)), x, &worst_sin, 0.9, "rad_sin");
        note(error_in_ulp(rad_cos(x), cosl(x)), x, &worst_cos, 0.9, "rad_cos");
    }
    /* Of all doubles the one nearest to a multiple of pi / 2 (a known worst case). */
    double x = 6381956970095103.0 * 0x1p797;
    note(error_in_ulp(rad_cos(x), -4.68716592425462761112e-19L), x, &worst_cos, 1.0, "rad_cos");
    printf("# rad_sin %.3f ulp, rad_cos %.3f ulp\n", worst_sin, worst_cos);
}
END_TEST

/* ---- special values -------------------------------------------------------------------------- */

static bool is_negative_zero(double x)
{
    return x == 0.0 && signbit(x);
}

START_TEST(special_values_are_those_of_annex_f)
{
    ck_assert(rad_exp(0.0) == 1.0 && rad_exp(-0.0) == 1.0);
    ck_assert(rad_exp(-INFINITY) == 0.0 && isinf(rad_exp(INFINITY)) && isnan(rad_exp(NAN)));
    ck_assert(isinf(rad_exp(709.8)) && rad_exp(-745.2) == 0.0 && rad_exp(-745.1) == 0x1p-1074);
    ck_assert(rad_ln(1.0) == 0.0 && rad_ln(0.0) == -INFINITY && rad_ln(-0.0) == -INFINITY);
    ck_assert(isnan(rad_ln(-1.0)) && isinf(rad_ln(INFINITY)) && isnan(rad_ln(NAN)));
    ck_assert(isnan(rad_ln(-INFINITY)));
    ck_assert(rad_tanh(INFINITY) == 1.0 && rad_tanh(-INFINITY) == -1.0 && isnan(rad_tanh(NAN)));
    ck_assert(is_negative_zero(rad_tanh(-0.0)) && rad_tanh(0x1p-1074) == 0x1p-1074);
    ck_assert(is_negative_zero(rad_sin(-0.0)) && rad_cos(-0.0) == 1.0);
    ck_assert(rad_sin(0x1p-1074) == 0x1p-1074);
    ck_assert(isnan(rad_sin(INFINITY)) && isnan(rad_cos(-INFINITY)) && isnan(rad_sin(NAN)));
}
END_TEST

START_TEST(powers_of_special_values_are_those_of_the_c_library)
{
    static const double values[] = {0.0,      -0.0,      1.0,     -1.0,  2.0,   -2.0,    0.5,
                                    -0.5,     3.0,       -3.0,    NAN,   1e300, -1e300,  1e-300,
                                    INFINITY, -INFINITY, 0x1p53,  1e19,  -1e19, 0x1p-52, 0x1p-1074,
                                    1.5,      -1.5,      -0x1p60, 0.999, 4.0,   -4.0,    1e-17};
    size_t n = sizeof values / sizeof values[0];
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n; k++) {
            double expected = pow(values[i], values[k]), got = rad_pow(values[i], values[k]);
            bool same = isnan(expected) ? isnan(got)
                                        : error_in_ulp(got, expected) <= 1.0 &&
                                              !signbit(got) == !signbit(expected);
            ck_assert_msg(same, "rad_pow(%a, %a) is %a, not %a", values[i], values[k], got,
                          expected);
        }
    }
}
END_TEST

/* ---- single precision --------------------------------------------------------------------------
 */

static double error_in_float_ulp(float got, double exact)
{
    if (isnan(exact))
        return isnan(got) ? 0.0 : INFINITY;
    double magnitude = fabs(exact);
    if (magnitude >= 0x1.ffffffp127)
        return isinf(got) ? 0.0 : INFINITY;
    int exponent = -126;
    if (magnitude >= 0x1p-126) {
        frexp(magnitude, &exponent);
        exponent--;
    }
    return fabs((double)got - exact) / ldexp(1.0, exponent - 23);
}

START_TEST(float_functions_are_exact_to_two_units)
{
    double worst[3] = {0, 0, 0};
    for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += 10007) {
        float x = rad_float_of_bits((uint32_t)bits);
        double exact = x < -87.0f ? 0.0 : exp(x);
        note(error_in_float_ulp(rad_expf(x), exact), x, &worst[0], 1.3, "rad_expf");
        note(error_in_float_ulp(rad_tanhf(x), tanh(x)), x, &worst[1], 2.0, "rad_tanhf");
        if (x > -87.0f || isnan(x))
            note(error_in_float_ulp(rad_sigmoidf(x), 1.0 / (1.0 + exp(-(double)x))), x, &worst[2],
                 2.5, "rad_sigmoidf");
        if (fabsf(x) < 80.0f) { /* both forms of GELU and SiLU, of the size of x */
            double u = 0.7978845608028654 * (x + 0.044715 * (double)x * x * x);
            double gelu = 0.5 * x * (1.0 + tanh(u)), silu = x / (1.0 + exp(-(double)x));
            double exact = 0.5 * x * erfc(-x * 0.7071067811865476);
            if (!(fabs(rad_gelu_tanhf(x) - gelu) <= 4e-7 * fabs(x) + 1e-44 &&
                  fabs(rad_gelu_erff(x) - exact) <= 6e-7 * fabs(exact) + 1e-36 &&
                  fabs(rad_gelu_erff(x) - exact) <= 3e-7 * fabs(x) + 1e-44 &&
                  fabs(rad_siluf(x) - silu) <= 3e-7 * fabs(silu) + 1e-44))
                ck_abort_msg("GELU or SiLU of %a", (double)x);
        }
    }
    printf("# rad_expf %.3f ulp, rad_tanhf %.3f ulp, rad_sigmoidf %.3f ulp\n", worst[0], worst[1],
           worst[2]);
}
END_TEST

START_TEST(exponentials_below_one_are_those_of_all)
{
    for (uint64_t bits = 0x80000000u; bits <= 0xff800000u; bits += 1009) { /* -0 to -infinity */
        float x = rad_float_of_bits((uint32_t)bits);
        if (rad_float_bits(rad_expf_below_one(x)) != rad_float_bits(rad_expf(x)))
            ck_abort_msg("e^%a", (double)x);
    }
    static const float edges[] = {0.0f, -86.999f, -87.0f, -87.00001f, -INFINITY};
    for (int i = 0; i < 5; i++)
        ck_assert(rad_expf_below_one(edges[i]) == rad_expf(edges[i]));
    ck_assert(isnan(rad_expf_below_one(NAN)));
}
END_TEST

START_TEST(float_functions_at_the_edges)
{
    ck_assert(rad_expf(0.0f) == 1.0f && rad_expf(-INFINITY) == 0.0f);
    ck_assert(rad_expf(-87.0f) > 0.0f && rad_expf(nextafterf(-87.0f, -100.0f)) == 0.0f);
    ck_assert(isinf(rad_expf(INFINITY)) && isinf(rad_expf(88.73f)) && isfinite(rad_expf(88.72f)));
    ck_assert(isnan(rad_expf(NAN)) && isnan(rad_tanhf(NAN)) && isnan(rad_siluf(NAN)));
    ck_assert(rad_tanhf(INFINITY) == 1.0f && rad_tanhf(-INFINITY) == -1.0f);
    ck_assert(is_negative_zero(rad_tanhf(-0.0f)) && rad_tanhf(0x1p-149f) == 0x1p-149f);
    ck_assert(rad_sigmoidf(-INFINITY) == 0.0f && rad_sigmoidf(INFINITY) == 1.0f);
    ck_assert(rad_siluf(-1e30f) == 0.0f && rad_siluf(1e30f) == 1e30f);
    ck_assert(rad_gelu_tanhf(-1e30f) == 0.0f && rad_gelu_tanhf(1e30f) == 1e30f);
    ck_assert(rad_gelu_erff(-1e30f) == 0.0f && rad_gelu_erff(1e30f) == 1e30f);
    ck_assert(rad_gelu_erff(INFINITY) == INFINITY && isnan(rad_gelu_erff(-INFINITY)));
    ck_assert(isnan(rad_gelu_erff(NAN)));
}
END_TEST

/* Half precision by the definition, in double: sign, units of 2^-24 or 2^(e-25). */
static double half_value(uint16_t half)
{
    int exponent = half >> 10 & 31;
    double fraction = half & 1023;
    double magnitude = exponent == 0 ? fraction * 0x1p-24 : ldexp(fraction + 1024, exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

START_TEST(halves_convert_exactly)
{
    for (uint32_t half = 0; half < 65536; half++) {
        float x = rad_float_of_half((uint16_t)half);
        if ((half & 0x7fff) > 0x7c00) {
            ck_assert(isnan(x));
            ck_assert_uint_eq(rad_half_saturated(x), 0x7e00);
        } else if ((half & 0x7fff) == 0x7c00) {
            ck_assert(isinf(x) && !signbit(x) == !(half & 0x8000));
            ck_assert_uint_eq(rad_half_saturated(x), half);
        } else {
            ck_assert(x == half_value((uint16_t)half) && !signbit(x) == !(half & 0x8000));
            ck_assert_uint_eq(rad_half_saturated(x), half);
            /* Halfway to the next one goes to the even one; a little off halfway does not. */
            if ((half & 0x7fff) < 0x7bff) {
                float next = rad_float_of_half((uint16_t)(half + 1));
                float middle = x + (next - x) * 0.5f;
                uint32_t even = half & 1 ? half + 1 : half;
                ck_assert_uint_eq(rad_half_saturated(middle), even);
                ck_assert_uint_eq(rad_half_saturated(nextafterf(middle, next)), half + 1);
                ck_assert_uint_eq(rad_half_saturated(nextafterf(middle, x)), half);
            }
        }
    }
    ck_assert_uint_eq(rad_half_saturated(65519.0f), 0x7bff);
    ck_assert_uint_eq(rad_half_saturated(65520.0f), 0x7bff);
    ck_assert_uint_eq(rad_half_saturated(-3e38f), 0xfbff);
}
END_TEST

/* ---- bits
 * ---------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* The same number from every compiler and at every level of optimisation: results of each function
 * on fixed arguments, hashed (FNV-1a). It changes only with the numeric version. */
START_TEST(bits_are_the_recorded_ones)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    stream = 0;
    for (int i = 0; i < 20000; i++) {
        double x = random_between(-30.0, 30.0), y = random_magnitude();
        double values[] = {rad_exp(x * 20), rad_ln(y),        rad_pow(x * x, x),
                           rad_tanh(x),     rad_sin(x * 1e8), rad_cos(y)};
        float f = (float)x;
        float floats[] = {rad_expf(f), rad_tanhf(f), rad_siluf(f), rad_gelu_tanhf(f),
                          rad_gelu_erff(f)};
        hash = mix(hash, values, sizeof values);
        hash = mix(hash, floats, sizeof floats);
    }
    ck_assert_msg(hash == UINT64_C(0xaa67027c0859406d), "the hash is 0x%016llx",
                  (unsigned long long)hash);
}
END_TEST

/* ---- random numbers
 * ------------------------------------------------------------------------------ */

START_TEST(philox_gives_the_published_numbers)
{
    /* The known-answer vectors that come with Random123. */
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < 3; i++) {
        uint32_t out[4];
        rad_philox(vectors[i].counter, vectors[i].key, out);
        for (int j = 0; j < 4; j++)
            ck_assert_uint_eq(out[j], vectors[i].out[j]);
    }
}
END_TEST

START_TEST(random_units_depend_on_every_argument)
{
    double base = rad_random_unit(1, 2, 3), sum = 0;
    ck_assert(base == rad_random_unit(1, 2, 3));
    ck_assert(base != rad_random_unit(2, 2, 3) && base != rad_random_unit(1, 3, 3));
    ck_assert(base != rad_random_unit(1, 2, 4));
    ck_assert(base != rad_random_unit(1 | UINT64_C(1) << 40, 2, 3));
    ck_assert(base != rad_random_unit(1, 2, 3 | UINT64_C(1) << 40));
    int bins[10] = {0};
    for (uint64_t i = 0; i < 100000; i++) {
        double u = rad_random_unit(99, 0, i);
        ck_assert(u >= 0.0 && u < 1.0);
        bins[(int)(u * 10)]++;
        sum += u;
    }
    ck_assert_double_eq_tol(sum / 100000, 0.5, 0.004);
    for (int i = 0; i < 10; i++)
        ck_assert(bins[i] > 9600 && bins[i] < 10400);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "numeric");
    tcase_add_test(cases, exp_and_log_are_exact_to_a_unit);
    tcase_add_test(cases, pow_is_exact_to_a_unit);
    tcase_add_test(cases, tanh_is_exact_to_a_unit);
    tcase_add_test(cases, sin_and_cos_are_exact_to_a_unit);
    tcase_add_test(cases, special_values_are_those_of_annex_f);
    tcase_add_test(cases, powers_of_special_values_are_those_of_the_c_library);
    tcase_add_test(cases, float_functions_are_exact_to_two_units);
    tcase_add_test(cases, exponentials_below_one_are_those_of_all);
    tcase_add_test(cases, float_functions_at_the_edges);
    tcase_add_test(cases, halves_convert_exactly);
    tcase_add_test(cases, bits_are_the_recorded_ones);
    tcase_add_test(cases, philox_gives_the_published_numbers);
    tcase_add_test(cases, random_units_depend_on_every_argument);
}

int main(void)
{
    return rad_test_main("numeric", add_cases);
}
