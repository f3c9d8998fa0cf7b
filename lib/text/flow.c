#include "text/flow.h"

#include <string.h>

#include "text/utf8.h"

void rad_flow_free(rad_flow *flow)
{
    rad_wipe(flow->bytes, flow->bytes_capacity);
    rad_free(flow->allocator, flow->bytes, flow->bytes_capacity);
    rad_free(flow->allocator, flow->origins, flow->origins_capacity * sizeof *flow->origins);
    flow->bytes = NULL;
    flow->origins = NULL;
    flow->bytes_capacity = flow->origins_capacity = flow->size = 0;
}

static bool make_room(rad_flow *flow, size_t size)
{
    size_t needed, limit = flow->limit != 0 ? flow->limit : UINT32_MAX;
    if (flow->failed || !rad_add_size(flow->size, size, &needed) || needed > limit) {
        flow->too_long = flow->too_long || !flow->failed;
        flow->failed = true;
        return false;
    }
    if ((needed > flow->bytes_capacity && !rad_reserve(flow->allocator, (void **)&flow->bytes,
                                                       &flow->bytes_capacity, needed + 256, 1)) ||
        (needed > flow->origins_capacity &&
         !rad_reserve(flow->allocator, (void **)&flow->origins, &flow->origins_capacity,
                      needed + 256, sizeof *flow->origins))) {
        flow->failed = true;
        return false;
    }
    return true;
}

void rad_flow_put(rad_flow *flow, const uint8_t *bytes, size_t size, uint32_t origin)
{
    if (size == 0 || !make_room(flow, size))
        return;
    memcpy(flow->bytes + flow->size, bytes, size);
    for (size_t i = 0; i < size; i++)
        flow->origins[flow->size + i] = origin;
    flow->size += size;
}

void rad_flow_put_code(rad_flow *flow, uint32_t code, uint32_t origin)
{
    uint8_t bytes[4];
    uint32_t size = rad_utf8_encode(code, bytes);
    rad_flow_put(flow, bytes, size, origin);
}

void rad_flow_copy(rad_flow *flow, const rad_slice *view, size_t start, size_t size)
{
    if (size == 0 || !make_room(flow, size))
        return;
    memcpy(flow->bytes + flow->size, view->bytes + start, size);
    if (view->origins != NULL)
        memcpy(flow->origins + flow->size, view->origins + start, size * sizeof *flow->origins);
    else
        for (size_t i = 0; i < size; i++)
            flow->origins[flow->size + i] = view->base + (uint32_t)(start + i);
    flow->size += size;
}

rad_slice rad_flow_view(const rad_flow *flow)
{
    static const uint8_t none[1];
    static const uint32_t nowhere[1];
    rad_slice view = {flow->size > 0 ? flow->bytes : none, flow->size > 0 ? flow->origins : nowhere,
                      0, flow->size};
    return view;
}
