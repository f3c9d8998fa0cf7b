#include "api/options.h"

#include <stdio.h>
#include <string.h>

#include "api/handles.h"
#include "api/number_text.h"

#define MODEL    RADLLM_SCOPE_MODEL
#define ENGINE   RADLLM_SCOPE_ENGINE
#define REQUEST  RADLLM_SCOPE_REQUEST
#define QUANTIZE RADLLM_SCOPE_QUANTIZE
#define EMBED    RADLLM_SCOPE_EMBED

typedef struct option_row {
    const char *name;
    int32_t type, scope;
    double minimum, maximum;
    const char *fallback, *choices, *description;
} option_row;

#define MAX_TEXT 1048576.0
/* rad_cache_type in its order, behind auto. */
#define CACHE_TYPES "auto|f32|f16|bf16|fp8|q8_0|q4_0"

#define MOST_BYTES 9007199254740992.0 /* that a double holds exactly; K, M and G may follow */

static const option_row rows[RAD_OPTION_COUNT] = {
    [RAD_OPTION_LOAD] = {"load", RADLLM_OPTION_CHOICE, MODEL, 0, 0, "auto", "auto|copy|map",
                         "copy: weights in the library's own memory, in the layout that is "
                         "fastest; the file is not needed afterwards. map: weights stay in the "
                         "mapped file, also larger than memory; truncating the file then kills the "
                         "process. auto: copy, but map what is larger than the memory of this "
                         "machine, or of its control group, with a warning"},
    [RAD_OPTION_LOAD_WAIT] =
        {"load_wait", RADLLM_OPTION_CHOICE, MODEL, 0, 0, "auto", "auto|yes|no",
         "yes: a model's matrices are copied before it is given out. no: behind "
         "the first tokens, which read the file, with the same bits; needs a "
         "file, and no executor of the host; progress is not told. "
         "auto: no from 64 MiB of weights on"},
    [RAD_OPTION_LAYOUT] = {"layout", RADLLM_OPTION_CHOICE, MODEL, 0, 0, "auto", "auto|file|lane",
                           "how copied weights stand in memory: as in the file, or interleaved by "
                           "16 rows (faster, same bits), where codebook formats and TQ1_0 "
                           "take 1.2 to 1.55 times their file's bytes. auto: lane, but these as in "
                           "the file where memory_budget is too small for the weights otherwise"},
    [RAD_OPTION_NF4] = {"nf4", RADLLM_OPTION_CHOICE, MODEL, 0, 0, "float", "float|int8",
                        "weights in bitsandbytes' NF4 on the CPU. float: exact. int8: levels and "
                        "activations rounded to 8 bits, which is faster and other bits; nothing "
                        "changes on a GPU"},
    [RAD_OPTION_MEMORY_BUDGET] = {"memory_budget", RADLLM_OPTION_INTEGER, MODEL | ENGINE, 0,
                                  MOST_BYTES, "0", "",
                                  "bytes that weights and engine may take together; 0: no limit"},
    [RAD_OPTION_ISA] = {"isa", RADLLM_OPTION_CHOICE, MODEL, 0, 0, "auto",
                        "auto|scalar|avx2|avx512|neon",
                        "instruction set of the kernels; all give the same bits"},
    [RAD_OPTION_VOCAB_ONLY] = {"vocab_only", RADLLM_OPTION_BOOLEAN, MODEL, 0, 1, "0", "",
                               "load the tokenizer only"},
    [RAD_OPTION_ADAPTER] = {"adapter", RADLLM_OPTION_LIST, MODEL | QUANTIZE, 1, MAX_TEXT, "", "",
                            "list of PATH or PATH=SCALE: LoRA adapters (folders of PEFT, GGUF "
                            "files) that sessions of the model begin with, or that become part "
                            "of the weights that are written"},
    [RAD_OPTION_ADAPTER_MERGE] =
        {"adapter_merge", RADLLM_OPTION_BOOLEAN, MODEL, 0, 1, "0", "",
         "make the adapters of the option adapter part of the weights while these are read: no "
         "cost "
         "for each token, but for all sessions; matrices are encoded again in their own type"},
    [RAD_OPTION_THREADS] = {"threads", RADLLM_OPTION_INTEGER, MODEL | ENGINE | QUANTIZE, 0, 1024,
                            "0", "",
                            "threads that compute, the calling one included; 0: one for each "
                            "processor that this process may use (affinity, control group)"},
    [RAD_OPTION_CONTEXT] = {"context", RADLLM_OPTION_INTEGER, ENGINE, 0, RAD_MAX_CONTEXT, "0", "",
                            "tokens that a session holds, or, where attention goes on without "
                            "end, keeps of its last ones; 0: what the model was made for, at most "
                            "4096"},
    [RAD_OPTION_SESSIONS] = {"sessions", RADLLM_OPTION_INTEGER, ENGINE, 1, 4096, "1", "",
                             "sessions that the engine can have at the same time"},
    [RAD_OPTION_BATCH] = {"batch", RADLLM_OPTION_INTEGER, ENGINE, 1, 65536, "512", "",
                          "tokens computed in one step at most"},
    [RAD_OPTION_CACHE] = {"cache", RADLLM_OPTION_CHOICE, ENGINE, 0, 0, "auto", CACHE_TYPES,
                          "number format of cached keys and values: fp8 is E4M3 without a scale, "
                          "q8_0 and q4_0 have one for 32 values; auto: f32 for models in F32, "
                          "f16 for others"},
    [RAD_OPTION_CACHE_KEYS] = {"cache_keys", RADLLM_OPTION_CHOICE, ENGINE, 0, 0, "auto",
                               CACHE_TYPES, "the same of keys alone; auto: as cache says"},
    [RAD_OPTION_CACHE_VALUES] = {"cache_values", RADLLM_OPTION_CHOICE, ENGINE, 0, 0, "auto",
                                 CACHE_TYPES, "the same of values alone; auto: as cache says"},
    [RAD_OPTION_PREFIX_CACHE] = {"prefix_cache", RADLLM_OPTION_BOOLEAN, ENGINE, 0, 1, "1", "",
                                 "what sessions have computed is kept while there is room, and "
                                 "taken by others whose tokens "
                                 "begin in the same way; answers stay the same"},
    [RAD_OPTION_PREFIX_MEMORY] =
        {"prefix_memory", RADLLM_OPTION_INTEGER, ENGINE, 0, MOST_BYTES, "0", "",
         "bytes for kept beginnings, besides the memory of sessions that do not need it"},
    [RAD_OPTION_CACHE_POSITIONS] =
        {"cache_positions", RADLLM_OPTION_INTEGER, ENGINE, 0, 4294967295.0, "0", "",
         "tokens of all sessions together whose keys and values there is room for; common "
         "beginnings count once. At least context; requests that find no room wait. 0: context "
         "for each session"},
    [RAD_OPTION_ATTENTION] =
        {"attention", RADLLM_OPTION_CHOICE, ENGINE, 0, 0, "auto",
         "auto|full|window|sinks|recompute",
         "which keys a token sees. auto: what the model's metadata says. full: all. window: the "
         "last ones. sinks: these and the first ones, with positions counted inside the cache. "
         "recompute: keys are rebuilt from the last tokens. The last three go on without end in "
         "constant memory"},
    [RAD_OPTION_WINDOW] = {"window", RADLLM_OPTION_INTEGER, ENGINE, 0, RAD_MAX_CONTEXT, "0", "",
                           "last tokens that a token sees, itself included, under attention="
                           "window, sinks and recompute; 0: the model's own window"},
    [RAD_OPTION_SINKS] = {"sinks", RADLLM_OPTION_INTEGER, ENGINE, 0, 65536, "4", "",
                          "first tokens that every token sees under attention=sinks"},
    [RAD_OPTION_RECOMPUTE_PERIOD] = {"recompute_period", RADLLM_OPTION_INTEGER, ENGINE, 1,
                                     RAD_MAX_CONTEXT, "1", "",
                                     "under attention=recompute, tokens from one rebuilding to the "
                                     "next; a window then holds at least window - "
                                     "recompute_period + 1 tokens"},
    [RAD_OPTION_CONTEXT_LIMIT] = {"context_limit", RADLLM_OPTION_CHOICE, ENGINE, 0, 0, "model",
                                  "model|ignore",
                                  "model: no more positions than the model was made for. ignore: "
                                  "more of them, which it has not learned to use"},
    [RAD_OPTION_FAST] = {"fast", RADLLM_OPTION_CHOICE, ENGINE, 0, 0, "none", "none|blas|cublas",
                         "outside the numeric contract: answers then depend on machine, threads "
                         "and company. blas: products with F32, F16 and BF16 weights by OpenBLAS "
                         "(libradllm-blas.so). cublas: those of many tokens on a GPU by NVIDIA's "
                         "cuBLAS, where it is there; it changes nothing on the CPU"},
    [RAD_OPTION_DEVICE] = {"device", RADLLM_OPTION_CHOICE, MODEL | ENGINE, 0, 0, "auto",
                           "auto|cpu|cuda",
                           "what computes. cuda: a GPU of NVIDIA (libradllm-cuda.so), with as many "
                           "of the first layers as it has room for, and the CPU with the others; "
                           "models are then mapped, or copied in the file's layout. auto: cuda "
                           "where that object and a driver are there, else cpu"},
    [RAD_OPTION_GPU] = {"gpu", RADLLM_OPTION_INTEGER, ENGINE, -1, 63, "-1", "",
                        "number of the one GPU that is used, as the driver counts them; -1: as "
                        "gpus says"},
    [RAD_OPTION_GPUS] = {"gpus", RADLLM_OPTION_TEXT, ENGINE, 0, 256, "", "",
                         "numbers of the GPUs that may be used, with commas between them, in the "
                         "order in which layers go there: no more of them are used than have to "
                         "be. Empty: all that the driver knows"},
    [RAD_OPTION_GPU_LAYERS] = {"gpu_layers", RADLLM_OPTION_INTEGER, ENGINE, -1, RAD_MAX_LAYERS + 1,
                               "-1", "",
                               "layers on GPUs, exactly; one more than the model has: its last "
                               "product, too. -1: as many as there is room for"},
    [RAD_OPTION_GPU_SPLIT] = {"gpu_split", RADLLM_OPTION_TEXT, ENGINE, 0, 256, "", "",
                              "layers of each GPU in the order of gpus, exactly, with commas "
                              "between them: 20,12. Those that have none here get as many as they "
                              "have room for"},
    [RAD_OPTION_VRAM_LIMIT] = {"vram_limit", RADLLM_OPTION_INTEGER, ENGINE, 0, MOST_BYTES, "0", "",
                               "bytes that the engine may take on each GPU, the driver's own "
                               "included; 0: all that are free"},
    [RAD_OPTION_VRAM_LIMITS] = {"vram_limits", RADLLM_OPTION_TEXT, ENGINE, 0, 256, "", "",
                                "the same for each GPU in the order of gpus, with commas between "
                                "them and K, M or G behind a number: 8G,12G. Those that have none "
                                "here: as vram_limit says"},
    [RAD_OPTION_GPU_APART] =
        {"gpu_apart", RADLLM_OPTION_INTEGER, ENGINE, 0, 255, "0", "",
         "for measurements, what stays a launch of its own on a GPU, with the "
         "same bits: the sum of 1 (activations), 2 (residual sums), 4 (norms), "
         "8 (norms before wide products), 16 (rotation and store), 64 (values in another "
         "format than queries and keys), 128 (gate and up of experts); and, with the CPU's bits, "
         "32 (products with FP8, NF4 and "
         "FP4 weights by multiply-adds)"},
    [RAD_OPTION_GPU_CHECK] =
        {"gpu_check", RADLLM_OPTION_INTEGER, ENGINE, 0, 1, "1", "",
         "1: a GPU must compute a short text with the same bits at once and in "
         "pieces before an engine uses it"},
    [RAD_OPTION_SEED] = {"seed", RADLLM_OPTION_INTEGER, REQUEST, 0, 9223372036854775807.0, "0", "",
                         "of the random choice; the same seed gives the same answer"},
    [RAD_OPTION_TEMPERATURE] = {"temperature", RADLLM_OPTION_REAL, REQUEST, 0, 100, "0", "",
                                "0: always the most likely token"},
    [RAD_OPTION_TOP_K] = {"top_k", RADLLM_OPTION_INTEGER, REQUEST, 0, 2147483647.0, "0", "",
                          "keep the k most likely tokens; 0: all"},
    [RAD_OPTION_TOP_P] = {"top_p", RADLLM_OPTION_REAL, REQUEST, 0, 1, "1", "",
                          "keep the most likely tokens that together reach this probability"},
    [RAD_OPTION_MIN_P] = {"min_p", RADLLM_OPTION_REAL, REQUEST, 0, 1, "0", "",
                          "keep tokens at least this likely, relative to the most likely one"},
    [RAD_OPTION_TYPICAL_P] = {"typical_p", RADLLM_OPTION_REAL, REQUEST, 0, 1, "1", "",
                              "locally typical sampling: keep the tokens nearest to the expected "
                              "information that together reach this probability"},
    [RAD_OPTION_REPEAT_PENALTY] = {"repeat_penalty", RADLLM_OPTION_REAL, REQUEST, 0.01, 100, "1",
                                   "", "divides positive logits of tokens seen before"},
    [RAD_OPTION_FREQUENCY_PENALTY] = {"frequency_penalty", RADLLM_OPTION_REAL, REQUEST, -100, 100,
                                      "0", "", "taken off a logit for each earlier occurrence"},
    [RAD_OPTION_PRESENCE_PENALTY] = {"presence_penalty", RADLLM_OPTION_REAL, REQUEST, -100, 100,
                                     "0", "", "taken off the logit of each token seen before"},
    [RAD_OPTION_PENALTY_LAST_N] = {"penalty_last_n", RADLLM_OPTION_INTEGER, REQUEST, -1,
                                   2147483647.0, "64", "",
                                   "tokens that the penalties look back; -1: all"},
    [RAD_OPTION_LOGIT_BIAS] = {"logit_bias", RADLLM_OPTION_LIST, REQUEST, 0, MAX_TEXT, "", "",
                               "TOKEN:BIAS, added to the token's logit; -inf forbids it"},
    [RAD_OPTION_MAX_TOKENS] = {"max_tokens", RADLLM_OPTION_INTEGER, REQUEST, -1, 2147483647.0, "-1",
                               "", "tokens of the answer at most; -1: as positions allow"},
    [RAD_OPTION_TOP_LOGPROBS] = {"top_logprobs", RADLLM_OPTION_INTEGER, REQUEST, 0, 1000, "0", "",
                                 "log-probabilities of this many most likely tokens at each "
                                 "position; 0: none are computed"},
    [RAD_OPTION_TEMPLATE] = {"template", RADLLM_OPTION_TEXT, REQUEST, 0, 256, "auto", "",
                             "name of a built-in chat template; auto: the one that equals the "
                             "model's own"},
    [RAD_OPTION_DATE] =
        {"date", RADLLM_OPTION_TEXT, REQUEST, 0, 64, "", "",
         "the date that a chat template writes (llama3.1), as it shall stand there: "
         "26 Jul 2024. Empty: the one in the template's own text; no clock is read"},
    [RAD_OPTION_RAW] = {"raw", RADLLM_OPTION_BOOLEAN, REQUEST, 0, 1, "0", "",
                        "messages of a chat are joined without a template"},
    [RAD_OPTION_SPECIAL] = {"special", RADLLM_OPTION_BOOLEAN, REQUEST | EMBED, 0, 1, "0", "",
                            "read control tokens in the text of a prompt, or of what is embedded"},
    [RAD_OPTION_IGNORE_END] = {"ignore_end", RADLLM_OPTION_BOOLEAN, REQUEST, 0, 1, "0", "",
                               "go on behind the model's end of answer"},
    [RAD_OPTION_STOP] = {"stop", RADLLM_OPTION_LIST, REQUEST, 1, MAX_TEXT, "", "",
                         "a text that ends the answer and is no part of it"},
    [RAD_OPTION_STOP_TOKEN] = {"stop_token", RADLLM_OPTION_LIST, REQUEST, 1, MAX_TEXT, "", "",
                               "the id of a token that ends the answer and is no part of it"},
    [RAD_OPTION_SPECULATE] = {"speculate", RADLLM_OPTION_CHOICE, REQUEST, 0, 0, "off",
                              "off|lookup|draft",
                              "compute several tokens in one step where they can be guessed; the "
                              "answer stays the same. lookup: from the session's own tokens. "
                              "draft: by the engine's draft model"},
    [RAD_OPTION_DRAFT_TOKENS] = {"draft_tokens", RADLLM_OPTION_INTEGER, REQUEST, 1, RAD_MAX_DRAFT,
                                 "8", "",
                                 "tokens guessed in one step at most; fewer where experience says "
                                 "that fewer are right"},
    [RAD_OPTION_CACHE_SALT] = {"cache_salt", RADLLM_OPTION_TEXT, REQUEST, 0, RAD_SALT_SIZE, "", "",
                               "what is computed for requests with one salt is not taken for those "
                               "with another: keeps tenants apart"},
    [RAD_OPTION_POOLING] = {"pooling", RADLLM_OPTION_CHOICE, EMBED, 0, 0, "auto",
                            "auto|none|mean|cls|last",
                            "how the vectors of a text's tokens become its embedding: their mean, "
                            "the first or the last one; none: they are given as they are; auto: as "
                            "the model says, which must then be an embedding model"},
    [RAD_OPTION_NORMALIZE] = {"normalize", RADLLM_OPTION_CHOICE, EMBED, 0, 0, "auto", "auto|off|on",
                              "embeddings are brought to length 1; auto: as the model says, and "
                              "where it does not, unless pooling is none"},
    [RAD_OPTION_TRUNCATE] = {"truncate", RADLLM_OPTION_BOOLEAN, EMBED, 0, 1, "0", "",
                             "of a text that is longer than the context its beginning is taken; "
                             "without, it is an error"},
    [RAD_OPTION_QUANTIZE] = {"quantize", RADLLM_OPTION_CHOICE, QUANTIZE, 0, 0, "Q4_K_M",
                             RAD_FILE_TYPE_NAMES,
                             "number format of most matrices; some get another one, where that "
                             "serves the answers more than it costs. COPY: all stay as they are"},
    [RAD_OPTION_QUANTIZE_PURE] = {"quantize_pure", RADLLM_OPTION_BOOLEAN, QUANTIZE, 0, 1, "0", "",
                                  "all matrices get the same type"},
    [RAD_OPTION_QUANTIZE_AGAIN] = {"quantize_again", RADLLM_OPTION_BOOLEAN, QUANTIZE, 0, 1, "0", "",
                                   "take tensors that are quantized already, which loses more "
                                   "than quantizing the original"},
    [RAD_OPTION_QUANTIZE_TENSOR] = {"quantize_tensor", RADLLM_OPTION_LIST, QUANTIZE, 3, 4096, "",
                                    "",
                                    "PATTERN=TYPE: the type of tensors whose names fit; '*' is any "
                                    "text, '?' one character. The last that fits counts"},
    [RAD_OPTION_CALIBRATE_CONTEXT] = {"calibrate_context", RADLLM_OPTION_INTEGER, QUANTIZE, 2,
                                      RAD_MAX_CONTEXT, "512", "",
                                      "tokens of the pieces that a calibration text is cut into; "
                                      "at most what the model was made for"},
    [RAD_OPTION_CALIBRATE_CHUNKS] = {"calibrate_chunks", RADLLM_OPTION_INTEGER, QUANTIZE, -1,
                                     2147483647.0, "-1", "",
                                     "pieces that are used at most; -1: all"},
};

