// From a model's bytes to a verified module: decoding, the walk over nodes,
// results.
#include "import.h"
#include "wire.h"

#include "vq/rewrite.h"
#include "vq/strbuf.h"
#include "vq/verify.h"

// Work is counted in elements touched while folding. A model may spend some
// for every byte it brings, so that cost stays proportional to file size.
enum { NODE_WORK = 256, OPSET_WORK = 8, WORK_PER_BYTE = 32, MADE_PER_BYTE = 4 };
static const uint64_t BASE_WORK = 1u << 22, BASE_MADE = 16u << 20;
static const uint64_t DEFAULT_FOLD = 256u << 20;
enum { NEWEST_OPSET = 25 };

void vq_ox_allow(vq_ox *ox, uint64_t bytes) {
  ox->max_work += bytes * WORK_PER_BYTE;
  ox->max_made += bytes * MADE_PER_BYTE;
}

// ---- names -------------------------------------------------------------------

vq_ox_val *vq_ox_lookup(const vq_ox_frame *frame, vq_str name) {
  for (; frame; frame = frame->parent) {
    vq_ox_val *v = vq_map_get(&frame->names, name);
    if (v)
      return v;
  }
  return NULL;
}

vq_status vq_ox_define(vq_ox *ox, vq_ox_frame *frame, vq_loc loc, vq_str name,
                       vq_ox_val *v) {
  void **slot = vq_map_put(&frame->names, name);
  if (*slot)
    return vq_error(ox->diag, VQ_E_name, loc, "'%.*s' is defined twice",
                    VQ_FMT(vq_ox_clean_name(ox, name)));
  *slot = v;
  return VQ_OK;
}

vq_status vq_ox_initializers(vq_ox *ox, vq_ox_frame *frame,
                             const Onnx__GraphProto *g) {
  vq_loc loc = vq_loc_path(ox->ctx, ox->shown_path);
  for (size_t i = 0; i < g->n_initializer; i++) {
    vq_ox_val *v = vq_ox_tensor_declare(ox, loc, g->initializer[i]);
    if (!v || vq_ox_define(ox, frame, loc, v->name, v))
      return VQ_ERR;
    // Branches and functions may be inlined many times.
    v->once = g == ox->model->graph;
  }
  ox->summary->n_initializer += (uint32_t)g->n_initializer;
  return VQ_OK;
}

// ---- nodes -------------------------------------------------------------------

static bool same_domain(vq_str domain, const char *other) {
  vq_str o = vq_str_of(other);
  if (vq_str_is(o, "ai.onnx"))
    o.n = 0;
  return vq_str_eq(domain, o);
}

static int64_t opset_of(const vq_ox_frame *f, vq_str domain) {
  for (size_t i = 0; i < f->n_opset; i++)
    if (same_domain(domain, f->opset[i]->domain))
      return f->opset[i]->version;
  return 0;
}

static vq_status undefined(vq_ox_node *nd, vq_str name,
                           Onnx__NodeProto *const *node, size_t n) {
  vq_str shown = vq_ox_clean_name(nd->ox, name);
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < node[i]->n_output; k++)
      if (vq_str_is(name, node[i]->output[k]))
        return vq_ox_fail(nd, VQ_E_onnx_model, "operand '%.*s' is defined by "
                          "the later node #%zu: the graph has a cycle or is "
                          "not sorted", VQ_FMT(shown), i);
  return vq_ox_fail(nd, VQ_E_name, "operand '%.*s' is not defined",
                    VQ_FMT(shown));
}

static vq_status check_attrs(vq_ox_node *nd) {
  for (size_t i = 0; i < nd->proto->n_attribute; i++) {
    vq_str name = vq_str_of(nd->proto->attribute[i]->name);
    bool known = false;
    for (const char *p = nd->row->attrs; *p && !known;) {
      size_t n = strcspn(p, " ");
      known = vq_str_eq(name, (vq_str){p, n});
      p += n + (p[n] == ' ');
    }
    if (!known)
      return vq_ox_fail(nd, VQ_E_op_attribute, "attribute '%.*s' is unknown",
                        VQ_FMT(vq_ox_clean_name(nd->ox, name)));
    for (size_t k = 0; k < i; k++)
      if (vq_str_is(name, nd->proto->attribute[k]->name))
        return vq_ox_fail(nd, VQ_E_op_attribute, "attribute '%.*s' is given "
                          "twice", VQ_FMT(vq_ox_clean_name(nd->ox, name)));
  }
  return VQ_OK;
}

