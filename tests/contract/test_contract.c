/* The numeric contract: one hash of all logits of a fixed text, and one of an answer's, for each
 * number format and each architecture, whatever the threads, the chunks, the instruction set, the
 * layout, speculation, the compiler and the host's floating-point environment.
 *
 *   test_contract HASHES.json MODEL...          compares with the committed hashes
 *   test_contract --update HASHES.json MODEL... writes them: after a change of the numeric version
 *
 * --attention=POLICY, --cache=TYPE (q8_0/f16: of keys and of values), --nf4=HOW and --adapter=PATH
 * among the models are for those that follow: each policy, number format and adapter has hashes of
 * its own.
 * What is computed beside a session with an adapter has none.
 *
 * A pairwise cover of the ways to compute is tried; RADLLM_CONTRACT=full in the environment tries
 * every combination, kernels fewer, then pairs, values, sample, turns (settings.h). With clang, and
 * without optimisation (which is slow), each value of each dimension occurs once at least: there
 * the question is whether the compiler changes the bits. */
#include <fenv.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "contract/answer.h"
#include "contract/settings.h"
#include "radllm/radllm.h"

enum { N_IDS = 530, SHARED = 300 };

/* A fixed run of ids that is no text, so that it suits every vocabulary. */
static void make_ids(int32_t *ids, int64_t n_vocab)
{
    uint32_t state = 12345;
    for (int i = 0; i < N_IDS; i++) {
        state = state * 1664525u + 1013904223u;
        ids[i] = (int32_t)((state >> 8) % (uint32_t)n_vocab);
    }
}

/* The window is short, and sinks share a tile with it, so that most of the text is forgotten. */
typedef struct policy {
    const char *name;
    const char *options[6]; /* keys and values, NULL behind the last */
} policy;

static const policy policies[] = {
    {"auto", {NULL}},
    {"full", {NULL}},
    {"window", {"window", "70", NULL}},
    {"sinks", {"window", "60", "sinks", "5", NULL}},
    {"recompute", {"window", "64", "recompute_period", "24", NULL}},
};

static const policy *find_policy(const char *name)
{
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        if (strcmp(policies[i].name, name) == 0)
            return &policies[i];
    }
    printf("Bail out! there is no policy %s\n", name);
    exit(1);
}

/* A model's file, the policy it is run under, the number formats of its keys and values, how NF4 is
 * computed, and an adapter; "": none. */
typedef struct subject {
    const char *path;
    const policy *attention;
    const char *cache;
    const char *nf4;
    const char *adapter;
} subject;

typedef struct run_objects {
    radllm_error *error;
    radllm_options *options;
    radllm_model *model;
    radllm_engine *engine;
    radllm_session *session, *other; /* other: NULL where the session computes everything itself */
    radllm_session *company;         /* NULL where the session is alone */
    bool rebuilds;                   /* attention=recompute */
    int32_t ids[N_IDS];
    size_t n_ids;
} run_objects;

/* As a draft model the model itself will do: it is right always, and `host` is not. */
static radllm_status new_engine(run_objects *r, const combination *c)
{
    if (strcmp(value_of(c, "speculation"), "draft") == 0)
        return radllm_engine_new_with_draft(NULL, r->model, r->model, r->options, &r->engine,
                                            r->error);
    return radllm_engine_new(NULL, r->model, r->options, &r->engine, r->error);
}

static void set_attention(const run_objects *r, const policy *attention)
{
    const char *const *option = attention->options;
    if (radllm_options_set_text(r->options, "attention", attention->name, RADLLM_NUL, r->error) !=
        RADLLM_OK)
        fail("attention", r->error);
    for (; *option != NULL; option += 2) {
        if (radllm_options_set_text(r->options, option[0], option[1], RADLLM_NUL, r->error) !=
            RADLLM_OK)
            fail("attention", r->error);
    }
}

