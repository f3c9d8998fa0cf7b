/* Attention to the cache, in the order of lib/backend/cpu/attention.c, bit for bit. Keys are taken
 * in tiles of 32; what precedes all keys (a learned sink, the sinks of a policy) and the tiles of
 * the first range of 1,024 positions are merged into a query's state one by one; each further range
 * begins empty and is merged as a whole. A block of 8 warps takes up to 8 queries that share keys,
 * each warp a tile; tiles are then merged from left to right. Where there are few queries the keys
 * are divided among blocks, and attend_merge() does the same with what they found. */
#include "kernels/cuda/attend_merge.h"
#include "kernels/cuda/attend_parts.h"
#include "kernels/cuda/attend_tile.h"

#define WARPS       RAD_CUDA_ATTEND_WARPS
#define THREADS     (WARPS * 32)
#define RANGE_TILES RAD_CUDA_ATTEND_RANGE_TILES

/* A block's work. */
template <int ROWS> struct attend_task {
    uint32_t n_live;                  /* queries that there are */
    uint32_t first_row;               /* of the batch */
    uint32_t n_tokens, n_heads, head; /* heads of the block, the first one of them */
    uint32_t kv_head, sequence;
    uint32_t first_tile, end_tile; /* of all that its tokens see behind the sinks */
    attend_queries<ROWS> queries;
    attend_scratch<ROWS> scratch; /* of this warp */
    float *tiles;                 /* in shared memory: [WARPS][ROWS][state] */
    float *total, *range;         /* [ROWS][state] */
    uint32_t state;               /* floats */
};

template <int ROWS> RAD_DEVICE uint32_t row_of_query(const attend_task<ROWS> &task, uint32_t r)
{
    return task.first_row + r / task.n_heads;
}

template <int ROWS> RAD_DEVICE uint32_t head_of_query(const attend_task<ROWS> &task, uint32_t r)
{
    return task.head + r % task.n_heads;
}

/* A block of 32 dimensions of a query in integers, by a warp. */
template <int ROWS>
RAD_DEVICE void quantize_query_block(const rad_cuda_attend_arguments &a, const float *query,
                                     uint32_t block, uint32_t r, float *out)
{
    uint32_t n_blocks = rad_integer_blocks(a.key_dim), dim = block * 32 + rad_lane();
    float x = dim < a.key_dim ? query[dim] : 0.0f;
    uint32_t most = rad_bits(x) & 0x7fffffffu;
    for (uint32_t mask = 16; mask > 0; mask /= 2) {
        uint32_t other = rad_shuffle_xor(most, mask);
        most = other > most ? other : most;
    }
    float greatest = rad_float(most), scale = 0.0f;
    bool finite = greatest - greatest == 0.0f, some = finite && greatest >= 0x1p-100f;
    int32_t q = 0;
    if (some) {
        q = (int32_t)(rad_bits(x * (127.0f / greatest) + RAD_F32_ROUND) - RAD_F32_ROUND_BITS);
        scale = greatest / 127.0f;
    }
    int32_t sum = q;
    for (uint32_t mask = 16; mask > 0; mask /= 2)
        sum += rad_shuffle_xor(sum, mask);
    ((int8_t *)(out + ((uint64_t)block * 8 + rad_lane() / 4) * ROWS + r))[rad_lane() % 4] =
        (int8_t)q;
    if (rad_lane() == 0) {
        float *scales = out + n_blocks * 8 * ROWS;
        scales[block * ROWS + r] = finite ? scale : rad_float(0x7fc00000u);
        ((int32_t *)(scales + n_blocks * ROWS))[block * ROWS + r] = sum;
    }
}

/* The block's queries into shared memory, as the keys want them. Those that there are not are like
 * the first one in what they see, so that they are in nobody's way. */
