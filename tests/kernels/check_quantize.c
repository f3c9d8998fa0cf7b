/* Activations to integers of 8 bits, and the layouts of weights: rows decoded, lanes packed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/numeric_f32.h"
#include "kernels/cpu/lane.h"
#include "kernels/cpu/tables.h"
#include "tests/kernels/weights.h"

/* ---- activations ----------------------------------------------------------------------------- */

typedef struct quantizer {
    rad_activation_kind kind;
    uint32_t block; /* of Q8_ROW: this many a row */
} quantizer;

/* What one table makes of them. */
typedef struct quantized {
    output quants, scales, sums;
} quantized;

static quantized quantize_by(const table *of, const quantizer *by, const float *x, uint32_t n)
{
    quantized out = {output_new(n, (uintptr_t)by->block % 3), output_floats(n / by->block),
                     output_new(n / 16 * sizeof(int16_t), 2)};
    const bool rows = by->kind == RAD_ACTIVATION_Q8_ROW;
    const uint32_t at_once = rows ? by->block : n;
    for (uint32_t at = 0; at < n; at += at_once)
        quantize_function(of, by->kind)(x + at, at_once, (int8_t *)out.quants.data + at,
                                        floats_of(out.scales.data) + at / by->block,
                                        (int16_t *)(void *)out.sums.data + at / 16);
    expect_intact(&out.quants, "the quants");
    expect_intact(&out.scales, "the scales");
    expect_intact(&out.sums, "the sums");
    return out;
}

static void quantized_free(quantized *q)
{
    output_free(&q->quants);
    output_free(&q->scales);
    output_free(&q->sums);
}

/* Exact halves, the threshold of zero, values that are not finite, and values beside the middle
 * between two integers. */
static void put_borders(float *x, uint32_t n)
{
    enum { MIDDLES = 2048 };
    for (int i = 0; i < 256; i++)
        x[i] = (float)(i - 127) / 2.0f;
    memset(x + 256, 0, 512 * sizeof *x);
    x[256] = 0x1p-100f;
    x[512] = 0x1.fffffep-101f;
    x[768] = INFINITY;
    x[1030] = NAN;
    fill_middles(x + MIDDLES, n - MIDDLES);
}

static void check_quantize(const unit *unit)
{
    enum { N = 16384 };
    static const uint32_t lengths[] = {N, 1024}; /* the second: few blocks, of other numbers */
    const table scalar = {"scalar", &rad_kernels_scalar, &rad_layer_kernels_scalar};
    const quantizer *by = unit->data;
    table tables[MAX_TABLES];
    int n_tables = unit_tables(unit, tables);
    for (int kind = 0; kind < N_CONTENTS && n_tables > 0; kind++)
        for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
            const uint32_t n = lengths[l];
            input values = input_new(n * sizeof(float), sizeof(float));
            float *x = floats_of(values.data);
            for (uint32_t i = 0; i < n; i++)
                x[i] = random_float(kind == CONTENT_RANDOM_BITS && i < n / 2 ? CONTENT_NORMAL
                                                                             : (content)kind);
            if (kind == CONTENT_NORMAL && n == N)
                put_borders(x, n);
            input_seal(&values);
            quantized want = quantize_by(&scalar, by, x, n);
            for (int t = 0; t < n_tables; t++) {
                check_begin("%s %s, %s, %u", unit->name, tables[t].name, content_names[kind], n);
                quantized got = quantize_by(&tables[t], by, x, n);
                expect(memcmp(want.quants.data, got.quants.data, n) == 0, "quants");
                expect(memcmp(want.sums.data, got.sums.data, want.sums.size) == 0, "sums");
                expect_floats(floats_of(want.scales.data), floats_of(got.scales.data),
                              n / by->block, "scales");
                quantized_free(&got);
            }
            quantized_free(&want);
            input_free(&values);
        }
}

/* The one for LLM.int8, which all tables share, against its text: outliers are zeros and do not
 * count for the scale. */
