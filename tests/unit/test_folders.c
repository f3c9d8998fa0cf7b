/* Folders of safetensors files: what makes them a model, and that what is missing or does not fit
 * is told. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit/tensor_files.h"

#define LLAMA                                                                                      \
    "\"model_type\":\"llama\",\"hidden_size\":8,\"num_hidden_layers\":1,\"num_attention_heads\":"  \
    "2,"                                                                                           \
    "\"intermediate_size\":4,\"vocab_size\":6,\"max_position_embeddings\":32"

static const struct {
    const char *name;
    size_t rows, columns; /* rows 0: a vector */
    const char *dtype;
} parts[] = {
    {"model.embed_tokens.weight", 6, 8, "F32"},
    {"model.norm.weight", 0, 8, "F16"},
    {"lm_head.weight", 6, 8, "BF16"},
    {"model.layers.0.input_layernorm.weight", 0, 8, "F32"},
    {"model.layers.0.post_attention_layernorm.weight", 0, 8, "F32"},
    {"model.layers.0.self_attn.q_proj.weight", 8, 8, "F32"},
    {"model.layers.0.self_attn.k_proj.weight", 8, 8, "F32"},
    {"model.layers.0.self_attn.v_proj.weight", 8, 8, "F8_E5M2"},
    {"model.layers.0.self_attn.o_proj.weight", 8, 8, "F8_E4M3"},
    {"model.layers.0.mlp.gate_proj.weight", 4, 8, "F32"},
    {"model.layers.0.mlp.up_proj.weight", 4, 8, "F32"},
    {"model.layers.0.mlp.down_proj.weight", 8, 4, "F32"},
};
enum { N_PARTS = sizeof parts / sizeof *parts };

static size_t size_of_dtype(const char *dtype)
{
    return strcmp(dtype, "F32") == 0 ? 4 : strncmp(dtype, "F8", 2) == 0 ? 1 : 2;
}

static const char *left_out; /* this tensor is not written */

/* Writes the tensors first, first + step, ... of a small model. */
static void write_some(const char *file, size_t first, size_t step)
{
    char header[8000];
    size_t used = (size_t)snprintf(header, sizeof header, "{"), at = 0;
    for (size_t i = first; i < N_PARTS; i += step) {
        size_t rows = parts[i].rows, columns = parts[i].columns;
        if (left_out != NULL && strcmp(parts[i].name, left_out) == 0)
            continue;
        size_t bytes = (rows == 0 ? 1 : rows) * columns * size_of_dtype(parts[i].dtype);
        char shape[40];
        snprintf(shape, sizeof shape, rows == 0 ? "[%zu]" : "[%zu,%zu]", rows == 0 ? columns : rows,
                 columns);
        used += (size_t)snprintf(
            header + used, sizeof header - used,
            "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
            i == first ? "" : ",", parts[i].name, parts[i].dtype, shape, at, at + bytes);
        at += bytes;
    }
    snprintf(header + used, sizeof header - used, "}");
    write_tensors(file, header, at);
}

