/* Quantized folders (make_packed.py): their decoded weights against what the definition of each
 * format gives, bit for bit, and their logits against what `transformers` computes from those
 * (tools/oracle/make_packed_logits.py). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "golden/decoded.h"
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
    {"gptq-4", 2e-2},        {"gptq-4-order", 2e-2},
    {"gptq-4-odd", 2e-2},    {"gptq-2", 2e-2},
    {"gptq-3", 2e-2},        {"gptq-8", 2e-2},
    {"gptq-mixed", 2e-2},    {"gptq-fused", 2e-2},
    {"gptq-experts", 2e-2},  {"awq", 2e-2},
    {"integers-4", 2e-2},    {"integers-4-order", 2e-2},
    {"integers-8", 2e-2},    {"bytes-8", 2e-2},
    {"bytes-4", 2e-2},       {"exl2", 2e-2},
    {"exl2-apart", 2e-2},    {"exl2-tied", 2e-2},
    {"exl2-experts", 2e-2},  {"nf4", 1e-4},
    {"nf4-nested", 1e-4},    {"nf4-wide", 1e-4},
    {"nf4-32", 1e-4},        {"nf4-levels", 1e-4},
    {"fp4", 1e-4},           {"int8", 2e-2},
    {"int8-outliers", 2e-2}, {"fp8-blocks", 1e-4},
    {"fp8-narrow", 1e-4},    {"fp8-tensor", 1e-4},
    {"fp8-channel", 1e-4},   {"fp8-fbgemm", 1e-4},
    {"nvfp4", 2e-2},         {"mxfp4", 2e-2},
    {"bitnet", 2e-2},        {"bitnet-divided", 2e-2},
    {"gptq-4-wide", 1e-4},   {"gptq-8-wide", 1e-4},
    {"awq-wide", 1e-4},      {"integers-4-wide", 1e-4},
    {"bytes-8-wide", 1e-4},  {"int8-experts", 2e-2},
    {"mixed", 2e-2},         {"fp8-e5m2", 1e-4},
    {"fp8-latent", 1e-4},
};
#define N_CASES (int)(sizeof cases / sizeof *cases)
#define N_ALIKE (N_CASES - 1) /* floats have kv_b_proj as two tensors, packed it is one */

static const int32_t ids[] = {1, 17, 64, 95};
#define N_IDS (sizeof ids / sizeof *ids)

static void name_folder(char path[1024], const char *suffix, int i)
{
    snprintf(path, 1024, "%s/%s%s", folders, cases[i].name, suffix);
}

/* Encoders, whose vectors are compared with those of the decoded weights. */
static const struct {
    const char *name;
    double tolerance;
} encoders[] = {{"gptq-encoder", 2e-2}, {"fp8-encoder", 1e-7}};

static rad_source *open_folder(const char *name, const char *suffix)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s%s", folders, name, suffix);
    rad_host host = {.allocator = rad_test_allocator(&memory)};
    rad_source *source;
    radllm_error error = {.status = RADLLM_OK};
    rad_assert_ok(rad_source_open(&host, path, &source, &error), &error);
    return source;
}

static void compare_tensor(const rad_source *packed, const rad_source *plain,
                           const rad_tensor *wanted)
{
    const rad_tensor *tensor = rad_source_find_tensor(packed, wanted->name.data);
    ck_assert_msg(tensor != NULL, "%s", wanted->name.data);
    const uint64_t width = wanted->dims[0], rows = wanted->n_elements / width;
    ck_assert_uint_eq(tensor->dims[0], width);
    ck_assert_uint_eq(tensor->dims[1], wanted->dims[1]);
    float *values = rad_test_decoded(packed, tensor, 0, rows);
    float *golden = rad_test_decoded(plain, wanted, 0, rows);
    ck_assert_msg(memcmp(values, golden, (size_t)(width * rows) * sizeof *values) == 0, "%s",
                  wanted->name.data);
    /* Some rows alone, at odd places. */
    for (uint64_t first = 3; rows > 20 && first < rows; first += 29) {
        uint64_t n = rows - first < 11 ? rows - first : 11;
        float *some = rad_test_decoded(packed, tensor, first, n);
        ck_assert_mem_eq(some, golden + first * width, (size_t)(n * width) * sizeof *some);
        free(some);
    }
    free(values);
    free(golden);
}

