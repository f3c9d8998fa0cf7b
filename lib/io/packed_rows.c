/* Puts rows of affine blocks together: zeros everywhere, then the scale and zero of each block,
 * then the quants, bit by bit where their places are others. */
#include "io/packed_affine.h"

#include <string.h>

#include "quant/affine.h"

/* On the stack of a task: words of the file that are looked at together, rows whose scales are, and
 * the columns of a row that are brought into another order at once. */
enum { WORDS = 8192, RUN = 512, ORDER_COLUMNS = 32768 };

/* Rows in blocks that become rows in F32 at once. */
enum { WIDE_ROWS = 64 };

typedef struct reading {
    const rad_source *source;
    const rad_packed_affine *a;
    uint64_t first, count; /* rows */
    uint8_t *out;
    float *scales; /* of rows and groups, where blocks get 1 in their place; NULL: they get them */
    radllm_error *error;
} reading;

static radllm_status fail_row(const reading *r, uint64_t row, radllm_status status,
                              const char *what)
{
    char quoted[RAD_QUOTE_SIZE];
    const char *module = r->a->packed.module;
    return rad_fail(r->error, status, "%s: the quantized weight of module '%s', row %llu, has %s%s",
                    rad_source_label(r->source), rad_quote(quoted, module, strlen(module)),
                    (unsigned long long)(r->first + row), what,
                    status == RADLLM_E_FORMAT ? "; the file is damaged: fetch it again" : "");
}

/* ---- scales and zeros ----------------------------------------------------------------------- */

