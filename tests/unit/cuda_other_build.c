/* An object as libradllm-cuda.so of another release would be: test_device.c. */
#include <stddef.h>

#define EXPORTED __attribute__((visibility("default")))

EXPORTED extern const char radllm_cuda_build_id[];
EXPORTED const void *radllm_cuda_table(void);

const char radllm_cuda_build_id[] = "0.0.0 interface 0";

const void *radllm_cuda_table(void)
{
    return NULL;
}
