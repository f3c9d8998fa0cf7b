/* Reads the vocabulary, the model and the added tokens of tokenizer.json. */
#include <math.h>
#include <string.h>

#include "text/pipeline_read.h"
#include "text/utf8.h"

/* Vocabularies have some ids that no token has, where rows of the embedding were rounded up. */
#define GAPS_MAX 65536

#define WORD_MAX 16384 /* characters of a word, for WordPiece */

/* ---- collecting ----------------------------------------------------------------------------- */

/* Texts by id while they are gathered; they lie in the JSON text. */
typedef struct entries {
    rad_pipeline_reader *r;
    rad_text *texts;
    uint8_t *types;
    uint32_t size;
    uint32_t room; /* for ids of tokens that tokenizer_config.json has and tokenizer.json lacks */
    bool more;     /* there are some */
} entries;

static radllm_status bad_id(const rad_pipeline_reader *r, uint32_t key, const char *what)
{
    char quoted[RAD_QUOTE_SIZE];
    rad_text text = rad_tree_text(&r->json, key);
    return rad_fail(r->error, RADLLM_E_FORMAT,
                    "tokenizer.json: the id of the token \"%s\" %s; fetch the file again",
                    rad_quote(quoted, text.data, text.size), what);
}

static radllm_status flag_token(rad_pipeline_reader *r, uint32_t size, int64_t id, uint32_t flags)
{
    if (flags == 0)
        return RADLLM_OK;
    if (r->pipeline->added == NULL)
        r->pipeline->added = rad_arena_alloc_zero(r->arena, size, 1);
    if (r->pipeline->added == NULL)
        return rad_fail_memory(r->error, size);
    r->pipeline->added[id] = (uint8_t)(r->pipeline->added[id] | flags);
    return RADLLM_OK;
}

static radllm_status put(entries *e, uint32_t key, uint32_t id_at, uint8_t type)
{
    int64_t id = -1;
    if (!rad_tree_integer(&e->r->json, id_at, &id) || id < 0 || id >= e->size)
        return bad_id(e->r, key, "is no number, or far outside the vocabulary");
    rad_text text = rad_tree_text(&e->r->json, key);
    rad_text *entry = &e->texts[id];
    if (entry->data != NULL && (type == RAD_TOKEN_NORMAL || entry->size != text.size ||
                                memcmp(entry->data, text.data, text.size) != 0))
        return bad_id(e->r, key, "belongs to another token already");
    bool outside = type != RAD_TOKEN_NORMAL && entry->data == NULL;
    *entry = text;
    e->types[id] = type;
    return flag_token(e->r, e->room, id, outside ? RAD_ADDED_OUTSIDE : 0);
}

/* {"a": 0, "b": 1} */
static radllm_status put_object(entries *e, uint32_t vocab)
{
    const rad_tree *json = &e->r->json;
    uint32_t key = rad_tree_first(vocab);
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < json->values[vocab].size && status == RADLLM_OK;
         i++, key = json->values[key + 1].next)
        status = put(e, key, key + 1, RAD_TOKEN_NORMAL);
    return status;
}

/* [["a", -1.5], ["b", -2]] */
static radllm_status put_list(entries *e, uint32_t vocab)
{
    rad_pipeline_reader *r = e->r;
    const rad_tree *json = &r->json;
    uint32_t at = rad_tree_first(vocab);
    for (uint32_t i = 0; i < json->values[vocab].size; i++, at = json->values[at].next) {
        uint32_t text = rad_tree_first(at);
        double score;
        if (rad_tree_kind_of(json, at) != RAD_TREE_ARRAY || json->values[at].size != 2 ||
            rad_tree_kind_of(json, text) != RAD_TREE_STRING ||
            !rad_tree_number(json, text + 1, &score) || !isfinite(score))
            return rad_fail(r->error, RADLLM_E_FORMAT,
                            "tokenizer.json: entry %u of the vocabulary is no pair of a text and "
                            "a number; fetch the file again",
                            i);
        e->texts[i] = rad_tree_text(json, text);
        e->types[i] = RAD_TOKEN_NORMAL;
        r->pipeline->scores[i] = score;
    }
    return RADLLM_OK;
}

static radllm_status bad_added(const rad_pipeline_reader *r, uint32_t index)
{
    return rad_fail(r->error, RADLLM_E_FORMAT,
                    "tokenizer.json: entry %u of added_tokens has no text \"content\", no \"id\" "
                    "or no \"special\"",
                    index);
}

