/* Fuzzes adapters, GGUF files and folders of PEFT, through the public header: one is refused with a
 * message, or a session computes with it, in bounded memory; a session without it computes as
 * before, and nothing is lost. The input: a byte for the kind; of a folder the size of its
 * configuration in 16 bits, and that; then the tensors' file. */
#include "fuzz_common.h"

#include <sys/stat.h>
#include <unistd.h>

#define MOST_MEMORY ((size_t)64 << 20)

typedef struct objects {
    memory memory;
    radllm_host *host;
    radllm_model *model;
    radllm_engine *engine;
    radllm_session *session;
    float *expected;
    size_t n_vocab;
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

static void compute(float *logits)
{
    static const int32_t tokens[] = {5, 6, 7};
    size_t n;
    HOLDS(radllm_session_rewind(o.session, 0, NULL) == RADLLM_OK);
    radllm_status status = radllm_session_feed(o.session, tokens, 3, NULL, NULL);
    HOLDS(status == RADLLM_OK || status == RADLLM_E_NUMERIC);
    if (status == RADLLM_OK)
        HOLDS(radllm_session_logits(o.session, logits, o.n_vocab, &n, NULL) == RADLLM_OK);
}

static void begin(void)
{
    static const char model[] =
        RAD_TEST_SOURCE_ROOT "/tests/golden/architectures/llama3-gqa-tied-q8_0.gguf";
    radllm_options *options = NULL;
    int64_t n_vocab = 0;
    HOLDS(radllm_host_new(take_some, memory_give_back, &o.memory, &o.host, NULL) == RADLLM_OK);
    HOLDS(radllm_options_new(NULL, &options, NULL) == RADLLM_OK);
    HOLDS(radllm_options_set_integer(options, "threads", 1, NULL) == RADLLM_OK);
    HOLDS(radllm_options_set_integer(options, "context", 32, NULL) == RADLLM_OK);
    HOLDS(radllm_options_set_integer(options, "prefix_cache", 0, NULL) == RADLLM_OK);
    HOLDS(radllm_model_open(o.host, model, options, NULL, &o.model, NULL) == RADLLM_OK);
    HOLDS(radllm_engine_new(o.host, o.model, options, &o.engine, NULL) == RADLLM_OK);
    HOLDS(radllm_session_new(o.engine, &o.session, NULL) == RADLLM_OK);
    HOLDS(radllm_model_number(o.model, "vocab_size", &n_vocab, NULL) == RADLLM_OK);
    radllm_options_free(options);
    o.n_vocab = (size_t)n_vocab;
    o.expected = malloc(2 * o.n_vocab * sizeof *o.expected);
    HOLDS(o.expected != NULL);
    compute(o.expected);
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

static void use(radllm_adapter *adapter)
{
    radllm_adapter_facts facts = {.size = sizeof facts};
    HOLDS(radllm_adapter_info(adapter, &facts, NULL) == RADLLM_OK);
    HOLDS(facts.rank >= 1 && facts.rank <= 4096 && facts.pairs >= 1 && facts.tensors >= 2);
    radllm_status status = radllm_session_set_adapters(o.session, &adapter, NULL, 1, NULL);
    HOLDS(status == RADLLM_OK || status == RADLLM_E_MEMORY);
    radllm_adapter_free(adapter); /* the session has it */
    if (status == RADLLM_OK)
        compute(o.expected + o.n_vocab);
    HOLDS(radllm_session_set_adapters(o.session, NULL, NULL, 0, NULL) == RADLLM_OK);
    compute(o.expected + o.n_vocab);
    HOLDS(memcmp(o.expected, o.expected + o.n_vocab, o.n_vocab * sizeof *o.expected) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    radllm_error error = {0};
    radllm_adapter *adapter = NULL;
    if (o.session == NULL)
        begin();
    bool folder = take_byte(&in) % 2 == 1;
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
        radllm_adapter_open(o.model, folder ? o.folder : o.gguf, NULL, &adapter, &error);
    HOLDS(model_may_end_with(status) || status == RADLLM_E_IO);
    HOLDS(status == RADLLM_OK || error.message[0] != '\0');
    if (status != RADLLM_OK)
        HOLDS(o.memory.live_blocks == blocks && adapter == NULL);
    o.memory.fail_at = 0;
    if (status == RADLLM_OK)
        use(adapter);
    (void)unlink(o.config);
    (void)unlink(o.tensors);
    (void)unlink(o.gguf);
    return 0;
}
