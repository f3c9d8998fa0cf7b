#include "model/kind.h"

#include <stdio.h>
#include <string.h>

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Which of `words` stands in a text, in any case and with no letter beside it; one that begins with
 * '*' may stand anywhere. */
static const char *find_word(rad_text text, const char *const *words)
{
    for (; *words != NULL; words++) {
        bool part = **words == '*';
        const char *word = *words + part;
        size_t size = strlen(word);
        for (size_t at = 0; at + size <= text.size; at++) {
            if (rad_same_any_case(text.data + at, word, size) &&
                (part || ((at == 0 || !is_letter(text.data[at - 1])) &&
                          (at + size == text.size || !is_letter(text.data[at + size])))))
                return word;
        }
    }
    return NULL;
}

/* What a model's name says, in words that `what` has; false: nothing. */
static bool by_words(rad_text text, const char *what, rad_model_kind *kind,
                     char reason[RAD_KIND_REASON])
{
    /* Models of these families that were not taught have other names. */
    static const char *const instruct[] = {"*instruct", "inst",     "it",      "sft",     "dpo",
                                           "orpo",      "rlhf",     "*alpaca", "*hermes", "*wizard",
                                           "*guanaco",  "*dolphin", "*dolly",  "*tulu",   "*bloomz",
                                           "*orca",     "*koala",   NULL};
    static const char *const chat[] = {"*chat", "*vicuna", "*zephyr", "assistant", NULL};
    static const char *const base[] = {"base", "pt", "pretrained", "pretrain", NULL};
    const struct {
        rad_model_kind kind;
        const char *const *words;
    } kinds[] = {{RAD_KIND_INSTRUCT, instruct}, {RAD_KIND_CHAT, chat}, {RAD_KIND_BASE, base}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const char *word = find_word(text, kinds[i].words);
        if (word == NULL)
            continue;
        *kind = kinds[i].kind;
        snprintf(reason, RAD_KIND_REASON, "%s has the word \"%s\"", what, word);
        return true;
    }
    return false;
}

/* What the file calls itself; false where it does not say. */
static bool by_name(const rad_source *source, rad_model_kind *kind, char reason[RAD_KIND_REASON])
{
    static const char *const keys[] = {"general.finetune", "general.name", "general.basename"};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        rad_text text;
        if (rad_meta_text(source, keys[k], &text, NULL) == RADLLM_OK && text.data != NULL &&
            by_words(text, keys[k], kind, reason))
            return true;
    }
    return false;
}

/* What the file is called: many of 2023 say of themselves the family alone. */
static bool by_file(const rad_source *source, rad_model_kind *kind, char reason[RAD_KIND_REASON])
{
    const char *label = rad_source_label(source), *end = strrchr(label, '/');
    const char *name = end != NULL ? end + 1 : label;
    return by_words((rad_text){name, strlen(name)}, "the file's name", kind, reason);
}

/* The token of a turn's end ends answers. */
static bool by_end(const rad_tokenizer *tokenizer, char reason[RAD_KIND_REASON])
{
    static const char *const ends[] = {"<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>",
                                       "<|return|>"};
    int32_t eos = rad_tokenizer_eos(tokenizer);
    for (size_t i = 0; i < sizeof ends / sizeof *ends && eos >= 0; i++) {
        if (rad_tokenizer_find(tokenizer, ends[i], strlen(ends[i])) != eos)
            continue;
        snprintf(reason, RAD_KIND_REASON, "answers end with the token %s", ends[i]);
        return true;
    }
    return false;
}

/* Base models of Qwen have the chat template too: by the token that ends their texts. */
static bool is_base_of_qwen(const rad_source *source, const rad_tokenizer *tokenizer)
{
    static const char end[] = "<|endoftext|>";
    rad_text name;
    int32_t eos = rad_tokenizer_eos(tokenizer);
    return rad_meta_text(source, "general.architecture", &name, NULL) == RADLLM_OK &&
           name.size >= 4 && memcmp(name.data, "qwen", 4) == 0 && eos >= 0 &&
           rad_tokenizer_find(tokenizer, end, sizeof end - 1) == eos;
}

bool rad_has_named_templates(const rad_source *source)
{
    static const char key[] = "tokenizer.chat_template";
    const size_t size = sizeof key - 1;
    for (uint64_t i = 0; i < rad_source_n_meta(source); i++) {
        rad_text name = rad_source_meta(source, i)->key;
        if (name.size > size && memcmp(name.data, key, size) == 0 &&
            (name.data[size] == '.' || name.data[size] == 's'))
            return true;
    }
    return false;
}

rad_model_kind rad_kind_of(const rad_source *source, const rad_tokenizer *tokenizer,
                           rad_text chat_template, char reason[RAD_KIND_REASON])
{
    rad_model_kind kind = RAD_KIND_BASE;
    if (by_name(source, &kind, reason))
        return kind;
    if (chat_template.size > 0 && is_base_of_qwen(source, tokenizer)) {
        snprintf(reason, RAD_KIND_REASON,
                 "it has a chat template, but its texts end with <|endoftext|>, as those of Qwen's "
                 "base models do");
        return RAD_KIND_BASE;
    }
    if (chat_template.size > 0) {
        snprintf(reason, RAD_KIND_REASON, "it has a chat template");
        return RAD_KIND_CHAT;
    }
    if (rad_has_named_templates(source)) {
        snprintf(reason, RAD_KIND_REASON, "it has chat templates, of which none is the default");
        return RAD_KIND_CHAT;
    }
    if (by_end(tokenizer, reason))
        return RAD_KIND_INSTRUCT;
    if (by_file(source, &kind, reason))
        return kind;
    snprintf(reason, RAD_KIND_REASON,
             "it has no chat template, and neither its name nor the token that ends its texts says "
             "otherwise");
    return RAD_KIND_BASE;
}