static void compare_folders(const char *name)
{
    rad_source *packed = open_folder(name, ""), *plain = open_folder(name, "-f32");
    ck_assert_uint_eq(rad_source_n_tensors(packed), rad_source_n_tensors(plain));
    for (uint64_t i = 0; i < rad_source_n_tensors(plain); i++)
        compare_tensor(packed, plain, rad_source_tensor(plain, i));
    rad_source_release(packed);
    rad_source_release(plain);
    rad_test_memory_check(&memory);
}

START_TEST(decoded_weights)
{
    compare_folders(cases[_i].name);
}
END_TEST

static void embed(const char *name, const char *suffix, float vector[128])
{
    char path[1024];
    const int32_t *texts[] = {ids};
    const size_t counts[] = {N_IDS};
    radllm_error *error;
    radllm_model *model;
    radllm_engine *engine;
    radllm_options *options;
    snprintf(path, sizeof path, "%s/%s%s", folders, name, suffix);
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    ck_assert_int_eq(radllm_options_new(NULL, &options, NULL), RADLLM_OK);
    radllm_options_set_text(options, "cache", "f32", RADLLM_NUL, NULL);
    rad_assert_ok(radllm_model_open(NULL, path, options, NULL, &model, error), error);
    rad_assert_ok(radllm_engine_new(NULL, model, options, &engine, error), error);
    rad_assert_ok(
        radllm_embed_tokens(engine, texts, counts, 1, NULL, NULL, vector, 128, NULL, error), error);
    radllm_engine_free(engine);
    radllm_model_free(model);
    radllm_options_free(options);
    radllm_error_free(error);
}

START_TEST(encoders_agree)
{
    float vector[128], plain[128];
    compare_folders(encoders[_i].name);
    embed(encoders[_i].name, "", vector);
    embed(encoders[_i].name, "-f32", plain);
    double error = rad_test_relative_error(vector, plain, 128);
    printf("# %s: relative error %.3g\n", encoders[_i].name, error);
    ck_assert_msg(error < encoders[_i].tolerance, "relative error %g", error);
}
END_TEST

static bool is_nf4(const char *name)
{
    return strcmp(name, "nf4") == 0 || strcmp(name, "nf4-nested") == 0 ||
           strcmp(name, "nf4-wide") == 0;
}

static float *logits_of(int i, const char *suffix, const char *nf4, const char *key,
                        const char *value, size_t chunk)
{
    char path[1024];
    radllm_options *options;
    uint32_t n_vocab;
    name_folder(path, suffix, i);
    ck_assert_int_eq(radllm_options_new(NULL, &options, NULL), RADLLM_OK);
    radllm_options_set_text(options, "cache", "f32", RADLLM_NUL, NULL);
    ck_assert_int_eq(radllm_options_set_text(options, "nf4", nf4, RADLLM_NUL, NULL), RADLLM_OK);
    ck_assert_int_eq(radllm_options_set_text(options, key, value, RADLLM_NUL, NULL), RADLLM_OK);
    float *logits = rad_test_logits(path, options, ids, N_IDS, chunk, &n_vocab);
    radllm_options_free(options);
    ck_assert_uint_eq(n_vocab, 96);
    return logits;
}

/* The folder's logits, of the same bits in each way to compute them; their error is returned. */
static double compare_ways(int i, const char *nf4, const float *golden, float **out)
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
    *out = logits_of(i, "", nf4, "load", "copy", 0);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        float *other = logits_of(i, "", nf4, ways[w].key, ways[w].value, ways[w].chunk);
        ck_assert_msg(memcmp(other, *out, n * sizeof *other) == 0, "%s=%s", ways[w].key,
                      ways[w].value);
        free(other);
    }
    return rad_test_relative_error(*out, golden, n);
}

