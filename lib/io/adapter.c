#include "io/adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/families.h"
#include "io/module_pattern.h"

#define CONFIG     "adapter_config.json"
#define CONFIG_MAX ((size_t)4 << 20)
#define BASE       "base_model.model."
#define NAME_SIZE  256

typedef struct reader {
    const rad_source *source;
    const char *architecture;
    json_t *config;          /* of PEFT */
    uint32_t rank;           /* by the key r */
    uint32_t steps;          /* left for matching expressions */
    const char *passed_over; /* the first tensor that was; NULL: none */
    rad_adapter_description *out;
    radllm_error *error;
} reader;

static bool text_is(const rad_meta *meta, const char *text)
{
    return meta != NULL && meta->type == RAD_META_STRING && !meta->is_array &&
           meta->strings->size == strlen(text) &&
           memcmp(meta->strings->data, text, meta->strings->size) == 0;
}

bool rad_source_is_adapter(const rad_source *source)
{
    return source->adapter || text_is(rad_source_find_meta(source, "general.type"), "adapter");
}

/* Takes an ending off; false where the name has another one. */
static bool cut_ending(char *name, const char *ending)
{
    if (!rad_ends_with(name, strlen(name), ending))
        return false;
    name[strlen(name) - strlen(ending)] = '\0';
    return true;
}

static radllm_status refuse(const reader *r, const char *name, const char *what)
{
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(r->error, RADLLM_E_UNSUPPORTED, "%s: tensor '%s' %s",
                    rad_source_label(r->source), rad_quote(quoted, name, strlen(name)), what);
}

/* ---- the configuration of PEFT --------------------------------------------------------------- */

static radllm_status fail_key(const reader *r, radllm_status status, const char *key,
                              const char *what)
{
    const char *advice = strpbrk(what, ":;") != NULL ? ""
                         : status == RADLLM_E_FORMAT
                             ? "; the file is damaged: fetch it again"
                             : ": merge the adapter into its model with PEFT, and use that model";
    return rad_fail(r->error, status, "%s/" CONFIG ": the key %s %s%s", rad_source_label(r->source),
                    key, what, advice);
}

/* Whether a key asks for something: it is there, and neither null, false nor empty. */
static bool asks(const reader *r, const char *key)
{
    const json_t *value = json_object_get(r->config, key);
    bool empty = (json_is_array(value) && json_array_size(value) == 0) ||
                 (json_is_object(value) && json_object_size(value) == 0);
    return value != NULL && !json_is_null(value) && !json_is_false(value) && !empty;
}

static radllm_status check_kind(const reader *r)
{
    static const struct {
        const char *key, *what;
        bool empty; /* empty is a choice as well */
    } refused[] = {
        {"use_qalora", "asks for QALoRA, which is not supported", false},
        {"lora_bias", "asks for biases of B, which are not supported", false},
        {"layer_replication", "asks for layers that are repeated, which is not supported", false},
        {"trainable_token_indices", "asks for single tokens, which are not supported", false},
        {"alora_invocation_tokens",
         "asks for an adapter that begins at some tokens (aLoRA), which "
         "is not supported",
         true},
        {"use_bdlora", "asks for block-diagonal matrices, which are not supported", true},
        {"kasa_config", "asks for KaSA, which is not supported", true},
        {"monteclora_config", "asks for MonteCLoRA, which is not supported", true},
        {"arrow_config", "asks for routing among adapters, which is not supported", true},
    };
    const char *kind = json_string_value(json_object_get(r->config, "peft_type"));
    char quoted[RAD_QUOTE_SIZE];
    if (kind == NULL)
        return fail_key(r, RADLLM_E_FORMAT, "peft_type",
                        "is missing or no text: this is no configuration of an adapter; fetch it "
                        "again");
    if (strcmp(kind, "LORA") != 0)
        return rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                        "%s/" CONFIG ": peft_type \"%s\" is not supported; LORA is",
                        rad_source_label(r->source), rad_quote(quoted, kind, strlen(kind)));
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const json_t *value = json_object_get(r->config, refused[i].key);
        if (asks(r, refused[i].key) ||
            (refused[i].empty && (json_is_array(value) || json_is_object(value))))
            return fail_key(r, RADLLM_E_UNSUPPORTED, refused[i].key, refused[i].what);
    }
    return RADLLM_OK;
}

