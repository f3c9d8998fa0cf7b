/* Mixtures of experts: the routing function against its description, files that are wrong, experts
 * that nobody chose, and what the host learns of them. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/numeric.h"
#include "base/platform.h"
#include "kernels/route.h"
#include "radllm/radllm.h"
#include "unit/gguf_builder.h"
#include "unit/harness.h"
#include "unit/opened.h"
#include "unit/refused.h"

/* ---- routing ---------------------------------------------------------------------------------
 */

static uint64_t stream;

static float random_float(float scale)
{
    uint32_t counter[4] = {(uint32_t)stream++, 0, 3, 0}, key[2] = {77, 0}, out[4];
    rad_philox(counter, key, out);
    return ((float)out[0] / 2147483648.0f - 1.0f) * scale;
}

/* Scores of the description, in double precision. */
static void plain_scores(const rad_router *r, const float *logits, double *scores)
{
    double sum = 0.0;
    for (uint32_t e = 0; e < r->n_experts; e++) {
        scores[e] = r->gating == RAD_GATING_SIGMOID   ? 1.0 / (1.0 + exp(-(double)logits[e]))
                    : r->gating == RAD_GATING_SOFTMAX ? exp((double)logits[e])
                                                      : (double)logits[e];
        sum += scores[e];
    }
    for (uint32_t e = 0; e < r->n_experts && r->gating == RAD_GATING_SOFTMAX; e++)
        scores[e] /= sum;
}

/* How many of n values come before value i: are greater, or as great with a lower index. */
static uint32_t place_of(const double *values, uint32_t n, uint32_t i)
{
    uint32_t place = 0;
    for (uint32_t j = 0; j < n; j++)
        place += values[j] > values[i] || (values[j] == values[i] && j < i);
    return place;
}

static bool group_is_used(const rad_router *r, const double *ranks, uint32_t group)
{
    uint32_t size = r->n_experts / r->n_groups;
    double sums[RAD_MAX_EXPERTS];
    for (uint32_t g = 0; g < r->n_groups; g++) {
        sums[g] = 0.0;
        for (uint32_t i = 0; i < size; i++) {
            if (place_of(ranks + g * size, size, i) < r->group_best)
                sums[g] += ranks[g * size + i];
        }
    }
    return place_of(sums, r->n_groups, group) < r->n_groups_used;
}

static void check_route(const rad_router *r, const float *logits, const float *bias)
{
    double scores[RAD_MAX_EXPERTS], ranks[RAD_MAX_EXPERTS], kept[RAD_MAX_EXPERTS], sum = 0.0;
    uint32_t experts[RAD_MAX_EXPERTS_USED], expected[RAD_MAX_EXPERTS_USED];
    float weights[RAD_MAX_EXPERTS_USED];
    plain_scores(r, logits, scores);
    for (uint32_t e = 0; e < r->n_experts; e++)
        ranks[e] = scores[e] + (bias != NULL ? (double)bias[e] : 0.0);
    for (uint32_t e = 0; e < r->n_experts; e++)
        kept[e] = r->n_groups == 1 || group_is_used(r, ranks, e / (r->n_experts / r->n_groups))
                      ? ranks[e]
                      : -INFINITY;
    for (uint32_t e = 0; e < r->n_experts; e++) {
        uint32_t place = place_of(kept, r->n_experts, e);
        if (place < r->n_used) {
            expected[place] = e;
            sum += r->gating == RAD_GATING_CHOSEN ? exp(scores[e]) : scores[e];
        }
    }
    rad_route(r, logits, bias, experts, weights);
    for (uint32_t k = 0; k < r->n_used; k++) {
        double score = scores[experts[k]];
        double weight = r->gating == RAD_GATING_CHOSEN ? exp(score) / sum
                        : r->normalise                 ? score / sum
                                                       : score;
        for (uint32_t j = 0; j < k; j++)
            ck_assert_uint_ne(experts[j], experts[k]);
        /* Among many experts some are closer than single precision tells apart. */
        ck_assert_double_eq_tol(kept[experts[k]], kept[expected[k]], 2e-7);
        ck_assert_double_eq_tol((double)weights[k], weight * (double)r->scale, 1e-5);
    }
}

