/* Attention of queries to a tile of cached keys and values, and what becomes of its states. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/numeric.h"
#include "tests/kernels/attention.h"

enum { MAX_QUERIES = 40, MAX_STATE = MAX_DIM + 2 };

static tile key_tile, value_tile;

static void clear_state(float *state, uint32_t value_dim)
{
    memset(state, 0, (value_dim + 2) * sizeof *state);
    state[value_dim] = -INFINITY;
}

/* ---- queries --------------------------------------------------------------------------------- */

/* Which slots queries see. */
typedef enum style {
    STYLE_ALL,
    STYLE_DIAGONAL,
    STYLE_ANY, /* some of it empty */
    STYLE_WINDOW,
    STYLES
} style;
static const char *const style_names[STYLES] = {"all", "diagonal", "any", "window"};

typedef struct queries {
    input values, integers, first, last, slopes, distances;
    rad_tile_queries rows;
} queries;

static void make_integers(queries *q, uint32_t key_dim)
{
    q->rows.integers_stride = rad_query_bytes(key_dim) + 4 * random_below(3);
    q->integers = input_new((q->rows.n - 1) * q->rows.integers_stride + rad_query_bytes(key_dim),
                            sizeof(float));
    for (uint32_t i = 0; i < q->rows.n; i++)
        rad_layer_kernels_scalar.quantize_query(q->rows.values + i * q->rows.stride, key_dim,
                                                q->integers.data + i * q->rows.integers_stride);
    input_seal(&q->integers);
    q->rows.integers = q->integers.data;
}

/* Slopes as of heads, distances as of positions. */
static void make_slopes(queries *q)
{
    const uint32_t n = q->rows.n;
    q->slopes = input_floats(n, ORDINARY);
    q->distances = input_new(n * sizeof(int32_t), sizeof(int32_t));
    for (uint32_t i = 0; i < n; i++) {
        int32_t distance = -(int32_t)random_below(i % 8 == 0 ? 1u << 26 : 200);
        floats_of(q->slopes.data)[i] = 1.0f / (float)(1 + random_below(300));
        memcpy(q->distances.data + i * sizeof distance, &distance, sizeof distance);
    }
    input_seal(&q->slopes);
    input_seal(&q->distances);
    q->rows.slopes = floats_of(q->slopes.data);
    q->rows.distances = (const int32_t *)(const void *)q->distances.data;
}

static queries queries_new(const rad_attention_shape *shape, uint32_t n, flavour kind, style seen,
                           bool biased)
{
    queries q = {.rows = {.n = n, .stride = shape->key_dim + random_below(4)}};
    q.values = input_floats((n - 1) * q.rows.stride + shape->key_dim, kind);
    q.first = input_new(n, 1);
    q.last = input_new(n, 1);
    for (uint32_t i = 0; i < n; i++) {
        q.first.data[i] = (uint8_t)(seen == STYLE_ANY      ? random_below(33)
                                    : seen == STYLE_WINDOW ? i % 32
                                                           : 0);
        q.last.data[i] = (uint8_t)(seen == STYLE_ANY        ? random_below(33)
                                   : seen == STYLE_DIAGONAL ? i % 33
                                                            : 32);
    }
    input_seal(&q.values);
    input_seal(&q.first);
    input_seal(&q.last);
    q.rows.values = floats_of(q.values.data);
    q.rows.first = q.first.data;
    q.rows.last = q.last.data;
    if (rad_cache_type_is_integer(shape->key_type))
        make_integers(&q, shape->key_dim);
    if (biased)
        make_slopes(&q);
    return q;
}

static void queries_free(queries *q)
{
    input_free(&q->values);
    input_free(&q->integers);
    input_free(&q->first);
    input_free(&q->last);
    input_free(&q->slopes);
    input_free(&q->distances);
}

/* ---- against the text ------------------------------------------------------------------------ */

static size_t states_size(const queries *q, uint32_t value_dim)
{
    return ((q->rows.n - 1) * q->rows.state_stride + value_dim + 2) * sizeof(float);
}

/* Fresh states, and states that something came into before; guard bytes between them. */
static void make_states(float *states, const queries *q, uint32_t value_dim)
{
    memset(states, GUARD_BYTE, states_size(q, value_dim));
    for (uint32_t i = 0; i < q->rows.n; i++) {
        float *state = states + i * q->rows.state_stride;
        clear_state(state, value_dim);
        if (i % 2 != 0) {
            fill(state, value_dim + 2, ORDINARY);
            for (uint32_t d = 0; d < value_dim; d += 3) /* whose sign an empty range leaves alone */
                state[d] = -0.0f;
            state[value_dim + 1] = 3.0f;
        }
    }
}