static bool is_outer_padding(const rad_pipeline_reader *r, uint32_t added_token)
{
    const rad_tree *json = &r->json;
    uint32_t content = rad_tree_get(json, added_token, "content");
    int64_t id;
    return rad_tree_integer(json, rad_tree_get(json, added_token, "id"), &id) &&
           rad_tree_kind_of(json, content) == RAD_TREE_STRING &&
           rad_is_outer_padding(r->config, r->rows, id, rad_tree_text(json, content));
}

static radllm_status put_added(entries *e, uint32_t added)
{
    rad_pipeline_reader *r = e->r;
    const rad_tree *json = &r->json;
    uint32_t at = rad_tree_first(added);
    for (uint32_t i = 0; i < json->values[added].size; i++, at = json->values[at].next) {
        uint32_t content = rad_tree_get(json, at, "content");
        bool special;
        if (rad_tree_kind_of(json, content) != RAD_TREE_STRING)
            return bad_added(r, i);
        radllm_status status = rad_read_flag(r, at, "an added token", "special", false, &special);
        if (status == RADLLM_OK && rad_tree_text(json, content).size > 0 &&
            !is_outer_padding(r, at))
            status = put(e, content, rad_tree_get(json, at, "id"),
                         special ? RAD_TOKEN_CONTROL : RAD_TOKEN_USER_DEFINED);
        if (status != RADLLM_OK)
            return status;
    }
    return RADLLM_OK;
}

/* Calls `take` for each token that tokenizer_config.json adds ("added_tokens_decoder", by id); the
 * reader reads that file meanwhile. */
typedef radllm_status (*take_beside_fn)(void *user, uint32_t at, int64_t id, rad_text content);
static radllm_status each_beside(rad_pipeline_reader *r, take_beside_fn take, void *user)
{
    const rad_tree *config = r->config;
    uint32_t list =
        config->count > 0 ? rad_tree_get(config, 0, "added_tokens_decoder") : RAD_TREE_NONE;
    if (rad_tree_kind_of(config, list) != RAD_TREE_OBJECT)
        return RADLLM_OK;
    rad_tree file = r->json;
    r->json = *config;
    radllm_status status = RADLLM_OK;
    uint32_t key = rad_tree_first(list);
    for (uint32_t i = 0; i < config->values[list].size && status == RADLLM_OK; i++) {
        uint32_t content = rad_tree_get(config, key + 1, "content");
        int64_t id = rad_tree_number_of(rad_tree_text(config, key));
        if (rad_tree_kind_of(config, content) == RAD_TREE_STRING && id >= 0 &&
            rad_tree_text(config, content).size > 0 &&
            !rad_is_outer_padding(config, r->rows, id, rad_tree_text(config, content)))
            status = take(user, key + 1, id, rad_tree_text(config, content));
        key = config->values[key + 1].next;
    }
    r->json = file;
    return status;
}

/* Adds a token to the entries where nothing has its text or its id. What it says of an added token
 * of tokenizer.json counts more than that; but one that is special there stays so. */
static radllm_status put_beside(void *user, uint32_t at, int64_t id, rad_text content)
{
    entries *e = user;
    rad_pipeline_reader *r = e->r;
    bool special;
    int32_t found =
        rad_vocabulary_find(&r->tokenizer->vocabulary, (const uint8_t *)content.data, content.size);
    if (found < 0 && e->texts[id].data != NULL)
        return RADLLM_OK;
    radllm_status status = rad_read_flag(r, at, "an added token", "special", false, &special);
    if (status != RADLLM_OK)
        return status;
    uint32_t flags = RAD_ADDED_BESIDE;
    special = special || (found >= 0 && e->types[found] == RAD_TOKEN_CONTROL);
    if (found < 0) {
        e->more = true;
        e->texts[id] = content;
        flags |= RAD_ADDED_OUTSIDE;
    }
    id = found < 0 ? id : found;
    e->types[id] = special ? RAD_TOKEN_CONTROL : RAD_TOKEN_USER_DEFINED;
    return flag_token(r, e->room, id, flags);
}

/* Of a token that tokenizer.json has, too, its own id counts. */
static radllm_status count_beside(void *user, uint32_t at, int64_t id, rad_text content)
{
    entries *e = user;
    char quoted[RAD_QUOTE_SIZE];
    (void)at;
    if (rad_vocabulary_find(&e->r->tokenizer->vocabulary, (const uint8_t *)content.data,
                            content.size) >= 0)
        return RADLLM_OK;
    if (id >= e->room)
        return rad_fail(e->r->error, RADLLM_E_LIMIT,
                        "tokenizer_config.json: added_tokens_decoder gives the token \"%s\" the id "
                        "%lld, which is behind the vocabulary and the rows of the embedding (at "
                        "most %u): fetch the file again",
                        rad_quote(quoted, content.data, content.size), (long long)id, e->room - 1);
    if (id >= e->size)
        e->size = (uint32_t)id + 1;
    return RADLLM_OK;
}