static void empty_folder(void)
{
    static const char *const names[] = {"model.safetensors",
                                        "model.safetensors.index.json",
                                        "config.json",
                                        "a.safetensors",
                                        "b.safetensors",
                                        "tokenizer_config.json",
                                        "chat_template.jinja",
                                        "adapter_model.bin",
                                        "adapter_config.json",
                                        "pytorch_model.bin",
                                        "output.safetensors",
                                        "output-00001-of-00002.safetensors",
                                        "output-00002-of-00002.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(inside(names[i]));
}

static void write_model(const char *config)
{
    empty_folder();
    write_some("model.safetensors", 0, 1);
    write_text("config.json", config);
}

static void check_model(const char *path, radllm_status expected, const char *part)
{
    radllm_error *error;
    radllm_model *model = NULL;
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    radllm_status status = radllm_model_open(NULL, path, NULL, NULL, &model, error);
    if (expected == RADLLM_OK)
        rad_assert_ok(status, error);
    else
        rad_assert_error(status, expected, error, part);
    radllm_model_free(model);
    radllm_error_free(error);
}

/* What a number of 8 bits is worth, from its parts. */
static double value_of_f8(unsigned code, int exponent_bits)
{
    int mantissa_bits = 7 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = (int)(code >> mantissa_bits) & ((1 << exponent_bits) - 1);
    double mantissa = (double)(code & ((1u << mantissa_bits) - 1)) / (1 << mantissa_bits);
    double value =
        exponent == 0 ? ldexp(mantissa, 1 - bias) : ldexp(1.0 + mantissa, exponent - bias);
    if (exponent_bits == 5 && exponent == 31)
        value = mantissa == 0.0 ? (double)INFINITY : (double)NAN;
    if (exponent_bits == 4 && (code & 0x7f) == 0x7f)
        value = (double)NAN;
    return code & 0x80 ? -value : value;
}

/* All codes, by a matrix of 16 x 16. */
START_TEST(numbers_of_8_bits_are_widened_exactly)
{
    for (int bits = 4; bits <= 5; bits++) {
        char header[300];
        empty_folder();
        write_text("config.json", "{" LLAMA "}");
        snprintf(header, sizeof header,
                 "{\"model.embed_tokens.weight\":{\"dtype\":\"F8_E%dM%d\",\"shape\":[16,16],"
                 "\"data_offsets\":[0,256]}}",
                 bits, 7 - bits);
        write_tensors("model.safetensors", header, 256);
        rad_source *source = accept(inside(""));
        const rad_tensor *tensor = rad_source_find_tensor(source, "token_embd.weight");
        ck_assert_ptr_nonnull(tensor);
        ck_assert_int_eq(tensor->type, RAD_TYPE_BF16);
        ck_assert_uint_eq(tensor->n_bytes, 512);
        uint16_t values[256];
        ck_assert_int_eq(rad_source_read_tensor(source, tensor, 0, values, 512, NULL), RADLLM_OK);
        for (unsigned code = 0; code < 256; code++) {
            double expected = value_of_f8(code, bits), got = (double)rad_bf16_to_f32(values[code]);
            ck_assert_msg(isnan(expected) ? isnan(got) : expected == got, "code %u: %g, not %g",
                          code, got, expected);
        }
        rad_source_release(source);
    }
}
END_TEST

START_TEST(a_folder_is_a_model)
{
    write_model("{" LLAMA "}");
    write_text("tokenizer_config.json", "{\"chat_template\":\"{{ messages }}\"}");
    write_text("chat_template.json", "{\"chat_template\":\"of pictures\"}");
    check_model(inside(""), RADLLM_OK, NULL);
    rad_source *source = accept(inside("model.safetensors"));
    rad_text text;
    ck_assert_int_eq(rad_meta_text(source, "tokenizer.chat_template", &text, NULL), RADLLM_OK);
    ck_assert_uint_eq(text.size, 14);
    rad_source_release(source);
    write_text("chat_template.jinja", "other");
    source = accept(inside(""));
    ck_assert_int_eq(rad_meta_text(source, "tokenizer.chat_template", &text, NULL), RADLLM_OK);
    ck_assert(text.size == 5 && memcmp(text.data, "other", 5) == 0);
    rad_source_release(source);
    unlink(inside("chat_template.jinja"));
    unlink(inside("chat_template.json"));
    write_text("tokenizer_config.json",
               "{\"chat_template\":[{\"name\":\"default\",\"template\":\"x\"},"
               "{\"name\":\"default\",\"template\":\"last\"}]}");
    source = accept(inside(""));
    ck_assert_int_eq(rad_meta_text(source, "tokenizer.chat_template", &text, NULL), RADLLM_OK);
    ck_assert(text.size == 4 && memcmp(text.data, "last", 4) == 0);
    rad_source_release(source);
    /* None of them is the one for chats without tools. */
    write_text("tokenizer_config.json",
               "{\"chat_template\":[{\"name\":\"rag\",\"template\":\"x\"},{}]}");
    source = accept(inside(""));
    const rad_meta *names = rad_source_find_meta(source, "tokenizer.chat_templates");
    ck_assert(names != NULL && names->is_array && names->count == 1);
    ck_assert(names->strings[0].size == 3 && memcmp(names->strings[0].data, "rag", 3) == 0);
    ck_assert_int_eq(rad_meta_text(source, "tokenizer.chat_template.rag", &text, NULL), RADLLM_OK);
    ck_assert(text.size == 1 && *text.data == 'x');
    ck_assert_ptr_null(rad_source_find_meta(source, "tokenizer.chat_template"));
    rad_source_release(source);
    unlink(inside("tokenizer_config.json"));
}
END_TEST

/* Opens the folder's tokenizer.json by itself, with this configuration beside it, for a chat. */
static radllm_status chat_with_tokenizer_alone(const char *config, radllm_error *error)
{
    radllm_options *options;
    radllm_model *model;
    radllm_chat *chat;
    size_t n;
    write_text("tokenizer_config.json", config);
    rad_assert_ok(radllm_options_new(NULL, &options, error), error);
    rad_assert_ok(radllm_options_set_integer(options, "vocab_only", 1, error), error);
    rad_assert_ok(radllm_model_open(NULL, inside("tokenizer.json"), options, NULL, &model, error),
                  error);
    rad_assert_ok(radllm_chat_new(NULL, &chat, error), error);
    rad_assert_ok(radllm_chat_add(chat, "user", "a", 1, error), error);
    radllm_status status = radllm_chat_tokenize(model, chat, NULL, NULL, 0, &n, error);
    radllm_chat_free(chat);
    radllm_model_free(model);
    radllm_options_free(options);
    unlink(inside("tokenizer_config.json"));
    return status;
}

/* Its tokenizer, of fewer tokens than the embedding has rows, is that of tokenizer.json. */
START_TEST(a_folder_has_a_tokenizer)
{
    radllm_error *error;
    radllm_model *model;
    int32_t ids[8];
    int64_t number;
    size_t n;
    char text[16];
    write_model("{" LLAMA "}");
    write_text("tokenizer.json",
               "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":null,"
               "\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"post_processor\":null,"
               "\"decoder\":null,\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\","
               "\"vocab\":{\"u\":0,\"liver\":1,\"spleen\":2}}}");
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_ok(radllm_model_open(NULL, inside(""), NULL, NULL, &model, error), error);
    rad_assert_ok(radllm_tokenize(model, "spleen liver", RADLLM_NUL, 0, ids, 8, &n, error), error);
    ck_assert(n == 2 && ids[0] == 2 && ids[1] == 1);
    rad_assert_ok(radllm_model_number(model, "vocab_size", &number, error), error);
    ck_assert_int_eq(number, 6);
    ids[0] = 5; /* a row without a token */
    rad_assert_ok(radllm_detokenize(model, ids, 1, 0, text, sizeof text, &n, error), error);
    ck_assert_uint_eq(n, 0);
    radllm_detokenizer *detokenizer;
    rad_assert_ok(radllm_detokenizer_new(model, 0, &detokenizer, error), error);
    rad_assert_ok(radllm_detokenizer_push(detokenizer, 5, text, sizeof text, &n, error), error);
    ck_assert_uint_eq(n, 0);
    radllm_detokenizer_free(detokenizer);
    radllm_model_free(model);
    /* What ends an answer: generation_config.json says it, or else config.json does. */
    write_text("config.json", "{" LLAMA ",\"eos_token_id\":[2]}");
    rad_assert_ok(radllm_model_open(NULL, inside(""), NULL, NULL, &model, error), error);
    ck_assert(radllm_token_is_end(model, 2) && !radllm_token_is_end(model, 1));
    radllm_model_free(model);
    write_text("generation_config.json", "{\"eos_token_id\":1}");
    rad_assert_ok(radllm_model_open(NULL, inside(""), NULL, NULL, &model, error), error);
    ck_assert(radllm_token_is_end(model, 1) && !radllm_token_is_end(model, 2));
    radllm_model_free(model);
    unlink(inside("generation_config.json"));
    radllm_status status = chat_with_tokenizer_alone("{\"chat_template\":\"{{ x }}\"}", error);
    rad_assert_error(status, RADLLM_E_UNSUPPORTED, error, "is none that this version knows");
    status = chat_with_tokenizer_alone("{}", error);
    rad_assert_error(status, RADLLM_E_UNSUPPORTED, error, "it has no chat template");
    write_text("tokenizer.json", "{\"model\":");
    status = radllm_model_open(NULL, inside(""), NULL, NULL, &model, error);
    rad_assert_error(status, RADLLM_E_FORMAT, error, "tokenizer.json");
    unlink(inside("tokenizer.json"));
    radllm_error_free(error);
}
END_TEST

START_TEST(sentence_transformers_may_want_lower_case)
{
    static const char *const wanted[] = {"{\"do_lower_case\":false}", "{\"do_lower_case\":true}"};
    radllm_error *error;
    radllm_model *model;
    int32_t ids[8];
    size_t n;
    write_model("{" LLAMA "}");
    write_text("tokenizer.json",
               "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":{\"type\":\"Replace\","
               "\"pattern\":{\"String\":\"x\"},\"content\":\"e\"},"
               "\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"post_processor\":null,"
               "\"decoder\":null,\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\","
               "\"vocab\":{\"u\":0,\"liver\":1,\"spleen\":2}}}");
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    for (int i = 0; i < 3; i++) { /* at last without what says that the model is one of theirs */
        write_text("sentence_bert_config.json", wanted[i > 0]);
        write_text("modules.json", "[]");
        if (i == 2)
            unlink(inside("modules.json"));
        rad_assert_ok(radllm_model_open(NULL, inside(""), NULL, NULL, &model, error), error);
        rad_assert_ok(radllm_tokenize(model, "SPLEXN liver", RADLLM_NUL, 0, ids, 8, &n, error),
                      error);
        ck_assert(n == 2 && ids[0] == (i == 1 ? 2 : 0) && ids[1] == 1);
        radllm_model_free(model);
    }
    write_text("modules.json", "[]");
    write_text("sentence_bert_config.json", "{\"do_lower_case\":1}");
    radllm_status status = radllm_model_open(NULL, inside(""), NULL, NULL, &model, error);
    rad_assert_error(status, RADLLM_E_FORMAT, error, "do_lower_case must be true or false");
    unlink(inside("tokenizer.json"));
    write_text("tokenizer.model", "\x0a\x09\x0a\x05<unk>\x18\x02");
    write_text("sentence_bert_config.json", wanted[1]);
    status = radllm_model_open(NULL, inside(""), NULL, NULL, &model, error);
    rad_assert_error(status, RADLLM_E_UNSUPPORTED, error, "do_lower_case is not supported");
    unlink(inside("tokenizer.model"));
    unlink(inside("modules.json"));
    unlink(inside("sentence_bert_config.json"));
    radllm_error_free(error);
}
END_TEST

/* Without a tokenizer.json it is that of tokenizer.model. */
START_TEST(a_folder_has_a_sentencepiece_model)
{
    static const char bytes[] = "\x0a\x09\x0a\x05<unk>\x18\x02"
                                "\x0a\x07\x0a\x03<s>\x18\x03"
                                "\x0a\x08\x0a\x04</s>\x18\x03"
                                "\x0a\x05\x0a\x03\xE2\x96\x81"
                                "\x0a\x03\x0a\x01"
                                "a"
                                "\x12\x02\x18\x02";
    const int32_t expected[] = {1, 3, 4, 3, 4, 5, 2};
    radllm_error *error;
    radllm_model *model;
    int32_t ids[8];
    size_t n;
    write_model("{" LLAMA "}");
    write_text("tokenizer.model", bytes);
    write_text("added_tokens.json", "{\"<x>\":5}");
    write_text("tokenizer_config.json", "{\"add_eos_token\":true}");
    ck_assert_int_eq(radllm_error_new(&error), RADLLM_OK);
    rad_assert_ok(radllm_model_open(NULL, inside(""), NULL, NULL, &model, error), error);
    rad_assert_ok(radllm_tokenize(model, "a a<x>", RADLLM_NUL, RADLLM_TOKENIZE_ADD_SPECIAL, ids, 8,
                                  &n, error),
                  error);
    ck_assert_uint_eq(n, 7);
    ck_assert_mem_eq(ids, expected, sizeof expected);
    radllm_model_free(model);
    write_text("added_tokens.json", "{\"<x>\":6}"); /* the embedding has six rows */
    radllm_status status = radllm_model_open(NULL, inside(""), NULL, NULL, &model, error);
    rad_assert_error(status, RADLLM_E_FORMAT, error, "vocab_size of 6");
    write_text("tokenizer.model", "nothing");
    status = radllm_model_open(NULL, inside(""), NULL, NULL, &model, error);
    rad_assert_error(status, RADLLM_E_FORMAT, error, "tokenizer.model");
    unlink(inside("tokenizer.model"));
    unlink(inside("added_tokens.json"));
    radllm_error_free(error);
}
END_TEST

static const struct {
    const char *config;
    radllm_status status;
    const char *part;
} configs[] = {
    {"{}", RADLLM_E_FORMAT, "model_type"},
    {"[]", RADLLM_E_FORMAT, "no object"},
    {"{" LLAMA "," LLAMA "}", RADLLM_E_FORMAT, "uplicate"},
    {"{\"model_type\":\"llama\"}", RADLLM_E_FORMAT, "num_hidden_layers"},
    {"{\"model_type\":7}", RADLLM_E_FORMAT, "model_type"},
    {"{\"model_type\":\"qwen\"}", RADLLM_E_UNSUPPORTED, "Qwen 1"},
    {"{\"model_type\":\"nobody\\n\"}", RADLLM_E_UNSUPPORTED, "nobody\\x0a"},
    {"{\"model_type\":\"qwen\",\"architectures\":[\"QWenLMHeadModel\"],\"visual\":{}}",
     RADLLM_E_UNSUPPORTED, "Qwen 1"},
    {"{" LLAMA ",\"vision_config\":{}}", RADLLM_E_UNSUPPORTED, "vision_config"},
    {"{\"model_type\":\"llava\",\"text_config\":{},\"vision_config\":{}}", RADLLM_E_UNSUPPORTED,
     "\"llava\" with vision_config"},
    {"{\"model_type\":\"qwen2_audio\",\"audio_config\":{}}", RADLLM_E_UNSUPPORTED,
     "\"qwen2_audio\" with audio_config"},
    {"{\"model_type\":\"gemma3\",\"vision_config\":{}}", RADLLM_E_UNSUPPORTED, "vision_config"},
    {"{\"model_type\":\"gemma3\",\"text_config\":{\"model_type\":\"llama\"}}", RADLLM_E_FORMAT,
     "token_embd.weight"},
    {"{\"model_type\":\"gemma3_text\"}", RADLLM_E_FORMAT, "has the shape"},
    {"{\"model_type\":\"gemma3_text\",\"use_bidirectional_attention\":true}", RADLLM_E_UNSUPPORTED,
     "use_bidirectional_attention"},
    {"{\"model_type\":\"gemma3_text\",\"rope_parameters\":{\"full_attention\":{},"
     "\"sliding_attention\":{\"rope_type\":\"yarn\"}}}",
     RADLLM_E_UNSUPPORTED, "sliding_attention"},
    {"{\"model_type\":\"gemma3_text\",\"sliding_window_pattern\":0}", RADLLM_E_FORMAT,
     "sliding_window_pattern"},
    {"{" LLAMA ",\"rope_parameters\":{\"full_attention\":{}}}", RADLLM_E_UNSUPPORTED, "by layers"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"longrope\"}}", RADLLM_E_FORMAT, "short_factor"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1,1],\"long_factor\":[1]}}",
     RADLLM_E_FORMAT, "long_factors has 1 numbers"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1,0],\"long_factor\":[1,2]}}",
     RADLLM_E_FORMAT, "value 1 is not a positive number"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1,\"2\"],"
     "\"long_factor\":[1,2]}}",
     RADLLM_E_FORMAT, "short_factor"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":1e9}}", RADLLM_E_FORMAT,
     "factor"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}}", RADLLM_E_FORMAT,
     "rope_scaling.factor"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":-1}}", RADLLM_E_FORMAT,
     "rope_scaling.factor"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":0.5}}", RADLLM_E_FORMAT,
     "factor"},
    {"{\"model_type\":\"qwen2_moe\",\"hidden_size\":8,\"num_hidden_layers\":2147483647,"
     "\"num_attention_heads\":2,\"intermediate_size\":4,\"vocab_size\":6,"
     "\"max_position_embeddings\":32,\"num_experts\":2,\"num_experts_per_tok\":1,"
     "\"decoder_sparse_step\":2}",
     RADLLM_E_FORMAT, "num_hidden_layers"},
    {"{\"model_type\":\"qwen2_moe\",\"hidden_size\":8,\"num_hidden_layers\":2,"
     "\"num_attention_heads\":2,\"intermediate_size\":4,\"vocab_size\":6,"
     "\"max_position_embeddings\":32,\"num_experts\":2,\"num_experts_per_tok\":1,"
     "\"mlp_only_layers\":[2]}",
     RADLLM_E_FORMAT, "mlp_only_layers"},
    {"{" LLAMA ",\"quantization_config\":{\"quant_method\":\"hqq\"}}", RADLLM_E_UNSUPPORTED, "hqq"},
    {"{" LLAMA ",\"quantization\":{\"group_size\":64,\"bits\":4}}", RADLLM_E_UNSUPPORTED, "by MLX"},
    {"{" LLAMA ",\"quantization\":{\"group_size\":64,\"bits\":4},"
     "\"quantization_config\":{\"group_size\":64,\"bits\":4}}",
     RADLLM_E_UNSUPPORTED, "by MLX"},
    {"{" LLAMA ",\"hidden_act\":\"relu\"}", RADLLM_E_UNSUPPORTED, "relu"},
    {"{" LLAMA ",\"hidden_act\":\"swish\",\"rms_norm_eps\":\"1\"}", RADLLM_E_FORMAT,
     "rms_norm_eps"},
    {"{" LLAMA ",\"hidden_act\":3}", RADLLM_E_FORMAT, "hidden_act"},
    {"{" LLAMA ",\"rms_norm_eps\":\"1\"}", RADLLM_E_FORMAT, "rms_norm_eps"},
    {"{" LLAMA ",\"rms_norm_eps\":-1}", RADLLM_E_FORMAT, "(in config.json: rms_norm_eps)"},
    {"{" LLAMA ",\"num_key_value_heads\":0}", RADLLM_E_FORMAT, "num_key_value_heads"},
    {"{" LLAMA ",\"n_routed_experts\":0}", RADLLM_E_FORMAT, "n_routed_experts must be"},
    {"{" LLAMA ",\"num_key_value_heads\":3}", RADLLM_E_FORMAT, "config.json: num_key_value_heads)"},
    {"{" LLAMA ",\"num_key_value_heads\":-9223372036854775808}", RADLLM_E_FORMAT, "num_key_value"},
    {"{" LLAMA ",\"head_dim\":2147483647}", RADLLM_E_FORMAT, "key_length"},
    {"{" LLAMA ",\"num_local_experts\":2147483647}", RADLLM_E_FORMAT, "num_experts_per_tok"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"mrope\",\"factor\":2}}", RADLLM_E_UNSUPPORTED,
     "mrope"},
    {"{" LLAMA ",\"rope_scaling\":[]}", RADLLM_E_FORMAT, "rope"},
    {"{" LLAMA ",\"rope_theta\":1e400}", RADLLM_E_FORMAT, "faulty"},
    {"{" LLAMA ",\"rope_theta\":0.0}", RADLLM_E_FORMAT, "(in config.json: rope_theta)"},
    {"{" LLAMA ",\"tie_word_embeddings\":1}", RADLLM_E_FORMAT, "tie_word_embeddings"},
    {"{\"model_type\":\"llama\",\"hidden_size\":16,\"num_hidden_layers\":1,\"num_attention_heads\":"
     "2,"
     "\"intermediate_size\":4,\"vocab_size\":6,\"max_position_embeddings\":32}",
     RADLLM_E_FORMAT,
     "token_embd.weight (model.embed_tokens.weight) has the shape 6 x 8; the metadata asks for 6 x "
     "16, by llama.embedding_length; the two are not of one model: fetch or convert it again (in "
     "config.json: hidden_size"},
    {"{\"model_type\":\"llama\",\"hidden_size\":8,\"num_hidden_layers\":1,\"num_attention_heads\":"
     "2,"
     "\"intermediate_size\":12,\"vocab_size\":6,\"max_position_embeddings\":32}",
     RADLLM_E_FORMAT, "12 x 8, by llama.feed_forward_length"},
    {"{\"model_type\":\"llama\",\"hidden_size\":8,\"num_hidden_layers\":1,\"num_attention_heads\":"
     "2,"
     "\"intermediate_size\":4,\"vocab_size\":7,\"max_position_embeddings\":32}",
     RADLLM_E_FORMAT, "(in config.json: vocab_size)"},
    {"{\"model_type\":\"llama\",\"hidden_size\":8,\"num_hidden_layers\":2,\"num_attention_heads\":"
     "2,"
     "\"intermediate_size\":4,\"vocab_size\":6,\"max_position_embeddings\":32}",
     RADLLM_E_FORMAT, "blk.1.attn_norm.weight is missing"},
    {"{\"model_type\":\"mixtral\",\"hidden_size\":8,\"num_hidden_layers\":1,\"num_attention_"
     "heads\":2,"
     "\"intermediate_size\":4,\"vocab_size\":6,\"max_position_embeddings\":32,"
     "\"num_local_experts\":2147483647,\"num_experts_per_tok\":2}",
     RADLLM_E_FORMAT, "(in config.json: num_local_experts"},
    {"{" LLAMA ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"beta_fast\":-1}}",
     RADLLM_E_FORMAT, "(in config.json: a key of rope_scaling"},
    {"{\"model_type\":\"gpt2\",\"n_embd\":8,\"n_layer\":1,\"n_head\":2,\"vocab_size\":6,"
     "\"n_positions\":32}",
     RADLLM_E_FORMAT, "token_embd.weight is missing"},
    {"{\"model_type\":\"gemma2\",\"hidden_size\":8,\"num_hidden_layers\":1,\"num_attention_heads\":"
     "2,"
     "\"intermediate_size\":4,\"vocab_size\":6,\"max_position_embeddings\":32,\"head_dim\":4,"
     "\"layer_types\":[\"sliding_attention\",\"sliding_attention\"],\"sliding_window\":8}",
     RADLLM_E_FORMAT, "layer_types"},
};