static void open_objects(run_objects *r, const subject *what, const combination *c)
{
    const char *path = what->path, *values = strchr(what->cache, '/');
    char keys[16];
    snprintf(keys, sizeof keys, "%.*s", (int)strcspn(what->cache, "/"), what->cache);
    bool behind = strcmp(value_of(c, "load"), "behind") == 0;
    const char *const passed_on[][2] = {{"threads", value_of(c, "threads")},
                                        {"isa", value_of(c, "isa")},
                                        {"layout", value_of(c, "layout")},
                                        {"load", behind ? "copy" : value_of(c, "load")},
                                        {"load_wait", behind ? "no" : "yes"},
                                        {"nf4", what->nf4},
                                        {"cache", keys},
                                        {"cache_values", values != NULL ? values + 1 : keys}};
    radllm_error_new(&r->error);
    radllm_options_new(NULL, &r->options, r->error);
    for (size_t i = 0; i < sizeof passed_on / sizeof *passed_on; i++) {
        if (radllm_options_set_text(r->options, passed_on[i][0], passed_on[i][1], RADLLM_NUL,
                                    r->error) != RADLLM_OK)
            fail("options", r->error);
    }
    set_attention(r, what->attention);
    if (what->adapter[0] != '\0' && radllm_options_set_text(r->options, "adapter", what->adapter,
                                                            RADLLM_NUL, r->error) != RADLLM_OK)
        fail("adapter", r->error);
    r->rebuilds = strcmp(what->attention->name, "recompute") == 0;
    int64_t n_vocab = 0, context = 0;
    if (radllm_model_open(NULL, path, r->options, NULL, &r->model, r->error) != RADLLM_OK ||
        radllm_model_number(r->model, "vocab_size", &n_vocab, r->error) != RADLLM_OK ||
        radllm_model_number(r->model, "context_length", &context, r->error) != RADLLM_OK ||
        radllm_options_set_integer(r->options, "sessions", 3, r->error) != RADLLM_OK ||
        radllm_options_set_text(r->options, "batch", value_of(c, "batch"), RADLLM_NUL, r->error) !=
            RADLLM_OK ||
        new_engine(r, c) != RADLLM_OK ||
        radllm_session_new(r->engine, &r->session, r->error) != RADLLM_OK)
        fail(path, r->error);
    r->other = NULL;
    if (strcmp(value_of(c, "prefix"), "computed") != 0 &&
        radllm_session_new(r->engine, &r->other, r->error) != RADLLM_OK)
        fail(path, r->error);
    r->company = NULL;
    if (strcmp(value_of(c, "company"), "none") != 0 &&
        radllm_session_new(r->engine, &r->company, r->error) != RADLLM_OK)
        fail(path, r->error);
    if (r->company != NULL && what->adapter[0] != '\0' &&
        radllm_session_set_adapters(r->company, NULL, NULL, 0, r->error) != RADLLM_OK)
        fail(path, r->error);
    make_ids(r->ids, n_vocab);
    r->n_ids = context < N_IDS ? (size_t)context : N_IDS;
}

static void close_objects(run_objects *r)
{
    radllm_session_free(r->session);
    radllm_session_free(r->other);
    radllm_session_free(r->company);
    radllm_engine_free(r->engine);
    radllm_model_free(r->model);
    radllm_options_free(r->options);
    radllm_error_free(r->error);
}

static void feed(const run_objects *r, radllm_session *session, const int32_t *ids, size_t n,
                 size_t chunk, uint64_t *hash)
{
    for (size_t done = 0; done < n;) {
        size_t now = n - done < chunk ? n - done : chunk;
        if (radllm_session_feed_each(session, ids + done, now, add_logits, hash, NULL, r->error) !=
            RADLLM_OK)
            fail("feed", r->error);
        done += now;
    }
}

/* Fills the session with the first ids and others behind them, and forgets the others: what is
 * computed next stands on memory that was used before. */
static void rewind_session(const run_objects *r, radllm_session *session, size_t kept,
                           uint64_t *hash)
{
    uint64_t ignored = 0;
    feed(r, session, r->ids, kept, 512, hash);
    feed(r, session, r->ids + 3, r->n_ids - kept, 512, &ignored);
    if (radllm_session_rewind(session, (uint32_t)kept, r->error) != RADLLM_OK)
        fail("rewind", r->error);
}

/* The session takes the first tokens from the other one, and it is checked that it did: all but the
 * last; where batches are small, windows may have forgotten the page that would be copied. */
static void share(const run_objects *r, const combination *c, size_t kept)
{
    int64_t shared = 0;
    if (radllm_session_feed(r->session, r->ids, kept, NULL, r->error) != RADLLM_OK ||
        radllm_engine_number(r->engine, "tokens_shared", &shared, r->error) != RADLLM_OK)
        fail("share", r->error);
    int64_t expected = r->rebuilds ? 0 : (int64_t)kept - 1; /* rebuilt keys are nobody else's */
    int64_t least = strcmp(value_of(c, "batch"), "512") == 0 ? expected : expected / 32 * 32;
    if (shared < least || shared > expected) {
        printf("Bail out! %d of %d tokens were shared\n", (int)shared, (int)expected);
        exit(1);
    }
}

