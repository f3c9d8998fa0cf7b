/* Placement: which operations the device computes, and what that takes. The first layers that have
 * room are there, and behind all of them the product that gives logits. What comes before the first
 * layer (rows of tables, rotations of positions) is the CPU's: some rows for each token. */
#include "backend/cuda/half.h"
#include "backend/cuda/cuda.h"

#include <stdio.h>
#include <string.h>

#define ALIGNMENT 256

/* ---- parts of a program -------------------------------------------------------------------------
 */

uint32_t rad_cuda_first_of_layers(const rad_program *program)
{
    const rad_model *model = program->model;
    uint32_t i = 0;
    for (; i < program->n_ops; i++) {
        const rad_op *op = &program->ops[i];
        bool before = op->kind == RAD_OP_EMBED || op->kind == RAD_OP_ROTARY_TABLE ||
                      op->kind == RAD_OP_POSITIONS || op->lookup ||
                      (op->weight != NULL && op->weight == &model->embedding_norm);
        if (!before)
            break;
    }
    return i;
}

/* Behind the last operation of the last layer. */
static uint32_t end_of_layers(const rad_program *program)
{
    for (uint32_t i = 0; i < program->n_ops; i++) {
        if (program->ops[i].kind == RAD_OP_NORM &&
            program->ops[i].weight == &program->model->output_norm)
            return i;
    }
    return program->n_ops;
}

uint32_t rad_cuda_inputs(const rad_program *program)
{
    uint32_t first = rad_cuda_first_of_layers(program), set = 0;
    for (uint32_t i = 0; i < first; i++)
        set |= 1u << program->ops[i].out;
    return set;
}

bool rad_cuda_is_result(const rad_program *program, const bool *on_device, uint32_t value)
{
    bool made = false;
    for (uint32_t i = 0; i < program->n_ops; i++)
        made = made || (on_device[i] && program->ops[i].out == value);
    return made && (value == program->logits || value == program->hidden) &&
           (rad_cuda_inputs(program) >> value & 1) == 0;
}

uint64_t rad_cuda_results_bytes(const rad_program *program, const rad_backend_settings *settings,
                                const bool *on_device)
{
    uint64_t bytes = 0;
    for (uint32_t v = 0; v < program->n_values; v++) {
        if (rad_cuda_is_result(program, on_device, v))
            bytes += rad_cuda_value_bytes(program, settings, v);
    }
    return bytes;
}

uint64_t rad_cuda_choices_bytes(const rad_program *program, const rad_backend_settings *settings,
                                const bool *on_device)
{
    bool has_logits = rad_cuda_is_result(program, on_device, program->logits);
    return has_logits ? settings->max_outputs * sizeof(rad_cuda_greatest) : 0;
}

uint32_t rad_cuda_crossing(const rad_program *program, const bool *on_device)
{
    uint32_t set = 0, taken = rad_cuda_inputs(program) | 1u << program->logits;
    bool here = false, there = false; /* between ROUTE and COMBINE; the operation before */
    for (uint32_t i = 0; i < program->n_ops; i++) {
        const rad_op *op = &program->ops[i];
        if (op->kind == RAD_OP_ROUTE)
            here = !on_device[i] && there;
        there = op->kind == RAD_OP_ADAPT ? there : on_device[i];
        if (here &&
            (op->kind == RAD_OP_ROUTE || (op->kind == RAD_OP_EXPERT_PRODUCT && !op->by_choice)))
            set |= 1u << op->in;
        if (here && op->kind == RAD_OP_COMBINE)
            set |= 1u << op->out;
        here = here && op->kind != RAD_OP_COMBINE;
    }
    return set & ~(taken | 1u << program->hidden);
}

uint64_t rad_cuda_crossing_bytes(const rad_program *program, const rad_backend_settings *settings,
                                 const bool *on_device)
{
    uint32_t set = rad_cuda_crossing(program, on_device);
    uint64_t bytes = 0;
    for (uint32_t v = 0; v < program->n_values; v++)
        bytes += (set >> v & 1) != 0 ? rad_cuda_value_bytes(program, settings, v) : 0;
    return bytes;
}

