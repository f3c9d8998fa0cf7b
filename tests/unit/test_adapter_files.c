/* Whatever is wrong with an adapter is told by its tensor; what files may leave out or take along;
 * and nothing is lost where memory fails. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/adapter.h"
#include "io/module_pattern.h"
#include "unit/made_adapters.h"

/* ---- what is refused ------------------------------------------------------------------------- */

static void refuse(const char *path, radllm_status status, const char *part)
{
    radllm_adapter *adapter = NULL;
    rad_assert_error(radllm_adapter_open(model, path, NULL, &adapter, error), status, error, part);
    ck_assert_ptr_null(adapter);
}

static void refuse_gguf(gguf_builder *file, radllm_status status, const char *part)
{
    gguf_write(file, rad_test_temp_path("wrong.gguf"));
    refuse(rad_test_temp_path("wrong.gguf"), status, part);
    gguf_builder_free(file);
}

#define Q_NAME "blk.1.attn_q.weight"

START_TEST(wrong_gguf)
{
    open_all();
    gguf_builder file = make_adapter(0);
    gguf_key_string(&file, "general.architecture", "qwen2");
    refuse_gguf(&file, RADLLM_E_ARGUMENT, "architecture \"qwen2\", the model is llama");
    file = make_adapter(0);
    gguf_key_string(&file, "adapter.type", "control_vector");
    refuse_gguf(&file, RADLLM_E_UNSUPPORTED, "adapter.type");
    file = make_adapter(0);
    gguf_key_string(&file, "general.type", "model");
    refuse_gguf(&file, RADLLM_E_ARGUMENT, "this is no adapter");
    file = make_adapter(0);
    gguf_key_f32(&file, "adapter.lora.alpha", NAN);
    refuse_gguf(&file, RADLLM_E_FORMAT, "adapter.lora.alpha");
    file = make_adapter(0);
    gguf_key_u32(&file, "adapter.alora.invocation_tokens", 1);
    refuse_gguf(&file, RADLLM_E_UNSUPPORTED, "aLoRA");
    file = make_adapter(0);
    gguf_remove_tensor(&file, Q_NAME ".lora_b");
    refuse_gguf(&file, RADLLM_E_FORMAT, Q_NAME ".lora_a' (of " Q_NAME ") has no companion B");
    file = make_adapter(0);
    gguf_remove_tensor(&file, Q_NAME ".lora_a");
    refuse_gguf(&file, RADLLM_E_FORMAT, "has no companion A");
    file = make_adapter(0);
    gguf_tensor_random(&file, "blk.0.attn_q.weight", 2, (uint64_t[]){WIDTH, Q}, 1.0f);
    refuse_gguf(&file, RADLLM_E_UNSUPPORTED, "neither .lora_a nor .lora_b");
    file = make_adapter(0);
    gguf_tensor_random(&file, "output_norm.weight", 1, (uint64_t[]){WIDTH}, 1.0f);
    refuse_gguf(&file, RADLLM_E_UNSUPPORTED, "set the option adapter_merge");
    refuse(rad_test_temp_path("sharing.gguf"), RADLLM_E_ARGUMENT, "this is no adapter");
    refuse(rad_test_temp_path("nothing.gguf"), RADLLM_E_IO, "nothing.gguf");
    file = empty_adapter();
    refuse_gguf(&file, RADLLM_E_FORMAT, "no tensors");
    close_all();
}
END_TEST

/* What a model says by itself. */
static result ask_model(const char *path, const prompt *p)
{
    radllm_model *first = model;
    rad_assert_ok(radllm_model_open(NULL, path, options, NULL, &model, error), error);
    result r = ask_alone(p);
    radllm_model_free(model);
    model = first;
    return r;
}

