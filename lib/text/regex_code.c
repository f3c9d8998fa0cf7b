/* What the compiler of regular expressions writes: instructions and sets, up to their bounds, and
 * blocks of code that are repeated. */
#include "text/regex_compiler.h"

#include <string.h>

radllm_status rad_regex_refuse(const rad_regex_compiler *c, const char *what)
{
    char quoted[RAD_QUOTE_SIZE];
    return rad_fail(c->error, RADLLM_E_UNSUPPORTED,
                    "%s: the pattern \"%s\" has %s at byte %zu, which this version does not know",
                    c->where,
                    rad_quote(quoted, (const char *)c->start, (size_t)(c->end - c->start)), what,
                    (size_t)(c->p - c->start));
}

radllm_status rad_regex_too_large(const rad_regex_compiler *c)
{
    return rad_fail(c->error, RADLLM_E_LIMIT,
                    "%s: the pattern at byte %zu needs more than %d instructions, classes or "
                    "levels, the most that are supported",
                    c->where, (size_t)(c->p - c->start), RAD_RE_CODE_MAX);
}

radllm_status rad_regex_emit(rad_regex_compiler *c, rad_regex_code code)
{
    if (c->regex->n_code == RAD_RE_CODE_MAX)
        return rad_regex_too_large(c);
    c->regex->code[c->regex->n_code++] = code;
    return RADLLM_OK;
}

radllm_status rad_regex_insert(rad_regex_compiler *c, uint32_t at, rad_regex_code code)
{
    radllm_status status = rad_regex_emit(c, code);
    if (status != RADLLM_OK)
        return status;
    rad_regex_code *all = c->regex->code;
    memmove(&all[at + 1], &all[at], (c->regex->n_code - 1 - at) * sizeof *all);
    all[at] = code;
    return RADLLM_OK;
}

radllm_status rad_regex_add_item(rad_regex_compiler *c, rad_regex_item_kind kind, bool negated,
                                 uint32_t low, uint32_t high)
{
    if (c->regex->n_items == RAD_RE_ITEMS_MAX)
        return rad_regex_too_large(c);
    c->regex->items[c->regex->n_items++] = (rad_regex_item){(uint8_t)kind, negated, low, high};
    return RADLLM_OK;
}

radllm_status rad_regex_emit_set(rad_regex_compiler *c, uint32_t first, bool negated, bool fold)
{
    rad_regex *regex = c->regex;
    if (regex->n_sets == RAD_RE_SETS_MAX)
        return rad_regex_too_large(c);
    rad_regex_set *set = &regex->sets[regex->n_sets];
    *set = (rad_regex_set){.first = first, .count = regex->n_items - first};
    for (uint32_t code = 0, low; fold && (low = rad_regex_next_fold(regex, set, &code)) != 0;) {
        radllm_status status = rad_regex_add_item(c, RAD_RE_RANGE, false, low, low);
        if (status != RADLLM_OK)
            return status;
        set->count++;
    }
    set->negated = negated;
    set->fold = fold;
    for (uint32_t code = 0; code < 128; code++)
        if (rad_regex_in_set(regex, set, code))
            set->ascii[code / 32] |= 1u << code % 32;
    return rad_regex_emit(c, (rad_regex_code){.op = RAD_RE_SET, .a = regex->n_sets++});
}

int64_t rad_regex_fixed_length(const rad_regex_code *code, uint32_t count)
{
    int64_t length = 0;
    for (uint32_t i = 0; i < count; i++) {
        switch (code[i].op) {
        case RAD_RE_CHAR:
        case RAD_RE_FOLD:
        case RAD_RE_SET:
            length++;
            break;
        case RAD_RE_LOOP:
            if (code[i].low != code[i].high)
                return -1;
            length += code[i].low;
            break;
        case RAD_RE_LOOK:
            i += code[i].a - 1;
            break;
        case RAD_RE_LINE_START:
        case RAD_RE_LINE_END:
        case RAD_RE_TEXT_START:
        case RAD_RE_TEXT_END:
        case RAD_RE_BOUNDARY:
            break;
        default:
            return -1;
        }
    }
    return length;
}