uint64_t rad_cuda_candidates_bytes(const rad_program *program, const rad_backend_settings *settings,
                                   const bool *on_device)
{
    bool has_logits = rad_cuda_is_result(program, on_device, program->logits);
    return has_logits ? settings->max_outputs * sizeof(rad_cuda_candidates) : 0;
}

/* Without which a layer is of no use on the device. */
static bool must_be_there(const rad_op *op)
{
    return op->kind == RAD_OP_STORE || op->kind == RAD_OP_ATTEND || op->kind == RAD_OP_PRODUCT;
}

/* The rows of experts stand as the one who routes wants them: all from ROUTE to COMBINE is in one
 * place. */
static void keep_experts_together(uint32_t from, uint32_t to, bool *on_device)
{
    bool all = true;
    for (uint32_t i = from; i <= to; i++)
        all = all && on_device[i];
    for (uint32_t i = from; i <= to && !all; i++)
        on_device[i] = false;
}

void rad_cuda_divide(const rad_cuda_means *means, const rad_program *program,
                     const rad_cuda_placement *placement, bool *on_device)
{
    uint32_t first = rad_cuda_first_of_layers(program), end = end_of_layers(program), route = 0;
    bool experts = false; /* between ROUTE and COMBINE */
    char why[RAD_CUDA_TEXT];
    for (uint32_t i = 0; i < program->n_ops; i++) {
        const rad_op *op = &program->ops[i];
        bool here = i < first || (i < end ? op->layer >= placement->n_layers : !placement->output);
        experts = experts || op->kind == RAD_OP_ROUTE;
        here = here || (experts && placement->experts_here);
        on_device[i] = !here && rad_cuda_missing(means, op, why) == NULL;
        if (op->kind == RAD_OP_ROUTE)
            route = i;
        if (op->kind != RAD_OP_COMBINE)
            continue;
        keep_experts_together(route, i, on_device);
        experts = false;
    }
}

/* ---- bytes --------------------------------------------------------------------------------------
 */

static bool place(uint64_t *used, uint64_t count, uint64_t size, uint64_t *offset)
{
    uint64_t bytes;
    *offset = *used;
    return rad_mul_u64(count, size, &bytes) && rad_add_u64(*used, bytes, used) &&
           rad_align_u64(*used, ALIGNMENT, used) && *used <= PTRDIFF_MAX;
}

/* Room for states of attention: those of one token, or of a few, of each sequence behind as many
 * keys as there can be, but not more than what few blocks need. More tokens are computed without.
 */
#define FEW_TOKENS        4
#define MOST_STATES_BYTES ((uint64_t)32 << 20)

static uint64_t states_of_plans(const rad_cuda_means *means, rad_cuda_attend_arguments a,
                                uint64_t keys)
{
    uint64_t most = 0;
    /* Fewer keys are divided more finely, and want more room at times. */
    for (; keys > 0; keys = keys > 256 ? keys / 2 : 0) {
        rad_cuda_attend_plan(&a, keys, means->properties->multiprocessors,
                             means->properties->shared_bytes, UINT64_MAX);
        uint64_t queries = (uint64_t)a.n_blocks * a.n_kv_heads * a.head_blocks * a.heads_per_block *
                           a.tokens_per_block;
        uint64_t bytes = queries * a.n_units * rad_cuda_attend_state(a.value_dim) * sizeof(float);
        most = bytes > most ? bytes : most;
    }
    return most;
}

static uint64_t states_bytes(const rad_cuda_means *means, const rad_program *program,
                             const rad_backend_settings *settings)
{
    uint64_t keys = 0, most = 0;
    for (uint32_t g = 0; g < means->cache->n_groups; g++) {
        uint64_t held = (uint64_t)rad_cuda_table_stride(&means->cache->groups[g]) * RAD_TILE_KEYS;
        keys = held > keys ? held : keys;
    }
    for (uint32_t i = 0; i < program->n_ops; i++) {
        uint32_t rows;
        if (program->ops[i].kind != RAD_OP_ATTEND)
            continue;
        for (uint64_t n = 1; n / 2 < settings->max_spans; n *= 2)
            for (uint32_t tokens = 1; tokens <= FEW_TOKENS; tokens *= FEW_TOKENS) {
                rad_cuda_attend_arguments a =
                    rad_cuda_attend_shape(means, &program->ops[i], tokens, &rows);
                a.n_blocks = n < settings->max_spans ? (uint32_t)n : settings->max_spans;
                uint64_t bytes = states_of_plans(means, a, keys);
                most = bytes > most ? bytes : most;
            }
    }
    return most < MOST_STATES_BYTES ? most : MOST_STATES_BYTES;
}