/* Norms that llama.cpp's converter took along take the place of the model's own when merged. */
START_TEST(norms_in_gguf)
{
    open_all();
    prompt p = make_prompt(1, 0, 1, 40);
    gguf_builder file = make_adapter(1), changed = make_model(0);
    gguf_tensor_random(&file, "output_norm.weight", 1, (uint64_t[]){WIDTH}, 1.0f);
    const gguf_tensor_entry *norm = gguf_find_tensor(&file, "output_norm.weight"),
                            *own = gguf_find_tensor(&changed, "output_norm.weight");
    ck_assert_uint_eq(own->type, norm->type);
    memcpy(own->data, norm->data, norm->data_size);
    gguf_write(&file, rad_test_temp_path("norms.gguf"));
    gguf_write(&changed, rad_test_temp_path("changed.gguf"));
    set_integer("adapter_merge", 1);
    set_text("adapter", adapter_path(1));
    result expected = ask_model(rad_test_temp_path("changed.gguf"), &p);
    radllm_options_reset(options, "adapter", NULL);
    set_text("adapter", rad_test_temp_path("norms.gguf"));
    result got = ask_model(rad_test_temp_path("sharing.gguf"), &p);
    assert_same(&got, &expected);
    gguf_builder_free(&file);
    gguf_builder_free(&changed);
    close_all();
}
END_TEST

/* A pair of other shapes in place of one that fits. */
static void refuse_shapes(const char *name, uint64_t columns, uint64_t rank, uint64_t b_rank,
                          uint64_t rows, radllm_status status, const char *part)
{
    char full[80];
    gguf_builder file = make_adapter(0);
    snprintf(full, sizeof full, "%s.lora_a", name);
    if (gguf_find_tensor(&file, full) != NULL)
        gguf_remove_tensor(&file, full);
    gguf_tensor_random(&file, full, 2, (uint64_t[]){columns, rank}, 1.0f);
    snprintf(full, sizeof full, "%s.lora_b", name);
    if (gguf_find_tensor(&file, full) != NULL)
        gguf_remove_tensor(&file, full);
    gguf_tensor_random(&file, full, 2, (uint64_t[]){b_rank, rows}, 1.0f);
    refuse_gguf(&file, status, part);
}

START_TEST(wrong_shapes)
{
    open_all();
    refuse_shapes(Q_NAME, 64, 4, 4, Q, RADLLM_E_ARGUMENT,
                  "lora_a' (of " Q_NAME ") is 4 x 64; the model needs 4 x 32");
    refuse_shapes(Q_NAME, WIDTH, 4, 4, 48, RADLLM_E_ARGUMENT,
                  "lora_b' (of " Q_NAME ") is 48 x 4; the model needs 32 x 4");
    refuse_shapes(Q_NAME, WIDTH, 4, 8, Q, RADLLM_E_ARGUMENT, "is 32 x 8");
    refuse_shapes(Q_NAME, WIDTH, 5000, 5000, Q, RADLLM_E_FORMAT, "rank 5000");
    refuse_shapes("blk.2.attn_q.weight", WIDTH, 4, 4, Q, RADLLM_E_ARGUMENT,
                  "what the model does not have");
    refuse_shapes("blk.4294967297.attn_q.weight", WIDTH, 4, 4, Q, RADLLM_E_ARGUMENT,
                  "what the model does not have");
    refuse_shapes("blk.0.nosuch.weight", WIDTH, 4, 4, Q, RADLLM_E_ARGUMENT,
                  "what the model does not have");
    refuse_shapes("blk.0.attn_norm.weight", WIDTH, 4, 4, 1, RADLLM_E_UNSUPPORTED,
                  "no plain matrix");
    gguf_builder file = make_adapter(0);
    ((float *)(void *)gguf_find_tensor(&file, Q_NAME ".lora_a")->data)[5] = INFINITY;
    refuse_gguf(&file, RADLLM_E_FORMAT, "no finite number");
    file = make_adapter(0);
    gguf_find_tensor(&file, Q_NAME ".lora_a")->type = 26; /* I32 */
    refuse_gguf(&file, RADLLM_E_UNSUPPORTED, "of a type that cannot be computed with");
    close_all();
}
END_TEST

/* ---- folders --------------------------------------------------------------------------------- */

static const char *in_folder(const char *name)
{
    char path[64];
    mkdir(rad_test_temp_path("peft"), 0700);
    snprintf(path, sizeof path, "peft/%s", name);
    return rad_test_temp_path(path);
}

