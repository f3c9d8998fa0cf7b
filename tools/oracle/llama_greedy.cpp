// Greedy continuations by llama.cpp's library, with the margin of each choice.
//
// Usage: llama_greedy MODEL.gguf N_TOKENS [--stop-at-end] < prompts
//
// The input is prompts that each end in a NUL byte. Control tokens in them are read, and BOS is
// added where the model says so. The output is a JSON array with one object per prompt: the
// prompt's ids, the ids generated (ties to the lower id), for each of them the runner-up and the
// distance between the two best logits, and the text as hexadecimal bytes.
// Tokens are fed one by one, with a float16 cache and without flash attention. Generation goes on
// past an end-of-generation token unless --stop-at-end is given.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "llama_compat.h"

static std::vector<llama_token> tokenize(const llama_vocab *vocab, const std::string &text)
{
    std::vector<llama_token> ids(text.size() + 8);
    const int count = llama_tokenize(vocab, text.data(), static_cast<int32_t>(text.size()),
                                     ids.data(), static_cast<int32_t>(ids.size()), true, true);
    if (count < 0) {
        std::fprintf(stderr, "tokenization needs more room than the text has bytes\n");
        std::exit(1);
    }
    ids.resize(static_cast<size_t>(count));
    return ids;
}

static void feed(llama_context *context, llama_token id)
{
    if (llama_decode(context, llama_batch_get_one(&id, 1)) != 0) {
        std::fprintf(stderr, "llama_decode failed\n");
        std::exit(1);
    }
}

static void print_ids(const char *name, const std::vector<llama_token> &ids)
{
    std::printf("  \"%s\": [", name);
    for (size_t i = 0; i < ids.size(); i++) {
        std::printf(i == 0 ? "%d" : ", %d", ids[i]);
    }
    std::printf("]");
}

static void print_hex(const llama_vocab *vocab, const std::vector<llama_token> &ids)
{
    std::printf("  \"text_hex\": \"");
    for (const llama_token id : ids) {
        char piece[256];
        const int length = llama_token_to_piece(vocab, id, piece, sizeof piece, 0, false);
        for (int i = 0; i < length; i++) {
            std::printf("%02x", static_cast<unsigned char>(piece[i]));
        }
    }
    std::printf("\"");
}

static void continue_greedily(llama_model *model, const std::string &prompt, int n_tokens,
                              bool stop_at_end)
{
    const llama_vocab *vocab = llama_model_get_vocab(model);
    const int n_vocab = llama_vocab_n_tokens(vocab);
    const std::vector<llama_token> prompt_ids = tokenize(vocab, prompt);
    llama_context_params params = llama_context_default_params();
    params.n_ctx = static_cast<uint32_t>(prompt_ids.size()) + static_cast<uint32_t>(n_tokens) + 8;
    params.n_threads = params.n_threads_batch = 1;
    flash_attention_off(params, 0);
    llama_context *context = llama_init_from_model(model, params);
    if (context == nullptr) {
        std::exit(1);
    }
    for (const llama_token id : prompt_ids) {
        feed(context, id);
    }
    std::vector<llama_token> ids, runners_up;
    std::vector<float> margins;
    for (int step = 0; step < n_tokens; step++) {
        const float *logits = llama_get_logits_ith(context, -1);
        llama_token best = 0;
        for (llama_token id = 1; id < n_vocab; id++) {
            best = logits[id] > logits[best] ? id : best;
        }
        llama_token second = best == 0 ? 1 : 0;
        for (llama_token id = 0; id < n_vocab; id++) {
            second = id != best && logits[id] > logits[second] ? id : second;
        }
        ids.push_back(best);
        runners_up.push_back(second);
        margins.push_back(logits[best] - logits[second]);
        if (stop_at_end && llama_vocab_is_eog(vocab, best)) {
            break;
        }
        feed(context, best);
    }
    std::printf(" {\n");
    print_ids("prompt_ids", prompt_ids);
    std::printf(",\n");
    print_ids("ids", ids);
    std::printf(",\n");
    print_ids("runners_up", runners_up);
    std::printf(",\n  \"margins\": [");
    for (size_t i = 0; i < margins.size(); i++) {
        std::printf(i == 0 ? "%.4f" : ", %.4f", static_cast<double>(margins[i]));
    }
    std::printf("],\n");
    print_hex(vocab, ids);
    std::printf("\n }");
    llama_free(context);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        std::fprintf(stderr, "usage: %s MODEL.gguf N_TOKENS [--stop-at-end] < prompts\n", argv[0]);
        return 2;
    }
    const bool stop_at_end = argc > 3 && std::strcmp(argv[3], "--stop-at-end") == 0;
    const std::string input((std::istreambuf_iterator<char>(std::cin)),
                            std::istreambuf_iterator<char>());
    llama_log_set(only_errors, nullptr);
    llama_backend_init();
    llama_model_params model_params = llama_model_default_params();
    model_params.n_gpu_layers = 0;
    llama_model *model = llama_model_load_from_file(argv[1], model_params);
    if (model == nullptr) {
        return 1;
    }
    std::printf("[\n");
    for (size_t start = 0; start < input.size();) {
        size_t end = input.find('\0', start);
        end = end == std::string::npos ? input.size() : end;
        if (start > 0) {
            std::printf(",\n");
        }
        continue_greedily(model, input.substr(start, end - start), std::atoi(argv[2]), stop_at_end);
        start = end + 1;
    }
    std::printf("\n]\n");
    llama_model_free(model);
    llama_backend_free();
    return 0;
}
