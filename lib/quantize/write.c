/* From a plan to a file. Each tensor is cut into pieces of whole blocks (of whole rows, where these
 * are put together as they are read) that tasks read, decode and encode; while they do, what was
 * encoded before is written. A piece is a function of its bytes alone, so the file does not depend
 * on the number of threads. */
#include "quantize/write.h"

#include <stdatomic.h>
#include <string.h>

#include "base/platform.h"
#include "io/derived.h"
#include "quantize/steer.h"

/* Elements of a task: a multiple of every type's block. */
#define TASK_ELEMENTS ((uint64_t)1 << 16)
/* Longest row of a tensor whose rows are put together. The longest in use have 53,248 elements. */
#define ROW_ELEMENTS ((uint64_t)1 << 18)
/* A task of what is turned reads a bit of each row that is stored: the larger the task, the fewer
 * and longer are these reads. Of one task, and of those of all threads together. */
#define TURNED_ELEMENTS     ((uint64_t)1 << 21)
#define ALL_TURNED_ELEMENTS ((uint64_t)1 << 22)
/* Bytes of an element at most (F64, which is copied alone). */
#define ELEMENT_BYTES 8
/* Tasks of a step for each thread. */
#define TASKS_PER_THREAD 4

struct rad_data_writer {
    const rad_host *host;
    const rad_source *source; /* of the tensor at hand */
    rad_data_sink sink;
    void *sink_user;
    rad_pool *pool;
    uint32_t tasks_per_step;
    size_t task_bytes;
    uint8_t *output[2];  /* of a step: encoded now, and written meanwhile */
    size_t output_bytes; /* of each */
    uint8_t *input;      /* for each worker: the bytes of a task */
    float *values;       /* for each worker: the numbers of a task */

    /* The tensor and the step at hand. */
    const rad_tensor *tensor;
    const rad_importance_entry *entry;
    const rad_type_info *from, *to;
    uint64_t task_elements;
    float tail_scale;  /* of a whole tensor: behind its blocks, or of a folder's own; 1: none */
    float *importance; /* of all columns and matrices; NULL: none */
    size_t importance_bytes;
    rad_column *columns; /* the same; NULL: means are not known, or the type rounds nothing */
    size_t columns_bytes;
    uint64_t first;      /* element that the step begins with */
    uint64_t n_elements; /* of the step */
    int now;             /* which output */
    size_t waiting;      /* bytes in the other one that are to be written */

    atomic_int status; /* the first failure of a task */
    radllm_error error;
};

typedef rad_data_writer writer;

static uint64_t bytes_of(const rad_type_info *type, uint64_t elements)
{
    return elements / type->block_elements * type->block_bytes;
}

static void fail_task(writer *w, radllm_status status, const radllm_error *error)
{
    int none = RADLLM_OK;
    if (atomic_compare_exchange_strong(&w->status, &none, status))
        memcpy(w->error.message, error->message, sizeof w->error.message);
}

/* Encodes elements of one row, or of a part of it. */
static void encode(const writer *w, const float *values, uint64_t first, size_t n, uint8_t *out)
{
    const float *importance = NULL;
    uint64_t column = 0;
    if (w->importance != NULL) {
        uint64_t row = w->tensor->dims[0], rows = w->tensor->dims[1];
        uint64_t matrix = first / row / rows % (w->importance_bytes / sizeof(float) / row);
        column = matrix * row + first % row;
        importance = w->importance + column;
    }
    if (w->columns != NULL)
        rad_encode_steered(w->to, values, importance, w->columns + column, n, out);
    else
        w->to->encode(values, importance, out, n);
}

#define HALF_MOST  0x477FE000u /* bits of 65504, the greatest half: scales are such */
#define NOT_FINITE 0x7F800000u

/* Bits of the greatest magnitude. */
static uint32_t greatest(const float *values, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bits &= 0x7FFFFFFFu;
        most = bits > most ? bits : most;
    }
    return most;
}

