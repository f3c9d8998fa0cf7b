/* Making a tokenizer from a model file, and what it tells about its tokens. */
#include "text/tokenizer.h"

#include <string.h>

#include "text/tokenizer_internal.h"
#include "text/tokenizer_json.h"

#define KEY(name) "tokenizer.ggml." name

/* ---- which kind --------------------------------------------------------------------- */

static bool text_is(const rad_text *text, const char *other)
{
    return text->data != NULL && text->size == strlen(other) &&
           memcmp(text->data, other, text->size) == 0;
}

static radllm_status read_pretokenizer(rad_tokenizer *tokenizer, const rad_source *source,
                                       radllm_error *error)
{
    rad_text name;
    radllm_status status = rad_meta_text(source, KEY("pre"), &name, error);
    if (status != RADLLM_OK)
        return status;
    if (name.data == NULL || name.size == 0) {
        rad_log_line(
            &tokenizer->host, RADLLM_LOG_WARNING,
            "the model file has no " KEY("pre") ": the default pre-tokenizer is used, which may "
                                                "cut text otherwise than in training");
        name.data = "default";
        name.size = strlen(name.data);
    }
    tokenizer->pretokenizer = rad_pretokenizer_find(name.data, name.size);
    if (tokenizer->pretokenizer == NULL) {
        char quoted[RAD_QUOTE_SIZE];
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        KEY("pre") " is \"%s\", a pre-tokenizer that this version does not know; "
                                   "use a newer version, or a model of a known family",
                        rad_quote(quoted, name.data, name.size));
    }
    memcpy(tokenizer->pre, name.data, name.size); /* a known name is short */
    return RADLLM_OK;
}

static radllm_status read_model(rad_tokenizer *tokenizer, const rad_source *source,
                                radllm_error *error)
{
    rad_text name;
    radllm_status status = rad_meta_text(source, KEY("model"), &name, error);
    if (status != RADLLM_OK)
        return status;
    if (name.data == NULL)
        return rad_fail(
            error, RADLLM_E_FORMAT,
            "the key " KEY("model") " is missing: the file has no tokenizer; use a file "
                                    "that was converted with its tokenizer");
    if (text_is(&name, "llama")) {
        tokenizer->model = RAD_MODEL_SENTENCEPIECE;
        tokenizer->add_bos = true;
        tokenizer->add_space_prefix = true;
        return RADLLM_OK;
    }
    if (text_is(&name, "bert")) {
        tokenizer->model = RAD_MODEL_WORDPIECE;
        return RADLLM_OK;
    }
    if (text_is(&name, "gpt2")) {
        tokenizer->model = RAD_MODEL_BYTE_LEVEL;
        status = read_pretokenizer(tokenizer, source, error);
        if (status == RADLLM_OK)
            tokenizer->add_bos = tokenizer->pretokenizer->add_bos;
        return status;
    }
    if (text_is(&name, "t5")) {
        tokenizer->model = RAD_MODEL_SPM;
        tokenizer->add_space_prefix = true;
        return RADLLM_OK;
    }
    if (text_is(&name, "none")) {
        tokenizer->model = RAD_MODEL_NONE;
        return RADLLM_OK;
    }
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(error, RADLLM_E_UNSUPPORTED,
                    KEY("model") " is \"%s\"; this version knows \"llama\", \"gpt2\", "
                                 "\"bert\", \"t5\" and \"none\"",
                    rad_quote(quoted, name.data, name.size));
}

/* ---- ids and flags ------------------------------------------------------------------ */

/* Reads a token id; without the key, `fallback` where the vocabulary has it and -1 where not. */
static radllm_status read_id(const rad_tokenizer *tokenizer, const rad_source *source,
                             const char *key, int32_t fallback, int32_t *out, radllm_error *error)
{
    uint32_t size = tokenizer->vocabulary.size;
    int64_t value;
    radllm_status status = rad_meta_integer(
        source, key, INT64_MIN, INT64_MAX, fallback < (int64_t)size ? fallback : -1, &value, error);
    if (status != RADLLM_OK)
        return status;
    if (value >= (int64_t)size || (value < 0 && rad_source_find_meta(source, key) != NULL))
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s is %lld, but the vocabulary has %u tokens (0 to %u); convert the model "
                        "again",
                        key, (long long)value, size, size - 1);
    *out = (int32_t)value;
    return RADLLM_OK;
}

/* Some converters write this for a token that the vocabulary does not have. */
#define NO_TOKEN UINT32_MAX

