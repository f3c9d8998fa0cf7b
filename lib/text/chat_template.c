/* Lays messages out by the data of a chat template. */
#include "text/chat_template.h"

#include <string.h>

#include "base/platform.h"
#include "text/chat_table.h"
#include "text/utf8.h"

/* ---- finding ------------------------------------------------------------------------- */

static const char *field_of(const rad_chat_template *t, uint32_t field)
{
    const char *text = t->texts;
    while (field-- > 0)
        text += strlen(text) + 1;
    return text;
}

const rad_chat_template *rad_chat_template_find(const char *name)
{
    for (uint32_t i = 0; i < rad_chat_n_templates; i++)
        if (strcmp(rad_chat_template_name(&rad_chat_templates[i]), name) == 0)
            return &rad_chat_templates[i];
    return NULL;
}

const rad_chat_template *rad_chat_template_match(rad_text text)
{
    char hash[17];
    if (!rad_chat_text_hash(text, hash))
        return NULL;
    for (uint32_t i = 0; i < rad_chat_n_texts; i++)
        if (strcmp(rad_chat_texts[i].hash, hash) == 0)
            return rad_chat_template_find(rad_chat_texts[i].name);
    return NULL;
}

const char *rad_chat_template_name(const rad_chat_template *chat_template)
{
    return chat_template->texts;
}

const char *rad_chat_template_name_at(uint32_t index)
{
    return index < rad_chat_n_templates ? rad_chat_template_name(&rad_chat_templates[index]) : NULL;
}

const char *rad_chat_template_stop(const rad_chat_template *chat_template, uint32_t index)
{
    uint32_t most = sizeof chat_template->stops / sizeof chat_template->stops[0];
    return index < most ? chat_template->stops[index] : NULL;
}

const char *const *rad_chat_template_stops(const rad_chat_template *chat_template)
{
    return chat_template->stops;
}

const char *rad_chat_template_date(const rad_chat_template *chat_template)
{
    return field_of(chat_template, RAD_CHAT_DATE);
}

/* ---- trimming -------------------------------------------------------------------------- */

/* What Python's str.strip() takes for white space. */
static bool is_python_space(uint32_t code)
{
    return (rad_char_classes(code) & RAD_CHAR_SPACE) != 0 || (code >= 0x1C && code <= 0x1F);
}

static rad_text trim_left(rad_text text)
{
    const uint8_t *p = (const uint8_t *)text.data;
    const uint8_t *end = p + text.size;
    while (p < end) {
        uint32_t code;
        uint32_t length = rad_utf8_decode(p, end, &code);
        if (!is_python_space(code))
            break;
        p += length;
    }
    rad_text result = {(const char *)p, (size_t)(end - p)};
    return result;
}

static rad_text trim_right(rad_text text)
{
    const uint8_t *start = (const uint8_t *)text.data;
    size_t size = text.size;
    while (size > 0) {
        size_t before = size - 1;
        while (before > 0 && size - before < 4 && (start[before] & 0xC0) == 0x80)
            before--;
        uint32_t code;
        uint32_t length = rad_utf8_decode(start + before, start + size, &code);
        if (length != size - before || !is_python_space(code))
            break;
        size = before;
    }
    text.size = size;
    return text;
}

/* ---- laying out -------------------------------------------------------------------------- */

typedef struct layout {
    const rad_chat_template *chat_template;
    const rad_tokenizer *tokenizer;
    rad_text date;
    const rad_allocator *allocator;
    rad_text_span *spans;
    size_t count;
    size_t capacity;
    size_t passed; /* messages at the head that are left out */
    radllm_error *error;
} layout;

static rad_text date_of(const rad_chat_template *chat_template, rad_text date)
{
    const char *own = rad_chat_template_date(chat_template);
    return date.size > 0 ? date : (rad_text){own, strlen(own)};
}

static radllm_status add_span(layout *l, rad_text text, bool parse)
{
    if (text.size == 0)
        return RADLLM_OK;
    if (!rad_reserve(l->allocator, (void **)&l->spans, &l->capacity, l->count + 1,
                     sizeof(rad_text_span)))
        return rad_fail_memory(l->error, (l->count + 1) * sizeof(rad_text_span));
    l->spans[l->count].text = text;
    l->spans[l->count++].parse = parse;
    return RADLLM_OK;
}

/* Adds what a mark in a text of the table stands for. A date is the caller's text. */
static radllm_status add_mark(layout *l, char mark)
{
    if (mark == '\3')
        return add_span(l, l->date, false);
    int32_t id = mark == '\1' ? rad_tokenizer_bos(l->tokenizer) : rad_tokenizer_eos(l->tokenizer);
    return add_span(l, rad_tokenizer_entry(l->tokenizer, id), true);
}

