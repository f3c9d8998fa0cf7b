/* Folders of bitsandbytes, FP8, NVFP4, MXFP4 and BitNet whose tensors lie: each is refused with a
 * message, when the folder is opened or when the rows are read. That true ones give the right
 * values shows tests/golden/test_golden_packed.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/model_source.h"
#include "unit/harness.h"

#define MODULE "model.layers.0.mlp.up_proj"

typedef struct part {
    const char *ending, *dtype, *shape;
    const void *data;
    size_t size;
} part;

static const char *inside(const char *name)
{
    char relative[64];
    mkdir(rad_test_temp_path("m"), 0700);
    snprintf(relative, sizeof relative, "m%s", name);
    return rad_test_temp_path(relative);
}

static const char *model = "\"model_type\":\"llama\"", *module = MODULE,
                  *tensor_name = "blk.0.ffn_up.weight";

/* The folder of a llama of one quantized module; parts end with one without an ending. */
static void write_folder(const char *settings, const part *parts)
{
    char config[1024], header[4096];
    static uint8_t file[1 << 20];
    size_t at = 0, data = 0;
    snprintf(config, sizeof config,
             "{%s,\"hidden_size\":64,\"num_hidden_layers\":1,"
             "\"num_attention_heads\":2,\"intermediate_size\":64,\"vocab_size\":6,"
             "\"max_position_embeddings\":32,\"quantization_config\":{%s}}",
             model, settings);
    rad_test_write_file(inside("/config.json"), config, strlen(config));
    for (const part *p = parts; p->ending != NULL; p++) {
        at += (size_t)snprintf(header + at, sizeof header - at,
                               "%s\"%s%s\":{\"dtype\":\"%s\",\"shape\":%s,"
                               "\"data_offsets\":[%zu,%zu]}",
                               p == parts ? "{" : ",", module, p->ending, p->dtype, p->shape, data,
                               data + p->size);
        data += p->size;
    }
    header[at++] = '}';
    uint64_t size = at;
    memcpy(file, &size, 8);
    memcpy(file + 8, header, at);
    at += 8;
    for (const part *p = parts; p->ending != NULL; at += p->size, p++) {
        ck_assert_uint_le(at + p->size, sizeof file);
        memcpy(file + at, p->data, p->size);
    }
    rad_test_write_file(inside("/model.safetensors"), file, at);
}

/* Opens the folder and reads the module's rows. */
static radllm_status read_module(rad_test_memory *memory, radllm_error *error)
{
    rad_host host = {.allocator = rad_test_allocator(memory)};
    rad_source *source = NULL;
    radllm_status status = rad_source_open(&host, inside(""), &source, error);
    if (status != RADLLM_OK) {
        ck_assert_ptr_null(source);
        return status;
    }
    const rad_tensor *tensor = rad_source_find_tensor(source, tensor_name);
    ck_assert_ptr_nonnull(tensor);
    uint8_t *rows = malloc((size_t)tensor->n_bytes);
    status = rad_source_read_tensor(source, tensor, 0, rows, (size_t)tensor->n_bytes, error);
    free(rows);
    rad_source_release(source);
    return status;
}

static void refuse(const char *settings, const part *parts, radllm_status expected,
                   const char *message)
{
    rad_test_memory memory;
    radllm_error error = {0};
    write_folder(settings, parts);
    rad_test_memory_init(&memory, 0);
    rad_assert_error(read_module(&memory, &error), expected, &error, message);
    ck_assert_uint_gt(strlen(error.message), 20);
    rad_test_memory_check(&memory);
}

static void accept(const char *settings, const part *parts)
{
    rad_test_memory memory;
    radllm_error error = {0};
    write_folder(settings, parts);
    rad_test_memory_init(&memory, 0);
    rad_assert_ok(read_module(&memory, &error), &error);
    rad_test_memory_check(&memory);
}

static float ones[4096];
static uint8_t bytes[4096]; /* zeros */
#define BNB   "\"quant_method\":\"bitsandbytes\""
#define STATE "{\"blocksize\":64,\"shape\":[4,64],\"nested_blocksize\":256,\"nested_offset\":0.5}"
#define END                                                                                        \
    {                                                                                              \
        NULL, NULL, NULL, NULL, 0                                                                  \
    }

