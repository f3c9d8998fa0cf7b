/* How many layers are on which GPU: each takes those that have room behind the GPU before, and no
 * more GPUs are used than have to be. */
#include "backend/cuda/cuda.h"
#include "backend/cuda/half.h"

#include <stdio.h>
#include <string.h>

/* What is left free where the budget is all that there is: kernels' code is loaded when they are
 * first launched, and graphs take some. Up to 5 MiB were seen on an H100. */
#define LATE_BYTES ((uint64_t)32 << 20)

/* A placement being made. */
typedef struct placing {
    rad_cuda *cuda;
    const rad_cuda_request *request;
    const rad_program *program;
    rad_cuda_means means; /* of the GPU at hand */
    uint32_t all;         /* layers of the model */
    bool head;            /* and a product behind them */
    uint32_t n_opened;
    uint64_t *bytes; /* of each layer's weights, and behind them of the head's: [all + 1] */
    bool *seen;      /* by rad_weight.order */
    bool *on_device; /* by operation */
    bool incapable;  /* what stopped it is no want of room */
} placing;

/* ---- what layers take ---------------------------------------------------------------------------
 */

static void weigh(placing *p, size_t part, const rad_weight *weight)
{
    if (weight == NULL || p->seen[weight->order])
        return;
    p->seen[weight->order] = true;
    p->bytes[part] += rad_cuda_weight_bytes(p->means.library, weight);
}

/* From a layer on. Weights that several operations use count where they are met first. */
static void weigh_from(placing *p, uint32_t first, bool experts_here)
{
    uint32_t end = rad_cuda_end_of_layers(p->program);
    rad_cuda_share rest = {.first_layer = first, .n_layers = p->all - first, .output = true};
    memset(p->seen, 0, p->program->model->n_weights);
    memset(p->bytes, 0, (p->all + 1) * sizeof *p->bytes);
    rad_cuda_divide(&p->means, p->program, &rest, experts_here, p->on_device);
    for (uint32_t i = 0; i < p->program->n_ops; i++) {
        const rad_op *op = &p->program->ops[i];
        if (!p->on_device[i])
            continue;
        weigh(p, i < end ? op->layer : p->all, op->weight);
        weigh(p, i < end ? op->layer : p->all, op->bias);
    }
}

/* Fills in the sums for a number of layers. */
static void sum_up(const placing *p, rad_cuda_share *share)
{
    const rad_cache_plan *cache = p->request->cache;
    rad_cuda_bytes *b = &share->bytes;
    b->weights = share->output ? p->bytes[p->all] : 0;
    for (uint32_t l = 0; l < share->n_layers; l++)
        b->weights += p->bytes[share->first_layer + l];
    b->cache = 0;
    for (uint32_t g = 0; g < cache->n_groups; g++) {
        uint64_t first, used;
        b->cache += cache->groups[g].n_pages * rad_cuda_page_part(p->means.library, cache,
                                                                  &p->program->model->hparams,
                                                                  share, g, &first, &used);
    }
    b->total = b->weights + b->cache + b->activations + b->context + b->libraries;
}

/* ---- one GPU ------------------------------------------------------------------------------------
 */

/* Without which a layer is of no use on the device. */
static bool must_be_there(const rad_op *op)
{
    return op->kind == RAD_OP_STORE || op->kind == RAD_OP_ATTEND || op->kind == RAD_OP_PRODUCT;
}

/* The first layer from `first` on that the device cannot compute, or all; what is missing for it.
 */
static uint32_t computable(const placing *p, uint32_t first, char why[RAD_CUDA_TEXT])
{
    uint32_t end = rad_cuda_end_of_layers(p->program);
    for (uint32_t i = rad_cuda_first_of_layers(p->program); i < end; i++) {
        const rad_op *op = &p->program->ops[i];
        char text[RAD_CUDA_TEXT];
        if (op->layer < first || !must_be_there(op))
            continue;
        const char *missing = rad_cuda_missing(&p->means, op, text);
        if (missing == NULL)
            continue;
        snprintf(why, RAD_CUDA_TEXT, "the device has no %s yet", missing);
        return op->layer;
    }
    return p->all;
}