typedef struct option_value {
    bool set;
    int64_t integer; /* also of booleans and choices */
    double real;
    rad_text *items; /* one for a text */
    size_t n_items, capacity;
} option_value;

struct radllm_options {
    rad_allocator allocator;
    int64_t process;
    option_value values[RAD_OPTION_COUNT];
};

/* ---- values as text
 * ------------------------------------------------------------------------------
 */

static bool parse_boolean(rad_text text, int64_t *out)
{
    static const char *const words[] = {"0", "false", "no", "off", "1", "true", "yes", "on"};
    for (int i = 0; i < 8; i++) {
        if (strlen(words[i]) == text.size && memcmp(words[i], text.data, text.size) == 0) {
            *out = i >= 4;
            return true;
        }
    }
    return false;
}

static bool parse_choice(const char *choices, rad_text text, int64_t *out)
{
    int64_t index = 0;
    for (const char *word = choices; *word != '\0'; index++) {
        size_t size = strcspn(word, "|");
        if (size == text.size && memcmp(word, text.data, size) == 0) {
            *out = index;
            return true;
        }
        word += size + (word[size] == '|');
    }
    return false;
}

bool rad_option_numbers(rad_text text, int64_t numbers[RAD_CUDA_GPUS], size_t *n)
{
    static const char units[] = "KMG";
    const char *p = text.data, *end = text.data + text.size;
    for (*n = 0; text.size > 0; p++) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma != NULL ? comma : end;
        const char *unit = stop > p ? strchr(units, stop[-1]) : NULL;
        int shift = unit != NULL && *unit != '\0' ? 10 * (int)(unit - units + 1) : 0;
        int64_t value;
        if (*n == RAD_CUDA_GPUS ||
            !rad_parse_integer((rad_text){p, (size_t)(stop - p) - (shift > 0)}, &value) ||
            value < 0 || value > INT64_MAX >> 10 >> shift)
            return false;
        numbers[(*n)++] = value << shift;
        p = stop;
        if (comma == NULL)
            break;
    }
    return true;
}