/* One more than the greatest id, or 0 where one is no number. */
static uint64_t count_ids(const rad_pipeline_reader *r, uint32_t vocab, uint32_t added)
{
    const rad_tree *json = &r->json;
    uint64_t size = 0;
    int64_t id;
    if (rad_tree_kind_of(json, vocab) == RAD_TREE_ARRAY) {
        size = json->values[vocab].size;
    } else {
        uint32_t key = rad_tree_first(vocab);
        for (uint32_t i = 0; i < json->values[vocab].size; i++, key = json->values[key + 1].next)
            if (rad_tree_integer(json, key + 1, &id) && id >= 0 && (uint64_t)id >= size)
                size = (uint64_t)id + 1;
    }
    if (rad_tree_kind_of(json, added) != RAD_TREE_ARRAY)
        return size;
    uint32_t at = rad_tree_first(added);
    for (uint32_t i = 0; i < json->values[added].size; i++, at = json->values[at].next)
        if (rad_tree_integer(json, rad_tree_get(json, at, "id"), &id) && id >= 0 &&
            (uint64_t)id >= size && !is_outer_padding(r, at))
            size = (uint64_t)id + 1;
    return size;
}

static radllm_status make_findable(const entries *e, bool list)
{
    rad_vocabulary *vocabulary = &e->r->tokenizer->vocabulary;
    radllm_status status = rad_vocabulary_fill(vocabulary, e->texts, e->size,
                                               "tokenizer.json: the vocabulary", e->r->error);
    return status == RADLLM_OK ? rad_vocabulary_index(vocabulary, list,
                                                      "tokenizer.json: the vocabulary", e->r->error)
                               : status;
}

static radllm_status gather(entries *e, uint32_t vocab, uint32_t added)
{
    rad_pipeline_reader *r = e->r;
    const rad_tree *json = &r->json;
    bool list = rad_tree_kind_of(json, vocab) == RAD_TREE_ARRAY;
    if (list) {
        size_t bytes = (size_t)e->room * sizeof *r->pipeline->scores;
        r->pipeline->scores = rad_arena_alloc_zero(r->arena, bytes, 8);
        if (r->pipeline->scores == NULL)
            return rad_fail_memory(r->error, bytes);
    }
    memset(e->types, RAD_TOKEN_UNUSED, e->room);
    radllm_status status = list ? put_list(e, vocab) : put_object(e, vocab);
    if (status == RADLLM_OK && rad_tree_kind_of(json, added) == RAD_TREE_ARRAY)
        status = put_added(e, added);
    rad_vocabulary *vocabulary = &r->tokenizer->vocabulary;
    vocabulary->types = e->types;
    if (status == RADLLM_OK)
        status = make_findable(e, list);
    if (status == RADLLM_OK)
        status = each_beside(r, count_beside, e);
    if (status == RADLLM_OK)
        status = each_beside(r, put_beside, e);
    return status == RADLLM_OK && e->more ? make_findable(e, list) : status;
}

/* Tokens that tokenizer_config.json adds stand behind those of tokenizer.json, or have rows of the
 * embedding that these leave. */
static uint64_t room_for(const rad_pipeline_reader *r, uint64_t size, uint64_t usual)
{
    const rad_tree *config = r->config;
    uint32_t list =
        config->count > 0 ? rad_tree_get(config, 0, "added_tokens_decoder") : RAD_TREE_NONE;
    if (rad_tree_kind_of(config, list) != RAD_TREE_OBJECT)
        return size;
    uint64_t rows = (uint64_t)r->rows < usual + GAPS_MAX ? (uint64_t)r->rows : 0;
    uint64_t room = (size > rows ? size : rows) + config->values[list].size;
    return room < RAD_TRIE_IDS ? room : RAD_TRIE_IDS;
}

