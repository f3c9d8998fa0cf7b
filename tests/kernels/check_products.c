/* Products of every weight type, by every table against the scalar one, in both layouts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/tables.h"
#include "tests/kernels/weights.h"

static const float outlier_threshold = 0.9f; /* of LLM.int8: many outliers */

/* A matrix in one layout by one table, and what its outputs are to be. */
typedef struct product_case {
    const table *of;
    const rad_matrix *w;
    uint32_t n_tokens;
    bool tiles; /* or tokens one by one */
    content kind;
} product_case;

static void name_case(const unit *unit, const product_case *c, size_t size, char *out)
{
    snprintf(out, size, "%s %s, %s layout, %u x %u, %u tokens%s, %s", unit->name, c->of->name,
             c->w->layout == RAD_LAYOUT_LANE ? "lane" : "file", c->w->n_rows, c->w->n_columns,
             c->n_tokens, c->tiles ? "" : " without tiles", content_names[c->kind]);
}

/* One product of a table against the expected outputs, over all rows or in two ranges, over all
 * tokens or from the second tile on. */
static void check_product(const table *of, const rad_matrix *w, const rad_activations *x,
                          const float *expected, bool split)
{
    const uint32_t n_rows = w->n_rows, n_tokens = x->n_tokens, marker = 0x01010101u * GUARD_BYTE;
    const size_t stride = n_rows + 3;
    output scratch = output_new(rad_product_scratch_bytes(w), 0);
    output out = output_floats(stride * n_tokens);
    float *y = floats_of(out.data);
    uint32_t middle = split && n_rows > RAD_LANE_ROWS ? (n_rows / 2 + 15) / 16 * 16 : 0;
    uint32_t first_token = split && n_tokens > RAD_TILE_TOKENS ? RAD_TILE_TOKENS : 0;
    if (middle > 0)
        PRODUCT_KERNEL(of, product)
    (w, x, 0, middle, first_token, n_tokens, y, stride, scratch.data);
    if (middle < n_rows)
        PRODUCT_KERNEL(of, product)
    (w, x, middle, n_rows, first_token, n_tokens, y, stride, scratch.data);
    bool same = true, left_alone = true;
    for (uint32_t t = 0; t < n_tokens; t++)
        for (uint32_t r = 0; r < stride; r++) {
            float got = y[t * stride + r];
            if (t < first_token || r >= n_rows)
                left_alone = left_alone && memcmp(&got, &marker, 4) == 0;
            else
                same = same && same_float(got, expected[(size_t)t * n_rows + r]);
        }
    expect(same, "y");
    expect(left_alone, "writes rows or tokens that it was not asked for");
    expect_intact(&out, "y");
    expect_intact(&scratch, "the scratch");
    output_free(&out);
    output_free(&scratch);
}

/* ---- cases ----------------------------------------------------------------------------------- */

typedef struct product_cases {
    product_case *data;
    size_t n;
} product_cases;

static void add_case(const unit *unit, product_cases *cases, product_case new)
{
    char name[160];
    name_case(unit, &new, sizeof name, name);
    if (!is_wanted(name))
        return;
    cases->data = realloc(cases->data, (cases->n + 1) * sizeof(product_case));
    if (cases->data == NULL)
        exit(2);
    cases->data[cases->n++] = new;
}

typedef struct token_counts {
    uint32_t n, counts[12];
} token_counts;

static const token_counts few_tokens = {11, {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33}};
static const token_counts some_tokens = {2, {1, 33}};
/* More than any kernel takes at a time. */
static const token_counts many_tokens = {1, {517}};

/* Those of one matrix that were asked for. */
static product_cases cases_of(const unit *unit, const rad_matrix *file, const rad_matrix *lane,
                              const token_counts *tokens, content kind, const table *tables,
                              int n_tables)
{
    const rad_type_info *info = rad_type_find((uint32_t)file->type);
    const bool has_tiles =
        info->activation != RAD_ACTIVATION_F32 && info->activation != RAD_ACTIVATION_Q8_OUTLIERS;
    const bool has_lanes = rad_has_lane_layout(file->type, file->n_columns);
    product_cases cases = {NULL, 0};
    for (uint32_t c = 0; c < tokens->n; c++) /* so that tiles are made once for all tables */
        for (int i = 0; i < n_tables; i++)
            for (int layout = 0; layout <= has_lanes && tables[i].products != NULL; layout++) {
                product_case one = {&tables[i], layout ? lane : file, tokens->counts[c], true,
                                    kind};
                add_case(unit, &cases, one);
                one.tiles = false;
                if (has_tiles && one.n_tokens == 17)
                    add_case(unit, &cases, one);
            }
    return cases;
}

