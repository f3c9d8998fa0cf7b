#include "cuda/cublas_double.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct handle {
    void *stream, *workspace;
    size_t workspace_bytes;
    int math_mode;
} handle;

/* What cublas_v2.h declares, with its enumerations as int and its handle as a pointer. */
int cublasCreate_v2(void **out);
int cublasDestroy_v2(void *h);
int cublasGetProperty(int type, int *value);
int cublasSetStream_v2(void *h, void *stream);
int cublasSetWorkspace_v2(void *h, void *workspace, size_t bytes);
int cublasSetMathMode(void *h, int mode);
const char *cublasGetStatusString(int status);
int cublasGemmEx(void *h, int op_a, int op_b, int m, int n, int k, const void *alpha, const void *a,
                 int type_a, int lda, const void *b, int type_b, int ldb, const void *beta, void *c,
                 int type_c, int ldc, int compute, int algorithm);

int cublasCreate_v2(void **out)
{
    if (getenv("CUBLAS_DOUBLE_FAILS") != NULL)
        return 1; /* not initialized */
    *out = calloc(1, sizeof(handle));
    return *out != NULL ? 0 : 3;
}

int cublasDestroy_v2(void *h)
{
    free(h);
    return 0;
}

int cublasGetProperty(int type, int *value)
{
    static const int version[] = {13, 4, 2};
    *value = version[type];
    return 0;
}

/* The workspace is forgotten. */
int cublasSetStream_v2(void *h, void *stream)
{
    *(handle *)h = (handle){.stream = stream, .math_mode = ((handle *)h)->math_mode};
    return 0;
}

int cublasSetWorkspace_v2(void *h, void *workspace, size_t bytes)
{
    handle *own = h;
    own->workspace = workspace;
    own->workspace_bytes = bytes;
    return (uintptr_t)workspace % 256 == 0 ? 0 : 7;
}

int cublasSetMathMode(void *h, int mode)
{
    ((handle *)h)->math_mode = mode;
    return 0;
}

const char *cublasGetStatusString(int status)
{
    static char text[32];
    snprintf(text, sizeof text, "status %d", status);
    return text;
}

/* Element (row, column) of a matrix whose columns stand behind each other. */
static float at(const void *matrix, int type, int ld, int row, int column)
{
    size_t i = (size_t)column * (size_t)ld + (size_t)row;
    if (type == 0)
        return ((const float *)matrix)[i];
    uint16_t half = ((const uint16_t *)matrix)[i];
    return type == 2 ? rad_f16_to_f32(half) : rad_bf16_to_f32(half);
}

int cublasGemmEx(void *h, int op_a, int op_b, int m, int n, int k, const void *alpha, const void *a,
                 int type_a, int lda, const void *b, int type_b, int ldb, const void *beta, void *c,
                 int type_c, int ldc, int compute, int algorithm)
{
    const handle *own = h;
    if (m == CUBLAS_DOUBLE_FAILING_ROWS)
        return 13;
    bool types = type_a == type_b && (type_a == 0 || type_a == 2 || type_a == 14) && type_c == 0;
    bool turned = op_a == 1 && op_b == 0; /* A is transposed: its columns have k numbers */
    bool strides = lda >= k && ldb >= k && ldc >= m;
    if (!types || !turned || !strides || compute != 68 || algorithm != -1 || own->math_mode != 16 ||
        own->stream == NULL || own->workspace == NULL || own->workspace_bytes == 0)
        return 7;
    float by = *(const float *)alpha, kept = *(const float *)beta, *out = c;
    for (int column = 0; column < n; column++) {
        for (int row = 0; row < m; row++) {
            float sum = 0.0f, *y = out + (size_t)column * (size_t)ldc + (size_t)row;
            for (int i = 0; i < k; i++)
                sum += at(a, type_a, lda, i, row) * at(b, type_b, ldb, i, column);
            *y = by * sum + (kept != 0.0f ? kept * *y : 0.0f);
        }
    }
    return 0;
}
