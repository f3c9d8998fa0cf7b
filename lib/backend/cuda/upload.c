/* Weights on their way to the device. Pieces of one size, which hold as many rows of as many
 * weights as there is room for, go round in a ring of pinned memory: the CPU's threads fill those
 * that are free, a share at a time; the calling thread sends those that are full, in order, on the
 * stream for copies; behind each copy, on the other stream, its rows are put where they belong.
 * Nobody waits for a piece while there is another one to work on, and the pool runs one loop for as
 * long as its threads find work. */
#include "backend/cuda/cuda.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#ifndef RAD_CUDA_PIECE_BYTES /* tests: smaller ones */
#define RAD_CUDA_PIECE_BYTES ((uint64_t)2 << 20)
#endif

/* Pinned memory costs 0.4 ms a MiB to take (H100, virtual machine), as long as the bus needs for
 * 20 of them: there is as little of it as keeps bus and threads busy, about half of it each. */
enum { BUFFERS = 6, SHARES = 32, PARTS = 64 };
#define LINGER_NS 50000u /* how long a thread without work stays before it goes to sleep */
#define PAUSES    32     /* between two looks of its */

typedef struct part {
    rad_cuda_stretch rows;
    uint64_t at; /* in the piece */
} part;

typedef struct piece {
    uint8_t *pinned, *there;  /* the second on the device */
    rad_cuda_event *unpacked; /* both are free again */
    uint64_t bytes;
    uint32_t n_parts;
    part parts[PARTS];
    atomic_uint missing; /* shares that are not filled */
} piece;

typedef struct uploading {
    rad_cuda_backend *b;
    uint64_t before, total; /* bytes on devices before this one, and on all in the end */
    const radllm_cancel *cancel;
    radllm_error *error;
    pthread_t leader; /* the calling thread, which alone calls the device */

    /* The next weights: of operation `op`, and of its two the one; where they stand. */
    uint32_t op, which;
    uint64_t used;
    const rad_weight *weight; /* NULL: there is none */
    uint32_t next_stretch;
    rad_cuda_stretch rest; /* of one that is partly in a piece */

    /* Counts of pieces: that were planned, that are on their way, and that have arrived. */
    uint32_t n_buffers;
    uint64_t piece_bytes, planned, sent, arrived;
    bool all_planned;
    uint8_t *pinned, *there; /* memory of all pieces */
    bool lent;               /* the second */
    rad_cuda_event *copied;

    atomic_ullong n_shares, next_share; /* of all pieces so far: SHARES of each */
    atomic_uint n_left;                 /* threads that found no work, since the loop began */
    atomic_bool over;
    radllm_status status;
    atomic_int reading; /* what the first read that failed answered, and said */
    radllm_error read_error;

    piece pieces[BUFFERS];
    bool seen[]; /* by rad_weight.order */
} uploading;

static radllm_status failed(const uploading *up, radllm_status status)
{
    return status == RADLLM_OK ? status : rad_cuda_failed(up->b->device, status, up->error);
}

static piece *piece_of(uploading *up, uint64_t number)
{
    return &up->pieces[number % up->n_buffers];
}

/* ---- which weights --------------------------------------------------------------------------- */

/* The next weight that operations on the device use, each once; NULL: there is none. */
static const rad_weight *next_weight(uploading *up)
{
    const rad_program *program = up->b->program;
    for (; up->op < program->n_ops; up->op++, up->which = 0) {
        while (up->b->on_device[up->op] && up->which < 2) {
            const rad_op *op = &program->ops[up->op];
            const rad_weight *weight = up->which++ == 0 ? op->weight : op->bias;
            if (weight == NULL || up->seen[weight->order])
                continue;
            up->seen[weight->order] = true;
            return weight;
        }
    }
    return NULL;
}

static void first_weight(uploading *up)
{
    up->op = up->which = 0;
    memset(up->seen, 0, up->b->model->n_weights * sizeof *up->seen);
}

