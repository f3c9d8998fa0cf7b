/* Whole models on the GPU against the CPU backend, by the public header alone.
 *
 * compare_models [--tolerance T] [--divide 1] [--squeeze 1] [--quick 1] [--option KEY=VALUE]...
 *                MODEL...
 *
 * For each model the logits of 40 positions on both: the greatest difference over the greatest
 * logit of the CPU must be below T (0.02). On the GPU the bits must be the same with all tokens at
 * once, one by one, and a second time; with fast=cublas, which must then be what computes, other
 * pieces only have to be as near. Requests that choose from the best tokens, which the device
 * finds, must choose as those that look at all logits. With --divide, the first layer is on the
 * first GPU and the others on the second, and the bits must be those of one alone. With --squeeze,
 * the GPU has a byte less than the model needs there, so that experts, or some layers, are the
 * CPU's. --quick: each kernel is launched, none often, for tools under which they take long.
 * Options are for the GPU alone, but for adapter. TAP on standard output. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "radllm/radllm.h"

enum { N_TOKENS = 40, QUICK_TOKENS = 3 };

static const char *pairs[8]; /* key=value */
static int n_pairs;
static bool divides, squeezes, quick;

/* Tokens that are computed, or chosen, one by one. */
static int single_steps(void)
{
    return quick ? QUICK_TOKENS : N_TOKENS;
}

/* The logits of a model on a device: n_vocab for each position. */
typedef struct run {
    const char *path, *device;
    radllm_error *error;
    radllm_options *options;
    radllm_model *model;
    radllm_engine *engine;
    radllm_session *session;
    int64_t n_vocab;
    float *logits;
    char placement[512];
    char fast[256]; /* what computes outside the contract */
} run;

static bool failed(const run *r, radllm_status status, const char *what)
{
    if (status != RADLLM_OK)
        printf("# %s on %s: %s: %s\n", r->path, r->device, what, radllm_error_message(r->error));
    return status != RADLLM_OK;
}

static void run_free(run *r)
{
    radllm_session_free(r->session);
    radllm_engine_free(r->engine);
    radllm_model_free(r->model);
    radllm_options_free(r->options);
    radllm_error_free(r->error);
    free(r->logits);
}

/* What was computed before is computed anew. */
static bool set_options(run *r)
{
    bool good =
        !failed(r, radllm_options_set_text(r->options, "device", r->device, RADLLM_NUL, r->error),
                "device") &&
        !failed(r, radllm_options_set_text(r->options, "prefix_cache", "no", RADLLM_NUL, r->error),
                "prefix_cache");
    for (int i = 0; i < n_pairs && good; i++) {
        char key[64];
        const char *value = strchr(pairs[i], '=');
        snprintf(key, sizeof key, "%.*s", (int)(value - pairs[i]), pairs[i]);
        if (strcmp(r->device, "cuda") == 0 || strcmp(key, "adapter") == 0)
            good = !failed(
                r, radllm_options_set_text(r->options, key, value + 1, RADLLM_NUL, r->error),
                "an option");
    }
    return good;
}

static bool run_open(run *r, const char *path, const char *device)
{
    *r = (run){.path = path, .device = device};
    size_t length;
    return radllm_error_new(&r->error) == RADLLM_OK &&
           !failed(r, radllm_options_new(NULL, &r->options, r->error), "options") &&
           set_options(r) &&
           !failed(r, radllm_model_open(NULL, path, r->options, NULL, &r->model, r->error),
                   "opening") &&
           !failed(r, radllm_model_number(r->model, "vocab_size", &r->n_vocab, r->error),
                   "vocab_size") &&
           !failed(r, radllm_engine_new(NULL, r->model, r->options, &r->engine, r->error),
                   "engine") &&
           !failed(r,
                   radllm_engine_text(r->engine, "placement", r->placement, sizeof r->placement,
                                      &length, r->error),
                   "placement") &&
           !failed(
               r, radllm_engine_text(r->engine, "fast", r->fast, sizeof r->fast, &length, r->error),
               "fast") &&
           !failed(r, radllm_session_new(r->engine, &r->session, r->error), "session") &&
           (r->logits = calloc((size_t)r->n_vocab * N_TOKENS, sizeof *r->logits)) != NULL;
}

