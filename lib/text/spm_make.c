/* Makes a tokenizer of a tokenizer.model, of the tokens that the files beside it add, and of what
 * they say of it; as `transformers` puts them together. */
#include <float.h>
#include <string.h>

#include "text/tokenizer_internal.h"

#define GAPS_MAX 65536u /* ids beyond twice the pieces that added tokens may have */
#define PIECES   "tokenizer.model: pieces"

enum { ADDED = 128 }; /* beside RAD_ADDED_... */

typedef struct maker {
    rad_tokenizer *tokenizer;
    rad_spm *spm;
    const rad_tokenizer_side *side; /* NULL: of a GGUF file */
    rad_spm_spec spec;
    rad_spm_piece *pieces; /* of `capacity`, the file's own first */
    uint8_t *flags;        /* of each: how it is found as an added token */
    size_t capacity, flags_capacity, size;
    int64_t rows; /* of rad_tokenizer_files */
    radllm_error *error;
} maker;

static radllm_status fail(const maker *m, radllm_status status, const char *what)
{
    if (m->side == NULL)
        return rad_fail(m->error, status,
                        "the vocabulary (tokenizer.ggml.model \"t5\"): %s; convert the model again",
                        what);
    return rad_fail(m->error, status,
                    "tokenizer.model: %s; fetch the file again, or the model's tokenizer.json",
                    what);
}

/* ---- tokens from the files beside it -----------------------------------------------------------
 */

static rad_text content_of(const rad_tree *json, uint32_t at)
{
    const rad_text none = {NULL, 0};
    if (rad_tree_kind_of(json, at) == RAD_TREE_OBJECT)
        at = rad_tree_get(json, at, "content");
    return rad_tree_kind_of(json, at) == RAD_TREE_STRING ? rad_tree_text(json, at) : none;
}

static bool is_same(rad_text a, rad_text b)
{
    return a.data != NULL && b.data != NULL && a.size == b.size &&
           memcmp(a.data, b.data, a.size) == 0;
}

/* Whether a file names the token as one with a task: bos_token and so on. */
static bool names_special(const rad_tree *json, rad_text text)
{
    static const char *const keys[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"};
    if (json->count == 0)
        return false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (is_same(content_of(json, rad_tree_get(json, 0, keys[i])), text))
            return true;
    uint32_t list = rad_tree_get(json, 0, "additional_special_tokens");
    if (rad_tree_kind_of(json, list) != RAD_TREE_ARRAY)
        return false;
    uint32_t item = rad_tree_first(list);
    for (uint32_t i = 0; i < json->values[list].size; i++, item = json->values[item].next)
        if (is_same(content_of(json, item), text))
            return true;
    return false;
}

static bool is_flag(const rad_tree *json, uint32_t object, const char *key)
{
    return rad_tree_kind_of(json, rad_tree_get(json, object, key)) == RAD_TREE_TRUE;
}

/* Puts a token at an id, maybe behind the pieces, where the ids between stand for nothing. */
static radllm_status put_token(maker *m, int64_t id, rad_text text, bool special, uint8_t flags)
{
    size_t most = 2 * (size_t)m->spm->n_pieces + GAPS_MAX;
    if (rad_is_outer_padding(&m->side->config, m->rows, id, text))
        return RADLLM_OK;
    if (id < 0 || (uint64_t)id >= most || id >= RAD_VOCABULARY_MAX || text.data == NULL ||
        text.size == 0 || text.size > RAD_SPECIAL_MAX)
        return rad_fail(m->error, RADLLM_E_FORMAT,
                        "an added token beside tokenizer.model has the id %lld and a text of %zu "
                        "bytes; ids end at %zu here, and texts have 1 to %d bytes: fetch the files "
                        "again",
                        (long long)id, text.size, most - 1, RAD_SPECIAL_MAX);
    const rad_allocator *allocator = &m->tokenizer->host.allocator;
    if (!rad_reserve(allocator, (void **)&m->flags, &m->flags_capacity, (size_t)id + 1, 1) ||
        !rad_reserve(allocator, (void **)&m->pieces, &m->capacity, (size_t)id + 1,
                     sizeof *m->pieces))
        return rad_fail_memory(m->error, (size_t)id * sizeof *m->pieces);
    for (; m->size <= (size_t)id; m->size++) {
        m->pieces[m->size] = (rad_spm_piece){.type = RAD_TOKEN_UNUSED};
        m->flags[m->size] = 0;
    }
    rad_spm_piece *piece = &m->pieces[id];
    bool keeps = is_same(piece->text, text) &&
                 (piece->type == RAD_TOKEN_UNKNOWN || piece->type == RAD_TOKEN_CONTROL ||
                  piece->type == RAD_TOKEN_BYTE);
    if (!keeps && piece->type == RAD_TOKEN_UNKNOWN)
        return fail(m, RADLLM_E_FORMAT, "an added token takes the place of the unknown one");
    piece->text = text;
    if (!keeps)
        piece->type = special ? RAD_TOKEN_CONTROL : RAD_TOKEN_USER_DEFINED;
    m->flags[id] = (uint8_t)(ADDED | flags);
    return RADLLM_OK;
}

/* "added_tokens_decoder": {"32000": {"content": ..., "special": ..., "lstrip": ...}} */
static radllm_status read_decoder(maker *m, uint32_t object)
{
    const rad_tree *json = &m->side->config;
    uint32_t key = rad_tree_first(object);
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < json->values[object].size && status == RADLLM_OK; i++) {
        uint32_t value = key + 1;
        uint8_t flags =
            (uint8_t)((is_flag(json, value, "lstrip") ? RAD_ADDED_LSTRIP : 0) |
                      (is_flag(json, value, "rstrip") ? RAD_ADDED_RSTRIP : 0) |
                      (is_flag(json, value, "single_word") ? RAD_ADDED_SINGLE_WORD : 0));
        status = put_token(m, rad_tree_number_of(rad_tree_text(json, key)), content_of(json, value),
                           is_flag(json, value, "special"), flags);
        key = json->values[value].next;
    }
    return status;
}