/* The activations beside weights. Quantized ones that are tiny are zeros, which would hide tiny
 * weights. */
static content content_beside(rad_type type, content kind)
{
    const bool one = random_bits() & 1;
    switch (kind) {
    case CONTENT_ALL_ONES:
    case CONTENT_MINUS_128:
        return one ? CONTENT_ALL_ONES : CONTENT_MINUS_128;
    case CONTENT_TINY:
        if (rad_type_find((uint32_t)type)->activation != RAD_ACTIVATION_F32)
            return one ? CONTENT_NORMAL : CONTENT_HUGE;
        return one ? CONTENT_TINY : CONTENT_HUGE;
    default:
        return kind;
    }
}

static void check_matrix(const unit *unit, content kind, uint32_t n_rows, uint32_t n_columns,
                         const token_counts *tokens)
{
    const rad_type type = *(const rad_type *)unit->data;
    const uint32_t most = tokens->counts[tokens->n - 1];
    table tables[MAX_TABLES];
    int n_tables = all_tables(tables);
    char name[160];
    rad_matrix file = {type, RAD_LAYOUT_FILE, n_rows, n_columns, NULL}, lane = file;
    lane.layout = RAD_LAYOUT_LANE;
    product_cases cases = cases_of(unit, &file, &lane, tokens, kind, tables, n_tables);
    if (cases.n == 0)
        return;
    /* The same numbers whatever else was asked for. */
    snprintf(name, sizeof name, "%s %u x %u %s", unit->name, n_rows, n_columns,
             content_names[kind]);
    random_begin(name);
    check_begin("%s", name);
    weights w = weights_new(type, kind, n_rows, n_columns);
    file.data = w.file.data;
    lane.data = w.lane.data;
    activations in =
        activations_new(type, content_beside(type, kind), most, n_columns, outlier_threshold);
    float *expected = malloc((size_t)most * n_rows * 4);
    if (expected == NULL)
        exit(2);
    rad_kernels_find(RAD_ISA_SCALAR, true)
        ->product(&file, &in.x, 0, n_rows, 0, most, expected, n_rows, NULL);
    for (size_t i = 0; i < cases.n; i++) {
        const product_case *c = &cases.data[i];
        name_case(unit, c, sizeof name, name);
        check_begin("%s", name);
        rad_activations x = activations_of(&in, c->n_tokens);
        if (!c->tiles)
            x.tiles = NULL;
        check_product(c->of, c->w, &x, expected, check_bits() & 1);
    }
    free(cases.data);
    free(expected);
    activations_free(&in);
    weights_free(&w);
}

/* The scalar product is near to that of decoded weights in double precision. */
static void check_exactness(const unit *unit)
{
    enum { ROWS = 21, TOKENS = 2 };
    const rad_type type = *(const rad_type *)unit->data;
    const rad_type_info *info = rad_type_find((uint32_t)type);
    const uint32_t n_columns = info->block_elements == 1 ? 48 : info->block_elements * 3;
    char name[96];
    snprintf(name, sizeof name, "%s scalar against double precision", unit->name);
    if (!is_wanted(name))
        return;
    check_begin("%s", name);
    random_begin(name);
    weights w = weights_new(type, CONTENT_NORMAL, ROWS, n_columns);
    activations in = activations_new(type, CONTENT_NORMAL, TOKENS, n_columns, outlier_threshold);
    float y[TOKENS * ROWS], *values = malloc((size_t)n_columns * ROWS * sizeof *values);
    if (values == NULL)
        exit(2);
    info->decode(w.file.data, values, (size_t)n_columns * ROWS);
    rad_kernels_find(RAD_ISA_SCALAR, true)
        ->product(&w.file, &in.x, 0, ROWS, 0, TOKENS, y, ROWS, NULL);
    double error = 0.0, norm = 0.0;
    for (int t = 0; t < TOKENS; t++)
        for (int r = 0; r < ROWS; r++) {
            double exact = 0.0;
            for (uint32_t i = 0; i < n_columns; i++)
                exact += (double)values[(size_t)r * n_columns + i] *
                         (double)in.x.values[(size_t)t * n_columns + i];
            error += (exact - (double)y[t * ROWS + r]) * (exact - (double)y[t * ROWS + r]);
            norm += exact * exact;
        }
    expect(error <= norm * (info->activation == RAD_ACTIVATION_F32 ? 1e-12 : 2e-4),
           "the relative error is too great");
    free(values);
    activations_free(&in);
    weights_free(&w);
}

