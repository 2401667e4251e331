// Pictures out of a small model: each depends on its number alone, and the loss falls.
#include "calib/synthesize.h"

#include <pthread.h>
#include <unistd.h>

#include "compiled.h"
#include "small_vit.h"
#include "vq/bf16_probe.h"
#include "vq/image.h"
#include "vq/pixels.h"

enum { COUNT = 3 * 16 * 16, STEPS = 20 };

static double seen[4 * STEPS];

static vq_status note_loss(void *user, int64_t done, int64_t total, double loss) {
  (void)user;
  ck_assert_int_le(total, (int64_t)VQ_COUNT(seen));
  seen[done] = loss;
  return VQ_OK;
}

static vq_status lower_all(void *user, vq_module *m, vq_str name, vq_diag *dg) {
  ck_assert(vq_str_is(name, user ? user : "main.grad"));
  vq_pipeline *p;
  if (vq_pipeline_parse(ctx, VQ_LIT("fold,cse,dce,rows,pack,fuse,outline,dce,plan-memory"),
                        dg, &p))
    return VQ_ERR;
  vq_status st = vq_pipeline_run(p, m, dg, NULL, NULL, NULL);
  vq_pipeline_destroy(p);
  return st;
}

static vq_synthesis settings(bool kde) {
  vq_synthesis s = vq_synthesis_default();
  s.steps = STEPS;
  s.progress = note_loss;
  s.kde = kde;
  return s;
}

// In the place of a CPU: the interpreter with products of bf16.
static const char interpreted_bf16[] = "bf16";

static vq_exec *exec_of(const char *cpu) {
  if (cpu && cpu != interpreted_bf16) return vq_exec_jit(lower_all, NULL, cpu);
  vq_exec *e = vq_exec_interpreter();
  e->bf16 = cpu != NULL;
  return e;
}

// Pictures first .. first + n - 1, in batches, by `cpu` (NULL: the interpreter) on
// `n_thread` threads.
static float *make_on(const vq_synthesis *s, int batch, int64_t first, int64_t n,
                      const char *cpu, unsigned n_thread) {
  vq_arena scratch = {0};
  vq_exec *e = exec_of(cpu);
  e->n_thread = n_thread;
  vq_pass_ctx pc = {.ctx = ctx, .diag = &diag, .temp = &scratch, .exec = e};
  vq_module *m = small_vit(batch);
  float *out = calloc((size_t)(n * COUNT), sizeof *out);
  vq_wanted wanted[4];
  ck_assert_int_le(n, 4);
  for (int64_t i = 0; i < n; i++) wanted[i] = (vq_wanted){first + i, out + i * COUNT};
  int64_t n_made;
  OK(vq_synthesize(m, s, wanted, n, &n_made, &pc));
  ck_assert_int_eq(n_made, n);
  vq_module_destroy(m);
  e->ops->destroy(e);
  vq_arena_release(&scratch);
  return out;
}

static float *make(const vq_synthesis *s, int batch, int64_t first, int64_t n, bool jit) {
  return make_on(s, batch, first, n, jit ? "native" : NULL, 1);
}

static void expect_independent(bool jit) {
  vq_synthesis s = settings(false);
  s.n_style = 3;
  s.style[1] = (vq_style){.weight = {1, 0.01, 0.5}, .rate = 2, .scene = true, .colors = true};
  s.style[2] = (vq_style){.scene = true, .still = true};
  float *alone = make(&s, 1, 3, 3, jit), *together = make(&s, 2, 3, 3, jit);
  float *later = make(&s, 2, 4, 1, jit);
  ck_assert_mem_eq(alone, together, 3 * COUNT * sizeof *alone);
  ck_assert_mem_eq(alone + COUNT, later, COUNT * sizeof *alone);
  ck_assert(memcmp(alone, alone + COUNT, COUNT * sizeof *alone) != 0);
  free(alone);
  free(together);
  free(later);
}