static radllm_status describe(placing *p, const rad_cuda_gpu *gpu, rad_cuda_share *share,
                              radllm_error *error)
{
    const rad_cuda_properties *properties = &gpu->device->properties;
    uint64_t limit = p->request->limits[gpu->place], room = gpu->free_at_open + gpu->context_bytes;
    room -= gpu->free_at_open < LATE_BYTES ? gpu->free_at_open : LATE_BYTES;
    rad_cuda_layout layout;
    p->means.properties = properties;
    if (!rad_cuda_lay_out(&p->means, p->program, p->request->settings, &layout))
        return rad_fail(error, RADLLM_E_LIMIT,
                        "context, sessions and batch together exceed what can be addressed; lower "
                        "one of them");
    *share = (rad_cuda_share){
        .number = gpu->number,
        .limit = limit != 0 && limit < room ? limit : room,
        .bytes = {.activations = layout.total + rad_cuda_adapter_bytes(&p->means.model->hparams,
                                                                       p->request->settings),
                  .context = gpu->context_bytes,
                  .libraries = gpu->library_bytes,
                  .memory = properties->bytes}};
    rad_quote(share->device, properties->name, strnlen(properties->name, sizeof properties->name));
    return RADLLM_OK;
}

/* Layers of the program that are wanted on GPUs, and whether the head is. */
static uint32_t wanted(const placing *p, bool *output)
{
    int64_t asked = p->request->n_layers;
    *output = p->head && (asked < 0 || asked > (int64_t)p->all);
    return asked >= 0 && asked < (int64_t)p->all ? (uint32_t)asked : p->all;
}

static bool is_done(const placing *p, const rad_cuda_placement *out)
{
    bool output;
    return out->n_layers == wanted(p, &output) && out->output == output;
}

/* The share with the next layer, or the head behind the last one; false where there is no more. */
static bool grow(const placing *p, uint32_t most, rad_cuda_share *share)
{
    bool output;
    uint32_t end = share->first_layer + share->n_layers, layers = wanted(p, &output);
    if (end < layers && end < most)
        share->n_layers++;
    else if (end == p->all && output && !share->output)
        share->output = true;
    else
        return false;
    sum_up(p, share);
    return true;
}

static radllm_status too_small(const rad_cuda_share *share, uint32_t layers, radllm_error *error)
{
    const rad_cuda_bytes *b = &share->bytes;
    return rad_fail(error, RADLLM_E_BUDGET,
                    "device=cuda: %u layer%s need%s %llu bytes on the device (weights %llu, cache "
                    "%llu, activations %llu, driver %llu, libraries %llu), more than the %llu "
                    "there are (option vram_limit); lower context, sessions or batch, or set "
                    "device=cpu",
                    layers, layers == 1 ? "" : "s", layers == 1 ? "s" : "",
                    (unsigned long long)b->total, (unsigned long long)b->weights,
                    (unsigned long long)b->cache, (unsigned long long)b->activations,
                    (unsigned long long)b->context, (unsigned long long)b->libraries,
                    (unsigned long long)share->limit);
}

/* As many layers as have room, behind those that are placed, or as many as were asked for. */
static radllm_status fill(placing *p, const rad_cuda_gpu *gpu, rad_cuda_placement *out,
                          rad_cuda_share *refused, radllm_error *error)
{
    rad_cuda_share share, more;
    radllm_status status = describe(p, gpu, &share, error);
    if (status != RADLLM_OK)
        return status;
    share.first_layer = out->n_layers;
    weigh_from(p, share.first_layer, out->experts_here);
    uint32_t most = computable(p, share.first_layer, out->reason);
    p->incapable = most < p->all;
    int64_t own = p->request->split[gpu->place];
    if (own >= 0 && own < (int64_t)(most - share.first_layer))
        most = share.first_layer + (uint32_t)own;
    for (more = share; grow(p, most, &more); share = more) {
        if (more.bytes.total <= share.limit)
            continue;
        if (own >= 0 && more.n_layers > share.n_layers)
            return too_small(&more, more.n_layers, error);
        if (out->n_gpus == 0)
            *refused = more;
        p->incapable = false;
        snprintf(out->reason, sizeof out->reason, "the device has room for %llu bytes",
                 (unsigned long long)share.limit);
        break;
    }
    if (share.n_layers == 0 && !share.output)
        return RADLLM_OK;
    out->gpus[out->n_gpus++] = share;
    out->n_layers += share.n_layers;
    out->output = share.output;
    return RADLLM_OK;
}

