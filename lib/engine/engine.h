/* lib/engine: requests, scheduling, continuous batching, cancellation. It decides what is computed
 * when; what is computed does not depend on it.
 *
 * Locking: `mutex` guards the lists and the results of requests; the cache has one of its own
 * (taken inside the other, never around it). Computing is done by the one thread that holds the
 * step (rad_engine_take_step); it alone touches the backend, the sampler and the tokens of
 * sessions, and holds no mutex while it computes or calls back. */
#ifndef RAD_ENGINE_H
#define RAD_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "backend/backend.h"
#include "backend/cuda/cuda_interface.h"
#include "engine/pace.h"
#include "forward/program.h"
#include "sample/sampler.h"
#include "text/tokenizer.h"

/* What computes, as the host asked. */
typedef enum rad_device_choice {
    RAD_DEVICE_AUTO,
    RAD_DEVICE_CPU,
    RAD_DEVICE_CUDA
} rad_device_choice;
typedef struct rad_device_settings {
    rad_device_choice choice;
    rad_cuda_choice gpus;
    int64_t n_layers;               /* -1: as many as there is room for */
    uint64_t limits[RAD_CUDA_GPUS]; /* bytes, by place in `gpus`; 0: none */
    int64_t split[RAD_CUDA_GPUS];   /* layers, by place; -1: as many as there is room for */
    bool fast;                      /* fast=cublas */
    bool unchecked;                 /* gpu_check=0 */
    uint32_t apart;                 /* RAD_CUDA_APART_.. */
} rad_device_settings;

typedef struct rad_engine_settings {
    uint32_t n_threads;  /* 0: all processors */
    uint32_t context;    /* tokens per session; 0: the model's, at most 4096 */
    uint32_t n_sessions; /* at most */
    uint32_t batch;      /* tokens of one step */
    int cache_keys;      /* rad_cache_type, or -1: by the model's weights */
    int cache_values;    /* the same */
    uint64_t budget;     /* bytes for weights and engine together; 0: no limit */
    bool blas;           /* fast=blas */
    rad_device_settings device;
    rad_attention_options attention;
    bool unlimited;               /* context_limit=ignore */
    bool no_prefixes;             /* sessions do not share the pages of common beginnings */
    uint64_t prefix_memory;       /* bytes for their pages, besides those that no session needs */
    uint32_t cache_positions;     /* of all sessions together; 0: as many as they can hold */
    const rad_observer *observer; /* of products; NULL: none */
    const rad_model *draft;       /* proposes tokens for speculation; NULL: none */
} rad_engine_settings;

/* Requests of a step whose tokens are chosen at the same time, each with a sampler. */
#define RAD_MAX_SAMPLERS 8

/* What a model and these settings take, in bytes, and the settings with defaults filled in. */
typedef struct rad_engine_plan {
    rad_engine_settings settings;
    rad_attention_policy policy;
    uint32_t positions; /* of a session, at most: its context, or without end */
    uint32_t n_samplers;
    rad_backend_settings backend;
    rad_cache_plan cache;
    /* The draft model's part, when there is one; its bytes are in the sums below as well. */
    rad_backend_settings draft_backend;
    rad_cache_plan draft_cache;
    rad_attention_policy draft_policy;
    uint32_t draft_context; /* positions that it can follow */
    uint64_t draft_bytes;   /* weights included */
    uint64_t weight_bytes, cache_bytes, activation_bytes, session_bytes;
    rad_cuda_placement placement; /* n_layers 0: all is the CPU's */
} rad_engine_plan;

/* The number format of keys and values for a model. */
rad_cache_format rad_cache_format_of(const rad_model *model, const rad_engine_settings *settings);
/* RADLLM_E_LIMIT for more context than the model was made for. */
radllm_status rad_engine_plan_make(const rad_model *model, const rad_engine_settings *settings,
                                   rad_engine_plan *plan, radllm_error *error);
/* Applies the setting cache_positions to a finished plan of keys and values. */
void rad_engine_limit_cache(const rad_engine_plan *plan, rad_cache_plan *cache);
/* Bytes of a model and the adapters that it was loaded with. */
uint64_t rad_weights_and_adapters(const rad_model *model);
/* Weights, cache, activations and sessions together; false when they exceed 64 bits. */
bool rad_engine_plan_total(const rad_engine_plan *plan, uint64_t *total);
/* An open device that plans are divided with: device.h. */
typedef struct rad_divider {
    const rad_host *host;
    const rad_cuda_table *cuda;
    rad_cuda *device; /* NULL: there is none */
    const rad_program *program;
} rad_divider;