START_TEST(pictures_are_independent) { expect_independent(false); }
END_TEST

START_TEST(pictures_are_independent_compiled) { expect_independent(true); }
END_TEST

// On each level that runs here, by any number of threads and in any batch.
START_TEST(pictures_are_those_of_a_level) {
  static const char *const level[] = {"x86-64", "x86-64-v3", "avx512vnni", "amx-bf16",
                                      "avx512bf16", "bf16-soft"};
  static const struct {
    int batch;
    unsigned n_thread;
  } way[] = {{1, 1}, {1, 2}, {2, 2}, {4, 1}, {1, 5}};
  vq_synthesis s = settings(false);
  for (size_t i = 0; i < VQ_COUNT(level); i++) {
    if (!vq_target_runs_here(vq_target_of_floats(level[i])->requires)) {
      printf("%s: SKIPPED, this CPU cannot run it\n", level[i]);
      continue;
    }
    float *one = NULL;
    for (size_t k = 0; k < VQ_COUNT(way); k++) {
      float *x = make_on(&s, way[k].batch, 0, 4, level[i], way[k].n_thread);
      if (one) {
        ck_assert_mem_eq(one, x, 4 * COUNT * sizeof *x);
        free(x);
      } else {
        one = x;
      }
    }
    free(one);
  }
}
END_TEST

// What a picture of `cpu` has lost after STEPS steps; *first: at the first one.
static double final_loss(const char *cpu, double *first, float *x) {
  vq_synthesis s = settings(false);
  s.style[0].weight[VQ_LOSS_VARIATION] = 1;
  float *made = make_on(&s, 2, 0, 2, cpu, 1);
  memcpy(x, made, 2 * COUNT * sizeof *x);
  free(made);
  *first = seen[1];
  return seen[STEPS - 1];
}

// Products of bf16 change pictures, and what they reach by little; compiled ones do as the
// interpreter's.
START_TEST(bf16_descends_as_far) {
  static float plain[2 * COUNT], narrow[2 * COUNT];
  static const char *const cpu[] = {interpreted_bf16, "bf16-soft", "avx512bf16", "amx-bf16"};
  double first, start, loss = final_loss(NULL, &start, plain);
  for (size_t i = 0; i < VQ_COUNT(cpu); i++) {
    if (i && !vq_target_runs_here(vq_target_of_floats(cpu[i])->requires)) {
      printf("%s: SKIPPED, this CPU cannot run it\n", cpu[i]);
      continue;
    }
    double got = final_loss(cpu[i], &first, narrow);
    ck_assert(memcmp(plain, narrow, sizeof plain) != 0);
    ck_assert_msg(fabs(first - start) < 0.01 * fabs(start), "%s: %g, expected %g", cpu[i],
                  first, start);
    ck_assert_msg(fabs(got - loss) < 0.05 * fabs(start - loss), "%s: %g, expected %g", cpu[i],
                  got, loss);
  }
}
END_TEST