static vq_status unknown_op(vq_ox_node *nd, vq_str domain, int64_t since) {
  vq_strbuf shown = {0};
  vq_strbuf_escaped(&shown, domain.n ? domain : VQ_LIT("ai.onnx"));
  if (since)
    vq_ox_fail(nd, VQ_E_op_unknown, "opset %lld of domain %s is too old here, "
               "expected at least %lld", (long long)nd->opset,
               vq_strbuf_z(&shown), (long long)since);
  else
    vq_ox_fail(nd, VQ_E_op_unknown, "unknown operator (domain %s, opset %lld)",
               vq_strbuf_z(&shown), (long long)nd->opset);
  if (!since)
    vq_note(nd->ox->diag, nd->loc, "docs/onnx.md lists what is accepted; an "
            "export with standard operators of opset 17 or later helps most");
  vq_strbuf_release(&shown);
  return VQ_ERR;
}

// Picks the function or table row and runs it.
static vq_status dispatch(vq_ox_node *nd) {
  vq_ox *ox = nd->ox;
  vq_str op = vq_str_of(nd->proto->op_type);
  vq_str domain = vq_str_of(nd->proto->domain);
  if (vq_str_is(domain, "ai.onnx"))
    domain.n = 0;
  const Onnx__FunctionProto *f = vq_ox_function(ox, domain, op);
  if (f)
    return vq_ox_call(nd, f);
  int64_t since;
  nd->opset = opset_of(nd->frame, domain);
  if (!nd->opset && !domain.n)
    return vq_ox_fail(nd, VQ_E_onnx_model, "the model imports no opset of "
                      "domain ai.onnx");
  nd->row = vq_ox_find_row(ox, domain, op, nd->opset ? nd->opset : 1, &since);
  if (!nd->row)
    return unknown_op(nd, domain, since);
  unsigned n = nd->n_in;
  while (n && !nd->in[n - 1])
    n--;
  if (n < nd->row->min_in || (n > nd->row->max_in))
    return vq_ox_fail(nd, VQ_E_op_operand, "found %u operands, expected %u to "
                      "%u", n, nd->row->min_in, nd->row->max_in);
  for (unsigned i = 0; i < nd->row->min_in; i++)
    if (!nd->in[i])
      return vq_ox_fail(nd, VQ_E_op_operand, "operand %u is missing", i);
  nd->n_in = n;
  return check_attrs(nd) ? VQ_ERR : nd->row->handler(nd);
}

static vq_status bind_results(vq_ox_node *nd) {
  vq_ox *ox = nd->ox;
  for (unsigned i = 0; i < nd->n_out; i++) {
    vq_str name = vq_str_of(nd->proto->output[i]);
    vq_ox_val *v = nd->out[i];
    if (!name.n)
      continue;
    if (!v)
      return vq_ox_fail(nd, VQ_E_onnx_model, "names %u results, which is more "
                        "than it has here", nd->n_out);
    if (!v->name.n) {
      v->name = name;
      if (v->v && v->v->kind == VQ_VALUE_RESULT)
        vq_rename_value(ox->main, v->v, vq_ox_clean_name(ox, name));
    }
    if (vq_ox_define(ox, nd->frame, nd->loc, name, v))
      return VQ_ERR;
  }
  return VQ_OK;
}

static vq_status one_node(vq_ox_node *nd, Onnx__NodeProto *const *node,
                          size_t n) {
  vq_ox *ox = nd->ox;
  const Onnx__NodeProto *p = nd->proto;
  nd->loc = vq_loc_onnx(ox->ctx, ox->shown_path, nd->index,
                        vq_str_of(p->name));
  if (!p->op_type || !*p->op_type)
    return vq_error(ox->diag, VQ_E_onnx_model, nd->loc, "node has no operator");
  if (vq_ox_spend(nd, NODE_WORK + p->n_input + p->n_output +
                          nd->frame->n_opset * OPSET_WORK))
    return VQ_ERR;
  nd->n_in = (unsigned)p->n_input;
  nd->n_out = (unsigned)p->n_output;
  nd->in = VQ_NEW_N(&ox->tmp, vq_ox_val *, p->n_input);
  nd->out = VQ_NEW_N(&ox->tmp, vq_ox_val *, p->n_output);
  for (size_t i = 0; i < p->n_input; i++) {
    vq_str name = vq_str_of(p->input[i]);
    if (name.n && !(nd->in[i] = vq_ox_lookup(nd->frame, name)))
      return undefined(nd, name, node, n);
  }
  return dispatch(nd) ? VQ_ERR : bind_results(nd);
}