/* added_tokens.json: {"<|im_end|>": 32000} */
static radllm_status read_added(maker *m)
{
    const rad_tree *json = &m->side->added;
    uint32_t key = rad_tree_first(0);
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; json->count > 0 && i < json->values[0].size && status == RADLLM_OK; i++) {
        int64_t id = -1;
        rad_text text = rad_tree_text(json, key);
        if (!rad_tree_integer(json, key + 1, &id))
            id = -1;
        bool special = names_special(&m->side->config, text) || names_special(&m->side->map, text);
        status = put_token(m, id, text, special, 0);
        key = json->values[key + 1].next;
    }
    return status;
}

static radllm_status read_tokens(maker *m)
{
    const rad_tree *config = &m->side->config;
    uint32_t decoder =
        config->count > 0 ? rad_tree_get(config, 0, "added_tokens_decoder") : RAD_TREE_NONE;
    radllm_status status = rad_tree_kind_of(config, decoder) == RAD_TREE_OBJECT
                               ? read_decoder(m, decoder)
                               : read_added(m);
    /* What the files name is no text that a reader may write, whatever type the piece has. */
    for (size_t i = 0; i < m->size && status == RADLLM_OK; i++) {
        rad_spm_piece *piece = &m->pieces[i];
        if (piece->type == RAD_TOKEN_USER_DEFINED &&
            (names_special(config, piece->text) || names_special(&m->side->map, piece->text)))
            piece->type = RAD_TOKEN_CONTROL;
    }
    return status;
}

/* ---- what the file says ------------------------------------------------------------------------
 */

static radllm_status check_spec(const maker *m)
{
    /* Their ids are not those of the file. */
    static const char *const shifted[] = {"XLMRoberta", "Camembert", "MBart",   "Nllb",
                                          "Barthez",    "Bartpho",   "XGLM",    "DebertaV2",
                                          "M2M100",     "Plbart",    "Pegasus", "ErnieM"};
    const rad_tree *config = &m->side->config;
    rad_text name = config->count > 0
                        ? content_of(config, rad_tree_get(config, 0, "tokenizer_class"))
                        : (rad_text){NULL, 0};
    for (size_t i = 0; i < sizeof shifted / sizeof *shifted; i++)
        if (name.data != NULL && name.size >= strlen(shifted[i]) &&
            strncmp(name.data, shifted[i], strlen(shifted[i])) == 0)
            return rad_fail(m->error, RADLLM_E_UNSUPPORTED,
                            "tokenizer_config.json: tokenizer_class %sTokenizer gives pieces other "
                            "ids than tokenizer.model has; fetch the model's tokenizer.json",
                            shifted[i]);
    if (m->spec.model_type < 1 || m->spec.model_type > 4)
        return fail(m, RADLLM_E_UNSUPPORTED,
                    "its model_type is none of Unigram, BPE, word and char");
    if (m->spec.denormalizer.size > 0)
        return fail(m, RADLLM_E_UNSUPPORTED, "it changes text on the way back (denormalizer)");
    return RADLLM_OK;
}