// The largest product of a model, by two rows that run nearly anywhere, unless it is small.
START_TEST(bf16_is_tried) {
  const vq_bf16_gain right = {.speed = 2, .error = 0.004}, slow = {.speed = 1.1, .error = 0.004},
                     wrong = {.speed = 3, .error = 0.3}, none = {.speed = 0};
  ck_assert(vq_bf16_is_gain(&right) && !vq_bf16_is_gain(&slow));
  ck_assert(!vq_bf16_is_gain(&wrong) && !vq_bf16_is_gain(&none));
  if (!vq_target_runs_here(vq_target_of_floats("bf16-soft")->requires)) {
    printf("bf16-soft: SKIPPED, this CPU cannot run it\n");
    return;
  }
  vq_exec *e[] = {vq_exec_jit(lower_all, "main", "x86-64-v3"),
                  vq_exec_jit(lower_all, "main", "bf16-soft")};
  ck_assert(!e[0]->bf16 && e[1]->bf16);
  vq_module *m[] = {small_vit(2), parse("vq 1\n"
      "const @w : tensor<80x300, f32> = random<seed = 1, std = 1>\n"
      "func @main(%x: tensor<2x50x300, f32>) -> (y: tensor<2x50x80, f32>) {\n"
      "  %y = linear %x, @w : tensor<2x50x80, f32>\n  return %y\n}\n")};
  vq_bf16_gain gain[2];
  for (int i = 0; i < 2; i++) OK(vq_bf16_probe(m[i], e[0], e[1], &diag, &gain[i]));
  ck_assert(gain[0].m == 32 && gain[0].n == 8 && gain[0].k == 48 && gain[0].speed == 0);
  ck_assert(gain[1].m == 100 && gain[1].n == 80 && gain[1].k == 300);
  ck_assert(gain[1].speed > 0 && gain[1].error > 1e-5 && gain[1].error < 0.02);
  for (int i = 0; i < 2; i++) vq_module_destroy(m[i]);
  for (int i = 0; i < 2; i++) e[i]->ops->destroy(e[i]);
}
END_TEST

// Both forms of the entropy, and heads; pixels stay in their range.
START_TEST(loss_falls) {
  for (int kind = 0; kind < 3; kind++) {
    vq_synthesis s = settings(kind == 1);
    if (kind == 2) s.style[0].weight[VQ_LOSS_ENTROPY] = 0, s.style[0].weight[VQ_LOSS_HEADS] = 1;
    s.style[0].weight[VQ_LOSS_VARIATION] = 1;
    for (unsigned c = 0; c < 3; c++) s.lo[c] = -1.0f, s.hi[c] = 1.5f;
    float *x = make(&s, 2, 0, 2, true);
    ck_assert_msg(seen[STEPS - 1] < 0.7 * seen[1], "%g after %g", seen[STEPS - 1], seen[1]);
    for (int i = 0; i < 2 * COUNT; i++) ck_assert(x[i] >= -1.0f && x[i] <= 1.5f);
    free(x);
  }
}
END_TEST

// How much neighbours in rows of 16 pixels differ, as a share of pixels 8 apart.
static double roughness(const float *x, int n) {
  double near = 0, far = 0;
  for (int i = 0; i < n; i++) {
    near += i % 16 ? fabs((double)(x[i] - x[i - 1])) / 15 : 0;
    far += i % 16 >= 8 ? fabs((double)(x[i] - x[i - 8])) / 8 : 0;
  }
  return near / far;
}

// A scene has surfaces, the noise that descent may start from has none. Nothing runs the
// model for a scene that stays as it is.
START_TEST(scenes_have_surfaces) {
  vq_synthesis s = settings(false);
  s.steps = 1;
  s.style[0].rate = 0;
  float *noise = make(&s, 1, 0, 4, false);
  s.style[0] = (vq_style){.scene = true, .still = true};
  float *x = make(&s, 1, 0, 4, false), lo = x[0], hi = x[0];
  for (int i = 0; i < 4 * COUNT; i++) {
    lo = x[i] < lo ? x[i] : lo;
    hi = x[i] > hi ? x[i] : hi;
  }
  ck_assert(lo >= s.lo[0] && hi <= s.hi[0] && hi - lo > 2);
  double rough = roughness(x, 4 * COUNT), as_noise = roughness(noise, 4 * COUNT);
  ck_assert_msg(rough < 0.8 && as_noise > 0.9, "%g and %g", rough, as_noise);
  ck_assert_double_eq(seen[0], 0);  // what progress was told: no loss
  free(x);
  free(noise);
}
END_TEST

START_TEST(other_seeds_give_others) {
  vq_synthesis s = settings(false);
  s.steps = 2;
  float *a = make(&s, 1, 0, 1, false), *again = make(&s, 1, 0, 1, false);
  s.seed = 2;
  float *b = make(&s, 1, 0, 1, false);
  ck_assert_mem_eq(a, again, COUNT * sizeof *a);
  ck_assert(memcmp(a, b, COUNT * sizeof *a) != 0);
  free(a);
  free(again);
  free(b);
}
END_TEST