static void check_outliers(const unit *unit)
{
    static const uint32_t lengths[] = {1, 16, 33, 768};
    static const float thresholds[] = {0.9f, 1.5f, 1e30f};
    if (!is_wanted(unit->name))
        return;
    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++)
        for (int kind = 0; kind < FLAVOURS; kind++)
            for (size_t i = 0; i < sizeof thresholds / sizeof thresholds[0]; i++) {
                const uint32_t n = lengths[l];
                input values = input_floats(n, (flavour)kind);
                input_seal(&values);
                const float *x = floats_of(values.data);
                output quants = output_new(n, 1), scale = output_floats(1);
                check_begin("%s, %u, %s, threshold %g", unit->name, n, flavour_names[kind],
                            (double)thresholds[i]);
                rad_quantize_q8_outliers(x, n, thresholds[i], (int8_t *)quants.data,
                                         floats_of(scale.data));
                float greatest = 0.0f, d;
                bool is_number = true, same = true;
                for (uint32_t c = 0; c < n; c++) {
                    is_number = is_number && x[c] == x[c];
                    if (fabsf(x[c]) < thresholds[i] && fabsf(x[c]) > greatest)
                        greatest = fabsf(x[c]);
                }
                const bool zero = !is_number || greatest < 0x1p-100f;
                d = !is_number ? NAN : zero ? 0.0f : greatest / 127.0f;
                for (uint32_t c = 0; c < n; c++) {
                    bool kept = !zero && fabsf(x[c]) < thresholds[i];
                    float q = kept ? rintf(x[c] * (127.0f / greatest)) : 0.0f;
                    same = same && (float)(int8_t)quants.data[c] == q;
                }
                expect(same, "quants");
                expect_floats(&d, floats_of(scale.data), 1, "the scale");
                expect_intact(&quants, "the quants");
                expect_intact(&scale, "the scale");
                output_free(&quants);
                output_free(&scale);
                input_free(&values);
            }
}

typedef struct quantize_job {
    const table *of;
    const quantizer *by;
    const float *x;
    uint32_t n;
    int8_t *quants;
    float *scales;
    int16_t *sums;
} quantize_job;

static void time_quantize(void *data)
{
    const quantize_job *job = data;
    quantize_function(job->of, job->by->kind)(job->x, job->n, job->quants, job->scales, job->sums);
}

static void bench_quantize(const unit *unit)
{
    enum { N = 4096 };
    table tables[MAX_TABLES];
    int n_tables = all_tables(tables);
    input x = input_floats(N, ORDINARY);
    output quants = output_new(N, 0), scales = output_new(N / 32 * sizeof(float), 0),
           sums = output_new(N / 16 * sizeof(int16_t), 0);
    const double bytes = 5.0 * N; /* floats read, integers written */
    for (int t = 0; t < n_tables; t++) {
        quantize_job job = {&tables[t],
                            unit->data,
                            floats_of(x.data),
                            N,
                            (int8_t *)quants.data,
                            floats_of(scales.data),
                            (int16_t *)(void *)sums.data};
        if (tables[t].products != NULL && time_wanted("%s %s %d", unit->name, tables[t].name, N))
            time_call(&(timed){.call = time_quantize,
                               .data = &job,
                               .elements = N,
                               .bytes = bytes,
                               .seconds_at_peak = peak_copying(bytes)});
    }
    input_free(&x);
    output_free(&quants);
    output_free(&scales);
    output_free(&sums);
}

