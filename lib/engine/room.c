#include "engine/room.h"

#include "engine/request.h"

/* Its keys can be made again: its tokens are known, and they came from these alone. */
static bool can_give(const rad_session *session)
{
    return !session->own && session->base >= session->first;
}

static bool holds_pages(const rad_session *session)
{
    const rad_sequence *sequence = &session->sequence;
    for (uint32_t g = 0; g < sequence->cache->plan.n_groups; g++) {
        const rad_page_table *table = &sequence->tables[g];
        if (sequence->cache->plan.groups[g].window == 0 && table->end > table->first)
            return true;
    }
    return false;
}

static void give(rad_session *session)
{
    (void)rad_sequence_cut(&session->sequence, 0);
    session->n_tokens = session->base;
    rad_session_cut_draft(session, 0);
}

/* What is taken of a prompt is given back with it, and counted when it is taken again. */
static void give_of_request(rad_request *request)
{
    rad_engine *engine = request->session->engine;
    give(request->session);
    if (request->phase != RAD_PHASE_PROMPT)
        return;
    atomic_fetch_sub(&engine->tokens_reused, request->n_reused);
    atomic_fetch_sub(&engine->tokens_shared, request->n_shared);
    request->n_reused = request->n_shared = 0;
}

static bool is_in_step(const struct rad_work *work, uint32_t n_work, const rad_request *request)
{
    for (uint32_t i = 0; i < n_work; i++) {
        if (work[i].request == request)
            return true;
    }
    return false;
}

static rad_request *youngest_behind(const struct rad_work *work, uint32_t n_work,
                                    const rad_request *request)
{
    rad_request *youngest = NULL;
    for (rad_request *r = request->next; r != NULL; r = r->next) {
        if (can_give(r->session) && holds_pages(r->session) && !is_in_step(work, n_work, r))
            youngest = r;
    }
    return youngest;
}

bool rad_room_make(rad_engine *engine, const struct rad_work *work, uint32_t n_work,
                   rad_request *request, const rad_room_need *need)
{
    rad_session *session = request->session;
    bool waits = need->starts && request != engine->queue;
    if (!engine->cache->plan.limited)
        return rad_session_extend(session, need->length);
    bool enough = !waits || rad_sequence_reserve(&session->sequence, need->whole - session->base);
    while (enough && !rad_session_extend(session, need->length)) {
        rad_request *other = waits ? NULL : youngest_behind(work, n_work, request);
        enough = other != NULL;
        if (enough)
            give_of_request(other);
    }
    if (!enough) /* what it took in vain */
        (void)rad_sequence_cut(&session->sequence, session->n_tokens - session->base);
    return enough;
}

void rad_room_leave(rad_session *session)
{
    if (session->engine->cache->plan.limited && can_give(session))
        give(session);
}

radllm_status rad_room_fail(const rad_engine *engine, radllm_error *error)
{
    return rad_fail(error, RADLLM_E_LIMIT,
                    "there is room for the keys and values of %u tokens (cache_positions), and "
                    "other sessions hold what is missing here; free sessions, or raise it",
                    engine->plan.settings.cache_positions);
}

void rad_room_fail_request(rad_request *request)
{
    radllm_error error = {.status = RADLLM_OK};
    (void)rad_room_fail(request->session->engine, &error);
    rad_request_fail(request, &error);
}
