// The objective of synthesis as ops behind those of a model.
//
// A tap is the result of an attention. Where its batch is that of the pictures, its
// last tokens are the patches, as many as patch_embed makes; what comes before them,
// class and distillation tokens and registers, is left out. Where it is larger, the
// tokens are those of windows and all of them patches. An attention of fewer
// queries, or of keys from elsewhere, says nothing about patches.
#include "calib/objective.h"

#include "calib/blocks.h"
#include "calib/grad.h"
#include "calib/loss.h"
#include "passes.h"
#include "vq/rewrite.h"

static vq_status unsuitable(const char *what, vq_diag *diag) {
  vq_error(diag, VQ_E_unsupported, (vq_loc){0},
           "pictures cannot be made out of this model: %s", what);
  vq_note(diag, (vq_loc){0},
          "samples (--calib=DIR, --calib=FILE.npy) or --calib=noise need none");
  return VQ_ERR;
}

// Replaces @main by one with the further arguments; its `return` is dropped.
static vq_func *extend(vq_module *m, vq_value **logits, vq_diag *diag) {
  vq_func *old = vq_module_func(m, VQ_LIT("main"));
  const vq_type *image = old->arg[0].type, *y = old->result[0];
  int64_t weight[] = {image->dim[0], VQ_N_LOSS};
  int64_t color[] = {image->dim[0], image->dim[1], 1, 1};
  const vq_type *row = vq_type_tensor(m->ctx, VQ_f32, 1, image->dim, NULL);
  const vq_type *per_channel = vq_type_tensor(m->ctx, VQ_f32, 4, color, NULL);
  const vq_type *type[] = {
      image, y, row, vq_type_tensor(m->ctx, VQ_f32, 2, weight, NULL),
      per_channel, per_channel};
  vq_str name[] = {old->arg[0].name, VQ_LIT("wanted"), VQ_LIT("roughness"),
                   VQ_LIT("weight"), VQ_LIT("gain"), VQ_LIT("shift")};
  vq_func *f = vq_func_create(m, VQ_FUNC, VQ_LIT("objective"), VQ_OBJ_SEED, type, name);
  vq_builder b = {f, NULL, {0}, diag};
  vq_map map = {0};
  const vq_value *key = &old->arg[0];
  vq_value *seen = vq_make_2(&b, VQ_OP_mul, &f->arg[VQ_OBJ_IMAGE], &f->arg[VQ_OBJ_GAIN]);
  *vq_map_put(&map, VQ_MAP_PTR_KEY(key)) =
      vq_make_2(&b, VQ_OP_add, seen, &f->arg[VQ_OBJ_SHIFT]);
  vq_each_op(old, op)
    if (!vq_has_trait(op, VQ_TRAIT_TERM)) vq_clone_op(&b, op, &map);
  vq_value *result = vq_in(old->last, 0);
  vq_value *copy = vq_map_get(&map, VQ_MAP_PTR_KEY(result));
  *logits = copy ? copy : result;
  vq_map_release(&map);
  vq_erase_func(m, old);
  vq_rename_func(m, f, VQ_LIT("main"));
  return f;
}

static int64_t patches_of(const vq_func *f) {
  vq_each_op(f, op)
    if (op->code == VQ_OP_patch_embed) return op->out->type->dim[1];
  return 0;
}

typedef struct stops {
  vq_value **v;
  unsigned n;
} stops;

// The terms that attentions add up to, or NULL.
typedef struct tapped {
  vq_value *entropy, *heads;
  unsigned n;  // attentions
} tapped;

static bool add(vq_builder *b, vq_value **sum, vq_value *x) {
  *sum = *sum ? vq_make_2(b, VQ_OP_add, *sum, x) : x;
  return *sum != NULL;
}

static vq_status add_terms(vq_builder *b, const vq_objective *o, vq_op *op, int64_t skip,
                           stops *s, tapped *to) {
  int64_t pictures = b->func->arg[0].type->dim[0];
  int64_t heads = VQ_ATTRS(op, attention)->heads;
  vq_patches p = {.y = op->out, .pictures = pictures, .heads = heads, .skip = skip};
  vq_attended a = {.q = vq_in(op, 0), .k = vq_in(op, 1), .pictures = pictures,
                   .heads = heads, .skip = skip};
  if (o->entropy) {
    vq_value *e = o->kde ? vq_loss_entropy_kde(b, &p, s->v + s->n)
                         : vq_loss_entropy_gauss(b, &p);
    if (o->kde) s->n += 2;
    if (!add(b, &to->entropy, e)) return VQ_ERR;
  }
  if (o->heads && !add(b, &to->heads, vq_loss_heads(b, &a))) return VQ_ERR;
  to->n++;
  return VQ_OK;
}