vq_status vq_ox_nodes(vq_ox *ox, vq_ox_frame *frame, Onnx__NodeProto **node,
                      size_t n, const vq_ox_node *outer) {
  for (size_t i = 0; i < n; i++) {
    vq_ox_node nd = {.ox = ox, .frame = frame, .proto = node[i],
                     .index = outer ? outer->index : i};
    if (one_node(&nd, node, n))
      return VQ_ERR;
  }
  return VQ_OK;
}

// ---- results -----------------------------------------------------------------

static vq_status outputs(vq_ox *ox, vq_ox_frame *frame,
                         const Onnx__GraphProto *g) {
  vq_loc loc = vq_loc_path(ox->ctx, ox->shown_path);
  unsigned n = (unsigned)g->n_output;
  vq_value **value = VQ_NEW_N(&ox->tmp, vq_value *, n);
  vq_str *name = VQ_NEW_N(&ox->tmp, vq_str, n);
  if (!n)
    return vq_error(ox->diag, VQ_E_onnx_model, loc, "the model has no output");
  for (unsigned i = 0; i < n; i++) {
    vq_str raw = vq_str_of(g->output[i]->name);
    vq_ox_val *v = vq_ox_lookup(frame, raw);
    name[i] = vq_ox_clean_name(ox, raw);
    if (!v)
      return vq_error(ox->diag, VQ_E_name, loc, "output '%.*s' is not defined",
                      VQ_FMT(name[i]));
    if (!(value[i] = vq_ox_value(ox, loc, v)) ||
        vq_ox_check_output(ox, loc, g->output[i], v->type))
      return VQ_ERR;
    if (!name[i].n)
      name[i] = VQ_LIT("output");
  }
  vq_builder b = {.func = ox->main, .loc = loc, .diag = ox->diag};
  return vq_build_return(&b, n, value, name);
}

// Nodes that only fed Shape, and constants only they used.
static void drop_unused(vq_ox *ox) {
  for (vq_op *op = ox->main->last, *prev; op; op = prev) {
    prev = op->prev;
    if (vq_has_trait(op, VQ_TRAIT_PURE) && !op->out[0].uses)
      vq_erase_op(op);
  }
  for (vq_const *c = ox->m->first_const, *next; c; c = next) {
    next = c->next;
    if (!c->value.uses)
      vq_erase_const(ox->m, c);
  }
}

// ---- the model ---------------------------------------------------------------

static vq_status check_model(vq_ox *ox) {
  const Onnx__ModelProto *m = ox->model;
  vq_loc loc = vq_loc_path(ox->ctx, ox->shown_path);
  if (!m || !m->graph || !m->n_opset_import)
    return vq_error(ox->diag, VQ_E_not_onnx, loc, "not an ONNX model: no %s",
                    m && m->graph ? "operator set" : "graph");
  for (size_t i = 0; i < m->n_opset_import; i++) {
    const Onnx__OperatorSetIdProto *o = m->opset_import[i];
    if (!same_domain(VQ_LIT(""), o->domain))
      continue;
    if (ox->summary->opset)
      return vq_error(ox->diag, VQ_E_onnx_model, loc,
                      "two operator sets of domain ai.onnx");
    ox->summary->opset = o->version;
    if (o->version > NEWEST_OPSET &&
        vq_warn(ox->diag, VQ_E_op_unknown, loc, "opset %lld is newer than %d, "
                "the newest known here; operators are read as in that one",
                (long long)o->version, NEWEST_OPSET))
      return VQ_ERR;
  }
  return VQ_OK;
}

static void summarise(vq_ox *ox, const vq_wire_info *info) {
  enum { MAX_PRODUCER = 64 };
  vq_strbuf b = {0};
  vq_strbuf_escaped(&b, vq_str_of(ox->model->producer_name));
  if (ox->model->producer_version && *ox->model->producer_version) {
    vq_strbuf_putc(&b, ' ');
    vq_strbuf_escaped(&b, vq_str_of(ox->model->producer_version));
  }
  vq_str text = vq_strbuf_view(&b);
  if (text.n > MAX_PRODUCER)
    text.n = MAX_PRODUCER;
  ox->summary->producer = vq_arena_str(&ox->m->arena, text);
  vq_strbuf_release(&b);
  ox->summary->ir_version = ox->model->ir_version;
  ox->summary->n_node = info->n_node;
  ox->summary->metadata_bytes = info->metadata_bytes;
}

static vq_status graph(vq_ox *ox) {
  const Onnx__GraphProto *g = ox->model->graph;
  vq_ox_frame frame = {.opset = ox->model->opset_import,
                       .n_opset = ox->model->n_opset_import};
  vq_status status = VQ_ERR;
  if (!vq_ox_functions(ox) && !vq_ox_initializers(ox, &frame, g) &&
      !vq_ox_inputs(ox, &frame, g) &&
      !vq_ox_nodes(ox, &frame, g->node, g->n_node, NULL) &&
      !outputs(ox, &frame, g)) {
    drop_unused(ox);
    status = vq_verify(ox->m, ox->diag);
  }
  vq_map_release(&frame.names);
  return status;
}

