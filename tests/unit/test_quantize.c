/* Quantizing model files by the public functions: which tensor gets which type, the file, and what
 * failures leave. The encoders themselves are tested in test_quant.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "quantize/steer.h"
#include "unit/gguf_check.h"

/* ---- models --------------------------------------------------------------------------------- */

typedef struct model_shape {
    int layers;
    uint32_t heads, kv_heads, experts;
    bool tied;
} model_shape;

static const char *const layer_names[] = {"attn_q",       "attn_k",   "attn_v", "attn_output",
                                          "ffn_gate_inp", "ffn_down", "ffn_up"};
enum { LAYER_NAMES = 7 };

/* Tiny matrices under the names that the rules look at. */
static void write_model(const char *path, const model_shape *shape)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_string(&file, "general.architecture", "llama");
    gguf_key_string(&file, "general.name", "kept");
    gguf_key_u32(&file, "general.file_type", 1);
    gguf_key_u32(&file, "llama.block_count", (uint32_t)shape->layers);
    gguf_key_u32(&file, "llama.expert_count", shape->experts);
    gguf_key_u32(&file, "llama.attention.head_count", shape->heads);
    gguf_key_u32(&file, "llama.attention.head_count_kv", shape->kv_heads);
    gguf_tensor_random(&file, "token_embd.weight", 2, (uint64_t[]){256, 4}, 1.0f);
    if (!shape->tied)
        gguf_tensor_random(&file, "output.weight", 2, (uint64_t[]){256, 4}, 1.0f);
    gguf_tensor_random(&file, "output_norm.weight", 1, (uint64_t[]){256}, 1.0f);
    for (int i = 0; i < shape->layers; i++) {
        char name[64];
        for (int k = 0; k < LAYER_NAMES; k++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", i, layer_names[k]);
            gguf_tensor_random(&file, name, 2, (uint64_t[]){256, 2}, 1.0f);
        }
        snprintf(name, sizeof name, "blk.%d.attn_norm.weight", i);
        gguf_tensor_random(&file, name, 1, (uint64_t[]){256}, 1.0f);
    }
    gguf_tensor_random(&file, "blk.0.odd.weight", 2, (uint64_t[]){96, 2}, 1.0f);
    gguf_tensor_random(&file, "blk.0.odder.weight", 2, (uint64_t[]){40, 2}, 1.0f);
    gguf_write(&file, path);
    gguf_builder_free(&file);
}

/* ---- plans ---------------------------------------------------------------------------------- */

typedef struct plan_fixture {
    radllm_error *error;
    radllm_options *options;
    radllm_file *file;
    radllm_quantization *plan;
} plan_fixture;

static void open_plan(plan_fixture *f, const char *path, const char *type)
{
    *f = (plan_fixture){0};
    ck_assert_int_eq(radllm_error_new(&f->error), RADLLM_OK);
    rad_assert_ok(radllm_options_new(NULL, &f->options, f->error), f->error);
    rad_assert_ok(radllm_options_set_text(f->options, "quantize", type, RADLLM_NUL, f->error),
                  f->error);
    rad_assert_ok(radllm_file_open(NULL, path, &f->file, f->error), f->error);
}

static void set(plan_fixture *f, const char *key, const char *value)
{
    rad_assert_ok(radllm_options_set_text(f->options, key, value, RADLLM_NUL, f->error), f->error);
}

static radllm_status make_plan(plan_fixture *f)
{
    radllm_quantization_free(f->plan);
    f->plan = NULL;
    return radllm_quantization_new(NULL, f->file, NULL, f->options, &f->plan, f->error);
}

static void close_plan(plan_fixture *f)
{
    radllm_quantization_free(f->plan);
    radllm_file_free(f->file);
    radllm_options_free(f->options);
    radllm_error_free(f->error);
}

static uint64_t number(const plan_fixture *f, const char *name)
{
    uint64_t value = 0;
    rad_assert_ok(radllm_quantization_number(f->plan, name, &value, f->error), f->error);
    return value;
}

static const char *type_of(const plan_fixture *f, const char *name)
{
    for (uint64_t i = 0; i < number(f, "tensors"); i++) {
        radllm_quantized_tensor_info info = {.size = sizeof info};
        rad_assert_ok(radllm_quantization_tensor(f->plan, i, &info, f->error), f->error);
        if (strcmp(info.name, name) == 0)
            return info.type;
    }
    ck_abort_msg("no tensor %s", name);
    return "";
}

