// Inputs and outputs of the model: pinning every dimension.
//
// The first dimension of the first input is the batch. Other symbolic
// dimensions come from --input-shape, from a symbol that is already known, or,
// for pictures, from the weights: the patch convolution tells the channels and
// the patch size, the length of the position table tells the number of patches
// (plus a few extra tokens). Only an unambiguous answer is used.
#include "import.h"

#include <stdlib.h>

#include "vq/strbuf.h"

typedef Onnx__TensorShapeProto__Dimension dimension;

typedef struct input {
  const Onnx__ValueInfoProto *info;
  vq_str name;
  const Onnx__TensorShapeProto *shape;
  vq_dtype dtype;
  unsigned rank;
  int64_t dim[VQ_MAX_RANK];  // -1: unknown
} input;

typedef struct symbol {
  vq_str name;
  int64_t value;
} symbol;

static vq_str param(const dimension *d) {
  bool named =
      d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
  return vq_str_of(named && d->dim_param ? d->dim_param : "");
}

static int64_t fixed(const dimension *d) {
  bool has =
      d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
  return has && d->dim_value >= 0 ? d->dim_value : -1;
}

static const Onnx__TypeProto__Tensor *tensor_of(
    const Onnx__ValueInfoProto *info) {
  const Onnx__TypeProto *t = info->type;
  if (!t || t->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
    return NULL;
  return t->tensor_type;
}

// ---- what the user says ------------------------------------------------------

// True when the option's text, [NAME:]SHAPE, is for input `i`: without a name,
// for the first.
static bool is_for(const char *text, unsigned i, const char *raw, vq_str name) {
  const char *colon = strrchr(text, ':');
  if (!colon)
    return i == 0;
  vq_str wanted = {text, (size_t)(colon - text)};
  return vq_str_eq(wanted, vq_str_of(raw)) || vq_str_eq(wanted, name);
}

// The shape text given for input `i`, or NULL.
static const char *given(const vq_ox *ox, const input *in, unsigned i) {
  for (unsigned k = 0; k < ox->opt->n_shape; k++) {
    const char *text = ox->opt->shape[k], *colon = strrchr(text, ':');
    if (is_for(text, i, in->info->name, in->name))
      return colon ? colon + 1 : text;
  }
  return NULL;
}

// Each shape given must be for an input, and for one that has no other.
static vq_status check_given(vq_ox *ox, vq_loc loc, const char *const *raw,
                             const vq_str *name, unsigned n) {
  const char *const *shape = ox->opt->shape;
  for (unsigned k = 0; k < ox->opt->n_shape; k++) {
    unsigned i = 0;
    while (i < n && !is_for(shape[k], i, raw[i], name[i]))
      i++;
    if (i == n)
      return vq_error(ox->diag, VQ_E_option, loc, "shape '%s' is for no input "
                      "of the model, whose first is '%.*s'", shape[k],
                      VQ_FMT(name[0]));
    for (unsigned j = 0; j < k; j++)
      if (is_for(shape[j], i, raw[i], name[i]))
        return vq_error(ox->diag, VQ_E_option, loc, "input '%.*s' is given two "
                        "shapes, '%s' and '%s'", VQ_FMT(name[i]), shape[j],
                        shape[k]);
  }
  return VQ_OK;
}

static vq_status apply_given(vq_ox *ox, vq_loc loc, input *in,
                             const char *text) {
  int64_t dim[VQ_MAX_RANK];
  unsigned n = 0;
  const char *p = text;
  for (;; p++) {
    char *end;
    long long v = *p >= '0' && *p <= '9' ? strtoll(p, &end, 10) : 0;
    if (v < 1 || n == VQ_MAX_RANK || (*end && *end != 'x'))
      return vq_error(ox->diag, VQ_E_option, loc, "shape '%s' of input '%.*s' "
                      "is no list like 1x3x224x224", text, VQ_FMT(in->name));
    dim[n++] = v;
    p = end;
    if (!*p)
      break;
  }
  if (in->shape && n != in->rank)
    return vq_error(ox->diag, VQ_E_option, loc, "shape '%s' has %u dimensions, "
                    "input '%.*s' has %u", text, n, VQ_FMT(in->name), in->rank);
  for (unsigned k = 0; k < n; k++)
    if (in->shape && in->dim[k] >= 0 && in->dim[k] != dim[k])
      return vq_error(ox->diag, VQ_E_option, loc, "shape '%s': the model fixes "
                      "dimension %u of input '%.*s' to %lld", text, k,
                      VQ_FMT(in->name), (long long)in->dim[k]);
  in->rank = n;
  memcpy(in->dim, dim, sizeof dim[0] * n);
  return VQ_OK;
}

// ---- what the weights say ----------------------------------------------------

static const Onnx__TensorProto *initializer(const Onnx__GraphProto *g,
                                            const char *name) {
  for (size_t i = 0; i < g->n_initializer; i++)
    if (g->initializer[i]->name && !strcmp(g->initializer[i]->name, name))
      return g->initializer[i];
  return NULL;
}

static int64_t node_int(const Onnx__NodeProto *n, const char *name,
                        size_t index, int64_t otherwise) {
  for (size_t i = 0; i < n->n_attribute; i++) {
    const Onnx__AttributeProto *a = n->attribute[i];
    if (!a->name || strcmp(a->name, name))
      continue;
    if (a->has_i)
      return a->i;
    return index < a->n_ints ? a->ints[index] : otherwise;
  }
  return otherwise;
}

static bool is_gathered(const Onnx__GraphProto *g, const char *name) {
  for (size_t i = 0; i < g->n_node; i++)
    if (g->node[i]->op_type && !strcmp(g->node[i]->op_type, "Gather") &&
        g->node[i]->n_input && !strcmp(g->node[i]->input[0], name))
      return true;
  return false;
}

// The side g of a square of `tokens` less 0, 1, 2 or 5 extra ones; 0: none.
static int64_t square_side(int64_t tokens) {
  static const int extra[] = {0, 1, 2, 5};
  for (size_t i = 0; i < VQ_COUNT(extra); i++)
    for (int64_t g = 2; g <= 4096 && g * g <= tokens - extra[i]; g++)
      if (g * g == tokens - extra[i])
        return g;
  return 0;
}

// Fills unknown channels, height and width of a picture.
static void from_weights(const Onnx__GraphProto *g, input *in) {
  const Onnx__NodeProto *conv = NULL;
  const Onnx__TensorProto *w = NULL;
  for (size_t i = 0; i < g->n_node && !w; i++) {
    conv = g->node[i];
    if (conv->op_type && !strcmp(conv->op_type, "Conv") && conv->n_input > 1)
      w = initializer(g, conv->input[1]);
  }
  if (!w || w->n_dims != 4 || in->rank != 4)
    return;
  int64_t group = node_int(conv, "group", 0, 1);
  if (in->dim[1] < 0 && group > 0 && group < 1 << 16 && w->dims[1] > 0 &&
      w->dims[1] < 1 << 16)
    in->dim[1] = w->dims[1] * group;
  int64_t side = 0;
  for (size_t i = 0; i < g->n_initializer; i++) {
    const Onnx__TensorProto *t = g->initializer[i];
    bool table = t->n_dims == 3 && t->dims[0] == 1 && t->dims[2] == w->dims[0];
    table |= t->n_dims == 2 && t->dims[1] == w->dims[0] && t->name &&
             is_gathered(g, t->name);
    int64_t s = table ? square_side(t->dims[t->n_dims - 2]) : 0;
    if (s && side && s != side)
      return;
    side = s ? s : side;
  }
  for (unsigned k = 2; k < 4 && side; k++) {
    int64_t stride = node_int(conv, "strides", k - 2, 1);
    if (in->dim[k] < 0 && stride > 0 && stride < 1 << 16)
      in->dim[k] = side * stride;
  }
}

// ---- inputs ------------------------------------------------------------------

static vq_status read_input(vq_ox *ox, vq_loc loc, input *in) {
  const Onnx__TypeProto__Tensor *t = tensor_of(in->info);
  in->name = vq_ox_clean_name(ox, vq_str_of(in->info->name));
  if (!in->name.n)
    in->name = VQ_LIT("input");
  if (!t)
    return vq_error(ox->diag, VQ_E_onnx_model, loc, "input '%.*s' is no tensor",
                    VQ_FMT(in->name));
  if (!vq_ox_dtype(t->elem_type, &in->dtype))
    return vq_error(ox->diag, VQ_E_dtype, loc, "input '%.*s' has element type "
                    "%s, which is not accepted", VQ_FMT(in->name),
                    vq_ox_data_type_name(t->elem_type));
  in->shape = t->shape;
  if (!t->shape)
    return VQ_OK;
  if (t->shape->n_dim > VQ_MAX_RANK)
    return vq_error(ox->diag, VQ_E_shape, loc, "input '%.*s' has %zu "
                    "dimensions, expected at most %d", VQ_FMT(in->name),
                    t->shape->n_dim, VQ_MAX_RANK);
  in->rank = (unsigned)t->shape->n_dim;
  for (unsigned k = 0; k < in->rank; k++)
    in->dim[k] = fixed(t->shape->dim[k]);
  return VQ_OK;
}

// The first input decides the batch.
static vq_status pin_batch(vq_ox *ox, vq_loc loc, input *in, bool shape_given) {
  int64_t want = ox->opt->batch;
  vq_onnx_summary *s = ox->summary;
  if (in->rank == 0)
    return VQ_OK;
  int64_t declared = in->shape ? fixed(in->shape->dim[0]) : -1;
  if (in->dim[0] == 0)
    in->dim[0] = -1;  // some exporters write 0 for a batch left open
  s->batch_baked = declared > 0;
  if (in->shape)
    ox->batch_symbol = param(in->shape->dim[0]);
  if (in->dim[0] < 0)
    in->dim[0] = want;
  s->batch = in->dim[0];
  if (s->batch == want)
    return VQ_OK;
  if (s->batch_baked)
    return vq_warn(ox->diag, VQ_E_dynamic, loc, "the model fixes its batch to "
                   "%lld, so a batch of %lld is not used; export it with a "
                   "symbolic batch to choose", (long long)s->batch,
                   (long long)want);
  if (shape_given && want != 1)
    return vq_error(ox->diag, VQ_E_option, loc, "the given shape has a batch "
                    "of %lld, but the batch is also given as %lld",
                    (long long)s->batch, (long long)want);
  return VQ_OK;
}

static vq_status unknown_dims(vq_ox *ox, vq_loc loc, const input *in) {
  vq_strbuf shape = {0}, hint = {0};
  vq_strbuf_escaped(&hint, vq_str_of(in->info->name));
  for (unsigned k = 0; k < in->rank; k++) {
    vq_str name = in->shape ? param(in->shape->dim[k]) : VQ_LIT("");
    vq_strbuf_puts(&shape, k ? ", " : "");
    vq_strbuf_putc(&hint, k ? 'x' : ':');
    if (in->dim[k] >= 0) {
      vq_strbuf_printf(&shape, "%lld", (long long)in->dim[k]);
      vq_strbuf_printf(&hint, "%lld", (long long)in->dim[k]);
    } else {
      vq_strbuf_escaped(&shape, name.n ? name : VQ_LIT("?"));
      vq_strbuf_puts(&hint, k < 2 ? "3" : "224");
    }
  }
  vq_error(ox->diag, VQ_E_dynamic, loc, "input '%.*s' has unknown dimensions "
           "[%s]", VQ_FMT(in->name), in->rank ? vq_strbuf_z(&shape) : "?");
  vq_note(ox->diag, loc, "state them, for example --input-shape=%s%s",
          vq_strbuf_z(&hint), in->rank ? "" : ":1x3x224x224");
  vq_strbuf_release(&shape);
  vq_strbuf_release(&hint);
  return VQ_ERR;
}

static vq_status pin(vq_ox *ox, vq_loc loc, const Onnx__GraphProto *g,
                     input *in, unsigned i, symbol *sym, unsigned *n_sym) {
  const char *text = given(ox, in, i);
  if (text && apply_given(ox, loc, in, text))
    return VQ_ERR;
  if (i == 0 && pin_batch(ox, loc, in, text != NULL))
    return VQ_ERR;
  for (unsigned k = 0; in->shape && k < in->rank; k++)
    for (unsigned s = 0; s < *n_sym && in->dim[k] < 0; s++)
      if (sym[s].name.n && vq_str_eq(sym[s].name, param(in->shape->dim[k])))
        in->dim[k] = sym[s].value;
  from_weights(g, in);
  if (!in->shape && !text)
    return unknown_dims(ox, loc, in);
  for (unsigned k = 0; k < in->rank; k++) {
    if (in->dim[k] < 0)
      return unknown_dims(ox, loc, in);
    if (in->shape)
      sym[(*n_sym)++] = (symbol){param(in->shape->dim[k]), in->dim[k]};
  }
  return VQ_OK;
}

vq_status vq_ox_inputs(vq_ox *ox, vq_ox_frame *frame,
                       const Onnx__GraphProto *g) {
  vq_loc loc = vq_loc_path(ox->ctx, ox->shown_path);
  const vq_type **type = VQ_NEW_N(&ox->tmp, const vq_type *, g->n_input);
  vq_str *name = VQ_NEW_N(&ox->tmp, vq_str, g->n_input);
  const char **raw = VQ_NEW_N(&ox->tmp, const char *, g->n_input);
  symbol *sym = VQ_NEW_N(&ox->tmp, symbol, g->n_input * VQ_MAX_RANK);
  unsigned n = 0, n_sym = 0;
  for (size_t i = 0; i < g->n_input; i++) {
    input in = {.info = g->input[i]};
    if (vq_ox_lookup(frame, vq_str_of(in.info->name)))
      continue;  // before IR version 4 initializers are inputs too
    if (read_input(ox, loc, &in) || pin(ox, loc, g, &in, n, sym, &n_sym))
      return VQ_ERR;
    type[n] = vq_type_tensor(ox->ctx, in.dtype, in.rank, in.dim, NULL);
    if (!type[n])
      return vq_error(ox->diag, VQ_E_limit, loc, "input '%.*s' is too large",
                      VQ_FMT(in.name));
    name[n] = in.name;
    raw[n++] = in.info->name;
  }
  if (!n)
    return vq_error(ox->diag, VQ_E_onnx_model, loc, "the model has no input");
  if (check_given(ox, loc, raw, name, n))
    return VQ_ERR;
  ox->main = vq_func_create(ox->m, VQ_FUNC, VQ_LIT("main"), n, type, name);
  for (unsigned i = 0; i < n; i++) {
    vq_ox_val *v = vq_ox_val_new(ox, type[i]);
    v->v = &ox->main->arg[i];
    v->name = vq_str_of(raw[i]);
    if (vq_ox_define(ox, frame, loc, v->name, v))
      return VQ_ERR;
  }
  return VQ_OK;
}

// ---- outputs -----------------------------------------------------------------

// One row per sample is what callers count on.
static vq_status check_rows(vq_ox *ox, vq_loc loc, vq_str name,
                            const vq_type *found) {
  const vq_onnx_summary *s = ox->summary;
  if (s->batch == 1 || s->batch_baked ||
      (found->rank && found->dim[0] == s->batch))
    return VQ_OK;
  if (vq_warn(ox->diag, VQ_E_dynamic, loc, "output '%.*s' does not have the "
              "batch of %lld as its first dimension", VQ_FMT(name),
              (long long)s->batch))
    return VQ_ERR;
  vq_note(ox->diag, loc, "--batch=1 is safe; models take any number of samples "
          "when they run");
  return VQ_OK;
}

vq_status vq_ox_check_output(vq_ox *ox, vq_loc loc,
                             const Onnx__ValueInfoProto *info,
                             const vq_type *found) {
  const Onnx__TypeProto__Tensor *t = tensor_of(info);
  vq_str name = vq_ox_clean_name(ox, vq_str_of(info->name));
  vq_dtype dtype;
  if (!t || !t->elem_type)
    return check_rows(ox, loc, name, found);
  if (!vq_ox_dtype(t->elem_type, &dtype) || dtype != found->dtype)
    return vq_error(ox->diag, VQ_E_onnx_model, loc, "output '%.*s' is declared "
                    "as %s but is %s", VQ_FMT(name),
                    vq_ox_data_type_name(t->elem_type),
                    vq_dtype_name(found->dtype));
  if (!t->shape)
    return check_rows(ox, loc, name, found);
  if (t->shape->n_dim != found->rank)
    return vq_error(ox->diag, VQ_E_onnx_model, loc, "output '%.*s' is declared "
                    "with rank %zu but has %u", VQ_FMT(name), t->shape->n_dim,
                    found->rank);
  for (unsigned k = 0; k < found->rank; k++) {
    const dimension *d = t->shape->dim[k];
    bool batch = ox->batch_symbol.n && vq_str_eq(param(d), ox->batch_symbol);
    int64_t want = batch ? ox->summary->batch : fixed(d);
    if (want < 0 || want == found->dim[k])
      continue;
    vq_error(ox->diag, VQ_E_shape, loc, "dimension %u of output '%.*s' is "
             "declared as %lld but is %lld", k, VQ_FMT(name), (long long)want,
             (long long)found->dim[k]);
    if (batch)
      vq_note(ox->diag, loc, "the exporter fixed the batch inside the model; "
              "--batch=1 may work");
    return VQ_ERR;
  }
  return check_rows(ox, loc, name, found);
}
