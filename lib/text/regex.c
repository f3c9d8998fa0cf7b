/* The compiler: a descent over the pattern that writes code as it reads. */
#include "text/regex_compiler.h"

/* ---- groups ------------------------------------------------------------------------------- */

static radllm_status compile_alternatives(rad_regex_compiler *c);

/* A group whose code is fenced by an instruction in front and RAD_RE_INNER_END. */
static radllm_status compile_inner(rad_regex_compiler *c, rad_regex_code fence)
{
    uint32_t at = c->regex->n_code;
    radllm_status status = compile_alternatives(c);
    if (status != RADLLM_OK)
        return status;
    if (fence.behind) {
        int64_t length = rad_regex_fixed_length(&c->regex->code[at], c->regex->n_code - at);
        if (length < 0)
            return rad_regex_refuse(c, "a look-behind whose length may differ");
        fence.b = (uint32_t)length;
    }
    status = rad_regex_emit(c, (rad_regex_code){.op = RAD_RE_INNER_END});
    fence.a = c->regex->n_code - at + 1;
    return status == RADLLM_OK ? rad_regex_insert(c, at, fence) : status;
}

/* Letters of options up to ':' or ')'. */
static radllm_status take_options(rad_regex_compiler *c)
{
    bool on = true;
    for (; rad_regex_more(c) && *c->p != ':' && *c->p != ')'; c->p++) {
        if (*c->p == '-')
            on = false;
        else if (*c->p == 'i')
            c->fold = on;
        else if (*c->p == 'm')
            c->dot_all = on;
        else if (*c->p == 'x')
            c->extended = on;
        else
            return rad_regex_refuse(c, "an option or a kind of group");
    }
    return RADLLM_OK;
}

/* Behind the opening parenthesis; up to the closing one, which is not taken. */
static radllm_status compile_group_body(rad_regex_compiler *c, bool *bare, bool *options)
{
    const rad_regex_code look = {.op = RAD_RE_LOOK}, atomic = {.op = RAD_RE_ATOMIC};
    const rad_regex_code look_not = {.op = RAD_RE_LOOK, .negated = 1};
    const rad_regex_code behind = {.op = RAD_RE_LOOK, .behind = 1};
    const rad_regex_code behind_not = {.op = RAD_RE_LOOK, .negated = 1, .behind = 1};
    if (rad_regex_take(c, "?:"))
        return compile_alternatives(c);
    if (rad_regex_take(c, "?#")) { /* a comment */
        while (rad_regex_more(c) && *c->p != ')')
            c->p++;
        *bare = true;
        return RADLLM_OK;
    }
    if (rad_regex_take(c, "?="))
        return compile_inner(c, look);
    if (rad_regex_take(c, "?!"))
        return compile_inner(c, look_not);
    if (rad_regex_take(c, "?<="))
        return compile_inner(c, behind);
    if (rad_regex_take(c, "?<!"))
        return compile_inner(c, behind_not);
    if (rad_regex_take(c, "?>"))
        return compile_inner(c, atomic);
    if (rad_regex_take(c, "?<")) {
        while (rad_regex_more(c) && *c->p != '>')
            c->p++;
        return rad_regex_take(c, ">") ? compile_alternatives(c)
                                      : rad_regex_refuse(c, "a name without end");
    }
    if (!rad_regex_take(c, "?"))
        return compile_alternatives(c);
    radllm_status status = take_options(c);
    if (status != RADLLM_OK || rad_regex_take(c, ":"))
        return status == RADLLM_OK ? compile_alternatives(c) : status;
    /* "(?i)" holds to the end of the group around it, and takes the alternatives that follow. */
    *bare = *options = true;
    if (!rad_regex_take(c, ")"))
        return rad_regex_refuse(c, "a group without end");
    return compile_alternatives(c);
}

/* Behind the opening parenthesis. *bare: the group was "(?i)", or a comment. */
static radllm_status compile_group(rad_regex_compiler *c, bool *bare)
{
    bool fold = c->fold, dot_all = c->dot_all, extended = c->extended;
    if (++c->depth > RAD_RE_DEPTH_MAX)
        return rad_regex_too_large(c);
    *bare = false;
    bool options = false;
    radllm_status status = compile_group_body(c, bare, &options);
    if (status != RADLLM_OK)
        return status;
    c->depth--;
    if (options)
        return RADLLM_OK;
    if (!rad_regex_take(c, ")"))
        return rad_regex_refuse(c, "a group without end");
    c->fold = fold;
    c->dot_all = dot_all;
    c->extended = extended;
    return RADLLM_OK;
}

/* ---- single things ------------------------------------------------------------------------ */

static radllm_status emit_char(rad_regex_compiler *c, uint32_t code)
{
    if (!c->fold)
        return rad_regex_emit(c, (rad_regex_code){.op = RAD_RE_CHAR, .a = code});
    return rad_regex_emit(c, (rad_regex_code){.op = RAD_RE_FOLD, .a = rad_regex_fold(code)});
}

