/* The project's own shared objects, which lie beside the library and are opened when they are
 * wanted: by absolute path, so that no search path decides what is loaded, and only when they come
 * from the same build. */
#ifndef RAD_OBJECT_H
#define RAD_OBJECT_H

#include "base/base.h"

#define RAD_OBJECT_PATH_SIZE 4096

typedef struct rad_object_kind {
    const char *name;         /* of the file */
    const char *build_symbol; /* const char [], exported by the object */
    const char *build_id;
    const char *remedy; /* where it cannot be opened: a phrase behind a semicolon */
} rad_object_kind;

/* Where the object is looked for: in the directory that this library was loaded from.
 * RADLLM_E_UNSUPPORTED when that cannot be told. */
radllm_status rad_object_path(const rad_object_kind *kind, char path[RAD_OBJECT_PATH_SIZE],
                              radllm_error *error);
/* Opens it; what does not fit is closed again. RADLLM_E_ARGUMENT when the path is not absolute,
 * RADLLM_E_UNSUPPORTED when there is no such object or it comes from another build. */
radllm_status rad_object_open(const rad_object_kind *kind, const char *path, void **out,
                              radllm_error *error);
/* A function of it, as *function (of `size` bytes); false when it is not there. */
bool rad_object_function(void *object, const char *name, void *function, size_t size);
/* The error of an object that lacks what it should have, or is laid out otherwise; closes it. */
radllm_status rad_object_refuse(const rad_object_kind *kind, const char *path, void *object,
                                radllm_error *error);

#endif