static int32_t keep_logits(void *user, uint32_t position, const float *logits, uint32_t n)
{
    run *r = user;
    if (position < N_TOKENS && n == (uint32_t)r->n_vocab)
        memcpy(r->logits + (size_t)position * n, logits, (size_t)n * sizeof *logits);
    return 0;
}

/* `piece` tokens at a time. */
static bool feed(run *r, uint32_t piece)
{
    int32_t tokens[N_TOKENS];
    for (int i = 0; i < N_TOKENS; i++)
        tokens[i] = (int32_t)((7 * i * i + 11 * i + 3) % (r->n_vocab < 1000 ? r->n_vocab : 1000));
    if (failed(r, radllm_session_rewind(r->session, 0, r->error), "rewinding"))
        return false;
    for (uint32_t at = 0; at < N_TOKENS; at += piece) {
        uint32_t n = N_TOKENS - at < piece ? N_TOKENS - at : piece;
        if (failed(r,
                   radllm_session_feed_each(r->session, tokens + at, n, keep_logits, r, NULL,
                                            r->error),
                   "computing"))
            return false;
    }
    return true;
}

static double difference(const run *a, const run *b)
{
    double most = 0, greatest = 0;
    for (size_t i = 0; i < (size_t)a->n_vocab * N_TOKENS; i++) {
        double change = fabs((double)a->logits[i] - (double)b->logits[i]);
        most = change > most || isnan(change) ? change : most;
        greatest = fabs((double)a->logits[i]) > greatest ? fabs((double)a->logits[i]) : greatest;
    }
    return most / greatest;
}

/* Outside the contract: the worst difference of all pieces. */
static bool near_in_pieces(const run *cpu, run *gpu, double tolerance)
{
    static const uint32_t pieces[] = {1, 7, 20};
    double worst = 0;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        if (!feed(gpu, pieces[i]))
            return false;
        double error = difference(cpu, gpu);
        worst = error <= worst ? worst : error; /* NaN stays */
    }
    printf("# %s: with %s, in pieces: relative difference %.3g\n", gpu->path, gpu->fast, worst);
    return worst < tolerance;
}

static bool same_in_pieces(run *gpu)
{
    size_t bytes = (size_t)gpu->n_vocab * N_TOKENS * sizeof *gpu->logits;
    float *first = malloc(bytes);
    bool same = first != NULL;
    if (same)
        memcpy(first, gpu->logits, bytes);
    static const uint32_t pieces[] = {7, N_TOKENS, 1};
    for (size_t i = 0; i < (quick ? 1 : sizeof pieces / sizeof *pieces) && same; i++) {
        memset(gpu->logits, 0, bytes);
        same = feed(gpu, pieces[i]) && memcmp(first, gpu->logits, bytes) == 0;
        if (!same)
            printf("# %s: other bits with %u tokens at a time\n", gpu->path, pieces[i]);
    }
    free(first);
    return same;
}

/* A token at a time, which the device chooses: the one with the greatest of the logits that are
 * fetched behind that, the same as those of the last position before. */
static bool same_choices(run *gpu)
{
    size_t n_vocab = (size_t)gpu->n_vocab, count, best = 0;
    float *logits = calloc(n_vocab, sizeof *logits);
    bool same = logits != NULL;
    for (int32_t i = 0; i < single_steps() && same; i++) {
        int32_t token =
            (int32_t)((7 * i * i + 11 * i + 3) % (n_vocab < 1000 ? gpu->n_vocab : 1000));
        int32_t chosen = -1;
        same =
            (i > 0 ||
             !failed(gpu, radllm_session_rewind(gpu->session, 0, gpu->error), "rewinding")) &&
            !failed(gpu, radllm_session_feed(gpu->session, &token, 1, NULL, gpu->error),
                    "computing") &&
            !failed(gpu, radllm_session_sample(gpu->session, NULL, &chosen, NULL, gpu->error),
                    "choosing") &&
            !failed(gpu, radllm_session_logits(gpu->session, logits, n_vocab, &count, gpu->error),
                    "logits");
        best = 0;
        for (size_t v = 1; v < n_vocab; v++)
            best = logits[v] > logits[best] ? v : best;
        same = same && chosen == (int32_t)best &&
               memcmp(logits, gpu->logits + (size_t)i * n_vocab, n_vocab * sizeof *logits) == 0;
    }
    if (!same)
        printf("# %s: another token than the most likely one, or other logits\n", gpu->path);
    free(logits);
    return same;
}

