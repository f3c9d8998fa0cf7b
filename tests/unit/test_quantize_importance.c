/* How much columns matter: what calibration measures, its files, and what encoders do with it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "quantize/steer.h"
#include "unit/quantize_support.h"

/* ---- importance ------------------------------------------------------------------------------ */

#define EXPERTS_MODEL "tests/golden/architectures/merged-experts-f32.gguf"

static radllm_status measure(const char *model_path, const char *threads, const radllm_host *host,
                             const radllm_cancel *cancel, radllm_importance **out,
                             radllm_error *error)
{
    char text[4096];
    size_t used = 0;
    for (uint32_t state = 1; used < sizeof text; state = state * 1664525u + 1013904223u)
        text[used++] = (char)(state >> 24 & 15 ? 'a' + (state >> 16) % 26 : ' ');
    radllm_options *options = NULL;
    radllm_model *model = NULL;
    radllm_status status = radllm_options_new(host, &options, error);
    if (status == RADLLM_OK)
        status = radllm_options_set_text(options, "threads", threads, RADLLM_NUL, error);
    if (status == RADLLM_OK)
        status = radllm_options_set_text(options, "calibrate_context", "24", RADLLM_NUL, error);
    if (status == RADLLM_OK)
        status = radllm_options_set_text(options, "calibrate_chunks", "6", RADLLM_NUL, error);
    if (status == RADLLM_OK)
        status =
            radllm_model_open(host, rad_test_source_path(model_path), options, NULL, &model, error);
    if (status == RADLLM_OK)
        status = radllm_importance_measure(host, model, text, sizeof text, "letters", options,
                                           cancel, out, error);
    radllm_model_free(model);
    radllm_options_free(options);
    return status;
}

static uint64_t importance_number(const radllm_importance *importance, const char *name)
{
    uint64_t value = 0;
    ck_assert_int_eq(radllm_importance_number(importance, name, &value, NULL), RADLLM_OK);
    return value;
}

START_TEST(importance_does_not_depend_on_threads)
{
    static const char *const models[] = {EXPERTS_MODEL,
                                         "tests/golden/architectures/mixtral-f32.gguf",
                                         "tests/golden/architectures/gemma2-f32.gguf",
                                         "tests/golden/architectures/deepseek2-lite-f32.gguf"};
    char first[1024], other[1024];
    snprintf(first, sizeof first, "%s", rad_test_temp_path("one.gguf"));
    snprintf(other, sizeof other, "%s", rad_test_temp_path("other.gguf"));
    radllm_error error = {0};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        for (int threads = 1; threads <= 3; threads += 2) {
            radllm_importance *importance = NULL;
            rad_assert_ok(
                measure(models[i], threads == 1 ? "1" : "3", NULL, NULL, &importance, &error),
                &error);
            ck_assert_uint_eq(importance_number(importance, "chunks"), 6);
            ck_assert_uint_eq(importance_number(importance, "chunk_tokens"), 24);
            ck_assert_uint_gt(importance_number(importance, "entries"), 8);
            rad_assert_ok(
                radllm_importance_save(importance, threads == 1 ? first : other, "gguf", &error),
                &error);
            radllm_importance_free(importance);
            ck_assert(threads == 1 || same_files(first, other));
        }
}
END_TEST

/* Sums over what the matrices of the first layer are multiplied with, of which some are known: keys
 * and queries see the same, each expert's rows add up to the choices of all tokens. */
