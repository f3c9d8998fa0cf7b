// Feeds token ids to a model through llama.cpp's library and writes the logits of every position
// as little-endian float32: the second opinion beside the logits made by `transformers`.
//
// Usage: llama_logits MODEL.gguf OUT.f32 [--f16-cache] [--lora ADAPTER.gguf] < ids (by spaces)
//
// Each line of ids is a sequence of its own. The key-value cache is float32 unless --f16-cache is
// given, and flash attention is off. Build instructions are in README.md beside this file.

#include <cstdio>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "llama_compat.h"

static std::vector<std::vector<llama_token>> read_lines()
{
    std::vector<std::vector<llama_token>> lines;
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        lines.emplace_back();
        for (llama_token id; words >> id;) {
            lines.back().push_back(id);
        }
        if (lines.back().empty()) {
            lines.pop_back();
        }
    }
    return lines;
}

static llama_context *new_context(llama_model *model, size_t n_tokens, bool f16_cache)
{
    llama_context_params params = llama_context_default_params();
    params.n_ctx = static_cast<uint32_t>(n_tokens) + 8;
    params.n_batch = params.n_ubatch = static_cast<uint32_t>(n_tokens);
    params.n_threads = params.n_threads_batch = 1;
    params.type_k = params.type_v = f16_cache ? GGML_TYPE_F16 : GGML_TYPE_F32;
    flash_attention_off(params, 0);
    return llama_init_from_model(model, params);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        std::fprintf(stderr, "usage: %s MODEL.gguf OUT.f32 [--f16-cache] [--lora FILE] < ids\n",
                     argv[0]);
        return 2;
    }
    bool f16_cache = false;
    const char *lora = nullptr;
    for (int i = 3; i < argc; i++) {
        f16_cache = f16_cache || std::strcmp(argv[i], "--f16-cache") == 0;
        lora = std::strcmp(argv[i - 1], "--lora") == 0 ? argv[i] : lora;
    }
    const std::vector<std::vector<llama_token>> lines = read_lines();

    llama_log_set(only_errors, nullptr);
    llama_backend_init();
    llama_model_params model_params = llama_model_default_params();
    model_params.n_gpu_layers = 0;
    llama_model *model = llama_model_load_from_file(argv[1], model_params);
    FILE *out = model != nullptr ? std::fopen(argv[2], "wb") : nullptr;
    if (out == nullptr) {
        std::perror(model != nullptr ? argv[2] : argv[1]);
        return 1;
    }
    llama_adapter_lora *adapter = lora != nullptr ? llama_adapter_lora_init(model, lora) : nullptr;
    if (lora != nullptr && adapter == nullptr) {
        return 1;
    }
    const size_t n_vocab = static_cast<size_t>(llama_vocab_n_tokens(llama_model_get_vocab(model)));
    for (const std::vector<llama_token> &ids : lines) {
        llama_context *context = new_context(model, ids.size(), f16_cache);
        if (context == nullptr || (adapter != nullptr && use_adapter(context, adapter, 0) != 0) ||
            !decode_all(context, ids)) {
            std::fprintf(stderr, "%s: llama_decode failed\n", argv[0]);
            return 1;
        }
        for (size_t i = 0; i < ids.size(); i++) {
            std::fwrite(llama_get_logits_ith(context, static_cast<int32_t>(i)), sizeof(float),
                        n_vocab, out);
        }
        llama_free(context);
    }
    const bool written = std::fclose(out) == 0;
    llama_model_free(model);
    llama_backend_free();
    return written ? 0 : 1;
}
