/* Checks every fast kernel against the plain C one, bit for bit, on random and extreme inputs, odd
 * sizes and token counts, with guard bytes around outputs and scratch; with --bench times the same
 * calls. In the manner of dav1d's checkasm.
 *
 * check_kernels --help lists the options. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/machine_loops.h"
#include "kernels/kernels.h"
#include "tests/kernels/tables.h"

static const rad_type all_types[] = {
    RAD_TYPE_F32,     RAD_TYPE_F16,    RAD_TYPE_BF16,    RAD_TYPE_Q4_0,   RAD_TYPE_Q4_1,
    RAD_TYPE_Q5_0,    RAD_TYPE_Q5_1,   RAD_TYPE_Q8_0,    RAD_TYPE_Q4_K,   RAD_TYPE_Q5_K,
    RAD_TYPE_Q6_K,    RAD_TYPE_Q2_K,   RAD_TYPE_Q3_K,    RAD_TYPE_IQ4_NL, RAD_TYPE_IQ4_XS,
    RAD_TYPE_IQ1_S,   RAD_TYPE_IQ1_M,  RAD_TYPE_IQ2_XXS, RAD_TYPE_IQ2_XS, RAD_TYPE_IQ2_S,
    RAD_TYPE_IQ3_XXS, RAD_TYPE_IQ3_S,  RAD_TYPE_TQ1_0,   RAD_TYPE_TQ2_0,  RAD_TYPE_I2_S,
    RAD_TYPE_MXFP4,   RAD_TYPE_NVFP4,  RAD_TYPE_Q1_0,    RAD_TYPE_Q2_0,   RAD_TYPE_A2_32,
    RAD_TYPE_A3_32,   RAD_TYPE_A4_32,  RAD_TYPE_A5_32,   RAD_TYPE_A6_32,  RAD_TYPE_A8_32,
    RAD_TYPE_A2_128,  RAD_TYPE_A3_128, RAD_TYPE_A4_128,  RAD_TYPE_A5_128, RAD_TYPE_A6_128,
    RAD_TYPE_A8_128,  RAD_TYPE_NF4,    RAD_TYPE_FP4,     RAD_TYPE_FP8,    RAD_TYPE_INT8};
#define N_TYPES (sizeof(all_types) / sizeof(all_types[0]))

static const char *match = "";
static int n_selected;
static float outlier_threshold = 0.9f; /* of LLM.int8: checks have many outliers, timings none */
static int failures;
static int n_checks;

/* ---- random numbers and memory --------------------------------------------------------------- */

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint32_t random_bits(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) ^ (uint32_t)(random_state >> 13);
}

static float random_unit(void)
{
    return (float)(random_bits() >> 8) * 0x1p-23f - 1.0f;
}

enum { GUARD = 256, GUARD_BYTE = 0xa5 };

/* size bytes at an address that is a multiple of 64 plus `misalign`, guarded on both sides. */
typedef struct buffer {
    uint8_t *base;
    uint8_t *data;
    size_t size;
} buffer;