START_TEST(config_is_refused)
{
    write_model(configs[_i].config);
    check_model(inside(""), configs[_i].status, configs[_i].part);
}
END_TEST

/* A key that the family has not changes nothing. */
START_TEST(a_key_of_other_families_is_passed_over)
{
    static const char *const types[] = {"qwen3_moe", "mixtral", "gpt_oss"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char config[400], key[64];
        snprintf(config, sizeof config,
                 "{\"model_type\":\"%s\",\"hidden_size\":8,\"num_hidden_layers\":1,"
                 "\"num_attention_heads\":2,\"intermediate_size\":4,\"vocab_size\":6,"
                 "\"num_experts\":2,\"num_local_experts\":2,\"num_experts_per_tok\":1,"
                 "\"norm_topk_prob\":false}",
                 types[i]);
        empty_folder();
        write_text("config.json", config);
        write_tensors("model.safetensors", "{}", 0);
        rad_source *source = accept(inside(""));
        rad_text name;
        rad_assert_ok(rad_meta_text(source, "general.architecture", &name, NULL), NULL);
        snprintf(key, sizeof key, "%.*s.expert_weights_norm", (int)name.size, name.data);
        ck_assert_int_eq(rad_source_find_meta(source, key) != NULL, i == 0);
        rad_source_release(source);
    }
}
END_TEST