/* Reads the id of a token that only some vocabularies need. */
static radllm_status read_optional_id(const rad_tokenizer *tokenizer, const rad_source *source,
                                      const char *key, int32_t fallback, int32_t *out,
                                      radllm_error *error)
{
    const rad_meta *meta = rad_source_find_meta(source, key);
    if (meta != NULL && !meta->is_array && meta->type == RAD_META_U32 &&
        rad_meta_item_u64(meta, 0) == NO_TOKEN) {
        *out = -1;
        return RADLLM_OK;
    }
    return read_id(tokenizer, source, key, fallback, out, error);
}

static radllm_status read_ids(rad_tokenizer *tokenizer, const rad_source *source,
                              radllm_error *error)
{
    static const int32_t defaults[][4] = {
        /* bos, eos, unknown, separator, by rad_tokenizer_model */
        [RAD_MODEL_SENTENCEPIECE] = {1, 2, 0, -1},   [RAD_MODEL_BYTE_LEVEL] = {11, 11, -1, -1},
        [RAD_MODEL_WORDPIECE] = {101, -1, 100, 102}, [RAD_MODEL_NONE] = {-1, -1, -1, -1},
        [RAD_MODEL_SPM] = {-1, 1, -1, -1},           [RAD_MODEL_PIPELINE] = {-1, -1, -1, -1},
    };
    const int32_t *fallback = defaults[tokenizer->model];
    bool no_bos = tokenizer->pretokenizer != NULL && tokenizer->pretokenizer->no_bos;
    radllm_status status = read_id(tokenizer, source, KEY("bos_token_id"),
                                   no_bos ? -1 : fallback[0], &tokenizer->bos, error);
    if (status == RADLLM_OK && tokenizer->model == RAD_MODEL_WORDPIECE)
        status =
            read_id(tokenizer, source, KEY("cls_token_id"), tokenizer->bos, &tokenizer->bos, error);
    if (status == RADLLM_OK)
        status =
            read_id(tokenizer, source, KEY("eos_token_id"), fallback[1], &tokenizer->eos, error);
    if (status == RADLLM_OK)
        status = read_optional_id(tokenizer, source, KEY("unknown_token_id"), fallback[2],
                                  &tokenizer->unknown, error);
    if (status == RADLLM_OK)
        status = read_optional_id(tokenizer, source, KEY("separator_token_id"), fallback[3],
                                  &tokenizer->separator, error);
    if (status == RADLLM_OK) /* the spelling that converters write */
        status = read_optional_id(tokenizer, source, KEY("seperator_token_id"),
                                  tokenizer->separator, &tokenizer->separator, error);
    return status;
}

static radllm_status read_flags(rad_tokenizer *tokenizer, const rad_source *source,
                                radllm_error *error)
{
    bool add_bos = tokenizer->add_bos;
    bool add_eos = false;
    radllm_status status =
        rad_meta_bool(source, KEY("add_space_prefix"), tokenizer->add_space_prefix,
                      &tokenizer->add_space_prefix, error);
    if (status == RADLLM_OK)
        status = rad_meta_bool(source, KEY("add_bos_token"), add_bos, &add_bos, error);
    if (status == RADLLM_OK)
        status = rad_meta_bool(source, KEY("add_eos_token"), add_eos, &add_eos, error);
    if (status != RADLLM_OK)
        return status;
    if (tokenizer->model ==
        RAD_MODEL_BYTE_LEVEL) { /* whose texts begin as they are: none is false */
        tokenizer->add_space_prefix = false;
        status = rad_meta_bool(source, RAD_KEY_NFC, rad_pre_composes(tokenizer->pre),
                               &tokenizer->composes, error);
        if (status != RADLLM_OK)
            return status;
    }
    if (tokenizer->model == RAD_MODEL_WORDPIECE) { /* always [CLS] text [SEP] */
        bool lowercase, strip;
        status = rad_meta_bool(source, KEY("normalizer.lowercase"), true, &lowercase, error);
        if (status == RADLLM_OK)
            status =
                rad_meta_bool(source, KEY("normalizer.strip_accents"), lowercase, &strip, error);
        if (status != RADLLM_OK)
            return status;
        tokenizer->keep_case = !lowercase;
        tokenizer->keep_accents = !strip;
        tokenizer->add_bos = tokenizer->bos >= 0;
        tokenizer->add_eos = tokenizer->separator >= 0;
        return RADLLM_OK;
    }
    if (add_bos && tokenizer->bos < 0 && rad_source_find_meta(source, KEY("add_bos_token")) != NULL)
        return rad_fail(error, RADLLM_E_FORMAT,
                        KEY("add_bos_token") " is true, but there is no " KEY("bos_token_id"));
    if (add_eos && tokenizer->eos < 0)
        return rad_fail(error, RADLLM_E_FORMAT,
                        KEY("add_eos_token") " is true, but there is no " KEY("eos_token_id"));
    tokenizer->add_bos = add_bos && tokenizer->bos >= 0;
    tokenizer->add_eos = add_eos;
    return RADLLM_OK;
}

