/* The header of a GGUF file, and files that are something else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/gguf_check.h"

static const float values[8] = {0, 1, 2, 3, 4, 5, 6, 7};

static gguf_builder small_file(void)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_string(&file, "general.architecture", "llama");
    gguf_tensor(&file, "a", 0, 1, (uint64_t[]){8}, values, sizeof values);
    return file;
}

static void refuse_text(const char *text, size_t size, radllm_status status, const char *part,
                        const char *remedy)
{
    gguf_bytes bytes = {.data = malloc(size + 1), .size = size};
    memcpy(bytes.data, text, size);
    gguf_refused(&bytes, status, part, remedy, (const char *)NULL);
    gguf_bytes_free(&bytes);
}

START_TEST(reads_versions_2_and_3)
{
    for (uint32_t version = 2; version <= 3; version++) {
        gguf_builder file = small_file();
        file.version = version;
        rad_source *source = gguf_accept(&file);
        ck_assert_uint_eq(rad_source_version(source), version);
        ck_assert_uint_eq(rad_source_alignment(source), 32);
        ck_assert_uint_eq(rad_source_n_parts(source), 1);
        ck_assert_uint_eq(rad_source_n_meta(source), 1);
        ck_assert_uint_eq(rad_source_n_tensors(source), 1);
        rad_source_release(source);
        gguf_builder_free(&file);
    }
}
END_TEST

START_TEST(refuses_an_empty_file)
{
    refuse_text("", 0, RADLLM_E_FORMAT, "the file is empty (0 bytes)", "fetch it again");
}
END_TEST

START_TEST(refuses_a_wrong_magic)
{
    refuse_text("\x01nonsense nonsense nonsense nonsense", 36, RADLLM_E_FORMAT,
                "this is no GGUF file: it begins with '\\x01non'", "fetch the file again");
    refuse_text("GG", 2, RADLLM_E_FORMAT, "the file has 2 bytes", "fetch it again");
    refuse_text("GX", 2, RADLLM_E_FORMAT, "begins with 'GX'", "fetch the file again");
}
END_TEST

START_TEST(names_other_formats)
{
    static const char zeros[60];
    static const struct {
        const char *head;
        size_t size;
        const char *part;
        const char *remedy;
    } others[] = {
        {"tjgg\x01\0\0\0", 8, "an old ggml model (ggjt)", "convert its original weights"},
        {"fmgg\x01\0\0\0", 8, "an old ggml model (ggmf)", "convert its original weights"},
        {"lmgg\x01\0\0\0", 8, "an old ggml model (ggml", "convert its original weights"},
        {"algg\x01\0\0\0", 8, "an old ggml adapter (ggla)", "convert its original weights"},
        {"FUGG\x01\0\0\0", 8, "a draft of GGUF", "fetch the model again"},
        {"PK\x03\x04", 4, "PyTorch checkpoint", "safetensors"},
        {"\x80\x02", 2, "a Python pickle", "safetensors"},
        {"\x08\0\0\0\0\0\0\0{\"a\":1}", 15, "a safetensors file", "safetensors"},
        {"version https://git-lfs.github.com/spec/v1", 42, "a Git LFS pointer", "git lfs pull"},
        {"<!DOCTYPE html><html>", 21, "a web page", "may need a login"},
        {"{\"architectures\": []}", 21, "a JSON text", "give the path"},
        {"\x1f\x8b\x08", 3, "a gzip archive", "decompress it"},
        {"\x7f\x45LF", 4, "a program", "give the path"},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char text[128] = {0};
        memcpy(text, others[i].head, others[i].size);
        memcpy(text + others[i].size, zeros, sizeof zeros);
        refuse_text(text, others[i].size + sizeof zeros, RADLLM_E_FORMAT, others[i].part,
                    others[i].remedy);
    }
}
END_TEST

START_TEST(refuses_other_versions)
{
    static const struct {
        uint32_t version;
        radllm_status status;
        const char *part;
    } cases[] = {
        {0, RADLLM_E_FORMAT, "the GGUF version at byte 4 is 0"},
        {1, RADLLM_E_UNSUPPORTED, "this is GGUF version 1"},
        {4, RADLLM_E_UNSUPPORTED, "the GGUF version at byte 4 is 4; versions 2 and 3"},
        {99, RADLLM_E_UNSUPPORTED, "the GGUF version at byte 4 is 99; versions 2 and 3"},
        {0x03000000, RADLLM_E_UNSUPPORTED, "a big-endian GGUF file"},
        {0x02000000, RADLLM_E_UNSUPPORTED, "gguf_convert_endian.py"},
        {0xffffffff, RADLLM_E_UNSUPPORTED, "the GGUF version at byte 4 is 4294967295"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gguf_builder file = small_file();
        file.version = cases[i].version;
        gguf_refuse(&file, cases[i].status, cases[i].part, "fetch");
        gguf_builder_free(&file);
    }
}
END_TEST

START_TEST(refuses_a_file_cut_at_any_byte)
{
    gguf_builder file = gguf_builder_new();
    gguf_key_string(&file, "general.architecture", "llama");
    gguf_key_strings(&file, "words", (const char *const[]){"one", "", "three"}, 3);
    gguf_key_array(&file, "numbers", GGUF_F32, values, 4, 8);
    gguf_key_bool(&file, "yes", 1);
    gguf_key_u64(&file, "large", UINT64_MAX);
    gguf_tensor(&file, "first", 0, 1, (uint64_t[]){8}, values, sizeof values);
    gguf_tensor(&file, "second", 0, 2, (uint64_t[]){4, 2}, values, sizeof values);
    gguf_bytes bytes = gguf_build(&file);
    size_t whole = bytes.size;
    for (bytes.size = 0; bytes.size < whole; bytes.size++) {
        /* A copy of exactly that size, so that reading beyond it shows. */
        gguf_bytes cut = {.data = malloc(bytes.size + 1), .size = bytes.size};
        memcpy(cut.data, bytes.data, cut.size);
        cut.data = realloc(cut.data, cut.size > 0 ? cut.size : 1);
        gguf_refused(&cut, RADLLM_E_FORMAT, "fetch", (const char *)NULL);
        gguf_bytes_free(&cut);
    }
    bytes.size = whole;
    rad_test_memory memory;
    rad_test_memory_init(&memory, 0);
    rad_source *source;
    radllm_error error = {0};
    rad_assert_ok(gguf_open_bytes(&bytes, &memory, &source, &error), &error);
    rad_source_release(source);
    rad_test_memory_check(&memory);
    gguf_bytes_free(&bytes);
    gguf_builder_free(&file);
}
END_TEST

