// Emission: evaluate on constants at once, append an op for anything else.
#include "import.h"

#include "vq/eval.h"
#include "vq/rewrite.h"

// Folded tensors at least this large go to the module's memory straight away:
// they are weights about to be used, and a copy would double them.
enum { KEEP_BYTES = 1 << 16 };

vq_ox_val *vq_ox_val_new(vq_ox *ox, const vq_type *type) {
  vq_ox_val *v = VQ_NEW(&ox->tmp, vq_ox_val);
  v->type = type;
  return v;
}

vq_status vq_ox_spend(vq_ox_node *nd, uint64_t units) {
  vq_ox *ox = nd->ox;
  if (units <= ox->max_work - ox->work) {
    ox->work += units;
    return VQ_OK;
  }
  return vq_ox_fail(nd, VQ_E_limit, "importing and evaluating it takes %llu "
                    "steps, but of the %llu that a model of this size may take "
                    "%llu are left", (unsigned long long)units,
                    (unsigned long long)ox->max_work,
                    (unsigned long long)(ox->max_work - ox->work));
}

vq_status vq_ox_reserve(vq_ox_node *nd, int64_t bytes) {
  vq_ox *ox = nd->ox;
  if ((uint64_t)bytes > ox->max_fold)
    return vq_ox_fail(nd, VQ_E_limit, "the result is a constant of %lld bytes, "
                      "expected at most %llu", (long long)bytes,
                      (unsigned long long)ox->max_fold);
  if ((uint64_t)bytes > ox->max_made - ox->made)
    return vq_ox_fail(nd, VQ_E_limit, "the result is a constant of %lld bytes, "
                      "but of the %llu that a model of this size may make %llu "
                      "are left", (long long)bytes,
                      (unsigned long long)ox->max_made,
                      (unsigned long long)(ox->max_made - ox->made));
  ox->made += (uint64_t)bytes;
  return VQ_OK;
}

vq_status vq_ox_ready(vq_ox *ox, vq_loc loc, vq_ox_val *v) {
  if (v->missing)
    return vq_error(ox->diag, VQ_E_unsupported, loc, "operand '%.*s': %s",
                    VQ_FMT(vq_ox_clean_name(ox, v->name)), v->missing);
  if (v->pending)
    return vq_ox_tensor_decode(ox, loc, v);
  if (!v->type)
    return vq_error(ox->diag, VQ_E_op_operand, loc,
                    "operand '%.*s' is a sequence, expected a tensor",
                    VQ_FMT(vq_ox_clean_name(ox, v->name)));
  return VQ_OK;
}

