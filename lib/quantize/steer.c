#include "quantize/steer.h"

#include <math.h>
#include <string.h>

enum { MAX_ELEMENTS = 256, MAX_BYTES = 512, TRIES = 3 };

void rad_columns_take(const double *squares, const double *totals, uint64_t count, uint64_t n,
                      rad_column *out)
{
    double unit = 0.0, left = 0.0;
    for (uint64_t i = 0; i < n; i++)
        unit += squares[i];
    unit /= (double)n; /* of sums, as squares[i] is */
    for (uint64_t i = n; i-- > 0;) {
        double square = unit > 0.0 ? squares[i] / unit : 0.0;
        double mean = unit > 0.0 ? totals[i] / sqrt(unit * (double)count) : 0.0;
        double most = sqrt(0.99 * square);
        mean = mean > most ? most : mean < -most ? -most : mean;
        double spread = square - mean * mean, pull = spread > 1e-12 ? mean / spread : 0.0;
        left += mean * pull;
        out[i] = (rad_column){(float)mean, (float)spread, (float)pull, (float)left};
    }
}

bool rad_is_steered(const rad_type_info *to)
{
    return to->encode != NULL && to->family != RAD_FAMILY_FLOAT && to->family != RAD_FAMILY_ROW &&
           to->block_elements <= MAX_ELEMENTS && to->block_bytes <= MAX_BYTES;
}

/* What is added to values so that their products with the means become less by `shift`. */
static void move(const rad_column *columns, float share, size_t n, float *values)
{
    for (size_t i = 0; i < n; i++)
        values[i] -= share * columns[i].pull;
}

/* The shift of a row's product, before a block and behind it, and what it costs: the block's errors
 * around the mean, and of the shift what later columns cannot take back. */
typedef struct outcome {
    float shift, errors, cost;
} outcome;

static outcome judge(const rad_column *columns, const float *values, const float *decoded, size_t n,
                     float before, float rest)
{
    outcome o = {.shift = before};
    for (size_t i = 0; i < n; i++) {
        float error = decoded[i] - values[i];
        o.shift += columns[i].mean * error;
        o.errors += columns[i].spread * error * error;
    }
    o.cost = o.errors + o.shift * o.shift / (1.0f + rest);
    return o;
}

/* A block. Rounding again, with values moved against the shift that was left, may leave less of
 * it; the best is taken. Returns the shift behind the block. */
static float encode_block(const rad_type_info *to, const float *values, const float *importance,
                          const rad_column *columns, size_t n, float before, uint8_t *out)
{
    float wanted[MAX_ELEMENTS], decoded[MAX_ELEMENTS], own = 0.0f;
    uint8_t again[MAX_BYTES];
    for (size_t i = 0; i < n; i++)
        own += columns[i].mean * columns[i].pull;
    float rest = columns[0].left - own;
    rest = rest > 0.0f ? rest : 0.0f;
    memcpy(wanted, values, n * sizeof *wanted);
    move(columns, before / (1.0f + columns[0].left), n, wanted);
    outcome best = {0.0f, 0.0f, 0.0f}, now;
    for (int i = 0; i < TRIES; i++) {
        uint8_t *bytes = i == 0 ? out : again;
        to->encode(wanted, importance, bytes, n);
        to->decode(bytes, decoded, n);
        now = judge(columns, values, decoded, n, before, rest);
        if (i > 0 && now.cost < best.cost)
            memcpy(out, bytes, n / to->block_elements * to->block_bytes);
        if (i == 0 || now.cost < best.cost)
            best = now;
        /* Later columns can take nearly all of it back, or there is not much. */
        if (!(now.shift * now.shift > 0.02f * (1.0f + rest) * now.errors))
            break;
        move(columns, now.shift / (1.0f + own), n, wanted);
    }
    return best.shift * best.shift < 1e30f ? best.shift : 0.0f;
}

void rad_encode_steered(const rad_type_info *to, const float *values, const float *importance,
                        const rad_column *columns, size_t n, uint8_t *out)
{
    size_t block = to->block_elements;
    float shift = 0.0f;
    for (size_t i = 0; i < n; i += block, out += to->block_bytes) {
        float finite[MAX_ELEMENTS];
        for (size_t k = 0; k < block; k++)
            finite[k] = values[i + k] - values[i + k] == 0.0f ? values[i + k] : 0.0f;
        shift = encode_block(to, finite, importance + i, columns + i, block, shift, out);
    }
}