START_TEST(importance_adds_up)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", rad_test_temp_path("sums.gguf"));
    radllm_error error = {0};
    radllm_importance *importance = NULL;
    rad_assert_ok(measure(EXPERTS_MODEL, "2", NULL, NULL, &importance, &error), &error);
    rad_assert_ok(radllm_importance_save(importance, path, "gguf", &error), &error);
    radllm_importance_free(importance);
    rad_source *source = NULL;
    rad_assert_ok(rad_source_open(NULL, path, &source, &error), &error);
    float counts[64], used = 0.0f;
    const rad_tensor *queries = rad_source_find_tensor(source, "blk.0.attn_q.weight.in_sum2");
    const rad_tensor *keys = rad_source_find_tensor(source, "blk.0.attn_k.weight.in_sum2");
    const rad_tensor *values = rad_source_find_tensor(source, "blk.0.attn_q.weight.in_sum");
    const rad_tensor *experts = rad_source_find_tensor(source, "blk.0.ffn_down_exps.weight.counts");
    const rad_tensor *rows = rad_source_find_tensor(source, "blk.0.attn_q.weight.counts");
    ck_assert(queries != NULL && keys != NULL && experts != NULL && rows != NULL);
    ck_assert(values != NULL && values->n_bytes == queries->n_bytes);
    ck_assert_uint_eq(queries->n_bytes, keys->n_bytes);
    uint8_t *a = malloc((size_t)keys->n_bytes), *b = malloc((size_t)keys->n_bytes);
    rad_source_read(source, 0, queries->offset, a, (size_t)keys->n_bytes, &error);
    rad_source_read(source, 0, keys->offset, b, (size_t)keys->n_bytes, &error);
    ck_assert(memcmp(a, b, (size_t)keys->n_bytes) == 0);
    rad_source_read(source, 0, values->offset, b, (size_t)keys->n_bytes, &error);
    for (size_t i = 0, size = (size_t)keys->n_bytes / sizeof(float); i < size; i++) {
        float square, value;
        memcpy(&square, a + i * sizeof(float), sizeof square);
        memcpy(&value, b + i * sizeof(float), sizeof value);
        ck_assert(value * value <= 1.0001f * square * 6 * 24 && value != 0.0f);
    }
    free(a);
    free(b);
    rad_source_read(source, 0, rows->offset, counts, 4, &error);
    ck_assert(counts[0] == 6 * 24);
    ck_assert(experts->n_elements <= 64 && experts->n_elements > 1);
    rad_source_read(source, 0, experts->offset, counts, (size_t)experts->n_bytes, &error);
    for (uint64_t i = 0; i < experts->n_elements; i++)
        used += counts[i];
    ck_assert(used == 2 * 6 * 24);
    rad_source_release(source);
}
END_TEST

/* From one form to the other and back: the same mean squares, and so the same quantized file. The
 * older form has no means. */
START_TEST(importance_in_both_forms)
{
    static const char *const names[] = {"a.gguf", "b.dat", "c.gguf", "d.dat"};
    char paths[4][1024], out[2][1024];
    radllm_error error = {0};
    radllm_importance *importance = NULL;
    for (int i = 0; i < 4; i++)
        snprintf(paths[i], sizeof paths[i], "%s", rad_test_temp_path(names[i]));
    for (int i = 0; i < 2; i++)
        snprintf(out[i], sizeof out[i], "%s", rad_test_temp_path(i == 0 ? "x.gguf" : "y.gguf"));
    rad_assert_ok(measure(EXPERTS_MODEL, "2", NULL, NULL, &importance, &error), &error);
    for (int i = 0; i < 4; i++) {
        if (i > 0)
            rad_assert_ok(radllm_importance_open(NULL, paths[i - 1], &importance, &error), &error);
        rad_assert_ok(
            radllm_importance_save(importance, paths[i], i % 2 == 0 ? "gguf" : "dat", &error),
            &error);
        ck_assert_uint_eq(importance_number(importance, "chunks"), 6);
        radllm_importance_free(importance);
    }
    ck_assert(same_files(paths[1], paths[3]));
    for (int i = 0; i < 2; i++) {
        plan_fixture f;
        open_plan(&f, rad_test_source_path(EXPERTS_MODEL), "Q4_0");
        rad_assert_ok(radllm_importance_open(NULL, paths[i + 1], &importance, &error), &error);
        rad_assert_ok(
            radllm_quantization_new(NULL, f.file, importance, f.options, &f.plan, f.error),
            f.error);
        radllm_importance_free(importance); /* the plan keeps it */
        ck_assert_uint_gt(number(&f, "weighted"), 8);
        write_plan(&f, out[i]);
        close_plan(&f);
    }
    size_t sizes[2];
    uint8_t *bytes[2] = {rad_test_read_file(out[0], &sizes[0]),
                         rad_test_read_file(out[1], &sizes[1])};
    ck_assert_uint_eq(sizes[0], sizes[1]);
    size_t different = 0; /* means lose bits in the older form, which may turn a tie */
    for (size_t i = 0; i < sizes[0]; i++)
        different += bytes[0][i] != bytes[1][i];
    ck_assert_uint_le(different, sizes[0] / 500);
    free(bytes[0]);
    free(bytes[1]);
}
END_TEST

