/* The number formats against golden blocks (tools/oracle/make_quant_goldens.py), the conversions,
 * the type table, and encoders: what they write decodes near to what they were given. */
#include "unit/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "quant/lanes_plain.h"
#include "quant/search.h"

/* A bound for the root of the relative squared error that encoding normal numbers leaves: a little
 * above what was measured, so that a worse search shows; 0: the type has no encoder. */
typedef struct block_type {
    rad_type type;
    double encode_error;
} block_type;

static const block_type block_types[] = {
    {RAD_TYPE_Q4_0, 0.08},    {RAD_TYPE_Q4_1, 0.07},     {RAD_TYPE_Q5_0, 0.04},
    {RAD_TYPE_Q5_1, 0.034},   {RAD_TYPE_Q8_0, 0.0054},   {RAD_TYPE_Q4_K, 0.07},
    {RAD_TYPE_Q5_K, 0.035},   {RAD_TYPE_Q6_K, 0.0167},   {RAD_TYPE_Q2_K, 0.27},
    {RAD_TYPE_Q3_K, 0.147},   {RAD_TYPE_IQ4_NL, 0.0745}, {RAD_TYPE_IQ4_XS, 0.075},
    {RAD_TYPE_TQ1_0, 0.505},  {RAD_TYPE_TQ2_0, 0.505},   {RAD_TYPE_MXFP4, 0.112},
    {RAD_TYPE_NVFP4, 0.0835}, {RAD_TYPE_Q1_0, 0.605},    {RAD_TYPE_Q2_0, 0.387},
    {RAD_TYPE_I2_S, 0.48},    {RAD_TYPE_IQ1_S, 0.0},     {RAD_TYPE_IQ1_M, 0.0},
    {RAD_TYPE_IQ2_XXS, 0.0},  {RAD_TYPE_IQ2_XS, 0.0},    {RAD_TYPE_IQ2_S, 0.0},
    {RAD_TYPE_IQ3_XXS, 0.0},  {RAD_TYPE_IQ3_S, 0.0},
};
#define N_BLOCK_TYPES (sizeof(block_types) / sizeof(block_types[0]))

/* The whole of tests/golden/blocks/NAME.SUFFIX; the caller frees. */
static uint8_t *read_golden(const char *name, const char *suffix, size_t *size)
{
    char path[128], lower[32];
    size_t i = 0;
    for (; name[i] != '\0' && i + 1 < sizeof(lower); i++)
        lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    lower[i] = '\0';
    snprintf(path, sizeof(path), "tests/golden/blocks/%s.%s", lower, suffix);
    return rad_test_read_file(rad_test_source_path(path), size);
}

static bool same_float(const float *a, const float *b)
{
    return (*a != *a && *b != *b) || memcmp(a, b, sizeof(*a)) == 0;
}

START_TEST(golden_blocks)
{
    const rad_type_info *info = rad_type_find((uint32_t)block_types[_i].type);
    size_t size, golden_size;
    uint8_t *blocks = read_golden(info->name, "blocks", &size);
    float *golden = (float *)(void *)read_golden(info->name, "f32", &golden_size);
    size_t n = size / info->block_bytes * info->block_elements;
    ck_assert(n * sizeof(float) == golden_size);
    float *values = malloc(golden_size);
    ck_assert(values != NULL);
    info->decode(blocks, values, n);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(same_float(&values[i], &golden[i]), "%s element %zu: %a, golden %a",
                      info->name, i, (double)values[i], (double)golden[i]);
    free(values);
    free(golden);
    free(blocks);
}
END_TEST

/* What the products take apart is what decoding gives: scale * sub_scale * quant (+ minimum), for
 * random bytes; integers stay in the ranges that the sums of kernels.h are sized for. */
