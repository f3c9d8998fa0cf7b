/* Adapters of experts, and of the heads' products of latent attention: sessions with different ones
 * in one batch give the bits that each gives alone, on models of any arrangement; memory that
 * fails; and whatever is wrong with an adapter is told by its tensor. (What they compute:
 * tests/golden/test_golden_adapters.c.) */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "unit/adapted.h"

enum { WIDTH = 64, FFN = 64, EXPERTS = 8, RANK = 3 };

#define ADAPTERS_FOLDER "tests/golden/adapters/"

/* ---- the model and its adapters -------------------------------------------------------------- */

/* apart: a tensor for each expert, as files of before 2024 have them. */
static gguf_builder make_mixtral(bool apart)
{
    gguf_builder file =
        gguf_load(rad_test_source_path("tests/golden/architectures/mixtral-q8_0.gguf"));
    gguf_key_u32(&file, "llama.context_length", CONTEXT);
    static const char *const names[] = {"gate", "up", "down"};
    for (int i = 0; i < 6 && apart; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.ffn_%s_exps.weight", i / 3, names[i % 3]);
        gguf_tensor_entry whole = *gguf_find_tensor(&file, name);
        size_t bytes = whole.data_size / EXPERTS;
        uint8_t *data = malloc(whole.data_size);
        ck_assert_ptr_nonnull(data);
        memcpy(data, whole.data, whole.data_size);
        gguf_remove_tensor(&file, name);
        for (size_t e = EXPERTS; e-- > 0;) {
            snprintf(name, sizeof name, "blk.%d.ffn_%s.%zu.weight", i / 3, names[i % 3], e);
            gguf_tensor(&file, name, whole.type, 2, whole.dims, data + e * bytes, bytes);
        }
        free(data);
    }
    return file;
}

static gguf_builder empty_adapter(void)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_string(&file, "general.type", "adapter");
    gguf_key_string(&file, "general.architecture", "llama");
    gguf_key_string(&file, "adapter.type", "lora");
    gguf_key_f32(&file, "adapter.lora.alpha", 3.0f);
    return file;
}

static void add_stack(gguf_builder *file, const char *name, uint64_t columns, uint64_t rows,
                      uint64_t rank, uint64_t experts)
{
    char full[80];
    snprintf(full, sizeof full, "%s.lora_a", name);
    gguf_tensor_random(file, full, 3, (uint64_t[]){columns, rank, experts}, 0.4f);
    snprintf(full, sizeof full, "%s.lora_b", name);
    gguf_tensor_random(file, full, 3, (uint64_t[]){rank, rows, experts}, 0.4f);
}

/* Of ups and downs of the last layer, which computes the output rows only. */
static gguf_builder make_adapter(void)
{
    gguf_builder file = empty_adapter();
    add_stack(&file, "blk.1.ffn_up_exps.weight", WIDTH, FFN, 5, EXPERTS);
    add_stack(&file, "blk.1.ffn_down_exps.weight", FFN, WIDTH, RANK, EXPERTS);
    return file;
}

enum { ADAPTERS = 4 };

static void open_all(bool apart)
{
    open_builder(make_mixtral(apart));
    gguf_builder file = make_adapter();
    gguf_write(&file, rad_test_temp_path("stacks.gguf"));
    gguf_builder_free(&file);
    const char *paths[ADAPTERS] = {ADAPTERS_FOLDER "mixtral-experts",
                                   ADAPTERS_FOLDER "mixtral-gates",
                                   ADAPTERS_FOLDER "mixtral-attention", "stacks.gguf"};
    for (int i = 0; i < ADAPTERS; i++) {
        const char *path = i < 3 ? rad_test_source_path(paths[i]) : rad_test_temp_path(paths[i]);
        rad_assert_ok(radllm_adapter_open(model, path, NULL, &adapters[i], error), error);
    }
}

/* DeepSeek-V3's, whose file has keys and values of short vectors apart, and adapters change both at
 * once: of the last layer, which computes the output rows only, and of the one before. */
