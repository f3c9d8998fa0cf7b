#include "text/export.h"

#include <stdio.h>
#include <string.h>

#include "text/json_writer.h"

#define KEY(name) "tokenizer.ggml." name

typedef struct exporter {
    const rad_tokenizer *tokenizer;
    const rad_pipeline *pipeline;
    uint32_t size;
    bool strips; /* readers take it for granted that tokens do */
    bool keyed;  /* the parts of tokenizer.json stand in a key of their own */
    rad_put_meta put;
    void *user;
    rad_arena arena; /* of lists, until they were given */
    radllm_error *error;
    radllm_status status; /* the first failure; later calls do nothing */
} exporter;

/* ---- entries -------------------------------------------------------------------------------- */

static void put(exporter *x, rad_meta meta, const char *key)
{
    meta.key = (rad_text){key, strlen(key)};
    if (x->status == RADLLM_OK)
        x->status = x->put(x->user, &meta, x->error);
}

static void put_text(exporter *x, const char *key, const char *text)
{
    rad_text value = {text, strlen(text)};
    put(x, (rad_meta){.type = RAD_META_STRING, .count = 1, .strings = &value}, key);
}

static void put_flag(exporter *x, const char *key, bool value)
{
    uint8_t byte = value;
    put(x, (rad_meta){.type = RAD_META_BOOL, .count = 1, .items = &byte}, key);
}

static void put_id(exporter *x, const char *key, int32_t id)
{
    uint8_t bytes[4] = {(uint8_t)id, (uint8_t)(id >> 8), (uint8_t)(id >> 16), (uint8_t)(id >> 24)};
    if (id >= 0)
        put(x, (rad_meta){.type = RAD_META_U32, .count = 1, .items = bytes}, key);
}

static void *list_of(exporter *x, uint64_t count, size_t size)
{
    size_t bytes;
    void *list = x->status == RADLLM_OK && rad_mul_size((size_t)count, size, &bytes)
                     ? rad_arena_alloc_zero(&x->arena, bytes + 1, 8)
                     : NULL;
    if (list == NULL && x->status == RADLLM_OK)
        x->status = rad_fail_memory(x->error, (size_t)count * size);
    return list;
}

static void refuse(exporter *x, const char *what)
{
    if (x->status == RADLLM_OK)
        x->status =
            rad_fail(x->error, RADLLM_E_UNSUPPORTED,
                     "the folder's tokenizer: %s, which GGUF has no words for; run the folder as "
                     "it is",
                     what);
}

/* ---- tokens --------------------------------------------------------------------------------- */

static bool is_wordpiece(const exporter *x)
{
    return x->pipeline != NULL && x->pipeline->model == RAD_PIPELINE_WORDPIECE;
}

static rad_text entry_of(const exporter *x, uint32_t id)
{
    return rad_tokenizer_entry(x->tokenizer, (int32_t)id);
}

/* GGUF marks beginnings of words, where tokenizer.json marks what continues them. */
static rad_text name_piece(exporter *x, uint32_t id)
{
    rad_text prefix = x->pipeline->prefix, text = entry_of(x, id);
    bool bracketed = text.size > 1 && text.data[0] == '[' && text.data[text.size - 1] == ']';
    if (bracketed || x->tokenizer->vocabulary.types[id] != RAD_TOKEN_NORMAL)
        return text; /* added tokens are no words */
    if (text.size >= prefix.size && memcmp(text.data, prefix.data, prefix.size) == 0)
        return (rad_text){text.data + prefix.size, text.size - prefix.size};
    char *marked = list_of(x, text.size + 3, 1);
    if (marked == NULL)
        return text;
    memcpy(marked, RAD_MARK, 3);
    memcpy(marked + 3, text.data, text.size);
    return (rad_text){marked, text.size + 3};
}

/* Ids that no token has get a name that no text has. */
static rad_text name_gap(exporter *x, uint32_t id)
{
    char *name = list_of(x, 24, 1);
    if (name == NULL)
        return (rad_text){"", 0};
    int size = snprintf(name, 24, "[PAD%u]", id);
    return (rad_text){name, (size_t)size};
}

/* Whether an id stands for nothing; a Unigram that was made of GGUF has a piece for it. */
static bool is_gap(const exporter *x, uint32_t id)
{
    char name[24];
    int size = snprintf(name, sizeof name, " [PAD%u]", id);
    rad_text text = id < x->tokenizer->vocabulary.size ? entry_of(x, id) : (rad_text){0};
    bool unigram = x->pipeline != NULL && x->pipeline->model == RAD_PIPELINE_UNIGRAM;
    return text.size == 0 ||
           (unigram && text.size == (size_t)size && memcmp(text.data, name, text.size) == 0);
}

