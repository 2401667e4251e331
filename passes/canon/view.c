// Composition of index maps. See view.h for the model.
#include "canon/view.h"

// A list of atoms that may run over while it is built.
typedef struct list {
  vq_atom atom[VQ_VIEW_ATOMS];
  unsigned n;
  bool full;
} list;

static void push(list *l, int64_t size, int64_t stride) {
  if (size == 1) return;
  if (l->n == VQ_VIEW_ATOMS) {
    l->full = true;
    return;
  }
  l->atom[l->n++] = (vq_atom){size, stride};
}

// Adds an atom, merging it with the one before when `base` allows.
static void push_merged(list *l, unsigned base, vq_atom a) {
  if (l->n > base) {
    vq_atom *last = &l->atom[l->n - 1];
    if (last->stride == a.size * a.stride) {
      last->size *= a.size;
      last->stride = a.stride;
      return;
    }
  }
  push(l, a.size, a.stride);
}

bool vq_view_identity(vq_view *v, unsigned rank, const int64_t *dim) {
  memset(v, 0, sizeof *v);
  v->rank = rank;
  int64_t stride = 1;
  for (unsigned k = 0; k < rank; k++) {
    v->dim[k] = dim[k];
    stride *= dim[k];
  }
  if (stride == 0) return false;
  unsigned n = 0;
  for (unsigned k = 0; k < rank; k++) {
    v->first[k] = n;
    stride /= dim[k];
    if (dim[k] > 1) v->atom[n++] = (vq_atom){dim[k], stride};
  }
  v->first[rank] = n;
  return true;
}

int64_t vq_view_count(const vq_view *v) {
  int64_t n = 1;
  for (unsigned k = 0; k < v->rank; k++) n *= v->dim[k];
  return n;
}

// Takes atoms worth `need` from the front of `from` (position *i, with *rest
// of its size left) into `to`.
static bool take(const list *from, unsigned *i, int64_t *rest, int64_t need,
                 list *to) {
  while (need > 1) {
    if (*i == from->n) return false;
    vq_atom a = {*rest, from->atom[*i].stride};
    if (need % a.size == 0) {
      push(to, a.size, a.stride);
      need /= a.size;
      *rest = ++*i < from->n ? from->atom[*i].size : 0;
    } else if (a.size % need == 0) {
      push(to, need, a.stride * (a.size / need));
      *rest = a.size / need;
      need = 1;
    } else {
      return false;
    }
  }
  return true;
}

bool vq_view_reshape(vq_view *v, unsigned rank, const int64_t *dim) {
  list flat = {.n = 0}, out = {.n = 0};
  for (unsigned i = 0; i < v->first[v->rank]; i++)
    push_merged(&flat, 0, v->atom[i]);
  vq_view r = {.rank = rank, .offset = v->offset};
  unsigned i = 0;
  int64_t rest = flat.n ? flat.atom[0].size : 0;
  for (unsigned k = 0; k < rank; k++) {
    r.first[k] = out.n;
    r.dim[k] = dim[k];
    if (!take(&flat, &i, &rest, dim[k], &out)) return false;
  }
  if (out.full || i != flat.n) return false;
  r.first[rank] = out.n;
  memcpy(r.atom, out.atom, sizeof r.atom);
  *v = r;
  return true;
}

bool vq_view_transpose(vq_view *v, const int64_t *perm) {
  vq_view r = {.rank = v->rank, .offset = v->offset};
  unsigned n = 0;
  for (unsigned k = 0; k < v->rank; k++) {
    unsigned p = (unsigned)perm[k];
    r.first[k] = n;
    r.dim[k] = v->dim[p];
    for (unsigned i = v->first[p]; i < v->first[p + 1]; i++)
      r.atom[n++] = v->atom[i];
  }
  r.first[v->rank] = n;
  *v = r;
  return true;
}

// Restricts the digits `a[0..n)` to [begin, begin + size * step): appends what
// is left to `out` and moves `offset`.
static bool cut(const vq_atom *a, unsigned n, int64_t begin, int64_t size,
                int64_t step, list *out, int64_t *offset) {
  int64_t inner = 1;
  for (unsigned i = 1; i < n; i++) inner *= a[i].size;
  if (n == 0) return begin == 0 && size == 1;
  if (n == 1) {
    *offset += begin * a->stride;
    push(out, size, a->stride * step);
    return true;
  }
  int64_t last = begin + (size - 1) * step;
  if (begin / inner == last / inner) {  // within one value of the outer digit
    *offset += begin / inner * a->stride;
    return cut(a + 1, n - 1, begin % inner, size, step, out, offset);
  }
  if (step != 1 || begin % inner != 0 || size % inner != 0) return false;
  *offset += begin / inner * a->stride;
  push(out, size / inner, a->stride);
  for (unsigned i = 1; i < n; i++) push(out, a[i].size, a[i].stride);
  return true;
}

