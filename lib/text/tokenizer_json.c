/* Puts a tokenizer of tokenizer.json together, and takes from the files beside it which tokens
 * begin and end a text. */
#include "text/tokenizer_json.h"

#include <stdio.h>
#include <string.h>

#include "text/pipeline_read.h"
#include "text/spm.h"

/* What the files may hold. The largest in use have 35 MB and 2 million values. */
#define TOKENIZER_BYTES  ((size_t)128 << 20)
#define TOKENIZER_VALUES ((size_t)8 << 20)
#define SIDE_BYTES       ((size_t)16 << 20)
#define SIDE_VALUES      ((size_t)1 << 20)

/* ---- tokenizer.json -------------------------------------------------------------------------- */

static radllm_status read_model_type(rad_pipeline_reader *r, uint32_t model)
{
    static const char *const names[] = {"BPE", "Unigram", "WordPiece", "WordLevel"};
    uint32_t type = rad_tree_get(&r->json, model, "type");
    if (rad_tree_kind_of(&r->json, model) != RAD_TREE_OBJECT)
        return rad_fail(r->error, RADLLM_E_FORMAT,
                        "tokenizer.json: there is no object \"model\"; give the tokenizer.json of "
                        "a model's folder");
    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (rad_tree_is(&r->json, type, names[i])) {
            r->pipeline->model = (rad_pipeline_model)i;
            return RADLLM_OK;
        }
    }
    if (rad_tree_kind_of(&r->json, type) != RAD_TREE_NULL)
        return rad_refuse_part(r, model, "model");
    /* Older files do not say it. */
    r->pipeline->model =
        rad_tree_get(&r->json, model, "merges") != RAD_TREE_NONE   ? RAD_PIPELINE_BPE
        : rad_tree_get(&r->json, model, "unk_id") != RAD_TREE_NONE ? RAD_PIPELINE_UNIGRAM
        : rad_tree_get(&r->json, model, "max_input_chars_per_word") != RAD_TREE_NONE
            ? RAD_PIPELINE_WORDPIECE
            : RAD_PIPELINE_WORDLEVEL;
    return RADLLM_OK;
}

static radllm_status check_version(const rad_pipeline_reader *r)
{
    uint32_t at = rad_tree_get(&r->json, 0, "version");
    if (rad_tree_kind_of(&r->json, at) == RAD_TREE_NULL || rad_tree_is(&r->json, at, "1.0"))
        return RADLLM_OK;
    return rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                    "tokenizer.json: its \"version\" is not \"1.0\", the one that is known");
}

static radllm_status read_tokenizer(rad_pipeline_reader *r)
{
    const rad_tree *json = &r->json;
    uint32_t model = rad_tree_get(json, 0, "model");
    uint32_t added = rad_tree_get(json, 0, "added_tokens");
    radllm_status status = check_version(r);
    if (status == RADLLM_OK)
        status = read_model_type(r, model);
    if (status == RADLLM_OK)
        status = rad_read_vocabulary(r, model, added);
    if (status == RADLLM_OK)
        status = rad_read_normalizers(r, rad_tree_get(json, 0, "normalizer"));
    if (status == RADLLM_OK)
        status = rad_read_splitters(r, rad_tree_get(json, 0, "pre_tokenizer"));
    if (status == RADLLM_OK)
        status = rad_read_model(r, model);
    if (status == RADLLM_OK)
        status = rad_read_added(r, added);
    if (status == RADLLM_OK)
        status = rad_read_decoder(r, rad_tree_get(json, 0, "decoder"));
    if (status == RADLLM_OK)
        status = rad_read_frame(r, rad_tree_get(json, 0, "post_processor"));
    return status;
}

/* ---- the files beside it --------------------------------------------------------------------- */

/* Parses a file; json->count is 0 where there is none. */
static radllm_status parse_side(rad_tree *json, const rad_tokenizer_file *file, const char *name,
                                radllm_error *error)
{
    if (file->data == NULL)
        return RADLLM_OK;
    radllm_status status = rad_tree_parse(json, file->data, file->size, SIDE_VALUES, name, error);
    if (status == RADLLM_OK && rad_tree_kind_of(json, 0) != RAD_TREE_OBJECT)
        return rad_fail(error, RADLLM_E_FORMAT, "%s: the text is no JSON object", name);
    return status;
}

