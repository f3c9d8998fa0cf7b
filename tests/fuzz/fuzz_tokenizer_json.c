/* Fuzzes tokenizer.json and tokenizer_config.json: the input is a byte of flags, the size of a
 * sample text and the text, then the files, with a NUL between them. Whatever they are, they are
 * refused with a message or make a tokenizer whose ids are in range, whose stream gives whole
 * characters and the text that decoding at once gives, and which takes memory in proportion to its
 * files. */
#include "fuzz_tokens.h"

#include "text/tokenizer_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    uint8_t flags = take_byte(&in);
    input sample = take_bytes(&in, take_byte(&in));
    const uint8_t *nul = in.size > 0 ? memchr(in.data, 0, in.size) : NULL;
    size_t first = nul != NULL ? (size_t)(nul - in.data) : in.size;
    rad_tokenizer_files files = {.tokenizer = copy_file((input){in.data, first})};
    if (nul != NULL)
        files.config = copy_file((input){nul + 1, in.size - first - 1});
    memory m = {.fail_at = failing_allocation(data, size, 60)};
    rad_host host = {.allocator = {memory_take, memory_give_back, &m}};
    rad_tokenizer *tokenizer = NULL;
    radllm_error error = {0};
    radllm_status status = rad_tokenizer_create_json(&host, &files, &tokenizer, &error);
    free(files.tokenizer.data);
    free(files.config.data);
    check_made(status, &error, tokenizer, flags, sample, size, &m);
    return 0;
}