START_TEST(unpacked_blocks)
{
    enum { N = 500 };
    const rad_type_info *info = rad_type_find((uint32_t)block_types[_i].type);
    uint32_t state = 1, n = info->block_elements;
    for (int round = 0; round < N; round++) {
        uint8_t bytes[256];
        float values[256];
        rad_block block;
        for (uint32_t i = 0; i < info->block_bytes; i++) {
            state = state * 1664525u + 1013904223u;
            bytes[i] = (uint8_t)(round == 0 ? 0xff : round == 1 ? 0 : state >> 24);
        }
        info->unpack(bytes, &block);
        info->decode(bytes, values, n);
        int32_t largest = 0;
        for (uint32_t i = 0; i < n; i++) {
            bool super_16 = info->family == RAD_FAMILY_SUPER_16;
            bool super = super_16 || info->family == RAD_FAMILY_SUPER_32;
            uint32_t sub = super_16 ? i / 16 : i / 32;
            double scale = (double)(info->family == RAD_FAMILY_BLOCK_16 ? block.scales_16[i / 16]
                                                                        : block.scale);
            double value = scale * block.quants[i] * (super ? block.sub_scales[sub] : 1);
            if (info->has_minimum)
                value += (double)block.minimum * (super ? block.sub_minima[sub] : 1);
            float rounded = (float)value;
            /* Check notes every assertion, which is slow. */
            if (rounded != values[i] && (rounded == rounded || values[i] == values[i]))
                ck_abort_msg("%s element %u: unpacked %a, decoded %a", info->name, i, value,
                             (double)values[i]);
            int32_t size = block.quants[i] * (super ? block.sub_scales[sub] : 1);
            largest += 127 * (size < 0 ? -size : size);
        }
        ck_assert_msg(largest <= (1 << 28), "%s: a sum may reach %d", info->name, largest);
    }
}
END_TEST

START_TEST(golden_conversions)
{
    size_t size, half_size;
    float *floats = (float *)(void *)read_golden("conversions", "f32", &size);
    uint16_t *f16 = (uint16_t *)(void *)read_golden("conversions", "f16", &half_size);
    uint16_t *bf16 = (uint16_t *)(void *)read_golden("conversions", "bf16", &half_size);
    for (size_t i = 0; i < size / 4; i++) {
        bool nan = floats[i] != floats[i];
        uint16_t half = rad_f32_to_f16(floats[i]);
        ck_assert_msg(nan ? (half & 0x7fff) > 0x7c00 : half == f16[i], "%a gives %04x, golden %04x",
                      (double)floats[i], half, f16[i]);
        ck_assert_msg(rad_f32_to_bf16(floats[i]) == bf16[i], "%a to bf16", (double)floats[i]);
    }
    free(bf16);
    free(f16);
    free(floats);
}
END_TEST

START_TEST(half_round_trip)
{
    for (uint32_t bits = 0; bits < 65536; bits++) {
        float value = rad_f16_to_f32((uint16_t)bits);
        uint16_t back = rad_f32_to_f16(value);
        uint32_t exponent = (bits >> 10) & 31, fraction = bits & 1023;
        if (exponent == 31 && fraction != 0) {
            ck_assert(value != value && back == (bits | 0x200));
            continue;
        }
        ck_assert_msg(back == bits, "%04x came back as %04x", bits, back);
        double expected = exponent == 0 ? fraction * 0x1p-24 : (1024 + fraction) * 0x1p-25;
        for (uint32_t e = 1; e < exponent + (exponent == 0); e++)
            expected *= 2;
        if (exponent > 0 && exponent < 31)
            expected *= 2;
        if (exponent < 31)
            ck_assert(value == (float)(bits & 0x8000 ? -expected : expected));
        uint16_t saturated = rad_f32_to_f16_saturated(value);
        ck_assert(saturated == bits);
    }
    ck_assert(rad_f32_to_f16_saturated(65520.0f) == 0x7bff);
    ck_assert(rad_f32_to_f16_saturated(-3e38f) == 0xfbff);
    ck_assert(rad_f32_to_f16(65520.0f) == 0x7c00);
    ck_assert(rad_f32_to_f16(65519.9f) == 0x7bff);
}
END_TEST

START_TEST(type_table)
{
    static const uint32_t removed[] = {4, 5, 31, 32, 33, 37, 38, 43, 1000, UINT32_MAX};
    for (size_t i = 0; i < sizeof(removed) / sizeof(removed[0]); i++)
        ck_assert(rad_type_find(removed[i]) == NULL);
    for (uint32_t type = 0; type < 43; type++) {
        const rad_type_info *info = rad_type_find(type);
        if (info == NULL)
            continue;
        ck_assert(info->block_elements > 0 && info->block_bytes > 0);
        ck_assert((info->activation != RAD_ACTIVATION_NONE) == (info->decode != NULL));
        ck_assert(info->encode == NULL || info->decode != NULL);
        bool blocks = info->family > RAD_FAMILY_FLOAT;
        ck_assert(blocks == (info->unpack != NULL));
        ck_assert(!blocks || info->block_elements <= RAD_SUPER_BLOCK);
        ck_assert(info->tail_bytes == (type == RAD_TYPE_I2_S ? 32 : 0));
    }
    ck_assert(rad_type_find(RAD_TYPE_IQ2_XXS)->block_bytes == 66);
    ck_assert_str_eq(rad_type_find(RAD_TYPE_NVFP4)->name, "NVFP4");
}
END_TEST