static const char *layer_type(const plan_fixture *f, int layer, const char *role)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, role);
    return type_of(f, name);
}

/* ---- mixtures ------------------------------------------------------------------------------- */

/* Types of attn_v and ffn_down by layer (of 16; the last repeats), attn_output, attn_k, the rest,
 * the embedding and the output, as llama-quantize chose them for files of these shapes. */
typedef struct mixture_case {
    const char *file;
    model_shape shape;
    const char *values[16], *down[16];
    const char *attention_output, *keys, *rest, *embedding, *output;
} mixture_case;

#define DENSE                                                                                      \
    {                                                                                              \
        16, 8, 4, 0, false                                                                         \
    }
#define GROUPED                                                                                    \
    {                                                                                              \
        16, 8, 2, 0, false                                                                         \
    }
#define EXPERTS                                                                                    \
    {                                                                                              \
        16, 8, 4, 8, false                                                                         \
    }
#define TIED                                                                                       \
    {                                                                                              \
        16, 8, 4, 0, true                                                                          \
    }

/* clang-format off */
static const mixture_case mixture_cases[] = {
    {"Q4_K_M", DENSE,
     {"Q6_K", "Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q4_K", "Q4_K", "Q6_K",
      "Q4_K", "Q4_K", "Q6_K", "Q6_K", "Q6_K"},
     {"Q6_K", "Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q4_K", "Q4_K", "Q6_K",
      "Q4_K", "Q4_K", "Q6_K", "Q6_K", "Q6_K"},
     "Q4_K", "Q4_K", "Q4_K", "Q4_K", "Q6_K"},
    {"Q4_K_S", DENSE, {"Q5_K", "Q5_K", "Q5_K", "Q5_K", "Q4_K"}, {"Q5_K", "Q5_K", "Q4_K"},
     "Q4_K", "Q4_K", "Q4_K", "Q4_K", "Q6_K"},
    {"Q5_K_S", TIED, {"Q5_K"}, {"Q5_K"}, "Q5_K", "Q5_K", "Q5_K", "Q6_K", NULL},
    {"Q3_K_M", DENSE, {"Q5_K", "Q5_K", "Q4_K"}, {"Q5_K", "Q4_K"}, "Q4_K", "Q3_K", "Q3_K", "Q3_K",
     "Q6_K"},
    {"Q3_K_L", DENSE, {"Q5_K"}, {"Q5_K"}, "Q5_K", "Q3_K", "Q3_K", "Q3_K", "Q6_K"},
    {"Q3_K_S", DENSE, {"Q3_K"}, {"Q3_K"}, "Q3_K", "Q3_K", "Q3_K", "Q3_K", "Q6_K"},
    {"Q2_K", DENSE, {"Q3_K"}, {"Q3_K"}, "Q3_K", "Q2_K", "Q2_K", "Q2_K", "Q6_K"},
    {"Q2_K", GROUPED, {"Q4_K"}, {"Q3_K"}, "Q3_K", "Q2_K", "Q2_K", "Q2_K", "Q6_K"},
    {"Q2_K_S", GROUPED, {"Q4_K"}, {"Q4_K", "Q4_K", "Q2_K"}, "Q2_K", "Q2_K", "Q2_K", "Q2_K",
     "Q6_K"},
    {"IQ4_XS", GROUPED, {"Q5_K"}, {"Q5_K", "Q5_K", "IQ4_XS"}, "IQ4_XS", "IQ4_XS", "IQ4_XS",
     "IQ4_XS", "Q6_K"},
    {"Q4_0", DENSE, {"Q4_0"}, {"Q4_0"}, "Q4_0", "Q4_0", "Q4_0", "Q4_0", "Q6_K"},
    {"TQ1_0", DENSE, {"TQ1_0"}, {"TQ1_0"}, "TQ1_0", "TQ1_0", "TQ1_0", "Q4_K", "Q6_K"},
    {"Q4_K_M", EXPERTS, {"Q8_0"},
     {"Q6_K", "Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q4_K", "Q4_K", "Q6_K",
      "Q4_K", "Q4_K", "Q6_K", "Q6_K", "Q6_K"},
     "Q5_K", "Q8_0", "Q4_K", "Q4_K", "Q6_K"},
    {"Q8_0", DENSE, {"Q8_0"}, {"Q8_0"}, "Q8_0", "Q8_0", "Q8_0", "Q8_0", "Q8_0"},
    {"BF16", DENSE, {"BF16"}, {"BF16"}, "BF16", "BF16", "BF16", "BF16", "BF16"},
    {"COPY", DENSE, {"F32"}, {"F32"}, "F32", "F32", "F32", "F32", "F32"},
};
/* clang-format on */
enum { N_MIXTURES = sizeof mixture_cases / sizeof mixture_cases[0] };