static int32_t type_of(const exporter *x, uint32_t id)
{
    const rad_tokenizer *t = x->tokenizer;
    if (is_gap(x, id))
        return RAD_TOKEN_UNUSED;
    if (x->pipeline == NULL) /* of a tokenizer.model, which GGUF follows */
        return t->vocabulary.types[id];
    if ((int32_t)id == t->unknown && !x->pipeline->bytes && !x->keyed)
        return is_wordpiece(x) ? RAD_TOKEN_CONTROL : RAD_TOKEN_UNKNOWN;
    if (x->keyed && t->vocabulary.types[id] != RAD_TOKEN_NORMAL)
        return t->vocabulary.types[id];
    rad_text text = entry_of(x, id);
    if (x->pipeline->byte_fallback && text.size == 6 && memcmp(text.data, "<0x", 3) == 0)
        for (int byte = 0; byte < 256; byte++)
            if (x->pipeline->fallback[byte] == (int32_t)id)
                return RAD_TOKEN_BYTE;
    return x->keyed && (int32_t)id == t->unknown ? RAD_TOKEN_UNKNOWN : t->vocabulary.types[id];
}

static void put_tokens(exporter *x)
{
    rad_text *texts = list_of(x, x->size, sizeof *texts);
    uint8_t *types = list_of(x, x->size, 4);
    for (uint32_t id = 0; id < x->size && x->status == RADLLM_OK; id++) {
        texts[id] = is_gap(x, id)     ? name_gap(x, id)
                    : is_wordpiece(x) ? name_piece(x, id)
                                      : entry_of(x, id);
        types[4 * id] = (uint8_t)type_of(x, id);
    }
    put(x,
        (rad_meta){.type = RAD_META_STRING, .is_array = true, .count = x->size, .strings = texts},
        KEY("tokens"));
    put(x, (rad_meta){.type = RAD_META_I32, .is_array = true, .count = x->size, .items = types},
        KEY("token_type"));
}

/* How added tokens are found, where that is not as all are. */
static void put_added(exporter *x)
{
    const rad_tokenizer *t = x->tokenizer;
    const uint8_t *added = x->pipeline != NULL ? x->pipeline->added : t->added;
    const uint8_t kept = RAD_ADDED_KEPT | (x->keyed ? RAD_ADDED_OUTSIDE : 0);
    uint32_t n = 0, count = added != NULL ? t->vocabulary.size : 0;
    uint32_t *ids = list_of(x, count + (uint64_t)1, sizeof *ids);
    uint8_t *flags = list_of(x, count + (uint64_t)1, 1);
    for (uint32_t id = 0; id < count && x->status == RADLLM_OK; id++) {
        if ((added[id] & kept) == 0)
            continue;
        ids[n] = id;
        flags[n++] = added[id] & kept;
    }
    if (n == 0 && x->strips && !x->keyed)
        n = 1; /* one that is as all are says that this is all */
    if (n == 0)
        return;
    put(x,
        (rad_meta){
            .type = RAD_META_U32, .is_array = true, .count = n, .items = (const uint8_t *)ids},
        RAD_KEY_ADDED_IDS);
    put(x, (rad_meta){.type = RAD_META_U8, .is_array = true, .count = n, .items = flags},
        RAD_KEY_ADDED_FLAGS);
}

/* ---- merges --------------------------------------------------------------------------------- */

radllm_status rad_tokenizer_merges(const rad_tokenizer *tokenizer, rad_arena *arena,
                                   const rad_pair ***out, uint32_t *count, radllm_error *error)
{
    const rad_merge_rules *rules = &tokenizer->rules;
    uint32_t most = 0, slots = rules->pairs != NULL ? rules->pairs_mask + 1 : 0;
    for (uint32_t i = 0; i < slots; i++)
        if (rules->pairs[i].left >= 0 && rules->pairs[i].rank >= most)
            most = rules->pairs[i].rank + 1;
    size_t bytes = ((size_t)most + 1) * sizeof(rad_pair *);
    const rad_pair **by_rank = rad_arena_alloc_zero(arena, bytes, 8);
    *count = 0;
    *out = by_rank;
    if (by_rank == NULL)
        return rad_fail_memory(error, bytes);
    for (uint32_t i = 0; i < slots; i++)
        if (rules->pairs[i].left >= 0)
            by_rank[rules->pairs[i].rank] = &rules->pairs[i];
    for (uint32_t rank = 0; rank < most; rank++) /* equal pairs have one rank of several */
        if (by_rank[rank] != NULL)
            by_rank[(*count)++] = by_rank[rank];
    return RADLLM_OK;
}

