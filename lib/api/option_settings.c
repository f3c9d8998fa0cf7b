/* What options mean to those who compute: the settings of models, engines, quantizing, requests. */
#include "api/options.h"

#include <string.h>

#include "api/number_text.h"
#include "engine/device.h"
#include "model/merge.h"

static rad_device_choice device_choice(const radllm_options *options)
{
    return (rad_device_choice)rad_option_integer(options, RAD_OPTION_DEVICE);
}

void rad_options_model(const radllm_options *options, rad_model_settings *settings)
{
    int64_t isa = rad_option_integer(options, RAD_OPTION_ISA);
    bool on_device = rad_device_is_wanted(device_choice(options));
    bool copy = rad_option_integer(options, RAD_OPTION_LOAD) == 1;
    *settings = (rad_model_settings){
        .map_file = on_device && !copy,
        .map = rad_option_integer(options, RAD_OPTION_LOAD) == 2,
        .map_large = rad_option_integer(options, RAD_OPTION_LOAD) == 0,
        .wait = (rad_wait)rad_option_integer(options, RAD_OPTION_LOAD_WAIT),
        .nf4_int8 = !on_device && rad_option_integer(options, RAD_OPTION_NF4) == 1,
        .file_layout = on_device || rad_option_integer(options, RAD_OPTION_LAYOUT) == 1,
        .any_layout = rad_option_integer(options, RAD_OPTION_LAYOUT) == 0,
        .vocabulary_only = rad_option_integer(options, RAD_OPTION_VOCAB_ONLY) != 0,
        .any_isa = isa == 0,
        .isa = isa == 0 ? RAD_ISA_SCALAR : (rad_isa)(isa - 1),
        .n_threads = (uint32_t)rad_option_integer(options, RAD_OPTION_THREADS),
        .budget = (uint64_t)rad_option_integer(options, RAD_OPTION_MEMORY_BUDGET)};
}

/* A rad_cache_type, or -1: by the model. */
static int cache_type(const radllm_options *options, rad_option own)
{
    int64_t chosen = rad_option_integer(options, own);
    return (int)(chosen != 0 ? chosen : rad_option_integer(options, RAD_OPTION_CACHE)) - 1;
}

/* Which GPUs, and what each may take. The texts are lists: rad_option_numbers(). */
static void choose_gpus(const radllm_options *options, rad_device_settings *device)
{
    int64_t numbers[RAD_CUDA_GPUS], one = rad_option_integer(options, RAD_OPTION_GPU);
    size_t n = 0;
    (void)rad_option_numbers(rad_option_text(options, RAD_OPTION_GPUS), numbers, &n);
    if (one >= 0) {
        numbers[0] = one;
        n = 1;
    }
    device->gpus.n = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        device->gpus.numbers[i] = (uint8_t)numbers[i];
    (void)rad_option_numbers(rad_option_text(options, RAD_OPTION_VRAM_LIMITS), numbers, &n);
    for (size_t i = 0; i < RAD_CUDA_GPUS; i++)
        device->limits[i] =
            (uint64_t)(i < n ? numbers[i] : rad_option_integer(options, RAD_OPTION_VRAM_LIMIT));
    (void)rad_option_numbers(rad_option_text(options, RAD_OPTION_GPU_SPLIT), numbers, &n);
    for (size_t i = 0; i < RAD_CUDA_GPUS; i++)
        device->split[i] = i < n ? numbers[i] : -1;
}