static radllm_status read_charsmap(maker *m)
{
    rad_text text = m->spec.charsmap;
    if (text.size == 0)
        return RADLLM_OK;
    uint8_t *bytes = rad_arena_alloc(&m->tokenizer->vocabulary.arena, text.size + 1, 4);
    if (bytes == NULL)
        return rad_fail_memory(m->error, text.size + 1);
    memcpy(bytes, text.data, text.size);
    return rad_charsmap_make(&m->spm->charsmap, bytes, text.size)
               ? RADLLM_OK
               : fail(m, RADLLM_E_FORMAT, "its precompiled_charsmap is damaged");
}

/* Of the file's own pieces. */
static radllm_status check_pieces(maker *m)
{
    float least = FLT_MAX;
    m->tokenizer->unknown = -1;
    for (size_t i = 0; i < m->size; i++) {
        const rad_spm_piece *piece = &m->pieces[i];
        if (piece->type == RAD_TOKEN_UNKNOWN && m->tokenizer->unknown >= 0)
            return fail(m, RADLLM_E_FORMAT, "two of its pieces are of the type unknown");
        if (piece->type == RAD_TOKEN_UNKNOWN)
            m->tokenizer->unknown = (int32_t)i;
        if (piece->type == RAD_TOKEN_BYTE && !m->spec.byte_fallback)
            return fail(m, RADLLM_E_FORMAT, "it has pieces for bytes and no byte_fallback");
        if (piece->type == RAD_TOKEN_NORMAL && piece->score < least)
            least = piece->score;
    }
    m->spm->unknown_score = least - 10.0f;
    return m->tokenizer->unknown >= 0
               ? RADLLM_OK
               : fail(m, RADLLM_E_FORMAT, "none of its pieces is of the type unknown");
}

/* ---- putting it together -----------------------------------------------------------------------
 */

static radllm_status fill_vocabulary(maker *m)
{
    rad_vocabulary *vocabulary = &m->tokenizer->vocabulary;
    const rad_allocator *allocator = &m->tokenizer->host.allocator;
    size_t bytes = m->size * sizeof(rad_text);
    rad_text *texts = rad_alloc(allocator, bytes);
    if (texts == NULL)
        return rad_fail_memory(m->error, bytes);
    for (size_t i = 0; i < m->size; i++)
        texts[i] = m->pieces[i].text;
    radllm_status status = rad_vocabulary_fill(vocabulary, texts, m->size, PIECES, m->error);
    rad_free(allocator, texts, bytes);
    vocabulary->types = rad_arena_alloc(&vocabulary->arena, m->size, 1);
    vocabulary->scores =
        rad_arena_alloc(&vocabulary->arena, m->size * sizeof(float), sizeof(float));
    if (status == RADLLM_OK && (vocabulary->types == NULL || vocabulary->scores == NULL))
        status = rad_fail_memory(m->error, m->size * sizeof(float));
    for (size_t i = 0; i < m->size && status == RADLLM_OK; i++) {
        vocabulary->types[i] = m->pieces[i].type;
        vocabulary->scores[i] = m->pieces[i].score;
    }
    if (status == RADLLM_OK)
        status = rad_vocabulary_index(vocabulary, false, PIECES, m->error);
    return status;
}

static radllm_status make_bytes(maker *m)
{
    rad_tokenizer *tokenizer = m->tokenizer;
    radllm_status status = rad_sentencepiece_make(tokenizer, m->error);
    tokenizer->rules.n_texts = (int32_t)m->spm->n_pieces;
    for (int byte = 0; byte < 256 && status == RADLLM_OK; byte++) {
        int32_t *id = &tokenizer->byte_tokens[byte];
        if (!m->spm->byte_fallback)
            *id = -1;
        else if (*id < 0 || tokenizer->vocabulary.types[*id] != RAD_TOKEN_BYTE)
            status = fail(m, RADLLM_E_FORMAT,
                          "it has byte_fallback, but not a piece for each of the 256 bytes");
    }
    return status;
}

