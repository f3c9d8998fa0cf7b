/* Weights on the device: one block for all, filled piece by piece through pinned buffers, so
 * that a piece is read and put in order while the one before is on the bus. */
#include "backend/cuda/cuda.h"

#include <string.h>

#define ALIGNMENT   256
#define PIECE_BYTES ((uint64_t)8 << 20)
#define BUFFERS     3
#define SHARE_BYTES ((uint64_t)256 << 10) /* of a piece, for a thread of the CPU */
#define GROUP_ROWS  RAD_CUDA_GROUP_ROWS

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
}

static uint64_t row_bytes(const rad_weight *weight)
{
    return rad_matrix_bytes(weight->matrix.type, RAD_LAYOUT_FILE, 1, weight->matrix.n_columns);
}

/* Of the first n_rows rows of a matrix; plain numbers stand as in the file. */
static uint64_t stored_bytes(const rad_weight *weight, uint32_t n_rows)
{
    return rad_cuda_form_of(weight->matrix.type) != NULL
               ? rad_cuda_matrix_bytes(weight->matrix.type, n_rows, weight->matrix.n_columns)
               : n_rows * row_bytes(weight);
}

uint64_t rad_cuda_expert_bytes(const rad_weight *weight)
{
    return stored_bytes(weight, rad_weight_rows(weight));
}

static uint64_t scales_bytes(const rad_weight *weight)
{
    if (weight->scales != NULL)
        return weight->n_experts * sizeof(float);
    return weight->scale != 1.0f ? sizeof(float) : 0;
}

static uint64_t columns_bytes(const rad_cuda_library *library, const rad_weight *weight)
{
    return weight->parts == NULL && library->weight_columns(weight, 0) != NULL
               ? (uint64_t)weight->matrix.n_columns * sizeof(uint32_t)
               : 0;
}

uint64_t rad_cuda_weight_bytes(const rad_cuda_library *library, const rad_weight *weight)
{
    if (weight->matrix.n_rows == 0)
        return aligned(weight->n_values * sizeof(float));
    return aligned(weight->n_experts * rad_cuda_expert_bytes(weight)) +
           aligned(scales_bytes(weight)) + aligned(columns_bytes(library, weight));
}

/* ---- filling --------------------------------------------------------------------------------- */

typedef struct uploading {
    rad_cuda_backend *b;
    uint8_t *pinned[BUFFERS], *rows[BUFFERS]; /* the second ones on the device */
    rad_cuda_event *free_again[BUFFERS];
    bool used[BUFFERS];
    uint32_t next;
    uint64_t piece_bytes;
    uint64_t done;          /* bytes on the device, for progress */
    uint64_t before, total; /* on those before it, and on all in the end */
    const radllm_cancel *cancel;
    radllm_error *error;
} uploading;

static radllm_status failed(const uploading *up, radllm_status status)
{
    return status == RADLLM_OK ? status : rad_cuda_failed(up->b->device, status, up->error);
}

/* The number of a buffer whose last piece has left it. */
static radllm_status take_buffer(uploading *up, uint32_t *number)
{
    rad_cuda_device *device = up->b->device;
    *number = up->next;
    up->next = (up->next + 1) % BUFFERS;
    return up->used[*number] ? failed(up, device->event_wait(device, up->free_again[*number]))
                             : RADLLM_OK;
}

static radllm_status buffer_sent(uploading *up, uint32_t number)
{
    rad_cuda_device *device = up->b->device;
    up->used[number] = true;
    return failed(up, device->event_record(device, up->free_again[number], RAD_CUDA_COMPUTE));
}

/* Bytes that stand in memory. */
static radllm_status send_bytes(uploading *up, const void *from, uint64_t bytes, uint8_t *to)
{
    rad_cuda_device *device = up->b->device;
    radllm_status status = RADLLM_OK;
    for (uint64_t done = 0, n; done < bytes && status == RADLLM_OK; done += n) {
        uint32_t buffer;
        n = bytes - done < up->piece_bytes ? bytes - done : up->piece_bytes;
        status = take_buffer(up, &buffer);
        if (status != RADLLM_OK)
            return status;
        memcpy(up->pinned[buffer], (const uint8_t *)from + done, (size_t)n);
        status =
            failed(up, device->upload(device, RAD_CUDA_COMPUTE, to + done, up->pinned[buffer], n));
        if (status == RADLLM_OK)
            status = buffer_sent(up, buffer);
    }
    return status;
}