/* One pair of matrices for layer 0, of the given rank, under these names. */
static void write_tensors(const char *a, const char *b, uint32_t rank)
{
    char header[1024] = "";
    size_t a_bytes = (size_t)rank * WIDTH * 4, b_bytes = (size_t)rank * Q * 4;
    int size = snprintf(header, sizeof header,
                        "{\"%s\":{\"dtype\":\"F32\",\"shape\":[%u,%d],\"data_offsets\":[0,%zu]},"
                        "\"%s\":{\"dtype\":\"F32\",\"shape\":[%d,%u],\"data_offsets\":[%zu,%zu]}}",
                        a, rank, WIDTH, a_bytes, b, Q, rank, a_bytes, a_bytes + b_bytes);
    size_t total = 8 + (size_t)size + a_bytes + b_bytes;
    uint8_t *bytes = calloc(1, total);
    bytes[0] = (uint8_t)size;
    bytes[1] = (uint8_t)(size >> 8);
    memcpy(bytes + 8, header, (size_t)size);
    for (size_t i = 0; i < (a_bytes + b_bytes) / 4; i++) {
        float value = (float)((i * 37) % 19) / 19.0f - 0.5f;
        memcpy(bytes + 8 + (size_t)size + i * 4, &value, 4);
    }
    rad_test_write_file(in_folder("adapter_model.safetensors"), bytes, total);
    free(bytes);
}

#define Q_MODULE "base_model.model.model.layers.0.self_attn.q_proj"

static void write_config(const char *rest)
{
    char text[1024];
    int size = snprintf(text, sizeof text, "{\"peft_type\":\"LORA\",%s}", rest);
    rad_test_write_file(in_folder("adapter_config.json"), text, (size_t)size);
}

static void refuse_config(const char *rest, radllm_status status, const char *part)
{
    write_config(rest);
    refuse(in_folder(""), status, part);
}

