// The builder: checked creation of ops with inferred result types.
#include "vq/build.h"

#include "core/core.h"
#include "vq/rewrite.h"

vq_op *vq_build(vq_builder *b, vq_opcode code, vq_value *const *in,
                unsigned n_in, const void *attrs, vq_str name) {
  vq_func *f = b->func;
  const vq_type *few[4], **out = few;
  unsigned n_out = 0;
  if (vq_infer(f->module, b->diag, b->loc, code, in, n_in, attrs, out,
               VQ_COUNT(few), &n_out))
    return NULL;
  if (n_out > VQ_COUNT(few)) {  // a call with many results: once more
    out = VQ_NEW_N(&f->module->arena, const vq_type *, n_out);
    if (vq_infer(f->module, b->diag, b->loc, code, in, n_in, attrs, out, n_out,
                 &n_out))
      return NULL;
  }
  vq_op *op = vq_op_new(f, b->before, b->loc, code, in, n_in, attrs, out,
                        n_out);
  if (n_out) vq_rename_value(f, &op->out[0], name);
  return op;
}

vq_value *vq_build1(vq_builder *b, vq_opcode code, vq_value *const *in,
                    unsigned n_in, const void *attrs, vq_str name) {
  for (unsigned i = 0; i < n_in; i++)
    if (!in[i]) return NULL;
  vq_op *op = vq_build(b, code, in, n_in, attrs, name);
  return op ? &op->out[0] : NULL;
}

vq_value *vq_build_unary(vq_builder *b, vq_opcode code, vq_value *x,
                         vq_str name) {
  return vq_build1(b, code, &x, 1, NULL, name);
}

vq_value *vq_build_binary(vq_builder *b, vq_opcode code, vq_value *x,
                          vq_value *y, vq_str name) {
  return vq_build1(b, code, (vq_value *[]){x, y}, 2, NULL, name);
}

vq_value *vq_build_reshape(vq_builder *b, vq_value *x, unsigned rank,
                           const int64_t *shape, vq_str name) {
  vq_attrs_reshape a = {.shape = {shape, rank}};
  return vq_build1(b, VQ_OP_reshape, &x, 1, &a, name);
}

vq_value *vq_build_transpose(vq_builder *b, vq_value *x, const int64_t *perm,
                             vq_str name) {
  if (!x) return NULL;
  vq_attrs_transpose a = {.perm = {perm, x->type->rank}};
  return vq_build1(b, VQ_OP_transpose, &x, 1, &a, name);
}

vq_status vq_build_return(vq_builder *b, unsigned n, vq_value *const *v,
                          const vq_str *name_or_null) {
  for (unsigned i = 0; i < n; i++)
    if (!v[i]) return VQ_ERR;
  if (!vq_build(b, VQ_OP_return, v, n, NULL, VQ_LIT(""))) return VQ_ERR;
  vq_func_set_results(b->func, n, v, name_or_null);
  return VQ_OK;
}
