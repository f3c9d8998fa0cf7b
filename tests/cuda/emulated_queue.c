#include "cuda/emulated_inside.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/numeric_f32.h"
#include "quant/quant.h"

/* ---- operations ----------------------------------------------------------------------------- */

void rad_emulated_operations_init(operations *list)
{
    list->first = NULL;
    list->end = &list->first;
}

void rad_emulated_operations_free(operations *list)
{
    while (list->first != NULL) {
        operation *next = list->first->next;
        free(list->first);
        list->first = next;
    }
    list->end = &list->first;
}

operation *rad_emulated_put(emulated *e, rad_cuda_stream stream, operation_kind kind,
                            const void *data, uint64_t data_bytes)
{
    operation *o = calloc(1, sizeof *o + data_bytes);
    if (o == NULL)
        return NULL;
    o->kind = kind;
    if (data_bytes > 0)
        memcpy(o->data, data, data_bytes);
    bool captured = e->capturing && stream == RAD_CUDA_COMPUTE;
    operations *list = captured ? &e->captured : &e->streams[stream];
    *list->end = o;
    list->end = &o->next;
    return o;
}

/* RAD_EMULATED_WRONG: what kernels of such names wrote last differs in a bit. */
static void spoil(emulated *e, const char *kernel)
{
    const char *wrong = getenv("RAD_EMULATED_WRONG");
    if (wrong == NULL || strncmp(kernel, wrong, strlen(wrong)) != 0)
        return;
    for (const allocation *a = e->allocations; a != NULL; a = a->next) {
        for (uint64_t word = 0; a->written != NULL && word < a->size / 4; word++) {
            if (a->written[word].launch == (uint32_t)e->n_launches)
                a->data[4 * word + 2] ^= 1;
        }
    }
}

static radllm_status run_launch(emulated *e, const operation *o)
{
    rad_order order = e->order;
    if (order == RAD_ORDERS_IN_TURN)
        order = e->n_launches % 3 < 2 ? (rad_order)(e->n_launches % 3)
                                      : (rad_order)(e->n_launches % 1000003);
    e->n_launches++;
    char message[RAD_CUDA_MESSAGE_SIZE];
    rad_emulated_show(e);
    uint32_t n_memory = rad_emulated_list(e);
    rad_runner_set_memory(e->runner, e->memory, n_memory, (uint32_t)e->n_launches,
                          (uint32_t)e->first_launch);
    if (!rad_runner_run(e->runner, o->kernel, o->grid, o->dynamic_shared_bytes, o->data, order,
                        rad_emulated_describe, e, message, sizeof message))
        return rad_emulated_fail(e, RAD_CUDA_E_LOST, "%s", message);
    spoil(e, o->kernel->name);
    radllm_status status = RADLLM_OK;
    int n = 0; /* many allocations: later, when the host waits */
    for (const allocation *a = e->allocations; a != NULL && status == RADLLM_OK && n < 64; n++) {
        status = rad_emulated_check_slack(e, a, o->kernel->name);
        a = a->next;
    }
    return status;
}

static radllm_status run_first(emulated *e, rad_cuda_stream stream);

/* Kernels overlap with those before them, as far as their wait, and with nothing else. */
static void end_overlap(emulated *e)
{
    e->first_launch = e->n_launches + 1;
}

static double number_at(const void *numbers, uint64_t i, uint32_t type)
{
    if (type == RAD_CUDA_F32)
        return (double)((const float *)numbers)[i];
    uint16_t half = ((const uint16_t *)numbers)[i];
    return (double)(type == RAD_CUDA_F16 ? rad_float_of_half(half) : rad_bf16_to_f32(half));
}

/* In an order that no kernel has, and a little off, so that it shows behind roundings to 16 bits.
 */