/* ---- all GPUs -----------------------------------------------------------------------------------
 */

/* What was asked for has no place. refused: what had no room on the first GPU, at least one layer.
 */
static radllm_status refuse(placing *p, const rad_cuda_placement *out, rad_cuda_share *refused,
                            radllm_error *error)
{
    bool output;
    uint32_t layers = wanted(p, &output);
    if (p->incapable && out->n_layers == 0)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "device=cuda: this model cannot be computed on the device: %s; set the "
                        "option device to cpu",
                        out->reason);
    if (p->incapable)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "device=cuda: gpu_layers=%u was asked for: %s; set it to %u or less",
                        layers, out->reason, out->n_layers);
    if (p->request->n_layers < 0)
        return too_small(refused, 1, error);
    if (out->n_gpus > 1)
        return rad_fail(error, RADLLM_E_BUDGET,
                        "device=cuda: gpu_layers=%lld was asked for, and %u GPUs have room for %u "
                        "layers%s (options vram_limit and vram_limits)",
                        (long long)p->request->n_layers, out->n_gpus, out->n_layers,
                        out->output ? " and the output" : "");
    refused->n_layers = layers;
    refused->output = output;
    weigh_from(p, 0, out->experts_here);
    sum_up(p, refused);
    return too_small(refused, layers, error);
}

/* ---- gpu_split ----------------------------------------------------------------------------------
 */

/* Whether what was asked of each GPU can be: of so many layers, by GPUs that there are. */
static radllm_status check_split(const placing *p, radllm_error *error)
{
    const rad_cuda_request *request = p->request;
    const uint32_t n_gpus = p->cuda->choice.n;
    bool output, free_ones = false;
    uint32_t layers = wanted(p, &output);
    int64_t sum = 0;
    for (uint32_t k = 0; k < RAD_CUDA_GPUS; k++) {
        free_ones = free_ones || (k < n_gpus && request->split[k] < 0);
        if (k >= n_gpus && request->split[k] > 0)
            return rad_fail(error, RADLLM_E_ARGUMENT,
                            "device=cuda: gpu_split asks for %lld layers on GPU %u of the list, "
                            "which has %u (option gpus; without it, all that the driver knows)",
                            (long long)request->split[k], k + 1, n_gpus);
        sum += request->split[k] > 0 ? request->split[k] : 0;
    }
    if (sum <= (int64_t)layers &&
        (free_ones || (sum > 0 && request->n_layers < 0) || sum == layers))
        return RADLLM_OK;
    return rad_fail(error, RADLLM_E_ARGUMENT,
                    "device=cuda: gpu_split asks for %lld layers together, %s %u; change it%s",
                    (long long)sum, request->n_layers < 0 ? "the model has" : "gpu_layers for",
                    layers, sum == 0 ? ", or set device=cpu" : "");
}

/* Whether it was done. A GPU that cannot be opened is passed over. */
static radllm_status check_shares(const placing *p, const rad_cuda_placement *out,
                                  radllm_error *error)
{
    for (uint32_t k = 0; k < p->cuda->choice.n; k++) {
        const uint32_t number = p->cuda->choice.numbers[k];
        uint32_t layers = 0;
        for (uint32_t i = 0; i < out->n_gpus; i++)
            layers += out->gpus[i].number == number ? out->gpus[i].n_layers : 0;
        if (p->request->split[k] > (int64_t)layers)
            return rad_fail(error, RADLLM_E_UNSUPPORTED,
                            "device=cuda: gpu_split asks for %lld layers on GPU number %u, which "
                            "can have %u: %s",
                            (long long)p->request->split[k], number, layers, out->reason);
    }
    return RADLLM_OK;
}