/* ---- tokens known by their text ----------------------------------------------------- */

/* Texts that are control tokens whatever the file says of their type, as their models use them. */
static const struct {
    const char *text;
    bool ends; /* generation ends with it */
} known_controls[] = {
    {"<|eot_id|>", true},
    {"<|im_end|>", true},
    {"<|end|>", true},
    {"<|return|>", true},
    {"<|call|>", true},
    {"<end_of_turn>", true},
    {"<|endoftext|>", true},
    {"<|eom_id|>", true},
    {"<|end_of_text|>", true},
    {"<end_of_utterance>", true},
    {"[EOT]", true},
    {"[EOS]", true},
    {"<eos>", true},
    {"<turn|>", true},
    {"[e~[", true},
    {"<|flush|>", true},
    {"<|calls|>", true},
    {"<EOT>", true},
    {"<\xEF\xBD\x9C"
     "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
     true},
    {"<|fim_pad|>", true},
    {"<fim-pad>", true},
    {"<|fim_repo|>", true},
    {"<|repo_name|>", true},
    {"<fim-repo>", true},
    {"<|file_sep|>", true},
    {"<|fim_prefix|>", false},
    {"<fim-prefix>", false},
    {"<|fim_suffix|>", false},
    {"<fim-suffix>", false},
    {"<|fim_middle|>", false},
    {"<fim-middle>", false},
};

static void set_bit(uint8_t *bits, int32_t id)
{
    if (id >= 0)
        bits[id >> 3] = (uint8_t)(bits[id >> 3] | 1u << (id & 7));
}

static int32_t find_name(const rad_tokenizer *tokenizer, const char *text)
{
    return rad_vocabulary_find(&tokenizer->vocabulary, (const uint8_t *)text, strlen(text));
}

/* In the harmony format, and in that of Solar, <|end|> ends a message of several, not the answer.
 */
static bool is_harmony(const rad_tokenizer *tokenizer)
{
    return (find_name(tokenizer, "<|return|>") >= 0 || find_name(tokenizer, "<|flush|>") >= 0) &&
           (find_name(tokenizer, "<|call|>") >= 0 || find_name(tokenizer, "<|calls|>") >= 0);
}

static bool is_sentence_end(const rad_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && id == find_name(tokenizer, "</s>") &&
           tokenizer->vocabulary.types[id] == RAD_TOKEN_CONTROL;
}

bool rad_tokenizer_ends_by_text(const rad_tokenizer *tokenizer, int32_t id)
{
    for (size_t i = 0; i < sizeof known_controls / sizeof known_controls[0]; i++)
        if (known_controls[i].ends && find_name(tokenizer, known_controls[i].text) == id)
            return !is_harmony(tokenizer) || strcmp(known_controls[i].text, "<|end|>") != 0;
    return is_sentence_end(tokenizer, id);
}

/* Marks tokens that end generation by their texts; those are control tokens whatever type a GGUF
 * file gives them. */
void rad_tokenizer_find_ends(rad_tokenizer *tokenizer)
{
    rad_vocabulary *vocabulary = &tokenizer->vocabulary;
    bool harmony = is_harmony(tokenizer);
    for (size_t i = 0; i < sizeof known_controls / sizeof known_controls[0]; i++) {
        int32_t id = find_name(tokenizer, known_controls[i].text);
        if (id < 0)
            continue;
        if (tokenizer->pipeline == NULL && tokenizer->spm == NULL)
            vocabulary->types[id] = RAD_TOKEN_CONTROL;
        if (known_controls[i].ends && !(harmony && strcmp(known_controls[i].text, "<|end|>") == 0))
            set_bit(tokenizer->ends, id);
    }
    int32_t sentence_end = find_name(tokenizer, "</s>");
    if (is_sentence_end(tokenizer, sentence_end))
        set_bit(tokenizer->ends, sentence_end);
    set_bit(tokenizer->ends, tokenizer->eos);
}

