/* Writes a GGUF model again with its matrices in another number format, for the tests of formats:
 * as radllm-quantize does, by the same functions, but a type stands for itself where the program
 * has a mixture.
 *
 *   requantize IN.gguf OUT.gguf TYPE
 *
 * TYPE is a type that the library encodes (F32, Q4_0, Q4_K, ...: all matrices get it), or one of
 * the mixtures Q4_K_M and Q5_K_M.
 */
#include <stdio.h>
#include <string.h>

#include "radllm/radllm.h"

/* The kind of file, and whether all matrices get its type. */
static const char *file_type(const char *type, const char **pure)
{
    static const char *const names[][2] = {
        {"Q2_K", "Q2_K_S"}, {"Q3_K", "Q3_K_S"}, {"Q4_K", "Q4_K_S"}, {"Q5_K", "Q5_K_S"}};
    *pure = strcmp(type, "Q4_K_M") == 0 || strcmp(type, "Q5_K_M") == 0 ? "0" : "1";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(type, names[i][0]) == 0)
            return names[i][1];
    return type;
}

static radllm_status run(char **arguments, radllm_error *error)
{
    radllm_options *options = NULL;
    radllm_file *file = NULL;
    radllm_quantization *plan = NULL;
    const char *pure, *type = file_type(arguments[3], &pure);
    radllm_status status = radllm_options_new(NULL, &options, error);
    if (status == RADLLM_OK)
        status = radllm_options_set_text(options, "quantize", type, RADLLM_NUL, error);
    if (status == RADLLM_OK)
        status = radllm_options_set_text(options, "quantize_pure", pure, RADLLM_NUL, error);
    if (status == RADLLM_OK)
        status = radllm_options_set_integer(options, "quantize_again", 1, error);
    if (status == RADLLM_OK)
        status = radllm_file_open(NULL, arguments[1], &file, error);
    if (status == RADLLM_OK)
        status = radllm_quantization_new(NULL, file, NULL, options, &plan, error);
    if (status == RADLLM_OK)
        status = radllm_quantization_write(plan, arguments[2], NULL, error);
    radllm_quantization_free(plan);
    radllm_file_free(file);
    radllm_options_free(options);
    return status;
}

int main(int count, char **arguments)
{
    radllm_error *error = NULL;
    if (count != 4) {
        fprintf(stderr, "usage: requantize IN.gguf OUT.gguf TYPE\n");
        return 2;
    }
    if (radllm_error_new(&error) != RADLLM_OK)
        return 1;
    radllm_status status = run(arguments, error);
    if (status != RADLLM_OK)
        fprintf(stderr, "requantize: %s\n", radllm_error_message(error));
    radllm_error_free(error);
    return status == RADLLM_OK ? 0 : 1;
}