/* What NAME.in_sum may be: of the shape of the squares, finite, of either sign. */
START_TEST(sums_of_values)
{
    static const struct {
        uint64_t columns;
        float value;
        radllm_status status;
    } cases[] = {{32, -2.0f, RADLLM_OK},
                 {32, 1e30f, RADLLM_OK}, /* more than the squares allow: held to that */
                 {64, 1.0f, RADLLM_E_FORMAT},
                 {16, 1.0f, RADLLM_E_FORMAT},
                 {32, __builtin_nanf(""), RADLLM_E_FORMAT},
                 {32, -__builtin_inff(), RADLLM_E_FORMAT}};
    const char *path = rad_test_temp_path("sums.gguf");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float squares[32], values[64], count = 1.0f;
        radllm_error error = {0};
        radllm_importance *importance = NULL;
        for (int k = 0; k < 64; k++) {
            squares[k % 32] = 4.0f;
            values[k] = cases[i].value;
        }
        gguf_builder file = gguf_builder_new();
        gguf_key_string(&file, "general.type", "imatrix");
        gguf_tensor(&file, "m.weight.in_sum2", RAD_TYPE_F32, 2, (uint64_t[]){32, 1}, squares,
                    sizeof squares);
        gguf_tensor(&file, "m.weight.counts", RAD_TYPE_F32, 2, (uint64_t[]){1, 1}, &count,
                    sizeof count);
        gguf_tensor(&file, "m.weight.in_sum", RAD_TYPE_F32, 2, (uint64_t[]){cases[i].columns, 1},
                    values, cases[i].columns * sizeof(float));
        gguf_write(&file, path);
        gguf_builder_free(&file);
        if (cases[i].status == RADLLM_OK)
            rad_assert_ok(radllm_importance_open(NULL, path, &importance, &error), &error);
        else
            rad_assert_error(radllm_importance_open(NULL, path, &importance, &error),
                             cases[i].status, &error, "m.weight");
        radllm_importance_free(importance);
    }
}
END_TEST

/* The shift of a row's product that encoding leaves, of rows that are encoded with the means of
 * their inputs and without: far less, and errors around the mean hardly more. */
