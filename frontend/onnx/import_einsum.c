// Einsum, spelled out as sums, transposes and matrix products.
//
// Operands are combined from left to right. Of two operands' labels those in
// both and still needed are the batch of a matrix product, those in both and
// not needed again are summed by it, and the others are its rows and columns;
// labels of one operand that nothing needs are summed before.
#include "import.h"

// A set of labels: letters, then the dimensions of "...", the last first.
typedef uint64_t labels;
enum { N_LETTERS = 52, N_LABELS = N_LETTERS + VQ_MAX_RANK };

typedef struct part {
  vq_ox_val *x;
  unsigned n;
  uint8_t label[VQ_MAX_RANK];  // of each dimension
} part;

static labels one(unsigned label) { return (labels)1 << label; }

static labels set_of(const part *p) {
  labels s = 0;
  for (unsigned i = 0; i < p->n; i++)
    s |= one(p->label[i]);
  return s;
}

static int64_t dim_of(const part *p, unsigned label) {
  for (unsigned i = 0; i < p->n; i++)
    if (p->label[i] == label)
      return p->x->type->dim[i];
  return 1;
}

// ---- the equation --------------------------------------------------------------

static vq_status malformed(vq_ox_node *nd) {
  return vq_ox_fail(nd, VQ_E_op_attribute, "attribute 'equation' is malformed "
                    "or does not fit the operands");
}

// Reads one term of *text. With `rank` < 0, "..." stands for `dots` dimensions,
// else for what `rank` leaves.
static vq_status term(vq_ox_node *nd, vq_str *text, int rank, unsigned dots,
                      part *p) {
  uint8_t found[VQ_MAX_RANK];
  int at = -1;
  unsigned n = 0;
  for (; text->n && *text->p != ',' && *text->p != '-'; text->p++, text->n--) {
    char c = *text->p;
    bool small = c >= 'a' && c <= 'z', large = c >= 'A' && c <= 'Z';
    if (c == ' ')
      continue;
    if (c == '.' && at < 0 && text->n >= 3 && !memcmp(text->p, "...", 3)) {
      at = (int)n;
      text->p += 2;
      text->n -= 2;
    } else if ((small || large) && n < VQ_MAX_RANK) {
      found[n++] = (uint8_t)(small ? c - 'a' : c - 'A' + 26);
    } else {
      return malformed(nd);
    }
  }
  if (rank >= 0 && ((int)n > rank || (at < 0 && (int)n != rank)))
    return malformed(nd);
  unsigned rest = at < 0 ? 0 : rank < 0 ? dots : (unsigned)rank - n;
  if (n + rest > VQ_MAX_RANK)
    return malformed(nd);
  for (unsigned i = 0; i < n + rest; i++) {
    unsigned k = i - (unsigned)at;  // in the dots
    bool dot = at >= 0 && i >= (unsigned)at && k < rest;
    p->label[i] = dot ? (uint8_t)(N_LETTERS + rest - 1 - k)
                      : found[at >= 0 && i >= (unsigned)at ? i - rest : i];
  }
  p->n = n + rest;
  return VQ_OK;
}

// Without "->": the dots, then the letters that stand once, in order.
static void implied(const part *in, unsigned n_in, unsigned dots, part *out) {
  unsigned count[N_LETTERS] = {0};
  for (unsigned i = 0; i < n_in; i++)
    for (unsigned k = 0; k < in[i].n; k++)
      if (in[i].label[k] < N_LETTERS)
        count[in[i].label[k]]++;
  for (unsigned k = dots; k > 0; k--)
    out->label[out->n++] = (uint8_t)(N_LETTERS + k - 1);
  for (unsigned c = 0; c < N_LETTERS; c++) {
    unsigned label = c < 26 ? c + 26 : c - 26;  // A to Z, then a to z
    if (count[label] == 1 && out->n < VQ_MAX_RANK)
      out->label[out->n++] = (uint8_t)label;
  }
}