void rad_options_engine(const radllm_options *options, rad_engine_settings *settings)
{
    *settings = (rad_engine_settings){
        .n_threads = (uint32_t)rad_option_integer(options, RAD_OPTION_THREADS),
        .context = (uint32_t)rad_option_integer(options, RAD_OPTION_CONTEXT),
        .n_sessions = (uint32_t)rad_option_integer(options, RAD_OPTION_SESSIONS),
        .batch = (uint32_t)rad_option_integer(options, RAD_OPTION_BATCH),
        .cache_keys = cache_type(options, RAD_OPTION_CACHE_KEYS),
        .cache_values = cache_type(options, RAD_OPTION_CACHE_VALUES),
        .budget = (uint64_t)rad_option_integer(options, RAD_OPTION_MEMORY_BUDGET),
        .attention = {(rad_attention_kind)rad_option_integer(options, RAD_OPTION_ATTENTION),
                      rad_option_integer(options, RAD_OPTION_WINDOW),
                      rad_option_if_set(options, RAD_OPTION_SINKS),
                      rad_option_if_set(options, RAD_OPTION_RECOMPUTE_PERIOD)},
        .unlimited = rad_option_integer(options, RAD_OPTION_CONTEXT_LIMIT) == 1,
        .blas = rad_option_integer(options, RAD_OPTION_FAST) == 1,
        .device = {.choice = device_choice(options),
                   .n_layers = rad_option_integer(options, RAD_OPTION_GPU_LAYERS),
                   .fast = rad_option_integer(options, RAD_OPTION_FAST) == 2,
                   .unchecked = rad_option_integer(options, RAD_OPTION_GPU_CHECK) == 0,
                   .apart = (uint32_t)rad_option_integer(options, RAD_OPTION_GPU_APART)},
        .no_prefixes = rad_option_integer(options, RAD_OPTION_PREFIX_CACHE) == 0,
        .prefix_memory = (uint64_t)rad_option_integer(options, RAD_OPTION_PREFIX_MEMORY),
        .cache_positions = (uint32_t)rad_option_integer(options, RAD_OPTION_CACHE_POSITIONS)};
    choose_gpus(options, &settings->device);
}

static radllm_status open_adapter(rad_model *model, const char *path, bool merge, uint64_t limit,
                                  float scale, radllm_error *error)
{
    rad_adapter *adapter;
    radllm_status status = rad_adapter_open(model, path, merge, limit, &adapter, error);
    if (status != RADLLM_OK)
        return status;
    status = rad_adapter_set_add(&model->adapters, adapter, scale, error);
    rad_adapter_release(adapter);
    return status;
}

/* What stands behind the last '=' of an item is a scale where it is a number. */
static radllm_status open_adapters(const radllm_options *options, rad_model *model, bool merge,
                                   radllm_error *error)
{
    const rad_text *items;
    size_t n = rad_option_list(options, RAD_OPTION_ADAPTER, &items);
    uint64_t limit = (uint64_t)rad_option_integer(options, RAD_OPTION_MEMORY_BUDGET);
    radllm_status status = RADLLM_OK;
    for (size_t i = 0; i < n && status == RADLLM_OK; i++) {
        size_t size = items[i].size;
        double scale = 1.0;
        while (size > 0 && items[i].data[size - 1] != '=')
            size--;
        if (size <= 1 ||
            !rad_parse_real((rad_text){items[i].data + size, items[i].size - size}, &scale)) {
            size = items[i].size + 1;
            scale = 1.0;
        }
        char *path = rad_alloc(&model->host.allocator, size);
        if (path == NULL)
            return rad_fail_memory(error, size);
        memcpy(path, items[i].data, size - 1);
        path[size - 1] = '\0';
        status = open_adapter(model, path, merge, limit, (float)scale, error);
        rad_free(&model->host.allocator, path, size);
    }
    return status;
}

radllm_status rad_options_adapters(const radllm_options *options, rad_model *model,
                                   radllm_error *error)
{
    bool merge = rad_option_integer(options, RAD_OPTION_ADAPTER_MERGE) != 0;
    radllm_status status = open_adapters(options, model, merge, error);
    return status == RADLLM_OK && merge ? rad_merge_prepare(model, error) : status;
}

static radllm_status open_for_merging(void *options, rad_model *model, radllm_error *error)
{
    return open_adapters(options, model, true, error);
}

void rad_options_quantize(const radllm_options *options, rad_quantize_settings *settings)
{
    *settings = (rad_quantize_settings){
        .file_type = &rad_file_types[rad_option_integer(options, RAD_OPTION_QUANTIZE)],
        .pure = rad_option_integer(options, RAD_OPTION_QUANTIZE_PURE) != 0,
        .again = rad_option_integer(options, RAD_OPTION_QUANTIZE_AGAIN) != 0,
        .n_threads = (uint32_t)rad_option_integer(options, RAD_OPTION_THREADS)};
    settings->n_overrides =
        rad_option_list(options, RAD_OPTION_QUANTIZE_TENSOR, &settings->overrides);
    const rad_text *adapters;
    if (rad_option_list(options, RAD_OPTION_ADAPTER, &adapters) > 0) {
        settings->adapters = open_for_merging;
        settings->adapters_user = (void *)(uintptr_t)options; /* only read */
    }
}

