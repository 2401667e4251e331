// Bodies inside bodies: model-local functions and branches of If.
//
// Both are imported in place, in a frame of their own. What they may cost is
// bounded by the depth limit here and by the work spent per node.
#include "import.h"

#include "vq/eval.h"
#include "vq/strbuf.h"

enum { MAX_CALL_DEPTH = 24 };

static vq_str function_key(vq_ox *ox, vq_str domain, vq_str name) {
  char *text = vq_arena_alloc(&ox->tmp, domain.n + name.n + 1, 1);
  memcpy(text, domain.p, domain.n);
  text[domain.n] = '\n';
  memcpy(text + domain.n + 1, name.p, name.n);
  return (vq_str){text, domain.n + name.n + 1};
}

vq_status vq_ox_functions(vq_ox *ox) {
  for (size_t i = 0; i < ox->model->n_functions; i++) {
    Onnx__FunctionProto *f = ox->model->functions[i];
    vq_str domain = vq_str_of(f->domain ? f->domain : "");
    vq_str name = vq_str_of(f->name ? f->name : "");
    if (vq_str_is(domain, "ai.onnx"))
      domain.n = 0;
    void **slot = vq_map_put(&ox->functions, function_key(ox, domain, name));
    if (*slot)
      return vq_error(ox->diag, VQ_E_unsupported,
                      vq_loc_path(ox->ctx, ox->shown_path),
                      "function '%.*s' is defined twice; overloads are not "
                      "accepted", VQ_FMT(vq_ox_clean_name(ox, name)));
    *slot = f;
  }
  return VQ_OK;
}

const Onnx__FunctionProto *vq_ox_function(const vq_ox *ox, vq_str domain,
                                          vq_str name) {
  if (!ox->model->n_functions)
    return NULL;
  if (!domain.p)
    domain = VQ_LIT("");
  return vq_map_get(&ox->functions, function_key((vq_ox *)(uintptr_t)ox,
                                                 domain, name));
}

static vq_status too_deep(vq_ox_node *nd) {
  if (nd->frame->depth < MAX_CALL_DEPTH)
    return VQ_OK;
  return vq_ox_fail(nd, VQ_E_limit, "functions and branches are nested more "
                    "than %d deep", MAX_CALL_DEPTH);
}

// Gives the node the values that `frame` calls `name[i]`.
static vq_status take_results(vq_ox_node *nd, const vq_ox_frame *frame,
                              char *const *name, size_t n) {
  for (size_t i = 0; i < n && i < nd->n_out; i++) {
    vq_str want = vq_str_of(name[i]);
    nd->out[i] = vq_ox_lookup(frame, want);
    if (!nd->out[i])
      return vq_ox_fail(nd, VQ_E_name, "its body does not define result '%.*s'",
                        VQ_FMT(vq_ox_clean_name(nd->ox, want)));
  }
  return VQ_OK;
}

static vq_status body(vq_ox_node *nd, const Onnx__FunctionProto *f,
                      vq_ox_frame *frame) {
  vq_ox *ox = nd->ox;
  for (unsigned i = 0; i < nd->n_in; i++)
    if (nd->in[i] && vq_ox_define(ox, frame, nd->loc, vq_str_of(f->input[i]),
                                  nd->in[i]))
      return VQ_ERR;
  if (vq_ox_nodes(ox, frame, f->node, f->n_node, nd))
    return VQ_ERR;
  return take_results(nd, frame, f->output, f->n_output);
}

vq_status vq_ox_call(vq_ox_node *nd, const Onnx__FunctionProto *f) {
  if (too_deep(nd))
    return VQ_ERR;
  if (nd->n_in > f->n_input || nd->n_out > f->n_output)
    return vq_ox_fail(nd, VQ_E_op_operand, "function has %zu operands and %zu "
                      "results, the call %u and %u", f->n_input, f->n_output,
                      nd->n_in, nd->n_out);
  vq_ox_frame frame = {.function = f, .caller = nd, .opset = f->opset_import,
                       .n_opset = f->n_opset_import,
                       .depth = nd->frame->depth + 1};
  if (!frame.n_opset) {
    frame.opset = nd->frame->opset;
    frame.n_opset = nd->frame->n_opset;
  }
  vq_status status = body(nd, f, &frame);
  vq_map_release(&frame.names);
  return status;
}