/* Tokens that a request chooses; top_k 0: from all; top_logprobs 1: by looking at all logits. */
static bool answer(run *gpu, int64_t seed, int64_t top_k, int64_t top_logprobs,
                   int32_t tokens[N_TOKENS])
{
    static const int32_t prompt[] = {3, 1, 4, 1, 5, 9, 2, 6};
    radllm_options *options = NULL;
    radllm_request *request = NULL;
    bool good =
        !failed(gpu, radllm_session_rewind(gpu->session, 0, gpu->error), "rewinding") &&
        !failed(gpu, radllm_options_new(NULL, &options, gpu->error), "options") &&
        !failed(gpu, radllm_options_set_integer(options, "seed", seed, gpu->error), "seed") &&
        !failed(gpu, radllm_options_set_integer(options, "top_k", top_k, gpu->error), "top_k") &&
        !failed(gpu, radllm_options_set_real(options, "top_p", 1.0, gpu->error), "top_p") &&
        !failed(gpu, radllm_options_set_real(options, "temperature", 1.0, gpu->error),
                "temperature") &&
        !failed(gpu, radllm_options_set_text(options, "ignore_end", "yes", RADLLM_NUL, gpu->error),
                "ignore_end") &&
        !failed(gpu, radllm_options_set_integer(options, "max_tokens", single_steps(), gpu->error),
                "max_tokens") &&
        !failed(gpu, radllm_options_set_integer(options, "top_logprobs", top_logprobs, gpu->error),
                "top_logprobs") &&
        !failed(gpu,
                radllm_request_new_tokens(gpu->session, prompt, sizeof prompt / sizeof *prompt,
                                          options, &request, gpu->error),
                "a request") &&
        !failed(gpu, radllm_request_run(request, NULL, gpu->error), "a request");
    for (uint64_t i = 0; i < (uint64_t)single_steps() && good; i++) {
        radllm_answer_token token = {.size = sizeof token};
        good = !failed(gpu, radllm_request_token(request, i, &token, gpu->error), "a token");
        tokens[i] = token.token;
    }
    radllm_request_free(request);
    radllm_options_free(options);
    return good;
}

static bool same_answers(run *gpu)
{
    bool same = true;
    for (int64_t seed = 1; seed <= (quick ? 1 : 3) && same; seed++) {
        for (int64_t top_k = 0; top_k <= 40 && same; top_k += 40) {
            int32_t there[N_TOKENS] = {0}, here[N_TOKENS] = {0};
            same = answer(gpu, seed, top_k, 0, there) && answer(gpu, seed, top_k, 1, here) &&
                   memcmp(there, here, sizeof here) == 0;
        }
    }
    if (!same)
        printf("# %s: other choices on the device than from logits here\n", gpu->path);
    return same;
}

static bool wants_fast(void)
{
    bool wants = false;
    for (int i = 0; i < n_pairs; i++)
        wants = strcmp(pairs[i], "fast=cublas") == 0 || wants;
    return wants;
}

/* One layer on the first GPU, in one piece and token by token. */
static bool same_divided(const run *one)
{
    run two = {0};
    size_t bytes = (size_t)one->n_vocab * N_TOKENS * sizeof *one->logits;
    int64_t count = 0;
    pairs[n_pairs++] = "gpu_split=1";
    bool good = run_open(&two, one->path, "cuda") && feed(&two, N_TOKENS) &&
                !failed(&two, radllm_engine_number(two.engine, "gpu_count", &count, two.error),
                        "gpu_count");
    n_pairs--;
    if (good) {
        bool same = memcmp(one->logits, two.logits, bytes) == 0;
        printf("# %s: %s%s\n", one->path, two.placement,
               count < 2 ? ", not divided"
               : same    ? ", the same bits"
                         : ", other bits");
        good = count >= 2 && same && same_in_pieces(&two);
    }
    run_free(&two);
    return good;
}