START_TEST(logits_agree)
{
    const size_t n = N_IDS * 96;
    char path[256];
    size_t size;
    snprintf(path, sizeof path, "tests/golden/packed/%s.logits.f32", cases[_i].name);
    float *golden = (float *)(void *)rad_test_read_file(rad_test_source_path(path), &size);
    ck_assert_uint_eq(size, n * sizeof *golden);
    float *plain = logits_of(_i, "-f32", "float", "load", "copy", 0);
    ck_assert(rad_test_relative_error(plain, golden, n) < 1e-4);
    float *logits, *rounded;
    double error = compare_ways(_i, "float", golden, &logits);
    printf("# %s: relative error %.3g (at most %.3g)\n", cases[_i].name, error,
           cases[_i].tolerance);
    ck_assert_msg(error < cases[_i].tolerance, "relative error %g", error);
    /* nf4=int8 is for matrices that are NF4 in memory, and nothing else. */
    if (is_nf4(cases[_i].name)) {
        error = compare_ways(_i, "int8", golden, &rounded);
        printf("# %s: relative error %.3g with nf4=int8\n", cases[_i].name, error);
        ck_assert_msg(error < 5e-2 && error > 1e-3, "relative error %g", error);
    } else {
        rounded = logits_of(_i, "", "int8", "load", "copy", 0);
        ck_assert(memcmp(rounded, logits, n * sizeof *rounded) == 0);
    }
    free(golden);
    free(plain);
    free(logits);
    free(rounded);
}
END_TEST

typedef struct held {
    radllm_model *model;
    radllm_engine *engine;
    radllm_session *session;
} held;

static held hold(const char *path, const char *nf4, radllm_error *error)
{
    held h;
    radllm_options *options;
    ck_assert_int_eq(radllm_options_new(NULL, &options, NULL), RADLLM_OK);
    rad_assert_ok(radllm_options_set_text(options, "nf4", nf4, RADLLM_NUL, error), error);
    rad_assert_ok(radllm_model_open(NULL, path, options, NULL, &h.model, error), error);
    rad_assert_ok(radllm_engine_new(NULL, h.model, options, &h.engine, error), error);
    rad_assert_ok(radllm_session_new(h.engine, &h.session, error), error);
    radllm_options_free(options);
    return h;
}

static void let_go(held *h)
{
    radllm_session_free(h->session);
    radllm_engine_free(h->engine);
    radllm_model_free(h->model);
}

/* Keys that floats made are not gone on with in integers; where nothing is NF4 the option changes
 * nothing. */
START_TEST(snapshots_know_rounding)
{
    static const char *const names[] = {"nf4", "awq"};
    char path[1024], file[256];
    snprintf(file, sizeof file, "%s", rad_test_temp_path("snapshot"));
    radllm_error *error;
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    snprintf(path, sizeof path, "%s/%s", folders, names[_i]);
    held exact = hold(path, "float", error), rounded = hold(path, "int8", error);
    rad_assert_ok(radllm_session_feed(exact.session, ids, N_IDS, NULL, error), error);
    rad_assert_ok(radllm_session_snapshot(exact.session, file, NULL, error), error);
    radllm_status status = radllm_session_restore(rounded.session, file, NULL, error);
    ck_assert_int_eq(status, _i == 0 ? RADLLM_E_ARGUMENT : RADLLM_OK);
    if (_i == 0)
        ck_assert_ptr_nonnull(strstr(radllm_error_message(error), "nf4=int8"));
    let_go(&exact);
    let_go(&rounded);
    radllm_error_free(error);
}
END_TEST

/* ---- lies ----------------------------------------------------------------------------------- */

/* What is put in the place of a text of config.json or of the header (of the same length there), or
 * of bytes of a tensor. */
