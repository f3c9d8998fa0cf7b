/* How far products with the matrices of a model file are from exact ones, by weight type.
 *
 *   product_error MODEL.gguf...
 *
 * Some rows of each matrix are multiplied with random activations (normal ones, and ones whose
 * columns differ in size by some ten times, as those of real models do) by the library's kernels;
 * what is exact is the same product of the decoded weights in double precision, so that only the
 * error that 8-bit activations (or sums in single precision) add is left. Beside it stands the same
 * for activations as llama.cpp rounds them: per 32 with a scale in half precision, per 256 by the
 * signed greatest value, to half precision for F16 and to BF16 for BF16. I2_S, which llama.cpp does
 * not know, has its activations rounded per row as in BitNet's own programs.
 *
 * A line per type: name, products, then the relative errors (root of the mean square) of the
 * library and of llama.cpp's rounding for normal activations, and both again for uneven ones.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/model_source.h"
#include "kernels/kernels.h"

enum { ROWS = 32, TOKENS = 8, N_TYPES = 64, KINDS = 2 };

typedef struct sums {
    double exact;
    double ours;
    double rounded; /* llama.cpp's way */
} sums;

typedef struct totals {
    uint64_t products;
    sums of[KINDS];
} totals;

/* ---- random numbers ---- */

static uint64_t state = 88172645463325252u;