/* Bytes may have a unit. */
static bool parse_number(const option_row *row, rad_text text, int64_t *out)
{
    int64_t numbers[RAD_CUDA_GPUS];
    size_t n;
    if (rad_parse_integer(text, out))
        return true;
    bool good = row->maximum == MOST_BYTES && rad_option_numbers(text, numbers, &n) && n == 1;
    *out = good ? numbers[0] : 0;
    return good;
}

/* A list of numbers of GPUs, each once, or of bytes. */
static bool is_gpu_list(int index, rad_text text)
{
    int64_t numbers[RAD_CUDA_GPUS];
    size_t n = 0;
    bool good = rad_option_numbers(text, numbers, &n);
    for (size_t i = 0; i < n && good && index == RAD_OPTION_GPUS; i++) {
        good = numbers[i] <= 63;
        for (size_t j = 0; j < i; j++)
            good = good && numbers[j] != numbers[i];
    }
    return good;
}

/* ---- the object --------------------------------------------------------------------------------
 */

radllm_status radllm_options_new(const radllm_host *host, radllm_options **out, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(out);
    rad_host settings = rad_host_settings(host);
    radllm_options *options = rad_alloc_zero(&settings.allocator, sizeof *options);
    if (options == NULL)
        return rad_fail_memory(error, sizeof *options);
    options->allocator = settings.allocator;
    options->process = rad_process_id();
    *out = options;
    return RADLLM_OK;
}