/* The token under a key, a text or an object with "content"; no data: there is none. */
static rad_text named_under(const rad_tree *json, const char *key)
{
    uint32_t at = json->count > 0 ? rad_tree_get(json, 0, key) : RAD_TREE_NONE;
    if (rad_tree_kind_of(json, at) == RAD_TREE_OBJECT)
        at = rad_tree_get(json, at, "content");
    return rad_tree_kind_of(json, at) == RAD_TREE_STRING ? rad_tree_text(json, at)
                                                         : (rad_text){NULL, 0};
}

/* Its id; -1: there is none. */
static int32_t token_of(const rad_tokenizer *tokenizer, const rad_tree *json, const char *key)
{
    rad_text text = named_under(json, key);
    if (text.data == NULL)
        return -1;
    return rad_vocabulary_find(&tokenizer->vocabulary, (const uint8_t *)text.data, text.size);
}

static bool is_named(const rad_tree *config, const char *key, rad_text text)
{
    rad_text named = named_under(config, key);
    return named.size > 0 && named.size == text.size &&
           memcmp(named.data, text.data, text.size) == 0;
}

bool rad_is_outer_padding(const rad_tree *config, int64_t rows, int64_t id, rad_text text)
{
    static const char *const usual[] = {"<pad>", "[PAD]", "<PAD>"};
    if (rows == 0 || id < rows || is_named(config, "bos_token", text) ||
        is_named(config, "eos_token", text))
        return false;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (text.size == 5 && memcmp(text.data, usual[i], 5) == 0)
            return true;
    return is_named(config, "pad_token", text);
}

/* true, false, or neither (-1) */
static int flag_of(const rad_tree *json, const char *key)
{
    rad_tree_kind kind =
        json->count == 0 ? RAD_TREE_NULL : rad_tree_kind_of(json, rad_tree_get(json, 0, key));
    return kind == RAD_TREE_TRUE ? 1 : kind == RAD_TREE_FALSE ? 0 : -1;
}

/* Whether tokenizer.json itself says which tokens stand around a text. */
static bool is_framed(const rad_tokenizer *tokenizer)
{
    const rad_pipeline *pipeline = tokenizer->pipeline;
    return pipeline != NULL && pipeline->n_before + pipeline->n_after > 0;
}

/* The configuration's word on BOS and EOS counts where tokenizer.json has none. */
static radllm_status apply_flags(rad_tokenizer *tokenizer, const rad_tree *config,
                                 radllm_error *error)
{
    if (is_framed(tokenizer))
        return RADLLM_OK;
    int bos = flag_of(config, "add_bos_token"), eos = flag_of(config, "add_eos_token");
    if ((bos == 1 && tokenizer->bos < 0) || (eos == 1 && tokenizer->eos < 0))
        return rad_fail(error, RADLLM_E_FORMAT,
                        "tokenizer_config.json: %s is true, but no %s of the vocabulary is named",
                        bos == 1 && tokenizer->bos < 0 ? "add_bos_token" : "add_eos_token",
                        bos == 1 && tokenizer->bos < 0 ? "bos_token" : "eos_token");
    if (bos >= 0)
        tokenizer->add_bos = bos == 1;
    if (eos >= 0)
        tokenizer->add_eos = eos == 1;
    return RADLLM_OK;
}

static void set_end(rad_tokenizer *tokenizer, int64_t id)
{
    if (id >= 0 && id < tokenizer->vocabulary.size)
        tokenizer->ends[id >> 3] = (uint8_t)(tokenizer->ends[id >> 3] | 1u << (id & 7));
}

/* eos_token_id: a number or several */
static void read_ends(rad_tokenizer *tokenizer, const rad_tree *generation)
{
    int64_t id;
    if (generation->count == 0)
        return;
    uint32_t at = rad_tree_get(generation, 0, "eos_token_id");
    if (rad_tree_integer(generation, at, &id))
        set_end(tokenizer, id);
    if (rad_tree_kind_of(generation, at) != RAD_TREE_ARRAY)
        return;
    uint32_t item = rad_tree_first(at);
    for (uint32_t i = 0; i < generation->values[at].size; i++) {
        if (rad_tree_integer(generation, item, &id))
            set_end(tokenizer, id);
        item = generation->values[item].next;
    }
}

/* The template of the configuration: a text, or the one called "default" of several, which are a
 * list of names and texts (the last of a name counts) or an object. */
