/* Fuzzes tokenizer.json and tokenizer_config.json: the input is a byte of flags, the size of a
 * sample text and the text, then the files, with a NUL between them. Whatever they are, they are
 * refused with a message or make a tokenizer whose ids are in range, whose stream gives whole
 * characters and the text that decoding at once gives, and which takes memory in proportion to its
 * files. */
#include "fuzz_tokens.h"

#include "text/tokenizer_json.h"

static rad_tokenizer_file copy_file(const uint8_t *data, size_t size)
{
    rad_tokenizer_file file = {malloc(size + 1), size};
    HOLDS(file.data != NULL);
    memcpy(file.data, data, size);
    file.data[size] = '\0';
    return file;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    uint8_t flags = take_byte(&in);
    input sample = take_bytes(&in, take_byte(&in));
    const uint8_t *nul = in.size > 0 ? memchr(in.data, 0, in.size) : NULL;
    size_t first = nul != NULL ? (size_t)(nul - in.data) : in.size;
    rad_tokenizer_files files = {.tokenizer = copy_file(in.data, first)};
    if (nul != NULL)
        files.config = copy_file(nul + 1, in.size - first - 1);
    memory m = {.fail_at = failing_allocation(data, size, 60)};
    rad_host host = {.allocator = {memory_take, memory_give_back, &m}};
    rad_tokenizer *tokenizer = NULL;
    radllm_error error = {0};
    radllm_status status = rad_tokenizer_create_json(&host, &files, &tokenizer, &error);
    free(files.tokenizer.data);
    free(files.config.data);
    HOLDS(m.peak_bytes <= ((size_t)16 << 20) + 1000 * size);
    if (status == RADLLM_OK) {
        check_sample(tokenizer, flags, sample, &m);
        rad_tokenizer_free(tokenizer);
    } else {
        HOLDS(tokenizer == NULL && error.status == status && error.message[0] != '\0');
        HOLDS(status == RADLLM_E_FORMAT || status == RADLLM_E_UNSUPPORTED ||
              status == RADLLM_E_LIMIT || (status == RADLLM_E_MEMORY && m.fail_at != 0));
    }
    HOLDS(m.live_blocks == 0 && m.live_bytes == 0);
    return 0;
}