static radllm_status fail_number(const writer *w, const char *what, const char *remedy,
                                 radllm_error *error)
{
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(error, RADLLM_E_NUMERIC, "the tensor '%s' has a number that %s %s: %s",
                    rad_quote(quoted, w->tensor->name.data, w->tensor->name.size), what,
                    w->to->name, remedy);
}

/* Numbers that are none stay so in floats; in blocks they would take others with them, and so would
 * those that are too large for a scale. */
static radllm_status convert(writer *w, uint64_t first, size_t n, const uint8_t *in, float *values,
                             uint8_t *out, radllm_error *error)
{
    w->from->decode(in, values, n);
    if (w->tail_scale != 1.0f)
        for (size_t i = 0; i < n; i++)
            values[i] *= w->tail_scale;
    uint32_t most = greatest(values, n);
    if (most >= NOT_FINITE && w->to->family != RAD_FAMILY_FLOAT)
        return fail_number(w, "is not finite (NaN or infinity), which is not encoded in",
                           "the model is damaged; fetch it again", error);
    uint64_t row = w->tensor->dims[0];
    for (size_t done = 0; done < n;) {
        uint64_t in_row = (first + done) % row;
        size_t piece = row - in_row < n - done ? (size_t)(row - in_row) : n - done;
        encode(w, values + done, first + done, piece, out + bytes_of(w->to, done));
        done += piece;
    }
    if (most <= HALF_MOST || most >= NOT_FINITE)
        return RADLLM_OK;
    /* Scales are held at the greatest half: a number that comes back as less than a quarter, which
     * is two less in its exponent, was cut off. */
    w->to->decode(out, values, n);
    uint32_t back = greatest(values, n);
    if (back >= NOT_FINITE || back + (2u << 23) < most)
        return fail_number(w, "is too large for", "choose another type, BF16 or F32", error);
    return RADLLM_OK;
}

/* Index 0 writes the step before, the others encode a part of this one. */
static void run_task(void *data, uint32_t index, uint32_t worker)
{
    writer *w = data;
    radllm_error error = {.status = RADLLM_OK};
    radllm_status status = RADLLM_OK;
    if (atomic_load_explicit(&w->status, memory_order_relaxed) != RADLLM_OK)
        return;
    if (index == 0) {
        if (w->waiting > 0)
            status = w->sink(w->sink_user, w->output[1 - w->now], w->waiting, &error);
    } else {
        uint64_t begin = (uint64_t)(index - 1) * w->task_elements;
        uint64_t left = w->n_elements - begin;
        size_t n = (size_t)(left < w->task_elements ? left : w->task_elements);
        uint8_t *out = w->output[w->now] + bytes_of(w->to, begin);
        bool same = w->from == w->to;
        uint8_t *in = same ? out : w->input + worker * w->task_bytes;
        status = rad_source_read_tensor(w->source, w->tensor, bytes_of(w->from, w->first + begin),
                                        in, (size_t)bytes_of(w->from, n), &error);
        if (status == RADLLM_OK && !same)
            status = convert(w, w->first + begin, n, in,
                             w->values + worker * (w->task_bytes / sizeof(float)), out, &error);
    }
    if (status != RADLLM_OK)
        fail_task(w, status, &error);
}

/* Runs the step at hand while the one before is written. */
static radllm_status run_step(writer *w, radllm_error *error)
{
    uint64_t tasks = (w->n_elements + w->task_elements - 1) / w->task_elements;
    rad_pool_run(w->pool, run_task, w, (uint32_t)tasks + 1);
    radllm_status status = atomic_load(&w->status);
    w->waiting = 0;
    if (status != RADLLM_OK)
        return rad_fail(error, status, "%s", w->error.message);
    if (w->n_elements > 0)
        w->waiting = (size_t)bytes_of(w->to, w->n_elements);
    w->now = 1 - w->now;
    return RADLLM_OK;
}

static radllm_status look_up(const writer *w, const rad_data_progress *progress, uint64_t more,
                             radllm_error *error)
{
    const rad_host *host = w->host;
    if (rad_cancelled(progress->cancel) ||
        (host->progress != NULL && host->progress(host->progress_user, "quantize",
                                                  progress->done + more, progress->total) != 0))
        return rad_fail(error, RADLLM_E_CANCELLED, "quantizing was cancelled; no file was written");
    return RADLLM_OK;
}