bool vq_view_slice(vq_view *v, const int64_t *begin, const int64_t *size,
                   const int64_t *step) {
  vq_view s = *v;
  vq_view_simplify(&s);
  vq_view r = {.rank = s.rank, .offset = s.offset};
  list out = {.n = 0};
  for (unsigned k = 0; k < s.rank; k++) {
    int64_t t = step ? step[k] : 1;
    if (t < 1 || size[k] < 1) return false;
    r.first[k] = out.n;
    r.dim[k] = size[k];
    if (!cut(s.atom + s.first[k], s.first[k + 1] - s.first[k], begin[k],
             size[k], t, &out, &r.offset))
      return false;
  }
  if (out.full) return false;
  r.first[s.rank] = out.n;
  memcpy(r.atom, out.atom, sizeof r.atom);
  *v = r;
  return true;
}

void vq_view_simplify(vq_view *v) {
  list out = {.n = 0};
  for (unsigned k = 0; k < v->rank; k++) {
    unsigned base = out.n;
    for (unsigned i = v->first[k]; i < v->first[k + 1]; i++)
      push_merged(&out, base, v->atom[i]);
    v->first[k] = base;
  }
  v->first[v->rank] = out.n;
  memset(v->atom, 0, sizeof v->atom);
  memcpy(v->atom, out.atom, out.n * sizeof *out.atom);
}

bool vq_view_equal(const vq_view *a, const vq_view *b) {
  vq_view x = *a, y = *b;
  vq_view_simplify(&x);
  vq_view_simplify(&y);
  if (x.rank != y.rank || x.offset != y.offset) return false;
  for (unsigned k = 0; k < x.rank; k++)
    if (x.dim[k] != y.dim[k] || x.first[k + 1] != y.first[k + 1]) return false;
  for (unsigned i = 0; i < x.first[x.rank]; i++)
    if (x.atom[i].size != y.atom[i].size || x.atom[i].stride != y.atom[i].stride)
      return false;
  return true;
}

bool vq_view_is_reshape(const vq_view *v, int64_t source_count) {
  list flat = {.n = 0};
  for (unsigned i = 0; i < v->first[v->rank]; i++)
    push_merged(&flat, 0, v->atom[i]);
  if (v->offset != 0 || vq_view_count(v) != source_count) return false;
  return flat.n == 0 || (flat.n == 1 && flat.atom[0].stride == 1);
}

// ---- digits -------------------------------------------------------------------

// True when each digit steps over all that a smaller one reaches.
static bool apart(const vq_atom *a, int n) {
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++)
      if (i != j && a[i].stride >= a[j].stride &&
          a[i].stride < a[j].stride * a[j].size)
        return false;
  return true;
}

int vq_digits(const int64_t *v, int64_t n, vq_atom digit[VQ_MAX_DIGITS]) {
  vq_atom in[VQ_MAX_DIGITS];  // innermost first
  int k = 0;
  for (int64_t step = 1; step < n; step *= in[k++].size) {
    int64_t stride = v[step] - v[0], size = 1;
    if (stride <= 0 || k == VQ_MAX_DIGITS) return -1;
    while (size * step < n && v[size * step] - v[0] == size * stride) size++;
    if (n % (size * step)) return -1;
    in[k] = (vq_atom){size, stride};
  }
  for (int64_t i = 0; i < n; i++) {
    int64_t rest = i, want = v[0];
    for (int j = 0; j < k; rest /= in[j++].size)
      want += rest % in[j].size * in[j].stride;
    if (v[i] != want) return -1;
  }
  for (int j = 0; j < k; j++) digit[j] = in[k - 1 - j];
  return apart(digit, k) ? k : -1;
}

// Replaces atoms [at, end) of dimension `axis` by `a`.
static bool splice(vq_view *v, unsigned axis, unsigned at, unsigned end,
                   const vq_atom *a, unsigned n) {
  unsigned all = v->first[v->rank], rest = all - end;
  if (at + n + rest > VQ_VIEW_ATOMS) return false;
  memmove(v->atom + at + n, v->atom + end, rest * sizeof *a);
  memcpy(v->atom + at, a, n * sizeof *a);
  for (unsigned k = axis + 1; k <= v->rank; k++) v->first[k] += at + n - end;
  return true;
}

static int64_t times(const vq_atom *a, unsigned n) {
  int64_t r = 1;
  for (unsigned i = 0; i < n; i++) r *= a[i].size;
  return r;
}

bool vq_view_pick(vq_view *v, unsigned axis, int64_t begin,
                  const vq_atom *digit, unsigned n_digit) {
  vq_view r = *v;
  vq_atom a[VQ_MAX_DIGITS];
  vq_view_simplify(&r);
  unsigned at = r.first[axis], end = r.first[axis + 1];
  if (end - at > 1 || (end == at && (begin || n_digit))) return false;
  int64_t stride = end > at ? r.atom[at].stride : 0;
  for (unsigned i = 0; i < n_digit; i++)
    a[i] = (vq_atom){digit[i].size, digit[i].stride * stride};
  r.offset += begin * stride;
  r.dim[axis] = times(digit, n_digit);
  if (!splice(&r, axis, at, end, a, n_digit)) return false;
  *v = r;
  return true;
}

bool vq_view_stack(vq_view *v, unsigned axis, const vq_atom *digit,
                   unsigned n_digit) {
  unsigned at = v->first[axis];
  if (!splice(v, axis, at, at, digit, n_digit)) return false;
  v->dim[axis] *= times(digit, n_digit);
  return true;
}