/* Adds a text of the table. */
static radllm_status add_own(layout *l, const char *text)
{
    radllm_status status = RADLLM_OK;
    while (text != NULL && *text != '\0' && status == RADLLM_OK) {
        rad_text part = {text, strcspn(text, "\1\2\3")};
        text += part.size;
        status = add_span(l, part, true);
        if (status == RADLLM_OK && *text != '\0')
            status = add_mark(l, *text++);
    }
    return status;
}

static rad_text trim(rad_text text, uint32_t bits)
{
    if ((bits & RAD_TRIM_LEFT) != 0)
        text = trim_left(text);
    return (bits & RAD_TRIM_RIGHT) != 0 ? trim_right(text) : text;
}

static uint32_t trim_of(const rad_chat_template *t, rad_role role)
{
    return t->flags >> 2 * role & RAD_TRIM_SYSTEM;
}

static radllm_status add_field(layout *l, uint32_t field)
{
    return add_own(l, field_of(l->chat_template, field));
}

static radllm_status add_turn(layout *l, rad_role role, rad_text text)
{
    radllm_status status = add_field(l, RAD_CHAT_BEFORE + 2 * role);
    if (status == RADLLM_OK)
        status = add_span(l, trim(text, trim_of(l->chat_template, role)), false);
    return status == RADLLM_OK ? add_field(l, RAD_CHAT_AFTER + 2 * role) : status;
}

/* Drops white space at both ends of the spans from `first` on, as of one text. */
static void trim_spans(layout *l, size_t first)
{
    for (size_t i = first; i < l->count; i++) {
        l->spans[i].text = trim_left(l->spans[i].text);
        if (l->spans[i].text.size > 0)
            break;
    }
    for (size_t i = l->count; i-- > first;) {
        l->spans[i].text = trim_right(l->spans[i].text);
        if (l->spans[i].text.size > 0)
            break;
    }
}

/* A user's turn that begins with the system message. */
static radllm_status add_user_with_system(layout *l, rad_text system, rad_text text)
{
    const rad_chat_template *t = l->chat_template;
    bool joined = (t->flags & RAD_TRIM_JOINED) != 0;
    radllm_status status = add_field(l, RAD_CHAT_BEFORE + 2 * RAD_ROLE_USER);
    size_t first = l->count;
    if (status == RADLLM_OK)
        status = add_turn(l, RAD_ROLE_SYSTEM, system);
    if (status == RADLLM_OK)
        status = add_span(l, trim(text, joined ? 0 : trim_of(t, RAD_ROLE_USER)), false);
    if (status == RADLLM_OK && joined)
        trim_spans(l, first);
    return status == RADLLM_OK ? add_field(l, RAD_CHAT_AFTER + 2 * RAD_ROLE_USER) : status;
}

static radllm_status refuse(const layout *l, size_t index, const char *why)
{
    return rad_fail(l->error, RADLLM_E_UNSUPPORTED, "message %zu: the chat template \"%s\" %s",
                    index + l->passed, rad_chat_template_name(l->chat_template), why);
}

/* ---- the assistant's ---------------------------------------------------------------------- */

#define THOUGHT_END "</think>"
#define STEPS_END   "[BEGIN FINAL RESPONSE]"
#define TOOL_START  "<tool_response>"
#define TOOL_END    "</tool_response>"

/* What is behind the first or last of a mark; false where there is none. */
static bool behind(rad_text text, const char *mark, bool last, rad_text *rest)
{
    const size_t size = strlen(mark);
    bool found = false;
    for (size_t at = 0; at + size <= text.size && (last || !found); at++) {
        if (memcmp(text.data + at, mark, size) != 0)
            continue;
        *rest = (rad_text){text.data + at + size, text.size - at - size};
        found = true;
    }
    return found;
}

/* What templates leave of an earlier answer. */
static rad_text answer_of(const rad_chat_template *t, rad_text text)
{
    bool lines = (t->flags & RAD_CHAT_DROP_ALL_LINES) != 0;
    if ((t->flags & RAD_CHAT_DROP_STEPS) != 0 && behind(text, STEPS_END, true, &text))
        return trim(text, RAD_TRIM_SYSTEM);
    if ((t->flags & (RAD_CHAT_DROP_THOUGHTS | RAD_CHAT_DROP_THOUGHT)) != 0 &&
        behind(text, THOUGHT_END, (t->flags & RAD_CHAT_DROP_THOUGHTS) != 0, &text))
        lines = lines || (t->flags & RAD_CHAT_DROP_LINES) != 0;
    for (; lines && text.size > 0 && *text.data == '\n'; text.size--)
        text.data++;
    return text;
}

