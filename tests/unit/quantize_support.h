/* What tests of quantizing share: tiny models under the names that the rules look at, plans, files.
 */
#ifndef RAD_TEST_QUANTIZE_SUPPORT_H
#define RAD_TEST_QUANTIZE_SUPPORT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
static inline void write_model(const char *path, const model_shape *shape)
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

static inline void open_plan(plan_fixture *f, const char *path, const char *type)
{
    *f = (plan_fixture){0};
    ck_assert_int_eq(radllm_error_new(&f->error), RADLLM_OK);
    rad_assert_ok(radllm_options_new(NULL, &f->options, f->error), f->error);
    rad_assert_ok(radllm_options_set_text(f->options, "quantize", type, RADLLM_NUL, f->error),
                  f->error);
    rad_assert_ok(radllm_file_open(NULL, path, &f->file, f->error), f->error);
}

static inline void set(plan_fixture *f, const char *key, const char *value)
{
    rad_assert_ok(radllm_options_set_text(f->options, key, value, RADLLM_NUL, f->error), f->error);
}

static inline radllm_status make_plan(plan_fixture *f)
{
    radllm_quantization_free(f->plan);
    f->plan = NULL;
    return radllm_quantization_new(NULL, f->file, NULL, f->options, &f->plan, f->error);
}

static inline void close_plan(plan_fixture *f)
{
    radllm_quantization_free(f->plan);
    radllm_file_free(f->file);
    radllm_options_free(f->options);
    radllm_error_free(f->error);
}

static inline uint64_t number(const plan_fixture *f, const char *name)
{
    uint64_t value = 0;
    rad_assert_ok(radllm_quantization_number(f->plan, name, &value, f->error), f->error);
    return value;
}

static inline void write_plan(plan_fixture *f, const char *path)
{
    rad_assert_ok(radllm_quantization_write(f->plan, path, NULL, f->error), f->error);
}

static inline bool same_files(const char *a, const char *b)
{
    size_t sizes[2];
    uint8_t *bytes[2] = {rad_test_read_file(a, &sizes[0]), rad_test_read_file(b, &sizes[1])};
    bool same = sizes[0] == sizes[1] && memcmp(bytes[0], bytes[1], sizes[0]) == 0;
    free(bytes[0]);
    free(bytes[1]);
    return same;
}

#endif
