// Machine code and LLVM's own formats in memory; the ar format.
//
// An archive is "!<arch>\n" and members, each a 60-byte text header and data
// padded to an even length. The first member, "/", is the index linkers
// search: a big-endian count, as many offsets of member headers, and the names.
#include "object.h"

#include <llvm-c/BitWriter.h>

static LLVMMemoryBufferRef llvm_text(LLVMModuleRef mod) {
  char *text = LLVMPrintModuleToString(mod);
  LLVMMemoryBufferRef b =
      LLVMCreateMemoryBufferWithMemoryRangeCopy(text, strlen(text), "text");
  LLVMDisposeMessage(text);
  return b;
}

static vq_status machine_code(vq_llvm *l, LLVMCodeGenFileType type,
                              LLVMMemoryBufferRef *out) {
  uint32_t errors = l->diag->n_error;
  char *message = NULL;
  LLVMSetTargetMachineAsmVerbosity(l->tm, true);
  if (!LLVMTargetMachineEmitToMemoryBuffer(l->tm, l->mod, type, &message, out)) {
    if (l->diag->n_error == errors) return VQ_OK;
    LLVMDisposeMemoryBuffer(*out);
    return VQ_ERR;
  }
  vq_error(l->diag, VQ_E_backend, (vq_loc){0}, "LLVM: %s", message);
  LLVMDisposeMessage(message);
  return VQ_ERR;
}

vq_status vq_object_emit(vq_llvm *l, vq_emit_kind kind,
                         LLVMMemoryBufferRef *out) {
  switch (kind) {
    case VQ_EMIT_LLVM:
      *out = llvm_text(l->mod);
      return VQ_OK;
    case VQ_EMIT_BC:
      *out = LLVMWriteBitcodeToMemoryBuffer(l->mod);
      return VQ_OK;
    case VQ_EMIT_ASM:
      return machine_code(l, LLVMAssemblyFile, out);
    case VQ_EMIT_OBJ:
      return machine_code(l, LLVMObjectFile, out);
    case VQ_EMIT_ARCHIVE:
    case VQ_EMIT_SO:
    case VQ_EMIT_HEADER:
      break;
  }
  VQ_BUG("emit kind %d is not a form of a module", (int)kind);
}

// ---- archives -------------------------------------------------------------------

static void add_member(vq_strbuf *out, const char *name, size_t size) {
  vq_strbuf_printf(out, "%-16s%-12d%-6d%-6d%-8s%-10zu`\n", name, 0, 0, 0,
                   "100644", size);
}

static void add_be32(vq_strbuf *out, uint32_t v) {
  for (int shift = 24; shift >= 0; shift -= 8)
    vq_strbuf_putc(out, (char)(v >> shift & 0xff));
}

void vq_archive_write(vq_strbuf *out, const char *member, const void *object,
                      size_t size, const char *const *symbol, unsigned n) {
  size_t names = 0;
  for (unsigned i = 0; i < n; i++) names += strlen(symbol[i]) + 1;
  names += names & 1;
  size_t index = 4 + 4 * (size_t)n + names;
  vq_strbuf_puts(out, "!<arch>\n");
  size_t start = out->n;
  add_member(out, "/", index);
  size_t header = out->n - start;
  add_be32(out, n);
  for (unsigned i = 0; i < n; i++)
    add_be32(out, (uint32_t)(start + header + index));
  size_t end = out->n + names;
  for (unsigned i = 0; i < n; i++)
    vq_strbuf_add(out, symbol[i], strlen(symbol[i]) + 1);
  if (out->n < end) vq_strbuf_putc(out, 0);
  add_member(out, member, size);
  vq_strbuf_add(out, object, size);
  if (size & 1) vq_strbuf_putc(out, '\n');
}