static void attend_plainly(const rad_attention_shape *shape, const queries *q, float *states)
{
    for (uint32_t i = 0; i < q->rows.n; i++) {
        plain_query query = {q->rows.values + i * q->rows.stride, q->rows.first[i], q->rows.last[i],
                             q->rows.slopes != NULL ? q->rows.slopes[i] : 0.0f,
                             q->rows.slopes != NULL ? q->rows.distances[i] : 0};
        plain_attend(shape, &query, key_tile.rows, value_tile.rows,
                     states + i * q->rows.state_stride);
    }
}

typedef struct attention_case {
    rad_attention_shape shape;
    uint32_t n;
    flavour kind;
    style seen;
    bool biased;
} attention_case;

static void check_case(const unit *unit, const attention_case *c, const table *tables, int n_tables)
{
    static float before[MAX_QUERIES * (MAX_STATE + 6)], want[MAX_QUERIES * (MAX_STATE + 6)];
    const rad_attention_shape *shape = &c->shape;
    queries q = queries_new(shape, c->n, c->kind, c->seen, c->biased);
    q.rows.state_stride = shape->value_dim + 2 + random_below(6);
    tile_make(&key_tile, true, shape->key_type, shape->key_dim, c->kind);
    tile_make(&value_tile, false, shape->value_type, shape->value_dim, c->kind);
    const size_t size = states_size(&q, shape->value_dim);
    make_states(before, &q, shape->value_dim);
    memcpy(want, before, size);
    attend_plainly(shape, &q, want);
    for (int t = 0; t < n_tables; t++) {
        check_begin("%s %s, %s keys of %u, %s values of %u, %u queries, %s, %s%s%s", unit->name,
                    tables[t].name, cache_names[shape->key_type], shape->key_dim,
                    cache_names[shape->value_type], shape->value_dim, c->n, flavour_names[c->kind],
                    style_names[c->seen], c->biased ? ", biased" : "",
                    shape->cap > 0.0f ? ", capped" : "");
        output out = output_floats(size / sizeof(float));
        q.rows.states = floats_of(out.data);
        memcpy(out.data, before, size);
        LAYER_KERNEL(&tables[t], attend_tile)
        (shape, &q.rows, key_tile.memory.data, value_tile.memory.data);
        for (uint32_t i = 0; i < c->n; i++) { /* a maximum of 0 may have either sign */
            size_t at = i * q.rows.state_stride + shape->value_dim;
            if (q.rows.states[at] == 0.0f && want[at] == 0.0f)
                q.rows.states[at] = want[at];
        }
        expect_floats(want, q.rows.states, size / sizeof(float), "states");
        expect_intact(&out, "the states");
        output_free(&out);
    }
    tile_free(&key_tile);
    tile_free(&value_tile);
    queries_free(&q);
}

static rad_attention_shape shape_of(uint32_t key_dim, uint32_t value_dim, rad_cache_type key_type,
                                    rad_cache_type value_type)
{
    return (rad_attention_shape){.key_dim = key_dim,
                                 .value_dim = value_dim,
                                 .key_type = key_type,
                                 .value_type = value_type,
                                 .scale = 1.0f / sqrtf((float)key_dim)};
}

static rad_cache_type random_float_type(void)
{
    return random_below(2) ? RAD_CACHE_F16 : RAD_CACHE_F32;
}