START_TEST(routing_follows_its_description)
{
    static const uint32_t counts[][4] = {/* experts, used, groups, groups used */
                                         {1, 1, 1, 1},  {2, 2, 1, 1},       {8, 2, 1, 1},
                                         {60, 4, 1, 1}, {128, 8, 1, 1},     {256, 8, 8, 4},
                                         {12, 3, 4, 2}, {1024, 128, 16, 16}};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        /* A plain description takes the square of so many experts. */
        for (int kind = 0; kind < (counts[c][0] < 1000 ? 12 : 3); kind++) {
            rad_router r = {.n_experts = counts[c][0],
                            .n_used = counts[c][1],
                            .n_groups = counts[c][2],
                            .n_groups_used = counts[c][3],
                            .group_best = kind % 3 == RAD_GATING_SIGMOID ? 2 : 1,
                            .gating = (rad_gating)(kind % 3),
                            .normalise = kind % 2 == 0 && kind % 3 != RAD_GATING_CHOSEN,
                            .scale = kind >= 6 ? 2.5f : 1.0f};
            for (int run = 0; run < (r.n_experts > 100 ? 2 : 20); run++) {
                float logits[RAD_MAX_EXPERTS], bias[RAD_MAX_EXPERTS];
                for (uint32_t e = 0; e < r.n_experts; e++) {
                    logits[e] = random_float(4.0f);
                    bias[e] = random_float(0.5f);
                }
                check_route(&r, logits, run % 2 == 0 ? bias : NULL);
            }
        }
    }
}
END_TEST

START_TEST(ties_go_to_the_lower_id)
{
    rad_router r = {.n_experts = 8,
                    .n_used = 3,
                    .n_groups = 1,
                    .n_groups_used = 1,
                    .group_best = 1,
                    .gating = RAD_GATING_CHOSEN,
                    .scale = 1.0f};
    const float equal[8] = {0};
    const float two[8] = {1.0f, 0.0f, 2.0f, 1.0f, 2.0f, 0.0f, 1.0f, 2.0f};
    uint32_t experts[3];
    float weights[3];
    rad_route(&r, equal, NULL, experts, weights);
    for (uint32_t k = 0; k < 3; k++) {
        ck_assert_uint_eq(experts[k], k);
        ck_assert(weights[k] == 1.0f / 3.0f);
    }
    rad_route(&r, two, NULL, experts, weights);
    ck_assert(experts[0] == 2 && experts[1] == 4 && experts[2] == 7);
    r.n_groups = 4; /* all groups are as good */
    r.n_groups_used = 2;
    rad_route(&r, equal, NULL, experts, weights);
    ck_assert(experts[0] == 0 && experts[1] == 1 && experts[2] == 2);
}
END_TEST

/* Logits that are no numbers: the experts are different ones, and the weights say so. */
START_TEST(routing_notices_what_is_no_number)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    for (int gating = 0; gating < 3; gating++) {
        for (int v = 0; v < 3; v++) {
            for (uint32_t at = 0; at < 9; at++) { /* 8: all of them */
                rad_router r = {.n_experts = 8,
                                .n_used = 4,
                                .n_groups = 2,
                                .n_groups_used = 1,
                                .group_best = 2,
                                .gating = (rad_gating)gating,
                                .scale = 1.0f};
                float logits[8] = {0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f, 0.7f, 0.8f}, weights[4];
                uint32_t experts[4], seen = 0;
                for (uint32_t e = 0; e < 8; e++)
                    logits[e] = at == e || at == 8 ? odd[v] : logits[e];
                rad_route(&r, logits, NULL, experts, weights);
                for (uint32_t k = 0; k < 4; k++) {
                    ck_assert_uint_lt(experts[k], 8);
                    seen |= 1u << experts[k];
                    ck_assert(v != 0 || weights[k] != weights[k]);
                }
                ck_assert_int_eq(__builtin_popcount(seen), 4);
            }
        }
    }
}
END_TEST

/* ---- files -----------------------------------------------------------------------------------
 */

enum { WIDTH = 32, FFN = 48, EXPERTS = 4, USED = 2, LAYERS = 2 };