/* Roughly normal numbers from a small generator. */
static float noise(uint32_t *state)
{
    float sum = 0.0f;
    for (int i = 0; i < 6; i++) {
        *state = *state * 1664525u + 1013904223u;
        sum += (float)(*state >> 8) * 0x1p-24f - 0.5f;
    }
    return sum;
}

START_TEST(encode_error)
{
    enum { N = 4096 };
    const rad_type_info *info = rad_type_find((uint32_t)block_types[_i].type);
    double bound = block_types[_i].encode_error;
    ck_assert((info->encode != NULL) == (bound > 0.0));
    if (info->encode == NULL)
        return;
    float *values = malloc(2 * N * sizeof(float));
    uint8_t *blocks = malloc(N * 4), *again = malloc(N * 4);
    ck_assert(values != NULL && blocks != NULL && again != NULL);
    float *decoded = values + N;
    uint32_t state = 7;
    for (int i = 0; i < N; i++)
        values[i] = noise(&state);
    info->encode(values, NULL, blocks, N);
    info->encode(values, NULL, again, N);
    ck_assert(memcmp(blocks, again, N / info->block_elements * info->block_bytes) == 0);
    info->decode(blocks, decoded, N);
    double error = 0.0, norm = 0.0;
    for (int i = 0; i < N; i++) {
        error += (double)(decoded[i] - values[i]) * (decoded[i] - values[i]);
        norm += (double)values[i] * values[i];
    }
    ck_assert_msg(error / norm < bound * bound, "%s: squared error %g of %g", info->name, error,
                  norm);
    printf("# %s: relative error of encoding normal numbers %.5f\n", info->name,
           __builtin_sqrt(error / norm));

    /* Zeros, and values that are not finite or huge, encode to something that decodes finite. */
    memset(values, 0, N * sizeof(float));
    info->encode(values, NULL, blocks, N);
    info->decode(blocks, decoded, N);
    for (int i = 0; i < N; i++)
        ck_assert(decoded[i] == 0.0f);
    for (int i = 0; i < N; i++)
        values[i] = i % 5 == 0   ? 3e38f
                    : i % 7 == 0 ? -__builtin_inff()
                    : i % 3 == 0 ? 1e-42f
                                 : -2.0f;
    values[1] = __builtin_nanf("");
    info->encode(values, NULL, blocks, N);
    info->decode(blocks, decoded, N);
    for (int i = 0; i < N; i++)
        ck_assert(decoded[i] - decoded[i] == 0.0f);
    free(again);
    free(blocks);
    free(values);
}
END_TEST

/* Columns that matter more have smaller errors, and the sum of weighted errors is smaller than
 * without importance; importance that says nothing (zeros, not finite) changes nothing. */
/* Where there are minima, the errors of a super-block have less of a sum than chance gives them,
 * also where the numbers have a mean. */
START_TEST(sums_are_kept)
{
    enum { N = 256, BLOCKS = 64 };
    static const rad_type types[] = {RAD_TYPE_Q2_K, RAD_TYPE_Q4_K, RAD_TYPE_Q5_K};
    const rad_type_info *info = rad_type_find((uint32_t)types[_i]);
    float values[N], decoded[N];
    uint8_t block[N * 4];
    double of_sums = 0.0, of_errors = 0.0;
    uint32_t state = 3;
    for (int i = 0; i < BLOCKS; i++) {
        double sum = 0.0;
        for (int k = 0; k < N; k++)
            values[k] = 0.7f + noise(&state);
        info->encode(values, NULL, block, N);
        info->decode(block, decoded, N);
        for (int k = 0; k < N; k++) {
            double error = (double)decoded[k] - (double)values[k];
            sum += error;
            of_errors += error * error;
        }
        of_sums += sum * sum;
    }
    ck_assert_msg(of_sums < 0.8 * of_errors, "%s: squared sums of errors %g, squared errors %g",
                  info->name, of_sums, of_errors);
}
END_TEST

