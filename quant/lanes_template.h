/* The functions of lanes.h for one width of vectors: lanes.c includes this with the operations
 * defined. Sixteen lanes are RAD_LANES / WIDTH vectors. Loops without operations of their own are
 * left to the compiler, which may use what TARGET has. */

TARGET static inline VECTOR NAME(quant)(VECTOR v, VECTOR low, VECTOR high)
{
    return ROUND(MIN(MAX(v, low), high));
}

TARGET static inline VECTOR NAME(level)(VECTOR v, const rad_level_steps *steps)
{
    VECTOR q = SET(steps->lowest);
    for (int k = 0; k < 15; k++)
        q = ADD_WHERE_ABOVE(q, v, SET(steps->thresholds[k]), SET(steps->differences[k]));
    return q;
}

/* The sum of sixteen parts. */
TARGET static inline float NAME(tree)(const VECTOR sums[RAD_LANES / WIDTH])
{
    VECTOR s[RAD_LANES / WIDTH];
    for (int i = 0; i < RAD_LANES / WIDTH; i++)
        s[i] = sums[i];
    for (int half = RAD_LANES / WIDTH / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            s[i] = ADD(s[i], s[i + half]);
    return SUM(s[0]);
}

/* The lane of the greatest value, the lowest of several. */
TARGET static inline int NAME(best)(const float *values)
{
    VECTOR most = LOAD(values);
    for (int lane = WIDTH; lane < RAD_LANES; lane += WIDTH)
        most = MAX(most, LOAD(values + lane));
    float value = GREATEST(most);
    uint32_t equal = 0;
    for (int lane = 0; lane < RAD_LANES; lane += WIDTH)
        equal |= (uint32_t)EQUAL(LOAD(values + lane), SET(value)) << lane;
    return equal != 0 ? __builtin_ctz(equal) : 0;
}

TARGET static inline void NAME(add)(VECTOR x, VECTOR w, VECTOR q, VECTOR *xq, VECTOR *qq)
{
    VECTOR wq = MUL(w, q);
    *xq = ADD(*xq, MUL(wq, x));
    *qq = ADD(*qq, MUL(wq, q));
}

/* ---- candidates by lanes ------------------------------------------------------------------------
 */

TARGET static void NAME(sums)(const float *x, const float *w, uint32_t n, const float *inverse,
                              const rad_grid *grid, float *xq, float *qq)
{
    VECTOR lows = SET(grid->low), highs = SET(grid->high);
    for (int lane = 0; lane < RAD_LANES; lane += WIDTH) {
        VECTOR inverses = LOAD(inverse + lane), sum_xq = SET(0.0f), sum_qq = SET(0.0f);
        if (grid->steps == NULL)
            for (uint32_t i = 0; i < n; i++)
                NAME(add)
        (SET(x[i]), SET(w[i]), NAME(quant)(MUL(SET(x[i]), inverses), lows, highs), &sum_xq,
         &sum_qq);
        else for (uint32_t i = 0; i < n; i++)
            NAME(add)(SET(x[i]), SET(w[i]), NAME(level)(MUL(SET(x[i]), inverses), grid->steps),
                      &sum_xq, &sum_qq);
        STORE(xq + lane, sum_xq);
        STORE(qq + lane, sum_qq);
    }
}

TARGET static inline void NAME(affine_sums)(const float *x, const float *w, uint32_t n,
                                            const float *inverse, const float *shift, float high,
                                            float *xq, float *qq, float *sum)
{
    VECTOR lows = SET(0.0f), highs = SET(high);
    for (int lane = 0; lane < RAD_LANES; lane += WIDTH) {
        VECTOR inverses = LOAD(inverse + lane), shifts = LOAD(shift + lane);
        VECTOR sum_xq = SET(0.0f), sum_qq = SET(0.0f), sum_q = SET(0.0f);
        for (uint32_t i = 0; i < n; i++) {
            VECTOR q = NAME(quant)(ADD(MUL(SET(x[i]), inverses), shifts), lows, highs);
            VECTOR wq = MUL(SET(w[i]), q);
            sum_q = ADD(sum_q, wq);
            sum_xq = ADD(sum_xq, MUL(wq, SET(x[i])));
            sum_qq = ADD(sum_qq, MUL(wq, q));
        }
        STORE(xq + lane, sum_xq);
        STORE(qq + lane, sum_qq);
        STORE(sum + lane, sum_q);
    }
}

/* ---- one candidate by numbers -------------------------------------------------------------------
 */

TARGET static void NAME(sums_of_one)(const float *x, const float *w, uint32_t n, float inverse,
                                     const rad_grid *grid, float *xq, float *qq)
{
    VECTOR lows = SET(grid->low), highs = SET(grid->high), inverses = SET(inverse);
    VECTOR all_xq[RAD_LANES / WIDTH], all_qq[RAD_LANES / WIDTH];
    for (uint32_t part = 0; part < RAD_LANES / WIDTH; part++) {
        all_xq[part] = all_qq[part] = SET(0.0f);
        for (uint32_t i = part * WIDTH; i < n; i += RAD_LANES) {
            VECTOR v = MUL(LOAD(x + i), inverses);
            VECTOR q =
                grid->steps != NULL ? NAME(level)(v, grid->steps) : NAME(quant)(v, lows, highs);
            NAME(add)(LOAD(x + i), LOAD(w + i), q, &all_xq[part], &all_qq[part]);
        }
    }
    *xq = NAME(tree)(all_xq);
    *qq = NAME(tree)(all_qq);
}

TARGET static inline void NAME(affine_sums_of_one)(const float *x, const float *w, uint32_t n,
                                                   float inverse, float shift, float high,
                                                   float sums[3])
{
    VECTOR lows = SET(0.0f), highs = SET(high), inverses = SET(inverse), shifts = SET(shift);
    VECTOR all[3][RAD_LANES / WIDTH];
    for (uint32_t part = 0; part < RAD_LANES / WIDTH; part++) {
        all[0][part] = all[1][part] = all[2][part] = SET(0.0f);
        for (uint32_t i = part * WIDTH; i < n; i += RAD_LANES) {
            VECTOR v = ADD(MUL(LOAD(x + i), inverses), shifts), q = NAME(quant)(v, lows, highs);
            NAME(add)(LOAD(x + i), LOAD(w + i), q, &all[0][part], &all[1][part]);
            all[2][part] = ADD(all[2][part], MUL(LOAD(w + i), q));
        }
    }
    for (int i = 0; i < 3; i++)
        sums[i] = NAME(tree)(all[i]);
}

TARGET static float NAME(extreme)(const float *x, uint32_t n)
{
    VECTOR lowest = LOAD(x), most = LOAD(x), none = SET(0.0f);
    for (uint32_t i = WIDTH; i < n; i += WIDTH) {
        lowest = MIN(lowest, LOAD(x + i));
        most = MAX(most, LOAD(x + i));
    }
    float down = GREATEST(SUB(none, lowest)), up = GREATEST(most);
    return up >= down ? up : -down;
}

TARGET static void NAME(moments)(const float *x, const float *w, uint32_t n, rad_moments *out)
{
    VECTOR all[3][RAD_LANES / WIDTH];
    for (uint32_t part = 0; part < RAD_LANES / WIDTH; part++) {
        all[0][part] = all[1][part] = all[2][part] = SET(0.0f);
        for (uint32_t i = part * WIDTH; i < n; i += RAD_LANES) {
            VECTOR wx = MUL(LOAD(w + i), LOAD(x + i));
            all[0][part] = ADD(all[0][part], LOAD(w + i));
            all[1][part] = ADD(all[1][part], wx);
            all[2][part] = ADD(all[2][part], MUL(wx, LOAD(x + i)));
        }
    }
    out->w = NAME(tree)(all[0]);
    out->wx = NAME(tree)(all[1]);
    out->wxx = NAME(tree)(all[2]);
}

/* ---- searches -----------------------------------------------------------------------------------
 */

/* For given integers the best factor is <x, q> / <q, q>, and its error <x, x> - <x, q>^2 / <q, q>.
 * New integers for that factor are no worse, so the best candidate moves to where it leaves the
 * least error. */
TARGET static float NAME(scale)(const float *x, const float *w, uint32_t n, bool quick,
                                const float *inverse, const rad_grid *grid, int rounds,
                                float *reached)
{
    float best = 0.0f, scale = 0.0f;
    if (!quick) {
        float xq[RAD_LANES], qq[RAD_LANES], gain[RAD_LANES];
        NAME(sums)(x, w, n, inverse, grid, xq, qq);
        for (int lane = 0; lane < RAD_LANES; lane += WIDTH) {
            VECTOR sum = LOAD(xq + lane), squares = MAX(LOAD(qq + lane), SET(1e-37f));
            STORE(gain + lane, DIV(MUL(sum, sum), squares));
        }
        int lane = NAME(best)(gain);
        best = gain[lane];
        scale = best > 0.0f ? xq[lane] / qq[lane] : 0.0f;
    }
    for (int i = quick ? 0 : RAD_FEW; i < RAD_FEW + rounds; i++) {
        float xq, qq;
        if (i >= RAD_FEW && !(best > 0.0f))
            break;
        NAME(sums_of_one)(x, w, n, i < RAD_FEW ? inverse[i] : 1.0f / scale, grid, &xq, &qq);
        float one = xq / (qq > 1e-37f ? qq : 1e-37f), gain = one * xq;
        scale = gain > best ? one : scale;
        best = gain > best ? gain : best;
    }
    *reached = best;
    return scale;
}

/* The least squares pair for candidates' integers, and how much less the error is than that of the
 * mean alone; sums are those of w and w x. A minimum above limit becomes zero. */
TARGET static inline VECTOR NAME(solve)(const rad_moments *sums, float limit, VECTOR xq, VECTOR qq,
                                        VECTOR q, VECTOR *scale, VECTOR *minimum)
{
    float inverse_w = 1.0f / sums->w, mean = sums->wx * inverse_w;
    VECTOR part = MUL(q, SET(inverse_w)), spread = SUB(qq, MUL(q, part));
    VECTOR around = SUB(xq, MUL(q, SET(mean))), none = SET(0.0f), least = SET(1e-37f);
    VECTOR slope = DIV(around, MAX(spread, least)), alone = DIV(xq, MAX(qq, least));
    /* One integer for all, or nearly so: the mean alone. */
    slope = SELECT_ABOVE(spread, MUL(qq, SET(1e-6f)), slope, none);
    VECTOR offset = SUB(SET(mean), MUL(slope, part));
    *minimum = SELECT_ABOVE(offset, SET(limit), none, offset);
    *scale = SELECT_ABOVE(offset, SET(limit), alone, slope);
    return SELECT_ABOVE(offset, SET(limit), SUB(MUL(alone, xq), SET(mean * sums->wx)),
                        MUL(slope, around));
}

/* Takes the candidate, with its best scale and minimum, if it is better than what is chosen. */
TARGET static inline bool NAME(try_one)(const float *x, const float *w, uint32_t n,
                                        const rad_moments *sums, float limit, float high,
                                        float inverse, float shift, affine_choice *chosen)
{
    float one[3], scale, minimum;
    NAME(affine_sums_of_one)(x, w, n, inverse, shift, high, one);
    float gain = plain_solve(sums, limit, one[0], one[1], one[2], &scale, &minimum);
    bool better = scale > 0.0f && gain > chosen->gain;
    float reached = scale * (one[0] - one[2] * (sums->wx / sums->w));
    chosen->gain = better ? gain : chosen->gain;
    chosen->scale = better ? scale : chosen->scale;
    chosen->minimum = better ? minimum : chosen->minimum;
    chosen->reached = better ? reached : chosen->reached;
    return better;
}

/* The sums of affine_sums_of_one for the first few; others are zeros. */
TARGET static inline void NAME(sums_of_few)(const float *x, const float *w, uint32_t n,
                                            const float *inverse, const float *shift, float high,
                                            float sums[3][RAD_LANES])
{
    VECTOR lows = SET(0.0f), highs = SET(high), all[3][RAD_FEW][RAD_LANES / WIDTH];
    memset(sums, 0, 3 * sizeof *sums);
    for (uint32_t part = 0; part < RAD_LANES / WIDTH; part++) {
        for (int k = 0; k < 3; k++)
            for (int c = 0; c < RAD_FEW; c++)
                all[k][c][part] = SET(0.0f);
        for (uint32_t i = part * WIDTH; i < n; i += RAD_LANES) {
            VECTOR v = LOAD(x + i), weight = LOAD(w + i);
            for (int c = 0; c < RAD_FEW; c++) {
                VECTOR q = NAME(quant)(ADD(MUL(v, SET(inverse[c])), SET(shift[c])), lows, highs);
                NAME(add)(v, weight, q, &all[0][c][part], &all[1][c][part]);
                all[2][c][part] = ADD(all[2][c][part], MUL(weight, q));
            }
        }
    }
    for (int k = 0; k < 3; k++)
        for (int c = 0; c < RAD_FEW; c++)
            sums[k][c] = NAME(tree)(all[k][c]);
}

/* The best of the first few. */
TARGET static inline void NAME(try_few)(const float *x, const float *w, uint32_t n,
                                        const rad_moments *sums, float limit, float high,
                                        const float *inverse, const float *shift,
                                        affine_choice *chosen)
{
    float all[3][RAD_LANES], gain[RAD_LANES], scales[RAD_LANES], minima[RAD_LANES];
    NAME(sums_of_few)(x, w, n, inverse, shift, high, all);
    for (int lane = 0; lane < RAD_LANES; lane += WIDTH) {
        VECTOR scale, minimum;
        VECTOR gains = NAME(solve)(sums, limit, LOAD(all[0] + lane), LOAD(all[1] + lane),
                                   LOAD(all[2] + lane), &scale, &minimum);
        STORE(gain + lane, SELECT_ABOVE(scale, SET(0.0f), gains, SET(-1e30f)));
        STORE(scales + lane, scale);
        STORE(minima + lane, minimum);
    }
    int lane = NAME(best)(gain);
    float reached = scales[lane] * (all[0][lane] - all[2][lane] * (sums->wx / sums->w));
    *chosen = (affine_choice){scales[lane], minima[lane], gain[lane], reached};
}

/* The same for sixteen, which move to where they leave the least error so many times less one. */
TARGET static inline void NAME(try_lanes)(const float *x, const float *w, uint32_t n,
                                          const rad_moments *sums, float limit, float high,
                                          float *inverse, float *shift, int passes,
                                          affine_choice *chosen)
{
    float xq[RAD_LANES], qq[RAD_LANES], q[RAD_LANES];
    float gain[RAD_LANES], scales[RAD_LANES], minima[RAD_LANES];
    do {
        NAME(affine_sums)(x, w, n, inverse, shift, high, xq, qq, q);
        for (int lane = 0; lane < RAD_LANES; lane += WIDTH) {
            VECTOR scale, minimum;
            STORE(gain + lane, NAME(solve)(sums, limit, LOAD(xq + lane), LOAD(qq + lane),
                                           LOAD(q + lane), &scale, &minimum));
            STORE(scales + lane, scale);
            STORE(minima + lane, minimum);
            if (passes > 1) {
                VECTOR one = DIV(SET(1.0f), MAX(scale, SET(1e-30f)));
                STORE(inverse + lane, one);
                STORE(shift + lane, SUB(SET(0.0f), MUL(minimum, one)));
            }
        }
    } while (--passes > 0);
    int lane = NAME(best)(gain);
    float reached = scales[lane] * (xq[lane] - q[lane] * (sums->wx / sums->w));
    *chosen = (affine_choice){scales[lane], minima[lane], gain[lane], reached};
}

TARGET static rad_affine NAME(affine)(const float *x, const float *w, uint32_t n,
                                      const rad_moments *sums, float high, bool not_positive,
                                      bool quick, int passes)
{
    float inverse[RAD_LANES], shift[RAD_LANES];
    VECTOR lowest = LOAD(x), highest = lowest, none = SET(0.0f);
    for (uint32_t i = WIDTH; i < n; i += WIDTH) {
        lowest = MIN(LOAD(x + i), lowest);
        highest = MAX(LOAD(x + i), highest);
    }
    /* Of two zeros the greater one may have either sign. */
    float low = 0.0f - GREATEST(SUB(none, lowest)), top = GREATEST(highest) + 0.0f;
    low = not_positive && low > 0.0f ? 0.0f : low;
    rad_affine found = {0.0f, low, low, 1.0f};
    float step = (top - low) / high;
    if (!(step > 0.0f))
        return found;
    for (int lane = 0; lane < RAD_LANES; lane++) {
        float first = low + step * first_in[lane], last = top - step * last_in[lane];
        inverse[lane] = high / (last - first);
        shift[lane] = -first * inverse[lane];
    }
    float limit = not_positive ? 0.0f : 1e30f, mean = sums->wx / sums->w;
    affine_choice chosen = {0.0f, 0.0f, -1e30f, 0.0f};
    if (quick)
        NAME(try_few)(x, w, n, sums, limit, high, inverse, shift, &chosen);
    else
        NAME(try_lanes)(x, w, n, sums, limit, high, inverse, shift, passes, &chosen);
    if (!(chosen.scale > 0.0f))
        return found;
    for (int i = 0; i < (quick ? 1 : 2); i++) {
        float one = 1.0f / chosen.scale;
        if (!NAME(try_one)(x, w, n, sums, limit, high, one, -chosen.minimum * one, &chosen))
            break;
    }
    found.scale = chosen.scale;
    found.minimum = chosen.minimum;
    /* With the gain the numbers spread as they did, around the same mean. */
    if (chosen.reached > 0.0f)
        found.gain = (sums->wxx - sums->wx * mean) / chosen.reached;
    found.stored_minimum = mean - found.gain * (mean - found.minimum);
    return found;
}

/* ---- sub-blocks ---------------------------------------------------------------------------------
 */

/* Where all numbers are zero, or all candidates are worse than zero, zero is taken. */
TARGET static void NAME(sub_scale)(const float *x, const float *w, uint32_t n, const rad_grid *grid,
                                   const rad_sub_range *range, float wanted, rad_sub_choice *out)
{
    float sub[RAD_LANES], inverse[RAD_LANES], xq[RAD_LANES], qq[RAD_LANES], gain[RAD_LANES];
    float middle = rad_round(wanted);
    for (int lane = 0; lane < RAD_LANES; lane++) {
        float value = middle + (float)(lane - 8);
        value = value > range->low ? value : range->low;
        value = value < range->high ? value : range->high;
        sub[lane] = value == 0.0f ? 1.0f : value;
        inverse[lane] = 1.0f / (range->factor * sub[lane]);
    }
    NAME(sums)(x, w, n, inverse, grid, xq, qq);
    for (int lane = 0; lane < RAD_LANES; lane++) {
        float scale = range->factor * sub[lane];
        gain[lane] = scale * (2.0f * xq[lane] - scale * qq[lane]);
    }
    int lane = NAME(best)(gain);
    bool useful = gain[lane] > 0.0f;
    *out = (rad_sub_choice){useful ? sub[lane] : 0.0f, 0.0f, useful ? xq[lane] : 0.0f,
                            useful ? qq[lane] : 0.0f,  0.0f, useful ? gain[lane] : 0.0f};
}

TARGET static void NAME(sub_affine)(const float *x, const float *w, uint32_t n,
                                    const rad_moments *sums, float high, const rad_sub_range *range,
                                    float wanted, float wanted_minimum, rad_sub_choice *out)
{
    float sub[RAD_LANES], minima[RAD_LANES], inverse[RAD_LANES], shift[RAD_LANES];
    float xq[RAD_LANES], qq[RAD_LANES], q[RAD_LANES], gain[RAD_LANES];
    float middle = rad_round(wanted), middle_minimum = rad_round(wanted_minimum);
    for (int lane = 0; lane < RAD_LANES; lane++) {
        int at = lane < 15 ? lane : 7;
        float value = middle + (float)(at / 5 - 1), minimum = middle_minimum + (float)(at % 5 - 2);
        value = value > 1.0f ? value : 1.0f;
        minimum = minimum > 0.0f ? minimum : 0.0f;
        sub[lane] = value < range->high ? value : range->high;
        minima[lane] = minimum < range->high ? minimum : range->high;
        inverse[lane] = 1.0f / (range->factor * sub[lane]);
        shift[lane] = range->minimum_factor * minima[lane] * inverse[lane];
    }
    NAME(affine_sums)(x, w, n, inverse, shift, high, xq, qq, q);
    for (int lane = 0; lane < RAD_LANES; lane++) {
        float scale = range->factor * sub[lane], minimum = range->minimum_factor * minima[lane];
        gain[lane] = scale * (2.0f * xq[lane] + 2.0f * minimum * q[lane] - scale * qq[lane]) -
                     minimum * (minimum * sums->w + 2.0f * sums->wx);
    }
    int lane = NAME(best)(gain);
    *out = (rad_sub_choice){sub[lane], minima[lane], xq[lane], qq[lane], q[lane], gain[lane]};
}

/* ---- numbers ------------------------------------------------------------------------------------
 */

/* Copies n values, zero where they are not finite; the greatest magnitude. */
TARGET static inline float NAME(finite)(const float *values, uint32_t n, float *x)
{
    VECTOR largest = SET(0.0f);
    for (uint32_t i = 0; i < n; i += WIDTH) {
        VECTOR v = LOAD(values + i);
        v = SELECT_ABOVE(SET(__builtin_inff()), ABS(v), v, SET(0.0f));
        largest = MAX(ABS(v), largest);
        STORE(x + i, v);
    }
    return GREATEST(largest);
}

TARGET static inline float NAME(normalise)(const float *values, uint32_t n, float *x)
{
    int exponent = exponent_of(NAME(finite)(values, n, x));
    if (exponent < -60) {
        memset(x, 0, n * sizeof *x);
        return 1.0f;
    }
    VECTOR inverse = SET(power_of_two(-exponent >= -126 ? -exponent : -126));
    VECTOR rest = SET(exponent > 126 ? 0.5f : 1.0f);
    for (uint32_t i = 0; i < n; i += WIDTH)
        STORE(x + i, MUL(MUL(LOAD(x + i), inverse), rest));
    return power_of_two(exponent);
}

TARGET static inline float NAME(sum)(const float *x, uint32_t n, bool squares)
{
    VECTOR parts[RAD_LANES / WIDTH];
    for (uint32_t part = 0; part < RAD_LANES / WIDTH; part++) {
        parts[part] = SET(0.0f);
        for (uint32_t i = part * WIDTH; i < n; i += RAD_LANES)
            parts[part] = ADD(parts[part], squares ? MUL(LOAD(x + i), LOAD(x + i)) : LOAD(x + i));
    }
    return NAME(tree)(parts);
}

/* The importance of a column; without it what makes larger numbers matter somewhat more: errors of
 * small ones are many and cancel each other. */
TARGET static float NAME(take)(const float *values, const float *importance, uint32_t n, float *x,
                               float *w, bool *weighted)
{
    float unit = NAME(normalise)(values, n, x), sum = 0.0f;
    if (importance != NULL) {
        (void)NAME(normalise)(importance, n, w);
        sum = NAME(sum)(w, n, false);
    }
    *weighted = sum > 0.0f;
    if (sum > 0.0f) {
        for (uint32_t i = 0; i < n; i += WIDTH)
            STORE(w + i, ADD(LOAD(w + i), SET(1e-4f * sum / (float)n)));
        return unit;
    }
    VECTOR base = SET(4.0f * __builtin_sqrtf(NAME(sum)(x, n, true) / (float)n) + 1e-30f);
    for (uint32_t i = 0; i < n; i += WIDTH)
        STORE(w + i, ADD(base, ABS(LOAD(x + i))));
    return unit;
}

TARGET static void NAME(quants)(const float *x, uint32_t n, float inverse, float shift, float low,
                                float high, int8_t *q)
{
    for (uint32_t i = 0; i < n; i += WIDTH)
        STORE_BYTES(q + i, NAME(quant)(ADD(MUL(LOAD(x + i), SET(inverse)), SET(shift)), SET(low),
                                       SET(high)));
}

TARGET static void NAME(codes)(const float *x, uint32_t n, float inverse,
                               const rad_level_steps *steps, int8_t *codes)
{
    for (uint32_t i = 0; i < n; i += WIDTH) {
        VECTOR v = MUL(LOAD(x + i), SET(inverse)), passed = SET(0.0f), one = SET(1.0f);
        for (int k = 0; k < 15; k++)
            passed = ADD_WHERE_ABOVE(passed, v, SET(steps->thresholds[k]), one);
        STORE_BYTES(codes + i, passed);
    }
}

/* The scale is rounded first, so that the integers are nearest for the one that is stored. */
TARGET static void NAME(q8_0)(const float *values, uint8_t *block)
{
    float x[32];
    uint16_t half = rad_f32_to_f16_saturated(NAME(finite)(values, 32, x) / 127.0f);
    float scale = rad_f16_to_f32(half), inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
    rad_store_u16(block, half);
    NAME(quants)(x, 32, inverse, 0.0f, -127.0f, 127.0f, (int8_t *)block + 2);
}

static const rad_lanes NAME(table) = {
    NAME(take),   NAME(extreme),   NAME(moments),    NAME(sums),   NAME(sums_of_one), NAME(scale),
    NAME(affine), NAME(sub_scale), NAME(sub_affine), NAME(quants), NAME(codes),       NAME(q8_0),
    FROM_F16,     TO_F16};

#undef NAME
#undef TARGET
#undef VECTOR
#undef WIDTH
#undef SET
#undef LOAD
#undef STORE
#undef ADD
#undef SUB
#undef MUL
#undef DIV
#undef MIN
#undef MAX
#undef ROUND
#undef ADD_WHERE_ABOVE
#undef SELECT_ABOVE
#undef EQUAL
#undef GREATEST
#undef SUM
#undef ABS
#undef STORE_BYTES
#undef FROM_F16
#undef TO_F16
