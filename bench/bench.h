/* radllm-bench: how fast a model runs here, beside what the machine could do, and how well it
 * predicts a text. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stddef.h>
#include <stdint.h>

#include "common/arguments.h"
#include "common/runtime.h"
#include "machine.h"

/* A model's layers on a GPU, and the bytes that its engine takes there. */
typedef struct bench_gpu {
    int64_t layers;  /* 0: all is the CPU's */
    unsigned number; /* as the driver counts; UINT_MAX: there are several */
    char device[512], placement[512];
    int64_t planned, weights, cache;
    int64_t used; /* of the device, by all programs, while the engine was there */
    int64_t upload_ns, check_ns;
    machine_limits limits; /* of the GPU, in place of the CPU's; zeros where not measured */
} bench_gpu;
void gpu_describe(const radllm_engine *engine, bool limits, bench_gpu *gpu);

/* The energy that a GPU took, by NVML. */
typedef struct gpu_meter {
    void *object, *device, *energy;
} gpu_meter;
/* False where it cannot be read. */
bool gpu_energy_open(gpu_meter *meter, unsigned index);
/* Joules since some moment; differences count. Below 0: it cannot be read. */
double gpu_energy_joules(const gpu_meter *meter);
void gpu_energy_close(gpu_meter *meter);

/* A model file: what does not depend on a test. */
typedef struct bench_model {
    const char *path;
    char type[96]; /* "llama Q4_0" */
    uint64_t file_bytes;
    int64_t parameters;
    double token_bytes;       /* of weights that are read for one generated token */
    double cache_bytes;       /* of keys and values of one position */
    double prompt_macs;       /* multiply-adds with weights for one token of a prompt */
    double token_macs;        /* for one generated token */
    double prompt_float_macs; /* those of them with weights that are floats */
    double token_float_macs;
    double attention_macs; /* of one token with one position before it */
    double load_cold;      /* seconds */
    double load_warm;
    double start;     /* load (warm), engine, and a prompt of one token up to the first answered */
    double file_read; /* the file mapped and read once, in the page cache; 0: not known */
    char isa[32];
    char layout[32];
    char cache_type[32];
    bench_gpu gpu;
} bench_model;

/* One test of one model with one number of threads. */
typedef struct bench_row {
    const bench_model *model;
    const machine_limits *limits;
    int64_t threads;
    int64_t batch;
    int64_t n_depth; /* positions that the session holds before the test */
    int64_t n_prompt;
    int64_t n_gen;       /* for each sequence */
    int64_t n_sequences; /* generated together */
    double *seconds;     /* one per repeat */
    size_t n_samples;
    double first_token;    /* seconds, mean; 0 where not measured */
    double between_median; /* seconds between tokens; 0 where not measured */
    double between_p99;
    double joules_per_token; /* below 0: not known, as the next */
    double gpu_joules_per_token;
    unsigned gpu; /* the number of it */
    uint64_t peak_memory;
} bench_row;

typedef enum bench_format { BENCH_TABLE, BENCH_JSON, BENCH_CSV } bench_format;

/* measure.c: fills the figures of a row whose test is set; run's engine has a session for each
 * sequence, of which run->session is the first. */
void measure_test(const runtime *run, bench_row *row, int64_t repeats);

/* Ids below `below`. Any will do where only time counts: what is computed does not depend on them.
 * Another seed gives others. The caller frees them. */
int32_t *random_tokens(int64_t count, int64_t below, uint64_t seed);

/* describe.c: fills in what does not depend on tests, engines and files' places. */
void describe_model(const runtime *run, const radllm_file *file, bench_model *model);

/* report.c: all rows on standard output. */
void report_rows(const bench_row *rows, size_t count, bench_format format);

/* perplexity.c: `radllm-bench perplexity`; argv[0] is the word itself. */
int perplexity_main(int argc, char **argv);

/* speculation.c: `radllm-bench speculation`, the same. */
int speculation_main(int argc, char **argv);

/* shared.c: `radllm-bench shared`, the same. */
int shared_main(int argc, char **argv);

/* bandwidth.c: `radllm-bench bandwidth`, the same. */
int bandwidth_main(int argc, char **argv);

#endif
