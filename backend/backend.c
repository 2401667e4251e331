// vq_backend_emit: one module to one file of any kind.
#include "vq/backend.h"

#include "emit_model.h"
#include "header.h"
#include "link.h"
#include "object.h"
#include "output.h"
#include "target.h"

static vq_status write_header(const vq_layout *layout, const char *path,
                              const vq_backend_options *opt, vq_diag *diag) {
  vq_strbuf s = {0};
  vq_header_write(&s, layout);
  vq_status st = vq_output_file(path, s.p, s.n, opt, diag);
  vq_strbuf_release(&s);
  return st;
}

static vq_status write_archive(const vq_layout *layout, const void *object,
                               size_t size, const char *path,
                               const vq_backend_options *opt, vq_diag *diag) {
  static const char *const suffix[] = {"_query", "_run", "_workspace"};
  const char *symbol[VQ_COUNT(suffix) + 1] = {VITQ_QUERY_SYMBOL};
  vq_strbuf name[VQ_COUNT(suffix)] = {{0}}, ar = {0};
  for (unsigned i = 0; i < VQ_COUNT(suffix); i++) {
    vq_strbuf_printf(&name[i], "%s%s", layout->symbol, suffix[i]);
    symbol[i + 1] = vq_strbuf_z(&name[i]);
  }
  vq_archive_write(&ar, "model.o/", object, size, symbol, VQ_COUNT(symbol));
  vq_status st = vq_output_file(path, ar.p, ar.n, opt, diag);
  for (unsigned i = 0; i < VQ_COUNT(suffix); i++) vq_strbuf_release(&name[i]);
  vq_strbuf_release(&ar);
  return st;
}

// The linker writes the temporary file of the output; the object lies beside
// it while the linker runs.
static vq_status write_shared(const void *object, size_t size, const char *path,
                              const vq_backend_options *opt, vq_diag *diag) {
  vq_output so, obj;
  if (vq_output_open(&so, path, opt, diag)) return VQ_ERR;
  if (so.direct) {
    vq_output_abort(&so);
    return vq_error(diag, VQ_E_io, (vq_loc){0},
                    "cannot write a shared object to '%s': not a regular file",
                    path);
  }
  vq_strbuf name = {0};
  vq_strbuf_printf(&name, "%s.o", so.temp);
  vq_status st = vq_output_open(&obj, vq_strbuf_z(&name), opt, diag);
  if (!st) {
    st = vq_output_write(&obj, object, size);
    if (!st) st = vq_link_shared(obj.temp, so.temp, opt, diag);
    vq_output_abort(&obj);
  }
  vq_strbuf_release(&name);
  if (!st) return vq_output_commit(&so);
  vq_output_abort(&so);
  return VQ_ERR;
}

static vq_status write_code(vq_llvm *l, const vq_layout *layout,
                            vq_emit_kind kind, const char *path,
                            const vq_backend_options *opt, vq_diag *diag) {
  bool boxed = kind == VQ_EMIT_SO || kind == VQ_EMIT_ARCHIVE;
  LLVMMemoryBufferRef buf;
  if (vq_object_emit(l, boxed ? VQ_EMIT_OBJ : kind, &buf)) return VQ_ERR;
  vq_llvm_close(l);
  const char *p = LLVMGetBufferStart(buf);
  size_t n = LLVMGetBufferSize(buf);
  vq_status st =
      kind == VQ_EMIT_SO ? write_shared(p, n, path, opt, diag)
      : kind == VQ_EMIT_ARCHIVE
          ? write_archive(layout, p, n, path, opt, diag)
          : vq_output_file(path, p, n, opt, diag);
  LLVMDisposeMemoryBuffer(buf);
  return st;
}

static vq_status emit(const vq_module *m, vq_emit_kind kind, const char *path,
                      const vq_backend_options *opt, vq_arena *arena,
                      vq_diag *diag) {
  const vq_target *target;
  unsigned n_target;
  vq_layout layout;
  if (vq_target_select(opt->triple, opt->cpu, diag, &target, &n_target) ||
      vq_layout_build(&layout, m, opt->symbol, opt->generic, arena, diag))
    return VQ_ERR;
  if (kind == VQ_EMIT_SO && !opt->runtime_lib)
    return vq_error(diag, VQ_E_option, (vq_loc){0},
                    "a shared object needs the path of libvitq_rt.a");
  if (opt->dry_run)
    return kind == VQ_EMIT_SO ? vq_link_shared("MODEL.o", path, opt, diag)
                              : VQ_OK;
  if (kind == VQ_EMIT_HEADER) return write_header(&layout, path, opt, diag);
  bool readable = kind == VQ_EMIT_LLVM || kind == VQ_EMIT_ASM;
  vq_llvm l;
  vq_status st = vq_llvm_open(&l, layout.symbol, diag);
  if (!st)
    st = vq_emit_model(&l, &layout, target, n_target,
                       readable ? VQ_MODEL_TEXT : VQ_MODEL_LINKED);
  if (!st) st = write_code(&l, &layout, kind, path, opt, diag);
  vq_llvm_close(&l);
  return st;
}

vq_status vq_backend_emit(const vq_module *m, vq_emit_kind kind,
                          const char *path, const vq_backend_options *opt,
                          vq_diag *diag) {
  vq_arena arena = {0};
  vq_status st = emit(m, kind, path, opt, &arena, diag);
  vq_arena_release(&arena);
  return st;
}
