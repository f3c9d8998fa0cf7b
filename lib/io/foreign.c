/* Tells what a file is that is no GGUF file of a version that can be read, and what to do. */
#include "io/folder.h"

#include <inttypes.h>
#include <string.h>

#define HEAD_SIZE    64u
#define HEADER_BYTES 24u /* magic, version and the two counts */

#define CONVERT_HF  "fetch the model as safetensors files or as GGUF"
#define CONVERT_OLD "fetch the model again as GGUF version 3, or convert its original weights again"

typedef struct foreign_kind {
    const char *magic;
    size_t size;
    const char *what;
    const char *remedy;
} foreign_kind;

static const foreign_kind kinds[] = {
    {"tjgg", 4, "an old ggml model (ggjt)", CONVERT_OLD},
    {"fmgg", 4, "an old ggml model (ggmf)", CONVERT_OLD},
    {"lmgg", 4, "an old ggml model (ggml, without version)", CONVERT_OLD},
    {"algg", 4, "an old ggml adapter (ggla)", CONVERT_OLD},
    {"ggjt", 4, "an old ggml model (ggjt)", CONVERT_OLD},
    {"ggmf", 4, "an old ggml model (ggmf)", CONVERT_OLD},
    {"ggml", 4, "an old ggml model (ggml)", CONVERT_OLD},
    {"FUGG", 4, "a draft of GGUF from before its first version", CONVERT_OLD},
    {"PK\003\004", 4, "a ZIP archive, such as a PyTorch checkpoint (.bin, .pt, .pth)", CONVERT_HF},
    {"\x80\x02", 2, "a Python pickle, such as an old PyTorch checkpoint", CONVERT_HF},
    {"\x80\x03", 2, "a Python pickle", CONVERT_HF},
    {"\x80\x04", 2, "a Python pickle", CONVERT_HF},
    {"\x80\x05", 2, "a Python pickle", CONVERT_HF},
    {"\x89HDF", 4, "an HDF5 file", CONVERT_HF},
    {"\x93NUMPY", 6, "a NumPy array", CONVERT_HF},
    {"\x1f\x8b", 2, "a gzip archive", "decompress it first"},
    {"\x28\xb5\x2f\xfd", 4, "a zstd archive", "decompress it first"},
    {"\xfd"
     "7zXZ",
     5, "an xz archive", "decompress it first"},
    {"BZh", 3, "a bzip2 archive", "decompress it first"},
    {"version https://git-lfs", 23, "a Git LFS pointer and not the model itself",
     "fetch the real file with 'git lfs pull'"},
    {"<!DOCTYPE", 9, "a web page", "the download link may need a login: fetch the model again"},
    {"<!doctype", 9, "a web page", "the download link may need a login: fetch the model again"},
    {"<html", 5, "a web page", "the download link may need a login: fetch the model again"},
    {"{", 1, "a JSON text", "give the path of the model file"},
    {"\x7f"
     "ELF",
     4, "a program or shared library", "give the path of the model file"},
};

static radllm_status fail_magic(const char *label, const uint8_t *head, size_t head_size,
                                uint64_t file_size, radllm_error *error)
{
    if (rad_is_safetensors(head, head_size, file_size))
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: this is a safetensors file, but its name does not end with "
                        ".safetensors; name it so and put config.json beside it",
                        label);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (head_size >= kinds[i].size && memcmp(head, kinds[i].magic, kinds[i].size) == 0)
            return rad_fail(error, RADLLM_E_FORMAT, "%s: this is %s and not GGUF; %s", label,
                            kinds[i].what, kinds[i].remedy);
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(error, RADLLM_E_FORMAT,
                    "%s: this is no GGUF file: it begins with '%s' and not with 'GGUF'; give the "
                    "path of a GGUF model, or fetch the file again",
                    label, rad_quote(quoted, (const char *)head, head_size < 4 ? head_size : 4));
}

static radllm_status check_version(const char *label, const uint8_t *head, radllm_error *error)
{
    uint32_t version = (uint32_t)head[4] | (uint32_t)head[5] << 8 | (uint32_t)head[6] << 16 |
                       (uint32_t)head[7] << 24;
    if (version == 2 || version == 3)
        return RADLLM_OK;
    if (version == 1)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: this is GGUF version 1, used for a few weeks in August 2023; versions "
                        "2 and 3 can be read: " CONVERT_OLD,
                        label);
    if (version != 0 && (version & 0xffff) == 0)
        return rad_fail(error, RADLLM_E_UNSUPPORTED,
                        "%s: this is a big-endian GGUF file (version field 0x%08" PRIx32 " at "
                        "byte 4); fetch the little-endian file, or convert it with "
                        "gguf_convert_endian.py of llama.cpp",
                        label, version);
    if (version == 0)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the GGUF version at byte 4 is 0; versions 2 and 3 can be read: the "
                        "file is damaged: fetch it again",
                        label);
    return rad_fail(error, RADLLM_E_UNSUPPORTED,
                    "%s: the GGUF version at byte 4 is %" PRIu32 "; versions 2 and 3 can be read: "
                    "the file is damaged, or newer than this library: fetch it again or get a "
                    "newer library",
                    label, version);
}

radllm_status rad_gguf_check_magic(const rad_source *source, uint32_t part, radllm_error *error)
{
    const char *label = source->parts[part].label;
    uint64_t size = source->parts[part].size;
    if (size == 0)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the file is empty (0 bytes); the download may have failed: fetch it "
                        "again",
                        label);
    uint8_t head[HEAD_SIZE];
    size_t head_size = size < HEAD_SIZE ? (size_t)size : HEAD_SIZE;
    radllm_status status = rad_source_read(source, part, 0, head, head_size, error);
    if (status != RADLLM_OK)
        return status;
    size_t magic_size = head_size < 4 ? head_size : 4;
    if (memcmp(head, "GGUF", magic_size) != 0)
        return fail_magic(label, head, head_size, size, error);
    if (head_size >= 8) {
        status = check_version(label, head, error);
        if (status != RADLLM_OK)
            return status;
    }
    if (head_size < HEADER_BYTES)
        return rad_fail(error, RADLLM_E_FORMAT,
                        "%s: the file has %" PRIu64 " bytes, but the header of a GGUF file alone "
                        "has %u; the download may be incomplete: fetch it again",
                        label, size, HEADER_BYTES);
    return RADLLM_OK;
}
