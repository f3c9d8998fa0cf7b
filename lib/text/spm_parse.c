/* The protocol buffer in a tokenizer.model (sentencepiece_model.proto): of its fields those that
 * say how text becomes tokens. Messages stand three deep, so nothing recurses. */
#include <math.h>
#include <string.h>

#include "text/spm.h"
#include "text/vocabulary.h"

#define REMEDY "the file is damaged, or no SentencePiece model: fetch it again"

typedef struct message {
    const uint8_t *at, *end;
} message;

typedef struct field {
    uint32_t number;
    uint32_t wire;  /* 0: a number; 1, 5: eight and four bytes; 2: bytes */
    uint64_t value; /* of wire 0 and 5 */
    rad_text bytes; /* of wire 2 */
} field;

typedef struct parser {
    const uint8_t *start;
    radllm_error *error;
    radllm_status status;
} parser;

static bool fail_at(parser *p, const uint8_t *at, const char *what)
{
    if (p->status == RADLLM_OK)
        p->status = rad_fail(p->error, RADLLM_E_FORMAT, "tokenizer.model: byte %zu: %s; " REMEDY,
                             (size_t)(at - p->start), what);
    return false;
}

static bool take_varint(parser *p, message *m, uint64_t *value)
{
    const uint8_t *begin = m->at;
    *value = 0;
    for (uint32_t shift = 0; shift < 70; shift += 7) {
        if (m->at == m->end)
            return fail_at(p, begin, "a number goes on behind the end");
        uint8_t byte = *m->at++;
        if (shift == 63 && byte > 1)
            break;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return true;
    }
    return fail_at(p, begin, "a number is longer than 64 bits");
}

static bool take_fixed(parser *p, message *m, size_t size, uint64_t *value)
{
    *value = 0;
    if ((size_t)(m->end - m->at) < size)
        return fail_at(p, m->at, "a number goes on behind the end");
    for (size_t i = 0; i < size; i++)
        *value |= (uint64_t)*m->at++ << 8 * i;
    return true;
}

/* The next field; false at the end, and where something is wrong. */
static bool next_field(parser *p, message *m, field *f)
{
    uint64_t tag, size;
    const uint8_t *begin = m->at;
    if (p->status != RADLLM_OK || m->at == m->end || !take_varint(p, m, &tag))
        return false;
    *f = (field){.number = (uint32_t)(tag >> 3), .wire = (uint32_t)(tag & 7)};
    if (tag >> 3 == 0 || tag >> 3 > (1u << 29) - 1)
        return fail_at(p, begin, "there is no field of this number");
    switch (f->wire) {
    case 0:
        return take_varint(p, m, &f->value);
    case 1:
        return take_fixed(p, m, 8, &f->value);
    case 5:
        return take_fixed(p, m, 4, &f->value);
    case 2:
        if (!take_varint(p, m, &size))
            return false;
        if (size > (uint64_t)(m->end - m->at))
            return fail_at(p, begin, "a field goes on behind the end");
        f->bytes = (rad_text){(const char *)m->at, (size_t)size};
        m->at += size;
        return true;
    default:
        return fail_at(p, begin, "a field is of an unknown kind");
    }
}

static message inside(const field *f)
{
    const uint8_t *begin = (const uint8_t *)f->bytes.data;
    return (message){begin, begin + f->bytes.size};
}

/* Whether a known field is of the kind that it must be. */
static bool expect(parser *p, const message *m, const field *f, uint32_t wire)
{
    return f->wire == wire || fail_at(p, m->at, "a field is of the wrong kind");
}

/* ---- the messages -----------------------------------------------------------------------------
 */

static bool read_piece(parser *p, message m, rad_spm_piece *piece)
{
    field f;
    const uint8_t *begin = m.at;
    *piece = (rad_spm_piece){.type = RAD_TOKEN_NORMAL};
    while (next_field(p, &m, &f)) {
        if (f.number == 1 && expect(p, &m, &f, 2))
            piece->text = f.bytes;
        if (f.number == 2 && expect(p, &m, &f, 5)) {
            uint32_t bits = (uint32_t)f.value;
            memcpy(&piece->score, &bits, sizeof bits);
        }
        if (f.number == 3 && expect(p, &m, &f, 0)) {
            if (f.value < RAD_TOKEN_NORMAL || f.value > RAD_TOKEN_BYTE)
                return fail_at(p, begin, "a piece is of an unknown type");
            piece->type = (uint8_t)f.value;
        }
    }
    if (p->status == RADLLM_OK && (piece->text.size == 0 || piece->text.size > RAD_SPM_PIECE_MAX ||
                                   memchr(piece->text.data, 0, piece->text.size) != NULL))
        return fail_at(p, begin, "a piece has no text, or one of more than 1024 bytes, or a NUL");
    if (p->status == RADLLM_OK && !isfinite(piece->score))
        return fail_at(p, begin, "a piece's score is no number");
    return p->status == RADLLM_OK;
}