/* Floats, of heads as models have them; the last are those of DeepSeek's compressed attention. */
static void check_floats(const unit *unit, const table *tables, int n_tables)
{
    static const uint32_t dims[][2] = {{1, 1},   {2, 2},     {8, 8},     {15, 15},  {24, 24},
                                       {40, 40}, {64, 64},   {80, 80},   {96, 96},  {128, 128},
                                       {192, 8}, {256, 256}, {192, 128}, {33, 200}, {576, 512}};
    static const uint32_t counts[] = {1, 2, 3, 4, 5, 8, 11, 31, 33, 40};
    for (size_t l = 0; l < sizeof dims / sizeof dims[0]; l++)
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
            for (int seen = 0; seen < STYLES; seen++) {
                attention_case c = {.n = counts[i], .seen = (style)seen};
                c.shape =
                    shape_of(dims[l][0], dims[l][1], random_float_type(), random_float_type());
                c.shape.cap = seen % 2 ? 50.0f : 0.0f;
                c.kind = (flavour)random_below(FLAVOURS);
                c.biased = seen == STYLE_ANY;
                check_case(unit, &c, tables, n_tables);
            }
    for (uint32_t i = 0; i < 300; i++) {
        attention_case c = {.n = 1 + random_below(12), .seen = (style)(i % 4), .biased = i % 5 < 2};
        c.shape = shape_of(1 + random_below(70), 1 + random_below(70), random_float_type(),
                           random_float_type());
        c.shape.cap = i % 3 ? 0.0f : 2.0f;
        check_case(unit, &c, tables, n_tables);
    }
}

static void check_formats(const unit *unit, const table *tables, int n_tables)
{
    static const uint32_t counts[] = {1, 2, 3, 4, 7, 8, 11, 16, 33};
    uint32_t round = 0;
    for (int pair = 0; pair < RAD_CACHE_TYPES * RAD_CACHE_TYPES; pair++)
        for (size_t l = 0; l < N_HEAD_DIMS; l++, round++) {
            const uint32_t other = head_dims[random_below(N_HEAD_DIMS)];
            for (uint32_t i = 0; i < 3; i++) {
                attention_case c = {.n = counts[random_below(9)],
                                    .kind = (flavour)((round + i) % FLAVOURS),
                                    .seen = (style)((round / 3 + i) % STYLES),
                                    .biased = random_below(4) == 0};
                c.shape = shape_of(head_dims[l], round % 3 ? head_dims[l] : other,
                                   (rad_cache_type)(pair % RAD_CACHE_TYPES),
                                   (rad_cache_type)(pair / RAD_CACHE_TYPES));
                c.shape.cap = random_below(4) == 0 ? 20.0f : 0.0f;
                check_case(unit, &c, tables, n_tables);
            }
        }
}

/* Integers of compressed attention: more blocks of values than are weighed once for a tile. */
static void check_many_blocks(const unit *unit, const table *tables, int n_tables)
{
    static const uint32_t counts[] = {1, 7, 33};
    for (int key_type = 0; key_type < RAD_CACHE_TYPES; key_type++)
        for (int value_type = RAD_CACHE_Q8_0; value_type <= RAD_CACHE_Q4_0; value_type++)
            for (int i = 0; i < 3; i++) {
                attention_case c = {.n = counts[i], .seen = i == 1 ? STYLE_ANY : STYLE_DIAGONAL};
                c.shape = shape_of(MAX_DIM, i == 1 ? 300 : 512, (rad_cache_type)key_type,
                                   (rad_cache_type)value_type);
                check_case(unit, &c, tables, n_tables);
            }
}

/* ---- what is hidden, what is not finite ------------------------------------------------------ */

/* Some queries with fresh states to the tiles that are there; the states stay in `out`. */
static void attend_fresh(const table *of, const rad_attention_shape *shape, queries *q, output *out)
{
    q->rows.state_stride = shape->value_dim + 2;
    *out = output_floats(states_size(q, shape->value_dim) / sizeof(float));
    q->rows.states = floats_of(out->data);
    for (uint32_t i = 0; i < q->rows.n; i++)
        clear_state(q->rows.states + i * q->rows.state_stride, shape->value_dim);
    LAYER_KERNEL(of, attend_tile)
    (shape, &q->rows, key_tile.memory.data, value_tile.memory.data);
}

/* Whatever stands in hidden slots, also what is no number, changes no bit; a query that sees one
 * slot gets its values. */
