/* Fuzzes tokenizer.model and the JSON texts beside it: the input is a byte of flags, a sample text
 * behind its size, tokenizer_config.json and added_tokens.json each behind its size (two bytes),
 * and the model. Whatever they are, they are refused with a message or make a tokenizer as in
 * fuzz_tokenizer_json.c. */
#include "fuzz_tokens.h"

#include "text/spm.h"

static input take_text(input *in)
{
    uint32_t low = take_byte(in);
    return take_bytes(in, low | (uint32_t)take_byte(in) << 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    uint8_t flags = take_byte(&in);
    input sample = take_bytes(&in, take_byte(&in));
    input config = take_text(&in), added = take_text(&in);
    rad_tokenizer_files files = {.tokenizer = copy_file(in)};
    if (config.size > 0)
        files.config = copy_file(config);
    if (added.size > 0)
        files.added = copy_file(added);
    memory m = {.fail_at = failing_allocation(data, size, 40)};
    rad_host host = {.allocator = {memory_take, memory_give_back, &m}};
    rad_tokenizer *tokenizer = NULL;
    radllm_error error = {0};
    radllm_status status = rad_tokenizer_create_spm(&host, &files, &tokenizer, &error);
    free(files.tokenizer.data);
    free(files.config.data);
    free(files.added.data);
    check_made(status, &error, tokenizer, flags, sample, size, &m);
    return 0;
}