/* Quantized or rounded input of the widest product. */
static uint64_t tiles_bytes(const rad_cuda_means *means, const rad_program *program,
                            const rad_backend_settings *settings)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < program->n_ops; i++) {
        const rad_op *op = &program->ops[i];
        if (op->kind != RAD_OP_PRODUCT && op->kind != RAD_OP_EXPERT_PRODUCT &&
            op->kind != RAD_OP_HEAD_PRODUCT)
            continue;
        uint64_t rows = settings->max_tokens;
        rows *= op->by_choice                     ? means->model->hparams.router.n_used
                : op->kind == RAD_OP_HEAD_PRODUCT ? op->n_heads
                                                  : 1;
        uint32_t n_columns = op->weight->matrix.n_columns;
        uint64_t bytes = rad_cuda_half_fits(op->weight->matrix.type, n_columns)
                             ? rad_cuda_halves_bytes(rows, n_columns)
                             : rad_cuda_tiles_bytes(rows, n_columns);
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* The inputs, or all others. */
static bool lay_out_values(const rad_program *program, const rad_backend_settings *settings,
                           bool inputs, uint64_t *used, rad_cuda_layout *layout)
{
    bool fits = true;
    for (uint32_t i = 0; i < program->n_values; i++) {
        const rad_value *value = &program->values[i];
        uint64_t width;
        if ((rad_cuda_inputs(program) >> i & 1) != inputs)
            continue;
        fits = fits &&
               rad_mul_u64(value->per_output ? settings->max_outputs : settings->max_tokens,
                           value->width, &width) &&
               place(used, width, sizeof(float), &layout->values[i]);
    }
    return fits;
}

/* What a step tells the device, at most; each step places it anew (batch.c). */
static bool lay_out_told(const rad_cuda_means *means, const rad_program *program,
                         const rad_backend_settings *settings, uint64_t *used,
                         rad_cuda_layout *layout)
{
    layout->told = *used;
    bool fits = place(used, settings->max_tokens, sizeof(rad_cuda_row), &layout->rows) &&
                place(used, settings->max_outputs, sizeof(uint32_t), &layout->outputs);
    for (uint32_t g = 0; g < means->cache->n_groups; g++)
        fits = fits &&
               place(used, settings->max_spans,
                     (uint64_t)rad_cuda_table_stride(&means->cache->groups[g]) * sizeof(uint32_t),
                     &layout->tables[g]);
    for (uint32_t t = 0; t < RAD_CUDA_BLOCK_TOKENS; t++)
        fits = fits && place(used, rad_cuda_most_blocks(settings, t + 1),
                             sizeof(rad_cuda_attend_block), &layout->blocks[t]);
    fits = fits && lay_out_values(program, settings, true, used, layout);
    layout->told_end = *used;
    return fits;
}

static bool lay_out_groups(const rad_hparams *h, uint64_t n_tokens, uint64_t *used,
                           rad_cuda_layout *layout)
{
    uint64_t experts = h->router.n_experts, slots = n_tokens * h->router.n_used;
    uint64_t tiles = rad_cuda_most_expert_tiles(h, n_tokens);
    if (experts == 0)
        return true;
    return place(used, h->n_layers * experts, sizeof(uint64_t), &layout->expert_tokens) &&
           place(used, experts + 1, sizeof(uint32_t), &layout->starts) &&
           place(used, slots, sizeof(uint32_t), &layout->token_of) &&
           place(used, slots, sizeof(uint32_t), &layout->row_of) &&
           place(used, slots, sizeof(uint32_t), &layout->expert_of) &&
           place(used, tiles, sizeof(uint32_t), &layout->tile_expert) &&
           place(used, tiles, sizeof(uint32_t), &layout->tile_first) &&
           place(used, 1, sizeof(uint32_t), &layout->n_tiles);
}

/* Logits that a block looks through. */
#define PART_LOGITS 1024
#define MOST_PARTS  256

static bool lay_out_parts(const rad_program *program, const rad_backend_settings *settings,
                          uint64_t *used, rad_cuda_layout *layout)
{
    uint32_t n = program->values[program->logits].width;
    uint32_t parts = n / PART_LOGITS + (n % PART_LOGITS != 0 ? 1 : 0);
    layout->n_parts = parts < MOST_PARTS ? parts : MOST_PARTS;
    uint64_t rows = layout->n_parts > 0 ? settings->max_outputs : 0;
    return place(used, rows * layout->n_parts, sizeof(rad_cuda_greatest), &layout->parts) &&
           place(used, rows * RAD_CUDA_CANDIDATE_BUCKETS, sizeof(uint32_t),
                 &layout->candidate_counts) &&
           place(used, rows, sizeof(uint32_t), &layout->n_candidate_keys) &&
           place(used, rows * RAD_CUDA_CANDIDATE_ROOM, sizeof(uint64_t), &layout->candidate_keys);
}

bool rad_cuda_lay_out(const rad_cuda_means *means, const rad_program *program,
                      const rad_backend_settings *settings, rad_cuda_layout *layout)
{
    const rad_hparams *h = &means->model->hparams;
    uint64_t used = 0, slots = (uint64_t)settings->max_tokens * h->router.n_used;
    uint64_t slopes = h->max_alibi_bias > 0.0f ? (uint64_t)h->n_layers * h->max_heads : 0;
    memset(layout, 0, sizeof *layout);
    layout->states_bytes = states_bytes(means, program, settings);
    bool fits = lay_out_values(program, settings, false, &used, layout) &&
                lay_out_told(means, program, settings, &used, layout) &&
                place(&used, tiles_bytes(means, program, settings), 1, &layout->tiles) &&
                place(&used, layout->states_bytes, 1, &layout->states) &&
                place(&used, rad_cuda_attend_counters(layout->states_bytes), sizeof(uint32_t),
                      &layout->counters) &&
                place(&used, slopes, sizeof(float), &layout->slopes) &&
                place(&used, slots, sizeof(uint32_t), &layout->slot_expert) &&
                lay_out_groups(h, settings->max_tokens, &used, layout) &&
                lay_out_parts(program, settings, &used, layout) &&
                place(&used, slots > h->max_heads ? slots : h->max_heads, sizeof(uint32_t),
                      &layout->slot_itself);
    layout->total = used;
    return fits;
}

/* What each layer's weights take, and behind them what the head's do. Weights that several
 * operations use count where they are met first. */
typedef struct weighing {
    const rad_cuda_means *means;
    const rad_program *program;
    uint64_t *bytes; /* [n_layers + 1]; then the same without experts */
    bool *seen;      /* by rad_weight.order */
} weighing;

static void weigh(weighing *w, size_t part, const rad_weight *weight)
{
    if (weight == NULL || w->seen[weight->order])
        return;
    w->seen[weight->order] = true;
    w->bytes[part] += (rad_cuda_weight_bytes(w->means->library, weight) + ALIGNMENT - 1) &
                      ~(uint64_t)(ALIGNMENT - 1);
}

static void weigh_all(weighing *w, bool experts_here, bool *on_device)
{
    uint32_t n_layers = w->means->model->hparams.n_layers, end = end_of_layers(w->program);
    size_t first = experts_here ? (size_t)n_layers + 1 : 0;
    rad_cuda_placement everything = {
        .n_layers = n_layers, .output = true, .experts_here = experts_here};
    memset(w->seen, 0, w->means->model->n_weights);
    rad_cuda_divide(w->means, w->program, &everything, on_device);
    for (uint32_t i = 0; i < w->program->n_ops; i++) {
        const rad_op *op = &w->program->ops[i];
        if (!on_device[i])
            continue;
        weigh(w, first + (i < end ? op->layer : n_layers), op->weight);
        weigh(w, first + (i < end ? op->layer : n_layers), op->bias);
    }
}

/* ---- how many layers ----------------------------------------------------------------------------
 */

/* The first layer that the device cannot compute, or all; what is missing for it. */
static uint32_t computable(const rad_cuda_means *means, const rad_program *program,
                           char why[RAD_CUDA_TEXT])
{
    uint32_t end = end_of_layers(program), n_layers = means->model->hparams.n_layers;
    why[0] = '\0';
    for (uint32_t i = rad_cuda_first_of_layers(program); i < end; i++) {
        const rad_op *op = &program->ops[i];
        char text[RAD_CUDA_TEXT];
        const char *missing = must_be_there(op) ? rad_cuda_missing(means, op, text) : NULL;
        if (missing == NULL)
            continue;
        snprintf(why, RAD_CUDA_TEXT, "the device has no %s yet", missing);
        return op->layer;
    }
    return n_layers;
}

static uint64_t cache_bytes(const rad_cuda *cuda, const rad_cuda_request *request,
                            uint32_t n_layers)
{
    rad_cache_plan plan = *request->cache;
    cuda->library->cache_plan_divide(&plan, &request->program->model->hparams, n_layers);
    return plan.far_bytes;
}

/* Fills in the sums for a number of layers. */
static void sum_up(const rad_cuda *cuda, const rad_cuda_request *request,
                   const uint64_t *layer_bytes, rad_cuda_placement *p)
{
    uint32_t all = request->program->model->hparams.n_layers;
    p->weights = p->output ? layer_bytes[all] : 0;
    for (uint32_t l = 0; l < p->n_layers; l++)
        p->weights += layer_bytes[l];
    p->cache = cache_bytes(cuda, request, p->n_layers);
    p->total = p->weights + p->cache + p->activations + p->context + p->libraries;
}

static radllm_status too_small(const rad_cuda_placement *p, uint64_t budget, uint32_t wanted,
                               radllm_error *error)
{
    return rad_fail(error, RADLLM_E_BUDGET,
                    "device=cuda: %u layer%s need%s %llu bytes on the device (weights %llu, cache "
                    "%llu, activations %llu, driver %llu, libraries %llu), more than the %llu "
                    "there are (option vram_limit); lower context, sessions or batch, or set "
                    "device=cpu",
                    wanted, wanted == 1 ? "" : "s", wanted == 1 ? "s" : "",
                    (unsigned long long)p->total, (unsigned long long)p->weights,
                    (unsigned long long)p->cache, (unsigned long long)p->activations,
                    (unsigned long long)p->context, (unsigned long long)p->libraries,
                    (unsigned long long)budget);
}

/* The greatest number of layers that has room, or the one that was asked for. */
static radllm_status choose(const rad_cuda *cuda, const rad_cuda_request *request,
                            const uint64_t *layer_bytes, uint32_t most, uint64_t budget,
                            rad_cuda_placement *p, radllm_error *error)
{
    uint32_t all = request->program->model->hparams.n_layers;
    bool head = end_of_layers(request->program) < request->program->n_ops;
    uint32_t wanted = request->n_layers >= 0 && request->n_layers < all
                          ? (uint32_t)request->n_layers
                      : request->n_layers >= 0 ? all
                                               : most;
    if (wanted > most)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "device=cuda: gpu_layers=%u was asked for: %s; set it to %u or less",
                        wanted, p->reason, most);
    p->n_layers = wanted;
    if (wanted == 0)
        return RADLLM_OK;
    p->output = wanted == all && head && request->n_layers < 0;
    p->output = p->output || (request->n_layers > (int64_t)all && head);
    sum_up(cuda, request, layer_bytes, p);
    if (p->total > budget && request->n_layers >= 0)
        return too_small(p, budget, wanted, error);
    while (p->total > budget && (p->n_layers > 1 || p->output)) {
        if (p->output)
            p->output = false;
        else
            p->n_layers--;
        sum_up(cuda, request, layer_bytes, p);
        snprintf(p->reason, sizeof p->reason, "the device has room for %llu bytes",
                 (unsigned long long)budget);
    }
    return p->total > budget ? too_small(p, budget, 1, error) : RADLLM_OK;
}

