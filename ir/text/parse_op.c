// Parser: function bodies, ops and their attributes.
//
// Result types are inferred; the stated ones must agree. When an op fails its
// results are entered as NULL, and ops that use them are dropped silently, so
// that one mistake gives one message.
#include "text/parser.h"

typedef VQ_VEC(vq_value *) value_vec;
typedef VQ_VEC(vq_tok) tok_vec;
typedef VQ_VEC(const vq_type *) type_vec;

// What one line says, before it becomes an op.
typedef struct line {
  vq_tok at;  // the op's name
  vq_opcode code;
  tok_vec result;
  value_vec in;
  type_vec type;
  void *attrs;
  vq_loc loc;
  bool poisoned;  // an operand comes from an op that failed
} line;

bool vq_parser_is_number(const vq_tok *t) {
  if (t->quoted) return false;
  for (size_t i = 0; i < t->text.n; i++)
    if (t->text.p[i] < '0' || t->text.p[i] > '9') return false;
  return true;
}

static vq_map *scope_of(vq_parser *p, const vq_tok *name) {
  return vq_parser_is_number(name) ? &p->numbered : &p->named;
}

static bool define(vq_parser *p, const vq_tok *name, vq_value *v) {
  vq_map *scope = scope_of(p, name);
  if (vq_map_find(scope, name->text))
    return vq_parser_fail(p, VQ_E_name, name, "%.*s is defined twice",
                          VQ_FMT(name->raw));
  *vq_map_put(scope, name->text) = v;
  return true;
}

// ---- attributes -------------------------------------------------------------

static bool parse_attr_value(vq_parser *p, vq_attr_kind kind, void *field) {
  switch (kind) {
    case VQ_ATTR_i64:
      return vq_parser_i64(p, field);
    case VQ_ATTR_f32:
      return vq_parser_f32(p, field);
    case VQ_ATTR_flag:
      return vq_parser_flag(p, field);
    case VQ_ATTR_str:
      return vq_parser_string(p, field);
    case VQ_ATTR_quant:
      return vq_parser_quant_name(p, field);
    case VQ_ATTR_ints:
      break;
  }
  vq_i64_vec v = {0};
  bool ok = vq_parser_ints(p, &v);
  vq_ints *ints = field;
  ints->n = (uint32_t)v.n;
  ints->p = v.n ? vq_arena_copy(&p->temp, v.p, v.n * sizeof *v.p,
                                _Alignof(int64_t))
                : NULL;
  vq_vec_release(&v);
  return ok;
}

// name = value; `seen` has a bit per attribute that was given.
static bool parse_attr(vq_parser *p, const vq_op_desc *d, char *attrs,
                       uint64_t *seen) {
  vq_tok at = p->tok;
  unsigned i = 0;
  if (at.kind != VQ_TOK_WORD) return vq_parser_expected(p, "an attribute");
  while (i < d->n_attr && !vq_str_is(at.text, d->attr[i].name)) i++;
  if (i == d->n_attr)
    return vq_parser_fail(p, VQ_E_op_attribute, &at,
                          "%s has no attribute '%.*s'", d->name,
                          VQ_FMT(at.text));
  if (*seen >> i & 1)
    return vq_parser_fail(p, VQ_E_op_attribute, &at,
                          "attribute '%s' is given twice", d->attr[i].name);
  *seen |= (uint64_t)1 << i;
  vq_parser_next(p);
  return vq_parser_want(p, '=') &&
         parse_attr_value(p, d->attr[i].kind, attrs + d->attr[i].offset);
}

bool vq_parser_attrs(vq_parser *p, vq_opcode code, vq_str callee, void **out) {
  const vq_op_desc *d = vq_op_info(code);
  vq_tok at = p->tok;
  char *attrs = vq_arena_copy(&p->temp, d->attrs_default, d->attrs_size, 16);
  uint64_t seen = 0;
  *out = attrs;
  if (code == VQ_OP_call) {  // written as @callee, not in the list
    ((vq_attrs_call *)(void *)attrs)->callee = callee;
    seen = 1;
    static_assert(offsetof(vq_attrs_call, callee) == 0, "the first attribute");
  }
  if (vq_parser_take(p, '{')) {
    do {
      if (!parse_attr(p, d, attrs, &seen)) return false;
    } while (vq_parser_take(p, ','));
    if (!vq_parser_want(p, '}')) return false;
  }
  for (unsigned i = 0; i < d->n_attr; i++)
    if (d->attr[i].required && !(seen >> i & 1))
      return vq_parser_fail(p, VQ_E_op_attribute, &at,
                            "%s needs the attribute '%s'", d->name,
                            d->attr[i].name);
  return true;
}

