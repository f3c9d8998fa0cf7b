/* Whether GGUF's own keys say all that a tokenizer.json does to texts: what readers of these keys
 * take for granted, kind by kind. */
#include <string.h>

#include "text/export.h"
#include "text/json_writer.h"

static bool is_text(rad_text text, const char *other)
{
    return text.size == strlen(other) && memcmp(text.data, other, text.size) == 0;
}

static bool is_normal(const rad_pipeline *p, uint32_t at, rad_normalizer_kind kind)
{
    return at < p->n_normalizers && p->normalizers[at].kind == kind;
}

static bool is_decoder(const rad_pipeline *p, uint32_t at, rad_decoder_kind kind)
{
    return at < p->n_decoders && p->decoders[at].kind == kind;
}

static bool is_literal(const rad_pattern *pattern, const char *text)
{
    return pattern->split == NULL && pattern->regex == NULL && pattern->find == NULL &&
           is_text(pattern->literal, text);
}

/* An expression, or a text. */
static bool is_replace(const rad_pipeline *p, uint32_t at, const char *regex, const char *literal,
                       const char *content)
{
    if (!is_normal(p, at, RAD_NORMAL_REPLACE) || !is_text(p->normalizers[at].content, content))
        return false;
    const rad_pattern *pattern = &p->normalizers[at].pattern;
    return regex != NULL ? pattern->regex != NULL && is_text(pattern->source, regex)
                         : is_literal(pattern, literal);
}

static bool has_all(const int32_t ids[256])
{
    for (int byte = 0; byte < 256; byte++)
        if (ids[byte] < 0)
            return false;
    return true;
}

/* The pre-tokenizer's name is looked for elsewhere. */
static bool is_plain_byte_level(const rad_tokenizer *t)
{
    const rad_pipeline *p = t->pipeline;
    return p->n_normalizers == 0 && has_all(t->byte_tokens) && p->n_decoders == 1 &&
           is_decoder(p, 0, RAD_DECODE_BYTE_LEVEL) && p->strip_head == 0;
}

/* [BertNormalizer, BertPreTokenizer, decoder WordPiece] */
static bool is_plain_wordpiece(const rad_pipeline *p)
{
    uint32_t n = 2;
    bool cleans =
        is_normal(p, 0, RAD_NORMAL_BERT_CLEAN) && is_normal(p, 1, RAD_NORMAL_BERT_CHINESE);
    if (is_normal(p, n, RAD_NORMAL_FORM) && is_normal(p, n + 1, RAD_NORMAL_DROP_NONSPACING))
        n += 2;
    n += is_normal(p, n, RAD_NORMAL_LOWERCASE);
    const rad_splitter *s = p->splitters;
    const rad_decoder *d = p->decoders;
    return cleans && n == p->n_normalizers && is_text(p->prefix, "##") && p->word_max == 100 &&
           p->n_splitters == 2 && s[0].pattern.find == rad_pattern_space &&
           s[1].pattern.find == rad_pattern_punctuation && s[1].behavior == RAD_BEHAVIOR_ISOLATED &&
           p->n_decoders == 1 && d->kind == RAD_DECODE_WORDPIECE && is_text(d->text, "##") &&
           d->cleanup && p->strip_head == 0;
}

/* [Replace U+2581 by a space, ByteFallback, Fuse, Strip of a space that was put before the text] */
static bool decodes_bytes(const rad_pipeline *p, bool prefix)
{
    const rad_decoder *d = p->decoders;
    return p->n_decoders == 2 && d->kind == RAD_DECODE_REPLACE &&
           is_literal(&d->pattern, RAD_MARK) && is_text(d->content, " ") &&
           is_decoder(p, 1, RAD_DECODE_BYTE_FALLBACK) && p->strip_head == prefix &&
           (!prefix || is_text(p->strip_text, " "));
}

static bool is_prepend(const rad_pipeline *p, uint32_t at)
{
    return is_normal(p, at, RAD_NORMAL_PREPEND) && is_text(p->normalizers[at].content, RAD_MARK);
}

/* [Prepend, Replace]; a split at spaces finds none then. */
static bool is_plain_sentencepiece(const rad_pipeline *p)
{
    const bool prefix = is_prepend(p, 0);
    for (uint32_t i = 0; i < p->n_splitters; i++)
        if (p->splitters[i].kind != RAD_SPLIT_PATTERN || p->splitters[i].invert ||
            !is_literal(&p->splitters[i].pattern, " "))
            return false;
    return p->n_normalizers == 1u + prefix && is_replace(p, prefix, NULL, " ", RAD_MARK) &&
           !p->ignore_merges && p->prefix.size + p->suffix.size == 0 && has_all(p->fallback) &&
           decodes_bytes(p, prefix);
}

/* As the way back writes it (export_json.c). */
static bool is_plain_unigram(const rad_pipeline *p)
{
    uint32_t at = is_normal(p, 0, RAD_NORMAL_CHARSMAP);
    const rad_splitter *s = p->splitters;
    const bool collapse =
        is_replace(p, at, "\\A +| +\\z", NULL, "") && is_replace(p, at + 1, " {2,}", NULL, " ");
    const bool prepend = !collapse && is_prepend(p, at);
    at += collapse ? 2 : prepend ? 1 : 0;
    if (at != p->n_normalizers || p->n_splitters == 0 || p->n_splitters > 2 ||
        s->kind != RAD_SPLIT_METASPACE || !is_text(s->content, RAD_MARK) ||
        (p->n_splitters == 2 && s[1].pattern.find != rad_pattern_code) ||
        s->prepend == RAD_PREPEND_FIRST || (!collapse && s->prepend != RAD_PREPEND_NEVER))
        return false;
    const bool prefix = prepend || s->prepend == RAD_PREPEND_ALWAYS;
    if (p->byte_fallback)
        return has_all(p->fallback) && decodes_bytes(p, prefix);
    return p->n_decoders == 1 && is_decoder(p, 0, RAD_DECODE_METASPACE) &&
           is_text(p->decoders->text, RAD_MARK) && p->decoders->keep_first == !prefix &&
           p->strip_head == 0;
}

bool rad_tokenizer_has_parts(const rad_tokenizer *t)
{
    return t->pipeline != NULL;
}

bool rad_tokenizer_is_plain(const rad_tokenizer *t)
{
    const rad_pipeline *p = t->pipeline;
    if (p == NULL)
        return true;
    if (p->n_before > 1 || p->n_after > 1 || (p->has_normalized && p->n_normalizers > 0))
        return false;
    switch (p->model) {
    case RAD_PIPELINE_BPE:
        return p->bytes ? is_plain_byte_level(t) : is_plain_sentencepiece(p);
    case RAD_PIPELINE_UNIGRAM:
        return is_plain_unigram(p);
    case RAD_PIPELINE_WORDPIECE:
        return is_plain_wordpiece(p);
    default:
        return true; /* has no form in GGUF anyway */
    }
}
