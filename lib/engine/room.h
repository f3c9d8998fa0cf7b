/* Who gets pages where there are fewer than all sessions could fill (option cache_positions). What
 * a session gives back is computed anew when its request goes on, with the same bits. */
#ifndef RAD_ROOM_H
#define RAD_ROOM_H

#include "engine/schedule.h"

/* What a request is about to compute. */
typedef struct rad_room_need {
    uint32_t length; /* positions that its session will hold behind the step */
    uint32_t whole;  /* and before it can generate on */
    bool starts;     /* nothing of it is under way: it takes nobody's pages, and waits until there
                        are enough for the whole, unless it is the oldest */
} rad_room_need;

/* Makes sure of pages, if need be those of the youngest requests behind it which have no part in
 * the step that is being built; false where it has to wait. The caller holds the step and the
 * engine's mutex. */
bool rad_room_make(rad_engine *engine, const struct rad_work *work, uint32_t n_work,
                   rad_request *request, const rad_room_need *need);
/* The request on it has ended: others may use its pages until it goes on. */
void rad_room_leave(rad_session *session);
/* Fails a request for which not even the pages of all others are enough. The caller holds the
 * step. */
void rad_room_fail_request(rad_request *request);
/* RADLLM_E_LIMIT: other sessions hold the pages. */
radllm_status rad_room_fail(const rad_engine *engine, radllm_error *error);

#endif
