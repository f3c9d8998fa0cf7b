/* How far the predictions of one run of a model are from those of another, over a text.
 *
 * divergence tokens MODEL.gguf TEXT CONTEXT CHUNKS > IDS: the text's tokens, a chunk on each line.
 *
 * divergence logits MODEL.gguf OUT.f32 [KEYS VALUES] < IDS: logits of every position, floats.
 *
 * divergence compare VOCABULARY BASE.f32 FILE.f32... < IDS
 *
 * `logits` computes with keys and values in F32 where no number formats of theirs are named, so
 * that activations of products are the only values that are rounded; tools/oracle/llama_logits
 * writes the same with llama.cpp.
 *
 * `compare` prints a line for each FILE: the mean Kullback-Leibler divergence of its next-token
 * distributions from those of BASE in nats and its standard error, the mean change of the negative
 * log-probability of the text's tokens and its standard error, and the same two for the divergence
 * less that of the first FILE, position by position, which is far sharper than the difference of
 * two means. Positions of a chunk depend on each other, so errors are taken from the chunks' means.
 * A first line says the positions and the perplexity by BASE.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "radllm/radllm.h"

enum { MAX_FILES = 8, MAX_CONTEXT = 1 << 16 };

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "divergence: %s: %s\n", what, why);
    exit(1);
}

static void check(radllm_status status, const char *what, const radllm_error *error)
{
    if (status != RADLLM_OK)
        fail(what, radllm_error_message(error));
}

static void *take(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    if (memory == NULL)
        fail("memory", "there is not enough");
    return memory;
}

static FILE *open_file(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);
    if (file == NULL)
        fail(path, "cannot be opened");
    return file;
}

/* A chunk of standard input: one line of ids. Returns how many there are, 0 at the end. */
static size_t read_chunk(int32_t *ids)
{
    size_t count = 0;
    for (int next = getchar(); next != EOF && next != '\n'; next = getchar()) {
        ungetc(next, stdin);
        if (count == MAX_CONTEXT || scanf("%" SCNd32, &ids[count]) != 1)
            fail("standard input", "no lines of token ids");
        count++;
    }
    return count;
}

/* ---- with a model ---------------------------------------------------------------------------- */

typedef struct run {
    radllm_error *error;
    radllm_options *options;
    radllm_model *model;
} run;

static run run_new(const char *path, const char *keys, const char *values)
{
    run r = {0};
    if (radllm_error_new(&r.error) != RADLLM_OK)
        fail("memory", "there is not enough");
    check(radllm_options_new(NULL, &r.options, r.error), "options", r.error);
    check(radllm_options_set_text(r.options, "cache_keys", keys, RADLLM_NUL, r.error), keys,
          r.error);
    check(radllm_options_set_text(r.options, "cache_values", values, RADLLM_NUL, r.error), values,
          r.error);
    check(radllm_options_set_integer(r.options, "threads", 1, r.error), "threads", r.error);
    check(radllm_model_open(NULL, path, r.options, NULL, &r.model, r.error), path, r.error);
    return r;
}

static void run_free(run *r)
{
    radllm_model_free(r->model);
    radllm_options_free(r->options);
    radllm_error_free(r->error);
}

static char *read_text(const char *path, size_t *size)
{
    FILE *file = open_file(path, "rb");
    long length = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (length < 0)
        fail(path, "its size cannot be told");
    rewind(file);
    char *text = take((size_t)length, 1);
    *size = fread(text, 1, (size_t)length, file);
    fclose(file);
    return text;
}