static gguf_builder tiny_experts(void)
{
    gguf_builder file = gguf_tiny_llama();
    gguf_key_u32(&file, "llama.feed_forward_length", FFN);
    gguf_key_u32(&file, "llama.expert_count", EXPERTS);
    gguf_key_u32(&file, "llama.expert_used_count", USED);
    for (int layer = 0; layer < LAYERS; layer++) {
        static const struct {
            const char *old, *name;
            uint32_t n_dims;
            uint64_t dims[3];
        } parts[] = {{"ffn_gate", "ffn_gate_exps", 3, {WIDTH, FFN, EXPERTS}},
                     {"ffn_up", "ffn_up_exps", 3, {WIDTH, FFN, EXPERTS}},
                     {"ffn_down", "ffn_down_exps", 3, {FFN, WIDTH, EXPERTS}},
                     {NULL, "ffn_gate_inp", 2, {WIDTH, EXPERTS}}};
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            char name[64];
            if (parts[i].old != NULL) {
                snprintf(name, sizeof name, "blk.%d.%s.weight", layer, parts[i].old);
                gguf_remove_tensor(&file, name);
            }
            snprintf(name, sizeof name, "blk.%d.%s.weight", layer, parts[i].name);
            gguf_tensor_random(&file, name, parts[i].n_dims, parts[i].dims, 0.3f);
        }
    }
    return file;
}

