// Pictures out of a model: gradient descent on pixels (PSAQ-ViT, ECCV 2022).
//
// A picture starts as normal noise or as a random scene (scene.h). Each step shows the
// model the picture rolled by a random distance along both axes and perhaps mirrored, and
// moves the pixels against the gradient by Adam; then they are brought back into their
// range. The rate rises over the first fifth of a phase and falls by a cosine; the second
// phase rolls twice as far.
//
// Pictures take turns in styles: ranges and directions of activations that pictures
// of one style do not show are in those of another. Descent from noise leaves no surfaces
// and no large ones of extreme colours, which photographs have and the first blocks see;
// descent from a scene keeps them. Some styles are scenes as they are.
//
// All that is random about a picture comes from a stream of its own, whose seed is
// made of the run's and the picture's number, and its loss reads no other picture.
// A batch is filled up by computing its last picture again. Each thread makes batches of
// its own from the first step to the last: so none waits for another within a step.
#include "calib/synthesize.h"

#include <pthread.h>
#include <stdio.h>

#include "calib/scene.h"
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

typedef struct run run;

// What one thread works with.
typedef struct worker {
  run *r;
  picture *picture;                   // a batch
  int64_t *row, *col;                 // where what is seen lies in a picture
  float *line;                        // a row of it
  vq_tensor in[VQ_OBJ_ARGS], out[2];  // of @main.grad
  vq_program *program;
  pthread_t thread;
  vq_fault fault;  // that ended it
  char why[256];
} worker;

struct run {
  const vq_synthesis *s;
  vq_pass_ctx *pc;
  int64_t batch, channels, height, width, count;  // count: of numbers a picture
  int64_t n_all;                                  // pictures, also those not descended
  const vq_wanted *wanted;
  int64_t n;
  worker *worker;
  unsigned n_worker, n_thread;  // threads of each one
  pthread_mutex_t lock;       // of what follows, and of what `s` calls
  int64_t next, done, total;  // pictures begun, steps done
  vq_status status;
};

vq_synthesis vq_synthesis_default(void) {
  vq_synthesis s = {.n_style = 1, .seed = 1, .steps = 250, .rate = 0.2};
  s.style[0] = (vq_style){.weight = {1, 0.05, 1}, .rate = 1, .rough = true};
  for (unsigned c = 0; c < 4; c++) s.lo[c] = -2.5f, s.hi[c] = 2.5f;
  return s;
}

static double uniform(vq_rng *r) { return (double)(vq_rng_next(r) >> 11) * 0x1p-53; }

static int64_t below(vq_rng *r, int64_t n) {
  return (int64_t)(vq_rng_next(r) % (uint64_t)n);
}

// ---- a step ------------------------------------------------------------------------

static int64_t wrap(int64_t i, int64_t n) { return (i % n + n) % n; }

// Which pixels of the picture are seen, in which order.
static void find_pixels(const worker *l, const picture *p) {
  const run *r = l->r;
  for (int64_t i = 0; i < r->height; i++)
    l->row[i] = wrap(i - p->roll, r->height) * r->width;
  for (int64_t j = 0; j < r->width; j++) {
    int64_t seen = p->mirror ? r->width - 1 - j : j;
    l->col[j] = wrap(seen - p->roll, r->width);
  }
}

static void show(const worker *l, const picture *p, float *to) {
  const run *r = l->r;
  for (int64_t c = 0; c < r->channels; c++)
    for (int64_t i = 0; i < r->height; i++) {
      const float *from = p->x + c * r->height * r->width + l->row[i];
      for (int64_t j = 0; j < r->width; j++) *to++ = from[l->col[j]];
    }
}

// What one step of Adam needs: `rate` includes the correction of the first moment's start,
// `fill` is that of the second's.
typedef struct adam {
  float rate, fill, lo, hi;
} adam;

// `n` pixels by their gradient `g`; floats and no branches, for vectors.
static void move_row(float *restrict x, float *restrict m, float *restrict v,
                     const float *restrict g, int64_t n, adam a) {
  const float b1 = (float)beta1, b2 = (float)beta2, least = (float)tiny;
  for (int64_t i = 0; i < n; i++) {
    m[i] = b1 * m[i] + (1 - b1) * g[i];
    v[i] = b2 * v[i] + (1 - b2) * (g[i] * g[i]);
    float to = x[i] - a.rate * m[i] / (sqrtf(v[i] * a.fill) + least);
    to = to > a.lo ? to : a.lo;
    x[i] = to < a.hi ? to : a.hi;
  }
}

