// The ar format.
//
// An archive is "!<arch>\n" and members, each a 60-byte text header and data
// padded to an even length. The first member, "/", is the index linkers
// search: a big-endian count, as many offsets of member headers, and the names.
// Headers state no time, owner or place.
#include "archive.h"

#include "vq/strbuf.h"

enum { MAGIC = 8, HEADER = 60 };

static uint64_t even(uint64_t n) { return n + (n & 1); }

static void put_header(vq_strbuf *out, const char *name, uint64_t size) {
  vq_strbuf_printf(out, "%-16s%-12d%-6d%-6d%-8s%-10llu`\n", name, 0, 0, 0,
                   "100644", (unsigned long long)size);
}

static void put_be32(vq_strbuf *out, uint64_t v) {
  for (int shift = 24; shift >= 0; shift -= 8)
    vq_strbuf_putc(out, (char)(v >> shift & 0xff));
}

// The magic and the index.
static vq_status put_index(vq_strbuf *out, const vq_member *m, unsigned n,
                           vq_output *o) {
  uint64_t count = 0, names = 0;
  for (unsigned i = 0; i < n; i++)
    for (unsigned k = 0; k < m[i].n_symbol; k++, count++)
      names += strlen(m[i].symbol[k]) + 1;
  uint64_t size = even(4 + 4 * count + names), at = MAGIC + HEADER + size;
  vq_strbuf_puts(out, "!<arch>\n");
  put_header(out, "/", size);
  put_be32(out, count);
  for (unsigned i = 0; i < n; i++) {
    if (at > UINT32_MAX)
      return vq_error(o->diag, VQ_E_limit, (vq_loc){0},
                      "an archive holds at most 4 GiB");
    for (unsigned k = 0; k < m[i].n_symbol; k++) put_be32(out, at);
    at += HEADER + even(m[i].n);
  }
  for (unsigned i = 0; i < n; i++)
    for (unsigned k = 0; k < m[i].n_symbol; k++)
      vq_strbuf_add(out, m[i].symbol[k], strlen(m[i].symbol[k]) + 1);
  while (out->n < MAGIC + HEADER + size) vq_strbuf_putc(out, 0);
  return VQ_OK;
}

static vq_status put_member(vq_output *o, const vq_member *m, unsigned i,
                            const vq_layout *l) {
  vq_strbuf name = {0}, head = {0};
  vq_strbuf_printf(&name, "model%u.o/", i);
  put_header(&head, vq_strbuf_z(&name), m->n);
  vq_status st = vq_output_write(o, head.p, head.n);
  vq_strbuf_release(&name);
  vq_strbuf_release(&head);
  if (st) return st;
  st = m->p ? vq_output_write(o, m->p, m->n) : vq_constants_object_write(o, l);
  if (st) return st;
  return m->n & 1 ? vq_output_write(o, "\n", 1) : VQ_OK;
}

vq_status vq_archive_write(vq_output *o, const vq_member *m, unsigned n,
                           const vq_layout *l) {
  vq_strbuf index = {0};
  vq_status st = put_index(&index, m, n, o);
  if (st)
    vq_output_abort(o);
  else
    st = vq_output_write(o, index.p, index.n);
  vq_strbuf_release(&index);
  for (unsigned i = 0; i < n && !st; i++) st = put_member(o, &m[i], i, l);
  return st;
}
