// --preprocess and --labels: from the command line into the module's facts.
#include <math.h>
#include <stdlib.h>

#include "load.h"
#include "vq/image.h"

// ---- preprocessing --------------------------------------------------------------

typedef enum fact_kind { NUMBERS, PIXELS, INTERP } fact_kind;
static const struct {
  const char *key, *meta;
  fact_kind kind;
  unsigned max;
} facts[] = {
    {"scale", "preprocess.scale", NUMBERS, 1},
    {"mean", "preprocess.mean", NUMBERS, 4},
    {"std", "preprocess.std", NUMBERS, 4},
    {"resize", "preprocess.resize", PIXELS, 1},
    {"crop", "preprocess.crop", PIXELS, 1},
    {"interp", "preprocess.interp", INTERP, 1},
};

static vq_status bad_fact(driver *d, const char *word, const char *expected) {
  return vq_error(&d->diag, VQ_E_option, at_path(d, "vitqc"),
                  "--preprocess has '%s', expected %s", word, expected);
}

// Reads "a" or "a/b" at *p.
static bool read_ratio(const char **p, double *out) {
  char *end;
  *out = strtod(*p, &end);
  if (end == *p) return false;
  *p = end;
  if (*end != '/') return isfinite(*out);
  double below = strtod(end + 1, &end);
  if (end == *p + 1 || below == 0) return false;
  *p = end;
  *out /= below;
  return isfinite(*out);
}

static bool read_numbers(const char *text, unsigned max, bool no_zero,
                         vq_strbuf *out) {
  for (unsigned n = 0; n < max; n++) {
    double v;
    if (!read_ratio(&text, &v) || !isfinite((float)v)) return false;
    if (no_zero && (float)v == 0) return false;
    if (n) vq_strbuf_putc(out, ',');
    vq_strbuf_f32(out, (float)v);
    if (*text == '\0') return true;
    if (*text++ != ',') return false;
  }
  return false;
}

static bool read_pixels(const char *text, vq_strbuf *out) {
  size_t n = strspn(text, "0123456789");
  if (n == 0 || n > 5 || text[n] || atol(text) > 65536) return false;
  vq_strbuf_printf(out, "%ld", atol(text));
  return true;
}

static vq_status store_fact(driver *d, vq_module *m, char *word) {
  char *value = strchr(word, '=');
  for (size_t i = 0; value && i < VQ_COUNT(facts); i++) {
    size_t n = strlen(facts[i].key);
    if ((size_t)(value - word) != n || memcmp(word, facts[i].key, n)) continue;
    const char *v = value + 1, *expected = NULL;
    vq_strbuf text = {0};
    switch (facts[i].kind) {
      case NUMBERS:
        if (!read_numbers(v, facts[i].max, strcmp(facts[i].key, "std") == 0,
                          &text))
          expected = "numbers or fractions, one for each channel or for all";
        break;
      case PIXELS:
        if (!read_pixels(v, &text)) expected = "a number of pixels up to 65536";
        break;
      case INTERP:
        vq_strbuf_puts(&text, v);
        if (strcmp(v, "nearest") && strcmp(v, "bilinear") && strcmp(v, "bicubic"))
          expected = "nearest, bilinear or bicubic";
        break;
    }
    if (!expected) vq_meta_set(m, facts[i].meta, vq_strbuf_view(&text));
    vq_strbuf_release(&text);
    return expected ? bad_fact(d, word, expected) : VQ_OK;
  }
  return bad_fact(d, word, "scale= mean= std= resize= crop= or interp=");
}

vq_status preprocess_text(driver *d, const char *option, vq_strbuf *out) {
  if (option[0] != '@') {
    vq_strbuf_puts(out, option);
    return VQ_OK;
  }
  uint8_t *text;
  size_t n;
  if (vq_read_file(option + 1, &d->diag, &text, &n)) return VQ_ERR;
  bool comment = false;
  for (size_t i = 0; i < n; i++) {
    comment = text[i] == '#' || (comment && text[i] != '\n');
    if (!comment && text[i]) vq_strbuf_putc(out, (char)text[i]);
  }
  free(text);
  return VQ_OK;
}

vq_status store_preprocess(driver *d, vq_module *m) {
  const char *option = opt_text(&d->opt, OPT_preprocess);
  vq_strbuf text = {0};
  if (!option) return VQ_OK;
  vq_status s = preprocess_text(d, option, &text);
  if (!s) vq_meta_set(m, "preprocess.scale", VQ_LIT("1"));
  char *save = NULL, *word = text.p ? strtok_r(text.p, " \t\r\n", &save) : NULL;
  for (; word && !s; word = strtok_r(NULL, " \t\r\n", &save))
    s = store_fact(d, m, word);
  vq_strbuf_release(&text);
  return s;
}

// ---- labels ---------------------------------------------------------------------

static int64_t n_classes(const vq_module *m) {
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  if (!f || f->n_result == 0 || f->result[0]->rank == 0) return 0;
  return f->result[0]->dim[f->result[0]->rank - 1];
}

vq_status store_labels(driver *d, vq_module *m) {
  const char *path = opt_text(&d->opt, OPT_labels);
  uint8_t *text;
  size_t n;
  if (!path) return VQ_OK;
  if (vq_read_file(path, &d->diag, &text, &n)) return VQ_ERR;
  vq_status s = VQ_OK;
  if (memchr(text, 0, n))
    s = vq_error(&d->diag, VQ_E_option, at_path(d, path),
                 "expected one class name a line, found binary data");
  while (n && (text[n - 1] == '\n' || text[n - 1] == '\r')) n--;
  int64_t lines = n ? 1 : 0;
  for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
  if (!s && lines != n_classes(m))
    s = vq_error(&d->diag, VQ_E_option, at_path(d, path),
                 "found %lld class names, the model has %lld classes",
                 (long long)lines, (long long)n_classes(m));
  if (!s) vq_meta_set(m, "labels", (vq_str){(const char *)text, n});
  free(text);
  return s;
}