/* Ways of initialising that took the adapter's first values out of the model's own weights: with
 * the model as it was, such an adapter computes something else. PEFT takes them out again whenever
 * it opens one. */
static radllm_status check_beginning(const reader *r)
{
    static const char *const changing[] = {"pissa", "corda", "olora", "loftq", "lora_ga"};
    const char *name = json_string_value(json_object_get(r->config, "init_lora_weights"));
    char what[256];
    for (size_t i = 0; name != NULL && i < sizeof changing / sizeof *changing; i++) {
        if (!rad_same_any_case(name, changing[i], strlen(changing[i])))
            continue;
        snprintf(what, sizeof what,
                 "says %s, which changes the model's own weights as well: save the adapter with "
                 "path_initial_model_for_weight_conversion, or, where this is the changed model, "
                 "set the key to true",
                 changing[i]);
        return fail_key(r, RADLLM_E_UNSUPPORTED, "init_lora_weights", what);
    }
    return RADLLM_OK;
}

/* Keys that a later version of PEFT may know: as in PEFT itself, a warning. Those that are known
 * are honoured, are refused above, or say what the tensors say as well. */
static void report_unknown(const reader *r)
{
    static const char known[] =
        "peft_type|r|lora_alpha|use_rslora|use_dora|rank_pattern|alpha_pattern|init_lora_weights|"
        "modules_to_save|target_modules|target_parameters|bias|exclude_modules|lora_dropout|"
        "fan_in_fan_out|layers_to_transform|layers_pattern|megatron_config|megatron_core|"
        "loftq_config|eva_config|corda_config|lora_ga_config|velora_config|qalora_group_size|"
        "ensure_weight_tying|runtime_config|task_type|auto_mapping|peft_version|revision|"
        "base_model_name_or_path|inference_mode|merge_weights";
    char quoted[RAD_QUOTE_SIZE];
    const char *key;
    json_t *value;
    json_object_foreach(r->config, key, value)
    {
        if (asks(r, key) && !rad_is_one_of(key, known))
            rad_log_line(&r->source->host, RADLLM_LOG_WARNING,
                         "%s/" CONFIG ": the key '%s' is not known, and ignored: where it changes "
                         "what the adapter computes, merge it into its model with PEFT",
                         rad_source_label(r->source), rad_quote(quoted, key, strlen(key)));
    }
}

static radllm_status read_flag(const reader *r, const char *key, bool *out)
{
    const json_t *value = json_object_get(r->config, key);
    *out = json_is_true(value);
    if (value == NULL || json_is_null(value) || json_is_boolean(value))
        return RADLLM_OK;
    return fail_key(r, RADLLM_E_FORMAT, key, "must be true or false");
}

static radllm_status read_number(const reader *r, const char *key, const json_t *value, double *out)
{
    *out = json_number_value(value);
    if (!json_is_number(value) || !(fabs(*out) <= 1e9))
        return fail_key(r, RADLLM_E_FORMAT, key, "must be a number from -1e9 to 1e9");
    return RADLLM_OK;
}

static radllm_status check_rank(const reader *r, const char *key, const json_t *value)
{
    char what[128], given[32] = "";
    json_int_t rank = json_is_integer(value) ? json_integer_value(value) : 0;
    if (rank >= 1 && rank <= RAD_ADAPTER_RANK_MAX)
        return RADLLM_OK;
    if (json_is_integer(value))
        snprintf(given, sizeof given, ", not %lld", (long long)rank);
    snprintf(what, sizeof what,
             "must be a whole number from 1 to %u%s; the file is damaged: fetch it again",
             RAD_ADAPTER_RANK_MAX, given);
    return fail_key(r, RADLLM_E_FORMAT, key, what);
}

