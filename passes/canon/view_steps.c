// From an index map back to ops: the canonical reshape/slice/transpose chain.
//
// 1. Slice. In each dimension of the source the atoms must cover one range
//    with one step; then a single slice op cuts the source and every atom gets
//    a stride in the (dense) result. Where they do not, the source is first
//    reshaped so that every atom has a dimension of its own.
// 2. Permutation. What is left orders the digits of a dense tensor. Merged in
//    target order they are a plain reshape when one remains. Otherwise one
//    transpose is needed, tried first over the dimensions at hand (no reshape
//    before), then over the dimensions wanted (no reshape after), last over
//    the merged digits (both).
// The choice depends on the view and the source's shape alone.
#include "canon/view.h"

typedef struct digits {
  vq_atom a[VQ_VIEW_ATOMS];
  unsigned n;
} digits;

typedef struct emitter {
  unsigned rank;  // of the tensor so far
  int64_t dim[VQ_MAX_RANK];
  vq_step *out;
  int n;
} emitter;

static bool same_shape(unsigned r, const int64_t *a, unsigned q,
                       const int64_t *b) {
  return r == q && memcmp(a, b, r * sizeof *a) == 0;
}

static void emit_reshape(emitter *e, unsigned rank, const int64_t *dim) {
  if (same_shape(rank, dim, e->rank, e->dim)) return;
  vq_step *s = &e->out[e->n++];
  *s = (vq_step){.kind = VQ_STEP_RESHAPE, .rank = rank};
  memcpy(s->a, dim, rank * sizeof *dim);
  memcpy(e->dim, dim, rank * sizeof *dim);
  e->rank = rank;
}

static void emit_transpose(emitter *e, const int64_t *perm) {
  vq_step *s = &e->out[e->n++];
  *s = (vq_step){.kind = VQ_STEP_TRANSPOSE, .rank = e->rank};
  int64_t old[VQ_MAX_RANK];
  memcpy(old, e->dim, sizeof old);
  for (unsigned k = 0; k < e->rank; k++) {
    s->a[k] = perm[k];
    e->dim[k] = old[perm[k]];
  }
}

static bool add_digit(digits *d, int64_t size, int64_t stride) {
  if (size == 1) return true;
  if (d->n == VQ_VIEW_ATOMS) return false;
  d->a[d->n++] = (vq_atom){size, stride};
  return true;
}

static void merge(digits *d) {
  unsigned n = 0;
  for (unsigned i = 0; i < d->n; i++) {
    if (n && d->a[n - 1].stride == d->a[i].size * d->a[i].stride) {
      d->a[n - 1].size *= d->a[i].size;
      d->a[n - 1].stride = d->a[i].stride;
    } else {
      d->a[n++] = d->a[i];
    }
  }
  d->n = n;
}

// Positions of `d` by descending stride.
static void by_stride(const digits *d, unsigned *order) {
  for (unsigned i = 0; i < d->n; i++) {
    unsigned j = i;
    for (; j && d->a[order[j - 1]].stride < d->a[i].stride; j--)
      order[j] = order[j - 1];
    order[j] = i;
  }
}

// Splits digits so that none crosses a boundary between dimensions.
static bool split_at(digits *d, unsigned rank, const int64_t *dim) {
  digits r = {.n = 0};
  for (unsigned i = 0; i < d->n; i++) {
    int64_t bound[VQ_MAX_RANK], span = 1;
    unsigned n = 0;
    vq_atom a = d->a[i];
    for (unsigned k = rank; k-- > 0;) {
      span *= dim[k];
      if (dim[k] > 1 && span > a.stride && span < a.size * a.stride)
        bound[n++] = span;  // ascending
    }
    while (n-- > 0) {
      int64_t outer = a.size * a.stride / bound[n];
      if (a.size * a.stride % bound[n] || bound[n] % a.stride) return false;
      if (!add_digit(&r, outer, bound[n])) return false;
      a.size = bound[n] / a.stride;
    }
    if (!add_digit(&r, a.size, a.stride)) return false;
  }
  *d = r;
  return true;
}

// One dimension of the source for each digit of `d`.
static bool refine(emitter *e, const digits *d) {
  unsigned order[VQ_VIEW_ATOMS], rank = 0;
  int64_t dim[VQ_MAX_RANK], rest = 1;
  for (unsigned k = 0; k < e->rank; k++) rest *= e->dim[k];
  by_stride(d, order);
  for (unsigned i = 0; i < d->n; i++) {
    int64_t s = d->a[order[i]].stride;
    if (rest % s != 0 || rank + 1 >= VQ_MAX_RANK) return false;
    if (rest / s < d->a[order[i]].size) return false;
    dim[rank++] = rest / s;
    rest = s;
  }
  if (rest > 1) dim[rank++] = rest;
  emit_reshape(e, rank, dim);
  return true;
}