/* Whether memory holds the rows as the file has them. */
static bool is_at_hand(const uploading *up, const rad_weight *weight)
{
    return weight->matrix.layout == RAD_LAYOUT_FILE &&
           up->b->library->model_is_ready(up->b->model, weight);
}

/* Rows of an expert from the file, where memory has them in another layout or not yet. */
static radllm_status read_rows(const uploading *up, const rad_weight *weight, uint32_t expert,
                               uint32_t first, uint32_t n, uint8_t *out)
{
    const rad_cuda_library *library = up->b->library;
    if (weight->merged)
        return rad_fail(up->error, RADLLM_E_UNSUPPORTED,
                        "device=cuda: adapters are part of weights that stand in the CPU's layout; "
                        "load the model with device=cuda, or with layout=file and load_wait=yes");
    return library->model_read_rows(up->b->model, weight, expert * rad_weight_rows(weight) + first,
                                    n, out, up->error);
}

static radllm_status pack(const uploading *up, const rad_cuda_form *form, const uint8_t *rows,
                          uint32_t n_rows, uint32_t n_columns, uint8_t *to)
{
    rad_cuda_device *device = up->b->device;
    rad_cuda_pack_arguments a = {rows, to, n_rows, n_columns, *form};
    rad_cuda_grid grid = {(n_rows + GROUP_ROWS - 1) / GROUP_ROWS,
                          (n_columns + RAD_CUDA_CHUNK - 1) / RAD_CUDA_CHUNK, 1};
    return device->launch(device, &rad_cuda_kernel_pack, grid, 0, &a);
}

/* Of rows as they are sent: those with codes of fixed width are larger than the file's. */
static uint64_t sent_row_bytes(const rad_weight *weight)
{
    const rad_cuda_form *form = rad_cuda_form_of(weight->matrix.type);
    if (form == NULL || !rad_cuda_is_recoded(weight->matrix.type))
        return row_bytes(weight);
    return (uint64_t)weight->matrix.n_columns / form->block_elements * form->block_bytes;
}

/* Rows that the CPU's threads bring into a pinned buffer, some by each. */
typedef struct rows_share {
    const rad_weight *weight;
    const uint8_t *rows;
    uint8_t *pinned;
    uint32_t n, each;
} rows_share;

static void bring_share(void *data, uint32_t index, uint32_t worker)
{
    const rows_share *share = data;
    rad_type type = share->weight->matrix.type;
    uint64_t bytes = row_bytes(share->weight), sent = sent_row_bytes(share->weight);
    uint32_t first = index * share->each, left = share->n - first;
    uint32_t n = left < share->each ? left : share->each;
    const uint8_t *from = share->rows + first * bytes;
    uint8_t *to = share->pinned + first * sent;
    (void)worker;
    if (rad_cuda_form_of(type) != NULL && rad_cuda_is_recoded(type))
        rad_cuda_recode(type, from,
                        (size_t)n * share->weight->matrix.n_columns /
                            rad_cuda_form_of(type)->block_elements,
                        to);
    else
        memcpy(to, from, (size_t)(n * bytes));
}

static void bring_rows(const uploading *up, const rad_weight *weight, const uint8_t *rows,
                       uint32_t n, uint8_t *pinned)
{
    uint64_t each = SHARE_BYTES / row_bytes(weight) + 1;
    rows_share share = {weight, rows, pinned, n, each < n ? (uint32_t)each : n};
    up->b->library->cpu_parallel(up->b->cpu, bring_share, &share,
                                 (n + share.each - 1) / share.each);
}

/* Rows of an expert into a pinned buffer. */
static radllm_status prepare_rows(const uploading *up, const rad_weight *weight, uint32_t expert,
                                  uint32_t first, uint32_t n, uint8_t *pinned)
{
    const rad_allocator *allocator = &up->b->cuda->host.allocator;
    uint64_t bytes = n * row_bytes(weight);
    if (is_at_hand(up, weight)) {
        bring_rows(up, weight,
                   (const uint8_t *)rad_weight_expert_data(weight, expert) +
                       first * row_bytes(weight),
                   n, pinned);
        return RADLLM_OK;
    }
    if (rad_cuda_form_of(weight->matrix.type) == NULL || !rad_cuda_is_recoded(weight->matrix.type))
        return read_rows(up, weight, expert, first, n, pinned);
    uint8_t *raw = rad_alloc(allocator, (size_t)bytes);
    if (raw == NULL)
        return rad_fail_memory(up->error, (size_t)bytes);
    radllm_status status = read_rows(up, weight, expert, first, n, raw);
    if (status == RADLLM_OK)
        bring_rows(up, weight, raw, n, pinned);
    rad_free(allocator, raw, (size_t)bytes);
    return status;
}

