// The objective of synthesis as ops behind those of a model.
//
// A tap is the result of an attention. Where its batch is that of the pictures, its
// last tokens are the patches, as many as patch_embed makes; what comes before them,
// class and distillation tokens and registers, is left out. Where it is larger, the
// tokens are those of windows and all of them patches. An attention of fewer
// queries says nothing about patches.
#include "calib/objective.h"

#include "calib/blocks.h"
#include "calib/grad.h"
#include "calib/loss.h"
#include "vq/rewrite.h"

static vq_status unsuitable(const char *what, vq_diag *diag) {
  return vq_error(diag, VQ_E_unsupported, (vq_loc){0},
                  "pictures cannot be made out of this model: %s", what);
}

// Replaces @main by one with the two further arguments; its `return` is dropped.
static vq_func *extend(vq_module *m, vq_value **logits) {
  vq_func *old = vq_module_func(m, VQ_LIT("main"));
  const vq_type *image = old->arg[0].type, *y = old->result[0];
  const vq_type *type[] = {
      image, y, vq_type_tensor(m->ctx, VQ_f32, 1, image->dim, NULL)};
  vq_str name[] = {old->arg[0].name, VQ_LIT("wanted"), VQ_LIT("roughness")};
  vq_func *f = vq_func_create(m, VQ_FUNC, VQ_LIT("objective"), 3, type, name);
  vq_builder b = {.func = f};
  vq_map map = {0};
  const vq_value *key = &old->arg[0];
  *vq_map_put(&map, VQ_MAP_PTR_KEY(key)) = &f->arg[0];
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

// The sum of the entropies of all taps among the ops up to `last`, or NULL.
static vq_status add_entropies(vq_builder *b, const vq_objective *o, vq_op *last,
                               stops *s, vq_value **sum) {
  int64_t pictures = b->func->arg[0].type->dim[0], n_patch = patches_of(b->func);
  for (vq_op *op = b->func->first; op; op = op == last ? NULL : op->next) {
    if (op->code != VQ_OP_attention) continue;
    const int64_t *t = op->out->type->dim;
    bool windows = t[0] != pictures;
    if (t[0] % pictures || (!windows && t[1] < n_patch) || t[1] < 2) continue;
    vq_patches p = {.y = op->out, .pictures = pictures,
                    .heads = VQ_ATTRS(op, attention)->heads,
                    .skip = windows || !n_patch ? 0 : t[1] - n_patch};
    vq_value *e = o->kde ? vq_loss_entropy_kde(b, &p, s->v + s->n)
                         : vq_loss_entropy_gauss(b, &p);
    if (o->kde) s->n += 2;
    *sum = *sum ? vq_make_2(b, VQ_OP_add, *sum, e) : e;
    if (!*sum) return VQ_ERR;
  }
  return VQ_OK;
}

static vq_value *weigh(vq_builder *b, vq_value *x, double weight) {
  return vq_make_2(b, VQ_OP_mul, x, vq_make_k(b, weight));
}

static vq_status build(vq_func *f, vq_value *logits, const vq_objective *o,
                       vq_pass_ctx *pc) {
  vq_builder b = {f, NULL, {0}, pc->diag};
  vq_op *last = f->last;
  size_t n_op = 0;
  vq_each_op(f, op) n_op++;
  stops s = {VQ_NEW_N(pc->temp, vq_value *, 2 * n_op), 0};
  vq_value *entropy = NULL;
  if (o->entropy_weight != 0 && add_entropies(&b, o, last, &s, &entropy)) return VQ_ERR;
  vq_value *rough = vq_loss_variation(&b, &f->arg[0]);
  rough = vq_make_2(&b, VQ_OP_sub, rough, &f->arg[2]);
  vq_value *loss = weigh(&b, vq_loss_class(&b, logits, &f->arg[1]), o->class_weight);
  rough = weigh(&b, vq_make_1(&b, VQ_OP_abs, rough), o->variation_weight);
  loss = vq_make_2(&b, VQ_OP_add, loss, rough);
  if (entropy)
    loss = vq_make_2(&b, VQ_OP_sub, loss, weigh(&b, entropy, o->entropy_weight));
  vq_str name = VQ_LIT("loss");
  if (vq_build_return(&b, 1, &loss, &name)) return VQ_ERR;
  vq_value *image = &f->arg[0];
  vq_grad_request r = {.wrt = &image, .n_wrt = 1, .stop = s.v, .n_stop = s.n,
                       .results = true};
  return vq_grad_build(f, &r, pc) ? VQ_OK : VQ_ERR;
}

vq_status vq_objective_build(vq_module *m, const vq_objective *o, vq_pass_ctx *pc) {
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  if (!f || f->n_arg != 1 || !vq_type_is(f->arg[0].type, VQ_f32, 4) ||
      f->arg[0].type->dim[2] < 2 || f->arg[0].type->dim[3] < 2)
    return unsuitable("its input is not one picture of f32", pc->diag);
  if (f->n_result < 1 || !vq_type_is(f->result[0], VQ_f32, 2) ||
      f->result[0]->dim[0] != f->arg[0].type->dim[0])
    return unsuitable("its first output is not one row of logits a picture", pc->diag);
  vq_value *logits;
  vq_func *to = extend(m, &logits);
  return build(to, logits, o, pc);
}
