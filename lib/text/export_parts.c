/* Writes the parts of a tokenizer.json again as they were understood: one text for all files that
 * mean the same, whatever the files beside them said. */
#include <string.h>

#include "text/json_writer.h"
#include "text/utf8.h"

/* ---- members -------------------------------------------------------------------------------- */

/* The beginning of one of several parts. */
static void begin(rad_json_writer *w, bool *first, const char *type)
{
    rad_json(w, *first ? "\n{\"type\": \"" : ",\n{\"type\": \"");
    rad_json(w, type);
    rad_json(w, "\"");
    *first = false;
}

static void member(rad_json_writer *w, const char *key)
{
    rad_json(w, ", \"");
    rad_json(w, key);
    rad_json(w, "\": ");
}

static void member_flag(rad_json_writer *w, const char *key, bool value)
{
    member(w, key);
    rad_json_flag(w, value);
}

static void member_text(rad_json_writer *w, const char *key, rad_text text)
{
    member(w, key);
    rad_json_string(w, text);
}

static void member_name(rad_json_writer *w, const char *key, const char *name)
{
    member_text(w, key, (rad_text){name, strlen(name)});
}

static void member_number(rad_json_writer *w, const char *key, uint32_t value)
{
    member(w, key);
    rad_json_number(w, value);
}

static void member_pattern(rad_json_writer *w, const rad_pattern *pattern)
{
    const char *known = pattern->split != NULL ? rad_pretokenizer_expression(pattern->split) : NULL;
    bool literal = pattern->split == NULL && pattern->regex == NULL;
    rad_json(w, literal ? ", \"pattern\": {\"String\": " : ", \"pattern\": {\"Regex\": ");
    rad_json_string(w, known != NULL ? (rad_text){known, strlen(known)}
                       : literal     ? pattern->literal
                                     : pattern->source);
    rad_json(w, "}");
}

/* ---- normalizers ---------------------------------------------------------------------------- */

static bool is_kind(const rad_pipeline *p, uint32_t at, rad_normalizer_kind kind)
{
    return at < p->n_normalizers && p->normalizers[at].kind == kind;
}

/* Writes what one BertNormalizer does from `at` on; returns how many normalizers that is. */
static uint32_t put_bert(rad_json_writer *w, uint32_t at, bool *first)
{
    const rad_pipeline *p = w->tokenizer->pipeline;
    uint32_t from = at;
    bool clean = is_kind(p, at, RAD_NORMAL_BERT_CLEAN);
    at += clean;
    bool chinese = is_kind(p, at, RAD_NORMAL_BERT_CHINESE);
    at += chinese;
    bool strip = is_kind(p, at, RAD_NORMAL_FORM) && is_kind(p, at + 1, RAD_NORMAL_DROP_NONSPACING);
    at += strip ? 2 : 0;
    if (at == from)
        return 0;
    bool lowercase = is_kind(p, at, RAD_NORMAL_LOWERCASE);
    begin(w, first, "BertNormalizer");
    member_flag(w, "clean_text", clean);
    member_flag(w, "handle_chinese_chars", chinese);
    member_flag(w, "strip_accents", strip);
    member_flag(w, "lowercase", lowercase);
    rad_json(w, "}");
    return at + lowercase - from;
}

static void put_charsmap(rad_json_writer *w, uint32_t at, bool keyed)
{
    const rad_pipeline *p = w->tokenizer->pipeline;
    bool last = true;
    for (uint32_t i = at + 1; i < p->n_normalizers; i++)
        last = last && p->normalizers[i].kind != RAD_NORMAL_CHARSMAP;
    if (keyed && last && p->model == RAD_PIPELINE_UNIGRAM)
        return; /* it is tokenizer.ggml.precompiled_charsmap */
    member(w, "precompiled_charsmap");
    rad_json(w, "\"");
    rad_json_charsmap(w, &p->normalizers[at].charsmap);
    rad_json(w, "\"");
}

static const char *type_of(const rad_normalizer *n)
{
    static const char *const names[] = {
        [RAD_NORMAL_LOWERCASE] = "Lowercase",     [RAD_NORMAL_STRIP] = "Strip",
        [RAD_NORMAL_DROP_MARKS] = "StripAccents", [RAD_NORMAL_NMT] = "Nmt",
        [RAD_NORMAL_PREPEND] = "Prepend",         [RAD_NORMAL_REPLACE] = "Replace",
        [RAD_NORMAL_CHARSMAP] = "Precompiled",    [RAD_NORMAL_LETTERS] = "ByteLevel"};
    static const char *const forms[] = {"NFD", "NFC", "NFKD", "NFKC"};
    return n->kind == RAD_NORMAL_FORM ? forms[n->compose + 2 * n->compatibility] : names[n->kind];
}

