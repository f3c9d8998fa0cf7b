/* The numeric contract for embeddings: one hash of a model's vectors of several texts, whatever the
 * threads, the tokens of a step, the instruction set, the layout, the company of other texts, the
 * compiler and the host's floating-point environment.
 *
 *   test_contract_embeddings HASHES.json MODEL...          compares with the committed hashes
 *   test_contract_embeddings --update HASHES.json MODEL... writes them */
#include <fenv.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contract/answer.h"
#include "contract/settings.h"

enum { N_TEXTS = 5, LONG = 1100 };

/* Within a tile of keys, at its border, behind it; the last one goes beyond a range of tiles where
 * positions have no end. */
static const size_t lengths[N_TEXTS] = {1, 32, 33, 90, LONG};

typedef struct subject {
    radllm_error *error;
    radllm_options *options;
    radllm_model *model;
    radllm_engine *engine;
    int64_t width;
    int32_t ids[LONG];
    size_t lengths[N_TEXTS];
} subject;

static void set(const subject *s, const char *key, const char *value)
{
    if (radllm_options_set_text(s->options, key, value, RADLLM_NUL, s->error) != RADLLM_OK)
        fail(key, s->error);
}

static void open_subject(subject *s, const char *path, const combination *c)
{
    bool behind = strcmp(value_of(c, "load"), "behind") == 0;
    int64_t n_vocab = 0;
    radllm_error_new(&s->error);
    radllm_options_new(NULL, &s->options, s->error);
    set(s, "threads", value_of(c, "threads"));
    set(s, "isa", value_of(c, "isa"));
    set(s, "layout", value_of(c, "layout"));
    set(s, "load", behind ? "copy" : value_of(c, "load"));
    set(s, "load_wait", behind ? "no" : "yes");
    set(s, "batch", value_of(c, "batch"));
    set(s, "sessions", "3");
    bool endless = strstr(path, "nomic-bert-f32") != NULL; /* its positions are rotations */
    set(s, "context", endless ? "1100" : "0");
    set(s, "context_limit", endless ? "ignore" : "model");
    if (radllm_model_open(NULL, path, s->options, NULL, &s->model, s->error) != RADLLM_OK ||
        radllm_model_number(s->model, "vocab_size", &n_vocab, s->error) != RADLLM_OK ||
        radllm_model_number(s->model, "embedding_length", &s->width, s->error) != RADLLM_OK ||
        radllm_engine_new(NULL, s->model, s->options, &s->engine, s->error) != RADLLM_OK)
        fail(path, s->error);
    uint32_t state = 54321;
    for (size_t i = 0; i < LONG; i++) {
        state = state * 1664525u + 1013904223u;
        s->ids[i] = (int32_t)((state >> 8) % (uint32_t)n_vocab);
    }
    for (size_t i = 0; i < N_TEXTS; i++)
        s->lengths[i] = lengths[i] == LONG && !endless ? 77 : lengths[i];
}

static void close_subject(subject *s)
{
    radllm_engine_free(s->engine);
    radllm_model_free(s->model);
    radllm_options_free(s->options);
    radllm_error_free(s->error);
}

/* Adds the vectors of texts first .. first + count - 1 to their hashes. */
static void add_vectors(const subject *s, const char *pooling, size_t first, size_t count,
                        uint64_t *hashes)
{
    const int32_t *texts[N_TEXTS] = {s->ids, s->ids + 1, s->ids + 2, s->ids + 3, s->ids};
    size_t needed = 0, at = 0;
    set(s, "pooling", pooling);
    (void)radllm_embed_tokens(s->engine, texts + first, s->lengths + first, count, s->options, NULL,
                              NULL, 0, &needed, s->error);
    float *vectors = malloc(needed * sizeof *vectors);
    if (radllm_embed_tokens(s->engine, texts + first, s->lengths + first, count, s->options, NULL,
                            vectors, needed, &needed, s->error) != RADLLM_OK)
        fail("embed", s->error);
    for (size_t i = first; i < first + count; i++) {
        size_t rows = strcmp(pooling, "none") == 0 ? s->lengths[i] : 1, n = rows * (size_t)s->width;
        hashes[i] = hash_bytes(hashes[i], vectors + at, n * sizeof *vectors);
        at += n;
    }
    free(vectors);
}

