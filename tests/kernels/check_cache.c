/* Numbers on their way into the cache: the stores of keys and values, queries in integers, the
 * narrow floats, and single slots that are read and moved. */
#include <math.h>
#include <string.h>

#include "base/numeric_f32.h"
#include "kernels/cpu/cached.h"
#include "tests/kernels/tile.h"

/* ---- narrow floats --------------------------------------------------------------------------- */

static void check_fp8(float x)
{
    uint8_t code = rad_fp8_saturated(x);
    float error = fabsf(rad_float_of_fp8(code) - x);
    bool nearest = true, even = true;
    for (uint32_t other = 0; other < 256; other++) {
        float distance = fabsf(rad_float_of_fp8((uint8_t)other) - x);
        nearest = nearest && !(distance < error);
        even = even && (distance != error || x == 0.0f || other == code || code % 2 == 0);
    }
    expect(nearest, "FP8 is not the nearest");
    expect(even, "FP8 of two that are as near is not the even one");
}

static void check_bf16(float x)
{
    uint32_t exact = rad_float_bits(x), down = exact & 0xffff0000u, up = down + 0x10000u;
    uint32_t rest = exact & 0xffffu;
    bool upwards = rest > 0x8000u || (rest == 0x8000u && (down & 0x10000u) != 0);
    expect(rad_float_bits(rad_float_of_bf16(rad_bf16_saturated(x))) == (upwards ? up : down),
           "BF16 is not the nearest");
}

static void check_narrow_floats(const unit *unit)
{
    if (!is_wanted(unit->name))
        return;
    check_begin("%s", unit->name);
    for (uint32_t code = 0; code < 256; code++) {
        float value = rad_float_of_fp8((uint8_t)code);
        expect((code & 0x7f) == 0x7f ? value != value
                                     : rad_fp8_saturated(value) == code && fabsf(value) <= 448.0f,
               "a code of FP8 there and back");
    }
    for (uint32_t i = 0; i < 20000; i++) {
        float x = random_value(i % 2 ? ORDINARY : WIDE) * (i % 3 ? 1.0f : 0.01f);
        check_fp8(x);
        check_bf16(x);
    }
    expect(rad_bf16_saturated(3.4028235e38f) == 0x7f7f, "BF16 of the greatest");
    expect(rad_bf16_saturated(-INFINITY) == 0xff80, "BF16 of infinity");
    expect(rad_bf16_saturated(NAN) == 0x7fc0, "BF16 of NaN");
    expect(rad_fp8_saturated(1e30f) == 0x7e && rad_fp8_saturated(-449.0f) == 0xfe, "FP8 saturates");
    expect((rad_fp8_saturated(-INFINITY) & 0x7f) == 0x7f, "FP8 of infinity");
    expect((rad_fp8_saturated(NAN) & 0x7f) == 0x7f, "FP8 of NaN");
}

/* ---- stores ---------------------------------------------------------------------------------- */

/* Which of the two a unit is for. */
static const bool of_keys = true, of_values = false;

static plain_row rows[RAD_TILE_KEYS], moved_row;

/* Every slot of a tile by every table, then one of them again: that changes this slot alone, so
 * that tasks may share a tile. */