START_TEST(importance)
{
    enum { N = 4096 };
    const rad_type_info *info = rad_type_find((uint32_t)block_types[_i].type);
    float values[N], weights[N], decoded[2][N];
    uint8_t blocks[N * 4], again[N * 4];
    double error[2] = {0.0, 0.0};
    uint32_t state = 11;
    if (info->encode == NULL)
        return;
    for (int i = 0; i < N; i++) {
        values[i] = noise(&state);
        weights[i] = i % 7 == 0 ? 100.0f : i % 5 == 0 ? 0.0f : 1.0f;
    }
    for (int with = 0; with < 2; with++) {
        info->encode(values, with == 1 ? weights : NULL, blocks, N);
        info->decode(blocks, decoded[with], N);
        for (int i = 0; i < N; i++) {
            double difference = (double)decoded[with][i] - (double)values[i];
            error[with] += (double)weights[i] * difference * difference;
        }
    }
    /* There is nothing to choose in Q8_0, and I2_S leaves its scale to others. */
    bool weighs = info->family != RAD_FAMILY_ROW && block_types[_i].type != RAD_TYPE_Q8_0;
    ck_assert_msg(weighs ? error[1] < error[0] : error[1] <= error[0],
                  "%s: weighted error %g with importance, %g without", info->name, error[1],
                  error[0]);
    info->encode(values, NULL, blocks, N);
    for (int i = 0; i < N; i++)
        weights[i] = i % 2 == 0 ? 0.0f : __builtin_nanf("");
    info->encode(values, weights, again, N);
    ck_assert(memcmp(blocks, again, N / info->block_elements * info->block_bytes) == 0);
}
END_TEST

/* What a format can write exactly it does (minima but for the last bits): numbers that are a scale
 * times its integers. */
START_TEST(exact_numbers)
{
    static const struct {
        rad_type type;
        int low, high;
    } cases[] = {{RAD_TYPE_Q4_0, -8, 7},  {RAD_TYPE_Q4_1, 0, 15},     {RAD_TYPE_Q5_0, -16, 15},
                 {RAD_TYPE_Q5_1, 0, 31},  {RAD_TYPE_Q8_0, -127, 127}, {RAD_TYPE_TQ1_0, -1, 1},
                 {RAD_TYPE_TQ2_0, -1, 1}, {RAD_TYPE_Q2_0, -1, 2}};
    enum { N = 256 };
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        const rad_type_info *info = rad_type_find((uint32_t)cases[c].type);
        float values[N], decoded[N];
        uint8_t blocks[N * 4];
        uint32_t state = 3;
        for (int i = 0; i < N; i++) {
            state = state * 1664525u + 1013904223u;
            int span = cases[c].high - cases[c].low + 1;
            values[i] = 0x1.8p-5f * (float)(cases[c].low + (int)(state >> 16) % span);
        }
        for (int i = 0; i < N; i += 32) { /* both ends in each block */
            values[i] = 0x1.8p-5f * (float)cases[c].low;
            values[i + 31] = 0x1.8p-5f * (float)cases[c].high;
        }
        info->encode(values, NULL, blocks, N);
        info->decode(blocks, decoded, N);
        float allowed = info->has_minimum ? 0x1p-17f : 0.0f; /* minima are sums of products */
        for (int i = 0; i < N; i++) {
            float difference = decoded[i] - values[i];
            ck_assert_msg(difference <= allowed && difference >= -allowed, "%s: %a became %a",
                          info->name, (double)values[i], (double)decoded[i]);
        }
    }
}
END_TEST

enum { LANE_NUMBERS = 48 };

/* All that a table of lanes gives for the same numbers, byte after byte. */
typedef struct lane_results {
    float x[LANE_NUMBERS], w[LANE_NUMBERS], unit, extreme, xq[RAD_LANES], qq[RAD_LANES], one[2];
    float scale, reached;
    bool weighted;
    rad_moments moments;
    rad_affine affine, not_positive;
    rad_sub_choice sub_scale, sub_affine;
    int8_t quants[LANE_NUMBERS], codes[LANE_NUMBERS];
    uint8_t q8_0[34], halves[2 * LANE_NUMBERS];
    float decoded[LANE_NUMBERS];
} lane_results;