/* Fills the set of tokens that end generation; sets the type of known control tokens. */
static radllm_status find_ends(rad_tokenizer *tokenizer, const rad_source *source,
                               radllm_error *error)
{
    rad_vocabulary *vocabulary = &tokenizer->vocabulary;
    size_t bytes = (size_t)vocabulary->size / 8 + 1;
    tokenizer->ends = rad_arena_alloc_zero(&vocabulary->arena, bytes, 1);
    if (tokenizer->ends == NULL)
        return rad_fail_memory(error, bytes);
    rad_tokenizer_find_ends(tokenizer);
    static const struct {
        const char *key;
        bool ends;
    } keys[] = {
        {KEY("eot_token_id"), true},      {KEY("eom_token_id"), true},
        {KEY("fim_pad_token_id"), true},  {KEY("fim_rep_token_id"), true},
        {KEY("fim_sep_token_id"), true},  {KEY("fim_pre_token_id"), false},
        {KEY("fim_suf_token_id"), false}, {KEY("fim_mid_token_id"), false},
        {KEY("prefix_token_id"), false},  {KEY("suffix_token_id"), false},
        {KEY("middle_token_id"), false},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        int32_t id = -1;
        radllm_status status = read_optional_id(tokenizer, source, keys[i].key, -1, &id, error);
        if (status != RADLLM_OK)
            return status;
        if (keys[i].ends)
            set_bit(tokenizer->ends, id);
    }
    radllm_status status = read_optional_id(tokenizer, source, KEY("padding_token_id"), -1,
                                            &tokenizer->padding, error);
    return status != RADLLM_OK ? status
                               : read_optional_id(tokenizer, source, KEY("mask_token_id"), -1,
                                                  &tokenizer->mask, error);
}

static bool contains_any_case(const rad_text *text, const char *word)
{
    size_t length = strlen(word);
    for (size_t i = 0; i + length <= text->size; i++) {
        size_t same = 0;
        while (same < length) {
            char c = text->data[i + same];
            if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != word[same])
                break;
            same++;
        }
        if (same == length)
            return true;
    }
    return false;
}

/* Our own keys: the ids of added tokens that are not found as others are, and how they are. */
radllm_status rad_tokenizer_read_added(const rad_tokenizer *tokenizer, const rad_source *source,
                                       uint8_t *added, bool *found, radllm_error *error)
{
    const uint8_t kept = RAD_ADDED_KEPT | (tokenizer->pipeline != NULL ? RAD_ADDED_OUTSIDE : 0);
    const rad_meta *ids = rad_source_find_meta(source, RAD_KEY_ADDED_IDS);
    const rad_meta *flags = rad_source_find_meta(source, RAD_KEY_ADDED_FLAGS);
    *found = ids != NULL && flags != NULL;
    if (!*found)
        return RADLLM_OK;
    if (!ids->is_array || !flags->is_array || ids->type != RAD_META_U32 ||
        flags->type != RAD_META_U8 || ids->count != flags->count)
        return rad_fail(error, RADLLM_E_FORMAT,
                        RAD_KEY_ADDED_IDS " and " RAD_KEY_ADDED_FLAGS
                                          " must be arrays of u32 and u8 of one length; convert "
                                          "the model again");
    for (uint64_t i = 0; i < ids->count; i++) {
        uint64_t id = rad_meta_item_u64(ids, i);
        if (id >= tokenizer->vocabulary.size)
            return rad_fail(error, RADLLM_E_FORMAT,
                            RAD_KEY_ADDED_IDS "[%llu] is %llu, but the vocabulary has %u tokens",
                            (unsigned long long)i, (unsigned long long)id,
                            tokenizer->vocabulary.size);
        added[id] = (uint8_t)(rad_meta_item_u64(flags, i) & kept);
    }
    return RADLLM_OK;
}

static void set_added(rad_tokenizer *tokenizer, const char *text, uint8_t flags)
{
    int32_t id = find_name(tokenizer, text);
    if (id >= 0)
        tokenizer->added[id] = flags;
}

bool rad_strips_by_name(const rad_source *source)
{
    const rad_meta *name = rad_source_find_meta(source, "general.name");
    bool named = name != NULL && !name->is_array && name->type == RAD_META_STRING;
    return named &&
           (contains_any_case(name->strings, "phi-3") || contains_any_case(name->strings, "phi3"));
}

/* The special tokens of Phi-3 swallow the white space behind them, and the mask of some others that
 * before it. Other converters' files have no field for this, so that models are known by name. */