static const struct {
    const char *folder, *from, *to; /* from: a text, or a tensor's name */
    int offset;                     /* of a tensor's bytes; -1: texts */
    radllm_status status;
    const char *part;
} lies[] = {
    {"gptq-4", "\"bits\": 4", "\"bits\": 5", -1, RADLLM_E_UNSUPPORTED, "bits must be 2, 3, 4 or 8"},
    {"gptq-4", "\"bits\": 4", "\"bits\": \"4\"", -1, RADLLM_E_FORMAT, "bits must be a whole"},
    {"gptq-4", "\"bits\": 4", "\"bits\": 8", -1, RADLLM_E_FORMAT, "do not go with its bits"},
    {"gptq-4", "\"group_size\": 128", "\"group_size\": 0", -1, RADLLM_E_UNSUPPORTED,
     "group_size must be -1 or above 0"},
    {"gptq-4", "\"group_size\": 128", "\"group_size\": -2", -1, RADLLM_E_UNSUPPORTED, "group_size"},
    {"gptq-4", "\"group_size\": 128", "\"group_size\": 64", -1, RADLLM_E_FORMAT,
     "as many groups as the configuration"},
    {"gptq-4", "\"quant_method\": \"gptq\"", "\"quant_method\": \"hqq\"", -1, RADLLM_E_UNSUPPORTED,
     "quant_method is \"hqq\""},
    {"gptq-4", "\"quant_method\": \"gptq\", ", "", -1, RADLLM_E_UNSUPPORTED,
     "quant_method is not said"},
    {"gptq-4", "quantization_config", "quantization_confiX", -1, RADLLM_E_FORMAT,
     "config.json has no quantization_config"},
    {"int8", "quantization_config", "quantization_confiX", -1, RADLLM_E_FORMAT, ".SCB' is part of"},
    {"nf4", "quantization_config", "quantization_confiX", -1, RADLLM_E_FORMAT, ".absmax' is part"},
    {"gptq-4", "\"quant_method\": \"gptq\"", "\"quant_method\": \"fp8\"", -1, RADLLM_E_FORMAT,
     "says another quant_method"},
    {"gptq-4", "q_proj.g_idx", "q_proj.g_idX", -1, RADLLM_E_UNSUPPORTED, "fetch all files"},
    {"awq", "\"group_size\": 32", "\"group_size\": 33", -1, RADLLM_E_FORMAT, "no multiple of"},
    {"fp8-fbgemm", "\"quant_method\": \"fbgemm_fp8\"",
     "\"weight_block_size\": [64, 64], \"quant_method\": \"fp8\"", -1, RADLLM_E_FORMAT,
     "scales of blocks of weight_block_size"},
    {"fp8-e5m2", "q_proj.weight_scale_inv", "q_proj.weight_scale_inX", -1, RADLLM_E_FORMAT,
     "has no scales"},
    {"gptq-4-order", "gptq_v2", "marlin", -1, RADLLM_E_UNSUPPORTED,
     "checkpoint_format is \"marlin\""},
    {"gptq-4", "\"bits\": 4", "\"bits\": 4, \"rotation\": \"hadamard\"", -1, RADLLM_E_UNSUPPORTED,
     "rotation is there"},
    {"bitnet", "autobitlinear", "otherlinear", -1, RADLLM_E_UNSUPPORTED, "linear_class"},
    {"gptq-4", "\"rope_theta\"",
     "\"partial_rotary_factor\": 0.5, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}, "
     "\"rope_theta\"",
     -1, RADLLM_E_UNSUPPORTED, "partial_rotary_factor"},
    {"awq", "\"version\"", "\"backend\": \"llm-awq\", \"version\"", -1, RADLLM_E_UNSUPPORTED,
     "backend is \"llm-awq\""},
    {"fp8-channel", "\"format\"", "\"transform_config\": {\"a\": 1}, \"format\"", -1,
     RADLLM_E_UNSUPPORTED, "transform_config"},
    {"nvfp4", "\"format\"", "\"sparsity_config\": {\"format\": \"sparse-24-bitmask\"}, \"format\"",
     -1, RADLLM_E_UNSUPPORTED, "sparsity_config"},
    {"awq", "\"gemm\"", "\"gemv\"", -1, RADLLM_E_UNSUPPORTED, "version is \"gemv\""},
    {"awq", "\"version\"", "\"format\": \"gemv\", \"version\"", -1, RADLLM_E_UNSUPPORTED,
     "format is \"gemv\""},
    {"gptq-4", "\"quant_method\": \"gptq\"",
     "\"packing_format\": \"auto_round:llm_compressor\", \"quant_method\": \"auto-round\"", -1,
     RADLLM_E_UNSUPPORTED, "packing_format is \"auto_round:llm_compressor\""},
    {"gptq-4", "\"quant_method\": \"gptq\"",
     "\"backend\": \"ipex\", \"quant_method\": \"intel/auto-round\"", -1, RADLLM_E_UNSUPPORTED,
     "backend is \"ipex\""},
    {"gptq-4", "\"quant_method\": \"gptq\"",
     "\"data_type\": \"int_sym_dq\", \"quant_method\": \"auto-round\"", -1, RADLLM_E_UNSUPPORTED,
     "data_type is \"int_sym_dq\""},
    {"gptq-4", "\"quant_method\": \"gptq\"", "\"act_bits\": 8, \"quant_method\": \"auto-round\"",
     -1, RADLLM_E_UNSUPPORTED, "act_bits"},
    {"gptq-4", "\"quant_method\": \"gptq\"",
     "\"rotation_config\": {\"a\": 1}, \"quant_method\": \"auto-round\"", -1, RADLLM_E_UNSUPPORTED,
     "rotation_config"},
    {"integers-4", "pack-quantized", "marlin-24", -1, RADLLM_E_UNSUPPORTED,
     "format is \"marlin-24\""},
    {"integers-4", "\"num_bits\": 4", "\"num_bits\": 3", -1, RADLLM_E_UNSUPPORTED, "num_bits"},
    {"gptq-4", "q_proj.qzeros", "q_proj.qzeroz", -1, RADLLM_E_FORMAT, "has no qzeros"},
    {"gptq-4", "q_proj.scales\":{\"dtype\":\"F16\"", "q_proj.scales\":{\"dtype\":\"I16\"", -1,
     RADLLM_E_FORMAT, "scales [groups, rows] of floats"},
    {"gptq-4", "q_proj.g_idx\":{\"dtype\":\"I32\"", "q_proj.g_idx\":{\"dtype\":\"F32\"", -1,
     RADLLM_E_FORMAT, "g_idx I32"},
    {"gptq-4", "q_proj.qweight\":{\"dtype\":\"I32\",\"shape\":[16,128]",
     "q_proj.qweight\":{\"dtype\":\"I32\",\"shape\":[128,16]", -1, RADLLM_E_FORMAT,
     "do not go with its bits"},
    {"awq", "q_proj.qzeros\":{\"dtype\":\"I32\",\"shape\":[4,16]",
     "q_proj.qzeros\":{\"dtype\":\"I32\",\"shape\":[16,4]", -1, RADLLM_E_FORMAT,
     "qzeros I32 [groups, rows / 8]"},
    {"gptq-4-order", "q_proj.g_idx", "q_proj.g_idX", -1, RADLLM_E_FORMAT, "(desc_act)"},
    {"integers-4", "q_proj.weight_zero_point", "q_proj.weight_zero_poinX", -1, RADLLM_E_FORMAT,
     "not symmetric"},
    {"exl2", "q_proj.q_invperm", "q_proj.q_invperX", -1, RADLLM_E_FORMAT, "lacks q_groups"},
    {"gptq-4-order", "q_proj.g_idx", "\4\0\0\0", 8, RADLLM_E_FORMAT, "g_idx"},
    {"gptq-4-order", "q_proj.g_idx", "\377\377\377\377", 508, RADLLM_E_FORMAT, "g_idx"},
    {"gptq-4", "q_proj.scales", "\0\0", 6, RADLLM_E_FORMAT, "row 3, has a scale of zero"},
    {"gptq-4", "q_proj.scales", "\0\176", 6, RADLLM_E_FORMAT,
     "q_proj', row 3, has a scale that is"},
    {"awq", "down_proj.scales", "\0\174", 0, RADLLM_E_FORMAT,
     "row 0, has a scale that is no number"},
    {"integers-8", "up_proj.weight_scale", "\0\0", 4, RADLLM_E_FORMAT,
     "row 2, has a scale of zero"},
    {"integers-4", "q_proj.weight_shape", "\7\0", 0, RADLLM_E_FORMAT, "in the bits that"},
    {"integers-4-order", "q_proj.weight_g_idx", "\0\1", 0, RADLLM_E_FORMAT, "g_idx"},
    {"bytes-4", "q_proj.weight", "\144", 9, RADLLM_E_FORMAT, "out of the range of its bits"},
    {"bytes-4", "q_proj.weight_zero_point", "\144", 0, RADLLM_E_FORMAT,
     "zero point out of its range"},
    {"exl2", "q_proj.q_groups", "\7\0", 0, RADLLM_E_FORMAT, "other bits than 2 to 6"},
    {"exl2", "q_proj.q_groups", "\1\0", 2, RADLLM_E_FORMAT, "begin at row 0"},
    {"exl2", "q_proj.q_groups", "\0\0", 6, RADLLM_E_FORMAT, "one behind the other"},
    {"exl2", "q_proj.q_invperm", "\0\0\0\0\0\0\0\0", 0, RADLLM_E_FORMAT, "no order of its columns"},
    {"exl2", "q_proj.q_invperm", "\200\0\0\0\200\0\0\0", 0, RADLLM_E_FORMAT,
     "no order of its columns"},
    {"exl2", "q_proj.q_scale_max", "\0\0", 0, RADLLM_E_FORMAT, "a scale of zero"},
};