static gguf_builder make_latent(uint64_t rank)
{
    gguf_builder file = empty_adapter();
    gguf_key_string(&file, "general.architecture", "deepseek2");
    for (int layer = 1; layer < 3; layer++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.attn_kv_b.weight.lora_a", layer);
        gguf_tensor_random(&file, name, 2, (uint64_t[]){64, rank}, 0.4f);
        snprintf(name, sizeof name, "blk.%d.attn_kv_b.weight.lora_b", layer);
        gguf_tensor_random(&file, name, 2, (uint64_t[]){rank, (uint64_t)4 * (32 + 16)}, 0.4f);
    }
    return file;
}

static void open_latent(void)
{
    gguf_builder base =
        gguf_load(rad_test_source_path("tests/golden/architectures/deepseek2-v3-q8_0.gguf"));
    gguf_key_u32(&base, "deepseek2.context_length", CONTEXT);
    open_builder(base);
    for (int i = 0; i < ADAPTERS; i++) {
        gguf_builder file = make_latent(2 + 3 * (uint64_t)i);
        gguf_write(&file, rad_test_temp_path("latent.gguf"));
        gguf_builder_free(&file);
        const char *path = i == 0 ? rad_test_source_path(ADAPTERS_FOLDER "deepseek2-v3-all")
                                  : rad_test_temp_path("latent.gguf");
        rad_assert_ok(radllm_adapter_open(model, path, NULL, &adapters[i], error), error);
    }
}

static const adapter_set sets[SETS] = {
    {0, {0}, {0}},
    {1, {0}, {1.0f}},
    {1, {1}, {1.0f}},
    {2, {3, 0}, {0.5f, -2.0f}},
    {1, {2}, {1.0f}},
    {1, {0}, {0.25f}},
    {3, {2, 1, 3}, {1.0f, 1.0f, 0.5f}},
};

/* ---- company --------------------------------------------------------------------------------- */

START_TEST(company_changes_nothing)
{
    prompt prompts[2 * SETS];
    result expected[2 * SETS];
    if (_i == 2)
        open_latent();
    else
        open_all(_i == 1);
    for (int i = 0; i < 2 * SETS; i++) {
        prompts[i] = make_prompt(1, i % 2 == 0 ? 40 : 0, (uint32_t)i, 40 + 5 * (size_t)i);
        expected[i] = ask_set(i % SETS, &prompts[i], 512, 2);
        result other = ask_set(i % SETS, &prompts[i], 7, 1);
        assert_same(&other, &expected[i]);
        result without = ask_set(0, &prompts[i], 512, 2);
        ck_assert(i % SETS == 0 || without.hash != expected[i].hash);
    }
    assert_company(prompts, expected);
    close_all();
}
END_TEST

/* A tensor for each expert, merged or not, gives what a stack gives. */
START_TEST(arrangements_agree)
{
    uint64_t hashes[2][2];
    prompt p = make_prompt(1, 0, 3, 90);
    for (int apart = 0; apart < 2; apart++) {
        open_all(apart == 1);
        hashes[apart][0] = ask_set(6, &p, 33, 3).hash;
        set_text("adapter", rad_test_source_path(ADAPTERS_FOLDER "mixtral-experts.gguf"));
        set_integer("adapter_merge", 1);
        radllm_model *plain = model;
        rad_assert_ok(radllm_model_open(NULL, rad_test_temp_path("sharing.gguf"), options, NULL,
                                        &model, error),
                      error);
        hashes[apart][1] = ask_set(0, &p, 512, 2).hash;
        radllm_model_free(model);
        model = plain;
        ck_assert_uint_ne(ask_set(0, &p, 512, 2).hash, hashes[apart][1]);
        close_all();
    }
    ck_assert_mem_eq(hashes[0], hashes[1], sizeof hashes[0]);
}
END_TEST

/* ---- what is refused ------------------------------------------------------------------------- */

static void refuse(const char *path, radllm_status status, const char *part)
{
    radllm_adapter *adapter = NULL;
    rad_assert_error(radllm_adapter_open(model, path, NULL, &adapter, error), status, error, part);
    ck_assert_ptr_null(adapter);
}