static buffer buffer_new(size_t size, size_t misalign)
{
    buffer b = {NULL, NULL, size};
    b.base = aligned_alloc(64, (size + 2 * GUARD + misalign + 63) / 64 * 64);
    if (b.base == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    memset(b.base, GUARD_BYTE, size + 2 * GUARD + misalign);
    b.data = b.base + GUARD + misalign;
    return b;
}

static bool buffer_intact(const buffer *b)
{
    for (const uint8_t *p = b->base; p < b->data; p++)
        if (*p != GUARD_BYTE)
            return false;
    for (size_t i = 0; i < GUARD; i++)
        if (b->data[b->size + i] != GUARD_BYTE)
            return false;
    return true;
}

static void buffer_free(buffer *b)
{
    free(b->base);
}

static void report(bool ok, const char *what)
{
    n_checks++;
    if (ok)
        return;
    failures++;
    if (failures <= 50)
        printf("FAILED %s\n", what);
}

/* ---- inputs
 * -------------------------------------------------------------------------------------- */

/* What weights and activations are filled with. */
typedef enum content {
    CONTENT_NORMAL,      /* plausible scales, random quants */
    CONTENT_RANDOM_BITS, /* every bit random: infinite and NaN scales too */
    CONTENT_ALL_ONES,    /* largest quants and sub-scales, plausible scales */
    CONTENT_ALL_ZEROS,
    CONTENT_MINUS_128, /* bytes of 0x80: the most negative quants and sub-scales */
    CONTENT_TINY,      /* subnormal scales and values */
    CONTENT_HUGE,      /* largest finite scales and values */
    N_CONTENTS
} content;

static const char *const content_names[N_CONTENTS] = {"normal",    "random bits", "ones", "zeros",
                                                      "minus 128", "tiny",        "huge"};

static uint16_t random_half(content kind)
{
    switch (kind) {
    case CONTENT_TINY:
        return (uint16_t)(random_bits() & 0x83ff);
    case CONTENT_HUGE:
        return (uint16_t)(0x7bff | (random_bits() & 0x8000));
    default:
        return rad_f32_to_f16(random_unit() * 0.02f);
    }
}

/* Where the F16 numbers of a block stand. */
static int half_offsets(rad_type type, int offsets[2])
{
    offsets[0] = 0;
    offsets[1] = 2;
    switch (type) {
    case RAD_TYPE_Q4_1:
    case RAD_TYPE_Q5_1:
    case RAD_TYPE_Q4_K:
    case RAD_TYPE_Q5_K:
        return 2;
    case RAD_TYPE_Q2_K:
        offsets[0] = 80;
        offsets[1] = 82;
        return 2;
    case RAD_TYPE_Q3_K:
        offsets[0] = 108;
        return 1;
    case RAD_TYPE_Q6_K:
        offsets[0] = 208;
        return 1;
    case RAD_TYPE_TQ1_0:
        offsets[0] = 52;
        return 1;
    case RAD_TYPE_TQ2_0:
        offsets[0] = 64;
        return 1;
    case RAD_TYPE_IQ1_M: /* the scales of these have other forms */
    case RAD_TYPE_MXFP4:
    case RAD_TYPE_NVFP4:
    case RAD_TYPE_I2_S:
        return 0;
    default:
        return 1;
    }
}

static void set_scales(rad_type type, content kind, uint8_t *block)
{
    if (type >= RAD_TYPE_A2_32 && type <= RAD_TYPE_A8_128) { /* F32 but for its lowest byte */
        float scale = rad_f16_to_f32(random_half(kind));
        uint32_t bits;
        memcpy(&bits, &scale, sizeof bits);
        for (int i = 1; i < 4; i++)
            block[i] = (uint8_t)(bits >> 8 * i);
        /* The zero is one of the quants; else it would be most of every weight. */
        const rad_type_info *info = rad_type_find((uint32_t)type);
        if (kind == CONTENT_NORMAL)
            block[0] &= (uint8_t)((1u << (info->block_bytes - 4) * 8 / info->block_elements) - 1);
        return;
    }
    int offsets[2], n = half_offsets(type, offsets);
    for (int i = 0; i < n; i++) {
        uint16_t half = random_half(kind);
        memcpy(block + offsets[i], &half, 2);
    }
    if (type == RAD_TYPE_IQ1_M) { /* the upper nibbles of four words */
        uint16_t half = random_half(kind);
        for (int i = 0; i < 4; i++)
            block[49 + 2 * i] = (uint8_t)((block[49 + 2 * i] & 15) | (half >> 4 * i & 15) << 4);
    } else if (type == RAD_TYPE_MXFP4) {
        uint32_t bits = random_bits();
        block[0] = (uint8_t)(kind == CONTENT_TINY   ? bits % 4
                             : kind == CONTENT_HUGE ? 252 + bits % 4
                                                    : 117 + bits % 8);
    }
}

static float random_float(content kind)
{
    uint32_t bits;
    float value;
    switch (kind) {
    case CONTENT_RANDOM_BITS:
        bits = random_bits();
        memcpy(&value, &bits, sizeof(value));
        return value;
    case CONTENT_ALL_ONES:
        return 1.0f;
    case CONTENT_ALL_ZEROS:
        return random_bits() & 1 ? 0.0f : -0.0f;
    case CONTENT_MINUS_128:
        return -128.0f;
    case CONTENT_TINY:
        return random_unit() * 0x1p-130f;
    case CONTENT_HUGE:
        return random_bits() & 1 ? 3.4e38f : -3.4e38f;
    default:
        return random_unit();
    }
}

/* An F32 scale. */
static void set_scale(content kind, uint8_t *block)
{
    float scale = kind == CONTENT_TINY   ? random_unit() * 0x1p-130f
                  : kind == CONTENT_HUGE ? 0x1p118f
                                         : random_unit() * 0.02f;
    memcpy(block, &scale, sizeof scale);
}

static void fill_weights(rad_type type, content kind, uint8_t *data, size_t size)
{
    const rad_type_info *info = rad_type_find((uint32_t)type);
    if (info->block_elements == 1) {
        for (size_t i = 0; i < size / info->block_bytes; i++) {
            float value = random_float(kind);
            info->encode(&value, NULL, data + i * info->block_bytes, 1);
        }
        return;
    }
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(kind == CONTENT_ALL_ONES    ? 0xff
                            : kind == CONTENT_ALL_ZEROS ? 0
                            : kind == CONTENT_MINUS_128 ? 0x80
                                                        : random_bits());
    if (kind == CONTENT_RANDOM_BITS)
        return;
    for (size_t block = 0; block < size / info->block_bytes; block++) {
        if (info->family == RAD_FAMILY_SCALED || info->family == RAD_FAMILY_INT8)
            set_scale(kind, data + block * info->block_bytes);
        else
            set_scales(type, kind, data + block * info->block_bytes);
        if (info->family == RAD_FAMILY_INT8) /* one for a row */
            memcpy(data + block * info->block_bytes, data, sizeof(float));
    }
}

typedef struct input {
    rad_activations x;
    buffer values, quants, scales, sums, tiles;
} input;

/* The first n_tokens tokens, with their tiles. */
static rad_activations input_tokens(input *in, uint32_t n_tokens)
{
    rad_activations x = in->x;
    x.n_tokens = n_tokens;
    x.tiles = NULL;
    if (x.kind == RAD_ACTIVATION_F32 || x.kind == RAD_ACTIVATION_Q8_OUTLIERS)
        return x;
    if (in->tiles.base != NULL)
        free(in->tiles.base);
    in->tiles = buffer_new((size_t)rad_tiles_bytes(n_tokens, x.n_columns), 4);
    for (uint32_t tile = 0; tile * RAD_TILE_TOKENS < n_tokens; tile++)
        rad_arrange_tile(&x, tile, in->tiles.data);
    report(buffer_intact(&in->tiles), "guard bytes of arrange_tile");
    x.tiles = in->tiles.data;
    return x;
}

typedef void (*quantize_fn)(const float *x, uint32_t n, int8_t *quants, float *scales,
                            int16_t *sums);

static quantize_fn quantize_function(const rad_kernels *table, rad_activation_kind kind)
{
    return kind == RAD_ACTIVATION_Q8_64    ? table->quantize_q8_64
           : kind == RAD_ACTIVATION_Q8_256 ? table->quantize_q8_256
           : kind == RAD_ACTIVATION_Q8_ROW ? table->quantize_q8_row
                                           : table->quantize_q8_32;
}

static input input_new(rad_type type, content kind, uint32_t n_tokens, uint32_t n_columns)
{
    const rad_kernels *scalar = rad_kernels_find(RAD_ISA_SCALAR, true);
    const rad_type_info *info = rad_type_find((uint32_t)type);
    const uint32_t block = rad_activation_block(info->activation, n_columns);
    size_t n = (size_t)n_tokens * n_columns;
    input in = {.x = {.kind = info->activation, .n_tokens = n_tokens, .n_columns = n_columns}};
    in.values = buffer_new(n * 4, 4);
    in.quants = buffer_new(n, 1);
    in.scales = buffer_new(n / block * 4 + 4, 4);
    in.sums = buffer_new(n / 16 * 2 + 2, 2);
    float *values = (float *)(void *)in.values.data;
    for (size_t i = 0; i < n; i++)
        values[i] = random_float(kind);
    in.x.values = values;
    in.x.threshold = outlier_threshold;
    in.x.quants = (int8_t *)in.quants.data;
    in.x.scales = (float *)(void *)in.scales.data;
    in.x.sums = (int16_t *)(void *)in.sums.data;
    for (uint32_t t = 0; t < n_tokens && info->activation != RAD_ACTIVATION_F32; t++) {
        size_t at = (size_t)t * n_columns;
        if (info->activation == RAD_ACTIVATION_Q8_OUTLIERS) {
            rad_quantize_q8_outliers(values + at, n_columns, in.x.threshold,
                                     (int8_t *)in.quants.data + at,
                                     (float *)(void *)in.scales.data + t);
            continue;
        }
        quantize_function(scalar, info->activation)(values + at, n_columns,
                                                    (int8_t *)in.quants.data + at,
                                                    (float *)(void *)in.scales.data + at / block,
                                                    (int16_t *)(void *)in.sums.data + at / 16);
    }
    return in;
}

static void input_free(input *in)
{
    buffer_free(&in->values);
    buffer_free(&in->quants);
    buffer_free(&in->scales);
    buffer_free(&in->sums);
    if (in->tiles.base != NULL)
        buffer_free(&in->tiles);
}

/* The lane layout of a file matrix. */
static buffer pack(const rad_matrix *w)
{
    size_t group = (size_t)rad_lane_group_bytes(w->type, w->n_columns);
    size_t row = (size_t)rad_matrix_bytes(w->type, RAD_LAYOUT_FILE, 1, w->n_columns);
    buffer b =
        buffer_new((size_t)rad_matrix_bytes(w->type, RAD_LAYOUT_LANE, w->n_rows, w->n_columns), 0);
    for (uint32_t first = 0; first < w->n_rows; first += RAD_LANE_ROWS) {
        uint32_t n = w->n_rows - first < RAD_LANE_ROWS ? w->n_rows - first : RAD_LANE_ROWS;
        rad_pack_lane_group(w->type, w->n_columns, w->data + first * row, n,
                            b.data + first / RAD_LANE_ROWS * group);
    }
    return b;
}

/* ---- checks
 * --------------------------------------------------------------------------------------- */

static bool same_float(float a, float b)
{
    return (a != a && b != b) || memcmp(&a, &b, sizeof(a)) == 0;
}

static bool selected(const char *name)
{
    bool is = strstr(name, match) != NULL;
    n_selected += is;
    return is;
}

/* Blocks of 32 whose values are beside the middle between two integers once they are divided by the
 * scale: where a factor that is off by one bit shows. */
static void fill_middles(float *x, int n)
{
    float amax = 1.0f;
    for (int i = 0; i < n; i++) {
        if (i % 32 == 0) {
            x[i] = amax = 1.0f + (float)(random_bits() >> 8) * 0x1p-24f;
            continue;
        }
        uint32_t bits;
        x[i] = (float)(((double)(random_bits() % 126) + 0.5) * ((double)amax / 127.0));
        memcpy(&bits, &x[i], sizeof bits);
        bits += random_bits() % 3 - 1;
        memcpy(&x[i], &bits, sizeof bits);
    }
}

enum { N_QUANTIZE = 4 };
static const uint32_t quantize_blocks[N_QUANTIZE] = {32, 64, 256, 512}; /* of Q8_ROW: four rows */

static void check_quantize(const rad_kernels *k, content kind)
{
    const rad_kernels *scalar = rad_kernels_find(RAD_ISA_SCALAR, true);
    static const rad_activation_kind kinds[N_QUANTIZE] = {
        RAD_ACTIVATION_Q8_32, RAD_ACTIVATION_Q8_64, RAD_ACTIVATION_Q8_256, RAD_ACTIVATION_Q8_ROW};
    for (int which = 0; which < N_QUANTIZE; which++) {
        enum { N = 16384, MIDDLES = 2048 };
        uint32_t block = quantize_blocks[which];
        char name[128];
        snprintf(name, sizeof(name), "quantize_q8_%u %s, %s", block, k->name, content_names[kind]);
        if (!selected(name))
            continue;
        buffer values = buffer_new(N * 4, 4);
        buffer quants[2], scales[2], sums[2];
        float *x = (float *)(void *)values.data;
        for (int i = 0; i < N; i++)
            x[i] = random_float(kind == CONTENT_RANDOM_BITS && i < N / 2 ? CONTENT_NORMAL : kind);
        if (kind == CONTENT_NORMAL) { /* exact halves, the threshold of zero, one odd value */
            for (int i = 0; i < 256; i++)
                x[i] = (float)(i - 127) / 2.0f;
            x[256] = 0x1p-100f;
            memset(x + 257, 0, 255 * sizeof(float));
            x[512] = 0x1.fffffep-101f;
            memset(x + 513, 0, 255 * sizeof(float));
            x[768] = __builtin_inff();
            x[1030] = __builtin_nanf("");
            fill_middles(x + MIDDLES, N - MIDDLES);
        }
        for (int i = 0; i < 2; i++) {
            const rad_kernels *table = i == 0 ? scalar : k;
            quants[i] = buffer_new(N, 0);
            scales[i] = buffer_new(N / block * 4, 4);
            sums[i] = buffer_new(N / 16 * 2, 2);
            uint32_t at_once = kinds[which] == RAD_ACTIVATION_Q8_ROW ? block : N;
            for (uint32_t at = 0; at < N; at += at_once)
                quantize_function(table, kinds[which])(x + at, at_once,
                                                       (int8_t *)quants[i].data + at,
                                                       (float *)(void *)scales[i].data + at / block,
                                                       (int16_t *)(void *)sums[i].data + at / 16);
        }
        bool same = memcmp(quants[0].data, quants[1].data, N) == 0 &&
                    memcmp(sums[0].data, sums[1].data, N / 16 * 2) == 0;
        for (uint32_t i = 0; i < N / block; i++)
            same = same && same_float(((float *)(void *)scales[0].data)[i],
                                      ((float *)(void *)scales[1].data)[i]);
        for (int i = 0; i < 2; i++) {
            same = same && buffer_intact(&quants[i]) && buffer_intact(&scales[i]) &&
                   buffer_intact(&sums[i]);
            buffer_free(&quants[i]);
            buffer_free(&scales[i]);
            buffer_free(&sums[i]);
        }
        report(same, name);
        buffer_free(&values);
    }
}

/* One product of a table against the expected outputs, over all rows or in two ranges, over all
 * tokens or from the second tile on. */
static void check_product(const rad_kernels *k, const rad_matrix *w, const rad_activations *x,
                          const float *expected, bool split, const char *name)
{
    uint32_t n_rows = w->n_rows, n_tokens = x->n_tokens;
    size_t stride = n_rows + 3;
    buffer scratch = buffer_new(rad_product_scratch_bytes(w), 0);
    buffer out = buffer_new(stride * n_tokens * 4, 4);
    float *y = (float *)(void *)out.data;
    uint32_t marker = 0x7fc12345u; /* a NaN that no kernel writes */
    for (size_t i = 0; i < stride * n_tokens; i++)
        memcpy(&y[i], &marker, 4);
    uint32_t middle = split && n_rows > RAD_LANE_ROWS ? (n_rows / 2 + 15) / 16 * 16 : 0;
    uint32_t first_token = split && n_tokens > RAD_TILE_TOKENS ? RAD_TILE_TOKENS : 0;
    if (middle > 0)
        k->product(w, x, 0, middle, first_token, n_tokens, y, stride, scratch.data);
    if (middle < n_rows)
        k->product(w, x, middle, n_rows, first_token, n_tokens, y, stride, scratch.data);
    bool same = true;
    for (uint32_t t = 0; t < n_tokens; t++)
        for (uint32_t r = 0; r < stride; r++) {
            float got = y[t * stride + r];
            if (t < first_token || r >= n_rows)
                same = same && memcmp(&got, &marker, 4) == 0;
            else
                same = same && same_float(got, expected[(size_t)t * n_rows + r]);
        }
    report(same, name);
    report(buffer_intact(&out) && buffer_intact(&scratch), name);
    buffer_free(&out);
    buffer_free(&scratch);
}

/* A matrix in one layout by one table, and what its outputs are to be. */
typedef struct product_case {
    const rad_kernels *table;
    const rad_matrix *w;
    uint32_t n_tokens;
    bool tiles; /* or tokens one by one */
    content kind;
} product_case;

static void name_case(const product_case *c, size_t size, char *out)
{
    snprintf(out, size, "product %s %s, %s layout, %u x %u, %u tokens%s, %s",
             rad_type_find((uint32_t)c->w->type)->name, c->table->name,
             c->w->layout == RAD_LAYOUT_LANE ? "lane" : "file", c->w->n_rows, c->w->n_columns,
             c->n_tokens, c->tiles ? "" : " without tiles", content_names[c->kind]);
}

typedef struct product_cases {
    product_case *data;
    size_t n;
} product_cases;

static void add_case(product_cases *cases, product_case new)
{
    char name[160];
    name_case(&new, sizeof name, name);
    if (!selected(name))
        return;
    cases->data = realloc(cases->data, (cases->n + 1) * sizeof(product_case));
    if (cases->data == NULL)
        exit(2);
    cases->data[cases->n++] = new;
}

typedef struct token_counts {
    uint32_t n, counts[12];
} token_counts;

static const token_counts few_tokens = {11, {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33}};
static const token_counts some_tokens = {2, {1, 33}};
/* More than any kernel takes at a time. */
static const token_counts many_tokens = {1, {517}};

static product_cases cases_of(const rad_matrix *file, const rad_matrix *lane,
                              const token_counts *tokens, content kind)
{
    const rad_type_info *info = rad_type_find((uint32_t)file->type);
    const bool has_tiles =
        info->activation != RAD_ACTIVATION_F32 && info->activation != RAD_ACTIVATION_Q8_OUTLIERS;
    product_cases cases = {NULL, 0};
    const rad_kernels *tables[MAX_TABLES];
    int n_tables = all_tables(tables);
    for (int i = 0; i < n_tables; i++)
        for (uint32_t c = 0; c < tokens->n; c++)
            for (int layout = 0; layout <= (lane != NULL); layout++) {
                product_case one = {tables[i], layout ? lane : file, tokens->counts[c], true, kind};
                add_case(&cases, one);
                one.tiles = false;
                if (has_tiles && one.n_tokens == 17)
                    add_case(&cases, one);
            }
    return cases;
}

/* The activations beside weights. Quantized ones that are tiny are zeros, which would hide tiny
 * weights. */
static content content_beside(rad_type type, content kind)
{
    const bool one = random_bits() & 1;
    switch (kind) {
    case CONTENT_ALL_ONES:
    case CONTENT_MINUS_128:
        return one ? CONTENT_ALL_ONES : CONTENT_MINUS_128;
    case CONTENT_TINY:
        if (rad_type_find((uint32_t)type)->activation != RAD_ACTIVATION_F32)
            return one ? CONTENT_NORMAL : CONTENT_HUGE;
        return one ? CONTENT_TINY : CONTENT_HUGE;
    default:
        return kind;
    }
}

static void check_matrix(rad_type type, content kind, uint32_t n_rows, uint32_t n_columns,
                         const token_counts *tokens)
{
    const rad_kernels *scalar = rad_kernels_find(RAD_ISA_SCALAR, true);
    const uint32_t most = tokens->counts[tokens->n - 1];
    rad_matrix w = {type, RAD_LAYOUT_FILE, n_rows, n_columns, NULL}, lane = w;
    lane.layout = RAD_LAYOUT_LANE;
    const bool has_lanes = rad_has_lane_layout(type, n_columns);
    product_cases cases = cases_of(&w, has_lanes ? &lane : NULL, tokens, kind);
    if (cases.n == 0)
        return;
    size_t bytes = (size_t)rad_matrix_bytes(type, RAD_LAYOUT_FILE, n_rows, n_columns);
    buffer file = buffer_new(bytes, 2), lanes = {NULL, NULL, 0};
    fill_weights(type, kind, file.data, bytes);
    w.data = file.data;
    if (has_lanes) {
        lanes = pack(&w);
        lane.data = lanes.data;
        report(buffer_intact(&lanes), "guard bytes of pack_lane_group");
    }
    input in = input_new(type, content_beside(type, kind), most, n_columns);
    float *expected = malloc((size_t)most * n_rows * 4);
    scalar->product(&w, &in.x, 0, n_rows, 0, most, expected, n_rows, NULL);
    for (size_t i = 0; i < cases.n; i++) {
        const product_case *c = &cases.data[i];
        char name[160];
        name_case(c, sizeof name, name);
        rad_activations x = input_tokens(&in, c->n_tokens);
        if (!c->tiles)
            x.tiles = NULL;
        check_product(c->table, c->w, &x, expected, i % 2, name);
    }
    free(cases.data);
    free(expected);
    input_free(&in);
    if (has_lanes)
        buffer_free(&lanes);
    buffer_free(&file);
}

/* Rows decoded from the lane layout equal those of the file, and the scalar product is near to the
 * product of decoded weights in double precision. */
static void check_layout(rad_type type)
{
    enum { ROWS = 21 };
    const rad_type_info *info = rad_type_find((uint32_t)type);
    char name[96];
    snprintf(name, sizeof(name), "decode_row %s", info->name);
    if (!selected(name))
        return;
    uint32_t n_columns = info->block_elements == 1 ? 48 : info->block_elements * 3;
    size_t bytes = (size_t)rad_matrix_bytes(type, RAD_LAYOUT_FILE, ROWS, n_columns);
    buffer file = buffer_new(bytes, 2);
    fill_weights(type, CONTENT_NORMAL, file.data, bytes);
    rad_matrix w = {type, RAD_LAYOUT_FILE, ROWS, n_columns, file.data};
    float *values = malloc((size_t)n_columns * ROWS * 4), *row = malloc((size_t)n_columns * 4);
    info->decode(file.data, values, (size_t)n_columns * ROWS);
    for (uint32_t r = 0; r < ROWS; r++) {
        rad_matrix_decode_row(&w, r, row);
        report(memcmp(row, values + (size_t)r * n_columns, (size_t)n_columns * 4) == 0, name);
    }
    if (rad_has_lane_layout(type, n_columns)) {
        buffer lanes = pack(&w);
        rad_matrix lane = {type, RAD_LAYOUT_LANE, ROWS, n_columns, lanes.data};
        for (uint32_t r = 0; r < ROWS; r++) {
            rad_matrix_decode_row(&lane, r, row);
            report(memcmp(row, values + (size_t)r * n_columns, (size_t)n_columns * 4) == 0, name);
        }
        buffer_free(&lanes);
    }
    input in = input_new(type, CONTENT_NORMAL, 2, n_columns);
    float y[2 * ROWS];
    rad_kernels_find(RAD_ISA_SCALAR, true)->product(&w, &in.x, 0, ROWS, 0, 2, y, ROWS, NULL);
    double error = 0.0, norm = 0.0;
    for (int t = 0; t < 2; t++)
        for (int r = 0; r < ROWS; r++) {
            double exact = 0.0;
            for (uint32_t i = 0; i < n_columns; i++)
                exact += (double)values[(size_t)r * n_columns + i] *
                         (double)in.x.values[(size_t)t * n_columns + i];
            error += (exact - (double)y[t * ROWS + r]) * (exact - (double)y[t * ROWS + r]);
            norm += exact * exact;
        }
    snprintf(name, sizeof(name), "product %s scalar against double: error %g", info->name,
             __builtin_sqrt(error / norm));
    report(error <= norm * (info->activation == RAD_ACTIVATION_F32 ? 1e-12 : 2e-4), name);
    input_free(&in);
    free(row);
    free(values);
    buffer_free(&file);
}

/* The choice of tables: at most the limit, exactly it on request, the plain one always. */
static void check_find(void)
{
    for (int isa = RAD_ISA_SCALAR; isa <= RAD_ISA_BEST; isa++) {
        const rad_kernels *exact = rad_kernels_find((rad_isa)isa, true);
        const rad_kernels *best = rad_kernels_find((rad_isa)isa, false);
        report(exact == NULL || exact->isa == (rad_isa)isa, "find exactly");
        report(best != NULL && best->isa <= (rad_isa)isa, "find at most");
        report(exact == NULL || best == exact, "find the same");
        report(best != NULL && best->layer != NULL, "layer kernels of a table");
    }
    report(rad_matrix_bytes(RAD_TYPE_Q4_0, RAD_LAYOUT_LANE, 17, 64) == 32 * 36, "lane bytes");
    report(rad_matrix_bytes(RAD_TYPE_Q4_0, RAD_LAYOUT_FILE, 17, 64) == 17 * 36, "file bytes");
    report(rad_matrix_bytes(RAD_TYPE_Q4_0, RAD_LAYOUT_FILE, 1, 33) == 0, "half a block");
    report(rad_matrix_bytes(RAD_TYPE_F32, RAD_LAYOUT_FILE, UINT64_MAX / 2, 64) == 0, "overflow");
    report(rad_matrix_bytes(RAD_TYPE_F32, RAD_LAYOUT_LANE, UINT64_MAX, 1) == 0, "overflow");
}

static void check_all(void)
{
    check_find();
    const rad_kernels *tables[MAX_TABLES];
    int n_tables = all_tables(tables);
    for (int kind = 0; kind < N_CONTENTS; kind++)
        for (int i = 0; i < n_tables; i++)
            check_quantize(tables[i], (content)kind);
    for (size_t i = 0; i < N_TYPES; i++) {
        uint32_t block = rad_type_find((uint32_t)all_types[i])->block_elements;
        uint32_t unit = block == 1 ? 16 : block;
        check_layout(all_types[i]);
        for (int kind = 0; kind < N_CONTENTS; kind++) {
            check_matrix(all_types[i], (content)kind, 16, unit, &few_tokens);
            check_matrix(all_types[i], (content)kind, 47, unit * 3, &few_tokens);
        }
        check_matrix(all_types[i], CONTENT_NORMAL, 1, unit, &few_tokens);
        check_matrix(all_types[i], CONTENT_NORMAL, 48, unit * 11, &few_tokens);
        /* More rows, tokens and columns than kernels take at a time. */
        check_matrix(all_types[i], CONTENT_NORMAL, 137, unit, &some_tokens);
        check_matrix(all_types[i], CONTENT_NORMAL, 18, unit, &many_tokens);
        if (block == 1) {
            check_matrix(all_types[i], CONTENT_NORMAL, 18, 1, &few_tokens);
            check_matrix(all_types[i], CONTENT_NORMAL, 19, 77, &few_tokens);
            check_matrix(all_types[i], CONTENT_RANDOM_BITS, 5, 45, &few_tokens);
            check_matrix(all_types[i], CONTENT_NORMAL, 21, 2064, &few_tokens);
            check_matrix(all_types[i], CONTENT_NORMAL, 21, 1100, &few_tokens);
        }
    }
}

/* ---- bench
 * ------------------------------------------------------------------------------------------ */

/* Processor time of this thread, so that other programs on the machine disturb less. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Multiply-adds a second of one thread in registers alone, with the instructions that a table may
 * use: of bytes, or of floats where that is what the type's products are made of. */
static double peak_rate(const rad_kernels *table, bool floats)
{
    machine_loops loops = machine_best_loops(table->isa == RAD_ISA_AVX512 ? "avx512" : "avx2");
    machine_compute_fn loop = floats ? loops.real : loops.int8;
    double best = 0.0;
    for (int i = 0; i < 20 && loop != NULL; i++) {
        double before = now(), done = loop(200000), rate = done / (now() - before);
        best = rate > best ? rate : best;
    }
    return best;
}

static void bench(double seconds, uint32_t n_rows, uint32_t n_columns)
{
    static const uint32_t token_counts[] = {1, 2, 4, 8, 16, 64, 512};
    const rad_kernels *tables[MAX_TABLES];
    int n_tables = all_tables(tables);
    double peaks[MAX_TABLES][2];
    outlier_threshold = 3.3f;
    for (int i = 0; i < n_tables; i++)
        for (int floats = 0; floats < 2; floats++)
            peaks[i][floats] = peak_rate(tables[i], floats);
    printf("%u rows x %u columns; GB/s of weights; peak: multiply-adds in registers alone\n",
           n_rows, n_columns);
    printf("%-7s %-26s %-6s %6s %9s %9s %8s\n", "type", "table", "layout", "tokens", "GMAC/s",
           "GB/s", "of peak");
    for (size_t i = 0; i < N_TYPES; i++) {
        rad_type type = all_types[i];
        size_t bytes = (size_t)rad_matrix_bytes(type, RAD_LAYOUT_FILE, n_rows, n_columns);
        buffer file = buffer_new(bytes, 0);
        fill_weights(type, CONTENT_NORMAL, file.data, bytes);
        rad_matrix w[2] = {{type, RAD_LAYOUT_FILE, n_rows, n_columns, file.data}};
        buffer lanes = {NULL, NULL, 0};
        w[1] = w[0];
        if (rad_has_lane_layout(type, n_columns)) {
            lanes = pack(&w[0]);
            w[1].layout = RAD_LAYOUT_LANE;
            w[1].data = lanes.data;
        }
        input in = input_new(type, CONTENT_NORMAL, 512, n_columns);
        buffer scratch = buffer_new(rad_product_scratch_bytes(&w[0]), 0);
        float *y = malloc((size_t)512 * n_rows * 4);
        for (int table = 0; table < n_tables; table++)
            for (int layout = 0; layout <= rad_has_lane_layout(type, n_columns); layout++)
                for (size_t c = 0; c < sizeof(token_counts) / sizeof(token_counts[0]); c++) {
                    char name[96];
                    uint32_t n = token_counts[c];
                    snprintf(name, sizeof(name), "%s %s %s %u", rad_type_find(type)->name,
                             tables[table]->name, layout ? "lane" : "file", n);
                    if (!selected(name))
                        continue;
                    rad_activations x = input_tokens(&in, n);
                    double best = 1e30, start = now();
                    do {
                        double before = now();
                        tables[table]->product(&w[layout], &x, 0, n_rows, 0, n, y, n_rows,
                                               scratch.data);
                        double taken = now() - before;
                        best = taken < best ? taken : best;
                    } while (now() - start < seconds);
                    double rate = (double)n_rows * n_columns * n / best;
                    printf("%-7s %-26s %-6s %6u %9.2f %9.2f %6.1f %%\n", rad_type_find(type)->name,
                           tables[table]->name, layout ? "lane" : "file", n, rate * 1e-9,
                           (double)bytes / best * 1e-9,
                           100.0 * rate / peaks[table][in.x.kind == RAD_ACTIVATION_F32]);
                    fflush(stdout);
                }
        free(y);
        buffer_free(&scratch);
        input_free(&in);
        if (lanes.base != NULL)
            buffer_free(&lanes);
        buffer_free(&file);
    }
}

typedef struct options {
    bool list, bench;
    double seconds;
    uint32_t rows, columns;
} options;

static const char usage[] =
    "Usage: check_kernels [OPTION]...\n\n"
    "Checks every fast kernel of this machine against the plain C one, bit for bit.\n\n"
    "  --list          names of the checks, one a line: what and whose\n"
    "  --match TEXT    only what has TEXT in its name. A check's name goes on with a comma and\n"
    "                  what is checked (\"Q4_K avx2, lane\"), with --bench with layout and "
    "tokens:\n"
    "                  \"Q4_K avx512 vnni lane 8\"\n"
    "  --bench         time the products: GMAC/s, GB/s of weights, share of the peak\n"
    "  --seconds S     of each measurement (0.1)\n"
    "  --rows N        of the measured matrix (2048)\n"
    "  --columns N     a multiple of 256 (2048)\n"
    "  -h, --help      show this text\n\n"
    "Exit status: 0 all agree, 1 they do not, 2 wrong usage or nothing matches.\n";

static bool parse_size(const char *text, uint32_t multiple, uint32_t *out)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    *out = (uint32_t)value;
    return *text >= '0' && *text <= '9' && *end == '\0' && value > 0 && value <= 1 << 20 &&
           value % multiple == 0;
}