// ---- one op -------------------------------------------------------------------

static bool parse_operand(vq_parser *p, line *l) {
  vq_tok at = p->tok;
  vq_value *v = NULL;
  if (at.kind == VQ_TOK_GLOBAL) {
    vq_const *c = vq_module_const(p->m, at.text);
    if (!c)
      return vq_parser_fail(p, VQ_E_name, &at, "no constant %.*s",
                            VQ_FMT(at.raw));
    v = &c->value;
  } else if (at.kind == VQ_TOK_LOCAL) {
    void **slot = vq_map_find(scope_of(p, &at), at.text);
    if (!slot)
      return vq_parser_fail(p, VQ_E_name, &at, "%.*s is not defined above",
                            VQ_FMT(at.raw));
    v = *slot;
  } else {
    return vq_parser_expected(p, "an operand such as %x or @w");
  }
  l->poisoned |= v == NULL;
  vq_vec_push(&l->in, v);
  vq_parser_next(p);
  return true;
}

static bool parse_operands(vq_parser *p, line *l) {
  do {
    if (!parse_operand(p, l)) return false;
  } while (vq_parser_take(p, ','));
  return true;
}

// @callee(%x, ...)
static bool parse_callee(vq_parser *p, line *l, vq_str *callee) {
  if (!vq_parser_global(p, callee) || !vq_parser_want(p, '(')) return false;
  if (vq_parser_take(p, ')')) return true;
  return parse_operands(p, l) && vq_parser_want(p, ')');
}

// loc(#12); #0 is the unknown location.
static bool parse_loc_use(vq_parser *p, line *l) {
  vq_parser_next(p);
  if (!vq_parser_want(p, '(') || !vq_parser_want(p, '#')) return false;
  vq_tok at = p->tok;
  if (at.kind != VQ_TOK_WORD) return vq_parser_expected(p, "a number");
  const vq_loc *loc = vq_map_get(&p->locs, at.text);
  l->loc = (vq_loc){0};
  if (loc)
    l->loc = *loc;
  else if (!vq_str_is(at.text, "0"))
    return vq_parser_fail(p, VQ_E_name, &at, "no location #%.*s",
                          VQ_FMT(at.text));
  vq_parser_next(p);
  return vq_parser_want(p, ')');
}

// %a, %b =
static bool parse_result_names(vq_parser *p, line *l) {
  if (p->tok.kind != VQ_TOK_LOCAL) return true;
  for (;;) {
    if (p->tok.kind != VQ_TOK_LOCAL)
      return vq_parser_expected(p, "a value such as %y");
    vq_vec_push(&l->result, p->tok);
    vq_parser_next(p);
    if (!vq_parser_take(p, ',')) return vq_parser_want(p, '=');
  }
}

static bool parse_line(vq_parser *p, line *l) {
  vq_str callee = VQ_LIT("");
  if (!parse_result_names(p, l)) return false;
  l->at = p->tok;
  l->loc = vq_parser_loc(p, &l->at);
  if (p->tok.kind != VQ_TOK_WORD) return vq_parser_expected(p, "an op");
  if (!vq_op_find(p->tok.text, &l->code))
    return vq_parser_fail(p, VQ_E_op_unknown, &p->tok, "no op '%.*s'",
                          VQ_FMT(p->tok.text));
  vq_parser_next(p);
  if (l->code == VQ_OP_call) {
    if (!parse_callee(p, l, &callee)) return false;
  } else if (p->tok.kind == VQ_TOK_LOCAL || p->tok.kind == VQ_TOK_GLOBAL) {
    if (!parse_operands(p, l)) return false;
  }
  if (!vq_parser_attrs(p, l->code, callee, &l->attrs)) return false;
  if (vq_parser_take(p, ':'))
    do {
      const vq_type *type;
      if (!vq_parser_type(p, &type)) return false;
      vq_vec_push(&l->type, type);
    } while (vq_parser_take(p, ','));
  if (vq_parser_at_word(p, "loc") && !parse_loc_use(p, l)) return false;
  return vq_parser_end(p);
}

