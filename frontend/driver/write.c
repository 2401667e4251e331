// Writing modules.
#include "write.h"

#include <unistd.h>

#include "temporary.h"
#include "vq/inspect.h"
#include "vq/text.h"

// "x.vq" -> "x.vqw", anything else gets ".vqw" added.
static void side_path(const char *path, vq_strbuf *out) {
  size_t n = strlen(path);
  bool vq = n > 3 && strcmp(path + n - 3, ".vq") == 0;
  vq_strbuf_printf(out, "%.*s.vqw", (int)(vq ? n - 3 : n), path);
}

static vq_status write_text(driver *d, const vq_strbuf *text, const char *path) {
  if (strcmp(path, "-") != 0) return out_write(path, text->p, text->n, d);
  fwrite(text->p, 1, text->n, d->result);
  return VQ_OK;
}

// Text and side file. An interrupt removes what is half written.
static vq_status print_with_data(driver *d, const vq_module *m, unsigned flags,
                                 const char *path, vq_strbuf *text) {
  vq_strbuf side = {0}, temp = {0};
  side_path(path, &side);
  vq_strbuf_printf(&temp, "%s.%ld.0.tmp", side.p, (long)getpid());
  temporary_add(d, temp.p);
  const char *slash = strrchr(side.p, '/');
  vq_blob_writer *blobs =
      vq_blob_open(d->ctx, &d->diag, side.p, vq_str_of(slash ? slash + 1 : side.p));
  vq_status s = blobs ? vq_print(text, m, flags, blobs) : VQ_ERR;
  if (blobs && s) vq_blob_abort(blobs);
  if (blobs && !s) s = vq_blob_commit(blobs);
  temporary_drop(d, temp.p);
  vq_strbuf_release(&temp);
  vq_strbuf_release(&side);
  return s;
}

vq_status write_ir(driver *d, const vq_module *m, const char *path) {
  unsigned flags = opt_given(&d->opt, OPT_print_locs) ? VQ_PRINT_LOCS : 0;
  vq_strbuf text = {0};
  vq_status s = strcmp(path, "-") == 0
                    ? vq_print(&text, m, flags | VQ_PRINT_ELIDE, NULL)
                    : print_with_data(d, m, flags, path, &text);
  if (!s) s = write_text(d, &text, path);
  vq_strbuf_release(&text);
  return s;
}

vq_status write_dot(driver *d, const vq_module *m, const char *path) {
  vq_strbuf text = {0};
  vq_dot(&text, m);
  vq_status s = write_text(d, &text, path);
  vq_strbuf_release(&text);
  return s;
}
