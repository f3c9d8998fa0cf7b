/* Model files that must be refused. */
#ifndef RAD_TEST_REFUSED_H
#define RAD_TEST_REFUSED_H

#include "radllm/radllm.h"
#include "unit/gguf_builder.h"
#include "unit/harness.h"

/* Writes the model, which must be refused with this status and a message that has `part` in it. */
static inline void refuse(gguf_builder *file, radllm_status expected, const char *part)
{
    radllm_error *error;
    radllm_model *model = NULL;
    radllm_file *opened = NULL;
    const char *path = rad_test_temp_path("model.gguf");
    gguf_write(file, path);
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    radllm_status status = radllm_model_open(NULL, path, NULL, NULL, &model, error);
    rad_assert_error(status, expected, error, part);
    ck_assert_ptr_null(model);
    /* The check without loading finds the same. */
    if (radllm_file_open(NULL, path, &opened, error) == RADLLM_OK) {
        rad_assert_error(radllm_file_check_model(opened, error), expected, error, part);
        radllm_file_free(opened);
    }
    radllm_error_free(error);
    gguf_builder_free(file);
}

#endif
