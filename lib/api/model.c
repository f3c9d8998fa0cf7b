/* Models and tokens. */
#include <string.h>

#include "api/file.h"
#include "model/kind.h"
#include "api/model.h"

radllm_model *rad_model_retain(radllm_model *model)
{
    atomic_fetch_add(&model->references, 1);
    return model;
}

void radllm_model_free(radllm_model *model)
{
    if (model == NULL || atomic_fetch_sub(&model->references, 1) != 1)
        return;
    rad_allocator allocator = model->host.allocator;
    rad_model_free(model->model);
    radllm_file_free(model->file);
    rad_free(&allocator, model, sizeof *model);
}

/* A text of the file's metadata, or "" where there is none. */
static rad_text file_text(const radllm_model *model, const char *key)
{
    rad_text text;
    if (rad_meta_text(model->file->source, key, &text, NULL) != RADLLM_OK || text.data == NULL)
        return (rad_text){"", 0};
    return text;
}

/* The chat template's text, from the metadata or from the files beside a tokenizer.json. */
static rad_text template_text(const radllm_model *model)
{
    rad_text text = file_text(model, "tokenizer.chat_template");
    return text.size > 0 ? text : rad_tokenizer_chat_template(model->model->tokenizer);
}

radllm_status radllm_model_load(const radllm_host *host, const radllm_file *file,
                                const radllm_options *options, const radllm_cancel *cancel,
                                radllm_model **out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(file);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(file->process);
    rad_host own = rad_host_settings(host);
    rad_model_settings settings;
    rad_options_model(options, &settings);
    radllm_model *model = rad_alloc_zero(&own.allocator, sizeof *model);
    if (model == NULL)
        return rad_fail_memory(error, sizeof *model);
    atomic_init(&model->references, 1);
    model->host = own;
    model->process = file->process;
    model->file = rad_file_retain((radllm_file *)file);
    rad_fpenv saved = rad_fpenv_enter();
    radllm_status status = rad_model_bind(&own, file->source, &settings, &model->model, error);
    if (status == RADLLM_OK && !settings.vocabulary_only)
        status = rad_options_adapters(options, model->model, error);
    if (status == RADLLM_OK)
        status = rad_model_fill(model->model, &settings, cancel, error);
    rad_fpenv_leave(saved);
    if (status != RADLLM_OK) {
        radllm_model_free(model);
        return status;
    }
    model->chat_template = rad_chat_template_match(template_text(model));
    rad_log_line(&own, RADLLM_LOG_INFO, "loaded %s: %llu parameters, %zu bytes, kernels %s",
                 rad_source_label(file->source), (unsigned long long)model->model->n_parameters,
                 model->model->weight_bytes, model->model->kernels->name);
    *out = model;
    return RADLLM_OK;
}

radllm_status radllm_model_open(const radllm_host *host, const char *path,
                                const radllm_options *options, const radllm_cancel *cancel,
                                radllm_model **out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(out);
    radllm_file *file;
    radllm_status status = radllm_file_open(host, path, &file, error);
    if (status != RADLLM_OK)
        return status;
    status = radllm_model_load(host, file, options, cancel, out, error);
    radllm_file_free(file);
    return status;
}

/* Logits of a position: those of a folder's model may go beyond the tokenizer's last token. */
static uint32_t vocabulary_size(const radllm_model *model)
{
    return model->model->vocabulary_only ? rad_tokenizer_size(model->model->tokenizer)
                                         : model->model->hparams.n_vocab;
}

radllm_status radllm_model_number(const radllm_model *model, const char *name, int64_t *out,
                                  radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(model);
    RAD_CHECK_NULL(name);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(model->process);
    const rad_model *inner = model->model;
    const rad_hparams *h = &inner->hparams;
    const rad_named_number numbers[] = {
        {"vocab_size", vocabulary_size(model)},
        {"context_length", h->context_length},
        {"embedding_length", h->width},
        {"layers", h->n_layers},
        {"heads", h->max_heads},
        {"kv_heads", h->max_kv_heads},
        {"head_dim", h->head_dim},
        {"parameters", (int64_t)inner->n_parameters},
        {"active_parameters", (int64_t)inner->n_active_parameters},
        {"experts", h->router.n_experts},
        {"experts_used", h->router.n_used},
        {"weight_bytes", (int64_t)inner->weight_bytes},
        {"bos_token", rad_tokenizer_bos(inner->tokenizer)},
        {"eos_token", rad_tokenizer_eos(inner->tokenizer)},
        {"adds_bos", rad_tokenizer_adds_bos(inner->tokenizer)},
        {"adds_eos", rad_tokenizer_adds_eos(inner->tokenizer)},
        {"generates", !h->bidirectional},
    };
    return rad_find_number(numbers, sizeof numbers / sizeof *numbers, name, out, error);
}

