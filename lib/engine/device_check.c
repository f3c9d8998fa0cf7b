#include "engine/device_check.h"

#include <math.h>
#include <string.h>

/* More tokens at once than kernels for few have; then a piece for those of several, and single
 * tokens, the second of which is replayed from what was recorded of the first. With `fast` kernels
 * that are outside the contract begin at 16 tokens. */
enum { MOST_TOKENS = 20, MOST_WITH_FAST = 15 };
static const uint8_t pieces[] = {11, 5, 2, 1, 1};

/* Ids all over the vocabulary. */
static int32_t token_at(const rad_engine *engine, uint32_t position)
{
    return (int32_t)((position * 2654435761u + 1) % engine->model->hparams.n_vocab);
}

static radllm_status feed(rad_session *session, uint32_t n, radllm_error *error)
{
    int32_t tokens[MOST_TOKENS];
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = token_at(session->engine, session->n_known + i);
    return rad_session_feed(session, tokens, n, NULL, NULL, NULL, error);
}

/* The host hears of it, since layers on the CPU can take long, and may end it. */
static radllm_status report(const rad_engine *engine, uint32_t done, uint32_t total,
                            radllm_error *error)
{
    const rad_host *host = &engine->host;
    if (host->progress != NULL && host->progress(host->progress_user, "check", done, total) != 0)
        return rad_fail(error, RADLLM_E_CANCELLED, "the check of the device was cancelled");
    return RADLLM_OK;
}

/* A session that shares with none, and holds n tokens. */
static radllm_status compute(rad_engine *engine, uint32_t n, bool in_pieces, rad_session **out,
                             radllm_error *error)
{
    rad_session *session;
    radllm_status status = rad_session_create(engine, &session, error);
    if (status != RADLLM_OK)
        return status;
    session->own = true;
    for (uint32_t i = 0, done = 0, piece; done < n && status == RADLLM_OK; done += piece, i++) {
        piece = in_pieces && i < sizeof pieces ? pieces[i] : n;
        piece = piece < n - done ? piece : n - done;
        status = feed(session, piece, error);
        if (status == RADLLM_OK)
            status = report(engine, (in_pieces ? n : 0) + done + piece, 2 * n, error);
    }
    if (status == RADLLM_OK)
        status = rad_session_read_logits(session, error);
    if (status == RADLLM_OK)
        *out = session;
    else
        rad_session_free(session);
    return status;
}

/* What is no number on both sides ends the request that meets it. */
static radllm_status compare(const rad_engine *engine, const float *pieces_logits,
                             const float *logits, uint32_t n, radllm_error *error)
{
    for (uint32_t i = 0; i < engine->model->hparams.n_vocab; i++) {
        if (memcmp(&logits[i], &pieces_logits[i], sizeof *logits) != 0 &&
            !(isnan(logits[i]) && isnan(pieces_logits[i])))
            return rad_fail(
                error, RADLLM_E_DEVICE,
                "the device does not compute what it should (%s): %u tokens give token "
                "%u the logit %.9g when computed at once, %.9g when computed in pieces. "
                "Set device=cpu and report this; gpu_check=0 uses the device all the "
                "same",
                engine->plan.placement.devices, n, i, (double)logits[i], (double)pieces_logits[i]);
    }
    return RADLLM_OK;
}

static uint32_t tokens_for(const rad_engine_plan *plan)
{
    uint32_t n = plan->placement.fast[0] != '\0' ? MOST_WITH_FAST : MOST_TOKENS;
    return plan->settings.context < n ? plan->settings.context : n;
}

/* The engine has computed nothing yet, for those who ask. */
static radllm_status forget(rad_engine *engine, radllm_error *error)
{
    atomic_store(&engine->tokens_computed, 0);
    rad_cpu_backend_clear_expert_tokens(engine->cpu);
    return engine->cuda->clear_expert_tokens(engine->backend, error);
}

radllm_status rad_device_check(rad_engine *engine, radllm_error *error)
{
    rad_session *at_once = NULL, *in_pieces = NULL;
    if (engine->device == NULL || engine->model->hparams.bidirectional)
        return RADLLM_OK;
    uint64_t begin = rad_clock_ns();
    uint32_t n = tokens_for(&engine->plan), n_vocab = engine->model->hparams.n_vocab;
    float *logits = rad_alloc(&engine->host.allocator, n_vocab * sizeof *logits);
    if (logits == NULL)
        return rad_fail_memory(error, n_vocab * sizeof *logits);
    radllm_status status = compute(engine, n, false, &at_once, error);
    if (status == RADLLM_OK)
        memcpy(logits, at_once->logits, n_vocab * sizeof *logits);
    rad_session_free(at_once); /* an engine may have room for one */
    if (status == RADLLM_OK)
        status = compute(engine, n, true, &in_pieces, error);
    if (status == RADLLM_OK)
        status = compare(engine, in_pieces->logits, logits, n, error);
    rad_session_free(in_pieces);
    rad_free(&engine->host.allocator, logits, n_vocab * sizeof *logits);
    if (status == RADLLM_OK)
        status = forget(engine, error);
    if (status != RADLLM_OK)
        return status;
    engine->check_ns = rad_clock_ns() - begin;
    rad_log_line(&engine->host, RADLLM_LOG_INFO,
                 "placement: %u tokens at once and in pieces have the same bits (%.3f s)", n,
                 (double)engine->check_ns * 1e-9);
    return RADLLM_OK;
}