// Of all taps among the ops up to `last`.
static vq_status add_taps(vq_builder *b, const vq_objective *o, vq_op *last, stops *s,
                          tapped *to) {
  int64_t pictures = b->func->arg[0].type->dim[0], n_patch = patches_of(b->func);
  for (vq_op *op = b->func->first; op; op = op == last ? NULL : op->next) {
    if (op->code != VQ_OP_attention) continue;
    const int64_t *t = op->out->type->dim, *k = vq_in(op, 1)->type->dim;
    bool windows = t[0] != pictures;
    if (t[0] % pictures || (!windows && t[1] < n_patch) || t[1] < 2 || k[1] != t[1])
      continue;
    int64_t skip = windows || !n_patch ? 0 : t[1] - n_patch;
    if (add_terms(b, o, op, skip, s, to)) return VQ_ERR;
  }
  return VQ_OK;
}

// `x`, one number a picture, times the picture's weight of this term.
static vq_value *weigh(vq_builder *b, vq_value *x, vq_loss_term term) {
  vq_value *w = &b->func->arg[VQ_OBJ_WEIGHT];
  int64_t begin[] = {0, (int64_t)term}, size[] = {w->type->dim[0], 1};
  w = vq_make_reshape(b, vq_make_slice(b, w, begin, size, NULL), 1, size);
  return vq_make_2(b, VQ_OP_mul, x, w);
}

static vq_status build(vq_func *f, vq_value *logits, const vq_objective *o,
                       vq_pass_ctx *pc) {
  vq_builder b = {f, NULL, {0}, pc->diag};
  vq_op *last = f->last;
  size_t n_op = 0;
  vq_each_op(f, op) n_op++;
  stops s = {VQ_NEW_N(pc->temp, vq_value *, 2 * n_op), 0};
  tapped t = {0};
  if (add_taps(&b, o, last, &s, &t)) return VQ_ERR;
  vq_value *rough = vq_loss_variation(&b, &f->arg[VQ_OBJ_IMAGE]);
  rough = vq_make_2(&b, VQ_OP_sub, rough, &f->arg[VQ_OBJ_ROUGHNESS]);
  rough = weigh(&b, vq_make_1(&b, VQ_OP_abs, rough), VQ_LOSS_VARIATION);
  vq_value *loss = vq_loss_class(&b, logits, &f->arg[VQ_OBJ_WANTED]);
  loss = vq_make_2(&b, VQ_OP_add, weigh(&b, loss, VQ_LOSS_CLASS), rough);
  if (t.entropy)
    loss = vq_make_2(&b, VQ_OP_sub, loss, weigh(&b, t.entropy, VQ_LOSS_ENTROPY));
  if (t.heads) {
    vq_value *heads = vq_make_2(&b, VQ_OP_mul, t.heads, vq_make_k(&b, 1.0 / t.n));
    loss = vq_make_2(&b, VQ_OP_add, loss, weigh(&b, heads, VQ_LOSS_HEADS));
  }
  vq_str name = VQ_LIT("loss");
  if (vq_build_return(&b, 1, &loss, &name)) return VQ_ERR;
  // Behind the last tap only the class token's row counts. What a gradient stops at are
  // reductions, which the pass leaves as they are.
  if (vq_pass_drop_rows(f->module, pc)) return VQ_ERR;
  vq_value *image = &f->arg[0];
  vq_grad_request r = {.wrt = &image, .n_wrt = 1, .stop = s.v, .n_stop = s.n,
                       .results = true};
  return vq_grad_build(f, &r, pc) ? VQ_OK : VQ_ERR;
}

const vq_type *vq_objective_image(const vq_module *m, vq_diag *diag) {
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  const vq_type *t = f && f->n_arg == 1 ? f->arg[0].type : NULL;
  if (t && vq_type_is(t, VQ_f32, 4) && t->dim[2] >= 2 && t->dim[3] >= 2) return t;
  return unsuitable("its input is not one picture of f32", diag) ? NULL : t;
}

vq_status vq_objective_build(vq_module *m, const vq_objective *o, vq_pass_ctx *pc) {
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  if (!vq_objective_image(m, pc->diag)) return VQ_ERR;
  if (f->n_result < 1 || !vq_type_is(f->result[0], VQ_f32, 2) ||
      f->result[0]->dim[0] != f->arg[0].type->dim[0])
    return unsuitable("its first output is not one row of logits a picture", pc->diag);
  vq_value *logits;
  vq_func *to = extend(m, &logits, pc->diag);
  return build(to, logits, o, pc);
}
