/* Sessions that are copied, shortened, written to files and read again. */
#include "api/engine.h"
#include "engine/shift.h"
#include "engine/snapshot.h"

radllm_status radllm_session_fork(radllm_session *session, radllm_session **out,
                                  radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(session);
    RAD_CHECK_NULL(out);
    radllm_status status = rad_session_check_idle(session, error);
    if (status != RADLLM_OK)
        return status;
    const rad_allocator *allocator = &session->engine->engine->host.allocator;
    radllm_session *fork = rad_alloc_zero(allocator, sizeof *fork);
    if (fork == NULL)
        return rad_fail_memory(error, sizeof *fork);
    status = rad_session_fork(session->session, &fork->session, error);
    if (status != RADLLM_OK) {
        rad_free(allocator, fork, sizeof *fork);
        return status;
    }
    atomic_init(&fork->references, 1);
    fork->engine = rad_engine_retain(session->engine);
    *out = fork;
    return RADLLM_OK;
}

static radllm_status check_range(radllm_session *session, uint32_t first, uint32_t count,
                                 radllm_error *error)
{
    radllm_status status = rad_session_check_idle(session, error);
    if (status != RADLLM_OK)
        return status;
    uint32_t length = session->session->n_known;
    if (first > length || count > length - first)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "cannot remove %u tokens from position %u on: the session holds %u", count,
                        first, length);
    if (count > 0 &&
        (first < session->session->first || !rad_session_can_cut(session->session, first)))
        return rad_fail(error, RADLLM_E_LIMIT,
                        "cannot remove tokens from position %u on: what came before is forgotten; "
                        "make the engine with a larger option context",
                        first);
    return RADLLM_OK;
}

radllm_status radllm_session_remove(radllm_session *session, uint32_t first, uint32_t count,
                                    radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(session);
    radllm_status status = check_range(session, first, count, error);
    if (status == RADLLM_OK && count > 0)
        rad_session_remove(session->session, first, count);
    return status;
}

radllm_status radllm_session_shift(radllm_session *session, uint32_t first, uint32_t count,
                                   radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(session);
    radllm_status status = check_range(session, first, count, error);
    return status == RADLLM_OK && count > 0
               ? rad_session_shift(session->session, first, count, error)
               : status;
}

/* What a file is checked against, for a session at rest. */
static radllm_status ask_hash(radllm_session *session, const radllm_cancel *cancel, char hash[65],
                              radllm_error *error)
{
    radllm_status status = rad_session_check_idle(session, error);
    return status == RADLLM_OK
               ? radllm_model_hash(session->engine->model, cancel, hash, 65, NULL, error)
               : status;
}

radllm_status radllm_session_snapshot(radllm_session *session, const char *path,
                                      const radllm_cancel *cancel, radllm_error *error)
{
    char hash[65];
    rad_error_clear(error);
    RAD_CHECK_NULL(session);
    RAD_CHECK_NULL(path);
    radllm_status status = ask_hash(session, cancel, hash, error);
    return status == RADLLM_OK ? rad_snapshot_write(session->session, path, hash, cancel, error)
                               : status;
}

radllm_status radllm_session_restore(radllm_session *session, const char *path,
                                     const radllm_cancel *cancel, radllm_error *error)
{
    char hash[65];
    rad_error_clear(error);
    RAD_CHECK_NULL(session);
    RAD_CHECK_NULL(path);
    radllm_status status = ask_hash(session, cancel, hash, error);
    return status == RADLLM_OK ? rad_snapshot_read(session->session, path, hash, cancel, error)
                               : status;
}