void rad_options_calibration(const radllm_options *options, rad_calibration_settings *settings)
{
    rad_options_engine(options, &settings->engine);
    settings->chunk_tokens = (uint32_t)rad_option_integer(options, RAD_OPTION_CALIBRATE_CONTEXT);
    settings->n_chunks = rad_option_integer(options, RAD_OPTION_CALIBRATE_CHUNKS);
}

/* ---- settings of a request ----------------------------------------------------------------------
 */

static radllm_status check_token_id(const rad_model *model, const char *option, rad_text text,
                                    int64_t id, bool parsed, radllm_error *error)
{
    if (parsed && id >= 0 && id < model->hparams.n_vocab)
        return RADLLM_OK;
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(error, RADLLM_E_ARGUMENT,
                    "option %s: \"%s\" does not name a token of the vocabulary (ids 0 to %u)",
                    option, rad_quote(quoted, text.data, text.size), model->hparams.n_vocab - 1);
}

static radllm_status read_biases(const radllm_options *options, const rad_model *model,
                                 rad_request_lists *lists, radllm_error *error)
{
    const rad_text *items;
    size_t n = rad_option_list(options, RAD_OPTION_LOGIT_BIAS, &items);
    if (n == 0)
        return RADLLM_OK;
    lists->biases = rad_alloc(&lists->allocator, n * sizeof *lists->biases);
    if (lists->biases == NULL)
        return rad_fail_memory(error, n * sizeof *lists->biases);
    lists->n_biases = n;
    for (size_t i = 0; i < n; i++) {
        const char *colon = memchr(items[i].data, ':', items[i].size);
        size_t id_size = colon != NULL ? (size_t)(colon - items[i].data) : items[i].size;
        int64_t id = -1;
        double bias = 0.0;
        bool whole = rad_parse_integer((rad_text){items[i].data, id_size}, &id);
        radllm_status status = check_token_id(model, "logit_bias", items[i], id, whole, error);
        if (status != RADLLM_OK)
            return status;
        if (colon == NULL ||
            !rad_parse_real((rad_text){colon + 1, items[i].size - id_size - 1}, &bias) ||
            !(bias < 1e9)) {
            char quoted[RAD_QUOTE_SIZE];
            return rad_fail(error, RADLLM_E_ARGUMENT,
                            "option logit_bias: \"%s\" is not TOKEN:BIAS with a number below 1e9"
                            " or -inf",
                            rad_quote(quoted, items[i].data, items[i].size));
        }
        lists->biases[i] = (rad_logit_bias){(int32_t)id, (float)bias};
    }
    return RADLLM_OK;
}

static radllm_status read_stop_tokens(const radllm_options *options, const rad_model *model,
                                      rad_request_lists *lists, radllm_error *error)
{
    const rad_text *items;
    size_t n = rad_option_list(options, RAD_OPTION_STOP_TOKEN, &items);
    if (n == 0)
        return RADLLM_OK;
    lists->stop_tokens = rad_alloc(&lists->allocator, n * sizeof *lists->stop_tokens);
    if (lists->stop_tokens == NULL)
        return rad_fail_memory(error, n * sizeof *lists->stop_tokens);
    lists->n_stop_tokens = n;
    for (size_t i = 0; i < n; i++) {
        int64_t id = -1;
        bool good = rad_parse_integer(items[i], &id);
        radllm_status status = check_token_id(model, "stop_token", items[i], id, good, error);
        if (status != RADLLM_OK)
            return status;
        lists->stop_tokens[i] = (int32_t)id;
    }
    return RADLLM_OK;
}