/* The scale that stands behind the blocks of a tensor (I2_S), or bytes that are copied. */
static radllm_status read_tail(writer *w, uint8_t tail[64], radllm_error *error)
{
    const rad_tensor *tensor = w->tensor;
    w->tail_scale = rad_tensor_scale(tensor);
    if (tensor->view != NULL) { /* as it stands in a file */
        memset(tail, 0, 64);
        memcpy(tail, &w->tail_scale, sizeof w->tail_scale);
        return RADLLM_OK;
    }
    if (w->from->tail_bytes == 0)
        return RADLLM_OK;
    radllm_status status = rad_source_read_tensor(
        w->source, tensor, bytes_of(w->from, tensor->n_elements), tail, w->from->tail_bytes, error);
    if (status == RADLLM_OK)
        memcpy(&w->tail_scale, tail, sizeof w->tail_scale);
    return status;
}

static void drop_importance(writer *w)
{
    rad_free(&w->host->allocator, w->importance, w->importance_bytes);
    rad_free(&w->host->allocator, w->columns, w->columns_bytes);
    w->importance = NULL;
    w->columns = NULL;
    w->importance_bytes = w->columns_bytes = 0;
}

static radllm_status take_columns(writer *w, radllm_error *error)
{
    const rad_importance_entry *entry = w->entry;
    if (entry->totals == NULL || !rad_is_steered(w->to))
        return RADLLM_OK;
    size_t columns = (size_t)entry->n_columns,
           bytes = entry->n_matrices * columns * sizeof *w->columns;
    w->columns = rad_alloc(&w->host->allocator, bytes);
    if (w->columns == NULL)
        return rad_fail_memory(error, bytes);
    w->columns_bytes = bytes;
    for (uint32_t m = 0; m < entry->n_matrices; m++)
        rad_columns_take(entry->sums + m * columns, entry->totals + m * columns, entry->counts[m],
                         columns, w->columns + m * columns);
    return RADLLM_OK;
}

/* Mean squares as floats; a matrix that nothing was multiplied with has none: all columns alike. */
static radllm_status take_importance(writer *w, radllm_error *error)
{
    const rad_importance_entry *entry = w->entry;
    const rad_allocator *allocator = &w->host->allocator;
    drop_importance(w);
    if (entry == NULL)
        return RADLLM_OK;
    size_t columns = (size_t)entry->n_columns, bytes = entry->n_matrices * columns * sizeof(float);
    w->importance = rad_alloc(allocator, bytes);
    if (w->importance == NULL)
        return rad_fail_memory(error, bytes);
    w->importance_bytes = bytes;
    for (uint32_t m = 0; m < entry->n_matrices; m++)
        for (size_t i = 0; i < columns; i++)
            w->importance[m * columns + i] =
                entry->counts[m] > 0
                    ? (float)(entry->sums[m * columns + i] / (double)entry->counts[m])
                    : 1.0f;
    return take_columns(w, error);
}

/* Elements that are put together at once: one, or whole rows. */
static uint64_t unit_of(const rad_tensor *tensor, bool *costly)
{
    uint64_t row = tensor->n_elements == tensor->dims[0] ? 1 : tensor->dims[0];
    uint64_t unit = rad_derived_unit(tensor, costly);
    return unit > row ? unit : row;
}

