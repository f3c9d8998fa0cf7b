#include "io/json.h"

#include <inttypes.h>
#include <string.h>

typedef struct scan {
    uint64_t values; /* at most this many, by the commas and brackets */
    uint32_t depth, deepest;
    bool in_string;
} scan;

/* Counts brackets and commas outside of strings; whether the text is JSON is not asked here. */
static bool scan_text(scan *s, const char *text, size_t size, size_t *at)
{
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        *at = i;
        if (s->in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                s->in_string = false;
            continue;
        }
        switch (c) {
        case '"':
            s->in_string = true;
            break;
        case '{':
        case '[':
            if (++s->depth > RAD_JSON_DEPTH_MAX)
                return false;
            s->values += 2;
            break;
        case '}':
        case ']':
            s->depth -= s->depth > 0;
            break;
        case ',':
            s->values++;
            break;
        default:
            break;
        }
        if (s->values > RAD_JSON_VALUES_MAX)
            return false;
    }
    return true;
}

static radllm_status check_limits(const char *label, const char *text, size_t size,
                                  radllm_error *error)
{
    scan s = {0};
    size_t at = 0;
    if (scan_text(&s, text, size, &at))
        return RADLLM_OK;
    if (s.depth > RAD_JSON_DEPTH_MAX)
        return rad_fail(error, RADLLM_E_LIMIT,
                        "%s: the JSON text is nested more than %u deep at byte %zu, which no model "
                        "needs; the file is damaged or hostile: fetch it again",
                        label, RAD_JSON_DEPTH_MAX, at);
    return rad_fail(error, RADLLM_E_LIMIT,
                    "%s: the JSON text holds more than %u values (byte %zu), far more than any "
                    "model needs; the file is damaged or hostile: fetch it again",
                    label, RAD_JSON_VALUES_MAX, at);
}

/* Its messages may quote the text. */
static radllm_status fail_parse(const char *label, const json_error_t *failure, radllm_error *error)
{
    char quoted[RAD_QUOTE_SIZE];
    if (json_error_code(failure) == json_error_out_of_memory)
        return rad_fail(error, RADLLM_E_MEMORY, "%s: memory is short while reading the JSON text",
                        label);
    return rad_fail(error, RADLLM_E_FORMAT,
                    "%s: the JSON text is faulty at line %d, byte %d: %s; the file is damaged: "
                    "fetch it again",
                    label, failure->line, failure->position,
                    rad_quote(quoted, failure->text, strlen(failure->text)));
}

static json_t *to_integer(json_t *value)
{
    const double whole = 9007199254740992.0; /* 2^53: doubles below it hold every whole number */
    double number = json_real_value(value);
    bool is_whole = json_is_real(value) && number > -whole && number < whole &&
                    number == (double)(int64_t)number;
    return is_whole ? json_integer((json_int_t)number) : json_incref(value);
}

/* Whole numbers become integers again; false: no memory. As deep as check_limits() lets it be. */
static bool restore_integers(json_t *value)
{
    json_t *item;
    size_t i;
    bool done = true;
    json_array_foreach(value, i, item)
    {
        done =
            done && restore_integers(item) && json_array_set_new(value, i, to_integer(item)) == 0;
    }
    for (void *at = json_object_iter(value); at != NULL && done;
         at = json_object_iter_next(value, at)) {
        item = json_object_iter_value(at);
        done = restore_integers(item) && json_object_iter_set_new(value, at, to_integer(item)) == 0;
    }
    return done;
}

static radllm_status read_root(const char *label, const char *text, size_t size, json_type type,
                               json_t **out, radllm_error *error)
{
    radllm_status status = check_limits(label, text, size, error);
    if (status != RADLLM_OK)
        return status;
    json_error_t failure;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &failure);
    /* "model_max_length": 10^30 is what tokenizer_config.json says for no limit. */
    bool long_numbers = root == NULL && json_error_code(&failure) == json_error_numeric_overflow;
    if (long_numbers)
        root = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &failure);
    if (root == NULL)
        return fail_parse(label, &failure, error);
    if (long_numbers && !restore_integers(root)) {
        json_decref(root);
        return rad_fail_memory(error, sizeof(json_t));
    }
    if (json_typeof(root) != type) {
        json_decref(root);
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the JSON text is no %s; the file is damaged or another one: fetch it "
                        "again",
                        label, type == JSON_OBJECT ? "object ({...})" : "list ([...])");
    }
    *out = root;
    return RADLLM_OK;
}

radllm_status rad_json_object(const char *label, const char *text, size_t size, json_t **out,
                              radllm_error *error)
{
    return read_root(label, text, size, JSON_OBJECT, out, error);
}

radllm_status rad_json_array(const char *label, const char *text, size_t size, json_t **out,
                             radllm_error *error)
{
    return read_root(label, text, size, JSON_ARRAY, out, error);
}