static radllm_status read_stops(const radllm_options *options,
                                const rad_chat_template *chat_template, rad_request_lists *lists,
                                radllm_error *error)
{
    const rad_text *items;
    size_t n = rad_option_list(options, RAD_OPTION_STOP, &items), of_template = 0;
    while (chat_template != NULL &&
           rad_chat_template_stop(chat_template, (uint32_t)of_template) != NULL)
        of_template++;
    if (n + of_template == 0)
        return RADLLM_OK;
    lists->stops = rad_alloc(&lists->allocator, (n + of_template) * sizeof *lists->stops);
    if (lists->stops == NULL)
        return rad_fail_memory(error, (n + of_template) * sizeof *lists->stops);
    lists->n_stops = lists->stops_capacity = n + of_template;
    for (size_t i = 0; i < n; i++)
        lists->stops[i] = items[i];
    for (size_t i = 0; i < of_template; i++) {
        const char *stop = rad_chat_template_stop(chat_template, (uint32_t)i);
        lists->stops[n + i] = (rad_text){stop, strlen(stop)};
    }
    return RADLLM_OK;
}

static void read_sampler(const radllm_options *options, rad_sampler_settings *sampler)
{
    *sampler = (rad_sampler_settings){
        .seed = (uint64_t)rad_option_integer(options, RAD_OPTION_SEED),
        .temperature = (float)rad_option_real(options, RAD_OPTION_TEMPERATURE),
        .top_k = (int32_t)rad_option_integer(options, RAD_OPTION_TOP_K),
        .top_p = (float)rad_option_real(options, RAD_OPTION_TOP_P),
        .min_p = (float)rad_option_real(options, RAD_OPTION_MIN_P),
        .typical_p = (float)rad_option_real(options, RAD_OPTION_TYPICAL_P),
        .repeat_penalty = (float)rad_option_real(options, RAD_OPTION_REPEAT_PENALTY),
        .frequency_penalty = (float)rad_option_real(options, RAD_OPTION_FREQUENCY_PENALTY),
        .presence_penalty = (float)rad_option_real(options, RAD_OPTION_PRESENCE_PENALTY),
        .penalty_last_n = (int32_t)rad_option_integer(options, RAD_OPTION_PENALTY_LAST_N)};
}

radllm_status rad_options_request(const radllm_options *options, const rad_model *model,
                                  const rad_chat_template *chat_template,
                                  rad_request_settings *settings, rad_request_lists *lists,
                                  radllm_error *error)
{
    *lists = (rad_request_lists){.allocator = model->host.allocator};
    *settings = (rad_request_settings){
        .max_tokens = rad_option_integer(options, RAD_OPTION_MAX_TOKENS),
        .top_logprobs = (uint32_t)rad_option_integer(options, RAD_OPTION_TOP_LOGPROBS),
        .ignore_end = rad_option_integer(options, RAD_OPTION_IGNORE_END) != 0,
        .speculation = (rad_speculation)rad_option_integer(options, RAD_OPTION_SPECULATE),
        .draft_tokens = (uint32_t)rad_option_integer(options, RAD_OPTION_DRAFT_TOKENS)};
    if (settings->top_logprobs > model->hparams.n_vocab)
        settings->top_logprobs = model->hparams.n_vocab;
    rad_text salt = rad_option_text(options, RAD_OPTION_CACHE_SALT);
    if (salt.size > 0)
        rad_prefix_salt(salt.data, salt.size, settings->salt);
    read_sampler(options, &settings->sampler);
    radllm_status status = read_biases(options, model, lists, error);
    if (status == RADLLM_OK)
        status = read_stop_tokens(options, model, lists, error);
    if (status == RADLLM_OK)
        status = read_stops(options, chat_template, lists, error);
    if (status != RADLLM_OK) {
        rad_request_lists_free(lists);
        return status;
    }
    settings->sampler.biases = lists->biases;
    settings->sampler.n_biases = lists->n_biases;
    settings->stop_tokens = lists->stop_tokens;
    settings->n_stop_tokens = lists->n_stop_tokens;
    settings->stops = lists->stops;
    settings->n_stops = lists->n_stops;
    return RADLLM_OK;
}

void rad_request_lists_free(rad_request_lists *lists)
{
    rad_free(&lists->allocator, lists->biases, lists->n_biases * sizeof *lists->biases);
    rad_free(&lists->allocator, lists->stop_tokens,
             lists->n_stop_tokens * sizeof *lists->stop_tokens);
    rad_free(&lists->allocator, lists->stops, lists->stops_capacity * sizeof *lists->stops);
}
