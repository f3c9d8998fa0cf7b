/* Taking entries of the codebooks apart. */
#include "quant/codebooks.h"

void rad_take_iq2(uint16_t entry, uint8_t signs, int8_t quants[8])
{
    static const int8_t levels[4] = {8, 25, 43, 0}; /* no entry holds the fourth */
    for (int i = 0; i < 8; i++) {
        int8_t level = levels[entry >> 2 * i & 3];
        quants[i] = (int8_t)(signs >> i & 1 ? -level : level);
    }
}

void rad_take_iq3(uint16_t entry, const int8_t levels[8], uint8_t signs, int8_t quants[4])
{
    for (int i = 0; i < 4; i++) {
        int8_t level = levels[entry >> 4 * i & 7];
        quants[i] = (int8_t)(signs >> i & 1 ? -level : level);
    }
}

void rad_take_iq1(uint16_t entry, bool down, int8_t quants[8])
{
    for (int i = 0; i < 8; i++)
        quants[i] = (int8_t)(8 * ((entry >> 2 * i & 3) - 1) + (down ? -1 : 1));
}