static const rad_pair **sorted_pairs(exporter *x, uint32_t *count)
{
    const rad_pair **pairs = NULL;
    *count = 0;
    if (x->status == RADLLM_OK)
        x->status = rad_tokenizer_merges(x->tokenizer, &x->arena, &pairs, count, x->error);
    return pairs;
}

static void put_merges(exporter *x)
{
    uint32_t count;
    const rad_pair **pairs = sorted_pairs(x, &count);
    rad_text *texts = list_of(x, count, sizeof *texts);
    for (uint32_t i = 0; i < count && x->status == RADLLM_OK; i++) {
        rad_text left = entry_of(x, (uint32_t)pairs[i]->left);
        rad_text right = entry_of(x, (uint32_t)pairs[i]->right);
        char *text = list_of(x, left.size + right.size + 1, 1);
        if (text == NULL)
            return;
        memcpy(text, left.data, left.size);
        text[left.size] = ' ';
        memcpy(text + left.size + 1, right.data, right.size);
        texts[i] = (rad_text){text, left.size + right.size + 1};
    }
    put(x, (rad_meta){.type = RAD_META_STRING, .is_array = true, .count = count, .strings = texts},
        KEY("merges"));
}

static void put_numbers(exporter *x, const float *scores)
{
    put(x,
        (rad_meta){.type = RAD_META_F32,
                   .is_array = true,
                   .count = x->size,
                   .items = (const uint8_t *)scores},
        KEY("scores"));
}

/* SentencePiece joins what makes the piece with the highest score, and numbers pieces by merge:
 * earlier merges get higher scores. Pieces that no merge makes come behind, as its trainer puts the
 * characters; others have no score. */
static void put_scores(exporter *x)
{
    const rad_vocabulary *vocabulary = &x->tokenizer->vocabulary;
    uint32_t count, rank = 0;
    const rad_pair **pairs = sorted_pairs(x, &count);
    float *scores = list_of(x, x->size, sizeof *scores);
    uint8_t *made = list_of(x, x->size, 1);
    for (uint32_t i = 0; i < count && x->status == RADLLM_OK; i++) {
        const int32_t id = pairs[i]->merged;
        if (made[id] == 0)
            scores[id] = -(float)rank++;
        made[id] = 1;
    }
    for (uint32_t id = 0; id < vocabulary->size && x->status == RADLLM_OK; id++)
        if (made[id] == 0 && vocabulary->types[id] == RAD_TOKEN_NORMAL &&
            type_of(x, id) == RAD_TOKEN_NORMAL)
            scores[id] = -(float)rank++;
    put_numbers(x, scores);
}

/* ---- kinds ---------------------------------------------------------------------------------- */

/* The name of the pre-tokenizer that cuts text as the parts of this one do; false: it has none. */
static bool name_pre(const rad_pipeline *pipeline, char name[64])
{
    rad_split_fn stages[RAD_SPLIT_STAGES];
    rad_text texts[RAD_SPLIT_STAGES];
    size_t n = 0;
    for (uint32_t i = 0; i < pipeline->n_splitters; i++) {
        const rad_splitter *s = &pipeline->splitters[i];
        rad_split_fn split = s->pattern.split;
        if (s->pattern.find == rad_pattern_number && s->behavior == RAD_BEHAVIOR_ISOLATED)
            split = rad_pretokenizer_digits();
        bool isolated = s->behavior == RAD_BEHAVIOR_ISOLATED && !s->invert;
        if (s->kind != RAD_SPLIT_PATTERN || n == RAD_SPLIT_STAGES ||
            (split == NULL && (s->pattern.regex == NULL || !isolated)))
            return false;
        texts[n] = s->pattern.source;
        stages[n++] = split;
    }
    return rad_pretokenizer_name(stages, texts, n, pipeline->ignore_merges, name) &&
           rad_pretokenizer_find(name, strlen(name))->ignore_merges == pipeline->ignore_merges;
}

