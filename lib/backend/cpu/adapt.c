/* Adapters. A batch's rows are cut into runs of one set of adapters; rows without any are in no
 * run. For each place in the sets, in its order, two steps over all runs: A x of each row (or the
 * row of a table that its token names), then B times that, scaled and added to what the model's own
 * matrix gave. A row's bits depend on its own input and its own set alone (numeric contract).
 * Behind a product of experts the rows are those of choices, and a run's are of one expert too.
 * Behind products by heads one step does both, for a head and some rows. */
#include "backend/cpu/cpu.h"

#include <string.h>

#include "kernels/cpu/float_block.h"

#define TOKENS      32   /* of a task, at most */
#define OUT_FLOATS  2048 /* of a task: rows of B times tokens */
#define FEW_TOKENS  8    /* of a run, up to which the rows of A are divided among tasks */
#define FEW_A_ROWS  8
#define MANY_A_ROWS 64
#define ALIGNMENT   ((size_t)64)

/* Consecutive rows with one set, and what the pass in progress does with them. */
typedef struct rad_adapter_run {
    const rad_adapter_set *set;
    uint32_t first_row, n_rows;
    uint32_t expert;              /* 0 where there are none */
    const uint32_t *tokens;       /* of choices: of each row */
    const rad_adapter_pair *pair; /* NULL: nothing in this pass */
    float scale;
    uint32_t first_task;
} rad_adapter_run;

/* ---- memory ---------------------------------------------------------------------------------- */

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Scratch of products with A and B, for any rank up to `rank`. */
static size_t scratch_bytes(const rad_program *program, uint32_t rank)
{
    size_t b = (size_t)RAD_FLOAT_BLOCK_ROWS * rank, most = RAD_FLOAT_BLOCK_FLOATS;
    most = 4 * (size_t)rank > most ? 4 * (size_t)rank : most;
    size_t bytes = (b < most ? b : most) * sizeof(float) + rad_float_scratch_bytes(0);
    for (uint32_t i = 0; i < program->n_ops; i++) {
        const rad_op *op = &program->ops[i];
        if (op->kind != RAD_OP_ADAPT)
            continue;
        size_t needed = rad_float_scratch_bytes(op->weight->matrix.n_columns);
        bytes = needed > bytes ? needed : bytes;
    }
    return aligned(bytes);
}

/* What a task by heads needs; 0: there are none. */
static size_t heads_bytes(const rad_program *program, uint32_t rank)
{
    size_t columns = 0;
    for (uint32_t i = 0; i < program->n_ops; i++) {
        const rad_op *op = &program->ops[i];
        if (op->kind == RAD_OP_ADAPT && op->n_heads > 0 && op->weight->matrix.n_columns > columns)
            columns = op->weight->matrix.n_columns;
    }
    return columns == 0 ? 0 : aligned(TOKENS * (columns + rank) * sizeof(float));
}

static rad_cpu_adapter_layout lay_out(const rad_program *program,
                                      const rad_backend_settings *settings, uint32_t rank)
{
    rad_cpu_adapter_layout at = {.rank = rank,
                                 .scratch_bytes = scratch_bytes(program, rank),
                                 .heads_bytes = heads_bytes(program, rank)};
    size_t choices = (size_t)settings->max_tokens * program->model->hparams.router.n_used;
    size_t rows = choices > settings->max_tokens ? choices : settings->max_tokens;
    at.out = aligned(rows * rank * sizeof(float));
    at.scratch = at.out + aligned(OUT_FLOATS * sizeof(float)) * settings->n_threads;
    at.heads = at.scratch + at.scratch_bytes * settings->n_threads;
    at.runs = at.heads + at.heads_bytes * settings->n_threads;
    at.expert_runs = at.runs + 2 * aligned(settings->max_spans * sizeof(rad_adapter_run));
    at.total = at.expert_runs + aligned(choices * sizeof(rad_adapter_run));
    return at;
}

size_t rad_cpu_adapter_bytes(const rad_program *program, const rad_backend_settings *settings)
{
    uint32_t rank = settings->adapters != NULL ? rad_adapter_set_rank(settings->adapters) : 0;
    return rank == 0 ? 0 : lay_out(program, settings, rank).total;
}