START_TEST(keys_that_are_wrong)
{
    static const struct {
        const char *key;
        uint32_t value;
        const char *message;
    } wrong[] = {
        {"llama.expert_count", 1000000000u, "llama.expert_count"},
        {"llama.expert_count", 0xffffffffu, "llama.expert_count"},
        {"llama.expert_used_count", 0, "llama.expert_used_count"},
        {"llama.expert_used_count", EXPERTS + 1, "llama.expert_used_count"},
        {"llama.expert_used_count", 1000000000u, "llama.expert_used_count"},
        {"llama.expert_gating_func", 4, "llama.expert_gating_func"},
        {"llama.expert_group_count", 3, "4 experts in 3 groups"},
        {"llama.expert_group_count", 5, "llama.expert_group_count"},
        {"llama.expert_feed_forward_length", 0, "llama.expert_feed_forward_length"},
        {"llama.expert_feed_forward_length", 1u << 30, "llama.expert_feed_forward_length"},
        {"llama.leading_dense_block_count", 3, "llama.leading_dense_block_count"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        gguf_builder file = tiny_experts();
        gguf_key_u32(&file, wrong[i].key, wrong[i].value);
        refuse(&file, RADLLM_E_FORMAT, wrong[i].message);
    }
    gguf_builder file = tiny_experts();
    gguf_remove_key(&file, "llama.expert_used_count");
    refuse(&file, RADLLM_E_FORMAT, "llama.expert_used_count is missing");
    file = tiny_experts();
    gguf_key_f32(&file, "llama.expert_weights_scale", NAN);
    refuse(&file, RADLLM_E_FORMAT, "llama.expert_weights_scale");
    file = tiny_experts();
    gguf_key_u32(&file, "llama.expert_group_count", 4); /* one group of one expert for two */
    gguf_key_u32(&file, "llama.expert_group_used_count", 1);
    refuse(&file, RADLLM_E_FORMAT, "cannot give 2 experts");
    file = tiny_experts(); /* dense, by its count: its tensors have no place */
    gguf_key_u32(&file, "llama.expert_count", 0);
    refuse(&file, RADLLM_E_FORMAT, "blk.0.ffn_gate.weight is missing");
    file = gguf_tiny_llama();
    gguf_key_u32(&file, "llama.expert_count", 8);
    gguf_key_u32(&file, "llama.expert_used_count", 2);
    refuse(&file, RADLLM_E_FORMAT, "blk.0.ffn_gate_inp.weight is missing");
}
END_TEST

START_TEST(families_with_and_without_experts)
{
    gguf_builder file = gguf_tiny_llama();
    gguf_key_string(&file, "general.architecture", "qwen3");
    gguf_key_u32(&file, "qwen3.expert_count", 8);
    static const char *const keys[] = {"context_length", "embedding_length", "block_count",
                                       "feed_forward_length", "attention.head_count"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char name[64];
        snprintf(name, sizeof name, "qwen3.%s", keys[i]);
        gguf_key_u32(&file, name, 1);
    }
    refuse(&file, RADLLM_E_UNSUPPORTED, "qwen3.expert_count");
    file = gguf_load(rad_test_source_path("tests/golden/architectures/qwen2moe-q8_0.gguf"));
    gguf_key_u32(&file, "qwen2moe.expert_count", 0);
    refuse(&file, RADLLM_E_FORMAT, "qwen2moe.expert_count");
    file = gguf_load(rad_test_source_path("tests/golden/architectures/qwen2moe-q8_0.gguf"));
    gguf_remove_key(&file, "qwen2moe.expert_count");
    refuse(&file, RADLLM_E_FORMAT, "qwen2moe.expert_count is missing");
    file = gguf_load(rad_test_source_path("tests/golden/architectures/qwen2moe-q8_0.gguf"));
    gguf_remove_key(&file, "qwen2moe.expert_shared_feed_forward_length");
    refuse(&file, RADLLM_E_FORMAT, "expert_shared_feed_forward_length is missing");
    file = gguf_load(rad_test_source_path("tests/golden/architectures/dots1-q8_0.gguf"));
    gguf_key_u32(&file, "dots1.expert_shared_count", 1000000);
    refuse(&file, RADLLM_E_FORMAT, "dots1.expert_shared_count");
}
END_TEST

START_TEST(tensors_of_the_wrong_shape)
{
    static const struct {
        const char *name;
        uint64_t dims[3];
    } wrong[] = {
        {"blk.1.ffn_gate_exps.weight", {WIDTH, FFN, EXPERTS - 1}},
        {"blk.1.ffn_gate_exps.weight", {WIDTH, FFN, EXPERTS + 1}},
        {"blk.1.ffn_up_exps.weight", {WIDTH, FFN * EXPERTS, 1}},
        {"blk.1.ffn_down_exps.weight", {WIDTH, FFN, EXPERTS}},
        {"blk.0.ffn_gate_inp.weight", {WIDTH, EXPERTS + 1, 1}},
        {"blk.0.ffn_gate_inp.weight", {WIDTH, 1, EXPERTS}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        gguf_builder file = tiny_experts();
        gguf_remove_tensor(&file, wrong[i].name);
        gguf_tensor_random(&file, wrong[i].name, 3, wrong[i].dims, 0.1f);
        refuse(&file, RADLLM_E_FORMAT, wrong[i].name);
    }
    gguf_builder file = tiny_experts();
    gguf_tensor_random(&file, "blk.0.ffn_up_exps.bias", 2, (uint64_t[]){FFN, EXPERTS + 1}, 1.0f);
    refuse(&file, RADLLM_E_FORMAT, "blk.0.ffn_up_exps.bias");
}
END_TEST

/* Files of before 2024 have a tensor for each expert: blk.0.ffn_gate_exps.weight becomes
 * blk.0.ffn_gate.0.weight and so on, in an order of their own. */
static void split_experts(gguf_builder *file)
{
    static const char *const names[] = {"ffn_gate", "ffn_up", "ffn_down"};
    for (int layer = 0; layer < LAYERS; layer++) {
        for (int part = 0; part < 3; part++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%d.%s_exps.weight", layer, names[part]);
            gguf_tensor_entry whole = *gguf_find_tensor(file, name);
            size_t n = (size_t)whole.dims[2], bytes = whole.data_size / n;
            uint8_t *data = malloc(whole.data_size);
            ck_assert_ptr_nonnull(data);
            memcpy(data, whole.data, whole.data_size);
            gguf_remove_tensor(file, name);
            for (size_t i = 0; i < n; i++) {
                size_t e = (i * 3 + (size_t)part) % n;
                snprintf(name, sizeof name, "blk.%d.%s.%zu.weight", layer, names[part], e);
                gguf_tensor(file, name, whole.type, 2, whole.dims, data + e * bytes, bytes);
            }
            free(data);
        }
    }
}

START_TEST(experts_with_a_tensor_each_that_are_wrong)
{
    gguf_builder file = tiny_experts();
    split_experts(&file);
    gguf_remove_tensor(&file, "blk.1.ffn_up.2.weight");
    refuse(&file, RADLLM_E_FORMAT, "blk.1.ffn_up.2.weight is missing");
    file = tiny_experts();
    split_experts(&file);
    gguf_remove_tensor(&file, "blk.1.ffn_up.0.weight");
    refuse(&file, RADLLM_E_FORMAT, "blk.1.ffn_up_exps.weight is missing");
    file = tiny_experts();
    split_experts(&file);
    gguf_remove_tensor(&file, "blk.0.ffn_down.3.weight");
    gguf_tensor_random(&file, "blk.0.ffn_down.3.weight", 2, (uint64_t[]){FFN, WIDTH + 1}, 1.0f);
    refuse(&file, RADLLM_E_FORMAT, "blk.0.ffn_down.3.weight");
    file = tiny_experts();
    split_experts(&file);
    gguf_remove_tensor(&file, "blk.0.ffn_gate.3.weight");
    gguf_tensor(&file, "blk.0.ffn_gate.3.weight", 1, 2, (uint64_t[]){WIDTH, FFN}, NULL,
                WIDTH * FFN * 2);
    refuse(&file, RADLLM_E_UNSUPPORTED, "blk.0.ffn_gate.3.weight has the type F16");
    file = tiny_experts();
    split_experts(&file); /* one more than there are experts, and both ways at once */
    gguf_tensor_random(&file, "blk.0.ffn_gate.4.weight", 2, (uint64_t[]){WIDTH, FFN}, 1.0f);
    refuse(&file, RADLLM_E_UNSUPPORTED, "blk.0.ffn_gate.4.weight");
    file = tiny_experts();
    gguf_tensor_random(&file, "blk.0.ffn_gate.0.weight", 2, (uint64_t[]){WIDTH, FFN}, 1.0f);
    refuse(&file, RADLLM_E_FORMAT, "blk.0.ffn_gate.1.weight is missing");
}
END_TEST

static const char *golden(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "tests/golden/architectures/%s-q8_0.gguf", name);
    return rad_test_source_path(path);
}

/* Sinks, tables of positions and fused tensors. */
START_TEST(other_families_tensors)
{
    static const char *const needed[][2] = {
        {"gpt-oss", "blk.1.attn_sinks.weight"},    {"gpt-oss", "blk.0.post_attention_norm.weight"},
        {"gpt-oss", "blk.1.ffn_down_exps.weight"}, {"gpt2", "position_embd.weight"},
        {"gpt2", "blk.1.attn_qkv.weight"},         {"gpt2", "blk.0.ffn_up.weight"}};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        gguf_builder file = gguf_load(golden(needed[i][0]));
        gguf_remove_tensor(&file, needed[i][1]);
        refuse(&file, RADLLM_E_FORMAT, needed[i][1]);
        file = gguf_load(golden(needed[i][0]));
        gguf_remove_tensor(&file, needed[i][1]);
        gguf_tensor_random(&file, needed[i][1], 2, (uint64_t[]){64, 7}, 1.0f);
        refuse(&file, RADLLM_E_FORMAT, needed[i][1]);
    }
    gguf_builder file = gguf_load(golden("gpt2")); /* fewer positions than the context */
    gguf_key_u32(&file, "gpt2.context_length", 129);
    refuse(&file, RADLLM_E_FORMAT, "position_embd.weight");
    file = gguf_load(golden("gpt2")); /* a fused tensor counts once */
    gguf_tensor_random(&file, "blk.0.attn_q.weight", 2, (uint64_t[]){64, 64}, 1.0f);
    refuse(&file, RADLLM_E_UNSUPPORTED, "blk.0.attn_q.weight");
    file = gguf_load(golden("gpt2"));
    gguf_remove_key(&file, "gpt2.attention.layer_norm_epsilon");
    refuse(&file, RADLLM_E_FORMAT, "gpt2.attention.layer_norm_epsilon");
}
END_TEST

