/* The hash of a model's file or files. */
#include <stdio.h>

#include "api/file.h"

#define HASH_PIECE ((uint64_t)4 << 20)

typedef struct hash_job {
    const rad_source *source;
    uint8_t (*digests)[32];
    uint8_t *buffers; /* HASH_PIECE for each worker */
    const radllm_cancel *cancel;
    atomic_int status;
    uint64_t first; /* number of the piece that index 0 stands for */
    radllm_error *error;
} hash_job;

static uint64_t part_pieces(const rad_source *source, uint32_t part)
{
    return (rad_source_part_bytes(source, part) + HASH_PIECE - 1) / HASH_PIECE;
}

static void hash_piece(void *data, uint32_t index, uint32_t worker)
{
    hash_job *job = data;
    uint64_t piece = job->first + index, before = 0;
    uint32_t part = 0;
    while (piece - before >= part_pieces(job->source, part))
        before += part_pieces(job->source, part++);
    uint64_t offset = (piece - before) * HASH_PIECE;
    uint64_t left = rad_source_part_bytes(job->source, part) - offset;
    size_t size = (size_t)(left < HASH_PIECE ? left : HASH_PIECE);
    uint8_t *buffer = job->buffers + worker * HASH_PIECE;
    if (atomic_load(&job->status) != RADLLM_OK || rad_cancelled(job->cancel))
        return;
    radllm_error error = {.status = RADLLM_OK};
    radllm_status status = rad_source_read(job->source, part, offset, buffer, size, &error);
    int none = RADLLM_OK;
    if (status == RADLLM_OK)
        rad_sha256(buffer, size, job->digests[piece]);
    else if (atomic_compare_exchange_strong(&job->status, &none, status) && job->error != NULL)
        rad_fail(job->error, status, "%s", error.message);
}

static radllm_status run_hash(const rad_host *host, rad_pool *pool, hash_job *job, uint64_t pieces,
                              radllm_error *error)
{
    /* Some at a time, so that progress and cancellation are seen. */
    uint32_t step = rad_pool_size(pool) * 8;
    for (uint64_t done = 0; done < pieces; done += step) {
        uint64_t left = pieces - done;
        job->first = done;
        rad_pool_run(pool, hash_piece, job, left < step ? (uint32_t)left : step);
        if (atomic_load(&job->status) != RADLLM_OK)
            return atomic_load(&job->status);
        if (rad_cancelled(job->cancel) ||
            (host->progress != NULL &&
             host->progress(host->progress_user, "hash", left < step ? pieces : done + step,
                            pieces) != 0))
            return rad_fail(error, RADLLM_E_CANCELLED, "hashing was cancelled");
    }
    return RADLLM_OK;
}

static void write_hash(const hash_job *job, uint64_t pieces, char text[65])
{
    uint8_t digest[32];
    rad_sha256(job->digests, (size_t)pieces * 32, digest);
    for (int i = 0; i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

static radllm_status compute_hash(const rad_host *host, radllm_file *file,
                                  const radllm_cancel *cancel, radllm_error *error)
{
    const rad_source *source = file->source;
    uint64_t pieces = 0;
    for (uint32_t i = 0; i < rad_source_n_parts(source); i++)
        pieces += part_pieces(source, i);
    rad_pool *pool;
    radllm_status status = rad_pool_create(host, rad_processor_count(), &pool, error);
    if (status != RADLLM_OK)
        return status;
    size_t buffer_bytes = rad_pool_size(pool) * (size_t)HASH_PIECE;
    hash_job job = {.source = source, .cancel = cancel, .error = error};
    job.digests = rad_alloc(&host->allocator, (size_t)pieces * 32);
    job.buffers = rad_alloc(&host->allocator, buffer_bytes);
    if (job.digests == NULL || job.buffers == NULL)
        status = rad_fail_memory(error, buffer_bytes);
    else
        status = run_hash(host, pool, &job, pieces, error);
    if (status == RADLLM_OK)
        write_hash(&job, pieces, file->hash);
    rad_free(&host->allocator, job.digests, (size_t)pieces * 32);
    rad_free(&host->allocator, job.buffers, buffer_bytes);
    rad_pool_free(pool);
    return status;
}

/* The file keeps the hash, so that all models loaded from it share it. */
static radllm_status give_hash(const rad_host *host, const radllm_file *file,
                               const radllm_cancel *cancel, char *buffer, size_t capacity,
                               size_t *length, radllm_error *error)
{
    radllm_file *own = (radllm_file *)file; /* the kept hash is no visible change */
    radllm_status status = RADLLM_OK;
    pthread_mutex_lock(&own->hash_mutex);
    if (own->hash[0] == '\0')
        status = compute_hash(host, own, cancel, error);
    pthread_mutex_unlock(&own->hash_mutex);
    return status == RADLLM_OK ? rad_copy_out(own->hash, 64, buffer, capacity, length, error)
                               : status;
}

radllm_status radllm_file_hash(const radllm_file *file, const radllm_cancel *cancel, char *buffer,
                               size_t capacity, size_t *length, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(file);
    RAD_CHECK_PROCESS(file->process);
    return give_hash(&file->host, file, cancel, buffer, capacity, length, error);
}

radllm_status radllm_model_hash(const radllm_model *model, const radllm_cancel *cancel,
                                char *buffer, size_t capacity, size_t *length, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(model);
    RAD_CHECK_PROCESS(model->process);
    return give_hash(&model->host, model->file, cancel, buffer, capacity, length, error);
}