/* One stack in place of one that fits. */
static void refuse_stack(const char *name, uint64_t columns, uint64_t rows, uint64_t rank,
                         uint64_t experts, radllm_status status, const char *part)
{
    gguf_builder file = empty_adapter();
    add_stack(&file, name, columns, rows, rank, experts);
    gguf_write(&file, rad_test_temp_path("wrong.gguf"));
    refuse(rad_test_temp_path("wrong.gguf"), status, part);
    gguf_builder_free(&file);
}

#define UP "blk.0.ffn_up_exps.weight"

START_TEST(wrong_stacks)
{
    open_all(_i == 1);
    refuse_stack(UP, WIDTH, FFN, RANK, 7, RADLLM_E_ARGUMENT, "another number of experts");
    refuse_stack(UP, WIDTH, FFN, RANK, 9, RADLLM_E_ARGUMENT, UP ".lora_a' (of " UP ") is for");
    refuse_stack(UP, WIDTH, FFN, RANK, 1, RADLLM_E_ARGUMENT, "another number of experts");
    refuse_stack(UP, WIDTH + 32, FFN, RANK, EXPERTS, RADLLM_E_ARGUMENT,
                 "is 3 x 96; the model needs 3 x 64");
    refuse_stack(UP, WIDTH, FFN + 1, RANK, EXPERTS, RADLLM_E_ARGUMENT,
                 "is 65 x 3; the model needs 64 x 3");
    refuse_stack(UP, 1, 1, 5000, EXPERTS, RADLLM_E_FORMAT, "rank 5000");
    refuse_stack("blk.2.ffn_up_exps.weight", WIDTH, FFN, RANK, EXPERTS, RADLLM_E_ARGUMENT,
                 "what the model does not have");
    refuse_stack("blk.0.ffn_exps.weight", WIDTH, FFN, RANK, EXPERTS, RADLLM_E_ARGUMENT,
                 "what the model does not have");
    refuse_stack("_exps.weight", WIDTH, FFN, RANK, EXPERTS, RADLLM_E_ARGUMENT,
                 "what the model does not have");
    refuse_stack("blk.0.ffn_gate_up_exps.weight", WIDTH, 2 * FFN, RANK, EXPERTS, RADLLM_E_ARGUMENT,
                 "what the model does not have");
    refuse_stack("blk.0.ffn_gate_inp.weight", WIDTH, EXPERTS, RANK, EXPERTS, RADLLM_E_ARGUMENT,
                 "the model needs 3 x 64");
    gguf_builder file = make_adapter();
    gguf_remove_tensor(&file, "blk.1.ffn_down_exps.weight.lora_b");
    gguf_write(&file, rad_test_temp_path("wrong.gguf"));
    refuse(rad_test_temp_path("wrong.gguf"), RADLLM_E_FORMAT, "no companion B");
    gguf_builder_free(&file);
    file = make_adapter();
    gguf_tensor_entry *b = gguf_find_tensor(&file, "blk.1.ffn_down_exps.weight.lora_b");
    ((float *)(void *)b->data)[b->data_size / 4 - 1] = NAN;
    gguf_write(&file, rad_test_temp_path("wrong.gguf"));
    refuse(rad_test_temp_path("wrong.gguf"), RADLLM_E_FORMAT, "no finite number");
    gguf_builder_free(&file);
    close_all();
}
END_TEST

static const char *in_folder(const char *name)
{
    char path[64];
    mkdir(rad_test_temp_path("peft"), 0700);
    snprintf(path, sizeof path, "peft/%s", name);
    return rad_test_temp_path(path);
}

/* Tensors [rows][columns] of zeros, in F32. */
typedef struct shape {
    uint64_t rows, columns;
} shape;

