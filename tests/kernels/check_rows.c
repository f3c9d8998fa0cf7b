/* Norms, rotation, and what is done to each value of a row by itself. */
#include <stdio.h>
#include <string.h>

#include "tests/kernels/check.h"
#include "tests/kernels/plain.h"

/* What `second` is to a function. */
typedef enum second_kind {
    SECOND_NONE,
    SECOND_WEIGHT, /* may be NULL, as the third may, where there is one */
    SECOND_VECTOR, /* y may be it */
    SECOND_START,  /* what y begins with; it is not handed over */
    SECOND_TABLES  /* cosines, with sines as the third; y begins as x */
} second_kind;

typedef struct row_kernel {
    void (*call)(const table *of, const row_arguments *a);
    void (*plain)(const row_arguments *a);
    second_kind second;
    bool has_third;
} row_kernel;

#define ROW_CALL(name, ...)                                                                        \
    static void call_##name(const table *of, const row_arguments *a)                               \
    {                                                                                              \
        LAYER_KERNEL(of, name)(__VA_ARGS__);                                                       \
    }
ROW_CALL(rms_norm, a->x, a->second, ROW_EPSILON, a->n, a->y)
ROW_CALL(layer_norm, a->x, a->second, a->third, ROW_EPSILON, a->n, a->y)
ROW_CALL(rotate, a->y, a->second, a->third, a->n, 0)
ROW_CALL(silu_multiply, a->x, a->second, a->n, a->y)
ROW_CALL(gelu_tanh_multiply, a->x, a->second, a->n, a->y)
ROW_CALL(relu2_multiply, a->x, a->second, a->n, a->y)
ROW_CALL(clamped_multiply, a->x, a->second, a->n, a->y)
ROW_CALL(gelu_tanh, a->x, a->n, a->y)
ROW_CALL(gelu_erf, a->x, a->n, a->y)
ROW_CALL(clamp, a->x, ROW_LIMIT, a->n, a->y)
ROW_CALL(add, a->x, a->second, a->n, a->y)
ROW_CALL(scale, a->x, ROW_FACTOR, a->n, a->y)
ROW_CALL(add_scaled, a->x, ROW_PART, a->n, a->y)
ROW_CALL(soft_cap, a->x, ROW_CAP, a->n, a->y)

static void call_rotate_interleaved(const table *of, const row_arguments *a)
{
    LAYER_KERNEL(of, rotate)(a->y, a->second, a->third, a->n, 1);
}

/* ---- checks ---------------------------------------------------------------------------------- */

typedef enum place {
    PLACE_ITS_OWN, /* y is none of the inputs */
    PLACE_X,
    PLACE_SECOND,
    PLACES
} place;

static uint32_t values_of(const row_kernel *kernel, uint32_t n)
{
    return kernel->second == SECOND_TABLES ? 2 * n : n;
}

static bool is_possible(const row_kernel *kernel, place where)
{
    switch (where) {
    case PLACE_ITS_OWN:
        return true;
    case PLACE_X: /* in one place anyhow */
        return kernel->second != SECOND_TABLES;
    default:
        return kernel->second == SECOND_VECTOR;
    }
}

/* What y holds before the call. */
static const float *start_of(const row_kernel *kernel, const row_arguments *a, place where)
{
    if (where == PLACE_X || kernel->second == SECOND_TABLES)
        return a->x;
    return where == PLACE_SECOND || kernel->second == SECOND_START ? a->second : NULL;
}

/* One call with each table; a->y is where the expected values go. */
static void check_call(const unit *unit, const row_kernel *kernel, const row_arguments *a,
                       place where, flavour kind, const table *tables, int n_tables)
{
    static const char *const places[PLACES] = {"", ", in place", ", in place of the second"};
    const uint32_t n = values_of(kernel, a->n);
    const float *start = start_of(kernel, a, where);
    if (start != NULL)
        memcpy(a->y, start, n * sizeof(float));
    kernel->plain(a);
    for (int t = 0; t < n_tables; t++) {
        check_begin("%s %s, %u, %s%s%s%s", unit->name, tables[t].name, a->n, flavour_names[kind],
                    kernel->second == SECOND_WEIGHT && a->second == NULL ? ", no weight" : "",
                    kernel->has_third && a->third == NULL ? ", no bias" : "", places[where]);
        output out = output_floats(n);
        row_arguments call = *a;
        call.y = floats_of(out.data);
        if (start != NULL)
            memcpy(call.y, start, n * sizeof(float));
        call.x = where == PLACE_X ? call.y : call.x;
        call.second = where == PLACE_SECOND ? call.y : call.second;
        kernel->call(&tables[t], &call);
        expect_floats(a->y, call.y, n, "y");
        expect_intact(&out, "y");
        output_free(&out);
    }
}

