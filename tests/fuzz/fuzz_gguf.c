/* Fuzzes the GGUF reader: whatever the bytes, it answers with a status and a message, keeps memory
 * bounded, leaks nothing, and what it accepts is consistent. One input in eight is read with an
 * allocation that fails. */
#include <math.h>

#include "fuzz_common.h"

/* ---- what is accepted ------------------------------------------------------------------------ */

static uint64_t sum; /* so that reading cannot be left out */

static void check_text(rad_text text)
{
    HOLDS(text.data != NULL);
    for (size_t i = 0; i < text.size; i++)
        sum += (uint8_t)text.data[i];
}

static void check_typed(const rad_source *source, const char *key)
{
    radllm_error error = {0};
    int64_t integer = 0;
    double real = 0;
    bool flag = false;
    rad_text text = {NULL, 0};
    int agreed = 0;
    agreed += rad_meta_integer(source, key, 0, 1000, 5, &integer, &error) == RADLLM_OK;
    HOLDS(agreed == 0 || (integer >= 0 && integer <= 1000));
    agreed += rad_meta_real(source, key, -1e30, 1e30, 5, &real, &error) == RADLLM_OK;
    HOLDS(isfinite(real));
    agreed += rad_meta_bool(source, key, false, &flag, &error) == RADLLM_OK;
    agreed += rad_meta_text(source, key, &text, &error) == RADLLM_OK;
    HOLDS(agreed <= 1);
}

static void check_meta(const rad_source *source, uint64_t index)
{
    const rad_meta *meta = rad_source_meta(source, index);
    check_text(meta->key);
    HOLDS(meta->key.size > 0 && strlen(meta->key.data) == meta->key.size);
    HOLDS(rad_source_find_meta(source, meta->key.data) == meta);
    HOLDS(meta->type != RAD_META_ARRAY && strcmp(rad_meta_type_name(meta->type), "unknown") != 0);
    HOLDS(meta->is_array || meta->count == 1);
    for (uint64_t i = 0; i < meta->count; i++) {
        if (meta->type == RAD_META_STRING) {
            check_text(meta->strings[i]);
        } else {
            sum += rad_meta_item_u64(meta, i);
            sum += isnan(rad_meta_item_f64(meta, i)) ? 1 : 0;
        }
    }
    check_typed(source, meta->key.data);
}

static void check_tensor(const rad_source *source, uint64_t index)
{
    const rad_tensor *tensor = rad_source_tensor(source, index);
    check_text(tensor->name);
    HOLDS(tensor->name.size >= 1 && tensor->name.size <= 64);
    HOLDS(rad_source_find_tensor(source, tensor->name.data) == tensor);
    HOLDS(tensor->n_dims >= 1 && tensor->n_dims <= 4);
    uint64_t elements = 1;
    for (int i = 0; i < 4; i++) {
        HOLDS(tensor->dims[i] > 0);
        HOLDS(rad_mul_u64(elements, tensor->dims[i], &elements));
    }
    HOLDS(elements == tensor->n_elements);
    const rad_type_info *info = rad_type_find((uint32_t)tensor->type);
    HOLDS(info != NULL && tensor->dims[0] % info->block_elements == 0);
    HOLDS(elements / info->block_elements * info->block_bytes + info->tail_bytes ==
          tensor->n_bytes);
    HOLDS(tensor->part == 0 && tensor->offset % rad_source_alignment(source) == 0);
    uint64_t end = rad_source_part_bytes(source, 0);
    HOLDS(tensor->offset <= end && tensor->n_bytes <= end - tensor->offset);
    uint8_t byte = 0;
    radllm_error error = {0};
    HOLDS(rad_source_read(source, 0, tensor->offset + tensor->n_bytes - 1, &byte, 1, &error) ==
          RADLLM_OK);
    sum += byte;
}

static void check_source(const rad_source *source)
{
    uint32_t version = rad_source_version(source);
    uint64_t alignment = rad_source_alignment(source);
    HOLDS(version == 2 || version == 3);
    HOLDS(alignment >= 8 && (alignment & (alignment - 1)) == 0);
    HOLDS(rad_source_n_parts(source) == 1);
    for (uint64_t i = 0; i < rad_source_n_meta(source); i++)
        check_meta(source, i);
    for (uint64_t i = 0; i < rad_source_n_tensors(source); i++)
        check_tensor(source, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    memory m = {.fail_at = failing_allocation(data, size, 32)};
    rad_host host = {.allocator = {memory_take, memory_give_back, &m}};
    rad_source *source = NULL;
    radllm_error error = {0};
    radllm_status status = rad_source_open_callback(&host, read_input, &in, size, &source, &error);
    if (status == RADLLM_OK) {
        check_source(source);
        rad_source_release(source);
    } else {
        HOLDS(source == NULL && error.status == status && error.message[0] != '\0');
        HOLDS(status == RADLLM_E_FORMAT || status == RADLLM_E_UNSUPPORTED ||
              status == RADLLM_E_ARGUMENT || (status == RADLLM_E_MEMORY && m.fail_at != 0));
    }
    HOLDS(m.live_blocks == 0 && m.live_bytes == 0);
    HOLDS(m.peak_bytes <= 600000 + 32 * size);
    return 0;
}
