#include "text/bert.h"

#include <utf8proc.h>

#include "text/utf8.h"

bool rad_bert_drops(uint32_t code)
{
    if (code == '\t' || code == '\n' || code == '\r')
        return false;
    if (code == 0 || code == RAD_REPLACEMENT)
        return true;
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
    return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
           category == UTF8PROC_CATEGORY_CS || category == UTF8PROC_CATEGORY_CO;
}

bool rad_bert_is_chinese(uint32_t code)
{
    return (code >= 0x4E00 && code <= 0x9FFF) || (code >= 0x3400 && code <= 0x4DBF) ||
           (code >= 0x20000 && code <= 0x2A6DF) || (code >= 0x2A700 && code <= 0x2B73F) ||
           (code >= 0x2B740 && code <= 0x2B81F) || (code >= 0x2B920 && code <= 0x2CEAF) ||
           (code >= 0xF900 && code <= 0xFAFF) || (code >= 0x2F800 && code <= 0x2FA1F);
}

bool rad_bert_is_punctuation(uint32_t code)
{
    uint8_t classes = rad_char_classes(code);
    return (classes & RAD_CHAR_PUNCT) != 0 || (code < 128 && (classes & RAD_CHAR_SYMBOL) != 0);
}