// The pass leaves its pictures with the executor, where the next passes find them;
// its own preprocessing bounds the pixels, and it does not touch the model.
START_TEST(pass_keeps_pictures) {
  vq_arena scratch = {0};
  vq_exec *e = vq_exec_interpreter();
  vq_module *m = small_vit(2);
  vq_strbuf before = {0}, after = {0};
  vq_meta_set(m, "preprocess.scale", VQ_LIT("0.5"));
  vq_meta_set(m, "preprocess.mean", VQ_LIT("64"));
  vq_meta_set(m, "preprocess.std", VQ_LIT("100,200,400"));
  OK(vq_print(&before, m, 0, NULL));
  vq_pipeline *p;
  OK(vq_pipeline_parse(ctx, VQ_LIT("synthesize{count=3 steps=2 rate=9 seed=5 styles=one}"),
                       &diag, &p));
  OK(vq_pipeline_run(p, m, &diag, NULL, e, NULL));
  OK(vq_print(&after, m, 0, NULL));
  ck_assert_str_eq(vq_strbuf_z(&before), vq_strbuf_z(&after));
  const vq_samples *s = e->samples;
  ck_assert_ptr_nonnull(s);
  ck_assert_int_eq(s->n, 3);
  float x[COUNT], lo[3], hi[3];
  for (int i = 0; i < 3; i++) {
    OK(s->load(s->user, i, x, &diag));
    for (int k = 0; k < COUNT; k++) {
      int c = k / (COUNT / 3);
      lo[c] = k % (COUNT / 3) == 0 || x[k] < lo[c] ? x[k] : lo[c];
      hi[c] = k % (COUNT / 3) == 0 || x[k] > hi[c] ? x[k] : hi[c];
    }
    for (int c = 0; c < 3; c++) {  // steps as large as this reach both ends
      ck_assert_float_eq_tol(lo[c], -64.0f / (float)(100 << c), 1e-6f);
      ck_assert_float_eq_tol(hi[c], (127.5f - 64.0f) / (float)(100 << c), 1e-6f);
    }
  }
  vq_pipeline_destroy(p);
  vq_strbuf_release(&before);
  vq_strbuf_release(&after);
  vq_module_destroy(m);
  e->ops->destroy(e);
  vq_arena_release(&scratch);
}
END_TEST

// ---- faults on threads --------------------------------------------------------------

// When which thread has a fault of its own, and what was heard of it.
typedef struct broken {
  bool when_finished, on_another;
  pthread_t main;
  unsigned n_thread, n_told;
  vq_fault kind;
  char text[256];
} broken;

static void break_down(const broken *b) {
  bool on_main = pthread_equal(pthread_self(), b->main);
  if (b->on_another != on_main) VQ_BUG("broken on purpose");
}

static vq_status breaks_in_step(void *user, int64_t done, int64_t total, double loss) {
  const broken *b = user;
  (void)total, (void)loss;
  if (!b->when_finished && done > 1) break_down(b);
  // Another thread is to get a picture to make.
  if (b->on_another && pthread_equal(pthread_self(), b->main)) usleep(2000);
  return VQ_OK;
}

static vq_status breaks_when_finished(void *user, int64_t number, float *x) {
  const broken *b = user;
  (void)number, (void)x;
  if (b->when_finished) break_down(b);
  return VQ_OK;
}

static void make_broken(void *user) {
  broken *b = user;
  vq_synthesis s = settings(false);
  s.user = b, s.progress = breaks_in_step, s.finished = breaks_when_finished;
  make_on(&s, 1, 0, 4, "native", b->n_thread);
}

