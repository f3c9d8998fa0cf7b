/* What BERT's tokenizer takes characters for, wherever a vocabulary comes from. */
#ifndef RAD_TEXT_BERT_H
#define RAD_TEXT_BERT_H

#include <stdbool.h>
#include <stdint.h>

/* NUL, U+FFFD and the categories Cc, Cf, Cs and Co, but for white space of ASCII. */
bool rad_bert_drops(uint32_t code);
/* Characters that are words of their own: the blocks of Chinese ideographs. */
bool rad_bert_is_chinese(uint32_t code);
/* Punctuation, and what stands between letters and digits in ASCII. */
bool rad_bert_is_punctuation(uint32_t code);

#endif
