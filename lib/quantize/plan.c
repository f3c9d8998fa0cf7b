/* Which tensor gets which type, and what that takes. */
#include "quantize/quantize.h"

#include <inttypes.h>
#include <string.h>

#include "base/platform.h"
#include "io/derived.h"
#include "quantize/image.h"
#include "quantize/merged.h"

/* ---- overrides ----------------------------------------------------------------------------------
 */

/* '*' stands for any text, '?' for one character; no recursion, time at most the product of the
 * lengths. */
static bool matches(rad_text pattern, const char *text, size_t size)
{
    size_t p = 0, t = 0, star = SIZE_MAX, resume = 0;
    while (t < size) {
        if (p < pattern.size && pattern.data[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.size && (pattern.data[p] == '?' || pattern.data[p] == text[t])) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.size && pattern.data[p] == '*')
        p++;
    return p == pattern.size;
}

static bool rule_fits(const rad_quantize_rule *rule, const rad_tensor *tensor)
{
    size_t size = tensor->name.size, ending = strlen(".weight");
    if (matches(rule->pattern, tensor->name.data, size))
        return true;
    return size > ending && strcmp(tensor->name.data + size - ending, ".weight") == 0 &&
           matches(rule->pattern, tensor->name.data, size - ending);
}

static bool find_type(rad_text name, rad_type *out)
{
    for (uint32_t type = 0; type < 64; type++) {
        const rad_type_info *info = rad_type_find(type);
        if (info == NULL || info->encode == NULL || info->tail_bytes != 0 ||
            strlen(info->name) != name.size)
            continue;
        size_t i = 0;
        while (i < name.size &&
               (name.data[i] == info->name[i] || (name.data[i] >= 'a' && name.data[i] <= 'z' &&
                                                  name.data[i] - 'a' + 'A' == info->name[i])))
            i++;
        if (i == name.size) {
            *out = (rad_type)type;
            return true;
        }
    }
    return false;
}

static radllm_status read_rule(rad_text text, rad_quantize_rule *rule, radllm_error *error)
{
    char quoted[RAD_QUOTE_SIZE];
    size_t at = text.size;
    while (at > 0 && text.data[at - 1] != '=')
        at--;
    *rule = (rad_quantize_rule){.pattern = {text.data, at > 0 ? at - 1 : 0}};
    if (rule->pattern.size == 0)
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "\"%s\" is not PATTERN=TYPE, \"blk.*.ffn_down=Q6_K\" for example",
                        rad_quote(quoted, text.data, text.size));
    if (!find_type((rad_text){text.data + at, text.size - at}, &rule->type))
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "\"%s\" names no type that can be written; tensors can become F32, F16, "
                        "BF16, Q8_0, Q6_K, Q5_K, Q5_1, Q5_0, Q4_K, IQ4_NL, IQ4_XS, MXFP4, NVFP4, "
                        "Q4_1, Q4_0, Q3_K, Q2_K, TQ2_0, TQ1_0, Q2_0 or Q1_0",
                        rad_quote(quoted, text.data, text.size));
    return RADLLM_OK;
}

static bool is_float_type(rad_type type)
{
    return rad_type_find((uint32_t)type)->family == RAD_FAMILY_FLOAT;
}

/* The last rule that fits a tensor; NULL: none. All that fit count as used. Vectors, routers and
 * such, which programs read in no blocks, are not meant by patterns that fit matrices as well. */
static const rad_quantize_rule *use_rules(rad_quantize_rule *rules, size_t n,
                                          const rad_tensor *tensor)
{
    const rad_quantize_rule *found = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!rule_fits(&rules[i], tensor) ||
            (!rad_mixture_applies(tensor) && !is_float_type(rules[i].type)))
            continue;
        rules[i].used = true;
        found = &rules[i];
    }
    return found;
}

/* ---- types --------------------------------------------------------------------------------------
 */

typedef struct planner {
    const rad_quantize_settings *settings;
    rad_mixture_model model;
    bool gguf; /* the source is such a file already */
    rad_quantize_rule *rules;
    /* Of each list, the tensors in layers before layer i; n_layers + 1. */
    uint64_t *before[RAD_MIXTURE_LISTS];
    radllm_error *error;
} planner;

static bool is_float(const rad_tensor *tensor)
{
    return is_float_type(tensor->type);
}

/* The tensor before adapters change it. */
static const rad_tensor *own_tensor(const rad_tensor *tensor)
{
    return rad_derived_is_changed(tensor) ? rad_derived_origin(tensor) : tensor;
}

static rad_type wanted_type(planner *p, const rad_tensor *tensor, const rad_quantize_rule *rule)
{
    const rad_file_type *file = p->settings->file_type;
    if (rule != NULL)
        return rule->type;
    if (!p->gguf && !rad_mixture_applies(tensor) && is_float(tensor))
        return RAD_TYPE_F32; /* vectors and routers, as readers of GGUF expect them */
    if (file->copy || !rad_mixture_applies(tensor))
        return own_tensor(tensor)->type;
    if (p->settings->pure)
        return file->type;
    int64_t layer = rad_mixture_layer(tensor);
    layer = layer < 0 ? 0 : layer > p->model.n_layers ? p->model.n_layers : layer;
    int list = rad_mixture_list(tensor);
    return rad_mixture_type(file, &p->model, tensor,
                            list < 0 ? layer : (int64_t)p->before[list][layer]);
}