static double uniform(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return ((double)(state >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(void)
{
    return sqrt(-2.0 * log(uniform())) * cos(6.283185307179586 * uniform());
}

static void fill(float *x, uint32_t n, bool uneven)
{
    for (uint32_t i = 0; i < n; i++) {
        float size = uneven ? (float)exp(0.8 * normal()) : 1.0f;
        for (uint32_t t = 0; t < TOKENS; t++)
            x[(size_t)t * n + i] = size * (float)normal();
    }
}

/* ---- activations as llama.cpp rounds them ---- */

static void round_32(const float *x, float *out)
{
    float most = 0;
    for (int i = 0; i < 32; i++)
        most = fmaxf(most, fabsf(x[i]));
    float scale = most / 127.0f;
    float inverse = scale != 0 ? 1.0f / scale : 0.0f;
    float stored = rad_f16_to_f32(rad_f32_to_f16(scale));
    for (int i = 0; i < 32; i++)
        out[i] = stored * roundf(x[i] * inverse);
}

static void round_256(const float *x, float *out)
{
    float most = 0;
    for (int i = 0; i < 256; i++)
        most = fabsf(x[i]) > fabsf(most) ? x[i] : most;
    float inverse = most != 0 ? -127.0f / most : 0.0f;
    for (int i = 0; i < 256; i++)
        out[i] = most != 0 ? fminf(127.0f, nearbyintf(inverse * x[i])) / inverse : 0.0f;
}

static void round_row(const float *x, uint32_t n, float *out)
{
    float most = 1e-5f;
    for (uint32_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(x[i]));
    float inverse = 127.0f / most;
    for (uint32_t i = 0; i < n; i++)
        out[i] = fminf(127.0f, nearbyintf(inverse * x[i])) / inverse;
}

static void round_as_llama(const rad_type_info *type, const float *x, uint32_t n, float *out)
{
    if (type->activation == RAD_ACTIVATION_Q8_ROW) {
        round_row(x, n, out);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(type->name, "F16") == 0)
            out[i] = rad_f16_to_f32(rad_f32_to_f16(x[i]));
        else if (strcmp(type->name, "BF16") == 0)
            out[i] = rad_bf16_to_f32(rad_f32_to_bf16(x[i]));
        else if (type->activation == RAD_ACTIVATION_F32)
            out[i] = x[i];
        else if (type->block_elements == 256 && i % 256 == 0)
            round_256(x + i, out + i);
        else if (type->block_elements != 256 && i % 32 == 0)
            round_32(x + i, out + i);
    }
}

/* ---- products ---- */

/* Room for one matrix's products. */
typedef struct work {
    float *x;
    float *rounded;
    float *values; /* a row, decoded */
    int8_t *quants;
    float *scales;
    int16_t *sums;
    uint8_t *rows;
    void *scratch;
} work;

static void *take(size_t size)
{
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (memory == NULL) {
        fprintf(stderr, "product_error: out of memory\n");
        exit(1);
    }
    memset(memory, 0, (size + 63) / 64 * 64);
    return memory;
}

static work work_new(uint32_t n, size_t row_bytes, size_t scratch)
{
    size_t count = (size_t)TOKENS * n;
    return (work){.x = take(count * sizeof(float)),
                  .rounded = take(count * sizeof(float)),
                  .values = take(n * sizeof(float)),
                  .quants = take(count),
                  .scales = take(count * sizeof(float)),
                  .sums = take(count * sizeof(int16_t)),
                  .rows = take(ROWS * row_bytes),
                  .scratch = take(scratch)};
}

static void work_free(work *self)
{
    free(self->x);
    free(self->rounded);
    free(self->values);
    free(self->quants);
    free(self->scales);
    free(self->sums);
    free(self->rows);
    free(self->scratch);
}

/* False for a kind of activations that this program does not know. */
static bool quantize(const rad_kernels *kernels, rad_activation_kind kind, uint32_t n, work *own)
{
    for (uint32_t t = 0; t < TOKENS; t++) {
        const float *x = own->x + (size_t)t * n;
        int8_t *quants = own->quants + (size_t)t * n;
        int16_t *block_sums = own->sums + (size_t)t * (n / 16);
        if (kind == RAD_ACTIVATION_Q8_32)
            kernels->quantize_q8_32(x, n, quants, own->scales + (size_t)t * (n / 32), block_sums);
        else if (kind == RAD_ACTIVATION_Q8_64)
            kernels->quantize_q8_64(x, n, quants, own->scales + (size_t)t * (n / 64), block_sums);
        else if (kind == RAD_ACTIVATION_Q8_256)
            kernels->quantize_q8_256(x, n, quants, own->scales + (size_t)t * (n / 256), block_sums);
        else if (kind == RAD_ACTIVATION_Q8_ROW)
            kernels->quantize_q8_row(x, n, quants, own->scales + t, block_sums);
        else if (kind != RAD_ACTIVATION_F32)
            return false;
    }
    return true;
}

static double dot(const float *a, const float *b, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static void add_errors(const rad_matrix *w, const rad_type_info *type, const float *y, work *own,
                       sums *out)
{
    uint32_t n = w->n_columns;
    size_t row_bytes = (size_t)(n / type->block_elements) * type->block_bytes;
    for (uint32_t r = 0; r < w->n_rows; r++) {
        type->decode(own->rows + r * row_bytes, own->values, n);
        for (uint32_t t = 0; t < TOKENS; t++) {
            double exact = dot(own->values, own->x + (size_t)t * n, n);
            double ours = (double)y[t * ROWS + r] - exact;
            double rounded = dot(own->values, own->rounded + (size_t)t * n, n) - exact;
            out->exact += exact * exact;
            out->ours += ours * ours;
            out->rounded += rounded * rounded;
        }
    }
}

static bool measure(const rad_kernels *kernels, const rad_matrix *w, work *own, totals *all)
{
    const rad_type_info *type = rad_type_find((uint32_t)w->type);
    uint32_t n = w->n_columns;
    float y[TOKENS * ROWS];
    for (int kind = 0; kind < KINDS; kind++) {
        fill(own->x, n, kind == 1);
        for (uint32_t t = 0; t < TOKENS; t++)
            round_as_llama(type, own->x + (size_t)t * n, n, own->rounded + (size_t)t * n);
        if (!quantize(kernels, type->activation, n, own))
            return false;
        rad_activations x = {.kind = type->activation,
                             .n_tokens = TOKENS,
                             .n_columns = n,
                             .values = own->x,
                             .quants = own->quants,
                             .scales = own->scales,
                             .sums = own->sums};
        kernels->product(w, &x, 0, w->n_rows, 0, TOKENS, y, ROWS, own->scratch);
        add_errors(w, type, y, own, &all->of[kind]);
    }
    all->products += (uint64_t)w->n_rows * TOKENS;
    return true;
}

static radllm_status measure_tensor(const rad_kernels *kernels, const rad_source *source,
                                    const rad_tensor *tensor, totals *all, radllm_error *error)
{
    const rad_type_info *type = rad_type_find((uint32_t)tensor->type);
    if (tensor->n_dims < 2 || type->activation == RAD_ACTIVATION_NONE ||
        tensor->dims[0] > INT32_MAX)
        return RADLLM_OK;
    uint64_t n_rows = tensor->n_elements / tensor->dims[0];
    rad_matrix w = {.type = tensor->type,
                    .layout = RAD_LAYOUT_FILE,
                    .n_rows = n_rows < ROWS ? (uint32_t)n_rows : ROWS,
                    .n_columns = (uint32_t)tensor->dims[0]};
    size_t row_bytes = (size_t)(w.n_columns / type->block_elements) * type->block_bytes;
    work own = work_new(w.n_columns, row_bytes, rad_product_scratch_bytes(&w));
    w.data = own.rows;
    radllm_status status = rad_source_read(source, tensor->part, tensor->offset, own.rows,
                                           w.n_rows * row_bytes, error);
    if (status == RADLLM_OK && !measure(kernels, &w, &own, &all[tensor->type]))
        fprintf(stderr, "product_error: %s: activations of an unknown kind\n", tensor->name.data);
    work_free(&own);
    return status;
}

static radllm_status measure_file(const rad_kernels *kernels, const char *path, totals *all,
                                  radllm_error *error)
{
    rad_source *source = NULL;
    radllm_status status = rad_source_open(NULL, path, &source, error);
    for (uint64_t i = 0; status == RADLLM_OK && i < rad_source_n_tensors(source); i++)
        status = measure_tensor(kernels, source, rad_source_tensor(source, i), all, error);
    rad_source_release(source);
    return status;
}

static double relative(double error, double exact)
{
    return exact > 0 ? sqrt(error / exact) : 0;
}

int main(int count, char **arguments)
{
    if (count < 2) {
        fprintf(stderr, "usage: product_error MODEL.gguf...\n");
        return 2;
    }
    const rad_kernels *kernels = rad_kernels_find(RAD_ISA_AVX512, false);
    totals all[N_TYPES] = {0};
    radllm_error error = {0};
    for (int i = 1; i < count; i++) {
        if (measure_file(kernels, arguments[i], all, &error) != RADLLM_OK) {
            fprintf(stderr, "product_error: %s\n", error.message);
            return 1;
        }
    }
    for (uint32_t type = 0; type < N_TYPES; type++) {
        if (all[type].products == 0)
            continue;
        printf("%s %" PRIu64, rad_type_find(type)->name, all[type].products);
        for (int kind = 0; kind < KINDS; kind++) {
            const sums *of = &all[type].of[kind];
            printf(" %.3e %.3e", relative(of->ours, of->exact), relative(of->rounded, of->exact));
        }
        printf("\n");
    }
    return 0;
}
