/* lib/quantize: writes a model again with its weights in other number formats: which tensor gets
 * which type, the matrix of importance that encoders weigh errors with, and the file. It knows the
 * names of tensors and the encoders of quant/, never how a token is computed but for calibration.
 */
#ifndef RAD_QUANTIZE_H
#define RAD_QUANTIZE_H

#include "io/gguf_write.h"
#include "model/model.h"
#include "quantize/importance.h"
#include "quantize/mixture.h"

/* A number format for the tensors whose names fit a pattern: any text for '*', one character for
 * '?'. It is compared with the whole name, and with the name without ".weight" at its end. */
typedef struct rad_quantize_rule {
    rad_text pattern;
    rad_type type;
    bool used; /* by the plan at hand */
} rad_quantize_rule;

typedef struct rad_merged rad_merged;

typedef struct rad_quantize_settings {
    const rad_file_type *file_type;
    bool pure;                        /* all matrices get the file type's own type */
    bool again;                       /* take tensors that are quantized already */
    uint32_t n_threads;               /* 0: all processors */
    const rad_importance *importance; /* NULL: none */
    /* "PATTERN=TYPE"; of several that fit the last counts. */
    const rad_text *overrides;
    size_t n_overrides;
    /* Opens adapters that become part of the weights, for a model whose weights are not read; NULL:
     * there are none. */
    radllm_status (*adapters)(void *user, rad_model *model, radllm_error *error);
    void *adapters_user;
} rad_quantize_settings;

/* What becomes of a tensor. */
typedef struct rad_quantized_tensor {
    const rad_tensor *from;
    const rad_tensor *own; /* the same, before adapters change it */
    rad_type type;
    uint64_t n_bytes;
    bool fallback; /* the type meant for it has blocks that do not divide its rows */
    const rad_importance_entry *importance; /* NULL: none */
} rad_quantized_tensor;

typedef struct rad_quantize_plan {
    rad_host host;
    rad_source *source;
    rad_merged *merged; /* NULL: there are no adapters */
    const rad_importance *importance;
    const rad_file_type *file_type;
    uint32_t n_threads;
    rad_quantized_tensor *tensors;
    size_t n_tensors;
    uint64_t n_elements, bytes_from, bytes_to; /* of all tensors, without padding */
    radllm_error no_file; /* what GGUF has no words for, so that only a folder is written */
} rad_quantize_plan;

/* Decides everything and writes nothing. The importance must outlive the plan; the source is
 * retained. RADLLM_E_ARGUMENT for an override that is none or fits no tensor, for tensors that are
 * quantized already, for importance of another model. */
radllm_status rad_quantize_plan_make(const rad_host *host, rad_source *source,
                                     const rad_quantize_settings *settings, rad_quantize_plan *plan,
                                     radllm_error *error);
void rad_quantize_plan_free(rad_quantize_plan *plan);

/* Bytes that the file will have. */
radllm_status rad_quantize_file_bytes(const rad_quantize_plan *plan, uint64_t *out,
                                      radllm_error *error);

/* The model without its weights; fails for what is none, or lacks something. */
radllm_status rad_quantize_bind(const rad_host *host, rad_source *source, rad_model **out,
                                radllm_error *error);
/* Refuses what rad_quantize_write() refuses, and writes nothing. */
radllm_status rad_quantize_check(const rad_quantize_plan *plan, radllm_error *error);
/* Writes the file; under its name only when it is whole. */
radllm_status rad_quantize_write(const rad_quantize_plan *plan, const char *path,
                                 const radllm_cancel *cancel, radllm_error *error);

#endif
