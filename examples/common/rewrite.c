#include "common/rewrite.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/program.h"
#include "common/text.h"

/* The kinds of files, with '|' between them. Static storage. */
const char *rewrite_type_names(void)
{
    for (uint32_t i = 0;; i++) {
        radllm_option_info info = {.size = sizeof info};
        if (radllm_option_describe(i, &info) != RADLLM_OK)
            fail("this libradllm cannot quantize");
        if (strcmp(info.name, "quantize") == 0)
            return info.choices;
    }
}

/* In any case, and with the names that others use: "q4_k" is Q4_K_M. False for no type. */
bool rewrite_find_type(const char *text, char out[32])
{
    static const char *const aliases[][2] = {
        {"Q3_K", "Q3_K_M"}, {"Q4_K", "Q4_K_M"}, {"Q5_K", "Q5_K_M"}};
    size_t length = strlen(text);
    if (length == 0 || length >= 32)
        return false;
    for (size_t i = 0; i <= length; i++)
        out[i] = (char)toupper((unsigned char)text[i]);
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(out, aliases[i][0]) == 0)
            strcpy(out, aliases[i][1]);
    for (const char *name = rewrite_type_names(); *name != '\0';) {
        size_t size = strcspn(name, "|");
        if (strlen(out) == size && memcmp(name, out, size) == 0)
            return true;
        name += size + (name[size] == '|');
    }
    return false;
}

static uint64_t plan_number(const radllm_quantization *plan, const char *name)
{
    uint64_t value = 0;
    check(radllm_quantization_number(plan, name, &value, program_error()), name);
    return value;
}

static radllm_quantized_tensor_info tensor_at(const radllm_quantization *plan, uint64_t index)
{
    radllm_quantized_tensor_info info = {.size = sizeof info};
    check(radllm_quantization_tensor(plan, index, &info, program_error()), "tensor");
    return info;
}

static const char *const numbers[] = {"tensors",      "quantized",     "weighted", "fallbacks",
                                      "merged",       "rounded_again", "elements", "source_bytes",
                                      "tensor_bytes", "bytes"};
enum { N_NUMBERS = 10 };

static void print_json(const radllm_quantization *plan, const rewrite_report *own,
                       const common_settings *common)
{
    json_t *object = json_object();
    char *type = option_text(common->options, "quantize");
    json_put(object, "file", json_from_text(own->input, strlen(own->input)));
    json_put(object, "output", json_text_or_null(own->dry_run ? NULL : own->output));
    json_put(object, "type", json_string(type));
    free(type);
    for (size_t i = 0; i < N_NUMBERS; i++) {
        bool list = strcmp(numbers[i], "tensors") == 0;
        if (own->folder && strcmp(numbers[i], "bytes") == 0)
            continue; /* of a GGUF file */
        json_put(object, list ? "n_tensors" : numbers[i],
                 json_integer((json_int_t)plan_number(plan, numbers[i])));
    }
    if (!own->dry_run)
        json_put_real(object, "seconds", own->seconds);
    json_t *tensors = json_array();
    uint64_t count = plan_number(plan, "tensors");
    for (uint64_t i = 0; i < count; i++) {
        radllm_quantized_tensor_info info = tensor_at(plan, i);
        json_t *entry = json_object();
        json_put(entry, "name", json_from_text(info.name, strlen(info.name)));
        json_put(entry, "source_type", json_string(info.source_type));
        json_put(entry, "type", json_string(info.type));
        json_put(entry, "source_bytes", json_integer((json_int_t)info.source_bytes));
        json_put(entry, "bytes", json_integer((json_int_t)info.bytes));
        json_put(entry, "weighted", json_boolean(info.weighted));
        json_put(entry, "fallback", json_boolean(info.fallback));
        json_push(tensors, entry);
    }
    json_put(object, "tensors", tensors);
    output_json(object, JSON_INDENT(2));
    json_decref(object);
}

static void print_tensors(const radllm_quantization *plan)
{
    uint64_t count = plan_number(plan, "tensors");
    for (uint64_t i = 0; i < count; i++) {
        radllm_quantized_tensor_info info = tensor_at(plan, i);
        bool same = strcmp(info.source_type, info.type) == 0;
        output_format("%12" PRIu64 " bytes  %-6s %s %-6s  ", info.bytes, info.source_type,
                      same ? "  " : "->", same ? "" : info.type);
        output_escaped(info.name, strlen(info.name));
        output_format("%s%s\n", info.weighted ? ", weighted" : "",
                      info.fallback ? ", for rows of this length" : "");
    }
}

static void print_sum(const radllm_quantization *plan, const rewrite_report *own)
{
    uint64_t elements = plan_number(plan, "elements"), bytes = plan_number(plan, "bytes");
    uint64_t before = plan_number(plan, "source_bytes"), after = plan_number(plan, "tensor_bytes");
    output_format("%" PRIu64 " tensors: %.1f MiB (%.2f bits per weight) -> %.1f MiB (%.2f)\n",
                  plan_number(plan, "tensors"), (double)before / 1048576,
                  8 * (double)before / (double)elements, (double)after / 1048576,
                  8 * (double)after / (double)elements);
    output_format("%s: %" PRIu64 " bytes%s", own->folder ? "weights" : "file",
                  own->folder ? after : bytes, own->dry_run ? "\n" : "");
    if (!own->dry_run)
        output_format(", written in %.1f s\n", own->seconds);
}

