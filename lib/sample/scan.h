/* What one look at all logits finds. */
#ifndef RAD_SCAN_H
#define RAD_SCAN_H

#include "base/base.h"

typedef struct rad_logit_scan {
    float greatest; /* leaving out NaN; -infinity for none */
    uint32_t first; /* the first that equals it, where the logits are finite */
    bool finite;    /* none is NaN or +infinity */
} rad_logit_scan;

/* level: rad_vector_level(), or less. The result is the same for all. */
rad_logit_scan rad_scan_logits(int level, const float *logits, uint32_t n);

#define RAD_SCAN_BLOCK 64

/* The greatest of each block of RAD_SCAN_BLOCK logits, leaving out NaN; false when one of them is
 * NaN or +infinity. */
bool rad_block_maxima(int level, const float *logits, uint32_t n_blocks, float *maxima);

#endif