static void put_pre(exporter *x)
{
    char name[64] = "default";
    bool named = name_pre(x->pipeline, name);
    put_text(x, KEY("pre"), named ? name : "default"); /* what is not named has a key of ours */
    if (!x->keyed && rad_pre_composes(name))
        put_flag(x, RAD_KEY_NFC, false);
}

/* Scores that floats do not hold. */
static void put_doubles(exporter *x)
{
    double *scores = list_of(x, x->size, sizeof *scores);
    bool exact = true;
    for (uint32_t id = 0; id < x->tokenizer->vocabulary.size && x->status == RADLLM_OK; id++) {
        scores[id] = x->pipeline->scores[id];
        exact = exact && (double)(float)scores[id] == scores[id];
    }
    if (!exact)
        put(x,
            (rad_meta){.type = RAD_META_F64,
                       .is_array = true,
                       .count = x->size,
                       .items = (const uint8_t *)scores},
            RAD_KEY_SCORES);
}

/* Pieces and scores as they are. */
static void put_pieces(exporter *x, const char *model)
{
    const rad_vocabulary *vocabulary = &x->tokenizer->vocabulary;
    float *scores = list_of(x, x->size, sizeof *scores);
    put_text(x, KEY("model"), model);
    put_text(x, KEY("pre"), "default");
    put_tokens(x);
    for (uint32_t id = 0; id < x->size && x->status == RADLLM_OK; id++)
        scores[id] = id >= vocabulary->size ? 0.0f
                     : x->pipeline != NULL  ? (float)x->pipeline->scores[id]
                                            : vocabulary->scores[id];
    put_numbers(x, scores);
    if (x->keyed)
        put_doubles(x);
}

static bool prepends_mark(const rad_pipeline *pipeline)
{
    for (uint32_t i = 0; i < pipeline->n_normalizers; i++)
        if (pipeline->normalizers[i].kind == RAD_NORMAL_PREPEND)
            return true;
    for (uint32_t i = 0; i < pipeline->n_splitters; i++)
        if (pipeline->splitters[i].kind == RAD_SPLIT_METASPACE &&
            pipeline->splitters[i].prepend != RAD_PREPEND_NEVER)
            return true;
    return false;
}

static void put_charsmap(exporter *x, const rad_charsmap *map)
{
    size_t size = rad_charsmap_bytes(map);
    uint8_t *bytes = list_of(x, size, 1);
    if (map->n_units == 0 || bytes == NULL)
        return;
    for (size_t i = 0; i < size; i++)
        bytes[i] = rad_charsmap_byte(map, i);
    put(x, (rad_meta){.type = RAD_META_U8, .is_array = true, .count = size, .items = bytes},
        KEY("precompiled_charsmap"));
}

/* Whatever else tokenizer.json does to a text is taken for what SentencePiece does to spaces;
 * comparing the tokens shows where it was not. */
static void put_unigram(exporter *x)
{
    const rad_pipeline *pipeline = x->pipeline;
    const rad_spm *spm = x->tokenizer->spm;
    const rad_charsmap *map = spm != NULL ? &spm->charsmap : NULL;
    bool prefix = x->tokenizer->add_space_prefix, collapse = spm != NULL && spm->collapse;
    put_pieces(x, "t5");
    if (pipeline != NULL) {
        prefix = prepends_mark(pipeline);
        collapse = pipeline->n_splitters > 1;
        for (uint32_t i = 0; i < pipeline->n_normalizers; i++) {
            if (pipeline->normalizers[i].kind == RAD_NORMAL_CHARSMAP)
                map = &pipeline->normalizers[i].charsmap;
            else
                collapse = true;
        }
    }
    put_flag(x, KEY("add_space_prefix"), prefix);
    put_flag(x, KEY("remove_extra_whitespaces"), collapse);
    if (map != NULL)
        put_charsmap(x, map);
}

static bool has_normalizer(const exporter *x, rad_normalizer_kind kind)
{
    for (uint32_t i = 0; i < x->pipeline->n_normalizers; i++)
        if (x->pipeline->normalizers[i].kind == kind)
            return true;
    return false;
}

/* What a BertNormalizer does, where it is not what readers do who are told nothing. */
static void put_case(exporter *x)
{
    bool lowercase = has_normalizer(x, RAD_NORMAL_LOWERCASE);
    bool strip = has_normalizer(x, RAD_NORMAL_DROP_NONSPACING);
    if (!lowercase)
        put_flag(x, KEY("normalizer.lowercase"), false);
    if (strip != lowercase)
        put_flag(x, KEY("normalizer.strip_accents"), strip);
}