// Moves the picture by the gradient `d` of what was shown.
static void move(const worker *l, picture *p, const float *d, double rate, double fill) {
  const run *r = l->r;
  for (int64_t c = 0; c < r->channels; c++) {
    adam a = {(float)rate, (float)(1 / fill), r->s->lo[c], r->s->hi[c]};
    for (int64_t i = 0; i < r->height; i++, d += r->width) {
      int64_t at = c * r->height * r->width + l->row[i];
      for (int64_t j = 0; j < r->width; j++) l->line[l->col[j]] = d[j];
      move_row(p->x + at, p->m + at, p->v + at, l->line, r->width, a);
    }
  }
}

static double rate_at(const vq_synthesis *s, int64_t step, int64_t phase) {
  int64_t warm = phase / 5, at = step % phase;
  if (at < warm) return s->rate * (double)(at + 1) / (double)warm;
  return s->rate / 2 * (1 + vq_cos(M_PI * (double)(at - warm) / (double)(phase - warm)));
}

static float *numbers_of(const worker *l, unsigned arg, int64_t b) {
  const vq_type *t = l->in[arg].type;
  return (float *)l->in[arg].data + b * (vq_type_count(t) / t->dim[0]);
}

// How the picture is shown at a step. Colours change as MimiQ's do: by a factor
// from 1/e to e and a shift in front of it.
static void draw(const worker *l, int64_t b, bool second) {
  const run *r = l->r;
  picture *p = &l->picture[b];
  float *gain = numbers_of(l, VQ_OBJ_GAIN, b), *shift = numbers_of(l, VQ_OBJ_SHIFT, b);
  int64_t most = r->width * (second ? 30 : 15) / 224;
  p->roll = below(&p->rng, 2 * most + 1) - most;
  p->mirror = vq_rng_next(&p->rng) >> 63;
  for (int64_t c = 0; c < r->channels && p->style->colors; c++) {
    gain[c] = (float)vq_exp(2 * uniform(&p->rng) - 1);
    shift[c] = (float)(2 * uniform(&p->rng) - 1) * gain[c];
  }
}

// Shows the pictures, each as drawn for it.
static void show_all(const worker *l, bool second) {
  for (int64_t b = 0; b < l->r->batch; b++) {
    draw(l, b, second);
    find_pixels(l, &l->picture[b]);
    show(l, &l->picture[b], numbers_of(l, VQ_OBJ_IMAGE, b));
  }
}

static vq_status step(worker *l, int64_t at, double fill[2], double *loss) {
  const run *r = l->r;
  const vq_synthesis *s = r->s;
  int64_t phase = (s->steps + 1) / 2;
  show_all(l, at >= phase);
  if (r->pc->exec->ops->run(l->program, l->in, l->out, r->n_thread, r->pc->diag))
    return VQ_ERR;
  fill[0] *= beta1;
  fill[1] *= beta2;
  double rate = rate_at(s, at, phase) / (1 - fill[0]);
  *loss = 0;
  for (int64_t b = 0; b < r->batch; b++) {
    find_pixels(l, &l->picture[b]);
    move(l, &l->picture[b], (const float *)l->out[1].data + b * r->count,
         rate * l->picture[b].style->rate, 1 - fill[1]);
    *loss += (double)((const float *)l->out[0].data)[b] / (double)r->batch;
  }
  return VQ_OK;
}

// ---- a batch -----------------------------------------------------------------------

static const vq_style *style_of(const vq_synthesis *s, int64_t number) {
  return &s->style[number % s->n_style];
}

// The picture's own stream of random numbers, in which the scene comes first.
static vq_rng stream(const vq_synthesis *s, int64_t number) {
  vq_rng r = {s->seed * UINT64_C(0x9e3779b97f4a7c15)};
  r.state = vq_rng_next(&r) ^ (uint64_t)number;
  return r;
}

static void paint(const run *r, vq_rng *rng, float *x) {
  vq_canvas canvas = {r->channels, r->height, r->width, r->s->lo, r->s->hi};
  vq_scene_paint(&canvas, rng, x);
}

