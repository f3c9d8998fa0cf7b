/* Runs a model over a text and adds up what its matrices are multiplied with, and its squares. */
#include "quantize/importance.h"

#include <string.h>

#include "quantize/image.h"

typedef struct calibration {
    rad_importance *importance;
    size_t last; /* the entry that was found last */
    bool folder; /* the model is of one */
    bool failed; /* memory is short */
} calibration;

static const rad_tensor *tensor_of(const rad_weight *weight, uint32_t expert)
{
    return weight->parts != NULL ? weight->parts[expert].tensor : weight->tensor;
}

/* Entries are few and asked for in the same order again and again: the search begins with the last
 * one found. */
static rad_importance_entry *entry_of(calibration *c, const rad_weight *weight, uint32_t expert)
{
    rad_importance *importance = c->importance;
    rad_text name = tensor_of(weight, expert)->name;
    char stack[RAD_STACK_NAME]; /* of a folder's experts, which are one tensor in GGUF */
    uint32_t number;
    bool stacked = c->folder && weight->parts != NULL && rad_stack_name(name, stack, &number);
    if (stacked)
        name = (rad_text){stack, strlen(stack)};
    for (size_t i = 0; i < importance->n_entries; i++) {
        size_t at = (c->last + i) % importance->n_entries;
        if (importance->entries[at].name.size != name.size ||
            memcmp(importance->entries[at].name.data, name.data, name.size) != 0)
            continue;
        c->last = at;
        return &importance->entries[at];
    }
    bool alone = weight->parts != NULL && !stacked;
    rad_importance_entry *entry = rad_importance_add(
        importance, name, alone ? 1 : weight->n_experts, rad_weight_inputs(weight));
    return entry != NULL && rad_importance_add_totals(importance, entry) ? entry : NULL;
}

static void add_rows(void *user, const rad_weight *weight, uint32_t expert, const float *rows,
                     uint32_t n_rows)
{
    calibration *c = user;
    size_t n = rad_weight_inputs(weight);
    if (c->failed || weight->first != 0) /* a tensor that is several weights is counted once */
        return;
    rad_importance_entry *entry = entry_of(c, weight, expert);
    c->failed = entry == NULL;
    if (entry == NULL)
        return;
    uint32_t matrix = entry->n_matrices > 1 ? expert : 0;
    double *sums = entry->sums + matrix * n, *totals = entry->totals + matrix * n;
    for (uint32_t r = 0; r < n_rows; r++, rows += n)
        for (size_t i = 0; i < n; i++) {
            sums[i] += (double)rows[i] * (double)rows[i];
            totals[i] += (double)rows[i];
        }
    entry->counts[matrix] += n_rows;
}

/* So that all positions reach the last layer, and the matrix behind it. */
static int32_t want_logits(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    (void)user;
    (void)position;
    (void)logits;
    (void)n_vocab;
    return 0;
}

static radllm_status run_chunks(const rad_host *host, rad_session *session, rad_tokens *tokens,
                                uint64_t n_chunks, calibration *c, const radllm_cancel *cancel,
                                radllm_error *error)
{
    const rad_model *model = session->engine->model;
    int32_t bos =
        rad_tokenizer_adds_bos(model->tokenizer) ? rad_tokenizer_bos(model->tokenizer) : -1;
    uint64_t size = c->importance->chunk_tokens;
    radllm_status status = RADLLM_OK;
    for (uint64_t i = 0; i < n_chunks && status == RADLLM_OK; i++) {
        int32_t *chunk = tokens->ids + i * size;
        if (bos >= 0)
            chunk[0] = bos;
        rad_session_cut(session, 0);
        status = rad_session_feed(session, chunk, (size_t)size, want_logits, NULL, cancel, error);
        if (status == RADLLM_OK && c->failed)
            status = rad_fail_memory(error, SIZE_MAX);
        if (status == RADLLM_OK && host->progress != NULL &&
            host->progress(host->progress_user, "calibrate", i + 1, n_chunks) != 0)
            status = rad_fail(error, RADLLM_E_CANCELLED, "calibration was cancelled");
    }
    return status;
}