/* The greatest context for which weights and engine fit the budget; 0: none. */
uint32_t rad_engine_largest_context(const rad_model *model, const rad_engine_settings *settings,
                                    uint64_t budget, const rad_divider *divider);

typedef struct rad_session rad_session;
typedef struct rad_request rad_request;
typedef struct rad_draft_model rad_draft_model;

typedef struct rad_engine {
    rad_host host;
    const rad_model *model;
    rad_engine_plan plan;
    rad_program program;
    rad_cache *cache;
    rad_backend *backend; /* that computes steps: `cpu`, or the device's, which uses it */
    rad_backend *cpu;
    const rad_cuda_table *cuda; /* NULL: no device */
    rad_cuda *device;
    uint64_t upload_ns;                      /* that the weights' way there took */
    uint64_t check_ns;                       /* and rad_device_check() */
    rad_sampler *samplers[RAD_MAX_SAMPLERS]; /* n_samplers of the plan; the first one is used by
                                                whoever holds the step */
    rad_draft_model *draft;                  /* NULL: none */
    rad_pace_cost row_cost;                  /* what rows of a step take: an estimate */
    double draft_cost;                       /* of a token of the draft model, in its unit */
    int64_t process;                         /* that made it */

    pthread_mutex_t mutex;
    pthread_cond_t changed; /* the step was given back, a request finished or was submitted */
    bool stepping;
    pthread_t stepper;
    uint32_t n_sessions;
    rad_request *queue; /* pending requests, oldest first */
    pthread_t worker;
    bool worker_runs, worker_stops;

    /* The batch being built; belongs to the stepper. */
    rad_token_span *spans;
    int32_t *tokens;
    uint32_t *outputs;
    rad_draw *draws;        /* one for each output */
    struct rad_work *work;  /* one for each span: whose it is */
    rad_request **starting; /* those whose prompt is not computed, oldest first */
    uint32_t n_starting;
    rad_request **drafting; /* those that generate, while their drafts are made */
    /* Whose last token's logits are still where the backend made them, and their output row; NULL:
     * nobody's. The stepper's. */
    struct rad_session *unread;
    uint32_t unread_output;

    /* tokens_reused: also those of tokens_shared, which other sessions had computed. */
    _Atomic(uint64_t) tokens_computed, tokens_reused, tokens_shared, tokens_drafted,
        tokens_accepted;
} rad_engine;

radllm_status rad_engine_create(const rad_host *host, const rad_model *model,
                                const rad_engine_settings *settings, rad_engine **out,
                                radllm_error *error);
/* All sessions must be freed before. */
void rad_engine_free(rad_engine *engine);

/* Waits for the step and takes it; RADLLM_E_STATE when the calling thread holds it already (a
 * callback). */
radllm_status rad_engine_take_step(rad_engine *engine, radllm_error *error);
void rad_engine_give_step(rad_engine *engine);

/* Runs the backend on a batch, once logits that a session may still want are taken from it. The
 * caller holds the step. */
radllm_status rad_engine_run(rad_engine *engine, const rad_batch *batch,
                             const radllm_cancel *cancel, radllm_error *error);
/* Takes them. */
radllm_status rad_engine_read_logits(rad_engine *engine, radllm_error *error);

/* One step; see radllm_engine_step(). */
radllm_status rad_engine_step(rad_engine *engine, const radllm_cancel *cancel, uint32_t *pending,
                              radllm_error *error);
radllm_status rad_engine_start_worker(rad_engine *engine, radllm_error *error);
radllm_status rad_engine_stop_worker(rad_engine *engine, radllm_error *error);

/* ---- sessions ----------------------------------------------------------------------------------
 */

/* What the draft model has computed of a session: keys and values of its first n_tokens tokens. */
typedef struct rad_draft_cache {
    rad_sequence sequence; /* never created where the engine has no draft model */
    uint32_t n_tokens;
} rad_draft_cache;

/* Positions are counted from the first token that ever was. The session keeps its last tokens, as
 * many as the context (all, where positions end with the context). */