/* \w and \W by themselves, which count some numbers of Latin-1 as well. */
static radllm_status compile_word(rad_regex_compiler *c, bool negated)
{
    uint32_t first = c->regex->n_items;
    radllm_status status = rad_regex_add_item(c, RAD_RE_WORD, false, 0, 0);
    if (status == RADLLM_OK)
        status = rad_regex_add_item(c, RAD_RE_RANGE, false, 0xB2, 0xB3);
    if (status == RADLLM_OK)
        status = rad_regex_add_item(c, RAD_RE_RANGE, false, 0xB9, 0xB9);
    if (status == RADLLM_OK)
        status = rad_regex_add_item(c, RAD_RE_RANGE, false, 0xBC, 0xBE);
    return status == RADLLM_OK ? rad_regex_emit_set(c, first, negated, false) : status;
}

/* Behind a backslash, outside of brackets, where option i says nothing about classes. */
static radllm_status compile_escape(rad_regex_compiler *c)
{
    static const struct {
        char letter;
        uint8_t op;
        uint8_t negated;
    } asserts[] = {{'A', RAD_RE_TEXT_START, 0},
                   {'z', RAD_RE_TEXT_END, 0},
                   {'Z', RAD_RE_LAST_LINE, 0},
                   {'b', RAD_RE_BOUNDARY, 0},
                   {'B', RAD_RE_BOUNDARY, 1}};
    if (!rad_regex_more(c))
        return rad_regex_refuse(c, "a backslash at its end");
    for (size_t i = 0; i < sizeof asserts / sizeof *asserts; i++) {
        if (*c->p == (uint8_t)asserts[i].letter) {
            c->p++;
            return rad_regex_emit(
                c, (rad_regex_code){.op = asserts[i].op, .negated = asserts[i].negated});
        }
    }
    if (*c->p == 'w' || *c->p == 'W')
        return compile_word(c, *c->p++ == 'W');
    uint32_t first = c->regex->n_items;
    bool is_class;
    radllm_status status = rad_regex_add_class(c, &is_class);
    if (status != RADLLM_OK || is_class)
        return status == RADLLM_OK ? rad_regex_emit_set(c, first, false, false) : status;
    uint32_t code;
    status = rad_regex_take_escaped(c, &code);
    return status == RADLLM_OK ? emit_char(c, code) : status;
}

static radllm_status compile_dot(rad_regex_compiler *c)
{
    uint32_t first = c->regex->n_items;
    uint32_t excluded = c->dot_all ? UINT32_MAX : '\n';
    radllm_status status = rad_regex_add_item(c, RAD_RE_RANGE, false, excluded, excluded);
    return status == RADLLM_OK ? rad_regex_emit_set(c, first, true, false) : status;
}

/* One thing that a quantifier may follow; *bare where none may. */
static radllm_status compile_atom(rad_regex_compiler *c, bool *bare)
{
    *bare = false;
    if (rad_regex_take(c, "("))
        return compile_group(c, bare);
    if (rad_regex_take(c, "["))
        return rad_regex_compile_class(c);
    if (rad_regex_take(c, "\\"))
        return compile_escape(c);
    if (rad_regex_take(c, "."))
        return compile_dot(c);
    if (rad_regex_take(c, "^"))
        return rad_regex_emit(c, (rad_regex_code){.op = RAD_RE_LINE_START});
    if (rad_regex_take(c, "$"))
        return rad_regex_emit(c, (rad_regex_code){.op = RAD_RE_LINE_END});
    if (rad_regex_next_is(c, "*") || rad_regex_next_is(c, "+") || rad_regex_next_is(c, "?"))
        return rad_regex_refuse(c, "a quantifier behind nothing");
    return emit_char(c, rad_regex_take_code(c));
}

/* ---- quantifiers -------------------------------------------------------------------------- */

static bool take_number(const uint8_t **p, const uint8_t *end, uint32_t *out)
{
    const uint8_t *from = *p;
    for (*out = 0; *p < end && **p >= '0' && **p <= '9' && *p - from < 6; (*p)++)
        *out = *out * 10 + (uint32_t)(**p - '0');
    return *p > from;
}

/* {n}, {n,}, {,m}, {n,m}; anything else in braces is text. */
static bool take_braces(rad_regex_compiler *c, rad_regex_quantifier *q)
{
    const uint8_t *p = c->p + 1;
    bool has_low = take_number(&p, c->end, &q->low);
    q->high = q->low;
    if (p < c->end && *p == ',') {
        p++;
        bool has_high = take_number(&p, c->end, &q->high);
        if (!has_high)
            q->high = UINT32_MAX;
        has_low = has_low || has_high;
    }
    if (!has_low || p == c->end || *p != '}')
        return false;
    c->p = p + 1;
    return true;
}