radllm_status rad_read_vocabulary(rad_pipeline_reader *r, uint32_t model, uint32_t added)
{
    const rad_tree *json = &r->json;
    if (r->gguf != NULL)
        return rad_read_gguf_vocabulary(r, model);
    uint32_t vocab = rad_tree_get(json, model, "vocab");
    rad_tree_kind kind = rad_tree_kind_of(json, vocab);
    bool list = r->pipeline->model == RAD_PIPELINE_UNIGRAM;
    if (kind != (list ? RAD_TREE_ARRAY : RAD_TREE_OBJECT))
        return rad_fail(r->error, RADLLM_E_FORMAT,
                        "tokenizer.json: the model has no vocabulary that is an %s",
                        list ? "array" : "object");
    uint64_t size = count_ids(r, vocab, added);
    uint64_t known = json->values[vocab].size;
    if (rad_tree_kind_of(json, added) == RAD_TREE_ARRAY)
        known += json->values[added].size;
    if (size > RAD_TRIE_IDS || size > 2 * known + GAPS_MAX)
        return rad_fail(r->error, RADLLM_E_LIMIT,
                        "tokenizer.json: the greatest id is %llu, but there are %llu tokens; at "
                        "most %u ids more are supported, and %u in all: fetch the file again",
                        (unsigned long long)(size - 1), (unsigned long long)known,
                        (unsigned)(known + GAPS_MAX), RAD_TRIE_IDS);
    entries e = {.r = r, .size = (uint32_t)size, .room = (uint32_t)room_for(r, size, 2 * known)};
    size_t bytes = ((size_t)e.room + 1) * sizeof *e.texts;
    e.texts = rad_alloc_zero(json->allocator, bytes);
    e.types = rad_arena_alloc(r->arena, (size_t)e.room + 1, 1);
    radllm_status status = e.texts != NULL && e.types != NULL ? gather(&e, vocab, added)
                                                              : rad_fail_memory(r->error, bytes);
    rad_free(json->allocator, e.texts, bytes);
    return status;
}

/* ---- BPE ------------------------------------------------------------------------------------ */

static bool is_token(const rad_vocabulary *vocabulary, const char *text, size_t size)
{
    return rad_vocabulary_find(vocabulary, (const uint8_t *)text, size) >= 0;
}

/* Cuts a merge at its space; where tokens hold spaces themselves, at the only one at which both
 * halves are tokens. */
static bool cut_at_space(const rad_vocabulary *vocabulary, rad_text text, rad_text *left,
                         rad_text *right)
{
    const char *end = text.data + text.size, *space = memchr(text.data, ' ', text.size);
    bool several = space != NULL && memchr(space + 1, ' ', (size_t)(end - space) - 1) != NULL;
    uint32_t found = 0;
    for (; space != NULL; space = memchr(space + 1, ' ', (size_t)(end - space) - 1)) {
        size_t size = (size_t)(space - text.data);
        if (several && (!is_token(vocabulary, text.data, size) ||
                        !is_token(vocabulary, space + 1, text.size - size - 1)))
            continue;
        found++;
        *left = (rad_text){text.data, size};
        *right = (rad_text){space + 1, text.size - size - 1};
    }
    return found == 1;
}

/* The two halves of a merge: "a b" or ["a", "b"]. */
static bool merge_halves(const rad_vocabulary *vocabulary, const rad_tree *json, uint32_t at,
                         rad_text *left, rad_text *right)
{
    if (rad_tree_kind_of(json, at) == RAD_TREE_ARRAY) {
        uint32_t first = rad_tree_first(at);
        if (json->values[at].size != 2 || rad_tree_kind_of(json, first) != RAD_TREE_STRING ||
            rad_tree_kind_of(json, first + 1) != RAD_TREE_STRING)
            return false;
        *left = rad_tree_text(json, first);
        *right = rad_tree_text(json, first + 1);
        return true;
    }
    if (rad_tree_kind_of(json, at) != RAD_TREE_STRING)
        return false;
    return cut_at_space(vocabulary, rad_tree_text(json, at), left, right);
}

static radllm_status bad_merge(const rad_pipeline_reader *r, uint32_t index, const char *what,
                               rad_text text)
{
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(r->error, RADLLM_E_FORMAT,
                    "tokenizer.json: merge %u %s (\"%s\"); fetch the file again", index, what,
                    rad_quote(quoted, text.data, text.size));
}

/* U+2581 somewhere behind something else. */
static bool has_inner_mark(const uint8_t *text, size_t size)
{
    size_t at = 0;
    while (size - at >= 3 && memcmp(text + at, "\xE2\x96\x81", 3) == 0)
        at += 3;
    for (; at + 3 <= size; at++)
        if (memcmp(text + at, "\xE2\x96\x81", 3) == 0)
            return true;
    return false;
}

