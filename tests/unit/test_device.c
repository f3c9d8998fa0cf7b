/* The option device where there is no libradllm-cuda.so beside the library, and objects that are
 * none of it. With one: tests/cuda. */
#include <string.h>

#include "backend/cuda/cuda_open.h"
#include "unit/opened.h"

static const char *model_path(void)
{
    return rad_test_source_path("tests/golden/architectures/llama3-gqa-tied-q8_0.gguf");
}

static radllm_options *options_with(const char *device)
{
    radllm_options *options = NULL;
    radllm_error error = {.status = RADLLM_OK};
    rad_assert_ok(radllm_options_new(NULL, &options, &error), &error);
    rad_assert_ok(radllm_options_set_text(options, "device", device, RADLLM_NUL, &error), &error);
    return options;
}

static void check_text(const radllm_engine *engine, const char *name, const char *expected)
{
    char text[256];
    radllm_error error = {.status = RADLLM_OK};
    rad_assert_ok(radllm_engine_text(engine, name, text, sizeof text, NULL, &error), &error);
    ck_assert_str_eq(text, expected);
}

START_TEST(without_the_object_the_cpu_computes)
{
    static const char *const devices[] = {"auto", "cpu"};
    for (int i = 0; i < 2; i++) {
        radllm_options *options = options_with(devices[i]);
        opened o = open_file(model_path(), options);
        int64_t layers = -1;
        check_text(o.engine, "device", "cpu");
        check_text(o.engine, "placement", "2 layers and output on cpu");
        rad_assert_ok(radllm_engine_number(o.engine, "gpu_layers", &layers, o.error), o.error);
        ck_assert_int_eq(layers, 0);
        close_file(&o);
        radllm_options_free(options);
    }
}
END_TEST

START_TEST(cuda_is_refused_without_the_object)
{
    radllm_error error = {.status = RADLLM_OK};
    radllm_options *options = options_with("cuda");
    radllm_model *model = NULL;
    radllm_engine *engine = NULL;
    radllm_plan *plan = NULL;
    radllm_file *file = NULL;
    rad_assert_ok(radllm_file_open(NULL, model_path(), &file, &error), &error);
    rad_assert_error(radllm_plan_new(file, options, &plan, &error), RADLLM_E_UNSUPPORTED, &error,
                     "libradllm-cuda.so");
    radllm_file_free(file);
    rad_assert_ok(radllm_model_open(NULL, model_path(), options, NULL, &model, &error), &error);
    rad_assert_error(radllm_engine_new(NULL, model, options, &engine, &error), RADLLM_E_UNSUPPORTED,
                     &error, "device to cpu");
    radllm_options_free(options);
    options = options_with("cpu"); /* what was loaded for a GPU serves the CPU too */
    rad_assert_ok(radllm_engine_new(NULL, model, options, &engine, &error), &error);
    radllm_engine_free(engine);
    radllm_model_free(model);
    radllm_options_free(options);
}
END_TEST

START_TEST(other_objects_are_refused)
{
    const rad_cuda_table *table = NULL;
    radllm_error error = {.status = RADLLM_OK};
    rad_assert_error(rad_cuda_open_path("libradllm-cuda.so", &table, &error), RADLLM_E_ARGUMENT,
                     &error, "absolute");
    rad_assert_error(rad_cuda_open_path(OTHER_BUILD_PATH, &table, &error), RADLLM_E_UNSUPPORTED,
                     &error, "comes from build");
    rad_assert_error(rad_cuda_open_path(OTHER_PATH, &table, &error), RADLLM_E_UNSUPPORTED, &error,
                     "not a libradllm-cuda.so");
    char text[] = "no object";
    const char *path = rad_test_temp_path("libradllm-cuda.so");
    rad_test_write_file(path, text, sizeof text);
    rad_assert_error(rad_cuda_open_path(path, &table, &error), RADLLM_E_UNSUPPORTED, &error,
                     "cannot open");
    ck_assert(table == NULL);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "device");
    tcase_add_test(cases, without_the_object_the_cpu_computes);
    tcase_add_test(cases, cuda_is_refused_without_the_object);
    tcase_add_test(cases, other_objects_are_refused);
}

int main(void)
{
    return rad_test_main("device", add_cases);
}
