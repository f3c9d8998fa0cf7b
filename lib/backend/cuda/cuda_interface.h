/* What libradllm-cuda.so and the library know of each other: the only header that both sides
 * include besides those of the structs that stand in a program. Nothing of CUDA's own headers. */
#ifndef RAD_CUDA_INTERFACE_H
#define RAD_CUDA_INTERFACE_H

#include "backend/backend.h"

/* Both sides are compiled with the same text: the release, and a number that changes with what
 * stands here. Structs that both sides see are compared by size as well (fingerprint). */
#define RAD_CUDA_BUILD_ID RAD_PROJECT_VERSION " interface 10"

/* Names of the object's symbols. */
#define RAD_CUDA_SYMBOL_BUILD_ID "radllm_cuda_build_id" /* const char [] */
#define RAD_CUDA_SYMBOL_TABLE    "radllm_cuda_table"    /* const rad_cuda_table * (void) */

/* What the object calls in the library. */
typedef struct rad_cuda_library {
    radllm_status (*model_read_rows)(const rad_model *model, const rad_weight *weight,
                                     uint32_t first, uint32_t n, void *buffer, radllm_error *error);
    bool (*model_is_ready)(const rad_model *model, const rad_weight *weight);
    void (*cpu_begin)(rad_backend *cpu, const rad_batch *batch);
    radllm_status (*cpu_run_op)(rad_backend *cpu, const rad_op *op, radllm_error *error);
    void (*cpu_end)(rad_backend *cpu);
    float *(*cpu_value)(const rad_backend *cpu, uint8_t value);
    void (*cpu_changed)(rad_backend *cpu, uint8_t value);
    radllm_status (*cpu_reserve_adapters)(rad_backend *cpu, const rad_adapter_set *set,
                                          radllm_error *error);
    const float *(*cpu_logits)(const rad_backend *cpu, uint32_t index);
    const uint32_t *(*weight_columns)(const rad_weight *weight, uint32_t expert);
    float (*alibi_slope)(float max_bias, uint32_t n_heads, uint32_t head);
    const float *(*cpu_hidden)(const rad_backend *cpu, uint32_t index);
    void (*cpu_lend)(rad_backend *cpu, uint8_t value, float *memory);
    void (*cpu_parallel)(rad_backend *cpu, rad_pool_fn task, void *data, uint32_t count);
    uint32_t (*cache_group_of)(const rad_hparams *hparams, uint32_t layer);
    void (*cpu_take_choices)(rad_backend *cpu, const rad_op *op, bool by_token);
} rad_cuda_library;

/* The GPUs that an engine uses. */
typedef struct rad_cuda rad_cuda;
#define RAD_CUDA_GPUS 16 /* at most */

/* Numbers of GPUs, as the driver counts them, in the order in which layers go there; n 0: all that
 * the driver knows. No more of them are used than have to be. */
typedef struct rad_cuda_choice {
    uint32_t n;
    uint8_t numbers[RAD_CUDA_GPUS];
} rad_cuda_choice;

#define RAD_CUDA_TEXT 256

/* What layers take on a GPU, in bytes. */
typedef struct rad_cuda_bytes {
    uint64_t weights, cache, activations;
    uint64_t context;   /* the driver's, for this process */
    uint64_t libraries; /* what a library for products takes */
    uint64_t draft;     /* the draft model: all of it that is there */
    uint64_t total;
    uint64_t memory; /* that the GPU has */
} rad_cuda_bytes;

/* One GPU's part of the layers: those behind the GPU before. */
typedef struct rad_cuda_share {
    uint32_t number; /* as the driver counts */
    uint32_t first_layer, n_layers;
    bool output;
    rad_cuda_bytes bytes;
    uint64_t limit; /* what it may take, of what was free at creation */
    char device[RAD_QUOTE_SIZE];
} rad_cuda_share;

/* Which layers are computed on GPUs. */
typedef struct rad_cuda_placement {
    uint32_t n_layers; /* the first ones */
    bool output;       /* the last norm and the product that gives logits, too: on the last GPU */
    bool experts_here; /* their mixtures of experts are the CPU's */
    uint32_t n_gpus;
    rad_cuda_share gpus[RAD_CUDA_GPUS];
    rad_cuda_bytes bytes;        /* of all */
    uint64_t pinned;             /* memory of the host that the backend takes */
    char devices[RAD_CUDA_TEXT]; /* names */
    /* The same, and the layers of each where it is not one name: what decides bits. */
    char bits[8 * RAD_CUDA_TEXT];
    char reason[RAD_CUDA_TEXT]; /* why the next layer is not there; "" when all are */
    char fast[RAD_CUDA_TEXT];   /* what makes products outside the contract; "" when nothing does */
} rad_cuda_placement;