/* Rows of a group are in one piece. */
static uint32_t rows_together(const rad_weight *weight)
{
    return rad_cuda_form_of(weight->matrix.type) != NULL ? RAD_CUDA_GROUP_ROWS : 1;
}

/* All bytes; a piece has room for the longest rows. */
static uint64_t measure(uploading *up)
{
    const rad_weight *weight;
    uint64_t bytes = 0;
    first_weight(up);
    while ((weight = next_weight(up)) != NULL) {
        bytes += rad_cuda_weight_bytes(up->b->library, weight);
        uint64_t least = weight->matrix.n_rows == 0
                             ? 0
                             : rows_together(weight) * rad_cuda_sent_row_bytes(weight);
        up->piece_bytes = least > up->piece_bytes ? rad_cuda_aligned(least) : up->piece_bytes;
    }
    first_weight(up);
    return bytes;
}

/* Goes on until `rest` is something, or there are no weights any more. */
static void find_rest(uploading *up)
{
    while (up->rest.n == 0) {
        if (up->weight == NULL) {
            if ((up->weight = next_weight(up)) == NULL)
                return;
            up->next_stretch = 0;
            rad_cuda_place_weight(up->b, up->weight, up->b->weight_memory + up->used);
            up->used += rad_cuda_weight_bytes(up->b->library, up->weight);
        }
        if (!rad_cuda_find_stretch(up->b, up->weight, up->next_stretch++, &up->rest)) {
            up->rest.n = 0;
            up->weight = NULL;
        }
    }
}

/* ---- the CPU's threads ----------------------------------------------------------------------- */

/* Some rows as they are sent. Where memory has them in another layout, or not yet, they are read
 * from the file; those that become larger, to the end of their place, in front of which each block
 * is written only when it has been read. */
static radllm_status bring(const uploading *up, const rad_cuda_stretch *rows, uint64_t first,
                           uint64_t n, uint8_t *out, radllm_error *error)
{
    const uint64_t bytes = n * rows->file_row_bytes, sent = n * rows->sent_row_bytes;
    const bool recoded = rows->weight != NULL && rad_cuda_is_recoded(rows->weight->matrix.type);
    const uint8_t *from = rows->from != NULL ? rows->from + first * rows->file_row_bytes : NULL;
    if (rows->from == NULL && rows->weight == NULL) {
        for (uint64_t i = 0; i < n; i++)
            ((uint32_t *)(void *)out)[i] = (uint32_t)(rows->first + first + i);
        return RADLLM_OK;
    }
    if (rows->from == NULL) {
        uint8_t *raw = out + (sent - bytes);
        radllm_status status = up->b->library->model_read_rows(
            up->b->model, rows->weight, (uint32_t)(rows->first + first), (uint32_t)n, raw, error);
        if (status != RADLLM_OK || !recoded)
            return status;
        from = raw;
    }
    if (recoded)
        rad_cuda_recode(rows->weight->matrix.type, from, (size_t)(sent / rows->form->block_bytes),
                        out);
    else
        memcpy(out, from, (size_t)bytes);
    return RADLLM_OK;
}

/* Rows of a part that begin before a byte of the piece. */
static uint64_t rows_before(const part *p, uint64_t at)
{
    uint64_t n =
        at <= p->at ? 0 : (at - p->at + p->rows.sent_row_bytes - 1) / p->rows.sent_row_bytes;
    return n < p->rows.n ? n : p->rows.n;
}

/* The rows that begin in the share's part of the bytes. Those that are read are brought together by
 * who has the first one: in some files a few cost as much as many. */
static radllm_status fill(const uploading *up, const piece *p, uint64_t share, radllm_error *error)
{
    const uint64_t begin = p->bytes * share / SHARES, end = p->bytes * (share + 1) / SHARES;
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < p->n_parts && status == RADLLM_OK; i++) {
        const part *from = &p->parts[i];
        uint64_t first = rows_before(from, begin), n = rows_before(from, end) - first;
        if (from->rows.from == NULL && n > 0)
            n = first == 0 ? from->rows.n : 0;
        if (n > 0)
            status = bring(up, &from->rows, first, n,
                           p->pinned + from->at + first * from->rows.sent_row_bytes, error);
    }
    return status;
}

