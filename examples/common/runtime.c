#include "common/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/program.h"
#include "common/progress.h"

static void log_line(void *user, int32_t level, const char *line)
{
    (void)user;
    warn("%s%s", level == RADLLM_LOG_WARNING ? "warning: " : "", line);
}

/* One bar per stage of the library's long work. */
static progress_bar stage_bar;
static const char *stage_name;

static int32_t on_progress(void *user, const char *stage, uint64_t done, uint64_t total)
{
    (void)user;
    if (stage_name == NULL || strcmp(stage_name, stage) != 0) {
        stage_name = strcmp(stage, "hash") == 0     ? "hash"
                     : strcmp(stage, "upload") == 0 ? "upload"
                     : strcmp(stage, "check") == 0  ? "check"
                                                    : "load";
        progress_begin(&stage_bar, stage_name, "", total, 0);
        stage_bar.only_on_terminal = true;
    }
    if (done >= total) {
        progress_end(&stage_bar);
        stage_name = NULL;
    } else {
        progress_show(&stage_bar, done);
    }
    return program_interrupted() ? 1 : 0;
}

void runtime_load(runtime *self, const common_settings *common, bool verbose)
{
    *self = (runtime){0};
    if (common->model == NULL)
        fail_usage("name a model file with -m FILE");
    radllm_error *error = program_error();
    check(radllm_host_new(NULL, NULL, NULL, &self->host, error), NULL);
    check(radllm_host_set_log(self->host, log_line, NULL,
                              verbose ? RADLLM_LOG_INFO : RADLLM_LOG_WARNING, error),
          NULL);
    check(radllm_host_set_progress(self->host, on_progress, NULL, error), NULL);
    double start = clock_seconds();
    radllm_status status = radllm_model_open(self->host, common->model, common->options,
                                             program_cancel(), &self->model, error);
    progress_clear(&stage_bar);
    check(status, NULL);
    if (common->draft_model != NULL) {
        char *adapters = option_text(common->options, "adapter"); /* not for this one */
        check(radllm_options_reset(common->options, "adapter", error), "adapter");
        status = radllm_model_open(self->host, common->draft_model, common->options,
                                   program_cancel(), &self->draft, error);
        progress_clear(&stage_bar);
        check(status, NULL);
        for (char *line = strtok(adapters, "\n"); line != NULL; line = strtok(NULL, "\n"))
            option_set(common->options, "adapter", line, "--lora");
        free(adapters);
    }
    self->load_seconds = clock_seconds() - start;
}

/* For programs that have the model write, or choose. */
static void require_text(const radllm_model *model)
{
    if (model_number(model, "generates") != 0)
        return;
    char *architecture = model_text(model, "architecture");
    fail("the model (architecture %s) gives embeddings and no text: use radllm-embed",
         architecture);
}

static radllm_status new_engine(runtime *self, const common_settings *common)
{
    radllm_error *error = program_error();
    require_text(self->model);
    radllm_status status =
        self->draft != NULL
            ? radllm_engine_new_with_draft(self->host, self->model, self->draft, common->options,
                                           &self->engine, error)
            : radllm_engine_new(self->host, self->model, common->options, &self->engine, error);
    progress_clear(&stage_bar); /* of weights that went to a GPU */
    return status;
}

void runtime_start(runtime *self, const common_settings *common)
{
    check(new_engine(self, common), self->draft != NULL ? common->draft_model : NULL);
    check(radllm_session_new(self->engine, &self->session, program_error()), NULL);
}

int64_t runtime_start_many(runtime *self, const common_settings *common, int64_t sessions)
{
    radllm_error *error = program_error();
    bool asked = option_changed(common->options, "sessions");
    for (; !asked && sessions > 1; sessions /= 2) {
        check(radllm_options_set_integer(common->options, "sessions", sessions, error), "sessions");
        if (new_engine(self, common) != RADLLM_E_BUDGET) {
            check(radllm_error_status(error), self->draft != NULL ? common->draft_model : NULL);
            return sessions;
        }
    }
    if (!asked)
        check(radllm_options_set_integer(common->options, "sessions", 1, error), "sessions");
    check(new_engine(self, common), self->draft != NULL ? common->draft_model : NULL);
    check(radllm_engine_number(self->engine, "sessions", &sessions, error), NULL);
    return sessions;
}

