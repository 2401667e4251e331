// Pictures out of a model: gradient descent on pixels (PSAQ-ViT, ECCV 2022).
//
// A picture starts as normal noise. Each step shows the model the picture rolled by
// a random distance along both axes and perhaps mirrored, and moves the pixels
// against the gradient by Adam; then they are brought back into their range. The
// rate rises over the first fifth of a phase and falls by a cosine; the second
// phase rolls twice as far.
//
// Pictures take turns in styles: ranges and directions of activations that pictures
// of one style do not show are in those of another. Descent leaves no flat surfaces and
// no large ones of extreme colours, which photographs have and the first blocks see. So
// one style is no descent at all: dead leaves (Lee, Mumford, Huang, IJCV 2001), random
// discs in front of each other, share the statistics of edges and surfaces with
// photographs.
//
// All that is random about a picture comes from a stream of its own, whose seed is
// made of the run's and the picture's number, and its loss reads no other picture.
// A batch is filled up by computing its last picture again.
#include "calib/synthesize.h"

#include "vq/elementary.h"
#include "vq/exec.h"
#include "vq/rng.h"

// As in PSAQ-ViT's code, for pictures of 224 pixels and batches of 32. There the
// variation is a norm of the whole batch, next to means over it: sqrt(32) times that of
// a picture, whose pixels it pulls 1 / sqrt(32) times as hard while means do so 1 / 32
// times. So here the wanted one is less, and its weight more, by sqrt(32).
#define BATCH 32
static const double beta1 = 0.5, beta2 = 0.9, tiny = 1e-8;
static const double least_rough = 2500, most_rough = 3000;

typedef struct picture {
  vq_rng rng;
  const vq_style *style;
  int64_t roll;
  bool mirror;
  float *x, *m, *v;  // pixels, Adam's moments
} picture;

typedef struct run {
  const vq_synthesis *s;
  vq_pass_ctx *pc;
  int64_t batch, channels, height, width, count;  // count: of numbers a picture
  picture *picture;
  vq_tensor in[VQ_OBJ_ARGS], out[2];  // of @main.grad
  vq_program *program;
} run;

vq_synthesis vq_synthesis_default(void) {
  vq_synthesis s = {.n_style = 1, .seed = 1, .steps = 250, .rate = 0.2};
  s.style[0] = (vq_style){.weight = {1, 0.05, 1}, .rough = true};
  for (unsigned c = 0; c < 4; c++) s.lo[c] = -2.5f, s.hi[c] = 2.5f;
  return s;
}

static double uniform(vq_rng *r) { return (double)(vq_rng_next(r) >> 11) * 0x1p-53; }

static int64_t below(vq_rng *r, int64_t n) {
  return (int64_t)(vq_rng_next(r) % (uint64_t)n);
}

// ---- a step ------------------------------------------------------------------------

// Which pixel of the picture is seen at row i, column j.
static int64_t source(const run *r, const picture *p, int64_t i, int64_t j) {
  if (p->mirror) j = r->width - 1 - j;
  i = (i - p->roll) % r->height, j = (j - p->roll) % r->width;
  return (i < 0 ? i + r->height : i) * r->width + (j < 0 ? j + r->width : j);
}

static void show(const run *r, const picture *p, float *to) {
  int64_t area = r->height * r->width;
  for (int64_t c = 0; c < r->channels; c++)
    for (int64_t i = 0; i < r->height; i++)
      for (int64_t j = 0; j < r->width; j++)
        *to++ = p->x[c * area + source(r, p, i, j)];
}

// One step of Adam by the gradient `d` of what was shown; `rate` includes the
// correction of the first moment's start, `fill` that of the second's.
static void move(const run *r, picture *p, const float *d, double rate, double fill) {
  int64_t area = r->height * r->width;
  if (p->style->leaves) return;
  for (int64_t c = 0; c < r->channels; c++)
    for (int64_t i = 0; i < r->height; i++)
      for (int64_t j = 0; j < r->width; j++) {
        int64_t at = c * area + source(r, p, i, j);
        double g = (double)*d++;
        double m = beta1 * (double)p->m[at] + (1 - beta1) * g;
        double v = beta2 * (double)p->v[at] + (1 - beta2) * g * g;
        double x = (double)p->x[at] - rate * m / (sqrt(v / fill) + tiny);
        p->m[at] = (float)m;
        p->v[at] = (float)v;
        x = x > (double)r->s->lo[c] ? x : (double)r->s->lo[c];
        p->x[at] = (float)(x < (double)r->s->hi[c] ? x : (double)r->s->hi[c]);
      }
}

static double rate_at(const vq_synthesis *s, int64_t step, int64_t phase) {
  int64_t warm = phase / 5, at = step % phase;
  if (at < warm) return s->rate * (double)(at + 1) / (double)warm;
  return s->rate / 2 * (1 + vq_cos(M_PI * (double)(at - warm) / (double)(phase - warm)));
}

