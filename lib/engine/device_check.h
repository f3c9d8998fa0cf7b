/* Whether a device keeps the numeric contract with the model that an engine was made for. */
#ifndef RAD_DEVICE_CHECK_H
#define RAD_DEVICE_CHECK_H

#include "engine/engine.h"

/* Computes a short text twice, all at once and in pieces down to single tokens: other kernels,
 * which must give the same bits. RADLLM_E_DEVICE where they do not, or where the driver
 * fails; RADLLM_E_CANCELLED by the host's progress callback.
 * Nothing of it stays but `check_ns` of the engine and what the driver has loaded. Does nothing
 * without a device, and for encoders, whose texts are computed at once. The engine is new: it has
 * no sessions and no worker. */
radllm_status rad_device_check(rad_engine *engine, radllm_error *error);

#endif
