/* The functions of lanes.h for one width of vectors: lanes.c includes this with the operations
 * defined. Sixteen lanes are RAD_LANES / WIDTH vectors, one after the other over all numbers. */

TARGET static inline VECTOR NAME(quant)(VECTOR v, VECTOR low, VECTOR high)
{
    VECTOR shift = SET(0x1.8p23f);
    return SUB(ADD(MIN(MAX(v, low), high), shift), shift);
}

TARGET static void NAME(scaled)(const float *x, const float *w, uint32_t n,
                                const float inverse[RAD_LANES], float low, float high,
                                float xq[RAD_LANES], float qq[RAD_LANES])
{
    VECTOR lows = SET(low), highs = SET(high);
    for (int lane = 0; lane < RAD_LANES; lane += WIDTH) {
        VECTOR inverses = LOAD(inverse + lane), sum_xq = SET(0.0f), sum_qq = SET(0.0f);
        for (uint32_t i = 0; i < n; i++) {
            VECTOR q = NAME(quant)(MUL(SET(x[i]), inverses), lows, highs);
            VECTOR wq = MUL(SET(w[i]), q);
            sum_xq = ADD(sum_xq, MUL(wq, SET(x[i])));
            sum_qq = ADD(sum_qq, MUL(wq, q));
        }
        STORE(xq + lane, sum_xq);
        STORE(qq + lane, sum_qq);
    }
}

TARGET static void NAME(affine)(const float *x, const float *w, uint32_t n,
                                const float inverse[RAD_LANES], const float shift[RAD_LANES],
                                float high, float xq[RAD_LANES], float qq[RAD_LANES],
                                float sum[RAD_LANES])
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

TARGET static void NAME(levels)(const float *x, const float *w, uint32_t n,
                                const float inverse[RAD_LANES], const rad_level_steps *steps,
                                float xq[RAD_LANES], float qq[RAD_LANES])
{
    for (int lane = 0; lane < RAD_LANES; lane += WIDTH) {
        VECTOR inverses = LOAD(inverse + lane), sum_xq = SET(0.0f), sum_qq = SET(0.0f);
        for (uint32_t i = 0; i < n; i++) {
            VECTOR v = MUL(SET(x[i]), inverses), q = SET(steps->lowest);
            for (int k = 0; k < 15; k++)
                q = ADD_WHERE_ABOVE(q, v, SET(steps->thresholds[k]), SET(steps->differences[k]));
            VECTOR wq = MUL(SET(w[i]), q);
            sum_xq = ADD(sum_xq, MUL(wq, SET(x[i])));
            sum_qq = ADD(sum_qq, MUL(wq, q));
        }
        STORE(xq + lane, sum_xq);
        STORE(qq + lane, sum_qq);
    }
}

static const rad_lanes NAME(table) = {NAME(scaled), NAME(affine), NAME(levels)};

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
#undef MIN
#undef MAX
#undef ADD_WHERE_ABOVE