/* Pieces that are never cut, and those that a path of Unigram may take. */
static radllm_status make_tries(maker *m)
{
    rad_spm *spm = m->spm;
    rad_arena *arena = &m->tokenizer->vocabulary.arena;
    size_t user = 0, all = 0;
    for (size_t i = 0; i < spm->n_pieces; i++) {
        uint8_t type = m->pieces[i].type;
        user += type == RAD_TOKEN_USER_DEFINED ? m->pieces[i].text.size : 0;
        all += m->pieces[i].text.size;
        spm->has_unused = spm->has_unused || type == RAD_TOKEN_UNUSED;
    }
    spm->has_user = user > 0;
    radllm_status status = user > 0 ? rad_trie_make(&spm->user, arena, user, m->error) : RADLLM_OK;
    if (status == RADLLM_OK && spm->unigram)
        status = rad_trie_make(&spm->trie, arena, all, m->error);
    for (size_t i = 0; i < spm->n_pieces && status == RADLLM_OK; i++) {
        const uint8_t *text = (const uint8_t *)m->pieces[i].text.data;
        size_t size = m->pieces[i].text.size;
        uint8_t type = m->pieces[i].type;
        if (type == RAD_TOKEN_USER_DEFINED)
            rad_trie_add(&spm->user, text, size, (uint32_t)i);
        if (spm->unigram && (type == RAD_TOKEN_USER_DEFINED || type == RAD_TOKEN_NORMAL))
            rad_trie_add(&spm->trie, text, size, (uint32_t)i);
    }
    return status;
}

static bool is_special(const maker *m, size_t id)
{
    uint8_t type = m->pieces[id].type;
    return (m->flags[id] & ADDED) != 0 || type == RAD_TOKEN_CONTROL || type == RAD_TOKEN_UNKNOWN;
}

static radllm_status make_specials(maker *m)
{
    rad_tokenizer *tokenizer = m->tokenizer;
    rad_arena *arena = &tokenizer->vocabulary.arena;
    size_t total = 0;
    for (size_t i = 0; i < m->size; i++) {
        if (is_special(m, i) && m->pieces[i].text.size > RAD_SPECIAL_MAX)
            return fail(m, RADLLM_E_LIMIT, "the text of a control token is too long");
        total += is_special(m, i) ? m->pieces[i].text.size : 0;
    }
    radllm_status status = rad_specials_start(&tokenizer->specials, arena, total,
                                              tokenizer->vocabulary.types, m->error);
    tokenizer->added = rad_arena_alloc_zero(arena, m->size, 1);
    if (status == RADLLM_OK && tokenizer->added == NULL)
        status = rad_fail_memory(m->error, m->size);
    for (size_t i = 0; i < m->size && status == RADLLM_OK; i++) {
        if (is_special(m, i))
            rad_specials_add(&tokenizer->specials, (const uint8_t *)m->pieces[i].text.data,
                             m->pieces[i].text.size, (int32_t)i);
        tokenizer->added[i] = (uint8_t)(m->flags[i] & ~ADDED);
    }
    return status;
}

static int32_t find_control(const rad_tokenizer *tokenizer, rad_text text, const char *usual)
{
    const char *name = text.size > 0 ? text.data : usual;
    int32_t id = rad_vocabulary_find(&tokenizer->vocabulary, (const uint8_t *)name,
                                     text.size > 0 ? text.size : strlen(usual));
    return id >= 0 && tokenizer->vocabulary.types[id] == RAD_TOKEN_CONTROL ? id : -1;
}

static bool says(const rad_tree *json, const char *key, bool value)
{
    return json->count > 0 && rad_tree_kind_of(json, rad_tree_get(json, 0, key)) ==
                                  (value ? RAD_TREE_TRUE : RAD_TREE_FALSE);
}