/* A factor that is null follows from how much longer the context became. */
START_TEST(yarn_without_a_factor)
{
    double factor = 0.0;
    write_model("{" LLAMA ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":null,"
                "\"original_max_position_embeddings\":8}}");
    rad_source *source = accept(inside(""));
    rad_assert_ok(rad_meta_real(source, "llama.rope.scaling.factor", 0.0, 1e9, 0.0, &factor, NULL),
                  NULL);
    ck_assert(factor == 4.0);
    rad_source_release(source);
}
END_TEST

/* The embedding takes the output's place only where the configuration does not say otherwise. */
START_TEST(an_output_that_is_missing_is_noticed)
{
    left_out = "lm_head.weight";
    write_model("{" LLAMA "}");
    check_model(inside(""), RADLLM_OK, NULL);
    write_model("{" LLAMA ",\"tie_word_embeddings\":false}");
    check_model(inside(""), RADLLM_E_FORMAT, "'lm_head.weight' is missing");
    left_out = NULL;
    write_model("{" LLAMA ",\"tie_word_embeddings\":false}");
    check_model(inside(""), RADLLM_OK, NULL);
}
END_TEST

/* An output that is stored beside the embedding is used where it is another one, whatever the
 * configuration says. */
START_TEST(an_output_of_its_own_is_used)
{
    static const char *const tensors =
        "{" TENSOR("model.embed_tokens.weight", "BF16", "[512,256]", "[0,262144]") "," TENSOR(
            "lm_head.weight", "BF16", "[512,256]", "[262144,524288]") "}";
    empty_folder();
    write_text("config.json", "{" LLAMA ",\"tie_word_embeddings\":true}");
    write_tensors("model.safetensors", tensors, 524288);
    rad_source *source = accept(inside(""));
    ck_assert_ptr_null(rad_source_find_tensor(source, "output.weight"));
    rad_source_release(source);
    /* One byte, the last, is another. */
    uint64_t header = strlen(tensors);
    FILE *file = fopen(inside("model.safetensors"), "r+b");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, (long)(8 + header + 524287), SEEK_SET), 0);
    ck_assert_int_eq(fputc(1, file), 1);
    ck_assert_int_eq(fclose(file), 0);
    source = accept(inside(""));
    const rad_tensor *output = rad_source_find_tensor(source, "output.weight");
    ck_assert_ptr_nonnull(output);
    ck_assert_uint_eq(output->n_bytes, 262144);
    rad_source_release(source);
}
END_TEST

