/* Fuzzes folders of safetensors files through the public header: a folder is refused, or it loads
 * and computes logits or embeddings or says why not, in bounded memory. What
 * radllm_file_check_model() takes must load (or have a faulty scale), and copied and mapped weights
 * must give the same bits. */
#include "fuzz_files.h"

static bool is_known(radllm_status status)
{
    return model_may_end_with(status) || status == RADLLM_E_IO;
}

static radllm_options *make_options(const radllm_host *host, bool map)
{
    const char *const settings[] = {
        "threads", "1", "context", "32", "batch", "8", "load", map ? "map" : "copy", NULL};
    return options_of(host, settings);
}

/* A hash of the logits. */
static int32_t add_logits(void *user, uint32_t position, const float *logits, uint32_t n_vocab)
{
    uint64_t *hash = user;
    (void)position;
    for (uint32_t i = 0; i < n_vocab; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], 4);
        *hash = (*hash ^ (logits[i] == logits[i] ? bits : 0)) * 0x100000001b3u;
    }
    return 0;
}

static radllm_status compute(const radllm_host *host, const radllm_model *model,
                             const radllm_options *options, uint64_t *hash)
{
    static const int32_t tokens[] = {0, 1, 2};
    radllm_engine *engine = NULL;
    radllm_session *session = NULL;
    radllm_status status =
        radllm_engine_new(host, (radllm_model *)(uintptr_t)model, options, &engine, NULL);
    int64_t generates = 1;
    HOLDS(radllm_model_number(model, "generates", &generates, NULL) == RADLLM_OK);
    if (status == RADLLM_OK && generates == 0) {
        size_t needed = 0;
        const float *vectors = embed_some(engine, options, &needed);
        if (vectors != NULL)
            (void)add_logits(hash, 0, vectors, (uint32_t)needed);
        radllm_engine_free(engine);
        return vectors != NULL ? RADLLM_OK : RADLLM_E_MEMORY;
    }
    if (status == RADLLM_OK)
        status = radllm_session_new(engine, &session, NULL);
    if (status == RADLLM_OK)
        status = radllm_session_feed_each(session, tokens, 3, add_logits, hash, NULL, NULL);
    HOLDS(is_known(status));
    radllm_session_free(session);
    radllm_engine_free(engine);
    return status;
}

static radllm_status load_and_compute(const radllm_host *host, const radllm_file *file, bool map,
                                      radllm_status checked, uint64_t *hash)
{
    radllm_error error = {0};
    radllm_model *model = NULL;
    radllm_options *options = make_options(host, map);
    if (options == NULL)
        return RADLLM_E_MEMORY;
    radllm_status status = radllm_model_load(host, file, options, NULL, &model, &error);
    HOLDS(is_known(status) && (status == RADLLM_OK || error.message[0] != '\0'));
    /* Scales of quantized weights are looked at when these are read, not before. */
    HOLDS(status == checked || status == RADLLM_E_MEMORY || checked == RADLLM_E_MEMORY ||
          (checked == RADLLM_OK && status == RADLLM_E_FORMAT));
    if (status == RADLLM_OK)
        status = compute(host, model, options, hash);
    radllm_model_free(model);
    radllm_options_free(options);
    return status;
}

static void try_folder(const radllm_host *host)
{
    radllm_error error = {0};
    radllm_file *file = NULL;
    radllm_status status = radllm_file_open(host, scratch, &file, &error);
    HOLDS(is_known(status) && (status == RADLLM_OK || error.message[0] != '\0'));
    if (status != RADLLM_OK)
        return;
    radllm_status checked = radllm_file_check_model(file, &error);
    HOLDS(is_known(checked) && (checked == RADLLM_OK || error.message[0] != '\0'));
    uint64_t copied = 0, mapped = 0;
    status = load_and_compute(host, file, false, checked, &copied);
    if (status == RADLLM_OK && load_and_compute(host, file, true, checked, &mapped) == RADLLM_OK)
        HOLDS(copied == mapped);
    radllm_file_free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make_folder();
    write_folder((input){data, size});
    memory m = {.fail_at = failing_allocation(data, size, 96)};
    radllm_host *host = NULL;
    if (radllm_host_new(take_some, memory_give_back, &m, &host, NULL) == RADLLM_OK)
        try_folder(host);
    radllm_host_free(host);
    HOLDS(m.live_blocks == 0 && m.live_bytes == 0);
    empty_folder();
    return 0;
}
