/* Reads the normalizers, pre-tokenizers and post-processors of tokenizer.json. */
#include <stdio.h>
#include <string.h>

#include "text/pipeline_read.h"
#include "text/utf8.h"

/* ---- members of objects --------------------------------------------------------------------- */

static radllm_status wrong_kind(const rad_pipeline_reader *r, const char *what, const char *key,
                                const char *wanted)
{
    return rad_fail(r->error, RADLLM_E_FORMAT,
                    "tokenizer.json: \"%s\" of %s must be %s; fetch the file again", key, what,
                    wanted);
}

radllm_status rad_read_flag(rad_pipeline_reader *r, uint32_t object, const char *what,
                            const char *key, bool fallback, bool *out)
{
    rad_tree_kind kind = rad_tree_kind_of(&r->json, rad_tree_get(&r->json, object, key));
    *out = kind == RAD_TREE_NULL ? fallback : kind == RAD_TREE_TRUE;
    return kind <= RAD_TREE_TRUE ? RADLLM_OK : wrong_kind(r, what, key, "true or false");
}

radllm_status rad_read_string(rad_pipeline_reader *r, uint32_t object, const char *what,
                              const char *key, size_t most, rad_text *out)
{
    uint32_t at = rad_tree_get(&r->json, object, key);
    *out = (rad_text){NULL, 0};
    if (rad_tree_kind_of(&r->json, at) == RAD_TREE_NULL)
        return RADLLM_OK;
    if (rad_tree_kind_of(&r->json, at) != RAD_TREE_STRING)
        return wrong_kind(r, what, key, "a string");
    rad_text text = rad_tree_text(&r->json, at);
    if (text.size > most)
        return rad_fail(r->error, RADLLM_E_LIMIT,
                        "tokenizer.json: \"%s\" of %s has %zu bytes; at most %zu are supported",
                        key, what, text.size, most);
    out->data = rad_arena_copy(r->arena, text.data, text.size);
    out->size = text.size;
    return out->data != NULL ? RADLLM_OK : rad_fail_memory(r->error, text.size);
}

radllm_status rad_read_count(rad_pipeline_reader *r, uint32_t object, const char *what,
                             const char *key, int64_t fallback, int64_t most, uint32_t *out)
{
    uint32_t at = rad_tree_get(&r->json, object, key);
    int64_t value = fallback;
    if (rad_tree_kind_of(&r->json, at) != RAD_TREE_NULL && !rad_tree_integer(&r->json, at, &value))
        return wrong_kind(r, what, key, "an integer");
    if (value < 0 || value > most)
        return rad_fail(r->error, RADLLM_E_LIMIT,
                        "tokenizer.json: \"%s\" of %s is %lld; 0 to %lld are supported", key, what,
                        (long long)value, (long long)most);
    *out = (uint32_t)value;
    return RADLLM_OK;
}

radllm_status rad_refuse_part(const rad_pipeline_reader *r, uint32_t part, const char *what)
{
    char quoted[RAD_QUOTE_SIZE];
    uint32_t type = rad_tree_get(&r->json, part, "type");
    if (rad_tree_kind_of(&r->json, type) != RAD_TREE_STRING)
        return rad_fail(r->error, RADLLM_E_FORMAT,
                        "tokenizer.json: a %s is no object with a \"type\"; fetch the file again",
                        what);
    rad_text name = rad_tree_text(&r->json, type);
    return rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                    "tokenizer.json: the %s \"%s\" is none that this version knows; use a newer "
                    "version, or a GGUF file of the model",
                    what, rad_quote(quoted, name.data, name.size));
}

/* Recursion ends with the levels that a JSON text may have. */
radllm_status rad_read_parts(rad_pipeline_reader *r, uint32_t part, const char *what,
                             const char *list, rad_read_part_fn read)
{
    if (rad_tree_kind_of(&r->json, part) == RAD_TREE_NULL)
        return RADLLM_OK;
    if (!rad_tree_is(&r->json, rad_tree_get(&r->json, part, "type"), "Sequence"))
        return read(r, part);
    uint32_t parts = rad_tree_get(&r->json, part, list);
    if (rad_tree_kind_of(&r->json, parts) != RAD_TREE_ARRAY)
        return wrong_kind(r, what, list, "an array");
    radllm_status status = RADLLM_OK;
    uint32_t at = rad_tree_first(parts);
    for (uint32_t i = 0; i < r->json.values[parts].size && status == RADLLM_OK;
         i++, at = r->json.values[at].next)
        status = rad_read_parts(r, at, what, list, read);
    return status;
}