vq_str vq_ox_clean_name(vq_ox *ox, vq_str name) {
  enum { MAX_NAME = 96 };
  static const char tail[] = "_output_0";
  while (name.n && (*name.p == '/' || *name.p == '.'))
    name.p++, name.n--;
  size_t n_tail = sizeof tail - 1;
  if (name.n > n_tail && !memcmp(name.p + name.n - n_tail, tail, n_tail))
    name.n -= n_tail;
  if (name.n > MAX_NAME)
    name.n = MAX_NAME;
  char *text = vq_arena_alloc(&ox->tmp, name.n + 1, 1);
  for (size_t i = 0; i < name.n; i++) {
    char c = name.p[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                 (c >= '0' && c <= '9') || c == '_' || c == '.';
    text[i] = plain ? c : c == '/' ? '.' : '_';
  }
  return (vq_str){text, name.n};
}

vq_value *vq_ox_value(vq_ox *ox, vq_loc loc, vq_ox_val *v) {
  if (vq_ox_ready(ox, loc, v))
    return NULL;
  if (!v->v) {
    vq_str name = vq_ox_clean_name(ox, v->name);
    if (!name.n)
      name = VQ_LIT("const");
    v->v = v->keep ? &vq_const_new(ox->m, name, v->type, v->data)->value
                   : &vq_const_new_copy(ox->m, name, v->type, v->data)->value;
  }
  return v->v;
}

// ---- constants ---------------------------------------------------------------

// Memory for a constant of `type`, or VQ_ERR past a limit.
static vq_status room(vq_ox_node *nd, vq_ox_val *v, void **data) {
  vq_ox *ox = nd->ox;
  int64_t bytes = vq_type_bytes(v->type);
  if (vq_ox_reserve(nd, bytes))
    return VQ_ERR;
  v->keep = bytes >= KEEP_BYTES;
  *data = vq_arena_alloc(v->keep ? &ox->m->arena : &ox->tmp, (size_t)bytes,
                         v->keep ? 64 : 16);
  v->data = *data;
  return VQ_OK;
}

static const vq_type *tensor_type(vq_ox_node *nd, vq_dtype dtype,
                                  unsigned rank, const int64_t *dim) {
  const vq_type *type = NULL;
  if (rank <= VQ_MAX_RANK)
    type = vq_type_tensor(nd->ox->ctx, dtype, rank, dim, NULL);
  if (!type)
    vq_ox_fail(nd, VQ_E_shape, "the result has rank %u and would be too large "
               "or have a negative dimension", rank);
  return type;
}

vq_ox_val *vq_ox_const(vq_ox_node *nd, vq_dtype dtype, unsigned rank,
                       const int64_t *dim, void **data) {
  const vq_type *type = tensor_type(nd, dtype, rank, dim);
  if (!type)
    return NULL;
  vq_ox_val *v = vq_ox_val_new(nd->ox, type);
  uint64_t n = (uint64_t)vq_type_count(type);
  if (room(nd, v, data) || vq_ox_spend(nd, n * VQ_OX_FILL_WORK))
    return NULL;
  return v;
}

vq_ox_val *vq_ox_fill(vq_ox_node *nd, const vq_type *type, double value) {
  void *data;
  vq_ox_val *v = vq_ox_const(nd, type->dtype, type->rank, type->dim, &data);
  for (int64_t i = 0, n = vq_type_count(type); v && i < n; i++)
    vq_store_f64(type->dtype, data, i, value);
  return v;
}

vq_ox_val *vq_ox_f32(vq_ox_node *nd, float value) {
  void *data;
  vq_ox_val *v = vq_ox_const(nd, VQ_f32, 0, NULL, &data);
  if (v)
    memcpy(data, &value, sizeof value);
  return v;
}

vq_ox_val *vq_ox_vec_i64(vq_ox_node *nd, unsigned n, const int64_t *value) {
  void *data;
  vq_ox_val *v = vq_ox_const(nd, VQ_i64, 1, (int64_t[]){n}, &data);
  if (v && n)
    memcpy(data, value, n * sizeof *value);
  return v;
}

// ---- emission ----------------------------------------------------------------

// Evaluates an op that is part of no function on constant operands.
static vq_ox_val *fold(vq_ox_node *nd, vq_opcode code, const void *attrs,
                       unsigned n_in, vq_ox_val *const *in) {
  vq_ox *ox = nd->ox;
  vq_value *value = VQ_NEW_N(&ox->tmp, vq_value, n_in);
  vq_value **operand = VQ_NEW_N(&ox->tmp, vq_value *, n_in);
  vq_use *use = VQ_NEW_N(&ox->tmp, vq_use, n_in);
  vq_tensor *tensor = VQ_NEW_N(&ox->tmp, vq_tensor, n_in);
  for (unsigned i = 0; i < n_in; i++) {
    value[i] = (vq_value){.type = in[i]->type, .kind = VQ_VALUE_ARG,
                          .name = in[i]->name, .idx = i, .func = ox->main};
    operand[i] = &value[i];
    use[i] = (vq_use){.val = &value[i], .idx = i};
    // Evaluation only reads its operands.
    tensor[i] = (vq_tensor){in[i]->type, (void *)(uintptr_t)in[i]->data};
  }
  const vq_type *type;
  unsigned n_out;
  if (vq_infer(ox->m, ox->diag, nd->loc, code, operand, n_in, attrs, &type, 1,
               &n_out))
    return NULL;
  vq_value result = {.type = type, .kind = VQ_VALUE_RESULT};
  vq_op op = {.code = code, .n_in = n_in, .n_out = 1, .loc = nd->loc,
              .func = ox->main, .in = use, .out = &result,
              .attrs = (void *)(uintptr_t)attrs};
  result.def = &op;
  vq_ox_val *v = vq_ox_val_new(ox, type);
  vq_tensor out = {type, NULL};
  if (room(nd, v, &out.data) || vq_ox_spend(nd, vq_op_steps(&op)) ||
      vq_eval_op(&op, tensor, &out, ox->diag))
    return NULL;
  return v;
}

vq_ox_val *vq_ox_emit(vq_ox_node *nd, vq_opcode code, const void *attrs,
                      unsigned n_in, vq_ox_val *const *in) {
  vq_ox *ox = nd->ox;
  bool constant = true;
  for (unsigned i = 0; i < n_in; i++) {
    if (!in[i] || vq_ox_ready(ox, nd->loc, in[i]))
      return NULL;
    constant &= in[i]->data != NULL;
  }
  if (!attrs)
    attrs = vq_op_info(code)->attrs_default;
  if (constant)
    return fold(nd, code, attrs, n_in, in);
  vq_value **operand = VQ_NEW_N(&ox->tmp, vq_value *, n_in);
  for (unsigned i = 0; i < n_in; i++)
    if (!(operand[i] = vq_ox_value(ox, nd->loc, in[i])))
      return NULL;
  vq_builder b = {.func = ox->main, .loc = nd->loc, .diag = ox->diag};
  vq_value *y = vq_build1(&b, code, operand, n_in, attrs, VQ_LIT(""));
  if (!y)
    return NULL;
  vq_ox_val *v = vq_ox_val_new(ox, y->type);
  v->v = y;
  return v;
}

vq_ox_val *vq_ox_op1(vq_ox_node *nd, vq_opcode code, vq_ox_val *x) {
  return vq_ox_emit(nd, code, NULL, 1, &x);
}

vq_ox_val *vq_ox_op2(vq_ox_node *nd, vq_opcode code, vq_ox_val *a,
                     vq_ox_val *b) {
  return vq_ox_emit(nd, code, NULL, 2, (vq_ox_val *[]){a, b});
}

vq_ox_val *vq_ox_select(vq_ox_node *nd, vq_ox_val *c, vq_ox_val *a,
                        vq_ox_val *b) {
  return vq_ox_emit(nd, VQ_OP_select, NULL, 3, (vq_ox_val *[]){c, a, b});
}

vq_ox_val *vq_ox_to_dtype(vq_ox_node *nd, vq_ox_val *x, vq_dtype dtype) {
  if (!x || vq_ox_ready(nd->ox, nd->loc, x))
    return NULL;
  if (x->type->dtype == dtype)
    return x;
  vq_attrs_cast attrs = {.to = vq_str_of(vq_dtype_name(dtype))};
  return vq_ox_emit(nd, VQ_OP_cast, &attrs, 1, &x);
}

// A constant keeps its bytes under another shape.
vq_ox_val *vq_ox_reshape(vq_ox_node *nd, vq_ox_val *x, unsigned rank,
                         const int64_t *dim) {
  if (!x || vq_ox_ready(nd->ox, nd->loc, x))
    return NULL;
  const vq_type *type = tensor_type(nd, x->type->dtype, rank, dim);
  if (!type || type == x->type)
    return type ? x : NULL;
  if (x->data && vq_type_count(type) == vq_type_count(x->type)) {
    vq_ox_val *v = vq_ox_val_new(nd->ox, type);
    v->data = x->data;
    v->keep = x->keep;
    return v;
  }
  vq_attrs_reshape attrs = {.shape = {dim, rank}};
  return vq_ox_emit(nd, VQ_OP_reshape, &attrs, 1, &x);
}

vq_ox_val *vq_ox_transpose(vq_ox_node *nd, vq_ox_val *x, const int64_t *perm) {
  if (!x || vq_ox_ready(nd->ox, nd->loc, x))
    return NULL;
  bool same = true;
  for (unsigned i = 0; i < x->type->rank; i++)
    same &= perm[i] == i;
  if (same)
    return x;
  vq_attrs_transpose attrs = {.perm = {perm, x->type->rank}};
  return vq_ox_emit(nd, VQ_OP_transpose, &attrs, 1, &x);
}

vq_ox_val *vq_ox_swap_last(vq_ox_node *nd, vq_ox_val *x) {
  if (!x)
    return NULL;
  int64_t perm[VQ_MAX_RANK] = {0};
  unsigned rank = x->type->rank;
  if (rank < 2) {
    vq_ox_fail(nd, VQ_E_shape, "found rank %u, expected at least 2", rank);
    return NULL;
  }
  for (unsigned i = 0; i < rank; i++)
    perm[i] = i;
  perm[rank - 1] = rank - 2;
  perm[rank - 2] = rank - 1;
  return vq_ox_transpose(nd, x, perm);
}

vq_ox_val *vq_ox_expand_to(vq_ox_node *nd, vq_ox_val *x, unsigned rank,
                           const int64_t *dim) {
  if (!x || vq_ox_ready(nd->ox, nd->loc, x))
    return NULL;
  const vq_type *want = tensor_type(nd, x->type->dtype, rank, dim);
  unsigned n;
  int64_t both[VQ_MAX_RANK];
  if (!want)
    return NULL;
  if (!vq_broadcast(x->type, want, &n, both)) {
    vq_ox_fail(nd, VQ_E_shape, "the shapes do not broadcast");
    return NULL;
  }
  const vq_type *type = tensor_type(nd, x->type->dtype, n, both);
  if (!type || type == x->type)
    return type ? x : NULL;
  vq_attrs_expand attrs = {.shape = {both, n}};
  return vq_ox_emit(nd, VQ_OP_expand, &attrs, 1, &x);
}

vq_ox_val *vq_ox_slice_axis(vq_ox_node *nd, vq_ox_val *x, unsigned axis,
                            int64_t begin, int64_t size, int64_t step) {
  if (!x)
    return NULL;
  int64_t b[VQ_MAX_RANK] = {0}, n[VQ_MAX_RANK], s[VQ_MAX_RANK];
  unsigned rank = x->type->rank;
  for (unsigned i = 0; i < rank; i++) {
    n[i] = x->type->dim[i];
    s[i] = 1;
  }
  if (begin == 0 && size == n[axis] && step == 1)
    return x;
  b[axis] = begin;
  n[axis] = size;
  s[axis] = step;
  vq_attrs_slice attrs = {.begin = {b, rank}, .size = {n, rank}};
  if (step != 1)
    attrs.step = (vq_ints){s, rank};
  return vq_ox_emit(nd, VQ_OP_slice, &attrs, 1, &x);
}

vq_ox_val *vq_ox_take(vq_ox_node *nd, vq_ox_val *x, vq_ox_val *index,
                      unsigned axis) {
  vq_attrs_gather attrs = {.axis = axis};
  return vq_ox_emit(nd, VQ_OP_gather, &attrs, 2, (vq_ox_val *[]){x, index});
}

vq_ox_val *vq_ox_take_range(vq_ox_node *nd, vq_ox_val *x, unsigned axis,
                            int64_t begin, int64_t n, int64_t step) {
  if (n <= 1)
    return vq_ox_slice_axis(nd, x, axis, n ? begin : 0, n, 1);
  if (step > 0)
    return vq_ox_slice_axis(nd, x, axis, begin, n, step);
  void *data;
  vq_ox_val *index = vq_ox_const(nd, VQ_i64, 1, &n, &data);
  for (int64_t i = 0; index && i < n; i++)
    vq_store_i64(VQ_i64, data, i, begin + i * step);
  return vq_ox_take(nd, x, index, axis);
}

vq_ox_val *vq_ox_join(vq_ox_node *nd, unsigned n, vq_ox_val *const *x,
                      unsigned axis) {
  if (n == 1)
    return x[0];
  vq_attrs_concat attrs = {.axis = axis};
  return vq_ox_emit(nd, VQ_OP_concat, &attrs, n, x);
}

vq_ox_val *vq_ox_matmul(vq_ox_node *nd, vq_ox_val *a, vq_ox_val *b) {
  return vq_ox_op2(nd, VQ_OP_matmul, a, b);
}

vq_ox_val *vq_ox_scale(vq_ox_node *nd, vq_ox_val *x, float factor) {
  if (factor == 1.0f)
    return x;
  return vq_ox_op2(nd, VQ_OP_mul, x, vq_ox_f32(nd, factor));
}

vq_ox_val *vq_ox_reduce(vq_ox_node *nd, vq_opcode code, vq_ox_val *x,
                        vq_ints axes, bool keep) {
  // All reductions have the same attributes.
  vq_attrs_reduce_sum attrs = {.axes = axes, .keep = keep};
  _Static_assert(sizeof(vq_attrs_reduce_sum) == sizeof(vq_attrs_reduce_mean),
                 "reductions share one attribute layout");
  return vq_ox_emit(nd, code, &attrs, 1, &x);
}
