/* The results of radllm-bench as table, JSON or CSV; the names are those of llama-bench where it
 * has them. */
#include "bench.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/csv.h"
#include "common/program.h"
#include "common/text.h"

static double tokens_of(const bench_row *row)
{
    return (double)(row->n_prompt + row->n_gen * row->n_sequences);
}

static double mean(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return count != 0 ? sum / (double)count : 0;
}

static double deviation(const double *values, size_t count)
{
    double middle = mean(values, count);
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (values[i] - middle) * (values[i] - middle);
    return count > 1 ? sqrt(sum / (double)(count - 1)) : 0;
}

/* Tokens a second, from the seconds of the repeats. */
static void speed(const bench_row *row, double *average, double *spread)
{
    double speeds[256];
    size_t count = row->n_samples < 256 ? row->n_samples : 256;
    for (size_t i = 0; i < count; i++)
        speeds[i] = tokens_of(row) / row->seconds[i];
    *average = mean(speeds, count);
    *spread = deviation(speeds, count);
}

/* ---- shares of the machine's limits ---- */

static double average_speed(const bench_row *row)
{
    double average, spread;
    speed(row, &average, &spread);
    return average;
}

/* Positions that a token of the test sees, on average. */
static double mean_position(const bench_row *row)
{
    return (double)row->n_depth + 0.5 * (double)(row->n_prompt + row->n_gen + 1);
}

/* Bytes of weights and cache that one generated token of a sequence needs: weights are read once
 * for all sequences, the cache of each as far as it is filled. */
static double bytes_per_token(const bench_row *row)
{
    return row->model->token_bytes / (double)row->n_sequences +
           row->model->cache_bytes * mean_position(row);
}

/* With weights. */
static double macs_per_token(const bench_row *row)
{
    return row->n_gen != 0 ? row->model->token_macs : row->model->prompt_macs;
}

static double attention_macs_per_token(const bench_row *row)
{
    return row->model->attention_macs * mean_position(row);
}

/* Keys or values in blocks of integers. */
static bool cache_is_integer(const bench_model *model, bool values)
{
    const char *slash = strchr(model->cache_type, '/');
    const char *type = values && slash != NULL ? slash + 1 : model->cache_type;
    return strncmp(type, "q8_0", 4) == 0 || strncmp(type, "q4_0", 4) == 0;
}

/* What attention of one token takes at the peak of the arithmetic that it is done in: floats; with
 * keys in integers bytes; with values in integers words, of which half as many are multiplied at a
 * time, since probabilities keep 15 bits. */
static double attention_seconds_per_token(const bench_row *row)
{
    const machine_limits *limits = row->limits;
    double half = 0.5 * attention_macs_per_token(row);
    double keys = cache_is_integer(row->model, false) ? limits->int8_macs : limits->float_macs;
    double values =
        cache_is_integer(row->model, true) ? 0.5 * limits->int8_macs : limits->float_macs;
    return half / keys + half / values;
}

static double bandwidth_share(const bench_row *row)
{
    if (row->n_gen == 0 || row->limits->read_bytes <= 0)
        return NAN;
    return bytes_per_token(row) * average_speed(row) / row->limits->read_bytes;
}

static double int8_share(const bench_row *row)
{
    double peak = row->limits->int8_macs;
    return peak > 0 ? macs_per_token(row) * average_speed(row) / peak : NAN;
}

static double float_share(const bench_row *row)
{
    double peak = row->limits->float_macs;
    return peak > 0 ? macs_per_token(row) * average_speed(row) / peak : NAN;
}

/* The same with each weight at the peak of its own kind, integers where it is quantized, and with
 * attention. */
static double arithmetic_share(const bench_row *row)
{
    if (row->limits->int8_macs <= 0 || row->limits->float_macs <= 0)
        return NAN;
    double floats = row->n_gen != 0 ? row->model->token_float_macs : row->model->prompt_float_macs;
    double seconds = (macs_per_token(row) - floats) / row->limits->int8_macs +
                     floats / row->limits->float_macs + attention_seconds_per_token(row);
    return seconds * average_speed(row);
}