static void use_lanes(const rad_lanes *lanes, const float *values, const float *weights,
                      const float *inverse, const rad_grid *grid, lane_results *r)
{
    enum { N = LANE_NUMBERS };
    const rad_sub_range range = {0.01f, 0.02f, -32.0f, 31.0f}, affine = {0.01f, 0.02f, 0.0f, 15.0f};
    bool quick = grid->steps == NULL;
    memset(r, 0, sizeof *r);
    r->unit = lanes->take(values, weights, N, r->x, r->w, &r->weighted);
    r->extreme = lanes->extreme(r->x, N);
    lanes->moments(r->x, r->w, N, &r->moments);
    lanes->sums(r->x, r->w, N, inverse, grid, r->xq, r->qq);
    lanes->sums_of_one(r->x, r->w, N, inverse[0], grid, &r->one[0], &r->one[1]);
    r->scale = lanes->scale(r->x, r->w, N, quick, inverse, grid, 2, &r->reached);
    r->affine = lanes->affine(r->x, r->w, N, &r->moments, 15.0f, false, quick, 1);
    r->not_positive = lanes->affine(r->x, r->w, N, &r->moments, 15.0f, true, quick, 2);
    lanes->sub_scale(r->x, r->w, N, grid, &range, 3.3f, &r->sub_scale);
    lanes->sub_affine(r->x, r->w, N, &r->moments, 15.0f, &affine, 9.2f, 4.4f, &r->sub_affine);
    lanes->quants(r->x, N, inverse[0], 0.25f, -8.0f, 7.0f, r->quants);
    if (grid->steps != NULL)
        lanes->codes(r->x, N, inverse[0], grid->steps, r->codes);
    lanes->q8_0(values, r->q8_0);
    lanes->to_f16(values, r->halves, N - 3);
    lanes->from_f16(r->halves, r->decoded, N - 3);
}

/* Numbers that are not finite, none but zeros, huge and tiny ones, and usual ones. */
static float lane_value(int round, int i, uint32_t *state)
{
    static const float odd[] = {0.0f, -0.0f, 1e-40f, -3e38f, 65519.0f, 65520.0f, 6e-8f};
    float usual = noise(state) * (round % 3 == 1 ? 1e30f : 0.05f);
    if (round == 5 || round == 6)
        return round == 5 ? 0.0f : 0.75f;
    if (round % 7 == 3 && i % 5 == 0)
        return i % 10 == 0 ? __builtin_nanf("") : -__builtin_inff();
    return round % 7 == 4 && i % 6 == 1 ? odd[i / 6 % 7] : usual;
}

/* Each width of vectors gives the same bits as one number at a time. */
START_TEST(lanes)
{
    static const rad_grid integers = {-8.0f, 7.0f, NULL};
    const rad_grid *grids[] = {&integers, &rad_grid_iq4, &rad_grid_e2m1};
    uint32_t state = 5;
    for (int level = 0; level <= rad_vector_level(); level++)
        for (int round = 0; round < 200; round++) {
            float values[LANE_NUMBERS], weights[LANE_NUMBERS], inverse[RAD_LANES];
            lane_results plain, fast;
            for (int i = 0; i < LANE_NUMBERS; i++) {
                values[i] = lane_value(round, i, &state);
                weights[i] = round % 5 == 0 ? 0.0f : noise(&state) + 3.0f;
            }
            for (int lane = 0; lane < RAD_LANES; lane++)
                inverse[lane] = 20.0f * noise(&state);
            const float *importance = round % 2 == 0 ? weights : NULL;
            use_lanes(&plain_table, values, importance, inverse, grids[round % 3], &plain);
            use_lanes(rad_lanes_find(level), values, importance, inverse, grids[round % 3], &fast);
            ck_assert_msg(memcmp(&plain, &fast, sizeof plain) == 0, "level %d, round %d", level,
                          round);
        }
}
END_TEST