/* Opens GPUs where those that are open have not room for all. */
static radllm_status fill_all(placing *p, bool experts_here, rad_cuda_placement *out,
                              radllm_error *error)
{
    rad_cuda *cuda = p->cuda;
    rad_cuda_share refused = {0};
    memset(out, 0, sizeof *out);
    out->experts_here = experts_here;
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; !is_done(p, out); i++) {
        rad_cuda_gpu *gpu = i < cuda->n_gpus ? &cuda->gpus[i] : NULL;
        if (gpu == NULL)
            status = rad_cuda_open_next(cuda, &gpu, out->reason, error);
        if (status == RADLLM_OK && gpu == NULL)
            break;
        if (status == RADLLM_OK)
            status = fill(p, gpu, out, &refused, error);
        if (status != RADLLM_OK)
            return status;
    }
    status = check_shares(p, out, error);
    if (status != RADLLM_OK)
        return status;
    bool done = is_done(p, out);
    if (done)
        out->reason[0] = '\0';
    return out->n_layers == 0 || (!done && p->request->n_layers >= 0)
               ? refuse(p, out, &refused, error)
               : RADLLM_OK;
}

static radllm_status place_on(placing *p, rad_cuda_placement *out, radllm_error *error)
{
    radllm_status status = fill_all(p, false, out, error);
    bool all = status == RADLLM_OK && (out->n_layers == p->all || p->incapable);
    if (all || p->request->n_layers >= 0 || p->program->model->hparams.router.n_experts == 0)
        return status;
    /* More layers, where their experts stay here: all but those is used by every token. */
    rad_cuda_placement plain;
    if (fill_all(p, true, &plain, NULL) != RADLLM_OK ||
        (status == RADLLM_OK && plain.n_layers <= out->n_layers))
        return status;
    *out = plain;
    return RADLLM_OK;
}

/* ---- what it comes to ---------------------------------------------------------------------------
 */

/* What the chosen placement takes of the host's memory. */
static void count_pinned(placing *p, rad_cuda_placement *out)
{
    const rad_backend_settings *settings = p->request->settings;
    bool *any = p->seen; /* not used any more, and not shorter */
    rad_cuda_layout layout;
    memset(any, 0, p->program->n_ops);
    for (uint32_t k = 0; k < out->n_gpus; k++) {
        p->means.properties = &p->cuda->gpus[k].device->properties;
        rad_cuda_divide(&p->means, p->program, &out->gpus[k], out->experts_here, p->on_device);
        for (uint32_t i = 0; i < p->program->n_ops; i++)
            any[i] = any[i] || p->on_device[i];
        if (k > 0)
            out->pinned +=
                rad_cuda_passed_bytes(p->cuda, p->program, settings, k,
                                      rad_cuda_needed(&p->means, p->program, p->on_device));
    }
    (void)rad_cuda_lay_out(&p->means, p->program, settings, &layout); /* it fits */
    out->pinned += rad_cuda_staging_bytes(&layout) +
                   rad_cuda_results_bytes(p->program, settings, any) +
                   rad_cuda_choices_bytes(p->program, settings, any) +
                   rad_cuda_candidates_bytes(p->program, settings, any) +
                   rad_cuda_drawn_bytes(p->program, settings, any) +
                   rad_cuda_set_bytes(p->program, settings, rad_cuda_crossing(p->program, any));
}

static void add_bytes(rad_cuda_bytes *sum, const rad_cuda_bytes *more)
{
    sum->weights += more->weights;
    sum->cache += more->cache;
    sum->activations += more->activations;
    sum->context += more->context;
    sum->libraries += more->libraries;
    sum->total += more->total;
    sum->memory += more->memory;
}