static radllm_status send_rows(uploading *up, const rad_weight *weight, uint32_t expert,
                               uint32_t first, uint32_t n, uint8_t *to)
{
    rad_cuda_device *device = up->b->device;
    const rad_cuda_form *form = rad_cuda_form_of(weight->matrix.type);
    uint32_t buffer;
    radllm_status status = take_buffer(up, &buffer);
    if (status == RADLLM_OK)
        status = prepare_rows(up, weight, expert, first, n, up->pinned[buffer]);
    if (status != RADLLM_OK)
        return status;
    status = device->upload(device, RAD_CUDA_COMPUTE, form != NULL ? up->rows[buffer] : to,
                            up->pinned[buffer], n * sent_row_bytes(weight));
    if (status == RADLLM_OK && form != NULL)
        status = pack(up, form, up->rows[buffer], n, weight->matrix.n_columns, to);
    status = failed(up, status);
    return status == RADLLM_OK ? buffer_sent(up, buffer) : status;
}

/* Tells the host how much is there; fails when no more is wanted. */
static radllm_status report(const uploading *up, uint64_t done)
{
    const rad_host *host = &up->b->cuda->host;
    bool stop = rad_cancelled(up->cancel);
    if (host->progress != NULL)
        stop = host->progress(host->progress_user, "upload", up->before + done, up->total) != 0 ||
               stop;
    if (stop)
        return rad_fail(up->error, RADLLM_E_CANCELLED, "loading was cancelled");
    return RADLLM_OK;
}

static radllm_status send_matrix(uploading *up, const rad_weight *weight, uint8_t *to)
{
    uint32_t n_rows = rad_weight_rows(weight);
    uint64_t most = up->piece_bytes / sent_row_bytes(weight) / GROUP_ROWS * GROUP_ROWS;
    radllm_status status = RADLLM_OK;
    for (uint32_t e = 0; e < weight->n_experts; e++) {
        uint8_t *expert = to + e * rad_cuda_expert_bytes(weight);
        for (uint32_t first = 0, n; first < n_rows; first += n) {
            n = n_rows - first < most ? n_rows - first : (uint32_t)most;
            uint8_t *there = expert + stored_bytes(weight, first);
            status = report(up, up->done + (uint64_t)(there - to));
            if (status == RADLLM_OK)
                status = send_rows(up, weight, e, first, n, there);
            if (status != RADLLM_OK)
                return status;
        }
    }
    return status;
}

static radllm_status send_weight(uploading *up, const rad_weight *weight, uint8_t *to)
{
    rad_cuda_weight *there = &up->b->weights[weight->order];
    if (weight->matrix.n_rows == 0) {
        there->values = (const float *)(const void *)to;
        return send_bytes(up, weight->values, weight->n_values * sizeof(float), to);
    }
    there->data = to;
    radllm_status status = send_matrix(up, weight, to);
    to += aligned(weight->n_experts * rad_cuda_expert_bytes(weight));
    if (status == RADLLM_OK && scales_bytes(weight) > 0) {
        const float *scales = weight->scales != NULL ? weight->scales : &weight->scale;
        there->scales = (const float *)(const void *)to;
        status = send_bytes(up, scales, scales_bytes(weight), to);
    }
    to += aligned(scales_bytes(weight));
    if (status == RADLLM_OK && columns_bytes(up->b->library, weight) > 0) {
        there->columns = (const uint32_t *)(const void *)to;
        status = send_bytes(up, up->b->library->weight_columns(weight, 0),
                            columns_bytes(up->b->library, weight), to);
    }
    return status;
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* Calls visit for each weight that operations on the device use, once. */
typedef radllm_status (*visit_fn)(uploading *up, const rad_weight *weight, uint64_t *used);

static radllm_status visit_weights(uploading *up, visit_fn visit, uint64_t *used)
{
    rad_cuda_backend *b = up->b;
    const rad_allocator *allocator = &b->cuda->host.allocator;
    bool *seen = rad_alloc_zero(allocator, b->model->n_weights);
    if (seen == NULL)
        return rad_fail_memory(up->error, b->model->n_weights);
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < b->program->n_ops && status == RADLLM_OK; i++) {
        const rad_weight *both[] = {b->program->ops[i].weight, b->program->ops[i].bias};
        for (int k = 0; k < 2 && b->on_device[i] && status == RADLLM_OK; k++) {
            if (both[k] == NULL || seen[both[k]->order])
                continue;
            seen[both[k]->order] = true;
            status = visit(up, both[k], used);
        }
    }
    rad_free(allocator, seen, b->model->n_weights);
    return status;
}