/* Whether vocabulary and merges spell bytes in letters, wherever texts are spelled so. */
static bool spells_bytes(const rad_pipeline *pipeline)
{
    bool found = pipeline->bytes;
    for (uint32_t i = 0; i < pipeline->n_splitters; i++)
        found = found || pipeline->splitters[i].kind == RAD_SPLIT_LETTERS;
    for (uint32_t i = 0; i < pipeline->n_normalizers; i++)
        found = found || pipeline->normalizers[i].kind == RAD_NORMAL_LETTERS;
    return found;
}

static void put_kind(exporter *x)
{
    const rad_pipeline *pipeline = x->pipeline;
    if (pipeline == NULL && x->tokenizer->spm != NULL && x->tokenizer->spm->unigram) {
        put_unigram(x);
    } else if (pipeline == NULL) {
        put_pieces(x, "llama");
        put_flag(x, KEY("add_space_prefix"), x->tokenizer->add_space_prefix);
    } else if (pipeline->model == RAD_PIPELINE_UNIGRAM) {
        put_unigram(x);
    } else if (is_wordpiece(x)) {
        put_text(x, KEY("model"), "bert");
        put_text(x, KEY("pre"), "default");
        put_case(x);
        put_tokens(x);
    } else if (pipeline->model == RAD_PIPELINE_BPE && spells_bytes(pipeline)) {
        put_text(x, KEY("model"), "gpt2");
        put_pre(x);
        put_tokens(x);
        put_merges(x);
    } else if (pipeline->model == RAD_PIPELINE_BPE && pipeline->byte_fallback) {
        put_text(x, KEY("model"), "llama");
        put_text(x, KEY("pre"), "default");
        put_tokens(x);
        put_scores(x);
        if (x->keyed)
            put_merges(x);
        put_flag(x, KEY("add_space_prefix"), prepends_mark(pipeline));
    } else {
        refuse(x, "its model is neither BPE of bytes, nor BPE with byte_fallback, nor Unigram, nor "
                  "WordPiece");
    }
}

/* What ends answers besides eos. GGUF has words for two tokens of which the text does not say it; a
 * known one is named where there is none. */
static void put_ends(exporter *x, int32_t eos)
{
    static const char *const keys[] = {KEY("eot_token_id"), KEY("eom_token_id")};
    const rad_tokenizer *t = x->tokenizer;
    int32_t known = -1;
    size_t n = 0;
    for (int32_t id = 0; id < (int32_t)t->vocabulary.size; id++) {
        if (id == eos || !rad_token_bit(t->ends, id))
            continue;
        if (rad_tokenizer_ends_by_text(t, id))
            known = known < 0 ? id : known;
        else if (n < 2)
            put_id(x, keys[n++], id);
        else
            refuse(x, "generation_config.json names more tokens in eos_token_id than GGUF can say "
                      "of that they end answers");
    }
    if (n == 0)
        put_id(x, keys[0], known);
}

/* What stands around texts counts more than what is called so: embedding models end theirs with
 * another token than answers. */
static void put_ids(exporter *x)
{
    const rad_tokenizer *t = x->tokenizer;
    const rad_pipeline *pipeline = x->pipeline;
    int32_t bos = t->bos, eos = t->eos, padding = t->padding, mask = t->mask;
    if (pipeline != NULL && t->add_bos)
        bos = pipeline->before[0];
    if (pipeline != NULL && t->add_eos)
        eos = pipeline->after[0];
    if (is_wordpiece(x)) {
        put_id(x, KEY("cls_token_id"), bos);
        int32_t separator = eos >= 0 && eos != bos ? eos : t->separator;
        put_id(x, KEY("seperator_token_id"), separator); /* readers' spelling */
        padding = padding >= 0 ? padding : rad_tokenizer_find(t, "[PAD]", 5);
        mask = mask >= 0 ? mask : rad_tokenizer_find(t, "[MASK]", 6);
        eos = eos >= 0 ? eos : t->separator;
    }
    for (int32_t id = 0; id < (int32_t)t->vocabulary.size && eos < 0; id++)
        if (rad_token_bit(t->ends, id) && !rad_tokenizer_ends_by_text(t, id) &&
            t->vocabulary.types[id] == RAD_TOKEN_CONTROL)
            eos = id; /* generation_config.json alone says it */
    put_id(x, KEY("bos_token_id"), bos >= 0 ? bos : eos);
    put_id(x, KEY("eos_token_id"), eos >= 0 ? eos : bos);
    if (pipeline == NULL || !pipeline->bytes)
        put_id(x, KEY("unknown_token_id"), t->unknown);
    put_id(x, KEY("padding_token_id"), padding);
    put_id(x, KEY("mask_token_id"), mask);
    put_ends(x, eos);
    put_flag(x, KEY("add_bos_token"), t->add_bos);
    put_flag(x, KEY("add_eos_token"), t->add_eos);
}