/* A tensor that no layer uses is no detail. */
START_TEST(nothing_is_left_out_in_silence)
{
    write_model("{" LLAMA "}");
    write_tensors("model.safetensors",
                  "{\"model.layers.0.self_attn.surprise\":{\"dtype\":\"U8\",\"shape\":[1],"
                  "\"data_offsets\":[0,1]}}",
                  1);
    rad_source *source = accept(inside(""));
    ck_assert_ptr_nonnull(rad_source_find_tensor(source, "model.layers.0.self_attn.surprise"));
    rad_source_release(source);
    /* But for a bias of zeros: the first byte is one, the second is not. */
    write_tensors("model.safetensors",
                  "{\"a.bias\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                  "\"b.bias\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
                  2);
    source = accept(inside(""));
    ck_assert_ptr_null(rad_source_find_tensor(source, "a.bias"));
    ck_assert_ptr_nonnull(rad_source_find_tensor(source, "b.bias"));
    rad_source_release(source);
}
END_TEST

#define INDEX(map) "{\"metadata\":{},\"weight_map\":{" map "}}"

/* A folder of two files, with an index that says so. */
static void write_shards(const char *index)
{
    empty_folder();
    write_some("a.safetensors", 0, 2);
    write_some("b.safetensors", 1, 2);
    write_text("config.json", "{" LLAMA "}");
    write_text("model.safetensors.index.json", index);
}