static int print_tokens(const char *model, const char *path, size_t context, size_t chunks)
{
    run r = run_new(model, "f32", "f32");
    size_t size, count = 0;
    int64_t bos = -1, adds_bos = 0;
    char *text = read_text(path, &size);
    int32_t *ids = take(size + 2, sizeof *ids);
    check(radllm_tokenize(r.model, text, size, RADLLM_TOKENIZE_ADD_SPECIAL, ids, size + 2, &count,
                          r.error),
          path, r.error);
    check(radllm_model_number(r.model, "bos_token", &bos, r.error), model, r.error);
    check(radllm_model_number(r.model, "adds_bos", &adds_bos, r.error), model, r.error);
    for (size_t i = 0; i < chunks && (i + 1) * context <= count; i++) {
        if (adds_bos != 0 && bos >= 0)
            ids[i * context] = (int32_t)bos;
        for (size_t j = 0; j < context; j++)
            printf("%" PRId32 "%c", ids[i * context + j], j + 1 < context ? ' ' : '\n');
    }
    free(text);
    free(ids);
    run_free(&r);
    return count < context ? 1 : 0;
}

static int32_t write_logits(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    (void)position;
    return fwrite(logits, sizeof *logits, n_vocab, user) == n_vocab ? 0 : 1;
}

static int print_logits(const char *model, const char *path, const char *keys, const char *values)
{
    run r = run_new(model, keys, values);
    radllm_engine *engine;
    radllm_session *session;
    int32_t *ids = take(MAX_CONTEXT, sizeof *ids);
    FILE *out = open_file(path, "wb");
    check(radllm_engine_new(NULL, r.model, r.options, &engine, r.error), "engine", r.error);
    check(radllm_session_new(engine, &session, r.error), "session", r.error);
    for (size_t n = read_chunk(ids); n != 0; n = read_chunk(ids)) {
        check(radllm_session_rewind(session, 0, r.error), "rewind", r.error);
        check(radllm_session_feed_each(session, ids, n, write_logits, out, NULL, r.error), model,
              r.error);
    }
    radllm_session_free(session);
    radllm_engine_free(engine);
    run_free(&r);
    free(ids);
    if (fclose(out) != 0)
        fail(path, "cannot be written");
    return 0;
}

/* ---- comparison ------------------------------------------------------------------------------ */

/* The mean of chunks' means, each of which counts the same. */
typedef struct average {
    double sum, sum_of_squares, chunk;
} average;

static void end_chunk(average *a, size_t positions)
{
    double mean = a->chunk / (double)positions;
    a->sum += mean;
    a->sum_of_squares += mean * mean;
    a->chunk = 0;
}

static void print_average(const average *a, size_t chunks)
{
    double n = (double)chunks, mean = a->sum / n;
    double variance = (a->sum_of_squares / n - mean * mean) / (n - 1);
    printf(" %.9e %.3e", mean, chunks > 1 && variance > 0 ? sqrt(variance) : 0.0);
}

typedef struct comparison {
    uint32_t n_vocab;
    int n_files; /* the base is the first */
    FILE *files[MAX_FILES];
    float *logits;
    double *expected, *found; /* log-probabilities by the base, by another */
    double *probabilities;    /* by the base */
    average divergence[MAX_FILES], change[MAX_FILES], excess[MAX_FILES];
    double surprise; /* by the base */
    size_t positions, chunks;
} comparison;

static void read_logprobs(comparison *c, int file, double *out)
{
    if (fread(c->logits, sizeof *c->logits, c->n_vocab, c->files[file]) != c->n_vocab)
        fail("compare", "a file has too few logits");
    float largest = c->logits[0];
    for (uint32_t i = 1; i < c->n_vocab; i++)
        largest = c->logits[i] > largest ? c->logits[i] : largest;
    double sum = 0;
    for (uint32_t i = 0; i < c->n_vocab; i++)
        sum += exp((double)c->logits[i] - (double)largest);
    double log_sum = log(sum);
    for (uint32_t i = 0; i < c->n_vocab; i++)
        out[i] = (double)c->logits[i] - (double)largest - log_sum;
}

static double divergence_of(const comparison *c)
{
    double sum = 0;
    for (uint32_t i = 0; i < c->n_vocab; i++)
        sum += c->probabilities[i] * (c->expected[i] - c->found[i]);
    return sum;
}

