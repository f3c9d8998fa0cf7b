#include "quant/search.h"

#include "base/platform.h"

void rad_numbers_take(const float *values, const float *importance, uint32_t n, rad_numbers *out)
{
    out->lanes = rad_lanes_find(rad_vector_level());
    out->unit = out->lanes->take(values, importance, n, out->x, out->w, &out->weighted);
}

uint16_t rad_half_in_units(float value, float unit)
{
    float wanted = value * unit;
    wanted = wanted > 65504.0f ? 65504.0f : wanted < -65504.0f ? -65504.0f : wanted;
    return rad_f32_to_f16(wanted);
}

void rad_copy_finite(const float *values, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof(bits));
        out[i] = (bits & 0x7f800000u) == 0x7f800000u ? 0.0f : values[i];
    }
}

float rad_largest_magnitude(const float *x, size_t n)
{
    float largest = 0.0f;
    for (size_t i = 0; i < n; i++) {
        float magnitude = x[i] < 0.0f ? -x[i] : x[i];
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

/* ---- first candidates ---------------------------------------------------------------------------
 */

/* How far from an end of the grid the extreme value is put: from the lower one, which reaches
 * furthest, or from the upper one. The first few do where time counts most. */
static const float of_integers[RAD_LANES] = {-0.2f, 0.2f, 0.9f, -0.6f, -1.0f, 0.0f,  0.5f,  0.35f,
                                             0.7f,  1.3f, 1.8f, 0.8f,  0.3f,  -0.1f, -0.5f, -0.95f};
/* The same by a factor. */
static const float of_levels[RAD_LANES] = {1.03f,  0.94f,  0.985f, 0.85f, 1.12f, 1.075f,
                                           0.895f, 0.805f, 0.76f,  1.15f, 0.72f, 1.12f,
                                           1.07f,  1.02f,  0.96f,  0.9f};

static bool is_at_the_lower_end(int lane)
{
    return lane < 11;
}

float rad_search_scale(const rad_lanes *lanes, const float *x, const float *w, uint32_t n,
                       const rad_grid *grid, bool quick, int rounds, float *reached)
{
    float extreme = lanes->extreme(x, n), inverse[RAD_LANES];
    *reached = 0.0f;
    if (extreme == 0.0f)
        return 0.0f;
    float one = 1.0f / extreme, low = grid->low * one, high = grid->high * one;
    for (int lane = 0; lane < (quick ? RAD_FEW : RAD_LANES); lane++) {
        float end = is_at_the_lower_end(lane) ? low : high;
        inverse[lane] = grid->steps == NULL ? end + of_integers[lane] * one : end * of_levels[lane];
    }
    return lanes->scale(x, w, n, quick, inverse, grid, rounds, reached);
}

rad_factor rad_search_factor(const rad_numbers *numbers, uint32_t n, const rad_grid *grid,
                             bool quick)
{
    float reached;
    rad_moments sums;
    rad_factor found = {0.0f, 1.0f};
    found.scale =
        rad_search_scale(numbers->lanes, numbers->x, numbers->w, n, grid, quick, 1, &reached);
    if (found.scale != 0.0f) {
        numbers->lanes->moments(numbers->x, numbers->w, n, &sums);
        found.gain = sums.wxx / reached;
    }
    return found;
}

rad_factor rad_search_ternary_factor(const rad_numbers *numbers, uint32_t n)
{
    static const rad_grid grid = {-1.0f, 1.0f, NULL};
    const float *x = numbers->x, *w = numbers->w;
    float extreme = numbers->lanes->extreme(x, n), inverse[RAD_LANES], reached;
    rad_moments sums;
    rad_factor found = {0.0f, 1.0f};
    if (extreme == 0.0f)
        return found;
    for (int lane = 0; lane < RAD_LANES; lane++)
        inverse[lane] = (1.0f + 0.25f * (float)lane) / (extreme < 0.0f ? -extreme : extreme);
    found.scale = numbers->lanes->scale(x, w, n, false, inverse, &grid, 2, &reached);
    numbers->lanes->moments(x, w, n, &sums);
    found.gain = sums.wxx / reached;
    return found;
}

/* ---- for formats with few scales ----------------------------------------------------------------
 */

int rad_nearest(float value, int low, int high)
{
    if (!(value > (float)low))
        return low;
    if (value >= (float)high)
        return high;
    return (int)(value < 0.0f ? value - 0.5f : value + 0.5f);
}

void rad_encode_scaled(const float *values, const float *importance, uint32_t n, float low,
                       float high, uint8_t half[2], int8_t *quants)
{
    rad_numbers numbers;
    rad_grid grid = {low, high, NULL};
    rad_numbers_take(values, importance, n, &numbers);
    rad_factor factor = rad_search_factor(&numbers, n, &grid, !numbers.weighted);
    rad_store_u16(half, rad_half_in_units(factor.scale * factor.gain, numbers.unit));
    float inverse = factor.scale != 0.0f ? 1.0f / factor.scale : 0.0f;
    numbers.lanes->quants(numbers.x, n, inverse, 0.0f, low, high, quants);
}

void rad_encode_affine(const float *values, const float *importance, uint32_t n, float high,
                       uint8_t halves[4], int8_t *quants)
{
    rad_numbers numbers;
    rad_moments sums;
    rad_numbers_take(values, importance, n, &numbers);
    numbers.lanes->moments(numbers.x, numbers.w, n, &sums);
    rad_affine found = numbers.lanes->affine(numbers.x, numbers.w, n, &sums, high, false,
                                             !numbers.weighted, numbers.weighted ? 3 : 1);
    rad_store_u16(halves, rad_half_in_units(found.scale * found.gain, numbers.unit));
    rad_store_u16(halves + 2, rad_half_in_units(found.stored_minimum, numbers.unit));
    float inverse = found.scale > 0.0f ? 1.0f / found.scale : 0.0f;
    numbers.lanes->quants(numbers.x, n, inverse, -found.minimum * inverse, 0.0f, high, quants);
}

void rad_pack_fives(const uint8_t numbers[32], uint8_t packed[20])
{
    uint32_t fifth = 0;
    for (uint32_t i = 0; i < 32; i += 8) {
        uint64_t eight = rad_load_u32(numbers + i) | (uint64_t)rad_load_u32(numbers + i + 4) << 32;
        /* Bit 8 k goes to bit 56 + k. */
        eight = (eight >> 4 & 0x0101010101010101u) * 0x0102040810204080u >> 56;
        fifth |= (uint32_t)eight << i;
    }
    rad_store_u32(packed, fifth);
    for (int j = 0; j < 16; j++)
        packed[4 + j] = (uint8_t)((numbers[j] & 15) | (numbers[j + 16] & 15) << 4);
}