static vq_status parse(vq_ox_node *nd, part *in, part *out) {
  vq_str text = VQ_LIT("");
  unsigned dots = 0;
  if (vq_ox_attr_str(nd, "equation", &text))
    return VQ_ERR;
  for (unsigned i = 0; i < nd->n_in; i++) {
    if (!nd->in[i] || (i > 0 && (!text.n || *text.p != ',')))
      return malformed(nd);
    if (i > 0)
      text = (vq_str){text.p + 1, text.n - 1};
    if (vq_ox_ready(nd->ox, nd->loc, in[i].x = nd->in[i]) ||
        term(nd, &text, (int)nd->in[i]->type->rank, 0, &in[i]))
      return VQ_ERR;
    for (unsigned k = 0; k < in[i].n; k++)
      if (in[i].label[k] >= N_LETTERS + dots)
        dots = in[i].label[k] - N_LETTERS + 1;
  }
  out->n = 0;
  if (!text.n) {
    implied(in, nd->n_in, dots, out);
    return VQ_OK;
  }
  if (text.n < 2 || text.p[0] != '-' || text.p[1] != '>')
    return malformed(nd);
  text = (vq_str){text.p + 2, text.n - 2};
  if (term(nd, &text, -1, dots, out))
    return VQ_ERR;
  return text.n ? malformed(nd) : VQ_OK;
}

// ---- operands ------------------------------------------------------------------

// Brings the dimensions of `p` into the order of `label`, which has all of
// them; labels that `p` lacks get dimension 1.
static void arrange(vq_ox_node *nd, part *p, const uint8_t *label, unsigned n) {
  int64_t perm[VQ_MAX_RANK], dim[VQ_MAX_RANK];
  unsigned k = 0;
  for (unsigned i = 0; i < n; i++) {
    dim[i] = dim_of(p, label[i]);
    for (unsigned j = 0; j < p->n; j++)
      if (p->label[j] == label[i])
        perm[k++] = j;
  }
  p->x = vq_ox_reshape(nd, vq_ox_transpose(nd, p->x, perm), n, dim);
  memmove(p->label, label, n);
  p->n = n;
}

// A label that stands twice in one operand means its diagonal.
static void diagonals(vq_ox_node *nd, part *p) {
  for (unsigned i = 0; i < p->n; i++)
    for (unsigned j = i + 1; j < p->n && p->x; j++) {
      const int64_t *dim = p->x->type->dim;
      int64_t d = dim[i], perm[VQ_MAX_RANK], shape[VQ_MAX_RANK];
      if (p->label[i] != p->label[j])
        continue;
      if (dim[j] != d) {
        vq_ox_fail(nd, VQ_E_shape, "dimensions %u and %u of an operand differ",
                   i, j);
        p->x = NULL;
        return;
      }
      uint8_t label = p->label[i];
      unsigned n = 0;
      for (unsigned k = 0; k < p->n; k++)
        if (k != i && k != j) {
          shape[n] = dim[k];
          p->label[n] = p->label[k];
          perm[n++] = k;
        }
      perm[n] = i;
      perm[n + 1] = j;
      shape[n] = d * d;
      p->x = vq_ox_transpose(nd, p->x, perm);
      p->x = vq_ox_reshape(nd, p->x, n + 1, shape);
      p->x = vq_ox_slice_axis(nd, p->x, n, 0, d, d + 1);
      p->label[n] = label;
      p->n = n + 1;
      i = j = 0;
    }
}

static void sum_over(vq_ox_node *nd, part *p, labels over) {
  int64_t axis[VQ_MAX_RANK];
  uint32_t n = 0;
  unsigned k = 0;
  for (unsigned i = 0; i < p->n; i++) {
    if (over >> p->label[i] & 1)
      axis[n++] = i;
    else
      p->label[k++] = p->label[i];
  }
  p->n = k;
  if (n && p->x)
    p->x = vq_ox_reduce(nd, VQ_OP_reduce_sum, p->x, (vq_ints){axis, n}, false);
}

// ---- products ------------------------------------------------------------------

