/* Many requests of random kinds and lengths over one engine whose memory is small: some are
 * cancelled, sessions come, go, fork, are rewound, shortened, written to a file and read again.
 *
 * soak MODEL.gguf REQUESTS [SEED [KEY=VALUE...]]     options of the library
 *
 * Prints TAP. What must hold: an answer is that of a session that computes everything itself (one
 * in 8 is compared); memory does not grow; no page is lost; and the engine shared, evicted and
 * copied, or nothing was tried. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit/harness.h"

enum { SESSIONS = 6, CONTEXT = 256, FAMILIES = 7, COMPARE_EACH = 8, MAX_ANSWER = 24 };

typedef struct place {
    radllm_session *session;
    radllm_request *request;
    int32_t ids[CONTEXT];
    size_t n;
    int64_t max_tokens;
    int patience; /* steps until it is cancelled; below 0: it is not */
    uint64_t hash;
    bool compare;
} place;

typedef struct soak {
    radllm_error *error;
    radllm_host *host;
    radllm_model *model;
    radllm_options *options;
    radllm_engine *engine;
    rad_test_memory memory;
    place places[SESSIONS];
    uint64_t random, n_done, n_cancelled, n_compared, n_wrong;
    int64_t n_pages;
    char path[64];
} soak;

static void give_up(const soak *s, const char *what)
{
    printf("Bail out! %s: %s\n", what, radllm_error_message(s->error));
    exit(1);
}

static void check(const soak *s, radllm_status status, const char *what)
{
    if (status != RADLLM_OK)
        give_up(s, what);
}

static uint32_t draw(soak *s, uint32_t below)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (uint32_t)((s->random >> 11) % below);
}

static void set(soak *s, const char *key, int64_t value)
{
    check(s, radllm_options_set_integer(s->options, key, value, s->error), key);
}

static int64_t number(const soak *s, const char *name)
{
    int64_t value = 0;
    check(s, radllm_engine_number(s->engine, name, &value, s->error), name);
    return value;
}

static int32_t add_logits(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    (void)position;
    uint64_t *hash = user;
    for (uint32_t i = 0; i < n_vocab; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        *hash = (*hash ^ bits) * 1099511628211u;
    }
    return 0;
}

/* ---- requests ----------------------------------------------------------------------------------
 */

static void make_prompt(soak *s, place *p)
{
    uint64_t family = draw(s, FAMILIES) + 1;
    size_t shared = draw(s, 160);
    p->n = shared + 1 + draw(s, 80);
    p->max_tokens = draw(s, 4) == 0 ? draw(s, MAX_ANSWER) : draw(s, 4);
    for (size_t i = 0; i < p->n; i++) {
        family = family * 6364136223846793005u + 1442695040888963407u;
        p->ids[i] = (int32_t)(3 + (i < shared ? (family >> 33) % 250 : draw(s, 250)));
    }
}

static radllm_request *new_request(soak *s, radllm_session *session, const place *p, uint64_t *hash)
{
    radllm_request *request;
    set(s, "max_tokens", p->max_tokens);
    *hash = 0;
    check(s, radllm_request_new_tokens(session, p->ids, p->n, s->options, &request, s->error),
          "request");
    check(s, radllm_request_set_logits(request, add_logits, hash, s->error), "logits");
    return request;
}

static void submit(soak *s, place *p)
{
    static const char *const salts[] = {"", "", "", "one", "two"};
    static const char *const ways[] = {"off", "off", "lookup"};
    make_prompt(s, p);
    p->patience = draw(s, 5) == 0 ? (int)draw(s, 6) : -1;
    p->compare = p->patience < 0 && draw(s, COMPARE_EACH) == 0;
    check(
        s,
        radllm_options_set_text(s->options, "cache_salt", salts[draw(s, 5)], RADLLM_NUL, s->error),
        "salt");
    check(s,
          radllm_options_set_text(s->options, "speculate", ways[draw(s, 3)], RADLLM_NUL, s->error),
          "speculate");
    p->request = new_request(s, p->session, p, &p->hash);
    check(s, radllm_request_submit(p->request, s->error), "submit");
}