static void read_trainer(parser *p, message m, rad_spm_spec *spec)
{
    field f;
    while (next_field(p, &m, &f)) {
        bool number = f.number == 3 || f.number == 24 || f.number == 35;
        bool text = f.number == 46 || f.number == 47;
        if ((number && !expect(p, &m, &f, 0)) || (text && !expect(p, &m, &f, 2)))
            return;
        if (f.number == 3)
            spec->model_type = (int64_t)f.value;
        if (f.number == 24)
            spec->suffix = f.value != 0;
        if (f.number == 35)
            spec->byte_fallback = f.value != 0;
        if (f.number == 46)
            spec->bos = f.bytes;
        if (f.number == 47)
            spec->eos = f.bytes;
    }
}

static void read_normalizer(parser *p, message m, rad_spm_spec *spec)
{
    field f;
    while (next_field(p, &m, &f)) {
        bool flag = f.number >= 3 && f.number <= 5;
        if ((flag && !expect(p, &m, &f, 0)) || (f.number == 2 && !expect(p, &m, &f, 2)))
            return;
        if (f.number == 2)
            spec->charsmap = f.bytes;
        if (f.number == 3)
            spec->dummy_prefix = f.value != 0;
        if (f.number == 4)
            spec->collapse = f.value != 0;
        if (f.number == 5)
            spec->escape = f.value != 0;
    }
}

static void read_denormalizer(parser *p, message m, rad_spm_spec *spec)
{
    field f;
    while (next_field(p, &m, &f))
        if (f.number == 2 && expect(p, &m, &f, 2))
            spec->denormalizer = f.bytes;
}

/* Counts the pieces, so that memory follows from what is there, and reads everything else. */
static size_t read_specs(parser *p, message m, rad_spm_spec *spec)
{
    size_t count = 0;
    field f;
    while (next_field(p, &m, &f)) {
        if (f.number > 5)
            continue;
        if (!expect(p, &m, &f, 2))
            break;
        count += f.number == 1;
        if (f.number == 2)
            read_trainer(p, inside(&f), spec);
        else if (f.number == 3)
            read_normalizer(p, inside(&f), spec);
        else if (f.number == 5)
            read_denormalizer(p, inside(&f), spec);
    }
    if (p->status == RADLLM_OK && (count == 0 || count > RAD_VOCABULARY_MAX))
        p->status = rad_fail(p->error, count == 0 ? RADLLM_E_FORMAT : RADLLM_E_LIMIT,
                             "tokenizer.model: it has %zu pieces; from 1 to %u are supported; "
                             "a list for tiktoken, which has this name too, is not: fetch the "
                             "model's tokenizer.json",
                             count, RAD_VOCABULARY_MAX);
    return count;
}

radllm_status rad_spm_parse(const rad_allocator *allocator, const uint8_t *data, size_t size,
                            rad_spm_spec *spec, rad_spm_piece **pieces, size_t *n_pieces,
                            radllm_error *error)
{
    parser p = {data, error, RADLLM_OK};
    message whole = {data, data + size};
    *spec = (rad_spm_spec){.model_type = 1, .dummy_prefix = true, .collapse = true, .escape = true};
    *pieces = NULL;
    *n_pieces = read_specs(&p, whole, spec);
    if (p.status != RADLLM_OK)
        return p.status;
    size_t bytes = *n_pieces * sizeof **pieces, at = 0;
    *pieces = rad_alloc(allocator, bytes);
    if (*pieces == NULL)
        return rad_fail_memory(error, bytes);
    field f;
    while (next_field(&p, &whole, &f))
        if (f.number == 1 && !read_piece(&p, inside(&f), &(*pieces)[at++]))
            break;
    if (p.status != RADLLM_OK) {
        rad_free(allocator, *pieces, bytes);
        *pieces = NULL;
    }
    return p.status;
}