void rewrite_print(const radllm_quantization *plan, const rewrite_report *own,
                   const common_settings *common)
{
    if (!own->dry_run && rewrite_is_standard_output(own->output))
        return; /* which holds the file, and nothing else */
    if (common->json) {
        print_json(plan, own, common);
        return;
    }
    if (own->dry_run || own->verbose)
        print_tensors(plan);
    print_sum(plan, own);
    uint64_t merged = plan_number(plan, "merged"), again = plan_number(plan, "rounded_again");
    if (merged > 0)
        output_format("adapters merged into %" PRIu64 " tensors\n", merged);
    if (again > 0)
        warn("%" PRIu64 " of them are quantized and were rounded a second time; merging into the "
             "F32, F16 or BF16 model, or --type BF16, loses less",
             again);
    uint64_t fallbacks = plan_number(plan, "fallbacks");
    if (fallbacks > 0)
        warn("%" PRIu64 " tensors have rows that the type's blocks do not divide, and got another"
             " type",
             fallbacks);
}

int32_t rewrite_show(void *user, const char *stage, uint64_t done, uint64_t total)
{
    rewrite_progress *state = user;
    if (!state->begun)
        progress_begin(&state->bar, stage, "", total, done);
    state->begun = true;
    progress_show(&state->bar, done);
    return 0;
}

void rewrite_end(rewrite_progress *state)
{
    if (state->begun)
        progress_end(&state->bar);
    state->begun = false;
}

void rewrite_open(const char *path, rewrite_source *out)
{
    *out = (rewrite_source){0};
    check(radllm_host_new(NULL, NULL, NULL, &out->host, program_error()), NULL);
    check(radllm_host_set_progress(out->host, rewrite_show, &out->progress, program_error()), NULL);
    check(radllm_file_open(out->host, path, &out->file, program_error()), NULL);
}

void rewrite_close(rewrite_source *from)
{
    radllm_file_free(from->file);
    radllm_host_free(from->host);
}

static bool is_same(const struct stat *one, const char *path)
{
    struct stat other;
    return stat(path, &other) == 0 && one->st_dev == other.st_dev && one->st_ino == other.st_ino;
}

/* The folder that a file is in, or will be. */
static buffer folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    buffer parent = {0};
    buffer_add(&parent, path, slash != NULL ? (size_t)(slash - path) + 1 : 0);
    buffer_add(&parent, ".", sizeof ".");
    return parent;
}

void rewrite_refuse_unwritable(const char *output)
{
    if (output == NULL || access(output, F_OK) == 0) /* a device, or what is to be replaced */
        return;
    buffer folder = folder_of(output);
    if (access(folder.data, W_OK | X_OK) != 0)
        fail("%s: the folder cannot be written to: %s; %s", output, strerror(errno),
             errno == ENOENT ? "make the folder first" : "check its permissions");
    buffer_free(&folder);
}

/* Whether path is a file in the folder that may be one of the model's. */
static bool is_inside(const struct stat *folder, const char *path)
{
    struct stat information;
    buffer parent = folder_of(path);
    bool inside = stat(path, &information) == 0 && S_ISREG(information.st_mode) &&
                  !ends_with(path, ".gguf") && is_same(folder, parent.data);
    buffer_free(&parent);
    return inside;
}

/* Whether path is a later file of the model that begins with NAME-00001-of-0000N.gguf. */
static bool is_shard(const char *first, const char *path)
{
    static const char ending[] = "-00001-of-00000.gguf";
    size_t length = strlen(first), tail = sizeof ending - 1;
    unsigned count = 0;
    struct stat information;
    bool found = false;
    if (length < tail || strncmp(first + length - tail, ending, 10) != 0 ||
        sscanf(first + length - 10, "%5u", &count) != 1 || stat(path, &information) != 0)
        return false;
    for (unsigned i = 2; i <= count && !found; i++) {
        buffer name = {0};
        buffer_add(&name, first, length - tail);
        buffer_add_format(&name, "-%05u-of-%05u.gguf", i, count);
        found = is_same(&information, name.data);
        buffer_free(&name);
    }
    return found;
}

void rewrite_refuse_same(const char *input, const char *output)
{
    struct stat information;
    buffer partial = {0};
    if (output == NULL || input == NULL || stat(input, &information) != 0)
        return;
    if (is_same(&information, output))
        fail("%s is the file to read and the one to write; name another one", output);
    if (is_shard(input, output) ||
        (S_ISDIR(information.st_mode) && is_inside(&information, output)))
        fail("%s is one of the files to read; name another one", output);
    buffer_add(&partial, output, strlen(output));
    buffer_add(&partial, ".partial", sizeof ".partial");
    if (is_same(&information, partial.data))
        fail("%s is written to %s first, which is the file to read; name another one", output,
             partial.data);
    buffer_free(&partial);
}

void rewrite_refuse_existing(const char *output, bool force, bool folder)
{
    struct stat information;
    if (output == NULL || lstat(output, &information) != 0)
        return;
    if (stat(output, &information) != 0)
        fail("%s is a link that leads to no file (%s); name the file that is to be written", output,
             strerror(errno));
    /* Pipes and devices hold nothing that would be lost. */
    bool there = S_ISREG(information.st_mode) || S_ISDIR(information.st_mode);
    if (!folder && S_ISDIR(information.st_mode))
        fail("%s is a folder; give a file's name", output);
    if (!force && (there || folder) && !rewrite_is_standard_output(output))
        fail("%s exists; give another name, or --force to replace it", output);
}

bool rewrite_is_standard_output(const char *output)
{
    struct stat information;
    return output != NULL && fstat(STDOUT_FILENO, &information) == 0 &&
           is_same(&information, output);
}