/* `at` is the merge in tokenizer.json, `text` it in GGUF. */
static radllm_status add_merge(rad_pipeline_reader *r, uint32_t at, const rad_text *text,
                               uint32_t index, uint8_t *joined, int32_t *made)
{
    rad_tokenizer *tokenizer = r->tokenizer;
    const rad_vocabulary *vocabulary = &tokenizer->vocabulary;
    rad_text left = {0}, right = {0};
    size_t skipped = r->pipeline->prefix.size;
    if (text != NULL ? !cut_at_space(vocabulary, *text, &left, &right)
                     : !merge_halves(vocabulary, &r->json, at, &left, &right))
        return rad_fail(r->error, RADLLM_E_FORMAT,
                        "tokenizer.json: merge %u is neither two texts nor one with a space "
                        "between two; fetch the file again",
                        index);
    rad_pair pair = {rad_vocabulary_find(vocabulary, (const uint8_t *)left.data, left.size),
                     rad_vocabulary_find(vocabulary, (const uint8_t *)right.data, right.size),
                     index, -1};
    if (pair.left < 0)
        return bad_merge(r, index, "names a token that is not in the vocabulary", left);
    if (pair.right < 0 || right.size < skipped)
        return bad_merge(r, index, "names a token that is not in the vocabulary", right);
    memcpy(joined, left.data, left.size);
    memcpy(joined + left.size, right.data + skipped, right.size - skipped);
    size_t size = left.size + right.size - skipped;
    *made = pair.merged = rad_vocabulary_find_near(vocabulary, joined, size, *made);
    if (pair.merged < 0)
        return bad_merge(r, index, "gives a token that is not in the vocabulary",
                         (rad_text){(const char *)joined, size});
    if (has_inner_mark(joined, size))
        r->pipeline->marks_apart = false;
    /* No text becomes a control token by merging. */
    if (rad_vocabulary_is_text(vocabulary, pair.merged))
        rad_merge_rules_add(&tokenizer->rules, &pair);
    return RADLLM_OK;
}

/* The merges of tokenizer.json (`merges`) or of GGUF (`meta`). */
static radllm_status add_merges(rad_pipeline_reader *r, uint32_t merges, const rad_meta *meta,
                                uint32_t count)
{
    const rad_tree *json = &r->json;
    radllm_status status = rad_merge_rules_make(&r->tokenizer->rules, r->arena, count, r->error);
    if (status != RADLLM_OK)
        return status;
    size_t room = 2 * (size_t)r->tokenizer->vocabulary.longest_entry + 1;
    uint8_t *joined = rad_alloc(json->allocator, room);
    if (joined == NULL)
        return rad_fail_memory(r->error, room);
    uint32_t at = meta == NULL ? rad_tree_first(merges) : 0;
    int32_t made = 0;
    r->tokenizer->rules.last_counts = true;
    for (uint32_t i = 0; i < count && status == RADLLM_OK; i++) {
        status = add_merge(r, at, meta != NULL ? &meta->strings[i] : NULL, i, joined, &made);
        at = meta == NULL ? json->values[at].next : 0;
    }
    rad_merge_rules_end(&r->tokenizer->rules);
    rad_free(json->allocator, joined, room);
    return status;
}

static radllm_status read_merges(rad_pipeline_reader *r, uint32_t model)
{
    const rad_tree *json = &r->json;
    const rad_meta *meta = NULL;
    uint32_t merges = rad_tree_get(json, model, "merges");
    uint64_t count;
    const bool listed = rad_tree_kind_of(json, merges) == RAD_TREE_ARRAY;
    if (r->gguf != NULL && !listed) {
        meta = rad_source_find_meta(r->gguf, "tokenizer.ggml.merges");
        if (meta == NULL || !meta->is_array || (meta->type != RAD_META_STRING && meta->count > 0))
            return rad_fail(
                r->error, RADLLM_E_FORMAT,
                "tokenizer.ggml.merges must be an array of strings beside " RAD_KEY_PARTS
                "; convert the model again");
        count = meta->count;
    } else if (!listed) {
        return rad_fail(r->error, RADLLM_E_FORMAT,
                        "tokenizer.json: the model has no array of merges");
    } else {
        count = json->values[merges].size;
    }
    if (count > RAD_VOCABULARY_MAX)
        return rad_fail(r->error, RADLLM_E_LIMIT,
                        "tokenizer.json: %llu merges; at most %u are supported",
                        (unsigned long long)count, RAD_VOCABULARY_MAX);
    return add_merges(r, merges, meta, (uint32_t)count);
}

static void find_fallback(rad_pipeline_reader *r)
{
    static const char hex[] = "0123456789ABCDEF";
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint8_t name[6] = {'<', '0', 'x', (uint8_t)hex[byte >> 4], (uint8_t)hex[byte & 15], '>'};
        int32_t id = rad_vocabulary_find(&r->tokenizer->vocabulary, name, sizeof name);
        r->pipeline->fallback[byte] = rad_pipeline_knows(r->pipeline, id) ? id : -1;
    }
}

/* Reads the text of the unknown token. */
static radllm_status read_unknown(rad_pipeline_reader *r, uint32_t model)
{
    rad_text text;
    radllm_status status =
        rad_read_string(r, model, "the model", "unk_token", RAD_CONTENT_MAX, &text);
    r->tokenizer->unknown = -1;
    if (status != RADLLM_OK || text.data == NULL)
        return status;
    r->tokenizer->unknown =
        rad_vocabulary_find(&r->tokenizer->vocabulary, (const uint8_t *)text.data, text.size);
    if (r->tokenizer->unknown < 0)
        r->tokenizer->unknown = -2; /* an error where it is needed */
    return RADLLM_OK;
}

