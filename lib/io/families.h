/* The table of families, shared by the files that read it. */
#ifndef RAD_FAMILIES_H
#define RAD_FAMILIES_H

#include "io/folder.h"

/* How a tensor of GGUF is made of what is stored. */
typedef enum rad_form {
    FORM_PLAIN,
    FORM_PLUS_ONE,      /* norms that are stored less one */
    FORM_TRANSPOSED,    /* stored as [in, out] */
    FORM_EXPERTS,       /* a tensor for each expert: %u in the name behind that of the layer */
    FORM_STACK_GATE,    /* one tensor [experts, 2 ffn, width], gates first */
    FORM_STACK_UP,      /* the same */
    FORM_TURNS_GATE,    /* gates and ups in turns: [experts, width, 2 ffn], or a bias */
    FORM_TURNS_UP,      /* the same */
    FORM_STACK_TURNED,  /* [experts, in, out] */
    FORM_MXFP4_GATE,    /* blocks and scales, gates and ups in turns; the name less its ending */
    FORM_MXFP4_UP,      /* the same */
    FORM_MXFP4,         /* blocks and scales */
    FORM_HEADS_QKV,     /* for each head its query, key and value (BLOOM) */
    FORM_LATENT_KEYS,   /* of each head the rows for its key, transposed (DeepSeek) */
    FORM_LATENT_VALUES, /* of each head the rows for its value */
    FORM_LATENT_BOTH,   /* what older GGUF files have in place of these two: for the way back */
    FORM_POSITIONS,     /* less the first rows, which stand for no position */
    FORM_NONE_OF,       /* all whose names begin so: known, and not needed */
    FORM_NONE           /* known, and not needed */
} rad_form;

struct rad_name_row {
    const char *gguf; /* in a layer: behind "blk.N." */
    const char *stored;
    rad_form form;
};

/* A table is: rows of the whole model; a row without a GGUF name whose `stored` are the beginnings
 * of layers' names, by '|'; rows of a layer; a row without names. */

/* Of a model that sees and whose text part runs by itself: takes that part's configuration in place
 * of the whole, and says so in the log. Others stay as they are. */
radllm_status rad_folder_take_text(rad_folder *folder, radllm_error *error);

/* The family of a model_type; NULL: there is none. */
const rad_folder_family *rad_folder_family_named(const char *model_type);
/* The family that config.json names; RADLLM_E_UNSUPPORTED where there is none. */
radllm_status rad_folder_find_family(const rad_folder *folder, const rad_folder_family **out,
                                     radllm_error *error);

/* What GGUF calls a tensor that some family of this architecture (as GGUF names it) stores under
 * `stored`; false where none does. Of experts that are tensors of their own: their stack. */
bool rad_family_find_name(const char *architecture, const char *stored, char gguf[64],
                          rad_form *form);
/* Whether models of this architecture are run without the tensor: heads for other tasks, what sees.
 */
bool rad_family_leaves_out(const char *architecture, const char *stored);
/* Whether some family of this architecture has a module of this name, or one whose name ends so. */
bool rad_family_has_module(const char *architecture, const char *module);
/* Whether rows of queries and keys stand in another order in the architecture's GGUF files. */
bool rad_family_has_halves(const char *architecture);

#endif
