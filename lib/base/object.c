#include "base/object.h"

#include <dlfcn.h>
#include <string.h>

radllm_status rad_object_path(const rad_object_kind *kind, char path[RAD_OBJECT_PATH_SIZE],
                              radllm_error *error)
{
    static const char anchor = 0; /* its address tells where this library was loaded from */
    Dl_info info;
    if (dladdr(&anchor, &info) == 0 || info.dli_fname == NULL || info.dli_fname[0] != '/')
        return rad_fail(
            error, RADLLM_E_UNSUPPORTED,
            "cannot tell the directory that libradllm was loaded from, and %s is looked "
            "for there only; load libradllm by its whole path",
            kind->name);
    size_t directory = (size_t)(strrchr(info.dli_fname, '/') - info.dli_fname) + 1;
    size_t name = strlen(kind->name) + 1;
    if (directory + name > RAD_OBJECT_PATH_SIZE)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "the path of the directory that libradllm was loaded from has %zu bytes; "
                        "at most %zu are possible",
                        directory, RAD_OBJECT_PATH_SIZE - name);
    memcpy(path, info.dli_fname, directory);
    memcpy(path + directory, kind->name, name);
    return RADLLM_OK;
}

bool rad_object_function(void *object, const char *name, void *function, size_t size)
{
    /* dlsym gives functions as object pointers; POSIX promises that this copy works. */
    void *symbol = dlsym(object, name);
    memcpy(function, &symbol, size);
    return symbol != NULL;
}

radllm_status rad_object_refuse(const rad_object_kind *kind, const char *path, void *object,
                                radllm_error *error)
{
    char quoted[RAD_QUOTE_SIZE];
    dlclose(object);
    return rad_fail(
        error, RADLLM_E_UNSUPPORTED,
        "'%s' is not a %s that this library knows; install the one of release " RAD_PROJECT_VERSION,
        rad_quote(quoted, path, strlen(path)), kind->name);
}

radllm_status rad_object_open(const rad_object_kind *kind, const char *path, void **out,
                              radllm_error *error)
{
    char quoted[RAD_QUOTE_SIZE], other[RAD_QUOTE_SIZE];
    rad_quote(quoted, path, strlen(path));
    if (path[0] != '/')
        return rad_fail(
            error, RADLLM_E_ARGUMENT,
            "the path '%s' is not absolute, and %s is opened by absolute path only; load "
            "libradllm by its whole path",
            quoted, kind->name);
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (object == NULL) {
        /* The loader's own words, as printable text. */
        const char *why = dlerror();
        why = why == NULL ? "no reason given" : rad_quote(other, why, strlen(why));
        return rad_fail(error, RADLLM_E_UNSUPPORTED, "cannot open '%s': %s; %s", quoted, why,
                        kind->remedy);
    }
    const char *build_id = dlsym(object, kind->build_symbol);
    if (build_id == NULL)
        return rad_object_refuse(kind, path, object, error);
    if (strncmp(build_id, kind->build_id, strlen(kind->build_id) + 1) != 0) {
        rad_quote(other, build_id, strnlen(build_id, RAD_QUOTE_SIZE));
        dlclose(object);
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "'%s' comes from build '%s', but this library is build '%s'; install both "
                        "from the same release",
                        quoted, other, kind->build_id);
    }
    *out = object;
    return RADLLM_OK;
}
