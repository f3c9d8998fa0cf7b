/* Adapters that a session uses together. */
#include <math.h>
#include <stdio.h>

#include "model/adapter.h"

void rad_adapters_text(const rad_adapter_set *set, char text[RAD_ADAPTERS_TEXT])
{
    text[0] = '\0';
    for (uint32_t i = 0; i < set->n; i++) {
        const uint8_t *digest = set->uses[i].adapter->digest;
        for (int k = 0; k < 32; k++)
            text += snprintf(text, 3, "%02x", digest[k]);
        text += snprintf(text, 88 - 64, "=%.9g\n", (double)set->uses[i].scale);
    }
}

radllm_status rad_adapter_set_add(rad_adapter_set *set, rad_adapter *adapter, float scale,
                                  radllm_error *error)
{
    if (!(fabsf(scale) <= 1e6f))
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the scale of an adapter must be a number from -1e6 to 1e6");
    if (scale == 0.0f)
        return RADLLM_OK;
    if (set->n == RAD_ADAPTERS_MAX)
        return rad_fail(error, RADLLM_E_LIMIT,
                        "a session can have %d adapters; merge some of them by PEFT",
                        RAD_ADAPTERS_MAX);
    set->uses[set->n++] = (rad_adapter_use){rad_adapter_retain(adapter), scale};
    return RADLLM_OK;
}

void rad_adapter_set_copy(rad_adapter_set *to, const rad_adapter_set *from)
{
    *to = *from;
    for (uint32_t i = 0; i < to->n; i++)
        (void)rad_adapter_retain(to->uses[i].adapter);
}

void rad_adapter_set_clear(rad_adapter_set *set)
{
    for (uint32_t i = 0; i < set->n; i++)
        rad_adapter_release(set->uses[i].adapter);
    set->n = 0;
}
