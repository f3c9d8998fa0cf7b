/* Many short prompts behind one instruction, as in labelling reports: how much of the work is done
 * once. The prompts are random ids; some sessions take them in turn. */
#include "bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/program.h"
#include "common/text.h"

typedef struct settings {
    int64_t n_reports;
    int64_t n_instruction;
    int64_t n_report; /* tokens on average */
    int64_t n_answer;
    int64_t n_sessions;
} settings;

/* What stands behind the instruction, report after report. */
typedef struct workload {
    int32_t *instruction;
    int32_t *reports;
    size_t *starts; /* n_reports + 1 */
} workload;

typedef struct figures {
    double seconds;
    int64_t computed; /* tokens of prompts */
    int64_t reused;
    int64_t needed; /* the instruction once, each report once */
    int64_t all;    /* the instruction for each report */
} figures;

/* Reports are half to one and a half of the average long. */
static workload make_workload(const runtime *run, const settings *own)
{
    int64_t n_vocab = model_number(run->model, "vocab_size");
    workload made = {.instruction = random_tokens(own->n_instruction, n_vocab, 1),
                     .starts = memory_array((size_t)own->n_reports + 1, sizeof *made.starts)};
    int64_t least = own->n_report - own->n_report / 2, range = 2 * (own->n_report / 2) + 1;
    int32_t *lengths = random_tokens(own->n_reports, range, 2);
    for (int64_t i = 0; i < own->n_reports; i++)
        made.starts[i + 1] = made.starts[i] + (size_t)(least + lengths[i]);
    made.reports = random_tokens((int64_t)made.starts[own->n_reports], n_vocab, 3);
    free(lengths);
    return made;
}

static radllm_request *submit(radllm_session *session, const radllm_options *options,
                              const workload *work, const settings *own, int64_t index)
{
    size_t n = (size_t)own->n_instruction, more = work->starts[index + 1] - work->starts[index];
    int32_t *prompt = memory_array(n + more, sizeof *prompt);
    memcpy(prompt, work->instruction, n * sizeof *prompt);
    memcpy(prompt + n, work->reports + work->starts[index], more * sizeof *prompt);
    radllm_request *request = NULL;
    check(radllm_request_new_tokens(session, prompt, n + more, options, &request, program_error()),
          NULL);
    check(radllm_request_submit(request, program_error()), NULL);
    free(prompt);
    return request;
}

/* Takes finished requests away and gives their sessions the next reports. */
static int64_t refill(radllm_session **sessions, radllm_request **requests,
                      const radllm_options *options, const workload *work, const settings *own,
                      int64_t next)
{
    for (int64_t i = 0; i < own->n_sessions; i++) {
        if (requests[i] != NULL) {
            if (radllm_request_state(requests[i]) == RADLLM_REQUEST_PENDING)
                continue;
            check(radllm_request_status(requests[i], program_error()), NULL);
            radllm_request_free(requests[i]);
            requests[i] = NULL;
        }
        if (next < own->n_reports)
            requests[i] = submit(sessions[i], options, work, own, next++);
    }
    return next;
}

static int64_t engine_number(const runtime *run, const char *name)
{
    int64_t value = 0;
    check(radllm_engine_number(run->engine, name, &value, program_error()), name);
    return value;
}

static double run_all(const runtime *run, const settings *own, const radllm_options *options,
                      const workload *work)
{
    size_t count = (size_t)own->n_sessions;
    radllm_session **sessions = memory_array(count, sizeof *sessions);
    radllm_request **requests = memory_array(count, sizeof *requests);
    sessions[0] = run->session;
    for (size_t i = 1; i < count; i++)
        check(radllm_session_new(run->engine, &sessions[i], program_error()), NULL);
    double start = clock_seconds();
    int64_t next = refill(sessions, requests, options, work, own, 0);
    for (uint32_t pending = 1; pending != 0;) {
        check(radllm_engine_step(run->engine, &pending, program_error()), NULL);
        if (program_interrupted())
            fail("interrupted");
        int64_t before = next;
        next = refill(sessions, requests, options, work, own, next);
        pending += (uint32_t)(next - before);
    }
    double seconds = clock_seconds() - start;
    for (size_t i = 1; i < count; i++)
        radllm_session_free(sessions[i]);
    free(requests);
    free(sessions);
    return seconds;
}

