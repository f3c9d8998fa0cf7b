/* Which characters a set of a regular expression holds, and how characters fold. */
#include "text/regex_program.h"

#include <utf8proc.h>

static bool in_any_item(const rad_regex_item *items, uint32_t count, uint32_t code);

uint32_t rad_regex_fold(uint32_t code)
{
    if (code < 128)
        return code >= 'A' && code <= 'Z' ? code + 32 : code;
    utf8proc_int32_t out[4];
    int last = 0;
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)code, out, 4, UTF8PROC_CASEFOLD, &last);
    return n == 1 ? (uint32_t)out[0] : (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
}

/* Sets are asked for a character, what it folds to, and the upper case of that. More characters
 * fold to the same in these ranges: where a set holds one, it holds what that folds to as well. */
static const uint16_t more_folds[][2] = {{0xB5, 0xB5},     {0x17F, 0x1F2},   {0x345, 0x3F5},
                                         {0x13F8, 0x13FD}, {0x1C80, 0x1C88}, {0x1E9B, 0x1E9B},
                                         {0x1FBE, 0x1FBE}, {0x2126, 0x212B}, {0xAB70, 0xABBF}};

uint32_t rad_regex_next_fold(const rad_regex *regex, const rad_regex_set *set, uint32_t *code)
{
    const rad_regex_item *items = regex->items + set->first;
    for (size_t i = 0; i < sizeof more_folds / sizeof *more_folds; i++) {
        if (*code < more_folds[i][0])
            *code = more_folds[i][0];
        for (; *code <= more_folds[i][1]; ++*code) {
            uint32_t low = rad_regex_fold(*code);
            if (low != *code && (uint32_t)utf8proc_toupper((utf8proc_int32_t)low) != *code &&
                in_any_item(items, set->count, *code) && !in_any_item(items, set->count, low)) {
                ++*code;
                return low;
            }
        }
    }
    return 0;
}

bool rad_is_word(uint32_t code)
{
    if (code < 128)
        return (code >= '0' && code <= '9') || code == '_' || (code | 32) - 'a' < 26;
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default: /* letters in circles and boxes */
        return (code >= 0x24B6 && code <= 0x24E9) || (code >= 0x1F130 && code <= 0x1F149) ||
               (code >= 0x1F150 && code <= 0x1F169) || (code >= 0x1F170 && code <= 0x1F189);
    }
}

static bool in_item(const rad_regex_item *item, uint32_t code)
{
    bool in = false;
    switch (item->kind) {
    case RAD_RE_NESTED:
        in = in_any_item(item + 1, item->low, code);
        break;
    case RAD_RE_RANGE:
        in = code >= item->low && code <= item->high;
        break;
    case RAD_RE_CATEGORIES:
        in = (item->low >> utf8proc_category((utf8proc_int32_t)code) & 1) != 0;
        break;
    case RAD_RE_SPACE:
        in = rad_is_space(code);
        break;
    default:
        in = rad_is_word(code);
        break;
    }
    return in != (item->negated != 0);
}

/* Recursion ends with the levels that the compiler allows. */
static bool in_any_item(const rad_regex_item *items, uint32_t count, uint32_t code)
{
    for (uint32_t i = 0; i < count; i++) {
        if (in_item(&items[i], code))
            return true;
        if (items[i].kind == RAD_RE_NESTED)
            i += items[i].low;
    }
    return false;
}

bool rad_regex_in_set(const rad_regex *regex, const rad_regex_set *set, uint32_t code)
{
    const rad_regex_item *items = regex->items + set->first;
    bool in = in_any_item(items, set->count, code);
    if (!in && set->fold) {
        uint32_t low = rad_regex_fold(code);
        uint32_t high = (uint32_t)utf8proc_toupper((utf8proc_int32_t)low);
        in = in_any_item(items, set->count, low) ||
             (rad_regex_fold(high) == low && in_any_item(items, set->count, high));
    }
    return in != set->negated;
}
