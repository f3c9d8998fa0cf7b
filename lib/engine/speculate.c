#include "engine/speculate.h"

#include "engine/draft.h"
#include "engine/lookup.h"

/* ---- what it costs --------------------------------------------------------------------------- */

static double bytes_of_tensors(const rad_model *model)
{
    double bytes = 0.0;
    for (uint64_t i = 0; i < rad_source_n_tensors(model->source); i++)
        bytes += (double)rad_source_tensor(model->source, i)->n_bytes;
    return bytes;
}

/* Estimated from measured rates (bench/RESULTS.md); a wrong estimate costs speed and nothing else.
 * The narrower a weight, the sooner arithmetic is what a step waits for. */
static void estimate_row(const rad_model *model, double bytes, rad_pace_cost *cost)
{
    /* Bits of a weight that take as long to read as to multiply: quantized, and floats. */
    static const double bits[][2] = {[RAD_ISA_SCALAR] = {16.0, 32.0},
                                     [RAD_ISA_AVX2] = {1.6, 4.8},
                                     [RAD_ISA_AVX512] = {0.85, 2.4},
                                     [RAD_ISA_NEON] = {1.6, 4.8}};
    double of_weight = 8.0 * bytes / (double)model->n_parameters;
    cost->product = bits[model->kernels->isa][of_weight >= 15.0] / of_weight;
    cost->other = 0.1 / of_weight;
}

/* A GPU has other kernels for 2 to 16 rows, and time to spare in them. */
static const rad_pace_cost on_device = {.product = 0.1, .other = 0.04, .several = 0.4};

static double bytes_of_experts(const rad_model *model)
{
    double bytes = 0.0;
    for (uint32_t l = 0; l < model->hparams.n_layers; l++)
        for (int role = RAD_WEIGHT_EXPERT_GATES; role <= RAD_WEIGHT_EXPERT_DOWNS; role++) {
            const rad_weight *weight = &model->layers[l].weights[role];
            bytes += weight->tensor != NULL ? (double)rad_weight_file_bytes(weight) : 0.0;
        }
    return bytes;
}

/* What reading `bytes` takes, `there` of n_layers of them on a GPU, in bytes of its memory: a layer
 * takes 30 microseconds there besides its weights (bench/RESULTS.md), in which 60 MB are read. Main
 * memory is slower by a factor. Without a GPU it is the bytes. */
static double reading_time(const rad_engine *engine, double bytes, uint32_t there,
                           uint32_t n_layers)
{
    static const double of_layer = 6e7, slower = 20.0;
    double part = (double)there / n_layers;
    if (engine->device == NULL)
        return bytes;
    return bytes * (part + slower * (1.0 - part)) + of_layer * there;
}

/* Of a drafted token, in steps without a draft. */
static double draft_cost(const rad_engine *engine, double read)
{
    const rad_cuda_placement *placement = &engine->plan.placement;
    const rad_model *draft = engine->plan.settings.draft;
    uint32_t n_layers = draft->hparams.n_layers;
    uint32_t there = placement->bytes.draft > 0 ? n_layers : 0;
    return reading_time(engine, bytes_of_tensors(draft), there, n_layers) /
           reading_time(engine, read, placement->experts_here ? 0 : placement->n_layers,
                        engine->model->hparams.n_layers);
}

void rad_speculation_start(rad_engine *engine)
{
    double bytes = bytes_of_tensors(engine->model), read = bytes;
    if (engine->plan.placement.n_layers == engine->model->hparams.n_layers)
        engine->row_cost = on_device;
    else
        estimate_row(engine->model, bytes, &engine->row_cost);
    const rad_router *router = &engine->model->hparams.router;
    if (router->n_experts > 0) {
        double of_experts = bytes_of_experts(engine->model);
        double chosen = (double)router->n_used / router->n_experts;
        read = bytes - of_experts * (1.0 - chosen);
        engine->row_cost.chosen = chosen;
        engine->row_cost.experts = of_experts * chosen / read;
    }
    if (engine->plan.settings.draft != NULL)
        engine->draft_cost = draft_cost(engine, read);
}

/* A token more for each of n requests, in steps of n rows. */
static rad_pace_cost cost_of_drafts(const rad_engine *engine, uint32_t n, bool by_draft_model)
{
    rad_pace_cost cost = engine->row_cost;
    cost.rows = n;
    cost.draft = by_draft_model ? engine->draft_cost : 0.0;
    return cost;
}

/* ---- whose, and how many --------------------------------------------------------------------- */

/* Fills engine->drafting with the requests that generate; *others: the rest. */
static uint32_t find_generating(rad_engine *engine, uint32_t *others)
{
    uint32_t n = 0;
    *others = 0;
    pthread_mutex_lock(&engine->mutex);
    for (rad_request *r = engine->queue; r != NULL; r = r->next) {
        r->n_draft = r->wanted = 0;
        if (r->phase == RAD_PHASE_GENERATE)
            engine->drafting[n++] = r;
        else
            ++*others;
    }
    pthread_mutex_unlock(&engine->mutex);
    return n;
}

