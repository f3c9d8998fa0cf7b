/* Fuzzes chat templates: the input says a template, a date, and messages. Whatever their texts are,
 * the chat is refused with a message or laid out, and its control tokens are the template's own: as
 * many as with an "x" in place of each text that is not empty. */
#include "fuzz_common.h"

#include "text/chat_template.h"

#define MOST_MESSAGES 6

static const char *const specials[] = {"<s>",
                                       "</s>",
                                       "<|im_start|>",
                                       "<|im_end|>",
                                       "<|start_header_id|>",
                                       "<|end_header_id|>",
                                       "<|eot_id|>",
                                       "<start_of_turn>",
                                       "<end_of_turn>",
                                       "<|user|>",
                                       "<|assistant|>",
                                       "<|system|>",
                                       "<|end|>",
                                       "[INST]",
                                       "[/INST]",
                                       "[SYSTEM_PROMPT]",
                                       "[/SYSTEM_PROMPT]"};
#define N_SPECIALS (sizeof specials / sizeof *specials)

/* Byte-level, the control tokens of all templates behind the 256 bytes. Made once. */
static const rad_tokenizer *the_tokenizer(void)
{
    static rad_tokenizer *tokenizer;
    if (tokenizer != NULL)
        return tokenizer;
    gguf_text file;
    char letter[4];
    gguf_begin(&file);
    gguf_key_string(&file, "tokenizer.ggml.model", "gpt2");
    gguf_key_string(&file, "tokenizer.ggml.pre", "llama-bpe");
    gguf_begin_array(&file, "tokenizer.ggml.tokens", RAD_META_STRING, 256 + N_SPECIALS);
    for (uint32_t i = 0; i < 256; i++)
        gguf_put_string(&file, letter, byte_letter(i, letter));
    for (size_t i = 0; i < N_SPECIALS; i++)
        gguf_put_string(&file, specials[i], strlen(specials[i]));
    gguf_begin_array(&file, "tokenizer.ggml.token_type", RAD_META_I32, 256 + N_SPECIALS);
    for (size_t i = 0; i < 256 + N_SPECIALS; i++)
        gguf_put_number(&file, i < 256 ? RAD_TOKEN_NORMAL : RAD_TOKEN_CONTROL, 4);
    gguf_begin_array(&file, "tokenizer.ggml.merges", RAD_META_STRING, 0);
    for (uint32_t i = 0; i < 2; i++) {
        gguf_begin_key(&file,
                       i == 0 ? "tokenizer.ggml.bos_token_id" : "tokenizer.ggml.eos_token_id",
                       RAD_META_U32);
        gguf_put_number(&file, 256 + i, 4);
    }
    input bytes = {file.data, file.size};
    rad_source *source = NULL;
    radllm_error error = {0};
    rad_host host = {.allocator = rad_default_allocator};
    HOLDS(rad_source_open_callback(&host, read_input, &bytes, bytes.size, &source, &error) ==
          RADLLM_OK);
    HOLDS(rad_tokenizer_create(&host, source, &tokenizer, &error) == RADLLM_OK);
    rad_source_release(source);
    free(file.data);
    return tokenizer;
}

/* How many control tokens the chat has; SIZE_MAX when it is refused or memory is short. */
static size_t control_tokens(const rad_chat_template *chosen, const rad_message *messages,
                             size_t count, rad_text date, const rad_allocator *allocator,
                             radllm_error *error)
{
    rad_tokens tokens = {.allocator = allocator};
    radllm_status status =
        rad_chat_template_encode(chosen, the_tokenizer(), messages, count, date, &tokens, error);
    size_t found = status == RADLLM_OK ? 0 : SIZE_MAX;
    for (size_t i = 0; status == RADLLM_OK && i < tokens.count; i++)
        found += tokens.ids[i] >= 256;
    HOLDS(status == RADLLM_OK || (error->status == status && error->message[0] != '\0'));
    HOLDS(status == RADLLM_OK || status == RADLLM_E_UNSUPPORTED || status == RADLLM_E_ARGUMENT ||
          status == RADLLM_E_MEMORY);
    rad_tokens_free(&tokens);
    return found;
}

static rad_text as_text(input in)
{
    return (rad_text){(const char *)in.data, in.size};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    uint8_t number = take_byte(&in);
    uint8_t date_size = take_byte(&in);
    size_t count = take_byte(&in) % (MOST_MESSAGES + 1);
    rad_text date = as_text(take_bytes(&in, date_size % 16));
    uint32_t n_templates = 0;
    while (rad_chat_template_name_at(n_templates) != NULL)
        n_templates++;
    const rad_chat_template *chosen =
        rad_chat_template_find(rad_chat_template_name_at(number % n_templates));
    rad_message messages[MOST_MESSAGES + 1], empty[MOST_MESSAGES + 1];
    for (size_t i = 0; i < count; i++) {
        uint8_t head = take_byte(&in);
        messages[i].role = empty[i].role = (rad_role)(head % 3);
        messages[i].text = as_text(take_bytes(&in, i + 1 < count ? head / 3 : in.size));
        empty[i].text = (rad_text){"x", messages[i].text.size > 0};
    }
    (void)rad_chat_template_match(as_text((input){data, size}));
    memory m = {.fail_at = failing_allocation(data, size, 8)};
    rad_allocator allocator = {memory_take, memory_give_back, &m};
    radllm_error error = {0};
    size_t own =
        control_tokens(chosen, empty, count, (rad_text){"", 0}, &rad_default_allocator, &error);
    size_t found = control_tokens(chosen, messages, count, date, &allocator, &error);
    HOLDS(found == own || found == SIZE_MAX); /* some texts are refused */
    HOLDS(m.live_blocks == 0);
    return 0;
}
