/* Sessions in files. A file is
 *
 *   "RADLLMSS", then u32 version (1) and u32 0,
 *   sections: u32 name, u32 flags (1: a reader that does not know it may pass it over), u64 size,
 *   and so many bytes,
 *   the last of which, "end.", is empty and followed by the SHA-256 of all that comes before.
 *
 * Numbers are little-endian. The sections of version 1, in this order:
 *
 *   "set."  what must be equal where the session goes on, as lines "key=value"; the last ones are
 *           its adapters, by the SHA-256 of what they compute, and their scales
 *   "salt"  of what it shares, as in rad_prefix_salt()
 *   "toks"  u32 length, u32 base: positions base..length-1 are in the cache; u32 first: tokens
 *           before it are forgotten; u32 0; then the ids of all others (i32)
 *   "page"  one for each group of layers: u32 group, u32 n, n tiles (u32), n pages
 *   "logi"  logits of the last token (f32), where the session has them
 */
#ifndef RAD_SNAPSHOT_H
#define RAD_SNAPSHOT_H

#include "engine/engine.h"

/* Both: the caller owns the session, on which no request runs. model_hash: 64 characters.
 *
 * The file is readable for its owner alone and replaces what stood at `path` only when it is
 * complete. */
radllm_status rad_snapshot_write(rad_session *session, const char *path, const char *model_hash,
                                 const radllm_cancel *cancel, radllm_error *error);
/* The session holds what it held before when this fails, unless the file changes while it is read
 * or was forged: then it is empty. */
radllm_status rad_snapshot_read(rad_session *session, const char *path, const char *model_hash,
                                const radllm_cancel *cancel, radllm_error *error);

#endif
