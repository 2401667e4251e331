// pack: constant weights of linear and patch_embed in the layout the GEMM
// kernels read.
//
// Each becomes pack_weight of the constant, evaluated at once where its data
// are known. A weight used by several ops is packed once; the plain constant
// is left to dce. So is a weight of codes that floats meet, in two parts, codes
// and scales: it becomes floats when the model runs. Runs before fuse, so that
// kernels take the packed type.
#include "passes.h"
#include "vq/eval.h"
#include "vq/rewrite.h"
#include "vq/strbuf.h"

// Codes are taken four at a time, those of four bits eight at a time, bf16 in pairs.
static vq_str layout_of(const vq_value *w) {
  switch (w->type->dtype) {
    case VQ_i8: return VQ_LIT("panel16x4");
    case VQ_i4: return VQ_LIT("panel16x8");
    case VQ_bf16: return VQ_LIT("panel16x2");
    case VQ_f32: case VQ_f64: case VQ_i64: case VQ_i32: case VQ_i16: case VQ_u8:
    case VQ_u4: case VQ_bool: case VQ_N_DTYPES: return VQ_LIT("panel16");
  }
  VQ_BUG("element type %d", (int)w->type->dtype);
}

static vq_value *evaluate(vq_op *op, vq_const *w, vq_str name,
                          vq_pass_ctx *pc) {
  vq_module *m = op->func->module;
  const vq_type *type = op->out->type;
  vq_tensor in = {w->value.type, (void *)vq_const_bytes(w)};
  vq_tensor out = {
      type, vq_arena_alloc(&m->arena, (size_t)vq_type_bytes(type), 64)};
  if (vq_eval_op(op, &in, &out, pc->diag)) return NULL;
  vq_value *packed = &vq_const_new(m, name, type, out.data)->value;
  vq_replace_op(op, packed);
  return packed;
}

static vq_value *pack(vq_builder *b, vq_const *w, vq_str layout, vq_pass_ctx *pc) {
  vq_strbuf text = {0};
  vq_strbuf_printf(&text, "%.*s.%.*s", VQ_FMT(w->value.name), VQ_FMT(layout));
  vq_str name = vq_intern(pc->ctx, vq_strbuf_view(&text));
  vq_strbuf_release(&text);
  vq_attrs_pack_weight attrs = vq_default_pack_weight();
  attrs.layout = layout;
  vq_value *in = &w->value;
  bool known = w->init != VQ_INIT_MISSING;
  vq_value *packed = vq_build1(b, VQ_OP_pack_weight, &in, 1, &attrs,
                               known ? VQ_LIT("") : name);
  if (!packed || !known) return packed;
  return evaluate(packed->def, w, name, pc);
}

// Codes with a scale per row that floats meet (--calib=none): stored as codes, made
// floats panel by panel when the model runs.
static bool is_dequantized(const vq_value *w) {
  if (w->kind != VQ_VALUE_RESULT || w->def->code != VQ_OP_dequantize ||
      w->def->n_in != 2 || w->type->rank != 2)
    return false;
  const vq_type *scale = vq_in(w->def, 1)->type;
  return vq_const_of(vq_in(w->def, 0)) && vq_const_of(vq_in(w->def, 1)) &&
         scale->rank == 2 && scale->dim[0] == w->type->dim[0] && scale->dim[1] == 1;
}

// The weight in the layout of its kernel, NULL after a diagnostic.
static vq_value *pack_weight(vq_builder *b, vq_value *w, vq_pass_ctx *pc) {
  vq_const *c = vq_const_of(w);
  if (c) return pack(b, c, layout_of(w), pc);
  vq_value *part[2];
  for (unsigned i = 0; i < 2; i++) {
    part[i] = pack(b, vq_const_of(vq_in(w->def, i)), VQ_LIT("panel16"), pc);
    if (!part[i]) return NULL;
  }
  return vq_build1(b, VQ_OP_dequantize, part, 2, NULL, w->name);
}

static vq_value *rebuild(vq_builder *b, const vq_op *op, vq_value *packed) {
  vq_value *in[3] = {vq_in(op, 0), packed, vq_in_opt(op, 2)};
  if (op->code == VQ_OP_linear) {
    vq_attrs_linear a = *VQ_ATTRS(op, linear);
    a.layout = layout_of(packed), a.out = vq_in(op, 1)->type->dim[0];
    return vq_build1(b, op->code, in, op->n_in, &a, VQ_LIT(""));
  }
  vq_attrs_patch_embed a = *VQ_ATTRS(op, patch_embed);
  a.layout = layout_of(packed), a.out = vq_in(op, 1)->type->dim[0];
  return vq_build1(b, op->code, in, op->n_in, &a, VQ_LIT(""));
}

static bool is_plain(const vq_op *op) {
  if (op->code == VQ_OP_linear)
    return vq_str_is(VQ_ATTRS(op, linear)->layout, "oi");
  return op->code == VQ_OP_patch_embed &&
         vq_str_is(VQ_ATTRS(op, patch_embed)->layout, "oi");
}

vq_status vq_pass_pack(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_module_func(m, VQ_LIT("main"));
  vq_map done = {0};  // weight -> packed vq_value*
  vq_status status = VQ_OK;
  if (!f) return VQ_OK;
  vq_each_op_safe(f, op) {
    vq_value *w = is_plain(op) ? vq_in(op, 1) : NULL;
    if (!w || (!vq_const_of(w) && !is_dequantized(w)) || !vq_type_count(w->type))
      continue;
    vq_builder b = {f, op, op->loc, pc->diag};
    vq_value **slot =
        (vq_value **)vq_map_put(&done, w->kind == VQ_VALUE_RESULT
                                              ? VQ_MAP_PTR_KEY(w->def->out)
                                              : w->name);
    if (!*slot) *slot = pack_weight(&b, w, pc);
    vq_value *y = *slot ? rebuild(&b, op, *slot) : NULL;
    status = y ? VQ_OK : VQ_ERR;
    if (status) break;
    vq_replace_op(op, y);
    vq_stat(pc, "weights packed", 1);
  }
  vq_map_release(&done);
  vq_each_op_safe(f, op)  // of weights that are packed now
    if (op->code == VQ_OP_dequantize && !op->out->uses) vq_erase_op(op);
  return status;
}