static void check_type(const unit *unit)
{
    const uint32_t block = rad_type_find(*(const rad_type *)unit->data)->block_elements;
    const uint32_t columns = block == 1 ? 16 : block;
    check_exactness(unit);
    for (int kind = 0; kind < N_CONTENTS; kind++) {
        check_matrix(unit, (content)kind, 16, columns, &few_tokens);
        check_matrix(unit, (content)kind, 47, columns * 3, &few_tokens);
    }
    check_matrix(unit, CONTENT_NORMAL, 1, columns, &few_tokens);
    check_matrix(unit, CONTENT_NORMAL, 48, columns * 11, &few_tokens);
    /* More rows, tokens and columns than kernels take at a time. */
    check_matrix(unit, CONTENT_NORMAL, 137, columns, &some_tokens);
    check_matrix(unit, CONTENT_NORMAL, 18, columns, &many_tokens);
    if (block == 1) {
        check_matrix(unit, CONTENT_NORMAL, 18, 1, &few_tokens);
        check_matrix(unit, CONTENT_NORMAL, 19, 77, &few_tokens);
        check_matrix(unit, CONTENT_RANDOM_BITS, 5, 45, &few_tokens);
        check_matrix(unit, CONTENT_NORMAL, 21, 2064, &few_tokens);
        check_matrix(unit, CONTENT_NORMAL, 21, 1100, &few_tokens);
    }
}

/* ---- timing ---------------------------------------------------------------------------------- */

typedef struct product_job {
    const table *of;
    const rad_matrix *w;
    const rad_activations *x;
    float *y;
    void *scratch;
} product_job;

static void time_product(void *data)
{
    const product_job *job = data;
    PRODUCT_KERNEL(job->of, product)
    (job->w, job->x, 0, job->w->n_rows, 0, job->x->n_tokens, job->y, job->w->n_rows, job->scratch);
}

/* Weights and activations of one type, made when the first timing is wanted. */
typedef struct bench_data {
    weights w;
    activations in;
    output scratch, y;
    bool made;
} bench_data;

enum { MOST_TOKENS = 512 };

static void bench_make(bench_data *data, rad_type type)
{
    if (data->made)
        return;
    data->made = true;
    data->w = weights_new(type, CONTENT_NORMAL, chosen.rows, chosen.columns);
    data->in = activations_new(type, CONTENT_NORMAL, MOST_TOKENS, chosen.columns, 3.3f);
    data->scratch = output_new(rad_product_scratch_bytes(&data->w.file), 0);
    data->y = output_new((size_t)MOST_TOKENS * chosen.rows * sizeof(float), 0);
}

static void bench_type(const unit *unit)
{
    static const uint32_t counts[] = {1, 2, 4, 8, 16, 64, MOST_TOKENS};
    const rad_type type = *(const rad_type *)unit->data;
    const bool has_lanes = rad_has_lane_layout(type, chosen.columns);
    bench_data data = {.made = false};
    table tables[MAX_TABLES];
    int n_tables = all_tables(tables);
    for (int t = 0; t < n_tables; t++)
        for (int layout = 0; layout <= has_lanes && tables[t].products != NULL; layout++)
            for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
                if (!time_wanted("%s %s %s %u", unit->name, tables[t].name,
                                 layout ? "lane" : "file", counts[c]))
                    continue;
                bench_make(&data, type);
                rad_activations x = activations_of(&data.in, counts[c]);
                product_job job = {&tables[t], layout ? &data.w.lane : &data.w.file, &x,
                                   floats_of(data.y.data), data.scratch.data};
                peaks peak = peak_of(&tables[t]);
                double macs = (double)chosen.rows * chosen.columns * counts[c];
                time_call(
                    &(timed){.call = time_product,
                             .data = &job,
                             .macs = macs,
                             .bytes = (double)data.w.file_memory.size,
                             .seconds_at_peak =
                                 macs / (x.kind == RAD_ACTIVATION_F32 ? peak.floats : peak.bytes)});
            }
    if (data.made) {
        weights_free(&data.w);
        activations_free(&data.in);
        output_free(&data.scratch);
        output_free(&data.y);
    }
}

void add_product_units(void)
{
    static char names[N_TYPES][32];
    for (size_t i = 0; i < N_TYPES; i++) {
        snprintf(names[i], sizeof names[i], "product %s",
                 rad_type_find((uint32_t)all_types[i])->name);
        unit_add(&(unit){.name = names[i],
                         .check = check_type,
                         .bench = bench_type,
                         .entries = ENTRY_BIT(product),
                         .of_products = true,
                         .data = &all_types[i]});
    }
}