static radllm_status read_ranks(reader *r)
{
    const json_t *rank = json_object_get(r->config, "r");
    const json_t *pattern = json_object_get(r->config, "rank_pattern");
    const char *key;
    json_t *value;
    radllm_status status = check_rank(r, "r", rank);
    r->rank = (uint32_t)json_integer_value(rank);
    if (status != RADLLM_OK || !asks(r, "rank_pattern"))
        return status;
    if (!json_is_object(pattern))
        return fail_key(r, RADLLM_E_FORMAT, "rank_pattern", "must be an object of ranks");
    json_object_foreach((json_t *)(uintptr_t)pattern, key, value)
    {
        status = check_rank(r, "rank_pattern", value);
        if (status != RADLLM_OK)
            return status;
    }
    return RADLLM_OK;
}

static radllm_status read_config(reader *r)
{
    char *text;
    size_t size;
    radllm_status status = rad_source_side_file(r->source, &r->source->host.allocator, CONFIG,
                                                CONFIG_MAX, &text, &size, r->error);
    if (status != RADLLM_OK)
        return status;
    if (text == NULL)
        return rad_fail(r->error, RADLLM_E_IO,
                        "%s: " CONFIG " is missing beside the adapter's tensors: fetch the whole "
                        "folder",
                        rad_source_label(r->source));
    char label[RAD_PATH_LABEL_SIZE + 32];
    snprintf(label, sizeof label, "%s/" CONFIG, rad_source_label(r->source));
    status = rad_json_object(label, text, size, &r->config, r->error);
    rad_free(&r->source->host.allocator, text, size + 1);
    if (status == RADLLM_OK)
        status = check_kind(r);
    if (status == RADLLM_OK)
        status = check_beginning(r);
    if (status == RADLLM_OK)
        report_unknown(r);
    if (status == RADLLM_OK)
        status = read_ranks(r);
    if (status == RADLLM_OK)
        status =
            read_number(r, "lora_alpha", json_object_get(r->config, "lora_alpha"), &r->out->alpha);
    if (status == RADLLM_OK)
        status = read_flag(r, "use_rslora", &r->out->root);
    return status == RADLLM_OK ? read_flag(r, "use_dora", &r->out->lengths) : status;
}

/* Whether a name is that of a module, or its end: a dot stands for any character; the module's
 * whole name stands behind '^'. */
static bool names_module(const char *key, const char *module)
{
    bool whole = key[0] == '^';
    size_t size = strlen(key + whole), all = strlen(module);
    const char *at = module + all - size;
    if (size > all || (whole && size != all) || (size < all && at[-1] != '.'))
        return false;
    for (size_t i = 0; i < size; i++) {
        if (key[whole + i] != '.' && key[whole + i] != at[i])
            return false;
    }
    return true;
}

/* The entry of alpha_pattern or rank_pattern that means a module: PEFT takes the first one for
 * which
 * `(.*\.)?(KEY)$` matches. */
static rad_pattern_result find_entry(reader *r, const char *patterns, const char *module,
                                     const char **key, json_t **value)
{
    json_object_foreach(json_object_get(r->config, patterns), *key, *value)
    {
        rad_pattern_result result = names_module(*key, module) ? RAD_PATTERN_YES : RAD_PATTERN_NO;
        if (strpbrk(*key, "*+?()[]{}|\\$") != NULL)
            result = rad_module_pattern_match(*key, module, &r->steps);
        if (result != RAD_PATTERN_NO)
            return result;
    }
    return RAD_PATTERN_NO;
}

static radllm_status alpha_of(reader *r, const char *module, double *alpha)
{
    char what[RAD_QUOTE_SIZE + 160], quoted[RAD_QUOTE_SIZE];
    const char *key;
    json_t *value;
    *alpha = r->out->alpha;
    if (!asks(r, "alpha_pattern"))
        return RADLLM_OK;
    if (!json_is_object(json_object_get(r->config, "alpha_pattern")))
        return fail_key(r, RADLLM_E_FORMAT, "alpha_pattern", "must be an object of numbers");
    rad_pattern_result result = find_entry(r, "alpha_pattern", module, &key, &value);
    if (result == RAD_PATTERN_YES)
        return read_number(r, "alpha_pattern", value, alpha);
    if (result == RAD_PATTERN_NO)
        return RADLLM_OK;
    snprintf(what, sizeof what,
             "holds the regular expression '%s', which is faulty, longer or of more than this "
             "version knows; write the names of modules instead",
             rad_quote(quoted, key, strlen(key)));
    return fail_key(r, RADLLM_E_UNSUPPORTED, "alpha_pattern", what);
}

