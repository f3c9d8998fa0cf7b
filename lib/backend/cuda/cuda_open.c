#include "backend/cuda/cuda_open.h"

#include <unistd.h>

#include "base/object.h"

static const rad_object_kind cuda_object = {
    "libradllm-cuda.so", RAD_CUDA_SYMBOL_BUILD_ID, RAD_CUDA_BUILD_ID,
    "for device=cuda install libradllm-cuda.so of this release beside the library, or set the "
    "option device to cpu"};

static radllm_status cpu_reserve_adapters(rad_backend *cpu, const rad_adapter_set *set,
                                          radllm_error *error)
{
    return cpu->table->reserve_adapters(cpu, set, error);
}

static const float *cpu_logits(const rad_backend *cpu, uint32_t index)
{
    return cpu->table->logits(cpu, index);
}

static const float *cpu_hidden(const rad_backend *cpu, uint32_t index)
{
    return cpu->table->hidden(cpu, index);
}

const rad_cuda_library rad_cuda_own_library = {.model_read_rows = rad_model_read_rows,
                                               .model_is_ready = rad_model_is_ready,
                                               .cpu_begin = rad_cpu_backend_begin,
                                               .cpu_run_op = rad_cpu_backend_run_op,
                                               .cpu_end = rad_cpu_backend_end,
                                               .cpu_take_choices = rad_cpu_backend_take_choices,
                                               .cpu_value = rad_cpu_backend_value,
                                               .cpu_changed = rad_cpu_backend_changed,
                                               .cpu_reserve_adapters = cpu_reserve_adapters,
                                               .cpu_logits = cpu_logits,
                                               .weight_columns = rad_weight_columns,
                                               .cache_group_of = rad_cache_group_of,
                                               .alibi_slope = rad_alibi_slope,
                                               .cpu_hidden = cpu_hidden,
                                               .cpu_lend = rad_cpu_backend_lend,
                                               .cpu_parallel = rad_cpu_backend_parallel};

bool rad_cuda_is_there(void)
{
    /* What the driver makes: of cards, of boards with the GPU inside (Jetson), under WSL 2. */
    static const char *const devices[] = {"/dev/nvidiactl", "/dev/nvhost-ctrl", "/dev/nvmap",
                                          "/dev/dxg"};
    char path[RAD_OBJECT_PATH_SIZE];
    bool driver = false;
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        driver = driver || access(devices[i], F_OK) == 0;
    return driver && rad_object_path(&cuda_object, path, NULL) == RADLLM_OK &&
           access(path, R_OK) == 0;
}

radllm_status rad_cuda_open_path(const char *path, const rad_cuda_table **out, radllm_error *error)
{
    rad_cuda_table_fn table = NULL;
    void *object;
    radllm_status status = rad_object_open(&cuda_object, path, &object, error);
    if (status != RADLLM_OK)
        return status;
    if (!rad_object_function(object, RAD_CUDA_SYMBOL_TABLE, &table, sizeof table) ||
        table()->fingerprint() != rad_cuda_fingerprint())
        return rad_object_refuse(&cuda_object, path, object, error);
    *out = table();
    return RADLLM_OK;
}

radllm_status rad_cuda_open(const rad_cuda_table **out, radllm_error *error)
{
    char path[RAD_OBJECT_PATH_SIZE];
    radllm_status status = rad_object_path(&cuda_object, path, error);
    return status == RADLLM_OK ? rad_cuda_open_path(path, out, error) : status;
}