static void hear(void *user, vq_fault kind, const char *text) {
  broken *b = user;
  b->n_told++;
  b->kind = kind;
  snprintf(b->text, sizeof b->text, "%s", text);
}

// It is told once, to the caller, with the lock held or not; all threads end. What they
// had is lost, as documented, so sanitizers do not look.
#ifndef __SANITIZE_ADDRESS__
#if defined __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__
#endif
#endif
#endif

START_TEST(faults_reach_the_caller) {
#ifdef __SANITIZE_ADDRESS__
  return;
#endif
  for (unsigned i = 0; i < 4; i++) {
    broken b = {.when_finished = i % 2, .on_another = i / 2, .main = pthread_self(),
                .n_thread = 1 + i / 2};
    ck_assert(!vq_guarded(make_broken, &b, hear));
    ck_assert_uint_eq(b.n_told, 1);
    ck_assert_int_eq(b.kind, VQ_FAULT_BUG);
    ck_assert_ptr_nonnull(strstr(b.text, "broken on purpose"));
  }
}
END_TEST

// ---- pictures that outlive a run ---------------------------------------------------

typedef struct album {
  bool there[8];
  float x[8][COUNT];
  int n_load, n_save, enough;
} album;

static vq_status album_load(void *user, int64_t i, float *out, bool *found, vq_diag *dg) {
  album *a = user;
  (void)dg;
  a->n_load++;
  *found = a->there[i];
  if (*found) memcpy(out, a->x[i], sizeof a->x[i]);
  return VQ_OK;
}

static vq_status album_save(void *user, int64_t i, const float *x, vq_diag *dg) {
  album *a = user;
  (void)dg;
  ck_assert(!a->there[i]);
  a->there[i] = true;
  memcpy(a->x[i], x, sizeof a->x[i]);
  a->n_save++;
  return VQ_OK;
}

static bool album_is_full(void *user) {
  const album *a = user;
  return a->enough && a->n_save >= a->enough;
}

// Runs passes with an album; the executor has the samples then.
static vq_exec *run_album(album *a, const char *text) {
  vq_samples asks = {.enough = album_is_full, .user = a};
  vq_sample_store store = {album_load, album_save, a};
  vq_exec *e = vq_exec_interpreter();
  e->samples = &asks;
  vq_module *m = small_vit(2);
  vq_pipeline *p;
  e->store = &store;
  OK(vq_pipeline_parse(ctx, vq_str_of(text), &diag, &p));
  OK(vq_pipeline_run(p, m, &diag, NULL, e, NULL));
  vq_pipeline_destroy(p);
  vq_module_destroy(m);
  return e;
}

// Every second picture, then all of them: those that are there are not made again, and
// together they are those of one run. Each consists of pixels.
START_TEST(finished_pictures_are_kept) {
  album part = {0}, whole = {0};
  vq_exec *e = run_album(&part, "synthesize{count=2 first=1 every=2 steps=2}");
  ck_assert_int_eq(part.n_save, 2);
  ck_assert(part.there[1] && part.there[3]);
  e->ops->destroy(e);
  e = run_album(&part, "synthesize{count=5 steps=2}");
  ck_assert_int_eq(part.n_save, 5);
  e->ops->destroy(e);
  e = run_album(&whole, "synthesize{count=5 steps=2}");
  ck_assert_mem_eq(part.x, whole.x, sizeof part.x);
  float x[COUNT];
  vq_pixel_range range[3];
  vq_module *m = small_vit(1);
  vq_pixel_ranges_assumed(m, 3, range);
  for (int i = 0; i < 5; i++) {
    OK(e->samples->load(e->samples->user, i, x, &diag));
    ck_assert_mem_eq(x, whole.x[i], sizeof x);
    for (int k = 0; k < COUNT; k++) {
      const vq_pixel_range *r = &range[k / (COUNT / 3)];
      ck_assert(x[k] == vq_pixel_value(r, vq_pixel_nearest(r, x[k])));
    }
  }
  vq_module_destroy(m);
  e->ops->destroy(e);
}
END_TEST

