/* Embeddings: vectors of texts, made of what a model's last layer gives for their tokens. */
#ifndef RAD_EMBED_H
#define RAD_EMBED_H

#include "engine/engine.h"

typedef struct rad_embed_settings {
    rad_pooling pooling; /* none, mean, cls or last */
    bool normalise;      /* vectors get length 1 */
} rad_embed_settings;

typedef struct rad_embed_text {
    const int32_t *tokens; /* at least one; checked here against the vocabulary */
    uint32_t n_tokens;
} rad_embed_text;

/* How many vectors a text gets. */
static inline uint32_t rad_embed_rows(const rad_embed_settings *settings, const rad_embed_text *t)
{
    return settings->pooling == RAD_POOLING_NONE ? t->n_tokens : 1;
}

/* Writes the vectors of all texts to `out`, one behind the other. Takes the step batch by batch, so
 * that requests go on between. */
radllm_status rad_engine_embed(rad_engine *engine, const rad_embed_settings *settings,
                               const rad_embed_text *texts, size_t count,
                               const radllm_cancel *cancel, float *out, radllm_error *error);

#endif