/* The eight rows of a word of AWQ: row i is at nibble order[i]. */
static uint32_t awq_shift(uint64_t row)
{
    static const uint8_t order[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    return 4u * order[row % 8];
}

/* Bits `at`.. of a stream of words. */
static uint32_t take_bits(const uint32_t *words, uint64_t at, int bits)
{
    uint32_t value = words[at / 32] >> (at % 32);
    if (at % 32 + (uint32_t)bits > 32)
        value |= words[at / 32 + 1] << (32 - at % 32);
    return value & ((1u << bits) - 1);
}

static radllm_status put_head(const reading *r, uint64_t row, uint32_t group, float scale,
                              uint32_t zero)
{
    const rad_packed_affine *a = r->a;
    uint8_t word[4];
    if (scale == 0.0f || !(scale - scale == 0.0f))
        return fail_row(r, row, RADLLM_E_FORMAT,
                        scale == 0.0f ? "a scale of zero" : "a scale that is no number");
    if (r->scales != NULL) {
        r->scales[row * a->n_groups + group] = scale;
        scale = 1.0f;
    }
    if (!rad_affine_word(scale, zero, word))
        return fail_row(r, row, RADLLM_E_UNSUPPORTED,
                        "a scale that needs more than 16 bits; fetch the model in another form");
    uint8_t *to = r->out + row * a->packed.row_bytes;
    for (uint32_t b = a->first_block[group]; b < a->first_block[group + 1]; b++)
        memcpy(to + (size_t)b * a->block_bytes, word, sizeof word);
    return RADLLM_OK;
}

static void widen_scales(const rad_packed_affine *a, const uint8_t *stored, uint64_t n, float *out)
{
    const rad_type_info *info = rad_type_find((uint32_t)a->scale_type);
    info->decode(stored, out, (size_t)n);
}

/* Words first.. of a row of words that hold something of each row of the matrix. */
static radllm_status read_words(const reading *r, rad_piece at, uint64_t word, uint64_t n,
                                uint32_t *words)
{
    return rad_source_read(r->source, at.part, at.offset + word * sizeof *words, words,
                           (size_t)n * sizeof *words, r->error);
}

/* Scales of n rows for one group, as EXL2 has them: the square of 4 bits and one, of 256ths of the
 * group's greatest, in F16. */
static radllm_status read_exl2_scales(const reading *r, uint32_t group, uint64_t row, uint64_t n,
                                      float *scales)
{
    const rad_packed_affine *a = r->a;
    uint32_t words[RUN / 8 + 2];
    uint64_t first = row / 8;
    radllm_status status = read_words(r, a->scales, group * (a->pitch / 8) + first,
                                      (row + n - 1) / 8 - first + 1, words);
    for (uint64_t i = 0; i < n && status == RADLLM_OK; i++) {
        uint32_t v = take_bits(words, (row - first * 8 + i) * 4, 4) + 1;
        scales[i] = rad_f16_to_f32(rad_f32_to_f16((float)(v * v) * a->maxima[group]));
    }
    return status;
}

static radllm_status read_zeros_by_group(const reading *r, uint32_t group, uint64_t row, uint64_t n,
                                         uint32_t *zeros)
{
    const rad_packed_affine *a = r->a;
    const uint32_t bits = (uint32_t)a->stored_bits;
    uint32_t words[RUN * 8 / 32 + 2] = {0};
    for (uint64_t i = 0; i < n && a->zero_form == RAD_ZEROS_MIDDLE; i++)
        zeros[i] = 1u << ((a->exl2 != NULL ? a->exl2[group].bits : (uint32_t)a->bits) - 1);
    if (a->zero_form == RAD_ZEROS_MIDDLE)
        return RADLLM_OK;
    uint64_t per_group = (a->pitch * bits + 31) / 32, first = row * bits / 32;
    radllm_status status = read_words(r, a->zeros, group * per_group + first,
                                      ((row + n) * bits + 31) / 32 - first, words);
    for (size_t w = 0; w < sizeof words / sizeof *words && a->words_plus != 0; w++)
        words[w] += a->words_plus;
    for (uint64_t i = 0; i < n && status == RADLLM_OK; i++) {
        uint64_t at = (row + i) * bits - first * 32;
        if (a->zero_form == RAD_ZEROS_AWQ)
            at = at / 32 * 32 + awq_shift(row + i);
        zeros[i] = (take_bits(words, at, (int)bits) + a->zero_plus) & ((1u << bits) - 1);
    }
    return status;
}

/* Where they stand as [groups, rows]. */
static radllm_status read_heads_by_group(const reading *r)
{
    const rad_packed_affine *a = r->a;
    const size_t size = a->exl2 != NULL ? 0 : rad_type_find((uint32_t)a->scale_type)->block_bytes;
    radllm_status status = RADLLM_OK;
    for (uint32_t group = 0; group < a->n_groups; group++) {
        for (uint64_t at = 0; at < r->count && status == RADLLM_OK; at += RUN) {
            uint8_t stored[RUN * sizeof(float)];
            float scales[RUN];
            uint32_t zeros[RUN];
            uint64_t n = r->count - at < RUN ? r->count - at : RUN, row = r->first + at;
            if (a->exl2 != NULL) {
                status = read_exl2_scales(r, group, row, n, scales);
            } else {
                status = rad_source_read(r->source, a->scales.part,
                                         a->scales.offset + (group * a->pitch + row) * size, stored,
                                         (size_t)n * size, r->error);
                if (status == RADLLM_OK)
                    widen_scales(a, stored, n, scales);
            }
            if (status == RADLLM_OK)
                status = read_zeros_by_group(r, group, row, n, zeros);
            for (uint64_t i = 0; i < n && status == RADLLM_OK; i++)
                status = put_head(r, at + i, group, scales[i], zeros[i]);
        }
    }
    return status;
}

/* Zeros of n groups of one row. */
static radllm_status read_zeros_by_row(const reading *r, uint64_t row, uint32_t group, uint32_t n,
                                       uint32_t *zeros)
{
    const rad_packed_affine *a = r->a;
    const uint32_t middle = 1u << (a->bits - 1), most = (1u << a->bits) - 1;
    int8_t bytes[RUN];
    radllm_status status = RADLLM_OK;
    if (a->zero_form == RAD_ZEROS_BYTES)
        status = rad_source_read(r->source, a->zeros.part,
                                 a->zeros.offset + row * a->n_groups + group, bytes, n, r->error);
    else if (a->zero_form == RAD_ZEROS_BY_ROW)
        status =
            read_words(r, a->zeros, row * (uint32_t)a->bits / 32 * a->n_groups + group, n, zeros);
    for (uint32_t i = 0; i < n && status == RADLLM_OK; i++) {
        if (a->zero_form == RAD_ZEROS_BYTES)
            zeros[i] = (uint32_t)(bytes[i] + (int)middle);
        else if (a->zero_form == RAD_ZEROS_BY_ROW)
            zeros[i] = zeros[i] >> (row * (uint32_t)a->bits % 32) & most;
        else
            zeros[i] = middle;
        if (zeros[i] > most)
            return fail_row(r, row - r->first, RADLLM_E_FORMAT, "a zero point out of its range");
    }
    return status;
}

/* Where they stand as [rows, groups]. */
static radllm_status read_heads_by_row(const reading *r)
{
    const rad_packed_affine *a = r->a;
    const size_t size = rad_type_find((uint32_t)a->scale_type)->block_bytes;
    radllm_status status = RADLLM_OK;
    for (uint64_t i = 0; i < r->count; i++) {
        for (uint32_t group = 0; group < a->n_groups && status == RADLLM_OK; group += RUN) {
            uint8_t stored[RUN * sizeof(float)];
            float scales[RUN];
            uint32_t zeros[RUN], n = a->n_groups - group < RUN ? a->n_groups - group : RUN;
            uint64_t row = r->first + i;
            status = rad_source_read(r->source, a->scales.part,
                                     a->scales.offset + (row * a->n_groups + group) * size, stored,
                                     n * size, r->error);
            if (status == RADLLM_OK)
                status = read_zeros_by_row(r, row, group, n, zeros);
            if (status != RADLLM_OK)
                break;
            widen_scales(a, stored, n, scales);
            for (uint32_t g = 0; g < n && status == RADLLM_OK; g++)
                status = put_head(r, i, group + g, scales[g], zeros[g]);
        }
    }
    return status;
}

/* ---- quants --------------------------------------------------------------------------------- */

/* Words of the quants of 32 columns and n rows: word w of row i is words[i * by_row + w * by_word].
 */
typedef struct stretch {
    const uint32_t *words;
    size_t by_row, by_word;
    int bits;
    uint64_t row, n; /* row: of those that are read */
    uint64_t step;   /* rows from one to the next */
    uint32_t column;
} stretch;

/* Quants of 4 bits are put where their columns would stand without an order, and brought into the
 * order row by row in the end. */
static bool ordered_later(const rad_packed_affine *a)
{
    return a->places != NULL && a->bits == 4 && a->stored_bits == 4 && a->n_in <= ORDER_COLUMNS;
}

static uint32_t spread(uint32_t nibbles)
{
    uint32_t x = (nibbles | nibbles << 8) & 0x00ff00ffu;
    return (x | x << 4) & 0x0f0f0f0fu;
}

/* 4 bits in their own order: sixteen bytes, which are the block's. */
static void put_nibbles(const reading *r, const stretch *s)
{
    const rad_packed_affine *a = r->a;
    uint8_t *to = r->out + s->row * a->packed.row_bytes +
                  (size_t)(s->column / a->elements) * a->block_bytes + 4 +
                  s->column % a->elements / 2;
    for (uint64_t i = 0; i < s->n; i++, to += s->step * a->packed.row_bytes) {
        const uint32_t *words = s->words + i * s->by_row;
        uint32_t w[4], out[4];
        for (int k = 0; k < 4; k++)
            w[k] = words[(size_t)k * s->by_word];
        for (int k = 0; k < 2; k++) {
            out[2 * k] = spread(w[k] & 0xffff) | spread(w[k + 2] & 0xffff) << 4;
            out[2 * k + 1] = spread(w[k] >> 16) | spread(w[k + 2] >> 16) << 4;
        }
        memcpy(to, out, sizeof out);
    }
}

/* One column of a stretch; false where a quant is out of the range of our blocks. */
static bool put_column(const reading *r, const stretch *s, uint32_t j)
{
    const rad_packed_affine *a = r->a;
    const uint32_t column = s->column + j, place = a->places != NULL ? a->places[column] : column;
    const uint32_t at = j * (uint32_t)s->bits, shift = at % 32, mask = (1u << s->bits) - 1;
    const uint32_t last = a->bits == 8 ? 128 : 0;
    const bool two = shift + (uint32_t)s->bits > 32;
    const uint32_t *words = s->words + at / 32 * s->by_word;
    rad_affine_place places[2];
    uint32_t n_places = rad_affine_places(a->bits, place % a->elements, places), wrong = 0;
    if (n_places == 1)
        places[1] = (rad_affine_place){places[0].byte, 0, 0, 0};
    uint8_t *to =
        r->out + s->row * a->packed.row_bytes + (size_t)(place / a->elements) * a->block_bytes;
    for (uint64_t i = 0; i < s->n; i++, to += s->step * a->packed.row_bytes) {
        uint32_t q = words[i * s->by_row] >> shift;
        if (two)
            q |= words[i * s->by_row + s->by_word] << (32 - shift);
        q = ((q & mask) ^ a->flip) - a->less;
        wrong |= q >> a->bits;
        q ^= last;
        to[places[0].byte] |= (uint8_t)((q >> places[0].from & places[0].mask) << places[0].shift);
        to[places[1].byte] |= (uint8_t)((q >> places[1].from & places[1].mask) << places[1].shift);
    }
    return wrong == 0;
}

static radllm_status put_stretch(const reading *r, const stretch *s)
{
    const rad_packed_affine *a = r->a;
    if (s->bits == 4 && a->bits == 4 && (a->places == NULL || ordered_later(a))) {
        put_nibbles(r, s);
        return RADLLM_OK;
    }
    for (uint32_t j = 0; j < 32; j++)
        if (!put_column(r, s, j))
            return fail_row(r, s->row, RADLLM_E_FORMAT,
                            "(or one of the rows behind it) a number out of the range "
                            "of its bits");
    return RADLLM_OK;
}

/* Of 32 columns for n rows; down the columns a word for each row stands beside that of the next. */
static radllm_status read_by_column(const reading *r, uint32_t column, int bits, uint64_t word)
{
    const rad_packed_affine *a = r->a;
    uint32_t words[WORDS];
    radllm_status status = RADLLM_OK;
    const uint64_t most = WORDS / (uint32_t)bits;
    for (uint64_t at = 0; at < r->count && status == RADLLM_OK; at += most) {
        uint64_t n = r->count - at < most ? r->count - at : most;
        for (int w = 0; w < bits && status == RADLLM_OK; w++)
            status = read_words(r, a->quants, (word + (uint32_t)w) * a->pitch + r->first + at, n,
                                words + (uint32_t)w * n);
        stretch s = {words, 1, (size_t)n, bits, at, n, 1, column};
        if (status == RADLLM_OK)
            status = put_stretch(r, &s);
    }
    return status;
}

static radllm_status read_quants_by_column(const reading *r)
{
    const rad_packed_affine *a = r->a;
    radllm_status status = RADLLM_OK;
    uint32_t group = 0;
    for (uint32_t column = 0; column < a->n_in && status == RADLLM_OK; column += 32) {
        uint64_t word = column / 32 * (uint32_t)a->stored_bits;
        int bits = a->stored_bits;
        if (a->exl2 != NULL) {
            while (group + 1 < a->n_groups && column >= a->exl2[group + 1].first_column)
                group++;
            const rad_exl2_group *of = &a->exl2[group];
            bits = (int)of->bits;
            word = of->first_word + (column - of->first_column) / 32 * of->bits;
        }
        status = read_by_column(r, column, bits, word);
    }
    return status;
}

/* AWQ has words of eight rows of one column. Of 32 columns and up to AWQ_SETS times eight rows:
 * words[i][k] is of column i of the eight that are looked at; turned[q][j][k] then holds those of
 * the q-th eight columns, of row 8 k + i where j is the nibble that has row i. */
enum { AWQ_SETS = 256 };
typedef uint32_t awq_words[8][AWQ_SETS];

/* Exchanges the upper part of a with the lower of b, in each field of twice `shift` bits. */
static inline void exchange(uint32_t *restrict a, uint32_t *restrict b, uint32_t shift,
                            uint32_t mask)
{
    for (uint32_t k = 0; k < AWQ_SETS; k++) {
        uint32_t t = (a[k] >> shift ^ b[k]) & mask;
        b[k] ^= t;
        a[k] ^= t << shift;
    }
}

/* Nibble j of word i becomes nibble i of word j, for all sets at once. */
static void turn_nibbles(awq_words words)
{
    for (int i = 0; i < 4; i++)
        exchange(words[i], words[i + 4], 16, 0x0000ffffu);
    for (int i = 0; i < 8; i += i % 2 == 0 ? 1 : 3)
        exchange(words[i], words[i + 2], 8, 0x00ff00ffu);
    for (int i = 0; i < 8; i += 2)
        exchange(words[i], words[i + 1], 4, 0x0f0f0f0fu);
}

/* Words of eight columns, n of each: one read where a column is short. */
static radllm_status read_awq_words(const reading *r, uint32_t column, uint64_t first, uint64_t n,
                                    awq_words words)
{
    const uint64_t pitch = r->a->pitch / 8;
    radllm_status status = RADLLM_OK;
    if (pitch * 8 > WORDS) {
        for (uint32_t c = 0; c < 8 && status == RADLLM_OK; c++)
            status = read_words(r, r->a->quants, (column + c) * pitch + first, n, words[c]);
        return status;
    }
    uint32_t all[WORDS];
    status = read_words(r, r->a->quants, column * pitch + first, 7 * pitch + n, all);
    for (uint32_t c = 0; c < 8 && status == RADLLM_OK; c++)
        memcpy(words[c], all + c * pitch, (size_t)n * sizeof *all);
    return status;
}

/* Rows at..at + n - 1 of those that are read, out of sets that begin `skip` rows before. */
static radllm_status put_awq(const reading *r, awq_words turned[4], uint32_t column, uint64_t at,
                             uint64_t n, uint32_t skip)
{
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < 8 && status == RADLLM_OK; i++) {
        const uint32_t set = i < skip;
        const uint64_t row = 8 * set + i - skip;
        if (row >= n)
            continue;
        stretch s = {&turned[0][awq_shift(i) / 4][set],
                     1,
                     sizeof(awq_words) / sizeof(uint32_t),
                     4,
                     at + row,
                     (n - row + 7) / 8,
                     8,
                     column};
        status = put_stretch(r, &s);
    }
    return status;
}

