/* Lossless speculation: tokens are guessed, and the guesses computed as further rows of the same
 * batch. Row by row the request's own sampler chooses; what equals the guess needs no step of its
 * own. Since a batch changes no bit, the answer is the same as without.
 *
 * Leviathan et al. 2023 and Chen et al. 2023 accept by a ratio of probabilities, which keeps the
 * distribution; here the choice itself is repeated, which keeps the answer. */
#ifndef RAD_SPECULATE_H
#define RAD_SPECULATE_H

#include "engine/request.h"

/* Estimates what drafted tokens cost with this engine's models. */
void rad_speculation_start(rad_engine *engine);

/* Makes the drafts of the next step: n_draft tokens behind draft[0] for each request that
 * generates. They fit into the batch beside everybody's next token. The caller holds the step; host
 * callbacks are called, so no lock may be held. */
void rad_speculate(rad_engine *engine, const radllm_cancel *cancel);

/* What became of the draft of a request that goes on. */
void rad_speculation_learn(rad_request *request, uint32_t drafted, uint32_t accepted);

#endif