static void report(const figures *found, const settings *own, const common_settings *common)
{
    double of_needed = (double)found->computed / (double)found->needed;
    double rate = (double)own->n_reports / found->seconds;
    if (!common->json) {
        output_format("%" PRId64 " reports of %" PRId64 " tokens behind an instruction of %" PRId64
                      ", %" PRId64 " tokens answered each, %" PRId64 " together\n",
                      own->n_reports, own->n_report, own->n_instruction, own->n_answer,
                      own->n_sessions);
        output_format("%.2f s, %.2f reports/s\n", found->seconds, rate);
        output_format(
            "tokens of prompts: %" PRId64 " computed, %" PRId64 " taken from the cache; %" PRId64
            " with the instruction once (%.3f of them computed), %" PRId64 " without a cache\n",
            found->computed, found->reused, found->needed, of_needed, found->all);
        return;
    }
    json_t *object = json_object();
    json_put(object, "reports", json_integer(own->n_reports));
    json_put(object, "instruction_tokens", json_integer(own->n_instruction));
    json_put(object, "report_tokens", json_integer(own->n_report));
    json_put(object, "answer_tokens", json_integer(own->n_answer));
    json_put(object, "sessions", json_integer(own->n_sessions));
    json_put_real(object, "seconds", found->seconds);
    json_put_real(object, "reports_per_second", rate);
    json_put(object, "prompt_tokens_computed", json_integer(found->computed));
    json_put(object, "prompt_tokens_reused", json_integer(found->reused));
    json_put(object, "prompt_tokens_needed", json_integer(found->needed));
    json_put(object, "prompt_tokens_all", json_integer(found->all));
    json_put_real(object, "computed_to_needed", of_needed);
    output_json(object, JSON_INDENT(2));
    json_decref(object);
}

static void measure(const runtime *run, const common_settings *common, const settings *own)
{
    check(radllm_options_set_integer(common->options, "max_tokens", own->n_answer, program_error()),
          NULL);
    check(radllm_options_set_integer(common->options, "ignore_end", 1, program_error()), NULL);
    workload work = make_workload(run, own);
    figures found = {.seconds = run_all(run, own, common->options, &work)};
    /* The last token of an answer is not computed. */
    found.computed = engine_number(run, "tokens_computed") - own->n_reports * (own->n_answer - 1);
    found.reused = engine_number(run, "tokens_reused");
    found.needed = own->n_instruction + (int64_t)work.starts[own->n_reports];
    found.all = own->n_instruction * own->n_reports + (int64_t)work.starts[own->n_reports];
    report(&found, own, common);
    free(work.instruction);
    free(work.reports);
    free(work.starts);
}

/* What all sessions hold at the same time: the instruction once, and of each session what is its
 * own, with two blocks of 32 that are not full. */
static int64_t positions_of(const settings *own, int64_t longest)
{
    int64_t of_each = longest - own->n_instruction + 64;
    return own->n_instruction + own->n_sessions * of_each;
}

int shared_main(int argc, char **argv)
{
    settings own = {1000, 600, 60, 4, 8};
    common_settings common;
    const argument table[] = {
        {'\0', "reports", "N", ARGUMENT_INTEGER, &own.n_reports, NULL, 1, 1 << 24,
         "prompts (1000)"},
        {'\0', "instruction", "N", ARGUMENT_INTEGER, &own.n_instruction, NULL, 1, 1 << 20,
         "tokens that they share (600)"},
        {'\0', "report", "N", ARGUMENT_INTEGER, &own.n_report, NULL, 1, 1 << 20,
         "tokens of their own, on average; from half to one and a half of it (60)"},
        {'n', "answer", "N", ARGUMENT_INTEGER, &own.n_answer, NULL, 1, 1 << 20,
         "tokens of each answer (4)"},
        {'b', "together", "N", ARGUMENT_INTEGER, &own.n_sessions, NULL, 1, 4096,
         "sessions that work at the same time (8)"},
        DEVICE_ARGUMENTS,
    };
    const program_usage usage = {
        "shared -m MODEL [OPTION]...",
        "Many short prompts that begin with the same instruction, as in labelling reports: the "
        "time\n"
        "for all of them, and how many tokens were computed, beside the least that would do: the\n"
        "instruction once and each report once.",
        NULL,
        table,
        sizeof table / sizeof *table,
        false,
        NULL};
    arguments_parse(argc, argv, &usage, &common);
    arguments_refuse_positional(&common);
    int64_t longest = own.n_instruction + own.n_report + own.n_report / 2 + own.n_answer;
    if (!option_changed(common.options, "context"))
        check(radllm_options_set_integer(common.options, "context", longest, program_error()),
              NULL);
    check(radllm_options_set_integer(common.options, "sessions", own.n_sessions, program_error()),
          NULL);
    if (!option_changed(common.options, "cache_positions"))
        check(radllm_options_set_integer(common.options, "cache_positions",
                                         positions_of(&own, longest), program_error()),
              NULL);
    program_catch_signals(false);
    program_end_at_once(true);
    runtime run;
    runtime_load(&run, &common, false);
    runtime_start(&run, &common);
    measure(&run, &common, &own);
    runtime_free(&run);
    arguments_free(&common);
    return program_finish(EXIT_CODE_OK);
}
