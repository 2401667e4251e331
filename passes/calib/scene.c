// Random scenes: textured shapes of random sizes that cover each other.
//
// Ranges and Gram matrices of a vision model's activations depend on edges, surfaces and
// textures more than on what a picture shows. Dead leaves (Lee, Mumford, Huang, IJCV
// 2001) share the statistics of edges with photographs, and noise whose power falls with
// frequency those of textures; Baradad et al., NeurIPS 2021, find that models learn to see
// from such pictures about as well as from worse photographs. So a scene is
//
//   shapes     discs, boxes and rhombi, stretched and turned, with sharp or soft edges,
//              of radii r with a density of r^-3: as many at every distance
//   materials  a few a scene, which shapes share: a colour, shading that grows across
//              the picture, octaves of value noise, drawn out in one direction, of
//              amplitudes from those of clouds to those of sand, sometimes stripes
//   light      blur of some scenes, brightness and contrast as photographs have
//
// Shapes are painted from the front to the back: a pixel keeps how much of it is still
// open, and few pixels are ever computed twice.
#include "calib/scene.h"

enum { MATERIALS = 6, MOST_CHANNELS = 4, MOST_OCTAVES = 10 };

typedef struct material {
  double color[MOST_CHANNELS];
  double down[MOST_CHANNELS], right[MOST_CHANNELS];  // shading per pixel
  double grain[MOST_CHANNELS];                       // of the noise
  double octave[MOST_OCTAVES];                       // its amplitudes, coarse to fine
  double turn_y, turn_x, stretch;                    // which way it is drawn out
  uint64_t seed;
  double stripe, stripe_y, stripe_x;                 // strength; direction over period
} material;

typedef struct shape {
  double y, x, cosine, sine, tall, wide, soft;
  int power;  // 1: rhombus, 2: ellipse, 8: box
  const material *of;
  double offset[MOST_CHANNELS];
} shape;

typedef struct scene {
  const vq_canvas *to;
  vq_rng *rng;
  material m[MATERIALS];
  double *y, *open;  // colours so far, how much of each pixel is not covered yet
  int n_octave;
} scene;

static double uniform(vq_rng *r, double lo, double hi) {
  return lo + (hi - lo) * ((double)(vq_rng_next(r) >> 11) * 0x1p-53);
}

static bool chance(vq_rng *r, double p) { return uniform(r, 0, 1) < p; }

// From lo to hi with as many in each octave.
static double uniform_octaves(vq_rng *r, double lo, double hi) {
  double x = lo;
  while (2 * x < hi && chance(r, 0.75)) x *= 2;
  x *= uniform(r, 1, 2);
  return x < hi ? x : hi;
}

static void direction(vq_rng *r, double *y, double *x) {
  double n;
  do {
    *y = uniform(r, -1, 1), *x = uniform(r, -1, 1);
    n = *y * *y + *x * *x;
  } while (n > 1 || n < 0.01);
  n = sqrt(n);
  *y /= n, *x /= n;
}

// A brightness, and in each channel some more or less.
static void draw_color(const scene *s, double *color) {
  double bright = uniform(s->rng, 0, 1), tint = uniform(s->rng, 0, 0.6);
  for (int64_t c = 0; c < s->to->channels; c++)
    color[c] = bright + tint * uniform(s->rng, -0.5, 0.5);
}

// ---- materials -----------------------------------------------------------------------

static void draw_material(scene *s, material *m) {
  vq_rng *r = s->rng;
  const vq_canvas *to = s->to;
  double size = (double)(to->height > to->width ? to->height : to->width), y, x, sum = 0;
  *m = (material){.seed = vq_rng_next(r)};
  draw_color(s, m->color);
  double grain = uniform_octaves(r, 0.02, 0.3), keep = uniform(r, 0.5, 1.5), a = 1;
  for (int k = 0; k < s->n_octave; k++, a *= keep) m->octave[k] = a, sum += a * a;
  for (int k = 0; k < s->n_octave; k++) m->octave[k] *= 5 / sqrt(sum);
  direction(r, &m->turn_y, &m->turn_x);
  m->stretch = uniform_octaves(r, 1, 4);
  direction(r, &y, &x);
  double shade = chance(r, 0.5) ? 0.4 * vq_rng_normal(r) / size : 0;
  for (int64_t c = 0; c < to->channels; c++) {
    double own = shade != 0 ? 0.2 * vq_rng_normal(r) / size : 0;
    m->down[c] = y * (shade + own), m->right[c] = x * (shade + own);
    m->grain[c] = grain * (1 + 0.5 * vq_rng_normal(r));
  }
  if (!chance(r, 0.2)) return;
  double period = uniform_octaves(r, 4, 40) * size / 224;
  direction(r, &y, &x);
  m->stripe = 2 * grain, m->stripe_y = y / period, m->stripe_x = x / period;
}

