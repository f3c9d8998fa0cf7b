/* Text on its way through normalizers and pre-tokenizers: bytes, and for each where in the original
 * text it comes from. */
#ifndef RAD_FLOW_H
#define RAD_FLOW_H

#include "base/base.h"

/* A stretch of text that is only read. */
typedef struct rad_slice {
    const uint8_t *bytes;
    const uint32_t *origins; /* NULL: byte i comes from base + i */
    uint32_t base;
    size_t size;
} rad_slice;

static inline uint32_t rad_slice_origin(const rad_slice *view, size_t at)
{
    return view->origins != NULL ? view->origins[at] : view->base + (uint32_t)at;
}

static inline rad_slice rad_slice_part(const rad_slice *view, size_t start, size_t size)
{
    rad_slice part = {view->bytes + start, view->origins != NULL ? view->origins + start : NULL,
                      view->base + (uint32_t)start, size};
    return part;
}

/* A growing text. Zero it, set the allocator. */
typedef struct rad_flow {
    const rad_allocator *allocator;
    uint8_t *bytes;
    uint32_t *origins;
    size_t bytes_capacity;
    size_t origins_capacity;
    size_t size;
    size_t limit;  /* of size; 0: that of 32 bits */
    bool failed;   /* memory was short, or the limit reached; what was put since is lost */
    bool too_long; /* it was the limit */
} rad_flow;

void rad_flow_free(rad_flow *flow); /* wipes it */
/* Appends bytes that all come from `origin`. */
void rad_flow_put(rad_flow *flow, const uint8_t *bytes, size_t size, uint32_t origin);
void rad_flow_put_code(rad_flow *flow, uint32_t code, uint32_t origin);
/* Appends part of a view with its own origins. */
void rad_flow_copy(rad_flow *flow, const rad_slice *view, size_t start, size_t size);
rad_slice rad_flow_view(const rad_flow *flow);
/* Whether a view reads the flow's memory. */
static inline bool rad_slice_lies_in(const rad_slice *view, const rad_flow *flow)
{
    return flow->bytes != NULL && view->bytes >= flow->bytes &&
           view->bytes <= flow->bytes + flow->bytes_capacity;
}

#endif
