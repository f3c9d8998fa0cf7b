/* Requests. */
#include <string.h>

#include "api/engine.h"

static rad_engine *engine_of(const radllm_request *request)
{
    return request->session->engine->engine;
}

static radllm_status wrap(radllm_session *session, const int32_t *tokens, size_t count,
                          const radllm_options *options, const rad_chat_template *chat_template,
                          radllm_request **out, radllm_error *error)
{
    rad_engine *engine = session->engine->engine;
    const rad_allocator *allocator = &engine->host.allocator;
    rad_request_settings settings;
    rad_request_lists lists;
    radllm_status status =
        rad_options_request(options, engine->model, chat_template, &settings, &lists, error);
    if (status != RADLLM_OK)
        return status;
    radllm_request *request = rad_alloc_zero(allocator, sizeof *request);
    if (request == NULL)
        status = rad_fail_memory(error, sizeof *request);
    else
        status = rad_request_create(session->session, tokens, count, &settings, &request->request,
                                    error);
    rad_request_lists_free(&lists);
    if (status != RADLLM_OK) {
        rad_free(allocator, request, sizeof *request);
        return status;
    }
    request->session = rad_session_retain(session);
    *out = request;
    return RADLLM_OK;
}

radllm_status radllm_request_new_tokens(radllm_session *session, const int32_t *tokens,
                                        size_t count, const radllm_options *options,
                                        radllm_request **out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(session);
    RAD_CHECK_NULL(out);
    if (tokens == NULL && count != 0)
        return rad_fail_null(error, "tokens");
    RAD_CHECK_PROCESS(session->engine->engine->process);
    return wrap(session, tokens, count, options, NULL, out, error);
}

/* The tokens of an empty prompt. A BOS that is no control token is only the default of vocabularies
 * that name none. */
static radllm_status begin_with_bos(const rad_tokenizer *tokenizer, rad_tokens *tokens,
                                    radllm_error *error)
{
    int32_t bos = rad_tokenizer_bos(tokenizer);
    if (bos < 0 || rad_tokenizer_piece(tokenizer, bos, false, NULL, 0) != 0)
        return RADLLM_OK;
    if (!rad_tokens_push(tokens, bos))
        return rad_fail_memory(error, sizeof bos);
    return RADLLM_OK;
}

radllm_status radllm_request_new_complete(radllm_session *session, const char *prompt,
                                          size_t length, const radllm_options *options,
                                          radllm_request **out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(session);
    RAD_CHECK_NULL(prompt);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(session->engine->engine->process);
    const rad_model *model = session->engine->model->model;
    rad_tokens tokens = {.allocator = &model->host.allocator};
    uint32_t flags = RADLLM_TOKENIZE_ADD_SPECIAL;
    if (rad_option_integer(options, RAD_OPTION_SPECIAL) != 0)
        flags |= RADLLM_TOKENIZE_PARSE_SPECIAL;
    radllm_status status = rad_tokenizer_encode(
        model->tokenizer, prompt, rad_text_length(prompt, length), flags, &tokens, error);
    if (status == RADLLM_OK && tokens.count == 0)
        status = begin_with_bos(model->tokenizer, &tokens, error);
    if (status == RADLLM_OK)
        status = wrap(session, tokens.ids, tokens.count, options, NULL, out, error);
    rad_tokens_free(&tokens);
    return status;
}

radllm_status radllm_request_new_chat(radllm_session *session, const radllm_chat *chat,
                                      const radllm_options *options, radllm_request **out,
                                      radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(session);
    RAD_CHECK_NULL(chat);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(session->engine->engine->process);
    const radllm_model *model = session->engine->model;
    rad_tokens tokens = {.allocator = &model->host.allocator};
    const rad_chat_template *used;
    radllm_status status = rad_chat_encode(model, chat, options, &tokens, &used, error);
    if (status == RADLLM_OK)
        status = wrap(session, tokens.ids, tokens.count, options, used, out, error);
    rad_tokens_free(&tokens);
    return status;
}