static void check_heads(const unit *unit, rad_cache_type type, uint32_t dim, const float *heads,
                        const char *kind, const table *tables, int n_tables)
{
    enum { AGAIN = 17, OTHER = 3 };
    const bool keys = *(const bool *)unit->data;
    const size_t size = tile_bytes(keys, type, dim);
    output first_table = output_new(size, 0);
    for (uint32_t slot = 0; slot < RAD_TILE_KEYS; slot++)
        plain_store(heads + (size_t)slot * dim, dim, type, &rows[slot]);
    plain_store(heads + (size_t)OTHER * dim, dim, type, &moved_row);
    for (int t = 0; t < n_tables; t++) {
        check_begin("%s %s, %s, %u dimensions, %s", unit->name, tables[t].name, cache_names[type],
                    dim, kind);
        output out = output_floats(size / sizeof(float));
        for (uint32_t i = 0; i < RAD_TILE_KEYS; i++) {
            uint32_t slot = (5 * i + 31) % RAD_TILE_KEYS; /* in some order */
            tile_store(&tables[t], keys, type, dim, heads + (size_t)slot * dim, out.data, slot);
        }
        bool same = true;
        for (uint32_t slot = 0; slot < RAD_TILE_KEYS; slot++)
            same = same && tile_slot_is(out.data, keys, type, dim, slot, &rows[slot]);
        expect(same, "a slot");
        if (t == 0)
            memcpy(first_table.data, out.data, size);
        expect(memcmp(first_table.data, out.data, size) == 0, "bytes beside the numbers");
        tile_store(&tables[t], keys, type, dim, heads + (size_t)OTHER * dim, out.data, AGAIN);
        for (uint32_t slot = 0; slot < RAD_TILE_KEYS; slot++)
            same = same && tile_slot_is(out.data, keys, type, dim, slot,
                                        slot == AGAIN ? &moved_row : &rows[slot]);
        expect(same, "a slot that was stored again, or another one");
        expect_intact(&out, "the tile");
        output_free(&out);
    }
    output_free(&first_table);
}

/* Blocks of one magnitude with other signs, from those that vanish to those that a scale of 16 bits
 * cannot hold. */
static void check_magnitudes(const unit *unit, rad_cache_type type, const table *tables,
                             int n_tables)
{
    enum { DIM = 40 };
    static const float amounts[] = {0.0f, 1e-45f, 1e-30f, 1e-6f, 4e6f, 9e6f, 1e30f, 3.4e38f};
    for (size_t i = 0; i < sizeof amounts / sizeof amounts[0]; i++)
        for (int sign = -1; sign <= 1; sign += 2) {
            input heads = input_floats((size_t)RAD_TILE_KEYS * DIM, ORDINARY);
            float *x = floats_of(heads.data);
            for (uint32_t d = 0; d < RAD_TILE_KEYS * DIM; d++)
                x[d] = (float)sign * amounts[i] * (d % DIM % 3 == 0 ? 1.0f : -0.3f);
            input_seal(&heads);
            check_heads(unit, type, DIM, x, sign < 0 ? "magnitudes below 0" : "magnitudes", tables,
                        n_tables);
            for (int b = 0; b < 2 && rad_cache_type_is_integer(type); b++)
                expect(fabsf(rad_float_of_half(rows[7].scales[b])) <= 65504.0f, "a scale");
            input_free(&heads);
        }
}

static void check_stores(const unit *unit)
{
    table tables[MAX_TABLES];
    int n_tables = unit_tables(unit, tables);
    for (int type = 0; type < RAD_CACHE_TYPES && n_tables > 0; type++) {
        for (size_t l = 0; l < N_HEAD_DIMS; l++) {
            for (int kind = 0; kind < FLAVOURS; kind++) {
                const uint32_t dim = head_dims[l];
                input heads = input_floats((size_t)RAD_TILE_KEYS * dim, (flavour)kind);
                input_seal(&heads);
                check_heads(unit, (rad_cache_type)type, dim, floats_of(heads.data),
                            flavour_names[kind], tables, n_tables);
                input_free(&heads);
            }
        }
        check_magnitudes(unit, (rad_cache_type)type, tables, n_tables);
    }
}

/* ---- queries --------------------------------------------------------------------------------- */