template <int ROWS>
RAD_DEVICE void prepare_queries(const rad_cuda_attend_arguments &a, const attend_task<ROWS> &task,
                                const float *queries)
{
    bool integers = rad_is_integer_cache(a.key_type);
    rad_barrier();
    for (uint32_t r = rad_warp(); r < ROWS; r += WARPS) {
        uint32_t row = row_of_query(task, r < task.n_live ? r : 0);
        uint32_t head = head_of_query(task, r < task.n_live ? r : 0);
        const float *query = queries + ((uint64_t)row * a.n_heads + head) * a.key_dim;
        for (uint32_t d = 0; d < a.key_dim; d += 32) {
            if (integers)
                quantize_query_block<ROWS>(a, query, d / 32, r, task.queries.numbers);
            else if (d + rad_lane() < a.key_dim)
                task.queries.numbers[(d + rad_lane()) * ROWS + r] = query[d + rad_lane()];
        }
        if (rad_lane() == 0) {
            task.queries.position[r] = a.rows[row].position;
            task.queries.end[r] = a.rows[row].end;
            task.queries.slope[r] = a.slopes != NULL ? a.slopes[head] : 0.0f;
        }
    }
    rad_barrier();
}

/* n tiles of the part from its tile `at` on, a warp each. */
template <int ROWS>
RAD_DEVICE void attend_round(const rad_cuda_attend_arguments &a, const attend_task<ROWS> &task,
                             const key_part &part, uint32_t at, uint32_t n, float *states)
{
    if (rad_warp() >= n)
        return;
    uint32_t tile = at + rad_warp();
    bool apart = a.division == RAD_CUDA_ATTEND_TILES;
    float *out = apart ? states + (part.unit + (tile - part.begin)) * task.state
                       : task.tiles + rad_warp() * ROWS * task.state;
    uint64_t stride = apart ? (uint64_t)a.n_units * task.state : task.state;
    const uint8_t *keys = rad_cache_page(a.pages, task.sequence, tile) + a.first +
                          (uint64_t)task.kv_head * (a.key_bytes + a.value_bytes);
    attend_tile<ROWS>(a, task.queries, task.scratch, keys, tile, part.of_sinks, task.n_live, out,
                      stride);
}

/* What a block of the grid does: steps first .. end - 1, and its result. */
template <int ROWS>
RAD_DEVICE void attend_steps(const rad_cuda_attend_arguments &a, const attend_task<ROWS> &task,
                             uint32_t z)
{
    const bool apart = a.division == RAD_CUDA_ATTEND_TILES;
    const bool whole = a.division == RAD_CUDA_ATTEND_WHOLE;
    uint32_t step = apart ? z : z == 0 ? 0 : z + 1;
    uint32_t end = apart ? z + 1 : whole ? 0xffffffffu : z == 0 ? 2 : z + 2;
    float *states = states_of(a, rad_block_x(), task.head, 0);
    bool prepared = false, some = z == 0 && !apart;
    for (uint32_t r = rad_warp(); z == 0 && !apart && r < task.n_live; r += WARPS)
        clear_state(a, task.total + r * task.state, head_of_query(task, r));
    for (; step < end; step++) {
        key_part part = apart ? part_of_slice(a, step, task.first_tile, task.end_tile)
                              : part_of_step(a, step, task.first_tile, task.end_tile);
        if (part.begin == part.end && step < 2)
            continue;
        if (part.begin == part.end)
            break;
        some = true;
        if (!prepared)
            prepare_queries(a, task, part.of_sinks ? a.sink_queries : a.queries);
        prepared = !part.of_sinks;
        float *state = part.begins ? task.range : task.total;
        for (uint32_t r = rad_warp(); part.begins && r < task.n_live; r += WARPS)
            clear_state(a, state + r * task.state, NO_HEAD);
        for (uint32_t tile = part.begin; tile < part.end; tile += WARPS) {
            uint32_t n = part.end - tile < WARPS ? part.end - tile : (uint32_t)WARPS;
            attend_round<ROWS>(a, task, part, tile, n, states);
            if (apart)
                continue;
            rad_barrier();
            for (uint32_t r = rad_warp(); r < task.n_live; r += WARPS)
                merge_row(a, state + r * task.state, task.tiles + r * task.state,
                          (uint64_t)ROWS * task.state, n, false);
            rad_barrier();
        }
        for (uint32_t r = rad_warp(); whole && part.begins && r < task.n_live; r += WARPS)
            merge_states(a, task.total + r * task.state, state + r * task.state);
    }
    for (uint32_t r = rad_warp(); some && !apart && r < task.n_live; r += WARPS) {
        const float *state = (z == 0 ? task.total : task.range) + r * task.state;
        if (whole) {
            finish(a, state, row_of_query(task, r), head_of_query(task, r));
            continue;
        }
        float *out = states + (r * (uint64_t)a.n_units + z) * task.state;
        for (uint32_t i = rad_lane(); i < a.value_dim + 2; i += 32)
            out[i] = state[i];
    }
}