/* It goes on with what the other one wrote to a file. */
static void restore(const run_objects *r)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/radllm-contract-%ld", (long)getpid());
    if (radllm_session_snapshot(r->other, path, NULL, r->error) != RADLLM_OK ||
        radllm_session_restore(r->session, path, NULL, r->error) != RADLLM_OK)
        fail("restore", r->error);
    (void)unlink(path);
}

/* The beginning of the text, before the session itself goes on. Returns its length. */
static size_t begin(const run_objects *r, const combination *c, uint64_t *hash)
{
    bool rewound = strcmp(value_of(c, "history"), "rewound") == 0;
    radllm_session *first = r->other != NULL ? r->other : r->session;
    size_t kept = r->n_ids * SHARED / N_IDS, chunk = (size_t)atoi(value_of(c, "chunk"));
    if (rewound)
        rewind_session(r, first, kept, hash);
    else if (r->other != NULL)
        feed(r, first, r->ids, kept, chunk, hash);
    if (strcmp(value_of(c, "prefix"), "shared") == 0) {
        uint64_t ignored = 0; /* more than the session takes, so that a page is copied */
        if (!rewound)
            feed(r, first, r->ids + kept, r->n_ids - kept, 512, &ignored);
        share(r, c, kept);
    } else if (r->other != NULL) {
        restore(r);
    }
    return rewound || r->other != NULL ? kept : 0;
}

/* Of the fixed text, and of an answer to most of it. */
typedef struct hashes {
    uint64_t text, answer;
} hashes;

static hashes run(const subject *what, const combination *c)
{
    run_objects r;
    hashes found = {14695981039346656037u, 0};
    open_objects(&r, what, c);
    bool odd = strcmp(value_of(c, "environment"), "odd") == 0;
    fenv_t saved;
    fegetenv(&saved);
    if (odd) {
        fesetround(FE_UPWARD);
#if defined(__x86_64__)
        _mm_setcsr(_mm_getcsr() | 0x8040u); /* flush to zero, denormals are zero */
#endif
    }
    size_t kept = begin(&r, c, &found.text);
    feed(&r, r.session, r.ids + kept, r.n_ids - kept, (size_t)atoi(value_of(c, "chunk")),
         &found.text);
    found.answer = hash_answer(r.session, r.company, r.ids, r.n_ids - ANSWER_TOKENS - 8,
                               value_of(c, "speculation"), r.error);
    bool kept_environment = !odd || fegetround() == FE_UPWARD;
    fesetenv(&saved);
    close_objects(&r);
    if (!kept_environment) {
        printf("Bail out! the host's rounding mode was changed\n");
        exit(1);
    }
    return found;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* "q8_0.gguf" of a path, and what is asked for of policy, number formats and adapter; in a static
 * buffer. */
static const char *name_of(const subject *what)
{
    static char name[128];
    bool own = what->attention != &policies[0], formats = strcmp(what->cache, "auto") != 0;
    bool rounded = strcmp(what->nf4, "float") != 0;
    snprintf(name, sizeof name, "%s%s%s%s%s%s%s%s%s", last_part(what->path), own ? " " : "",
             own ? what->attention->name : "", formats ? " cache " : "", formats ? what->cache : "",
             rounded ? " nf4 " : "", rounded ? what->nf4 : "",
             what->adapter[0] != '\0' ? " adapter " : "", last_part(what->adapter));
    return name;
}

/* The committed hash of a model's text, or of its answer; NULL when there is none. */
static const char *committed(const json_t *all, const char *name, bool answer)
{
    char key[160];
    snprintf(key, sizeof key, "%s%s", name, answer ? " answer" : "");
    const char *found = json_string_value(json_object_get(all, key));
    if (found == NULL)
        printf("# %s has no committed hash\n", key);
    return found;
}

static bool same(const char *name, const char *what, uint64_t found, const char *expected,
                 const combination *c)
{
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)found);
    if (strcmp(text, expected) == 0)
        return true;
    printf("# %s: %s %s instead of %s with %s\n", name, what, text, expected, describe(c));
    return false;
}