static void check_query(const unit *unit, uint32_t dim, const float *query, const char *kind,
                        const table *tables, int n_tables)
{
    const uint32_t n_blocks = rad_cache_blocks(dim);
    for (int t = 0; t < n_tables; t++) {
        check_begin("%s %s, %u, %s", unit->name, tables[t].name, dim, kind);
        output out = output_floats(rad_query_bytes(dim) / sizeof(float));
        LAYER_KERNEL(&tables[t], quantize_query)(query, dim, out.data);
        const int8_t *got = (const int8_t *)out.data;
        const float *scales = floats_of(out.data + (size_t)n_blocks * RAD_CACHE_BLOCK);
        bool same = true;
        for (uint32_t b = 0; b < n_blocks; b++) {
            int32_t quants[RAD_CACHE_BLOCK] = {0}, sum = 0, stored;
            uint32_t left = dim - b * RAD_CACHE_BLOCK;
            float scale;
            plain_quantize_query(query + b * RAD_CACHE_BLOCK,
                                 left < RAD_CACHE_BLOCK ? left : RAD_CACHE_BLOCK, quants, &scale);
            for (uint32_t i = 0; i < RAD_CACHE_BLOCK; i++) {
                same = same && got[b * RAD_CACHE_BLOCK + i] == quants[i];
                sum += quants[i];
            }
            memcpy(&stored, scales + n_blocks + b, sizeof stored);
            same = same && stored == sum && same_float(scales[b], scale);
        }
        expect(same, "integers, scales or sums");
        expect_intact(&out, "the integers");
        output_free(&out);
    }
}

static void check_queries(const unit *unit)
{
    table tables[MAX_TABLES];
    int n_tables = unit_tables(unit, tables);
    for (size_t l = 0; l <= N_HEAD_DIMS && n_tables > 0; l++) {
        const uint32_t dim = l < N_HEAD_DIMS ? head_dims[l] : MAX_DIM;
        for (int kind = 0; kind <= FLAVOURS; kind++) {
            input query = input_floats(dim, kind < FLAVOURS ? (flavour)kind : ORDINARY);
            if (kind == FLAVOURS)
                fill_middles(floats_of(query.data), dim);
            input_seal(&query);
            check_query(unit, dim, floats_of(query.data),
                        kind < FLAVOURS ? flavour_names[kind] : "middles", tables, n_tables);
            input_free(&query);
        }
    }
    input edge = input_floats(64, ORDINARY); /* the greatest that is 0, the least that is not */
    float *x = floats_of(edge.data);
    memset(x, 0, edge.size);
    x[1] = 0x1.fffffep-101f;
    x[40] = -0x1p-100f;
    input_seal(&edge);
    check_query(unit, 64, x, "at the border of zero", tables, n_tables);
    input_free(&edge);
}

/* ---- single slots ---------------------------------------------------------------------------- */

/* A key comes back as what it is plainly, and moved values are what would have been stored there.
 */
static void check_slots(const unit *unit)
{
    static tile keys, values, changed;
    static float heads[RAD_TILE_KEYS * MAX_DIM];
    if (!is_wanted(unit->name))
        return;
    for (size_t l = 0; l < N_HEAD_DIMS; l++) {
        for (int type = 0; type < RAD_CACHE_TYPES; type++) {
            const uint32_t dim = head_dims[l];
            const rad_cache_type as = (rad_cache_type)type;
            check_begin("%s, %s, %u dimensions", unit->name, cache_names[type], dim);
            tile_make(&keys, true, as, dim, ORDINARY);
            output key = output_floats(dim);
            bool same = true;
            for (uint32_t slot = 0; slot < RAD_TILE_KEYS; slot++) {
                const plain_row *row = &keys.rows[slot];
                rad_cached_key(keys.memory.data, dim, as, slot, floats_of(key.data));
                for (uint32_t d = 0; d < dim; d++) {
                    float scale = rad_float_of_half(row->scales[d / 32]);
                    same = same && floats_of(key.data)[d] == (rad_cache_type_is_integer(as)
                                                                  ? scale * (float)row->quants[d]
                                                                  : row->values[d]);
                }
            }
            expect(same, "a key");
            expect_intact(&key, "the key");
            output_free(&key);
            tile_free(&keys);

            fill(heads, (size_t)RAD_TILE_KEYS * dim, ORDINARY);
            tile_make_of(&values, false, as, dim, heads, 0, RAD_TILE_KEYS, 0);
            output moved = output_floats(values.memory.size / sizeof(float));
            memcpy(moved.data, values.memory.data, moved.size);
            rad_cached_move_value(values.memory.data, 30, moved.data, 5, dim, as);
            rad_cached_move_value(moved.data, 8, moved.data, 9, dim, as);
            memcpy(heads + (size_t)5 * dim, heads + (size_t)30 * dim, dim * sizeof(float));
            memcpy(heads + (size_t)9 * dim, heads + (size_t)8 * dim, dim * sizeof(float));
            tile_make_of(&changed, false, as, dim, heads, 0, RAD_TILE_KEYS, 0);
            expect(memcmp(moved.data, changed.memory.data, moved.size) == 0, "a moved value");
            expect_intact(&moved, "the tile");
            output_free(&moved);
            tile_free(&values);
            tile_free(&changed);
        }
    }
}