START_TEST(wrong_configurations)
{
    open_all();
    write_tensors(Q_MODULE ".lora_A.weight", Q_MODULE ".lora_B.weight", 4);
    static const struct {
        const char *config;
        radllm_status status;
        const char *part;
    } wrong[] = {
        {"\"r\":0,\"lora_alpha\":1", RADLLM_E_FORMAT, "key r must be a whole number from 1"},
        {"\"r\":-4,\"lora_alpha\":1", RADLLM_E_FORMAT, "key r"},
        {"\"r\":1000000000,\"lora_alpha\":1", RADLLM_E_FORMAT, "not 1000000000"},
        {"\"r\":\"4\",\"lora_alpha\":1", RADLLM_E_FORMAT, "key r"},
        {"\"lora_alpha\":1", RADLLM_E_FORMAT, "key r"},
        {"\"r\":8,\"lora_alpha\":1", RADLLM_E_FORMAT, "has the rank 4, the configuration says 8"},
        {"\"r\":4", RADLLM_E_FORMAT, "lora_alpha"},
        {"\"r\":4,\"lora_alpha\":1e300", RADLLM_E_FORMAT, "lora_alpha"},
        {"\"r\":4,\"lora_alpha\":1,\"use_dora\":true", RADLLM_E_FORMAT, "which DoRA needs"},
        {"\"r\":4,\"lora_alpha\":1,\"lora_bias\":true", RADLLM_E_UNSUPPORTED, "biases of B"},
        {"\"r\":4,\"lora_alpha\":1,\"layer_replication\":[[0,2]]", RADLLM_E_UNSUPPORTED,
         "layer_replication"},
        {"\"r\":4,\"lora_alpha\":1,\"alora_invocation_tokens\":[1]", RADLLM_E_UNSUPPORTED, "aLoRA"},
        {"\"r\":4,\"lora_alpha\":1,\"alora_invocation_tokens\":[]", RADLLM_E_UNSUPPORTED,
         "key alora_invocation_tokens asks for an adapter that begins at some tokens (aLoRA)"},
        {"\"r\":4,\"lora_alpha\":1,\"arrow_config\":{}", RADLLM_E_UNSUPPORTED, "arrow_config"},
        {"\"r\":4,\"lora_alpha\":1,\"kasa_config\":{}", RADLLM_E_UNSUPPORTED, "kasa_config"},
        {"\"r\":4,\"lora_alpha\":1,\"monteclora_config\":{}", RADLLM_E_UNSUPPORTED,
         "monteclora_config"},
        {"\"r\":4,\"lora_alpha\":1,\"use_bdlora\":{\"nblocks\":2}", RADLLM_E_UNSUPPORTED,
         "use_bdlora"},
        {"\"r\":4,\"lora_alpha\":1,\"use_qalora\":true", RADLLM_E_UNSUPPORTED, "use_qalora"},
        {"\"r\":4,\"lora_alpha\":1,\"trainable_token_indices\":{\"embed_tokens\":[3]}",
         RADLLM_E_UNSUPPORTED, "trainable_token_indices"},
        {"\"r\":4,\"lora_alpha\":1,\"rank_pattern\":{\"q_proj\":0}", RADLLM_E_FORMAT,
         "rank_pattern"},
        {"\"r\":4,\"lora_alpha\":1,\"rank_pattern\":{\"[qk]_proj\":5}", RADLLM_E_FORMAT,
         "has the rank 4, the configuration says 5"},
        {"\"r\":8,\"lora_alpha\":1,\"rank_pattern\":{\"k_proj\":4}", RADLLM_E_FORMAT,
         "has the rank 4, the configuration says 8"},
        {"\"r\":4,\"lora_alpha\":1,\"alpha_pattern\":{\"q_proj\":\"x\"}", RADLLM_E_FORMAT,
         "alpha_pattern"},
        {"\"r\":4,\"lora_alpha\":1000000000000000000000000000000", RADLLM_E_FORMAT,
         "key lora_alpha must be a number from"},
        {"\"r\":4,\"lora_alpha\":1,\"alpha_pattern\":{\"(?=q_proj)\":3}", RADLLM_E_UNSUPPORTED,
         "key alpha_pattern holds the regular expression '(?=q_proj)'"},
        {"\"r\":4,\"lora_alpha\":1,\"alpha_pattern\":{\"(q_proj\":3}", RADLLM_E_UNSUPPORTED,
         "regular expression"},
        {"\"r\":4,\"lora_alpha\":1,\"use_rslora\":\"yes\"", RADLLM_E_FORMAT,
         "key use_rslora must be true or false"},
        {"\"r\":4,\"lora_alpha\":1,\"use_dora\":1", RADLLM_E_FORMAT, "key use_dora must be"},
        {"\"r\":4,\"lora_alpha\":1,\"init_lora_weights\":\"pissa_niter_16\"", RADLLM_E_UNSUPPORTED,
         "key init_lora_weights says pissa, which changes the model's own"},
        {"\"r\":4,\"lora_alpha\":1,\"init_lora_weights\":\"OLoRA\"", RADLLM_E_UNSUPPORTED,
         "says olora"},
        {"\"r\":4,\"lora_alpha\":1,\"init_lora_weights\":\"corda\"", RADLLM_E_UNSUPPORTED,
         "says corda"},
        {"\"r\":4,\"lora_alpha\":1,\"init_lora_weights\":\"lora_ga\"", RADLLM_E_UNSUPPORTED,
         "says lora_ga"},
        {"\"r\":4,\"lora_alpha\":1,\"target_parameters\":[\"q_proj.weight\"],"
         "\"rank_pattern\":{\"q_proj\":4,\"q_proj.weight\":5}",
         RADLLM_E_FORMAT, "has the rank 4, the configuration says 5"},
        {"\"r\":4,\"lora_alpha\":1,\"init_lora_weights\":\"loftq\"", RADLLM_E_UNSUPPORTED,
         "path_initial_model_for_weight_conversion"},
        {"\"r\":4,\"lora_alpha\":1,\"peft_type\":\"IA3\"", RADLLM_E_FORMAT, "duplicate"},
        {"\"r\":4,", RADLLM_E_FORMAT, "adapter_config.json"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        refuse_config(wrong[i].config, wrong[i].status, wrong[i].part);
    const char *other = "{\"peft_type\":\"IA3\",\"r\":4}";
    rad_test_write_file(in_folder("adapter_config.json"), other, strlen(other));
    refuse(in_folder(""), RADLLM_E_UNSUPPORTED, "\"IA3\" is not supported");
    unlink(in_folder("adapter_config.json"));
    refuse(in_folder(""), RADLLM_E_IO, "adapter_config.json is missing");
    close_all();
}
END_TEST

/* As Python's re says, but for what is not supported. */
START_TEST(patterns)
{
    static const struct {
        const char *pattern;
        rad_pattern_result result;
    } known[] = {
        {"q_proj", RAD_PATTERN_YES},
        {"proj", RAD_PATTERN_NO},
        {".*q_proj", RAD_PATTERN_YES},
        {".*proj", RAD_PATTERN_YES},
        {"self_attn\\.(q|k)_proj", RAD_PATTERN_YES},
        {"self_attn.(k|v)_proj", RAD_PATTERN_NO},
        {"layers\\.[0-9]+\\.self_attn\\.q_proj", RAD_PATTERN_YES},
        {"^model\\..*\\.q_proj$", RAD_PATTERN_YES},
        {"^layers.*", RAD_PATTERN_NO},
        {"layers\\.\\d{2}\\..*", RAD_PATTERN_YES},
        {"layers\\.\\d{3,}\\..*", RAD_PATTERN_NO},
        {"k_proj|q_proj", RAD_PATTERN_YES},
        {"[^.]+", RAD_PATTERN_YES},
        {"[a-p]_proj|v", RAD_PATTERN_NO},
        {"(?:\\w+\\.)+q_proj", RAD_PATTERN_YES},
        {"layers\\.1{1,2}?\\.self_attn\\.q_proj", RAD_PATTERN_YES},
        {"mlp.*|self.*", RAD_PATTERN_YES},
        {"", RAD_PATTERN_NO},
        {"a(", RAD_PATTERN_UNKNOWN},
        {"(?!k).*", RAD_PATTERN_UNKNOWN},
        {"\\bq_proj", RAD_PATTERN_UNKNOWN},
        {"(q_proj)\\1", RAD_PATTERN_UNKNOWN},
        {"q{", RAD_PATTERN_UNKNOWN},
        {"**", RAD_PATTERN_UNKNOWN},
        {"[q", RAD_PATTERN_UNKNOWN},
        {"q_proj\\", RAD_PATTERN_UNKNOWN},
        {"(.*)*(.*)*(.*)*x", RAD_PATTERN_NO},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t steps = 100000;
        rad_pattern_result result =
            rad_module_pattern_match(known[i].pattern, "model.layers.11.self_attn.q_proj", &steps);
        ck_assert_msg(result == known[i].result, "%s", known[i].pattern);
    }
    uint32_t few = 10;
    ck_assert_int_eq(rad_module_pattern_match(".*.*.*.*.*.*q", "q_proj", &few),
                     RAD_PATTERN_UNKNOWN);
}
END_TEST

static void refuse_names(const char *a, const char *b, radllm_status status, const char *part)
{
    write_tensors(a, b, 4);
    refuse(in_folder(""), status, part);
}

START_TEST(wrong_names)
{
    open_all();
    write_config("\"r\":4,\"lora_alpha\":8");
    refuse_names("q.lora_A.weight", "q.lora_B.weight", RADLLM_E_UNSUPPORTED, "no name that PEFT");
    refuse_names(Q_MODULE ".lora_A.weight", Q_MODULE ".lora_magnitude_vector", RADLLM_E_UNSUPPORTED,
                 "DoRA");
    refuse_names(Q_MODULE ".lora_A.weight", Q_MODULE ".lora_C.weight", RADLLM_E_UNSUPPORTED,
                 "a kind of LoRA");
    refuse_names("base_model.model.model.layers.0.nosuch.lora_A.weight",
                 "base_model.model.model.layers.0.nosuch.lora_B.weight", RADLLM_E_ARGUMENT,
                 "names nothing in a model of architecture llama");
    refuse_names("base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight",
                 "base_model.model.model.layers.9.self_attn.q_proj.lora_B.weight",
                 RADLLM_E_ARGUMENT, "what the model does not have");
    refuse_names("base_model.model.model.layers.0.mlp.experts.1.up_proj.lora_A.weight",
                 "base_model.model.model.layers.0.mlp.experts.1.up_proj.lora_B.weight",
                 RADLLM_E_ARGUMENT, "experts.1.up_proj.lora_A.weight' (of blk.0.ffn_up_exps");
    refuse_names(Q_MODULE ".lora_A.weight", "base_model.model.lm_head.weight", RADLLM_E_UNSUPPORTED,
                 "modules_to_save");
    refuse_names(Q_MODULE ".lora_A.weight", Q_MODULE ".base_layer.bias", RADLLM_E_FORMAT,
                 "has no companion B"); /* the model's own */
    write_config("\"r\":4,\"lora_alpha\":8,\"bias\":\"lora_only\"");
    refuse_names(Q_MODULE ".lora_A.weight", Q_MODULE ".base_layer.bias", RADLLM_E_UNSUPPORTED,
                 "base_layer.bias' (of blk.0.attn_q.bias) takes the place of the model's own");
    refuse_names(Q_MODULE ".lora_embedding_A", Q_MODULE ".lora_embedding_B", RADLLM_E_ARGUMENT,
                 "of an embedding");
    /* As an adapter for a model it is refused; without one it can be listed. */
    write_tensors(Q_MODULE ".lora_A.weight", Q_MODULE ".lora_B.weight", 4);
    radllm_file *file;
    uint64_t n = 0;
    rad_assert_ok(radllm_file_open(NULL, in_folder(""), &file, error), error);
    rad_assert_ok(radllm_file_number(file, "tensors", &n, error), error);
    ck_assert_uint_eq(n, 2);
    rad_assert_error(radllm_file_check_model(file, error), RADLLM_E_UNSUPPORTED, error,
                     "this is an adapter");
    radllm_file_free(file);
    radllm_adapter *adapter;
    rad_assert_ok(radllm_adapter_open(model, in_folder(""), NULL, &adapter, error), error);
    radllm_adapter_free(adapter);
    close_all();
}
END_TEST

static void keep_line(void *user, int32_t level, const char *line)
{
    ck_assert_int_eq(level, RADLLM_LOG_WARNING);
    char *kept = user;
    ck_assert_str_eq(kept, ""); /* one alone */
    snprintf(kept, 512, "%s", line);
}

/* Modules that were trained, of which the file has nothing. */
START_TEST(names_without_tensors)
{
    char line[512] = "";
    radllm_host *host;
    radllm_adapter *adapter;
    open_all();
    radllm_model *first = model;
    rad_assert_ok(radllm_host_new(NULL, NULL, NULL, &host, error), error);
    rad_assert_ok(radllm_host_set_log(host, keep_line, line, RADLLM_LOG_WARNING, error), error);
    rad_assert_ok(
        radllm_model_open(host, rad_test_temp_path("sharing.gguf"), NULL, NULL, &model, error),
        error);
    write_tensors(Q_MODULE ".lora_A.weight", Q_MODULE ".lora_B.weight", 4);
    static const char *const saved[] = {"lm_head", "norm", "model.embed_tokens", "v_proj",
                                        "self_attn.v_proj"};
    for (size_t i = 0; i < sizeof saved / sizeof *saved; i++) {
        char config[128], part[128];
        snprintf(config, sizeof config, "\"r\":4,\"lora_alpha\":1,\"modules_to_save\":[\"%s\"]",
                 saved[i]);
        snprintf(part, sizeof part, "modules_to_save names '%s', of which the file holds no tensor",
                 saved[i]);
        refuse_config(config, RADLLM_E_FORMAT, part);
    }
    ck_assert_str_eq(line, "");
    write_config("\"r\":4,\"lora_alpha\":1,\"modules_to_save\":[\"score\",\"_head\",\"\",7],"
                 "\"target_modules\":[\"q_proj\",\"self_attn\",\"v_proj\",\"proj\",\"c_attn\"]");
    rad_assert_ok(radllm_adapter_open(model, in_folder(""), NULL, &adapter, error), error);
    ck_assert_ptr_nonnull(strstr(line, "target_modules names 'v_proj'"));
    radllm_adapter_free(adapter);
    line[0] = '\0'; /* keys that ask for nothing, that change nothing, and one of a later version */
    write_config("\"r\":4,\"lora_alpha\":1,\"arrow_config\":null,\"layer_replication\":[],"
                 "\"use_qalora\":false,\"qalora_group_size\":16,\"eva_config\":{\"rho\":2},"
                 "\"megatron_core\":\"megatron.core\",\"exclude_modules\":[\"k_proj\"],"
                 "\"velora_config\":{},\"use_newlora\":true,\"newlora_config\":null");
    rad_assert_ok(radllm_adapter_open(model, in_folder(""), NULL, &adapter, error), error);
    ck_assert_ptr_nonnull(strstr(line, "the key 'use_newlora' is not known, and ignored"));
    radllm_adapter_free(adapter);
    radllm_model_free(model);
    radllm_host_free(host);
    model = first;
    close_all();
}
END_TEST

/* What changes a part of the model that is left out as well. */
START_TEST(parts_that_are_left_out)
{
    static const struct {
        const char *architecture, *module;
    } parts[] = {
        {"gemma3", "model.vision_tower.encoder.layers.0.self_attn.q_proj"},
        {"gemma3", "vision_tower.vision_model.encoder.layers.0.mlp.fc1"},
        {"bert", "pooler.dense"},
        {"bert", "roberta.pooler.dense"},
        {"nomic-bert", "pooler.dense"},
    };
    char line[512] = "", a[160], b[160];
    const rad_host host = {.log = keep_line, .log_user = line, .log_level = RADLLM_LOG_WARNING};
    rad_source *source;
    rad_adapter_description found;
    open_all();
    write_config("\"r\":4,\"lora_alpha\":8,\"init_lora_weights\":\"gaussian\"");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(a, sizeof a, "base_model.model.%s.lora_A.weight", parts[i].module);
        snprintf(b, sizeof b, "base_model.model.%s.lora_B.weight", parts[i].module);
        write_tensors(a, b, 4);
        rad_assert_ok(rad_source_open(&host, in_folder(""), &source, error), error);
        rad_assert_ok(rad_adapter_describe(source, parts[i].architecture, &found, error), error);
        ck_assert_uint_eq(found.count, 2);
        for (int k = 0; k < 2; k++)
            ck_assert_int_eq(found.tensors[k].role, RAD_ADAPTER_COPY);
        ck_assert_ptr_nonnull(strstr(line, parts[i].module));
        line[0] = '\0';
        rad_adapter_forget(source, &found);
        rad_assert_error(rad_adapter_describe(source, "llama", &found, error), RADLLM_E_ARGUMENT,
                         error, "names nothing in a model of architecture llama");
        rad_source_release(source);
    }
    close_all();
}
END_TEST

/* Names that PEFT gives: what holds a module is taken out, the model's own is passed over, and a
 * model without a head has its modules' names less the beginning. */
START_TEST(names_of_peft)
{
    static const struct {
        const char *architecture, *names[2];
        rad_adapter_role roles[2];
        const char *target;
    } rows[] = {
        {"llama",
         {"lm_head.original_module.weight", "lm_head.modules_to_save.weight"},
         {RAD_ADAPTER_COPY, RAD_ADAPTER_WHOLE},
         "output.weight"},
        {"llama",
         {"lm_head.modules_to_save.weight", "lm_head.weight"},
         {RAD_ADAPTER_COPY, RAD_ADAPTER_WHOLE},
         "output.weight"},
        {"mpt",
         {"blocks.1.attn.Wqkv.lora_A.weight", "transformer.blocks.1.attn.Wqkv.lora_B.weight"},
         {RAD_ADAPTER_A, RAD_ADAPTER_B},
         "blk.1.attn_qkv.weight"},
        {"gpt2",
         {"h.1.mlp.c_fc.lora_A.weight", "transformer.h.1.mlp.c_fc.lora_B.weight"},
         {RAD_ADAPTER_A, RAD_ADAPTER_B},
         "blk.1.ffn_up.weight"},
        {"nomic-bert",
         {"nomic_bert.layers.1.mlp.down_proj.lora_A.weight",
          "layers.1.mlp.down_proj.lora_B.weight"},
         {RAD_ADAPTER_A, RAD_ADAPTER_B},
         "blk.1.ffn_down.weight"},
        {"qwen2",
         {"layers.1.mlp.up_proj.lora_A.weight", "model.layers.1.mlp.up_proj.lora_B.weight"},
         {RAD_ADAPTER_A, RAD_ADAPTER_B},
         "blk.1.ffn_up.weight"},
    };
    const rad_host host = {0};
    rad_source *source;
    rad_adapter_description found;
    open_all();
    write_config("\"r\":4,\"lora_alpha\":8");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char names[2][160];
        for (int k = 0; k < 2; k++)
            snprintf(names[k], sizeof names[k], "base_model.model.%s", rows[i].names[k]);
        write_tensors(names[0], names[1], 4);
        rad_assert_ok(rad_source_open(&host, in_folder(""), &source, error), error);
        rad_assert_ok(rad_adapter_describe(source, rows[i].architecture, &found, error), error);
        ck_assert_uint_eq(found.count, 2);
        for (int k = 0; k < 2; k++) {
            const rad_adapter_tensor *tensor = &found.tensors[k];
            bool first = strcmp(tensor->tensor->name.data, names[0]) == 0;
            ck_assert_int_eq(tensor->role, rows[i].roles[first ? 0 : 1]);
            ck_assert_str_eq(tensor->target, rows[i].target);
        }
        rad_adapter_forget(source, &found);
        rad_source_release(source);
    }
    /* An embedding of more or fewer tokens than the model has. */
    radllm_model *other;
    write_tensors("base_model.model.model.embed_tokens.weight", Q_MODULE ".lora_B.weight", 4);
    set_integer("adapter_merge", 1);
    set_text("adapter", in_folder(""));
    rad_assert_error(
        radllm_model_open(NULL, rad_test_temp_path("sharing.gguf"), options, NULL, &other, error),
        RADLLM_E_ARGUMENT, error, "for a vocabulary of another size");
    close_all();
}
END_TEST