static radllm_status check_dropout(rad_pipeline_reader *r, uint32_t model)
{
    uint32_t at = rad_tree_get(&r->json, model, "dropout");
    double dropout = 0;
    if (rad_tree_kind_of(&r->json, at) == RAD_TREE_NULL ||
        (rad_tree_number(&r->json, at, &dropout) && dropout == 0))
        return RADLLM_OK;
    return rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                    "tokenizer.json: the model's \"dropout\" is not 0: it would give the same text "
                    "other tokens each time; set it to null");
}

/* Whether the last pre-tokenizer's letters may be left to the model, which then works on bytes. */
static void take_letters(rad_pipeline_reader *r)
{
    rad_pipeline *pipeline = r->pipeline;
    if (pipeline->n_splitters == 0 || pipeline->prefix.size + pipeline->suffix.size > 0 ||
        pipeline->splitters[pipeline->n_splitters - 1].kind != RAD_SPLIT_LETTERS)
        return;
    pipeline->n_splitters--;
    pipeline->bytes = true;
    rad_byte_level_find_tokens(r->tokenizer);
    for (uint32_t byte = 0; byte < 256; byte++) {
        int32_t *id = &r->tokenizer->byte_tokens[byte];
        *id = rad_pipeline_knows(r->pipeline, *id) ? *id : -1;
    }
}

static radllm_status read_bpe(rad_pipeline_reader *r, uint32_t model)
{
    rad_pipeline *pipeline = r->pipeline;
    const char *what = "the model";
    radllm_status status = check_dropout(r, model);
    if (status == RADLLM_OK)
        status = rad_read_flag(r, model, what, "byte_fallback", false, &pipeline->byte_fallback);
    if (status == RADLLM_OK)
        status = rad_read_flag(r, model, what, "fuse_unk", false, &pipeline->fuse_unknown);
    if (status == RADLLM_OK)
        status = rad_read_flag(r, model, what, "ignore_merges", false, &pipeline->ignore_merges);
    if (status == RADLLM_OK)
        status =
            rad_read_string(r, model, what, "continuing_subword_prefix", 100, &pipeline->prefix);
    if (status == RADLLM_OK)
        status = rad_read_string(r, model, what, "end_of_word_suffix", 100, &pipeline->suffix);
    if (status != RADLLM_OK)
        return status;
    pipeline->marks_apart = pipeline->prefix.size + pipeline->suffix.size == 0 &&
                            rad_vocabulary_find_text(&r->tokenizer->vocabulary,
                                                     (const uint8_t *)"\xE2\x96\x81", 3) >= 0;
    take_letters(r);
    find_fallback(r);
    status = read_unknown(r, model);
    return status == RADLLM_OK ? read_merges(r, model) : status;
}

/* ---- Unigram and WordPiece ------------------------------------------------------------------ */

static bool in_trie(const rad_pipeline_reader *r, uint32_t id)
{
    uint8_t type = r->tokenizer->vocabulary.types[id];
    return (type == RAD_TOKEN_NORMAL || type == RAD_TOKEN_USER_DEFINED) &&
           rad_pipeline_knows(r->pipeline, (int32_t)id);
}

/* Makes the tree of the tokens that text may become. */
static radllm_status make_trie(rad_pipeline_reader *r)
{
    const rad_vocabulary *vocabulary = &r->tokenizer->vocabulary;
    size_t total = 0, size;
    for (uint32_t id = 0; id < vocabulary->size; id++) {
        const uint8_t *text = rad_vocabulary_entry(vocabulary, id, &size);
        if (!in_trie(r, id))
            continue;
        if (size > RAD_TRIE_DEPTH) {
            char quoted[RAD_QUOTE_SIZE];
            return rad_fail(r->error, RADLLM_E_LIMIT,
                            "tokenizer.json: token %u has %zu bytes (\"%s\"); at most %d are "
                            "supported",
                            id, size, rad_quote(quoted, (const char *)text, size), RAD_TRIE_DEPTH);
        }
        total += size;
    }
    radllm_status status = rad_trie_make(&r->pipeline->trie, r->arena, total, r->error);
    for (uint32_t id = 0; id < vocabulary->size && status == RADLLM_OK; id++) {
        const uint8_t *text = rad_vocabulary_entry(vocabulary, id, &size);
        if (in_trie(r, id))
            rad_trie_add(&r->pipeline->trie, text, size, id);
    }
    return status;
}

