/* From logits to the answer: choosing tokens, text and stop strings, scoring of choices. */
#include "engine/request.h"

#include <math.h>
#include <string.h>

#include "base/numeric.h"

static rad_engine *engine_of(const rad_request *request)
{
    return request->session->engine;
}

/* ---- text and stop strings ------------------------------------------------------------------ */

/* Position of the first stop string in text that ends behind `from`, or SIZE_MAX. */
static size_t find_stop(const rad_request *r, size_t from)
{
    size_t best = SIZE_MAX;
    for (size_t s = 0; s < r->settings.n_stops; s++) {
        const rad_text *stop = &r->settings.stops[s];
        if (stop->size == 0 || stop->size > r->text_size)
            continue;
        size_t start = from > stop->size ? from - stop->size : 0;
        for (size_t i = start; i + stop->size <= r->text_size && i < best; i++) {
            if (memcmp(r->text + i, stop->data, stop->size) == 0)
                best = i;
        }
    }
    return best;
}

/* How many bytes at the end may be the beginning of a stop string. */
static size_t held_back(const rad_request *r)
{
    size_t longest = 0;
    for (size_t s = 0; s < r->settings.n_stops; s++) {
        const rad_text *stop = &r->settings.stops[s];
        size_t n = stop->size == 0 ? 0 : stop->size - 1;
        n = n < r->text_size ? n : r->text_size;
        for (; n > longest; n--) {
            if (memcmp(r->text + r->text_size - n, stop->data, n) == 0)
                longest = n;
        }
    }
    return longest;
}

/* Appends a token's text; true when a stop string ended the answer. *failed: memory. */
static bool append_text(rad_request *r, int32_t token, bool *failed)
{
    size_t n = rad_detokenizer_push(&r->detokenizer, token, r->piece);
    size_t before = r->text_size;
    if (n > 0) {
        if (!rad_reserve(&engine_of(r)->host.allocator, (void **)&r->text, &r->text_capacity,
                         r->text_size + n, 1)) {
            *failed = true;
            return false;
        }
        memcpy(r->text + r->text_size, r->piece, n);
        r->text_size += n;
    }
    size_t stop = find_stop(r, before);
    if (stop != SIZE_MAX) {
        r->text_size = stop;
        return true;
    }
    r->text_final = r->text_size - held_back(r);
    return false;
}

/* ---- generating --------------------------------------------------------------------------------
 */

static bool is_stop_token(const rad_request *r, int32_t token)
{
    for (size_t i = 0; i < r->settings.n_stop_tokens; i++) {
        if (r->settings.stop_tokens[i] == token)
            return true;
    }
    return false;
}

/* There is room already, but where an answer without end outgrows the context. */
static radllm_status reserve_token(rad_request *r, radllm_error *error)
{
    rad_engine *engine = engine_of(r);
    const rad_allocator *allocator = &engine->host.allocator;
    size_t count = r->n_answer + 1, n_top = r->settings.top_logprobs;
    pthread_mutex_lock(&engine->mutex);
    bool enough = rad_reserve(allocator, (void **)&r->answer, &r->answer_capacity, count,
                              sizeof *r->answer) &&
                  (n_top == 0 || rad_reserve(allocator, (void **)&r->top, &r->top_capacity,
                                             count * n_top, sizeof *r->top));
    pthread_mutex_unlock(&engine->mutex);
    return enough ? RADLLM_OK : rad_fail_memory(error, count * sizeof *r->answer);
}

/* Whether the next token is all that is wanted of logits. */
static bool wants_token(const rad_request *request)
{
    return request->n_choices == 0 && request->logits_callback == NULL &&
           request->settings.top_logprobs == 0;
}

bool rad_request_is_greedy(const rad_request *request)
{
    return wants_token(request) &&
           rad_sampler_is_greedy(&request->settings.sampler,
                                 engine_of(request)->model->hparams.n_vocab);
}

rad_draw rad_request_draw(const rad_request *request, uint32_t i)
{
    const rad_sampler_settings *settings = &request->settings.sampler;
    if (!wants_token(request) ||
        !rad_sampler_is_plain(settings, engine_of(request)->model->hparams.n_vocab))
        return (rad_draw){0.0, 0.0};
    return (rad_draw){rad_random_unit(settings->seed, 0, request->n_answer + i),
                      settings->temperature};
}

/* What the device chose of an output row by itself; -1: the logits, or the best tokens, are to be
 * looked at. */
static int32_t chosen_there(const rad_request *request, uint32_t output)
{
    const rad_backend *backend = engine_of(request)->backend;
    if (rad_request_is_greedy(request))
        return backend->table->choice(backend, output);
    return wants_token(request) && backend->table->drawn != NULL
               ? backend->table->drawn(backend, output)
               : -1;
}

bool rad_request_narrows(const rad_request *request)
{
    /* Where many tokens are about as likely, as with a high top_p, one look is better than two. */
    enum { SOME = 8, SHARE = 4 };
    return wants_token(request) && request->n_undecided < SOME + request->n_answer / SHARE &&
           rad_sampler_can_narrow(&request->settings.sampler,
                                  engine_of(request)->model->hparams.n_vocab);
}