/* 0 where it cannot be told. */
static uint32_t rank_of(reader *r, const char *module)
{
    const char *key;
    json_t *value;
    rad_pattern_result result = find_entry(r, "rank_pattern", module, &key, &value);
    if (result == RAD_PATTERN_YES)
        return (uint32_t)json_integer_value(value);
    return result == RAD_PATTERN_NO ? r->rank : 0;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Of "...experts.3...." 3; a number that no expert has where it is too large. */
static uint32_t expert_of(const char *name)
{
    uint32_t number = 0;
    for (name = strstr(name, "experts.") + strlen("experts."); *name >= '0' && *name <= '9'; name++)
        number = number < 1u << 20 ? number * 10 + (uint32_t)(*name - '0') : number;
    return number;
}

/* parameter: the tensor is of a parameter with the matrices of all experts. */
static void set_target(const char *name, const char *gguf, rad_form form, bool parameter,
                       rad_adapter_tensor *out)
{
    static const struct {
        rad_form form;
        rad_adapter_part part;
    } parameters[] = {{FORM_PLAIN, RAD_ADAPTER_ALL},
                      {FORM_STACK_TURNED, RAD_ADAPTER_ALL},
                      {FORM_STACK_GATE, RAD_ADAPTER_FIRST_HALF},
                      {FORM_TURNS_GATE, RAD_ADAPTER_EVEN}};
    bool plain = form == FORM_PLAIN || form == FORM_TRANSPOSED || form == FORM_PLUS_ONE ||
                 form == FORM_LATENT_BOTH;
    out->rows = plain && !parameter      ? RAD_ADAPTER_ROWS_PLAIN
                : form == FORM_HEADS_QKV ? RAD_ADAPTER_ROWS_HEADS_QKV
                : form == FORM_EXPERTS   ? RAD_ADAPTER_ROWS_EXPERT
                                         : RAD_ADAPTER_ROWS_OTHER;
    for (size_t i = 0; parameter && i < sizeof parameters / sizeof *parameters; i++) {
        if (parameters[i].form != form)
            continue;
        out->rows = RAD_ADAPTER_ROWS_PARAMETER;
        out->part = parameters[i].part;
    }
    out->expert = form == FORM_EXPERTS ? expert_of(name) : 0;
    out->transposed = form == FORM_TRANSPOSED;
    out->less_one = form == FORM_PLUS_ONE;
    snprintf(out->target, sizeof out->target, "%s", gguf);
}

/* `name` is the module's tensor as transformers calls it ("model.layers.0...q_proj.weight"), or
 * less the model's own prefix where the adapter was trained without a head. */
static radllm_status find_target(const reader *r, const rad_tensor *tensor, const char *name,
                                 bool parameter, rad_adapter_tensor *out)
{
    char longer[NAME_SIZE + 8], gguf[64];
    rad_form form;
    snprintf(longer, sizeof longer, "model.%s", name);
    if (rad_family_find_name(r->architecture, name, gguf, &form) ||
        rad_family_find_name(r->architecture, longer, gguf, &form)) {
        set_target(name, gguf, form, parameter, out);
        return RADLLM_OK;
    }
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(r->error, RADLLM_E_ARGUMENT,
                    "%s: tensor '%s' names nothing in a model of architecture %s: the adapter "
                    "belongs to another model, or it changes what stands otherwise in this one: "
                    "merge it into the model by PEFT then",
                    rad_source_label(r->source),
                    rad_quote(quoted, tensor->name.data, tensor->name.size), r->architecture);
}

/* Whether target_parameters names a parameter. */
static bool is_parameter(const reader *r, const char *module, const char *parameter)
{
    const json_t *list = json_object_get(r->config, "target_parameters");
    char whole[NAME_SIZE + 16];
    bool found = false;
    snprintf(whole, sizeof whole, "%s.%s", module, parameter);
    for (size_t i = 0; i < json_array_size(list) && !found; i++) {
        const char *key = json_string_value(json_array_get(list, i));
        found = key != NULL && names_module(key, whole);
    }
    return found;
}

/* A module of experts whose parameters are changed: `name` becomes the parameter's. PEFT names the
 * module alone, and where it changes two of its parameters, the first one's tensors are those of
 * the base_layer. */
static radllm_status name_parameter(const reader *r, const rad_tensor *tensor, bool inner,
                                    char name[NAME_SIZE])
{
    bool first = is_parameter(r, name, "gate_up_proj"), second = is_parameter(r, name, "down_proj");
    size_t size = strlen(name);
    if ((!first && !second) || (inner && !(first && second)) ||
        size + sizeof ".gate_up_proj" > NAME_SIZE)
        return refuse(r, tensor->name.data,
                      "changes a parameter other than gate_up_proj and down_proj, or the key "
                      "target_parameters does not name it, which is not supported");
    snprintf(name + size, NAME_SIZE - size, "%s",
             inner || !second ? ".gate_up_proj" : ".down_proj");
    return RADLLM_OK;
}

/* A tensor of a pair, `name` is its module. */
static radllm_status describe_pair(reader *r, const rad_tensor *tensor, char name[NAME_SIZE],
                                   rad_adapter_tensor *out)
{
    bool inner = cut_ending(name, ".base_layer");
    bool parameter = rad_ends_with(name, strlen(name), ".experts");
    radllm_status status = RADLLM_OK;
    if (parameter)
        status = name_parameter(r, tensor, inner, name);
    else if (inner)
        return refuse(r, tensor->name.data, "is of a kind of LoRA that is not supported");
    /* Patterns mean modules, and parameters with their own names. */
    size_t size = strlen(name);
    bool matrix = !parameter && is_parameter(r, name, "weight");
    snprintf(name + size, NAME_SIZE - size, "%s", matrix ? ".weight" : "");
    if (status == RADLLM_OK)
        status = alpha_of(r, name, &out->alpha);
    if (status != RADLLM_OK)
        return status;
    out->rank = rank_of(r, name);
    snprintf(name + size, NAME_SIZE - size, "%s", parameter ? "" : ".weight");
    return find_target(r, tensor, name, parameter, out);
}

/* What PEFT may store of a tensor beside what changes it: the model's own (base_layer; its bias is
 * that where none was trained), and where embeddings are stored, what modules_to_save names thrice:
 * as NAME.weight, and inside the module that holds it and the model's own. Takes the module's name
 * out. */
static rad_adapter_role role_of_whole(const reader *r, char name[NAME_SIZE])
{
    static const char *const inner[] = {".base_layer.", ".original_module.", ".modules_to_save."};
    char *at = NULL, plain[NAME_SIZE + sizeof BASE];
    size_t i = 0;
    while (i < 3 && (at = strstr(name, inner[i])) == NULL)
        i++;
    if (at == NULL)
        return RAD_ADAPTER_WHOLE;
    memmove(at, at + strlen(inner[i]) - 1, strlen(at + strlen(inner[i]) - 1) + 1);
    const char *trained = json_string_value(json_object_get(r->config, "bias"));
    bool bias = trained != NULL && strcmp(trained, "none") != 0 &&
                rad_ends_with(name, strlen(name), ".bias");
    snprintf(plain, sizeof plain, BASE "%s", name);
    bool whole = (i == 0 && bias) || (i == 2 && rad_source_find_tensor(r->source, plain) == NULL);
    return whole ? RAD_ADAPTER_WHOLE : RAD_ADAPTER_COPY;
}

static radllm_status describe_peft(reader *r, const rad_tensor *tensor, rad_adapter_tensor *out)
{
    static const struct {
        const char *ending;
        rad_adapter_role role;
    } endings[] = {
        {".lora_A.weight", RAD_ADAPTER_A},
        {".lora_B.weight", RAD_ADAPTER_B},
        {".lora_embedding_A", RAD_ADAPTER_TABLE},
        {".lora_embedding_B", RAD_ADAPTER_B},
        {".lora_magnitude_vector", RAD_ADAPTER_MAGNITUDE},
        {".lora_magnitude_vector.weight", RAD_ADAPTER_MAGNITUDE},
        {".lora_velora_embed", RAD_ADAPTER_COPY}, /* of training alone */
    };
    char name[NAME_SIZE];
    if (tensor->name.size >= sizeof name - sizeof ".weight" ||
        memchr(tensor->name.data, '\0', tensor->name.size) != NULL ||
        strncmp(tensor->name.data, BASE, sizeof BASE - 1) != 0)
        return refuse(r, tensor->name.data, "has no name that PEFT gives (" BASE "...)");
    snprintf(name, sizeof name, "%s", tensor->name.data + sizeof BASE - 1);
    out->role = RAD_ADAPTER_COPY;
    if (rad_family_leaves_out(r->architecture, name)) {
        r->passed_over = r->passed_over != NULL ? r->passed_over : tensor->name.data;
        return RADLLM_OK;
    }
    out->role = RAD_ADAPTER_WHOLE;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (!cut_ending(name, endings[i].ending))
            continue;
        out->role = endings[i].role;
        return describe_pair(r, tensor, name, out);
    }
    if (strstr(name, "lora_") != NULL)
        return refuse(r, tensor->name.data, "is of a kind of LoRA that is not supported");
    out->role = role_of_whole(r, name);
    return find_target(r, tensor, name, false, out);
}

