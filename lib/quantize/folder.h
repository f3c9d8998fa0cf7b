/* Writing a plan as a folder of safetensors files, as Hugging Face has them. */
#ifndef RAD_QUANTIZE_FOLDER_H
#define RAD_QUANTIZE_FOLDER_H

#include <jansson.h>

#include "model/hparams.h"
#include "quantize/quantize.h"

typedef struct rad_folder_settings {
    uint64_t shard_bytes; /* of a file of weights at most; 0: one file */
    bool replace;         /* a folder that stands there gives way */
    bool only_check;      /* write nothing and refuse the same; the path may be NULL */
} rad_folder_settings;

/* Types that such folders hold are F32, F16 and BF16: RADLLM_E_ARGUMENT for a plan with others,
 * RADLLM_E_UNSUPPORTED for a model that has no form there. Nothing is left of a folder that was not
 * finished. */
radllm_status rad_quantize_write_folder(const rad_quantize_plan *plan, const char *path,
                                        const rad_folder_settings *settings,
                                        const radllm_cancel *cancel, radllm_error *error);

/* ---- folder_config.c ------------------------------------------------------------------------- */

/* What a model is, as config.json says it. */
typedef struct rad_folder_model {
    const rad_source *source;
    const rad_tokenizer *tokenizer;
    rad_hparams hparams;
    const char *model_type;
    const char *dtype; /* of most matrices: "float16" */
    bool packed;       /* experts are blocks of MXFP4 */
    /* Of llama3's scaling of rotations, found from their divisors; 0: none. */
    double factor, context;
    /* Of longrope: divisors for short and for long contexts. */
    float divisors[2][RAD_MAX_HEAD_DIM / 2];
} rad_folder_model;

/* Finds these; RADLLM_E_UNSUPPORTED for divisors of another origin. */
radllm_status rad_folder_find_scaling(rad_folder_model *model, radllm_error *error);
radllm_status rad_folder_config(const rad_folder_model *model, json_t **out, radllm_error *error);
radllm_status rad_folder_generation_config(const rad_folder_model *model, json_t **out,
                                           radllm_error *error);
/* Whether the file says how tokens' vectors become one of a text; and what says so in a folder. */
bool rad_folder_pools(const rad_folder_model *model);
radllm_status rad_folder_modules(const rad_folder_model *model, json_t **out, radllm_error *error);
radllm_status rad_folder_pooling(const rad_folder_model *model, json_t **out, radllm_error *error);

#endif