static radllm_status read_unigram(rad_pipeline_reader *r, uint32_t model)
{
    rad_pipeline *pipeline = r->pipeline;
    const rad_tree *json = &r->json;
    uint32_t size = r->gguf != NULL ? r->tokenizer->vocabulary.size
                                    : json->values[rad_tree_get(json, model, "vocab")].size;
    uint32_t at = rad_tree_get(json, model, "unk_id");
    int64_t unknown = -1;
    radllm_status status =
        rad_read_flag(r, model, "the model", "byte_fallback", false, &pipeline->byte_fallback);
    if (status != RADLLM_OK)
        return status;
    if (rad_tree_kind_of(json, at) != RAD_TREE_NULL &&
        (!rad_tree_integer(json, at, &unknown) || unknown < 0 || unknown >= size))
        return rad_fail(r->error, RADLLM_E_FORMAT,
                        "tokenizer.json: the model's \"unk_id\" is none of its %u tokens", size);
    r->tokenizer->unknown = (int32_t)unknown;
    double least = INFINITY;
    for (uint32_t i = 0; i < size; i++)
        if (pipeline->scores[i] < least && rad_pipeline_knows(pipeline, (int32_t)i) &&
            r->tokenizer->vocabulary.types[i] != RAD_TOKEN_UNUSED)
            least = pipeline->scores[i];
    if (least == INFINITY)
        least = 0; /* of no pieces */
    pipeline->unknown_score = least - 10;
    find_fallback(r);
    return make_trie(r);
}

static radllm_status read_wordpiece(rad_pipeline_reader *r, uint32_t model)
{
    rad_pipeline *pipeline = r->pipeline;
    radllm_status status =
        rad_read_string(r, model, "the model", "continuing_subword_prefix", 100, &pipeline->prefix);
    if (status == RADLLM_OK && pipeline->prefix.data == NULL)
        pipeline->prefix = (rad_text){"##", 2};
    if (status == RADLLM_OK)
        status = rad_read_count(r, model, "the model", "max_input_chars_per_word", 100, WORD_MAX,
                                &pipeline->word_max);
    if (status == RADLLM_OK)
        status = read_unknown(r, model);
    if (status == RADLLM_OK)
        status = make_trie(r);
    pipeline->continuing = RAD_TRIE_ROOT;
    for (size_t i = 0;
         i < pipeline->prefix.size && status == RADLLM_OK && pipeline->continuing != RAD_TRIE_NONE;
         i++)
        pipeline->continuing = rad_trie_child(&pipeline->trie, pipeline->continuing,
                                              (uint8_t)pipeline->prefix.data[i]);
    return status;
}

radllm_status rad_read_model(rad_pipeline_reader *r, uint32_t model)
{
    switch (r->pipeline->model) {
    case RAD_PIPELINE_BPE:
        return read_bpe(r, model);
    case RAD_PIPELINE_UNIGRAM:
        return read_unigram(r, model);
    case RAD_PIPELINE_WORDPIECE:
        return read_wordpiece(r, model);
    case RAD_PIPELINE_WORDLEVEL:
        return read_unknown(r, model);
    }
    return RADLLM_OK;
}

/* ---- added tokens --------------------------------------------------------------------------- */

/* One of two passes over the added tokens: measures what the trees need, or fills them. */
typedef struct added_pass {
    rad_pipeline_reader *r;
    rad_pipeline_space *space;
    bool fill;
    size_t raw_total;
    size_t normalized_total;
} added_pass;

static radllm_status read_added_flags(rad_pipeline_reader *r, uint32_t at, int32_t id,
                                      bool *normalized)
{
    static const struct {
        const char *key;
        uint8_t flag;
    } names[] = {{"lstrip", RAD_ADDED_LSTRIP},
                 {"rstrip", RAD_ADDED_RSTRIP},
                 {"single_word", RAD_ADDED_SINGLE_WORD}};
    uint32_t size = r->tokenizer->vocabulary.size, flags = 0;
    bool special = r->tokenizer->vocabulary.types[id] == RAD_TOKEN_CONTROL;
    radllm_status status =
        rad_read_flag(r, at, "an added token", "normalized", !special, normalized);
    for (size_t i = 0; i < sizeof names / sizeof *names && status == RADLLM_OK; i++) {
        bool set = false;
        status = rad_read_flag(r, at, "an added token", names[i].key, false, &set);
        flags |= set ? names[i].flag : 0;
    }
    if (*normalized)
        flags |= RAD_ADDED_NORMALIZED;
    return status == RADLLM_OK ? flag_token(r, size, id, flags) : status;
}

