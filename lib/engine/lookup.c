#include "engine/lookup.h"

#define LONGEST_AGREEMENT 16

/* How many tokens before `end`, and before the end of the sequence, are equal. */
static uint32_t agreement(const int32_t *tokens, uint32_t count, uint32_t end)
{
    uint32_t n = 0;
    while (n < LONGEST_AGREEMENT && n < end && tokens[end - 1 - n] == tokens[count - 1 - n])
        n++;
    return n;
}

uint32_t rad_lookup_draft(const int32_t *tokens, uint32_t count, uint32_t most, int32_t *draft,
                          uint32_t *quality)
{
    uint32_t longest = 0, best = 0;
    if (count < 2 || most == 0)
        return 0;
    int32_t last = tokens[count - 1];
    for (uint32_t end = count - 1; end > 0 && longest < LONGEST_AGREEMENT; end--) {
        if (tokens[end - 1] != last)
            continue;
        uint32_t n = agreement(tokens, count, end);
        if (n > longest) {
            longest = n;
            best = end;
        }
    }
    if (longest == 0)
        return 0;
    *quality = longest < 3 ? longest - 1 : 2;
    uint32_t n = 0;
    /* Behind the sequence's end the draft itself goes on: text that repeats with a short period. */
    for (; n < most; n++)
        draft[n] = best + n < count ? tokens[best + n] : draft[best + n - count];
    return n;
}