/* Codes are those of the nearest level, and sums are of that level. */
START_TEST(level_steps)
{
    const rad_lanes *plain = &plain_table;
    for (int i = -1400; i <= 1400; i++) {
        float x[16], one[16], xq, qq, nearest = 1e9f;
        int8_t codes[16];
        for (int j = 0; j < 16; j++) {
            x[j] = j == 0 ? 0.1f * (float)i + 0.01f : 0.0f;
            one[j] = j == 0 ? 1.0f : 0.0f;
        }
        plain->codes(x, 16, 1.0f, rad_grid_iq4.steps, codes);
        float level = rad_levels_iq4[codes[0]];
        for (int k = 0; k < 16; k++) {
            float difference = x[0] - (float)rad_levels_iq4[k];
            difference = difference < 0.0f ? -difference : difference;
            nearest = difference < nearest ? difference : nearest;
        }
        ck_assert(x[0] - level == nearest || level - x[0] == nearest);
        plain->sums_of_one(x, one, 16, 1.0f, &rad_grid_iq4, &xq, &qq);
        ck_assert(xq == level * x[0] && qq == level * level);
    }
}
END_TEST

/* A block of E2M1 numbers with a scale is written as it is. */
START_TEST(exact_levels)
{
    static const rad_type types[] = {RAD_TYPE_MXFP4, RAD_TYPE_NVFP4};
    for (int t = 0; t < 2; t++) {
        const rad_type_info *info = rad_type_find((uint32_t)types[t]);
        float values[64], decoded[64];
        uint8_t blocks[64];
        for (int i = 0; i < 64; i++)
            values[i] = 0x1p-7f * (float)rad_levels_e2m1[i % 16];
        info->encode(values, NULL, blocks, 64);
        info->decode(blocks, decoded, 64);
        for (int i = 0; i < 64; i++)
            ck_assert(decoded[i] == values[i]);
    }
}
END_TEST

/* What nf4=int8 makes of NF4 is the same weights in the same places, but for the rounding of their
 * level to a 124.115th and of the scale to F16. */
START_TEST(rounded_nf4)
{
    enum { BLOCKS = 40, ELEMENTS = RAD_SCALED_BLOCK * BLOCKS };
    const rad_type_info *exact = rad_type_find(RAD_TYPE_NF4),
                        *rounded = rad_type_find(RAD_TYPE_NF4_INT8);
    uint8_t blocks[BLOCKS * 36], codes[RAD_SCALED_BLOCK];
    float before[ELEMENTS], after[ELEMENTS];
    uint32_t state = 7;
    ck_assert_uint_eq(2 * rounded->block_bytes, exact->block_bytes);
    for (int b = 0; b < BLOCKS; b++) {
        for (int i = 0; i < RAD_SCALED_BLOCK; i++) {
            state = state * 1664525u + 1013904223u;
            codes[i] = (uint8_t)(state >> 28);
        }
        rad_pack_nf4(b == 0 ? 0.0f : ldexpf(1.0f + (float)b / BLOCKS, b % 24 - 8), codes,
                     blocks + (size_t)b * 36);
    }
    exact->decode(blocks, before, ELEMENTS);
    ck_assert(rad_round_nf4(blocks, BLOCKS));
    rounded->decode(blocks, after, ELEMENTS);
    for (int i = 0; i < ELEMENTS; i++) {
        int b = i / RAD_SCALED_BLOCK;
        double scale = b == 0 ? 0.0 : ldexp(1.0 + (double)b / BLOCKS, b % 24 - 8);
        ck_assert_double_le(fabs((double)after[i] - before[i]), scale * (0.00366 + 1.0 / 1024));
    }
    static const float scales[] = {8.1e6f, 8.2e6f, INFINITY, NAN};
    for (int i = 0; i < 4; i++) {
        rad_pack_nf4(scales[i], codes, blocks);
        ck_assert_int_eq(rad_round_nf4(blocks, 1), i == 0);
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "quant");
    tcase_add_loop_test(cases, golden_blocks, 0, N_BLOCK_TYPES);
    tcase_add_loop_test(cases, unpacked_blocks, 0, N_BLOCK_TYPES);
    tcase_add_test(cases, golden_conversions);
    tcase_add_test(cases, half_round_trip);
    tcase_add_test(cases, type_table);
    tcase_add_loop_test(cases, encode_error, 0, N_BLOCK_TYPES);
    tcase_add_loop_test(cases, sums_are_kept, 0, 3);
    tcase_add_loop_test(cases, importance, 0, N_BLOCK_TYPES);
    tcase_add_test(cases, exact_numbers);
    tcase_add_test(cases, lanes);
    tcase_add_test(cases, level_steps);
    tcase_add_test(cases, exact_levels);
    tcase_add_test(cases, rounded_nf4);
}

int main(void)
{
    return rad_test_main("quant", add_cases);
}