/* `next`: the token that follows, or -1 at the end of a chunk. */
static void compare_position(comparison *c, int32_t next)
{
    double first = 0;
    if (next >= (int32_t)c->n_vocab)
        fail("standard input", "a token is outside the vocabulary");
    read_logprobs(c, 0, c->expected);
    for (uint32_t i = 0; i < c->n_vocab; i++)
        c->probabilities[i] = exp(c->expected[i]);
    if (next >= 0)
        c->surprise -= c->expected[next];
    for (int file = 1; file < c->n_files; file++) {
        read_logprobs(c, file, c->found);
        double divergence = divergence_of(c);
        first = file == 1 ? divergence : first;
        c->divergence[file].chunk += divergence;
        c->excess[file].chunk += divergence - first;
        if (next >= 0)
            c->change[file].chunk += c->expected[next] - c->found[next];
    }
}

static void compare_chunk(comparison *c, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        compare_position(c, i + 1 < n ? ids[i + 1] : -1);
    for (int file = 1; file < c->n_files; file++) {
        end_chunk(&c->divergence[file], n);
        end_chunk(&c->change[file], n - 1);
        end_chunk(&c->excess[file], n);
    }
    c->positions += n - 1;
    c->chunks++;
}

static int compare(uint32_t n_vocab, char **paths, int n_files)
{
    comparison c = {.n_vocab = n_vocab, .n_files = n_files};
    int32_t *ids = take(MAX_CONTEXT, sizeof *ids);
    c.logits = take(n_vocab, sizeof *c.logits);
    c.expected = take(n_vocab, sizeof *c.expected);
    c.found = take(n_vocab, sizeof *c.found);
    c.probabilities = take(n_vocab, sizeof *c.probabilities);
    for (int i = 0; i < n_files; i++)
        c.files[i] = open_file(paths[i], "rb");
    for (size_t n = read_chunk(ids); n > 1; n = read_chunk(ids))
        compare_chunk(&c, ids, n);
    if (c.chunks == 0)
        fail("standard input", "no chunk of two tokens");
    printf("%zu %.6f\n", c.positions, exp(c.surprise / (double)c.positions));
    for (int file = 1; file < n_files; file++) {
        printf("%s", paths[file]);
        print_average(&c.divergence[file], c.chunks);
        print_average(&c.change[file], c.chunks);
        print_average(&c.excess[file], c.chunks);
        printf("\n");
    }
    for (int i = 0; i < n_files; i++)
        fclose(c.files[i]);
    free(c.logits);
    free(c.expected);
    free(c.found);
    free(c.probabilities);
    free(ids);
    return 0;
}

int main(int count, char **arguments)
{
    const char *mode = count > 1 ? arguments[1] : "";
    if (strcmp(mode, "tokens") == 0 && count == 6) {
        unsigned long context = strtoul(arguments[4], NULL, 10);
        if (context > 1 && context <= MAX_CONTEXT)
            return print_tokens(arguments[2], arguments[3], context,
                                strtoul(arguments[5], NULL, 10));
    }
    if (strcmp(mode, "logits") == 0 && count == 4)
        return print_logits(arguments[2], arguments[3], "f32", "f32");
    if (strcmp(mode, "logits") == 0 && count == 6)
        return print_logits(arguments[2], arguments[3], arguments[4], arguments[5]);
    if (strcmp(mode, "compare") == 0 && count > 4 && count <= 3 + MAX_FILES) {
        unsigned long n_vocab = strtoul(arguments[2], NULL, 10);
        if (n_vocab > 0 && n_vocab <= INT32_MAX)
            return compare((uint32_t)n_vocab, arguments + 3, count - 3);
    }
    fprintf(stderr, "usage: divergence tokens MODEL.gguf TEXT CONTEXT CHUNKS\n"
                    "       divergence logits MODEL.gguf OUT.f32 [KEYS VALUES]\n"
                    "       divergence compare VOCABULARY BASE.f32 FILE.f32...\n");
    return 2;
}
