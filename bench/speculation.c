/* What guessing tokens ahead gains: with guesses of which a given share is right, taken from an
 * answer that was recorded before, so that any model serves; and with real guesses on a given
 * prompt. Each way is run in turn within a round, and compared with the run without guesses of the
 * same round. Every answer is checked against the recorded one. */
#define RADLLM_EXPERIMENTAL
#include "bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/program.h"
#include "common/runtime.h"
#include "common/text.h"

enum { PROMPT_LIMIT = 1 << 24, MAX_WAYS = 16, MAX_ROUNDS = 64 };

typedef struct settings {
    const char *acceptance;
    const char *file;
    int64_t n_tokens;
    int64_t n_prompt;
    int64_t rounds;
    bool raw;
} settings;

/* One way to guess. */
typedef struct way {
    const char *option; /* the option "speculate"; NULL: recorded tokens */
    int64_t percent;    /* of those that are right */
    double seconds[MAX_ROUNDS];
    int64_t drafted, accepted, tokens; /* of one run: all are the same */
} way;

typedef struct recording {
    token_list answer;
    uint32_t n_prompt;
    int64_t percent;
} recording;

/* ---- guesses from the recording ---- */

static uint64_t scrambled(uint64_t x)
{
    x *= UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* The same for each position, whatever was guessed before. Of every 20 positions just the share is
 * right, at random places: a short answer has it as well. */
static bool is_right(uint32_t position, int64_t percent)
{
    enum { STRETCH = 20 };
    int64_t stretch = position / STRETCH, before = 0;
    int64_t right = percent * STRETCH * (stretch + 1) / 100 - percent * STRETCH * stretch / 100;
    uint64_t own = scrambled((uint64_t)position + 1);
    for (int64_t i = 0; i < STRETCH; i++)
        before += scrambled((uint64_t)(stretch * STRETCH + i + 1)) < own;
    return before < right;
}

static int32_t propose(void *user, const int32_t *tokens, uint32_t count, int32_t *draft,
                       uint32_t capacity)
{
    const recording *self = user;
    uint32_t position = count - self->n_prompt, n = 0;
    for (; n < capacity && position + n < self->answer.count; n++) {
        int32_t right = self->answer.ids[position + n];
        draft[n] = is_right(position + n, self->percent) ? right : (right + 1) % 256;
    }
    (void)tokens;
    return (int32_t)n;
}

/* ---- running ---- */

/* The prompt's beginning is in the session; only its last token and the answer are computed. */
static void run_way(const runtime *run, const common_settings *common, const token_list *prompt,
                    way *self, recording *made, int64_t round)
{
    radllm_error *error = program_error();
    radllm_request *request = NULL;
    const char *speculate = self->option != NULL ? self->option : "off";
    check(radllm_options_set_text(common->options, "speculate", speculate, RADLLM_NUL, error),
          NULL);
    check(radllm_request_new_tokens(run->session, prompt->ids, prompt->count, common->options,
                                    &request, error),
          NULL);
    made->percent = self->percent;
    if (self->option == NULL)
        check(radllm_request_set_draft(request, propose, made, error), NULL);
    check(radllm_request_run(request, program_cancel(), error), NULL);
    token_list answer = answer_tokens(request);
    if (made->answer.ids == NULL) {
        made->answer = answer;
    } else {
        bool same = answer.count == made->answer.count &&
                    memcmp(answer.ids, made->answer.ids, answer.count * sizeof *answer.ids) == 0;
        free(answer.ids);
        if (!same)
            fail("the answer with speculation differs from the one without; please report it");
    }
    if (round >= 0)
        self->seconds[round] = (double)request_number(request, "answer_ns") * 1e-9;
    self->drafted = request_number(request, "drafted_tokens");
    self->accepted = request_number(request, "accepted_tokens");
    self->tokens = (int64_t)made->answer.count;
    radllm_request_free(request);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, int64_t count)
{
    double sorted[MAX_ROUNDS];
    memcpy(sorted, values, (size_t)count * sizeof *values);
    qsort(sorted, (size_t)count, sizeof *sorted, compare_doubles);
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

/* ---- results ---- */

static void describe_way(const way *self, char *out, size_t capacity)
{
    if (self->option != NULL)
        snprintf(out, capacity, "%s", self->option);
    else
        snprintf(out, capacity, "%" PRId64 " %% right", self->percent);
}

static void report(const way *ways, size_t count, int64_t rounds, const common_settings *common)
{
    json_t *array = json_array();
    if (!common->json)
        output_text("| guesses    |  tokens/s | of off | guessed | right | tokens a step |\n"
                    "| ---------- | --------: | -----: | ------: | ----: | ------------: |\n");
    for (size_t i = 0; i < count; i++) {
        const way *self = &ways[i];
        double ratios[MAX_ROUNDS];
        for (int64_t r = 0; r < rounds; r++)
            ratios[r] = ways[0].seconds[r] / self->seconds[r];
        /* The first token comes with the prompt. */
        double later = self->tokens > 1 ? (double)(self->tokens - 1) : 0;
        double rate = later / median(self->seconds, rounds), ratio = median(ratios, rounds);
        double steps = later - (double)self->accepted;
        char name[32];
        describe_way(self, name, sizeof name);
        if (!common->json) {
            output_format("| %-10s | %9.2f | %6.3f | %7" PRId64 " | %5" PRId64 " | %13.2f |\n",
                          name, rate, ratio, self->drafted, self->accepted,
                          steps > 0 ? later / steps : 0);
            continue;
        }
        json_t *object = json_object();
        json_put(object, "guesses", json_string(name));
        json_put_real(object, "tokens_per_second", rate);
        json_put_real(object, "of_off", ratio);
        json_put(object, "drafted_tokens", json_integer(self->drafted));
        json_put(object, "accepted_tokens", json_integer(self->accepted));
        json_put(object, "answer_tokens", json_integer(self->tokens));
        json_push(array, object);
    }
    if (common->json)
        output_json(array, JSON_INDENT(2));
    json_decref(array);
}

/* ---- what is asked for ---- */

static size_t list_ways(way *ways, const settings *own, const runtime *run)
{
    size_t count = 0;
    ways[count++] = (way){.option = "off"};
    if (own->file != NULL)
        ways[count++] = (way){.option = "lookup"};
    if (run->draft != NULL)
        ways[count++] = (way){.option = "draft"};
    if (own->file != NULL)
        return count;
    char *copy = memory_text(own->acceptance), *rest = copy;
    for (char *word; (word = strsep(&rest, ",")) != NULL && count < MAX_WAYS;) {
        way *next = &ways[count++];
        *next = (way){.percent = 0};
        if (!parse_integer(word, &next->percent) || next->percent < 0 || next->percent > 100)
            fail_usage("--acceptance: \"%s\" is not a whole number from 0 to 100", word);
    }
    free(copy);
    return count;
}

static token_list chat_prompt(const runtime *run, const common_settings *common, const buffer *text)
{
    radllm_chat *chat = NULL;
    token_list list = {NULL, 0};
    check(radllm_chat_new(NULL, &chat, program_error()), NULL);
    check(radllm_chat_add(chat, "user", text->data, text->length, program_error()), NULL);
    radllm_status status = radllm_chat_tokenize(run->model, chat, common->options, NULL, 0,
                                                &list.count, program_error());
    if (status != RADLLM_E_BUFFER)
        check(status, NULL);
    list.ids = memory_array(list.count, sizeof *list.ids);
    check(radllm_chat_tokenize(run->model, chat, common->options, list.ids, list.count, &list.count,
                               program_error()),
          NULL);
    radllm_chat_free(chat);
    return list;
}

static token_list make_prompt(const runtime *run, const common_settings *common,
                              const settings *own)
{
    if (own->file == NULL) { /* any ids will do */
        token_list list = {memory_array((size_t)own->n_prompt, sizeof *list.ids),
                           (size_t)own->n_prompt};
        int64_t n_vocab = model_number(run->model, "vocab_size");
        for (size_t i = 0; i < list.count; i++)
            list.ids[i] = (int32_t)((i * 7919 + 3) % (size_t)n_vocab);
        return list;
    }
    buffer text = read_whole(own->file, PROMPT_LIMIT);
    while (text.length != 0 && text.data[text.length - 1] == '\n')
        text.data[--text.length] = '\0';
    token_list list =
        own->raw ? tokenize(run->model, text.data, text.length, RADLLM_TOKENIZE_ADD_SPECIAL)
                 : chat_prompt(run, common, &text);
    buffer_free(&text);
    return list;
}

static void measure_all(const runtime *run, const common_settings *common, const settings *own)
{
    way *ways = memory_array(MAX_WAYS, sizeof *ways);
    size_t count = list_ways(ways, own, run);
    token_list prompt = make_prompt(run, common, own);
    recording made = {.n_prompt = (uint32_t)prompt.count};
    check(radllm_options_set_integer(common->options, "max_tokens", own->n_tokens, program_error()),
          NULL);
    if (own->file == NULL) /* random weights end their answers anywhere */
        check(radllm_options_set_integer(common->options, "ignore_end", 1, program_error()), NULL);
    run_way(run, common, &prompt, &ways[0], &made, -1);
    if (made.answer.count < 2)
        fail("the answer has %zu tokens: too few to measure", made.answer.count);
    for (int64_t round = 0; round < own->rounds; round++) {
        for (size_t i = 0; i < count; i++)
            run_way(run, common, &prompt, &ways[i], &made, round);
    }
    report(ways, count, own->rounds, common);
    free(made.answer.ids);
    free(prompt.ids);
    free(ways);
}

int speculation_main(int argc, char **argv)
{
    settings own = {.acceptance = "0,25,50,75", .n_tokens = 64, .n_prompt = 64, .rounds = 5};
    common_settings common;
    const argument table[] = {
        {'f', "file", "FILE", ARGUMENT_TEXT, &own.file, NULL, 0, 0,
         "real guesses for the answer to the message in FILE"},
        {'\0', "raw", NULL, ARGUMENT_FLAG, &own.raw, NULL, 0, 0,
         "go on with FILE's text as it is, without a chat template"},
        {'\0', "acceptance", "P[,P]", ARGUMENT_TEXT, &own.acceptance, NULL, 0, 0,
         "without -f: the share of guesses that are right, in percent\n(0,25,50,75)"},
        {'n', "tokens", "N", ARGUMENT_INTEGER, &own.n_tokens, NULL, 2, 1 << 20,
         "tokens of the answer (64)"},
        {'p', "n-prompt", "N", ARGUMENT_INTEGER, &own.n_prompt, NULL, 1, 1 << 20,
         "without -f: tokens of the prompt (64)"},
        {'r', "repetitions", "N", ARGUMENT_INTEGER, &own.rounds, NULL, 1, MAX_ROUNDS,
         "rounds; medians are printed (5)"},
        {'\0', "draft-model", "FILE", ARGUMENT_TEXT, &common.draft_model, NULL, 0, 0,
         "a smaller model that guesses as well"},
        {'\0', "draft-tokens", "N", ARGUMENT_OPTION, NULL, "draft_tokens", 0, 0,
         "guess at most so many at a time (8)"},
        DEVICE_ARGUMENTS,
    };
    const program_usage usage = {
        "speculation -m MODEL [-f FILE] [OPTION]...",
        "How much sooner an answer comes when its tokens are guessed ahead: with guesses of which\n"
        "a given share is right, or with -f by lookup in the text so far. Without guesses (off)\n"
        "and with them in turn; `of off` is the median of the ratios of each round.",
        NULL,
        table,
        sizeof table / sizeof *table,
        false,
        NULL};
    arguments_parse(argc, argv, &usage, &common);
    arguments_refuse_positional(&common);
    program_catch_signals(false);
    runtime run;
    runtime_load(&run, &common, false);
    runtime_start(&run, &common);
    measure_all(&run, &common, &own);
    runtime_free(&run);
    arguments_free(&common);
    return program_finish(EXIT_CODE_OK);
}