radllm_status rad_cpu_reserve_adapters(rad_backend *backend, const rad_adapter_set *set,
                                       radllm_error *error)
{
    uint32_t rank = rad_adapter_set_rank(set);
    rad_cpu_backend *cpu = (rad_cpu_backend *)backend;
    if (rank <= cpu->adapters.rank)
        return RADLLM_OK;
    rad_cpu_adapter_layout at = lay_out(cpu->program, &cpu->settings, rank);
    uint8_t *memory = rad_alloc(&cpu->host.allocator, at.total);
    if (memory == NULL)
        return rad_fail_memory(error, at.total);
    rad_cpu_free_adapters(cpu);
    cpu->adapter_memory = memory;
    cpu->adapters = at;
    return RADLLM_OK;
}

void rad_cpu_free_adapters(rad_cpu_backend *cpu)
{
    rad_wipe(cpu->adapter_memory, cpu->adapter_memory != NULL ? cpu->adapters.total : 0);
    rad_free(&cpu->host.allocator, cpu->adapter_memory, cpu->adapters.total);
    cpu->adapter_memory = NULL;
    cpu->adapters = (rad_cpu_adapter_layout){0};
}

/* ---- runs ------------------------------------------------------------------------------------ */

static rad_adapter_run *runs_of(const rad_cpu_backend *cpu, bool per_output)
{
    size_t half = aligned(cpu->settings.max_spans * sizeof(rad_adapter_run));
    return (rad_adapter_run *)(void *)(cpu->adapter_memory + cpu->adapters.runs +
                                       (per_output ? half : 0));
}

static rad_adapter_run *expert_runs_of(const rad_cpu_backend *cpu)
{
    return (rad_adapter_run *)(void *)(cpu->adapter_memory + cpu->adapters.expert_runs);
}

/* Rows first_row..last_row-1 of a span with adapters; they join the run before them if they can. */
static void add_run(rad_cpu_backend *cpu, bool per_output, const rad_adapter_set *set,
                    uint32_t first_row, uint32_t last_row)
{
    uint32_t *n = &cpu->n_adapter_runs[per_output];
    rad_adapter_run *run = runs_of(cpu, per_output) + *n;
    if (first_row == last_row)
        return;
    if (*n > 0 && run[-1].first_row + run[-1].n_rows == first_row &&
        rad_adapter_sets_equal(run[-1].set, set)) {
        run[-1].n_rows += last_row - first_row;
        return;
    }
    *run = (rad_adapter_run){.set = set, .first_row = first_row, .n_rows = last_row - first_row};
    ++*n;
}

void rad_cpu_plan_adapters(rad_cpu_backend *cpu)
{
    const rad_batch *batch = cpu->batch;
    uint32_t output = 0;
    cpu->n_adapter_runs[false] = cpu->n_adapter_runs[true] = cpu->n_adapter_passes = 0;
    for (uint32_t s = 0; s < batch->n_spans; s++) {
        const rad_token_span *span = &batch->spans[s];
        uint32_t end = span->first_row + span->n_rows, first_output = output;
        while (output < batch->n_outputs && batch->outputs[output] < end)
            output++;
        if (span->adapters == NULL || span->adapters->n == 0)
            continue;
        add_run(cpu, false, span->adapters, span->first_row, end);
        add_run(cpu, true, span->adapters, first_output, output);
        if (span->adapters->n > cpu->n_adapter_passes)
            cpu->n_adapter_passes = span->adapters->n;
    }
}

/* Collects the runs of an operation on choices. */
typedef struct expert_runs {
    const rad_adapter_run *by_token;
    uint32_t n_by_token;
    rad_adapter_run *runs;
    uint32_t n;
} expert_runs;