static void multiply(const rad_cuda_gemm *g)
{
    for (uint32_t t = 0; t < g->n_tokens; t++) {
        for (uint32_t r = 0; r < g->n_rows; r++) {
            float *y = g->y + t * g->y_stride + r;
            double sum = 0.0;
            for (uint32_t k = g->n_columns; k-- > 0;)
                sum += number_at(g->w, (uint64_t)r * g->n_columns + k, g->type) *
                       number_at(g->x, t * g->x_stride + k, g->type);
            sum *= 1.0 + 0x1p-9;
            *y = (float)(sum + (g->adds ? (double)*y : 0.0));
        }
    }
}

/* From memory of another device, which is still there. */
static radllm_status copy_over(emulated *e, const operation *o)
{
    if (rad_emulated_find(o->other, o->from, false) == NULL)
        return rad_emulated_fail(e, RAD_CUDA_E_LOST, "memory that is copied from was freed");
    rad_emulated_show(e);
    rad_emulated_protect(o->other, PROT_READ);
    memcpy(o->to, o->from, o->size);
    if (rad_emulated_peers() == PEERS_WRONG)
        memset(o->to, 0, o->size);
    rad_emulated_protect(o->other, PROT_NONE);
    return RADLLM_OK;
}

static radllm_status run_operation(emulated *e, operation *o)
{
    radllm_status status = rad_emulated_count(e, WORK);
    if (status != RADLLM_OK)
        return status;
    switch (o->kind) {
    case LAUNCH:
        return run_launch(e, o);
    case COPY:
        end_overlap(e);
        if (o->other != NULL)
            return copy_over(e, o);
        rad_emulated_show(e);
        memcpy(o->to, o->from, o->size);
        break;
    case FILL:
        end_overlap(e);
        rad_emulated_show(e);
        memset(o->to, o->value, o->size);
        break;
    case RECORD:
        o->event->reached = o->record;
        clock_gettime(CLOCK_MONOTONIC, &o->event->time);
        break;
    case WAIT:
        /* Another device that fails on the way is lost by itself; this one goes on with what it
         * finds. */
        while (status == RADLLM_OK && o->event->reached < o->record &&
               !o->event->owner->device.lost)
            status = run_first(o->event->owner, o->event->stream);
        if (o->event->owner != e)
            status = RADLLM_OK;
        break;
    case GEMM:
        rad_emulated_show(e);
        multiply((const rad_cuda_gemm *)(const void *)o->data);
        break;
    case GRAPH:
        end_overlap(e);
        for (operation *g = o->graph->operations.first; g != NULL && status == RADLLM_OK;
             g = g->next)
            status = run_operation(e, g);
        end_overlap(e);
        break;
    }
    return status;
}

static radllm_status run_first(emulated *e, rad_cuda_stream stream)
{
    operations *list = &e->streams[stream];
    operation *o = list->first;
    if (o == NULL)
        return rad_emulated_fail(e, RAD_CUDA_E_LOST,
                                 "an event that was never recorded is waited for");
    list->first = o->next;
    if (list->first == NULL)
        list->end = &list->first;
    radllm_status status = run_operation(e, o);
    free(o);
    return status;
}

static radllm_status run_stream(emulated *e, rad_cuda_stream stream)
{
    while (e->streams[stream].first != NULL) {
        radllm_status status = run_first(e, stream);
        if (status != RADLLM_OK)
            return status;
    }
    return RADLLM_OK;
}

radllm_status rad_emulated_run_all(emulated *e)
{
    radllm_status status = run_stream(e, RAD_CUDA_COMPUTE);
    return status == RADLLM_OK ? run_stream(e, RAD_CUDA_COPY) : status;
}

/* ---- events, waiting ----------------------------------------------------------------------- */

static radllm_status event_new(rad_cuda_device *device, rad_cuda_event **event)
{
    emulated *e = of(device);
    *event = NULL;
    radllm_status status = rad_emulated_enter_uncaptured(e, EVENT_NEW, "an event is made");
    if (status != RADLLM_OK)
        return status;
    if ((*event = calloc(1, sizeof **event)) == NULL)
        return rad_emulated_no_memory(e);
    (*event)->owner = e;
    (*event)->next = e->events;
    e->events = *event;
    return RADLLM_OK;
}