/* By an engine that shares nothing. */
static void compare(soak *s, const place *p)
{
    radllm_engine *engine;
    radllm_session *session;
    uint64_t hash;
    set(s, "prefix_cache", 0);
    set(s, "sessions", 1);
    check(s, radllm_engine_new(NULL, s->model, s->options, &engine, s->error), "engine");
    set(s, "prefix_cache", 1);
    check(s, radllm_session_new(engine, &session, s->error), "session");
    radllm_request *request = new_request(s, session, p, &hash);
    check(s, radllm_request_run(request, NULL, s->error), "run");
    s->n_compared++;
    s->n_wrong += hash != p->hash ? 1 : 0;
    radllm_request_free(request);
    radllm_session_free(session);
    radllm_engine_free(engine);
}

/* ---- sessions ----------------------------------------------------------------------------------
 */

static void disturb(soak *s, place *p)
{
    uint32_t length = radllm_session_length(p->session);
    switch (draw(s, 24)) {
    case 0:
        check(s, radllm_session_rewind(p->session, draw(s, length + 1), s->error), "rewind");
        break;
    case 1:
        check(s, radllm_session_remove(p->session, length / 3, length / 3, s->error), "remove");
        break;
    case 2:
        check(s, radllm_session_snapshot(p->session, s->path, NULL, s->error), "snapshot");
        check(s, radllm_session_restore(p->session, s->path, NULL, s->error), "restore");
        break;
    case 3: { /* another place goes on from here */
        place *other = &s->places[draw(s, SESSIONS)];
        if (other->request != NULL || other == p)
            break;
        radllm_session_free(other->session);
        check(s, radllm_session_fork(p->session, &other->session, s->error), "fork");
        break;
    }
    case 4:
        radllm_session_free(p->session);
        check(s, radllm_session_new(s->engine, &p->session, s->error), "session");
        break;
    case 5:
        if (draw(s, 20) == 0)
            check(s, radllm_engine_clear_prefixes(s->engine, s->error), "clear");
        break;
    default:
        break;
    }
}

static void take_finished(soak *s, place *p)
{
    int32_t finish = radllm_request_finish(p->request);
    if (finish == RADLLM_FINISH_NONE)
        return;
    if (finish == RADLLM_FINISH_ERROR)
        check(s, radllm_request_status(p->request, s->error), "request");
    s->n_cancelled += finish == RADLLM_FINISH_CANCELLED ? 1 : 0;
    s->n_done++;
    if (p->compare)
        compare(s, p);
    radllm_request_free(p->request);
    p->request = NULL;
    disturb(s, p);
}

static void run(soak *s, uint64_t n_requests)
{
    for (uint64_t n_submitted = 0; s->n_done < n_requests;) {
        for (int i = 0; i < SESSIONS; i++) {
            place *p = &s->places[i];
            if (p->request == NULL && n_submitted < n_requests && draw(s, 3) != 0) {
                submit(s, p);
                n_submitted++;
            }
            if (p->request != NULL && p->patience-- == 0)
                radllm_request_cancel(p->request);
        }
        check(s, radllm_engine_step(s->engine, NULL, s->error), "step");
        for (int i = 0; i < SESSIONS; i++) {
            if (s->places[i].request != NULL)
                take_finished(s, &s->places[i]);
        }
    }
}

/* ---- the whole ---------------------------------------------------------------------------------
 */

static void set_option(soak *s, const char *argument)
{
    const char *equal = strchr(argument, '=');
    char key[64];
    if (equal == NULL || (size_t)(equal - argument) >= sizeof key) {
        printf("Bail out! %s is not KEY=VALUE\n", argument);
        exit(1);
    }
    memcpy(key, argument, (size_t)(equal - argument));
    key[equal - argument] = '\0';
    check(s, radllm_options_set_text(s->options, key, equal + 1, RADLLM_NUL, s->error), argument);
}