static radllm_status find_strips(rad_tokenizer *tokenizer, const rad_source *source,
                                 radllm_error *error)
{
    rad_vocabulary *vocabulary = &tokenizer->vocabulary;
    bool found;
    tokenizer->added = rad_arena_alloc_zero(&vocabulary->arena, vocabulary->size, 1);
    if (tokenizer->added == NULL)
        return rad_fail_memory(error, vocabulary->size);
    radllm_status status =
        rad_tokenizer_read_added(tokenizer, source, tokenizer->added, &found, error);
    if (status != RADLLM_OK || found)
        return status;
    if (strncmp(tokenizer->pre, "jina-v2-", 8) == 0)
        set_added(tokenizer, "<mask>", RAD_ADDED_LSTRIP);
    if (!rad_strips_by_name(source))
        return RADLLM_OK;
    for (uint32_t id = 0; id < vocabulary->size; id++) {
        uint8_t type = vocabulary->types[id];
        if (type == RAD_TOKEN_CONTROL || type == RAD_TOKEN_USER_DEFINED ||
            type == RAD_TOKEN_UNKNOWN)
            tokenizer->added[id] = RAD_ADDED_RSTRIP;
    }
    set_added(tokenizer, "<unk>", 0);
    set_added(tokenizer, "<s>", 0);
    set_added(tokenizer, "<|endoftext|>", 0);
    return RADLLM_OK;
}

/* ---- the whole ---------------------------------------------------------------------- */

/* Of a file that has the parts of a tokenizer.json: what these say of tokens counts. */
static radllm_status make_parts(rad_tokenizer *tokenizer, const rad_source *source,
                                radllm_error *error)
{
    tokenizer->pretokenizer = NULL;
    radllm_status status = rad_tokenizer_read_parts(tokenizer, source, error);
    int32_t unknown = tokenizer->unknown;
    if (status == RADLLM_OK)
        status = read_ids(tokenizer, source, error);
    tokenizer->unknown = unknown;
    return status == RADLLM_OK ? find_ends(tokenizer, source, error) : status;
}

static radllm_status make(rad_tokenizer *tokenizer, const rad_source *source, radllm_error *error)
{
    rad_vocabulary *vocabulary = &tokenizer->vocabulary;
    bool byte_level;
    radllm_status status = read_model(tokenizer, source, error);
    if (status == RADLLM_OK && tokenizer->model != RAD_MODEL_NONE &&
        rad_source_find_meta(source, RAD_KEY_PARTS) != NULL)
        return make_parts(tokenizer, source, error);
    byte_level = tokenizer->model == RAD_MODEL_BYTE_LEVEL;
    if (status == RADLLM_OK)
        status = tokenizer->model == RAD_MODEL_NONE
                     ? rad_vocabulary_count(vocabulary, source, error)
                     : rad_vocabulary_read(vocabulary, source, error);
    if (status == RADLLM_OK)
        status = read_ids(tokenizer, source, error);
    if (status == RADLLM_OK)
        status = read_flags(tokenizer, source, error);
    if (status == RADLLM_OK && tokenizer->model == RAD_MODEL_SPM)
        status = rad_spm_read(tokenizer, source, error);
    if (status == RADLLM_OK)
        status = find_ends(tokenizer, source, error);
    if (status == RADLLM_OK)
        status = rad_vocabulary_make_pieces(vocabulary, byte_level, error);
    if (status == RADLLM_OK)
        status = find_strips(tokenizer, source, error);
    if (status == RADLLM_OK && tokenizer->model != RAD_MODEL_SPM)
        status = rad_specials_make(&tokenizer->specials, vocabulary, error);
    if (status == RADLLM_OK && byte_level)
        status = rad_byte_level_make(tokenizer, source, error);
    if (status == RADLLM_OK && tokenizer->model == RAD_MODEL_SENTENCEPIECE)
        status = rad_sentencepiece_make(tokenizer, error);
    return status;
}

rad_tokenizer *rad_tokenizer_new(const rad_host *host)
{
    const rad_allocator *allocator = host != NULL && host->allocator.allocate != NULL
                                         ? &host->allocator
                                         : &rad_default_allocator;
    rad_tokenizer *tokenizer = rad_alloc_zero(allocator, sizeof *tokenizer);
    if (tokenizer == NULL)
        return NULL;
    if (host != NULL)
        tokenizer->host = *host;
    tokenizer->host.allocator = *allocator;
    tokenizer->vocabulary.arena.allocator = &tokenizer->host.allocator;
    tokenizer->padding = tokenizer->mask = -1;
    tokenizer->rules.vocabulary = &tokenizer->vocabulary;
    tokenizer->rules.seed = (uint64_t)(uintptr_t)tokenizer * UINT64_C(0xD6E8FEB86659FD93);
    return tokenizer;
}