/* Puts the block from `at` on into a loop of any number of turns. */
static radllm_status wrap_star(rad_regex_compiler *c, uint32_t at, rad_regex_mode mode)
{
    if (c->regex->n_registers == RAD_RE_REGISTERS)
        return rad_regex_too_large(c);
    uint32_t reg = c->regex->n_registers++;
    uint32_t count = c->regex->n_code - at;
    /* split +count+4; mark; block; moved; jump back */
    radllm_status status = rad_regex_insert(c, at, (rad_regex_code){.op = RAD_RE_MARK, .a = reg});
    if (status == RADLLM_OK)
        status = rad_regex_insert(
            c, at, (rad_regex_code){.op = RAD_RE_SPLIT, .mode = (uint8_t)mode, .a = count + 4});
    if (status == RADLLM_OK)
        status = rad_regex_emit(c, (rad_regex_code){.op = RAD_RE_MOVED, .a = reg, .b = 2});
    if (status == RADLLM_OK)
        status = rad_regex_emit(
            c, (rad_regex_code){.op = RAD_RE_JUMP, .a = (uint32_t) - (int32_t)(count + 3)});
    return status;
}

/* Repeats the block from `at` on as often as q says, by copies. */
static radllm_status repeat_block(rad_regex_compiler *c, uint32_t at, rad_regex_quantifier q)
{
    uint32_t count = c->regex->n_code - at;
    uint32_t extra = q.high == UINT32_MAX ? 1 : q.high - q.low;
    uint64_t needed = ((uint64_t)q.low + extra) * (count + 4);
    if (needed > RAD_RE_CODE_MAX)
        return rad_regex_too_large(c);
    rad_regex_code block[RAD_RE_CODE_MAX / 8];
    if (count > RAD_RE_CODE_MAX / 8)
        return rad_regex_too_large(c);
    memcpy(block, &c->regex->code[at], count * sizeof *block);
    c->regex->n_code = at;
    radllm_status status = RADLLM_OK;
    for (uint32_t i = 0; i < q.low && status == RADLLM_OK; i++)
        for (uint32_t k = 0; k < count && status == RADLLM_OK; k++)
            status = rad_regex_emit(c, block[k]);
    rad_regex_mode mode = q.mode == RAD_RE_LAZY ? RAD_RE_LAZY : RAD_RE_GREEDY;
    if (status == RADLLM_OK && q.high == UINT32_MAX) {
        uint32_t from = c->regex->n_code;
        for (uint32_t k = 0; k < count && status == RADLLM_OK; k++)
            status = rad_regex_emit(c, block[k]);
        return status == RADLLM_OK ? wrap_star(c, from, mode) : status;
    }
    for (uint32_t i = 0; i < extra && status == RADLLM_OK; i++) {
        uint32_t left = (extra - i) * (count + 1);
        status = rad_regex_emit(
            c, (rad_regex_code){.op = RAD_RE_SPLIT, .mode = (uint8_t)mode, .a = left});
        for (uint32_t k = 0; k < count && status == RADLLM_OK; k++)
            status = rad_regex_emit(c, block[k]);
    }
    return status;
}

radllm_status rad_regex_quantify(rad_regex_compiler *c, uint32_t at, rad_regex_quantifier q)
{
    if (q.high < q.low)
        return rad_regex_refuse(c, "a quantifier whose numbers are swapped");
    rad_regex_code *only = &c->regex->code[at];
    bool single = c->regex->n_code == at + 1 && only->op == RAD_RE_SET;
    if (c->regex->n_code == at + 1 && (only->op == RAD_RE_CHAR || only->op == RAD_RE_FOLD)) {
        uint32_t first = c->regex->n_items, code = only->a;
        bool fold = only->op == RAD_RE_FOLD;
        c->regex->n_code = at;
        radllm_status status = rad_regex_add_item(c, RAD_RE_RANGE, false, code, code);
        if (status == RADLLM_OK)
            status = rad_regex_emit_set(c, first, false, fold);
        if (status != RADLLM_OK)
            return status;
        single = true;
    }
    if (single) {
        only->op = RAD_RE_LOOP;
        only->mode = (uint8_t)q.mode;
        only->low = q.low;
        only->high = q.high;
        return RADLLM_OK;
    }
    radllm_status status = repeat_block(c, at, q);
    if (status != RADLLM_OK || q.mode != RAD_RE_POSSESSIVE)
        return status;
    status = rad_regex_emit(c, (rad_regex_code){.op = RAD_RE_INNER_END});
    uint32_t length = c->regex->n_code - at + 1;
    return status == RADLLM_OK
               ? rad_regex_insert(c, at, (rad_regex_code){.op = RAD_RE_ATOMIC, .a = length})
               : status;
}