// Cuts the tensor to what `d` reads and gives every digit its stride in the
// result. False when a dimension is not read as one range.
static bool emit_slice(emitter *e, digits *d, int64_t offset) {
  vq_step s = {.kind = VQ_STEP_SLICE, .rank = e->rank};
  unsigned order[VQ_VIEW_ATOMS], i = 0;
  int64_t stride = 1, fresh[VQ_VIEW_ATOMS], dense = 1;
  bool whole = true;
  by_stride(d, order);
  for (unsigned k = e->rank; k-- > 0;) stride *= e->dim[k];
  for (unsigned k = 0; k < e->rank; k++) {
    int64_t above = stride;
    stride /= e->dim[k];
    s.a[k] = offset % above / stride;
    s.size[k] = s.step[k] = 1;
    vq_atom last = {1, stride};
    for (bool inside = false; i < d->n; i++, inside = true) {
      const vq_atom *a = &d->a[order[i]];
      if (a->stride < stride) break;
      if (inside && last.stride != a->size * a->stride) return false;
      last = *a;
      s.size[k] *= a->size;
    }
    if (last.stride % stride) return false;
    if (s.size[k] > 1) s.step[k] = last.stride / stride;
    if (s.a[k] + (s.size[k] - 1) * s.step[k] >= e->dim[k]) return false;
    whole &= s.size[k] == e->dim[k];
  }
  if (i != d->n) return false;
  for (i = d->n; i-- > 0;) {
    fresh[order[i]] = dense;
    dense *= d->a[order[i]].size;
  }
  for (i = 0; i < d->n; i++) d->a[i].stride = fresh[i];
  if (whole) return true;
  memcpy(e->dim, s.size, e->rank * sizeof *e->dim);
  e->out[e->n++] = s;
  return true;
}

// Transposes whole dimensions of the tensor at hand; units go where the target
// has units. False when a digit is not exactly one dimension.
static bool try_dims(const emitter *e, const digits *d, const vq_view *v,
                     int64_t *perm) {
  int owner[VQ_VIEW_ATOMS];
  bool used[VQ_MAX_RANK] = {false};
  digits fine = *d;
  int64_t stride = 1;
  if (!split_at(&fine, e->rank, e->dim)) return false;
  for (unsigned i = 0; i < fine.n; i++) owner[i] = -1;
  for (unsigned k = e->rank; k-- > 0; stride *= e->dim[k])
    for (unsigned i = 0; i < fine.n; i++)
      if (e->dim[k] > 1 && fine.a[i].stride == stride &&
          fine.a[i].size == e->dim[k])
        owner[i] = (int)k;
  unsigned n = 0, next = 0;
  for (unsigned k = 0; k < v->rank; k++) {
    for (int64_t need = v->dim[k]; need > 1 && next < fine.n; next++) {
      if (owner[next] < 0) return false;
      perm[n++] = owner[next];
      used[owner[next]] = true;
      need = need % fine.a[next].size ? 1 : need / fine.a[next].size;
    }
    if (v->dim[k] != 1) continue;
    for (unsigned u = 0; u < e->rank; u++)
      if (e->dim[u] == 1 && !used[u]) {
        perm[n++] = u;
        used[u] = true;
        break;
      }
  }
  if (next != fine.n) return false;
  for (unsigned u = 0; u < e->rank; u++)
    if (!used[u]) perm[n++] = u;
  return n == e->rank;
}

// The dimensions of the target in source order, and how to permute them.
static bool try_target(const digits *d, const vq_view *v, int64_t *shape,
                       int64_t *perm) {
  int64_t key[VQ_MAX_RANK];
  unsigned at = 0;
  digits rest = *d;
  for (unsigned k = 0; k < v->rank; k++) {
    key[k] = INT64_MAX;
    if (v->dim[k] == 1) continue;
    // The dimension must be one digit, or the outer part of one.
    if (at == rest.n || rest.a[at].size % v->dim[k]) return false;
    vq_atom *a = &rest.a[at];
    int64_t inner = a->size / v->dim[k];
    key[k] = a->stride * inner;
    a->size = inner;
    if (inner == 1) at++;
  }
  if (at != rest.n) return false;
  unsigned order[VQ_MAX_RANK];
  for (unsigned i = 0; i < v->rank; i++) {
    unsigned j = i;
    for (; j && key[order[j - 1]] < key[i]; j--) order[j] = order[j - 1];
    order[j] = i;
  }
  for (unsigned i = 0; i < v->rank; i++) {
    shape[i] = v->dim[order[i]];
    perm[order[i]] = i;
  }
  return true;
}

static bool emit_permutation(emitter *e, const digits *d, const vq_view *v) {
  int64_t perm[VQ_MAX_RANK], shape[VQ_MAX_RANK], target_perm[VQ_MAX_RANK];
  if (d->n <= 1) {
    emit_reshape(e, v->rank, v->dim);
    return true;
  }
  bool dims = try_dims(e, d, v, perm);
  bool exact = dims && e->rank == v->rank;
  for (unsigned k = 0; exact && k < v->rank; k++)
    exact = e->dim[perm[k]] == v->dim[k];
  if (!exact && try_target(d, v, shape, target_perm)) {
    emit_reshape(e, v->rank, shape);
    memcpy(perm, target_perm, sizeof perm);
  } else if (!dims) {
    unsigned order[VQ_VIEW_ATOMS];
    if (d->n > VQ_MAX_RANK) return false;
    by_stride(d, order);
    for (unsigned i = 0; i < d->n; i++) {
      shape[i] = d->a[order[i]].size;
      perm[order[i]] = i;
    }
    emit_reshape(e, d->n, shape);
  }
  emit_transpose(e, perm);
  emit_reshape(e, v->rank, v->dim);
  return true;
}

int vq_view_steps(const vq_view *v, unsigned rank, const int64_t *dim,
                  vq_step out[VQ_VIEW_STEPS]) {
  emitter e = {.rank = rank, .out = out};
  memcpy(e.dim, dim, rank * sizeof *dim);
  digits d = {.n = v->first[v->rank]};
  memcpy(d.a, v->atom, d.n * sizeof *d.a);
  merge(&d);
  digits in_dims = d;
  if (!split_at(&in_dims, rank, dim) || !emit_slice(&e, &in_dims, v->offset)) {
    e.n = 0;
    in_dims = d;
    if (!refine(&e, &d) || !emit_slice(&e, &in_dims, v->offset)) return -1;
  }
  merge(&in_dims);
  return emit_permutation(&e, &in_dims, v) ? e.n : -1;
}
