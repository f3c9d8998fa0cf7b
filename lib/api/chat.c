/* Lists of messages and their tokens. */
#include <stdio.h>
#include <string.h>

#include "api/handles.h"
#include "model/kind.h"

radllm_status radllm_chat_new(const radllm_host *host, radllm_chat **out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(out);
    rad_host settings = rad_host_settings(host);
    radllm_chat *chat = rad_alloc_zero(&settings.allocator, sizeof *chat);
    if (chat == NULL)
        return rad_fail_memory(error, sizeof *chat);
    chat->allocator = settings.allocator;
    chat->process = rad_process_id();
    *out = chat;
    return RADLLM_OK;
}

void radllm_chat_clear(radllm_chat *chat)
{
    if (chat == NULL)
        return;
    for (size_t i = 0; i < chat->count; i++) {
        rad_text *text = &chat->messages[i].text;
        rad_wipe((void *)text->data, text->size);
        rad_free(&chat->allocator, (void *)text->data, text->size + 1);
    }
    chat->count = 0;
}

void radllm_chat_free(radllm_chat *chat)
{
    if (chat == NULL)
        return;
    rad_allocator allocator = chat->allocator;
    radllm_chat_clear(chat);
    rad_free(&allocator, chat->messages, chat->capacity * sizeof *chat->messages);
    rad_free(&allocator, chat, sizeof *chat);
}

radllm_status radllm_chat_add(radllm_chat *chat, const char *role, const char *text, size_t length,
                              radllm_error *error)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    rad_error_clear(error);
    RAD_CHECK_NULL(chat);
    RAD_CHECK_NULL(role);
    RAD_CHECK_NULL(text);
    RAD_CHECK_PROCESS(chat->process);
    int index = 0;
    while (index < 3 && strcmp(roles[index], role) != 0)
        index++;
    char quoted[RAD_QUOTE_SIZE];
    if (index == 3)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "the role \"%s\" is none of system, user and assistant",
                        rad_quote(quoted, role, strlen(role)));
    size_t size = rad_text_length(text, length);
    if (size == SIZE_MAX)
        return rad_fail_memory(error, size);
    char *copy = rad_alloc(&chat->allocator, size + 1);
    if (copy == NULL || !rad_reserve(&chat->allocator, (void **)&chat->messages, &chat->capacity,
                                     chat->count + 1, sizeof *chat->messages)) {
        rad_free(&chat->allocator, copy, size + 1);
        return rad_fail_memory(error, size + 1);
    }
    memcpy(copy, text, size);
    copy[size] = '\0';
    chat->messages[chat->count++] = (rad_message){(rad_role)index, {copy, size}};
    return RADLLM_OK;
}

/* ---- the template ------------------------------------------------------------------------------
 */

radllm_status radllm_template_describe(uint32_t index, radllm_template_info *info)
{
    if (info == NULL)
        return RADLLM_E_ARGUMENT;
    const char *name = rad_chat_template_name_at(index);
    if (name == NULL)
        return RADLLM_E_NOT_FOUND;
    const rad_chat_template *found = rad_chat_template_find(name);
    radllm_template_info known = {.size = info->size,
                                  .name = name,
                                  .stops = rad_chat_template_stops(found),
                                  .date = rad_chat_template_date(found)};
    return rad_copy_info(info, &known, sizeof known, NULL);
}

static bool text_equals(rad_text text, const char *word)
{
    return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

static radllm_status unknown_template(const radllm_model *model, rad_text name, radllm_error *error)
{
    char quoted[RAD_QUOTE_SIZE];
    if (!text_equals(name, "auto"))
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "there is no chat template \"%s\"; radllm_template_describe() names all "
                        "(--list-templates)",
                        rad_quote(quoted, name.data, name.size));
    rad_text own;
    bool has =
        rad_tokenizer_chat_template(model->model->tokenizer).size > 0 ||
        (rad_meta_text(model->file->source, "tokenizer.chat_template", &own, NULL) == RADLLM_OK &&
         own.size > 0);
    const char *what = "it has no chat template (tokenizer.chat_template)";
    if (has)
        what = "its chat template (tokenizer.chat_template) is none that this version knows";
    else if (rad_has_named_templates(model->file->source))
        what = "it has no chat template (tokenizer.chat_template), but others by name, of which "
               "none is the default";
    return rad_fail(error, RADLLM_E_UNSUPPORTED,
                    "%s: %s; give the option template (--template NAME; --list-templates names "
                    "all) or raw (--raw: no template)",
                    rad_source_label(model->file->source), what);
}

/* All texts with line breaks between them. */
static radllm_status encode_raw(const radllm_model *model, const radllm_chat *chat, uint32_t flags,
                                rad_tokens *tokens, radllm_error *error)
{
    size_t total = 0, used = 0;
    for (size_t i = 0; i < chat->count; i++) {
        if (!rad_add_size(total, chat->messages[i].text.size + 1, &total))
            return rad_fail_memory(error, SIZE_MAX);
    }
    char *joined = rad_alloc(&model->host.allocator, total + 1);
    if (joined == NULL)
        return rad_fail_memory(error, total + 1);
    for (size_t i = 0; i < chat->count; i++) {
        if (i > 0)
            joined[used++] = '\n';
        memcpy(joined + used, chat->messages[i].text.data, chat->messages[i].text.size);
        used += chat->messages[i].text.size;
    }
    radllm_status status =
        rad_tokenizer_encode(model->model->tokenizer, joined, used, flags, tokens, error);
    rad_wipe(joined, total + 1);
    rad_free(&model->host.allocator, joined, total + 1);
    return status;
}

radllm_status rad_chat_encode(const radllm_model *model, const radllm_chat *chat,
                              const radllm_options *options, rad_tokens *tokens,
                              const rad_chat_template **used, radllm_error *error)
{
    *used = NULL;
    if (chat->count == 0)
        return rad_fail(error, RADLLM_E_ARGUMENT, "the chat has no message");
    if (rad_option_integer(options, RAD_OPTION_RAW) != 0)
        return encode_raw(model, chat, RADLLM_TOKENIZE_ADD_SPECIAL, tokens, error);
    rad_text name = rad_option_text(options, RAD_OPTION_TEMPLATE);
    const rad_chat_template *chosen =
        text_equals(name, "auto") ? model->chat_template : rad_chat_template_find(name.data);
    if (chosen == NULL)
        return unknown_template(model, name, error);
    *used = chosen;
    return rad_chat_template_encode(chosen, model->model->tokenizer, chat->messages, chat->count,
                                    rad_option_text(options, RAD_OPTION_DATE), tokens, error);
}

radllm_status radllm_chat_tokenize(const radllm_model *model, const radllm_chat *chat,
                                   const radllm_options *options, int32_t *tokens, size_t capacity,
                                   size_t *count, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(model);
    RAD_CHECK_NULL(chat);
    RAD_CHECK_PROCESS(model->process);
    const rad_chat_template *used;
    rad_tokens list = {.allocator = &model->host.allocator};
    radllm_status status = rad_chat_encode(model, chat, options, &list, &used, error);
    if (status == RADLLM_OK)
        status = rad_copy_tokens(&list, tokens, capacity, count, error);
    rad_tokens_free(&list);
    return status;
}