static const uint64_t huge[] = {(uint64_t)1 << 31, (uint64_t)1 << 32, (uint64_t)1 << 58,
                                (uint64_t)1 << 60, (uint64_t)1 << 61, (uint64_t)1 << 62,
                                (uint64_t)1 << 63, UINT64_MAX - 1,    UINT64_MAX};

START_TEST(refuses_impossible_tensor_counts)
{
    gguf_builder file = small_file();
    file.own_counts = true;
    file.count_keys = 1;
    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
        char part[80];
        snprintf(part, sizeof part, "the tensor count %llu at byte 8 is impossible",
                 (unsigned long long)huge[i]);
        file.count_tensors = huge[i];
        gguf_refuse(&file, RADLLM_E_FORMAT, part, "fetch the file again");
    }
    gguf_builder_free(&file);
}
END_TEST

START_TEST(refuses_impossible_key_counts)
{
    gguf_builder file = small_file();
    file.own_counts = true;
    file.count_tensors = 1;
    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
        char part[80];
        snprintf(part, sizeof part, "the key count %llu at byte 16 is impossible",
                 (unsigned long long)huge[i]);
        file.count_keys = huge[i];
        gguf_refuse(&file, RADLLM_E_FORMAT, part, "fetch the file again");
    }
    gguf_builder_free(&file);
}
END_TEST

START_TEST(refuses_one_key_or_tensor_more_than_there_are)
{
    gguf_builder file = small_file();
    file.own_counts = true;
    file.count_tensors = 1;
    file.count_keys = 2;
    gguf_refuse(&file, RADLLM_E_FORMAT, "byte", "fetch");
    file.count_tensors = 2;
    file.count_keys = 1;
    gguf_refuse(&file, RADLLM_E_FORMAT, "tensor number 2", "fetch");
    gguf_builder_free(&file);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "header");
    tcase_add_test(cases, reads_versions_2_and_3);
    tcase_add_test(cases, refuses_an_empty_file);
    tcase_add_test(cases, refuses_a_wrong_magic);
    tcase_add_test(cases, names_other_formats);
    tcase_add_test(cases, refuses_other_versions);
    tcase_add_test(cases, refuses_a_file_cut_at_any_byte);
    tcase_add_test(cases, refuses_impossible_tensor_counts);
    tcase_add_test(cases, refuses_impossible_key_counts);
    tcase_add_test(cases, refuses_one_key_or_tensor_more_than_there_are);
}

int main(void)
{
    return rad_test_main("gguf_header", add_cases);
}
