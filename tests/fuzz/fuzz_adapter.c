/* Fuzzes adapters, GGUF files and folders of PEFT, through the public header: one is refused with a
 * message, or a session computes with it, in bounded memory; a session without it computes as
 * before, and nothing is lost. The input: a byte for the kind (1: a folder; 2: for a model with
 * experts); of a folder the size of its configuration in 16 bits, and that; then the tensors' file.
 */
#include "fuzz_common.h"

#include <sys/stat.h>
#include <unistd.h>

#define MOST_MEMORY ((size_t)64 << 20)

/* A model, and what it says without an adapter. */
typedef struct base {
    radllm_model *model;
    radllm_engine *engine;
    radllm_session *session;
    float *expected;
    size_t n_vocab;
} base;

typedef struct objects {
    memory memory;
    radllm_host *host;
    base bases[2]; /* the second one has experts */
    char folder[64], config[96], tensors[96], gguf[96];
} objects;

static objects o;

static void *take_some(void *user, size_t size, size_t alignment)
{
    return memory_take_within(MOST_MEMORY, user, size, alignment);
}

static void remove_folder(void)
{
    rmdir(o.folder);
}

static void compute(const base *b, float *logits)
{
    static const int32_t tokens[] = {5, 6, 7};
    size_t n;
    HOLDS(radllm_session_rewind(b->session, 0, NULL) == RADLLM_OK);
    radllm_status status = radllm_session_feed(b->session, tokens, 3, NULL, NULL);
    HOLDS(status == RADLLM_OK || status == RADLLM_E_NUMERIC);
    if (status == RADLLM_OK)
        HOLDS(radllm_session_logits(b->session, logits, b->n_vocab, &n, NULL) == RADLLM_OK);
}

static void open_base(const char *path, base *b)
{
    radllm_options *options = NULL;
    int64_t n_vocab = 0;
    HOLDS(radllm_options_new(NULL, &options, NULL) == RADLLM_OK);
    HOLDS(radllm_options_set_integer(options, "threads", 1, NULL) == RADLLM_OK);
    HOLDS(radllm_options_set_integer(options, "context", 32, NULL) == RADLLM_OK);
    HOLDS(radllm_options_set_integer(options, "prefix_cache", 0, NULL) == RADLLM_OK);
    HOLDS(radllm_model_open(o.host, path, options, NULL, &b->model, NULL) == RADLLM_OK);
    HOLDS(radllm_engine_new(o.host, b->model, options, &b->engine, NULL) == RADLLM_OK);
    HOLDS(radllm_session_new(b->engine, &b->session, NULL) == RADLLM_OK);
    HOLDS(radllm_model_number(b->model, "vocab_size", &n_vocab, NULL) == RADLLM_OK);
    radllm_options_free(options);
    b->n_vocab = (size_t)n_vocab;
    b->expected = malloc(2 * b->n_vocab * sizeof *b->expected);
    HOLDS(b->expected != NULL);
    compute(b, b->expected);
}

static void begin(void)
{
#define MODELS RAD_TEST_SOURCE_ROOT "/tests/golden/architectures/"
    HOLDS(radllm_host_new(take_some, memory_give_back, &o.memory, &o.host, NULL) == RADLLM_OK);
    open_base(MODELS "llama3-gqa-tied-q8_0.gguf", &o.bases[0]);
    open_base(MODELS "mixtral-q8_0.gguf", &o.bases[1]);
    snprintf(o.folder, sizeof o.folder, "/dev/shm/radllm-adapter-XXXXXX");
    if (mkdtemp(o.folder) == NULL) {
        snprintf(o.folder, sizeof o.folder, "/tmp/radllm-adapter-XXXXXX");
        HOLDS(mkdtemp(o.folder) != NULL);
    }
    HOLDS(atexit(remove_folder) == 0);
    snprintf(o.config, sizeof o.config, "%s/adapter_config.json", o.folder);
    snprintf(o.tensors, sizeof o.tensors, "%s/adapter_model.safetensors", o.folder);
    snprintf(o.gguf, sizeof o.gguf, "%s/adapter.gguf", o.folder);
}

static void write_file(const char *path, input bytes)
{
    FILE *out = fopen(path, "wb");
    HOLDS(out != NULL && fwrite(bytes.data, 1, bytes.size, out) == bytes.size && fclose(out) == 0);
}

static void use(const base *b, radllm_adapter *adapter)
{
    radllm_adapter_facts facts = {.size = sizeof facts};
    HOLDS(radllm_adapter_info(adapter, &facts, NULL) == RADLLM_OK);
    HOLDS(facts.rank >= 1 && facts.rank <= 4096 && facts.pairs >= 1 && facts.tensors >= 2);
    radllm_status status = radllm_session_set_adapters(b->session, &adapter, NULL, 1, NULL);
    HOLDS(status == RADLLM_OK || status == RADLLM_E_MEMORY);
    radllm_adapter_free(adapter); /* the session has it */
    if (status == RADLLM_OK)
        compute(b, b->expected + b->n_vocab);
    HOLDS(radllm_session_set_adapters(b->session, NULL, NULL, 0, NULL) == RADLLM_OK);
    compute(b, b->expected + b->n_vocab);
    HOLDS(memcmp(b->expected, b->expected + b->n_vocab, b->n_vocab * sizeof *b->expected) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    radllm_error error = {0};
    radllm_adapter *adapter = NULL;
    if (o.host == NULL)
        begin();
    uint8_t kind = take_byte(&in);
    bool folder = kind % 2 == 1;
    const base *b = &o.bases[kind / 2 % 2];
    if (folder) {
        size_t config = take_byte(&in);
        config |= (size_t)take_byte(&in) << 8;
        write_file(o.config, take_bytes(&in, config));
    }
    write_file(folder ? o.tensors : o.gguf, in);
    size_t blocks = o.memory.live_blocks;
    uint64_t fails = failing_allocation(data, size, 48);
    o.memory.fail_at = fails != 0 ? o.memory.calls + fails : 0;
    radllm_status status =
        radllm_adapter_open(b->model, folder ? o.folder : o.gguf, NULL, &adapter, &error);
    HOLDS(model_may_end_with(status) || status == RADLLM_E_IO);
    HOLDS(status == RADLLM_OK || error.message[0] != '\0');
    if (status != RADLLM_OK)
        HOLDS(o.memory.live_blocks == blocks && adapter == NULL);
    o.memory.fail_at = 0;
    if (status == RADLLM_OK)
        use(b, adapter);
    (void)unlink(o.config);
    (void)unlink(o.tensors);
    (void)unlink(o.gguf);
    return 0;
}
