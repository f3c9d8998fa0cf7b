/* Adapters in GGUF for gguf_tiny_llama(), made as they are wanted, and sets of them. */
#ifndef RAD_TEST_MADE_ADAPTERS_H
#define RAD_TEST_MADE_ADAPTERS_H

#include <stdio.h>

#include "unit/adapted.h"

enum { WIDTH = 32, FFN = 64, Q = 32, K = 16, VOCAB = 291, RANK = 4 };

static inline void add_pair(gguf_builder *file, const char *tensor, uint64_t columns, uint64_t rows,
                            uint64_t rank)
{
    char name[80];
    snprintf(name, sizeof name, "%s.lora_a", tensor);
    gguf_tensor_random(file, name, 2, (uint64_t[]){columns, rank}, 0.4f);
    snprintf(name, sizeof name, "%s.lora_b", tensor);
    gguf_tensor_random(file, name, 2, (uint64_t[]){rank, rows}, 0.4f);
}

static inline gguf_builder empty_adapter(void)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_string(&file, "general.type", "adapter");
    gguf_key_string(&file, "general.architecture", "llama");
    gguf_key_string(&file, "adapter.type", "lora");
    gguf_key_f32(&file, "adapter.lora.alpha", 8.0f);
    return file;
}

/* For gguf_tiny_llama(). 0: all matrices; 1: some, of another rank; 2: the embedding and output. */
static inline gguf_builder make_adapter(int which)
{
    gguf_builder file = empty_adapter();
    for (int layer = 0; layer < 2 && which < 2; layer++) {
        char name[64];
        static const struct {
            const char *name;
            uint64_t columns, rows;
        } matrices[] = {
            {"attn_q", WIDTH, Q},   {"attn_v", WIDTH, K},      {"ffn_down", FFN, WIDTH},
            {"attn_k", WIDTH, K},   {"attn_output", Q, WIDTH}, {"ffn_gate", WIDTH, FFN},
            {"ffn_up", WIDTH, FFN},
        };
        for (size_t i = 0; i < (which == 0 ? 7 : 3); i++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", layer, matrices[i].name);
            add_pair(&file, name, matrices[i].columns, matrices[i].rows, which == 0 ? RANK : 19);
        }
    }
    if (which == 2) {
        gguf_tensor_random(&file, "token_embd.weight.lora_a", 2, (uint64_t[]){3, VOCAB}, 0.4f);
        gguf_tensor_random(&file, "token_embd.weight.lora_b", 2, (uint64_t[]){3, WIDTH}, 0.4f);
        add_pair(&file, "output.weight", WIDTH, VOCAB, 2);
    }
    return file;
}

static inline const char *adapter_path(int which)
{
    char name[32];
    snprintf(name, sizeof name, "adapter%d.gguf", which);
    return rad_test_temp_path(name);
}

enum { ADAPTERS = 3 };

static inline void open_all(void)
{
    open_kind(0);
    for (int i = 0; i < ADAPTERS; i++) {
        gguf_builder file = make_adapter(i);
        gguf_write(&file, adapter_path(i));
        gguf_builder_free(&file);
        rad_assert_ok(radllm_adapter_open(model, adapter_path(i), NULL, &adapters[i], error),
                      error);
    }
}

/* Sets of adapters: none, each alone, two in both orders, one with another scale. */
static const adapter_set sets[SETS] = {
    {0, {0}, {0}},
    {1, {0}, {1.0f}},
    {1, {1}, {1.0f}},
    {2, {0, 1}, {0.5f, -2.0f}},
    {2, {1, 0}, {-2.0f, 0.5f}},
    {1, {0}, {0.25f}},
    {3, {2, 0, 1}, {1.0f, 1.0f, 0.5f}},
};

#endif
