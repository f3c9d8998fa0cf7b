/* Fuzzes models in several files: the input is cut into the parts of one model, which need not
 * agree on anything. They are refused with a message or make one consistent list of tensors. */
#include "fuzz_common.h"

#include <sys/stat.h>
#include <unistd.h>

#define MOST_PARTS 4

static char folder[64];

static void remove_folder(void)
{
    rmdir(folder);
}

static void make_folder(void)
{
    if (folder[0] != '\0')
        return;
    snprintf(folder, sizeof folder, "/dev/shm/radllm-split-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        snprintf(folder, sizeof folder, "/tmp/radllm-split-XXXXXX");
        HOLDS(mkdtemp(folder) != NULL);
    }
    HOLDS(atexit(remove_folder) == 0);
}

static const char *part_path(char path[160], size_t part, size_t count)
{
    snprintf(path, 160, "%s/m-%05zu-of-%05zu.gguf", folder, part + 1, count);
    return path;
}

static void check_source(const rad_source *source, size_t n_parts)
{
    HOLDS(rad_source_n_parts(source) >= 1 && rad_source_n_parts(source) <= n_parts);
    uint64_t n = rad_source_n_tensors(source);
    for (uint64_t i = 0; i < n; i++) {
        const rad_tensor *tensor = rad_source_tensor(source, i);
        HOLDS(rad_source_find_tensor(source, tensor->name.data) == tensor);
        HOLDS(tensor->part < rad_source_n_parts(source));
        uint64_t end = rad_source_part_bytes(source, tensor->part);
        HOLDS(tensor->n_bytes > 0 && tensor->offset <= end &&
              tensor->n_bytes <= end - tensor->offset);
        uint8_t byte;
        radllm_error error = {0};
        HOLDS(rad_source_read(source, tensor->part, tensor->offset + tensor->n_bytes - 1, &byte, 1,
                              &error) == RADLLM_OK);
    }
}

/* The input's head: the number of parts, and the size of each but the last, in 16 bits. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make_folder();
    input in = {data, size};
    char path[160];
    size_t n_parts = 1 + take_byte(&in) % MOST_PARTS;
    uint16_t sizes[MOST_PARTS];
    for (size_t i = 0; i + 1 < n_parts; i++) {
        sizes[i] = take_byte(&in);
        sizes[i] = (uint16_t)(sizes[i] | take_byte(&in) << 8);
    }
    for (size_t i = 0; i < n_parts; i++) {
        input part = take_bytes(&in, i + 1 < n_parts ? sizes[i] : in.size);
        FILE *file = fopen(part_path(path, i, n_parts), "wb");
        HOLDS(file != NULL && fwrite(part.data, 1, part.size, file) == part.size);
        HOLDS(fclose(file) == 0);
    }
    memory m = {.fail_at = failing_allocation(data, size, 48)};
    rad_host host = {.allocator = {memory_take, memory_give_back, &m}};
    rad_source *source = NULL;
    radllm_error error = {0};
    radllm_status status = rad_source_open(&host, part_path(path, 0, n_parts), &source, &error);
    if (status == RADLLM_OK) {
        check_source(source, n_parts);
        rad_source_release(source);
    } else {
        HOLDS(source == NULL && error.status == status && error.message[0] != '\0');
        HOLDS(status != RADLLM_E_INTERNAL && (status != RADLLM_E_MEMORY || m.fail_at != 0));
    }
    HOLDS(m.live_blocks == 0 && m.live_bytes == 0 && m.peak_bytes <= 1200000 + 32 * size);
    for (size_t i = 0; i < n_parts; i++)
        HOLDS(unlink(part_path(path, i, n_parts)) == 0);
    return 0;
}