static void clear_value(const rad_allocator *allocator, option_value *value)
{
    for (size_t i = 0; i < value->n_items; i++)
        rad_free(allocator, (void *)value->items[i].data, value->items[i].size + 1);
    rad_free(allocator, value->items, value->capacity * sizeof *value->items);
    memset(value, 0, sizeof *value);
}

void radllm_options_free(radllm_options *options)
{
    if (options == NULL)
        return;
    rad_allocator allocator = options->allocator;
    for (int i = 0; i < RAD_OPTION_COUNT; i++)
        clear_value(&allocator, &options->values[i]);
    rad_free(&allocator, options, sizeof *options);
}

static radllm_status find_row(const char *key, int *index, radllm_error *error)
{
    for (int i = 0; i < RAD_OPTION_COUNT; i++) {
        if (strcmp(rows[i].name, key) == 0) {
            *index = i;
            return RADLLM_OK;
        }
    }
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(error, RADLLM_E_ARGUMENT,
                    "there is no option \"%s\"; radllm_option_describe() lists them all",
                    rad_quote(quoted, key, strlen(key)));
}

static radllm_status bad_value(const option_row *row, rad_text text, radllm_error *error)
{
    char quoted[RAD_QUOTE_SIZE];
    rad_quote(quoted, text.data, text.size);
    switch (row->type) {
    case RADLLM_OPTION_INTEGER:
    case RADLLM_OPTION_REAL:
        return rad_fail(error, RADLLM_E_ARGUMENT, "option %s: \"%s\" is not %s from %.15g to %.15g",
                        row->name, quoted,
                        row->type == RADLLM_OPTION_INTEGER ? "an integer" : "a number",
                        row->minimum, row->maximum);
    case RADLLM_OPTION_BOOLEAN:
        return rad_fail(error, RADLLM_E_ARGUMENT, "option %s: \"%s\" is neither 0 nor 1", row->name,
                        quoted);
    case RADLLM_OPTION_CHOICE:
        return rad_fail(error, RADLLM_E_ARGUMENT, "option %s: \"%s\" is none of %s", row->name,
                        quoted, row->choices);
    default:
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "option %s: a text of %zu bytes; it takes %.0f to %.0f", row->name,
                        text.size, row->minimum, row->maximum);
    }
}