radllm_status rad_data_check(const rad_tensor *tensor, rad_type type, radllm_error *error)
{
    char quoted[RAD_QUOTE_SIZE];
    const rad_type_info *from = rad_type_find((uint32_t)tensor->type);
    bool costly;
    uint32_t n_columns;
    if (tensor->view == NULL)
        return RADLLM_OK;
    rad_quote(quoted, tensor->name.data, tensor->name.size);
    if (tensor->type == type && from->tail_bytes == 0 && rad_tensor_scale(tensor) != 1.0f)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "the tensor '%s' of type %s has a scale of its own, which is not written "
                        "beside it: choose another type",
                        quoted, from->name);
    if (rad_tensor_columns(tensor, &n_columns) != NULL)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "the tensor '%s' has its columns in an order of its own (desc_act, EXL2), "
                        "which is not converted",
                        quoted);
    if (unit_of(tensor, &costly) > ROW_ELEMENTS)
        return rad_fail(error, RADLLM_E_LIMIT,
                        "the tensor '%s' has rows of more than %llu numbers, which are not "
                        "converted",
                        quoted, (unsigned long long)ROW_ELEMENTS);
    return RADLLM_OK;
}

static uint64_t turned_elements(const writer *w)
{
    uint64_t share = ALL_TURNED_ELEMENTS / rad_pool_size(w->pool);
    share = share < TURNED_ELEMENTS ? share : TURNED_ELEMENTS;
    return share > ROW_ELEMENTS ? share : ROW_ELEMENTS;
}

/* How many elements a task takes: whole rows where these are put together as they are read. */
static void set_task(writer *w)
{
    bool costly;
    uint64_t row = unit_of(w->tensor, &costly);
    uint64_t most = costly ? turned_elements(w) : TASK_ELEMENTS;
    w->task_elements = TASK_ELEMENTS;
    if (w->tensor->view != NULL && row != 0)
        w->task_elements = row > most ? row : most / row * row;
}

static radllm_status make_room(writer *w, radllm_error *error)
{
    const rad_allocator *allocator = &w->host->allocator;
    size_t workers = rad_pool_size(w->pool);
    uint64_t elements = w->task_elements > TASK_ELEMENTS ? ROW_ELEMENTS : TASK_ELEMENTS;
    elements = w->task_elements > elements ? turned_elements(w) : elements;
    size_t bytes = (size_t)elements * ELEMENT_BYTES;
    if (bytes <= w->task_bytes)
        return RADLLM_OK;
    rad_data_writer_release(w);
    w->task_bytes = bytes;
    w->tasks_per_step =
        (uint32_t)workers * (bytes > TASK_ELEMENTS * ELEMENT_BYTES ? 1 : TASKS_PER_THREAD);
    w->output_bytes = w->tasks_per_step * w->task_bytes;
    for (int i = 0; i < 2; i++)
        w->output[i] = rad_alloc(allocator, w->output_bytes);
    w->input = rad_alloc(allocator, workers * bytes);
    w->values = rad_alloc(allocator, workers * bytes);
    if (w->output[0] == NULL || w->output[1] == NULL || w->input == NULL || w->values == NULL)
        return rad_fail_memory(error, 2 * w->output_bytes + 2 * workers * bytes);
    return RADLLM_OK;
}

radllm_status rad_data_write(writer *w, const rad_source *source, const rad_tensor *tensor,
                             rad_type type, const rad_importance_entry *importance,
                             rad_data_progress *progress, radllm_error *error)
{
    w->source = source;
    w->tensor = tensor;
    w->entry = importance;
    w->from = rad_type_find((uint32_t)tensor->type);
    w->to = rad_type_find((uint32_t)type);
    uint8_t tail[64];
    set_task(w);
    radllm_status status = make_room(w, error);
    if (status == RADLLM_OK)
        status = w->from->tail_bytes <= sizeof tail
                     ? read_tail(w, tail, error)
                     : rad_fail(error, RADLLM_E_INTERNAL, "a type's tail is too long");
    if (status == RADLLM_OK)
        status = take_importance(w, error);
    uint64_t step = w->tasks_per_step * w->task_elements;
    for (w->first = 0; status == RADLLM_OK && w->first < tensor->n_elements; w->first += step) {
        uint64_t left = tensor->n_elements - w->first;
        w->n_elements = left < step ? left : step;
        status = run_step(w, error);
        if (status == RADLLM_OK)
            status = look_up(w, progress, w->first + w->n_elements, error);
    }
    if (status != RADLLM_OK)
        return status;
    w->n_elements = 0;
    status = run_step(w, error); /* writes the last one */
    if (status == RADLLM_OK && w->from == w->to && w->from->tail_bytes > 0)
        status = w->sink(w->sink_user, tail, w->from->tail_bytes, error);
    progress->done += tensor->n_elements;
    return status;
}