static void event_free(rad_cuda_device *device, rad_cuda_event *event)
{
    emulated *e = of(device);
    if (event == NULL)
        return;
    rad_emulated_enter_freely(e, "an event is freed");
    if (!device->lost)
        (void)rad_emulated_run_all(e); /* a failure is remembered */
    rad_cuda_event **link = &e->events;
    while (*link != event)
        link = &(*link)->next;
    *link = event->next;
    free(event);
}

static radllm_status event_record(rad_cuda_device *device, rad_cuda_event *event,
                                  rad_cuda_stream stream)
{
    emulated *e = of(device);
    radllm_status status =
        stream == RAD_CUDA_COMPUTE
            ? rad_emulated_enter_uncaptured(e, EVENT_RECORD, "an event is recorded")
            : rad_emulated_enter(e, EVENT_RECORD);
    if (status != RADLLM_OK)
        return status;
    if (event->owner != e)
        return rad_emulated_fail(e, RAD_CUDA_E_LOST, "an event of device %d is recorded",
                                 event->owner->index);
    operation *o = rad_emulated_put(e, stream, RECORD, NULL, 0);
    if (o == NULL)
        return rad_emulated_no_memory(e);
    o->event = event;
    o->record = event->recorded = ++e->n_records;
    event->stream = stream;
    return RADLLM_OK;
}

static radllm_status stream_wait(rad_cuda_device *device, rad_cuda_stream stream,
                                 rad_cuda_event *event)
{
    emulated *e = of(device);
    radllm_status status =
        stream == RAD_CUDA_COMPUTE
            ? rad_emulated_enter_uncaptured(e, STREAM_WAIT, "an event is waited for")
            : rad_emulated_enter(e, STREAM_WAIT);
    if (status != RADLLM_OK)
        return status;
    operation *o = rad_emulated_put(e, stream, WAIT, NULL, 0);
    if (o == NULL)
        return rad_emulated_no_memory(e);
    o->event = event;
    o->record = event->recorded;
    return RADLLM_OK;
}

static radllm_status event_wait(rad_cuda_device *device, rad_cuda_event *event)
{
    emulated *e = of(device);
    radllm_status status = rad_emulated_enter_uncaptured(e, EVENT_WAIT, "the host waits");
    e->n_waits++;
    while (status == RADLLM_OK && event->reached < event->recorded)
        status = run_first(e, event->stream);
    if (event->stream == RAD_CUDA_COMPUTE)
        end_overlap(e);
    return status;
}

/* Asking makes nothing happen: what nobody waits for is not reached. */
static radllm_status event_reached(rad_cuda_device *device, rad_cuda_event *event, bool *reached)
{
    emulated *e = of(device);
    radllm_status status = rad_emulated_enter_uncaptured(e, EVENT_REACHED, "an event is asked for");
    *reached = status == RADLLM_OK && event->reached >= event->recorded;
    return status;
}

static radllm_status event_milliseconds(rad_cuda_device *device, rad_cuda_event *from,
                                        rad_cuda_event *to, float *milliseconds)
{
    emulated *e = of(device);
    *milliseconds = 0;
    radllm_status status =
        rad_emulated_enter_uncaptured(e, EVENT_MILLISECONDS, "a time is asked for");
    if (status != RADLLM_OK)
        return status;
    if (from->reached == 0 || to->reached == 0 || from->reached < from->recorded ||
        to->reached < to->recorded)
        return rad_emulated_fail(e, RAD_CUDA_E_LOST,
                                 "the time of an event that was not reached is asked for");
    *milliseconds = (float)((double)(to->time.tv_sec - from->time.tv_sec) * 1e3 +
                            (double)(to->time.tv_nsec - from->time.tv_nsec) * 1e-6);
    return RADLLM_OK;
}