static radllm_status place_on(const rad_cuda *cuda, const rad_cuda_request *request, weighing *w,
                              bool *on_device, rad_cuda_placement *out, radllm_error *error)
{
    const rad_program *program = request->program;
    rad_cuda_layout layout;
    const rad_cuda_properties *properties = &cuda->device->properties;
    uint32_t most = computable(w->means, program, out->reason);
    rad_quote(out->device, properties->name, strnlen(properties->name, sizeof properties->name));
    out->memory = properties->bytes;
    out->free = cuda->free_at_open;
    out->context = cuda->context_bytes;
    out->libraries = cuda->library_bytes;
    snprintf(out->fast, sizeof out->fast, "%s", cuda->fast);
    out->limit = request->limit;
    if (most == 0)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "device=cuda: this model cannot be computed on the device: %s; set the "
                        "option device to cpu",
                        out->reason);
    if (!rad_cuda_lay_out(w->means, program, request->settings, &layout))
        return rad_fail(error, RADLLM_E_LIMIT,
                        "context, sessions and batch together exceed what can be addressed; lower "
                        "one of them");
    out->activations = layout.total;
    weigh_all(w, false, on_device);
    weigh_all(w, true, on_device);
    uint64_t budget = cuda->free_at_open + cuda->context_bytes;
    budget = request->limit != 0 && request->limit < budget ? request->limit : budget;
    rad_cuda_placement plain = *out;
    plain.experts_here = true;
    radllm_status status = choose(cuda, request, w->bytes, most, budget, out, error);
    bool all = status == RADLLM_OK && out->n_layers == most;
    if (all || request->n_layers >= 0 || w->means->model->hparams.router.n_experts == 0)
        return status;
    /* More layers, where their experts stay here: all but those is used by every token. */
    const uint64_t *without = w->bytes + w->means->model->hparams.n_layers + 1;
    if (choose(cuda, request, without, most, budget, &plain, NULL) != RADLLM_OK ||
        (status == RADLLM_OK && plain.n_layers <= out->n_layers))
        return status;
    *out = plain;
    return RADLLM_OK;
}