void runtime_free(runtime *self)
{
    radllm_session_free(self->session);
    radllm_engine_free(self->engine);
    radllm_model_free(self->model);
    radllm_model_free(self->draft);
    radllm_host_free(self->host);
    *self = (runtime){0};
}

int64_t model_number(const radllm_model *model, const char *name)
{
    int64_t value = 0;
    check(radllm_model_number(model, name, &value, program_error()), name);
    return value;
}

char *model_text(const radllm_model *model, const char *name)
{
    size_t length = 0;
    radllm_status status = radllm_model_text(model, name, NULL, 0, &length, program_error());
    if (status != RADLLM_OK && status != RADLLM_E_BUFFER)
        check(status, name);
    char *text = memory_take(length + 1);
    check(radllm_model_text(model, name, text, length + 1, &length, program_error()), name);
    text[length] = '\0';
    return text;
}

char *model_hash(const radllm_model *model)
{
    char *text = memory_array(1, 65);
    size_t length = 0;
    radllm_status status =
        radllm_model_hash(model, program_cancel(), text, 65, &length, program_error());
    progress_clear(&stage_bar);
    check(status, "hash of the model");
    return text;
}

buffer request_text(const radllm_request *request)
{
    buffer text = {0};
    size_t length = 0;
    radllm_status status = radllm_request_text(request, NULL, 0, &length, program_error());
    if (status != RADLLM_OK && status != RADLLM_E_BUFFER)
        check(status, "answer");
    buffer_reserve(&text, length);
    check(radllm_request_text(request, text.data, text.capacity, &length, program_error()),
          "answer");
    text.length = length;
    text.data[length] = '\0';
    return text;
}

int64_t request_number(const radllm_request *request, const char *name)
{
    int64_t value = 0;
    check(radllm_request_number(request, name, &value, program_error()), name);
    return value;
}

const char *finish_name(int32_t finish)
{
    static const char *const names[] = {"none",   "end",       "stop", "length",
                                        "choice", "cancelled", "error"};
    return finish >= 0 && finish <= 6 ? names[finish] : "unknown";
}

token_list tokenize(const radllm_model *model, const char *text, size_t length, uint32_t flags)
{
    if (length > SIZE_MAX / 8)
        fail("the text is too long");
    /* Mostly there are fewer tokens than bytes; where not, the call says how many. */
    size_t capacity = length + 16;
    token_list list = {memory_take(capacity * sizeof *list.ids), 0};
    radllm_status status = radllm_tokenize(model, text, length, flags, list.ids, capacity,
                                           &list.count, program_error());
    if (status == RADLLM_E_BUFFER) {
        capacity = list.count;
        list.ids = memory_resize(list.ids, capacity * sizeof *list.ids);
        status = radllm_tokenize(model, text, length, flags, list.ids, capacity, &list.count,
                                 program_error());
    }
    check(status, NULL);
    return list;
}

token_list answer_tokens(const radllm_request *request)
{
    int64_t count = request_number(request, "answer_tokens");
    token_list list = {memory_array((size_t)count, sizeof *list.ids), (size_t)count};
    for (size_t i = 0; i < list.count; i++) {
        radllm_answer_token token = {.size = sizeof token};
        check(radllm_request_token(request, i, &token, program_error()), "answer");
        list.ids[i] = token.token;
    }
    return list;
}

static void text_of(const radllm_model *model, const char *name, char *out, size_t size)
{
    size_t length = 0;
    out[0] = '\0';
    radllm_status status = radllm_model_text(model, name, out, size, &length, program_error());
    if (status == RADLLM_E_BUFFER)
        snprintf(out, size, "(long)");
    else
        check(status, name);
}

void warn_of_base(const radllm_model *model)
{
    char kind[32], reason[256], own[32];
    text_of(model, "kind", kind, sizeof kind);
    text_of(model, "kind_reason", reason, sizeof reason);
    text_of(model, "chat_template", own, sizeof own);
    if (strcmp(kind, "base") == 0 && own[0] == '\0')
        warn("this is a base model (%s): it goes on with texts and was not taught to answer; take "
             "its instruct or chat version",
             reason);
}