/* ---- memory ---------------------------------------------------------------------------------- */

/* Opens and attaches with every allocation failing in turn; nothing is lost, and what failed can
 * be done again. */
START_TEST(memory_fails)
{
    gguf_builder small = gguf_tiny_llama(), file = make_adapter(1);
    gguf_write(&small, rad_test_temp_path("small.gguf"));
    gguf_write(&file, adapter_path(1));
    gguf_builder_free(&small);
    gguf_builder_free(&file);
    write_config("\"r\":4,\"lora_alpha\":8");
    write_tensors(Q_MODULE ".lora_A.weight", Q_MODULE ".lora_B.weight", 4);
    rad_test_memory memory;
    rad_test_memory_init(&memory, 0);
    radllm_host *host;
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_ok(radllm_host_new(rad_test_allocate, rad_test_release, &memory, &host, error),
                  error);
    radllm_engine *engine;
    radllm_session *session;
    rad_assert_ok(
        radllm_model_open(host, rad_test_temp_path("small.gguf"), NULL, NULL, &model, error),
        error);
    rad_assert_ok(radllm_engine_new(host, model, NULL, &engine, error), error);
    rad_assert_ok(radllm_session_new(engine, &session, error), error);
    for (int which = 0; which < 2; which++) {
        const char *path = which == 0 ? adapter_path(1) : in_folder("");
        assert_memory_may_fail(&memory, session, path, 1000);
    }
    radllm_session_free(session);
    radllm_engine_free(engine);
    radllm_model_free(model);
    radllm_host_free(host);
    radllm_error_free(error);
    rad_test_memory_check(&memory);
}
END_TEST