static char *whole_index(void)
{
    static char text[4000];
    size_t used = (size_t)snprintf(text, sizeof text, "{\"weight_map\":{");
    for (size_t i = 0; i < N_PARTS; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s\"%s\":\"%s.safetensors\"",
                                 i == 0 ? "" : ",", parts[i].name, i % 2 == 0 ? "a" : "b");
    snprintf(text + used, sizeof text - used, "}}");
    return text;
}

START_TEST(several_files_are_one_model)
{
    write_shards(whole_index());
    check_model(inside(""), RADLLM_OK, NULL);
    check_model(inside("model.safetensors.index.json"), RADLLM_OK, NULL);
    unlink(inside("b.safetensors"));
    refuse(inside(""), RADLLM_E_IO, "b.safetensors");
    write_some("b.safetensors", 0, 2); /* the tensors of the other one */
    refuse(inside(""), RADLLM_E_FORMAT, "is also in");
    write_some("b.safetensors", 3, 2); /* one is missing */
    refuse(inside(""), RADLLM_E_FORMAT, "model.norm.weight");
}
END_TEST

/* Quantizers name files as they like, and may leave the index of what they read. */
START_TEST(files_of_other_names_are_found)
{
    static const char *const shards[] = {"output-00001-of-00002.safetensors",
                                         "output-00002-of-00002.safetensors"};
    write_model("{" LLAMA "}");
    ck_assert_int_eq(rename(inside("model.safetensors"), inside("output.safetensors")), 0);
    check_model(inside(""), RADLLM_OK, NULL);
    write_text("model.safetensors.index.json", INDEX("\"a\":\"model-00001-of-00002.safetensors\""));
    check_model(inside(""), RADLLM_OK, NULL);
    write_some("a.safetensors", 0, 1);
    refuse(inside(""), RADLLM_E_IO, "'model-00001-of-00002.safetensors'");
    unlink(inside("model.safetensors.index.json"));
    refuse(inside(""), RADLLM_E_UNSUPPORTED, "several .safetensors files");
    check_model(inside("a.safetensors"), RADLLM_OK, NULL);
    empty_folder();
    write_text("config.json", "{" LLAMA "}");
    for (size_t i = 0; i < 2; i++)
        write_some(shards[i], i, 2);
    check_model(inside(""), RADLLM_OK, NULL);
    check_model(inside(shards[1]), RADLLM_OK, NULL);
    unlink(inside(shards[0]));
    refuse(inside(""), RADLLM_E_IO, "one of the model's 2 files is missing");
    refuse(inside(shards[1]), RADLLM_E_IO, shards[0]);
    write_text("output.safetensors.index.json", INDEX("\"a\":\"c.safetensors\""));
    refuse(inside(shards[1]), RADLLM_E_IO, "'c.safetensors'");
    unlink(inside("output.safetensors.index.json"));
    write_text("output-00001-of-99999.safetensors", "");
    refuse(inside("output-00001-of-99999.safetensors"), RADLLM_E_LIMIT, "at most");
    unlink(inside("output-00001-of-99999.safetensors"));
}
END_TEST

