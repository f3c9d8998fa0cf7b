#include "backend/cuda/cuda_open.h"

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#define OBJECT_NAME "libradllm-cuda.so"

static radllm_status cpu_reserve_adapters(rad_backend *cpu, uint32_t rank, radllm_error *error)
{
    return cpu->table->reserve_adapters(cpu, rank, error);
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
                                               .cpu_value = rad_cpu_backend_value,
                                               .cpu_changed = rad_cpu_backend_changed,
                                               .cpu_reserve_adapters = cpu_reserve_adapters,
                                               .cpu_logits = cpu_logits,
                                               .weight_columns = rad_weight_columns,
                                               .cache_plan_divide = rad_cache_plan_divide,
                                               .alibi_slope = rad_alibi_slope,
                                               .cpu_hidden = cpu_hidden};

/* ---- where it lies --------------------------------------------------------------------------- */

#define PATH_SIZE 4096

static bool object_path(char path[PATH_SIZE])
{
    static const char anchor = 0; /* its address tells where this library was loaded from */
    Dl_info info;
    if (dladdr(&anchor, &info) == 0 || info.dli_fname == NULL || info.dli_fname[0] != '/')
        return false;
    size_t directory = (size_t)(strrchr(info.dli_fname, '/') - info.dli_fname) + 1;
    if (directory + sizeof OBJECT_NAME > PATH_SIZE)
        return false;
    memcpy(path, info.dli_fname, directory);
    memcpy(path + directory, OBJECT_NAME, sizeof OBJECT_NAME);
    return true;
}

bool rad_cuda_is_there(void)
{
    /* What the driver makes: of cards, of boards with the GPU inside (Jetson), under WSL 2. */
    static const char *const devices[] = {"/dev/nvidiactl", "/dev/nvhost-ctrl", "/dev/nvmap",
                                          "/dev/dxg"};
    char path[PATH_SIZE];
    bool driver = false;
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        driver = driver || access(devices[i], F_OK) == 0;
    return driver && object_path(path) && access(path, R_OK) == 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* The loader's own words about what went wrong, as printable text. */
static const char *reason(char quoted[RAD_QUOTE_SIZE])
{
    const char *text = dlerror();
    if (text == NULL)
        text = "no reason given";
    return rad_quote(quoted, text, strlen(text));
}

static radllm_status check(const char *path, void *object, const rad_cuda_table **out,
                           radllm_error *error)
{
    char quoted[RAD_QUOTE_SIZE], other[RAD_QUOTE_SIZE];
    const char *build_id = dlsym(object, RAD_CUDA_SYMBOL_BUILD_ID);
    void *symbol = dlsym(object, RAD_CUDA_SYMBOL_TABLE);
    rad_cuda_table_fn table = NULL;
    memcpy(&table, &symbol, sizeof table); /* POSIX promises that this works */
    rad_quote(quoted, path, strlen(path));
    if (build_id == NULL || symbol == NULL)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "'%s' is not a " OBJECT_NAME " that this library knows; install the one of "
                        "release " RAD_PROJECT_VERSION,
                        quoted);
    if (strncmp(build_id, RAD_CUDA_BUILD_ID, sizeof RAD_CUDA_BUILD_ID) != 0 ||
        table()->fingerprint() != rad_cuda_fingerprint()) {
        rad_quote(other, build_id, strnlen(build_id, RAD_QUOTE_SIZE));
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "'%s' comes from another build ('%s', this library is '%s'); install both "
                        "from the same release",
                        quoted, other, RAD_CUDA_BUILD_ID);
    }
    *out = table();
    return RADLLM_OK;
}

radllm_status rad_cuda_open_path(const char *path, const rad_cuda_table **out, radllm_error *error)
{
    char quoted[RAD_QUOTE_SIZE], why[RAD_QUOTE_SIZE];
    rad_quote(quoted, path, strlen(path));
    if (path[0] != '/')
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the path '%s' is not absolute, and " OBJECT_NAME
                        " is opened by absolute path only; load libradllm by its whole path",
                        quoted);
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (object == NULL)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "device=cuda: cannot open '%s': %s; install " OBJECT_NAME
                        " of this release beside the library, or set the option device to cpu",
                        quoted, reason(why));
    radllm_status status = check(path, object, out, error);
    if (status != RADLLM_OK)
        dlclose(object);
    return status;
}

radllm_status rad_cuda_open(const rad_cuda_table **out, radllm_error *error)
{
    char path[PATH_SIZE];
    if (!object_path(path))
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "cannot tell the directory that libradllm was loaded from, and " OBJECT_NAME
                        " is looked for there only; load libradllm by its whole path");
    return rad_cuda_open_path(path, out, error);
}