START_TEST(mixtures)
{
    const mixture_case *wanted = &mixture_cases[_i];
    const char *path = rad_test_temp_path("mixture.gguf");
    write_model(path, &wanted->shape);
    plan_fixture f;
    open_plan(&f, path, wanted->file);
    rad_assert_ok(make_plan(&f), f.error);
    const char *values = NULL, *down = NULL;
    for (int i = 0; i < 16; i++) {
        values = wanted->values[i] != NULL ? wanted->values[i] : values;
        down = wanted->down[i] != NULL ? wanted->down[i] : down;
        ck_assert_str_eq(layer_type(&f, i, "attn_v"), values);
        ck_assert_str_eq(layer_type(&f, i, "ffn_down"), down);
        ck_assert_str_eq(layer_type(&f, i, "attn_output"), wanted->attention_output);
        ck_assert_str_eq(layer_type(&f, i, "attn_k"), wanted->keys);
        ck_assert_str_eq(layer_type(&f, i, "ffn_up"), wanted->rest);
        ck_assert_str_eq(layer_type(&f, i, "ffn_gate_inp"), "F32");
        ck_assert_str_eq(layer_type(&f, i, "attn_norm"), "F32");
    }
    ck_assert_str_eq(type_of(&f, "token_embd.weight"), wanted->embedding);
    if (wanted->output != NULL)
        ck_assert_str_eq(type_of(&f, "output.weight"), wanted->output);
    close_plan(&f);
}
END_TEST

START_TEST(rows_that_blocks_do_not_divide)
{
    static const char *const cases[][3] = {
        {"Q4_K_M", "Q5_0", "F16"},   {"Q5_K_M", "Q5_1", "F16"}, {"Q6_K", "Q8_0", "F16"},
        {"IQ4_XS", "IQ4_NL", "F16"}, {"Q2_K", "Q4_0", "F16"},   {"Q8_0", "Q8_0", "F16"},
        {"Q4_0", "Q4_0", "F16"},
    };
    const char *path = rad_test_temp_path("rows.gguf");
    write_model(path, &(model_shape)DENSE);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        plan_fixture f;
        open_plan(&f, path, cases[i][0]);
        rad_assert_ok(make_plan(&f), f.error);
        ck_assert_str_eq(type_of(&f, "blk.0.odd.weight"), cases[i][1]);
        ck_assert_str_eq(type_of(&f, "blk.0.odder.weight"), cases[i][2]);
        ck_assert_uint_eq(number(&f, "fallbacks"), strstr(cases[i][0], "_0") != NULL ? 1 : 2);
        close_plan(&f);
    }
}
END_TEST