static radllm_status take_token(added_pass *p, int32_t id, rad_text content, bool normalized)
{
    rad_pipeline_reader *r = p->r;
    rad_pipeline *pipeline = r->pipeline;
    const uint8_t *bytes = (const uint8_t *)content.data;
    rad_slice view = {bytes, NULL, 0, content.size};
    if (normalized && !rad_normalize(pipeline, p->space, &view))
        return rad_pipeline_report(p->space->failure, content.size, r->error);
    if (view.size > RAD_SPECIAL_MAX || content.size > RAD_SPECIAL_MAX) {
        char quoted[RAD_QUOTE_SIZE];
        return rad_fail(r->error, RADLLM_E_LIMIT,
                        "tokenizer.json: the added token \"%s\" has %zu bytes (%zu where it is "
                        "normalized); at most %d are supported",
                        rad_quote(quoted, content.data, content.size), content.size, view.size,
                        RAD_SPECIAL_MAX);
    }
    if (!p->fill)
        *(normalized ? &p->normalized_total : &p->raw_total) += view.size;
    else
        rad_specials_add(normalized ? &pipeline->normalized : &pipeline->raw, view.bytes, view.size,
                         id);
    return RADLLM_OK;
}

static radllm_status take_added(added_pass *p, uint32_t at, rad_text content)
{
    int32_t id = rad_vocabulary_find(&p->r->tokenizer->vocabulary, (const uint8_t *)content.data,
                                     content.size);
    bool normalized;
    radllm_status status = read_added_flags(p->r, at, id, &normalized);
    return status == RADLLM_OK ? take_token(p, id, content, normalized) : status;
}

/* Of GGUF: types and flags were read before. */
static radllm_status run_gguf(added_pass *p)
{
    const rad_tokenizer *t = p->r->tokenizer;
    const uint8_t *flags = p->r->pipeline->added;
    radllm_status status = RADLLM_OK;
    for (int32_t id = 0; id < (int32_t)t->vocabulary.size && status == RADLLM_OK; id++) {
        uint8_t type = t->vocabulary.types[id];
        rad_text text = rad_tokenizer_entry(t, id);
        if (text.size > 0 && (type == RAD_TOKEN_CONTROL || type == RAD_TOKEN_USER_DEFINED))
            status = take_token(p, id, text, (flags[id] & RAD_ADDED_NORMALIZED) != 0);
    }
    return status;
}

/* Whether tokenizer_config.json says what a token is like. */
static bool is_beside(const rad_pipeline_reader *r, rad_text content)
{
    int32_t found =
        rad_vocabulary_find(&r->tokenizer->vocabulary, (const uint8_t *)content.data, content.size);
    const uint8_t *flags = r->pipeline->added;
    return flags != NULL && found >= 0 && (flags[found] & RAD_ADDED_BESIDE) != 0;
}

static radllm_status run_pass(added_pass *p, uint32_t added)
{
    const rad_tree *json = &p->r->json;
    if (p->r->gguf != NULL)
        return run_gguf(p);
    if (rad_tree_kind_of(json, added) != RAD_TREE_ARRAY)
        return RADLLM_OK;
    radllm_status status = RADLLM_OK;
    uint32_t at = rad_tree_first(added);
    for (uint32_t i = 0; i < json->values[added].size && status == RADLLM_OK;
         i++, at = json->values[at].next) {
        rad_text content = rad_tree_text(json, rad_tree_get(json, at, "content"));
        if (content.size > 0 && !is_outer_padding(p->r, at) && !is_beside(p->r, content))
            status = take_added(p, at, content);
    }
    return status;
}

static radllm_status take_beside(void *user, uint32_t at, int64_t id, rad_text content)
{
    added_pass *p = user;
    (void)id;
    return is_beside(p->r, content) ? take_added(p, at, content) : RADLLM_OK;
}

radllm_status rad_read_added(rad_pipeline_reader *r, uint32_t added)
{
    rad_pipeline *pipeline = r->pipeline;
    const uint8_t *types = r->tokenizer->vocabulary.types;
    rad_pipeline_space space;
    rad_pipeline_space_start(&space, r->json.allocator, (size_t)1 << 20);
    added_pass p = {.r = r, .space = &space};
    radllm_status status = run_pass(&p, added);
    if (status == RADLLM_OK)
        status = each_beside(r, take_beside, &p);
    if (status == RADLLM_OK)
        status = rad_specials_start(&pipeline->raw, r->arena, p.raw_total, types, r->error);
    if (status == RADLLM_OK)
        status = rad_specials_start(&pipeline->normalized, r->arena, p.normalized_total, types,
                                    r->error);
    pipeline->has_normalized = p.normalized_total > 0;
    p.fill = true;
    if (status == RADLLM_OK)
        status = run_pass(&p, added);
    if (status == RADLLM_OK)
        status = each_beside(r, take_beside, &p);
    rad_pipeline_space_free(&space);
    return status;
}