static part text_part(const char *ending, const char *text)
{
    static char shape[32];
    snprintf(shape, sizeof shape, "[%zu]", strlen(text));
    return (part){ending, "U8", shape, text, strlen(text)};
}

/* Parts of a good NF4 module, to be spoilt. */
enum { WEIGHT, MAP, ABSMAX, DESCRIPTION, NESTED, NESTED_MAP, N_PARTS };
static void four_bits(part parts[N_PARTS + 1], bool nested, const char *state)
{
    memset(parts, 0, (N_PARTS + 1) * sizeof *parts);
    parts[WEIGHT] = (part){".weight", "U8", "[128,1]", bytes, 128};
    parts[MAP] = (part){".weight.quant_map", "F32", "[16]", rad_levels_nf4, 64};
    parts[ABSMAX] = nested ? (part){".weight.absmax", "U8", "[4]", bytes, 4}
                           : (part){".weight.absmax", "F32", "[4]", ones, 16};
    parts[DESCRIPTION] = text_part(".weight.quant_state.bitsandbytes__nf4", state);
    if (nested) {
        parts[NESTED] = (part){".weight.nested_absmax", "F32", "[1]", ones, 4};
        parts[NESTED_MAP] = (part){".weight.nested_quant_map", "F32", "[256]", ones, 1024};
    }
}

START_TEST(four_bits_lie)
{
    static const struct {
        const char *state, *message;
    } states[] = {
        {"{\"blocksize\":0,\"shape\":[4,64]}", "blocksize"},
        {"{\"blocksize\":48,\"shape\":[4,64]}", "blocksize"},
        {"{\"blocksize\":-64,\"shape\":[4,64]}", "blocksize"},
        {"{\"blocksize\":64.0,\"shape\":[4,64]}", "blocksize"},
        {"{\"blocksize\":1000000000000,\"shape\":[4,64]}", "blocksize"},
        {"{\"shape\":[4,64]}", "blocksize"},
        {"{\"blocksize\":64}", "shape"},
        {"{\"blocksize\":64,\"shape\":[4,-64]}", "shape"},
        {"{\"blocksize\":64,\"shape\":[4,64,1]}", "shape"},
        {"{\"blocksize\":64,\"shape\":[2147483647,2147483647]}", "shape"},
        {"{\"blocksize\":64,\"shape\":[4,65]}", "bytes of the shape"},
        {"{\"blocksize\":128,\"shape\":[4,64]}", "absmax"},
        {"{\"blocksize\":64,\"shape\":[4,64]", "quant_state.bitsandbytes__nf4': the JSON"},
        {"[[[[[[", "quant_state"},
        {"", "quant_state"},
    };
    part parts[N_PARTS + 1];
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        four_bits(parts, false, states[i].state);
        refuse(BNB, parts, RADLLM_E_FORMAT, states[i].message);
    }
    float bad[16];
    for (int i = 0; i < 4; i++) {
        four_bits(parts, false, STATE);
        memcpy(bad, ones, sizeof bad);
        bad[2] = i == 0 ? NAN : i == 1 ? INFINITY : i == 2 ? -INFINITY : -NAN;
        parts[ABSMAX].data = bad;
        refuse(BNB, parts, RADLLM_E_FORMAT, "absmax");
    }
    four_bits(parts, false, STATE);
    parts[ABSMAX].dtype = "I32";
    refuse(BNB, parts, RADLLM_E_FORMAT, "absmax");
    four_bits(parts, false, STATE);
    bad[2] = NAN;
    parts[MAP].data = bad;
    refuse(BNB, parts, RADLLM_E_FORMAT, "level");
    parts[MAP] = (part){".weight.quant_map", "F32", "[15]", ones, 60};
    refuse(BNB, parts, RADLLM_E_FORMAT, "quant_map");
    accept(BNB, (four_bits(parts, false, STATE), parts));
}
END_TEST