START_TEST(overrides)
{
    const char *path = rad_test_temp_path("overrides.gguf");
    write_model(path, &(model_shape)DENSE);
    plan_fixture f;
    open_plan(&f, path, "Q4_K_M");
    set(&f, "quantize_tensor", "blk.*.ffn_up=q8_0");
    set(&f, "quantize_tensor", "blk.?.ffn_up.weight=Q5_0");
    set(&f, "quantize_tensor", "*norm*=F16");
    set(&f, "quantize_tensor", "output=F32");
    rad_assert_ok(make_plan(&f), f.error);
    ck_assert_str_eq(layer_type(&f, 10, "ffn_up"), "Q8_0");
    ck_assert_str_eq(layer_type(&f, 9, "ffn_up"), "Q5_0");
    ck_assert_str_eq(layer_type(&f, 3, "attn_norm"), "F16");
    ck_assert_str_eq(type_of(&f, "output.weight"), "F32");
    ck_assert_str_eq(layer_type(&f, 2, "attn_q"), "Q4_K");
    set(&f, "quantize_pure", "1");
    rad_assert_ok(make_plan(&f), f.error);
    ck_assert_str_eq(layer_type(&f, 0, "ffn_down"), "Q4_K");
    ck_assert_str_eq(layer_type(&f, 9, "ffn_up"), "Q5_0");
    static const char *const wrong[][2] = {
        {"blk.*.ffn_upp=Q8_0", "no tensor has a name"},
        {"output=Q9_9", "names no type"},
        {"output=I2_S", "names no type"},
        {"=Q8_0", "is not PATTERN=TYPE"},
        {"output", "is not PATTERN=TYPE"},
        {"output=", "names no type"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        rad_assert_ok(radllm_options_reset(f.options, "quantize_tensor", f.error), f.error);
        set(&f, "quantize_tensor", wrong[i][0]);
        rad_assert_error(make_plan(&f), RADLLM_E_ARGUMENT, f.error, wrong[i][1]);
        ck_assert_ptr_null(f.plan);
    }
    close_plan(&f);
}
END_TEST

START_TEST(patterns_take_no_exponential_time)
{
    const char *path = rad_test_temp_path("patterns.gguf");
    write_model(path, &(model_shape)DENSE);
    plan_fixture f;
    open_plan(&f, path, "Q8_0");
    char pattern[4096];
    memset(pattern, '*', sizeof pattern);
    for (size_t i = 0; i < 1000; i += 2)
        pattern[i] = 'f';
    memcpy(pattern + 1000, "x=Q8_0", 7);
    set(&f, "quantize_tensor", pattern);
    rad_assert_error(make_plan(&f), RADLLM_E_ARGUMENT, f.error, "no tensor has a name");
    close_plan(&f);
}
END_TEST

START_TEST(quantized_already)
{
    plan_fixture f;
    open_plan(&f, rad_test_source_path("tests/golden/types/q8_0.gguf"), "Q4_0");
    rad_assert_error(make_plan(&f), RADLLM_E_ARGUMENT, f.error, "quantized already");
    set(&f, "quantize_again", "1");
    rad_assert_ok(make_plan(&f), f.error);
    set(&f, "quantize_again", "0");
    set(&f, "quantize", "F16"); /* decoding loses nothing */
    rad_assert_ok(make_plan(&f), f.error);
    set(&f, "quantize", "Q8_0"); /* what is there stays */
    rad_assert_ok(make_plan(&f), f.error);
    ck_assert_uint_eq(number(&f, "quantized"), 0);
    close_plan(&f);
}
END_TEST

/* ---- files ---------------------------------------------------------------------------------- */

static void write_plan(plan_fixture *f, const char *path)
{
    rad_assert_ok(radllm_quantization_write(f->plan, path, NULL, f->error), f->error);
}

static bool same_files(const char *a, const char *b)
{
    size_t sizes[2];
    uint8_t *bytes[2] = {rad_test_read_file(a, &sizes[0]), rad_test_read_file(b, &sizes[1])};
    bool same = sizes[0] == sizes[1] && memcmp(bytes[0], bytes[1], sizes[0]) == 0;
    free(bytes[0]);
    free(bytes[1]);
    return same;
}

/* One matrix of several tasks, whose rows tasks cut. */
static void write_large(const char *path)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_string(&file, "general.architecture", "llama");
    gguf_tensor_random(&file, "blk.0.ffn_up.weight", 2, (uint64_t[]){3 << 8, 1000}, 0.1f);
    gguf_tensor_random(&file, "blk.0.ffn_down.weight", 3, (uint64_t[]){256, 3, 5}, 0.1f);
    gguf_write(&file, path);
    gguf_builder_free(&file);
}