static radllm_status describe_gguf(const reader *r, const rad_tensor *tensor,
                                   rad_adapter_tensor *out)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s", tensor->name.data);
    out->alpha = r->out->alpha;
    out->role = RAD_ADAPTER_A;
    if (!cut_ending(name, ".lora_a")) {
        out->role = RAD_ADAPTER_B;
        if (rad_ends_with(name, strlen(name), "_norm.weight"))
            out->role = RAD_ADAPTER_WHOLE; /* the converter takes them along */
        else if (!cut_ending(name, ".lora_b"))
            return refuse(r, tensor->name.data,
                          "is neither .lora_a nor .lora_b: the file is damaged, or newer than this "
                          "library");
    }
    if (strlen(name) >= sizeof out->target)
        return refuse(r, tensor->name.data, "has too long a name");
    memcpy(out->target, name, strlen(name) + 1);
    if (rad_ends_with(name, strlen(name), "_exps.weight"))
        out->rows = RAD_ADAPTER_ROWS_STACK;
    return RADLLM_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* Whether some tensor is of a module, or of one inside it. */
static bool has_module(const reader *r, const char *module)
{
    size_t size = strlen(module);
    for (size_t i = 0; i < r->out->count && size > 0; i++) {
        const char *name = r->out->tensors[i].tensor->name.data;
        for (const char *at = strstr(name, module); at != NULL; at = strstr(at + 1, module)) {
            if (at > name && at[-1] == '.' && at[size] == '.')
                return true;
        }
    }
    return size == 0;
}

