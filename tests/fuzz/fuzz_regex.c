/* Fuzzes patterns of tokenizer.json: one is refused with a message, or searched for in a text
 * within its budget; matches lie in the text, begin and end at characters, and come in order. The
 * input: the pattern, a NUL, the text. */
#include "fuzz_tokens.h"

#include "text/regex.h"

static bool at_character(input text, size_t at)
{
    return at == text.size || (text.data[at] & 0xC0) != 0x80;
}

static void search(const rad_regex *regex, input text, memory *m)
{
    const rad_allocator allocator = {memory_take, memory_give_back, m};
    rad_regex_space space = {.allocator = &allocator, .budget = 200000};
    size_t from = 0, start = 0, end = 0;
    rad_regex_result result = RAD_REGEX_MATCH;
    while (result == RAD_REGEX_MATCH && from <= text.size) {
        uint64_t before = space.budget;
        result = rad_regex_find(regex, &space, text.data, text.size, from, &start, &end);
        HOLDS(space.budget <= before);
        HOLDS(result != RAD_REGEX_FAILED || !space.no_memory || m->fail_at != 0);
        if (result != RAD_REGEX_MATCH)
            break;
        HOLDS(from <= start && start <= end && end <= text.size);
        HOLDS(at_character(text, start) && at_character(text, end));
        from = end > from ? end : from + 1;
        while (from < text.size && !at_character(text, from))
            from++;
    }
    HOLDS(m->peak_bytes <= (size_t)64 << 20);
    rad_regex_space_free(&space);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size > 0 ? memchr(data, 0, size) : NULL;
    size_t length = nul != NULL ? (size_t)(nul - data) : size;
    input text = {data + length, size - length};
    (void)take_byte(&text);
    if (!is_utf8((const char *)data, length) || !is_utf8((const char *)text.data, text.size))
        return 0; /* both come from JSON, or are checked before */
    memory m = {.fail_at = failing_allocation(data, size, 8)};
    const rad_allocator allocator = {memory_take, memory_give_back, &m};
    rad_arena arena = {.allocator = &allocator};
    const rad_regex *regex = NULL;
    radllm_error error = {0};
    radllm_status status = rad_regex_compile(&arena, (rad_text){(const char *)data, length},
                                             "pattern", &regex, &error);
    HOLDS(m.peak_bytes <= ((size_t)1 << 20) + 4096 * length);
    if (status == RADLLM_OK) {
        search(regex, text, &m);
    } else {
        HOLDS(error.status == status && error.message[0] != '\0');
        HOLDS(status == RADLLM_E_FORMAT || status == RADLLM_E_UNSUPPORTED ||
              status == RADLLM_E_LIMIT || (status == RADLLM_E_MEMORY && m.fail_at != 0));
    }
    rad_arena_free(&arena);
    HOLDS(m.live_blocks == 0 && m.live_bytes == 0);
    return 0;
}
