/* One test: the speed of a prompt, of one sequence that is generated, or of several together. */
#include "bench.h"

#include <stdlib.h>

#include "common/program.h"

typedef struct test_tokens {
    int32_t *prompt;  /* ids to feed; those before the test first */
    int32_t *last;    /* of the prompt of each of several sequences */
    double *between;  /* seconds between tokens, all repeats in turn */
    size_t n_between; /* so far */
} test_tokens;

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t count, double share)
{
    if (count == 0)
        return 0;
    size_t at = (size_t)(share * (double)(count - 1) + 0.5);
    return sorted[at < count ? at : count - 1];
}

int32_t *random_tokens(int64_t count, int64_t below, uint64_t seed)
{
    int32_t *tokens = memory_array((size_t)count, sizeof *tokens);
    uint64_t state = 88172645463325252u + seed;
    for (int64_t i = 0; i < count; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        tokens[i] = (int32_t)(state % (uint64_t)below);
    }
    return tokens;
}

static void feed(radllm_session *session, const int32_t *tokens, size_t count)
{
    check(radllm_session_feed(session, tokens, count, program_cancel(), program_error()), NULL);
}

/* Brings a session to where the test begins; what it holds of the positions before stays. */
static void go_to_depth(radllm_session *session, const bench_row *row, const test_tokens *data)
{
    uint32_t depth = (uint32_t)row->n_depth, held = radllm_session_length(session);
    if (held > depth)
        check(radllm_session_rewind(session, depth, program_error()), NULL);
    else if (held < depth)
        feed(session, data->prompt + held, depth - held);
}

static double run_prompt(const runtime *run, bench_row *row, const test_tokens *data)
{
    int32_t token;
    go_to_depth(run->session, row, data);
    double start = clock_seconds();
    feed(run->session, data->prompt + row->n_depth, (size_t)row->n_prompt);
    double fed = clock_seconds();
    check(radllm_session_sample(run->session, NULL, &token, NULL, program_error()), NULL);
    row->first_token += clock_seconds() - start;
    return fed - start;
}

static double run_generation(const runtime *run, const bench_row *row, test_tokens *data)
{
    go_to_depth(run->session, row, data);
    double start = clock_seconds();
    double last = start;
    for (int64_t i = 0; i < row->n_gen; i++) {
        feed(run->session, data->prompt + row->n_depth + i, 1);
        double now = clock_seconds();
        data->between[data->n_between++] = now - last;
        last = now;
    }
    return last - start;
}

/* The sequences are requests that one engine computes together, each behind the same positions and
 * a token of its own. */
static double run_together(const runtime *run, const bench_row *row, radllm_session **sessions,
                           const radllm_options *options, test_tokens *data)
{
    size_t count = (size_t)row->n_sequences;
    size_t depth = (size_t)row->n_depth;
    radllm_request **requests = memory_array(count, sizeof *requests);
    for (size_t i = 0; i < count; i++)
        go_to_depth(sessions[i], row, data);
    for (size_t i = 0; i < count; i++) {
        data->prompt[depth] = data->last[i];
        check(radllm_request_new_tokens(sessions[i], data->prompt, depth + 1, options, &requests[i],
                                        program_error()),
              NULL);
        check(radllm_request_submit(requests[i], program_error()), NULL);
    }
    double start = clock_seconds();
    double last = start;
    for (uint32_t pending = 1; pending != 0;) {
        check(radllm_engine_step(run->engine, &pending, program_error()), NULL);
        if (program_interrupted())
            fail("interrupted");
        double now = clock_seconds();
        if (data->n_between < (size_t)row->n_gen * row->n_samples + (size_t)row->n_gen)
            data->between[data->n_between++] = now - last;
        last = now;
    }
    for (size_t i = 0; i < count; i++) {
        check(radllm_request_status(requests[i], program_error()), NULL);
        if (request_number(requests[i], "answer_tokens") != row->n_gen)
            fail("sequence %zu ended before its last token", i);
        radllm_request_free(requests[i]);
    }
    free(requests);
    return last - start;
}

/* Greedy, whatever the model would like to say, and as long as the test. */
static radllm_options *request_options(const bench_row *row)
{
    radllm_options *options = NULL;
    check(radllm_options_new(NULL, &options, program_error()), NULL);
    check(radllm_options_set_integer(options, "max_tokens", row->n_gen, program_error()), NULL);
    check(radllm_options_set_integer(options, "ignore_end", 1, program_error()), NULL);
    return options;
}

static void run_repeats(const runtime *run, bench_row *row, test_tokens *data, int64_t repeats)
{
    size_t count = (size_t)row->n_sequences;
    radllm_session **sessions = memory_array(count, sizeof *sessions);
    sessions[0] = run->session;
    for (size_t i = 1; i < count; i++)
        check(radllm_session_new(run->engine, &sessions[i], program_error()), NULL);
    radllm_options *options = request_options(row);
    energy_meter meter;
    gpu_meter gpu;
    bool has_energy = energy_open(&meter);
    bool has_gpu = row->model->gpu.layers > 0 && gpu_energy_open(&gpu, row->gpu);
    double joules = 0, gpu_joules = 0;
    /* Once to warm up, and then those that count. */
    for (int64_t i = -1; i < repeats; i++) {
        if (i == 0) {
            joules = has_energy ? energy_joules(&meter) : 0;
            gpu_joules = has_gpu ? gpu_energy_joules(&gpu) : 0;
            row->first_token = 0;
            data->n_between = 0;
        }
        double seconds = row->n_gen == 0 ? run_prompt(run, row, data)
                         : count == 1    ? run_generation(run, row, data)
                                         : run_together(run, row, sessions, options, data);
        if (i >= 0)
            row->seconds[row->n_samples++] = seconds;
    }
    double tokens = (double)((row->n_prompt + row->n_gen * row->n_sequences) * repeats);
    row->joules_per_token = row->gpu_joules_per_token = -1;
    if (has_energy)
        row->joules_per_token = energy_difference(&meter, joules, energy_joules(&meter)) / tokens;
    energy_close(&meter);
    if (has_gpu) {
        row->gpu_joules_per_token = (gpu_energy_joules(&gpu) - gpu_joules) / tokens;
        gpu_energy_close(&gpu);
    }
    radllm_options_free(options);
    for (size_t i = 1; i < count; i++)
        radllm_session_free(sessions[i]);
    free(sessions);
}

void measure_test(const runtime *run, bench_row *row, int64_t repeats)
{
    int64_t longest = row->n_depth + row->n_prompt + row->n_gen + 1;
    int64_t n_vocab = model_number(run->model, "vocab_size");
    test_tokens data = {.prompt = random_tokens(longest, n_vocab, 0),
                        .last = random_tokens(row->n_sequences, n_vocab, 1),
                        .between =
                            memory_array((size_t)((repeats + 1) * row->n_gen), sizeof(double))};
    row->seconds = memory_array((size_t)repeats, sizeof *row->seconds);
    run_repeats(run, row, &data, repeats);
    row->first_token /= (double)repeats;
    qsort(data.between, data.n_between, sizeof *data.between, compare_doubles);
    row->between_median = quantile(data.between, data.n_between, 0.5);
    row->between_p99 = quantile(data.between, data.n_between, 0.99);
    row->peak_memory = machine_peak_memory();
    free(data.between);
    free(data.last);
    free(data.prompt);
}
