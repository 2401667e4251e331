// The view algebra against brute force: random chains of movement ops.
#include <check.h>
#include <stdlib.h>

#include "canon/view.h"

#define MAX_ELEMENTS 4096

// A tensor of source element numbers.
typedef struct picture {
  unsigned rank;
  int64_t dim[VQ_MAX_RANK];
  int64_t at[MAX_ELEMENTS];
} picture;

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static int64_t count_of(const picture *p) {
  int64_t n = 1;
  for (unsigned k = 0; k < p->rank; k++) n *= p->dim[k];
  return n;
}

static void decode(int64_t i, unsigned rank, const int64_t *dim, int64_t *ix) {
  for (unsigned k = rank; k-- > 0; i /= dim[k]) ix[k] = i % dim[k];
}

static int64_t encode(unsigned rank, const int64_t *dim, const int64_t *ix) {
  int64_t i = 0;
  for (unsigned k = 0; k < rank; k++) i = i * dim[k] + ix[k];
  return i;
}

static void apply(picture *p, const vq_step *s) {
  picture old = *p;
  int64_t ix[VQ_MAX_RANK], from[VQ_MAX_RANK];
  p->rank = s->rank;
  for (unsigned k = 0; k < s->rank; k++)
    p->dim[k] = s->kind == VQ_STEP_RESHAPE     ? s->a[k]
                : s->kind == VQ_STEP_TRANSPOSE ? old.dim[s->a[k]]
                                               : s->size[k];
  int64_t n = count_of(p);
  bool inside = n <= count_of(&old);
  for (int64_t i = 0; i < n && s->kind != VQ_STEP_RESHAPE; i++) {
    decode(i, p->rank, p->dim, ix);
    for (unsigned k = 0; k < p->rank; k++) {
      if (s->kind == VQ_STEP_TRANSPOSE) from[s->a[k]] = ix[k];
      if (s->kind == VQ_STEP_SLICE) from[k] = s->a[k] + ix[k] * s->step[k];
    }
    for (unsigned k = 0; k < p->rank; k++) inside &= from[k] < old.dim[k];
    p->at[i] = old.at[encode(old.rank, old.dim, from)];
  }
  ck_assert(inside);
}

static vq_step random_reshape(const picture *p, uint64_t *rng) {
  vq_step s = {.kind = VQ_STEP_RESHAPE};
  int64_t n = count_of(p);
  while (n > 1 && s.rank < VQ_MAX_RANK - 2) {
    int64_t f = (int64_t)(next_random(rng) % 8 + 1);
    if (n % f == 0) s.a[s.rank++] = f, n /= f;
  }
  s.a[s.rank++] = n;
  return s;
}

static vq_step random_transpose(const picture *p, uint64_t *rng) {
  vq_step s = {.kind = VQ_STEP_TRANSPOSE, .rank = p->rank};
  for (unsigned k = 0; k < p->rank; k++) {
    unsigned j = (unsigned)(next_random(rng) % (k + 1));
    s.a[k] = s.a[j];
    s.a[j] = k;
  }
  return s;
}

static vq_step random_slice(const picture *p, uint64_t *rng) {
  vq_step s = {.kind = VQ_STEP_SLICE, .rank = p->rank};
  unsigned which = (unsigned)(next_random(rng) % p->rank);
  for (unsigned k = 0; k < p->rank; k++) {
    s.size[k] = p->dim[k];
    s.step[k] = 1;
    if (k != which) continue;
    s.a[k] = (int64_t)(next_random(rng) % (uint64_t)p->dim[k]);
    s.step[k] = (int64_t)(next_random(rng) % 2 + 1);
    s.size[k] = (p->dim[k] - s.a[k] + s.step[k] - 1) / s.step[k];
  }
  return s;
}

static bool compose(vq_view *v, const vq_step *s) {
  if (s->kind == VQ_STEP_RESHAPE) return vq_view_reshape(v, s->rank, s->a);
  if (s->kind == VQ_STEP_TRANSPOSE) return vq_view_transpose(v, s->a);
  return vq_view_slice(v, s->a, s->size, s->step);
}