/* What the chosen placement takes of the host's memory. */
static void count_pinned(const rad_cuda_request *request, const rad_cuda_means *means,
                         bool *on_device, rad_cuda_placement *out)
{
    rad_cuda_layout layout;
    (void)rad_cuda_lay_out(means, request->program, request->settings, &layout); /* it fits */
    rad_cuda_divide(means, request->program, out, on_device);
    out->pinned = rad_cuda_staging_bytes(&layout) +
                  rad_cuda_results_bytes(request->program, request->settings, on_device) +
                  rad_cuda_choices_bytes(request->program, request->settings, on_device) +
                  rad_cuda_candidates_bytes(request->program, request->settings, on_device) +
                  rad_cuda_crossing_bytes(request->program, request->settings, on_device);
}

radllm_status rad_cuda_place(const rad_cuda *cuda, const rad_cuda_request *request,
                             rad_cuda_placement *out, radllm_error *error)
{
    const rad_allocator *allocator = &cuda->host.allocator;
    const rad_program *program = request->program;
    rad_cuda_means means = {program->model, request->cache, &cuda->device->properties,
                            cuda->library};
    size_t n_parts = 2 * ((size_t)program->model->hparams.n_layers + 1);
    size_t bytes = n_parts * sizeof(uint64_t), seen = program->model->n_weights;
    weighing w = {.means = &means, .program = program};
    memset(out, 0, sizeof *out);
    w.bytes = rad_alloc_zero(allocator, bytes);
    w.seen = rad_alloc_zero(allocator, seen);
    bool *on_device = rad_alloc(allocator, program->n_ops);
    radllm_status status = RADLLM_OK;
    if (w.bytes == NULL || w.seen == NULL || on_device == NULL)
        status = rad_fail_memory(error, bytes);
    else
        status = place_on(cuda, request, &w, on_device, out, error);
    if (status == RADLLM_OK && out->n_layers > 0)
        count_pinned(request, &means, on_device, out);
    rad_free(allocator, w.bytes, bytes);
    rad_free(allocator, w.seen, seen);
    rad_free(allocator, on_device, program->n_ops);
    return status;
}