static radllm_status synchronize(rad_cuda_device *device, rad_cuda_stream stream)
{
    emulated *e = of(device);
    radllm_status status = rad_emulated_enter_uncaptured(e, SYNCHRONIZE, "the host waits");
    e->n_waits++;
    if (status == RADLLM_OK)
        status = run_stream(e, stream);
    if (stream == RAD_CUDA_COMPUTE)
        end_overlap(e);
    rad_emulated_show(e);
    for (const allocation *a = e->allocations; a != NULL && status == RADLLM_OK; a = a->next)
        status = rad_emulated_check_slack(e, a, "(unknown)");
    return status;
}

/* ---- graphs --------------------------------------------------------------------------------- */

static radllm_status capture_begin(rad_cuda_device *device)
{
    emulated *e = of(device);
    radllm_status status = rad_emulated_enter(e, CAPTURE_BEGIN);
    if (status != RADLLM_OK)
        return status;
    if (e->capturing)
        return rad_emulated_fail(e, RADLLM_E_STATE, "a graph is captured already");
    e->capturing = true;
    e->capture_failed = false;
    return RADLLM_OK;
}

static radllm_status capture_end(rad_cuda_device *device, rad_cuda_graph **graph)
{
    emulated *e = of(device);
    *graph = NULL;
    radllm_status status = rad_emulated_enter(e, CAPTURE_END);
    rad_cuda_graph *made = NULL;
    if (status == RADLLM_OK && (!e->capturing || e->capture_failed))
        status = rad_emulated_fail(e, RADLLM_E_STATE,
                                   e->capturing ? "a forbidden call ended the capture"
                                                : "nothing is captured");
    if (status == RADLLM_OK && (made = calloc(1, sizeof *made)) == NULL)
        status = rad_emulated_no_memory(e);
    e->capturing = false;
    if (status != RADLLM_OK) {
        rad_emulated_operations_free(&e->captured);
        return status;
    }
    made->operations = e->captured;
    rad_emulated_operations_init(&e->captured);
    made->next = e->graphs;
    e->graphs = made;
    *graph = made;
    return RADLLM_OK;
}

static radllm_status graph_launch(rad_cuda_device *device, rad_cuda_graph *graph)
{
    emulated *e = of(device);
    radllm_status status = rad_emulated_enter_uncaptured(e, GRAPH_LAUNCH, "a graph is launched");
    if (status != RADLLM_OK)
        return status;
    operation *o = rad_emulated_put(e, RAD_CUDA_COMPUTE, GRAPH, NULL, 0);
    if (o == NULL)
        return rad_emulated_no_memory(e);
    o->graph = graph;
    return RADLLM_OK;
}

static void graph_free(rad_cuda_device *device, rad_cuda_graph *graph)
{
    emulated *e = of(device);
    if (graph == NULL)
        return;
    rad_emulated_enter_freely(e, "a graph is freed");
    if (!device->lost)
        (void)rad_emulated_run_all(e); /* a failure is remembered */
    rad_cuda_graph **link = &e->graphs;
    while (*link != graph)
        link = &(*link)->next;
    *link = graph->next;
    rad_emulated_operations_free(&graph->operations);
    free(graph);
}

/* ---- the table ------------------------------------------------------------------------------ */

void rad_emulated_queue_calls(rad_cuda_device *device)
{
    device->event_new = event_new;
    device->event_free = event_free;
    device->event_record = event_record;
    device->stream_wait = stream_wait;
    device->event_wait = event_wait;
    device->event_reached = event_reached;
    device->event_milliseconds = event_milliseconds;
    device->synchronize = synchronize;
    device->capture_begin = capture_begin;
    device->capture_end = capture_end;
    device->graph_launch = graph_launch;
    device->graph_free = graph_free;
}
