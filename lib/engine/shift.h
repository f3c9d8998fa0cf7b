/* Keys and values that move to other positions. Outside the numeric contract. */
#ifndef RAD_SHIFT_H
#define RAD_SHIFT_H

#include "engine/engine.h"

/* Takes `count` tokens from position `first` on out of the session, as rad_session_remove() does,
 * and moves the keys and values of those that follow, keys rotated to where they stand now, in
 * place of computing them. Where what moves is not all there, it is computed anew after all. The
 * session's memory is not shared with others from here on. Rotated keys
 * are rounded once more to the format of the cache. RADLLM_E_UNSUPPORTED for models whose positions
 * are learned. The caller owns the session, on which no request runs. */
radllm_status rad_session_shift(rad_session *session, uint32_t first, uint32_t count,
                                radllm_error *error);

#endif