// Whoever has enough gets what a smaller number gives: no gap in it, although a later
// picture was there, and less to hold back where little is left.
START_TEST(enough_is_enough) {
  album few = {.enough = 3}, four = {0}, one = {.enough = 1}, mixed = {.enough = 5};
  vq_exec *e = run_album(&few, "synthesize{count=1 first=7 steps=1 styles=one}");
  e->ops->destroy(e);
  e = run_album(&few, "synthesize{count=8 held=2 steps=1 styles=one}");  // by 2
  ck_assert_int_eq(few.n_save, 3);
  ck_assert_int_eq(e->samples->n, 1);
  ck_assert_int_eq(e->held->n, 1);
  e->ops->destroy(e);
  e = run_album(&four, "synthesize{count=4 held=2 steps=1 styles=one}");
  ck_assert_int_eq(e->samples->n, 2);
  ck_assert_mem_eq(few.x, four.x, 2 * sizeof four.x[0]);
  e->ops->destroy(e);
  e = run_album(&one, "synthesize{count=1 held=1 steps=1}");
  ck_assert_int_eq(e->samples->n, 1);
  ck_assert_ptr_null(e->held);
  e->ops->destroy(e);
  e = run_album(&mixed, "synthesize{count=8 steps=1}");  // four scenes, then two of four
  ck_assert_int_eq(mixed.n_save, 6);
  ck_assert_int_eq(e->samples->n, 4);
  e->ops->destroy(e);
}
END_TEST

// A pixel becomes what it becomes in a picture of a folder, and back.
START_TEST(pixels_are_those_of_pictures) {
  vq_module *m = small_vit(1);
  vq_pixel_range r[3];
  vq_meta_set(m, "preprocess.scale", VQ_LIT("0.003921569"));
  vq_meta_set(m, "preprocess.mean", VQ_LIT("0.485,0.456,0.406"));
  vq_meta_set(m, "preprocess.std", VQ_LIT("0.229,0.224,0.225"));
  ck_assert(vq_pixel_ranges(m, 3, r));
  vq_image im = vq_image_alloc(16, 16, 3);
  for (int i = 0; i < COUNT; i++) im.px[i] = (uint8_t)(i / 3);
  vq_preproc pp = {.scale = 0.003921569f, .mean = {0.485f, 0.456f, 0.406f},
                   .std = {0.229f, 0.224f, 0.225f}};
  float x[COUNT];
  OK(vq_image_tensor(&im, &pp, 3, 16, 16, (vq_loc){0}, &diag, x));
  for (int k = 0; k < COUNT; k++) {
    const vq_pixel_range *c = &r[k / 256];
    ck_assert(vq_pixel_value(c, (uint8_t)(k % 256)) == x[k]);
    ck_assert_int_eq(vq_pixel_nearest(c, x[k]), k % 256);
  }
  vq_image_release(&im);
  vq_module_destroy(m);
}
END_TEST

// ---- pictures held back --------------------------------------------------------------

#define QUANTIZE "insert-quantizers{bits=%s},observe,round-weights,score-quant"

static vq_score score_of(const char *bits, double block[1]) {
  album a = {0};
  vq_strbuf text = {0};
  vq_strbuf_puts(&text, "synthesize{count=8 held=3 steps=2 class=0},");
  if (bits)
    vq_strbuf_printf(&text, QUANTIZE, bits);
  else
    vq_strbuf_puts(&text, "score-quant");
  vq_exec *e = run_album(&a, vq_strbuf_z(&text));
  vq_strbuf_release(&text);
  ck_assert_int_eq(e->samples->n, 5);
  vq_score s = e->held->score;
  ck_assert_int_eq(s.n, 3);
  ck_assert_uint_eq(s.n_block, 1);
  *block = s.block[0];
  s.block = NULL;
  e->ops->destroy(e);
  return s;
}

