/* A draft model on the device: it guesses what the model itself would choose, changes no answer and
 * no layer's place, is part of the plan, and is the CPU's where it has no room. */
#include "cuda/models.h"

static const char own_model[] = "architectures/llama3-gqa-tied-q8_0";
static const char other_model[] = "architectures/mistral-window-q8_0";
static const char settings[] = "sessions=3 context=64 batch=24 cache=f32";

static char last_warning[512];

static void keep_warning(void *user, int32_t level, const char *message)
{
    (void)user;
    if (level == RADLLM_LOG_WARNING)
        snprintf(last_warning, sizeof last_warning, "%s", message);
}

typedef struct pair {
    radllm_error *error;
    radllm_model *model, *draft;
    radllm_engine *engine;
} pair;

static radllm_status make(const char *draft, const char *device, const char *pairs, pair *p)
{
    radllm_host *host = NULL;
    radllm_options *options = options_on(device, pairs);
    *p = (pair){NULL, NULL, NULL, NULL};
    last_warning[0] = '\0';
    ck_assert_int_eq(radllm_error_new(&p->error), RADLLM_OK);
    rad_assert_ok(radllm_host_new(NULL, NULL, NULL, &host, p->error), p->error);
    rad_assert_ok(radllm_host_set_log(host, keep_warning, NULL, RADLLM_LOG_WARNING, p->error),
                  p->error);
    rad_assert_ok(
        radllm_model_open(host, model_path(own_model), options, NULL, &p->model, p->error),
        p->error);
    if (draft != NULL)
        rad_assert_ok(
            radllm_model_open(host, model_path(draft), options, NULL, &p->draft, p->error),
            p->error);
    radllm_status status =
        draft != NULL
            ? radllm_engine_new_with_draft(host, p->model, p->draft, options, &p->engine, p->error)
            : radllm_engine_new(host, p->model, options, &p->engine, p->error);
    radllm_options_free(options);
    radllm_host_free(host);
    return status;
}

static pair made(const char *draft, const char *device, const char *more)
{
    pair p;
    char pairs[256];
    snprintf(pairs, sizeof pairs, "%s %s", settings, more);
    radllm_status status = make(draft, device, pairs, &p);
    rad_assert_ok(status, p.error);
    return p;
}

static void close_pair(pair *p)
{
    radllm_engine_free(p->engine);
    radllm_model_free(p->model);
    radllm_model_free(p->draft);
    radllm_error_free(p->error);
}

static int64_t number_of(const pair *p, const char *name)
{
    int64_t number = -1;
    rad_assert_ok(radllm_engine_number(p->engine, name, &number, p->error), p->error);
    return number;
}

static const char *const asked[] = {"",
                                    "temperature=0.9 seed=3",
                                    "temperature=1.1 top_k=40 top_p=0.95 min_p=0.01 seed=5",
                                    "repeat_penalty=2 penalty_last_n=-1",
                                    "temperature=0.8 typical_p=0.9 seed=6",
                                    "temperature=1.3 seed=9 repeat_penalty=1.2 top_logprobs=2"};
enum { N_ASKED = sizeof asked / sizeof *asked, ANSWER = 14 };

/* Three requests at a time. */
static void answer(const pair *p, const char *speculate, int32_t answers[N_ASKED][ANSWER])
{
    for (size_t first = 0; first < N_ASKED; first += 3) {
        radllm_session *sessions[3];
        radllm_request *requests[3];
        uint32_t pending = 1;
        for (size_t i = 0; i < 3; i++) {
            static const int32_t prompt[] = {5, 9, 11, 40, 7};
            char pairs[256];
            snprintf(pairs, sizeof pairs,
                     "max_tokens=%d ignore_end=yes draft_tokens=4 speculate=%s %s", ANSWER,
                     speculate, asked[first + i]);
            radllm_options *options = options_on("cpu", pairs);
            rad_assert_ok(radllm_session_new(p->engine, &sessions[i], p->error), p->error);
            rad_assert_ok(radllm_request_new_tokens(sessions[i], prompt, 3 + i, options,
                                                    &requests[i], p->error),
                          p->error);
            rad_assert_ok(radllm_request_submit(requests[i], p->error), p->error);
            radllm_options_free(options);
        }
        while (pending > 0)
            rad_assert_ok(radllm_engine_step(p->engine, &pending, p->error), p->error);
        for (size_t i = 0; i < 3; i++) {
            for (size_t t = 0; t < ANSWER; t++) {
                radllm_answer_token token = {.size = sizeof token};
                rad_assert_ok(radllm_request_token(requests[i], t, &token, p->error), p->error);
                answers[first + i][t] = token.token;
            }
            radllm_request_free(requests[i]);
            radllm_session_free(sessions[i]);
        }
    }
}