static bool is_work_left(uploading *up)
{
    return atomic_load_explicit(&up->next_share, memory_order_relaxed) <
           atomic_load_explicit(&up->n_shares, memory_order_acquire);
}

/* Fills the next share; false: there is none now. */
static bool fill_next(uploading *up)
{
    unsigned long long share = atomic_load_explicit(&up->next_share, memory_order_relaxed);
    do {
        if (share >= atomic_load_explicit(&up->n_shares, memory_order_acquire) ||
            atomic_load_explicit(&up->over, memory_order_relaxed))
            return false;
    } while (!atomic_compare_exchange_weak(&up->next_share, &share, share + 1));
    radllm_error error = {.status = RADLLM_OK};
    piece *p = piece_of(up, share / SHARES);
    radllm_status status = fill(up, p, share % SHARES, &error);
    int none = RADLLM_OK;
    if (status != RADLLM_OK) {
        if (atomic_compare_exchange_strong(&up->reading, &none, (int)status))
            memcpy(up->read_error.message, error.message, sizeof error.message);
        atomic_store(&up->over, true);
    }
    (void)atomic_fetch_sub_explicit(&p->missing, 1, memory_order_release);
    return true;
}

/* Gives way to threads that have work. */
static void give_way(void)
{
    for (int i = 0; i < PAUSES; i++)
        rad_pause();
    (void)sched_yield();
}

static void lead(uploading *up, bool in_loop);

/* A task of the loop, as many as there are threads. Those of a host's executor do not wait, and any
 * of its threads may run them. */
static void help(void *data, uint32_t index, uint32_t worker)
{
    uploading *up = data;
    bool own = up->b->cuda->host.executor == NULL;
    uint64_t end = 0;
    (void)index;
    (void)worker;
    if (own && pthread_equal(pthread_self(), up->leader)) {
        lead(up, true);
        return;
    }
    while (!atomic_load_explicit(&up->over, memory_order_relaxed)) {
        if (fill_next(up)) {
            end = 0;
            continue;
        }
        uint64_t now = rad_clock_ns();
        end = end == 0 ? now + LINGER_NS : end;
        if (!own || now >= end)
            break;
        give_way();
    }
    (void)atomic_fetch_add(&up->n_left, 1);
}

/* ---- the calling thread ---------------------------------------------------------------------- */

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

/* What is next in a buffer that is free. */
static radllm_status plan(uploading *up)
{
    piece *p = piece_of(up, up->planned);
    p->n_parts = 0;
    p->bytes = 0;
    while (p->n_parts < PARTS) {
        find_rest(up);
        const uint64_t at = rad_cuda_aligned(p->bytes);
        if (up->rest.n == 0 || at >= up->piece_bytes)
            break;
        uint64_t n = (up->piece_bytes - at) / up->rest.sent_row_bytes;
        if (up->rest.weight != NULL)
            n -= n % rows_together(up->rest.weight);
        n = n < up->rest.n ? n : up->rest.n;
        if (n == 0)
            break;
        if (up->rest.from == NULL && up->rest.weight != NULL && up->rest.weight->merged)
            return rad_fail(
                up->error, RADLLM_E_UNSUPPORTED,
                "device=cuda: adapters are part of weights that stand in the CPU's layout; "
                "load the model with device=cuda, or with layout=file and load_wait=yes");
        p->parts[p->n_parts++] = (part){rad_cuda_cut(&up->rest, n), at};
        p->bytes = at + n * p->parts[p->n_parts - 1].rows.sent_row_bytes;
    }
    if (p->n_parts == 0) {
        up->all_planned = true;
        return RADLLM_OK;
    }
    atomic_store_explicit(&p->missing, SHARES, memory_order_relaxed);
    up->planned++;
    (void)atomic_fetch_add_explicit(&up->n_shares, SHARES, memory_order_release);
    return RADLLM_OK;
}