START_TEST(files_do_not_depend_on_threads)
{
    char in[1024], first[1024], other[1024];
    snprintf(in, sizeof in, "%s", rad_test_temp_path("in.gguf"));
    snprintf(first, sizeof first, "%s", rad_test_temp_path("first.gguf"));
    snprintf(other, sizeof other, "%s", rad_test_temp_path("other.gguf"));
    write_large(in);
    plan_fixture f;
    open_plan(&f, in, "Q4_K_M");
    for (int threads = 1; threads <= 5; threads += 2) {
        char digits[8];
        snprintf(digits, sizeof digits, "%d", threads);
        set(&f, "threads", digits);
        rad_assert_ok(make_plan(&f), f.error);
        write_plan(&f, threads == 1 ? first : other);
        ck_assert(threads == 1 || same_files(first, other));
    }
    size_t size;
    free(rad_test_read_file(first, &size));
    ck_assert_uint_eq(number(&f, "bytes"), size);
    close_plan(&f);
}
END_TEST

/* What was written is what encoding each row at once gives. */
START_TEST(blocks_are_those_of_the_encoder)
{
    char in[1024], out[1024];
    snprintf(in, sizeof in, "%s", rad_test_temp_path("in.gguf"));
    snprintf(out, sizeof out, "%s", rad_test_temp_path("out.gguf"));
    write_large(in);
    for (int k = 0; k < 3; k++) {
        static const char *const types[] = {"F16", "Q4_0", "Q3_K_S"};
        plan_fixture f;
        open_plan(&f, in, types[k]);
        rad_assert_ok(make_plan(&f), f.error);
        write_plan(&f, out);
        close_plan(&f);
        radllm_error error = {0};
        rad_source *source = NULL, *written = NULL;
        rad_assert_ok(rad_source_open(NULL, in, &source, &error), &error);
        rad_assert_ok(rad_source_open(NULL, out, &written, &error), &error);
        const rad_tensor *from = rad_source_find_tensor(source, "blk.0.ffn_up.weight");
        const rad_tensor *to = rad_source_find_tensor(written, "blk.0.ffn_up.weight");
        const rad_type_info *type = rad_type_find((uint32_t)to->type);
        float *values = malloc((size_t)from->n_bytes);
        uint8_t *blocks = malloc((size_t)to->n_bytes), *expected = malloc((size_t)to->n_bytes);
        rad_assert_ok(
            rad_source_read(source, 0, from->offset, values, (size_t)from->n_bytes, &error),
            &error);
        rad_assert_ok(rad_source_read(written, 0, to->offset, blocks, (size_t)to->n_bytes, &error),
                      &error);
        size_t row = (size_t)from->dims[0], bytes = row / type->block_elements * type->block_bytes;
        for (size_t r = 0; r < from->dims[1]; r++)
            type->encode(values + r * row, NULL, expected + r * bytes, row);
        ck_assert(memcmp(blocks, expected, (size_t)to->n_bytes) == 0);
        free(values);
        free(blocks);
        free(expected);
        rad_source_release(source);
        rad_source_release(written);
    }
}
END_TEST

START_TEST(metadata_is_kept)
{
    char in[1024], out[1024], again[1024];
    snprintf(in, sizeof in, "%s", rad_test_temp_path("in.gguf"));
    snprintf(out, sizeof out, "%s", rad_test_temp_path("out.gguf"));
    snprintf(again, sizeof again, "%s", rad_test_temp_path("again.gguf"));
    write_model(in, &(model_shape)DENSE);
    plan_fixture f;
    open_plan(&f, in, "Q5_K_M");
    rad_assert_ok(make_plan(&f), f.error);
    write_plan(&f, out);
    close_plan(&f);
    radllm_error error = {0};
    rad_source *source = NULL;
    rad_assert_ok(rad_source_open(NULL, out, &source, &error), &error);
    rad_text name;
    int64_t file_type = -1, version = -1;
    rad_assert_ok(rad_meta_text(source, "general.name", &name, &error), &error);
    ck_assert(name.size == 4 && memcmp(name.data, "kept", 4) == 0);
    rad_assert_ok(rad_meta_integer(source, "general.file_type", 0, 99, -1, &file_type, &error),
                  &error);
    rad_assert_ok(
        rad_meta_integer(source, "general.quantization_version", 0, 99, -1, &version, &error),
        &error);
    ck_assert_int_eq(file_type, 17);
    ck_assert_int_eq(version, 2);
    rad_source_release(source);
    open_plan(&f, out, "COPY");
    rad_assert_ok(make_plan(&f), f.error);
    write_plan(&f, again);
    close_plan(&f);
    ck_assert(same_files(out, again));
}
END_TEST