/* ---- running --------------------------------------------------------------------------------- */

static uint64_t tokens_of(const opened *o, uint32_t layer, uint32_t expert)
{
    radllm_expert_info info = {.size = sizeof info};
    rad_assert_ok(radllm_engine_expert(o->engine, layer, expert, &info, o->error), o->error);
    return info.tokens;
}

/* A router, and a sink. */
START_TEST(a_router_that_is_no_number)
{
    static const float values[] = {NAN, INFINITY, -INFINITY, NAN};
    for (int v = 0; v < 4; v++) {
        gguf_builder file = v < 3 ? tiny_experts() : gguf_load(golden("gpt-oss"));
        const char *name = v < 3 ? "blk.0.ffn_gate_inp.weight" : "blk.0.attn_sinks.weight";
        gguf_fill_f32(gguf_find_tensor(&file, name), values[v]);
        gguf_write(&file, rad_test_temp_path("nan.gguf"));
        opened o = open_file(rad_test_temp_path("nan.gguf"), NULL);
        radllm_request *request;
        rad_assert_ok(radllm_request_new_complete(o.session, "abc", 3, NULL, &request, o.error),
                      o.error);
        rad_assert_error(radllm_request_run(request, NULL, o.error), RADLLM_E_NUMERIC, o.error, "");
        radllm_request_free(request);
        close_file(&o);
        gguf_builder_free(&file);
    }
}
END_TEST

