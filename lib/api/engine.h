/* Sharing of engine and session handles between the files of the API layer. */
#ifndef RAD_API_ENGINE_H
#define RAD_API_ENGINE_H

#include "api/handles.h"

radllm_engine *rad_engine_retain(radllm_engine *engine);
radllm_session *rad_session_retain(radllm_session *session);
/* For calls that need the session to be at rest. */
radllm_status rad_session_check_idle(radllm_session *session, radllm_error *error);

#endif