static rad_text template_of(const rad_tree *config)
{
    if (config->count == 0)
        return (rad_text){NULL, 0};
    uint32_t at = rad_tree_get(config, 0, "chat_template"), found = at;
    if (rad_tree_kind_of(config, at) == RAD_TREE_OBJECT)
        found = rad_tree_get(config, at, "default");
    if (rad_tree_kind_of(config, at) == RAD_TREE_ARRAY) {
        uint32_t item = rad_tree_first(at);
        for (uint32_t i = 0; i < config->values[at].size; i++, item = config->values[item].next)
            if (rad_tree_is(config, rad_tree_get(config, item, "name"), "default"))
                found = rad_tree_get(config, item, "template");
    }
    return rad_tree_kind_of(config, found) == RAD_TREE_STRING ? rad_tree_text(config, found)
                                                              : (rad_text){NULL, 0};
}

static radllm_status keep_template(rad_tokenizer *tokenizer, rad_pipeline *pipeline, rad_text text,
                                   radllm_error *error)
{
    if (text.data == NULL)
        text = (rad_text){"", 0};
    char *kept = rad_arena_copy(&tokenizer->vocabulary.arena, text.data, text.size);
    if (kept == NULL)
        return rad_fail_memory(error, text.size);
    pipeline->chat_template = (rad_text){kept, text.size};
    return RADLLM_OK;
}

/* The id of a token that the configuration names, or else the map of special tokens. Of files older
 * than added_tokens_decoder the map counts first, as in `transformers`. */
static void find_named(const rad_tokenizer *tokenizer, const rad_tokenizer_side *side,
                       const char *key, int32_t *id)
{
    const rad_tree *config = &side->config, *map = &side->map;
    bool newer = config->count > 0 &&
                 rad_tree_kind_of(config, rad_tree_get(config, 0, "added_tokens_decoder")) ==
                     RAD_TREE_OBJECT;
    int32_t found = token_of(tokenizer, newer ? config : map, key);
    if (found < 0)
        found = token_of(tokenizer, newer ? map : config, key);
    if (found >= 0)
        *id = found;
}

radllm_status rad_tokenizer_side_apply(rad_tokenizer *tokenizer, const rad_tokenizer_side *side,
                                       radllm_error *error)
{
    size_t bytes = (size_t)tokenizer->vocabulary.size / 8 + 1;
    tokenizer->ends = rad_arena_alloc_zero(&tokenizer->vocabulary.arena, bytes, 1);
    if (tokenizer->ends == NULL)
        return rad_fail_memory(error, bytes);
    find_named(tokenizer, side, "bos_token", &tokenizer->bos);
    find_named(tokenizer, side, "eos_token", &tokenizer->eos);
    tokenizer->separator = token_of(tokenizer, &side->config, "sep_token");
    find_named(tokenizer, side, "pad_token", &tokenizer->padding);
    find_named(tokenizer, side, "mask_token", &tokenizer->mask);
    radllm_status status = apply_flags(tokenizer, &side->config, error);
    if (status != RADLLM_OK)
        return status;
    rad_tokenizer_find_ends(tokenizer);
    set_end(tokenizer, tokenizer->eos);
    read_ends(tokenizer, &side->generation);
    return RADLLM_OK;
}

radllm_status rad_tokenizer_side_parse(rad_tokenizer_side *side, const rad_tokenizer_files *files,
                                       const rad_allocator *allocator, radllm_error *error)
{
    const struct {
        rad_tree *json;
        const rad_tokenizer_file *file;
        const char *name;
    } texts[] = {{&side->config, &files->config, "tokenizer_config.json"},
                 {&side->map, &files->special_tokens_map, "special_tokens_map.json"},
                 {&side->generation, &files->generation_config, "generation_config.json"},
                 {&side->added, &files->added, "added_tokens.json"},
                 {&side->sentences, &files->sentences, "sentence_bert_config.json"}};
    radllm_status status = RADLLM_OK;
    *side = (rad_tokenizer_side){0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        texts[i].json->allocator = allocator;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && status == RADLLM_OK; i++)
        status = parse_side(texts[i].json, texts[i].file, texts[i].name, error);
    return status;
}

radllm_status rad_tokenizer_side_lowers(const rad_tokenizer_side *side, bool *lowers,
                                        radllm_error *error)
{
    const rad_tree *json = &side->sentences;
    rad_tree_kind kind = RAD_TREE_NULL;
    if (json->count > 0)
        kind = rad_tree_kind_of(json, rad_tree_get(json, 0, "do_lower_case"));
    *lowers = kind == RAD_TREE_TRUE;
    if (kind <= RAD_TREE_TRUE)
        return RADLLM_OK;
    return rad_fail(error, RADLLM_E_FORMAT,
                    "sentence_bert_config.json: do_lower_case must be true or false; fetch the "
                    "file again");
}

