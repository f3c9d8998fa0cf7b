#include "contract/answer.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash;
}

int32_t add_logits(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    (void)position;
    uint64_t *hash = user;
    *hash = hash_bytes(*hash, logits, n_vocab * sizeof *logits);
    return 0;
}

void fail(const char *what, const radllm_error *error)
{
    printf("Bail out! %s: %s\n", what, radllm_error_message(error));
    exit(1);
}

/* An answer that was given before, and where it begins. */
typedef struct recording {
    int32_t tokens[ANSWER_TOKENS];
    uint32_t n_prompt;
} recording;

static int32_t propose(void *user, const int32_t *tokens, uint32_t count, int32_t *draft,
                       uint32_t capacity)
{
    const recording *r = user;
    uint32_t at = count - r->n_prompt, n = 0;
    for (; n < capacity && at + n < ANSWER_TOKENS; n++)
        draft[n] = (at + n) % 3 == 1 ? tokens[0] : r->tokens[at + n];
    return (int32_t)n;
}

static radllm_request *new_request(radllm_session *session, const int32_t *prompt, size_t n_prompt,
                                   const char *speculate, radllm_error *error)
{
    static const char *const settings[][2] = {{"temperature", "0.8"},    {"seed", "3"},
                                              {"repeat_penalty", "1.1"}, {"penalty_last_n", "24"},
                                              {"ignore_end", "1"},       {"draft_tokens", "5"}};
    radllm_options *options;
    radllm_request *request = NULL;
    if (radllm_options_new(NULL, &options, error) != RADLLM_OK)
        fail("options", error);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (radllm_options_set_text(options, settings[i][0], settings[i][1], RADLLM_NUL, error) !=
            RADLLM_OK)
            fail("options", error);
    }
    if (radllm_options_set_integer(options, "max_tokens", ANSWER_TOKENS, error) != RADLLM_OK ||
        radllm_options_set_text(options, "speculate", speculate, RADLLM_NUL, error) != RADLLM_OK ||
        radllm_request_new_tokens(session, prompt, n_prompt, options, &request, error) != RADLLM_OK)
        fail("answer", error);
    radllm_options_free(options);
    return request;
}

static uint64_t answer(radllm_session *session, const int32_t *prompt, size_t n_prompt,
                       const char *speculate, recording *made, recording *guesses,
                       radllm_error *error)
{
    uint64_t hash = 14695981039346656037u;
    radllm_request *request = new_request(session, prompt, n_prompt, speculate, error);
    if (radllm_request_set_logits(request, add_logits, &hash, error) != RADLLM_OK ||
        (guesses != NULL &&
         radllm_request_set_draft(request, propose, guesses, error) != RADLLM_OK) ||
        radllm_request_run(request, NULL, error) != RADLLM_OK)
        fail("answer", error);
    made->n_prompt = (uint32_t)n_prompt;
    for (uint64_t i = 0; i < ANSWER_TOKENS; i++) {
        radllm_answer_token token = {.size = sizeof token};
        if (radllm_request_token(request, i, &token, error) != RADLLM_OK)
            fail("answer", error);
        made->tokens[i] = token.token;
    }
    radllm_request_free(request);
    return hash_bytes(hash, made->tokens, sizeof made->tokens);
}

uint64_t hash_answer(radllm_session *session, radllm_session *company, const int32_t *prompt,
                     size_t n_prompt, const char *speculation, radllm_error *error)
{
    recording made, again;
    radllm_request *beside = NULL;
    uint64_t hash;
    bool host = strcmp(speculation, "host") == 0;
    if (host)
        (void)answer(session, prompt, n_prompt, "off", &made, NULL, error);
    if (company != NULL) { /* a prompt of other tokens, and an answer as long as this one's */
        beside = new_request(company, prompt + 1, n_prompt / 5, host ? "off" : speculation, error);
        if (radllm_request_submit(beside, error) != RADLLM_OK)
            fail("company", error);
    }
    hash = host ? answer(session, prompt, n_prompt, "off", &again, &made, error)
                : answer(session, prompt, n_prompt, speculation, &made, NULL, error);
    radllm_request_free(beside);
    return hash;
}