static radllm_status measure(uploading *up, const rad_weight *weight, uint64_t *used)
{
    *used += rad_cuda_weight_bytes(up->b->library, weight);
    if (weight->matrix.n_rows != 0 && GROUP_ROWS * sent_row_bytes(weight) > up->piece_bytes)
        up->piece_bytes = GROUP_ROWS * sent_row_bytes(weight);
    return RADLLM_OK;
}

static radllm_status send(uploading *up, const rad_weight *weight, uint64_t *used)
{
    uint8_t *to = up->b->weight_memory + *used;
    up->done = *used;
    *used += rad_cuda_weight_bytes(up->b->library, weight);
    return send_weight(up, weight, to);
}

/* Nobody needs the memory of activations yet, so that rows can pass through it. */
static bool is_lent(const uploading *up)
{
    return BUFFERS * aligned(up->piece_bytes) <= up->b->layout.total;
}

static radllm_status take_buffers(uploading *up)
{
    rad_cuda_device *device = up->b->device;
    bool lent = is_lent(up);
    radllm_status status = RADLLM_OK;
    for (int i = 0; i < BUFFERS && status == RADLLM_OK; i++) {
        void *pinned = NULL, *there = NULL;
        status = device->host_alloc(device, up->piece_bytes, &pinned);
        up->pinned[i] = pinned;
        if (lent)
            there = up->b->memory + i * aligned(up->piece_bytes);
        else if (status == RADLLM_OK)
            status = device->alloc(device, up->piece_bytes, &there);
        up->rows[i] = there;
        if (status == RADLLM_OK)
            status = device->event_new(device, &up->free_again[i]);
    }
    return failed(up, status);
}

static radllm_status free_buffers(uploading *up)
{
    rad_cuda_device *device = up->b->device;
    radllm_status status = device->synchronize(device, RAD_CUDA_COMPUTE);
    for (int i = 0; i < BUFFERS; i++) {
        if (up->free_again[i] != NULL)
            device->event_free(device, up->free_again[i]);
        if (up->rows[i] != NULL && !is_lent(up))
            (void)device->free(device, up->rows[i]);
        if (up->pinned[i] != NULL)
            (void)device->host_free(device, up->pinned[i]);
    }
    return failed(up, status);
}

radllm_status rad_cuda_upload(rad_cuda_backend *b, uint64_t before, uint64_t total,
                              const radllm_cancel *cancel, radllm_error *error)
{
    uploading up = {.b = b,
                    .piece_bytes = PIECE_BYTES,
                    .before = before,
                    .total = total,
                    .cancel = cancel,
                    .error = error};
    uint64_t bytes = 0, used = 0;
    void *memory = NULL;
    radllm_status status = visit_weights(&up, measure, &bytes);
    if (status == RADLLM_OK)
        status = failed(&up, b->device->alloc(b->device, bytes, &memory));
    b->weight_memory = memory;
    if (status == RADLLM_OK)
        status = take_buffers(&up);
    if (status == RADLLM_OK)
        status = visit_weights(&up, send, &used);
    if (status == RADLLM_OK)
        status = report(&up, bytes);
    radllm_status freed = status == RADLLM_OK ? free_buffers(&up) : RADLLM_OK;
    if (status != RADLLM_OK) {
        up.error = NULL; /* the first failure is told */
        (void)free_buffers(&up);
    }
    return status == RADLLM_OK ? freed : status;
}