static radllm_status add_item(radllm_options *options, option_value *value, rad_text text,
                              radllm_error *error)
{
    char *copy = rad_alloc(&options->allocator, text.size + 1);
    if (copy == NULL || !rad_reserve(&options->allocator, (void **)&value->items, &value->capacity,
                                     value->n_items + 1, sizeof *value->items)) {
        rad_free(&options->allocator, copy, text.size + 1);
        return rad_fail_memory(error, text.size + 1);
    }
    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    value->items[value->n_items++] = (rad_text){copy, text.size};
    value->set = true;
    return RADLLM_OK;
}

/* 9007199254740993 and the like are not exact as double: integers compare as such where they can.
 */
static bool integer_in_range(const option_row *row, int64_t value)
{
    return (double)value >= row->minimum && (double)value <= row->maximum;
}

radllm_status radllm_options_set_text(radllm_options *options, const char *key, const char *value,
                                      size_t length, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(options);
    RAD_CHECK_NULL(key);
    RAD_CHECK_NULL(value);
    RAD_CHECK_PROCESS(options->process);
    int index = 0;
    radllm_status status = find_row(key, &index, error);
    if (status != RADLLM_OK)
        return status;
    const option_row *row = &rows[index];
    option_value *slot = &options->values[index];
    rad_text text = {value, rad_text_length(value, length)};
    int64_t integer = 0;
    double real = 0.0;
    bool good = false;
    switch (row->type) {
    case RADLLM_OPTION_INTEGER:
        good = parse_number(row, text, &integer) && integer_in_range(row, integer);
        break;
    case RADLLM_OPTION_REAL:
        good = rad_parse_real(text, &real) && real >= row->minimum && real <= row->maximum;
        break;
    case RADLLM_OPTION_BOOLEAN:
        good = parse_boolean(text, &integer);
        break;
    case RADLLM_OPTION_CHOICE:
        good = parse_choice(row->choices, text, &integer);
        break;
    default:
        good = (double)text.size >= row->minimum && (double)text.size <= row->maximum;
        break;
    }
    if (!good)
        return bad_value(row, text, error);
    bool list = index == RAD_OPTION_GPUS || index == RAD_OPTION_GPU_SPLIT ||
                index == RAD_OPTION_VRAM_LIMITS;
    if (list && !is_gpu_list(index, text)) {
        char quoted[RAD_QUOTE_SIZE];
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "option %s: \"%s\" is no list of at most %d %s, with commas between them",
                        row->name, rad_quote(quoted, text.data, text.size), RAD_CUDA_GPUS,
                        index == RAD_OPTION_GPUS        ? "different numbers of GPUs"
                        : index == RAD_OPTION_GPU_SPLIT ? "numbers of layers"
                                                        : "numbers of bytes (1073741824 or 1G)");
    }
    if (row->type == RADLLM_OPTION_LIST)
        return add_item(options, slot, text, error);
    if (row->type == RADLLM_OPTION_TEXT) {
        clear_value(&options->allocator, slot);
        return add_item(options, slot, text, error);
    }
    *slot = (option_value){.set = true, .integer = integer, .real = real};
    return RADLLM_OK;
}