static unsigned list(labels s, uint8_t *out) {
  unsigned n = 0;
  for (unsigned label = N_LABELS; label-- > 0;)
    if (s >> label & 1)
      out[n++] = (uint8_t)label;
  return n;
}

// Repeats dimensions of 1 where the other operand has more.
static void stretch(vq_ox_node *nd, part *p, const part *other) {
  int64_t dim[VQ_MAX_RANK];
  if (!p->x || !other->x)
    return;
  for (unsigned i = 0; i < p->n; i++) {
    int64_t d = dim_of(other, p->label[i]);
    dim[i] = p->x->type->dim[i] == 1 ? d : p->x->type->dim[i];
  }
  p->x = vq_ox_expand_to(nd, p->x, p->n, dim);
}

static int64_t volume(const part *p, labels s) {
  int64_t n = 1;
  for (unsigned i = 0; i < p->n; i++)
    if (s >> p->label[i] & 1)
      n *= p->x->type->dim[i];
  return n;
}

// Puts labels `first`, `second`, `third` in this order, as three dimensions.
static vq_ox_val *folded(vq_ox_node *nd, part *p, labels first, labels second,
                         labels third) {
  uint8_t order[N_LABELS];
  int64_t dim[3] = {volume(p, first), volume(p, second), volume(p, third)};
  unsigned n = list(first, order);
  n += list(second, order + n);
  n += list(third, order + n);
  arrange(nd, p, order, n);
  return vq_ox_reshape(nd, p->x, 3, dim);
}

// a = the product of a and b, with the labels that are in `keep`.
static vq_status combine(vq_ox_node *nd, part *a, part *b, labels keep) {
  sum_over(nd, a, set_of(a) & ~set_of(b) & ~keep);
  sum_over(nd, b, set_of(b) & ~set_of(a) & ~keep);
  stretch(nd, a, b);
  stretch(nd, b, a);
  labels both = set_of(a) & set_of(b), rows = set_of(a) & ~both;
  labels columns = set_of(b) & ~both, batch = both & keep, sum = both & ~keep;
  uint8_t order[N_LABELS];
  int64_t dim[N_LABELS];
  unsigned n = list(batch, order);
  n += list(rows, order + n);
  n += list(columns, order + n);
  if (!a->x || !b->x)
    return VQ_ERR;
  if (n > VQ_MAX_RANK)
    return vq_ox_fail(nd, VQ_E_limit, "a product on the way has %u dimensions, "
                      "at most %d are accepted", n, VQ_MAX_RANK);
  for (unsigned i = 0; i < n; i++)
    dim[i] = dim_of(columns >> order[i] & 1 ? b : a, order[i]);
  vq_ox_val *left = folded(nd, a, batch, rows, sum);
  vq_ox_val *right = folded(nd, b, batch, sum, columns);
  vq_ox_val *y = vq_ox_op2(nd, sum ? VQ_OP_matmul : VQ_OP_mul, left, right);
  a->x = vq_ox_reshape(nd, y, n, dim);
  memcpy(a->label, order, n);
  a->n = n;
  return a->x ? VQ_OK : VQ_ERR;
}

vq_status vq_onnx_einsum(vq_ox_node *nd) {
  part *in = VQ_NEW_N(&nd->ox->tmp, part, nd->n_in), out = {0};
  if (parse(nd, in, &out))
    return VQ_ERR;
  for (unsigned i = 0; i < nd->n_in; i++)
    diagonals(nd, &in[i]);
  labels result = set_of(&out);
  for (unsigned i = 1; i < nd->n_in; i++) {
    labels keep = result;
    for (unsigned k = i + 1; k < nd->n_in; k++)
      keep |= set_of(&in[k]);
    if (combine(nd, &in[0], &in[i], keep))
      return VQ_ERR;
  }
  sum_over(nd, &in[0], set_of(&in[0]) & ~result);
  if (!in[0].x)
    return VQ_ERR;
  if (set_of(&in[0]) != result || in[0].n != out.n)
    return malformed(nd);
  arrange(nd, &in[0], out.label, out.n);
  return vq_ox_result(nd, 0, in[0].x);
}