static void check_hidden(const unit *unit, const table *tables, int n_tables)
{
    enum { DIM = 80, N = 9, FIRST = 5, LAST = 20, ALONE = 2 };
    static const uint8_t garbage[] = {0x00, 0xff, 0x7c};
    static float heads[RAD_TILE_KEYS * DIM], values[RAD_TILE_KEYS * DIM], want[N * (DIM + 2)];
    for (int type = 0; type < RAD_CACHE_TYPES; type++) {
        rad_attention_shape shape = shape_of(DIM, DIM, (rad_cache_type)type, (rad_cache_type)type);
        queries q = queries_new(&shape, N, ORDINARY, STYLE_ALL, false);
        input_unseal(&q.first);
        input_unseal(&q.last);
        for (int i = 0; i < N; i++) {
            q.first.data[i] = (uint8_t)(FIRST + i / 4);
            q.last.data[i] = (uint8_t)(i == ALONE ? FIRST + 1 : LAST - i % 3);
        }
        fill(heads, RAD_TILE_KEYS * DIM, ORDINARY);
        fill(values, RAD_TILE_KEYS * DIM, ORDINARY);
        for (size_t g = 0; g < sizeof garbage; g++) {
            tile_make_of(&key_tile, true, shape.key_type, DIM, heads, FIRST, LAST, garbage[g]);
            tile_make_of(&value_tile, false, shape.value_type, DIM, values, FIRST, LAST,
                         garbage[g]);
            for (int t = 0; t < n_tables; t++) {
                check_begin("%s %s, %s, hidden bytes of %x", unit->name, tables[t].name,
                            cache_names[type], garbage[g]);
                output out;
                attend_fresh(&tables[t], &shape, &q, &out);
                if (t == 0 && g == 0)
                    memcpy(want, out.data, sizeof want);
                bool finite = true;
                for (int i = 0; i < N * (DIM + 2); i++)
                    finite = finite && isfinite(q.rows.states[i]);
                expect(finite, "states are not finite");
                expect_floats(want, q.rows.states, N * (DIM + 2), "states");
                if (type == RAD_CACHE_F32)
                    expect_floats(values + FIRST * DIM, q.rows.states + ALONE * (DIM + 2), DIM,
                                  "values of the only slot");
                output_free(&out);
            }
            tile_free(&key_tile);
            tile_free(&value_tile);
        }
        queries_free(&q);
    }
}

/* A visible key or value that is not finite makes the whole output NaN, in every format that cannot
 * hold it otherwise. */
static void check_not_finite(const unit *unit, const table *tables, int n_tables)
{
    enum { DIM = 64, AT = 9 * DIM + 40 };
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static float heads[RAD_TILE_KEYS * DIM];
    for (int type = RAD_CACHE_FP8; type <= RAD_CACHE_Q4_0; type++)
        for (int which = 0; which < 6; which++) {
            rad_attention_shape shape =
                shape_of(DIM, DIM, (rad_cache_type)type, (rad_cache_type)type);
            queries q = queries_new(&shape, 1, ORDINARY, STYLE_ALL, false);
            fill(heads, RAD_TILE_KEYS * DIM, ORDINARY);
            heads[AT] = which < 3 ? bad[which] : heads[AT];
            tile_make_of(&key_tile, true, shape.key_type, DIM, heads, 0, RAD_TILE_KEYS, 0);
            heads[AT] = which < 3 ? 1.0f : bad[which - 3];
            tile_make_of(&value_tile, false, shape.value_type, DIM, heads, 0, RAD_TILE_KEYS, 0);
            for (int t = 0; t < n_tables; t++) {
                check_begin("%s %s, %s, %s that are not finite", unit->name, tables[t].name,
                            cache_names[type], which < 3 ? "keys" : "values");
                output out;
                float got[DIM];
                attend_fresh(&tables[t], &shape, &q, &out);
                LAYER_KERNEL(&tables[t], finish_attention)(q.rows.states, DIM, got);
                expect(got[40] != got[40], "an output of such a value is a number");
                expect(which >= 3 || got[0] != got[0], "an output with such a key is a number");
                output_free(&out);
            }
            tile_free(&key_tile);
            tile_free(&value_tile);
            queries_free(&q);
        }
}

static void check_attention(const unit *unit)
{
    table tables[MAX_TABLES];
    int n_tables = unit_tables(unit, tables);
    if (n_tables == 0)
        return;
    check_floats(unit, tables, n_tables);
    check_formats(unit, tables, n_tables);
    check_many_blocks(unit, tables, n_tables);
    check_hidden(unit, tables, n_tables);
    check_not_finite(unit, tables, n_tables);
}

/* ---- against exact arithmetic ---------------------------------------------------------------- */