/* Rounds sums as files do, so that it is the same whether they were in one or not. Sums that are
 * not finite come of activations that are not. */
static radllm_status finish_sums(rad_importance *importance, radllm_error *error)
{
    for (size_t i = 0; i < importance->n_entries; i++) {
        rad_importance_entry *entry = &importance->entries[i];
        for (uint64_t k = 0; k < entry->n_matrices * entry->n_columns; k++) {
            char quoted[RAD_QUOTE_SIZE];
            entry->sums[k] = (double)(float)entry->sums[k];
            entry->totals[k] = (double)(float)entry->totals[k];
            if (entry->sums[k] - entry->sums[k] != 0.0)
                return rad_fail(error, RADLLM_E_NUMERIC,
                                "what the tensor '%s' is multiplied with is not finite: the model "
                                "cannot be calibrated with this text",
                                rad_quote(quoted, entry->name.data, entry->name.size));
        }
    }
    return RADLLM_OK;
}

static radllm_status measure(const rad_host *host, const rad_model *model, rad_tokens *tokens,
                             const rad_calibration_settings *settings, uint64_t n_chunks,
                             calibration *c, const radllm_cancel *cancel, radllm_error *error)
{
    const rad_observer observer = {add_rows, c};
    rad_engine_settings engine_settings = settings->engine;
    engine_settings.context = settings->chunk_tokens;
    engine_settings.n_sessions = 1;
    engine_settings.no_prefixes = true; /* what is not computed is not seen */
    engine_settings.draft = NULL;
    engine_settings.observer = &observer;
    rad_engine *engine;
    rad_session *session;
    radllm_status status = rad_engine_create(host, model, &engine_settings, &engine, error);
    if (status != RADLLM_OK)
        return status;
    status = rad_session_create(engine, &session, error);
    if (status == RADLLM_OK) {
        status = run_chunks(host, session, tokens, n_chunks, c, cancel, error);
        rad_session_free(session);
    }
    rad_engine_free(engine);
    return status;
}

radllm_status rad_importance_measure(const rad_host *host, const rad_model *model, rad_text text,
                                     const rad_calibration_settings *settings,
                                     const radllm_cancel *cancel, rad_importance *importance,
                                     radllm_error *error)
{
    rad_tokens tokens = {.allocator = &host->allocator};
    calibration c = {.importance = importance, .folder = !rad_source_is_gguf(model->source)};
    uint32_t size = settings->chunk_tokens;
    size = size > model->hparams.context_length ? model->hparams.context_length : size;
    rad_calibration_settings used = *settings;
    used.chunk_tokens = size;
    radllm_status status = rad_tokenizer_encode(model->tokenizer, text.data, text.size,
                                                RADLLM_TOKENIZE_ADD_SPECIAL, &tokens, error);
    uint64_t n_chunks = status == RADLLM_OK ? tokens.count / size : 0;
    if (status == RADLLM_OK && n_chunks == 0)
        status = rad_fail(error, RADLLM_E_ARGUMENT,
                          "the text has %zu tokens, and calibrating takes pieces of %u: give a "
                          "longer text (some hundred thousand tokens are usual), or set the option "
                          "calibrate_context",
                          tokens.count, size);
    if (status == RADLLM_OK && settings->n_chunks == 0)
        status = rad_fail(error, RADLLM_E_ARGUMENT,
                          "the option calibrate_chunks is 0, so that nothing would be measured; "
                          "-1 takes the whole text");
    if (settings->n_chunks >= 0 && (uint64_t)settings->n_chunks < n_chunks)
        n_chunks = (uint64_t)settings->n_chunks;
    importance->chunk_tokens = size;
    importance->n_chunks = n_chunks;
    if (status == RADLLM_OK)
        status = measure(host, model, &tokens, &used, n_chunks, &c, cancel, error);
    rad_tokens_free(&tokens);
    if (status == RADLLM_OK)
        status = finish_sums(importance, error);
    return status == RADLLM_OK ? rad_importance_finish(importance, "the model", error) : status;
}