radllm_status radllm_request_set_choices(radllm_request *request, const char *const *choices,
                                         const size_t *lengths, size_t count, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(request);
    RAD_CHECK_NULL(choices);
    RAD_CHECK_PROCESS(engine_of(request)->process);
    if (count == 0 || count > 65536)
        return rad_fail(error, RADLLM_E_ARGUMENT, "%zu choices were given; 1 to 65536 are allowed",
                        count);
    const rad_allocator *allocator = &engine_of(request)->host.allocator;
    rad_text *texts = rad_alloc(allocator, count * sizeof *texts);
    if (texts == NULL)
        return rad_fail_memory(error, count * sizeof *texts);
    radllm_status status = RADLLM_OK;
    for (size_t i = 0; i < count && status == RADLLM_OK; i++) {
        if (choices[i] == NULL)
            status = rad_fail(error, RADLLM_E_ARGUMENT, "choice %zu is NULL", i);
        else
            texts[i] = (rad_text){
                choices[i], rad_text_length(choices[i], lengths != NULL ? lengths[i] : RADLLM_NUL)};
    }
    if (status == RADLLM_OK)
        status = rad_request_set_choices(request->request, texts, count, error);
    rad_free(allocator, texts, count * sizeof *texts);
    return status;
}

/* For settings that a running request reads. */
static radllm_status check_new(const radllm_request *request, const char *what, radllm_error *error)
{
    RAD_CHECK_PROCESS(engine_of(request)->process);
    if (radllm_request_state(request) != RADLLM_REQUEST_NEW)
        return rad_fail(error, RADLLM_E_STATE, "the %s is set before the request is submitted",
                        what);
    return RADLLM_OK;
}

radllm_status radllm_request_set_callback(radllm_request *request, radllm_text_fn callback,
                                          void *user, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(request);
    radllm_status status = check_new(request, "callback", error);
    if (status == RADLLM_OK) {
        request->request->callback = callback;
        request->request->callback_user = user;
    }
    return status;
}

radllm_status radllm_request_set_draft(radllm_request *request, radllm_draft_fn callback,
                                       void *user, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(request);
    radllm_status status = check_new(request, "draft callback", error);
    if (status == RADLLM_OK) {
        request->request->draft_callback = callback;
        request->request->draft_user = user;
    }
    return status;
}

radllm_status radllm_request_set_logits(radllm_request *request, radllm_logits_fn callback,
                                        void *user, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(request);
    radllm_status status = check_new(request, "logits callback", error);
    if (status == RADLLM_OK) {
        request->request->logits_callback = callback;
        request->request->logits_user = user;
    }
    return status;
}

radllm_status radllm_request_run(radllm_request *request, const radllm_cancel *cancel,
                                 radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(request);
    RAD_CHECK_PROCESS(engine_of(request)->process);
    rad_fpenv saved = rad_fpenv_enter();
    radllm_status status = rad_request_run(request->request, cancel, error);
    rad_fpenv_leave(saved);
    return status;
}

radllm_status radllm_request_submit(radllm_request *request, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(request);
    RAD_CHECK_PROCESS(engine_of(request)->process);
    return rad_request_submit(request->request, error);
}

void radllm_request_cancel(radllm_request *request)
{
    if (request != NULL)
        atomic_store(&request->request->cancelled, true);
}

void radllm_request_free(radllm_request *request)
{
    if (request == NULL)
        return;
    radllm_session *session = request->session;
    rad_allocator allocator = engine_of(request)->host.allocator;
    rad_request_free(request->request);
    rad_free(&allocator, request, sizeof *request);
    radllm_session_free(session);
}

/* ---- results --------------------------------------------------------------------------------- */

int32_t radllm_request_state(const radllm_request *request)
{
    if (request == NULL || rad_check_process(engine_of(request)->process, NULL) != RADLLM_OK)
        return RADLLM_REQUEST_FAILED;
    rad_engine *engine = engine_of(request);
    pthread_mutex_lock(&engine->mutex);
    int32_t state = request->request->state;
    pthread_mutex_unlock(&engine->mutex);
    return state;
}

int32_t radllm_request_finish(const radllm_request *request)
{
    if (request == NULL || rad_check_process(engine_of(request)->process, NULL) != RADLLM_OK)
        return RADLLM_FINISH_ERROR;
    rad_engine *engine = engine_of(request);
    pthread_mutex_lock(&engine->mutex);
    int32_t finish = request->request->finish;
    pthread_mutex_unlock(&engine->mutex);
    return finish;
}

radllm_status radllm_request_status(const radllm_request *request, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(request);
    RAD_CHECK_PROCESS(engine_of(request)->process);
    rad_engine *engine = engine_of(request);
    pthread_mutex_lock(&engine->mutex);
    radllm_status status = request->request->error.status;
    if (status != RADLLM_OK)
        rad_fail(error, status, "%s", request->request->error.message);
    pthread_mutex_unlock(&engine->mutex);
    return status;
}

radllm_status radllm_request_text(const radllm_request *request, char *buffer, size_t capacity,
                                  size_t *length, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(request);
    RAD_CHECK_PROCESS(engine_of(request)->process);
    rad_engine *engine = engine_of(request);
    pthread_mutex_lock(&engine->mutex);
    radllm_status status = rad_copy_out(request->request->text, request->request->text_final,
                                        buffer, capacity, length, error);
    pthread_mutex_unlock(&engine->mutex);
    return status;
}