/* Over several tiles it is a softmax, in double precision. */
static void check_softmax(const unit *unit, const table *tables, int n_tables)
{
    enum { DIM = 32, TILES = 5, TILE = DIM * RAD_TILE_KEYS };
    static float keys[TILES * TILE], values[TILES * TILE]; /* [tile][slot][dimension] */
    rad_attention_shape shape = shape_of(DIM, DIM, RAD_CACHE_F32, RAD_CACHE_F32);
    shape.scale = 0.2f;
    queries q = queries_new(&shape, 1, ORDINARY, STYLE_ALL, false);
    fill(keys, TILES * TILE, ORDINARY);
    fill(values, TILES * TILE, ORDINARY);
    double sum = 0, exact[DIM] = {0};
    for (int i = 0; i < TILES * RAD_TILE_KEYS; i++) {
        double score = 0;
        for (int d = 0; d < DIM; d++)
            score += (double)q.rows.values[d] * (double)keys[i * DIM + d];
        double p = rad_exp(score * (double)shape.scale);
        sum += p;
        for (int d = 0; d < DIM; d++)
            exact[d] += p * (double)values[i * DIM + d];
    }
    for (int t = 0; t < n_tables; t++) {
        float state[DIM + 2] = {[DIM] = -INFINITY}, out[DIM];
        check_begin("%s %s, over tiles", unit->name, tables[t].name);
        q.rows.states = state;
        q.rows.state_stride = DIM + 2;
        for (int i = 0; i < TILES; i++) {
            tile_make_of(&key_tile, true, RAD_CACHE_F32, DIM, keys + i * TILE, 0, RAD_TILE_KEYS, 0);
            tile_make_of(&value_tile, false, RAD_CACHE_F32, DIM, values + i * TILE, 0,
                         RAD_TILE_KEYS, 0);
            LAYER_KERNEL(&tables[t], attend_tile)
            (&shape, &q.rows, key_tile.memory.data, value_tile.memory.data);
            tile_free(&key_tile);
            tile_free(&value_tile);
        }
        LAYER_KERNEL(&tables[t], finish_attention)(state, DIM, out);
        bool near = true;
        for (int d = 0; d < DIM; d++)
            near = near && fabs((double)out[d] - exact[d] / sum) <= 1e-5;
        expect(near, "is no softmax");
    }
    queries_free(&q);
}

/* How far a format's attention is from that of the exact keys and values. */
static void check_exactness(const unit *unit, const table *of, rad_cache_type type)
{
    enum { DIM = 64, TRIES = 40 };
    static const double allowed[RAD_CACHE_TYPES] = {1e-6, 1e-3, 5e-3, 4e-2, 1e-2, 0.15};
    static float keys[RAD_TILE_KEYS * DIM], values[RAD_TILE_KEYS * DIM];
    double error = 0, power = 0;
    for (int i = 0; i < TRIES; i++) {
        float outs[2][DIM];
        rad_attention_shape shapes[2] = {shape_of(DIM, DIM, RAD_CACHE_F32, RAD_CACHE_F32),
                                         shape_of(DIM, DIM, type, type)};
        queries q = queries_new(&shapes[1], 1, ORDINARY, STYLE_ALL, false);
        fill(keys, RAD_TILE_KEYS * DIM, ORDINARY);
        fill(values, RAD_TILE_KEYS * DIM, ORDINARY);
        for (int as = 0; as < 2; as++) {
            output out;
            tile_make_of(&key_tile, true, shapes[as].key_type, DIM, keys, 0, RAD_TILE_KEYS, 0);
            tile_make_of(&value_tile, false, shapes[as].value_type, DIM, values, 0, RAD_TILE_KEYS,
                         0);
            attend_fresh(of, &shapes[as], &q, &out);
            LAYER_KERNEL(of, finish_attention)(q.rows.states, DIM, outs[as]);
            output_free(&out);
            tile_free(&key_tile);
            tile_free(&value_tile);
        }
        for (int d = 0; d < DIM; d++) {
            double difference = (double)outs[1][d] - (double)outs[0][d];
            error += difference * difference;
            power += (double)outs[0][d] * (double)outs[0][d];
        }
        queries_free(&q);
    }
    check_begin("%s %s, %s", unit->name, of->name, cache_names[type]);
    expect(sqrt(error / power) <= allowed[type], "is less exact than it should be");
}

static void check_accuracy(const unit *unit)
{
    table tables[MAX_TABLES];
    int n_tables = unit_tables(unit, tables);
    if (n_tables == 0)
        return;
    check_softmax(unit, tables, n_tables);
    for (int type = 0; type < RAD_CACHE_TYPES; type++)
        check_exactness(unit, &tables[type % n_tables], (rad_cache_type)type);
}