START_TEST(the_host_learns_who_was_chosen)
{
    gguf_builder file = tiny_experts();
    gguf_write(&file, rad_test_temp_path("experts.gguf"));
    opened o = open_file(rad_test_temp_path("experts.gguf"), NULL);
    int32_t tokens[20];
    int64_t number;
    for (int i = 0; i < 20; i++)
        tokens[i] = 3 + 7 * i;
    for (uint32_t e = 0; e < EXPERTS; e++)
        ck_assert_uint_eq(tokens_of(&o, 0, e), 0);
    rad_assert_ok(radllm_session_feed(o.session, tokens, 20, NULL, o.error), o.error);
    uint64_t first = 0, last = 0;
    for (uint32_t e = 0; e < EXPERTS; e++) {
        first += tokens_of(&o, 0, e);
        last += tokens_of(&o, LAYERS - 1, e);
    }
    ck_assert_uint_eq(first, 20 * USED);
    ck_assert_uint_eq(last, USED); /* of the last layer only what is asked for is computed */
    radllm_expert_info info = {.size = sizeof info};
    rad_assert_error(radllm_engine_expert(o.engine, 0, EXPERTS, &info, o.error), RADLLM_E_NOT_FOUND,
                     o.error, "no expert 4");
    rad_assert_error(radllm_engine_expert(o.engine, LAYERS, 0, &info, o.error), RADLLM_E_NOT_FOUND,
                     o.error, "layer 2");
    info.size = 0;
    rad_assert_error(radllm_engine_expert(o.engine, 0, 0, &info, o.error), RADLLM_E_ARGUMENT,
                     o.error, "size");
    rad_assert_ok(radllm_model_number(o.model, "experts", &number, o.error), o.error);
    ck_assert_int_eq(number, EXPERTS);
    rad_assert_ok(radllm_model_number(o.model, "experts_used", &number, o.error), o.error);
    ck_assert_int_eq(number, USED);
    int64_t active;
    rad_assert_ok(radllm_model_number(o.model, "parameters", &number, o.error), o.error);
    rad_assert_ok(radllm_model_number(o.model, "active_parameters", &active, o.error), o.error);
    ck_assert_int_eq(number - active, LAYERS * (EXPERTS - USED) * 3 * WIDTH * FFN);
    close_file(&o);
    gguf_builder_free(&file);
    /* A dense model has none. */
    file = gguf_tiny_llama();
    gguf_write(&file, rad_test_temp_path("dense.gguf"));
    o = open_file(rad_test_temp_path("dense.gguf"), NULL);
    info.size = sizeof info;
    rad_assert_error(radllm_engine_expert(o.engine, 0, 0, &info, o.error), RADLLM_E_NOT_FOUND,
                     o.error, "0 experts");
    rad_assert_ok(radllm_model_number(o.model, "experts", &number, o.error), o.error);
    ck_assert_int_eq(number, 0);
    close_file(&o);
    gguf_builder_free(&file);
}
END_TEST

/* Logits behind some tokens. */
static float *logits_of(const char *path, const char *const settings[3][2], size_t *count)
{
    radllm_options *options;
    radllm_error *error;
    radllm_error_new(&error);
    rad_assert_ok(radllm_options_new(NULL, &options, error), error);
    for (int i = 0; i < 3 && settings[i][0] != NULL; i++)
        rad_assert_ok(
            radllm_options_set_text(options, settings[i][0], settings[i][1], RADLLM_NUL, error),
            error);
    opened o = open_file(path, options);
    int32_t tokens[24];
    for (int i = 0; i < 24; i++)
        tokens[i] = 3 + 5 * i;
    rad_assert_ok(radllm_session_feed(o.session, tokens, 24, NULL, o.error), o.error);
    rad_assert_error(radllm_session_logits(o.session, NULL, 0, count, o.error), RADLLM_E_BUFFER,
                     o.error, "logits");
    float *logits = malloc(*count * sizeof *logits);
    ck_assert_ptr_nonnull(logits);
    rad_assert_ok(radllm_session_logits(o.session, logits, *count, count, o.error), o.error);
    close_file(&o);
    radllm_options_free(options);
    radllm_error_free(error);
    return logits;
}