radllm_status rad_data_writer_new(const rad_host *host, uint32_t n_threads, rad_data_sink sink,
                                  void *user, writer **out, radllm_error *error)
{
    writer *w = rad_alloc_zero(&host->allocator, sizeof *w);
    if (w == NULL)
        return rad_fail_memory(error, sizeof *w);
    *w = (writer){.host = host, .sink = sink, .sink_user = user};
    atomic_init(&w->status, RADLLM_OK);
    radllm_status status =
        rad_pool_create(host, n_threads != 0 ? n_threads : rad_processor_count(), &w->pool, error);
    if (status == RADLLM_OK)
        *out = w;
    else
        rad_free(&host->allocator, w, sizeof *w);
    return status;
}

void rad_data_writer_release(writer *w)
{
    const rad_allocator *allocator = &w->host->allocator;
    size_t workers = rad_pool_size(w->pool);
    for (int i = 0; i < 2; i++)
        rad_free(allocator, w->output[i], w->output_bytes);
    rad_free(allocator, w->input, workers * w->task_bytes);
    rad_free(allocator, w->values, workers * w->task_bytes);
    w->output[0] = w->output[1] = w->input = NULL;
    w->values = NULL;
    w->task_bytes = 0;
}

void rad_data_writer_free(writer *w)
{
    if (w == NULL)
        return;
    const rad_allocator *allocator = &w->host->allocator;
    rad_data_writer_release(w);
    drop_importance(w);
    rad_pool_free(w->pool);
    rad_free(allocator, w, sizeof *w);
}

radllm_status rad_data_look_up(const writer *w, const rad_data_progress *progress,
                               radllm_error *error)
{
    return look_up(w, progress, 0, error);
}

static radllm_status write_tensors(writer *w, const rad_quantize_plan *plan,
                                   const radllm_cancel *cancel, radllm_error *error)
{
    rad_data_progress progress = {.cancel = cancel, .total = plan->n_elements};
    radllm_status status = look_up(w, &progress, 0, error);
    for (size_t i = 0; i < plan->n_tensors && status == RADLLM_OK; i++) {
        const rad_quantized_tensor *tensor = &plan->tensors[i];
        char quoted[RAD_QUOTE_SIZE];
        const rad_tensor *from = tensor->from;
        rad_log_line(&plan->host, RADLLM_LOG_INFO, "%s: %s to %s%s%s",
                     rad_quote(quoted, from->name.data, from->name.size),
                     rad_type_find((uint32_t)from->type)->name,
                     rad_type_find((uint32_t)tensor->type)->name,
                     tensor->importance != NULL ? ", weighted" : "",
                     tensor->fallback ? ", for rows of this length" : "");
        status = rad_data_write(w, plan->source, from, tensor->type, tensor->importance, &progress,
                                error);
    }
    return status;
}

/* ---- the file -----------------------------------------------------------------------------------
 */

/* Keys that say how the source's file was made; the writer knows the alignment. */
static bool is_left_out(const rad_meta *meta)
{
    const char *key = meta->key.data;
    return strcmp(key, "general.alignment") == 0 || strncmp(key, "split.", 6) == 0 ||
           strncmp(key, "quantize.imatrix.", 17) == 0;
}

/* general.file_type; of a copy that of its embedding. */
static uint32_t number_of_type(const rad_quantize_plan *plan)
{
    const rad_tensor *embedding = rad_source_find_tensor(plan->source, "token_embd.weight");
    if (!plan->file_type->copy || embedding == NULL)
        return plan->file_type->number;
    rad_type type = plan->tensors[rad_source_tensor_index(plan->source, embedding)].type;
    for (int i = 0; i < RAD_FILE_TYPES; i++)
        if (!rad_file_types[i].copy && rad_file_types[i].type == type)
            return rad_file_types[i].number;
    return plan->file_type->number;
}