/* Opens a model anew with a byte less than an engine takes on the GPU. */
static bool open_with_less(const run *more, run *less)
{
    int64_t total = 0;
    char limit[64];
    if (failed(more, radllm_engine_number(more->engine, "gpu_total", &total, more->error), "total"))
        return false;
    snprintf(limit, sizeof limit, "vram_limit=%lld", (long long)total - 1);
    pairs[n_pairs++] = limit;
    bool good = run_open(less, more->path, "cuda");
    n_pairs--;
    return good;
}

/* Without room for the output, and then for all layers. */
static bool near_squeezed(const run *cpu, const run *all, double tolerance)
{
    run less = {0}, least = {0};
    int64_t weights = 0, before = 0, layers = 0;
    bool good =
        open_with_less(all, &less) && open_with_less(&less, &least) && feed(&least, N_TOKENS) &&
        !failed(all, radllm_engine_number(all->engine, "gpu_weights", &before, all->error),
                "weights") &&
        !failed(&least, radllm_engine_number(least.engine, "gpu_weights", &weights, least.error),
                "weights") &&
        !failed(&least, radllm_engine_number(least.engine, "gpu_layers", &layers, least.error),
                "layers");
    if (good) {
        double error = difference(cpu, &least);
        printf("# %s: %lld layers, %lld of %lld bytes of weights; relative difference %.3g\n",
               all->path, (long long)layers, (long long)weights, (long long)before, error);
        good = weights < before && error < tolerance && same_in_pieces(&least);
    }
    run_free(&less);
    run_free(&least);
    return good;
}

static bool compare(const char *path, double tolerance)
{
    run cpu = {0}, gpu = {0};
    bool good = run_open(&cpu, path, "cpu") && feed(&cpu, N_TOKENS) &&
                run_open(&gpu, path, "cuda") && feed(&gpu, N_TOKENS);
    if (good) {
        double error = difference(&cpu, &gpu);
        printf("# %s: %s; relative difference %.3g (at most %g)\n", path, gpu.placement, error,
               tolerance);
        good = error < tolerance; /* false for NaN */
        good = (gpu.fast[0] != '\0'
                    ? near_in_pieces(&cpu, &gpu, tolerance)
                    : same_in_pieces(&gpu) && same_choices(&gpu) && same_answers(&gpu)) &&
               good;
        good = good && (!divides || same_divided(&gpu)) &&
               (!squeezes || near_squeezed(&cpu, &gpu, tolerance));
        if (wants_fast() && gpu.fast[0] == '\0') {
            printf("# %s: fast was asked for, and cuBLAS is not there\n", path);
            good = false;
        }
    }
    run_free(&cpu);
    run_free(&gpu);
    return good;
}

int main(int argc, char **argv)
{
    double tolerance = 0.02;
    int first = 1;
    for (; first + 1 < argc && strncmp(argv[first], "--", 2) == 0; first += 2) {
        if (strcmp(argv[first], "--tolerance") == 0)
            tolerance = strtod(argv[first + 1], NULL);
        else if (strcmp(argv[first], "--divide") == 0)
            divides = true;
        else if (strcmp(argv[first], "--squeeze") == 0)
            squeezes = true;
        else if (strcmp(argv[first], "--quick") == 0)
            quick = true;
        else if (strcmp(argv[first], "--option") == 0 && strchr(argv[first + 1], '=') != NULL &&
                 n_pairs + 1 < (int)(sizeof pairs / sizeof *pairs))
            pairs[n_pairs++] = argv[first + 1];
        else
            return 2;
    }
    bool all = true;
    printf("1..%d\n", argc - first);
    for (int i = first; i < argc; i++) {
        bool good = compare(argv[i], tolerance);
        printf("%sok %d - %s\n", good ? "" : "not ", i - first + 1, argv[i]);
        fflush(stdout);
        all = all && good;
    }
    return all ? 0 : 1;
}
