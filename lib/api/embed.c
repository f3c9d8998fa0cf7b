/* Embeddings. */
#include "engine/embed.h"

#include <string.h>

#include "api/engine.h"

/* Texts as tokens: those of the caller, or `ids` made of the caller's text. */
typedef struct texts {
    const rad_allocator *allocator;
    rad_embed_text *items;
    rad_tokens *ids; /* NULL: the tokens are the caller's */
    size_t count;
} texts;

static void free_texts(texts *t)
{
    for (size_t i = 0; t->ids != NULL && i < t->count; i++)
        rad_tokens_free(&t->ids[i]);
    rad_free(t->allocator, t->ids, t->count * sizeof *t->ids);
    rad_free(t->allocator, t->items, t->count * sizeof *t->items);
}

static radllm_status read_settings(const rad_model *model, const radllm_options *options,
                                   rad_embed_settings *settings, radllm_error *error)
{
    const rad_hparams *h = &model->hparams;
    int64_t pooling = rad_option_integer(options, RAD_OPTION_POOLING);
    int64_t normalise = rad_option_integer(options, RAD_OPTION_NORMALIZE);
    settings->pooling = pooling == 0 ? h->pooling : (rad_pooling)pooling;
    settings->normalise = normalise == 0
                              ? !h->plain_embeddings && settings->pooling != RAD_POOLING_NONE
                              : normalise == 2;
    if (settings->pooling == RAD_POOLING_UNKNOWN)
        return rad_fail(
            error, RADLLM_E_UNSUPPORTED,
            "the model (architecture %s) does not say how its tokens become one vector: "
            "it is no embedding model; set the option pooling to embed with it all the "
            "same",
            h->architecture->name);
    if (settings->pooling == RAD_POOLING_RANK)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "the model ranks texts by a further layer, which is not supported; set the "
                        "option pooling to have its vectors");
    return RADLLM_OK;
}

#define TEXTS_MAX ((size_t)1 << 24)

static radllm_status check(const radllm_engine *engine, const void *items, size_t count,
                           const float *vectors, size_t capacity, radllm_error *error)
{
    RAD_CHECK_NULL(engine);
    if (items == NULL && count != 0)
        return rad_fail_null(error, "texts");
    if (vectors == NULL && capacity != 0)
        return rad_fail_null(error, "vectors");
    if (count > TEXTS_MAX)
        return rad_fail(error, RADLLM_E_ARGUMENT, "%zu texts were given; at most %zu are allowed",
                        count, TEXTS_MAX);
    RAD_CHECK_PROCESS(engine->engine->process);
    return RADLLM_OK;
}

static radllm_status make_room(texts *t, bool of_text, radllm_error *error)
{
    t->items = rad_alloc_zero(t->allocator, t->count * sizeof *t->items);
    if (of_text)
        t->ids = rad_alloc_zero(t->allocator, t->count * sizeof *t->ids);
    if (t->count > 0 && (t->items == NULL || (of_text && t->ids == NULL)))
        return rad_fail_memory(error, t->count * sizeof *t->ids);
    return RADLLM_OK;
}

/* The settings, and room for the texts; free_texts() whatever comes of it. */
static radllm_status begin(const radllm_engine *engine, const radllm_options *options, size_t count,
                           bool of_text, rad_embed_settings *settings, texts *t,
                           radllm_error *error)
{
    *t = (texts){.allocator = &engine->engine->host.allocator, .count = count};
    radllm_status status = read_settings(engine->model->model, options, settings, error);
    return status == RADLLM_OK ? make_room(t, of_text, error) : status;
}

/* Cuts what is longer than the context; the token that ends texts stays at the end. */
static void cut_text(const rad_model *model, uint32_t context, rad_tokens *ids)
{
    if (ids->count <= context)
        return;
    if (rad_tokenizer_adds_eos(model->tokenizer))
        ids->ids[context - 1] = ids->ids[ids->count - 1];
    ids->count = context;
}