static radllm_status wrong_type(const option_row *row, radllm_error *error)
{
    return rad_fail(error, RADLLM_E_ARGUMENT, "option %s is set as text", row->name);
}

radllm_status radllm_options_set_integer(radllm_options *options, const char *key, int64_t value,
                                         radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(options);
    RAD_CHECK_NULL(key);
    RAD_CHECK_PROCESS(options->process);
    int index = 0;
    radllm_status status = find_row(key, &index, error);
    if (status != RADLLM_OK)
        return status;
    const option_row *row = &rows[index];
    if (row->type == RADLLM_OPTION_REAL)
        return radllm_options_set_real(options, key, (double)value, error);
    if (row->type != RADLLM_OPTION_INTEGER && row->type != RADLLM_OPTION_BOOLEAN)
        return wrong_type(row, error);
    if (!integer_in_range(row, value)) {
        char digits[32];
        int n = snprintf(digits, sizeof digits, "%lld", (long long)value);
        return bad_value(row, (rad_text){digits, (size_t)n}, error);
    }
    options->values[index] = (option_value){.set = true, .integer = value};
    return RADLLM_OK;
}

/* The shortest of 15 or 17 digits that reads back as the number, with a point in any locale. */
static size_t print_real(double value, char out[40])
{
    double back = 0.0;
    int n = snprintf(out, 40, "%.15g", value);
    for (int i = 0; i < n; i++)
        out[i] = out[i] == ',' ? '.' : out[i];
    if (rad_parse_real((rad_text){out, (size_t)n}, &back) && back == value)
        return (size_t)n;
    n = snprintf(out, 40, "%.17g", value);
    for (int i = 0; i < n; i++)
        out[i] = out[i] == ',' ? '.' : out[i];
    return (size_t)n;
}