// ---- making it ------------------------------------------------------------------

static bool fail_type(vq_parser *p, const vq_tok *at, const char *what,
                      const vq_type *stated, const vq_type *found) {
  vq_strbuf a = {0}, b = {0};
  vq_type_print(&a, stated);
  vq_type_print(&b, found);
  vq_parser_fail(p, VQ_E_type, at, "%s is stated as %s but is %s", what,
                 vq_strbuf_z(&a), vq_strbuf_z(&b));
  vq_strbuf_release(&a);
  vq_strbuf_release(&b);
  return false;
}

static bool make_return(vq_parser *p, vq_func *f, line *l) {
  if (l->in.n != f->n_result)
    return vq_parser_fail(p, VQ_E_op_operand, &l->at,
                          "%zu values returned, the function states %u",
                          l->in.n, f->n_result);
  for (uint32_t i = 0; i < f->n_result; i++)
    if (l->in.p[i]->type != f->result[i])
      return fail_type(p, &l->at, "a result", f->result[i],
                       l->in.p[i]->type);
  vq_builder b = {.func = f, .loc = l->loc, .diag = p->diag};
  bool ok = vq_build_return(&b, f->n_result, l->in.p, f->result_name) == VQ_OK;
  p->n_error += !ok;
  return ok;
}

// Builds the op and checks what the line states about its results.
static bool make_op(vq_parser *p, vq_func *f, line *l) {
  if (l->code == VQ_OP_return && l->result.n == 0 && l->type.n == 0)
    return make_return(p, f, l);
  vq_builder b = {.func = f, .loc = l->loc, .diag = p->diag};
  vq_op *op = vq_build(&b, l->code, l->in.p, (unsigned)l->in.n, l->attrs,
                       VQ_LIT(""));
  if (!op) {
    p->n_error++;  // reported by inference
    return false;
  }
  if (l->result.n != op->n_out || l->type.n != op->n_out)
    return vq_parser_fail(p, VQ_E_type, &l->at,
                          "%s has %u results, the line names %zu and states "
                          "%zu types", vq_op_info(l->code)->name, op->n_out,
                          l->result.n, l->type.n);
  for (uint32_t i = 0; i < op->n_out; i++) {
    const vq_tok *name = &l->result.p[i];
    if (op->code == VQ_OP_call && !op->out[i].type->q &&
        vq_type_with(p->ctx, l->type.p[i], NULL) == op->out[i].type)
      vq_set_call_quant(op, i, l->type.p[i]->q);
    if (op->out[i].type != l->type.p[i])
      return fail_type(p, name, "the result", l->type.p[i], op->out[i].type);
    if (!define(p, name, &op->out[i])) return false;
    if (!vq_parser_is_number(name))
      vq_rename_value(f, &op->out[i], name->text);
  }
  return true;
}

static void parse_op(vq_parser *p, vq_func *f) {
  line l = {0};
  bool ok = parse_line(p, &l);
  if (!ok) vq_parser_skip_line(p);
  ok = ok && !l.poisoned && make_op(p, f, &l);
  if (!ok)
    for (size_t i = 0; i < l.result.n; i++)
      *vq_map_put(scope_of(p, &l.result.p[i]), l.result.p[i].text) = NULL;
  vq_vec_release(&l.result);
  vq_vec_release(&l.in);
  vq_vec_release(&l.type);
}

void vq_parser_body(vq_parser *p, vq_func *f, const vq_tok *arg) {
  vq_map_clear(&p->named);
  vq_map_clear(&p->numbered);
  for (uint32_t i = 0; i < f->n_arg; i++) define(p, &arg[i], &f->arg[i]);
  if (p->tok.kind == VQ_TOK_EOL) vq_parser_next(p);
  while (p->tok.kind != VQ_TOK_EOF && p->n_error < VQ_PARSER_MAX_ERROR)
    parse_op(p, f);
}
