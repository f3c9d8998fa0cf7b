/* From settings to a model, an engine and a session, with messages on standard error. */
#ifndef EXAMPLES_RUNTIME_H
#define EXAMPLES_RUNTIME_H

#include <jansson.h>
#include <radllm/radllm.h>

#include "common/arguments.h"
#include "common/text.h"

typedef struct runtime {
    radllm_host *host;
    radllm_model *model;
    radllm_model *draft; /* of --draft-model; NULL: none */
    radllm_engine *engine;
    radllm_session *session;
    double load_seconds;
} runtime;

/* Loads the model of -m, and that of --draft-model where it was given. All functions here end the
 * program with a message when they fail. */
void runtime_load(runtime *self, const common_settings *common, bool verbose);
/* An engine over the model and a session on it. */
void runtime_start(runtime *self, const common_settings *common);
/* An engine for several sessions, none of which is made: as many as the option "sessions" says,
 * else `sessions`, or the half, a quarter, ... of them where the option memory_budget allows no
 * more. Returns how many. */
int64_t runtime_start_many(runtime *self, const common_settings *common, int64_t sessions);
void runtime_free(runtime *self);

int64_t model_number(const radllm_model *model, const char *name);
/* Texts that the caller frees. */
char *model_text(const radllm_model *model, const char *name);
char *model_hash(const radllm_model *model);
buffer request_text(const radllm_request *request);
int64_t request_number(const radllm_request *request, const char *name);
const char *finish_name(int32_t finish);

typedef struct token_list {
    int32_t *ids;
    size_t count;
} token_list;
token_list tokenize(const radllm_model *model, const char *text, size_t length, uint32_t flags);
/* The ids of a request's answer. */
token_list answer_tokens(const radllm_request *request);

/* Warns where a model that was not taught to answer, and has no chat template, is asked to. */
void warn_of_base(const radllm_model *model);
/* The same, and checks that there is a chat template: one that the model's own text equals, or the
 * one that
 * --template names. Else ends the program with the library's message, which lists the names and
 * offers --raw. */
void require_template(const radllm_model *model, const radllm_options *options);

/* The options of requests and those of the engine that can change an answer, as they stand, with
 * the template and the cache format that were found in the model. */
json_t *settings_json(const radllm_model *model, const radllm_options *options);
/* Adds what computes, and which layers where, unless the CPU does all. */
void put_device(json_t *settings, const radllm_engine *engine);

#endif