static float *numbers_of(const run *r, unsigned arg, int64_t b) {
  const vq_type *t = r->in[arg].type;
  return (float *)r->in[arg].data + b * (vq_type_count(t) / t->dim[0]);
}

// How the picture is shown at a step. Colours change as MimiQ's do: by a factor
// from 1/e to e and a shift in front of it.
static void draw(const run *r, int64_t b, bool second) {
  picture *p = &r->picture[b];
  float *gain = numbers_of(r, VQ_OBJ_GAIN, b), *shift = numbers_of(r, VQ_OBJ_SHIFT, b);
  int64_t most = r->width * (second ? 30 : 15) / 224;
  p->roll = below(&p->rng, 2 * most + 1) - most;
  p->mirror = vq_rng_next(&p->rng) >> 63;
  for (int64_t c = 0; c < r->channels && p->style->colors; c++) {
    gain[c] = (float)vq_exp(2 * uniform(&p->rng) - 1);
    shift[c] = (float)(2 * uniform(&p->rng) - 1) * gain[c];
  }
}

static vq_status step(run *r, int64_t at, double fill[2], double *loss) {
  const vq_synthesis *s = r->s;
  vq_exec *e = r->pc->exec;
  int64_t phase = (s->steps + 1) / 2;
  for (int64_t b = 0; b < r->batch; b++) {
    draw(r, b, at >= phase);
    show(r, &r->picture[b], numbers_of(r, VQ_OBJ_IMAGE, b));
  }
  if (e->ops->run(r->program, r->in, r->out, 0, r->pc->diag)) return VQ_ERR;
  fill[0] *= beta1;
  fill[1] *= beta2;
  double rate = rate_at(s, at, phase) / (1 - fill[0]);
  *loss = 0;
  for (int64_t b = 0; b < r->batch; b++) {
    move(r, &r->picture[b], (const float *)r->out[1].data + b * r->count, rate,
         1 - fill[1]);
    *loss += (double)((const float *)r->out[0].data)[b] / (double)r->batch;
  }
  return VQ_OK;
}

// ---- dead leaves -------------------------------------------------------------------

// Colours one pixel of the picture that no disc in front covers.
static bool paint(const run *r, picture *p, int64_t at, const float *color) {
  if (p->m[at] != 0) return false;
  p->m[at] = 1;
  for (int64_t c = 0; c < r->channels; c++) p->x[c * r->height * r->width + at] = color[c];
  return true;
}

static int64_t paint_disc(const run *r, picture *p, double size, const float *color) {
  double u = uniform(&p->rng), small = size / 32, large = size / 2;
  int64_t painted = 0;
  double square = 1 / (u / (small * small) + (1 - u) / (large * large));  // p(r) ~ r^-3
  double y = uniform(&p->rng) * (double)r->height, x = uniform(&p->rng) * (double)r->width;
  for (int64_t i = 0; i < r->height; i++)
    for (int64_t j = 0; j < r->width; j++) {
      double dy = (double)i - y, dx = (double)j - x;
      if (dy * dy + dx * dx <= square) painted += paint(r, p, i * r->width + j, color);
    }
  return painted;
}

// Discs from the front to the back; what is left after so many is grey. Colours are
// those of a brightness and some more or less in each channel.
static void draw_leaves(const run *r, picture *p) {
  enum { MOST = 1024 };
  const vq_synthesis *s = r->s;
  int64_t left = r->height * r->width;
  double size = (double)(r->height < r->width ? r->height : r->width);
  float color[VQ_COUNT(s->lo)];
  for (int k = 0; k <= MOST && left > 0; k++) {
    double bright = uniform(&p->rng);
    for (int64_t c = 0; c < r->channels; c++) {
      double f = k == MOST ? 0.5 : bright + 0.6 * (uniform(&p->rng) - 0.5);
      f = f > 0 ? f < 1 ? f : 1 : 0;
      color[c] = s->lo[c] + (float)f * (s->hi[c] - s->lo[c]);
    }
    if (k < MOST) left -= paint_disc(r, p, size, color);
  }
  for (int64_t i = 0; i < r->height * r->width; i++) paint(r, p, i, color);
}

// ---- a batch -----------------------------------------------------------------------