/* As its own draft model, on one device and on the last of two, it is always right. */
START_TEST(it_guesses_as_the_model_chooses)
{
    static const char *const ways[] = {"", "gpu_split=1,1", "attention=sinks window=12 sinks=4",
                                       "cache=q8_0 cache_positions=72"};
    int32_t wanted[N_ASKED][ANSWER], got[N_ASKED][ANSWER];
    setenv("RAD_EMULATED_DEVICES", "2", 1);
    pair without = made(NULL, "cuda", ways[_i]), with = made(own_model, "cuda", ways[_i]);
    answer(&without, "off", wanted);
    answer(&with, "draft", got);
    ck_assert_int_eq(memcmp(wanted, got, sizeof wanted), 0);
    ck_assert_int_gt(number_of(&with, "drafted_tokens"), N_ASKED * ANSWER / 3);
    ck_assert_int_eq(number_of(&with, "accepted_tokens"), number_of(&with, "drafted_tokens"));
    ck_assert_int_gt(number_of(&with, "gpu_draft"), 0);
    ck_assert_str_eq(last_warning, "");
    close_pair(&without);
    close_pair(&with);
    setenv("RAD_EMULATED_DEVICES", "1", 1);
}
END_TEST

/* Guesses of another model, there or on the CPU, are right or not; the answers are the same. */
START_TEST(it_changes_no_answer)
{
    int32_t wanted[N_ASKED][ANSWER], got[N_ASKED][ANSWER];
    pair without = made(NULL, "cuda", ""), with = made(other_model, "cuda", "");
    answer(&without, "off", wanted);
    answer(&with, "draft", got);
    ck_assert_int_eq(memcmp(wanted, got, sizeof wanted), 0);
    ck_assert_int_gt(number_of(&with, "drafted_tokens"), 0);
    ck_assert_int_gt(number_of(&with, "gpu_draft"), 0);
    ck_assert_int_eq(number_of(&without, "gpu_draft"), 0);
    close_pair(&without);
    close_pair(&with);
}
END_TEST

/* The last one guesses on the CPU, since the model's layers are placed as if it were alone. */
START_TEST(it_takes_what_is_left)
{
    int32_t wanted[N_ASKED][ANSWER], got[N_ASKED][ANSWER];
    pair alone = made(NULL, "cuda", ""), with = made(own_model, "cuda", "");
    int64_t total = number_of(&alone, "gpu_total"), draft = number_of(&with, "gpu_draft");
    ck_assert_int_eq(number_of(&with, "gpu_total"), total + draft);
    ck_assert_int_eq(number_of(&with, "gpu0_draft"), draft);
    answer(&alone, "off", wanted);
    close_pair(&alone);
    close_pair(&with);
    for (int64_t less = 0; less < 2; less++) {
        char pairs[64];
        snprintf(pairs, sizeof pairs, "vram_limit=%lld", (long long)(total + draft - less));
        pair limited = made(own_model, "cuda", pairs);
        ck_assert_int_eq(number_of(&limited, "gpu_draft"), less == 0 ? draft : 0);
        ck_assert_int_eq(number_of(&limited, "gpu_total"), less == 0 ? total + draft : total);
        ck_assert_int_eq(number_of(&limited, "gpu_output"), 1);
        ck_assert_int_eq(strstr(last_warning, "the CPU computes it") != NULL, less == 1);
        answer(&limited, "draft", got);
        ck_assert_int_eq(memcmp(wanted, got, sizeof wanted), 0);
        close_pair(&limited);
    }
}
END_TEST

START_TEST(the_plan_says_what_it_takes)
{
    static const char *const names[] = {"gpu_draft", "gpu_total", "gpu_weights", "gpu_layers"};
    pair with = made(own_model, "cuda", "");
    radllm_options *options = options_on("cuda", settings);
    radllm_file *file = NULL;
    radllm_plan *plan = NULL;
    uint64_t planned[2];
    rad_assert_ok(radllm_file_open(NULL, model_path(own_model), &file, with.error), with.error);
    rad_assert_ok(radllm_plan_new_with_draft(file, file, options, &plan, with.error), with.error);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        rad_assert_ok(radllm_plan_number(plan, names[i], &planned[0], with.error), with.error);
        ck_assert_int_eq((int64_t)planned[0], number_of(&with, names[i]));
    }
    int64_t used = number_of(&with, "gpu_used"), total = number_of(&with, "gpu_total");
    ck_assert_msg(used >= total && used - total < total / 50 + 65536,
                  "%lld bytes are planned, %lld taken", (long long)total, (long long)used);
    /* Keys and values of both are there, and no more in main memory. */
    rad_assert_ok(radllm_plan_number(plan, "cache", &planned[0], with.error), with.error);
    rad_assert_ok(radllm_plan_number(plan, "draft", &planned[1], with.error), with.error);
    radllm_plan_free(plan);
    radllm_options_free(options);
    options = options_on("cpu", settings);
    uint64_t here[2];
    rad_assert_ok(radllm_plan_new_with_draft(file, file, options, &plan, with.error), with.error);
    rad_assert_ok(radllm_plan_number(plan, "cache", &here[0], with.error), with.error);
    rad_assert_ok(radllm_plan_number(plan, "draft", &here[1], with.error), with.error);
    ck_assert_uint_lt(planned[0], here[0]);
    ck_assert_uint_lt(planned[1], here[1]);
    radllm_plan_free(plan);
    radllm_options_free(options);
    radllm_file_free(file);
    close_pair(&with);
}
END_TEST