START_TEST(nested_scales_lie)
{
    part parts[N_PARTS + 1];
    accept(BNB, (four_bits(parts, true, STATE), parts));
    static const char *const states[] = {
        "{\"blocksize\":64,\"shape\":[4,64],\"nested_blocksize\":256}",
        "{\"blocksize\":64,\"shape\":[4,64],\"nested_offset\":0.5}",
        "{\"blocksize\":64,\"shape\":[4,64],\"nested_blocksize\":0,\"nested_offset\":0.5}",
        "{\"blocksize\":64,\"shape\":[4,64],\"nested_blocksize\":2,\"nested_offset\":0.5}",
        "{\"blocksize\":64,\"shape\":[4,64],\"nested_blocksize\":256,\"nested_offset\":\"x\"}"};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        four_bits(parts, true, states[i]);
        refuse(BNB, parts, RADLLM_E_FORMAT, "nested");
    }
    four_bits(parts, true, STATE);
    parts[NESTED_MAP] = (part){NULL, NULL, NULL, NULL, 0};
    refuse(BNB, parts, RADLLM_E_FORMAT, "nested_quant_map");
    static const float nan[1] = {NAN};
    four_bits(parts, true, STATE);
    parts[NESTED].data = nan;
    refuse(BNB, parts, RADLLM_E_FORMAT, "absmax");
}
END_TEST

START_TEST(eight_bits_lie)
{
    static const float bad[3][4] = {{1, NAN, 1, 1}, {1, 1, INFINITY, 1}, {1, 1, 1, -1}};
    part good[] = {{".weight", "I8", "[4,64]", bytes, 256},
                   {".SCB", "F32", "[4]", ones, 16},
                   {".weight_format", "U8", "[]", bytes, 1},
                   END};
    accept(BNB, good);
    for (int i = 0; i < 3; i++) {
        part parts[] = {good[0], {".SCB", "F32", "[4]", bad[i], 16}, END};
        refuse(BNB, parts, RADLLM_E_FORMAT, "SCB");
    }
    part few[] = {good[0], {".SCB", "F32", "[3]", ones, 12}, END};
    refuse(BNB, few, RADLLM_E_FORMAT, "SCB");
    part alone[] = {good[0], END};
    refuse(BNB, alone, RADLLM_E_FORMAT, "SCB");
    part turned[] = {good[0], good[1], {".weight_format", "U8", "[]", "\1", 1}, END};
    refuse(BNB, turned, RADLLM_E_UNSUPPORTED, "weight_format");
    refuse(BNB ",\"llm_int8_threshold\":-1.0", good, RADLLM_E_UNSUPPORTED, "llm_int8_threshold");
    refuse(BNB ",\"llm_int8_threshold\":\"6\"", good, RADLLM_E_UNSUPPORTED, "llm_int8_threshold");
}
END_TEST

#define FP8 "\"quant_method\":\"fp8\",\"weight_block_size\":[2,64]"

START_TEST(fp8_lies)
{
    static const float bad[][2] = {{1, 0}, {NAN, 1}, {1, -1}, {INFINITY, 1}};
    const part weight = {".weight", "F8_E4M3", "[4,64]", bytes, 256};
    part good[] = {weight, {".weight_scale_inv", "F32", "[2,1]", ones, 8}, END};
    accept(FP8, good);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        part parts[] = {weight, {".weight_scale_inv", "F32", "[2,1]", bad[i], 8}, END};
        refuse(FP8, parts, RADLLM_E_FORMAT, "scale");
    }
    part shape[] = {weight, {".weight_scale_inv", "F32", "[1,2]", ones, 8}, END};
    refuse(FP8, shape, RADLLM_E_FORMAT, "scales of blocks");
    part type[] = {weight, {".weight_scale_inv", "I32", "[2,1]", ones, 8}, END};
    refuse(FP8, type, RADLLM_E_FORMAT, "scales of a type");
    part alone[] = {weight, END};
    refuse(FP8, alone, RADLLM_E_FORMAT, "no scales");
    static uint8_t none[256];
    none[200] = 0xff;
    part nan[] = {{".weight", "F8_E4M3", "[4,64]", none, 256}, good[1], END};
    refuse(FP8, nan, RADLLM_E_FORMAT, "weight that is no number");
    refuse("\"quant_method\":\"fp8\",\"weight_block_size\":[0,64]", good, RADLLM_E_UNSUPPORTED,
           "block size");
    refuse("\"quant_method\":\"fp8\",\"weight_block_size\":[2]", good, RADLLM_E_UNSUPPORTED,
           "block size");
}
END_TEST