radllm_status rad_tokenizer_create(const rad_host *host, const rad_source *source,
                                   rad_tokenizer **out, radllm_error *error)
{
    if (rad_tokenizer_is_folder(source))
        return rad_tokenizer_create_folder(host, source, out, error);
    rad_tokenizer *tokenizer = rad_tokenizer_new(host);
    if (tokenizer == NULL)
        return rad_fail_memory(error, sizeof *tokenizer);
    radllm_status status = make(tokenizer, source, error);
    if (status != RADLLM_OK) {
        rad_tokenizer_free(tokenizer);
        return status;
    }
    *out = tokenizer;
    return RADLLM_OK;
}

void rad_tokenizer_free(rad_tokenizer *tokenizer)
{
    if (tokenizer == NULL)
        return;
    rad_arena_free(&tokenizer->vocabulary.arena);
    rad_allocator allocator = tokenizer->host.allocator;
    rad_free(&allocator, tokenizer, sizeof *tokenizer);
}

/* ---- what it tells ------------------------------------------------------------------ */

uint32_t rad_tokenizer_size(const rad_tokenizer *tokenizer)
{
    return tokenizer->vocabulary.size;
}

const char *rad_tokenizer_kind(const rad_tokenizer *tokenizer)
{
    static const char *const names[] = {"llama", "gpt2", "bert", "none"}; /* by RAD_MODEL_... */
    static const char *const models[] = {"bpe", "unigram", "wordpiece", "wordlevel"};
    if (tokenizer->spm != NULL && (tokenizer->spm->words || tokenizer->spm->characters))
        return tokenizer->spm->words ? "word" : "char";
    if (tokenizer->spm != NULL)
        return models[tokenizer->spm->unigram ? RAD_PIPELINE_UNIGRAM : RAD_PIPELINE_BPE];
    return tokenizer->pipeline != NULL ? models[tokenizer->pipeline->model]
                                       : names[tokenizer->model];
}

const char *rad_tokenizer_pre(const rad_tokenizer *tokenizer)
{
    return tokenizer->pre;
}

int32_t rad_tokenizer_bos(const rad_tokenizer *tokenizer)
{
    return tokenizer->bos;
}

int32_t rad_tokenizer_padding(const rad_tokenizer *tokenizer)
{
    return tokenizer->padding;
}

int32_t rad_tokenizer_eos(const rad_tokenizer *tokenizer)
{
    return tokenizer->eos;
}

bool rad_tokenizer_adds_bos(const rad_tokenizer *tokenizer)
{
    return tokenizer->add_bos;
}

bool rad_tokenizer_adds_eos(const rad_tokenizer *tokenizer)
{
    return tokenizer->add_eos;
}

static bool in_range(const rad_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && (uint32_t)id < tokenizer->vocabulary.size;
}

bool rad_tokenizer_is_end(const rad_tokenizer *tokenizer, int32_t id)
{
    return in_range(tokenizer, id) && rad_token_bit(tokenizer->ends, id);
}

rad_token_type rad_tokenizer_type(const rad_tokenizer *tokenizer, int32_t id)
{
    return in_range(tokenizer, id) ? (rad_token_type)tokenizer->vocabulary.types[id]
                                   : RAD_TOKEN_UNUSED;
}

rad_text rad_tokenizer_entry(const rad_tokenizer *tokenizer, int32_t id)
{
    rad_text result = {"", 0};
    if (in_range(tokenizer, id))
        result.data =
            (const char *)rad_vocabulary_entry(&tokenizer->vocabulary, (uint32_t)id, &result.size);
    return result;
}

int32_t rad_tokenizer_find(const rad_tokenizer *tokenizer, const char *entry, size_t size)
{
    return rad_vocabulary_find(&tokenizer->vocabulary, (const uint8_t *)entry, size);
}

rad_text rad_tokenizer_chat_template(const rad_tokenizer *tokenizer)
{
    return tokenizer->pipeline != NULL ? tokenizer->pipeline->chat_template : (rad_text){"", 0};
}

size_t rad_tokenizer_bytes(const rad_tokenizer *tokenizer)
{
    return sizeof *tokenizer + rad_arena_bytes(&tokenizer->vocabulary.arena);
}