/* ---- failures -------------------------------------------------------------------------------- */

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static int32_t stop_at_half(void *user, const char *stage, uint64_t done, uint64_t total)
{
    uint64_t *calls = user;
    ck_assert_str_eq(stage, "quantize");
    (*calls)++;
    return done * 2 > total;
}

START_TEST(cancelled)
{
    char in[1024], out[1024], partial[1040];
    snprintf(in, sizeof in, "%s", rad_test_temp_path("in.gguf"));
    snprintf(out, sizeof out, "%s", rad_test_temp_path("cancelled.gguf"));
    snprintf(partial, sizeof partial, "%s.partial", out);
    write_large(in);
    plan_fixture f;
    open_plan(&f, in, "Q8_0");
    uint64_t calls = 0;
    radllm_host *host = NULL;
    radllm_cancel *cancel = NULL;
    rad_assert_ok(radllm_host_new(NULL, NULL, NULL, &host, f.error), f.error);
    rad_assert_ok(radllm_host_set_progress(host, stop_at_half, &calls, f.error), f.error);
    rad_assert_ok(radllm_cancel_new(host, &cancel, f.error), f.error);
    set(&f, "threads", "1");
    rad_assert_ok(radllm_quantization_new(host, f.file, NULL, f.options, &f.plan, f.error),
                  f.error);
    rad_assert_error(radllm_quantization_write(f.plan, out, NULL, f.error), RADLLM_E_CANCELLED,
                     f.error, "cancelled");
    ck_assert_uint_ge(calls, 2);
    ck_assert(!exists(out) && !exists(partial));
    radllm_cancel_set(cancel);
    rad_test_write_file(out, "before", 6);
    rad_assert_error(radllm_quantization_write(f.plan, out, cancel, f.error), RADLLM_E_CANCELLED,
                     f.error, "cancelled");
    size_t size;
    free(rad_test_read_file(out, &size));
    ck_assert_uint_eq(size, 6);
    ck_assert(!exists(partial));
    radllm_cancel_free(cancel);
    radllm_host_free(host);
    close_plan(&f);
}
END_TEST

START_TEST(full_disk_and_missing_folder)
{
    char in[1024];
    snprintf(in, sizeof in, "%s", rad_test_temp_path("in.gguf"));
    write_large(in);
    plan_fixture f;
    open_plan(&f, in, "Q8_0");
    rad_assert_ok(make_plan(&f), f.error);
    rad_assert_error(radllm_quantization_write(f.plan, "/nonexistent/out.gguf", NULL, f.error),
                     RADLLM_E_IO, f.error, "/nonexistent/out.gguf");
    if (access("/dev/full", W_OK) == 0)
        rad_assert_error(radllm_quantization_write(f.plan, "/dev/full", NULL, f.error), RADLLM_E_IO,
                         f.error, "No space left");
    /* The source becomes shorter between planning and writing. */
    ck_assert_int_eq(truncate(in, 1 << 20), 0);
    rad_assert_error(
        radllm_quantization_write(f.plan, rad_test_temp_path("short.gguf"), NULL, f.error),
        RADLLM_E_IO, f.error, "in.gguf");
    ck_assert(!exists(rad_test_temp_path("short.gguf")));
    close_plan(&f);
}
END_TEST

static radllm_status quantize_all(rad_test_memory *memory, const char *in, const char *out)
{
    radllm_host *host = NULL;
    radllm_options *options = NULL;
    radllm_file *file = NULL;
    radllm_quantization *plan = NULL;
    radllm_status status =
        radllm_host_new(rad_test_allocate, rad_test_release, memory, &host, NULL);
    if (status == RADLLM_OK)
        status = radllm_options_new(host, &options, NULL);
    if (status == RADLLM_OK)
        status =
            radllm_options_set_text(options, "quantize_tensor", "*ffn_up=Q5_1", RADLLM_NUL, NULL);
    if (status == RADLLM_OK)
        status = radllm_options_set_text(options, "threads", "2", RADLLM_NUL, NULL);
    if (status == RADLLM_OK)
        status = radllm_file_open(host, in, &file, NULL);
    if (status == RADLLM_OK)
        status = radllm_quantization_new(host, file, NULL, options, &plan, NULL);
    if (status == RADLLM_OK)
        status = radllm_quantization_write(plan, out, NULL, NULL);
    radllm_quantization_free(plan);
    radllm_file_free(file);
    radllm_options_free(options);
    radllm_host_free(host);
    return status;
}