/* The blocks that the configuration names are those, also where a row has as many equal parts. */
START_TEST(fp8_blocks_of_a_row)
{
    static const struct {
        const char *settings, *shape;
        uint64_t rows;
        uint32_t columns, first;
    } cases[] = {{"\"weight_block_size\":[1,48]", "[4,64]", 4, 64, 48},
                 {"\"weight_block_size\":[64,64]", "[1,96]", 1, 96, 64},
                 {"\"weight_block_size\":null", "[1,96]", 1, 96, 48}};
    static uint8_t one[256];
    static const float scales[8] = {1, 2, 1, 2, 1, 2, 1, 2};
    memset(one, 0x38, sizeof one);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        char settings[96], grid[16];
        const uint64_t rows = cases[c].rows;
        const part parts[] = {{".weight", "F8_E4M3", cases[c].shape, one, rows * cases[c].columns},
                              {".weight_scale_inv", "F32", grid, scales, rows * 8},
                              END};
        rad_source *source = NULL;
        radllm_error error = {0};
        float row[96];
        snprintf(settings, sizeof settings, "\"quant_method\":\"fp8\",%s", cases[c].settings);
        snprintf(grid, sizeof grid, "[%llu,2]", (unsigned long long)rows);
        write_folder(settings, parts);
        rad_assert_ok(rad_source_open(NULL, inside(""), &source, &error), &error);
        const rad_tensor *tensor = rad_source_find_tensor(source, tensor_name);
        ck_assert_ptr_nonnull(tensor);
        ck_assert_int_eq(tensor->type, RAD_TYPE_F32);
        rad_assert_ok(
            rad_source_read_tensor(source, tensor, 0, row, cases[c].columns * sizeof *row, &error),
            &error);
        for (uint32_t i = 0; i < cases[c].columns; i++)
            ck_assert(row[i] == (i < cases[c].first ? 1.0f : 2.0f));
        rad_source_release(source);
    }
}
END_TEST

#define NVFP4 "\"quant_method\":\"compressed-tensors\",\"format\":\"nvfp4-pack-quantized\""

START_TEST(nvfp4_lies)
{
    static const float zero[1] = {0.0f}, nan[1] = {NAN};
    static uint8_t negative[16] = {0x38, 0xb8};
    const part weight = {".weight_packed", "U8", "[4,32]", bytes, 128};
    const part scales = {".weight_scale", "F8_E4M3", "[4,4]", bytes, 16};
    part good[] = {weight, scales, {".weight_global_scale", "F32", "[1]", ones, 4}, END};
    accept(NVFP4, good);
    part sign[] = {weight, {".weight_scale", "F8_E4M3", "[4,4]", negative, 16}, good[2], END};
    refuse(NVFP4, sign, RADLLM_E_FORMAT, "negative");
    part nothing[] = {weight, scales, {".weight_global_scale", "F32", "[1]", zero, 4}, END};
    refuse(NVFP4, nothing, RADLLM_E_FORMAT, "weight_global_scale");
    part none[] = {weight, scales, {".weight_global_scale", "F32", "[1]", nan, 4}, END};
    refuse(NVFP4, none, RADLLM_E_FORMAT, "weight_global_scale");
    part missing[] = {weight, scales, END};
    refuse(NVFP4, missing, RADLLM_E_FORMAT, "weight_global_scale");
    part few[] = {weight, {".weight_scale", "F8_E4M3", "[4,2]", bytes, 8}, good[2], END};
    refuse(NVFP4, few, RADLLM_E_FORMAT, "scale of 8 bits");
}
END_TEST

#define BITNET "\"quant_method\":\"bitnet\",\"linear_class\":\"autobitlinear\""