static void add_expert(void *data, const rad_expert_group *group, const uint32_t *tokens)
{
    expert_runs *all = data;
    const rad_adapter_run *from = all->by_token, *end = from + all->n_by_token;
    for (uint32_t i = 0; i < group->n_rows; i++) { /* tokens ascend */
        while (from < end && from->first_row + from->n_rows <= tokens[i])
            from++;
        if (from == end)
            return;
        if (from->first_row > tokens[i])
            continue;
        rad_adapter_run *run = all->runs + all->n;
        if (i > 0 && all->n > 0 && run[-1].set == from->set &&
            run[-1].first_row + run[-1].n_rows == group->first_row + i) {
            run[-1].n_rows++;
            continue;
        }
        *run = (rad_adapter_run){.set = from->set,
                                 .first_row = group->first_row + i,
                                 .n_rows = 1,
                                 .expert = group->expert,
                                 .tokens = tokens + i};
        all->n++;
    }
}

/* ---- a pass ---------------------------------------------------------------------------------- */

typedef struct adapt_job {
    rad_cpu_backend *cpu;
    const rad_op *op;
    rad_adapter_run *runs;
    uint32_t n_runs;
    uint32_t b_rows; /* of a task */
} adapt_job;

static float *hidden_of(const rad_cpu_backend *cpu, const rad_adapter_run *run)
{
    return (float *)(void *)cpu->adapter_memory + (size_t)run->first_row * cpu->adapters.rank;
}

static uint32_t blocks(uint32_t n, uint32_t size)
{
    return (n + size - 1) / size;
}

static uint32_t rows_of_a(const rad_adapter_run *run)
{
    return run->n_rows <= FEW_TOKENS ? FEW_A_ROWS : MANY_A_ROWS;
}

static uint32_t rows_of_b(const rad_op *op)
{
    return op->width;
}

/* The run of a task; *index becomes its number in the run. */
static rad_adapter_run *run_of_task(const adapt_job *job, uint32_t *index)
{
    /* The last run whose first task is not behind it; one without tasks has another at its number.
     */
    uint32_t low = 0, high = job->n_runs;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (job->runs[middle].first_task <= *index)
            low = middle;
        else
            high = middle;
    }
    *index -= job->runs[low].first_task;
    return &job->runs[low];
}

/* Rows first..first+n-1 of a matrix of floats, as a matrix. */
static rad_matrix part_of(const rad_matrix *matrix, uint32_t first, uint32_t n)
{
    rad_matrix part = *matrix;
    part.data += first * rad_matrix_bytes(matrix->type, RAD_LAYOUT_FILE, 1, matrix->n_columns);
    part.n_rows = n;
    return part;
}

static void multiply(const rad_cpu_backend *cpu, const rad_matrix *matrix, const float *in,
                     uint32_t n_tokens, float *out, size_t stride, uint32_t worker)
{
    rad_activations x = {.kind = RAD_ACTIVATION_F32,
                         .n_tokens = n_tokens,
                         .n_columns = matrix->n_columns,
                         .values = in};
    cpu->kernels->product(matrix, &x, 0, matrix->n_rows, 0, n_tokens, out, stride,
                          cpu->adapter_memory + cpu->adapters.scratch +
                              worker * cpu->adapters.scratch_bytes);
}

static void a_task(void *data, uint32_t index, uint32_t worker)
{
    const adapt_job *job = data;
    const rad_cpu_backend *cpu = job->cpu;
    const rad_adapter_run *run = run_of_task(job, &index);
    const rad_adapter_pair *pair = run->pair;
    uint32_t rank = pair->b.n_columns, token_blocks = blocks(run->n_rows, TOKENS);
    uint32_t token = index % token_blocks * TOKENS;
    uint32_t n = run->n_rows - token < TOKENS ? run->n_rows - token : TOKENS;
    float *out = hidden_of(cpu, run) + (size_t)token * rank;
    if (job->op->lookup) {
        for (uint32_t t = 0; t < n; t++)
            rad_matrix_decode_row(&pair->a,
                                  (uint32_t)cpu->batch->tokens[run->first_row + token + t],
                                  out + (size_t)t * rank);
        return;
    }
    uint32_t row = index / token_blocks * rows_of_a(run);
    uint32_t rows = rank - row < rows_of_a(run) ? rank - row : rows_of_a(run);
    rad_matrix part = part_of(&pair->a, row, rows);
    const uint32_t *tokens = job->op->experts && !job->op->by_choice ? run->tokens + token : NULL;
    for (uint32_t t = 0, next; t < n; t = next) { /* tokens that stand together */
        uint32_t first = tokens != NULL ? tokens[t] : run->first_row + token + t;
        for (next = t + 1; next < n && (tokens == NULL || tokens[next] == first + next - t);)
            next++;
        const float *in = rad_cpu_value(cpu, job->op->in) + (size_t)first * pair->a.n_columns;
        multiply(cpu, &part, in, next - t, out + (size_t)t * rank + row, rank, worker);
    }
}