enum { LONGER = 256 }; /* that a text may become */

static char *read_text(const char *folder, const char *name, size_t *size)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s/%s", folders, folder, name);
    uint8_t *bytes = rad_test_read_file(path, size);
    char *text = malloc(*size + LONGER);
    ck_assert_ptr_nonnull(text);
    memcpy(text, bytes, *size);
    memset(text + *size, 0, LONGER);
    free(bytes);
    return text;
}

static void write_text(const char *folder, const char *name, const char *text, size_t size)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

/* Where bytes of a tensor begin, by the end of its name. */
static size_t find_bytes(const char *file, const char *name)
{
    char wanted[64];
    uint64_t header;
    snprintf(wanted, sizeof wanted, "%s\":{", name);
    const char *entry = strstr(file + 8, wanted);
    ck_assert_msg(entry != NULL, "%s", name);
    const char *offsets = strstr(entry, "offsets\":[");
    memcpy(&header, file, sizeof header);
    return 8 + (size_t)header + (size_t)strtoull(offsets + 10, NULL, 10);
}

/* Texts of config.json may be of other lengths. */
static void lie_in_text(const char *from, const char *to, char *config, size_t *config_size,
                        char *file)
{
    char *at = strstr(config, from);
    size_t old = strlen(from), size = strlen(to);
    if (at != NULL) {
        memmove(at + size, at + old, *config_size - (size_t)(at - config) - old);
        *config_size += size - old;
    } else {
        at = strstr(file + 8, from);
        ck_assert_msg(at != NULL && size == old, "%s", from);
    }
    memcpy(at, to, size);
}