radllm_status radllm_model_text(const radllm_model *model, const char *name, char *buffer,
                                size_t capacity, size_t *length, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(model);
    RAD_CHECK_NULL(name);
    RAD_CHECK_PROCESS(model->process);
    const rad_model *inner = model->model;
    const struct {
        const char *name, *text;
    } texts[] = {
        {"template",
         model->chat_template != NULL ? rad_chat_template_name(model->chat_template) : ""},
        {"isa", inner->kernels->name},
        {"layout", inner->layout == RAD_LAYOUT_LANE ? "lane" : "file"},
        {"nf4", inner->nf4_int8 ? "int8" : "float"},
        {"load", inner->mapped ? "map" : "copy"},
        {"cache_type", rad_model_is_f32(inner) ? "f32" : "f16"},
        {"tokenizer", rad_tokenizer_kind(inner->tokenizer)},
        {"unicode_version", rad_unicode_version()},
        {"pooling", rad_pooling_name(inner->hparams.pooling)},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(texts[i].name, name) == 0)
            return rad_copy_out(texts[i].text, strlen(texts[i].text), buffer, capacity, length,
                                error);
    }
    if (strcmp(name, "chat_template") == 0) {
        rad_text text = template_text(model);
        return rad_copy_out(text.data, text.size, buffer, capacity, length, error);
    }
    if (strcmp(name, "adapters") == 0) {
        char lines[RAD_ADAPTERS_TEXT];
        rad_adapters_text(inner->merged.n > 0 ? &inner->merged : &inner->adapters, lines);
        return rad_copy_out(lines, strlen(lines), buffer, capacity, length, error);
    }
    if (strcmp(name, "kind") == 0 || strcmp(name, "kind_reason") == 0) {
        static const char *const kinds[] = {"base", "instruct", "chat"};
        char reason[RAD_KIND_REASON];
        const char *kind =
            kinds[rad_kind_of(model->file->source, inner->tokenizer, template_text(model), reason)];
        const char *text = name[4] == '\0' ? kind : reason;
        return rad_copy_out(text, strlen(text), buffer, capacity, length, error);
    }
    const char *const keys[][2] = {{"architecture", "general.architecture"},
                                   {"name", "general.name"}};
    for (size_t i = 0; i < 2; i++) {
        if (strcmp(keys[i][0], name) == 0) {
            rad_text text = file_text(model, keys[i][1]);
            return rad_copy_out(text.data, text.size, buffer, capacity, length, error);
        }
    }
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(error, RADLLM_E_NOT_FOUND, "there is no text called \"%s\"",
                    rad_quote(quoted, name, strlen(name)));
}

/* ---- tokens ---------------------------------------------------------------------------------- */

radllm_status radllm_tokenize(const radllm_model *model, const char *text, size_t length,
                              uint32_t flags, int32_t *tokens, size_t capacity, size_t *count,
                              radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(model);
    RAD_CHECK_NULL(text);
    RAD_CHECK_PROCESS(model->process);
    rad_tokens list = {.allocator = &model->host.allocator};
    radllm_status status = rad_tokenizer_encode(model->model->tokenizer, text,
                                                rad_text_length(text, length), flags, &list, error);
    if (status == RADLLM_OK)
        status = rad_copy_tokens(&list, tokens, capacity, count, error);
    rad_tokens_free(&list);
    return status;
}

static radllm_status check_token(const radllm_model *model, int32_t token, radllm_error *error)
{
    uint32_t size = vocabulary_size(model);
    if (token >= 0 && (uint32_t)token < size)
        return RADLLM_OK;
    return rad_fail(error, RADLLM_E_ARGUMENT, "token %d is not in the vocabulary of %u entries",
                    (int)token, size);
}

radllm_status radllm_detokenize(const radllm_model *model, const int32_t *tokens, size_t count,
                                uint32_t flags, char *buffer, size_t capacity, size_t *length,
                                radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(model);
    RAD_CHECK_PROCESS(model->process);
    if (tokens == NULL && count != 0)
        return rad_fail_null(error, "tokens");
    if (buffer == NULL && capacity != 0)
        return rad_fail_null(error, "buffer");
    radllm_status status = RADLLM_OK;
    for (size_t i = 0; i < count && status == RADLLM_OK; i++)
        status = check_token(model, tokens[i], error);
    size_t needed = 0;
    if (status == RADLLM_OK)
        status = rad_tokenizer_decode(model->model->tokenizer, tokens, count, flags, NULL, 0,
                                      &needed, error);
    if (status != RADLLM_OK)
        return status;
    if (length != NULL)
        *length = needed;
    if (needed > capacity)
        return rad_fail(error, RADLLM_E_BUFFER, "the text has %zu bytes, the buffer %zu", needed,
                        capacity);
    status = rad_tokenizer_decode(model->model->tokenizer, tokens, count, flags, buffer, capacity,
                                  &needed, error);
    if (status == RADLLM_OK && needed < capacity)
        buffer[needed] = '\0';
    return status;
}