/* All texts in one call, or each in its own. */
static uint64_t hash_texts(const subject *s, bool together)
{
    static const char *const poolings[] = {"none", "mean", "auto"};
    uint64_t hashes[N_TEXTS] = {1, 2, 3, 4, 5};
    for (size_t p = 0; p < sizeof poolings / sizeof *poolings; p++) {
        size_t n = p == 1 ? N_TEXTS : N_TEXTS - 1; /* once is enough of the long one */
        for (size_t i = 0; i < n; i += together ? n : 1)
            add_vectors(s, poolings[p], i, together ? n : 1, hashes);
    }
    return hash_bytes(14695981039346656037u, hashes, sizeof hashes);
}

static uint64_t run(const char *path, const combination *c)
{
    subject s;
    open_subject(&s, path, c);
    fenv_t saved;
    fegetenv(&saved);
    if (strcmp(value_of(c, "environment"), "odd") == 0)
        fesetround(FE_UPWARD);
    uint64_t hash = hash_texts(&s, strcmp(value_of(c, "company"), "none") != 0);
    fesetenv(&saved);
    close_subject(&s);
    return hash;
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static int compare(char **paths, int count, const combination *list, size_t n, const char *mode,
                   const json_t *all)
{
    int failures = 0;
    printf("1..%d\n", count);
    for (int m = 0; m < count; m++) {
        const char *expected = json_string_value(json_object_get(all, name_of(paths[m])));
        bool good = expected != NULL;
        size_t way, n_ways = ways_of(mode, (size_t)m, n, &way);
        for (size_t i = way; i < way + n_ways && expected != NULL; i++) {
            char text[17];
            snprintf(text, sizeof text, "%016llx", (unsigned long long)run(paths[m], &list[i]));
            if (strcmp(text, expected) != 0) {
                printf("# %s: %s instead of %s with %s\n", name_of(paths[m]), text, expected,
                       describe(&list[i]));
                good = false;
            }
        }
        failures += good ? 0 : 1;
        printf("%s %d - %s: %zu ways\n", good ? "ok" : "not ok", m + 1, name_of(paths[m]), n_ways);
        fflush(stdout);
    }
    return failures;
}

static int update(const char *hashes_path, char **paths, int count, const combination *way)
{
    json_t *all = json_object();
    for (int m = 0; m < count; m++) {
        char text[17];
        snprintf(text, sizeof text, "%016llx", (unsigned long long)run(paths[m], way));
        json_object_set_new(all, name_of(paths[m]), json_string(text));
    }
    int failed = json_dump_file(all, hashes_path, JSON_INDENT(1) | JSON_SORT_KEYS);
    json_decref(all);
    return failed != 0;
}

int main(int argc, char **argv)
{
    bool updates = argc > 1 && strcmp(argv[1], "--update") == 0;
    int first = updates ? 2 : 1;
    if (argc < first + 2) {
        fprintf(stderr, "usage: %s [--update] HASHES.json MODEL...\n", argv[0]);
        return 2;
    }
    const char *mode = getenv("RADLLM_CONTRACT");
    if (mode == NULL)
        mode = getenv("RADLLM_CONTRACT_DEFAULT");
    size_t n;
    combination *list = choose_combinations(cover_of(mode), &n);
    if (n == 0) {
        printf("Bail out! there is no way to compute\n");
        return 1;
    }
    int failures = 0;
    json_t *all = updates ? NULL : json_load_file(argv[first], 0, NULL);
    if (updates)
        failures = update(argv[first], argv + first + 1, argc - first - 1, list);
    else
        failures = compare(argv + first + 1, argc - first - 1, list, n, mode, all);
    json_decref(all);
    free(list);
    return failures != 0;
}