START_TEST(lies_are_found)
{
    size_t config_size, file_size;
    char *config = read_text(lies[_i].folder, "config.json", &config_size);
    char *file = read_text(lies[_i].folder, "model.safetensors", &file_size);
    const char *folder = rad_test_temp_path("lie");
    radllm_error *error;
    radllm_model *model = NULL;
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    if (lies[_i].offset < 0) {
        lie_in_text(lies[_i].from, lies[_i].to, config, &config_size, file);
    } else {
        size_t size = strlen(lies[_i].to) < 2 ? 2 : strlen(lies[_i].to);
        if (lies[_i].offset == 0 && strstr(lies[_i].from, "invperm") != NULL)
            size = 8;
        memcpy(file + find_bytes(file, lies[_i].from) + lies[_i].offset, lies[_i].to, size);
    }
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    write_text(folder, "config.json", config, config_size);
    write_text(folder, "model.safetensors", file, file_size);
    rad_assert_error(radllm_model_open(NULL, folder, NULL, NULL, &model, error), lies[_i].status,
                     error, lies[_i].part);
    radllm_error_free(error);
    free(config);
    free(file);
}
END_TEST

/* ---- other words for the same ---------------------------------------------------------------- */

/* A folder of which a text is another wherever it stands, in config.json, and in the header where
 * it has the same length, has the values that it had. */