void add_quantize_units(void)
{
    static const quantizer q8_32 = {RAD_ACTIVATION_Q8_32, 32}, q8_64 = {RAD_ACTIVATION_Q8_64, 64},
                           q8_256 = {RAD_ACTIVATION_Q8_256, 256},
                           q8_row = {RAD_ACTIVATION_Q8_ROW, 512};
#define ADD_QUANTIZER(which)                                                                       \
    unit_add(&(unit){.name = "quantize_" #which,                                                   \
                     .check = check_quantize,                                                      \
                     .bench = bench_quantize,                                                      \
                     .entries = ENTRY_BIT(quantize_##which),                                       \
                     .of_products = true,                                                          \
                     .data = &(which)})
    ADD_QUANTIZER(q8_32);
    ADD_QUANTIZER(q8_64);
    ADD_QUANTIZER(q8_256);
    ADD_QUANTIZER(q8_row);
    unit_add(&(unit){.name = "quantize_q8_outliers", .check = check_outliers});
}

/* ---- layouts --------------------------------------------------------------------------------- */

enum { LAYOUT_ROWS = 21 };

/* Rows decoded one by one, from both layouts, equal those that the format decodes. */
static void check_decode(const unit *unit)
{
    const rad_type type = *(const rad_type *)unit->data;
    const rad_type_info *info = rad_type_find((uint32_t)type);
    const uint32_t n_columns = info->block_elements == 1 ? 48 : info->block_elements * 3;
    if (!is_wanted(unit->name))
        return;
    check_begin("%s", unit->name);
    weights w = weights_new(type, CONTENT_NORMAL, LAYOUT_ROWS, n_columns);
    float *values = malloc((size_t)n_columns * LAYOUT_ROWS * sizeof *values);
    if (values == NULL)
        exit(2);
    info->decode(w.file.data, values, (size_t)n_columns * LAYOUT_ROWS);
    output row = output_floats(n_columns);
    for (uint32_t r = 0; r < LAYOUT_ROWS; r++) {
        const float *want = values + (size_t)r * n_columns;
        rad_matrix_decode_row(&w.file, r, floats_of(row.data));
        expect(memcmp(row.data, want, row.size) == 0, "a row of the file");
        if (w.lane.data == NULL)
            continue;
        rad_matrix_decode_row(&w.lane, r, floats_of(row.data));
        expect(memcmp(row.data, want, row.size) == 0, "a row of lanes");
    }
    expect_intact(&row, "the row");
    output_free(&row);
    free(values);
    weights_free(&w);
}

/* Lanes by each table, from whole groups and from some rows, equal those that the plain function
 * makes. */
static void check_pack(const unit *unit)
{
    static const uint32_t rows[] = {RAD_LANE_ROWS, 1, RAD_LANE_ROWS - 1};
    const rad_type type = *(const rad_type *)unit->data;
    const rad_type_info *info = rad_type_find((uint32_t)type);
    const uint32_t n_columns = info->block_elements == 1 ? 48 : info->block_elements * 3;
    table tables[MAX_TABLES];
    int n_tables = unit_tables(unit, tables);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && n_tables > 0; i++) {
        weights w = weights_new(type, CONTENT_RANDOM_BITS, rows[i], n_columns);
        for (int t = 0; t < n_tables; t++) {
            check_begin("%s %s, %u rows", unit->name, tables[t].name, rows[i]);
            output got = output_new(w.lane_memory.size, 0);
            PRODUCT_KERNEL(&tables[t], pack_lane_group)
            (type, n_columns, w.file.data, rows[i], got.data);
            expect(memcmp(got.data, w.lane.data, got.size) == 0, "lanes");
            expect_intact(&got, "the lanes");
            output_free(&got);
        }
        weights_free(&w);
    }
}

typedef struct layout_job {
    const rad_matrix *w;
    const rad_kernels *kernels;
    uint8_t *out;
} layout_job;

static void time_decode(void *data)
{
    const layout_job *job = data;
    rad_matrix_decode_row(job->w, 5, floats_of(job->out));
}

static void time_pack(void *data)
{
    const layout_job *job = data;
    job->kernels->pack_lane_group(job->w->type, job->w->n_columns, job->w->data, RAD_LANE_ROWS,
                                  job->out);
}

static void bench_decode(const unit *unit)
{
    const rad_type type = *(const rad_type *)unit->data;
    weights w = {.file = {.data = NULL}};
    for (int lane = 0; lane <= rad_has_lane_layout(type, chosen.columns); lane++) {
        if (!time_wanted("%s %s %u", unit->name, lane ? "lane" : "file", chosen.columns))
            continue;
        if (w.file.data == NULL)
            w = weights_new(type, CONTENT_NORMAL, RAD_LANE_ROWS, chosen.columns);
        output out = output_new(chosen.columns * sizeof(float), 0);
        layout_job job = {lane ? &w.lane : &w.file, NULL, out.data};
        double bytes = (double)(w.file_memory.size / RAD_LANE_ROWS + out.size);
        time_call(&(timed){.call = time_decode,
                           .data = &job,
                           .elements = chosen.columns,
                           .bytes = bytes,
                           .seconds_at_peak = peak_copying(bytes)});
        output_free(&out);
    }
    weights_free(&w);
}

static void bench_pack(const unit *unit)
{
    const rad_type type = *(const rad_type *)unit->data;
    table tables[MAX_TABLES];
    int n_tables = all_tables(tables);
    if (!rad_has_lane_layout(type, chosen.columns))
        return;
    weights w = weights_new(type, CONTENT_NORMAL, RAD_LANE_ROWS, chosen.columns);
    output out = output_new(w.lane_memory.size, 0);
    double bytes = (double)(w.file_memory.size + out.size);
    for (int t = 0; t < n_tables; t++) {
        layout_job job = {&w.file, tables[t].products, out.data};
        if (job.kernels != NULL &&
            time_wanted("%s %s %u", unit->name, tables[t].name, chosen.columns))
            time_call(&(timed){.call = time_pack,
                               .data = &job,
                               .elements = (double)RAD_LANE_ROWS * chosen.columns,
                               .bytes = bytes,
                               .seconds_at_peak = peak_copying(bytes)});
    }
    output_free(&out);
    weights_free(&w);
}

