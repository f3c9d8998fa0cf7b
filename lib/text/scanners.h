/* The patterns of known tokenizers as hand-written scanners: each looks at every character a
 * bounded number of times. Each returns the length, at least 1, of the first piece of the text from
 * p to end, p < end: the match at p, or what lies before the next match (rad_split_fn). Which
 * tokenizer has which is in pretokenizer.c. */
#ifndef RAD_SCANNERS_H
#define RAD_SCANNERS_H

#include <stddef.h>
#include <stdint.h>

/* Those that leave nothing of a text unmatched. */
size_t rad_split_gpt2(const uint8_t *p, const uint8_t *end);
size_t rad_split_llama3(const uint8_t *p, const uint8_t *end);
size_t rad_split_qwen2(const uint8_t *p, const uint8_t *end);
size_t rad_split_qwen35(const uint8_t *p, const uint8_t *end);
size_t rad_split_gpt4o(const uint8_t *p, const uint8_t *end);
size_t rad_split_tekken(const uint8_t *p, const uint8_t *end);

/* Others. */
size_t rad_split_bloom(const uint8_t *p, const uint8_t *end);
size_t rad_split_deepseek3(const uint8_t *p, const uint8_t *end);
size_t rad_split_deepseek3_cjk(const uint8_t *p, const uint8_t *end);
size_t rad_split_deepseek_cjk(const uint8_t *p, const uint8_t *end);
size_t rad_split_deepseek_letters(const uint8_t *p, const uint8_t *end);
size_t rad_split_deepseek_punctuation(const uint8_t *p, const uint8_t *end);
size_t rad_split_default_punctuation(const uint8_t *p, const uint8_t *end);
size_t rad_split_falcon_punctuation(const uint8_t *p, const uint8_t *end);
size_t rad_split_letters(const uint8_t *p, const uint8_t *end);
size_t rad_split_line_feeds(const uint8_t *p, const uint8_t *end);
size_t rad_split_newline(const uint8_t *p, const uint8_t *end);
size_t rad_split_number(const uint8_t *p, const uint8_t *end);
size_t rad_split_numbers(const uint8_t *p, const uint8_t *end);
size_t rad_split_punctuation(const uint8_t *p, const uint8_t *end);
size_t rad_split_three_digits(const uint8_t *p, const uint8_t *end);
size_t rad_split_three_numbers(const uint8_t *p, const uint8_t *end);
size_t rad_split_trailing_space(const uint8_t *p, const uint8_t *end);

/* The letters with case that the pattern of deepseek-llm spells out, as ranges. */
#define RAD_DEEPSEEK_LETTERS 87
extern const uint32_t rad_deepseek_letters[RAD_DEEPSEEK_LETTERS][2];

#endif