static radllm_status encode(const radllm_engine *engine, const radllm_options *options,
                            const char *text, size_t length, rad_tokens *ids, rad_embed_text *item,
                            radllm_error *error)
{
    const rad_model *model = engine->model->model;
    uint32_t flags = RADLLM_TOKENIZE_ADD_SPECIAL;
    if (rad_option_integer(options, RAD_OPTION_SPECIAL) != 0)
        flags |= RADLLM_TOKENIZE_PARSE_SPECIAL;
    ids->allocator = &model->host.allocator;
    radllm_status status = rad_tokenizer_encode(model->tokenizer, text,
                                                rad_text_length(text, length), flags, ids, error);
    if (status != RADLLM_OK)
        return status;
    if (rad_option_integer(options, RAD_OPTION_TRUNCATE) != 0)
        cut_text(model, engine->engine->plan.settings.context, ids);
    *item = (rad_embed_text){ids->ids, ids->count < UINT32_MAX ? (uint32_t)ids->count : UINT32_MAX};
    return RADLLM_OK;
}

static radllm_status compute(const radllm_engine *engine, const rad_embed_settings *settings,
                             const texts *t, const radllm_cancel *cancel, float *vectors,
                             size_t capacity, size_t *length, radllm_error *error)
{
    uint64_t rows = 0, needed;
    for (size_t i = 0; i < t->count; i++)
        rows += rad_embed_rows(settings, &t->items[i]);
    if (!rad_mul_u64(rows, engine->model->model->hparams.width, &needed) || needed > SIZE_MAX)
        return rad_fail_memory(error, SIZE_MAX);
    if (length != NULL)
        *length = (size_t)needed;
    if (needed > capacity)
        return rad_fail(error, RADLLM_E_BUFFER,
                        "the embeddings are %llu floats, the buffer has room for %zu",
                        (unsigned long long)needed, capacity);
    rad_fpenv saved = rad_fpenv_enter();
    radllm_status status =
        rad_engine_embed(engine->engine, settings, t->items, t->count, cancel, vectors, error);
    rad_fpenv_leave(saved);
    return status;
}

radllm_status radllm_embed(radllm_engine *engine, const char *const *texts_in,
                           const size_t *lengths, size_t count, const radllm_options *options,
                           const radllm_cancel *cancel, float *vectors, size_t capacity,
                           size_t *length, radllm_error *error)
{
    rad_error_clear(error);
    radllm_status status = check(engine, texts_in, count, vectors, capacity, error);
    if (status != RADLLM_OK)
        return status;
    rad_embed_settings settings;
    texts t;
    status = begin(engine, options, count, true, &settings, &t, error);
    for (size_t i = 0; i < count && status == RADLLM_OK; i++) {
        if (texts_in[i] == NULL)
            status = rad_fail(error, RADLLM_E_ARGUMENT, "text %zu is NULL", i);
        else
            status = encode(engine, options, texts_in[i], lengths != NULL ? lengths[i] : RADLLM_NUL,
                            &t.ids[i], &t.items[i], error);
    }
    if (status == RADLLM_OK)
        status = compute(engine, &settings, &t, cancel, vectors, capacity, length, error);
    free_texts(&t);
    return status;
}

radllm_status radllm_embed_tokens(radllm_engine *engine, const int32_t *const *tokens,
                                  const size_t *counts, size_t count, const radllm_options *options,
                                  const radllm_cancel *cancel, float *vectors, size_t capacity,
                                  size_t *length, radllm_error *error)
{
    rad_error_clear(error);
    radllm_status status = check(engine, tokens, count, vectors, capacity, error);
    if (status == RADLLM_OK && counts == NULL && count != 0)
        status = rad_fail_null(error, "counts");
    if (status != RADLLM_OK)
        return status;
    rad_embed_settings settings;
    texts t;
    status = begin(engine, options, count, false, &settings, &t, error);
    for (size_t i = 0; i < count && status == RADLLM_OK; i++) {
        if (tokens[i] == NULL && counts[i] != 0)
            status = rad_fail(error, RADLLM_E_ARGUMENT, "text %zu is NULL", i);
        else
            t.items[i] = (rad_embed_text){tokens[i], counts[i] < UINT32_MAX ? (uint32_t)counts[i]
                                                                            : UINT32_MAX};
    }
    if (status == RADLLM_OK)
        status = compute(engine, &settings, &t, cancel, vectors, capacity, length, error);
    free_texts(&t);
    return status;
}
