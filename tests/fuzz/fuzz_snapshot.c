/* Fuzzes the reading of sessions from files: a file whose checksum and settings are right and whose
 * rest is anything is refused, or the session goes on; no page and no memory is lost. The input is
 * what follows the settings, without the last section and the checksum. */
#include "fuzz_common.h"

#include <unistd.h>

#include "base/platform.h"

enum { HEAD = 16, TAIL = 16 + 32, CONTEXT = 128 };

typedef struct objects {
    radllm_error *error;
    radllm_options *options;
    radllm_model *model;
    radllm_engine *engine;
    radllm_session *session;
    uint8_t *head; /* of a file, with the settings */
    size_t head_size;
    char path[64];
} objects;

static void must(radllm_status status, const radllm_error *error)
{
    if (status != RADLLM_OK)
        fprintf(stderr, "%s\n", radllm_error_message(error));
    HOLDS(status == RADLLM_OK);
}

/* An empty session's file begins with what every file of this engine must begin with. */
static void read_head(objects *o)
{
    must(radllm_session_snapshot(o->session, o->path, NULL, o->error), o->error);
    FILE *file = fopen(o->path, "rb");
    uint64_t size = 0;
    o->head = malloc(4096);
    HOLDS(file != NULL && o->head != NULL && fread(o->head, 1, HEAD + 16, file) == HEAD + 16);
    memcpy(&size, o->head + HEAD + 8, sizeof size);
    HOLDS(size < 2048 && fread(o->head + HEAD + 16, 1, (size_t)size, file) == size);
    o->head_size = HEAD + 16 + (size_t)size;
    fclose(file);
}

static void begin(objects *o)
{
    static const char model[] =
        RAD_TEST_SOURCE_ROOT "/tests/golden/architectures/llama3-gqa-tied-q8_0.gguf";
    snprintf(o->path, sizeof o->path, "/tmp/radllm-fuzz-%ld", (long)getpid());
    HOLDS(radllm_error_new(&o->error) == RADLLM_OK);
    must(radllm_options_new(NULL, &o->options, o->error), o->error);
    must(radllm_options_set_integer(o->options, "threads", 1, o->error), o->error);
    must(radllm_options_set_integer(o->options, "context", CONTEXT, o->error), o->error);
    must(radllm_model_open(NULL, model, o->options, NULL, &o->model, o->error), o->error);
    must(radllm_engine_new(NULL, o->model, o->options, &o->engine, o->error), o->error);
    must(radllm_session_new(o->engine, &o->session, o->error), o->error);
    read_head(o);
}

static void write_file(const objects *o, const uint8_t *data, size_t size)
{
    static const uint8_t end[16] = {'e', 'n', 'd', '.'};
    size_t total = o->head_size + size + TAIL;
    uint8_t *bytes = malloc(total);
    FILE *file = fopen(o->path, "wb");
    HOLDS(bytes != NULL && file != NULL);
    memcpy(bytes, o->head, o->head_size);
    if (size > 0)
        memcpy(bytes + o->head_size, data, size);
    memcpy(bytes + o->head_size + size, end, sizeof end);
    rad_sha256(bytes, total - 32, bytes + total - 32);
    HOLDS(fwrite(bytes, 1, total, file) == total && fclose(file) == 0);
    free(bytes);
}

static void go_on(const objects *o)
{
    const int32_t tokens[] = {5, 6, 7};
    uint32_t length = radllm_session_length(o->session);
    radllm_status status = radllm_session_feed(o->session, tokens, 3, NULL, o->error);
    HOLDS(status == RADLLM_OK || status == RADLLM_E_LIMIT || status == RADLLM_E_NUMERIC);
    HOLDS(radllm_session_length(o->session) == length + (status == RADLLM_OK ? 3 : 0));
    (void)radllm_session_remove(o->session, length / 2, length / 3, o->error);
    must(radllm_session_rewind(o->session, 0, o->error), o->error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static objects o;
    int64_t n_free = 0, blocks = 0;
    if (o.session == NULL)
        begin(&o);
    write_file(&o, data, size);
    radllm_status status = radllm_session_restore(o.session, o.path, NULL, o.error);
    HOLDS(status == RADLLM_OK || status == RADLLM_E_FORMAT || status == RADLLM_E_LIMIT ||
          status == RADLLM_E_UNSUPPORTED);
    if (status != RADLLM_OK)
        HOLDS(radllm_session_length(o.session) == 0);
    must(radllm_engine_number(o.engine, "prefix_blocks", &blocks, o.error), o.error);
    HOLDS(blocks == 0); /* it is for nobody else */
    go_on(&o);
    must(radllm_engine_clear_prefixes(o.engine, o.error), o.error);
    must(radllm_engine_number(o.engine, "pages_free", &n_free, o.error), o.error);
    HOLDS(n_free == CONTEXT / 32);
    (void)unlink(o.path);
    return 0;
}
