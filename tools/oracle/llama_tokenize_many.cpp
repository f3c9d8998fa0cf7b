// Tokenizes many strings with llama.cpp's library, for comparison with ours.
//
// Usage: llama_tokenize_many MODEL.gguf [--add-special] [--parse-special] [--repeat N] < strings
//
// The input is strings that each end in a NUL byte (the last one may lack it). The output has one
// line per string: its ids, separated by spaces. The model is opened for its vocabulary alone.
// The time of the calls and the bytes per second are reported on standard error; --repeat tokenizes
// everything N times and reports the best of these times.
// By default neither BOS/EOS are added nor control tokens read in the text.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "llama_compat.h"

static std::vector<std::string> read_strings()
{
    std::vector<std::string> strings;
    std::string all;
    char chunk[1 << 16];
    for (size_t n; (n = std::fread(chunk, 1, sizeof chunk, stdin)) > 0;) {
        all.append(chunk, n);
    }
    size_t start = 0;
    while (start < all.size()) {
        size_t end = all.find('\0', start);
        if (end == std::string::npos) {
            end = all.size();
        }
        strings.push_back(all.substr(start, end - start));
        start = end + 1;
    }
    return strings;
}

int main(int argc, char **argv)
{
    bool add_special = false;
    bool parse_special = false;
    int repeat = 1;
    for (int i = 2; i < argc; i++) {
        add_special |= std::strcmp(argv[i], "--add-special") == 0;
        parse_special |= std::strcmp(argv[i], "--parse-special") == 0;
        if (std::strcmp(argv[i], "--repeat") == 0 && i + 1 < argc) {
            repeat = std::atoi(argv[++i]);
        }
    }
    if (argc < 2) {
        std::fprintf(stderr,
                     "usage: %s MODEL.gguf [--add-special] [--parse-special] [--repeat N]\n",
                     argv[0]);
        return 2;
    }
    llama_log_set(only_errors, nullptr);
    llama_backend_init();
    llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    llama_model *model = llama_model_load_from_file(argv[1], params);
    if (model == nullptr) {
        return 1;
    }
    const llama_vocab *vocab = llama_model_get_vocab(model);
    const std::vector<std::string> strings = read_strings();
    size_t bytes = 0;
    for (const std::string &text : strings) {
        bytes += text.size();
    }

    std::vector<std::vector<llama_token>> results(strings.size());
    double best = 0;
    for (int round = 0; round < repeat; round++) {
        const auto start = std::chrono::steady_clock::now();
        for (size_t i = 0; i < strings.size(); i++) {
            const std::string &text = strings[i];
            std::vector<llama_token> &ids = results[i];
            ids.resize(text.size() + 8);
            int count =
                llama_tokenize(vocab, text.data(), static_cast<int32_t>(text.size()), ids.data(),
                               static_cast<int32_t>(ids.size()), add_special, parse_special);
            if (count < 0) {
                ids.resize(static_cast<size_t>(-count));
                count = llama_tokenize(vocab, text.data(), static_cast<int32_t>(text.size()),
                                       ids.data(), static_cast<int32_t>(ids.size()), add_special,
                                       parse_special);
            }
            ids.resize(static_cast<size_t>(count));
        }
        const double seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        best = round == 0 || seconds < best ? seconds : best;
    }
    for (const std::vector<llama_token> &ids : results) {
        for (size_t i = 0; i < ids.size(); i++) {
            std::printf(i == 0 ? "%d" : " %d", ids[i]);
        }
        std::putchar('\n');
    }
    std::fprintf(stderr, "%zu strings, %zu bytes, %.4f s, %.3f MB/s\n", strings.size(), bytes, best,
                 static_cast<double>(bytes) / best / 1e6);
    llama_model_free(model);
    llama_backend_free();
    return 0;
}
