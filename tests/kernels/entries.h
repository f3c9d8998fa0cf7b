/* Every function of the kernel tables, by name. A function that is added to a table has to be named
 * here (else this does not compile), and what is named here has to be called by a check with every
 * table that this machine can run (else check_kernels fails). */
#ifndef RAD_TEST_ENTRIES_H
#define RAD_TEST_ENTRIES_H

#include <stddef.h>

#include "kernels/cpu/layer.h"
#include "kernels/kernels.h"

#define PRODUCT_ENTRIES(entry)                                                                     \
    entry(quantize_q8_32) entry(quantize_q8_64) entry(quantize_q8_256) entry(quantize_q8_row)      \
        entry(product) entry(pack_lane_group)

#define LAYER_ENTRIES(entry)                                                                       \
    entry(rms_norm) entry(layer_norm) entry(rotate) entry(silu_multiply) entry(gelu_tanh_multiply) \
        entry(relu2_multiply) entry(clamped_multiply) entry(gelu_tanh) entry(gelu_erf)             \
            entry(clamp) entry(add) entry(scale) entry(add_scaled) entry(soft_cap)                 \
                entry(store_key) entry(store_value) entry(quantize_query) entry(attend_tile)       \
                    entry(merge_states) entry(finish_attention)

#define ENTRY_INDEX(name) ENTRY_##name,
typedef enum entry_index {
    PRODUCT_ENTRIES(ENTRY_INDEX) N_PRODUCT_ENTRIES,
    BEFORE_LAYER_ENTRIES = N_PRODUCT_ENTRIES - 1,
    LAYER_ENTRIES(ENTRY_INDEX) N_ENTRIES
} entry_index;
#undef ENTRY_INDEX

#define N_LAYER_ENTRIES (N_ENTRIES - N_PRODUCT_ENTRIES)

/* A set of entries, one bit each. */
typedef uint32_t entry_set;
#define ENTRY_BIT(name) ((entry_set)1 << ENTRY_##name)
_Static_assert(N_ENTRIES <= 32, "entry_set is too small");

/* The functions of rad_kernels stand between `name` and `layer`. */
_Static_assert(offsetof(rad_kernels, layer) - offsetof(rad_kernels, name) - sizeof(const char *) ==
                   N_PRODUCT_ENTRIES * sizeof(void (*)(void)),
               "PRODUCT_ENTRIES does not name every function of rad_kernels");
_Static_assert(sizeof(rad_kernels) == offsetof(rad_kernels, layer) + sizeof(void *),
               "rad_kernels has members behind `layer` that no check knows");
_Static_assert(sizeof(rad_layer_kernels) == N_LAYER_ENTRIES * sizeof(void (*)(void)),
               "LAYER_ENTRIES does not name every function of rad_layer_kernels");

#endif