/* Rows that are on the device go where they belong. */
static radllm_status unpack(const uploading *up, const part *p, const uint8_t *there)
{
    rad_cuda_device *device = up->b->device;
    const rad_cuda_stretch *rows = &p->rows;
    if (rows->form == NULL)
        return device->copy(device, RAD_CUDA_COMPUTE, rows->to, there + p->at,
                            rows->n * rows->sent_row_bytes);
    const uint32_t n_columns = rows->weight->matrix.n_columns;
    rad_cuda_pack_arguments a = {there + p->at, rows->to, (uint32_t)rows->n, n_columns,
                                 *rows->form};
    rad_cuda_grid grid = {(a.n_rows + RAD_CUDA_GROUP_ROWS - 1) / RAD_CUDA_GROUP_ROWS,
                          (n_columns + RAD_CUDA_CHUNK - 1) / RAD_CUDA_CHUNK, 1};
    return device->launch(device, &rad_cuda_kernel_pack, grid, 0, &a);
}

/* The copies wait for nothing on the device, since a piece is planned when its buffer is free. */
static radllm_status send(uploading *up)
{
    rad_cuda_device *device = up->b->device;
    piece *p = piece_of(up, up->sent);
    radllm_status status = report(up, (uint64_t)(p->parts[0].rows.to - up->b->weight_memory));
    if (status != RADLLM_OK)
        return status;
    status = device->upload(device, RAD_CUDA_COPY, p->there, p->pinned, p->bytes);
    if (status == RADLLM_OK)
        status = device->event_record(device, up->copied, RAD_CUDA_COPY);
    if (status == RADLLM_OK)
        status = device->stream_wait(device, RAD_CUDA_COMPUTE, up->copied);
    for (uint32_t i = 0; i < p->n_parts && status == RADLLM_OK; i++)
        status = unpack(up, &p->parts[i], p->there);
    if (status == RADLLM_OK)
        status = device->event_record(device, p->unpacked, RAD_CUDA_COMPUTE);
    up->sent++;
    return failed(up, status);
}

/* Whether the oldest piece that is on its way has arrived; `waits`: until it has. */
static bool look(uploading *up, bool waits, radllm_status *status)
{
    rad_cuda_device *device = up->b->device;
    rad_cuda_event *event = piece_of(up, up->arrived)->unpacked;
    bool reached = waits;
    *status = failed(up, waits ? device->event_wait(device, event)
                               : device->event_reached(device, event, &reached));
    up->arrived += reached ? 1 : 0;
    return reached;
}

/* Sends a piece that is full, or plans one where a buffer is free; false: neither. */
static bool serve(uploading *up, radllm_status *status)
{
    if (up->sent < up->planned &&
        atomic_load_explicit(&piece_of(up, up->sent)->missing, memory_order_acquire) == 0) {
        *status = send(up);
        return true;
    }
    if (up->all_planned)
        return false;
    if (up->planned - up->arrived == up->n_buffers &&
        (up->arrived == up->sent || !look(up, false, status)))
        return false;
    if (*status == RADLLM_OK)
        *status = plan(up);
    return true;
}

/* Threads that found no work sleep, but for some: the loop ends, and the next one wakes them. */
static bool have_left(uploading *up)
{
    uint32_t n = atomic_load(&up->n_left);
    return n > 0 && 2 * n >= up->b->settings.n_threads - 1;
}

/* Until all is sent, or something fails. In the loop, where other threads help, or around it. */
static void lead(uploading *up, bool in_loop)
{
    while (!atomic_load(&up->over)) {
        radllm_status status = RADLLM_OK;
        bool served = serve(up, &status);
        if (status != RADLLM_OK || (up->all_planned && up->sent == up->planned)) {
            up->status = status;
            atomic_store(&up->over, true);
        } else if (served) {
            continue;
        } else if (!is_work_left(up)) {
            if (up->sent < up->planned) /* others fill it */
                (void)sched_yield();
            else
                (void)look(up, true, &up->status);
            if (up->status != RADLLM_OK)
                atomic_store(&up->over, true);
        } else if (!in_loop) {
            atomic_store(&up->n_left, 0);
            up->b->library->cpu_parallel(up->b->cpu, help, up, up->b->settings.n_threads);
        } else if (have_left(up)) {
            return;
        } else {
            (void)fill_next(up);
        }
    }
}

