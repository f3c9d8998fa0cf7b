/* Copies a model's matrices behind the first tokens. Whoever computes meanwhile reads the rows of a
 * matrix that is not ready from the file itself, with the same bits. The first step has the machine
 * for itself; afterwards copying and computing share it. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "model/fill.h"

/* How long the loader waits for a first step before it uses the idle machine. */
#define GRACE_NS 200000000L

struct rad_loader {
    rad_model *model;
    rad_filler fill;
    rad_allocator allocator;
    atomic_bool stop;
    atomic_bool changed_file; /* the file was written to before it was read to its end */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint32_t n_steps; /* in progress */
    bool had_step, ended;
    int64_t process;
};

/* Waits for the end of the first step, at most GRACE_NS for its begin. */
static void let_the_first_step_pass(rad_loader *loader)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += GRACE_NS;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_mutex_lock(&loader->mutex);
    int result = 0;
    while (!loader->had_step && !atomic_load(&loader->stop) &&
           (result != ETIMEDOUT || loader->n_steps > 0)) {
        if (loader->n_steps > 0)
            pthread_cond_wait(&loader->changed, &loader->mutex);
        else
            result = pthread_cond_timedwait(&loader->changed, &loader->mutex, &until);
    }
    pthread_mutex_unlock(&loader->mutex);
}

static void *loader_main(void *argument)
{
    rad_loader *loader = argument;
    let_the_first_step_pass(loader);
    /* A failure is not lost: rows of what is not ready are read by those who compute, who meet the
     * same error and have somebody to tell. A file that was changed is told to all from now on. */
    if (rad_fill_matrices(&loader->fill, NULL) == RADLLM_OK)
        atomic_store(&loader->changed_file, rad_source_check(loader->model->source, NULL) != 0);
    rad_fill_end(&loader->fill);
    pthread_mutex_lock(&loader->mutex);
    loader->ended = true;
    pthread_cond_broadcast(&loader->changed);
    pthread_mutex_unlock(&loader->mutex);
    return NULL;
}

static int make_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    int failure = pthread_condattr_init(&attributes);
    if (failure != 0)
        return failure;
    failure = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (failure == 0)
        failure = pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
    return failure;
}

bool rad_behind_start(rad_model *model, const rad_filler *fill)
{
    rad_loader *loader = rad_alloc_zero(&model->host.allocator, sizeof *loader);
    if (loader == NULL)
        return false;
    loader->model = model;
    loader->allocator = model->host.allocator;
    loader->process = rad_process_id();
    loader->fill = *fill;
    loader->fill.cancel = NULL; /* whoever asked for the model has it when this runs */
    loader->fill.stop = &loader->stop;
    if (pthread_mutex_init(&loader->mutex, NULL) != 0)
        goto no_mutex;
    if (make_condition(&loader->changed) != 0)
        goto no_condition;
    model->loader = loader;
    if (rad_thread_start(&loader->thread, 0, loader_main, loader) == 0)
        return true;
    model->loader = NULL;
    pthread_cond_destroy(&loader->changed);
no_condition:
    pthread_mutex_destroy(&loader->mutex);
no_mutex:
    rad_free(&model->host.allocator, loader, sizeof *loader);
    return false;
}

void rad_behind_free(rad_loader *loader)
{
    if (loader == NULL)
        return;
    rad_allocator allocator = loader->allocator;
    if (loader->process == rad_process_id()) {
        pthread_mutex_lock(&loader->mutex);
        atomic_store(&loader->stop, true);
        pthread_cond_broadcast(&loader->changed);
        pthread_mutex_unlock(&loader->mutex);
        pthread_join(loader->thread, NULL);
        pthread_cond_destroy(&loader->changed);
        pthread_mutex_destroy(&loader->mutex);
    } else if (!loader->ended) {
        rad_fill_end(&loader->fill);
    }
    rad_free(&allocator, loader, sizeof *loader);
}

radllm_status rad_model_check(const rad_model *model, radllm_error *error)
{
    if (model->loader == NULL || !atomic_load(&model->loader->changed_file))
        return RADLLM_OK;
    return rad_source_check(model->source, error);
}

void rad_model_step_begins(const rad_model *model)
{
    rad_loader *loader = model->loader;
    if (loader == NULL)
        return;
    pthread_mutex_lock(&loader->mutex);
    loader->n_steps++;
    pthread_mutex_unlock(&loader->mutex);
}

void rad_model_step_ends(const rad_model *model)
{
    rad_loader *loader = model->loader;
    if (loader == NULL)
        return;
    pthread_mutex_lock(&loader->mutex);
    loader->n_steps--;
    loader->had_step = true;
    pthread_cond_broadcast(&loader->changed);
    pthread_mutex_unlock(&loader->mutex);
}

void rad_model_wait(const rad_model *model)
{
    rad_loader *loader = model->loader;
    if (loader == NULL)
        return;
    pthread_mutex_lock(&loader->mutex);
    loader->had_step = true; /* so that it begins */
    pthread_cond_broadcast(&loader->changed);
    while (!loader->ended)
        pthread_cond_wait(&loader->changed, &loader->mutex);
    pthread_mutex_unlock(&loader->mutex);
}