static void start(picture *p, unsigned rank, const int64_t *dim) {
  *p = (picture){.rank = rank};
  memcpy(p->dim, dim, rank * sizeof *dim);
  for (int64_t i = 0; i < count_of(p); i++) p->at[i] = i;
}

START_TEST(random_chains) {
  uint64_t rng = 0x9e3779b97f4a7c15u;
  unsigned n_view = 0, n_spelled = 0;
  for (unsigned round = 0; round < 3000; round++) {
    static picture truth, again;
    const int64_t shapes[][4] = {{2, 6, 4, 8}, {1, 12, 24, 1}, {3, 4, 1, 16}};
    const int64_t *shape = shapes[round % 3];
    vq_view v;
    start(&truth, 4, shape);
    ck_assert(vq_view_identity(&v, 4, shape));
    bool composed = true;
    for (unsigned i = 0; i < 5 && composed; i++) {
      unsigned kind = (unsigned)(next_random(&rng) % 5);
      vq_step s = kind < 2   ? random_reshape(&truth, &rng)
                  : kind < 4 ? random_transpose(&truth, &rng)
                             : random_slice(&truth, &rng);
      vq_view before = v;
      composed = compose(&v, &s);
      if (!composed) {
        ck_assert(vq_view_equal(&before, &v));
        break;
      }
      apply(&truth, &s);
    }
    n_view += composed;
    vq_step step[VQ_VIEW_STEPS];
    int n = vq_view_steps(&v, 4, shape, step);
    if (n < 0) continue;
    n_spelled++;
    start(&again, 4, shape);
    vq_view back;
    vq_view_identity(&back, 4, shape);
    for (int i = 0; i < n; i++) {
      apply(&again, &step[i]);
      ck_assert(compose(&back, &step[i]));
    }
    ck_assert_uint_eq(again.rank, truth.rank);
    ck_assert_mem_eq(again.dim, truth.dim, again.rank * sizeof *again.dim);
    ck_assert_mem_eq(again.at, truth.at, count_of(&again) * sizeof *again.at);
    ck_assert(vq_view_equal(&v, &back));
  }
  ck_assert_uint_gt(n_view, 1000);
  ck_assert_uint_gt(n_spelled, 2500);
}
END_TEST

// The head split of a packed qkv: whatever the batch, slice then stop.
START_TEST(packed_heads) {
  for (int64_t b = 1; b <= 3; b += 2) {
    const int64_t root[] = {b, 17, 192}, split[] = {b, 17, 3, 2, 32};
    const int64_t perm[] = {2, 0, 3, 1, 4};
    vq_view v;
    ck_assert(vq_view_identity(&v, 3, root));
    ck_assert(vq_view_reshape(&v, 5, split));
    ck_assert(vq_view_transpose(&v, perm));
    ck_assert(vq_view_slice(&v, (int64_t[]){1, 0, 0, 0, 0},
                            (int64_t[]){1, b, 2, 17, 32}, NULL));
    ck_assert(vq_view_reshape(&v, 4, (int64_t[]){b, 2, 17, 32}));
    vq_step step[VQ_VIEW_STEPS];
    ck_assert_int_eq(vq_view_steps(&v, 3, root, step), 3);
    ck_assert_int_eq(step[0].kind, VQ_STEP_SLICE);
    ck_assert_int_eq(step[0].a[2], 64);
    ck_assert(vq_view_transpose(&v, (int64_t[]){0, 2, 1, 3}));
    ck_assert(vq_view_reshape(&v, 3, (int64_t[]){b, 17, 64}));
    ck_assert_int_eq(vq_view_steps(&v, 3, root, step), 1);
    ck_assert_int_eq(step[0].kind, VQ_STEP_SLICE);
  }
}
END_TEST

int main(void) {
  Suite *s = suite_create("view");
  TCase *t = tcase_create("view");
  tcase_add_test(t, random_chains);
  tcase_add_test(t, packed_heads);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_ENV);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