static void write_tensors(const char *const *names, const shape *shapes, size_t n)
{
    char header[2048] = "{";
    size_t used = 1, bytes = 0;
    for (size_t i = 0; i < n; i++) {
        size_t end = bytes + (size_t)(shapes[i].rows * shapes[i].columns * 4);
        used += (size_t)snprintf(header + used, sizeof header - used,
                                 "%s\"base_model.model.model.layers.%s.weight\":{\"dtype\":"
                                 "\"F32\",\"shape\":[%llu,%llu],\"data_offsets\":[%zu,%zu]}%s",
                                 i > 0 ? "," : "", names[i], (unsigned long long)shapes[i].rows,
                                 (unsigned long long)shapes[i].columns, bytes, end,
                                 i + 1 == n ? "}" : "");
        bytes = end;
    }
    uint8_t *file = calloc(1, 8 + used + bytes);
    ck_assert_ptr_nonnull(file);
    file[0] = (uint8_t)used;
    file[1] = (uint8_t)(used >> 8);
    memcpy(file + 8, header, used);
    rad_test_write_file(in_folder("adapter_model.safetensors"), file, 8 + used + bytes);
    free(file);
}

static void write_pair(const char *a_name, shape a, const char *b_name, shape b)
{
    char a_full[128], b_full[128];
    snprintf(a_full, sizeof a_full, "%s.lora_A", a_name);
    snprintf(b_full, sizeof b_full, "%s.lora_B", b_name);
    write_tensors((const char *const[]){a_full, b_full}, (const shape[]){a, b}, 2);
}

static void write_config(const char *rest)
{
    char text[1024];
    int size = snprintf(text, sizeof text, "{\"peft_type\":\"LORA\",\"lora_alpha\":8,%s}", rest);
    rad_test_write_file(in_folder("adapter_config.json"), text, (size_t)size);
}

#define BOTH                                                                                       \
    "\"r\":2,\"target_parameters\":[\"mlp.experts.gate_up_proj\",\"mlp.experts.down_proj\"]"
#define ONE "0.block_sparse_moe.experts.7.w3"

