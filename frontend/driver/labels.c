// Reading the labels of an evaluation.
#include "labels.h"

#include <inttypes.h>
#include <stdlib.h>

#include "load.h"
#include "vq/eval.h"
#include "vq/map.h"

typedef struct labels {
  driver *d;
  const char *path;
  const source *s;
  int64_t n_class, *out, n_listed;
  vq_map by_name;  // picture -> class number + 1
} labels;

static vq_status store(labels *l, int64_t i, int64_t class_number) {
  if (class_number < 0 || class_number >= l->n_class)
    return vq_error(&l->d->diag, VQ_E_option, at_path(l->d, l->path),
                    "label %" PRId64 " is class %" PRId64 ", the model has "
                    "classes 0 to %" PRId64, i, class_number, l->n_class - 1);
  l->out[i] = class_number;
  return VQ_OK;
}

static vq_status wrong_count(labels *l, int64_t found) {
  return vq_error(&l->d->diag, VQ_E_option, at_path(l->d, l->path),
                  "found %" PRId64 " labels for %" PRId64 " pictures", found,
                  l->s->n);
}

static vq_status from_array(labels *l) {
  vq_npy a;
  if (vq_npy_read(l->path, &l->d->diag, &a)) return VQ_ERR;
  vq_status s = VQ_OK;
  if (a.dtype == VQ_f32 || a.rank != 1)
    s = vq_error(&l->d->diag, VQ_E_option, at_path(l->d, l->path),
                 "expected integers of rank 1, found %s of rank %u",
                 vq_dtype_name(a.dtype), a.rank);
  else if (a.dim[0] != l->s->n)
    s = wrong_count(l, a.dim[0]);
  size_t size = vq_dtype_bits(a.dtype) / 8;
  for (int64_t i = 0; i < l->s->n && !s; i++) {
    int64_t one;  // aligned copy of the element
    memcpy(&one, (const char *)a.data + (size_t)i * size, size);
    s = store(l, i, vq_load_i64(a.dtype, &one, 0));
  }
  vq_npy_release(&a);
  return s;
}

static bool read_class(const char *p, int64_t *out) {
  char *end;
  *out = strtoll(p, &end, 10);
  return end != p && *end == '\0';
}

// "name class" or "class".
static vq_status take_line(labels *l, char *line, unsigned number) {
  while (*line == ' ' || *line == '\t') line++;
  size_t n = strlen(line);
  while (n && strchr(" \t\r", line[n - 1])) line[--n] = '\0';
  if (n == 0 || *line == '#') return VQ_OK;
  char *blank = strrchr(line, ' '), *tab = strrchr(line, '\t');
  char *split = !tab || (blank && blank > tab) ? blank : tab;
  int64_t class_number;
  if (!read_class(split ? split + 1 : line, &class_number))
    return vq_error(&l->d->diag, VQ_E_option, at_path(l->d, l->path),
                    "line %u: expected 'picture class', found '%s'", number, line);
  if (!split) {
    if (l->n_listed >= l->s->n) return wrong_count(l, l->n_listed + 1);
    return store(l, l->n_listed++, class_number);
  }
  *split = '\0';
  void **slot = vq_map_put(&l->by_name, vq_str_of(line));
  *slot = (void *)(intptr_t)(class_number + 1);
  return VQ_OK;
}

static vq_status match_names(labels *l) {
  vq_strbuf name = {0};
  vq_status s = VQ_OK;
  for (int64_t i = 0; i < l->s->n && !s; i++) {
    vq_strbuf_clear(&name);
    source_name(l->s, i, &name);
    void **slot = vq_map_find(&l->by_name, vq_strbuf_view(&name));
    if (slot)
      s = store(l, i, (int64_t)(intptr_t)*slot - 1);
    else
      s = vq_error(&l->d->diag, VQ_E_option, at_path(l->d, l->path),
                   "no line for picture '%s'", vq_strbuf_z(&name));
  }
  vq_strbuf_release(&name);
  return s;
}

static vq_status from_text(labels *l) {
  uint8_t *text;
  size_t n;
  if (vq_read_file(l->path, &l->d->diag, &text, &n)) return VQ_ERR;
  text[n] = '\0';  // vq_read_file leaves room for it
  vq_status s = VQ_OK;
  unsigned number = 1;
  for (char *line = (char *)text; line && !s; number++) {
    char *end = strchr(line, '\n');
    if (end) *end = '\0';
    s = take_line(l, line, number);
    line = end ? end + 1 : NULL;
  }
  if (!s && l->by_name.n == 0 && l->n_listed != l->s->n)
    s = wrong_count(l, l->n_listed);
  if (!s && l->by_name.n) s = match_names(l);
  vq_map_release(&l->by_name);
  free(text);
  return s;
}

vq_status labels_read(driver *d, const char *path, const source *s,
                      int64_t n_class, int64_t **out) {
  labels l = {.d = d, .path = path, .s = s, .n_class = n_class};
  file_kind kind;
  if (file_sniff(d, path, &kind)) return VQ_ERR;
  l.out = calloc((size_t)s->n + 1, sizeof *l.out);
  if (!l.out) vq_oom((size_t)s->n * sizeof *l.out);
  vq_status st = kind == FILE_NPY ? from_array(&l) : from_text(&l);
  if (st)
    free(l.out);
  else
    *out = l.out;
  return st;
}