static bool is_tool_text(rad_text text)
{
    const size_t start = strlen(TOOL_START), end = strlen(TOOL_END);
    return text.size >= end && memcmp(text.data, TOOL_START, start) == 0 &&
           memcmp(text.data + text.size - end, TOOL_END, end) == 0;
}

static radllm_status check_answers(const layout *l, const rad_message *messages, size_t count)
{
    uint32_t flags = l->chat_template->flags;
    for (size_t i = 0; i < count; i++) {
        rad_text rest, text = messages[i].text;
        if (messages[i].role == RAD_ROLE_USER && (flags & RAD_CHAT_NO_TOOL_TEXTS) != 0 &&
            is_tool_text(trim(text, trim_of(l->chat_template, RAD_ROLE_USER))))
            return refuse(l, i,
                          "takes \"" TOOL_START "\" ... \"" TOOL_END
                          "\" for what a tool says, not the user: write something before it");
        if (messages[i].role != RAD_ROLE_ASSISTANT)
            continue;
        if ((flags & RAD_CHAT_NO_CHANNELS) != 0 &&
            (behind(text, "<|channel", false, &rest) || behind(text, "<channel|>", false, &rest)))
            return refuse(l, i,
                          "has no place for marks of channels in an earlier answer: leave all but "
                          "its final text out");
        if ((flags & RAD_CHAT_ANSWERS_FOLLOW) != 0 &&
            (i == 0 || messages[i - 1].role != RAD_ROLE_USER))
            return refuse(l, i, "needs one of the user before each of the assistant");
        if ((flags & RAD_CHAT_NO_THOUGHTS) != 0 && behind(text, THOUGHT_END, false, &rest))
            return refuse(l, i,
                          "has no place for \"" THOUGHT_END
                          "\" in an earlier answer: leave its thoughts out");
        text =
            trim(answer_of(l->chat_template, text), trim_of(l->chat_template, RAD_ROLE_ASSISTANT));
        if ((flags & RAD_CHAT_ANSWERS_SAY) != 0 && text.size == 0)
            return refuse(l, i, "has no form for an empty message of the assistant");
    }
    if ((flags & RAD_CHAT_ENDS_WITH_USER) != 0 && messages[count - 1].role != RAD_ROLE_USER)
        return refuse(l, count - 1, "needs a message of the user at the end");
    return RADLLM_OK;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Checks what the original template raises errors for. `first`: of the turns that count. */
static radllm_status check_turns(const layout *l, const rad_message *messages, size_t count,
                                 size_t first)
{
    const rad_chat_template *t = l->chat_template;
    for (size_t i = 0; i < count; i++) {
        bool system = messages[i].role == RAD_ROLE_SYSTEM;
        if (system && t->place == RAD_SYSTEM_REFUSED)
            return refuse(l, i, "has no place for a system message: put it into the user's text");
        if (system && i >= first && t->place != RAD_SYSTEM_TURN)
            return refuse(l, i, "takes a system message only at the beginning");
        if ((t->flags & RAD_CHAT_ALTERNATES) == 0 || i < first)
            continue;
        if ((messages[i].role == RAD_ROLE_USER) != ((i - first) % 2 == 0))
            return refuse(l, i, "needs user and assistant in turn, the user first");
    }
    return RADLLM_OK;
}

/* The user's message that carries the system message, or count. */
static size_t carrier_of(const rad_chat_template *t, const rad_message *messages, size_t count,
                         size_t first)
{
    if (first == 0)
        return count;
    if (t->place == RAD_SYSTEM_IN_FIRST_USER)
        return first;
    if (t->place == RAD_SYSTEM_IN_LAST_USER && messages[count - 1].role == RAD_ROLE_USER)
        return count - 1;
    return count;
}

static radllm_status add_head(layout *l, const rad_message *messages, size_t first)
{
    const rad_chat_template *t = l->chat_template;
    radllm_status status = add_field(l, RAD_CHAT_BEGIN);
    if (status != RADLLM_OK)
        return status;
    if (first > 0)
        return t->place == RAD_SYSTEM_AT_HEAD ? add_turn(l, RAD_ROLE_SYSTEM, messages[0].text)
                                              : RADLLM_OK;
    if (messages[0].role == RAD_ROLE_SYSTEM)
        return RADLLM_OK;
    if ((t->flags & RAD_CHAT_SYSTEM_NEEDED) != 0)
        return refuse(l, 0,
                      "writes a long text of its own where the first message is none of the "
                      "system: give one");
    return add_field(l, RAD_CHAT_DEFAULT);
}

static radllm_status add_message(layout *l, const rad_message *message)
{
    if (message->role == RAD_ROLE_SYSTEM && l->chat_template->place != RAD_SYSTEM_TURN)
        return RADLLM_OK;
    return add_turn(l, message->role,
                    message->role == RAD_ROLE_ASSISTANT ? answer_of(l->chat_template, message->text)
                                                        : message->text);
}

static radllm_status lay_out(layout *l, const rad_message *messages, size_t count)
{
    const rad_chat_template *t = l->chat_template;
    if (count == 0)
        return rad_fail(l->error, RADLLM_E_ARGUMENT,
                        "the chat has no messages: add at least one of the user");
    if ((t->flags & RAD_CHAT_EMPTY_IS_NONE) != 0 && messages[0].role == RAD_ROLE_SYSTEM &&
        messages[0].text.size == 0) {
        if (count == 1 || messages[1].role == RAD_ROLE_SYSTEM)
            return refuse(l, 0, "takes no empty system message: leave it out");
        messages++;
        count--;
        l->passed = 1;
    }
    /* A system message at the beginning that is no turn of its own is taken out of the row. */
    size_t first = messages[0].role == RAD_ROLE_SYSTEM && t->place != RAD_SYSTEM_TURN ? 1 : 0;
    radllm_status status = check_turns(l, messages, count, first);
    if (status == RADLLM_OK)
        status = check_answers(l, messages, count);
    if (status == RADLLM_OK)
        status = add_head(l, messages, first);
    if (status == RADLLM_OK && first == count && t->place == RAD_SYSTEM_IN_FIRST_USER)
        status = refuse(l, 0, "needs a user message behind the system message");
    size_t carrier = carrier_of(t, messages, count, first);
    for (size_t i = first; i < count && status == RADLLM_OK; i++)
        status = i == carrier ? add_user_with_system(l, messages[0].text, messages[i].text)
                              : add_message(l, &messages[i]);
    bool answer =
        (t->flags & RAD_CHAT_ENDS_THERE) == 0 || messages[count - 1].role != RAD_ROLE_ASSISTANT;
    return status == RADLLM_OK && answer ? add_field(l, RAD_CHAT_ANSWER) : status;
}

static void free_layout(layout *l)
{
    rad_free(l->allocator, l->spans, l->capacity * sizeof(rad_text_span));
}

radllm_status rad_chat_template_encode(const rad_chat_template *chat_template,
                                       const rad_tokenizer *tokenizer, const rad_message *messages,
                                       size_t count, rad_text date, rad_tokens *out,
                                       radllm_error *error)
{
    layout l = {.chat_template = chat_template,
                .tokenizer = tokenizer,
                .date = date_of(chat_template, date),
                .allocator = out->allocator,
                .error = error};
    radllm_status status = lay_out(&l, messages, count);
    if (status == RADLLM_OK)
        status = rad_tokenizer_encode_spans(tokenizer, l.spans, l.count, RAD_TOKENIZE_ADD_BOS, out,
                                            error);
    free_layout(&l);
    return status;
}

radllm_status rad_chat_template_text(const rad_chat_template *chat_template,
                                     const rad_tokenizer *tokenizer, const rad_message *messages,
                                     size_t count, rad_text date, const rad_allocator *allocator,
                                     char **text, size_t *size, radllm_error *error)
{
    layout l = {.chat_template = chat_template,
                .tokenizer = tokenizer,
                .date = date_of(chat_template, date),
                .allocator = allocator,
                .error = error};
    radllm_status status = lay_out(&l, messages, count);
    size_t total = 0;
    for (size_t i = 0; i < l.count && status == RADLLM_OK; i++)
        if (!rad_add_size(total, l.spans[i].text.size, &total))
            status = rad_fail(error, RADLLM_E_LIMIT, "the chat is longer than the address space");
    if (status == RADLLM_OK) {
        *text = rad_alloc(allocator, total + 1);
        if (*text == NULL)
            status = rad_fail_memory(error, total + 1);
    }
    if (status == RADLLM_OK) {
        size_t at = 0;
        for (size_t i = 0; i < l.count; at += l.spans[i++].text.size)
            if (l.spans[i].text.size > 0)
                memcpy(*text + at, l.spans[i].text.data, l.spans[i].text.size);
        (*text)[total] = '\0';
        *size = total;
    }
    free_layout(&l);
    return status;
}