/* Modules that the configuration names, a family of the architecture has, and no tensor is of: what
 * was trained is not all here. PEFT takes the model's own in their place. */
static radllm_status check_modules(const reader *r)
{
    static const char *const keys[] = {"modules_to_save", "target_modules"};
    char what[160], quoted[RAD_QUOTE_SIZE];
    for (int k = 0; k < 2; k++) {
        const json_t *list = json_object_get(r->config, keys[k]);
        for (size_t i = 0; i < json_array_size(list); i++) {
            const char *name = json_string_value(json_array_get(list, i));
            if (name == NULL || has_module(r, name) ||
                !rad_family_has_module(r->architecture, name))
                continue;
            snprintf(what, sizeof what,
                     "names '%s', of which the file holds no tensor: fetch it again, or take the "
                     "name out",
                     rad_quote(quoted, name, strlen(name)));
            if (k == 0)
                return fail_key(r, RADLLM_E_FORMAT, keys[k], what);
            rad_log_line(&r->source->host, RADLLM_LOG_WARNING, "%s/" CONFIG ": the key %s %s",
                         rad_source_label(r->source), keys[k], what);
        }
    }
    return RADLLM_OK;
}

static radllm_status read_gguf(const reader *r)
{
    const rad_source *source = r->source;
    char quoted[RAD_QUOTE_SIZE];
    if (!text_is(rad_source_find_meta(source, "adapter.type"), "lora"))
        return rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                        "%s: the key adapter.type is not \"lora\": no other kind of adapter is "
                        "supported",
                        rad_source_label(source));
    if (rad_source_find_meta(source, "adapter.alora.invocation_tokens") != NULL)
        return rad_fail(r->error, RADLLM_E_UNSUPPORTED,
                        "%s: this adapter begins at some tokens (aLoRA), which is not supported",
                        rad_source_label(source));
    rad_text name;
    radllm_status status = rad_meta_text(source, "general.architecture", &name, r->error);
    if (status == RADLLM_OK && (name.data == NULL || name.size != strlen(r->architecture) ||
                                memcmp(name.data, r->architecture, name.size) != 0))
        return rad_fail(r->error, RADLLM_E_ARGUMENT,
                        "%s: the adapter is for the architecture \"%s\", the model is %s: the "
                        "adapter belongs to another model",
                        rad_source_label(source),
                        rad_quote(quoted, name.data != NULL ? name.data : "", name.size),
                        r->architecture);
    r->out->by_rank = true;
    return status == RADLLM_OK ? rad_meta_real(source, "adapter.lora.alpha", -1e9, 1e9, 0.0,
                                               &r->out->alpha, r->error)
                               : status;
}