static const struct {
    const char *index;
    radllm_status status;
    const char *part;
} indexes[] = {
    {"{}", RADLLM_E_FORMAT, "weight_map"},
    {"{\"weight_map\":{}}", RADLLM_E_FORMAT, "weight_map"},
    {"{\"weight_map\":[]}", RADLLM_E_FORMAT, "weight_map"},
    {INDEX("\"a\":7"), RADLLM_E_FORMAT, "file's name"},
    {INDEX("\"a\":\"../m/a.safetensors\""), RADLLM_E_FORMAT, "directly in the model's folder"},
    {INDEX("\"a\":\"/etc/a.safetensors\""), RADLLM_E_FORMAT, "directly"},
    {INDEX("\"a\":\"..\\\\a.safetensors\""), RADLLM_E_FORMAT, "directly"},
    {INDEX("\"a\":\"config.json\""), RADLLM_E_FORMAT, "directly"},
    {INDEX("\"a\":\"\""), RADLLM_E_FORMAT, "directly"},
    {INDEX("\"a\":\"a.safetensors\\u0000\""), RADLLM_E_FORMAT, "faulty"},
    {INDEX("\"a\":\"c.safetensors\""), RADLLM_E_IO, "'c.safetensors'"},
    {INDEX("\"a\":\"a.safetensors\""), RADLLM_E_FORMAT, "not in a.safetensors"},
    {INDEX("\"model.norm.weight\":\"a.safetensors\",\"lm_head.weight\":\"b.safetensors\""),
     RADLLM_E_FORMAT, "as the index says"},
};

START_TEST(index_is_refused)
{
    write_shards(indexes[_i].index);
    refuse(inside(""), indexes[_i].status, indexes[_i].part);
}
END_TEST

START_TEST(links_are_refused)
{
    char elsewhere[1024];
    write_shards(whole_index());
    snprintf(elsewhere, sizeof elsewhere, "%s", rad_test_temp_path("elsewhere.safetensors"));
    ck_assert_int_eq(rename(inside("b.safetensors"), elsewhere), 0);
    ck_assert_int_eq(symlink(elsewhere, inside("b.safetensors")), 0);
    refuse(inside(""), RADLLM_E_IO, "symbolic link");
    unlink(inside("b.safetensors"));
    ck_assert_int_eq(symlink("../elsewhere.safetensors", inside("b.safetensors")), 0);
    refuse(inside(""), RADLLM_E_IO, "symbolic link");
    write_model("{" LLAMA "}");
    unlink(inside("config.json"));
    ck_assert_int_eq(symlink("/etc/passwd", inside("config.json")), 0);
    refuse(inside(""), RADLLM_E_IO, "symbolic link");
}
END_TEST

/* The hub's client keeps files under their hashes, and links to them. */
START_TEST(links_of_the_hub_are_followed)
{
    const char *hash = "0123456789abcdef0123456789abcdef01234567";
    char blob[1024], folder[1024], link[1100];
    mkdir(rad_test_temp_path("hub"), 0700);
    mkdir(rad_test_temp_path("hub/blobs"), 0700);
    mkdir(rad_test_temp_path("hub/snapshots"), 0700);
    mkdir(rad_test_temp_path("hub/snapshots/one"), 0700);
    write_model("{" LLAMA "}");
    snprintf(blob, sizeof blob, "%s/%s", rad_test_temp_path("hub/blobs"), hash);
    ck_assert_int_eq(rename(inside("model.safetensors"), blob), 0);
    snprintf(folder, sizeof folder, "%s", rad_test_temp_path("hub/snapshots/one"));
    snprintf(link, sizeof link, "%s/config.json", folder);
    ck_assert_int_eq(rename(inside("config.json"), link), 0);
    char target[200];
    snprintf(link, sizeof link, "%s/model.safetensors", folder);
    snprintf(target, sizeof target, "../../blobs/%s", hash);
    ck_assert_int_eq(symlink(target, link), 0);
    check_model(folder, RADLLM_OK, NULL);
    check_model(link, RADLLM_OK, NULL);
    /* What the link leads to must be a file. */
    unlink(blob);
    ck_assert_int_eq(symlink("/etc/passwd", blob), 0);
    refuse(folder, RADLLM_E_IO, "symbolic link");
}
END_TEST

