/* What one step computes: the next pieces of the pending requests, as one batch. */
#ifndef RAD_SCHEDULE_H
#define RAD_SCHEDULE_H

#include "engine/engine.h"

/* The share of one request in a batch. */
struct rad_work {
    rad_request *request;
    bool generates; /* the tokens are the answer's last one and its draft */
    bool goes_on;   /* there is a result to be taken */
    uint32_t n_tokens;
    uint32_t n_old;                   /* of them, the first: known, and computed anew */
    uint32_t n_booked;                /* into the session */
    uint32_t ready, n_ready;          /* outputs whose turn it is */
    uint32_t number;                  /* among those that are chosen ahead; UINT32_MAX: none */
    uint32_t first_output, n_outputs; /* among the batch's outputs */
};

/* Runs one batch; the caller holds the step. When `cancel` is set meanwhile, nothing was done.
 * Returns the number of requests that are still pending. */
uint32_t rad_schedule_step(rad_engine *engine, const radllm_cancel *cancel);

#endif