START_TEST(held_pictures_score) {
  double same, fine, coarse;
  vq_score s = score_of(NULL, &same);
  ck_assert_int_eq(s.agree, 3);
  ck_assert_double_eq_tol(s.cosine, 1, 1e-12);
  ck_assert_double_eq(same, 150);
  s = score_of("w8a8", &fine);
  ck_assert_msg(s.cosine > 0.95 && s.cosine < 1, "cosine %g, %g dB", s.cosine, fine);
  ck_assert_msg(fine > 12 && fine < 80, "%g dB", fine);
  s = score_of("w4a4", &coarse);
  ck_assert_msg(coarse < fine - 3, "%g dB after %g", coarse, fine);
}
END_TEST

static void refuse(const char *text, const char *message) {
  vq_exec *e = vq_exec_interpreter();
  vq_module *m = small_vit(1);
  vq_pipeline *p;
  vq_strbuf_clear(&messages);
  OK(vq_pipeline_parse(ctx, vq_str_of(text), &diag, &p));
  ck_assert_int_eq(vq_pipeline_run(p, m, &diag, NULL, e, NULL), VQ_ERR);
  ck_assert_msg(strstr(vq_strbuf_z(&messages), message), "%s", vq_strbuf_z(&messages));
  ck_assert_ptr_null(e->samples);
  vq_pipeline_destroy(p);
  vq_module_destroy(m);
  e->ops->destroy(e);
}

START_TEST(wrong_numbers_are_refused) {
  refuse("synthesize{count=0}", "0 pictures of 250 steps");
  refuse("synthesize{steps=-1}", "64 pictures of -1 steps");
  refuse("synthesize{held=-1}", "-1 held back");
  refuse("synthesize{every=0}", "0 apart");
  refuse("synthesize{settled=101}", "settle within 101 %");
  refuse("synthesize{settled=5 every=2}", "first is 0 and every 1");
}
END_TEST

START_TEST(other_models_are_refused) {
  vq_arena scratch = {0};
  vq_exec *e = vq_exec_interpreter();
  vq_pass_ctx pc = {.ctx = ctx, .diag = &diag, .temp = &scratch, .exec = e};
  vq_synthesis s = settings(false);
  int64_t n_made;
  vq_module *m = parse("vq 1\nmodule \"t\"\nfunc @main(%x: tensor<2x3, f32>) ->"
                       " (y: tensor<2x3, f32>) {\n  return %x\n}\n");
  ck_assert_int_eq(vq_synthesize(m, &s, &(vq_wanted){0, NULL}, 1, &n_made, &pc), VQ_ERR);
  ck_assert_ptr_nonnull(strstr(vq_strbuf_z(&messages), "not one picture of f32"));
  vq_module_destroy(m);
  e->ops->destroy(e);
  vq_arena_release(&scratch);
}
END_TEST

int main(void) {
  TCase *t = tcase_create("synthesize");
  tcase_add_test(t, pictures_are_independent);
  tcase_add_test(t, pictures_are_independent_compiled);
  tcase_add_test(t, pictures_are_those_of_a_level);
  tcase_add_test(t, bf16_descends_as_far);
  tcase_add_test(t, bf16_is_tried);
  tcase_add_test(t, loss_falls);
  tcase_add_test(t, scenes_have_surfaces);
  tcase_add_test(t, other_seeds_give_others);
  tcase_add_test(t, pass_keeps_pictures);
  tcase_add_test(t, faults_reach_the_caller);
  tcase_add_test(t, finished_pictures_are_kept);
  tcase_add_test(t, enough_is_enough);
  tcase_add_test(t, pixels_are_those_of_pictures);
  tcase_add_test(t, held_pictures_score);
  tcase_add_test(t, wrong_numbers_are_refused);
  tcase_add_test(t, other_models_are_refused);
  return run_tests(t, "synthesis");
}
