// What differs between versions of llama.cpp's header.
#pragma once

#include <cstdio>

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

// Messages below the level of an error are dropped.
inline void only_errors(ggml_log_level level, const char *text, void *)
{
    if (level == GGML_LOG_LEVEL_ERROR) {
        std::fputs(text, stderr);
    }
}
