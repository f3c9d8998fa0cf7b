/* Fuzzes bare configurations: a config.json without weights is refused with a message, or has a
 * list of tensors and a plan of memory, or a reason why not. The input: a byte for the number
 * format, and the text. */
#include "fuzz_files.h"

static void plan(const radllm_host *host, const radllm_file *file)
{
    static const char *const settings[] = {"threads", "1", NULL};
    static const char *const numbers[] = {"total", "weights", "activations"};
    radllm_error error = {0};
    radllm_plan *made = NULL;
    radllm_options *options = options_of(host, settings);
    radllm_status status = radllm_plan_new(file, options, &made, &error);
    HOLDS(may_fail(status, &error));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && status == RADLLM_OK; i++) {
        uint64_t value = 0;
        HOLDS(radllm_plan_number(made, numbers[i], &value, &error) == RADLLM_OK);
        HOLDS(value > 0 && value <= INT64_MAX);
    }
    radllm_plan_free(made);
    radllm_options_free(options);
}

/* Every tensor has a name, sizes and a type. */
static void list(const radllm_file *file)
{
    uint64_t count = 0;
    HOLDS(radllm_file_number(file, "tensors", &count, NULL) == RADLLM_OK && count > 0);
    for (uint64_t i = 0; i < count; i++) {
        radllm_tensor_info info = {.size = sizeof info};
        HOLDS(radllm_file_tensor(file, i, &info, NULL) == RADLLM_OK);
        HOLDS(info.name[0] != '\0' && info.bytes > 0 && info.n_dims >= 1 && info.n_dims <= 4);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {"BF16", "Q4_K_M", "Q4_0", "TQ1_0"};
    make_scratch();
    char path[160];
    input text = {data, size};
    const char *settings[] = {"quantize", formats[take_byte(&text) % 4], NULL};
    write_scratch(path, "config.json", text);
    memory m = {.fail_at = failing_allocation(data, size, 96)};
    radllm_host *host = NULL;
    radllm_options *options = NULL;
    radllm_file *file = NULL;
    radllm_error error = {0};
    if (radllm_host_new(take_some, memory_give_back, &m, &host, NULL) == RADLLM_OK)
        options = options_of(host, settings);
    if (options != NULL) {
        radllm_status status = radllm_file_open_shape(host, path, options, &file, &error);
        HOLDS(may_fail(status, &error));
        if (status == RADLLM_OK) {
            list(file);
            plan(host, file);
        }
    }
    radllm_file_free(file);
    radllm_options_free(options);
    radllm_host_free(host);
    HOLDS(m.live_blocks == 0 && m.live_bytes == 0);
    HOLDS(unlink(path) == 0);
    return 0;
}