static bool take_quantifier(rad_regex_compiler *c, rad_regex_quantifier *q)
{
    *q = (rad_regex_quantifier){0, UINT32_MAX, RAD_RE_GREEDY};
    bool braces = false; /* a plus behind them is another quantifier in this syntax */
    if (rad_regex_take(c, "+"))
        q->low = 1;
    else if (rad_regex_take(c, "?"))
        q->high = 1;
    else if (!rad_regex_take(c, "*")) {
        if (!rad_regex_next_is(c, "{") || !take_braces(c, q))
            return false;
        braces = true;
    }
    if (rad_regex_take(c, "?"))
        q->mode = RAD_RE_LAZY;
    else if (!braces && rad_regex_take(c, "+"))
        q->mode = RAD_RE_POSSESSIVE;
    return true;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static void skip_extended(rad_regex_compiler *c)
{
    while (c->extended && rad_regex_more(c) &&
           (*c->p == '#' || *c->p == ' ' || (*c->p >= '\t' && *c->p <= '\r'))) {
        if (*c->p == '#')
            while (rad_regex_more(c) && *c->p != '\n')
                c->p++;
        else
            c->p++;
    }
}

static radllm_status compile_sequence(rad_regex_compiler *c)
{
    radllm_status status = RADLLM_OK;
    for (skip_extended(c); status == RADLLM_OK && rad_regex_more(c) && *c->p != '|' && *c->p != ')';
         skip_extended(c)) {
        uint32_t at = c->regex->n_code;
        bool bare;
        rad_regex_quantifier q;
        status = compile_atom(c, &bare);
        while (status == RADLLM_OK && !bare && take_quantifier(c, &q))
            status = rad_regex_quantify(c, at, q);
    }
    return status;
}

static radllm_status compile_alternatives(rad_regex_compiler *c)
{
    uint32_t last_jump = UINT32_MAX; /* each jump holds the place of the one before */
    for (;;) {
        uint32_t at = c->regex->n_code;
        radllm_status status = compile_sequence(c);
        if (status != RADLLM_OK)
            return status;
        if (!rad_regex_take(c, "|"))
            break;
        uint32_t count = c->regex->n_code - at;
        status = rad_regex_insert(c, at, (rad_regex_code){.op = RAD_RE_SPLIT, .a = count + 2});
        if (status == RADLLM_OK)
            status = rad_regex_emit(c, (rad_regex_code){.op = RAD_RE_JUMP, .a = last_jump});
        if (status != RADLLM_OK)
            return status;
        last_jump = c->regex->n_code - 1;
    }
    while (last_jump != UINT32_MAX) {
        rad_regex_code *jump = &c->regex->code[last_jump];
        uint32_t before = jump->a;
        jump->a = c->regex->n_code - last_jump;
        last_jump = before;
    }
    return RADLLM_OK;
}

/* Copies what the compiler wrote into memory of the right size. */
static radllm_status keep(rad_arena *arena, const rad_regex *made, const rad_regex **out,
                          radllm_error *error)
{
    rad_regex *kept = rad_arena_alloc(arena, sizeof *kept, 8);
    size_t code = made->n_code * sizeof *made->code;
    size_t items = (made->n_items + 1) * sizeof *made->items;
    size_t sets = (made->n_sets + 1) * sizeof *made->sets;
    if (kept == NULL)
        return rad_fail_memory(error, sizeof *kept);
    *kept = *made;
    kept->code = rad_arena_alloc(arena, code, 8);
    kept->items = rad_arena_alloc(arena, items, 8);
    kept->sets = rad_arena_alloc(arena, sets, 8);
    if (kept->code == NULL || kept->items == NULL || kept->sets == NULL)
        return rad_fail_memory(error, code + items + sets);
    memcpy(kept->code, made->code, code);
    memcpy(kept->items, made->items, made->n_items * sizeof *made->items);
    memcpy(kept->sets, made->sets, made->n_sets * sizeof *made->sets);
    *out = kept;
    return RADLLM_OK;
}

radllm_status rad_regex_compile(rad_arena *arena, rad_text pattern, const char *where,
                                const rad_regex **out, radllm_error *error)
{
    const rad_allocator *allocator = arena->allocator;
    const uint8_t *text = (const uint8_t *)pattern.data;
    rad_regex regex = {0};
    rad_regex_compiler c = {.start = text, .p = text, .end = text + pattern.size, .regex = &regex};
    c.where = where;
    c.error = error;
    const size_t code = RAD_RE_CODE_MAX * sizeof *regex.code,
                 items = RAD_RE_ITEMS_MAX * sizeof *regex.items;
    const size_t sets = RAD_RE_SETS_MAX * sizeof *regex.sets;
    regex.code = rad_alloc(allocator, code);
    regex.items = rad_alloc(allocator, items);
    regex.sets = rad_alloc(allocator, sets);
    radllm_status status = RADLLM_OK;
    if (regex.code == NULL || regex.items == NULL || regex.sets == NULL)
        status = rad_fail_memory(error, code + items + sets);
    if (status == RADLLM_OK)
        status = compile_alternatives(&c);
    if (status == RADLLM_OK && rad_regex_more(&c))
        status = rad_regex_refuse(&c, "a parenthesis too many");
    if (status == RADLLM_OK)
        status = rad_regex_emit(&c, (rad_regex_code){.op = RAD_RE_MATCH});
    if (status == RADLLM_OK)
        status = keep(arena, &regex, out, error);
    rad_free(allocator, regex.code, code);
    rad_free(allocator, regex.items, items);
    rad_free(allocator, regex.sets, sets);
    return status;
}
