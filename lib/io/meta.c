/* Typed access to metadata values. */
#include "io/source.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

const char *rad_meta_type_name(rad_meta_type type)
{
    static const char *const names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "string", "array", "u64", "i64", "f64"};
    return (size_t)type < sizeof names / sizeof names[0] ? names[type] : "unknown";
}

static uint64_t load_bytes(const uint8_t *bytes, int count)
{
    uint64_t value = 0;
    for (int i = count - 1; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

static float load_f32(const uint8_t *bytes)
{
    uint32_t bits = (uint32_t)load_bytes(bytes, 4);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double load_f64(const uint8_t *bytes)
{
    uint64_t bits = load_bytes(bytes, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint64_t rad_meta_item_u64(const rad_meta *meta, uint64_t index)
{
    const uint8_t *items = meta->items;
    switch (meta->type) {
    case RAD_META_U8:
    case RAD_META_BOOL:
        return items[index];
    case RAD_META_I8:
        return (uint64_t)(int64_t)(int8_t)items[index];
    case RAD_META_U16:
        return load_bytes(items + index * 2, 2);
    case RAD_META_I16:
        return (uint64_t)(int64_t)(int16_t)load_bytes(items + index * 2, 2);
    case RAD_META_U32:
        return load_bytes(items + index * 4, 4);
    case RAD_META_I32:
        return (uint64_t)(int64_t)(int32_t)load_bytes(items + index * 4, 4);
    case RAD_META_U64:
    case RAD_META_I64:
        return load_bytes(items + index * 8, 8);
    default:
        return 0;
    }
}

double rad_meta_item_f64(const rad_meta *meta, uint64_t index)
{
    switch (meta->type) {
    case RAD_META_F32:
        return (double)load_f32(meta->items + index * 4);
    case RAD_META_F64:
        return load_f64(meta->items + index * 8);
    case RAD_META_U64:
        return (double)rad_meta_item_u64(meta, index);
    default:
        return (double)(int64_t)rad_meta_item_u64(meta, index);
    }
}

static bool is_integer(rad_meta_type type)
{
    return type <= RAD_META_I32 || type == RAD_META_U64 || type == RAD_META_I64;
}

static radllm_status fail_type(const char *label, const rad_meta *meta, const char *wanted,
                               radllm_error *error)
{
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(error, RADLLM_E_FORMAT,
                    "%s: the key '%s' is of type %s%s, but %s is needed; the file is damaged or "
                    "was made by a faulty converter: fetch or convert it again",
                    label, rad_quote(quoted, meta->key.data, meta->key.size),
                    meta->is_array ? "array of " : "", rad_meta_type_name(meta->type), wanted);
}

radllm_status rad_meta_table_integer(const rad_meta_table *table, const char *label,
                                     const char *key, int64_t minimum, int64_t maximum,
                                     int64_t fallback, int64_t *out, radllm_error *error)
{
    const rad_meta *meta = rad_meta_table_find(table, key);
    if (meta == NULL) {
        *out = fallback;
        return RADLLM_OK;
    }
    if (meta->is_array || !is_integer(meta->type))
        return fail_type(label, meta, "an integer", error);
    uint64_t value = rad_meta_item_u64(meta, 0);
    bool too_large = meta->type == RAD_META_U64 && value > INT64_MAX;
    if (too_large)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the key '%s' is %" PRIu64 ", but it must be from %" PRId64
                        " to %" PRId64 "; the file is damaged or was made by a faulty converter: "
                        "fetch or convert it again",
                        label, key, value, minimum, maximum);
    if ((int64_t)value < minimum || (int64_t)value > maximum)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the key '%s' is %" PRId64 ", but it must be from %" PRId64
                        " to %" PRId64 "; the file is damaged or was made by a faulty converter: "
                        "fetch or convert it again",
                        label, key, (int64_t)value, minimum, maximum);
    *out = (int64_t)value;
    return RADLLM_OK;
}

radllm_status rad_meta_integer(const rad_source *source, const char *key, int64_t minimum,
                               int64_t maximum, int64_t fallback, int64_t *out, radllm_error *error)
{
    return rad_meta_table_integer(&source->metadata, rad_source_label(source), key, minimum,
                                  maximum, fallback, out, error);
}

radllm_status rad_meta_real(const rad_source *source, const char *key, double minimum,
                            double maximum, double fallback, double *out, radllm_error *error)
{
    const rad_meta *meta = rad_source_find_meta(source, key);
    if (meta == NULL) {
        *out = fallback;
        return RADLLM_OK;
    }
    const char *label = rad_source_label(source);
    if (meta->is_array || (meta->type != RAD_META_F32 && meta->type != RAD_META_F64))
        return fail_type(label, meta, "f32 or f64", error);
    double value = rad_meta_item_f64(meta, 0);
    if (!isfinite(value) || value < minimum || value > maximum)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the key '%s' is %g, but it must be a number from %g to %g; the file "
                        "is damaged or was made by a faulty converter: fetch or convert it again",
                        label, key, value, minimum, maximum);
    *out = value;
    return RADLLM_OK;
}

radllm_status rad_meta_bool(const rad_source *source, const char *key, bool fallback, bool *out,
                            radllm_error *error)
{
    const rad_meta *meta = rad_source_find_meta(source, key);
    if (meta == NULL) {
        *out = fallback;
        return RADLLM_OK;
    }
    if (meta->is_array || meta->type != RAD_META_BOOL)
        return fail_type(rad_source_label(source), meta, "bool", error);
    *out = meta->items[0] != 0;
    return RADLLM_OK;
}

radllm_status rad_meta_text(const rad_source *source, const char *key, rad_text *out,
                            radllm_error *error)
{
    const rad_meta *meta = rad_source_find_meta(source, key);
    if (meta == NULL) {
        *out = (rad_text){NULL, 0};
        return RADLLM_OK;
    }
    if (meta->is_array || meta->type != RAD_META_STRING)
        return fail_type(rad_source_label(source), meta, "string", error);
    *out = meta->strings[0];
    return RADLLM_OK;
}