static void b_task(void *data, uint32_t index, uint32_t worker)
{
    const adapt_job *job = data;
    const rad_cpu_backend *cpu = job->cpu;
    const rad_op *op = job->op;
    const rad_adapter_run *run = run_of_task(job, &index);
    const rad_adapter_pair *pair = run->pair;
    uint32_t rank = pair->b.n_columns, token_blocks = blocks(run->n_rows, TOKENS);
    uint32_t token = index % token_blocks * TOKENS, row = index / token_blocks * job->b_rows;
    uint32_t n = run->n_rows - token < TOKENS ? run->n_rows - token : TOKENS;
    uint32_t left = rows_of_b(op) - row, rows = left < job->b_rows ? left : job->b_rows;
    uint32_t first = pair->b.n_rows > op->width ? (uint32_t)op->weight->first : 0;
    rad_matrix part = part_of(&pair->b, first + row, rows);
    float *sums =
        (float *)(void *)(cpu->adapter_memory + cpu->adapters.out) + (size_t)worker * OUT_FLOATS;
    multiply(cpu, &part, hidden_of(cpu, run) + (size_t)token * rank, n, sums, rows, worker);
    float *out = rad_cpu_value(cpu, op->out) + (size_t)(run->first_row + token) * op->width + row;
    for (uint32_t t = 0; t < n; t++)
        cpu->kernels->layer->add_scaled(sums + (size_t)t * rows, run->scale, rows,
                                        out + (size_t)t * op->width);
}

/* Of a pair for products by heads either A or B has rows for each head, and the other has its own
 * for all. */
static void head_task(void *data, uint32_t index, uint32_t worker)
{
    const adapt_job *job = data;
    const rad_cpu_backend *cpu = job->cpu;
    const rad_op *op = job->op;
    const rad_adapter_run *run = run_of_task(job, &index);
    const rad_adapter_pair *pair = run->pair;
    uint32_t rank = pair->b.n_columns, columns = pair->a.n_columns;
    uint32_t head = index % op->n_heads, token = index / op->n_heads * TOKENS;
    uint32_t n = run->n_rows - token < TOKENS ? run->n_rows - token : TOKENS;
    size_t row = run->first_row + token;
    const float *in = rad_cpu_value(cpu, op->in) + row * op->from.row + op->from.first +
                      (size_t)head * op->from.stride;
    float *out = rad_cpu_value(cpu, op->out) + row * op->to.row + op->to.first +
                 (size_t)head * op->to.stride;
    float *x = (float *)(void *)(cpu->adapter_memory + cpu->adapters.heads +
                                 worker * cpu->adapters.heads_bytes);
    float *hidden = x + (size_t)n * columns;
    float *sums =
        (float *)(void *)(cpu->adapter_memory + cpu->adapters.out) + (size_t)worker * OUT_FLOATS;
    for (uint32_t t = 0; t < n; t++)
        memcpy(x + (size_t)t * columns, in + t * (size_t)op->from.row, columns * sizeof *x);
    rad_matrix a = part_of(&pair->a, pair->a.n_rows > rank ? head * rank : 0, rank);
    multiply(cpu, &a, x, n, hidden, rank, worker);
    uint32_t begin = pair->b.n_rows > op->width ? head * op->width : 0;
    for (uint32_t first = 0, rows; first < op->width; first += rows) {
        rows = op->width - first < OUT_FLOATS / TOKENS ? op->width - first : OUT_FLOATS / TOKENS;
        rad_matrix b = part_of(&pair->b, begin + first, rows);
        multiply(cpu, &b, hidden, n, sums, rows, worker);
        for (uint32_t t = 0; t < n; t++)
            cpu->kernels->layer->add_scaled(sums + (size_t)t * rows, run->scale, rows,
                                            out + t * (size_t)op->to.row + first);
    }
}