static radllm_status read_quants_awq(const reading *r)
{
    const rad_packed_affine *a = r->a;
    awq_words turned[4] = {{{0}}};
    radllm_status status = RADLLM_OK;
    for (uint64_t at = 0, n; at < r->count && status == RADLLM_OK; at += n) {
        const uint64_t row = r->first + at;
        const uint32_t skip = (uint32_t)(row % 8);
        n = r->count - at < 8 * AWQ_SETS - skip ? r->count - at : 8 * AWQ_SETS - skip;
        for (uint32_t column = 0; column < a->n_in && status == RADLLM_OK; column += 32) {
            for (uint32_t q = 0; q < 4 && status == RADLLM_OK; q++) {
                status = read_awq_words(r, column + 8 * q, row / 8, (skip + n + 7) / 8, turned[q]);
                turn_nibbles(turned[q]);
            }
            if (status == RADLLM_OK)
                status = put_awq(r, turned, column, at, n, skip);
        }
    }
    return status;
}

/* Some rows at once where they are short, so that the places of a column are found once for them;
 * parts of a row where it is long. */
static radllm_status read_quants_by_row(const reading *r)
{
    const rad_packed_affine *a = r->a;
    const uint64_t in_row = (uint64_t)a->n_in / 32 * (uint32_t)a->stored_bits;
    const uint64_t in_part = in_row < WORDS ? in_row : WORDS / 64 * 64;
    const uint64_t most = in_part < in_row ? 1 : WORDS / in_row;
    uint32_t words[WORDS];
    radllm_status status = RADLLM_OK;
    for (uint64_t at = 0; at < r->count && status == RADLLM_OK; at += most) {
        uint64_t n = r->count - at < most ? r->count - at : most;
        for (uint64_t word = 0; word < in_row && status == RADLLM_OK; word += in_part) {
            uint64_t width = in_row - word < in_part ? in_row - word : in_part;
            status = read_words(r, a->quants, (r->first + at) * in_row + word, n * width, words);
            const uint32_t bits = (uint32_t)a->stored_bits;
            for (uint64_t w = 0; w < width && status == RADLLM_OK; w += bits) {
                stretch s = {words + w, (size_t)width,
                             1,         a->stored_bits,
                             at,        n,
                             1,         (uint32_t)((word + w) / bits * 32)};
                status = put_stretch(r, &s);
            }
        }
    }
    return status;
}