radllm_status radllm_token_piece(const radllm_model *model, int32_t token, char *buffer,
                                 size_t capacity, size_t *length, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(model);
    RAD_CHECK_PROCESS(model->process);
    radllm_status status = check_token(model, token, error);
    if (status != RADLLM_OK)
        return status;
    rad_text entry = rad_tokenizer_entry(model->model->tokenizer, token);
    return rad_copy_out(entry.data, entry.size, buffer, capacity, length, error);
}

int32_t radllm_token_is_end(const radllm_model *model, int32_t token)
{
    return model != NULL && rad_check_process(model->process, NULL) == RADLLM_OK &&
           check_token(model, token, NULL) == RADLLM_OK &&
           rad_tokenizer_is_end(model->model->tokenizer, token);
}

/* ---- streaming detokenizer ------------------------------------------------------------------- */

radllm_status radllm_detokenizer_new(const radllm_model *model, uint32_t flags,
                                     radllm_detokenizer **out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(model);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(model->process);
    const rad_allocator *allocator = &model->host.allocator;
    radllm_detokenizer *detokenizer = rad_alloc_zero(allocator, sizeof *detokenizer);
    if (detokenizer == NULL)
        return rad_fail_memory(error, sizeof *detokenizer);
    detokenizer->piece_capacity = rad_detokenizer_bound(model->model->tokenizer);
    detokenizer->piece = rad_alloc(allocator, detokenizer->piece_capacity);
    if (detokenizer->piece == NULL) {
        rad_free(allocator, detokenizer, sizeof *detokenizer);
        return rad_fail_memory(error, rad_detokenizer_bound(model->model->tokenizer));
    }
    detokenizer->model = rad_model_retain((radllm_model *)model);
    rad_detokenizer_start(&detokenizer->stream, model->model->tokenizer, flags);
    *out = detokenizer;
    return RADLLM_OK;
}

void radllm_detokenizer_free(radllm_detokenizer *detokenizer)
{
    if (detokenizer == NULL)
        return;
    radllm_model *model = detokenizer->model;
    rad_wipe(detokenizer->piece, detokenizer->piece_capacity);
    rad_free(&model->host.allocator, detokenizer->piece, detokenizer->piece_capacity);
    rad_free(&model->host.allocator, detokenizer, sizeof *detokenizer);
    radllm_model_free(model);
}

/* Gives out what the last token left; it stays when the buffer is too small. */
static radllm_status give_piece(radllm_detokenizer *detokenizer, char *buffer, size_t capacity,
                                size_t *length, radllm_error *error)
{
    radllm_status status =
        rad_copy_out(detokenizer->piece, detokenizer->piece_size, buffer, capacity, length, error);
    if (status == RADLLM_OK)
        detokenizer->piece_size = 0;
    return status;
}

radllm_status radllm_detokenizer_push(radllm_detokenizer *detokenizer, int32_t token, char *buffer,
                                      size_t capacity, size_t *length, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(detokenizer);
    RAD_CHECK_PROCESS(detokenizer->model->process);
    if (token == -1)
        return give_piece(detokenizer, buffer, capacity, length, error);
    radllm_status status = check_token(detokenizer->model, token, error);
    if (status == RADLLM_OK && detokenizer->piece_size != 0)
        status = rad_fail(error, RADLLM_E_STATE,
                          "the text of the last token was not fetched; call with token -1");
    if (status != RADLLM_OK)
        return status;
    detokenizer->piece_size = rad_detokenizer_push(&detokenizer->stream, token, detokenizer->piece);
    return give_piece(detokenizer, buffer, capacity, length, error);
}

radllm_status radllm_detokenizer_finish(radllm_detokenizer *detokenizer, char *buffer,
                                        size_t capacity, size_t *length, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(detokenizer);
    RAD_CHECK_PROCESS(detokenizer->model->process);
    if (detokenizer->piece_size == 0)
        detokenizer->piece_size = rad_detokenizer_finish(&detokenizer->stream, detokenizer->piece);
    return give_piece(detokenizer, buffer, capacity, length, error);
}
