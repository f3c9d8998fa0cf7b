/* Prompt lookup (Saxena 2023; "prompt lookup decoding"): what followed the last tokens where they
 * occurred before is likely to follow again, as in summaries, corrections and extracts. */
#ifndef RAD_LOOKUP_H
#define RAD_LOOKUP_H

#include <stdint.h>

/* Finds the earlier place whose end agrees with the most tokens (up to 16) of the sequence's end,
 * the latest of equals, and copies up to `most` tokens that follow it. Returns their number; 0 when
 * the last token did not occur before. *quality: 0, 1 or 2 for an agreement of one, two, or three
 * and more tokens. Time is linear in `count`. */
uint32_t rad_lookup_draft(const int32_t *tokens, uint32_t count, uint32_t most, int32_t *draft,
                          uint32_t *quality);

#endif