struct rad_session {
    rad_engine *engine;
    rad_sequence sequence;
    rad_adapter_set adapters;
    rad_prefix_key key; /* of what it shares: adapters, and rad_prefix_salt() */
    bool own; /* its keys and values are of its own kind and not for others: they come from a file,
               * or were shifted */
    int32_t *tokens; /* from position `origin` on; see rad_session_at(). Behind them, while a step
                      * is prepared: the last token of the answer, and its draft */
    uint32_t origin, first;  /* tokens before position `first` are forgotten */
    uint32_t n_known;        /* positions of the sequence */
    uint32_t base, n_tokens; /* base..n_tokens-1 are in the cache. Less than n_known where keys are
                              * gone after a rewind, or the base moved: they are computed anew */
    rad_draft_cache draft;   /* the draft model's part */
    float *logits;           /* of the last token, when has_logits and not is_unread */
    bool has_logits;
    atomic_bool is_unread; /* the backend still holds them, and the greatest one's token is known */
    int32_t choice;        /* that token */
    rad_request *request;  /* the one that runs on it, or NULL */
};

radllm_status rad_session_create(rad_engine *engine, rad_session **out, radllm_error *error);
void rad_session_free(rad_session *session);
/* Makes sure of `logits`: before they are read, or overwritten. The caller owns the session and may
 * hold the step: nothing is unread while a step calls back. */
radllm_status rad_session_read_logits(rad_session *session, radllm_error *error);
/* A second session that holds the same; pages are copied when one of the two writes to them. The
 * caller owns `session`, on which no request runs. */
radllm_status rad_session_fork(rad_session *session, rad_session **out, radllm_error *error);
/* Takes `count` tokens from position `first` on out of the sequence; what follows is computed anew
 * when the session goes on. Only where rad_session_can_cut(first). The caller as above. */
void rad_session_remove(rad_session *session, uint32_t first, uint32_t count);
/* Changes the adapters to `wanted`, of which it keeps references of its own. What was computed with
 * others is computed anew when the session goes on; all is forgotten where its beginning was. The
 * caller as above. RADLLM_E_MEMORY leaves the session as it was. */
radllm_status rad_session_set_adapters(rad_session *session, const rad_adapter_set *wanted,
                                       radllm_error *error);
/* Whether what a token at position `length` would see is in the cache, or can be computed anew. */
bool rad_session_can_cut(const rad_session *session, uint32_t length);
/* Forgets the tokens from position `length` on; all, where rad_session_can_cut() is false. Where a
 * windowed layer does not hold any more what comes before it, n_tokens becomes 0. The caller holds
 * the step or owns the session. */
void rad_session_cut(rad_session *session, uint32_t length);
/* Whether the session holds all from its first token on: only then it shares with others. */
bool rad_session_shares(const rad_session *session);
/* Takes what other sessions have computed of the first `limit` of `tokens`, which agree with the
 * session's as far as it holds any. Returns how many tokens it holds more than before. */
uint32_t rad_session_adopt(rad_session *session, const int32_t *tokens, uint32_t limit);
/* Lets other sessions find what this one has computed. */
void rad_session_publish(rad_session *session);
/* Under recompute: empties the cache where it does not begin with what `position` sees. */
void rad_session_rebase(rad_session *session, uint32_t position);
/* Makes sure of pages for the positions up to `length` - 1; always succeeds within the plan. */
bool rad_session_extend(rad_session *session, uint32_t length);
/* The tokens from `position` on, which is not before session->first. */
int32_t *rad_session_at(const rad_session *session, uint32_t position);
/* Adds known tokens; the oldest are forgotten. */
void rad_session_append(rad_session *session, const int32_t *tokens, uint32_t count);
/* Room for an answer's last token and its draft behind the known tokens. */
int32_t *rad_session_behind(rad_session *session);
/* What the session keeps, with `extra` tokens behind it: the last ones, as many as the context. */
const int32_t *rad_session_history(const rad_session *session, uint32_t extra, uint32_t *count);
/* How many tokens a session has room for. */
uint64_t rad_session_capacity(const rad_engine_plan *plan);
/* The same for what the draft model holds. */
void rad_session_cut_draft(rad_session *session, uint32_t length);
bool rad_session_extend_draft(rad_session *session, uint32_t length);

/* callback may be NULL: then only the last token's logits are computed. */
radllm_status rad_session_feed(rad_session *session, const int32_t *tokens, size_t count,
                               radllm_logits_fn callback, void *user, const radllm_cancel *cancel,
                               radllm_error *error);
radllm_status rad_session_sample(rad_session *session, const rad_sampler_settings *settings,
                                 int32_t *token, float *logprob, radllm_error *error);

#endif
