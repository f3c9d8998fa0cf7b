/* Quantizing model files by the public functions: which tensor gets which type, the file, and what
 * failures leave. The encoders themselves are tested in test_quant.c. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit/quantize_support.h"

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
    if (RAD_TEST_SANITIZED && _i % 4 != 0)
        return;
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

/* Rules that ask for the family, and count tensors where not every layer has them: as
 * llama-quantize chose. */
static void write_family(const char *path, const char *family, uint32_t layers, bool gaps)
{
    gguf_builder file = gguf_builder_new();
    char name[64];
    gguf_key_string(&file, "general.architecture", family);
    snprintf(name, sizeof name, "%s.block_count", family);
    gguf_key_u32(&file, name, layers);
    snprintf(name, sizeof name, "%s.attention.head_count", family);
    gguf_key_u32(&file, name, 8);
    gguf_tensor_random(&file, "token_embd.weight", 2, (uint64_t[]){256, 2}, 1.0f);
    gguf_tensor_random(&file, "per_layer_token_embd.weight", 2, (uint64_t[]){256, 2}, 1.0f);
    for (uint32_t i = 0; i < layers; i++) {
        snprintf(name, sizeof name, "blk.%u.attn_v.weight", (unsigned)i);
        gguf_tensor_random(&file, name, 2, (uint64_t[]){256, 2}, 1.0f);
        snprintf(name, sizeof name, "blk.%u.ffn_down.weight", (unsigned)i);
        if (!gaps || i % 3 != 1)
            gguf_tensor_random(&file, name, 2, (uint64_t[]){256, 2}, 1.0f);
    }
    gguf_write(&file, path);
    gguf_builder_free(&file);
}

START_TEST(mixtures_of_families)
{
    static const struct {
        const char *family, *file;
        uint32_t layers;
        bool gaps;
        int layer;
        const char *role, *type;
    } cases[] = {
        {"qwen2", "Q4_K_M", 80, false, 10, "attn_v", "Q5_K"}, /* Qwen1.5-72B */
        {"llama", "Q4_K_M", 80, false, 10, "attn_v", "Q4_K"}, /* LLaMA-65B */
        {"apertus", "Q3_K_S", 80, false, 10, "attn_v", "Q3_K"},
        {"jais2", "Q3_K_S", 68, false, 10, "attn_v", "Q5_K"},
        {"deci", "Q5_K_M", 16, true, 6, "ffn_down", "Q6_K"},
        {"deci", "Q5_K_M", 16, true, 14, "ffn_down", "Q5_K"},
        {"deci", "IQ4_XS", 16, true, 2, "ffn_down", "Q5_K"},
    };
    const char *path = rad_test_temp_path("family.gguf");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        plan_fixture f;
        write_family(path, cases[i].family, cases[i].layers, cases[i].gaps);
        open_plan(&f, path, cases[i].file);
        rad_assert_ok(make_plan(&f), f.error);
        ck_assert_str_eq(layer_type(&f, cases[i].layer, cases[i].role), cases[i].type);
        ck_assert_str_eq(type_of(&f, "per_layer_token_embd.weight"), "Q6_K");
        close_plan(&f);
    }
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
    /* What fits all names means all matrices: nothing reads vectors in blocks. */
    rad_assert_ok(radllm_options_reset(f.options, "quantize_tensor", f.error), f.error);
    set(&f, "quantize_tensor", "*=Q4_0");
    rad_assert_ok(make_plan(&f), f.error);
    ck_assert_str_eq(layer_type(&f, 3, "attn_norm"), "F32");
    ck_assert_str_eq(layer_type(&f, 3, "attn_q"), "Q4_0");
    static const char *const wrong[][2] = {
        {"blk.*.ffn_upp=F16", "no tensor has a name"},
        {"*norm*=Q8_0", "no matrix that is quantized has a name"},
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
    rad_assert_error(make_plan(&f), RADLLM_E_ARGUMENT, f.error,
                     "no matrix that is quantized has a name");
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
    /* Or another one of the same length. */
    write_large(in);
    open_plan(&f, in, "Q8_0");
    rad_assert_ok(make_plan(&f), f.error);
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
    ck_assert_int_eq(utimensat(AT_FDCWD, in, times, 0), 0);
    rad_assert_error(
        radllm_quantization_write(f.plan, rad_test_temp_path("mixed.gguf"), NULL, f.error),
        RADLLM_E_IO, f.error, "in.gguf: the file was written to while it was read");
    ck_assert(!exists(rad_test_temp_path("mixed.gguf")));
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

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "quantize");
    tcase_add_loop_test(cases, mixtures, 0, N_MIXTURES);
    tcase_add_test(cases, mixtures_of_families);
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
}

int main(void)
{
    return rad_test_main("quantize", add_cases);
}