// Bytes in ox->file to the contents of ox->m.
static vq_status import(vq_ox *ox) {
  vq_strbuf skeleton = {0};
  vq_wire_info info;
  vq_status status = VQ_ERR;
  if (!vq_onnx_sniff(ox->file.p, ox->file.n)) {
    vq_error(ox->diag, VQ_E_not_onnx, vq_loc_path(ox->ctx, ox->shown_path),
             "not an ONNX model: it does not start like one");
  } else if (vq_wire_scan(ox->diag, ox->shown_path, ox->file.p, ox->file.n,
                          &skeleton, &info)) {
    vq_note(ox->diag, vq_loc_path(ox->ctx, ox->shown_path),
            "the file is damaged, or not an ONNX model at all");
  } else {
    ox->model = onnx__model_proto__unpack(
        NULL, skeleton.n, (const uint8_t *)vq_strbuf_z(&skeleton));
    vq_strbuf_release(&skeleton);
    if (!check_model(ox)) {
      summarise(ox, &info);
      status = graph(ox);
    }
    if (ox->model)
      onnx__model_proto__free_unpacked(ox->model, NULL);
  }
  vq_strbuf_release(&skeleton);
  return status;
}

// A symbol-safe name from the file's.
static vq_str module_name(vq_arena *arena, const char *path) {
  const char *base = path ? strrchr(path, '/') : NULL;
  vq_str s = vq_str_of(base ? base + 1 : path);
  for (size_t i = s.n; i > 1; i--)
    if (s.p[i - 1] == '.') {
      s.n = i - 1;
      break;
    }
  if (!s.n)
    return VQ_LIT("model");
  char *text = vq_arena_alloc(arena, s.n + 2, 1);
  size_t n = 0;
  if (s.p[0] >= '0' && s.p[0] <= '9')
    text[n++] = '_';
  for (size_t i = 0; i < s.n; i++) {
    char c = s.p[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                 (c >= '0' && c <= '9');
    text[n++] = plain ? c : '_';
  }
  return (vq_str){text, n};
}

static vq_status run(vq_ctx *ctx, const void *bytes, size_t n,
                     const char *path, const vq_onnx_options *opt,
                     vq_diag *diag, vq_module **out,
                     vq_onnx_summary *summary) {
  vq_onnx_summary ignored;
  vq_ox ox = {.ctx = ctx, .diag = diag, .opt = opt, .path = path,
              .shown_path = vq_str_of(path ? path : "model.onnx"),
              .summary = summary ? summary : &ignored};
  *ox.summary = (vq_onnx_summary){0};
  *out = NULL;
  if (opt->batch < 1)
    return vq_error(diag, VQ_E_option, vq_loc_path(ctx, ox.shown_path),
                    "the batch is %lld, expected at least 1",
                    (long long)opt->batch);
  ox.m = vq_module_create(ctx, module_name(&ox.tmp, path));
  ox.file = (vq_datafile){.p = bytes, .n = n};
  ox.file_stays = !bytes;
  vq_status status = VQ_OK;
  if (!bytes)
    status = vq_datafile_load(ox.m, diag, path, &ox.file);
  ox.max_work = BASE_WORK;
  ox.max_made = BASE_MADE;
  vq_ox_allow(&ox, ox.file.n);
  ox.max_fold = opt->max_fold_bytes ? opt->max_fold_bytes : DEFAULT_FOLD;
  vq_ox_table_init(&ox);
  if (!status)
    status = import(&ox);
  vq_map_release(&ox.functions);
  vq_map_release(&ox.ops);
  vq_arena_release(&ox.tmp);
  if (status)
    vq_module_destroy(ox.m);
  else
    *out = ox.m;
  return status;
}

vq_status vq_onnx_import(vq_ctx *ctx, const char *path,
                         const vq_onnx_options *opt, vq_diag *diag,
                         vq_module **out, vq_onnx_summary *summary) {
  return run(ctx, NULL, 0, path, opt, diag, out, summary);
}

vq_status vq_onnx_import_bytes(vq_ctx *ctx, const void *bytes, size_t n,
                               const char *path, const vq_onnx_options *opt,
                               vq_diag *diag, vq_module **out,
                               vq_onnx_summary *summary) {
  return run(ctx, bytes ? bytes : "", n, path, opt, diag, out, summary);
}