START_TEST(steering)
{
    static const rad_type types[] = {RAD_TYPE_Q4_0,  RAD_TYPE_Q5_1, RAD_TYPE_Q8_0,
                                     RAD_TYPE_Q2_K,  RAD_TYPE_Q4_K, RAD_TYPE_IQ4_XS,
                                     RAD_TYPE_MXFP4, RAD_TYPE_TQ1_0};
    enum { COLUMNS = 1024, ROWS = 16 };
    const rad_type_info *type = rad_type_find((uint32_t)types[_i]);
    static double squares[COLUMNS], totals[COLUMNS];
    static float importance[COLUMNS], x[COLUMNS], decoded[COLUMNS];
    static rad_column columns[COLUMNS];
    static uint8_t blocks[COLUMNS * 2];
    double shift[2] = {0.0, 0.0}, errors[2] = {0.0, 0.0};
    uint32_t state = 5;
    for (int c = 0; c < COLUMNS; c++) {
        double mean = 1.0 + (double)(c % 7) - (double)(c % 5);
        totals[c] = 10.0 * mean;
        squares[c] = 10.0 * (mean * mean + 1.0 + (double)(c % 3));
        importance[c] = (float)squares[c] / 10.0f;
    }
    rad_columns_take(squares, totals, 10, COLUMNS, columns);
    for (int row = 0; row < ROWS; row++)
        for (int steered = 0; steered < 2; steered++) {
            uint32_t begin = state;
            double sum = 0.0;
            for (int c = 0; c < COLUMNS; c++) {
                begin = begin * 1664525u + 1013904223u;
                x[c] = (float)(int32_t)begin * 0x1p-31f + (float)(int32_t)(begin << 9) * 0x1p-32f;
            }
            if (row == ROWS - 1)
                x[77] = __builtin_nanf(""); /* is zero */
            if (steered == 1)
                rad_encode_steered(type, x, importance, columns, COLUMNS, blocks);
            else
                type->encode(x, importance, blocks, COLUMNS);
            type->decode(blocks, decoded, COLUMNS);
            x[77] = x[77] == x[77] ? x[77] : 0.0f;
            for (int c = 0; c < COLUMNS; c++) {
                double e = (double)decoded[c] - (double)x[c];
                sum += e * totals[c];
                errors[steered] += e * e * (squares[c] - totals[c] * totals[c] / 10.0);
            }
            shift[steered] += sum * sum;
            state = steered == 1 ? begin : state;
        }
    ck_assert_msg(shift[1] < 0.2 * shift[0], "%s: shift %g, without %g", type->name, shift[1],
                  shift[0]);
    ck_assert_msg(errors[1] < 1.1 * errors[0], "%s: errors %g, without %g", type->name, errors[1],
                  errors[0]);
}
END_TEST

START_TEST(importance_of_another_model)
{
    radllm_error error = {0};
    radllm_importance *importance = NULL;
    rad_assert_ok(measure(EXPERTS_MODEL, "1", NULL, NULL, &importance, &error), &error);
    plan_fixture f;
    const char *path = rad_test_temp_path("mixture.gguf");
    write_model(path, &(model_shape){.layers = 16, .heads = 8, .kv_heads = 4});
    open_plan(&f, path, "Q4_K_M");
    rad_assert_error(radllm_quantization_new(NULL, f.file, importance, f.options, &f.plan, f.error),
                     RADLLM_E_ARGUMENT, f.error, "of another model");
    close_plan(&f);
    radllm_importance_free(importance);
}
END_TEST