static radllm_status check_conversion(const planner *p, const rad_tensor *tensor, rad_type type)
{
    /* Of a folder: as it stands there. */
    const rad_type_info *from = rad_type_find((uint32_t)rad_derived_root(tensor)->type);
    const rad_type_info *to = rad_type_find((uint32_t)type);
    char quoted[RAD_QUOTE_SIZE];
    rad_quote(quoted, tensor->name.data, tensor->name.size);
    bool changed = rad_derived_is_changed(tensor);
    if (changed && (to->encode == NULL || to->tail_bytes != 0))
        return rad_fail(p->error, RADLLM_E_UNSUPPORTED,
                        "the tensor '%s' is of type %s, which this version does not write, and an "
                        "adapter changes it: ask for a type, Q4_K_M or BF16 for example (option "
                        "quantize; --type of radllm-convert)",
                        quoted, to->name);
    if (from->decode == NULL || to->encode == NULL)
        return rad_fail(
            p->error, RADLLM_E_UNSUPPORTED,
            "the tensor '%s' of type %s cannot be written as %s: this version does "
            "not know the numbers of the one or the other; fetch the model in another form",
            quoted, from->name, to->name);
    bool again = from->family != RAD_FAMILY_FLOAT && to->family != RAD_FAMILY_FLOAT;
    if (changed && type == own_tensor(tensor)->type)
        again = false; /* merging asks for it */
    if (again && !p->settings->again)
        return rad_fail(p->error, RADLLM_E_ARGUMENT,
                        "the tensor '%s' is quantized already, in %s: quantizing it again, to %s, "
                        "loses more than quantizing the original file does. Take the F32, F16 or "
                        "BF16 file, or ask for it (option quantize_again; --allow-requantize of "
                        "radllm-quantize)",
                        quoted, from->name, to->name);
    return RADLLM_OK;
}

static radllm_status find_importance(const planner *p, const rad_tensor *tensor,
                                     const rad_importance_entry **out)
{
    const rad_importance_entry *entry =
        rad_importance_find(p->settings->importance, tensor->name.data);
    *out = entry;
    if (entry == NULL)
        return RADLLM_OK;
    /* Matrices stand one behind the other, with or without their number; one is for all. */
    uint64_t n = entry->n_columns * entry->n_matrices, columns = tensor->dims[0];
    if (n == columns || (n % columns == 0 && n / columns == tensor->dims[2] &&
                         (entry->n_matrices == 1 || entry->n_columns == columns)))
        return RADLLM_OK;
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(p->error, RADLLM_E_ARGUMENT,
                    "the matrix of importance is of another model: for the tensor '%s', of %" PRIu64
                    " columns and %" PRIu64 " matrices, it has %" PRIu64 " columns and %" PRIu32
                    " matrices",
                    rad_quote(quoted, tensor->name.data, tensor->name.size), tensor->dims[0],
                    tensor->dims[2], entry->n_columns, entry->n_matrices);
}

static radllm_status plan_tensor(planner *p, const rad_tensor *tensor, rad_quantized_tensor *out)
{
    const rad_quantize_rule *rule = use_rules(p->rules, p->settings->n_overrides, tensor);
    rad_type wanted = wanted_type(p, tensor, rule);
    const rad_tensor *origin = rad_derived_root(tensor);
    if (p->settings->file_type->copy && rule == NULL && origin != tensor &&
        rad_tensor_is_own(origin)) {
        char quoted[RAD_QUOTE_SIZE];
        return rad_fail(
            p->error, RADLLM_E_ARGUMENT,
            "the tensor '%s' is %s as a folder or BitNet has it, which is not converted as it "
            "is: ask for a type, BF16 for example (option quantize; --type of "
            "radllm-convert)",
            rad_quote(quoted, tensor->name.data, tensor->name.size),
            rad_type_find((uint32_t)origin->type)->name);
    }
    *out = (rad_quantized_tensor){
        .from = tensor, .own = own_tensor(tensor), .type = wanted, .n_bytes = tensor->n_bytes};
    if (wanted == tensor->type)
        return RADLLM_OK;
    out->type = rad_mixture_fitting(wanted, tensor->dims[0]);
    out->fallback = out->type != wanted;
    if (out->type == tensor->type)
        return RADLLM_OK;
    radllm_status status = check_conversion(p, tensor, out->type);
    const rad_type_info *to = rad_type_find((uint32_t)out->type);
    if (status == RADLLM_OK && to->family != RAD_FAMILY_FLOAT)
        status = find_importance(p, tensor, &out->importance);
    /* Types of files need at most as many bytes as they have elements times four. */
    if (status == RADLLM_OK &&
        !rad_mul_u64(tensor->n_elements / to->block_elements, to->block_bytes, &out->n_bytes))
        status = rad_fail_memory(p->error, SIZE_MAX);
    return status;
}