static rad_best_tokens best_of(const rad_request *request, uint32_t output)
{
    const rad_backend *backend = engine_of(request)->backend;
    if (backend->table->best == NULL)
        return (rad_best_tokens){NULL, 0, false, 0.0};
    return backend->table->best(backend, output);
}

bool rad_request_has_best(const rad_request *request, uint32_t output)
{
    return request->narrows && best_of(request, output).n > 0;
}

static int32_t choose_best(const rad_request *request, uint32_t output, rad_sampler *sampler)
{
    rad_best_tokens best = best_of(request, output);
    uint32_t n_history;
    const int32_t *history = rad_session_history(request->session, 0, &n_history);
    return rad_sampler_choose_best(sampler, &request->settings.sampler, &best,
                                   engine_of(request)->model->hparams.n_vocab, history, n_history,
                                   0, request->n_answer);
}

/* Chooses a token, unless it is known, and its log-probabilities and books them. */
static bool choose(rad_request *r, const float *logits, int32_t *token)
{
    rad_engine *engine = engine_of(r);
    uint32_t n_vocab = engine->model->hparams.n_vocab, n_top = r->settings.top_logprobs;
    radllm_error error = {.status = RADLLM_OK};
    uint32_t n_history;
    const int32_t *history = rad_session_history(r->session, 0, &n_history);
    radllm_status status = reserve_token(r, &error);
    if (status == RADLLM_OK && *token < 0)
        status = rad_sampler_choose(engine->samplers[0], &r->settings.sampler, logits, n_vocab,
                                    history, n_history, 0, r->n_answer, token, &error);
    if (status != RADLLM_OK) {
        rad_request_fail(r, &error);
        return false;
    }
    float logprob = NAN;
    if (n_top > 0) {
        logprob = (float)rad_log_probability(logits, n_vocab, *token);
        rad_top_logprobs(logits, n_vocab, n_top, r->top + r->n_answer * n_top);
    }
    pthread_mutex_lock(&engine->mutex);
    r->answer[r->n_answer++] = (rad_answer_token){*token, logprob};
    pthread_mutex_unlock(&engine->mutex);
    return true;
}

/* The prompt is computed. Whoever asks for numbers meanwhile reads them under the mutex. */
static void note_prompt_time(rad_request *r)
{
    rad_engine *engine = engine_of(r);
    pthread_mutex_lock(&engine->mutex);
    r->prompt_ns = rad_clock_ns() - r->start_ns;
    pthread_mutex_unlock(&engine->mutex);
}

/* token: what is chosen of them, or -1. logits: NULL where they are not wanted besides. */
static void take_answer_logits(rad_request *r, const float *logits, int32_t token)
{
    rad_engine *engine = engine_of(r);
    int64_t most = r->settings.max_tokens;
    if (r->n_answer == 0)
        note_prompt_time(r);
    r->phase = RAD_PHASE_GENERATE;
    if (most == 0) {
        rad_request_finish(r, RADLLM_FINISH_LENGTH);
        return;
    }
    if (r->logits_callback != NULL &&
        r->logits_callback(r->logits_user, (uint32_t)r->n_answer, logits,
                           engine->model->hparams.n_vocab) != 0) {
        atomic_store(&r->cancelled, true);
        return;
    }
    if (!choose(r, logits, &token))
        return;
    bool end = !r->settings.ignore_end && rad_tokenizer_is_end(engine->model->tokenizer, token);
    if (end || is_stop_token(r, token)) { /* the token is no part of the answer */
        pthread_mutex_lock(&engine->mutex);
        r->n_answer--;
        pthread_mutex_unlock(&engine->mutex);
        rad_request_finish(r, end ? RADLLM_FINISH_END : RADLLM_FINISH_STOP);
        return;
    }
    bool failed = false;
    pthread_mutex_lock(&engine->mutex);
    bool stopped = append_text(r, token, &failed);
    pthread_mutex_unlock(&engine->mutex);
    if (failed) {
        radllm_error error = {.status = RADLLM_OK};
        rad_fail_memory(&error, r->text_size * 2);
        rad_request_fail(r, &error);
    } else if (stopped) {
        rad_request_finish(r, RADLLM_FINISH_STOP);
    } else if ((most > 0 && r->n_answer >= (uint64_t)most) ||
               r->session->n_known >= engine->plan.positions) {
        rad_request_finish(r, RADLLM_FINISH_LENGTH);
    }
}

/* ---- choices -----------------------------------------------------------------------------------
 */

static bool finite_logits(const float *logits, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!isfinite(logits[i]) && logits[i] != -INFINITY)
            return false;
    }
    return true;
}