/* The choice of tables: at most the limit, exactly it on request, the plain one always; and all are
 * among those that are checked. Sizes of matrices. */
static void check_tables(const unit *unit)
{
    table tables[MAX_TABLES];
    int n_tables = all_tables(tables);
    if (!is_wanted(unit->name))
        return;
    check_begin("%s", unit->name);
    for (int isa = RAD_ISA_SCALAR; isa <= RAD_ISA_BEST; isa++) {
        const rad_kernels *exact = rad_kernels_find((rad_isa)isa, true);
        const rad_kernels *best = rad_kernels_find((rad_isa)isa, false);
        bool checked = exact == NULL, layer_checked = exact == NULL;
        expect(exact == NULL || exact->isa == (rad_isa)isa, "find exactly");
        expect(best != NULL && best->isa <= (rad_isa)isa, "find at most");
        expect(exact == NULL || best == exact, "find the same");
        for (int t = 0; t < n_tables && exact != NULL; t++) {
            checked = checked || tables[t].products == exact;
            layer_checked = layer_checked || tables[t].layer == exact->layer;
        }
        expect(checked && layer_checked, "a table that is found and not checked");
    }
    expect(rad_matrix_bytes(RAD_TYPE_Q4_0, RAD_LAYOUT_LANE, 17, 64) == 32 * 36, "lane bytes");
    expect(rad_matrix_bytes(RAD_TYPE_Q4_0, RAD_LAYOUT_FILE, 17, 64) == 17 * 36, "file bytes");
    expect(rad_matrix_bytes(RAD_TYPE_Q4_0, RAD_LAYOUT_FILE, 1, 33) == 0, "half a block");
    expect(rad_matrix_bytes(RAD_TYPE_F32, RAD_LAYOUT_FILE, UINT64_MAX / 2, 64) == 0, "overflow");
    expect(rad_matrix_bytes(RAD_TYPE_F32, RAD_LAYOUT_LANE, UINT64_MAX, 1) == 0, "overflow");
}

/* Every type that a product takes is among those that are checked. Those whose lanes hold codes of
 * their own have steps of 256 columns, which is what the fast tables take apart where there are no
 * lanes.
 */
static void check_types(const unit *unit)
{
    if (!is_wanted(unit->name))
        return;
    check_begin("%s", unit->name);
    for (uint32_t type = 0; type < 4096; type++) {
        const rad_type_info *info = rad_type_find(type);
        if (info == NULL || info->family == RAD_FAMILY_NONE)
            continue;
        bool checked = false;
        for (size_t i = 0; i < N_TYPES; i++)
            checked = checked || (uint32_t)all_types[i] == type;
        expect(checked, info->name);
        const rad_lane_form *form = rad_lane_form_of((rad_type)type);
        const bool steps_of_256 =
            info->block_elements == RAD_SUPER_BLOCK && !info->has_minimum &&
            (info->family == RAD_FAMILY_SUPER_16 || info->family == RAD_FAMILY_SUPER_32 ||
             info->family == RAD_FAMILY_TERNARY);
        expect(form == NULL || !form->is_recoded || steps_of_256, info->name);
    }
}

void add_layout_units(void)
{
    static char names[N_TYPES][2][32];
    unit_add(&(unit){.name = "tables", .check = check_tables});
    unit_add(&(unit){.name = "types", .check = check_types});
    for (size_t i = 0; i < N_TYPES; i++) {
        const char *name = rad_type_find((uint32_t)all_types[i])->name;
        snprintf(names[i][0], sizeof names[i][0], "decode_row %s", name);
        unit_add(&(unit){.name = names[i][0],
                         .check = check_decode,
                         .bench = bench_decode,
                         .data = &all_types[i]});
        if (!rad_has_lane_layout(all_types[i], RAD_SUPER_BLOCK))
            continue;
        snprintf(names[i][1], sizeof names[i][1], "pack_lane_group %s", name);
        unit_add(&(unit){.name = names[i][1],
                         .check = check_pack,
                         .bench = bench_pack,
                         .entries = ENTRY_BIT(pack_lane_group),
                         .of_products = true,
                         .data = &all_types[i]});
    }
}