/* No logits come down for what is guessed where a token is all that is wanted of them. */
START_TEST(its_logits_stay_there)
{
    static const char *const wishes[] = {"temperature=0", "temperature=0.9 seed=3",
                                         "temperature=0.9 seed=3 top_k=20"};
    static const int32_t prompt[] = {5, 9, 11};
    char path[1024], pairs[128];
    radllm_session *session = NULL;
    radllm_request *request = NULL;
    snprintf(path, sizeof path, "%s", rad_test_temp_path("counts"));
    setenv("RAD_EMULATED_COUNTS", path, 1);
    pair with = made(own_model, "cuda", "");
    snprintf(pairs, sizeof pairs, "max_tokens=12 ignore_end=yes speculate=draft %s", wishes[_i]);
    radllm_options *options = options_on("cpu", pairs);
    rad_assert_ok(radllm_session_new(with.engine, &session, with.error), with.error);
    rad_assert_ok(radllm_request_new_tokens(session, prompt, 3, options, &request, with.error),
                  with.error);
    rad_assert_ok(radllm_request_run(request, NULL, with.error), with.error);
    ck_assert_int_gt(number_of(&with, "accepted_tokens"), 4);
    radllm_request_free(request);
    radllm_session_free(session);
    radllm_options_free(options);
    close_pair(&with);
    unsetenv("RAD_EMULATED_COUNTS");
    ck_assert_uint_eq(calls_of(path, "download"), 0);
}
END_TEST

/* The device is lost at its n-th call: a status, and the host goes on. */
START_TEST(a_lost_device_is_a_status)
{
    static const char *const kinds[] = {"alloc", "upload", "launch", "work", "graph_launch"};
    bool through = false;
    setenv("RAD_EMULATED_FREED", "1", 1);
    for (unsigned at = 1; !through; at += at / 2 + 1) {
        ck_assert_uint_lt(at, 1u << 20);
        pair p;
        char what[64];
        snprintf(what, sizeof what, "%s %u", kinds[_i], at);
        setenv("RAD_EMULATED_FAIL", what, 1);
        radllm_status status = make(own_model, "cuda", settings, &p);
        if (status == RADLLM_OK) {
            static const int32_t prompt[] = {5, 9, 11};
            radllm_session *session = NULL;
            radllm_request *request = NULL;
            radllm_options *options = options_on("cpu", "max_tokens=5 speculate=draft");
            rad_assert_ok(radllm_session_new(p.engine, &session, p.error), p.error);
            rad_assert_ok(radllm_request_new_tokens(session, prompt, 3, options, &request, p.error),
                          p.error);
            status = radllm_request_run(request, NULL, p.error);
            radllm_request_free(request);
            radllm_session_free(session);
            radllm_options_free(options);
        }
        through = status == RADLLM_OK;
        ck_assert_msg(through || status == RADLLM_E_DEVICE || status == RADLLM_E_UNSUPPORTED,
                      "%s: status %d: %s", what, (int)status, radllm_error_message(p.error));
        close_pair(&p);
        unsetenv("RAD_EMULATED_FAIL");
    }
    unsetenv("RAD_EMULATED_FREED");
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "draft");
    tcase_add_loop_test(cases, it_guesses_as_the_model_chooses, 0, 4);
    tcase_add_test(cases, it_changes_no_answer);
    tcase_add_test(cases, it_takes_what_is_left);
    tcase_add_test(cases, the_plan_says_what_it_takes);
    tcase_add_loop_test(cases, its_logits_stay_there, 0, 3);
    tcase_add_loop_test(cases, a_lost_device_is_a_status, 0, 5);
}

int main(void)
{
    return rad_test_main("cuda_draft", add_cases);
}
