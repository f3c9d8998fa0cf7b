/* Quantized folders (make_packed.py): their decoded weights against what the definition of each
 * format gives, bit for bit, and their logits against what `transformers` computes from those
 * (tools/oracle/make_packed_logits.py). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/logits.h"
#include "io/model_source.h"
#include "quant/quant.h"
#include "unit/harness.h"

static const char *folders;
static rad_test_memory memory;

static const struct {
    const char *name;
    double tolerance; /* what activations of 8 bits cost; random weights make it large */
} cases[] = {
    {"gptq-4", 2e-2},     {"gptq-4-order", 2e-2}, {"gptq-4-odd", 2e-2},
    {"gptq-2", 2e-2},     {"gptq-3", 2e-2},       {"gptq-8", 2e-2},
    {"gptq-mixed", 2e-2}, {"gptq-fused", 2e-2},   {"gptq-experts", 2e-2},
    {"awq", 2e-2},        {"integers-4", 2e-2},   {"integers-4-order", 2e-2},
    {"integers-8", 2e-2}, {"bytes-8", 2e-2},      {"bytes-4", 2e-2},
    {"exl2", 2e-2},
};
#define N_CASES (int)(sizeof cases / sizeof *cases)

static const int32_t ids[] = {1, 17, 64, 95};
#define N_IDS (sizeof ids / sizeof *ids)

static void name_folder(char path[1024], const char *suffix, int i)
{
    snprintf(path, 1024, "%s/%s%s", folders, cases[i].name, suffix);
}

static rad_source *open_source(const char *suffix, int i)
{
    char path[1024];
    rad_host host = {.allocator = rad_test_allocator(&memory)};
    rad_source *source;
    radllm_error error = {.status = RADLLM_OK};
    name_folder(path, suffix, i);
    rad_assert_ok(rad_source_open(&host, path, &source, &error), &error);
    return source;
}

/* Rows first .. first + n - 1, in the matrix's own order of columns. */
static float *read_values(const rad_source *source, const rad_tensor *tensor, uint64_t first,
                          uint64_t n)
{
    const rad_type_info *info = rad_type_find((uint32_t)tensor->type);
    uint32_t stored;
    const uint32_t *columns = rad_tensor_columns(tensor, &stored);
    const size_t row_bytes = stored / info->block_elements * info->block_bytes;
    const size_t width = (size_t)tensor->dims[0];
    uint8_t *rows = malloc((size_t)n * row_bytes);
    float *row = malloc(stored * sizeof *row), *values = malloc((size_t)n * width * sizeof *values);
    radllm_error error = {.status = RADLLM_OK};
    rad_assert_ok(rad_source_read_tensor(source, tensor, first * row_bytes, rows,
                                         (size_t)n * row_bytes, &error),
                  &error);
    for (size_t r = 0; r < n; r++) {
        info->decode(rows + r * row_bytes, row, stored);
        for (uint32_t c = 0; c < stored; c++) {
            uint32_t column = columns != NULL ? columns[c] : c;
            if (column != RAD_NO_COLUMN)
                values[r * width + column] = row[c];
        }
    }
    free(rows);
    free(row);
    return values;
}

static void compare_tensor(const rad_source *packed, const rad_source *plain,
                           const rad_tensor *wanted)
{
    const rad_tensor *tensor = rad_source_find_tensor(packed, wanted->name.data);
    ck_assert_msg(tensor != NULL, "%s", wanted->name.data);
    const uint64_t width = wanted->dims[0], rows = wanted->n_elements / width;
    ck_assert_uint_eq(tensor->dims[0], width);
    ck_assert_uint_eq(tensor->dims[1], wanted->dims[1]);
    float *values = read_values(packed, tensor, 0, rows);
    float *golden = read_values(plain, wanted, 0, rows);
    ck_assert_msg(memcmp(values, golden, (size_t)(width * rows) * sizeof *values) == 0, "%s",
                  wanted->name.data);
    /* Some rows alone, at odd places. */
    for (uint64_t first = 3; rows > 20 && first < rows; first += 29) {
        uint64_t n = rows - first < 11 ? rows - first : 11;
        float *some = read_values(packed, tensor, first, n);
        ck_assert_mem_eq(some, golden + first * width, (size_t)(n * width) * sizeof *some);
        free(some);
    }
    free(values);
    free(golden);
}

START_TEST(decoded_weights)
{
    rad_source *packed = open_source("", _i), *plain = open_source("-f32", _i);
    ck_assert_uint_eq(rad_source_n_tensors(packed), rad_source_n_tensors(plain));
    for (uint64_t i = 0; i < rad_source_n_tensors(plain); i++)
        compare_tensor(packed, plain, rad_source_tensor(plain, i));
    rad_source_release(packed);
    rad_source_release(plain);
    rad_test_memory_check(&memory);
}
END_TEST

static float *logits_of(int i, const char *suffix, const char *key, const char *value, size_t chunk)
{
    char path[1024];
    radllm_options *options;
    uint32_t n_vocab;
    name_folder(path, suffix, i);
    ck_assert_int_eq(radllm_options_new(NULL, &options, NULL), RADLLM_OK);
    radllm_options_set_text(options, "cache", "f32", RADLLM_NUL, NULL);
    ck_assert_int_eq(radllm_options_set_text(options, key, value, RADLLM_NUL, NULL), RADLLM_OK);
    float *logits = rad_test_logits(path, options, ids, N_IDS, chunk, &n_vocab);
    radllm_options_free(options);
    ck_assert_uint_eq(n_vocab, 96);
    return logits;
}

START_TEST(logits_agree)
{
    static const struct {
        const char *key, *value;
        size_t chunk;
    } ways[] = {{"load", "map", 0},
                {"load_wait", "no", 0},
                {"layout", "file", 0},
                {"isa", "scalar", 0},
                {"load", "copy", 1}};
    const size_t n = N_IDS * 96;
    char path[256];
    size_t size;
    snprintf(path, sizeof path, "tests/golden/packed/%s.logits.f32", cases[_i].name);
    float *golden = (float *)(void *)rad_test_read_file(rad_test_source_path(path), &size);
    ck_assert_uint_eq(size, n * sizeof *golden);
    float *plain = logits_of(_i, "-f32", "load", "copy", 0);
    ck_assert(rad_test_relative_error(plain, golden, n) < 1e-4);
    float *logits = logits_of(_i, "", "load", "copy", 0);
    double error = rad_test_relative_error(logits, golden, n);
    printf("# %s: relative error %.3g (at most %.3g)\n", cases[_i].name, error,
           cases[_i].tolerance);
    ck_assert_msg(error < cases[_i].tolerance, "relative error %g", error);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        float *other = logits_of(_i, "", ways[w].key, ways[w].value, ways[w].chunk);
        ck_assert_msg(memcmp(other, logits, n * sizeof *other) == 0, "%s=%s", ways[w].key,
                      ways[w].value);
        free(other);
    }
    free(golden);
    free(plain);
    free(logits);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *all = rad_test_case(suite, "packed");
    tcase_add_loop_test(all, decoded_weights, 0, N_CASES);
    tcase_add_loop_test(all, logits_agree, 0, N_CASES);
}

int main(int argc, char **argv)
{
    folders = argc > 1 ? argv[1] : ".";
    return rad_test_main("golden_packed", add_cases);
}
