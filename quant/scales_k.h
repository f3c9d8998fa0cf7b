/* Inside quant/: what Q4_K and Q5_K share. */
#ifndef RAD_QUANT_SCALES_K_H
#define RAD_QUANT_SCALES_K_H

#include "quant/search.h"

void rad_unpack_scales_k(const uint8_t packed[12], int8_t scales[8], int8_t minima[8]);
/* Fits 256 values with quants 0..high; writes the 16 bytes that open the block. */
void rad_encode_super_k(const float *values, const float *importance, int high, uint8_t header[16],
                        uint8_t q[256]);
void rad_decode_super_k(const rad_block *block, float values[256]);

#endif