radllm_status rad_read_pattern(rad_pipeline_reader *r, uint32_t part, const char *what,
                               rad_pattern *out)
{
    uint32_t pattern = rad_tree_get(&r->json, part, "pattern");
    rad_text regex;
    radllm_status status =
        rad_read_string(r, pattern, what, "String", RAD_CONTENT_MAX, &out->literal);
    if (status == RADLLM_OK)
        status = rad_read_string(r, pattern, what, "Regex", 16 * RAD_CONTENT_MAX, &regex);
    if (status != RADLLM_OK || out->literal.data != NULL)
        return status;
    if (regex.data == NULL)
        return wrong_kind(r, what, "pattern", "a \"String\" or a \"Regex\"");
    char where[64];
    snprintf(where, sizeof where, "tokenizer.json: %s", what);
    out->source = regex;
    return rad_regex_compile(r->arena, regex, where, &out->regex, r->error);
}

static bool is_type(const rad_pipeline_reader *r, uint32_t part, const char *name)
{
    return rad_tree_is(&r->json, rad_tree_get(&r->json, part, "type"), name);
}

static radllm_status too_many(const rad_pipeline_reader *r, const char *what)
{
    return rad_fail(r->error, RADLLM_E_LIMIT,
                    "tokenizer.json: there are more than %d parts of the kind %s, which no model "
                    "has: fetch the file again",
                    RAD_PARTS_MAX, what);
}

/* ---- normalizers ---------------------------------------------------------------------------- */

static radllm_status add_normalizer(rad_pipeline_reader *r, rad_normalizer normalizer)
{
    rad_pipeline *pipeline = r->pipeline;
    if (pipeline->n_normalizers == RAD_PARTS_MAX)
        return too_many(r, "normalizer");
    pipeline->normalizers[pipeline->n_normalizers++] = normalizer;
    return RADLLM_OK;
}

static radllm_status add_kind(rad_pipeline_reader *r, rad_normalizer_kind kind)
{
    return add_normalizer(r, (rad_normalizer){.kind = kind});
}

/* true or false of tokenizer_config.json. */
static bool configured(const rad_tree *config, const char *key, bool fallback)
{
    rad_tree_kind kind = rad_tree_kind_of(config, rad_tree_get(config, 0, key));
    return kind == RAD_TREE_TRUE || (fallback && kind != RAD_TREE_FALSE);
}

/* Whether tokenizer_config.json names a class that makes the whole of such a part (`key`) anew,
 * from that file alone: one of `classes`, or, with `usual`, none. */
static bool is_of_class(const rad_pipeline_reader *r, uint32_t part, const char *key,
                        const char *classes, bool usual)
{
    static const char fast[] = "Fast";
    const rad_tree *config = r->config;
    if (config->count == 0 || part != rad_tree_get(&r->json, 0, key))
        return false;
    uint32_t at = rad_tree_get(config, 0, "tokenizer_class");
    if (rad_tree_kind_of(config, at) != RAD_TREE_STRING)
        return usual && rad_tree_kind_of(config, at) == RAD_TREE_NULL;
    rad_text text = rad_tree_text(config, at);
    char name[40];
    if (text.size >= sizeof name || memchr(text.data, '\0', text.size) != NULL)
        return false;
    memcpy(name, text.data, text.size);
    name[text.size - (rad_ends_with(text.data, text.size, fast) ? sizeof fast - 1 : 0)] = '\0';
    return rad_is_one_of(name, classes);
}

