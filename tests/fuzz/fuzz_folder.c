/* Fuzzes folders of safetensors files through the public header: a folder is refused, or it loads
 * and computes logits or embeddings or says why not, in bounded memory. What
 * radllm_file_check_model() takes must load (or have a faulty scale), and copied and mapped weights
 * must give the same bits. */
#include "fuzz_common.h"

#include <sys/stat.h>
#include <unistd.h>

#define MOST_MEMORY ((size_t)64 << 20)

static char folder[64];

static const char *const names[] = {
    "config.json",  "model.safetensors.index.json", "model.safetensors", "b.safetensors",
    "modules.json", "1_Pooling/config.json",        "1_Pooling"};
enum { CONFIG, INDEX, FIRST, SECOND, MODULES, POOLING, POOLING_FOLDER };
enum { N_NAMES = MODULES };

static const char *path_of(char path[160], int name)
{
    snprintf(path, 160, "%s/%s", folder, names[name]);
    return path;
}

static void remove_folder(void)
{
    char path[160];
    rmdir(path_of(path, POOLING_FOLDER));
    rmdir(folder);
}

static void make_folder(void)
{
    if (folder[0] != '\0')
        return;
    snprintf(folder, sizeof folder, "/dev/shm/radllm-folder-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        snprintf(folder, sizeof folder, "/tmp/radllm-folder-XXXXXX");
        HOLDS(mkdtemp(folder) != NULL);
    }
    char path[160];
    HOLDS(mkdir(path_of(path, POOLING_FOLDER), 0700) == 0);
    HOLDS(atexit(remove_folder) == 0);
}

/* Memory beyond what such a small folder may ask for is refused. */
static void *take_some(void *user, size_t size, size_t alignment)
{
    return memory_take_within(MOST_MEMORY, user, size, alignment);
}

static bool is_known(radllm_status status)
{
    return model_may_end_with(status) || status == RADLLM_E_IO;
}

static radllm_options *make_options(const radllm_host *host, bool map)
{
    radllm_options *options = NULL;
    const char *const settings[][2] = {
        {"threads", "1"}, {"context", "32"}, {"batch", "8"}, {"load", map ? "map" : "copy"}};
    if (radllm_options_new(host, &options, NULL) != RADLLM_OK)
        return NULL;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        HOLDS(radllm_options_set_text(options, settings[i][0], settings[i][1], RADLLM_NUL, NULL) ==
              RADLLM_OK);
    return options;
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

/* Of a model that gives no text. */
static radllm_status embed(radllm_engine *engine, const radllm_options *options, uint64_t *hash)
{
    static const int32_t tokens[] = {0, 1, 2};
    const int32_t *text = tokens;
    size_t count = 3, needed = 0;
    static float vectors[4096];
    radllm_status status =
        radllm_embed_tokens(engine, &text, &count, 1, options, NULL, vectors, 4096, &needed, NULL);
    if (status == RADLLM_OK)
        (void)add_logits(hash, 0, vectors, (uint32_t)needed);
    HOLDS(is_known(status) || status == RADLLM_E_BUFFER);
    return status;
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
        status = embed(engine, options, hash);
        radllm_engine_free(engine);
        return status;
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
    radllm_status status = radllm_file_open(host, folder, &file, &error);
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

/* What begins as a list in place of an index is modules.json; what says pooling, that file. */
static int place_of(int name, const input *text)
{
    if (name != INDEX || text->size < 3)
        return name;
    return text->data[0] == '[' ? MODULES : text->data[2] == 'p' ? POOLING : name;
}

/* The input's head: the sizes of config.json, of the index and of the first file of weights, in 16
 * bits; then these, and the second file. What has no byte is not there. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make_folder();
    input in = {data, size};
    size_t sizes[N_NAMES];
    for (int i = 0; i < SECOND; i++) {
        sizes[i] = take_byte(&in);
        sizes[i] |= (size_t)take_byte(&in) << 8;
    }
    sizes[SECOND] = SIZE_MAX;
    char path[160];
    for (int i = 0; i < N_NAMES; i++) {
        input one = take_bytes(&in, sizes[i]);
        if (one.size == 0)
            continue;
        FILE *out = fopen(path_of(path, place_of(i, &one)), "wb");
        HOLDS(out != NULL && fwrite(one.data, 1, one.size, out) == one.size && fclose(out) == 0);
    }
    memory m = {.fail_at = failing_allocation(data, size, 96)};
    radllm_host *host = NULL;
    if (radllm_host_new(take_some, memory_give_back, &m, &host, NULL) == RADLLM_OK)
        try_folder(host);
    radllm_host_free(host);
    HOLDS(m.live_blocks == 0 && m.live_bytes == 0);
    for (int i = 0; i < POOLING_FOLDER; i++)
        (void)unlink(path_of(path, i));
    return 0;
}