radllm_status radllm_request_read(radllm_request *request, char *buffer, size_t capacity,
                                  size_t *length, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(request);
    RAD_CHECK_PROCESS(engine_of(request)->process);
    rad_engine *engine = engine_of(request);
    rad_request *inner = request->request;
    pthread_mutex_lock(&engine->mutex);
    radllm_status status = RADLLM_OK;
    size_t size = inner->text_final - inner->text_read;
    status = rad_copy_out(size > 0 ? inner->text + inner->text_read : "", size, buffer, capacity,
                          length, error);
    if (status == RADLLM_OK)
        inner->text_read += size;
    pthread_mutex_unlock(&engine->mutex);
    return status;
}

radllm_status radllm_request_number(const radllm_request *request, const char *name, int64_t *out,
                                    radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(request);
    RAD_CHECK_NULL(name);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(engine_of(request)->process);
    rad_engine *engine = engine_of(request);
    const rad_request *inner = request->request;
    pthread_mutex_lock(&engine->mutex);
    const rad_named_number numbers[] = {
        {"prompt_tokens", inner->n_prompt},
        {"reused_tokens", inner->n_reused},
        {"answer_tokens", (int64_t)inner->n_answer},
        {"choice", inner->best_choice},
        {"seed", (int64_t)inner->settings.sampler.seed},
        {"prompt_ns", (int64_t)inner->prompt_ns},
        {"answer_ns", (int64_t)inner->answer_ns},
        {"drafted_tokens", (int64_t)inner->n_drafted},
        {"accepted_tokens", (int64_t)inner->n_accepted},
    };
    pthread_mutex_unlock(&engine->mutex);
    return rad_find_number(numbers, sizeof numbers / sizeof *numbers, name, out, error);
}

static radllm_status write_token(int32_t token, float logprob, radllm_answer_token *out,
                                 radllm_error *error)
{
    radllm_answer_token known = {.size = out->size, .token = token, .logprob = logprob};
    return rad_copy_info(out, &known, sizeof known, error);
}

radllm_status radllm_request_token(const radllm_request *request, uint64_t index,
                                   radllm_answer_token *out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(request);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(engine_of(request)->process);
    rad_engine *engine = engine_of(request);
    const rad_request *inner = request->request;
    pthread_mutex_lock(&engine->mutex);
    size_t count = inner->n_answer;
    rad_answer_token token = {-1, 0.0f};
    if (index < count)
        token = inner->answer[index];
    pthread_mutex_unlock(&engine->mutex);
    if (index >= count)
        return rad_fail(error, RADLLM_E_NOT_FOUND, "the answer has %zu tokens", count);
    return write_token(token.token, token.logprob, out, error);
}

radllm_status radllm_request_top_token(const radllm_request *request, uint64_t index, uint32_t rank,
                                       radllm_answer_token *out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(request);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(engine_of(request)->process);
    rad_engine *engine = engine_of(request);
    const rad_request *inner = request->request;
    uint32_t n_top = inner->settings.top_logprobs;
    pthread_mutex_lock(&engine->mutex);
    size_t count = inner->n_answer;
    rad_token_logprob top = {-1, 0.0f};
    if (index < count && rank < n_top)
        top = inner->top[index * n_top + rank];
    pthread_mutex_unlock(&engine->mutex);
    if (index >= count || rank >= n_top)
        return rad_fail(error, RADLLM_E_NOT_FOUND,
                        "the answer has %zu tokens, each with %u most likely ones; the option "
                        "top_logprobs asks for more",
                        count, n_top);
    return write_token(top.token, top.logprob, out, error);
}

radllm_status radllm_request_choice(const radllm_request *request, uint64_t index,
                                    radllm_choice_result *out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(request);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(engine_of(request)->process);
    const rad_request *inner = request->request;
    if (radllm_request_finish(request) != RADLLM_FINISH_CHOICE)
        return rad_fail(error, RADLLM_E_STATE, "the request has made no choice");
    if (index >= inner->n_choices)
        return rad_fail(error, RADLLM_E_NOT_FOUND, "the request has %u choices", inner->n_choices);
    const rad_choice *choice = &inner->choices[index];
    radllm_choice_result known = {.size = out->size,
                                  .logprob = choice->logprob,
                                  .probability = choice->probability,
                                  .n_tokens = choice->n_tokens};
    return rad_copy_info(out, &known, sizeof known, error);
}