static radllm_status read_bert(rad_pipeline_reader *r, uint32_t part)
{
    bool clean, chinese, strip, lowercase;
    const char *what = "a BertNormalizer";
    radllm_status status = rad_read_flag(r, part, what, "clean_text", true, &clean);
    if (status == RADLLM_OK)
        status = rad_read_flag(r, part, what, "handle_chinese_chars", true, &chinese);
    if (status == RADLLM_OK)
        status = rad_read_flag(r, part, what, "lowercase", true, &lowercase);
    if (status == RADLLM_OK)
        status = rad_read_flag(r, part, what, "strip_accents", lowercase, &strip);
    /* Older files do not name BERT's class. */
    if (is_of_class(r, part, "normalizer", "BertTokenizer|DistilBertTokenizer", true)) {
        lowercase = configured(r->config, "do_lower_case", true);
        strip = configured(r->config, "strip_accents", lowercase);
        chinese = configured(r->config, "tokenize_chinese_chars", true);
    }
    if (status == RADLLM_OK && clean)
        status = add_kind(r, RAD_NORMAL_BERT_CLEAN);
    if (status == RADLLM_OK && chinese)
        status = add_kind(r, RAD_NORMAL_BERT_CHINESE);
    if (status == RADLLM_OK && strip)
        status = add_kind(r, RAD_NORMAL_FORM); /* NFD */
    if (status == RADLLM_OK && strip)
        status = add_kind(r, RAD_NORMAL_DROP_NONSPACING);
    return status == RADLLM_OK && lowercase ? add_kind(r, RAD_NORMAL_LOWERCASE) : status;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes base64 into out; false where it is none. */
static bool decode_base64(rad_text text, uint8_t *out, size_t *size)
{
    uint32_t bits = 0;
    size_t n_bits = 0, written = 0, at = 0;
    for (; at < text.size && text.data[at] != '='; at++) {
        int digit = base64_digit(text.data[at]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[written++] = (uint8_t)(bits >> n_bits);
        }
    }
    while (at < text.size && text.data[at] == '=')
        at++;
    *size = written;
    return at == text.size && text.size % 4 == 0;
}

size_t rad_charsmap_bytes(const rad_charsmap *map)
{
    return 4 + (size_t)map->n_units * 4 + map->texts_size;
}

uint8_t rad_charsmap_byte(const rad_charsmap *map, size_t index)
{
    size_t tree = (size_t)map->n_units * 4;
    if (index >= 4 + tree)
        return map->texts[index - 4 - tree];
    uint32_t unit = index < 4 ? (uint32_t)tree : map->units[index / 4 - 1];
    return (uint8_t)(unit >> 8 * (index % 4));
}

bool rad_charsmap_make(rad_charsmap *map, uint8_t *bytes, size_t size)
{
    if (size < 4)
        return false;
    size_t tree =
        bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16 | (size_t)bytes[3] << 24;
    if (tree % 4 != 0 || tree > size - 4 || size - 4 - tree > UINT32_MAX)
        return false;
    bytes[size] = 0; /* behind the last text */
    uint32_t *units = (uint32_t *)(void *)(bytes + 4);
    for (size_t i = 0; i < tree / 4; i++) {
        const uint8_t *unit = bytes + 4 + 4 * i;
        units[i] =
            unit[0] | (uint32_t)unit[1] << 8 | (uint32_t)unit[2] << 16 | (uint32_t)unit[3] << 24;
    }
    *map =
        (rad_charsmap){units, (uint32_t)(tree / 4), bytes + 4 + tree, (uint32_t)(size - 4 - tree)};
    /* Every place of a text is a place in UTF-8, so the whole must be. */
    for (const uint8_t *p = map->texts, *end = bytes + size; p < end;) {
        int length = rad_utf8_strict(p, end);
        if (length <= 0)
            return false;
        p += length;
    }
    return true;
}

static radllm_status damaged_charsmap(const rad_pipeline_reader *r)
{
    return rad_fail(r->error, RADLLM_E_FORMAT,
                    "tokenizer.json: the precompiled_charsmap of a Precompiled is damaged; fetch "
                    "the file again");
}

/* That of GGUF's key, where the part has none. */
static radllm_status take_charsmap(rad_pipeline_reader *r)
{
    const rad_meta *meta = rad_source_find_meta(r->gguf, "tokenizer.ggml.precompiled_charsmap");
    rad_normalizer normalizer = {.kind = RAD_NORMAL_CHARSMAP};
    if (meta == NULL || !meta->is_array ||
        (meta->type != RAD_META_U8 && meta->type != RAD_META_I8) || meta->count > UINT32_MAX)
        return damaged_charsmap(r);
    size_t size = (size_t)meta->count;
    uint8_t *bytes = rad_arena_alloc(r->arena, size + 8, 4);
    if (bytes == NULL)
        return rad_fail_memory(r->error, size + 8);
    memcpy(bytes, meta->items, size);
    return rad_charsmap_make(&normalizer.charsmap, bytes, size) ? add_normalizer(r, normalizer)
                                                                : damaged_charsmap(r);
}

static radllm_status read_charsmap(rad_pipeline_reader *r, uint32_t part)
{
    uint32_t at = rad_tree_get(&r->json, part, "precompiled_charsmap");
    if (rad_tree_kind_of(&r->json, at) == RAD_TREE_NULL)
        return r->gguf != NULL ? take_charsmap(r) : RADLLM_OK;
    if (rad_tree_kind_of(&r->json, at) != RAD_TREE_STRING)
        return wrong_kind(r, "a Precompiled", "precompiled_charsmap", "a string");
    rad_text text = rad_tree_text(&r->json, at);
    if (text.size == 0)
        return RADLLM_OK;
    size_t room = text.size / 4 * 3 + 8, size = 0;
    uint8_t *bytes = rad_arena_alloc(r->arena, room, 4);
    if (bytes == NULL)
        return rad_fail_memory(r->error, room);
    rad_normalizer normalizer = {.kind = RAD_NORMAL_CHARSMAP};
    if (!decode_base64(text, bytes, &size) || !rad_charsmap_make(&normalizer.charsmap, bytes, size))
        return damaged_charsmap(r);
    return add_normalizer(r, normalizer);
}

static radllm_status read_replace(rad_pipeline_reader *r, uint32_t part)
{
    rad_normalizer normalizer = {.kind = RAD_NORMAL_REPLACE};
    radllm_status status = rad_read_pattern(r, part, "a Replace", &normalizer.pattern);
    if (status == RADLLM_OK)
        status =
            rad_read_string(r, part, "a Replace", "content", RAD_CONTENT_MAX, &normalizer.content);
    return status == RADLLM_OK ? add_normalizer(r, normalizer) : status;
}

static radllm_status read_normalizer(rad_pipeline_reader *r, uint32_t part)
{
    static const struct {
        const char *name;
        rad_normalizer normalizer;
    } plain[] = {
        {"NFD", {.kind = RAD_NORMAL_FORM}},
        {"NFC", {.kind = RAD_NORMAL_FORM, .compose = true}},
        {"NFKD", {.kind = RAD_NORMAL_FORM, .compatibility = true}},
        {"NFKC", {.kind = RAD_NORMAL_FORM, .compose = true, .compatibility = true}},
        {"Lowercase", {.kind = RAD_NORMAL_LOWERCASE}},
        {"StripAccents", {.kind = RAD_NORMAL_DROP_MARKS}},
        {"Nmt", {.kind = RAD_NORMAL_NMT}},
        {"ByteLevel", {.kind = RAD_NORMAL_LETTERS}},
    };
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (is_type(r, part, plain[i].name))
            return add_normalizer(r, plain[i].normalizer);
    if (is_type(r, part, "BertNormalizer"))
        return read_bert(r, part);
    if (is_type(r, part, "Precompiled"))
        return read_charsmap(r, part);
    if (is_type(r, part, "Replace"))
        return read_replace(r, part);
    rad_normalizer normalizer = {0};
    radllm_status status;
    if (is_type(r, part, "Prepend")) {
        normalizer.kind = RAD_NORMAL_PREPEND;
        status =
            rad_read_string(r, part, "a Prepend", "prepend", RAD_CONTENT_MAX, &normalizer.content);
        return status == RADLLM_OK ? add_normalizer(r, normalizer) : status;
    }
    if (!is_type(r, part, "Strip"))
        return rad_refuse_part(r, part, "normalizer");
    normalizer.kind = RAD_NORMAL_STRIP;
    status = rad_read_flag(r, part, "a Strip", "strip_left", true, &normalizer.left);
    if (status == RADLLM_OK)
        status = rad_read_flag(r, part, "a Strip", "strip_right", true, &normalizer.right);
    return status == RADLLM_OK ? add_normalizer(r, normalizer) : status;
}

radllm_status rad_read_normalizers(rad_pipeline_reader *r, uint32_t part)
{
    rad_pipeline *pipeline = r->pipeline;
    radllm_status status = rad_read_parts(r, part, "a normalizer", "normalizers", read_normalizer);
    bool lowers = !r->lowers;
    for (uint32_t i = 0; i < pipeline->n_normalizers; i++)
        lowers = lowers || pipeline->normalizers[i].kind == RAD_NORMAL_LOWERCASE;
    if (status != RADLLM_OK || lowers)
        return status;
    status = add_kind(r, RAD_NORMAL_LOWERCASE); /* before all others */
    for (uint32_t i = pipeline->n_normalizers; status == RADLLM_OK && i-- > 1;) {
        rad_normalizer first = pipeline->normalizers[i];
        pipeline->normalizers[i] = pipeline->normalizers[i - 1];
        pipeline->normalizers[i - 1] = first;
    }
    return status;
}

/* ---- pre-tokenizers ------------------------------------------------------------------------- */

static radllm_status add_splitter(rad_pipeline_reader *r, rad_splitter splitter)
{
    rad_pipeline *pipeline = r->pipeline;
    if (pipeline->n_splitters == RAD_PARTS_MAX)
        return too_many(r, "pre-tokenizer");
    pipeline->splitters[pipeline->n_splitters++] = splitter;
    return RADLLM_OK;
}

static radllm_status add_finder(rad_pipeline_reader *r, rad_find_fn find, uint32_t parameter,
                                rad_behavior behavior)
{
    rad_splitter splitter = {.kind = RAD_SPLIT_PATTERN, .behavior = behavior};
    splitter.pattern.find = find;
    splitter.pattern.parameter = parameter;
    return add_splitter(r, splitter);
}

static radllm_status read_behavior(rad_pipeline_reader *r, uint32_t part, rad_behavior fallback,
                                   rad_behavior *out)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    uint32_t at = rad_tree_get(&r->json, part, "behavior");
    *out = fallback;
    if (rad_tree_kind_of(&r->json, at) == RAD_TREE_NULL)
        return RADLLM_OK;
    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (rad_tree_is(&r->json, at, names[i])) {
            *out = (rad_behavior)i;
            return RADLLM_OK;
        }
    }
    return wrong_kind(r, "a pre-tokenizer", "behavior",
                      "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

static radllm_status read_byte_level(rad_pipeline_reader *r, uint32_t part)
{
    bool prefix, regex;
    radllm_status status = rad_read_flag(r, part, "a ByteLevel", "add_prefix_space", true, &prefix);
    if (status == RADLLM_OK)
        status = rad_read_flag(r, part, "a ByteLevel", "use_regex", true, &regex);
    if (is_of_class(r, part, "pre_tokenizer", "GPT2Tokenizer|RobertaTokenizer", false))
        prefix = configured(r->config, "add_prefix_space", false);
    if (status == RADLLM_OK && prefix)
        status = add_splitter(r, (rad_splitter){.kind = RAD_SPLIT_PREFIX_SPACE});
    rad_splitter split = {.kind = RAD_SPLIT_PATTERN, .behavior = RAD_BEHAVIOR_ISOLATED};
    split.pattern.split = rad_pretokenizer_find("gpt-2", 5)->stages[0];
    if (status == RADLLM_OK && regex)
        status = add_splitter(r, split);
    return status == RADLLM_OK ? add_splitter(r, (rad_splitter){.kind = RAD_SPLIT_LETTERS})
                               : status;
}

/* The only character of a text. */
static bool single_character(rad_text text, uint32_t *code)
{
    const uint8_t *p = (const uint8_t *)text.data;
    return text.size > 0 && rad_utf8_decode(p, p + text.size, code) == text.size;
}

static radllm_status read_prepend(rad_pipeline_reader *r, uint32_t part, rad_prepend *out)
{
    static const char *const names[] = {"never", "first", "always"};
    uint32_t at = rad_tree_get(&r->json, part, "prepend_scheme");
    bool prefix;
    radllm_status status = rad_read_flag(r, part, "a Metaspace", "add_prefix_space", true, &prefix);
    *out = prefix ? RAD_PREPEND_ALWAYS : RAD_PREPEND_NEVER;
    if (status != RADLLM_OK || rad_tree_kind_of(&r->json, at) == RAD_TREE_NULL)
        return status;
    for (uint32_t i = 0; i < 3; i++) {
        if (rad_tree_is(&r->json, at, names[i])) {
            *out = (rad_prepend)i;
            return RADLLM_OK;
        }
    }
    return wrong_kind(r, "a Metaspace", "prepend_scheme", "always, first or never");
}

static radllm_status read_metaspace(rad_pipeline_reader *r, uint32_t part)
{
    rad_splitter splitter = {.kind = RAD_SPLIT_METASPACE};
    bool split = true;
    uint32_t code;
    radllm_status status =
        rad_read_string(r, part, "a Metaspace", "replacement", RAD_CONTENT_MAX, &splitter.content);
    if (status == RADLLM_OK && !single_character(splitter.content, &code))
        return wrong_kind(r, "a Metaspace", "replacement", "one character");
    if (status == RADLLM_OK)
        status = read_prepend(r, part, &splitter.prepend);
    if (status == RADLLM_OK)
        status = rad_read_flag(r, part, "a Metaspace", "split", true, &split);
    if (status == RADLLM_OK)
        status = add_splitter(r, splitter);
    return status == RADLLM_OK && split
               ? add_finder(r, rad_pattern_code, code, RAD_BEHAVIOR_MERGED_WITH_NEXT)
               : status;
}

static radllm_status read_split(rad_pipeline_reader *r, uint32_t part)
{
    rad_splitter splitter = {.kind = RAD_SPLIT_PATTERN};
    radllm_status status = read_behavior(r, part, RAD_BEHAVIOR_ISOLATED, &splitter.behavior);
    if (status == RADLLM_OK)
        status = rad_read_flag(r, part, "a Split", "invert", false, &splitter.invert);
    /* Expressions that match everywhere have scanners that are faster. */
    uint32_t regex = rad_tree_get(&r->json, rad_tree_get(&r->json, part, "pattern"), "Regex");
    bool whole = splitter.invert ? splitter.behavior == RAD_BEHAVIOR_REMOVED
                                 : splitter.behavior == RAD_BEHAVIOR_ISOLATED;
    if (status == RADLLM_OK && whole && rad_tree_kind_of(&r->json, regex) == RAD_TREE_STRING) {
        rad_text text = rad_tree_text(&r->json, regex);
        splitter.pattern.split =
            rad_pretokenizer_find_pattern(text.data, text.size, splitter.invert);
        if (splitter.pattern.split != NULL) {
            splitter.behavior = RAD_BEHAVIOR_ISOLATED;
            splitter.invert = false;
            return add_splitter(r, splitter);
        }
    }
    if (status == RADLLM_OK)
        status = rad_read_pattern(r, part, "a Split", &splitter.pattern);
    return status == RADLLM_OK ? add_splitter(r, splitter) : status;
}

static radllm_status read_delimiter(rad_pipeline_reader *r, uint32_t part)
{
    rad_text text;
    uint32_t code;
    radllm_status status =
        rad_read_string(r, part, "a CharDelimiterSplit", "delimiter", RAD_CONTENT_MAX, &text);
    if (status != RADLLM_OK)
        return status;
    if (!single_character(text, &code))
        return wrong_kind(r, "a CharDelimiterSplit", "delimiter", "one character");
    return add_finder(r, rad_pattern_code, code, RAD_BEHAVIOR_REMOVED);
}

static radllm_status read_bert_splitter(rad_pipeline_reader *r)
{
    radllm_status status = add_finder(r, rad_pattern_space, 0, RAD_BEHAVIOR_REMOVED);
    return status == RADLLM_OK ? add_finder(r, rad_pattern_punctuation, 0, RAD_BEHAVIOR_ISOLATED)
                               : status;
}

static radllm_status read_simple_splitter(rad_pipeline_reader *r, uint32_t part)
{
    radllm_status status;
    if (is_type(r, part, "Digits")) {
        bool single;
        status = rad_read_flag(r, part, "a Digits", "individual_digits", false, &single);
        return status == RADLLM_OK
                   ? add_finder(r, rad_pattern_number, 0,
                                single ? RAD_BEHAVIOR_ISOLATED : RAD_BEHAVIOR_CONTIGUOUS)
                   : status;
    }
    if (is_type(r, part, "Punctuation")) {
        rad_behavior behavior;
        status = read_behavior(r, part, RAD_BEHAVIOR_ISOLATED, &behavior);
        return status == RADLLM_OK ? add_finder(r, rad_pattern_punctuation, 0, behavior) : status;
    }
    if (is_type(r, part, "FixedLength")) {
        rad_splitter splitter = {.kind = RAD_SPLIT_FIXED_LENGTH};
        status = rad_read_count(r, part, "a FixedLength", "length", 5, INT32_MAX, &splitter.length);
        if (status == RADLLM_OK && splitter.length == 0)
            return wrong_kind(r, "a FixedLength", "length", "at least 1");
        return status == RADLLM_OK ? add_splitter(r, splitter) : status;
    }
    bool scripts = is_type(r, part, "UnicodeScripts");
    if (!scripts && !is_type(r, part, "Whitespace"))
        return rad_refuse_part(r, part, "pre-tokenizer");
    rad_splitter words = {.kind = RAD_SPLIT_PATTERN, .behavior = RAD_BEHAVIOR_REMOVED};
    words.pattern.find = scripts ? rad_pattern_script : rad_pattern_word;
    words.invert = true;
    return add_splitter(r, words);
}

static radllm_status read_splitter(rad_pipeline_reader *r, uint32_t part)
{
    if (is_type(r, part, "ByteLevel"))
        return read_byte_level(r, part);
    if (is_type(r, part, "Metaspace"))
        return read_metaspace(r, part);
    if (is_type(r, part, "Split"))
        return read_split(r, part);
    if (is_type(r, part, "BertPreTokenizer"))
        return read_bert_splitter(r);
    if (is_type(r, part, "WhitespaceSplit"))
        return add_finder(r, rad_pattern_space, 0, RAD_BEHAVIOR_REMOVED);
    if (is_type(r, part, "CharDelimiterSplit"))
        return read_delimiter(r, part);
    return read_simple_splitter(r, part);
}

radllm_status rad_read_splitters(rad_pipeline_reader *r, uint32_t part)
{
    return rad_read_parts(r, part, "a pre-tokenizer", "pretokenizers", read_splitter);
}

/* ---- post-processors ------------------------------------------------------------------------ */

static radllm_status check_id(rad_pipeline_reader *r, uint32_t at, int32_t *out)
{
    int64_t id;
    if (!rad_tree_integer(&r->json, at, &id) || id < 0 || id >= r->tokenizer->vocabulary.size)
        return rad_fail(r->error, RADLLM_E_FORMAT,
                        "tokenizer.json: the post-processor names a token id that the vocabulary "
                        "of %u tokens does not have",
                        r->tokenizer->vocabulary.size);
    *out = (int32_t)id;
    return RADLLM_OK;
}

/* Puts a token in front of those before the text, or behind those after it. */
static radllm_status add_frame(rad_pipeline_reader *r, int32_t id, bool head, uint32_t at)
{
    rad_pipeline *pipeline = r->pipeline;
    uint32_t *count = head ? &pipeline->n_before : &pipeline->n_after;
    int32_t *ids = head ? pipeline->before : pipeline->after;
    if (*count == RAD_FRAME_MAX)
        return rad_fail(r->error, RADLLM_E_LIMIT,
                        "tokenizer.json: the post-processor puts more than %d tokens around a text",
                        RAD_FRAME_MAX);
    if (!head)
        at = *count;
    memmove(ids + at + 1, ids + at, (*count - at) * sizeof *ids);
    ids[at] = id;
    (*count)++;
    return RADLLM_OK;
}

/* ["[CLS]", 101] under a key */
static radllm_status read_pair(rad_pipeline_reader *r, uint32_t part, const char *key, bool head)
{
    uint32_t at = rad_tree_get(&r->json, part, key);
    int32_t id = 0;
    if (rad_tree_kind_of(&r->json, at) != RAD_TREE_ARRAY || r->json.values[at].size != 2)
        return wrong_kind(r, "a post-processor", key, "a token's text and id");
    radllm_status status = check_id(r, r->json.values[rad_tree_first(at)].next, &id);
    return status == RADLLM_OK ? add_frame(r, id, head, 0) : status;
}

/* The tokens of one special token of a template. */
static radllm_status add_special(rad_pipeline_reader *r, uint32_t part, uint32_t special, bool head,
                                 uint32_t *at)
{
    const rad_tree *json = &r->json;
    uint32_t name = rad_tree_get(json, special, "id");
    uint32_t table = rad_tree_get(json, part, "special_tokens"), ids = RAD_TREE_NONE;
    if (rad_tree_kind_of(json, name) == RAD_TREE_STRING &&
        rad_tree_kind_of(json, table) == RAD_TREE_OBJECT) {
        rad_text wanted = rad_tree_text(json, name);
        uint32_t key = rad_tree_first(table);
        for (uint32_t i = 0; i < json->values[table].size; i++) {
            rad_text text = rad_tree_text(json, key);
            if (text.size == wanted.size && memcmp(text.data, wanted.data, text.size) == 0)
                ids = rad_tree_get(json, key + 1, "ids");
            key = json->values[key + 1].next;
        }
    }
    if (rad_tree_kind_of(json, ids) != RAD_TREE_ARRAY)
        return rad_fail(r->error, RADLLM_E_FORMAT,
                        "tokenizer.json: the TemplateProcessing names a special token that its "
                        "special_tokens do not have");
    radllm_status status = RADLLM_OK;
    uint32_t item = rad_tree_first(ids);
    for (uint32_t i = 0; i < json->values[ids].size && status == RADLLM_OK;
         i++, item = json->values[item].next) {
        int32_t id = 0;
        status = check_id(r, item, &id);
        if (status == RADLLM_OK)
            status = add_frame(r, id, head, (*at)++);
    }
    return status;
}

static radllm_status read_template(rad_pipeline_reader *r, uint32_t part)
{
    const rad_tree *json = &r->json;
    uint32_t single = rad_tree_get(json, part, "single");
    if (rad_tree_kind_of(json, single) != RAD_TREE_ARRAY)
        return wrong_kind(r, "a TemplateProcessing", "single", "an array");
    uint32_t texts = 0, placed = 0, at = rad_tree_first(single);
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < json->values[single].size && status == RADLLM_OK;
         i++, at = json->values[at].next) {
        uint32_t special = rad_tree_get(json, at, "SpecialToken");
        if (special != RAD_TREE_NONE)
            status = add_special(r, part, special, texts == 0, &placed);
        else if (rad_tree_get(json, at, "Sequence") != RAD_TREE_NONE)
            texts++;
        else
            return wrong_kind(r, "a TemplateProcessing", "single",
                              "an array of \"SpecialToken\" and \"Sequence\"");
    }
    if (status == RADLLM_OK && texts != 1)
        return rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                        "tokenizer.json: the template of TemplateProcessing holds the text %u "
                        "times; once is supported",
                        texts);
    r->pipeline->framed = placed > 0;
    return status;
}

static radllm_status read_processor(rad_pipeline_reader *r, uint32_t part)
{
    if (is_type(r, part, "ByteLevel"))
        return RADLLM_OK; /* it only moves offsets */
    if (r->pipeline->framed)
        return rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                        "tokenizer.json: behind a TemplateProcessing that adds tokens this version "
                        "knows the post-processor \"ByteLevel\" alone");
    if (is_type(r, part, "TemplateProcessing"))
        return read_template(r, part);
    if (!is_type(r, part, "BertProcessing") && !is_type(r, part, "RobertaProcessing"))
        return rad_refuse_part(r, part, "post-processor");
    radllm_status status = read_pair(r, part, "cls", true);
    return status == RADLLM_OK ? read_pair(r, part, "sep", false) : status;
}

radllm_status rad_read_frame(rad_pipeline_reader *r, uint32_t part)
{
    return rad_read_parts(r, part, "a post-processor", "processors", read_processor);
}
