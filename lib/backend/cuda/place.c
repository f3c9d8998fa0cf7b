/* Placement: which operations a device computes, and what that takes (divide.c: how many layers
 * that are). Behind all layers stands the product that gives logits. What comes before the first
 * layer (rows of tables, rotations of positions) is the CPU's: some rows for each token. */
#include "backend/cuda/half.h"
#include "backend/cuda/cuda.h"

#include <stdio.h>
#include <string.h>

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

uint32_t rad_cuda_end_of_layers(const rad_program *program)
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

uint64_t rad_cuda_candidates_bytes(const rad_program *program, const rad_backend_settings *settings,
                                   const bool *on_device)
{
    bool has_logits = rad_cuda_is_result(program, on_device, program->logits);
    return has_logits ? settings->max_outputs * sizeof(rad_cuda_candidates) : 0;
}

uint64_t rad_cuda_drawn_bytes(const rad_program *program, const rad_backend_settings *settings,
                              const bool *on_device)
{
    bool has_logits = rad_cuda_is_result(program, on_device, program->logits);
    return has_logits ? settings->max_outputs * sizeof(rad_cuda_drawn) : 0;
}

/* The rows of experts stand as the one who routes wants them: all from ROUTE to COMBINE is in one
 * place, but for adapters. */
static void keep_experts_together(const rad_program *program, uint32_t from, uint32_t to,
                                  bool *on_device)
{
    bool all = true;
    for (uint32_t i = from; i <= to; i++)
        all = all && (on_device[i] || program->ops[i].kind == RAD_OP_ADAPT);
    for (uint32_t i = from; i <= to && !all; i++)
        on_device[i] = false;
}

void rad_cuda_divide(const rad_cuda_means *means, const rad_program *program,
                     const rad_cuda_share *share, bool experts_here, bool *on_device)
{
    uint32_t first = rad_cuda_first_of_layers(program), end = rad_cuda_end_of_layers(program);
    uint32_t route = 0;
    bool experts = false; /* between ROUTE and COMBINE */
    char why[RAD_CUDA_TEXT];
    for (uint32_t i = 0; i < program->n_ops; i++) {
        const rad_op *op = &program->ops[i];
        bool here = i < first || (i < end ? op->layer < share->first_layer ||
                                                op->layer - share->first_layer >= share->n_layers
                                          : !share->output);
        experts = experts || op->kind == RAD_OP_ROUTE;
        here = here || (experts && experts_here);
        on_device[i] = !here && rad_cuda_missing(means, op, why) == NULL;
        if (op->kind == RAD_OP_ADAPT) /* where the product is that it adds to */
            on_device[i] = i > 0 && on_device[i - 1] &&
                           (program->ops[i - 1].kind == RAD_OP_PRODUCT ||
                            program->ops[i - 1].kind == RAD_OP_EXPERT_PRODUCT);
        if (op->kind == RAD_OP_ROUTE)
            route = i;
        if (op->kind != RAD_OP_COMBINE)
            continue;
        keep_experts_together(program, route, i, on_device);
        experts = false;
    }
}

uint32_t rad_cuda_first_of(const rad_program *program, const bool *on_device)
{
    uint32_t i = 0;
    while (i < program->n_ops && !on_device[i])
        i++;
    return i;
}

/* ---- what operations read ----------------------------------------------------------------------
 */

#define VALUE(v) (1u << (v))

uint32_t rad_cuda_reads(const rad_cuda_means *means, const rad_op *op, uint32_t written)
{
    switch (op->kind) {
    case RAD_OP_EMBED:
    case RAD_OP_ROTARY_TABLE:
        return 0;
    case RAD_OP_POSITIONS:
    case RAD_OP_HEAD_NORM:
    case RAD_OP_GELU:
    case RAD_OP_CLAMP:
    case RAD_OP_SOFT_CAP:
        return VALUE(op->out);
    case RAD_OP_ADAPT:
        return VALUE(op->out) | VALUE(op->in) | (op->experts ? VALUE(op->other) : 0);
    case RAD_OP_NORM:
    case RAD_OP_PRODUCT:
    case RAD_OP_SELECT:
    case RAD_OP_ROUTE:
    case RAD_OP_EXPERT_PRODUCT:
        return VALUE(op->in);
    case RAD_OP_ATTEND: {
        uint32_t window = means->model->hparams.layers[op->layer].window;
        bool sinks = rad_policy_reach(&means->cache->policy, window).sinks > 0;
        return VALUE(op->in) | (sinks ? VALUE(op->other) : 0);
    }
    case RAD_OP_ROTATE:
    case RAD_OP_STORE:
    case RAD_OP_GATED:
    case RAD_OP_ADD:
    case RAD_OP_COMBINE:
        return VALUE(op->in) | VALUE(op->other);
    case RAD_OP_ADD_GATED:
        return VALUE(op->in) | VALUE(op->other) | VALUE(op->out);
    case RAD_OP_COPY: /* other parts of the row stay as they are, where there are any yet */
    case RAD_OP_HEAD_PRODUCT:
        return VALUE(op->in) | (written & VALUE(op->out));
    }
    return 0;
}

