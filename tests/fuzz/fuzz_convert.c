/* Fuzzes the converter: a GGUF file or a folder of safetensors files becomes a GGUF file or a
 * folder in another number format, or is refused with a message. What was written has the size that
 * was promised, opens, and is a model where the source was one. The input: a byte for the kind and
 * the form, one for the number format, and the file or, as in fuzz_folder.c, the folder. */
#include "fuzz_files.h"

#include <ftw.h>

#define MOST_BYTES ((uint64_t)16 << 20) /* of a file that is worth writing */

enum { KIND_FOLDER = 1, TO_FOLDER = 2, AGAIN = 4, PURE = 8 };

static const char *const types[] = {"F32",  "F16",    "BF16",  "Q8_0", "Q4_0",   "Q5_1",
                                    "Q6_K", "Q4_K_M", "TQ2_0", "Q2_K", "IQ4_NL", "MXFP4",
                                    "COPY", "F32",    "F16",   "BF16"};

static int remove_one(const char *path, const struct stat *information, int kind,
                      struct FTW *position)
{
    (void)information;
    (void)kind;
    (void)position;
    return remove(path);
}

/* Whether a folder can be opened depends on its configuration, which is made of what is no model.
 */
static void check_written(const radllm_host *host, const char *path, bool folder,
                          radllm_status checked)
{
    radllm_error error = {0};
    radllm_file *file = NULL;
    radllm_status status = radllm_file_open(host, path, &file, &error);
    if (folder && checked != RADLLM_OK) {
        radllm_file_free(file);
        return;
    }
    if (status != RADLLM_OK)
        fprintf(stderr, "%s\n", error.message);
    HOLDS(status == RADLLM_OK || status == RADLLM_E_MEMORY);
    if (status == RADLLM_OK && checked == RADLLM_OK) {
        status = radllm_file_check_model(file, &error);
        if (status != RADLLM_OK)
            fprintf(stderr, "%s\n", error.message);
        HOLDS(status == RADLLM_OK || status == RADLLM_E_MEMORY);
    }
    radllm_file_free(file);
}

static void convert(const radllm_host *host, const radllm_file *file, const char *type,
                    uint8_t flags, radllm_status checked)
{
    const char *settings[] = {"threads",
                              "1",
                              "quantize",
                              type,
                              "quantize_again",
                              (flags & AGAIN) != 0 ? "1" : "0",
                              "quantize_pure",
                              (flags & PURE) != 0 ? "1" : "0",
                              NULL};
    radllm_error error = {0};
    radllm_quantization *plan = NULL;
    radllm_options *options = options_of(host, settings);
    uint64_t bytes = 0;
    char path[160];
    struct stat written;
    radllm_status status = radllm_quantization_new(host, file, NULL, options, &plan, &error);
    HOLDS(may_fail(status, &error));
    if (status == RADLLM_OK)
        status = radllm_quantization_number(plan, "bytes", &bytes, &error);
    if (status == RADLLM_OK && bytes <= MOST_BYTES) {
        scratch_path(path, "written");
        status = (flags & TO_FOLDER) != 0
                     ? radllm_quantization_write_folder(plan, path, 4096, 0, NULL, &error)
                     : radllm_quantization_write(plan, path, NULL, &error);
        HOLDS(may_fail(status, &error));
        HOLDS((status == RADLLM_OK) == (lstat(path, &written) == 0));
        if (status == RADLLM_OK) {
            HOLDS((flags & TO_FOLDER) != 0 || (uint64_t)written.st_size == bytes);
            check_written(host, path, (flags & TO_FOLDER) != 0, checked);
            HOLDS(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
        }
    }
    radllm_quantization_free(plan);
    radllm_options_free(options);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make_folder();
    input in = {data, size};
    char path[160];
    uint8_t flags = take_byte(&in);
    const char *type = types[take_byte(&in) % (sizeof types / sizeof *types)];
    if ((flags & KIND_FOLDER) != 0)
        write_folder(in);
    else
        write_scratch(path, "model.gguf", in);
    memory m = {.fail_at = failing_allocation(data, size, 400)};
    radllm_host *host = NULL;
    radllm_file *file = NULL;
    radllm_error error = {0};
    if (radllm_host_new(take_some, memory_give_back, &m, &host, NULL) == RADLLM_OK) {
        radllm_status status =
            radllm_file_open(host, (flags & KIND_FOLDER) != 0 ? scratch : path, &file, &error);
        HOLDS(may_fail(status, &error));
        if (status == RADLLM_OK)
            convert(host, file, type, flags, radllm_file_check_model(file, &error));
        radllm_file_free(file);
    }
    radllm_host_free(host);
    HOLDS(m.live_blocks == 0 && m.live_bytes == 0);
    empty_folder();
    (void)unlink(scratch_path(path, "model.gguf"));
    return 0;
}
