/* What a GPU adds to a measurement: where layers are, memory planned and taken, energy by NVML,
 * which is opened where the driver has it. */
#include "bench.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/program.h"

/* ---- the engine ------------------------------------------------------------------------------ */

static int64_t number_of(const radllm_engine *engine, const char *name)
{
    int64_t value = 0;
    check(radllm_engine_number(engine, name, &value, program_error()), name);
    return value;
}

void gpu_describe(const radllm_engine *engine, bool limits, bench_gpu *gpu)
{
    gpu->layers = number_of(engine, "gpu_layers");
    if (gpu->layers == 0)
        return;
    check(radllm_engine_text(engine, "device", gpu->device, sizeof gpu->device, NULL,
                             program_error()),
          NULL);
    check(radllm_engine_text(engine, "placement", gpu->placement, sizeof gpu->placement, NULL,
                             program_error()),
          NULL);
    gpu->number =
        number_of(engine, "gpu_count") > 1 ? UINT_MAX : (unsigned)number_of(engine, "gpu0_number");
    gpu->planned = number_of(engine, "gpu_total");
    gpu->weights = number_of(engine, "gpu_weights");
    gpu->cache = number_of(engine, "gpu_cache");
    gpu->used = number_of(engine, "gpu_used");
    gpu->upload_ns = number_of(engine, "gpu_upload_ns");
    gpu->check_ns = number_of(engine, "gpu_check_ns");
    if (!limits || gpu->limits.read_bytes > 0)
        return;
    gpu->limits.read_bytes = (double)number_of(engine, "gpu_bandwidth");
    gpu->limits.int8_macs = (double)number_of(engine, "gpu_int8_macs");
    gpu->limits.float_macs = (double)number_of(engine, "gpu_float_macs");
    snprintf(gpu->limits.read_kernel, sizeof gpu->limits.read_kernel, "%s", "a copy on it");
    snprintf(gpu->limits.int8_isa, sizeof gpu->limits.int8_isa, "%s", "mma.sync s8");
    snprintf(gpu->limits.float_isa, sizeof gpu->limits.float_isa, "%s", "mma.sync bf16");
}

/* ---- energy ---------------------------------------------------------------------------------- */

typedef int (*nvml_init_fn)(void);
typedef int (*nvml_handle_fn)(unsigned index, void **device);
typedef int (*nvml_energy_fn)(void *device, unsigned long long *millijoules);

/* dlsym gives functions as object pointers; POSIX promises that this copy works. */
static bool find(void *object, const char *name, void *function)
{
    void *symbol = dlsym(object, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

bool gpu_energy_open(gpu_meter *meter, unsigned index)
{
    nvml_init_fn init;
    nvml_handle_fn handle;
    *meter = (gpu_meter){0};
    if (index == UINT_MAX) /* one meter is not that of all */
        return false;
    meter->object = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (meter->object == NULL)
        return false;
    if (find(meter->object, "nvmlInit_v2", &init) &&
        find(meter->object, "nvmlDeviceGetHandleByIndex_v2", &handle) &&
        find(meter->object, "nvmlDeviceGetTotalEnergyConsumption", &meter->energy) && init() == 0 &&
        handle(index, &meter->device) == 0 && gpu_energy_joules(meter) >= 0)
        return true;
    gpu_energy_close(meter);
    return false;
}

double gpu_energy_joules(const gpu_meter *meter)
{
    unsigned long long millijoules;
    nvml_energy_fn energy;
    memcpy(&energy, &meter->energy, sizeof energy);
    return energy(meter->device, &millijoules) == 0 ? (double)millijoules * 1e-3 : -1;
}

void gpu_energy_close(gpu_meter *meter)
{
    if (meter->object != NULL)
        dlclose(meter->object);
    *meter = (gpu_meter){0};
}