uint32_t rad_cuda_needed(const rad_cuda_means *means, const rad_program *program,
                         const bool *on_device)
{
    uint32_t needed = 0, written = 0;
    for (uint32_t i = rad_cuda_first_of(program, on_device); i < program->n_ops; i++) {
        const rad_op *op = &program->ops[i];
        if (on_device[i]) /* parts of rows count as read: some could be from before */
            needed |= rad_cuda_reads(means, op, UINT32_MAX) & ~written;
        if (op->kind != RAD_OP_STORE)
            written |= VALUE(op->out);
    }
    return needed;
}

uint64_t rad_cuda_set_bytes(const rad_program *program, const rad_backend_settings *settings,
                            uint32_t set)
{
    uint64_t bytes = 0;
    for (uint32_t v = 0; v < program->n_values; v++)
        bytes += (set & VALUE(v)) != 0 ? rad_cuda_value_bytes(program, settings, v) : 0;
    return bytes;
}

uint64_t rad_cuda_passed_bytes(const rad_cuda *cuda, const rad_program *program,
                               const rad_backend_settings *settings, uint32_t gpu, uint32_t needed)
{
    rad_cuda_device *device = cuda->gpus[gpu].device;
    bool all = true;
    for (uint32_t i = 0; i < gpu; i++)
        all = all && rad_cuda_reaches(device, cuda->gpus[i].device);
    return all ? 0 : rad_cuda_set_bytes(program, settings, needed);
}

/* ---- bytes --------------------------------------------------------------------------------------
 */

static bool place(uint64_t *used, uint64_t count, uint64_t size, uint64_t *offset)
{
    uint64_t bytes;
    *offset = *used;
    return rad_mul_u64(count, size, &bytes) && rad_add_u64(*used, bytes, used) &&
           rad_align_u64(*used, RAD_CUDA_ALIGNMENT, used) && *used <= PTRDIFF_MAX;
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
        bool by_slot = op->by_choice || (op->kind == RAD_OP_EXPERT_PRODUCT &&
                                         rad_cuda_orders(means->library, op->weight) > 0);
        rows *= by_slot                           ? means->model->hparams.router.n_used
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

/* Activations that the blocks of a product of few tokens make, quantized. */
static bool lay_out_behind(const rad_program *program, const rad_backend_settings *settings,
                           uint64_t *used, rad_cuda_layout *layout)
{
    uint32_t width = 0, most = RAD_CUDA_SOME_TOKENS;
    for (uint32_t i = 0; i < program->n_ops; i++) {
        const rad_op *op = &program->ops[i];
        if ((op->kind == RAD_OP_GATED || op->kind == RAD_OP_GELU) && op->width > width)
            width = op->width;
    }
    most = settings->max_tokens < most ? settings->max_tokens : most;
    return place(used, rad_cuda_tiles_bytes(most, width), 1, &layout->tiles_behind) &&
           place(used, width / RAD_CUDA_CHUNK + 1, sizeof(uint32_t), &layout->pieces);
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
                place(used, settings->max_outputs, sizeof(uint32_t), &layout->outputs) &&
                place(used, settings->max_outputs, sizeof(rad_cuda_draw), &layout->draws);
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
           place(used, rows * layout->n_parts, sizeof(double), &layout->candidate_masses) &&
           place(used, rows, sizeof(uint32_t), &layout->n_candidate_keys) &&
           place(used, rows * RAD_CUDA_CANDIDATE_ROOM, sizeof(uint64_t), &layout->candidate_keys) &&
           place(used, rows * layout->n_parts, sizeof(double), &layout->draw_sums);
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
                lay_out_behind(program, settings, &used, layout) &&
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