/* Brings a row's quants of 4 bits, which stand as the file's columns do, into their order. */
static void order_row(const rad_packed_affine *a, uint8_t *row)
{
    uint8_t quants[ORDER_COLUMNS];
    const uint32_t *columns = a->packed.columns;
    for (uint32_t c = 0; c < a->n_in; c += 32) {
        const uint8_t *from =
            row + (size_t)(c / a->elements) * a->block_bytes + 4 + c % a->elements / 2;
        for (uint32_t i = 0; i < 16; i++) {
            quants[c + i] = from[i] & 15;
            quants[c + 16 + i] = from[i] >> 4;
        }
    }
    for (uint32_t c = 0; c < a->packed.n_columns; c += 32) {
        uint8_t *to = row + (size_t)(c / a->elements) * a->block_bytes + 4 + c % a->elements / 2;
        uint8_t taken[32];
        for (uint32_t i = 0; i < 32; i++)
            taken[i] = columns[c + i] < a->n_in ? quants[columns[c + i]] : 0; /* or no column */
        for (uint32_t i = 0; i < 16; i++)
            to[i] = (uint8_t)(taken[i] | taken[16 + i] << 4);
    }
}

static radllm_status read_quants(const reading *r)
{
    switch (r->a->quant_form) {
    case RAD_QUANTS_BY_COLUMN:
        return read_quants_by_column(r);
    case RAD_QUANTS_AWQ:
        return read_quants_awq(r);
    default:
        return read_quants_by_row(r);
    }
}