static double hash(uint64_t seed, int64_t y, int64_t x) {
  vq_rng r = {seed ^ (uint64_t)y * UINT64_C(0xd1b54a32d192ed03) ^
              (uint64_t)x * UINT64_C(0xabc98388fb8fac03)};
  return (double)(vq_rng_next(&r) >> 11) * 0x1p-53 - 0.5;
}

static double smooth(double t) { return t * t * (3 - 2 * t); }

// Value noise: random numbers at the corners of cells, blended in between.
static double value_noise(uint64_t seed, double y, double x) {
  double fy = floor(y), fx = floor(x), ty = smooth(y - fy), tx = smooth(x - fx);
  int64_t i = (int64_t)fy, j = (int64_t)fx;
  double top = hash(seed, i, j) * (1 - tx) + hash(seed, i, j + 1) * tx;
  double low = hash(seed, i + 1, j) * (1 - tx) + hash(seed, i + 1, j + 1) * tx;
  return top * (1 - ty) + low * ty;
}

// The material's pattern at a pixel: of mean 0 and about deviation 1.
static double pattern(const scene *s, const material *m, double y, double x) {
  double size = (double)(s->to->height > s->to->width ? s->to->height : s->to->width);
  double cell = size / 2, sum = 0;
  double v = (x * m->turn_x + y * m->turn_y) / m->stretch;
  double u = y * m->turn_x - x * m->turn_y;
  for (int k = 0; k < s->n_octave; k++, cell /= 2)
    sum += m->octave[k] * value_noise(m->seed + (uint64_t)k, u / cell, v / cell);
  return sum;
}

static void shade(const scene *s, const shape *h, int64_t i, int64_t j, double *color) {
  const material *m = h->of;
  double y = (double)i, x = (double)j, p = pattern(s, m, y, x), stripes = 0;
  if (m->stripe != 0) {
    double at = y * m->stripe_y + x * m->stripe_x + 0.1 * p;
    stripes = at - floor(at) < 0.5 ? m->stripe : -m->stripe;
  }
  y -= (double)s->to->height / 2, x -= (double)s->to->width / 2;
  for (int64_t c = 0; c < s->to->channels; c++)
    color[c] = m->color[c] + h->offset[c] + m->grain[c] * p + m->down[c] * y +
               m->right[c] * x + stripes;
}

// ---- shapes --------------------------------------------------------------------------

static shape draw_shape(scene *s) {
  static const int powers[] = {1, 2, 2, 2, 8};
  vq_rng *r = s->rng;
  double h = (double)s->to->height, w = (double)s->to->width, size = h < w ? h : w;
  double u = uniform(r, 0, 1), small = size / 40, large = size / 2;
  double radius = 1 / sqrt(u / (small * small) + (1 - u) / (large * large));
  shape t = {.power = powers[vq_rng_next(r) % VQ_COUNT(powers)],
             .of = &s->m[vq_rng_next(r) % MATERIALS]};
  if (chance(r, 0.15)) radius = uniform(r, size / 6, size / 2);
  double stretch = uniform(r, 1, 2), more = uniform(r, 0, 1);
  t.y = uniform(r, -0.1, 1.1) * h, t.x = uniform(r, -0.1, 1.1) * w;
  direction(r, &t.sine, &t.cosine);
  t.wide = radius * stretch, t.tall = radius / stretch;
  t.soft = chance(r, 0.25) ? 6 : 1;
  draw_color(s, t.offset);
  for (int64_t c = 0; c < s->to->channels; c++) t.offset[c] = (t.offset[c] - 0.5) * more;
  return t;
}

// How much of the pixel the shape covers.
static double cover(const shape *t, double y, double x) {
  double dx = (x - t->x) * t->cosine + (y - t->y) * t->sine;
  double dy = (y - t->y) * t->cosine - (x - t->x) * t->sine;
  double a = fabs(dx) / t->wide, b = fabs(dy) / t->tall, d = a > b ? a : b;
  if (t->power == 1) d = a + b;
  if (t->power == 2) d = sqrt(a * a + b * b);
  double m = (1 - d) * (t->wide < t->tall ? t->wide : t->tall) / t->soft + 0.5;
  return m < 0 ? 0 : m < 1 ? m : 1;
}