radllm_status radllm_options_set_real(radllm_options *options, const char *key, double value,
                                      radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(options);
    RAD_CHECK_NULL(key);
    RAD_CHECK_PROCESS(options->process);
    int index = 0;
    radllm_status status = find_row(key, &index, error);
    if (status != RADLLM_OK)
        return status;
    const option_row *row = &rows[index];
    if (row->type != RADLLM_OPTION_REAL)
        return rad_fail(error, RADLLM_E_ARGUMENT, "option %s is not a real number", row->name);
    if (!(value >= row->minimum && value <= row->maximum)) {
        char digits[40];
        return bad_value(row, (rad_text){digits, print_real(value, digits)}, error);
    }
    options->values[index] = (option_value){.set = true, .real = value};
    return RADLLM_OK;
}

radllm_status radllm_options_reset(radllm_options *options, const char *key, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(options);
    RAD_CHECK_NULL(key);
    RAD_CHECK_PROCESS(options->process);
    int index = 0;
    radllm_status status = find_row(key, &index, error);
    if (status == RADLLM_OK)
        clear_value(&options->allocator, &options->values[index]);
    return status;
}

static radllm_status list_text(const radllm_options *options, const option_value *value,
                               char *buffer, size_t capacity, size_t *length, radllm_error *error)
{
    rad_arena arena = {.allocator = &options->allocator};
    size_t total = 0, used = 0;
    for (size_t i = 0; i < value->n_items; i++)
        total += value->items[i].size + 1;
    char *joined = rad_arena_alloc(&arena, total + 1, 1);
    if (joined == NULL)
        return rad_fail_memory(error, total + 1);
    for (size_t i = 0; i < value->n_items; i++) {
        if (i > 0)
            joined[used++] = '\n';
        memcpy(joined + used, value->items[i].data, value->items[i].size);
        used += value->items[i].size;
    }
    radllm_status status = rad_copy_out(joined, used, buffer, capacity, length, error);
    rad_arena_free(&arena);
    return status;
}

