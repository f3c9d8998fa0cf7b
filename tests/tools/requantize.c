/* Writes a GGUF model again with its matrices in another number format.
 *
 *   requantize IN.gguf OUT.gguf TYPE
 *
 * TYPE is a type that the library encodes (F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K,
 * Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4, NVFP4, TQ1_0, TQ2_0, Q1_0, Q2_0), or one of the
 * mixtures Q4_K_M and Q5_K_M (the output matrix, or the embedding where that is tied, and some
 * layers' attn_v and ffn_down in Q6_K). Vectors, routers and tables of positions and token types
 * become F32. Where a row is no multiple of the block, a format with smaller blocks is taken, as
 * other converters do.
 *
 * The library's own encoders are used, so the same input gives the same bytes with every compiler.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/gguf_write.h"
#include "io/model_source.h"

#define PIECE_ELEMENTS ((uint64_t)1 << 18)

typedef struct target {
    const char *name;
    rad_type type;
    bool mixture;       /* Q6_K in some places */
    uint32_t file_type; /* general.file_type */
} target;

static const target targets[] = {
    {"F32", RAD_TYPE_F32, false, 0},        {"F16", RAD_TYPE_F16, false, 1},
    {"BF16", RAD_TYPE_BF16, false, 32},     {"Q4_0", RAD_TYPE_Q4_0, false, 2},
    {"Q4_1", RAD_TYPE_Q4_1, false, 3},      {"Q5_0", RAD_TYPE_Q5_0, false, 8},
    {"Q5_1", RAD_TYPE_Q5_1, false, 9},      {"Q8_0", RAD_TYPE_Q8_0, false, 7},
    {"Q4_K", RAD_TYPE_Q4_K, false, 14},     {"Q5_K", RAD_TYPE_Q5_K, false, 16},
    {"Q2_K", RAD_TYPE_Q2_K, false, 10},     {"Q3_K", RAD_TYPE_Q3_K, false, 11},
    {"IQ4_NL", RAD_TYPE_IQ4_NL, false, 25}, {"IQ4_XS", RAD_TYPE_IQ4_XS, false, 30},
    {"MXFP4", RAD_TYPE_MXFP4, false, 38},   {"TQ1_0", RAD_TYPE_TQ1_0, false, 36},
    {"TQ2_0", RAD_TYPE_TQ2_0, false, 37},   {"NVFP4", RAD_TYPE_NVFP4, false, 39},
    {"Q1_0", RAD_TYPE_Q1_0, false, 40},     {"Q2_0", RAD_TYPE_Q2_0, false, 41},
    {"Q6_K", RAD_TYPE_Q6_K, false, 18},     {"Q4_K_M", RAD_TYPE_Q4_K, true, 15},
    {"Q5_K_M", RAD_TYPE_Q5_K, true, 17},
};

static const target *find_target(const char *name)
{
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
        if (strcmp(targets[i].name, name) == 0)
            return &targets[i];
    return NULL;
}

/* ---- which type a tensor gets ---------------------------------------------------------------- */

static bool ends_with(const rad_tensor *tensor, const char *ending)
{
    size_t size = strlen(ending);
    return tensor->name.size >= size &&
           memcmp(tensor->name.data + tensor->name.size - size, ending, size) == 0;
}

static bool stays_f32(const rad_tensor *tensor)
{
    return tensor->n_dims < 2 || !ends_with(tensor, ".weight") ||
           ends_with(tensor, "ffn_gate_inp.weight") ||
           strcmp(tensor->name.data, "position_embd.weight") == 0 ||
           strcmp(tensor->name.data, "token_types.weight") == 0;
}

/* Whether a mixture gives layer i of n more bits: the first and the last eighth, and every third.
 */