static radllm_status read_rows(const reading *r)
{
    const rad_packed_affine *a = r->a;
    const size_t row_bytes = (size_t)a->packed.row_bytes;
    memset(r->out, 0, (size_t)r->count * row_bytes);
    radllm_status status =
        a->quant_form == RAD_QUANTS_BY_ROW ? read_heads_by_row(r) : read_heads_by_group(r);
    if (status == RADLLM_OK)
        status = read_quants(r);
    for (uint64_t i = 0; i < r->count && status == RADLLM_OK && ordered_later(a); i++)
        order_row(a, r->out + i * row_bytes);
    return status;
}

radllm_status rad_affine_rows(const rad_source *source, const rad_packed *packed, uint64_t first,
                              uint64_t count, uint8_t *out, radllm_error *error)
{
    const rad_packed_affine *a = (const rad_packed_affine *)packed;
    const reading r = {source, a, first, count, out, NULL, error};
    return read_rows(&r);
}

/* ---- rows in F32 ---------------------------------------------------------------------------- */

radllm_status rad_affine_fits(const rad_source *source, const rad_packed_affine *affine,
                              uint64_t n_scales, bool *fits, radllm_error *error)
{
    float scales[RUN];
    uint8_t word[4];
    radllm_status status = RADLLM_OK;
    *fits = true;
    if (affine->scale_type != RAD_TYPE_F32 || affine->exl2 != NULL)
        return RADLLM_OK;
    for (uint64_t at = 0; at < n_scales && *fits && status == RADLLM_OK; at += RUN) {
        size_t n = n_scales - at < RUN ? (size_t)(n_scales - at) : RUN;
        status = rad_source_read(source, affine->scales.part,
                                 affine->scales.offset + at * sizeof *scales, scales,
                                 n * sizeof *scales, error);
        for (size_t i = 0; i < n && status == RADLLM_OK; i++) /* what is no number fails later */
            *fits =
                *fits && (!(scales[i] - scales[i] == 0.0f) || rad_affine_word(scales[i], 0, word));
    }
    return status;
}