/* ---- all of it ------------------------------------------------------------------------------- */

static radllm_status take_buffers(uploading *up, uint64_t bytes)
{
    rad_cuda_device *device = up->b->device;
    void *pinned = NULL, *there = NULL;
    up->n_buffers =
        bytes / up->piece_bytes < BUFFERS ? (uint32_t)(bytes / up->piece_bytes) + 1 : BUFFERS;
    uint64_t all = up->n_buffers * up->piece_bytes;
    radllm_status status = device->host_alloc(device, all, &pinned);
    up->pinned = pinned;
    /* Nobody needs the memory of activations yet, so that rows can pass through it. */
    up->lent = all <= up->b->layout.total;
    if (up->lent)
        there = up->b->memory;
    else if (status == RADLLM_OK)
        status = device->alloc(device, all, &there);
    up->there = there;
    if (status == RADLLM_OK)
        status = device->event_new(device, &up->copied);
    for (uint32_t i = 0; i < up->n_buffers && status == RADLLM_OK; i++) {
        up->pieces[i].pinned = up->pinned + i * up->piece_bytes;
        up->pieces[i].there = up->there + i * up->piece_bytes;
        status = device->event_new(device, &up->pieces[i].unpacked);
    }
    return failed(up, status);
}

static radllm_status free_buffers(uploading *up)
{
    rad_cuda_device *device = up->b->device;
    radllm_status status = device->synchronize(device, RAD_CUDA_COPY);
    if (status == RADLLM_OK)
        status = device->synchronize(device, RAD_CUDA_COMPUTE);
    device->event_free(device, up->copied);
    for (uint32_t i = 0; i < up->n_buffers; i++)
        device->event_free(device, up->pieces[i].unpacked);
    if (up->there != NULL && !up->lent)
        (void)device->free(device, up->there);
    if (up->pinned != NULL)
        (void)device->host_free(device, up->pinned);
    return failed(up, status);
}

static radllm_status send_all(uploading *up)
{
    lead(up, false);
    radllm_status reading = (radllm_status)atomic_load(&up->reading);
    if (up->status == RADLLM_OK && reading != RADLLM_OK)
        return rad_fail(up->error, reading, "%s", up->read_error.message);
    return up->status;
}

static radllm_status upload(uploading *up)
{
    rad_cuda_backend *b = up->b;
    uint64_t bytes = measure(up);
    void *memory = NULL;
    radllm_status status = failed(up, b->device->alloc(b->device, bytes, &memory));
    b->weight_memory = memory;
    if (status == RADLLM_OK)
        status = take_buffers(up, bytes);
    if (status == RADLLM_OK)
        status = send_all(up);
    if (status == RADLLM_OK)
        status = report(up, bytes);
    radllm_status freed = status == RADLLM_OK ? free_buffers(up) : RADLLM_OK;
    if (status != RADLLM_OK) {
        up->error = NULL; /* the first failure is told */
        (void)free_buffers(up);
    }
    return status == RADLLM_OK ? freed : status;
}

radllm_status rad_cuda_upload(rad_cuda_backend *b, uint64_t before, uint64_t total,
                              const radllm_cancel *cancel, radllm_error *error)
{
    const rad_allocator *allocator = &b->cuda->host.allocator;
    size_t size = sizeof(uploading) + b->model->n_weights * sizeof(bool);
    uploading *up = rad_alloc_zero(allocator, size);
    if (up == NULL)
        return rad_fail_memory(error, size);
    up->b = b;
    up->before = before;
    up->total = total;
    up->cancel = cancel;
    up->error = error;
    up->leader = pthread_self();
    up->piece_bytes = RAD_CUDA_PIECE_BYTES;
    radllm_status status = upload(up);
    rad_free(allocator, up, size);
    return status;
}