static void put_normalizers(rad_json_writer *w, bool keyed)
{
    const rad_pipeline *p = w->tokenizer->pipeline;
    bool first = true, several = p->n_normalizers > 1;
    rad_json(w, "\"normalizer\": ");
    rad_json(w, several             ? "{\"type\": \"Sequence\", \"normalizers\": ["
                : !p->n_normalizers ? "null"
                                    : "");
    for (uint32_t i = 0; i < p->n_normalizers;) {
        const rad_normalizer *n = &p->normalizers[i];
        uint32_t taken = put_bert(w, i, &first);
        i += taken > 0 ? taken : 1;
        if (taken > 0)
            continue;
        begin(w, &first, type_of(n));
        if (n->kind == RAD_NORMAL_STRIP) {
            member_flag(w, "strip_left", n->left);
            member_flag(w, "strip_right", n->right);
        } else if (n->kind == RAD_NORMAL_PREPEND) {
            member_text(w, "prepend", n->content);
        } else if (n->kind == RAD_NORMAL_REPLACE) {
            member_pattern(w, &n->pattern);
            member_text(w, "content", n->content);
        } else if (n->kind == RAD_NORMAL_CHARSMAP) {
            put_charsmap(w, i - 1, keyed);
        }
        rad_json(w, "}");
    }
    rad_json(w, several ? "]},\n" : ",\n");
}

/* ---- pre-tokenizers ------------------------------------------------------------------------- */

static void put_byte_level(rad_json_writer *w, bool *first, bool prefix, bool regex)
{
    begin(w, first, "ByteLevel");
    member_flag(w, "add_prefix_space", prefix);
    member_flag(w, "trim_offsets", true);
    member_flag(w, "use_regex", regex);
    rad_json(w, "}");
}

static bool is_metaspace_split(const rad_splitter *s)
{
    return s->pattern.find == rad_pattern_code && s->behavior == RAD_BEHAVIOR_MERGED_WITH_NEXT;
}

static void put_finder(rad_json_writer *w, const rad_splitter *s, const char *behavior, bool *first)
{
    rad_find_fn find = s->pattern.find;
    if (find == rad_pattern_code) {
        uint8_t bytes[4];
        size_t size = rad_utf8_encode(s->pattern.parameter, bytes);
        begin(w, first, "CharDelimiterSplit");
        member_text(w, "delimiter", (rad_text){(const char *)bytes, size});
    } else if (find == rad_pattern_number) {
        begin(w, first, "Digits");
        member_flag(w, "individual_digits", s->behavior == RAD_BEHAVIOR_ISOLATED);
    } else if (find == rad_pattern_punctuation) {
        begin(w, first, "Punctuation");
        member_name(w, "behavior", behavior);
    } else {
        begin(w, first,
              find == rad_pattern_space    ? "WhitespaceSplit"
              : find == rad_pattern_script ? "UnicodeScripts"
                                           : "Whitespace");
    }
    rad_json(w, "}");
}

/* Writes the splitter at `at`; returns how many it is together with those that its part made. */
static uint32_t put_splitter(rad_json_writer *w, uint32_t at, bool *first)
{
    static const char *const behaviors[] = {"Removed", "Isolated", "MergedWithPrevious",
                                            "MergedWithNext", "Contiguous"};
    static const char *const schemes[] = {"never", "first", "always"};
    const rad_pipeline *p = w->tokenizer->pipeline;
    const rad_splitter *s = &p->splitters[at];
    const uint32_t left = p->n_splitters - at;
    if (s->kind == RAD_SPLIT_LETTERS) {
        put_byte_level(w, first, false, false);
        return 1;
    }
    if (s->kind == RAD_SPLIT_PREFIX_SPACE) { /* of a ByteLevel, whose letters may be the model's */
        bool regex = left > 1 && s[1].kind == RAD_SPLIT_PATTERN;
        put_byte_level(w, first, true, regex);
        return left < 2u + regex ? left : 2u + regex;
    }
    if (s->kind == RAD_SPLIT_METASPACE) {
        bool split = left > 1 && s[1].kind == RAD_SPLIT_PATTERN && is_metaspace_split(&s[1]);
        begin(w, first, "Metaspace");
        member_text(w, "replacement", s->content);
        member_name(w, "prepend_scheme", schemes[s->prepend]);
        member_flag(w, "split", split);
        rad_json(w, "}");
        return 1u + split;
    }
    if (s->kind == RAD_SPLIT_FIXED_LENGTH) {
        begin(w, first, "FixedLength");
        member_number(w, "length", s->length);
        rad_json(w, "}");
    } else if (s->pattern.find != NULL) {
        put_finder(w, s, behaviors[s->behavior], first);
    } else {
        begin(w, first, "Split");
        member_pattern(w, &s->pattern);
        member_name(w, "behavior", behaviors[s->behavior]);
        member_flag(w, "invert", s->invert);
        rad_json(w, "}");
    }
    return 1;
}