/* GPUs with one name behind each other, from k on. */
static uint32_t alike(const rad_cuda_placement *p, uint32_t k)
{
    uint32_t n = 1;
    while (k + n < p->n_gpus && strcmp(p->gpus[k].device, p->gpus[k + n].device) == 0)
        n++;
    return n;
}

/* Which GPU of several with one name has a layer does not decide its bits. */
static void describe_devices(rad_cuda_placement *p)
{
    size_t names = 0, bits = 0;
    bool one = alike(p, 0) == p->n_gpus;
    for (uint32_t k = 0, n; k < p->n_gpus; k += n) {
        const char *name = p->gpus[k].device;
        uint32_t layers = 0;
        n = alike(p, k);
        for (uint32_t i = 0; i < n; i++)
            layers += p->gpus[k + i].n_layers;
        if (names < sizeof p->devices && n > 1)
            names += (size_t)snprintf(p->devices + names, sizeof p->devices - names, "%s%u x %s",
                                      k > 0 ? ", " : "", n, name);
        else if (names < sizeof p->devices)
            names += (size_t)snprintf(p->devices + names, sizeof p->devices - names, "%s%s",
                                      k > 0 ? ", " : "", name);
        if (one) /* there is room for all */
            bits += (size_t)snprintf(p->bits, sizeof p->bits, "%s", name);
        else
            bits += (size_t)snprintf(p->bits + bits, sizeof p->bits - bits, "%s%s: %u",
                                     k > 0 ? ", " : "", name, layers);
    }
}

/* Whether products are made in another order than usual, for measurements. */
static bool has_multiply_adds(const placing *p)
{
    bool has = false;
    for (uint32_t i = 0; i < p->program->n_ops; i++)
        has = has || (p->program->ops[i].weight != NULL &&
                      rad_cuda_is_scaled(p->program->ops[i].weight->matrix.type));
    return has && (p->request->settings->apart & RAD_CUDA_APART_SCALED) != 0;
}

static void sum_up_all(placing *p, rad_cuda_placement *out)
{
    const bool adds = has_multiply_adds(p);
    for (uint32_t k = 0; k < out->n_gpus; k++)
        add_bytes(&out->bytes, &out->gpus[k].bytes);
    snprintf(out->fast, sizeof out->fast, "%s%s%s", p->cuda->fast,
             adds && p->cuda->fast[0] != '\0' ? " and " : "", adds ? "multiply-adds" : "");
    describe_devices(out);
    count_pinned(p, out);
}

radllm_status rad_cuda_place(rad_cuda *cuda, const rad_cuda_request *request,
                             rad_cuda_placement *out, radllm_error *error)
{
    const rad_allocator *allocator = &cuda->host.allocator;
    const rad_program *program = request->program;
    placing p = {.cuda = cuda,
                 .request = request,
                 .program = program,
                 .means = {program->model, request->cache, NULL, cuda->library},
                 .all = program->model->hparams.n_layers,
                 .head = rad_cuda_end_of_layers(program) < program->n_ops};
    size_t bytes = (p.all + (size_t)1) * sizeof(uint64_t), flags = program->n_ops;
    size_t seen = program->model->n_weights > flags ? program->model->n_weights : flags;
    memset(out, 0, sizeof *out);
    p.bytes = rad_alloc_zero(allocator, bytes);
    p.seen = rad_alloc_zero(allocator, seen);
    p.on_device = rad_alloc(allocator, flags);
    radllm_status status = RADLLM_OK;
    rad_cuda_lock(cuda);
    if (p.bytes == NULL || p.seen == NULL || p.on_device == NULL)
        status = rad_fail_memory(error, bytes);
    else if (request->n_layers != 0) {
        status = check_split(&p, error);
        if (status == RADLLM_OK)
            status = place_on(&p, out, error);
    }
    if (status == RADLLM_OK && out->n_layers > 0) {
        rad_cuda_keep(cuda, out);
        sum_up_all(&p, out);
    }
    rad_cuda_unlock(cuda);
    rad_free(allocator, p.bytes, bytes);
    rad_free(allocator, p.seen, seen);
    rad_free(allocator, p.on_device, flags);
    return status;
}
