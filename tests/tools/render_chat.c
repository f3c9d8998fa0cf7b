/* Renders chats with the built-in templates, for comparison with other implementations.
 *
 * Usage: render_chat MODEL.gguf < requests
 *
 * A request is a line of JSON: {"template": text of a template, or "name": name, "messages":
 * [{"role", "content"}]}. The answer is a line of JSON: {"name", "text"}, {"error"}, or, when the
 * template is not known, {"hash"} of its normal form for the table, {} where it has none. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/chat_template.h"

#define MOST_MESSAGES 64

static rad_role role_of(const char *name)
{
    return strcmp(name, "system") == 0 ? RAD_ROLE_SYSTEM
           : strcmp(name, "user") == 0 ? RAD_ROLE_USER
                                       : RAD_ROLE_ASSISTANT;
}

static json_t *answer(const rad_tokenizer *tokenizer, const json_t *request)
{
    const json_t *text = json_object_get(request, "template");
    rad_text template_text = {json_string_value(text), json_string_length(text)};
    const rad_chat_template *found =
        text != NULL ? rad_chat_template_match(template_text)
                     : rad_chat_template_find(json_string_value(json_object_get(request, "name")));
    char hash[17];
    if (found == NULL)
        return text != NULL && rad_chat_text_hash(template_text, hash)
                   ? json_pack("{s:s}", "hash", hash)
                   : json_object();
    rad_message messages[MOST_MESSAGES];
    const json_t *list = json_object_get(request, "messages");
    size_t count = json_array_size(list);
    for (size_t i = 0; i < count && i < MOST_MESSAGES; i++) {
        const json_t *content = json_object_get(json_array_get(list, i), "content");
        messages[i].role =
            role_of(json_string_value(json_object_get(json_array_get(list, i), "role")));
        messages[i].text.data = json_string_value(content);
        messages[i].text.size = json_string_length(content);
    }
    char *rendered;
    size_t size;
    radllm_error error = {0};
    if (rad_chat_template_text(found, tokenizer, messages, count, (rad_text){"", 0},
                               &rad_default_allocator, &rendered, &size, &error) != RADLLM_OK)
        return json_pack("{s:s, s:s}", "name", rad_chat_template_name(found), "error",
                         error.message);
    json_t *result =
        json_pack("{s:s, s:s%}", "name", rad_chat_template_name(found), "text", rendered, size);
    rad_free(&rad_default_allocator, rendered, size + 1);
    return result;
}

int main(int argc, char **argv)
{
    radllm_error error = {0};
    rad_host host = {.allocator = rad_default_allocator};
    rad_source *source = NULL;
    rad_tokenizer *tokenizer = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: %s MODEL.gguf < requests\n", argv[0]);
        return 2;
    }
    if (rad_source_open(&host, argv[1], &source, &error) != RADLLM_OK ||
        rad_tokenizer_create(&host, source, &tokenizer, &error) != RADLLM_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    rad_source_release(source);
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, stdin) > 0) {
        json_t *request = json_loads(line, 0, NULL);
        json_t *result = answer(tokenizer, request);
        json_dumpf(result, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(result);
        json_decref(request);
    }
    free(line);
    rad_tokenizer_free(tokenizer);
    return 0;
}
