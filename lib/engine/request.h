/* A request: its prompt, its settings, where it stands, its results. */
#ifndef RAD_REQUEST_H
#define RAD_REQUEST_H

#include "engine/engine.h"
#include "engine/pace.h"

/* The most tokens that are drafted in one step. */
#define RAD_MAX_DRAFT 64

/* Who proposes tokens. */
typedef enum rad_speculation {
    RAD_SPECULATION_OFF,
    RAD_SPECULATION_LOOKUP, /* the session's own tokens */
    RAD_SPECULATION_DRAFT   /* the engine's draft model */
} rad_speculation;

typedef struct rad_request_settings {
    rad_sampler_settings sampler; /* biases: copied */
    int64_t max_tokens;           /* negative: as many as the context holds */
    uint32_t top_logprobs;        /* 0: no log-probabilities */
    bool ignore_end;
    const rad_text *stops; /* copied */
    size_t n_stops;
    const int32_t *stop_tokens; /* copied */
    size_t n_stop_tokens;
    rad_speculation speculation;
    uint32_t draft_tokens;       /* in one step at most; up to RAD_MAX_DRAFT */
    int32_t salt[RAD_TILE_KEYS]; /* of what is shared: see rad_prefix_salt(); zeros: none */
} rad_request_settings;

/* One of the answers of a choice. */
typedef struct rad_choice {
    rad_text text;
    const int32_t *tokens;
    uint32_t n_tokens;
    uint32_t n_scored; /* of tokens, so far */
    double logprob, probability;
} rad_choice;

typedef enum rad_phase {
    RAD_PHASE_PROMPT,   /* tokens of the prompt are not all computed */
    RAD_PHASE_GENERATE, /* the last answer token is to be computed */
    RAD_PHASE_CHOICE    /* an answer of a choice is being scored */
} rad_phase;

typedef struct rad_answer_token {
    int32_t token;
    float logprob;
} rad_answer_token;

struct rad_request {
    rad_session *session;
    rad_request *next; /* in the engine's queue */
    rad_arena arena;   /* settings, prompt, choices */
    rad_request_settings settings;
    int32_t *prompt;
    uint32_t n_prompt;
    rad_choice *choices;
    uint32_t n_choices;
    radllm_text_fn callback;
    void *callback_user;
    radllm_logits_fn logits_callback;
    void *logits_user;
    radllm_draft_fn draft_callback; /* proposes tokens, whatever the settings say */
    void *draft_user;
    atomic_bool cancelled;

    /* Progress; the stepper's. */
    rad_phase phase;
    bool waits;      /* for an older request that computes what both begin with */
    uint32_t choice; /* being scored */
    rad_detokenizer detokenizer;
    char *piece; /* room for one push of the detokenizer */
    size_t longest_stop;
    uint64_t start_ns;
    /* The draft of the step at hand: draft[0] is the answer's last token, n_draft proposals follow.
     * wanted: how many the draft model is to make; quality and cost: for the pace. */
    int32_t draft[1 + RAD_MAX_DRAFT];
    uint32_t n_draft, wanted, quality;
    rad_pace_cost cost;
    rad_pace pace;
    int32_t ahead;      /* what was chosen before its turn; -1: nothing */
    bool narrows;       /* the step at hand: the best tokens are looked at first */
    size_t n_undecided; /* choices that they left open */

    /* Results; under the engine's mutex. */
    int32_t state; /* RADLLM_REQUEST_... */
    int32_t finish;
    radllm_error error; /* of a failed request */
    char *text;
    size_t text_size, text_capacity;
    size_t text_final;           /* bytes that no stop string can take back */
    size_t text_read, text_told; /* by radllm_request_read(), by the callback */
    rad_answer_token *answer;
    size_t n_answer, answer_capacity;
    rad_token_logprob *top; /* top_logprobs for each answer token */
    size_t top_capacity;
    uint32_t n_reused, n_shared; /* of the prompt; n_shared of them others had computed */
    uint64_t n_drafted, n_accepted;
    int32_t best_choice;
    uint64_t prompt_ns, answer_ns;
};

/* Copies prompt and settings. RADLLM_E_LIMIT when the prompt is longer than the context. */
radllm_status rad_request_create(rad_session *session, const int32_t *prompt, size_t n_prompt,
                                 const rad_request_settings *settings, rad_request **out,
                                 radllm_error *error);
/* Makes it a choice. The texts are copied; tokens by the model's tokenizer. */
radllm_status rad_request_set_choices(rad_request *request, const rad_text *choices, size_t count,
                                      radllm_error *error);
radllm_status rad_request_submit(rad_request *request, radllm_error *error);
/* Submits it if need be and steps, or waits for the worker, until it is finished. */
radllm_status rad_request_run(rad_request *request, const radllm_cancel *cancel,
                              radllm_error *error);
/* Takes it out of the queue and frees it. */
void rad_request_free(rad_request *request);

/* For the scheduler; the caller holds the step. */
/* Whether all that is wanted of logits is the greatest one's token. */
bool rad_request_is_greedy(const rad_request *request);
/* Whether the best tokens can do and mostly did, and whether those of an output row are there. */
bool rad_request_narrows(const rad_request *request);
bool rad_request_has_best(const rad_request *request, uint32_t output);
/* How its i-th token from now on is drawn; temperature 0: not from all logits, or by looking at
 * them. And what was drawn of an output row, -1: the logits are to be looked at. */
rad_draw rad_request_draw(const rad_request *request, uint32_t i);
/* What an output row will give may be chosen before its turn, of several requests at the same time
 * and each with a sampler of its own. The logits must be fetched. An error is left for the turn. */
bool rad_request_can_choose_ahead(const rad_request *request, uint32_t output);
void rad_request_choose_ahead(rad_request *request, uint32_t output, rad_sampler *sampler);
/* The output row of the step's batch that gives the next token to choose. */
void rad_request_take_output(rad_request *request, uint32_t output);
void rad_request_finish(rad_request *request, int32_t finish);
/* The prompt's end is to be computed anew. */
void rad_request_restart(rad_request *request);
void rad_request_fail(rad_request *request, const radllm_error *error);
/* Tells the callback what became final; it may cancel the request. */
void rad_request_tell(rad_request *request);

#endif