static const struct {
    const char *folder, *from, *to;
} words[] = {
    /* Zero points of version 1 that are 0 are what no two programs read alike: these are 8. */
    {"gptq-4-odd", "\"quant_method\": \"gptq\"", "\"quant_method\": \"intel/auto-round\""},
    {"gptq-4-odd", "\"quant_method\": \"gptq\"",
     "\"backend\": \"auto_round:gptq:exllamav2\", \"quant_method\": \"intel/auto-round\""},
    {"gptq-4-odd", "\"quant_method\": \"gptq\"",
     "\"packing_format\": \"auto_round:auto_gptq\", \"quant_method\": \"auto-round\", "
     "\"backend\": \"auto\""},
    {"gptq-4-order", "\"quant_method\": \"gptq\"",
     "\"packing_format\": \"auto_round:gptqmodel\", \"quant_method\": \"auto-round\""},
    {"gptq-4-order", "\"quant_method\": \"gptq\"",
     "\"packing_format\": \"auto_round\", \"extra_config\": {\"a\": {\"bits\": 8}}, "
     "\"quant_method\": \"auto-round\""},
    {"awq", "\"quant_method\": \"awq\"",
     "\"packing_format\": \"auto_round:auto_awq\", \"quant_method\": \"auto-round\""},
    {"gptq-mixed", ".g_idx\"", ".g_idX\""}, /* zero points say the bits */
    {"awq", "\"zero_point\": true", "\"zero_point\": false"},
    {"awq", "\"version\": \"gemm\"", "\"version\": \"Gemm\""},
    /* The older key counts beside the newer one. */
    {"gptq-4-order", "\"checkpoint_format\"", "\"format\": \"gptq\", \"checkpoint_format\""},
    {"gptq-4", "\"bits\": 4",
     "\"bits\": 4, \"checkpoint_format\": \"gptq\", \"format\": \"gptq_v2\""},
    {"bytes-8", "int-quantized", "naive-quantized"},
    {"exl2", "quantization_config", "quantization_confiX"}, /* as it was written at first */
    {"int8", "\"quant_method\": \"bitsandbytes\", ", ""},   /* as it was saved at first */
    {"gptq-4", "\"bits\": 4", "\"bits\": 4, \"seed\": 1000000000000000000000000000000"},
    {"integers-4-empty", "pack-quantized", "pack-quantized"}, /* weight_g_idx is -1 throughout */
};

/* A folder in `folder` whose indexes of groups are all zeros. */
static void unfill(const char *name, const char *folder)
{
    static const char *const modules[] = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                          "gate_proj", "up_proj", "down_proj"};
    size_t config_size, file_size;
    char *config = read_text(name, "config.json", &config_size), tensor[32];
    char *file = read_text(name, "model.safetensors", &file_size);
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        snprintf(tensor, sizeof tensor, "%s.g_idx", modules[i]);
        memset(file + find_bytes(file, tensor), 0, (i == 6 ? 160 : 128) * 4);
    }
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    write_text(folder, "config.json", config, config_size);
    write_text(folder, "model.safetensors", file, file_size);
    free(config);
    free(file);
}

START_TEST(unfilled_indexes)
{
    const char *folder = rad_test_temp_path("unfilled");
    char plain_path[1024];
    rad_host host = {.allocator = rad_test_allocator(&memory)};
    rad_source *packed, *plain;
    radllm_error error = {.status = RADLLM_OK};
    unfill("gptq-8", folder);
    snprintf(plain_path, sizeof plain_path, "%s/gptq-8-f32", folders);
    rad_assert_ok(rad_source_open(&host, folder, &packed, &error), &error);
    rad_assert_ok(rad_source_open(&host, plain_path, &plain, &error), &error);
    for (uint64_t i = 0; i < rad_source_n_tensors(plain); i++)
        compare_tensor(packed, plain, rad_source_tensor(plain, i));
    rad_source_release(packed);
    rad_source_release(plain);
    folder = rad_test_temp_path("unfilled-order");
    unfill("gptq-4-order", folder);
    rad_assert_error(rad_source_open(&host, folder, &packed, &error), RADLLM_E_FORMAT, &error,
                     "g_idx of zeros");
    rad_test_memory_check(&memory);
}
END_TEST

static void tell(const char *from, const char *to, char *text, size_t *size, size_t at)
{
    const size_t old = strlen(from), new = strlen(to);
    for (char *found = text + at; (found = strstr(found, from)) != NULL; found += new) {
        memmove(found + new, found + old, *size - (size_t)(found - text) - old + 1);
        memcpy(found, to, new);
        *size += new - old;
    }
}