/* A file is copied whatever it lacks; a folder is written of a whole model alone, and the refusal
 * is told before, of a folder's path as well. */
START_TEST(incomplete_models)
{
    static const char *const lacking[] = {"output_norm.weight", "blk.0.ffn_down.weight",
                                          "blk.1.attn_q.weight"};
    char in[1024], out[1024];
    plan_fixture f;
    snprintf(in, sizeof in, "%s", rad_test_temp_path("incomplete.gguf"));
    snprintf(out, sizeof out, "%s", rad_test_temp_path("incomplete"));
    gguf_builder file = gguf_tiny_llama();
    gguf_remove_tensor(&file, lacking[_i]);
    gguf_write(&file, in);
    gguf_builder_free(&file);
    open_plan(&f, in, "COPY");
    rad_assert_ok(make_plan(&f), f.error);
    rad_assert_ok(radllm_quantization_check(f.plan, NULL, 0, 0, 0, f.error), f.error);
    for (int real = 0; real < 2; real++) {
        radllm_status status =
            real ? radllm_quantization_write_folder(f.plan, out, 0, 0, NULL, f.error)
                 : radllm_quantization_check(f.plan, out, 1, 0, 0, f.error);
        ck_assert_int_eq(status, RADLLM_E_FORMAT);
        ck_assert_ptr_nonnull(strstr(radllm_error_message(f.error), lacking[_i]));
        ck_assert_ptr_nonnull(strstr(radllm_error_message(f.error), "is missing"));
        ck_assert(!exists(out));
    }
    close_plan(&f);
    file = gguf_tiny_llama();
    gguf_write(&file, in);
    gguf_builder_free(&file);
    open_plan(&f, in, "COPY");
    rad_assert_ok(make_plan(&f), f.error);
    rad_assert_ok(radllm_quantization_check(f.plan, out, 1, 0, 0, f.error), f.error);
    ck_assert(!exists(out));
    ck_assert_int_eq(radllm_quantization_check(f.plan, in, 1, 0, 0, f.error), RADLLM_E_ARGUMENT);
    ck_assert_int_eq(radllm_quantization_check(f.plan, in, 1, 0, RADLLM_FOLDER_REPLACE, f.error),
                     RADLLM_E_ARGUMENT);
    close_plan(&f);
}
END_TEST

START_TEST(each_allocation_fails)
{
    char in[1024], out[1024];
    snprintf(in, sizeof in, "%s", rad_test_temp_path("in.gguf"));
    snprintf(out, sizeof out, "%s", rad_test_temp_path("memory.gguf"));
    write_model(in, &(model_shape){2, 8, 4, 0, false});
    rad_test_memory memory;
    for (uint64_t n = 1;; n++) {
        rad_test_memory_init(&memory, n);
        radllm_status status = quantize_all(&memory, in, out);
        rad_test_memory_check(&memory);
        if (!memory.failed) {
            ck_assert_int_eq(status, RADLLM_OK);
            ck_assert_uint_gt(n, 10);
            break;
        }
        ck_assert_int_eq(status, RADLLM_E_MEMORY);
        ck_assert(!exists(out));
    }
}
END_TEST

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
    write_model(path, &(model_shape)DENSE);
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
    TCase *cases = rad_test_case(suite, "quantize");
    tcase_add_loop_test(cases, mixtures, 0, N_MIXTURES);
    tcase_add_test(cases, rows_that_blocks_do_not_divide);
    tcase_add_test(cases, overrides);
    tcase_add_test(cases, patterns_take_no_exponential_time);
    tcase_add_test(cases, quantized_already);
    tcase_add_test(cases, files_do_not_depend_on_threads);
    tcase_add_test(cases, blocks_are_those_of_the_encoder);
    tcase_add_test(cases, metadata_is_kept);
    tcase_add_test(cases, cancelled);
    tcase_add_test(cases, full_disk_and_missing_folder);
    tcase_add_loop_test(cases, incomplete_models, 0, 3);
    tcase_add_test(cases, each_allocation_fails);
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
    return rad_test_main("quantize", add_cases);
}