static bool has_space(const exporter *x, int32_t id)
{
    rad_text text = entry_of(x, (uint32_t)id);
    return text.size > 0 && memchr(text.data, ' ', text.size) != NULL;
}

/* Merges of texts with spaces in them, whose parts GGUF's texts do not keep apart. */
static void put_apart(exporter *x, rad_json_writer *w)
{
    uint32_t count = 0;
    bool apart = false;
    const rad_pair **pairs = sorted_pairs(x, &count);
    for (uint32_t i = 0; i < count && !apart; i++)
        apart = has_space(x, pairs[i]->left) || has_space(x, pairs[i]->right);
    for (uint32_t i = 0; i < count && apart; i++) {
        rad_json(w, i == 0 ? ", \"merges\": [\n[" : ",\n[");
        rad_json_entry(w, pairs[i]->left);
        rad_json(w, ", ");
        rad_json_entry(w, pairs[i]->right);
        rad_json(w, "]");
    }
    rad_json(w, apart ? "]" : "");
}

/* What the keys above do not say. */
static void put_parts(exporter *x)
{
    rad_output *output = NULL;
    char *text = NULL;
    size_t size = 0;
    if (x->status != RADLLM_OK)
        return;
    const rad_allocator *allocator = x->arena.allocator;
    x->status = rad_output_open_memory(allocator, &output, x->error);
    if (x->status != RADLLM_OK)
        return;
    rad_json_writer w = {.tokenizer = x->tokenizer, .output = output, .error = x->error};
    rad_json(&w, "{");
    rad_json_parts(&w, true);
    put_apart(x, &w);
    rad_json(&w, "}}");
    x->status = w.status == RADLLM_OK ? rad_output_take(output, &text, &size, x->error) : w.status;
    rad_output_free(output);
    if (x->status != RADLLM_OK)
        return;
    rad_text value = {text, size};
    put(x, (rad_meta){.type = RAD_META_STRING, .count = 1, .strings = &value}, RAD_KEY_PARTS);
    rad_free(allocator, text, size + 1);
}

radllm_status rad_tokenizer_export(const rad_tokenizer *tokenizer, const rad_source *source,
                                   uint32_t size, bool *keyed, rad_put_meta put_meta, void *user,
                                   radllm_error *error)
{
    char name[64];
    const rad_pipeline *pipeline = tokenizer->pipeline;
    *keyed = *keyed || !rad_tokenizer_is_plain(tokenizer) ||
             (pipeline != NULL && pipeline->bytes && !name_pre(pipeline, name));
    exporter x = {.tokenizer = tokenizer,
                  .pipeline = tokenizer->pipeline,
                  .size = size,
                  .strips = rad_strips_by_name(source),
                  .keyed = *keyed,
                  .put = put_meta,
                  .user = user,
                  .arena = {.allocator = &tokenizer->host.allocator},
                  .error = error};
    if (tokenizer->pipeline == NULL && tokenizer->vocabulary.scores == NULL)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "the folder's tokenizer has no form in GGUF; run the folder as it is");
    if (tokenizer->spm != NULL && (tokenizer->spm->words || tokenizer->spm->characters))
        refuse(&x, "its tokenizer.model is of type word or char");
    if (size > RAD_VOCABULARY_MAX)
        return rad_fail(error, RADLLM_E_LIMIT,
                        "the embedding has %u rows; vocabularies have at most %u tokens", size,
                        RAD_VOCABULARY_MAX);
    if (tokenizer->vocabulary.size > size)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "the tokenizer has %u tokens, but the embedding has %u rows; the files "
                        "belong to different models: fetch all files of one model",
                        tokenizer->vocabulary.size, size);
    put_kind(&x);
    put_ids(&x);
    put_added(&x);
    if (x.keyed)
        put_parts(&x);
    rad_arena_free(&x.arena);
    return x.status;
}