static void finish_choices(rad_request *r)
{
    rad_engine *engine = engine_of(r);
    int32_t best = 0;
    for (uint32_t i = 1; i < r->n_choices; i++) {
        if (r->choices[i].logprob > r->choices[best].logprob)
            best = (int32_t)i;
    }
    double total = 0.0;
    for (uint32_t i = 0; i < r->n_choices; i++) {
        r->choices[i].probability = rad_exp(r->choices[i].logprob - r->choices[best].logprob);
        total += r->choices[i].probability;
    }
    for (uint32_t i = 0; i < r->n_choices; i++)
        r->choices[i].probability /= total;
    const rad_text *text = &r->choices[best].text;
    bool stored;
    pthread_mutex_lock(&engine->mutex);
    stored =
        rad_reserve(&engine->host.allocator, (void **)&r->text, &r->text_capacity, text->size, 1);
    if (stored) {
        memcpy(r->text, text->data, text->size);
        r->text_size = text->size;
        r->best_choice = best;
    }
    pthread_mutex_unlock(&engine->mutex);
    if (stored) {
        rad_request_finish(r, RADLLM_FINISH_CHOICE);
        return;
    }
    radllm_error error = {.status = RADLLM_OK};
    rad_fail_memory(&error, text->size);
    rad_request_fail(r, &error);
}

/* Moves to the next answer that has more than one token. */
static void next_choice(rad_request *r)
{
    while (r->choice < r->n_choices &&
           r->choices[r->choice].n_scored == r->choices[r->choice].n_tokens)
        r->choice++;
    if (r->choice == r->n_choices) {
        finish_choices(r);
        return;
    }
    rad_session_cut(r->session, r->n_prompt);
    if (r->session->n_tokens == 0) /* a windowed layer lost the prompt's end */
        rad_request_restart(r);
}

static void score(rad_request *r, rad_choice *choice, const float *logits)
{
    choice->logprob += rad_log_probability(logits, engine_of(r)->model->hparams.n_vocab,
                                           choice->tokens[choice->n_scored]);
    choice->n_scored++;
}

static void take_choice_logits(rad_request *r, const float *logits)
{
    if (!finite_logits(logits, engine_of(r)->model->hparams.n_vocab)) {
        radllm_error error = {.status = RADLLM_OK};
        rad_fail(&error, RADLLM_E_NUMERIC,
                 "the model's logits are not finite; the file may be damaged");
        rad_request_fail(r, &error);
        return;
    }
    if (r->phase == RAD_PHASE_PROMPT && r->choices[0].n_scored > 0) { /* it was computed anew */
        r->phase = RAD_PHASE_CHOICE;
        return;
    }
    if (r->phase == RAD_PHASE_PROMPT) { /* these logits score the first token of every answer */
        note_prompt_time(r);
        r->phase = RAD_PHASE_CHOICE;
        for (uint32_t i = 0; i < r->n_choices; i++)
            score(r, &r->choices[i], logits);
        next_choice(r);
        return;
    }
    rad_choice *choice = &r->choices[r->choice];
    score(r, choice, logits);
    if (choice->n_scored == choice->n_tokens)
        next_choice(r);
}

bool rad_request_can_choose_ahead(const rad_request *request, uint32_t output)
{
    return request->state == RADLLM_REQUEST_PENDING && request->n_choices == 0 &&
           request->settings.max_tokens != 0 && chosen_there(request, output) < 0;
}

void rad_request_choose_ahead(rad_request *request, uint32_t output, rad_sampler *sampler)
{
    const rad_backend *backend = engine_of(request)->backend;
    uint32_t n_history;
    if (rad_request_has_best(request, output)) {
        request->ahead = choose_best(request, output, sampler);
        return;
    }
    const float *logits = backend->table->logits(backend, output); /* they were fetched for it */
    const int32_t *history = rad_session_history(request->session, 0, &n_history);
    (void)rad_sampler_choose(sampler, &request->settings.sampler, logits,
                             engine_of(request)->model->hparams.n_vocab, history, n_history, 0,
                             request->n_answer, &request->ahead, NULL);
}

void rad_request_take_output(rad_request *request, uint32_t output)
{
    rad_backend *backend = engine_of(request)->backend;
    radllm_error error = {.status = RADLLM_OK};
    const float *logits = NULL;
    int32_t token = request->ahead;
    request->ahead = -1;
    if (request->state != RADLLM_REQUEST_PENDING)
        return;
    if (token >= 0 && !request->narrows)
        logits = backend->table->logits(backend, output); /* they were fetched for it */
    else if (token < 0)
        token = chosen_there(request, output);
    if (token < 0 && request->narrows)
        token = choose_best(request, output, engine_of(request)->samplers[0]);
    request->n_undecided += token < 0 && request->narrows;
    if (token < 0) {
        if (backend->table->fetch(backend, output, 1, &error) != RADLLM_OK) {
            rad_request_fail(request, &error);
            return;
        }
        logits = backend->table->logits(backend, output);
    }
    if (request->n_choices > 0)
        take_choice_logits(request, logits);
    else
        take_answer_logits(request, logits, token);
}