START_TEST(a_tensor_for_each_expert_is_the_same_model)
{
    static const char *const ways[][3][2] = {
        {{"load", "copy"}, {NULL}},
        {{"load", "copy"}, {"layout", "file"}, {"threads", "2"}},
        {{"load", "copy"}, {"load_wait", "no"}, {"threads", "2"}},
        {{"load", "map"}, {"threads", "2"}, {"batch", "5"}},
    };
    static const char *const kinds[] = {"mixtral-q8_0", "mixtral-f32", "merged-experts-q8_0"};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        char name[128];
        size_t count, other;
        snprintf(name, sizeof name, "tests/golden/architectures/%s.gguf", kinds[k]);
        float *expected = logits_of(rad_test_source_path(name), ways[0], &count);
        gguf_builder file = gguf_load(rad_test_source_path(name));
        split_experts(&file);
        gguf_write(&file, rad_test_temp_path("split.gguf"));
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            float *logits = logits_of(rad_test_temp_path("split.gguf"), ways[w], &other);
            ck_assert_uint_eq(count, other);
            ck_assert_msg(memcmp(logits, expected, count * sizeof *logits) == 0,
                          "%s differs, way %zu", kinds[k], w);
            free(logits);
        }
        gguf_builder_free(&file);
        free(expected);
    }
}
END_TEST

/* ---- experts that nobody chose stay on the disk ------------------------------------------------
 */

/* Makes the tensors of experts of one layer large; their values are zeros, which a file system need
 * not store. The router's zeros choose experts 0 and 1. */
static void write_large(gguf_builder *file, uint64_t ffn, uint64_t n, uint64_t *expert_bytes)
{
    static const char *const names[] = {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"};
    gguf_key_u32(file, "llama.feed_forward_length", (uint32_t)ffn);
    gguf_key_u32(file, "llama.block_count", 1);
    for (int part = 0; part < 3; part++) {
        char name[64];
        for (int layer = 0; layer < LAYERS; layer++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", layer, names[part]);
            gguf_remove_tensor(file, name);
        }
    }
    for (size_t i = file->n_tensors; i-- > 0;) {
        if (strncmp(file->tensors[i].name, "blk.1.", 6) == 0)
            gguf_remove_tensor(file, file->tensors[i].name);
    }
    gguf_fill_f32(gguf_find_tensor(file, "blk.0.ffn_gate_inp.weight"), 0.0f);
    uint64_t matrix = (uint64_t)WIDTH * ffn * sizeof(float), end = 0;
    for (int part = 0; part < 3; part++) { /* behind the file's own data */
        char name[64];
        snprintf(name, sizeof name, "blk.0.%s.weight", names[part]);
        gguf_tensor_entry *tensor = gguf_tensor(
            file, name, 0, 3, part < 2 ? (uint64_t[]){WIDTH, ffn, n} : (uint64_t[]){ffn, WIDTH, n},
            NULL, 0);
        tensor->own_offset = true;
    }
    gguf_bytes bytes = gguf_build(file);
    end = (bytes.size - file->data_start + 31) / 32 * 32;
    for (int part = 0; part < 3; part++)
        file->tensors[file->n_tensors - 3 + (size_t)part].offset =
            end + (uint64_t)part * matrix * n;
    uint64_t data_start = file->data_start;
    gguf_bytes_free(&bytes);
    gguf_write(file, rad_test_temp_path("large.gguf"));
    ck_assert_int_eq(
        truncate(rad_test_temp_path("large.gguf"), (off_t)(data_start + end + 3 * matrix * n)), 0);
    *expert_bytes = 3 * matrix;
}

/* Bytes of a mapped file that this process has touched; UINT64_MAX where the system does not tell.
 */
static uint64_t resident(const char *path)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[1024];
    uint64_t found = 0;
    bool inside = false;
    if (maps == NULL)
        return UINT64_MAX;
    while (fgets(line, sizeof line, maps) != NULL) {
        uint64_t kib;
        if (strchr(line, '-') != NULL && strstr(line, "r--") != NULL)
            inside = strstr(line, path) != NULL;
        else if (inside && sscanf(line, "Rss: %" SCNu64, &kib) == 1)
            found += kib * 1024;
    }
    fclose(maps);
    return found;
}