static void put_splitters(rad_json_writer *w)
{
    const rad_pipeline *p = w->tokenizer->pipeline;
    bool first = true, letters = p->bytes, any = letters || p->n_splitters > 0;
    rad_json(w, any ? "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": ["
                    : "\"pre_tokenizer\": null");
    for (uint32_t i = 0; i < p->n_splitters;) {
        bool prefix = p->splitters[i].kind == RAD_SPLIT_PREFIX_SPACE;
        i += put_splitter(w, i, &first);
        /* The last part was written with its letters, which the model took over. */
        if (prefix && i == p->n_splitters && p->splitters[i - 1].kind != RAD_SPLIT_LETTERS)
            letters = false;
    }
    if (letters)
        put_byte_level(w, &first, false, false);
    rad_json(w, any ? "]},\n" : ",\n");
}

/* ---- what stands around a text -------------------------------------------------------------- */

static void put_specials(rad_json_writer *w, const int32_t *ids, uint32_t n, const char **comma)
{
    for (uint32_t i = 0; i < n; i++) {
        rad_json(w, *comma);
        rad_json(w, "{\"SpecialToken\": {\"id\": ");
        rad_json_entry(w, ids[i]);
        rad_json(w, ", \"type_id\": 0}}");
        *comma = ", ";
    }
}

static void put_frame(rad_json_writer *w, const char *key, int texts)
{
    const rad_pipeline *p = w->tokenizer->pipeline;
    const char *comma = "";
    rad_json(w, key);
    for (int i = 0; i < texts; i++) {
        put_specials(w, p->before, i == 0 ? p->n_before : 0, &comma);
        rad_json(w, comma);
        rad_json(w, i == 0 ? "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}"
                           : "{\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}");
        comma = ", ";
        put_specials(w, p->after, p->n_after, &comma);
    }
    rad_json(w, "],\n");
}

static void put_post_processor(rad_json_writer *w)
{
    const rad_pipeline *p = w->tokenizer->pipeline;
    int32_t ids[2 * RAD_FRAME_MAX];
    uint32_t n = p->n_before + p->n_after;
    if (n == 0) {
        rad_json(w, "\"post_processor\": null,\n");
        return;
    }
    memcpy(ids, p->before, p->n_before * sizeof *ids);
    memcpy(ids + p->n_before, p->after, p->n_after * sizeof *ids);
    rad_json(w, "\"post_processor\": {\"type\": \"TemplateProcessing\",\n");
    put_frame(w, "\"single\": [", 1);
    put_frame(w, "\"pair\": [", 2);
    rad_json(w, "\"special_tokens\": {");
    for (uint32_t i = 0; i < n; i++) {
        bool again = false;
        for (uint32_t j = 0; j < i; j++)
            again = again || ids[j] == ids[i];
        if (again)
            continue;
        rad_json(w, i > 0 ? ", " : "");
        rad_json_entry(w, ids[i]);
        rad_json(w, ": {\"id\": ");
        rad_json_entry(w, ids[i]);
        rad_json(w, ", \"ids\": [");
        rad_json_number(w, ids[i]);
        rad_json(w, "], \"tokens\": [");
        rad_json_entry(w, ids[i]);
        rad_json(w, "]}");
    }
    rad_json(w, "}},\n");
}

/* ---- decoders ------------------------------------------------------------------------------- */

static void put_decoder(rad_json_writer *w, const rad_decoder *d, bool *first)
{
    static const char *const names[] = {
        [RAD_DECODE_BYTE_LEVEL] = "ByteLevel", [RAD_DECODE_BYTE_FALLBACK] = "ByteFallback",
        [RAD_DECODE_METASPACE] = "Metaspace",  [RAD_DECODE_WORDPIECE] = "WordPiece",
        [RAD_DECODE_REPLACE] = "Replace",      [RAD_DECODE_STRIP] = "Strip",
        [RAD_DECODE_BPE] = "BPEDecoder",       [RAD_DECODE_CTC] = "CTC",
        [RAD_DECODE_JOIN_SPACE] = ""};
    if (d->kind == RAD_DECODE_BYTE_LEVEL) {
        put_byte_level(w, first, true, true);
        return;
    }
    begin(w, first, names[d->kind]);
    if (d->kind == RAD_DECODE_METASPACE) {
        member_text(w, "replacement", d->text);
        member_name(w, "prepend_scheme", d->keep_first ? "never" : "always");
        member_flag(w, "split", true);
    } else if (d->kind == RAD_DECODE_WORDPIECE) {
        member_text(w, "prefix", d->text);
        member_flag(w, "cleanup", d->cleanup);
    } else if (d->kind == RAD_DECODE_REPLACE) {
        member_pattern(w, &d->pattern);
        member_text(w, "content", d->content);
    } else if (d->kind == RAD_DECODE_STRIP) {
        member_text(w, "content", d->text);
        member_number(w, "start", d->start);
        member_number(w, "stop", d->stop);
    } else if (d->kind == RAD_DECODE_BPE) {
        member_text(w, "suffix", d->text);
    } else if (d->kind == RAD_DECODE_CTC) {
        member_text(w, "pad_token", d->text);
        member_text(w, "word_delimiter_token", d->content);
        member_flag(w, "cleanup", d->cleanup);
    }
    rad_json(w, "}");
}

static void put_decoders(rad_json_writer *w)
{
    const rad_pipeline *p = w->tokenizer->pipeline;
    bool first = true;
    if (p->n_decoders == 1 && p->decoders[0].kind == RAD_DECODE_JOIN_SPACE) {
        rad_json(w, "\"decoder\": null,\n");
        return;
    }
    rad_json(w, "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [");
    for (uint32_t i = 0; i < p->n_decoders; i++)
        put_decoder(w, &p->decoders[i], &first);
    if (p->n_decoders == 0 || p->decoders[p->n_decoders - 1].kind != RAD_DECODE_BYTE_LEVEL) {
        begin(w, &first, "Fuse");
        rad_json(w, "}");
    }
    if (p->strip_head > 0) {
        rad_decoder strip = {
            .kind = RAD_DECODE_STRIP, .text = p->strip_text, .start = p->strip_head};
        put_decoder(w, &strip, &first);
    }
    rad_json(w, "]},\n");
}

/* ---- the model ------------------------------------------------------------------------------ */

/* A text that is no token is an error where it is needed. */
static void put_unknown(rad_json_writer *w)
{
    int32_t id = w->tokenizer->unknown;
    member(w, "unk_token");
    if (id >= 0)
        rad_json_entry(w, id);
    else
        rad_json(w, id == -1 ? "null" : "\"\"");
}

static void put_bpe(rad_json_writer *w)
{
    const rad_pipeline *p = w->tokenizer->pipeline;
    rad_json(w, ", \"dropout\": null");
    put_unknown(w);
    member(w, "continuing_subword_prefix");
    if (p->prefix.size > 0)
        rad_json_string(w, p->prefix);
    else
        rad_json(w, "null");
    member(w, "end_of_word_suffix");
    if (p->suffix.size > 0)
        rad_json_string(w, p->suffix);
    else
        rad_json(w, "null");
    member_flag(w, "fuse_unk", p->fuse_unknown);
    member_flag(w, "byte_fallback", p->byte_fallback);
    member_flag(w, "ignore_merges", p->ignore_merges);
}

static void put_model(rad_json_writer *w)
{
    static const char *const names[] = {"BPE", "Unigram", "WordPiece", "WordLevel"};
    const rad_pipeline *p = w->tokenizer->pipeline;
    rad_json(w, "\"model\": {\"type\": \"");
    rad_json(w, names[p->model]);
    rad_json(w, "\"");
    if (p->model == RAD_PIPELINE_BPE) {
        put_bpe(w);
    } else if (p->model == RAD_PIPELINE_UNIGRAM) {
        member(w, "unk_id");
        if (w->tokenizer->unknown >= 0)
            rad_json_number(w, w->tokenizer->unknown);
        else
            rad_json(w, "null");
        member_flag(w, "byte_fallback", p->byte_fallback);
    } else {
        put_unknown(w);
    }
    if (p->model == RAD_PIPELINE_WORDPIECE) {
        member_text(w, "continuing_subword_prefix", p->prefix);
        member_number(w, "max_input_chars_per_word", p->word_max);
    }
}

void rad_json_parts(rad_json_writer *w, bool keyed)
{
    put_normalizers(w, keyed);
    put_splitters(w);
    put_post_processor(w);
    put_decoders(w);
    put_model(w);
}
