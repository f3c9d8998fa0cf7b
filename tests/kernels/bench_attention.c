/* Times attention to 2048 keys that stand in the cache, with as many queries as share a tile,
 * beside what the multiply-adds of the formats' arithmetic alone would take in registers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/attention.h"

enum { N_TILES = 64, BENCH_DIM = 128, BENCH_QUERIES = 32 };

typedef struct attend_job {
    const table *of;
    rad_attention_shape shape;
    rad_tile_queries queries;
    const uint8_t *keys, *values; /* tiles, one after the other */
    size_t key_bytes, value_bytes;
} attend_job;

static void time_attend(void *data)
{
    const attend_job *job = data;
    const rad_tile_queries *q = &job->queries;
    memset(q->states, 0, q->n * q->state_stride * sizeof *q->states);
    for (uint32_t i = 0; i < q->n; i++)
        q->states[i * q->state_stride + job->shape.value_dim] = -INFINITY;
    for (uint32_t t = 0; t < N_TILES; t++)
        LAYER_KERNEL(job->of, attend_tile)
    (&job->shape, q, job->keys + t * job->key_bytes, job->values + t * job->value_bytes);
}

/* Keys and values of each position begin one number further. */
static void fill_tiles(attend_job *job, const float *numbers, uint8_t *integers)
{
    const rad_attention_shape *shape = &job->shape;
    job->key_bytes = rad_key_tile_bytes(shape->key_type, shape->key_dim);
    job->value_bytes = rad_value_tile_bytes(shape->value_type, shape->value_dim);
    uint8_t *keys = malloc(N_TILES * job->key_bytes), *values = malloc(N_TILES * job->value_bytes);
    if (keys == NULL || values == NULL)
        exit(2);
    for (size_t position = 0; position < N_TILES * RAD_TILE_KEYS; position++) {
        size_t t = position / RAD_TILE_KEYS;
        uint32_t slot = position % RAD_TILE_KEYS;
        tile_store(job->of, true, shape->key_type, shape->key_dim, numbers + position,
                   keys + t * job->key_bytes, slot);
        tile_store(job->of, false, shape->value_type, shape->value_dim, numbers + position,
                   values + t * job->value_bytes, slot);
    }
    job->keys = keys;
    job->values = values;
    job->queries.integers = integers;
    job->queries.integers_stride = rad_query_bytes(shape->key_dim);
    for (uint32_t i = 0; i < job->queries.n; i++)
        LAYER_KERNEL(job->of, quantize_query)
    (job->queries.values + i * job->queries.stride, shape->key_dim,
     integers + i * job->queries.integers_stride);
}

static void bench_shape(const table *of, rad_cache_type type, uint32_t dim, uint32_t n)
{
    uint8_t first[BENCH_QUERIES] = {0}, last[BENCH_QUERIES];
    memset(last, RAD_TILE_KEYS, sizeof last);
    input queries = input_floats((size_t)n * dim, ORDINARY),
          numbers = input_floats(N_TILES * RAD_TILE_KEYS + BENCH_DIM, ORDINARY);
    output states = output_new(n * rad_attention_state_floats(dim) * sizeof(float), 0),
           integers = output_new(n * rad_query_bytes(dim), 0);
    attend_job job = {.of = of,
                      .shape = {dim, dim, type, type, 0.125f, 0.0f},
                      .queries = {.values = floats_of(queries.data),
                                  .stride = dim,
                                  .n = n,
                                  .first = first,
                                  .last = last,
                                  .states = floats_of(states.data),
                                  .state_stride = rad_attention_state_floats(dim)}};
    fill_tiles(&job, floats_of(numbers.data), integers.data);
    const bool is_integer = rad_cache_type_is_integer(type);
    peaks peak = peak_of(of);
    double macs = (double)n * dim * N_TILES * RAD_TILE_KEYS; /* of each of the two products */
    double keys = is_integer ? peak.bytes : peak.floats;
    double values = is_integer ? peak.bytes / 2 : peak.floats; /* half as many words a register */
    time_call(&(timed){.call = time_attend,
                       .data = &job,
                       .macs = 2 * macs,
                       .bytes = (double)N_TILES * (double)(job.key_bytes + job.value_bytes),
                       .seconds_at_peak = macs / keys + macs / values});
    free((void *)(uintptr_t)job.keys);
    free((void *)(uintptr_t)job.values);
    input_free(&queries);
    input_free(&numbers);
    output_free(&states);
    output_free(&integers);
}

void bench_attention(const unit *unit)
{
    static const uint32_t dims[] = {64, 128}, counts[] = {1, 4, 8, 16, BENCH_QUERIES};
    table tables[MAX_TABLES];
    int n_tables = all_tables(tables);
    for (int t = 0; t < n_tables; t++)
        for (int type = 0; type < RAD_CACHE_TYPES && tables[t].layer != NULL; type++)
            for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++)
                for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++)
                    if (time_wanted("%s %s %s dim %u, %u queries", unit->name, tables[t].name,
                                    cache_names[type], dims[d], counts[c]))
                        bench_shape(&tables[t], (rad_cache_type)type, dims[d], counts[c]);
}

/* ---- states ---------------------------------------------------------------------------------- */

typedef struct state_job {
    const table *of;
    float *state;
    const float *part;
    float *out;
} state_job;

static void time_merge(void *data)
{
    const state_job *job = data;
    LAYER_KERNEL(job->of, merge_states)(job->state, job->part, BENCH_DIM);
}

static void time_finish(void *data)
{
    const state_job *job = data;
    LAYER_KERNEL(job->of, finish_attention)(job->part, BENCH_DIM, job->out);
}

static void bench_states(const unit *unit, void (*call)(void *), double bytes)
{
    table tables[MAX_TABLES];
    int n_tables = all_tables(tables);
    input part = input_floats(BENCH_DIM + 2, ORDINARY);
    output state = output_new((BENCH_DIM + 2) * sizeof(float), 0),
           out = output_new(BENCH_DIM * sizeof(float), 0);
    memset(floats_of(part.data) + BENCH_DIM, 0, 2 * sizeof(float)); /* a sum that stays finite */
    floats_of(part.data)[BENCH_DIM + 1] = 1.0f;
    for (int t = 0; t < n_tables; t++) {
        memcpy(state.data, part.data, part.size);
        state_job job = {&tables[t], floats_of(state.data), floats_of(part.data),
                         floats_of(out.data)};
        if (tables[t].layer != NULL &&
            time_wanted("%s %s %d", unit->name, tables[t].name, BENCH_DIM))
            time_call(&(timed){.call = call,
                               .data = &job,
                               .elements = BENCH_DIM,
                               .bytes = bytes,
                               .seconds_at_peak = peak_copying(bytes)});
    }
    input_free(&part);
    output_free(&state);
    output_free(&out);
}

void bench_merge(const unit *unit)
{
    bench_states(unit, time_merge, 3.0 * BENCH_DIM * sizeof(float));
}

void bench_finish(const unit *unit)
{
    bench_states(unit, time_finish, 2.0 * BENCH_DIM * sizeof(float));
}
