/* Adapters, and sessions that have them. */
#include "api/engine.h"
#include "api/model.h"

radllm_status radllm_adapter_open(radllm_model *model, const char *path,
                                  const radllm_options *options, radllm_adapter **out,
                                  radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(model);
    RAD_CHECK_NULL(path);
    RAD_CHECK_NULL(out);
    RAD_CHECK_PROCESS(model->process);
    if (model->model->vocabulary_only)
        return rad_fail(error, RADLLM_E_STATE,
                        "the model was loaded with vocab_only; load it with its weights");
    const rad_allocator *allocator = &model->host.allocator;
    radllm_adapter *adapter = rad_alloc_zero(allocator, sizeof *adapter);
    if (adapter == NULL)
        return rad_fail_memory(error, sizeof *adapter);
    rad_fpenv saved = rad_fpenv_enter();
    radllm_status status = rad_adapter_open(
        model->model, path, false, (uint64_t)rad_option_integer(options, RAD_OPTION_MEMORY_BUDGET),
        &adapter->adapter, error);
    rad_fpenv_leave(saved);
    if (status != RADLLM_OK) {
        rad_free(allocator, adapter, sizeof *adapter);
        return status;
    }
    adapter->model = rad_model_retain(model);
    *out = adapter;
    return RADLLM_OK;
}

void radllm_adapter_free(radllm_adapter *adapter)
{
    if (adapter == NULL)
        return;
    radllm_model *model = adapter->model;
    rad_adapter_release(adapter->adapter);
    rad_free(&model->host.allocator, adapter, sizeof *adapter);
    radllm_model_free(model);
}

radllm_status radllm_adapter_info(const radllm_adapter *adapter, radllm_adapter_facts *facts,
                                  radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(adapter);
    RAD_CHECK_NULL(facts);
    RAD_CHECK_PROCESS(adapter->model->process);
    const rad_adapter *inner = adapter->adapter;
    radllm_adapter_facts known = {.size = facts->size,
                                  .rank = inner->rank,
                                  .pairs = inner->n_pairs,
                                  .tensors = inner->n_tensors,
                                  .bytes = rad_adapter_bytes(inner),
                                  .alpha = inner->alpha};
    return rad_copy_info(facts, &known, sizeof known, error);
}

radllm_status radllm_adapter_hash(const radllm_adapter *adapter, char *buffer, size_t capacity,
                                  size_t *length, radllm_error *error)
{
    char text[2 * sizeof adapter->adapter->digest];
    rad_error_clear(error);
    RAD_CHECK_NULL(adapter);
    RAD_CHECK_PROCESS(adapter->model->process);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "0123456789abcdef"[adapter->adapter->digest[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15];
    return rad_copy_out(text, sizeof text, buffer, capacity, length, error);
}

radllm_status radllm_session_set_adapters(radllm_session *session, radllm_adapter *const *adapters,
                                          const float *scales, size_t count, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(session);
    if (adapters == NULL && count != 0)
        return rad_fail_null(error, "adapters");
    radllm_status status = rad_session_check_idle(session, error);
    rad_adapter_set wanted = {0};
    for (size_t i = 0; i < count && status == RADLLM_OK; i++) {
        if (adapters[i] == NULL)
            status = rad_fail_null(error, "adapters");
        else if (adapters[i]->model != session->engine->model)
            status = rad_fail(error, RADLLM_E_ARGUMENT,
                              "adapter %zu was opened for another model than the session's; open "
                              "it for this one",
                              i);
        else
            status = rad_adapter_set_add(&wanted, adapters[i]->adapter,
                                         scales != NULL ? scales[i] : 1.0f, error);
    }
    if (status == RADLLM_OK)
        status = rad_session_set_adapters(session->session, &wanted, error);
    rad_adapter_set_clear(&wanted);
    return status;
}