/* How `transformers` goes about it, by the class of the tokenizer. */
static void set_habits(maker *m)
{
    rad_tokenizer *tokenizer = m->tokenizer;
    const rad_tree *config = &m->side->config;
    rad_text name = config->count > 0
                        ? content_of(config, rad_tree_get(config, 0, "tokenizer_class"))
                        : (rad_text){NULL, 0};
    bool t5 = name.data != NULL && ((name.size >= 2 && memcmp(name.data, "T5", 2) == 0) ||
                                    (name.size >= 3 && memcmp(name.data, "MT5", 3) == 0));
    tokenizer->bos = find_control(tokenizer, m->spec.bos, "<s>");
    tokenizer->eos = find_control(tokenizer, m->spec.eos, "</s>");
    tokenizer->add_bos = !t5 && tokenizer->bos >= 0;
    tokenizer->add_eos = t5 && tokenizer->eos >= 0;
    m->spm->every_head = t5 || says(config, "legacy", true);
    m->spm->dummy_prefix = m->spec.dummy_prefix && !says(config, "add_prefix_space", false);
    tokenizer->add_space_prefix = m->spm->dummy_prefix && !m->spm->suffix;
}

static radllm_status put_together(maker *m)
{
    rad_tokenizer *tokenizer = m->tokenizer;
    radllm_status status = check_spec(m);
    if (status == RADLLM_OK)
        status = check_pieces(m);
    if (status == RADLLM_OK)
        status = read_charsmap(m);
    if (status == RADLLM_OK)
        status = read_tokens(m);
    if (status == RADLLM_OK)
        status = fill_vocabulary(m);
    if (status == RADLLM_OK)
        status = make_bytes(m);
    if (status == RADLLM_OK)
        status = make_tries(m);
    if (status == RADLLM_OK)
        status = make_specials(m);
    if (status != RADLLM_OK)
        return status;
    set_habits(m);
    status = rad_tokenizer_side_apply(tokenizer, m->side, m->error);
    return status == RADLLM_OK ? rad_vocabulary_make_pieces(&tokenizer->vocabulary, false, m->error)
                               : status;
}

static radllm_status make(maker *m, const rad_tokenizer_file *file)
{
    const rad_allocator *allocator = &m->tokenizer->host.allocator;
    rad_spm *spm = m->spm;
    radllm_status status = rad_spm_parse(allocator, (const uint8_t *)file->data, file->size,
                                         &m->spec, &m->pieces, &m->size, m->error);
    if (status != RADLLM_OK)
        return status;
    m->capacity = m->size;
    *spm = (rad_spm){.unigram = m->spec.model_type == 1,
                     .words = m->spec.model_type == 3,
                     .characters = m->spec.model_type == 4,
                     .byte_fallback = m->spec.byte_fallback,
                     .suffix = m->spec.suffix,
                     .collapse = m->spec.collapse,
                     .escape = m->spec.escape,
                     .n_pieces = (uint32_t)m->size};
    m->flags = rad_alloc_zero(allocator, m->size);
    m->flags_capacity = m->flags != NULL ? m->size : 0;
    status = m->flags != NULL ? put_together(m) : rad_fail_memory(m->error, m->size);
    rad_free(allocator, m->flags, m->flags_capacity);
    rad_free(allocator, m->pieces, m->capacity * sizeof *m->pieces);
    return status;
}

radllm_status rad_tokenizer_create_spm(const rad_host *host, const rad_tokenizer_files *files,
                                       rad_tokenizer **out, radllm_error *error)
{
    rad_tokenizer *tokenizer = rad_tokenizer_new(host);
    if (tokenizer == NULL)
        return rad_fail_memory(error, sizeof *tokenizer);
    rad_tokenizer_side side;
    rad_spm *spm = rad_arena_alloc_zero(&tokenizer->vocabulary.arena, sizeof *spm, 16);
    maker m = {.tokenizer = tokenizer, .spm = spm, .side = &side, .rows = files->rows};
    m.error = error;
    tokenizer->model = RAD_MODEL_SPM;
    tokenizer->spm = spm;
    radllm_status status =
        rad_tokenizer_side_parse(&side, files, &tokenizer->host.allocator, error);
    bool lowers = false;
    if (status == RADLLM_OK)
        status = rad_tokenizer_side_lowers(&side, &lowers, error);
    if (status == RADLLM_OK && lowers)
        status = rad_fail(error, RADLLM_E_UNSUPPORTED,
                          "sentence_bert_config.json: do_lower_case is not supported beside a "
                          "tokenizer.model; make a tokenizer.json of it (save_pretrained)");
    if (status == RADLLM_OK)
        status = spm != NULL ? make(&m, &files->tokenizer) : rad_fail_memory(error, sizeof *spm);
    rad_tokenizer_side_free(&side);
    if (status != RADLLM_OK) {
        rad_tokenizer_free(tokenizer);
        return status;
    }
    *out = tokenizer;
    return RADLLM_OK;
}