/* Drafted tokens that each of n requests can have in the batch. Everybody's next token has its
 * place; where prompts wait as well, half of what is left is theirs. */
static uint32_t share_of_batch(const rad_engine *engine, uint32_t n, uint32_t others)
{
    const rad_backend_settings *limits = &engine->plan.backend;
    uint32_t most =
        limits->max_tokens < limits->max_outputs ? limits->max_tokens : limits->max_outputs;
    uint32_t room = most > n ? most - n : 0;
    return (others > 0 ? room / 2 : room) / n;
}

static bool speculates(const rad_request *r)
{
    return r->draft_callback != NULL || r->settings.speculation != RAD_SPECULATION_OFF;
}

/* The answer grows by one token more than are drafted. */
static uint32_t most_tokens(const rad_request *r, uint32_t share)
{
    const rad_engine_plan *plan = &r->session->engine->plan;
    uint32_t held = r->session->n_known, most = r->settings.draft_tokens;
    most = most < share ? most : share;
    uint32_t room = plan->positions - held - 1;
    uint32_t segment = rad_policy_segment(&plan->policy, held) - 1;
    most = most < room ? most : room;
    most = most < segment ? most : segment; /* these see the same keys */
    if (r->draft_callback == NULL && r->settings.speculation == RAD_SPECULATION_DRAFT) {
        room = plan->draft_context > held ? plan->draft_context - held : 0;
        most = most < room ? most : room;
    }
    if (r->settings.max_tokens < 0)
        return most;
    uint64_t left = (uint64_t)r->settings.max_tokens - r->n_answer;
    return left == 0 ? 0 : left - 1 < most ? (uint32_t)left - 1 : most;
}

/* ---- drafting -------------------------------------------------------------------------------- */

/* Takes only ids of the vocabulary, up to the first that ends the answer: nothing comes behind. */
static void keep_useful(rad_request *r, uint32_t n)
{
    const rad_model *model = r->session->engine->model;
    uint32_t kept = 0;
    while (kept < n) {
        int32_t token = r->draft[1 + kept];
        if (token < 0 || (uint32_t)token >= model->hparams.n_vocab ||
            (!r->settings.ignore_end && rad_tokenizer_is_end(model->tokenizer, token)))
            break;
        kept++;
    }
    r->n_draft = kept;
}

static void ask_host(rad_request *r, uint32_t most)
{
    uint32_t length = rad_pace_length(&r->pace, 0, &r->cost, most);
    if (length == 0)
        return;
    uint32_t n_history;
    const int32_t *history = rad_session_history(r->session, 1, &n_history);
    int32_t got = r->draft_callback(r->draft_user, history, n_history, r->draft + 1, length);
    r->quality = 0;
    keep_useful(r, got < 0 ? 0 : (uint32_t)got < length ? (uint32_t)got : length);
}

static void look_up(rad_request *r, uint32_t most)
{
    uint32_t n_history;
    const int32_t *history = rad_session_history(r->session, 1, &n_history);
    uint32_t n = rad_lookup_draft(history, n_history, most, r->draft + 1, &r->quality);
    if (n > 0)
        keep_useful(r, rad_pace_length(&r->pace, r->quality, &r->cost, n));
}

/* One request's draft; those that the draft model is to make are only counted. */
static bool draft_one(rad_request *r, uint32_t share, uint32_t n)
{
    rad_engine *engine = r->session->engine;
    bool by_model = r->draft_callback == NULL && r->settings.speculation == RAD_SPECULATION_DRAFT;
    uint32_t most = most_tokens(r, share);
    if (most == 0)
        return false;
    r->draft[0] = r->answer[r->n_answer - 1].token;
    /* Behind the sequence, so that it is one with its next token. */
    *rad_session_behind(r->session) = r->draft[0];
    r->cost = cost_of_drafts(engine, n, by_model);
    if (r->draft_callback != NULL) {
        ask_host(r, most);
    } else if (by_model) {
        r->quality = 0;
        r->wanted = rad_pace_length(&r->pace, 0, &r->cost, most);
    } else {
        look_up(r, most);
    }
    return r->wanted > 0;
}

void rad_speculate(rad_engine *engine, const radllm_cancel *cancel)
{
    uint32_t others, n = find_generating(engine, &others);
    if (n == 0)
        return;
    uint32_t share = share_of_batch(engine, n, others);
    bool any = false;
    for (uint32_t i = 0; i < n && share > 0; i++) {
        if (speculates(engine->drafting[i]))
            any = draft_one(engine->drafting[i], share, n) || any;
    }
    if (any)
        rad_draft_propose(engine, engine->drafting, n, cancel);
}

void rad_speculation_learn(rad_request *r, uint32_t drafted, uint32_t accepted)
{
    rad_pace_learn(&r->pace, r->quality, &r->cost, drafted, accepted);
}