void require_template(const radllm_model *model, const radllm_options *options)
{
    warn_of_base(model);
    radllm_chat *chat = NULL;
    size_t count = 0;
    require_text(model);
    check(radllm_chat_new(NULL, &chat, program_error()), NULL);
    check(radllm_chat_add(chat, "user", "x", 1, program_error()), NULL);
    radllm_status status =
        radllm_chat_tokenize(model, chat, options, NULL, 0, &count, program_error());
    radllm_chat_free(chat);
    if (status != RADLLM_E_BUFFER)
        check(status, NULL);
}

/* A value in the type of its option, so that 0 is a number and not "0". */
static json_t *typed_value(const char *text, int32_t type)
{
    if (type == RADLLM_OPTION_LIST) {
        json_t *array = json_array();
        while (*text != '\0') {
            size_t length = strcspn(text, "\n");
            json_push(array, json_from_text(text, length));
            text += length + (text[length] == '\n');
        }
        return array;
    }
    if (type == RADLLM_OPTION_BOOLEAN)
        return json_boolean(strcmp(text, "1") == 0 || strcmp(text, "true") == 0);
    char *end = NULL;
    int64_t integer = 0;
    if (type == RADLLM_OPTION_INTEGER && parse_integer(text, &integer))
        return json_integer(integer);
    double real = strtod(text, &end);
    if (type == RADLLM_OPTION_REAL && text[0] != '\0' && *end == '\0' && real - real == 0)
        return json_real(real);
    return json_from_text(text, strlen(text));
}

static void put_found(json_t *object, const char *key, const char *asked, char *found)
{
    if (asked[0] == '\0' || strcmp(asked, "auto") == 0)
        json_put(object, key, json_from_text(found, strlen(found)));
    free(found);
}

/* Options of model and engine that decide what an answer is. Numbers of a policy belong to it
 * alone, and a rounding to one format, so that they are left out where they were not set. */
static bool setting_changes_answers(const radllm_options *options, const char *name)
{
    static const char *const always[] = {"context", "cache", "fast", "attention"};
    static const char *const where_set[] = {"window",     "sinks",        "recompute_period",
                                            "cache_keys", "cache_values", "nf4"};
    for (size_t i = 0; i < sizeof always / sizeof *always; i++) {
        if (strcmp(name, always[i]) == 0)
            return true;
    }
    for (size_t i = 0; i < sizeof where_set / sizeof *where_set; i++) {
        if (strcmp(name, where_set[i]) == 0)
            return option_changed(options, name);
    }
    return false;
}

static void put_engine_text(json_t *object, const radllm_engine *engine, const char *name)
{
    char text[512];
    check(radllm_engine_text(engine, name, text, sizeof text, NULL, program_error()), name);
    json_put(object, name, json_string(text));
}

void put_device(json_t *settings, const radllm_engine *engine)
{
    int64_t layers = 0;
    check(radllm_engine_number(engine, "gpu_layers", &layers, program_error()), NULL);
    if (layers == 0)
        return;
    put_engine_text(settings, engine, "device");
    put_engine_text(settings, engine, "placement");
}

json_t *settings_json(const radllm_model *model, const radllm_options *options)
{
    json_t *object = json_object();
    for (uint32_t i = 0;; i++) {
        radllm_option_info info = {.size = sizeof info};
        if (radllm_option_describe(i, &info) != RADLLM_OK)
            break;
        bool speed_only = strcmp(info.name, "speculate") == 0 ||
                          strcmp(info.name, "draft_tokens") == 0 ||
                          strcmp(info.name, "cache_salt") == 0;
        bool changes_answers = ((info.scope & RADLLM_SCOPE_REQUEST) != 0 && !speed_only) ||
                               setting_changes_answers(options, info.name);
        if (!changes_answers)
            continue;
        char *text = option_text(options, info.name);
        json_put(object, info.name, typed_value(text, info.type));
        if (model != NULL && strcmp(info.name, "template") == 0)
            put_found(object, info.name, text, model_text(model, "template"));
        if (model != NULL && strcmp(info.name, "cache") == 0)
            put_found(object, info.name, text, model_text(model, "cache_type"));
        free(text);
    }
    char *adapters = model != NULL ? model_text(model, "adapters") : NULL;
    if (adapters != NULL && adapters[0] != '\0')
        json_put(object, "adapters", json_string(adapters));
    free(adapters);
    return object;
}