START_TEST(what_nobody_chose_is_not_read)
{
    uint64_t expert;
    gguf_builder file = tiny_experts();
    const char *path = rad_test_temp_path("large.gguf");
    write_large(&file, 16384, EXPERTS, &expert);
    radllm_options *options;
    ck_assert_int_eq(radllm_options_new(NULL, &options, NULL), RADLLM_OK);
    radllm_options_set_text(options, "load", "map", RADLLM_NUL, NULL);
    opened o = open_file(path, options);
    int32_t tokens[] = {5, 6, 7};
    rad_assert_ok(radllm_session_feed(o.session, tokens, 3, NULL, o.error), o.error);
    ck_assert_uint_eq(tokens_of(&o, 0, 0), 1);
    ck_assert_uint_eq(tokens_of(&o, 0, 1), 1);
    ck_assert_uint_eq(tokens_of(&o, 0, 2), 0);
    uint64_t touched = resident(path);
    if (touched == UINT64_MAX)
        RAD_SKIP("this system does not tell what of a mapped file is in memory");
    printf("# %" PRIu64 " bytes of %" PRIu64 " were read\n", touched, EXPERTS * expert);
    ck_assert_uint_ge(touched, USED * expert);
    ck_assert_uint_le(touched, USED * expert + expert / 2);
    close_file(&o);
    radllm_options_free(options);
    gguf_builder_free(&file);
}
END_TEST

static void count_warnings(void *user, int32_t level, const char *line)
{
    if (level == RADLLM_LOG_WARNING && strstr(line, "speed of its disk") != NULL)
        ++*(int *)user;
}

/* Weights that are larger than memory, which take no room on the disk: they are mapped without
 * being asked for, and run. */
START_TEST(a_model_larger_than_memory_runs_with_a_warning)
{
    uint64_t expert, memory = rad_memory_size(), many = 1024;
    uint64_t ffn = memory / (many * 3 * WIDTH * sizeof(float)) / 16 * 16 + 16;
    const char *path = rad_test_temp_path("large.gguf");
    if (memory == 0 || sizeof(off_t) < 8 || memory >> 46 != 0)
        RAD_SKIP("no file can be made that is larger than memory");
    radllm_host *host;
    radllm_options *options;
    radllm_error *error;
    char text[8];
    int warnings = 0;
    gguf_builder file = tiny_experts();
    gguf_key_u32(&file, "llama.expert_count", (uint32_t)many);
    gguf_remove_tensor(&file, "blk.0.ffn_gate_inp.weight");
    gguf_tensor_random(&file, "blk.0.ffn_gate_inp.weight", 2, (uint64_t[]){WIDTH, many}, 1.0f);
    write_large(&file, ffn, many, &expert);
    radllm_error_new(&error);
    radllm_host_new(NULL, NULL, NULL, &host, error);
    radllm_host_set_log(host, count_warnings, &warnings, RADLLM_LOG_WARNING, error);
    radllm_options_new(NULL, &options, error);
    radllm_options_set_integer(options, "batch", 8, error);
    opened o = open_by_host(host, path, options);
    ck_assert_int_eq(warnings, 1);
    rad_assert_ok(radllm_model_text(o.model, "load", text, sizeof text, NULL, error), error);
    ck_assert_str_eq(text, "map");
    int32_t tokens[] = {5, 6, 7};
    rad_assert_ok(radllm_session_feed(o.session, tokens, 3, NULL, o.error), o.error);
    uint64_t touched = resident(path);
    printf("# %" PRIu64 " bytes of %" PRIu64 " were read\n", touched, many * expert);
    ck_assert(touched == UINT64_MAX || touched < 3 * expert);
    close_file(&o);
    radllm_options_free(options);
    radllm_host_free(host);
    radllm_error_free(error);
    gguf_builder_free(&file);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *routing = rad_test_case(suite, "routing");
    tcase_add_test(routing, routing_follows_its_description);
    tcase_add_test(routing, ties_go_to_the_lower_id);
    tcase_add_test(routing, routing_notices_what_is_no_number);
    TCase *files = rad_test_case(suite, "files");
    tcase_add_test(files, keys_that_are_wrong);
    tcase_add_test(files, families_with_and_without_experts);
    tcase_add_test(files, tensors_of_the_wrong_shape);
    tcase_add_test(files, experts_with_a_tensor_each_that_are_wrong);
    tcase_add_test(files, other_families_tensors);
    TCase *running = rad_test_case(suite, "running");
    tcase_add_test(running, a_router_that_is_no_number);
    tcase_add_test(running, the_host_learns_who_was_chosen);
    tcase_add_test(running, a_tensor_for_each_expert_is_the_same_model);
    tcase_add_test(running, what_nobody_chose_is_not_read);
    tcase_add_test(running, a_model_larger_than_memory_runs_with_a_warning);
}

int main(void)
{
    return rad_test_main("experts", add_cases);
}