/* ---- timing ---------------------------------------------------------------------------------- */

enum { TIMED_DIM = 128 };

typedef struct store_job {
    const table *of;
    bool keys;
    rad_cache_type type;
    const float *x;
    uint8_t *out;
} store_job;

static void time_store(void *data)
{
    const store_job *job = data;
    tile_store(job->of, job->keys, job->type, TIMED_DIM, job->x, job->out, 5);
}

static void bench_stores(const unit *unit)
{
    table tables[MAX_TABLES];
    int n_tables = all_tables(tables);
    input x = input_floats(TIMED_DIM, ORDINARY);
    output out = output_new(tile_bytes(true, RAD_CACHE_F32, TIMED_DIM), 0);
    for (int t = 0; t < n_tables; t++)
        for (int type = 0; type < RAD_CACHE_TYPES; type++) {
            store_job job = {&tables[t], *(const bool *)unit->data, (rad_cache_type)type,
                             floats_of(x.data), out.data};
            /* A head read, a slot written. */
            double bytes = (double)TIMED_DIM * sizeof(float) +
                           (double)tile_bytes(job.keys, job.type, TIMED_DIM) / RAD_TILE_KEYS;
            if (tables[t].layer != NULL && time_wanted("%s %s %s %d", unit->name, tables[t].name,
                                                       cache_names[type], TIMED_DIM))
                time_call(&(timed){.call = time_store,
                                   .data = &job,
                                   .elements = TIMED_DIM,
                                   .bytes = bytes,
                                   .seconds_at_peak = peak_copying(bytes)});
        }
    input_free(&x);
    output_free(&out);
}

static void time_query(void *data)
{
    const store_job *job = data;
    LAYER_KERNEL(job->of, quantize_query)(job->x, TIMED_DIM, job->out);
}

static void bench_queries(const unit *unit)
{
    table tables[MAX_TABLES];
    int n_tables = all_tables(tables);
    input x = input_floats(TIMED_DIM, ORDINARY);
    output out = output_new(rad_query_bytes(TIMED_DIM), 0);
    const double bytes = (double)(x.size + out.size);
    for (int t = 0; t < n_tables; t++) {
        store_job job = {.of = &tables[t], .x = floats_of(x.data), .out = out.data};
        if (tables[t].layer != NULL &&
            time_wanted("%s %s %d", unit->name, tables[t].name, TIMED_DIM))
            time_call(&(timed){.call = time_query,
                               .data = &job,
                               .elements = TIMED_DIM,
                               .bytes = bytes,
                               .seconds_at_peak = peak_copying(bytes)});
    }
    input_free(&x);
    output_free(&out);
}

void add_cache_units(void)
{
    unit_add(&(unit){.name = "narrow floats", .check = check_narrow_floats});
    unit_add(&(unit){.name = "store_key",
                     .check = check_stores,
                     .bench = bench_stores,
                     .entries = ENTRY_BIT(store_key),
                     .of_layer = true,
                     .data = &of_keys});
    unit_add(&(unit){.name = "store_value",
                     .check = check_stores,
                     .bench = bench_stores,
                     .entries = ENTRY_BIT(store_value),
                     .of_layer = true,
                     .data = &of_values});
    unit_add(&(unit){.name = "quantize_query",
                     .check = check_queries,
                     .bench = bench_queries,
                     .entries = ENTRY_BIT(quantize_query),
                     .of_layer = true});
    unit_add(&(unit){.name = "cached slots", .check = check_slots});
}