static void start(const worker *l, int64_t b, int64_t number) {
  const run *r = l->r;
  picture *p = &l->picture[b];
  int64_t classes = l->in[VQ_OBJ_WANTED].type->dim[1];
  float *wanted = numbers_of(l, VQ_OBJ_WANTED, b);
  p->rng = stream(r->s, number);
  p->style = style_of(r->s, number);
  if (p->style->scene) paint(r, &p->rng, p->x);
  memset(wanted, 0, (size_t)classes * sizeof *wanted);
  wanted[below(&p->rng, classes)] = 1;
  double scale = sqrt((double)r->count / (3 * 224 * 224) / BATCH);
  double rough = least_rough + uniform(&p->rng) * (most_rough - least_rough);
  *numbers_of(l, VQ_OBJ_ROUGHNESS, b) = p->style->rough ? (float)(rough * scale) : 0;
  float *weight = numbers_of(l, VQ_OBJ_WEIGHT, b);
  for (unsigned k = 0; k < VQ_N_LOSS; k++) weight[k] = (float)p->style->weight[k];
  weight[VQ_LOSS_VARIATION] *= sqrtf(BATCH);
  for (int64_t c = 0; c < r->channels; c++) {
    numbers_of(l, VQ_OBJ_GAIN, b)[c] = 1;
    numbers_of(l, VQ_OBJ_SHIFT, b)[c] = 0;
  }
  for (int64_t i = 0; i < r->count && !p->style->scene; i++)
    p->x[i] = (float)vq_rng_normal(&p->rng);
  memset(p->m, 0, (size_t)r->count * sizeof *p->m);
  memset(p->v, 0, (size_t)r->count * sizeof *p->v);
}

// Counts a step, and says whether to go on.
static vq_status report(run *r, double loss) {
  const vq_synthesis *s = r->s;
  pthread_mutex_lock(&r->lock);
  if (!r->status && s->progress)
    r->status = s->progress(s->user, r->done, r->total, loss);
  r->done++;
  vq_status status = r->status;
  pthread_mutex_unlock(&r->lock);
  return status;
}

static vq_status finish(run *r, const picture *p, const vq_wanted *to) {
  const vq_synthesis *s = r->s;
  memcpy(to->x, p->x, (size_t)r->count * sizeof(float));
  pthread_mutex_lock(&r->lock);
  if (!r->status && s->finished) r->status = s->finished(s->user, to->number, to->x);
  vq_status status = r->status;
  pthread_mutex_unlock(&r->lock);
  return status;
}

// The first `n` pictures that are wanted, at most a batch.
static vq_status make_batch(worker *l, const vq_wanted *wanted, int64_t n) {
  run *r = l->r;
  double fill[2] = {1, 1}, loss = 0;
  if (n > r->batch) n = r->batch;
  for (int64_t b = 0; b < r->batch; b++) start(l, b, wanted[b < n ? b : n - 1].number);
  for (int64_t i = 0; i < r->s->steps; i++)
    if (report(r, loss) || step(l, i, fill, &loss)) return VQ_ERR;
  for (int64_t b = 0; b < n; b++)
    if (finish(r, &l->picture[b], &wanted[b])) return VQ_ERR;
  return VQ_OK;
}

// ---- threads -----------------------------------------------------------------------

static vq_status ask(const vq_synthesis *s, int64_t number, bool *wanted) {
  *wanted = true;
  return s->wants ? s->wants(s->user, number, wanted) : VQ_OK;
}

// The next batch to make, or r->n. What was begun is finished.
static int64_t take(run *r) {
  const vq_synthesis *s = r->s;
  bool wanted = true;
  pthread_mutex_lock(&r->lock);
  int64_t i = r->next;
  if (r->status || (i > 0 && i < r->n && s->enough && s->enough(s->user))) i = r->n;
  if (i < r->n && ask(s, r->wanted[i].number, &wanted)) r->status = VQ_ERR;
  if (r->status || !wanted) i = r->n;
  if (i < r->n) r->next = i + r->batch < r->n ? i + r->batch : r->n;
  pthread_mutex_unlock(&r->lock);
  return i;
}

static void make_batches(void *user) {
  worker *l = user;
  run *r = l->r;
  for (int64_t i; (i = take(r)) < r->n;) {
    if (!make_batch(l, r->wanted + i, r->n - i)) continue;
    pthread_mutex_lock(&r->lock);
    r->status = VQ_ERR;
    pthread_mutex_unlock(&r->lock);
  }
}

