// Feeds token ids to a model through llama.cpp's library and writes the logits of every position
// as little-endian float32: the second opinion beside the logits made by `transformers`.
//
// Usage: llama_logits MODEL.gguf OUT.f32 [--f16-cache] < ids (separated by white space)
//
// The key-value cache is float32 unless --f16-cache is given, and flash attention is off.
// Build instructions are in README.md beside this file.

#include <cstdio>
#include <cstring>
#include <iostream>
#include <vector>

#include "llama_compat.h"

int main(int argc, char **argv)
{
    if (argc < 3) {
        std::fprintf(stderr, "usage: %s MODEL.gguf OUT.f32 [--f16-cache] < ids\n", argv[0]);
        return 2;
    }
    const bool f16_cache = argc > 3 && std::strcmp(argv[3], "--f16-cache") == 0;
    std::vector<llama_token> ids;
    for (int id; std::cin >> id;) {
        ids.push_back(id);
    }

    llama_log_set(only_errors, nullptr);
    llama_backend_init();
    llama_model_params model_params = llama_model_default_params();
    model_params.n_gpu_layers = 0;
    llama_model *model = llama_model_load_from_file(argv[1], model_params);
    if (model == nullptr) {
        return 1;
    }
    llama_context_params params = llama_context_default_params();
    params.n_ctx = static_cast<uint32_t>(ids.size()) + 8;
    params.n_batch = params.n_ubatch = static_cast<uint32_t>(ids.size());
    params.n_threads = params.n_threads_batch = 1;
    params.type_k = params.type_v = f16_cache ? GGML_TYPE_F16 : GGML_TYPE_F32;
    flash_attention_off(params, 0);
    llama_context *context = llama_init_from_model(model, params);
    if (context == nullptr) {
        return 1;
    }

    llama_batch batch = llama_batch_init(static_cast<int32_t>(ids.size()), 0, 1);
    for (size_t i = 0; i < ids.size(); i++) {
        batch.token[i] = ids[i];
        batch.pos[i] = static_cast<llama_pos>(i);
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = true;
    }
    batch.n_tokens = static_cast<int32_t>(ids.size());
    if (llama_decode(context, batch) != 0) {
        std::fprintf(stderr, "%s: llama_decode failed\n", argv[0]);
        return 1;
    }

    const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    FILE *out = std::fopen(argv[2], "wb");
    if (out == nullptr) {
        std::perror(argv[2]);
        return 1;
    }
    for (size_t i = 0; i < ids.size(); i++) {
        std::fwrite(llama_get_logits_ith(context, static_cast<int32_t>(i)), sizeof(float),
                    static_cast<size_t>(n_vocab), out);
    }
    const bool written = std::fclose(out) == 0;
    llama_batch_free(batch);
    llama_free(context);
    llama_model_free(model);
    llama_backend_free();
    return written ? 0 : 1;
}