START_TEST(wrong_folders)
{
    static const struct {
        const char *config, *a_name;
        shape a;
        const char *b_name;
        shape b;
        radllm_status status;
        const char *part;
    } wrong[] = {
        /* Experts that are modules. */
        {"\"r\":2",
         "0.block_sparse_moe.experts.8.w3",
         {2, WIDTH},
         ONE,
         {FFN, 2},
         RADLLM_E_ARGUMENT,
         "experts.8.w3.lora_A.weight' (of blk.0.ffn_up_exps.weight) changes"},
        {"\"r\":2",
         "0.block_sparse_moe.experts.18446744073709551623.w3",
         {2, WIDTH},
         ONE,
         {FFN, 2},
         RADLLM_E_ARGUMENT,
         "what the model does not have"},
        {"\"r\":2",
         ONE,
         {2, WIDTH},
         "0.mlp.experts.6.up_proj",
         {FFN, 2},
         RADLLM_E_FORMAT,
         "no companion"},
        {"\"r\":2",
         ONE,
         {2, WIDTH},
         "0.mlp.experts.07.up_proj",
         {FFN + 1, 2},
         RADLLM_E_ARGUMENT,
         "is 65 x 2; the model needs 64 x 2"},
        {"\"r\":4", ONE, {2, WIDTH}, ONE, {FFN, 2}, RADLLM_E_FORMAT, "the configuration says 4"},
        {"\"r\":1000000000", ONE, {2, WIDTH}, ONE, {FFN, 2}, RADLLM_E_FORMAT, "key r"},
        {"\"r\":0", ONE, {2, WIDTH}, ONE, {FFN, 2}, RADLLM_E_FORMAT, "key r"},
        /* Parameters. */
        {"\"r\":2",
         "0.mlp.experts",
         {16, WIDTH},
         "0.mlp.experts",
         {2 * FFN, 16},
         RADLLM_E_UNSUPPORTED,
         "target_parameters"},
        {"\"r\":2,\"target_parameters\":[\"mlp.experts.gate_up_proj_bias\"]",
         "0.mlp.experts",
         {16, WIDTH},
         "0.mlp.experts",
         {2 * FFN, 16},
         RADLLM_E_UNSUPPORTED,
         "other than gate_up"},
        {"\"r\":2,\"target_parameters\":[\"experts.down_proj\",7]",
         "0.mlp.experts.base_layer",
         {16, WIDTH},
         "0.mlp.experts",
         {WIDTH, 16},
         RADLLM_E_UNSUPPORTED,
         "base_layer"},
        {BOTH,
         "0.mlp.experts.base_layer",
         {16, WIDTH},
         "0.mlp.experts",
         {WIDTH, 16},
         RADLLM_E_FORMAT,
         "no companion"},
        {BOTH,
         "0.mlp.experts.base_layer.base_layer",
         {16, WIDTH},
         "0.mlp.experts",
         {WIDTH, 16},
         RADLLM_E_UNSUPPORTED,
         "kind of LoRA"},
        {BOTH,
         "0.mlp.experts.base_layer",
         {16, WIDTH},
         "0.mlp.experts.base_layer",
         {FFN, 16},
         RADLLM_E_ARGUMENT,
         "is 64 x 16; the model needs 128 x 16"},
        {BOTH,
         "0.mlp.experts",
         {16, 2 * FFN},
         "0.mlp.experts",
         {WIDTH, 16},
         RADLLM_E_ARGUMENT,
         "the model needs 16 x 64"},
        {BOTH,
         "0.mlp.experts",
         {17, FFN},
         "0.mlp.experts",
         {WIDTH, 17},
         RADLLM_E_ARGUMENT,
         "the model needs 16 x 64"},
        {BOTH, "0.mlp.experts", {7, FFN}, "0.mlp.experts", {WIDTH, 7}, RADLLM_E_FORMAT, "rank 0"},
        {"\"r\":4,\"target_parameters\":[\"down_proj\"]",
         "0.mlp.experts",
         {16, FFN},
         "0.mlp.experts",
         {WIDTH, 16},
         RADLLM_E_FORMAT,
         "the configuration says 4"},
        {BOTH,
         "0.self_attn.experts",
         {16, FFN},
         "0.mlp.experts",
         {WIDTH, 16},
         RADLLM_E_UNSUPPORTED,
         "target_parameters"},
        {"\"r\":2,\"target_parameters\":[\"down_proj\"]",
         "0.self_attn.experts",
         {16, FFN},
         "0.mlp.experts",
         {WIDTH, 16},
         RADLLM_E_ARGUMENT,
         "names nothing"},
        {BOTH,
         "0.mlp.experts",
         {16, FFN},
         "0.mlp.experts.3.down_proj",
         {WIDTH, 2},
         RADLLM_E_FORMAT,
         ""},
    };
    open_all(false);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        write_config(wrong[i].config);
        write_pair(wrong[i].a_name, wrong[i].a, wrong[i].b_name, wrong[i].b);
        refuse(in_folder(""), wrong[i].status, wrong[i].part);
    }
    /* One expert under two names, and by itself and among all. */
    write_config(BOTH);
    write_tensors((const char *const[]){ONE ".lora_A", "0.mlp.experts.07.up_proj.lora_A"},
                  (const shape[]){{2, WIDTH}, {2, WIDTH}}, 2);
    refuse(in_folder(""), RADLLM_E_FORMAT, "is there twice");
    write_tensors((const char *const[]){"0.mlp.experts.lora_A", "0.mlp.experts.3.down_proj.lora_A"},
                  (const shape[]){{16, FFN}, {2, FFN}}, 2);
    refuse(in_folder(""), RADLLM_E_FORMAT, "is there twice");
    write_config("\"r\":2");
    write_pair(ONE, (shape){2, WIDTH}, ONE, (shape){FFN, 2});
    radllm_adapter *adapter;
    rad_assert_ok(radllm_adapter_open(model, in_folder(""), NULL, &adapter, error), error);
    radllm_adapter_free(adapter);
    /* A model without experts has none of them. */
    radllm_model *mixtral = model;
    rad_assert_ok(radllm_model_open(
                      NULL, rad_test_source_path("tests/golden/architectures/llama-mha-q8_0.gguf"),
                      NULL, NULL, &model, error),
                  error);
    refuse(in_folder(""), RADLLM_E_ARGUMENT, "what the model does not have");
    refuse(rad_test_temp_path("stacks.gguf"), RADLLM_E_ARGUMENT, "what the model does not have");
    refuse(rad_test_source_path(ADAPTERS_FOLDER "mixtral-gates"), RADLLM_E_ARGUMENT,
           "what the model does not have");
    radllm_model_free(model);
    model = mixtral;
    close_all();
}
END_TEST