void rad_tokenizer_side_free(rad_tokenizer_side *side)
{
    rad_tree_free(&side->config);
    rad_tree_free(&side->map);
    rad_tree_free(&side->generation);
    rad_tree_free(&side->added);
    rad_tree_free(&side->sentences);
}

/* What stands around a text: as tokenizer.json says, or else the configuration. */
static void make_frame(rad_tokenizer *tokenizer, rad_pipeline *pipeline)
{
    if (!is_framed(tokenizer)) {
        pipeline->n_before = tokenizer->add_bos;
        pipeline->before[0] = tokenizer->bos;
        pipeline->n_after = tokenizer->add_eos;
        pipeline->after[0] = tokenizer->eos;
    }
    tokenizer->add_bos = pipeline->n_before > 0;
    tokenizer->add_eos = pipeline->n_after > 0;
}

static radllm_status apply_side(rad_tokenizer *tokenizer, rad_pipeline *pipeline,
                                const rad_tokenizer_side *side, const rad_tokenizer_files *files,
                                radllm_error *error)
{
    tokenizer->bos = pipeline->n_before == 1 ? pipeline->before[0] : -1;
    tokenizer->eos = -1;
    radllm_status status = rad_tokenizer_side_apply(tokenizer, side, error);
    if (status != RADLLM_OK)
        return status;
    make_frame(tokenizer, pipeline);
    rad_text text = {files->chat_template.data, files->chat_template.size};
    return keep_template(tokenizer, pipeline, text.data != NULL ? text : template_of(&side->config),
                         error);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static radllm_status begin(rad_tokenizer *tokenizer, rad_pipeline_reader *r, radllm_error *error)
{
    rad_arena *arena = &tokenizer->vocabulary.arena;
    rad_pipeline *pipeline = rad_arena_alloc_zero(arena, sizeof *pipeline, 16);
    if (pipeline == NULL)
        return rad_fail_memory(error, sizeof *pipeline);
    pipeline->chat_template.data = "";
    tokenizer->model = RAD_MODEL_PIPELINE;
    tokenizer->pipeline = pipeline;
    *r = (rad_pipeline_reader){
        .arena = arena, .tokenizer = tokenizer, .pipeline = pipeline, .error = error};
    r->json.allocator = &tokenizer->host.allocator;
    return RADLLM_OK;
}

radllm_status rad_tokenizer_read_parts(rad_tokenizer *tokenizer, const rad_source *source,
                                       radllm_error *error)
{
    rad_pipeline_reader r;
    rad_text text = {NULL, 0};
    const rad_tree none = {0};
    radllm_status status = rad_meta_text(source, RAD_KEY_PARTS, &text, error);
    if (status == RADLLM_OK && text.size > TOKENIZER_BYTES)
        status = rad_fail(error, RADLLM_E_LIMIT,
                          RAD_KEY_PARTS " has %zu bytes; at most %zu are supported", text.size,
                          TOKENIZER_BYTES);
    if (status == RADLLM_OK)
        status = begin(tokenizer, &r, error);
    if (status != RADLLM_OK)
        return status;
    r.config = &none;
    r.gguf = source;
    char *copy = rad_alloc(r.json.allocator, text.size + 1); /* which parsing changes */
    if (copy == NULL)
        return rad_fail_memory(error, text.size + 1);
    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    status = rad_tree_parse(&r.json, copy, text.size, TOKENIZER_VALUES, RAD_KEY_PARTS, error);
    if (status == RADLLM_OK)
        status = read_tokenizer(&r);
    rad_tree_free(&r.json);
    rad_free(r.json.allocator, copy, text.size + 1);
    tokenizer->add_bos = r.pipeline->n_before > 0;
    tokenizer->add_eos = r.pipeline->n_after > 0;
    return status;
}

static radllm_status make(rad_tokenizer *tokenizer, const rad_tokenizer_files *files,
                          radllm_error *error)
{
    rad_pipeline_reader r;
    rad_tokenizer_side side;
    radllm_status status = begin(tokenizer, &r, error);
    if (status != RADLLM_OK)
        return status;
    rad_pipeline *pipeline = r.pipeline;
    status = rad_tokenizer_side_parse(&side, files, &tokenizer->host.allocator, error);
    r.config = &side.config;
    r.rows = files->rows;
    if (status == RADLLM_OK)
        status = rad_tokenizer_side_lowers(&side, &r.lowers, error);
    if (status == RADLLM_OK)
        status = rad_tree_parse(&r.json, files->tokenizer.data, files->tokenizer.size,
                                TOKENIZER_VALUES, "tokenizer.json", error);
    if (status == RADLLM_OK)
        status = read_tokenizer(&r);
    rad_tree_free(&r.json);
    if (status == RADLLM_OK)
        status = apply_side(tokenizer, pipeline, &side, files, error);
    rad_tokenizer_side_free(&side);
    return status;
}

radllm_status rad_tokenizer_create_json(const rad_host *host, const rad_tokenizer_files *files,
                                        rad_tokenizer **out, radllm_error *error)
{
    rad_tokenizer *tokenizer = rad_tokenizer_new(host);
    if (tokenizer == NULL)
        return rad_fail_memory(error, sizeof *tokenizer);
    radllm_status status = make(tokenizer, files, error);
    if (status != RADLLM_OK) {
        rad_tokenizer_free(tokenizer);
        return status;
    }
    *out = tokenizer;
    return RADLLM_OK;
}

bool rad_tokenizer_is_folder(const rad_source *source)
{
    return rad_source_has_side_file(source, "tokenizer.json") ||
           rad_source_has_side_file(source, "tokenizer.model");
}

/* What the configuration says of the embedding. */
static radllm_status count_rows(const rad_source *source, int64_t *rows, radllm_error *error)
{
    char key[96];
    rad_text name;
    *rows = 0;
    radllm_status status = rad_meta_text(source, "general.architecture", &name, error);
    if (status != RADLLM_OK || name.data == NULL || name.size > 64)
        return status;
    snprintf(key, sizeof key, "%.*s.vocab_size", (int)name.size, name.data);
    return rad_meta_integer(source, key, 0, INT32_MAX, 0, rows, error);
}

/* What sentence-transformers reads where modules.json says that the model is one of its own. */
static const char *sentences_of(const rad_source *source)
{
    static const char *const names[] = {"sentence_bert_config.json", "sentence_roberta_config.json",
                                        "sentence_xlm-roberta_config.json"};
    for (int i = 0; i < 3 && rad_source_has_side_file(source, "modules.json"); i++)
        if (rad_source_has_side_file(source, names[i]))
            return names[i];
    return ""; /* which no file is named */
}

radllm_status rad_tokenizer_create_folder(const rad_host *host, const rad_source *source,
                                          rad_tokenizer **out, radllm_error *error)
{
    rad_tokenizer_files files = {0};
    bool json = rad_source_has_side_file(source, "tokenizer.json");
    /* As of old, what ends an answer may stand in the model's own configuration alone. */
    bool generation = rad_source_has_side_file(source, "generation_config.json");
    const struct {
        const char *name;
        rad_tokenizer_file *file;
        size_t most;
    } names[] = {{json ? "tokenizer.json" : "tokenizer.model", &files.tokenizer, TOKENIZER_BYTES},
                 {"tokenizer_config.json", &files.config, SIDE_BYTES},
                 {"special_tokens_map.json", &files.special_tokens_map, SIDE_BYTES},
                 {generation ? "generation_config.json" : "config.json", &files.generation_config,
                  SIDE_BYTES},
                 {"chat_template.jinja", &files.chat_template, SIDE_BYTES},
                 {sentences_of(source), &files.sentences, SIDE_BYTES},
                 {"added_tokens.json", &files.added, SIDE_BYTES}};
    const size_t count = sizeof names / sizeof *names - (json ? 1 : 0);
    const rad_allocator *allocator = host != NULL && host->allocator.allocate != NULL
                                         ? &host->allocator
                                         : &rad_default_allocator;
    radllm_status status = count_rows(source, &files.rows, error);
    for (size_t i = 0; i < count && status == RADLLM_OK; i++)
        status = rad_source_side_file(source, allocator, names[i].name, names[i].most,
                                      &names[i].file->data, &names[i].file->size, error);
    if (status == RADLLM_OK)
        status = json ? rad_tokenizer_create_json(host, &files, out, error)
                      : rad_tokenizer_create_spm(host, &files, out, error);
    for (size_t i = 0; i < count; i++)
        rad_free(allocator, names[i].file->data, names[i].file->size + 1);
    return status;
}
