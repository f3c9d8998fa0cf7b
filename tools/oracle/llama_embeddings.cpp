// Feeds token ids to a model through llama.cpp's library and writes its embeddings, not brought to
// length 1, as little-endian float32: the second opinion beside the vectors made by `transformers`.
//
// Usage: llama_embeddings MODEL.gguf OUT.f32 [--lora ADAPTER.gguf] < ids (separated by spaces)
//
// Each line of ids is a text of its own. Pooling is as the file says, or the mean.

#include <cstdio>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "llama_compat.h"

int main(int argc, char **argv)
{
    const char *lora = argc == 5 && std::strcmp(argv[3], "--lora") == 0 ? argv[4] : nullptr;
    if (argc != 3 && lora == nullptr) {
        std::fprintf(stderr, "usage: %s MODEL.gguf OUT.f32 [--lora FILE] < ids\n", argv[0]);
        return 2;
    }
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
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::vector<llama_token> ids;
        for (llama_token id; words >> id;) {
            ids.push_back(id);
        }
        llama_context_params params = llama_context_default_params();
        params.n_ctx = static_cast<uint32_t>(ids.size()) + 8;
        params.n_batch = params.n_ubatch = static_cast<uint32_t>(ids.size());
        params.n_threads = params.n_threads_batch = 1;
        params.type_k = params.type_v = GGML_TYPE_F32;
        params.embeddings = true;
        flash_attention_off(params, 0);
        llama_context *context = llama_init_from_model(model, params);
        if (context == nullptr || (adapter != nullptr && use_adapter(context, adapter, 0) != 0) ||
            !decode_all(context, ids)) {
            std::fprintf(stderr, "%s: the text was not computed\n", argv[0]);
            return 1;
        }
        const float *vector = llama_get_embeddings_seq(context, 0);
        if (vector == nullptr) {
            std::fprintf(stderr, "%s: the model does not pool\n", argv[0]);
            return 1;
        }
        std::fwrite(vector, sizeof(float), static_cast<size_t>(llama_model_n_embd(model)), out);
        llama_free(context);
    }
    const bool written = std::fclose(out) == 0;
    llama_model_free(model);
    llama_backend_free();
    return written ? 0 : 1;
}