/* The same while a model is read that an adapter is merged into. */
START_TEST(memory_fails_while_merging)
{
    gguf_builder small = gguf_tiny_llama(), file = make_adapter(0);
    gguf_write(&small, rad_test_temp_path("small.gguf"));
    gguf_write(&file, adapter_path(0));
    gguf_builder_free(&small);
    gguf_builder_free(&file);
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_ok(radllm_options_new(NULL, &options, error), error);
    set_text("adapter", adapter_path(0));
    set_integer("adapter_merge", 1);
    set_integer("threads", 1);
    for (uint64_t n = 1;; n++) {
        rad_test_memory memory;
        radllm_host *host;
        rad_test_memory_init(&memory, 0);
        rad_assert_ok(radllm_host_new(rad_test_allocate, rad_test_release, &memory, &host, error),
                      error);
        atomic_store(&memory.fail_at, atomic_load(&memory.n_allocations) + n);
        radllm_status status =
            radllm_model_open(host, rad_test_temp_path("small.gguf"), options, NULL, &model, error);
        bool failed = atomic_load(&memory.failed);
        ck_assert_int_eq(status, failed ? RADLLM_E_MEMORY : RADLLM_OK);
        if (!failed)
            radllm_model_free(model);
        radllm_host_free(host);
        rad_test_memory_check(&memory);
        if (!failed)
            break;
        ck_assert_uint_lt(n, 3000);
    }
    radllm_options_free(options);
    radllm_error_free(error);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "files");
    tcase_add_test(cases, wrong_gguf);
    tcase_add_test(cases, norms_in_gguf);
    tcase_add_test(cases, wrong_shapes);
    tcase_add_test(cases, wrong_configurations);
    tcase_add_test(cases, patterns);
    tcase_add_test(cases, wrong_names);
    tcase_add_test(cases, names_without_tensors);
    tcase_add_test(cases, parts_that_are_left_out);
    tcase_add_test(cases, names_of_peft);
    tcase_add_test(cases, memory_fails);
    tcase_add_test(cases, memory_fails_while_merging);
}

int main(void)
{
    return rad_test_main("adapter_files", add_cases);
}