static bool more_bits(int64_t i, int64_t n)
{
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

static rad_type mixed_type(const rad_source *source, const rad_tensor *tensor, rad_type base,
                           int64_t n_layers)
{
    const char *name = tensor->name.data;
    if (strcmp(name, "output.weight") == 0)
        return RAD_TYPE_Q6_K;
    if (strcmp(name, "token_embd.weight") == 0)
        return rad_source_find_tensor(source, "output.weight") == NULL ? RAD_TYPE_Q6_K : base;
    int64_t layer = 0;
    if (sscanf(name, "blk.%" SCNd64 ".", &layer) == 1 && more_bits(layer, n_layers) &&
        (ends_with(tensor, ".attn_v.weight") || ends_with(tensor, ".ffn_down.weight")))
        return RAD_TYPE_Q6_K;
    return base;
}

/* The type nearest to `type` whose blocks divide a row. */
static rad_type fitting_type(rad_type type, uint64_t row)
{
    if (row % rad_type_find((uint32_t)type)->block_elements == 0)
        return type;
    rad_type smaller = type == RAD_TYPE_Q4_K   ? RAD_TYPE_Q5_0
                       : type == RAD_TYPE_Q5_K ? RAD_TYPE_Q5_1
                       : type == RAD_TYPE_Q6_K ? RAD_TYPE_Q8_0
                       : type == RAD_TYPE_Q8_0 ? RAD_TYPE_F16
                                               : RAD_TYPE_IQ4_NL;
    return row % rad_type_find((uint32_t)smaller)->block_elements == 0 ? smaller : RAD_TYPE_F16;
}

static rad_type type_of(const rad_source *source, const rad_tensor *tensor, const target *wanted,
                        int64_t n_layers)
{
    if (stays_f32(tensor))
        return RAD_TYPE_F32;
    rad_type type = wanted->type;
    if (wanted->mixture)
        type = mixed_type(source, tensor, type, n_layers);
    return fitting_type(type, tensor->dims[0]);
}

/* ---- the work -------------------------------------------------------------------------------- */

/* Converts whole rows, as many at a time as PIECE_ELEMENTS allows. */
static radllm_status convert_tensor(const rad_source *source, const rad_tensor *tensor,
                                    rad_type type, rad_gguf_writer *writer, radllm_error *error)
{
    const rad_type_info *from = rad_type_find((uint32_t)tensor->type);
    const rad_type_info *to = rad_type_find((uint32_t)type);
    bool same = tensor->type == type;
    if ((!same && (from->decode == NULL || to->encode == NULL)) || from->tail_bytes != 0)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "the tensor '%s' cannot be converted from %s to %s", tensor->name.data,
                        from->name, to->name);
    uint64_t row = tensor->dims[0];
    uint64_t n_rows = tensor->n_elements / row;
    uint64_t at_once = PIECE_ELEMENTS / row > 0 ? PIECE_ELEMENTS / row : 1;
    at_once = at_once < n_rows ? at_once : n_rows;
    size_t in_row = (size_t)(row / from->block_elements * from->block_bytes);
    size_t out_row = (size_t)(row / to->block_elements * to->block_bytes);
    uint8_t *in = malloc((size_t)at_once * in_row);
    uint8_t *out = malloc((size_t)at_once * out_row);
    float *values = malloc((size_t)row * sizeof *values);
    radllm_status status = RADLLM_OK;
    if (in == NULL || out == NULL || values == NULL)
        status = rad_fail_memory(error, (size_t)row * sizeof *values);
    for (uint64_t first = 0; first < n_rows && status == RADLLM_OK; first += at_once) {
        size_t rows = (size_t)(n_rows - first < at_once ? n_rows - first : at_once);
        status = rad_source_read(source, tensor->part, tensor->offset + first * in_row, in,
                                 rows * in_row, error);
        for (size_t r = 0; r < rows && status == RADLLM_OK && !same; r++) {
            from->decode(in + r * in_row, values, (size_t)row);
            to->encode(values, out + r * out_row, (size_t)row);
        }
        if (status == RADLLM_OK)
            status = rad_gguf_data(writer, same ? in : out, rows * out_row, error);
    }
    free(in);
    free(out);
    free(values);
    return status;
}

static bool is_split_key(const rad_meta *meta)
{
    return meta->key.size > 6 && memcmp(meta->key.data, "split.", 6) == 0;
}

static radllm_status count_layers(const rad_source *source, int64_t *out, radllm_error *error)
{
    rad_text architecture;
    radllm_status status = rad_meta_text(source, "general.architecture", &architecture, error);
    if (status != RADLLM_OK)
        return status;
    char key[128];
    snprintf(key, sizeof key, "%.*s.block_count",
             (int)(architecture.size < 64 ? architecture.size : 64),
             architecture.data != NULL ? architecture.data : "");
    return rad_meta_integer(source, key, 0, 1000000, 0, out, error);
}

static radllm_status convert(const rad_source *source, const char *path, const target *wanted,
                             rad_gguf_writer *writer, radllm_error *error)
{
    int64_t n_layers = 0;
    radllm_status status = count_layers(source, &n_layers, error);
    if (status != RADLLM_OK)
        return status;
    for (uint64_t i = 0; i < rad_source_n_meta(source); i++)
        if (!is_split_key(rad_source_meta(source, i)))
            rad_gguf_set_meta(writer, rad_source_meta(source, i));
    rad_gguf_set_integer(writer, "general.file_type", RAD_META_U32, wanted->file_type);
    rad_gguf_set_integer(writer, "general.quantization_version", RAD_META_U32, 2);
    uint64_t n_tensors = rad_source_n_tensors(source);
    for (uint64_t i = 0; i < n_tensors; i++) {
        const rad_tensor *tensor = rad_source_tensor(source, i);
        rad_gguf_add_tensor(writer, tensor->name.data, type_of(source, tensor, wanted, n_layers),
                            tensor->n_dims, tensor->dims);
    }
    status = rad_gguf_begin(writer, path, error);
    for (uint64_t i = 0; i < n_tensors && status == RADLLM_OK; i++) {
        const rad_tensor *tensor = rad_source_tensor(source, i);
        status = convert_tensor(source, tensor, type_of(source, tensor, wanted, n_layers), writer,
                                error);
    }
    return status == RADLLM_OK ? rad_gguf_finish(writer, error) : status;
}

int main(int count, char **arguments)
{
    const target *wanted = count == 4 ? find_target(arguments[3]) : NULL;
    if (wanted == NULL) {
        fprintf(stderr, "usage: requantize IN.gguf OUT.gguf TYPE\nTYPE is one of");
        for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
            fprintf(stderr, " %s", targets[i].name);
        fprintf(stderr, "\n");
        return 2;
    }
    radllm_error error = {0};
    rad_source *source = NULL;
    rad_gguf_writer *writer = NULL;
    radllm_status status = rad_source_open(NULL, arguments[1], &source, &error);
    if (status == RADLLM_OK)
        status = rad_gguf_writer_new(&rad_default_allocator, (uint32_t)rad_source_alignment(source),
                                     &writer, &error);
    if (status == RADLLM_OK)
        status = convert(source, arguments[2], wanted, writer, &error);
    rad_gguf_writer_free(writer);
    rad_source_release(source);
    if (status != RADLLM_OK) {
        fprintf(stderr, "requantize: %s\n", error.message);
        return 1;
    }
    return 0;
}