// Only the branch that is taken is looked at.
vq_status vq_onnx_if(vq_ox_node *nd) {
  vq_ox *ox = nd->ox;
  int64_t taken;
  if (too_deep(nd) || vq_ox_scalar_i64(nd, 0, "cond", &taken))
    return VQ_ERR;
  const char *name = taken ? "then_branch" : "else_branch";
  const Onnx__AttributeProto *a = vq_ox_attr(nd, name);
  if (!a || !a->g)
    return vq_ox_fail(nd, VQ_E_op_attribute, "attribute '%s' is missing", name);
  const Onnx__GraphProto *g = a->g;
  vq_ox_frame frame = {.parent = nd->frame, .caller = nd,
                       .opset = nd->frame->opset,
                       .n_opset = nd->frame->n_opset,
                       .depth = nd->frame->depth + 1};
  char **result = VQ_NEW_N(&ox->tmp, char *, g->n_output);
  for (size_t i = 0; i < g->n_output; i++)
    result[i] = g->output[i]->name;
  vq_status status = VQ_ERR;
  if (!vq_ox_initializers(ox, &frame, g) &&
      !vq_ox_nodes(ox, &frame, g->node, g->n_node, nd))
    status = take_results(nd, &frame, result, g->n_output);
  vq_map_release(&frame.names);
  return status;
}

// ---- sequences ---------------------------------------------------------------

vq_status vq_onnx_sequence_construct(vq_ox_node *nd) {
  vq_ox_val *v = vq_ox_val_new(nd->ox, NULL);
  v->elem = nd->in;
  v->n_elem = nd->n_in;
  for (unsigned i = 0; i < nd->n_in; i++)
    if (!nd->in[i] || vq_ox_ready(nd->ox, nd->loc, nd->in[i]))
      return VQ_ERR;
  return vq_ox_result(nd, 0, v);
}

static vq_status need_sequence(vq_ox_node *nd) {
  if (nd->in[0]->elem)
    return VQ_OK;
  return vq_ox_fail(nd, VQ_E_op_operand, "operand 0 is no sequence");
}

vq_status vq_onnx_sequence_at(vq_ox_node *nd) {
  int64_t i;
  if (need_sequence(nd) || vq_ox_scalar_i64(nd, 1, "position", &i) ||
      vq_ox_axis(nd, &i, nd->in[0]->n_elem))
    return VQ_ERR;
  return vq_ox_result(nd, 0, nd->in[0]->elem[i]);
}

vq_status vq_onnx_concat_from_sequence(vq_ox_node *nd) {
  int64_t axis = 0;
  bool new_axis = false;
  if (need_sequence(nd) || vq_ox_attr_i64(nd, "axis", &axis) ||
      vq_ox_attr_flag(nd, "new_axis", &new_axis))
    return VQ_ERR;
  const vq_ox_val *s = nd->in[0];
  vq_ox_val **part = VQ_NEW_N(&nd->ox->tmp, vq_ox_val *, s->n_elem);
  unsigned rank = s->n_elem ? s->elem[0]->type->rank : 0;
  if (vq_ox_axis(nd, &axis, rank + new_axis))
    return VQ_ERR;
  for (unsigned i = 0; i < s->n_elem; i++) {
    int64_t dim[VQ_MAX_RANK + 1];
    unsigned r = s->elem[i]->type->rank;
    part[i] = s->elem[i];
    if (!new_axis || r != rank)
      continue;
    for (unsigned k = 0; k <= rank; k++)
      dim[k] = k == axis ? 1 : s->elem[i]->type->dim[k - (k > axis)];
    part[i] = vq_ox_reshape(nd, s->elem[i], rank + 1, dim);
  }
  return vq_ox_result(nd, 0, vq_ox_join(nd, s->n_elem, part, (unsigned)axis));
}