/* Parts of a model that are left out may have shapes that no product has. */
START_TEST(left_out_parts)
{
    const part parts[] = {{".qweight", "I32", "[3,2]", bytes, 24}, END};
    rad_test_memory memory;
    radllm_error error = {0};
    rad_source *source;
    model = "\"model_type\":\"gemma3\",\"text_config\":{}";
    module = "vision_tower.encoder.layers.0.mlp.fc1";
    write_folder("\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32", parts);
    rad_test_memory_init(&memory, 0);
    rad_host host = {.allocator = rad_test_allocator(&memory)};
    rad_assert_ok(rad_source_open(&host, inside(""), &source, &error), &error);
    ck_assert_uint_eq(rad_source_n_tensors(source), 0);
    rad_source_release(source);
    rad_test_memory_check(&memory);
    model = "\"model_type\":\"llama\"";
    module = MODULE;
}
END_TEST

/* gpt-oss, which has a layout of its own. */
START_TEST(mxfp4_lies)
{
    static uint8_t scales[128];
    const part parts[] = {{"_blocks", "U8", "[1,64,2,16]", bytes, 2048},
                          {"_scales", "U8", "[1,64,2]", scales, sizeof scales},
                          END};
    model = "\"model_type\":\"gpt_oss\"";
    module = "model.layers.0.mlp.experts.down_proj";
    tensor_name = "blk.0.ffn_down_exps.weight";
    accept("\"quant_method\":\"mxfp4\"", parts);
    scales[127] = 255;
    refuse("\"quant_method\":\"mxfp4\"", parts, RADLLM_E_FORMAT, "MXFP4");
    scales[127] = 0;
    model = "\"model_type\":\"llama\"";
    module = MODULE;
    tensor_name = "blk.0.ffn_up.weight";
}
END_TEST

START_TEST(bitnet_lies)
{
    static const float zero[1] = {0.0f}, nan[1] = {NAN};
    static uint8_t three[128];
    const part weight = {".weight", "U8", "[2,64]", bytes, 128};
    part good[] = {weight, {".weight_scale", "F32", "[1]", ones, 4}, END};
    accept(BITNET, good);
    three[77] = 3 << 4;
    part code[] = {{".weight", "U8", "[2,64]", three, 128}, good[1], END};
    refuse(BITNET, code, RADLLM_E_FORMAT, "none of -1, 0 and 1");
    part nothing[] = {weight, {".weight_scale", "F32", "[1]", zero, 4}, END};
    refuse(BITNET, nothing, RADLLM_E_FORMAT, "weight_scale");
    refuse("\"quant_method\":\"bitnet\"", nothing, RADLLM_E_FORMAT, "weight_scale");
    part none[] = {weight, {".weight_scale", "F32", "[1]", nan, 4}, END};
    refuse(BITNET, none, RADLLM_E_FORMAT, "weight_scale");
    part alone[] = {weight, END};
    refuse(BITNET, alone, RADLLM_E_FORMAT, "weight_scale");
    const part masters[] = {{".weight", "F32", "[16,64]", ones, 4096}, END};
    refuse(BITNET, masters, RADLLM_E_UNSUPPORTED, "no weight is packed");
    refuse(BITNET ",\"quantization_mode\":\"online\"", good, RADLLM_E_UNSUPPORTED,
           "quantization_mode");
    refuse(BITNET ",\"use_rms_norm\":true", good, RADLLM_E_UNSUPPORTED, "use_rms_norm");
}
END_TEST

static void add_cases(Suite *suite)
{
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++)
        ones[i] = 1.0f;
    TCase *cases = rad_test_case(suite, "packed_scaled");
    tcase_add_test(cases, four_bits_lie);
    tcase_add_test(cases, nested_scales_lie);
    tcase_add_test(cases, eight_bits_lie);
    tcase_add_test(cases, fp8_lies);
    tcase_add_test(cases, fp8_blocks_of_a_row);
    tcase_add_test(cases, nvfp4_lies);
    tcase_add_test(cases, left_out_parts);
    tcase_add_test(cases, mxfp4_lies);
    tcase_add_test(cases, bitnet_lies);
}

int main(void)
{
    return rad_test_main("packed_scaled", add_cases);
}
