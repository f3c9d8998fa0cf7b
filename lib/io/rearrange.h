/* The way back: tensors as the folders of a family have them, of a source as GGUF has them. */
#ifndef RAD_REARRANGE_H
#define RAD_REARRANGE_H

#include "io/model_source.h"

/* What names of tensors depend on. */
typedef struct rad_rearrange_shape {
    uint64_t n_heads, n_kv_heads;
    uint64_t n_experts;
    bool window, window_pattern; /* layers see a window; not all of them do */
    bool scaling;                /* rope_*.weight has its place in config.json */
    bool sigmoid;                /* scores of experts are sigmoids (DeepSeek-V3) */
    const bool *stays;           /* tensors, by number, that are written in their own type */
} rad_rearrange_shape;

/* Whether a tensor is codes or scales of blocks, which folders hold as bytes. */
bool rad_rearrange_is_packed(const rad_tensor *tensor);

/* *model_type: as config.json names the family; static storage. RADLLM_E_UNSUPPORTED for families
 * and tensors that folders have another form for, by name. Release *out. */
radllm_status rad_rearrange(rad_source *source, const rad_rearrange_shape *shape,
                            const char **model_type, rad_source **out, radllm_error *error);

#endif
