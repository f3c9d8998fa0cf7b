#include "cache/policy.h"

#define DEFAULT_SINKS  4
#define DEFAULT_PERIOD 1

static const char *const names[] = {"auto", "full", "window", "sinks", "recompute"};

/* ---- what the host asked for ----------------------------------------------------------------- */

static radllm_status check_belongs(const rad_attention_options *asked, radllm_error *error)
{
    if (asked->window > 0 && asked->kind < RAD_ATTENTION_WINDOW)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "option window: attention is \"%s\"; set it to window, sinks or recompute",
                        names[asked->kind]);
    if (asked->sinks >= 0 && asked->kind != RAD_ATTENTION_SINKS)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "option sinks: attention is \"%s\"; set it to sinks", names[asked->kind]);
    if (asked->period >= 0 && asked->kind != RAD_ATTENTION_RECOMPUTE)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "option recompute_period: attention is \"%s\"; set it to recompute",
                        names[asked->kind]);
    return RADLLM_OK;
}

static uint32_t own_window(const rad_hparams *hparams)
{
    uint32_t window = 0;
    for (uint32_t i = 0; i < hparams->n_layers; i++)
        window = hparams->layers[i].window > window ? hparams->layers[i].window : window;
    return window;
}

/* How far positions are counted must be what the model was made for. */
static radllm_status check_positions(const rad_hparams *hparams, const rad_attention_policy *policy,
                                     bool unlimited, radllm_error *error)
{
    bool learned = hparams->architecture->learned_positions;
    if (policy->kind == RAD_ATTENTION_SINKS && learned)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "attention=sinks counts positions inside the cache, which a model with "
                        "learned positions cannot; use attention=recompute");
    uint64_t counted = (uint64_t)policy->window + policy->sinks;
    if (counted <= hparams->context_length || (unlimited && !learned))
        return RADLLM_OK;
    return rad_fail(error, RADLLM_E_LIMIT,
                    "attention=%s over %llu positions was asked for; the model was made for %u: "
                    "lower the option window%s",
                    names[policy->kind], (unsigned long long)counted, hparams->context_length,
                    learned ? "" : ", or set context_limit=ignore");
}

radllm_status rad_policy_make(const rad_hparams *hparams, const rad_attention_options *asked,
                              bool unlimited, rad_attention_policy *policy, radllm_error *error)
{
    *policy = (rad_attention_policy){.kind = asked->kind};
    radllm_status status = check_belongs(asked, error);
    if (status != RADLLM_OK || asked->kind < RAD_ATTENTION_WINDOW)
        return status;
    policy->window = asked->window > 0 ? (uint32_t)asked->window : own_window(hparams);
    if (policy->window == 0)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "attention=%s needs the option window: the model has none of its own",
                        names[asked->kind]);
    if (asked->kind == RAD_ATTENTION_SINKS)
        policy->sinks = asked->sinks >= 0 ? (uint32_t)asked->sinks : DEFAULT_SINKS;
    if (asked->kind == RAD_ATTENTION_RECOMPUTE)
        policy->period = asked->period >= 0 ? (uint32_t)asked->period : DEFAULT_PERIOD;
    if (policy->period > policy->window)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "option recompute_period: %u is more than the window of %u", policy->period,
                        policy->window);
    return check_positions(hparams, policy, unlimited, error);
}

const char *rad_policy_name(const rad_attention_policy *policy)
{
    return names[policy->kind];
}

/* ---- what follows from it -------------------------------------------------------------------- */

bool rad_policy_is_endless(const rad_attention_policy *policy, const rad_hparams *hparams)
{
    return policy->kind == RAD_ATTENTION_RECOMPUTE ||
           (policy->kind >= RAD_ATTENTION_WINDOW && !hparams->architecture->learned_positions);
}

uint32_t rad_policy_length(const rad_attention_policy *policy, uint32_t context)
{
    uint64_t counted = (uint64_t)policy->window + policy->sinks;
    if (policy->kind < RAD_ATTENTION_WINDOW)
        return context;
    return counted < RAD_MAX_POSITIONS ? (uint32_t)counted : RAD_MAX_POSITIONS;
}

rad_reach rad_policy_reach(const rad_attention_policy *policy, uint32_t own)
{
    uint64_t counted = (uint64_t)policy->window + policy->sinks;
    switch (policy->kind) {
    case RAD_ATTENTION_FULL:
        return (rad_reach){0, 0};
    case RAD_ATTENTION_WINDOW:
    case RAD_ATTENTION_SINKS: /* a layer that was made to see less goes on seeing that */
        return own != 0 && own < counted ? (rad_reach){own, 0}
                                         : (rad_reach){policy->window, policy->sinks};
    default:
        return (rad_reach){own, 0};
    }
}

uint32_t rad_policy_base(const rad_attention_policy *policy, uint32_t position)
{
    if (policy->kind != RAD_ATTENTION_RECOMPUTE || position < policy->window)
        return 0;
    uint64_t least = (uint64_t)position - policy->window + 1; /* else it saw more than a window */
    return (uint32_t)((least + policy->period - 1) / policy->period * policy->period);
}

uint32_t rad_policy_segment(const rad_attention_policy *policy, uint32_t position)
{
    if (policy->kind != RAD_ATTENTION_RECOMPUTE)
        return RAD_MAX_POSITIONS;
    return policy->window - (position - rad_policy_base(policy, position));
}
