// What the programs of llama.cpp share, and what differs between versions of its header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "llama.h"

// Flash attention off: a flag in older versions, off by default; an enumeration in newer ones.
template <typename Params>
auto flash_attention_off(Params &params, int) -> decltype((void)params.flash_attn_type)
{
    params.flash_attn_type = static_cast<decltype(params.flash_attn_type)>(0);
}

template <typename Params> void flash_attention_off(Params &, long)
{
}

// An adapter for all that a context computes: a call of its own in older versions, a list in newer
// ones. Which of the two there is, the header tells by the names of its functions.
template <typename Context>
auto use_adapter(Context *context, llama_adapter_lora *adapter, int)
    -> decltype(llama_set_adapters_lora(context, &adapter, size_t(1),
                                        static_cast<float *>(nullptr)))
{
    float scale = 1.0f;
    return llama_set_adapters_lora(context, &adapter, 1, &scale);
}

template <typename Context>
auto use_adapter(Context *context, llama_adapter_lora *adapter, long)
    -> decltype(llama_set_adapter_lora(context, adapter, 1.0f))
{
    return llama_set_adapter_lora(context, adapter, 1.0f);
}

// Messages below the level of an error are dropped.
inline void only_errors(ggml_log_level level, const char *text, void *)
{
    if (level == GGML_LOG_LEVEL_ERROR) {
        std::fputs(text, stderr);
    }
}

// The ids as one sequence from position 0, each with its output.
inline bool decode_all(llama_context *context, const std::vector<llama_token> &ids)
{
    llama_batch batch = llama_batch_init(static_cast<int32_t>(ids.size()), 0, 1);
    for (size_t i = 0; i < ids.size(); i++) {
        batch.token[i] = ids[i];
        batch.pos[i] = static_cast<llama_pos>(i);
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = true;
    }
    batch.n_tokens = static_cast<int32_t>(ids.size());
    const bool done = llama_decode(context, batch) == 0;
    llama_batch_free(batch);
    return done;
}