static void begin(soak *s, const char *path, uint64_t seed, char **more, int n_more)
{
    s->random = seed * 2654435761u + 88172645463325252u;
    snprintf(s->path, sizeof s->path, "/tmp/radllm-soak-%ld", (long)getpid());
    if (radllm_error_new(&s->error) != RADLLM_OK)
        exit(1);
    rad_test_memory_init(&s->memory, 0);
    check(s, radllm_host_new(rad_test_allocate, rad_test_release, &s->memory, &s->host, s->error),
          "host");
    check(s, radllm_options_new(NULL, &s->options, s->error), "options");
    set(s, "threads", 1);
    set(s, "ignore_end", 1);
    set(s, "batch", 64);
    set(s, "context", CONTEXT);
    for (int i = 0; i < n_more; i++)
        set_option(s, more[i]);
    check(s, radllm_model_open(NULL, path, s->options, NULL, &s->model, s->error), path);
    set(s, "sessions", SESSIONS);
    check(s, radllm_engine_new(s->host, s->model, s->options, &s->engine, s->error), "engine");
    s->n_pages = number(s, "pages_free");
    for (int i = 0; i < SESSIONS; i++)
        check(s, radllm_session_new(s->engine, &s->places[i].session, s->error), "session");
}

static void end(soak *s)
{
    for (int i = 0; i < SESSIONS; i++)
        radllm_session_free(s->places[i].session);
    radllm_engine_free(s->engine);
    radllm_model_free(s->model);
    radllm_options_free(s->options);
    radllm_host_free(s->host);
    radllm_error_free(s->error);
    (void)unlink(s->path);
}

static int n_cases;

static int report(bool good, const char *text)
{
    printf("%s %d - %s\n", good ? "ok" : "not ok", ++n_cases, text);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL.gguf REQUESTS [SEED [KEY=VALUE...]]\n", argv[0]);
        return 2;
    }
    soak s = {0};
    uint64_t n = strtoull(argv[2], NULL, 10), warm = n / 10 + 1;
    begin(&s, argv[1], argc > 3 ? strtoull(argv[3], NULL, 10) : 1, argv + 4,
          argc > 4 ? argc - 4 : 0);
    run(&s, warm);
    unsigned long long bytes = atomic_load(&s.memory.live_bytes);
    unsigned long long peak = atomic_load(&s.memory.peak_bytes);
    s.n_done = 0;
    run(&s, n > warm ? n - warm : 1);
    unsigned long long bytes_after = atomic_load(&s.memory.live_bytes);
    unsigned long long peak_after = atomic_load(&s.memory.peak_bytes);
    int64_t shared = number(&s, "tokens_shared"), evicted = number(&s, "pages_evicted"),
            copied = number(&s, "pages_copied"), computed = number(&s, "tokens_computed");
    for (int i = 0; i < SESSIONS; i++) {
        radllm_session_free(s.places[i].session);
        s.places[i].session = NULL;
    }
    check(&s, radllm_engine_clear_prefixes(s.engine, s.error), "clear");
    int64_t n_free = number(&s, "pages_free");
    printf("# %" PRIu64 " cancelled, %" PRIu64 " compared; tokens: %" PRId64 " computed, %" PRId64
           " shared; pages: %" PRId64 " evicted, %" PRId64 " copied, %" PRId64
           " in all; bytes: %llu, at most %llu\n",
           s.n_cancelled, s.n_compared, computed, shared, evicted, copied, s.n_pages, bytes_after,
           peak_after);
    int failures = report(s.n_wrong == 0 && s.n_compared > 0, "answers are those of one alone");
    failures += report(bytes_after == bytes, "memory is what it was after a tenth of the requests");
    failures +=
        report(peak_after <= peak + peak / 50, "the most that was in use grew by 2 % at most");
    failures += report(n_free == s.n_pages, "no page is lost");
    failures += report(shared > 0 && evicted > 0 && copied > 0, "all ways were gone");
    end(&s);
    failures += report(atomic_load(&s.memory.n_live) == 0, "no block of memory is lost");
    printf("1..%d\n", n_cases);
    return failures != 0;
}