/* Every cut and some changed bytes: an answer, never a crash; a cut file is never taken whole. */
START_TEST(damaged_importance)
{
    char path[2][1024], cut[1024];
    radllm_error error = {0};
    radllm_importance *importance = NULL;
    snprintf(path[0], sizeof path[0], "%s", rad_test_temp_path("whole.dat"));
    snprintf(path[1], sizeof path[1], "%s", rad_test_temp_path("whole.gguf"));
    snprintf(cut, sizeof cut, "%s", rad_test_temp_path("cut"));
    rad_assert_ok(measure("tests/golden/architectures/llama-mha-f32.gguf", "1", NULL, NULL,
                          &importance, &error),
                  &error);
    rad_assert_ok(radllm_importance_save(importance, path[0], "dat", &error), &error);
    rad_assert_ok(radllm_importance_save(importance, path[1], "gguf", &error), &error);
    rad_assert_error(radllm_importance_save(importance, path[0], "csv", &error), RADLLM_E_ARGUMENT,
                     &error, "is no format");
    radllm_importance_free(importance);
    for (int form = 0; form < 2; form++) {
        size_t size;
        uint8_t *bytes = rad_test_read_file(path[form], &size);
        for (size_t n = 0; n < size; n += n < 200 || n + 40 > size ? 1 : 97) {
            rad_test_write_file(cut, bytes, n);
            radllm_status status = radllm_importance_open(NULL, cut, &importance, &error);
            /* The oldest files end behind the last entry, or behind the number of chunks. */
            ck_assert_msg(status != RADLLM_OK || (form == 0 && n + 16 > size), "cut at %zu", n);
            if (status == RADLLM_OK)
                radllm_importance_free(importance);
            else
                ck_assert(error.message[0] != 0);
        }
        for (size_t at = 0; at < size; at += at < 300 ? 1 : 31) {
            bytes[at] ^= 0xff;
            rad_test_write_file(cut, bytes, size);
            if (radllm_importance_open(NULL, cut, &importance, &error) == RADLLM_OK)
                radllm_importance_free(importance);
            bytes[at] ^= 0xff;
        }
        free(bytes);
    }
    rad_assert_error(
        radllm_importance_open(NULL, rad_test_source_path(EXPERTS_MODEL), &importance, &error),
        RADLLM_E_FORMAT, &error, "no matrix of importance");
    rad_assert_error(radllm_importance_open(NULL, "/nonexistent.dat", &importance, &error),
                     RADLLM_E_IO, &error, "nonexistent");
}
END_TEST

static int32_t stop_calibration(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)user;
    (void)total;
    return strcmp(stage, "calibrate") == 0 && done == 2;
}

START_TEST(calibration_that_fails)
{
    radllm_error error = {0};
    radllm_host *host = NULL;
    radllm_importance *importance = NULL;
    rad_assert_ok(radllm_host_new(NULL, NULL, NULL, &host, &error), &error);
    rad_assert_ok(radllm_host_set_progress(host, stop_calibration, NULL, &error), &error);
    rad_assert_error(measure(EXPERTS_MODEL, "1", host, NULL, &importance, &error),
                     RADLLM_E_CANCELLED, &error, "cancelled");
    radllm_host_free(host);
    radllm_model *model = NULL;
    rad_assert_ok(
        radllm_model_open(NULL, rad_test_source_path(EXPERTS_MODEL), NULL, NULL, &model, &error),
        &error);
    rad_assert_error(
        radllm_importance_measure(NULL, model, "short", 5, NULL, NULL, NULL, &importance, &error),
        RADLLM_E_ARGUMENT, &error, "longer text");
    radllm_model_free(model);
    rad_test_memory memory;
    int spared = 0; /* tokenizing goes without the words that it would remember */
    for (uint64_t n = 2;; n += 1 + n / 8) { /* most of them are those of loading */
        rad_test_memory_init(&memory, n);
        rad_assert_ok(radllm_host_new(rad_test_allocate, rad_test_release, &memory, &host, &error),
                      &error);
        radllm_status status = measure(EXPERTS_MODEL, "1", host, NULL, &importance, &error);
        if (status == RADLLM_OK)
            radllm_importance_free(importance);
        radllm_host_free(host);
        rad_test_memory_check(&memory);
        if (!memory.failed)
            break;
        if (status == RADLLM_OK)
            spared++;
        else
            ck_assert_int_eq(status, RADLLM_E_MEMORY);
    }
    ck_assert_int_le(spared, 1);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "importance");
    tcase_add_test(cases, importance_does_not_depend_on_threads);
    tcase_add_test(cases, importance_adds_up);
    tcase_add_test(cases, importance_in_both_forms);
    tcase_add_test(cases, sums_of_values);
    tcase_add_loop_test(cases, steering, 0, 8);
    tcase_add_test(cases, importance_of_another_model);
    tcase_add_test(cases, damaged_importance);
    tcase_add_test(cases, calibration_that_fails);
}

int main(void)
{
    return rad_test_main("quantize_importance", add_cases);
}
