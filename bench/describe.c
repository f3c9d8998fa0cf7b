/* What a model is, as far as speeds depend on it: types, bytes that a token reads, numbers that it
 * multiplies. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/program.h"

static void copy_text(const radllm_model *model, const char *name, char *out, size_t capacity)
{
    char *text = model_text(model, name);
    snprintf(out, capacity, "%s", text);
    free(text);
}

/* `share`: of the tensor's rows that one token needs. */
static void count_weight(bench_model *model, const radllm_tensor_info *info, double share,
                         bool head)
{
    model->token_bytes += (double)info->bytes * share;
    if (info->n_dims < 2)
        return;
    bool plain = strcmp(info->type, "F32") == 0 || strcmp(info->type, "F16") == 0 ||
                 strcmp(info->type, "BF16") == 0;
    double elements = share;
    for (uint32_t d = 0; d < info->n_dims && d < 4; d++)
        elements *= (double)info->dims[d];
    model->token_macs += elements;
    model->token_float_macs += plain ? elements : 0;
    model->prompt_macs += head ? 0 : elements;
    model->prompt_float_macs += plain && !head ? elements : 0;
}

/* One stack of all experts, or a tensor for each: blk.3.ffn_up_exps.weight, blk.3.ffn_up.5.weight.
 */
static bool is_of_experts(const char *name)
{
    int end = 0;
    if (strstr(name, "_exps.") != NULL)
        return true;
    return sscanf(name, "blk.%*u.ffn_%*[a-z].%*u.weight%n", &end) == 0 && end > 0;
}

/* Sums over the tensors: what is read and multiplied per token. Of a table of embeddings one row is
 * read; where it also serves as output it is multiplied whole. Of a stack of experts those are
 * counted that a token goes to. */
static void count_weights(const radllm_file *file, bench_model *model, const char *architecture,
                          double experts_share)
{
    uint64_t count = 0;
    check(radllm_file_number(file, "tensors", &count, program_error()), NULL);
    bool tied = true;
    char names[16][16];
    uint64_t bytes[16] = {0};
    size_t n_types = 0;
    radllm_tensor_info info = {.size = sizeof info};
    for (uint64_t i = 0; i < count; i++) {
        check(radllm_file_tensor(file, i, &info, program_error()), NULL);
        tied = tied && strcmp(info.name, "output.weight") != 0;
    }
    for (uint64_t i = 0; i < count; i++) {
        check(radllm_file_tensor(file, i, &info, program_error()), NULL);
        bool table = strcmp(info.name, "token_embd.weight") == 0;
        bool head = strcmp(info.name, "output.weight") == 0 || (table && tied);
        if (!table || tied)
            count_weight(model, &info, is_of_experts(info.name) ? experts_share : 1, head);
        size_t at = 0;
        while (at < n_types && strcmp(names[at], info.type) != 0)
            at++;
        if (at == n_types && n_types < 16)
            snprintf(names[n_types++], sizeof names[0], "%s", info.type);
        if (at < n_types)
            bytes[at] += info.bytes;
    }
    size_t best = 0;
    for (size_t i = 1; i < n_types; i++)
        best = bytes[i] > bytes[best] ? i : best;
    snprintf(model->type, sizeof model->type, "%s %s", architecture,
             n_types != 0 ? names[best] : "");
}

void describe_model(const runtime *run, const radllm_file *file, bench_model *model)
{
    char architecture[48];
    copy_text(run->model, "architecture", architecture, sizeof architecture);
    copy_text(run->model, "isa", model->isa, sizeof model->isa);
    copy_text(run->model, "layout", model->layout, sizeof model->layout);
    model->parameters = model_number(run->model, "parameters");
    model->attention_macs = 2.0 * (double)model_number(run->model, "layers") *
                            (double)model_number(run->model, "heads") *
                            (double)model_number(run->model, "head_dim");
    check(radllm_file_number(file, "bytes", &model->file_bytes, program_error()), NULL);
    double experts = (double)model_number(run->model, "experts");
    double used = (double)model_number(run->model, "experts_used");
    count_weights(file, model, architecture, experts > 0 ? used / experts : 1);
}