/* ---- states ---------------------------------------------------------------------------------- */

static void check_merged(const table *of, const float *state, const float *part, uint32_t n,
                         const float *want, const char *what)
{
    output out = output_floats(n + 2);
    memcpy(out.data, state, (n + 2) * sizeof *state);
    LAYER_KERNEL(of, merge_states)(floats_of(out.data), part, n);
    expect_floats(want, floats_of(out.data), n + 2, what);
    expect_intact(&out, "the state");
    output_free(&out);
}

/* By the formula, bit for bit; what nothing came into changes nothing, and is replaced. */
static void check_merge(const unit *unit)
{
    static const uint32_t dims[] = {1, 7, 16, 33, 64, 80, 128, 512, MAX_DIM};
    table tables[MAX_TABLES];
    int n_tables = unit_tables(unit, tables);
    for (size_t l = 0; l < sizeof dims / sizeof dims[0] && n_tables > 0; l++)
        for (int kind = 0; kind < FLAVOURS; kind++) {
            const uint32_t n = dims[l];
            float empty[MAX_STATE], want[MAX_STATE];
            input state = input_floats(n + 2, (flavour)kind), part = input_floats(n + 2, ORDINARY),
                  nothing = input_floats(n + 2, ORDINARY);
            clear_state(empty, n);
            memcpy(nothing.data, empty, nothing.size);
            input_seal(&state);
            input_seal(&part);
            input_seal(&nothing);
            const float *x = floats_of(state.data), *y = floats_of(part.data);
            memcpy(want, x, (n + 2) * sizeof *want);
            plain_merge_states(want, y, n);
            for (int t = 0; t < n_tables; t++) {
                check_begin("%s %s, %u, %s", unit->name, tables[t].name, n, flavour_names[kind]);
                check_merged(&tables[t], x, y, n, want, "a merged state");
                check_merged(&tables[t], empty, y, n, y, "into nothing");
                check_merged(&tables[t], x, floats_of(nothing.data), n, x, "nothing into a state");
            }
            input_free(&state);
            input_free(&part);
            input_free(&nothing);
        }
}

static void check_finish(const unit *unit)
{
    table tables[MAX_TABLES];
    int n_tables = unit_tables(unit, tables);
    for (size_t l = 0; l < N_HEAD_DIMS && n_tables > 0; l++)
        for (int kind = 0; kind < FLAVOURS; kind++) {
            const uint32_t n = head_dims[l];
            float want[MAX_STATE];
            input state = input_floats(n + 2, (flavour)kind);
            input_seal(&state);
            const float *x = floats_of(state.data);
            for (uint32_t d = 0; d < n; d++)
                want[d] = x[d] / x[n + 1];
            for (int t = 0; t < n_tables; t++) {
                check_begin("%s %s, %u, %s", unit->name, tables[t].name, n, flavour_names[kind]);
                output out = output_floats(n), in_place = output_floats(n + 2);
                memcpy(in_place.data, x, (n + 2) * sizeof *x);
                LAYER_KERNEL(&tables[t], finish_attention)(x, n, floats_of(out.data));
                LAYER_KERNEL(&tables[t], finish_attention)
                (floats_of(in_place.data), n, floats_of(in_place.data));
                expect_floats(want, floats_of(out.data), n, "outputs");
                expect_floats(want, floats_of(in_place.data), n, "outputs in place");
                expect_intact(&out, "the outputs");
                expect_intact(&in_place, "the state");
                output_free(&out);
                output_free(&in_place);
            }
            input_free(&state);
        }
}

void add_attention_units(void)
{
    unit_add(&(unit){.name = "attention",
                     .check = check_attention,
                     .bench = bench_attention,
                     .entries = ENTRY_BIT(attend_tile),
                     .of_layer = true});
    unit_add(&(unit){.name = "attention accuracy", .check = check_accuracy, .of_layer = true});
    unit_add(&(unit){.name = "merge_states",
                     .check = check_merge,
                     .bench = bench_merge,
                     .entries = ENTRY_BIT(merge_states),
                     .of_layer = true});
    unit_add(&(unit){.name = "finish_attention",
                     .check = check_finish,
                     .bench = bench_finish,
                     .entries = ENTRY_BIT(finish_attention),
                     .of_layer = true});
}