/* Of what the machine allows at most: the nearer of the two limits. */
static double limit_share(const bench_row *row)
{
    return fmax(arithmetic_share(row), bandwidth_share(row));
}

static double known(double value)
{
    return value > 0 ? value : NAN;
}

static json_t *row_json(const bench_row *row, const char *cpu, const char *when)
{
    double average, spread;
    speed(row, &average, &spread);
    const bench_model *model = row->model;
    json_t *object = json_object();
    json_put(object, "build_version", json_string(radllm_version_text()));
    json_put(object, "numeric_version", json_integer(radllm_numeric_version()));
    json_put(object, "cpu_info", json_from_text(cpu, strlen(cpu)));
    json_put(object, "backends", json_string(model->gpu.layers > 0 ? "CUDA" : "CPU"));
    if (model->gpu.layers > 0) {
        json_put(object, "gpu_info", json_string(model->gpu.device));
        json_put(object, "n_gpu_layers", json_integer(model->gpu.layers));
        json_put(object, "placement", json_string(model->gpu.placement));
        json_put(object, "gpu_bytes_planned", json_integer(model->gpu.planned));
        json_put(object, "gpu_bytes_weights", json_integer(model->gpu.weights));
        json_put(object, "gpu_bytes_cache", json_integer(model->gpu.cache));
        json_put(object, "gpu_bytes_used", json_integer(model->gpu.used));
        json_put(object, "gpu_upload_ns", json_integer(model->gpu.upload_ns));
        json_put(object, "gpu_check_ns", json_integer(model->gpu.check_ns));
        json_put_real(object, "gpu_joules_per_token",
                      row->gpu_joules_per_token >= 0 ? row->gpu_joules_per_token : NAN);
    }
    json_put(object, "isa", json_string(model->isa));
    json_put(object, "layout", json_string(model->layout));
    json_put(object, "model_filename", json_from_text(model->path, strlen(model->path)));
    json_put(object, "model_type", json_from_text(model->type, strlen(model->type)));
    json_put(object, "model_size", json_integer((json_int_t)model->file_bytes));
    json_put(object, "model_n_params", json_integer(model->parameters));
    json_put(object, "n_batch", json_integer(row->batch));
    json_put(object, "n_threads", json_integer(row->threads));
    const char *slash = strchr(model->cache_type, '/');
    size_t length = slash != NULL ? (size_t)(slash - model->cache_type) : strlen(model->cache_type);
    json_put(object, "type_k", json_from_text(model->cache_type, length));
    json_put(object, "type_v", json_string(slash != NULL ? slash + 1 : model->cache_type));
    json_put(object, "n_depth", json_integer(row->n_depth));
    json_put(object, "n_prompt", json_integer(row->n_prompt));
    json_put(object, "n_gen", json_integer(row->n_gen));
    json_put(object, "n_sequences", json_integer(row->n_sequences));
    json_put(object, "test_time", json_string(when));
    json_put_real(object, "avg_ns", 1e9 * mean(row->seconds, row->n_samples));
    json_put_real(object, "stddev_ns", 1e9 * deviation(row->seconds, row->n_samples));
    json_put_real(object, "avg_ts", average);
    json_put_real(object, "stddev_ts", spread);
    json_t *times = json_array();
    json_t *speeds = json_array();
    for (size_t i = 0; i < row->n_samples; i++) {
        json_push(times, json_integer((json_int_t)(1e9 * row->seconds[i])));
        json_push(speeds, json_real(tokens_of(row) / row->seconds[i]));
    }
    json_put(object, "samples_ns", times);
    json_put(object, "samples_ts", speeds);
    json_put_real(object, "load_cold_seconds", known(model->load_cold));
    json_put_real(object, "load_warm_seconds", model->load_warm);
    json_put_real(object, "start_seconds", known(model->start));
    json_put_real(object, "file_read_seconds", known(model->file_read));
    json_put_real(object, "first_token_seconds", known(row->first_token));
    json_put_real(object, "between_tokens_median_seconds", known(row->between_median));
    json_put_real(object, "between_tokens_p99_seconds", known(row->between_p99));
    json_put(object, "peak_memory_bytes", json_integer((json_int_t)row->peak_memory));
    json_put_real(object, "joules_per_token",
                  row->joules_per_token >= 0 ? row->joules_per_token : NAN);
    json_put_real(object, "machine_read_bytes_per_second", known(row->limits->read_bytes));
    json_put(object, "machine_read_kernel", json_string(row->limits->read_kernel));
    json_put_real(object, "machine_int8_macs_per_second", known(row->limits->int8_macs));
    json_put_real(object, "machine_float_macs_per_second", known(row->limits->float_macs));
    json_put(object, "machine_int8_isa", json_string(row->limits->int8_isa));
    json_put(object, "machine_float_isa", json_string(row->limits->float_isa));
    json_put_real(object, "weight_bytes_per_token", model->token_bytes);
    json_put_real(object, "cache_bytes_per_position", model->cache_bytes);
    json_put_real(object, "macs_per_token", macs_per_token(row));
    json_put_real(object, "attention_macs_per_token", attention_macs_per_token(row));
    json_put_real(object, "share_of_bandwidth", bandwidth_share(row));
    json_put_real(object, "share_of_int8", int8_share(row));
    json_put_real(object, "share_of_float", float_share(row));
    json_put_real(object, "share_of_arithmetic", arithmetic_share(row));
    json_put_real(object, "share_of_limit", limit_share(row));
    return object;
}