// The pixels of 0 .. n - 1 that are at most `reach` away.
typedef struct span {
  int64_t from, to;
} span;

static span around(double at, double reach, int64_t n) {
  double lo = floor(at - reach), hi = ceil(at + reach) + 1, most = (double)n;
  return (span){(int64_t)(lo < 0 ? 0 : lo < most ? lo : most),
                (int64_t)(hi < 0 ? 0 : hi < most ? hi : most)};
}

// No pixel that the shape covers is farther from its middle.
static double reach(const shape *t) {
  double least = t->wide < t->tall ? t->wide : t->tall;
  return (t->wide + t->tall) * (1 + t->soft / least);
}

// Adds the shape to what is open; `all` is what it covers everywhere, 0: by its outline.
static void paint(scene *s, const shape *t, double all) {
  static const double closed = 1.0 / 256;
  const vq_canvas *to = s->to;
  int64_t area = to->height * to->width;
  double color[MOST_CHANNELS];
  span rows = {0, to->height}, columns = {0, to->width};
  if (all <= 0) rows = around(t->y, reach(t), to->height);
  if (all <= 0) columns = around(t->x, reach(t), to->width);
  for (int64_t i = rows.from; i < rows.to; i++)
    for (int64_t j = columns.from; j < columns.to; j++) {
      int64_t at = i * to->width + j;
      if (s->open[at] < closed) continue;
      double m = all > 0 ? all : cover(t, (double)i, (double)j);
      if (m <= 0) continue;
      shade(s, t, i, j, color);
      for (int64_t c = 0; c < to->channels; c++)
        s->y[c * area + at] += s->open[at] * m * color[c];
      s->open[at] *= 1 - m;
    }
}

// ---- light ---------------------------------------------------------------------------

// Weights 1, 2, 1 along one axis of a plane, its edges repeated.
static void blur(double *y, int64_t n, int64_t step, int64_t lines, int64_t line_step) {
  for (int64_t l = 0; l < lines; l++) {
    double *p = y + l * line_step, before = p[0];
    for (int64_t i = 0; i < n; i++) {
      double here = p[i * step], next = p[(i + 1 < n ? i + 1 : i) * step];
      p[i * step] = (before + 2 * here + next) / 4;
      before = here;
    }
  }
}

static void expose(scene *s, float *x) {
  const vq_canvas *to = s->to;
  int64_t area = to->height * to->width, n = to->channels * area;
  double sum = 0, square = 0;
  for (int64_t i = 0; i < n; i++) sum += s->y[i];
  double mean = sum / (double)n;
  for (int64_t i = 0; i < n; i++) square += (s->y[i] - mean) * (s->y[i] - mean);
  double spread = sqrt(square / (double)n) + 1e-6;
  double contrast = uniform(s->rng, 0.12, 0.32), bright = uniform(s->rng, 0.3, 0.65);
  for (int64_t i = 0; i < n; i++) {
    double lo = (double)to->lo[i / area], hi = (double)to->hi[i / area];
    double f = (s->y[i] - mean) / spread * contrast + bright;
    x[i] = (float)(lo + (f < 0 ? 0 : f < 1 ? f : 1) * (hi - lo));
  }
}

void vq_scene_paint(const vq_canvas *to, vq_rng *rng, float *x) {
  int64_t area = to->height * to->width, n = to->channels * area;
  scene s = {.to = to, .rng = rng};
  vq_arena temp = {0};
  s.y = VQ_NEW_N(&temp, double, (size_t)n), s.open = VQ_NEW_N(&temp, double, (size_t)area);
  for (int64_t i = 0; i < area; i++) s.open[i] = 1;
  for (int64_t size = to->height > to->width ? to->height : to->width;
       size > 2 && s.n_octave < MOST_OCTAVES; size /= 2)
    s.n_octave++;
  for (int k = 0; k < MATERIALS; k++) draw_material(&s, &s.m[k]);
  int shapes = (int)uniform_octaves(rng, 3, 128);
  for (int k = 0; k < shapes; k++) {
    shape t = draw_shape(&s);
    paint(&s, &t, 0);
  }
  shape ground = {.of = &s.m[0]};
  paint(&s, &ground, 1);
  int times = chance(rng, 0.3) ? (int)uniform(rng, 1, 12) : 0;
  for (int k = 0; k < times; k++)
    for (int64_t c = 0; c < to->channels; c++) {
      blur(s.y + c * area, to->width, 1, to->height, to->width);
      blur(s.y + c * area, to->height, to->width, to->width, 1);
    }
  expose(&s, x);
  vq_arena_release(&temp);
}