START_TEST(other_words)
{
    size_t config_size, file_size;
    char *config = read_text(words[_i].folder, "config.json", &config_size);
    char *file = read_text(words[_i].folder, "model.safetensors", &file_size);
    char *longer = malloc(config_size + 512), plain_path[1024];
    const char *folder = rad_test_temp_path("words");
    rad_host host = {.allocator = rad_test_allocator(&memory)};
    rad_source *packed, *plain;
    radllm_error error = {.status = RADLLM_OK};
    ck_assert_ptr_nonnull(longer);
    memcpy(longer, config, config_size + 1);
    tell(words[_i].from, words[_i].to, longer, &config_size, 0);
    if (strlen(words[_i].from) == strlen(words[_i].to))
        tell(words[_i].from, words[_i].to, file, &file_size, 8);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    write_text(folder, "config.json", longer, config_size);
    write_text(folder, "model.safetensors", file, file_size);
    snprintf(plain_path, sizeof plain_path, "%s/%s-f32", folders, words[_i].folder);
    rad_assert_ok(rad_source_open(&host, folder, &packed, &error), &error);
    rad_assert_ok(rad_source_open(&host, plain_path, &plain, &error), &error);
    for (uint64_t i = 0; i < rad_source_n_tensors(plain); i++)
        compare_tensor(packed, plain, rad_source_tensor(plain, i));
    rad_source_release(packed);
    rad_source_release(plain);
    rad_test_memory_check(&memory);
    free(longer);
    free(config);
    free(file);
}
END_TEST

/* What it is stands in a file of its own. */
START_TEST(modelopt_is_named)
{
    static const char said[] = "{\"producer\": {\"name\": \"modelopt\"}, \"quantization\": "
                               "{\"quant_algo\": \"FP8\"}}";
    size_t config_size, file_size;
    char *config = read_text("gptq-4-f32", "config.json", &config_size);
    char *file = read_text("gptq-4-f32", "model.safetensors", &file_size);
    const char *folder = rad_test_temp_path("modelopt");
    radllm_error *error;
    radllm_model *model = NULL;
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    write_text(folder, "config.json", config, config_size);
    write_text(folder, "model.safetensors", file, file_size);
    write_text(folder, "hf_quant_config.json", said, sizeof said - 1);
    rad_assert_error(radllm_model_open(NULL, folder, NULL, NULL, &model, error),
                     RADLLM_E_UNSUPPORTED, error,
                     "hf_quant_config.json: the quantization's quant_method is \"modelopt\", which "
                     "this version does not read; fetch the model in another form");
    radllm_error_free(error);
    free(config);
    free(file);
}
END_TEST

/* Every allocation fails in turn. */
START_TEST(memory_fails)
{
    static const char *const names[] = {"gptq-4-order", "exl2"};
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folders, names[_i]);
    radllm_status status = RADLLM_E_MEMORY;
    for (uint64_t n = 1; status != RADLLM_OK; n++) {
        rad_test_memory_init(&memory, n);
        rad_host host = {.allocator = rad_test_allocator(&memory)};
        rad_source *source = NULL;
        radllm_error error = {.status = RADLLM_OK};
        status = rad_source_open(&host, path, &source, &error);
        ck_assert_msg(status == RADLLM_OK || status == RADLLM_E_MEMORY, "%s", error.message);
        if (status == RADLLM_OK)
            rad_source_release(source);
        rad_test_memory_check(&memory);
    }
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *all = rad_test_case(suite, "packed");
    tcase_add_loop_test(all, decoded_weights, 0, N_ALIKE);
    tcase_add_loop_test(all, logits_agree, 0, N_CASES);
    tcase_add_loop_test(all, snapshots_know_rounding, 0, 2);
    tcase_add_loop_test(all, lies_are_found, 0, sizeof lies / sizeof *lies);
    tcase_add_loop_test(all, other_words, 0, sizeof words / sizeof *words);
    tcase_add_test(all, unfilled_indexes);
    tcase_add_loop_test(all, encoders_agree, 0, 2);
    tcase_add_test(all, modelopt_is_named);
    tcase_add_loop_test(all, memory_fails, 0, 2);
}

int main(int argc, char **argv)
{
    folders = argc > 1 ? argv[1] : ".";
    return rad_test_main("golden_packed", add_cases);
}