/* Zeros for what is only there to fill up a batch. */
template <int ROWS>
RAD_DEVICE void write_zeros(const rad_cuda_attend_arguments &a, const attend_task<ROWS> &task)
{
    for (uint32_t r = rad_warp(); r < task.n_live; r += WARPS)
        for (uint32_t d = rad_lane(); d < a.value_dim; d += 32)
            a.out[((uint64_t)row_of_query(task, r) * a.n_heads + head_of_query(task, r)) *
                      a.value_dim +
                  d] = 0.0f;
}

template <int ROWS>
RAD_DEVICE attend_task<ROWS> make_task(const rad_cuda_attend_arguments &a,
                                       rad_cuda_attend_block block, uint32_t *words)
{
    attend_task<ROWS> task;
    uint32_t group = a.n_heads / a.n_kv_heads, of_group = rad_block_y() % a.head_blocks;
    uint32_t first = of_group * a.heads_per_block;
    task.kv_head = rad_block_y() / a.head_blocks;
    task.head = task.kv_head * group + first;
    task.n_heads = group - first < a.heads_per_block ? group - first : a.heads_per_block;
    task.n_tokens = block.n_rows;
    task.first_row = block.first_row;
    task.n_live = task.n_tokens * task.n_heads;
    rad_cuda_row row = a.rows[block.first_row], last = a.rows[block.first_row + block.n_rows - 1];
    task.sequence = row.sequence;
    uint32_t visible = first_visible(a, row.position);
    task.first_tile = (visible > a.sinks ? visible : a.sinks) / RAD_TILE_KEYS;
    task.end_tile = (last.end + RAD_TILE_KEYS - 1) / RAD_TILE_KEYS;
    task.state = rad_cuda_attend_state(a.value_dim);
    float *shared = (float *)rad_dynamic_shared();
    task.queries.numbers = shared;
    task.queries.position = words;
    task.queries.end = words + ROWS;
    task.queries.slope = (float *)(words + 2 * ROWS);
    shared += rad_cuda_attend_query(a.key_dim) * ROWS;
    task.scratch.probabilities = shared + rad_warp() * RAD_CUDA_ATTEND_SCRATCH * ROWS;
    task.scratch.weights = (uint32_t *)(task.scratch.probabilities + RAD_TILE_KEYS * ROWS);
    task.scratch.ranges = task.scratch.weights + RAD_TILE_KEYS / 2 * ROWS;
    task.tiles = shared + WARPS * RAD_CUDA_ATTEND_SCRATCH * ROWS;
    task.total = task.tiles + WARPS * ROWS * task.state;
    task.range = task.total + ROWS * task.state;
    return task;
}

template <int ROWS> RAD_DEVICE void attend(const rad_cuda_attend_arguments &a, uint32_t *words)
{
    rad_cuda_attend_block block = a.blocks[rad_block_x()];
    if (block.n_rows == 0)
        return;
    attend_task<ROWS> task = make_task<ROWS>(a, block, words);
    if (task.end_tile == 0) {
        if (rad_block_z() == 0)
            write_zeros(a, task);
    } else {
        attend_steps(a, task, rad_block_z());
    }
}

#define ATTEND(rows)                                                                               \
    RAD_CUDA_KERNEL(attend_##rows, THREADS, rad_cuda_attend_arguments, a)                          \
    {                                                                                              \
        RAD_SHARED(uint32_t, words, 3 * rows);                                                     \
        attend<rows>(a, words);                                                                    \
    }
ATTEND(8)
ATTEND(4)
ATTEND(1)