static void keep_fault(void *user, vq_fault kind, const char *text) {
  worker *l = user;
  l->fault = kind;
  snprintf(l->why, sizeof l->why, "%s", text);
}

// A fault on a thread ends all of them and goes on where they are waited for.
static void *work(void *user) {
  worker *l = user;
  if (vq_guarded(make_batches, l, keep_fault)) return NULL;
  pthread_mutex_unlock(&l->r->lock);  // an error, and no harm, unless it was held
  pthread_mutex_lock(&l->r->lock);
  l->r->status = VQ_ERR;
  pthread_mutex_unlock(&l->r->lock);
  return NULL;
}

// A thread that cannot be had is done without.
static void work_on_all(run *r) {
  unsigned n = 1;
  while (n < r->n_worker &&
         pthread_create(&r->worker[n].thread, NULL, work, &r->worker[n]) == 0)
    n++;
  work(&r->worker[0]);
  while (n > 1) pthread_join(r->worker[--n].thread, NULL);
  for (unsigned i = 0; i < r->n_worker; i++)
    if (r->worker[i].fault) vq_fault_raise(r->worker[i].fault, r->worker[i].why);
}

static void init_lock(run *r) {
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
  pthread_mutex_init(&r->lock, &attr);
  pthread_mutexattr_destroy(&attr);
}

static float *numbers(run *r, int64_t n) {
  return vq_arena_alloc(r->pc->temp, (size_t)n * sizeof(float), 64);
}

static void make_buffers(run *r, worker *l, const vq_func *grad) {
  vq_arena *a = r->pc->temp;
  for (unsigned i = 0; i < VQ_OBJ_ARGS; i++)
    l->in[i] = (vq_tensor){grad->arg[i].type,
                           numbers(r, vq_type_count(grad->arg[i].type))};
  for (unsigned i = 0; i < 2; i++)
    l->out[i] = (vq_tensor){grad->result[i], numbers(r, vq_type_count(grad->result[i]))};
  l->row = VQ_NEW_N(a, int64_t, (size_t)r->height);
  l->col = VQ_NEW_N(a, int64_t, (size_t)r->width);
  l->line = numbers(r, r->width);
  l->picture = VQ_NEW_N(a, picture, (size_t)r->batch);
  for (int64_t b = 0; b < r->batch; b++) {
    picture *p = &l->picture[b];
    p->x = numbers(r, r->count), p->m = numbers(r, r->count), p->v = numbers(r, r->count);
    *numbers_of(l, VQ_OBJ_SEED, b) = 1;  // the loss itself is what is minimised
  }
}

// How many workers the limit on memory allows; less than one fails.
static vq_status fit_memory(const run *r, const vq_program *program, const vq_func *grad,
                            unsigned *most) {
  const vq_exec *e = r->pc->exec;
  uint64_t shared = 0, each = 0, bytes = (uint64_t)r->count * sizeof(float);
  if (!e->memory_limit || !e->ops->memory) return VQ_OK;
  e->ops->memory(program, &shared, &each);
  shared += (uint64_t)r->n_all * bytes + r->s->bytes;
  each += 3 * (uint64_t)r->batch * bytes;
  for (unsigned i = 0; i < grad->n_arg; i++) each += (uint64_t)vq_type_bytes(grad->arg[i].type);
  for (unsigned i = 0; i < 2; i++) each += (uint64_t)vq_type_bytes(grad->result[i]);
  if (shared + each > e->memory_limit)
    return vq_error(r->pc->diag, VQ_E_limit, (vq_loc){0},
                    "making %lld of %lld pictures at a time takes %.1f MB, the limit is "
                    "%.1f MB", (long long)r->batch, (long long)r->n,
                    (double)(shared + each) / 1e6, (double)e->memory_limit / 1e6);
  uint64_t fit = (e->memory_limit - shared) / each;
  if (*most > fit) *most = (unsigned)fit;
  return VQ_OK;
}