radllm_status radllm_options_get_text(const radllm_options *options, const char *key, char *buffer,
                                      size_t capacity, size_t *length, radllm_error *error)
{
    rad_error_clear(error);
    RAD_CHECK_NULL(options);
    RAD_CHECK_NULL(key);
    RAD_CHECK_PROCESS(options->process);
    int index = 0;
    radllm_status status = find_row(key, &index, error);
    if (status != RADLLM_OK)
        return status;
    const option_row *row = &rows[index];
    const option_value *value = &options->values[index];
    char digits[40];
    size_t n;
    if (!value->set)
        return rad_copy_out(row->fallback, strlen(row->fallback), buffer, capacity, length, error);
    switch (row->type) {
    case RADLLM_OPTION_INTEGER:
    case RADLLM_OPTION_BOOLEAN:
        n = (size_t)snprintf(digits, sizeof digits, "%lld", (long long)value->integer);
        return rad_copy_out(digits, n, buffer, capacity, length, error);
    case RADLLM_OPTION_REAL:
        return rad_copy_out(digits, print_real(value->real, digits), buffer, capacity, length,
                            error);
    case RADLLM_OPTION_CHOICE: {
        const char *word = row->choices;
        for (int64_t i = 0; i < value->integer; i++)
            word += strcspn(word, "|") + 1;
        return rad_copy_out(word, strcspn(word, "|"), buffer, capacity, length, error);
    }
    default:
        return list_text(options, value, buffer, capacity, length, error);
    }
}

radllm_status radllm_option_describe(uint32_t index, radllm_option_info *info)
{
    if (info == NULL)
        return RADLLM_E_ARGUMENT;
    if (index >= RAD_OPTION_COUNT)
        return RADLLM_E_NOT_FOUND;
    const option_row *row = &rows[index];
    radllm_option_info known = {.size = info->size,
                                .name = row->name,
                                .type = row->type,
                                .scope = row->scope,
                                .minimum = row->minimum,
                                .maximum = row->maximum,
                                .default_value = row->fallback,
                                .choices = row->choices,
                                .description = row->description};
    return rad_copy_info(info, &known, sizeof known, NULL);
}

/* ---- reading inside the library -----------------------------------------------------------------
 */

int64_t rad_option_integer(const radllm_options *options, rad_option option)
{
    const option_row *row = &rows[option];
    if (options != NULL && options->values[option].set)
        return options->values[option].integer;
    rad_text text = {row->fallback, strlen(row->fallback)};
    int64_t value = 0;
    if (row->type == RADLLM_OPTION_CHOICE)
        (void)parse_choice(row->choices, text, &value);
    else
        (void)rad_parse_integer(text, &value);
    return value;
}

int64_t rad_option_if_set(const radllm_options *options, rad_option option)
{
    return options != NULL && options->values[option].set ? options->values[option].integer : -1;
}

double rad_option_real(const radllm_options *options, rad_option option)
{
    const option_row *row = &rows[option];
    if (options != NULL && options->values[option].set)
        return options->values[option].real;
    double value = 0.0;
    (void)rad_parse_real((rad_text){row->fallback, strlen(row->fallback)}, &value);
    return value;
}

rad_text rad_option_text(const radllm_options *options, rad_option option)
{
    const option_row *row = &rows[option];
    if (options != NULL && options->values[option].set)
        return options->values[option].items[0];
    return (rad_text){row->fallback, strlen(row->fallback)};
}

size_t rad_option_list(const radllm_options *options, rad_option option, const rad_text **items)
{
    *items = options != NULL ? options->values[option].items : NULL;
    return options != NULL ? options->values[option].n_items : 0;
}