/* Behind the last tensor, of gates and ups together: the same for the ups. */
static void add_ups(rad_adapter_description *out)
{
    rad_adapter_tensor *ups = &out->tensors[out->count++];
    *ups = ups[-1];
    ups->part = ups->part == RAD_ADAPTER_EVEN ? RAD_ADAPTER_ODD : RAD_ADAPTER_SECOND_HALF;
    char *at = strstr(ups->target, "gate_exps");
    if (at != NULL)
        memcpy(at, "up_exps.weight", sizeof "up_exps.weight");
}

static radllm_status describe(reader *r)
{
    const rad_source *source = r->source;
    rad_adapter_description *out = r->out;
    bool peft = source->adapter;
    radllm_status status = peft ? read_config(r) : read_gguf(r);
    uint64_t count = rad_source_n_tensors(source);
    if (status == RADLLM_OK && count == 0)
        status = rad_fail(r->error, RADLLM_E_FORMAT, "%s: the adapter has no tensors",
                          rad_source_label(source));
    if (status != RADLLM_OK)
        return status;
    out->halves = peft && rad_family_has_halves(r->architecture);
    out->room = 2 * (size_t)count;
    out->tensors = rad_alloc_zero(&source->host.allocator, out->room * sizeof *out->tensors);
    if (out->tensors == NULL)
        return rad_fail_memory(r->error, out->room * sizeof *out->tensors);
    for (size_t i = 0; i < count && status == RADLLM_OK; i++) {
        rad_adapter_tensor *one = &out->tensors[out->count++];
        one->tensor = rad_source_tensor(source, i);
        status = peft ? describe_peft(r, one->tensor, one) : describe_gguf(r, one->tensor, one);
        if (status == RADLLM_OK && one->part != RAD_ADAPTER_ALL)
            add_ups(out);
    }
    if (r->passed_over != NULL && status == RADLLM_OK) {
        char quoted[RAD_QUOTE_SIZE];
        rad_log_line(&source->host, RADLLM_LOG_WARNING,
                     "%s: '%s' and what else changes parts that this library leaves out of such "
                     "models is left out",
                     rad_source_label(source),
                     rad_quote(quoted, r->passed_over, strlen(r->passed_over)));
    }
    return status == RADLLM_OK && peft ? check_modules(r) : status;
}

radllm_status rad_adapter_describe(const rad_source *source, const char *architecture,
                                   rad_adapter_description *out, radllm_error *error)
{
    *out = (rad_adapter_description){0};
    reader r = {.source = source,
                .architecture = architecture,
                .steps = 20000000,
                .out = out,
                .error = error};
    if (!rad_source_is_adapter(source))
        return rad_fail(error, RADLLM_E_ARGUMENT,
                        "%s: this is no adapter: give a folder with adapter_config.json and "
                        "adapter_model.safetensors, or a GGUF file whose general.type is adapter",
                        rad_source_label(source));
    radllm_status status = describe(&r);
    json_decref(r.config);
    if (status != RADLLM_OK)
        rad_adapter_forget(source, out);
    return status;
}

void rad_adapter_forget(const rad_source *source, rad_adapter_description *description)
{
    rad_free(&source->host.allocator, description->tensors,
             description->room * sizeof *description->tensors);
    *description = (rad_adapter_description){0};
}