/* ---- of a GGUF file ----------------------------------------------------------------------------
 */

static radllm_status read_charsmap_key(maker *m, const rad_source *source)
{
    const char *key = "tokenizer.ggml.precompiled_charsmap";
    const rad_meta *meta = rad_source_find_meta(source, key);
    if (meta == NULL)
        return RADLLM_OK;
    if (!meta->is_array || (meta->type != RAD_META_U8 && meta->type != RAD_META_I8))
        return rad_fail(m->error, RADLLM_E_FORMAT, "%s must be an array of bytes", key);
    m->spec.charsmap = (rad_text){(const char *)meta->items, (size_t)meta->count};
    return read_charsmap(m);
}

static radllm_status take_pieces(maker *m)
{
    const rad_vocabulary *vocabulary = &m->tokenizer->vocabulary;
    for (uint32_t id = 0; id < vocabulary->size; id++) {
        rad_spm_piece *piece = &m->pieces[id];
        const uint8_t *text = rad_vocabulary_entry(vocabulary, id, &piece->text.size);
        piece->text.data = (const char *)text;
        piece->score = vocabulary->scores[id];
        piece->type = vocabulary->types[id];
        m->spec.byte_fallback = m->spec.byte_fallback || piece->type == RAD_TOKEN_BYTE;
        bool cut = piece->type == RAD_TOKEN_NORMAL || piece->type == RAD_TOKEN_USER_DEFINED;
        if (cut && (piece->text.size == 0 || piece->text.size > RAD_SPM_PIECE_MAX ||
                    memchr(text, 0, piece->text.size) != NULL))
            return fail(m, RADLLM_E_FORMAT,
                        "a piece has no text, or one of more than 1024 bytes, or a NUL");
        if (cut && !(piece->score > -FLT_MAX && piece->score < FLT_MAX))
            return fail(m, RADLLM_E_FORMAT, "a piece's score is no number");
    }
    return RADLLM_OK;
}

radllm_status rad_spm_read(rad_tokenizer *tokenizer, const rad_source *source, radllm_error *error)
{
    const rad_allocator *allocator = &tokenizer->host.allocator;
    size_t n = tokenizer->vocabulary.size, bytes = n * sizeof(rad_spm_piece);
    rad_spm *spm = rad_arena_alloc_zero(&tokenizer->vocabulary.arena, sizeof *spm, 16);
    maker m = {.tokenizer = tokenizer, .spm = spm, .size = n, .error = error};
    if (spm == NULL)
        return rad_fail_memory(error, sizeof *spm);
    if (tokenizer->vocabulary.scores == NULL)
        return fail(&m, RADLLM_E_FORMAT, "tokenizer.ggml.scores is missing");
    *spm =
        (rad_spm){.unigram = true, .escape = true, .n_pieces = (uint32_t)n, .bos = -1, .eos = -1};
    spm->dummy_prefix = tokenizer->add_space_prefix;
    radllm_status status = rad_meta_bool(source, "tokenizer.ggml.remove_extra_whitespaces", false,
                                         &spm->collapse, error);
    m.pieces = rad_alloc(allocator, bytes);
    m.flags = rad_alloc_zero(allocator, n);
    if (status == RADLLM_OK && (m.pieces == NULL || m.flags == NULL))
        status = rad_fail_memory(error, bytes + n);
    if (status == RADLLM_OK)
        status = take_pieces(&m);
    spm->byte_fallback = m.spec.byte_fallback;
    if (status == RADLLM_OK)
        status = check_pieces(&m);
    if (status == RADLLM_OK)
        status = read_charsmap_key(&m, source);
    tokenizer->spm = spm;
    if (status == RADLLM_OK)
        status = make_bytes(&m);
    if (status == RADLLM_OK)
        status = make_tries(&m);
    if (status == RADLLM_OK)
        status = make_specials(&m);
    rad_free(allocator, m.flags, m.flags != NULL ? n : 0);
    rad_free(allocator, m.pieces, m.pieces != NULL ? bytes : 0);
    return status;
}
