/* The table of options and the public options object. */
#ifndef RAD_OPTIONS_H
#define RAD_OPTIONS_H

#include "engine/engine.h"
#include "engine/request.h"
#include "model/model.h"
#include "quantize/quantize.h"
#include "text/chat_template.h"

/* Numbers of the options, in the order of the table. */
typedef enum rad_option {
    RAD_OPTION_LOAD,
    RAD_OPTION_LOAD_WAIT,
    RAD_OPTION_LAYOUT,
    RAD_OPTION_NF4,
    RAD_OPTION_MEMORY_BUDGET,
    RAD_OPTION_ISA,
    RAD_OPTION_VOCAB_ONLY,
    RAD_OPTION_ADAPTER,
    RAD_OPTION_ADAPTER_MERGE,
    RAD_OPTION_THREADS,
    RAD_OPTION_CONTEXT,
    RAD_OPTION_SESSIONS,
    RAD_OPTION_BATCH,
    RAD_OPTION_CACHE,
    RAD_OPTION_CACHE_KEYS,
    RAD_OPTION_CACHE_VALUES,
    RAD_OPTION_PREFIX_CACHE,
    RAD_OPTION_PREFIX_MEMORY,
    RAD_OPTION_CACHE_POSITIONS,
    RAD_OPTION_ATTENTION,
    RAD_OPTION_WINDOW,
    RAD_OPTION_SINKS,
    RAD_OPTION_RECOMPUTE_PERIOD,
    RAD_OPTION_CONTEXT_LIMIT,
    RAD_OPTION_FAST,
    RAD_OPTION_DEVICE,
    RAD_OPTION_GPU,
    RAD_OPTION_GPUS,
    RAD_OPTION_GPU_LAYERS,
    RAD_OPTION_GPU_SPLIT,
    RAD_OPTION_VRAM_LIMIT,
    RAD_OPTION_VRAM_LIMITS,
    RAD_OPTION_GPU_APART,
    RAD_OPTION_GPU_CHECK,
    RAD_OPTION_SEED,
    RAD_OPTION_TEMPERATURE,
    RAD_OPTION_TOP_K,
    RAD_OPTION_TOP_P,
    RAD_OPTION_MIN_P,
    RAD_OPTION_TYPICAL_P,
    RAD_OPTION_REPEAT_PENALTY,
    RAD_OPTION_FREQUENCY_PENALTY,
    RAD_OPTION_PRESENCE_PENALTY,
    RAD_OPTION_PENALTY_LAST_N,
    RAD_OPTION_LOGIT_BIAS,
    RAD_OPTION_MAX_TOKENS,
    RAD_OPTION_TOP_LOGPROBS,
    RAD_OPTION_TEMPLATE,
    RAD_OPTION_DATE,
    RAD_OPTION_RAW,
    RAD_OPTION_SPECIAL,
    RAD_OPTION_IGNORE_END,
    RAD_OPTION_STOP,
    RAD_OPTION_STOP_TOKEN,
    RAD_OPTION_SPECULATE,
    RAD_OPTION_DRAFT_TOKENS,
    RAD_OPTION_CACHE_SALT,
    RAD_OPTION_POOLING,
    RAD_OPTION_NORMALIZE,
    RAD_OPTION_TRUNCATE,
    RAD_OPTION_QUANTIZE,
    RAD_OPTION_QUANTIZE_PURE,
    RAD_OPTION_QUANTIZE_AGAIN,
    RAD_OPTION_QUANTIZE_TENSOR,
    RAD_OPTION_CALIBRATE_CONTEXT,
    RAD_OPTION_CALIBRATE_CHUNKS,
    RAD_OPTION_COUNT
} rad_option;

/* Values of options; NULL options mean the defaults. A choice's value is the index of its word. */
int64_t rad_option_integer(const radllm_options *options, rad_option option);
/* -1 where it was not set. */
int64_t rad_option_if_set(const radllm_options *options, rad_option option);
double rad_option_real(const radllm_options *options, rad_option option);
rad_text rad_option_text(const radllm_options *options, rad_option option);
size_t rad_option_list(const radllm_options *options, rad_option option, const rad_text **items);

/* The numbers of a text "1,2,...", each at least 0, with K, M or G behind it times 1024, its square
 * or its cube; "" has none. False where it is no such text, or has more than there can be GPUs. */
bool rad_option_numbers(rad_text text, int64_t numbers[RAD_CUDA_GPUS], size_t *n);

/* The settings of each scope. */
void rad_options_model(const radllm_options *options, rad_model_settings *settings);
/* Opens the adapters that sessions of a model begin with. */
radllm_status rad_options_adapters(const radllm_options *options, rad_model *model,
                                   radllm_error *error);
void rad_options_engine(const radllm_options *options, rad_engine_settings *settings);
void rad_options_quantize(const radllm_options *options, rad_quantize_settings *settings);
void rad_options_calibration(const radllm_options *options, rad_calibration_settings *settings);
/* Fills all but the arrays, which point into *lists; free those with rad_request_lists_free. */
typedef struct rad_request_lists {
    rad_allocator allocator;
    rad_logit_bias *biases;
    size_t n_biases;
    int32_t *stop_tokens;
    size_t n_stop_tokens;
    rad_text *stops; /* one more than the option's, for the template's */
    size_t n_stops, stops_capacity;
} rad_request_lists;
radllm_status rad_options_request(const radllm_options *options, const rad_model *model,
                                  const rad_chat_template *chat_template,
                                  rad_request_settings *settings, rad_request_lists *lists,
                                  radllm_error *error);
void rad_request_lists_free(rad_request_lists *lists);

#endif
