// Reading widths of codes.
#include "vq/bits.h"

#include "vq/strbuf.h"

static const struct {
  const char *name;
  bool has_weights;
} roles[VQ_N_ROLES] = {
    [VQ_ROLE_QKV] = {"qkv", true},
    [VQ_ROLE_ATTN_QK] = {"attn.qk", false},
    [VQ_ROLE_ATTN_AV] = {"attn.av", false},
    [VQ_ROLE_PROJ] = {"proj", true},
    [VQ_ROLE_FC1] = {"fc1", true},
    [VQ_ROLE_FC2] = {"fc2", true},
    [VQ_ROLE_PATCH] = {"patch-embed", true},
    [VQ_ROLE_HEAD] = {"head", true},
    [VQ_ROLE_RESIDUAL] = {"residual", false},
    [VQ_ROLE_LINEAR] = {"linear", true},
};

static bool take(vq_str *s, const char *word) {
  size_t n = strlen(word);
  if (s->n < n || memcmp(s->p, word, n) != 0) return false;
  s->p += n, s->n -= n;
  return true;
}

// A number without sign or leading zero, or "float"; 0: neither.
static int take_width(vq_str *s) {
  if (take(s, "float")) return VQ_BITS_FLOAT;
  int v = 0;
  for (; s->n && s->p[0] >= '0' && s->p[0] <= '9' && v < 100; s->p++, s->n--) {
    if (v == 0 && s->p[0] == '0') return 0;
    v = 10 * v + s->p[0] - '0';
  }
  return v;
}

// wN, aM, wNaM or float; what is not given stays 0.
static bool read_widths(vq_str s, int *w, int *a) {
  *w = *a = 0;
  if (vq_str_is(s, "float")) {
    *w = *a = VQ_BITS_FLOAT;
    return true;
  }
  if (!s.n || (take(&s, "w") && !(*w = take_width(&s)))) return false;
  if (take(&s, "a") && !(*a = take_width(&s))) return false;
  return s.n == 0;
}

static bool is_width(int v) { return (v >= 3 && v <= 8) || v == VQ_BITS_FLOAT; }

static bool read_first(vq_str s, vq_bits *out) {
  return read_widths(s, &out->weights, &out->activations) && is_width(out->weights) &&
         is_width(out->activations);
}

static bool read_role(vq_str s, vq_bits *out) {
  size_t n = 0;
  while (n < s.n && s.p[n] != '=') n++;
  for (int r = 0, w, a; r < VQ_N_ROLES && n < s.n; r++) {
    if (!vq_str_is((vq_str){s.p, n}, roles[r].name)) continue;
    if (!read_widths((vq_str){s.p + n + 1, s.n - n - 1}, &w, &a)) return false;
    bool all = w == VQ_BITS_FLOAT && a == VQ_BITS_FLOAT;
    bool wide = r == VQ_ROLE_RESIDUAL && a == 16;
    if (w && (!is_width(w) || (!roles[r].has_weights && !all))) return false;
    if (a && !is_width(a) && !wide) return false;
    if (w) out->w[r] = w;
    if (a) out->a[r] = a;
    return true;
  }
  return false;
}

// What no word was about.
static void complete(vq_bits *b) {
  for (int r = 0; r < VQ_N_ROLES; r++) {
    int least = r == VQ_ROLE_PATCH || r == VQ_ROLE_HEAD ? 8 : 0;
    if (!b->w[r]) b->w[r] = b->weights > least ? b->weights : least;
    if (b->a[r]) continue;
    b->a[r] = b->activations > least ? b->activations : least;
    if (r == VQ_ROLE_RESIDUAL && b->a[r] != VQ_BITS_FLOAT) b->a[r] = 16;
  }
}

static vq_status complain(vq_str text, vq_str part, vq_diag *diag) {
  vq_strbuf names = {0};
  for (int r = 0; r < VQ_N_ROLES; r++)
    vq_strbuf_printf(&names, "%s%s", r ? ", " : "", roles[r].name);
  vq_error(diag, VQ_E_option, (vq_loc){0},
           "bits is '%.*s', expected wNaM[,ROLE=WIDTHS]... in place of '%.*s'; N, M: 3 to "
           "8 or float; WIDTHS: wN, aM, wNaM or float; ROLE: %s (attn.* and residual have "
           "no w, residual also a16)",
           VQ_FMT(text), VQ_FMT(part), vq_strbuf_z(&names));
  vq_strbuf_release(&names);
  return VQ_ERR;
}

vq_status vq_bits_parse(vq_str text, vq_diag *diag, vq_bits *out) {
  *out = (vq_bits){0};
  for (size_t i = 0, n; i <= text.n; i += n + 1) {
    for (n = 0; i + n < text.n && text.p[i + n] != ',';) n++;
    vq_str part = {text.p + i, n};
    if (!(i == 0 ? read_first(part, out) : read_role(part, out)))
      return complain(text, part, diag);
  }
  complete(out);
  return VQ_OK;
}