START_TEST(folders_without_weights_say_what_they_are)
{
    empty_folder();
    refuse(inside(""), RADLLM_E_IO, "neither model.safetensors nor");
    write_text("pytorch_model.bin", "x");
    refuse(inside(""), RADLLM_E_UNSUPPORTED, "pickles");
    empty_folder();
    ck_assert_int_eq(mkdir(inside("snapshots"), 0700), 0);
    refuse(inside(""), RADLLM_E_UNSUPPORTED, "one revision in snapshots");
    ck_assert_int_eq(rmdir(inside("snapshots")), 0);
    write_text("adapter_config.json", "{}");
    refuse(inside(""), RADLLM_E_IO, "an adapter without its weights");
    write_text("adapter_model.bin", "x");
    refuse(inside(""), RADLLM_E_UNSUPPORTED, "adapter_model.bin");
    empty_folder();
    write_some("model.safetensors", 0, 1);
    rad_source *source = accept(inside("")); /* to be listed */
    ck_assert_ptr_nonnull(rad_source_find_tensor(source, "lm_head.weight"));
    rad_source_release(source);
    check_model(inside(""), RADLLM_E_FORMAT, "config.json");
}
END_TEST

/* A clone without LFS has texts in place of large files. */
START_TEST(pointers_of_lfs_are_named)
{
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\n"
                                  "oid sha256:"
                                  "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
                                  "\nsize 134\n";
    write_model("{" LLAMA "}");
    write_text("tokenizer.json", pointer);
    refuse(inside(""), RADLLM_E_FORMAT, "m/tokenizer.json: this is a Git LFS pointer");
    unlink(inside("tokenizer.json"));
    write_text("model.safetensors", pointer);
    refuse(inside(""), RADLLM_E_FORMAT, "m/model.safetensors: this is a Git LFS pointer");
    write_text("model.gguf", pointer);
    refuse(inside("model.gguf"), RADLLM_E_FORMAT, "git lfs pull");
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    char path[1024];
    write_shards(whole_index());
    write_text("tokenizer_config.json", "{\"chat_template\":\"x\"}");
    snprintf(path, sizeof path, "%s", inside(""));
    for (uint64_t n = 1;; n++) {
        rad_test_memory memory;
        rad_source *source = NULL;
        radllm_error error = {0};
        rad_test_memory_init(&memory, n);
        radllm_status status = open_path(path, &memory, &source, &error);
        if (status == RADLLM_OK)
            rad_source_release(source);
        else
            rad_assert_error(status, RADLLM_E_MEMORY, &error, "memory");
        rad_test_memory_check(&memory);
        if (!atomic_load(&memory.failed)) {
            ck_assert_int_eq(status, RADLLM_OK);
            ck_assert_uint_gt(n, 10);
            return;
        }
        ck_assert_int_ne(status, RADLLM_OK);
    }
}
END_TEST

/* A file that became shorter is an error, not a signal. */
START_TEST(a_shorter_file_is_noticed)
{
    write_model("{" LLAMA "}");
    rad_source *source = accept(inside(""));
    ck_assert_int_eq(truncate(inside("model.safetensors"), 100), 0);
    for (uint64_t i = 0; i < rad_source_n_tensors(source); i++) {
        const rad_tensor *tensor = rad_source_tensor(source, i);
        uint8_t bytes[4096];
        radllm_error error = {0};
        rad_assert_error(
            rad_source_read_tensor(source, tensor, 0, bytes, (size_t)tensor->n_bytes, &error),
            RADLLM_E_IO, &error, "truncated");
    }
    rad_source_release(source);
}
END_TEST

static void add_cases(Suite *suite)
{
    TCase *cases = rad_test_case(suite, "folders");
    tcase_add_test(cases, a_folder_is_a_model);
    tcase_add_test(cases, a_folder_has_a_tokenizer);
    tcase_add_test(cases, sentence_transformers_may_want_lower_case);
    tcase_add_test(cases, a_folder_has_a_sentencepiece_model);
    tcase_add_test(cases, numbers_of_8_bits_are_widened_exactly);
    tcase_add_loop_test(cases, config_is_refused, 0, sizeof configs / sizeof *configs);
    tcase_add_test(cases, a_key_of_other_families_is_passed_over);
    tcase_add_test(cases, yarn_without_a_factor);
    tcase_add_test(cases, an_output_that_is_missing_is_noticed);
    tcase_add_test(cases, an_output_of_its_own_is_used);
    tcase_add_test(cases, nothing_is_left_out_in_silence);
    tcase_add_test(cases, several_files_are_one_model);
    tcase_add_test(cases, files_of_other_names_are_found);
    tcase_add_loop_test(cases, index_is_refused, 0, sizeof indexes / sizeof *indexes);
    tcase_add_test(cases, links_are_refused);
    tcase_add_test(cases, links_of_the_hub_are_followed);
    tcase_add_test(cases, folders_without_weights_say_what_they_are);
    tcase_add_test(cases, pointers_of_lfs_are_named);
    tcase_add_test(cases, every_allocation_may_fail);
    tcase_add_test(cases, a_shorter_file_is_noticed);
}

int main(void)
{
    return rad_test_main("folders", add_cases);
}