/* What the pass does with each run; returns whether anything. */
static bool begin_pass(adapt_job *job, uint32_t pass)
{
    bool any = false;
    for (uint32_t i = 0; i < job->n_runs; i++) {
        rad_adapter_run *run = &job->runs[i];
        run->pair = NULL;
        if (pass >= run->set->n)
            continue;
        const rad_adapter_use *use = &run->set->uses[pass];
        run->pair = rad_adapter_find(use->adapter, job->op->slot + run->expert);
        if (run->pair == NULL)
            continue;
        run->scale = (float)(run->pair->scale * (double)use->scale * (double)job->op->number);
        any = true;
    }
    return any;
}

static uint32_t tasks_of(const adapt_job *job, const rad_adapter_run *run, bool second)
{
    uint32_t rank = run->pair->b.n_columns, token_blocks = blocks(run->n_rows, TOKENS);
    if (job->op->n_heads > 0)
        return job->op->n_heads * token_blocks;
    if (second)
        return blocks(rows_of_b(job->op), job->b_rows) * token_blocks;
    return job->op->lookup ? token_blocks : blocks(rank, rows_of_a(run)) * token_blocks;
}

static void run_stage(adapt_job *job, bool second)
{
    uint32_t count = 0;
    uint64_t work = 0, heads = job->op->n_heads;
    for (uint32_t i = 0; i < job->n_runs; i++) {
        rad_adapter_run *run = &job->runs[i];
        run->first_task = count;
        if (run->pair == NULL)
            continue;
        count += tasks_of(job, run, second);
        uint64_t wide = second ? rows_of_b(job->op) : run->pair->a.n_columns;
        wide = heads > 0 ? heads * (wide + job->op->width) : wide;
        work += wide * run->pair->b.n_columns * run->n_rows;
    }
    rad_cpu_parallel(job->cpu, heads > 0 ? head_task : second ? b_task : a_task, job, count, work);
}

/* Rows of B for a task: a few tasks for each thread, and never more than its sums have room for. */
static uint32_t cut_b(const adapt_job *job)
{
    uint32_t rows = rows_of_b(job->op) / (2 * job->cpu->settings.n_threads);
    uint32_t tokens = job->op->per_output ? job->cpu->batch->n_outputs : job->cpu->batch->n_tokens;
    uint32_t most = OUT_FLOATS / (tokens < TOKENS ? tokens : TOKENS) / RAD_LANE_ROWS;
    rows = rows / RAD_LANE_ROWS + 1;
    return (rows < most ? rows : most) * RAD_LANE_ROWS;
}

/* Whether any adapter of the batch changes experts. */
static bool has_experts(const adapt_job *job)
{
    bool any = false;
    for (uint32_t i = 0; i < job->n_runs; i++) {
        const rad_adapter_set *set = job->runs[i].set;
        for (uint32_t k = 0; k < set->n; k++)
            any = any || set->uses[k].adapter->n_expert_pairs > 0;
    }
    return any;
}

void rad_cpu_adapt(rad_cpu_backend *cpu, const rad_op *op)
{
    adapt_job job = {.cpu = cpu,
                     .op = op,
                     .runs = runs_of(cpu, op->per_output),
                     .n_runs = cpu->n_adapter_runs[op->per_output]};
    if (job.n_runs == 0 || (op->experts && !has_experts(&job)))
        return;
    if (op->experts) {
        expert_runs all = {job.runs, job.n_runs, expert_runs_of(cpu), 0};
        rad_cpu_each_expert(cpu, op, add_expert, &all);
        job.runs = all.runs;
        job.n_runs = all.n;
    }
    job.b_rows = cut_b(&job);
    for (uint32_t pass = 0; pass < cpu->n_adapter_passes; pass++) {
        if (!begin_pass(&job, pass))
            continue;
        run_stage(&job, false);
        if (op->n_heads == 0)
            run_stage(&job, true);
    }
}
