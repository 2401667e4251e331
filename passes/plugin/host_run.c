// The part of a plugin's table that runs functions and reads samples.
#include "plugin/host.h"

vq_prepared *vq_host_prepare(vq_call *c, const vq_func *f) {
  vq_exec *e = c->pc->exec;
  if (!e) {
    vq_host_error(c, NULL, "nothing here can run '@%.*s'", VQ_FMT(f->name));
    return NULL;
  }
  vq_program *program;
  if (e->ops->prepare(e, c->m, f->name, c->pc->diag, &program)) return NULL;
  vq_prepared *p = VQ_NEW(c->pc->temp, vq_prepared);
  *p = (vq_prepared){f, program, c->prepared};
  return c->prepared = p;
}

int vq_host_run(vq_call *c, vq_prepared *p, const void *const *in, void *const *out) {
  vq_tensor *t = VQ_NEW_N(c->pc->temp, vq_tensor, p->func->n_arg + p->func->n_result);
  vq_tensor *result = t + p->func->n_arg;
  for (uint32_t i = 0; i < p->func->n_arg; i++)
    t[i] = (vq_tensor){p->func->arg[i].type, (void *)in[i]};
  for (uint32_t i = 0; i < p->func->n_result; i++)
    result[i] = (vq_tensor){p->func->result[i], out[i]};
  return c->pc->exec->ops->run(p->program, t, result, 0, c->pc->diag) == VQ_OK;
}

void vq_host_release(vq_call *c, vq_prepared *p) {
  vq_prepared **at = &c->prepared;
  while (*at && *at != p) at = &(*at)->next;
  if (!*at) VQ_BUG("a plugin released what it did not prepare");
  *at = p->next;
  c->pc->exec->ops->release(p->program);
}

static const vq_samples *samples(const vq_call *c) {
  return c->pc->exec ? c->pc->exec->samples : NULL;
}

int64_t vq_host_samples(vq_call *c) { return samples(c) ? samples(c)->n : 0; }

int vq_host_sample(vq_call *c, int64_t i, float *out) {
  const vq_samples *s = samples(c);
  if (!s || i < 0 || i >= s->n)
    return vq_host_error(c, NULL, "there are %lld samples, number %lld was wanted",
                         (long long)vq_host_samples(c), (long long)i);
  return s->load(s->user, i, out, c->pc->diag) == VQ_OK;
}
