/* The inside of lib/io for folders as Hugging Face has them: weights in safetensors files, and JSON
 * texts beside them. What is read here ends as a rad_source that names its tensors and
 * hyper-parameters as a GGUF file would, so that nobody above knows the difference. */
#ifndef RAD_FOLDER_H
#define RAD_FOLDER_H

#include "io/json.h"
#include "io/source.h"

/* A tensor as it stands in a safetensors file. */
typedef struct rad_stored {
    rad_text name; /* NUL-terminated as well */
    rad_type type;
    uint32_t n_dims;
    uint64_t dims[8]; /* the last one contiguous; unused ones are 1 */
    uint64_t n_elements, n_bytes;
    uint32_t part;
    uint64_t offset;                 /* absolute, inside that part */
    const struct rad_packed *packed; /* it is made of several (packed.h); else NULL */
    bool used; /* some tensor of the source is made of it, or it is known as needless */
} rad_stored;

typedef struct rad_stored_table {
    rad_stored *items;
    size_t count, capacity;
    uint32_t *order; /* by name, once finished */
} rad_stored_table;

typedef struct rad_folder {
    rad_source *source;
    char *path; /* of the folder, in the source's arena */
    rad_stored_table stored;
    json_t *config;          /* config.json, or its part for text; NULL: there is none */
    const char *config_name; /* of its file: a shape may have another name */
    const char *left_out;    /* beginnings of names of tensors that text does not need, by '|' */
    char label[RAD_PATH_LABEL_SIZE]; /* of the folder, for messages */
} rad_folder;

/* ---- safetensors.c ----------------------------------------------------------------------- */

/* Reads and checks the header of a part; its tensors go to `table`. */
radllm_status rad_safetensors_read(rad_source *source, uint32_t part, rad_stored_table *table,
                                   radllm_error *error);
/* Whether a file begins as a safetensors file does. */
bool rad_is_safetensors(const uint8_t *head, size_t head_size, uint64_t file_size);

/* Sorts the table by name; two of one name are an error. */
radllm_status rad_stored_finish(const rad_source *source, rad_stored_table *table,
                                radllm_error *error);
rad_stored *rad_stored_find(const rad_stored_table *table, const char *name);
void rad_stored_free(const rad_source *source, rad_stored_table *table);

/* ---- folder.c ---------------------------------------------------------------------------- */

/* Opens what path names: a folder, a .safetensors file, or the index of several. The source is
 * new and has no parts. */
radllm_status rad_folder_open(rad_source *source, const char *path, radllm_error *error);
/* Whether path names one of these. */
bool rad_is_folder_path(const char *path);

/* A JSON text of the folder, an object or a list; *out is NULL where there is no such file. */
radllm_status rad_folder_json_list(const rad_folder *folder, const char *name, json_t **out,
                                   radllm_error *error);
radllm_status rad_folder_json(const rad_folder *folder, const char *name, json_t **out,
                              radllm_error *error);

/* ---- hf_config.c ------------------------------------------------------------------------- */

typedef struct rad_folder_family rad_folder_family;

/* What the names of tensors depend on. */
typedef struct rad_folder_shape {
    uint32_t n_layers, n_heads, n_experts;
    uint32_t latent_plain, latent_value; /* of a head, where attention is latent */
    bool latent_whole;       /* its matrix of keys and values is packed, and stays one */
    uint32_t extra_layers;   /* behind the model's own, which are left out */
    uint32_t first_position; /* rows of the table of positions that none uses */
    bool tied;               /* the output is the embedding */
} rad_folder_shape;

/* Turns config.json and the texts beside it into metadata. */
radllm_status rad_folder_configure(rad_folder *folder, const rad_folder_family *family,
                                   rad_folder_shape *shape, radllm_error *error);

/* Chat templates with names, a file for each: NAME.jinja. */
#define RAD_FOLDER_TEMPLATES     "additional_chat_templates/"
#define RAD_FOLDER_TEMPLATES_MAX 64

/* ---- hf_pooling.c ------------------------------------------------------------------------ */

/* How the folder says that its model gives embeddings (files of sentence-transformers). */
#define RAD_FOLDER_POOLING "1_Pooling/config.json"

typedef struct rad_folder_pooling {
    int type; /* as GGUF's pooling_type counts; -1: it does not say */
    bool has_modules, normalises;
} rad_folder_pooling;

radllm_status rad_folder_read_pooling(const rad_folder *folder, rad_folder_pooling *pooling,
                                      radllm_error *error);

/* ---- families.c -------------------------------------------------------------------------- */

/* How the configuration of a family is written. */
typedef enum rad_config_style {
    RAD_CONFIG_USUAL,
    RAD_CONFIG_GPT2,
    RAD_CONFIG_BLOOM,
    RAD_CONFIG_MPT,
    RAD_CONFIG_BERT
} rad_config_style;

/* Whether a key sliding_window counts (Qwen: only beside use_sliding_window). Layers that have it
 * are listed in layer_types; else: */
typedef enum rad_config_windows {
    RAD_CONFIG_WINDOW_NEVER,  /* it does not */
    RAD_CONFIG_WINDOW_ALWAYS, /* as the architecture has it */
    RAD_CONFIG_WINDOW_LATER,  /* layers from max_window_layers on */
    RAD_CONFIG_WINDOW_TURNS,  /* every other one of those before max_window_layers */
    RAD_CONFIG_WINDOW_EVERY   /* all layers, whatever is listed */
} rad_config_windows;

typedef struct rad_name_row rad_name_row;

struct rad_folder_family {
    const char *model_type;   /* in config.json */
    const char *architecture; /* as GGUF names it */
    rad_config_style style;
    const rad_name_row *rows; /* families.h */
    const char *activation;   /* the one that is computed, and its other names, by '|' */
    double norm_epsilon;      /* where the configuration has none */
    double theta;             /* likewise */
    const char *defaults;     /* JSON: what else is where the configuration has no such key */
    bool tied;                /* likewise */
    bool halves; /* (i, i + n/2) rotate together, where the same rows in GGUF are reordered */
    rad_config_windows windows;
};

/* arrange.c: turns the configuration into the metadata, and what is stored into the tensors, that a
 * GGUF file of the model has. */
radllm_status rad_folder_translate(rad_folder *folder, radllm_error *error);

#endif
