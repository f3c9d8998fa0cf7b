/* Tiles of random keys or values, in a format of the cache and plainly. */
#ifndef RAD_TEST_TILE_H
#define RAD_TEST_TILE_H

#include "tests/kernels/check.h"
#include "tests/kernels/plain.h"

extern const char *const cache_names[RAD_CACHE_TYPES];

/* Dimensions of heads that real models have, and odd ones. */
enum { N_HEAD_DIMS = 14 };
extern const uint32_t head_dims[N_HEAD_DIMS];

typedef struct tile {
    bool of_keys;
    rad_cache_type type;
    uint32_t dim;
    input memory;
    plain_row rows[RAD_TILE_KEYS];
} tile;

size_t tile_bytes(bool of_keys, rad_cache_type type, uint32_t dim);
/* Stores one key or values in a slot of a tile that begins at `memory`, by a table's function. */
void tile_store(const table *of, bool of_keys, rad_cache_type type, uint32_t dim, const float *head,
                uint8_t *memory, uint32_t slot);
/* All slots: of the bytes `background` before, then of random numbers, stored by the scalar table.
 * Sealed. */
void tile_make(tile *out, bool of_keys, rad_cache_type type, uint32_t dim, flavour kind);
/* The same with the numbers of slots first..last-1 given, `dim` for each, and the bytes of the
 * others as they are. */
void tile_make_of(tile *out, bool of_keys, rad_cache_type type, uint32_t dim, const float *heads,
                  uint32_t first, uint32_t last, int background);
void tile_free(tile *t);
/* Whether a slot of a tile holds what layer.h says. */
bool tile_slot_is(const uint8_t *memory, bool of_keys, rad_cache_type type, uint32_t dim,
                  uint32_t slot, const plain_row *row);

#endif