// As many workers as there are threads and batches for them, the first with `program`. What
// threads are left over share the work of a worker.
static vq_status open_workers(run *r, vq_program *program, const vq_func *grad) {
  const vq_exec_ops *ops = r->pc->exec->ops;
  unsigned n_thread = r->pc->exec->n_thread ? r->pc->exec->n_thread : 1;
  int64_t batches = (r->n + r->batch - 1) / r->batch;
  unsigned most = ops->share ? n_thread : 1;
  if (most > batches) most = (unsigned)batches;
  if (fit_memory(r, program, grad, &most)) return VQ_ERR;
  r->n_thread = n_thread / most;
  r->worker = VQ_NEW_N(r->pc->temp, worker, most);
  while (r->n_worker < most) {
    worker *l = &r->worker[r->n_worker];
    *l = (worker){.r = r, .program = program};
    if (r->n_worker && ops->share(program, r->n_thread, r->pc->diag, &l->program))
      return VQ_ERR;
    make_buffers(r, l, grad);
    r->n_worker++;
  }
  return VQ_OK;
}

static vq_status make_all(run *r, const vq_func *grad) {
  vq_exec *e = r->pc->exec;
  vq_program *program;
  if (e->ops->prepare(e, grad->module, VQ_LIT("main.grad"), r->pc->diag, &program))
    return VQ_ERR;
  r->total = (r->n + r->batch - 1) / r->batch * r->s->steps;
  r->status = open_workers(r, program, grad);
  init_lock(r);
  if (!r->status) work_on_all(r);
  pthread_mutex_destroy(&r->lock);
  while (r->n_worker > 1) e->ops->release(r->worker[--r->n_worker].program);
  e->ops->release(program);
  return r->status;
}

// ---- all pictures ------------------------------------------------------------------

// Paints those that are not descended; the others are listed in `moving`. *n: how many
// are wanted of both.
static vq_status paint_stills(const run *r, const vq_wanted *wanted, int64_t *n,
                              vq_wanted *moving, int64_t *n_moving) {
  const vq_synthesis *s = r->s;
  bool yes;
  *n_moving = 0;
  for (int64_t i = 0; i < *n; i++) {
    if (!style_of(s, wanted[i].number)->still) {
      moving[(*n_moving)++] = wanted[i];
      continue;
    }
    if (ask(s, wanted[i].number, &yes)) return VQ_ERR;
    if (!yes) {
      *n = i;
      break;
    }
    vq_rng rng = stream(s, wanted[i].number);
    if (s->progress && s->progress(s->user, i, *n, 0)) return VQ_ERR;
    paint(r, &rng, wanted[i].x);
    if (s->finished && s->finished(s->user, wanted[i].number, wanted[i].x)) return VQ_ERR;
  }
  return VQ_OK;
}

static vq_status descend(run *r, vq_module *m) {
  const vq_synthesis *s = r->s;
  vq_objective o = {.kde = s->kde};
  for (unsigned i = 0; i < s->n_style; i++) {
    o.entropy |= s->style[i].weight[VQ_LOSS_ENTROPY] != 0;
    o.heads |= s->style[i].weight[VQ_LOSS_HEADS] != 0;
  }
  if (vq_objective_build(m, &o, r->pc) ||
      (r->pc->exec->bf16 && vq_pass_autocast(m, r->pc)))
    return VQ_ERR;
  return make_all(r, vq_module_func(m, VQ_LIT("main.grad")));
}

vq_status vq_synthesize(vq_module *m, const vq_synthesis *s, const vq_wanted *wanted,
                        int64_t n, int64_t *n_made, vq_pass_ctx *pc) {
  run r = {.s = s, .pc = pc, .n_all = n};
  const vq_type *image = vq_objective_image(m, pc->diag);
  if (!image) return VQ_ERR;
  const int64_t *x = image->dim;
  r.batch = x[0], r.channels = x[1], r.height = x[2], r.width = x[3];
  r.count = x[1] * x[2] * x[3];
  if (r.channels > (int64_t)VQ_COUNT(s->lo))
    return vq_error(pc->diag, VQ_E_unsupported, (vq_loc){0},
                    "pictures of %lld channels cannot be made, expected at most %d",
                    (long long)r.channels, (int)VQ_COUNT(s->lo));
  vq_wanted *moving = VQ_NEW_N(pc->temp, vq_wanted, (size_t)n);
  r.wanted = moving;
  if (paint_stills(&r, wanted, &n, moving, &r.n)) return VQ_ERR;
  if (r.n && descend(&r, m)) return VQ_ERR;
  *n_made = n;
  for (int64_t i = 0; i < n && r.next < r.n; i++)
    if (wanted[i].number == moving[r.next].number) *n_made = i, r.next = r.n;
  return VQ_OK;
}