static int compare(const subject *subjects, int count, const combination *list, size_t n,
                   const char *mode, const json_t *all)
{
    int failures = 0;
    printf("1..%d\n", count);
    for (int m = 0; m < count; m++) {
        const char *name = name_of(&subjects[m]);
        const char *text = committed(all, name, false), *answer = committed(all, name, true);
        bool good = text != NULL && answer != NULL;
        size_t way, n_ways = ways_of(mode, (size_t)m, n, &way);
        for (size_t i = way; i < way + n_ways && text != NULL && answer != NULL; i++) {
            hashes found = run(&subjects[m], &list[i]);
            good = same(name, "text", found.text, text, &list[i]) && good;
            good = same(name, "answer", found.answer, answer, &list[i]) && good;
        }
        failures += good ? 0 : 1;
        printf("%s %d - %s: %zu ways\n", good ? "ok" : "not ok", m + 1, name, n_ways);
        fflush(stdout);
    }
    return failures;
}

static void put_hash(json_t *all, const char *name, const char *what, uint64_t hash)
{
    char key[160], text[17];
    snprintf(key, sizeof key, "%s%s", name, what);
    snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    json_object_set_new(all, key, json_string(text));
}

/* Large batches and the best instruction set. */
static const combination *quickest(const combination *list, size_t n)
{
    const combination *best = list;
    for (size_t i = 1; i < n; i++) {
        int batch = atoi(value_of(&list[i], "batch")) - atoi(value_of(best, "batch"));
        int isa = strcmp(value_of(&list[i], "isa"), value_of(best, "isa"));
        if (batch > 0 || (batch == 0 && strcmp(value_of(best, "isa"), "scalar") == 0 && isa != 0))
            best = &list[i];
    }
    return best;
}

static void update(const char *hashes_path, const subject *subjects, int count,
                   const combination *first)
{
    json_t *all = json_object();
    for (int m = 0; m < count; m++) {
        hashes found = run(&subjects[m], first);
        put_hash(all, name_of(&subjects[m]), "", found.text);
        put_hash(all, name_of(&subjects[m]), " answer", found.answer);
    }
    if (json_dump_file(all, hashes_path, JSON_INDENT(1) | JSON_SORT_KEYS) != 0) {
        printf("Bail out! cannot write %s\n", hashes_path);
        exit(1);
    }
    json_decref(all);
}

/* Models, --attention=POLICY, --cache=TYPE, --nf4=HOW and --adapter=PATH, by malloc. */
static subject *read_subjects(char **words, int n_words, int *count)
{
    static const char option[] = "--attention=", format[] = "--cache=", lora[] = "--adapter=",
                      rounding[] = "--nf4=";
    const char *cache = "auto", *nf4 = "float", *adapter = "";
    subject *subjects = malloc((size_t)n_words * sizeof *subjects);
    const policy *attention = &policies[0];
    *count = 0;
    for (int i = 0; i < n_words; i++) {
        if (strncmp(words[i], option, strlen(option)) == 0)
            attention = find_policy(words[i] + strlen(option));
        else if (strncmp(words[i], format, strlen(format)) == 0)
            cache = words[i] + strlen(format);
        else if (strncmp(words[i], rounding, strlen(rounding)) == 0)
            nf4 = words[i] + strlen(rounding);
        else if (strncmp(words[i], lora, strlen(lora)) == 0)
            adapter = words[i] + strlen(lora);
        else
            subjects[(*count)++] = (subject){words[i], attention, cache, nf4, adapter};
    }
    return subjects;
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
        mode = getenv("RADLLM_CONTRACT_DEFAULT"); /* of this build and test */
    int count, failures = 0;
    subject *subjects = read_subjects(&argv[first + 1], argc - first - 1, &count);
    size_t n;
    combination *list = choose_combinations(cover_of(mode), &n);
    if (n == 0) {
        printf("Bail out! there is no way to compute\n");
        return 1;
    }
    if (updates) {
        update(argv[first], subjects, count, quickest(list, n));
    } else {
        json_t *all = json_load_file(argv[first], 0, NULL);
        if (all == NULL) {
            printf("Bail out! cannot read %s\n", argv[first]);
            return 1;
        }
        failures = compare(subjects, count, list, n, mode, all);
        json_decref(all);
    }
    free(list);
    free(subjects);
    return failures == 0 ? 0 : 1;
}