static void check_length(const unit *unit, uint32_t n, flavour kind, const table *tables,
                         int n_tables)
{
    enum { MAX_VALUES = 6000 };
    static float expected[MAX_VALUES];
    const row_kernel *kernel = unit->data;
    const uint32_t n_values = values_of(kernel, n);
    input x = input_floats(n_values, kind), second = input_floats(n, kind),
          third = input_floats(n, kind);
    input_seal(&x);
    input_seal(&second);
    input_seal(&third);
    for (int with = 0; with < 4; with++) { /* without weight, without bias */
        row_arguments a = {floats_of(x.data), with & 1 ? NULL : floats_of(second.data),
                           with & 2 ? NULL : floats_of(third.data), n, expected};
        if (((with & 1) && kernel->second != SECOND_WEIGHT) ||
            ((with & 2) && (kernel->second != SECOND_WEIGHT || !kernel->has_third)))
            continue;
        for (int where = 0; where < PLACES; where++)
            if (is_possible(kernel, (place)where))
                check_call(unit, kernel, &a, (place)where, kind, tables, n_tables);
    }
    input_free(&x);
    input_free(&second);
    input_free(&third);
}

static void check_rows(const unit *unit)
{
    static const uint32_t lengths[] = {1,  2,  7,   8,   15,  16,  17,  31,   32,   33,  47,
                                       64, 65, 100, 129, 288, 768, 897, 2048, 2051, 5632};
    table tables[MAX_TABLES];
    int n_tables = unit_tables(unit, tables);
    const row_kernel *kernel = unit->data;
    for (int kind = 0; kind < FLAVOURS && n_tables > 0; kind++) {
        if (kernel->second != SECOND_TABLES) {
            for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++)
                check_length(unit, lengths[l], (flavour)kind, tables, n_tables);
            continue;
        }
        for (uint32_t pairs = 1; pairs <= 130; pairs += pairs < 35 ? 1 : 31)
            check_length(unit, pairs, (flavour)kind, tables, n_tables);
    }
}

/* ---- timing ---------------------------------------------------------------------------------- */

typedef struct row_job {
    const row_kernel *kernel;
    const table *of;
    row_arguments arguments;
} row_job;

static void time_row(void *data)
{
    const row_job *job = data;
    job->kernel->call(job->of, &job->arguments);
}

static void bench_rows(const unit *unit)
{
    enum { N = 4096, PAIRS = 64 };
    const row_kernel *kernel = unit->data;
    const uint32_t n = kernel->second == SECOND_TABLES ? PAIRS : N;
    table tables[MAX_TABLES];
    int n_tables = all_tables(tables);
    input x = input_floats(N, ORDINARY), second = input_floats(N, ORDINARY),
          third = input_floats(N, ORDINARY);
    output y = output_new(N * sizeof(float), 0);
    memset(y.data, 0, y.size);
    /* x, y, what stands beside them; y is read as well where it is changed. */
    double bytes = 2.0 * values_of(kernel, n) * sizeof(float);
    bytes += kernel->second == SECOND_NONE ? 0.0 : (double)n * sizeof(float);
    bytes += kernel->has_third ? (double)n * sizeof(float) : 0.0;
    for (int t = 0; t < n_tables; t++) {
        if (tables[t].layer == NULL ||
            !time_wanted("%s %s %u", unit->name, tables[t].name, values_of(kernel, n)))
            continue;
        row_job job = {kernel,
                       &tables[t],
                       {floats_of(x.data), floats_of(second.data), floats_of(third.data), n,
                        floats_of(y.data)}};
        time_call(&(timed){.call = time_row,
                           .data = &job,
                           .elements = values_of(kernel, n),
                           .bytes = bytes,
                           .seconds_at_peak = peak_copying(bytes)});
    }
    input_free(&x);
    input_free(&second);
    input_free(&third);
    output_free(&y);
}

/* ---- the list -------------------------------------------------------------------------------- */

static void add(const char *name, entry_set entries, const row_kernel *kernel)
{
    unit_add(&(unit){.name = name,
                     .check = check_rows,
                     .bench = bench_rows,
                     .entries = entries,
                     .of_layer = true,
                     .data = kernel});
}

#define ADD_ROW(name, ...)                                                                         \
    do {                                                                                           \
        static const row_kernel kernel = {call_##name, plain_##name, __VA_ARGS__};                 \
        add(#name, ENTRY_BIT(name), &kernel);                                                      \
    } while (0)

void add_row_units(void)
{
    static const row_kernel interleaved = {call_rotate_interleaved, plain_rotate_interleaved,
                                           SECOND_TABLES, true};
    ADD_ROW(rms_norm, SECOND_WEIGHT, false);
    ADD_ROW(layer_norm, SECOND_WEIGHT, true);
    ADD_ROW(rotate, SECOND_TABLES, true);
    add("rotate interleaved", ENTRY_BIT(rotate), &interleaved);
    ADD_ROW(silu_multiply, SECOND_VECTOR, false);
    ADD_ROW(gelu_tanh_multiply, SECOND_VECTOR, false);
    ADD_ROW(relu2_multiply, SECOND_VECTOR, false);
    ADD_ROW(clamped_multiply, SECOND_VECTOR, false);
    ADD_ROW(gelu_tanh, SECOND_NONE, false);
    ADD_ROW(gelu_erf, SECOND_NONE, false);
    ADD_ROW(clamp, SECOND_NONE, false);
    ADD_ROW(add, SECOND_VECTOR, false);
    ADD_ROW(scale, SECOND_NONE, false);
    ADD_ROW(add_scaled, SECOND_START, false);
    ADD_ROW(soft_cap, SECOND_NONE, false);
}