/* Quants less zeros, which a block with the scale 1 stands for, times the scale. */
static void widen_row(const rad_packed_affine *a, const uint8_t *row, const float *scales,
                      uint8_t *out)
{
    const rad_type_info *info = rad_type_find((uint32_t)rad_affine_type(a->bits, a->elements));
    float values[128];
    for (uint32_t group = 0; group < a->n_groups; group++) {
        for (uint32_t b = a->first_block[group]; b < a->first_block[group + 1]; b++) {
            info->decode(row + (size_t)b * a->block_bytes, values, a->elements);
            for (uint32_t i = 0; i < a->elements; i++) {
                const uint32_t place = b * a->elements + i;
                const uint32_t column =
                    a->packed.columns != NULL ? a->packed.columns[place] : place;
                const float value = scales[group] * values[i];
                if (column < a->n_in)
                    memcpy(out + column * sizeof value, &value, sizeof value);
            }
        }
    }
}

radllm_status rad_affine_wide_rows(const rad_source *source, const rad_packed *packed,
                                   uint64_t first, uint64_t count, uint8_t *out,
                                   radllm_error *error)
{
    const rad_packed_affine *a = ((const rad_packed_affine *)packed)->blocks;
    const rad_allocator *allocator = &source->host.allocator;
    const uint64_t most = count < WIDE_ROWS ? count : WIDE_ROWS;
    const size_t row_bytes = (size_t)a->packed.row_bytes, of_row = a->n_groups * sizeof(float);
    const size_t bytes = (size_t)most * (row_bytes + of_row);
    float *scales = rad_alloc(allocator, bytes);
    radllm_status status = scales != NULL ? RADLLM_OK : rad_fail_memory(error, bytes);
    uint8_t *rows = (uint8_t *)scales + (size_t)most * of_row;
    for (uint64_t at = 0, n; at < count && status == RADLLM_OK; at += n) {
        n = count - at < most ? count - at : most;
        const reading r = {source, a, first + at, n, rows, scales, error};
        status = read_rows(&r);
        for (uint64_t i = 0; i < n && status == RADLLM_OK; i++)
            widen_row(a, rows + i * row_bytes, scales + i * a->n_groups,
                      out + (at + i) * packed->row_bytes);
    }
    rad_free(allocator, scales, bytes);
    return status;
}