static void declare(const rad_quantize_plan *plan, rad_gguf_writer *file)
{
    for (uint64_t i = 0; i < rad_source_n_meta(plan->source); i++)
        if (!is_left_out(rad_source_meta(plan->source, i)))
            rad_gguf_add_meta(file, rad_source_meta(plan->source, i));
    if (plan->importance != NULL) {
        rad_gguf_set_text(file, "quantize.imatrix.dataset", plan->importance->dataset);
        rad_gguf_set_integer(file, "quantize.imatrix.entries_count", RAD_META_I32,
                             (int64_t)plan->importance->n_entries);
        rad_gguf_set_integer(file, "quantize.imatrix.chunks_count", RAD_META_I32,
                             (int64_t)plan->importance->n_chunks);
    }
    const rad_meta *given = rad_source_find_meta(plan->source, "general.file_type");
    bool missing = given == NULL && !rad_source_is_gguf(plan->source);
    if (!plan->file_type->copy || missing) { /* in their places, where the source has them */
        rad_gguf_set_integer(file, "general.file_type", RAD_META_U32, number_of_type(plan));
        rad_gguf_set_integer(file, "general.quantization_version", RAD_META_U32, 2);
    }
    for (size_t i = 0; i < plan->n_tensors; i++)
        rad_gguf_add_tensor(file, plan->tensors[i].from->name.data, plan->tensors[i].type,
                            plan->tensors[i].from->n_dims, plan->tensors[i].from->dims);
}

static radllm_status put_data(void *file, const void *data, size_t size, radllm_error *error)
{
    return rad_gguf_data(file, data, size, error);
}

/* A GGUF file is copied whatever it holds; what becomes another form has to be a whole model. */
radllm_status rad_quantize_check(const rad_quantize_plan *plan, radllm_error *error)
{
    rad_model *model = NULL;
    radllm_status status = RADLLM_OK;
    if (plan->no_file.status != RADLLM_OK)
        return rad_fail(error, plan->no_file.status, "%s", plan->no_file.message);
    if (!rad_source_is_gguf(plan->source))
        status = rad_quantize_bind(&plan->host, plan->source, &model, error);
    rad_model_free(model);
    for (size_t i = 0; i < plan->n_tensors && status == RADLLM_OK; i++)
        status = rad_data_check(plan->tensors[i].from, plan->tensors[i].type, error);
    return status;
}

radllm_status rad_quantize_write(const rad_quantize_plan *plan, const char *path,
                                 const radllm_cancel *cancel, radllm_error *error)
{
    writer *w = NULL;
    rad_gguf_writer *file = NULL;
    radllm_status status = rad_quantize_check(plan, error);
    if (status == RADLLM_OK)
        status = rad_gguf_writer_new(&plan->host.allocator,
                                     (uint32_t)rad_source_alignment(plan->source), &file, error);
    if (status == RADLLM_OK)
        status = rad_data_writer_new(&plan->host, plan->n_threads, put_data, file, &w, error);
    if (status == RADLLM_OK) {
        declare(plan, file);
        status = rad_gguf_begin(file, path, error);
    }
    if (status == RADLLM_OK)
        status = write_tensors(w, plan, cancel, error);
    if (status == RADLLM_OK)
        status = rad_source_check(plan->source, error);
    if (status == RADLLM_OK)
        status = rad_gguf_finish(file, error);
    rad_data_writer_free(w);
    rad_gguf_writer_free(file);
    return status;
}

radllm_status rad_quantize_file_bytes(const rad_quantize_plan *plan, uint64_t *out,
                                      radllm_error *error)
{
    rad_gguf_writer *file;
    radllm_status status = rad_gguf_writer_new(
        &plan->host.allocator, (uint32_t)rad_source_alignment(plan->source), &file, error);
    if (status != RADLLM_OK)
        return status;
    declare(plan, file);
    status = rad_gguf_file_bytes(file, out, error);
    rad_gguf_writer_free(file);
    return status;
}
