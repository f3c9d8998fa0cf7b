/* Single keys and values out of the tiles of the cache, in any of its number formats: for what
 * moves positions, not for attention, which reads whole tiles. layer.h says what is stored where.
 */
#ifndef RAD_CACHED_H
#define RAD_CACHED_H

#include "kernels/cpu/layer.h"

/* The key of a slot as key_dim floats. */
void rad_cached_key(const void *tile_keys, uint32_t key_dim, rad_cache_type type, uint32_t slot,
                    float *key);
/* The values of a slot of one tile to a slot of another (or of the same), not a bit changed. */
void rad_cached_move_value(const void *from, uint32_t from_slot, void *to, uint32_t to_slot,
                           uint32_t value_dim, rad_cache_type type);

#endif