/* Numbers of all columns stand in the JSON object; CSV is the same in a line. */
static void add_csv(buffer *out, const json_t *object, bool header)
{
    const char *key;
    json_t *value;
    bool first = true;
    json_object_foreach((json_t *)object, key, value)
    {
        if (json_is_array(value))
            continue;
        char *text = NULL;
        if (json_is_string(value) || header) {
            const char *cell = header ? key : json_string_value(value);
            csv_add_field(out, cell, strlen(cell), ',', first);
        } else if (json_is_null(value)) {
            csv_add_field(out, "", 0, ',', first);
        } else {
            text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
            if (text == NULL)
                fail("out of memory while JSON was made");
            csv_add_field(out, text, strlen(text), ',', first);
            free(text);
        }
        first = false;
    }
    csv_end_record(out);
}

static void percent(double share, char *out, size_t capacity)
{
    if (share == share)
        snprintf(out, capacity, "%.1f %%", 100 * share);
    else
        snprintf(out, capacity, "-");
}

static void table_row(const bench_row *row)
{
    double average, spread;
    speed(row, &average, &spread);
    char test[64];
    int n = 0;
    if (row->n_gen == 0)
        n = snprintf(test, sizeof test, "pp%" PRId64, row->n_prompt);
    else if (row->n_sequences > 1)
        n = snprintf(test, sizeof test, "tg%" PRId64 "x%" PRId64, row->n_gen, row->n_sequences);
    else
        n = snprintf(test, sizeof test, "tg%" PRId64, row->n_gen);
    if (row->n_depth > 0)
        snprintf(test + n, sizeof test - (size_t)n, "@%" PRId64, row->n_depth);
    char rate[64];
    snprintf(rate, sizeof rate, "%.2f ± %.2f", average, spread);
    char bandwidth[16], arithmetic[16], first[24] = "-", between[32] = "-", joules[24] = "-";
    percent(bandwidth_share(row), bandwidth, sizeof bandwidth);
    percent(arithmetic_share(row), arithmetic, sizeof arithmetic);
    if (row->first_token > 0)
        snprintf(first, sizeof first, "%.1f", 1e3 * row->first_token);
    if (row->between_median > 0)
        snprintf(between, sizeof between, "%.2f / %.2f", 1e3 * row->between_median,
                 1e3 * row->between_p99);
    double energy = row->model->gpu.layers > 0 ? row->gpu_joules_per_token : row->joules_per_token;
    if (energy >= 0)
        snprintf(joules, sizeof joules, "%.3f", energy);
    output_format("| %-18s | %7" PRId64 " | %12s | %20s | %9s | %15s | %9s | %7s | %9.1f | %8s |\n",
                  row->model->type, row->threads, test, rate, first, between, bandwidth, arithmetic,
                  (double)row->peak_memory / 1048576, joules);
}

