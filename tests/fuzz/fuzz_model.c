/* Fuzzes whole models through the public header: a file is refused, or it loads and computes an
 * answer or says why not, in bounded memory. What radllm_file_check_model() takes must load. */
#include "fuzz_common.h"

#define MOST_MEMORY ((size_t)256 << 20)

/* Memory beyond what such a small file may ask for is refused. */
static void *take_some(void *user, size_t size, size_t alignment)
{
    return memory_take_within(MOST_MEMORY, user, size, alignment);
}

static radllm_options *make_options(const radllm_host *host)
{
    static const char *const settings[][2] = {{"threads", "1"},
                                              {"context", "32"},
                                              {"batch", "8"},
                                              {"max_tokens", "4"},
                                              {"top_logprobs", "2"}};
    radllm_options *options = NULL;
    if (radllm_options_new(host, &options, NULL) != RADLLM_OK)
        return NULL;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        HOLDS(radllm_options_set_text(options, settings[i][0], settings[i][1], RADLLM_NUL, NULL) ==
              RADLLM_OK);
    return options;
}

static void answer(const radllm_host *host, radllm_model *model, const radllm_options *options)
{
    radllm_engine *engine = NULL;
    radllm_session *session = NULL;
    radllm_request *request = NULL;
    radllm_status status = radllm_engine_new(host, model, options, &engine, NULL);
    int64_t generates = 1;
    HOLDS(radllm_model_number(model, "generates", &generates, NULL) == RADLLM_OK);
    if (status == RADLLM_OK && generates == 0) {
        size_t needed = 0;
        (void)embed_some(engine, options, &needed);
        radllm_engine_free(engine);
        return;
    }
    if (status == RADLLM_OK)
        status = radllm_session_new(engine, &session, NULL);
    if (status == RADLLM_OK)
        status =
            radllm_request_new_complete(session, "the liver", RADLLM_NUL, options, &request, NULL);
    if (status == RADLLM_OK)
        status = radllm_request_run(request, NULL, NULL);
    HOLDS(model_may_end_with(status));
    radllm_request_free(request);
    radllm_session_free(session);
    radllm_engine_free(engine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    memory m = {.fail_at = failing_allocation(data, size, 64)};
    radllm_host *host = NULL;
    if (radllm_host_new(take_some, memory_give_back, &m, &host, NULL) != RADLLM_OK)
        return 0;
    radllm_options *options = make_options(host);
    radllm_error error = {0};
    radllm_file *file = NULL;
    radllm_model *model = NULL;
    radllm_status status = radllm_file_open_callback(host, read_input, &in, size, &file, &error);
    HOLDS(model_may_end_with(status) && (status == RADLLM_OK || error.message[0] != '\0'));
    if (status == RADLLM_OK) {
        radllm_status checked = radllm_file_check_model(file, &error);
        HOLDS(model_may_end_with(checked) && (checked == RADLLM_OK || error.message[0] != '\0'));
        status = radllm_model_load(host, file, options, NULL, &model, &error);
        HOLDS(model_may_end_with(status) && (status == RADLLM_OK || error.message[0] != '\0'));
        HOLDS(status == checked || status == RADLLM_E_MEMORY || checked == RADLLM_E_MEMORY);
    }
    if (status == RADLLM_OK && options != NULL)
        answer(host, model, options);
    radllm_model_free(model);
    radllm_file_free(file);
    radllm_options_free(options);
    radllm_host_free(host);
    HOLDS(m.live_blocks == 0 && m.live_bytes == 0);
    return 0;
}