static void count_lists(const rad_source *source, planner *p)
{
    int64_t n = p->model.n_layers;
    for (uint64_t i = 0; i < rad_source_n_tensors(source); i++) {
        const rad_tensor *tensor = rad_source_tensor(source, i);
        int64_t layer = rad_mixture_layer(tensor);
        int list = rad_mixture_list(tensor);
        if (layer >= 0 && layer < n && list >= 0)
            p->before[list][layer + 1]++;
    }
    for (int list = 0; list < RAD_MIXTURE_LISTS; list++)
        for (int64_t i = 0; i < n; i++)
            p->before[list][i + 1] += p->before[list][i];
}

static radllm_status check_rules_used(const planner *p)
{
    for (size_t i = 0; i < p->settings->n_overrides; i++) {
        char quoted[RAD_QUOTE_SIZE];
        if (!p->rules[i].used)
            return rad_fail(
                p->error, RADLLM_E_ARGUMENT,
                "no %s has a name that fits the pattern \"%s\"; '*' stands for any text, "
                "'?' for one character, and the whole name must fit",
                is_float_type(p->rules[i].type) ? "tensor" : "matrix that is quantized",
                rad_quote(quoted, p->rules[i].pattern.data, p->rules[i].pattern.size));
    }
    return RADLLM_OK;
}

static radllm_status plan_all(planner *p, rad_quantize_plan *plan)
{
    count_lists(plan->source, p);
    radllm_status status = RADLLM_OK;
    for (size_t i = 0; i < p->settings->n_overrides && status == RADLLM_OK; i++)
        status = read_rule(p->settings->overrides[i], &p->rules[i], p->error);
    for (size_t i = 0; i < plan->n_tensors && status == RADLLM_OK; i++) {
        const rad_tensor *tensor = rad_source_tensor(plan->source, i);
        status = plan_tensor(p, tensor, &plan->tensors[i]);
        plan->n_elements += tensor->n_elements;
        plan->bytes_from += own_tensor(tensor)->n_bytes;
        plan->bytes_to += plan->tensors[i].n_bytes;
    }
    return status == RADLLM_OK ? check_rules_used(p) : status;
}

radllm_status rad_quantize_plan_make(const rad_host *host, rad_source *source,
                                     const rad_quantize_settings *settings, rad_quantize_plan *plan,
                                     radllm_error *error)
{
    *plan = (rad_quantize_plan){.host = *host,
                                .importance = settings->importance,
                                .file_type = settings->file_type,
                                .n_threads = settings->n_threads};
    radllm_status status =
        rad_image_make(&plan->host, source, &plan->source, &plan->no_file, error);
    if (status == RADLLM_OK && settings->adapters != NULL) {
        status = rad_merged_make(&plan->host, settings, &plan->source, &plan->merged, error);
        if (status != RADLLM_OK)
            rad_quantize_plan_free(plan);
    }
    if (status != RADLLM_OK)
        return status;
    plan->n_tensors = (size_t)rad_source_n_tensors(plan->source);
    planner p = {.settings = settings, .gguf = rad_source_is_gguf(source), .error = error};
    rad_arena arena = {.allocator = &plan->host.allocator};
    status = rad_mixture_model_read(plan->source, settings->importance != NULL, &p.model, error);
    if (status == RADLLM_OK && plan->n_tensors == 0)
        status = rad_fail(error, RADLLM_E_ARGUMENT, "%s holds no tensors; name a file of a model",
                          rad_source_label(source));
    if (status == RADLLM_OK) {
        size_t bytes = plan->n_tensors * sizeof *plan->tensors;
        size_t before = ((size_t)p.model.n_layers + 1) * sizeof *p.before[0];
        plan->tensors = rad_alloc_zero(&plan->host.allocator, bytes);
        p.before[0] = rad_arena_alloc_zero(&arena, RAD_MIXTURE_LISTS * before, 8);
        p.rules = rad_arena_alloc_zero(&arena, (settings->n_overrides + 1) * sizeof *p.rules, 8);
        if (plan->tensors == NULL || p.before[0] == NULL || p.rules == NULL)
            status = rad_fail_memory(error, bytes + before);
        else
            p.before[1] = p.before[0] + p.model.n_layers + 1;
    }
    if (status == RADLLM_OK)
        status = plan_all(&p, plan);
    rad_arena_free(&arena);
    if (status != RADLLM_OK)
        rad_quantize_plan_free(plan);
    return status;
}

void rad_quantize_plan_free(rad_quantize_plan *plan)
{
    if (plan->source == NULL)
        return;
    rad_free(&plan->host.allocator, plan->tensors, plan->n_tensors * sizeof *plan->tensors);
    rad_source_release(plan->source);
    rad_merged_free(plan->merged);
    plan->merged = NULL;
    plan->source = NULL;
    plan->tensors = NULL;
}
