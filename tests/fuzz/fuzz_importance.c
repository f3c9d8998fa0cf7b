/* Fuzzes matrices of importance, in GGUF and in the older form: one is refused with a message, or
 * can be written in both forms and read again with the same entries, and a plan takes it or says
 * what does not fit. */
#include "fuzz_files.h"

#include "quantize/importance.h"

static const char *const forms[] = {"gguf", "dat"};

static uint64_t number_of(const radllm_importance *importance, const char *name)
{
    uint64_t value = 0;
    HOLDS(radllm_importance_number(importance, name, &value, NULL) == RADLLM_OK);
    return value;
}

static void save_and_read(const radllm_host *host, const radllm_importance *importance)
{
    char path[160];
    scratch_path(path, "written");
    for (int i = 0; i < 2; i++) {
        radllm_error error = {0};
        radllm_importance *again = NULL;
        radllm_status status = radllm_importance_save(importance, path, forms[i], &error);
        HOLDS(may_fail(status, &error)); /* a name that is too long for GGUF */
        if (status != RADLLM_OK)
            continue;
        status = radllm_importance_open(host, path, &again, &error);
        HOLDS(status == RADLLM_OK || status == RADLLM_E_MEMORY);
        if (status == RADLLM_OK)
            HOLDS(number_of(again, "entries") == number_of(importance, "entries"));
        radllm_importance_free(again);
        HOLDS(unlink(path) == 0);
    }
}

static void plan(const radllm_host *host, const radllm_importance *importance)
{
    static radllm_file *model;
    static const char path[] =
        RAD_TEST_SOURCE_ROOT "/tests/golden/architectures/llama3-gqa-tied-f32.gguf";
    static const char *const settings[] = {"quantize", "Q4_0", NULL};
    radllm_error error = {0};
    radllm_quantization *quantization = NULL;
    if (model == NULL)
        HOLDS(radllm_file_open(NULL, path, &model, &error) == RADLLM_OK);
    radllm_options *options = options_of(host, settings);
    radllm_status status =
        radllm_quantization_new(host, model, importance, options, &quantization, &error);
    HOLDS(may_fail(status, &error));
    radllm_quantization_free(quantization);
    radllm_options_free(options);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make_scratch();
    char path[160];
    write_scratch(path, "importance", (input){data, size});
    memory m = {.fail_at = failing_allocation(data, size, 24)};
    radllm_host *host = NULL;
    radllm_importance *importance = NULL;
    radllm_error error = {0};
    if (radllm_host_new(take_some, memory_give_back, &m, &host, NULL) == RADLLM_OK) {
        radllm_status status = radllm_importance_open(host, path, &importance, &error);
        HOLDS(may_fail(status, &error));
        HOLDS(m.peak_bytes <= 1200000 + 32 * size);
        if (status == RADLLM_OK) {
            save_and_read(host, importance);
            plan(host, importance);
        }
        radllm_importance_free(importance);
    }
    radllm_host_free(host);
    HOLDS(m.live_blocks == 0 && m.live_bytes == 0);
    HOLDS(unlink(path) == 0);
    return 0;
}