/* The option of argv[i] with its value; the number of words, 0: wrong. */
static int parse_option(char **argv, options *out)
{
    const char *name = argv[0], *value = argv[1];
    if (strcmp(name, "--list") == 0)
        return out->list = true;
    if (strcmp(name, "--bench") == 0)
        return out->bench = true;
    if (value == NULL)
        return 0;
    bool good = false;
    if (strcmp(name, "--match") == 0) {
        match = value;
        good = true;
    } else if (strcmp(name, "--seconds") == 0) {
        char *end;
        out->seconds = strtod(value, &end);
        good = *value != '\0' && *end == '\0' && out->seconds > 0 && out->seconds <= 3600;
    } else if (strcmp(name, "--rows") == 0) {
        good = parse_size(value, 1, &out->rows);
    } else if (strcmp(name, "--columns") == 0) {
        good = parse_size(value, 256, &out->columns);
    }
    return good ? 2 : 0;
}

static void list_one(const char *what, const char *table)
{
    char name[96];
    snprintf(name, sizeof name, "%s %s", what, table);
    if (selected(name))
        puts(name);
}

static void list(void)
{
    const rad_kernels *tables[MAX_TABLES];
    int n_tables = all_tables(tables);
    for (int k = 0; k < n_tables; k++) {
        char name[32];
        for (int i = 0; i < N_QUANTIZE; i++) {
            snprintf(name, sizeof name, "quantize_q8_%u", quantize_blocks[i]);
            list_one(name, tables[k]->name);
        }
        for (size_t i = 0; i < N_TYPES; i++)
            list_one(rad_type_find(all_types[i])->name, tables[k]->name);
    }
}

int main(int argc, char **argv)
{
    options chosen = {.seconds = 0.1, .rows = 2048, .columns = 2048};
    for (int i = 1, words; i < argc; i += words) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        words = parse_option(argv + i, &chosen);
        if (words == 0) {
            fprintf(stderr, "check_kernels: wrong or incomplete option %s; --help shows all\n",
                    argv[i]);
            return 2;
        }
    }
    if (chosen.list) {
        list();
    } else if (chosen.bench) {
        bench(chosen.seconds, chosen.rows, chosen.columns);
    } else {
        check_all();
        const rad_kernels *tables[MAX_TABLES];
        int n_tables = all_tables(tables);
        printf("%d checks, %d failures; tables:", n_checks, failures);
        for (int i = 0; i < n_tables; i++)
            printf(" %s", tables[i]->name);
        printf("\n");
    }
    if (n_selected == 0) {
        fprintf(stderr, "check_kernels: nothing matches \"%s\"; --list shows the names\n", match);
        return 2;
    }
    return failures != 0;
}