static void start(run *r, int64_t b, int64_t number) {
  picture *p = &r->picture[b];
  int64_t classes = r->in[VQ_OBJ_WANTED].type->dim[1];
  float *wanted = numbers_of(r, VQ_OBJ_WANTED, b);
  p->rng.state = r->s->seed * UINT64_C(0x9e3779b97f4a7c15);
  p->rng.state = vq_rng_next(&p->rng) ^ (uint64_t)number;
  p->style = &r->s->style[number % r->s->n_style];
  memset(wanted, 0, (size_t)classes * sizeof *wanted);
  wanted[below(&p->rng, classes)] = 1;
  double scale = sqrt((double)r->count / (3 * 224 * 224) / BATCH);
  double rough = least_rough + uniform(&p->rng) * (most_rough - least_rough);
  *numbers_of(r, VQ_OBJ_ROUGHNESS, b) = p->style->rough ? (float)(rough * scale) : 0;
  float *weight = numbers_of(r, VQ_OBJ_WEIGHT, b);
  for (unsigned k = 0; k < VQ_N_LOSS; k++) weight[k] = (float)p->style->weight[k];
  weight[VQ_LOSS_VARIATION] *= sqrtf(BATCH);
  for (int64_t c = 0; c < r->channels; c++) {
    numbers_of(r, VQ_OBJ_GAIN, b)[c] = 1;
    numbers_of(r, VQ_OBJ_SHIFT, b)[c] = 0;
  }
  for (int64_t i = 0; i < r->count; i++) p->x[i] = (float)vq_rng_normal(&p->rng);
  memset(p->m, 0, (size_t)r->count * sizeof *p->m);
  memset(p->v, 0, (size_t)r->count * sizeof *p->v);
  if (p->style->leaves) draw_leaves(r, p);
}

// Whether a step would move a picture.
static bool moves(const run *r) {
  for (int64_t b = 0; b < r->batch; b++)
    if (!r->picture[b].style->leaves) return true;
  return false;
}

// The first `n` pictures that are wanted, at most a batch.
static vq_status make_batch(run *r, const vq_wanted *wanted, int64_t n, int64_t done,
                            int64_t total) {
  const vq_synthesis *s = r->s;
  double fill[2] = {1, 1}, loss = 0;
  if (n > r->batch) n = r->batch;
  for (int64_t b = 0; b < r->batch; b++) start(r, b, wanted[b < n ? b : n - 1].number);
  for (int64_t i = 0; i < s->steps && moves(r); i++) {
    if (s->progress && s->progress(s->user, done + i, total, loss)) return VQ_ERR;
    if (step(r, i, fill, &loss)) return VQ_ERR;
  }
  for (int64_t b = 0; b < n; b++) {
    memcpy(wanted[b].x, r->picture[b].x, (size_t)r->count * sizeof(float));
    if (s->finished && s->finished(s->user, wanted[b].number, wanted[b].x)) return VQ_ERR;
  }
  return VQ_OK;
}

static float *numbers(run *r, int64_t n) {
  return vq_arena_alloc(r->pc->temp, (size_t)n * sizeof(float), 64);
}

static void make_buffers(run *r, const vq_func *grad) {
  const int64_t *x = grad->arg[0].type->dim;
  r->batch = x[0], r->channels = x[1], r->height = x[2], r->width = x[3];
  r->count = x[1] * x[2] * x[3];
  for (unsigned i = 0; i < VQ_OBJ_ARGS; i++)
    r->in[i] = (vq_tensor){grad->arg[i].type,
                           numbers(r, vq_type_count(grad->arg[i].type))};
  for (unsigned i = 0; i < 2; i++)
    r->out[i] = (vq_tensor){grad->result[i], numbers(r, vq_type_count(grad->result[i]))};
  r->picture = VQ_NEW_N(r->pc->temp, picture, (size_t)r->batch);
  for (int64_t b = 0; b < r->batch; b++) {
    picture *p = &r->picture[b];
    p->x = numbers(r, r->count), p->m = numbers(r, r->count), p->v = numbers(r, r->count);
    *numbers_of(r, VQ_OBJ_SEED, b) = 1;  // the loss itself is what is minimised
  }
}

vq_status vq_synthesize(vq_module *m, const vq_synthesis *s, const vq_wanted *wanted,
                        int64_t n, int64_t *n_made, vq_pass_ctx *pc) {
  run r = {.s = s, .pc = pc};
  vq_objective o = {.kde = s->kde};
  for (unsigned i = 0; i < s->n_style; i++) {
    o.entropy |= s->style[i].weight[VQ_LOSS_ENTROPY] != 0;
    o.heads |= s->style[i].weight[VQ_LOSS_HEADS] != 0;
  }
  if (vq_objective_build(m, &o, pc)) return VQ_ERR;
  make_buffers(&r, vq_module_func(m, VQ_LIT("main.grad")));
  if (r.channels > (int64_t)VQ_COUNT(s->lo))
    return vq_error(pc->diag, VQ_E_unsupported, (vq_loc){0},
                    "pictures of %lld channels cannot be made, expected at most %d",
                    (long long)r.channels, (int)VQ_COUNT(s->lo));
  if (pc->exec->ops->prepare(pc->exec, m, VQ_LIT("main.grad"), pc->diag, &r.program))
    return VQ_ERR;
  vq_status status = VQ_OK;
  int64_t total = (n + r.batch - 1) / r.batch * s->steps;
  *n_made = 0;
  while (*n_made < n && !status) {
    int64_t i = *n_made;
    status = make_batch(&r, wanted + i, n - i, i / r.batch * s->steps, total);
    *n_made = i + r.batch < n ? i + r.batch : n;
    if (s->enough && s->enough(s->user)) break;
  }
  pc->exec->ops->release(r.program);
  return status;
}
