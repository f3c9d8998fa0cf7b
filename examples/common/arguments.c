#include "common/arguments.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/program.h"
#include "common/text.h"

void text_list_add(text_list *list, const char *text)
{
    list->items = memory_resize(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = text;
}

void option_set(radllm_options *options, const char *key, const char *value, const char *origin)
{
    radllm_status status =
        radllm_options_set_text(options, key, value, RADLLM_NUL, program_error());
    if (status == RADLLM_E_MEMORY)
        check(status, origin);
    if (status != RADLLM_OK)
        fail_usage("%s: %s", origin, radllm_error_message(program_error()));
}

char *option_text(const radllm_options *options, const char *key)
{
    size_t length = 0;
    radllm_status status = radllm_options_get_text(options, key, NULL, 0, &length, program_error());
    if (status != RADLLM_OK && status != RADLLM_E_BUFFER)
        check(status, key);
    char *text = memory_take(length + 1);
    check(radllm_options_get_text(options, key, text, length + 1, &length, program_error()), key);
    text[length] = '\0';
    return text;
}

bool option_changed(const radllm_options *options, const char *key)
{
    radllm_options *defaults = NULL;
    check(radllm_options_new(NULL, &defaults, program_error()), NULL);
    char *own = option_text(options, key);
    char *standard = option_text(defaults, key);
    bool changed = strcmp(own, standard) != 0;
    free(own);
    free(standard);
    radllm_options_free(defaults);
    return changed;
}

static const char *type_name(int32_t type)
{
    static const char *const names[] = {"",     "integer", "real number",  "0 or 1",
                                        "text", "choice",  "list of texts"};
    return type >= 1 && type <= 6 ? names[type] : "text";
}

static void scope_name(int32_t scope, char *out, size_t capacity)
{
    snprintf(out, capacity, "%s%s%s%s%s", scope & RADLLM_SCOPE_MODEL ? " model" : "",
             scope & RADLLM_SCOPE_ENGINE ? " engine" : "",
             scope & RADLLM_SCOPE_REQUEST ? " request" : "",
             scope & RADLLM_SCOPE_QUANTIZE ? " quantize" : "",
             scope & RADLLM_SCOPE_EMBED ? " embed" : "");
}

static json_t *option_json(const radllm_option_info *info)
{
    char scope[64];
    scope_name(info->scope, scope, sizeof scope);
    json_t *object = json_object();
    json_put(object, "name", json_string(info->name));
    json_put(object, "type", json_string(type_name(info->type)));
    json_put(object, "scope", json_string(scope + 1));
    bool number = info->type == RADLLM_OPTION_INTEGER || info->type == RADLLM_OPTION_REAL;
    json_t *minimum = number ? json_real(info->minimum) : NULL;
    json_t *maximum = number ? json_real(info->maximum) : NULL;
    json_put(object, "minimum", minimum != NULL ? minimum : json_null());
    json_put(object, "maximum", maximum != NULL ? maximum : json_null());
    json_put(object, "default", json_string(info->default_value));
    json_put(object, "choices", json_string(info->choices));
    json_put(object, "description", json_string(info->description));
    return object;
}

static void list_options(bool as_json)
{
    json_t *all = json_array();
    for (uint32_t i = 0;; i++) {
        radllm_option_info info = {.size = sizeof info};
        if (radllm_option_describe(i, &info) != RADLLM_OK)
            break;
        if (as_json) {
            json_push(all, option_json(&info));
            continue;
        }
        char scope[64];
        scope_name(info.scope, scope, sizeof scope);
        output_format("%s\n    %s", info.name, type_name(info.type));
        if (info.type == RADLLM_OPTION_CHOICE)
            output_format(" %s", info.choices);
        if (info.type == RADLLM_OPTION_INTEGER || info.type == RADLLM_OPTION_REAL)
            output_format(" from %.15g to %.15g", info.minimum, info.maximum);
        output_format(", default \"%s\", of:%s\n    %s\n", info.default_value, scope,
                      info.description);
    }
    if (as_json)
        output_json(all, JSON_INDENT(2));
    json_decref(all);
}

static void list_templates(bool as_json)
{
    json_t *all = json_array();
    for (uint32_t i = 0;; i++) {
        radllm_template_info info = {.size = sizeof info};
        if (radllm_template_describe(i, &info) != RADLLM_OK)
            break;
        json_t *stops = json_array();
        for (const char *const *stop = info.stops; *stop != NULL; stop++)
            json_push(stops, json_string(*stop));
        json_t *object = json_object();
        json_put(object, "name", json_string(info.name));
        json_put(object, "stops", stops);
        json_put(object, "date", json_string(info.date));
        json_push(all, object);
        if (!as_json)
            output_format("%s\n", info.name);
    }
    if (as_json)
        output_json(all, JSON_INDENT(2));
    json_decref(all);
}

static void print_argument(const argument *entry)
{
    char left[80];
    snprintf(left, sizeof left, "%c%c%s--%s%s%s", entry->letter != '\0' ? '-' : ' ',
             entry->letter != '\0' ? entry->letter : ' ', entry->letter != '\0' ? ", " : "  ",
             entry->name, entry->value != NULL ? " " : "",
             entry->value != NULL ? entry->value : "");
    /* Further lines of the help text are indented like the first. */
    const char *line = entry->help;
    for (bool first = true; line != NULL; first = false) {
        const char *end = strchr(line, '\n');
        int length = end != NULL ? (int)(end - line) : (int)strlen(line);
        if (first && strlen(left) > 27)
            output_format("  %s\n  %-27s %.*s\n", left, "", length, line);
        else
            output_format("  %-27s %.*s\n", first ? left : "", length, line);
        line = end != NULL ? end + 1 : NULL;
    }
}

static void print_help(const program_usage *usage, const argument *shared, size_t n_shared)
{
    const char *line = usage->synopsis;
    while (line != NULL) {
        const char *end = strchr(line, '\n');
        int length = end != NULL ? (int)(end - line) : (int)strlen(line);
        output_format("%s %s %.*s\n", line == usage->synopsis ? "Usage:" : "      ", program_name(),
                      length, line);
        line = end != NULL ? end + 1 : NULL;
    }
    output_format("\n%s\n\nOptions:\n", usage->description);
    for (size_t i = 0; i < usage->count; i++)
        print_argument(&usage->table[i]);
    output_text("\nOptions of all libradllm programs:\n");
    for (size_t i = 0; i < n_shared; i++)
        print_argument(&shared[i]);
    if (usage->details != NULL)
        output_format("\n%s\n", usage->details);
    output_text("\nExit status: 0 success, 1 failure, 2 wrong usage, 130 interrupted"
                " (Ctrl-C or SIGTERM).\n");
}

static const argument *find_argument(const argument *table, size_t count, char letter,
                                     const char *name, size_t length)
{
    for (size_t i = 0; i < count; i++) {
        if (letter != '\0'
                ? table[i].letter == letter
                : strlen(table[i].name) == length && memcmp(table[i].name, name, length) == 0)
            return &table[i];
    }
    return NULL;
}

static void apply(const argument *entry, const char *value, const char *origin,
                  common_settings *common)
{
    int64_t number = 0;
    switch (entry->kind) {
    case ARGUMENT_FLAG:
        *(bool *)entry->target = true;
        break;
    case ARGUMENT_TEXT:
        *(const char **)entry->target = value;
        break;
    case ARGUMENT_TEXTS:
        text_list_add(entry->target, value);
        break;
    case ARGUMENT_INTEGER:
        if (!parse_integer(value, &number) || number < entry->minimum || number > entry->maximum)
            fail_usage("%s: \"%s\" is not a whole number from %lld to %lld", origin, value,
                       (long long)entry->minimum, (long long)entry->maximum);
        *(int64_t *)entry->target = number;
        break;
    case ARGUMENT_OPTION:
        option_set(common->options, entry->key, value != NULL ? value : "1", origin);
        break;
    }
}

/* KEY=VALUE pairs of --option. */
static void apply_pair(radllm_options *options, const char *pair)
{
    const char *equals = strchr(pair, '=');
    if (equals == NULL || equals == pair)
        fail_usage("--option %s: write KEY=VALUE; --list-options shows the keys", pair);
    char *key = memory_text(pair);
    key[equals - pair] = '\0';
    char origin[128];
    snprintf(origin, sizeof origin, "--option %s", key);
    option_set(options, key, equals + 1, origin);
    free(key);
}

typedef struct shared_values {
    bool help;
    bool version;
    bool list_options;
    bool list_templates;
    text_list pairs;
} shared_values;

enum { N_SHARED = 18 };

static void fill_shared(argument *table, shared_values *values, common_settings *common,
                        bool threads_as_list)
{
    const argument all[N_SHARED] = {
        {'m', "model", "FILE", ARGUMENT_TEXT, &common->model, NULL, 0, 0,
         "the model: a GGUF file, or a folder of safetensors"},
        {'t', "threads", "N", ARGUMENT_OPTION, NULL, "threads", 0, 0,
         "threads that compute (0: as many as suit the machine)"},
        {'c', "context", "TOKENS", ARGUMENT_OPTION, NULL, "context", 0, 0,
         "the most tokens that prompt and answer may have, or, where\n--attention goes on, that "
         "are "
         "kept of them"},
        {'\0', "context-limit", "HOW", ARGUMENT_OPTION, NULL, "context_limit", 0, 0,
         "ignore: more positions than the model was made for"},
        {'\0', "attention", "POLICY", ARGUMENT_OPTION, NULL, "attention", 0, 0,
         "auto (as the model says), full, window, sinks or recompute;\nthe last three go on "
         "without end in constant memory"},
        {'\0', "window", "TOKENS", ARGUMENT_OPTION, NULL, "window", 0, 0,
         "last tokens that a token sees under these three"},
        {'\0', "sinks", "TOKENS", ARGUMENT_OPTION, NULL, "sinks", 0, 0,
         "first tokens that every token sees under --attention sinks"},
        {'\0', "recompute-period", "N", ARGUMENT_OPTION, NULL, "recompute_period", 0, 0,
         "under --attention recompute, rebuild at every N-th token"},
        {'s', "seed", "N", ARGUMENT_OPTION, NULL, "seed", 0, 0, "seed of the random choices"},
        {'\0', "temp", "T", ARGUMENT_OPTION, NULL, "temperature", 0, 0,
         "temperature; 0 always takes the most likely token"},
        {'\0', "cache", "TYPE", ARGUMENT_OPTION, NULL, "cache", 0, 0,
         "number format of cached keys and values: f32, f16, bf16, fp8, q8_0, q4_0 or auto"},
        {'\0', "isa", "NAME", ARGUMENT_OPTION, NULL, "isa", 0, 0,
         "instruction set: scalar, avx2, avx512, neon or auto"},
        {'\0', "option", "KEY=VALUE", ARGUMENT_TEXTS, &values->pairs, NULL, 0, 0,
         "set any option of the library"},
        {'\0', "list-options", NULL, ARGUMENT_FLAG, &values->list_options, NULL, 0, 0,
         "describe the options of the library"},
        {'\0', "list-templates", NULL, ARGUMENT_FLAG, &values->list_templates, NULL, 0, 0,
         "name the built-in chat templates"},
        {'\0', "json", NULL, ARGUMENT_FLAG, &common->json, NULL, 0, 0, "write JSON"},
        {'h', "help", NULL, ARGUMENT_FLAG, &values->help, NULL, 0, 0, "show this text"},
        {'\0', "version", NULL, ARGUMENT_FLAG, &values->version, NULL, 0, 0, "show the version"},
    };
    memcpy(table, all, sizeof all);
    if (threads_as_list) {
        table[1].kind = ARGUMENT_TEXT;
        table[1].target = &common->threads_list;
        table[1].value = "N[,N]";
    }
}

static int parse_one(int count, char **values, int at, const program_usage *usage,
                     const argument *shared, common_settings *common)
{
    const char *word = values[at];
    bool is_long = word[1] == '-';
    const char *name = word + (is_long ? 2 : 1);
    size_t length = is_long ? strcspn(name, "=") : 1;
    char letter = is_long ? '\0' : name[0];
    const argument *entry = find_argument(usage->table, usage->count, letter, name, length);
    if (entry == NULL)
        entry = find_argument(shared, N_SHARED, letter, name, length);
    if (entry == NULL)
        fail_usage("unknown option %s", word);
    char origin[64];
    snprintf(origin, sizeof origin, "%s%.*s", is_long ? "--" : "-", (int)length, name);
    const char *attached = name[length] != '\0' ? name + length + (is_long ? 1 : 0) : NULL;
    if (entry->value == NULL) {
        if (attached != NULL)
            fail_usage("%s takes no value", origin);
        apply(entry, NULL, origin, common);
        return at + 1;
    }
    if (attached != NULL) {
        apply(entry, attached, origin, common);
        return at + 1;
    }
    if (at + 1 >= count)
        fail_usage("%s needs a value: %s", origin, entry->value);
    apply(entry, values[at + 1], origin, common);
    return at + 2;
}

/* A draft model is named where one is asked for, and only there. */
static void check_speculation(common_settings *common)
{
    char *how = option_text(common->options, "speculate");
    bool named = common->draft_model != NULL, by_model = strcmp(how, "draft") == 0;
    if (named && !option_changed(common->options, "speculate"))
        option_set(common->options, "speculate", "draft", "--draft-model");
    else if (named && !by_model)
        fail_usage("--draft-model goes with --speculate draft, not %s", how);
    else if (!named && by_model)
        fail_usage("--speculate draft needs a draft model: --draft-model FILE");
    free(how);
}

void arguments_parse(int count, char **values, const program_usage *usage, common_settings *common)
{
    *common = (common_settings){0};
    shared_values found = {0};
    argument shared[N_SHARED];
    fill_shared(shared, &found, common, usage->threads_as_list);
    check(radllm_options_new(NULL, &common->options, program_error()), NULL);

    for (const char *const *preset = usage->presets; preset != NULL && *preset != NULL; preset += 2)
        option_set(common->options, preset[0], preset[1], preset[0]);

    bool only_positional = false;
    for (int at = 1; at < count;) {
        const char *word = values[at];
        if (only_positional || word[0] != '-' || word[1] == '\0') {
            text_list_add(&common->positional, word);
            at++;
        } else if (strcmp(word, "--") == 0) {
            only_positional = true;
            at++;
        } else {
            at = parse_one(count, values, at, usage, shared, common);
        }
    }
    for (size_t i = 0; i < found.pairs.count; i++)
        apply_pair(common->options, found.pairs.items[i]);
    free(found.pairs.items);
    if (!found.help && !found.version && !found.list_options && !found.list_templates) {
        check_speculation(common);
        return;
    }
    if (found.help)
        print_help(usage, shared, N_SHARED);
    else if (found.version)
        output_format("%s %d.%d.%d (libradllm %s, numeric version %u)\n", program_name(),
                      RADLLM_VERSION_MAJOR, RADLLM_VERSION_MINOR, RADLLM_VERSION_PATCH,
                      radllm_version_text(), radllm_numeric_version());
    else if (found.list_options)
        list_options(common->json);
    else
        list_templates(common->json);
    arguments_free(common);
    exit(program_finish(EXIT_CODE_OK));
}

void arguments_refuse_positional(const common_settings *common)
{
    if (common->positional.count != 0)
        fail_usage("\"%s\" belongs to no option", common->positional.items[0]);
}

void arguments_free(common_settings *common)
{
    radllm_options_free(common->options);
    free(common->positional.items);
    *common = (common_settings){0};
}