static void refuse_latent(gguf_builder *file, const char *name, uint64_t columns, uint64_t rows,
                          radllm_status status, const char *part)
{
    char full[64];
    for (int i = 0; i < 2; i++) {
        snprintf(full, sizeof full, "%s.lora_%c", name, i == 0 ? 'a' : 'b');
        if (gguf_find_tensor(file, full) != NULL)
            gguf_remove_tensor(file, full);
        gguf_tensor_random(file, full, 2, (uint64_t[]){i == 0 ? columns : 2, i == 0 ? 2 : rows},
                           0.4f);
    }
    gguf_write(file, rad_test_temp_path("wrong.gguf"));
    gguf_builder_free(file);
    refuse(rad_test_temp_path("wrong.gguf"), status, part);
}

START_TEST(wrong_latent)
{
    open_latent();
    gguf_builder file = make_latent(2);
    refuse_latent(&file, "blk.1.attn_kv_b.weight", 64, 190, RADLLM_E_ARGUMENT,
                  "lora_b' (of blk.1.attn_kv_b.weight) is 190 x 2; the model needs 192 x 2");
    file = make_latent(2);
    refuse_latent(&file, "blk.2.attn_kv_b.weight", 32, 192, RADLLM_E_ARGUMENT,
                  "lora_a' (of blk.2.attn_kv_b.weight) is 2 x 32; the model needs 2 x 64");
    file = make_latent(2);
    refuse_latent(&file, "blk.3.attn_kv_b.weight", 64, 192, RADLLM_E_ARGUMENT,
                  "what the model does not have");
    file = make_latent(2);
    refuse_latent(&file, "blk.1.attn_k_b.weight", 32, 64, RADLLM_E_UNSUPPORTED, "no plain matrix");
    file = make_latent(2);
    gguf_remove_tensor(&file, "blk.1.attn_kv_b.weight.lora_b");
    gguf_write(&file, rad_test_temp_path("wrong.gguf"));
    gguf_builder_free(&file);
    refuse(rad_test_temp_path("wrong.gguf"), RADLLM_E_FORMAT, "has no companion B");
    close_all();
}
END_TEST

/* ---- memory ---------------------------------------------------------------------------------- */

/* Opens and attaches with every allocation failing in turn; nothing is lost. */
START_TEST(memory_fails)
{
    static const char *const names[] = {"mixtral-experts", "mixtral-gates-first",
                                        "mixtral-experts.gguf"};
    char path[256];
    snprintf(path, sizeof path, ADAPTERS_FOLDER "%s", names[_i]);
    gguf_builder file = make_mixtral(false);
    gguf_write(&file, rad_test_temp_path("small.gguf"));
    gguf_builder_free(&file);
    rad_test_memory memory;
    rad_test_memory_init(&memory, 0);
    radllm_host *host;
    radllm_engine *engine;
    radllm_session *session;
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_ok(radllm_host_new(rad_test_allocate, rad_test_release, &memory, &host, error),
                  error);
    rad_assert_ok(
        radllm_model_open(host, rad_test_temp_path("small.gguf"), NULL, NULL, &model, error),
        error);
    rad_assert_ok(radllm_engine_new(host, model, NULL, &engine, error), error);
    rad_assert_ok(radllm_session_new(engine, &session, error), error);
    assert_memory_may_fail(&memory, session, rad_test_source_path(path), 2000);
    radllm_session_free(session);
    radllm_engine_free(engine);
    radllm_model_free(model);
    radllm_host_free(host);
    radllm_error_free(error);
    rad_test_memory_check(&memory);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "experts");
    tcase_add_loop_test(cases, company_changes_nothing, 0, 3);
    tcase_add_test(cases, wrong_latent);
    tcase_add_test(cases, arrangements_agree);
    cases = rad_test_case(suite, "files");
    tcase_add_loop_test(cases, wrong_stacks, 0, 2);
    tcase_add_test(cases, wrong_folders);
    tcase_add_loop_test(cases, memory_fails, 0, 3);
}

int main(void)
{
    return rad_test_main("expert_adapters", add_cases);
}