static void report_table(const bench_row *rows, size_t count, const char *cpu)
{
    output_text("| model              | threads |         test |                 t/s |  first ms |"
                " between tokens  | bandwidth |   arith |  peak MiB | J/token  |\n"
                "|                    |         |              |                     |           |"
                " median/p99 ms   |  of limit | of peak |           |          |\n"
                "| ------------------ | ------: | -----------: | ------------------: | --------: |"
                " --------------: | --------: | ------: | --------: | -------: |\n");
    for (size_t i = 0; i < count; i++)
        table_row(&rows[i]);
    output_text("\n");
    const bench_model *last = NULL;
    for (size_t i = 0; i < count; i++) {
        const bench_model *model = rows[i].model;
        if (model == last)
            continue;
        last = model;
        char cold[48] = "";
        if (model->load_cold > 0)
            snprintf(cold, sizeof cold, " %.3f s cold and", model->load_cold);
        output_format("%s: %.2f MiB, %.2f M parameters, loaded in%s %.3f s warm,"
                      " first token %.3f s after the start (warm; mapping and reading the file once"
                      " takes %.3f s), %s, layout %s, cache %s\n",
                      model->path, (double)model->file_bytes / 1048576,
                      (double)model->parameters * 1e-6, cold, model->load_warm, model->start,
                      model->file_read, model->isa, model->layout, model->cache_type);
        if (model->gpu.layers > 0)
            output_format(
                "%s, %s: %.1f MiB planned there (weights %.1f, cache %.1f), %.1f taken by"
                " all programs; weights went up in %.3f s (%.1f GB/s), the check took %.3f s\n",
                model->gpu.device, model->gpu.placement, (double)model->gpu.planned / 1048576,
                (double)model->gpu.weights / 1048576, (double)model->gpu.cache / 1048576,
                (double)model->gpu.used / 1048576, (double)model->gpu.upload_ns * 1e-9,
                (double)model->gpu.weights / (double)model->gpu.upload_ns,
                (double)model->gpu.check_ns * 1e-9);
    }
    const machine_limits *limits = NULL;
    for (size_t i = 0; i < count && rows[i].model == rows[0].model; i++) {
        if (rows[i].limits == limits || rows[i].limits->read_bytes <= 0)
            continue;
        limits = rows[i].limits;
        if (limits == &rows[i].model->gpu.limits) {
            output_format("%s: memory %.1f GB/s (%s), matrix instructions %.1f T multiply-adds/s"
                          " (%s), %.1f (%s)\n",
                          rows[i].model->gpu.device, limits->read_bytes * 1e-9, limits->read_kernel,
                          limits->int8_macs * 1e-12, limits->int8_isa, limits->float_macs * 1e-12,
                          limits->float_isa);
            continue;
        }
        output_format(
            "%s, %u threads: memory read %.1f GB/s (%s), int8 %.1f G multiply-adds/s (%s),"
            " float %.1f G multiply-adds/s (%s)\n",
            cpu, limits->threads, limits->read_bytes * 1e-9, limits->read_kernel,
            limits->int8_macs * 1e-9, limits->int8_isa, limits->float_macs * 1e-9,
            limits->float_isa);
    }
}

void report_rows(const bench_row *rows, size_t count, bench_format format)
{
    char cpu[128];
    machine_cpu_name(cpu, sizeof cpu);
    if (format == BENCH_TABLE) {
        report_table(rows, count, cpu);
        return;
    }
    char when[32];
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &parts);
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_push(array, row_json(&rows[i], cpu, when));
    if (format == BENCH_JSON) {
        output_json(array, JSON_INDENT(2));
    } else {
        buffer text = {0};
        for (size_t i = 0; i < count; i++) {
            if (i == 0)
                add_csv(&text, json_array_get(array, 0), true);
            add_csv(&text, json_array_get(array, i), false);
        }
        output_write(text.data, text.length);
        buffer_free(&text);
    }
    json_decref(array);
}