/* Structs of which a difference would be noticed late. */
static inline uint64_t rad_cuda_fingerprint(void)
{
    const size_t sizes[] = {sizeof(rad_model),
                            sizeof(rad_weight),
                            sizeof(rad_hparams),
                            sizeof(rad_program),
                            sizeof(rad_op),
                            sizeof(rad_cache),
                            sizeof(rad_batch),
                            sizeof(rad_token_span),
                            sizeof(rad_cache_plan),
                            sizeof(rad_host),
                            sizeof(radllm_error),
                            RAD_LAYER_WEIGHTS,
                            sizeof(rad_cuda_placement),
                            sizeof(struct rad_adapter),
                            sizeof(rad_adapter_pair),
                            sizeof(rad_backend_settings)};
    uint64_t mixed = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        mixed = mixed * 1000003u + sizes[i];
    return mixed;
}

typedef struct rad_cuda_request {
    const rad_program *program;
    const rad_cache_plan *cache; /* whose pages are not divided yet */
    const rad_backend_settings *settings;
    /* Bytes, by place in the choice of GPUs; 0: what is free there. */
    uint64_t limits[RAD_CUDA_GPUS];
    int64_t split[RAD_CUDA_GPUS]; /* layers of each, exactly; -1: as many as there is room for */
    int64_t n_layers;             /* exactly; -1: as many as there is room for */
} rad_cuda_request;

typedef struct rad_cuda_table {
    uint64_t (*fingerprint)(void);
    /* Opens the first one. RADLLM_E_UNSUPPORTED when there is no such device, or no driver. */
    radllm_status (*open)(const rad_host *host, const rad_cuda_library *library,
                          const rad_cuda_choice *choice, rad_cuda **out, radllm_error *error);
    /* Before `place`: products with unquantized weights of many tokens are cuBLAS's from here on,
     * outside the numeric contract. RADLLM_E_UNSUPPORTED where it is not there; the device can be
     * used without. */
    radllm_status (*use_fast)(rad_cuda *cuda, radllm_error *error);
    /* Everything else that was made with it must be freed before. */
    void (*close)(rad_cuda *cuda);
    /* Opens more GPUs where the first has not room for all, and closes those that get nothing.
     * RADLLM_E_BUDGET where not even one layer has room, RADLLM_E_UNSUPPORTED where the device
     * cannot compute one. */
    radllm_status (*place)(rad_cuda *cuda, const rad_cuda_request *request, rad_cuda_placement *out,
                           radllm_error *error);
    /* Takes the memory of keys and values for a divided plan; `far` is what a cache is made with.
     */
    radllm_status (*create_pages)(rad_cuda *cuda, const rad_cuda_placement *placement,
                                  const rad_hparams *hparams, const rad_cache_plan *plan,
                                  rad_far_memory *far, radllm_error *error);
    void (*free_pages)(rad_cuda *cuda);
    /* `cpu` computes what is not on the device, and must outlive it. Uploads weights. */
    radllm_status (*create_backend)(rad_cuda *cuda, const rad_cuda_placement *placement,
                                    const rad_program *program, const rad_cache *cache,
                                    const rad_backend_settings *settings, rad_backend *cpu,
                                    const radllm_cancel *cancel, rad_backend **out,
                                    radllm_error *error);
    /* As rad_cpu_backend_expert_tokens(), of what the device routed; waits for a step's end. */
    uint64_t (*expert_tokens)(const rad_backend *backend, uint32_t layer, uint32_t expert);
    radllm_status (*clear_expert_tokens)(rad_backend *backend, radllm_error *error);
    /* Memory of GPU number `index` of the placement that is taken now by all processes; 0 when it
     * cannot be told. */
    uint64_t (*memory_used)(const rad_cuda *cuda, uint32_t index);
    /* Bytes a second that a copy on the first one reads and writes, by trying; 0 without room. */
    uint64_t (*bandwidth)(const rad_cuda *cuda);
    /* Multiply-adds a second of matrix instructions on the first one, of signed bytes or of 16-bit
     * floats, by trying; 0 without room. */
    uint64_t (*multiply_adds)(const rad_cuda *cuda, bool floats);
} rad_cuda_table;

typedef const rad_cuda_table *(*rad_cuda_table_fn)(void);

#endif
