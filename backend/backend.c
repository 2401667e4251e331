// vq_backend_emit: one module to one file of any kind.
#include "vq/backend.h"

#include "archive.h"
#include "emit_kernel.h"
#include "header.h"
#include "link.h"
#include "object.h"
#include "target.h"
#include "tile.h"
#include "units.h"

static vq_status write_header(const vq_layout *layout, const char *path,
                              const vq_backend_options *opt, vq_diag *diag) {
  vq_strbuf s = {0};
  vq_header_write(&s, layout);
  vq_status st = vq_output_file(path, s.p, s.n, opt, diag);
  vq_strbuf_release(&s);
  return st;
}

typedef struct names {
  const char **symbol;
  unsigned n;
  vq_arena *arena;
} names;

static void add_name(names *s, vq_strbuf *name) {
  s->symbol[s->n++] = vq_arena_str(s->arena, vq_strbuf_view(name)).p;
  vq_strbuf_release(name);
}

static void add_tables(names *s, const vq_layout *l) {
  static const char *const entry[] = {"_query", "_run", "_workspace"};
  vq_strbuf query = {0};
  vq_strbuf_puts(&query, VITQ_QUERY_SYMBOL);
  add_name(s, &query);
  for (unsigned k = 0; k < VQ_COUNT(entry); k++) {
    vq_strbuf name = {0};
    vq_strbuf_printf(&name, "%s%s", l->symbol, entry[k]);
    add_name(s, &name);
  }
}

static void add_tiles(names *s, const vq_layout *l, const vq_target *t,
                      const vq_target *end) {
  vq_tiles tiles;
  vq_tiles_of(&tiles, l, t, end);
  for (unsigned k = 0; k < tiles.n; k++) {
    vq_strbuf name = {0};
    vq_tile_symbol(&name, l->symbol, t, tiles.id[k]);
    add_name(s, &name);
  }
}

// What the object of a unit defines for others: the tables the entry points, every
// other object its kernel or tiles.
static vq_member code_member(const vq_layout *l, vq_unit u, const vq_target *end,
                             LLVMMemoryBufferRef object, vq_arena *arena) {
  names s = {VQ_NEW_N(arena, const char *, VQ_COUNT(((vq_tiles *)0)->id)), 0,
             arena};
  vq_strbuf name = {0};
  switch (u.kind) {
    case VQ_UNIT_TABLES:
      add_tables(&s, l);
      break;
    case VQ_UNIT_TILES:
      add_tiles(&s, l, u.target, end);
      break;
    case VQ_UNIT_KERNEL:
      vq_kernel_symbol(&name, l, u.kernel, u.target);
      add_name(&s, &name);
      break;
  }
  return (vq_member){LLVMGetBufferStart(object), LLVMGetBufferSize(object),
                     s.symbol, s.n};
}

static vq_member constants_member(const vq_layout *l, vq_arena *arena) {
  vq_strbuf name = {0};
  vq_strbuf_printf(&name, "%s_constants", l->symbol);
  const char **symbol = VQ_NEW_N(arena, const char *, 1);
  *symbol = vq_arena_str(arena, vq_strbuf_view(&name)).p;
  vq_strbuf_release(&name);
  return (vq_member){NULL, vq_constants_object_size(l), symbol, 1};
}

// The linker writes the temporary file of the output; the archive lies beside
// it while the linker runs.
static vq_status link_members(const vq_member *m, unsigned n, vq_emit_kind kind,
                              const vq_layout *l, const char *path,
                              const vq_backend_options *opt, vq_diag *diag) {
  vq_output out, ar;
  if (vq_output_open(&out, path, opt, diag)) return VQ_ERR;
  if (out.direct) {
    vq_output_abort(&out);
    return vq_error(diag, VQ_E_io, (vq_loc){0},
                    "cannot link into '%s': not a regular file", path);
  }
  vq_strbuf name = {0};
  vq_strbuf_printf(&name, "%s.a", out.temp);
  vq_status st = vq_output_open(&ar, vq_strbuf_z(&name), opt, diag);
  if (!st) st = vq_archive_write(&ar, m, n, l);
  if (!st) {
    st = vq_link(kind, ar.temp, out.temp, opt, diag);
    vq_output_abort(&ar);
  }
  vq_strbuf_release(&name);
  if (!st) return vq_output_commit(&out);
  vq_output_abort(&out);
  return VQ_ERR;
}

static vq_status write_archive(const vq_member *m, unsigned n,
                               const vq_layout *l, const char *path,
                               const vq_backend_options *opt, vq_diag *diag) {
  vq_output o;
  if (vq_output_open(&o, path, opt, diag) || vq_archive_write(&o, m, n, l))
    return VQ_ERR;
  return vq_output_commit(&o);
}

// Complete machine code: compile units and constants, linked or not.
static vq_status emit_code(const vq_layout *layout, const vq_target *target,
                           unsigned n_target, vq_emit_kind kind,
                           const char *path, const vq_backend_options *opt,
                           vq_arena *arena, vq_diag *diag) {
  vq_objects o;
  if (vq_units_compile(&o, layout, target, n_target, true, opt, arena, diag))
    return VQ_ERR;
  unsigned n;
  const vq_unit *u = vq_units_of(layout, target, n_target, &n, arena);
  vq_member *m = VQ_NEW_N(arena, vq_member, o.n + 1);
  for (unsigned i = 0; i < n; i++)
    m[i] = code_member(layout, u[i], target + n_target, o.object[i], arena);
  m[o.n] = constants_member(layout, arena);
  vq_status st =
      kind == VQ_EMIT_ARCHIVE
          ? write_archive(m, o.n + 1, layout, path, opt, diag)
          : link_members(m, o.n + 1, kind, layout, path, opt, diag);
  vq_objects_release(&o);
  return st;
}

// The code as one LLVM module, to be read or worked on: without the constants.
static vq_status emit_module(const vq_layout *layout, const vq_target *target,
                             unsigned n_target, vq_emit_kind kind,
                             const char *path, const vq_backend_options *opt,
                             vq_diag *diag) {
  LLVMMemoryBufferRef buf = NULL;
  vq_llvm l;
  vq_status st = vq_llvm_open(&l, layout->symbol, diag);
  if (!st) st = vq_emit_model(&l, layout, target, n_target);
  if (!st) st = vq_object_emit(&l, kind, &buf);
  vq_llvm_close(&l);
  if (st) return st;
  st = vq_output_file(path, LLVMGetBufferStart(buf), LLVMGetBufferSize(buf), opt,
                      diag);
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
  for (uint32_t i = 0; opt->kernel && i < layout.n_kernel; i++)
    opt->kernel(opt->user, layout.kernel[i].func->name, layout.kernel[i].emitter->name,
                layout.kernel[i].macs);
  bool linked = kind == VQ_EMIT_SO || kind == VQ_EMIT_OBJ;
  if (opt->dry_run)
    return linked ? vq_link(kind, "MODEL.a", path, opt, diag) : VQ_OK;
  if (kind == VQ_EMIT_HEADER) return write_header(&layout, path, opt, diag);
  if (linked || kind == VQ_EMIT_ARCHIVE)
    return emit_code(&layout, target, n_target, kind, path, opt, arena, diag);
  return emit_module(&layout, target, n_target, kind, path, opt, diag);
}

vq_status vq_backend_emit(const vq_module *m, vq_emit_kind kind,
                          const char *path, const vq_backend_options *opt,
                          vq_diag *diag) {
  vq_arena arena = {0};
  vq_status st = emit(m, kind, path, opt, &arena, diag);
  vq_arena_release(&arena);
  return st;
}
