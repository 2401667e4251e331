// From an outlined, planned module to machine code, through LLVM.
//
// The compiled form of a model is: one constant blob, one function per kernel
// and ISA variant, and a table of steps that the runtime's executor walks (see
// vitq_abi.h). The same path serves files and the in-process JIT.
#ifndef VQ_BACKEND_H
#define VQ_BACKEND_H

#include "vitq_abi.h"
#include "vq/diag.h"
#include "vq/exec.h"
#include "vq/ir.h"

typedef enum vq_emit_kind {
  VQ_EMIT_LLVM,     // textual LLVM IR of the kernels and tables
  VQ_EMIT_BC,
  VQ_EMIT_ASM,
  VQ_EMIT_OBJ,
  VQ_EMIT_ARCHIVE,  // objects in an ar archive
  VQ_EMIT_SO,
  VQ_EMIT_HEADER    // the C header that declares <symbol>_run
} vq_emit_kind;

typedef struct vq_backend_options {
  const char *triple;       // NULL: x86_64-pc-linux-gnu
  const char *cpu;          // NULL: all variants; else one name of targets.def
                            // or "native", compiled alone
  const char *symbol;       // prefix of exported symbols; NULL: module name
  const char *runtime_lib;  // path of libvitq_rt.a for VQ_EMIT_SO
  const char *linker;       // NULL: cc
  bool generic;             // only the generic emitter: to find out whether a
                            // specialised one is to blame
  unsigned n_thread;        // that compile; 0: one per processor. The output
                            // does not depend on it
  bool verbose;             // passes job lines to `job`
  bool dry_run;
  void (*job)(void *user, vq_str line);
  // Told which row of emit.def takes each kernel. May be NULL.
  void (*kernel)(void *user, vq_str name, const char *emitter, int64_t macs);
  // Called with live = true when a temporary file is made and with false when
  // it is gone, so that the driver can remove it if a signal ends the process.
  // May be NULL.
  void (*temp_file)(void *user, const char *path, bool live);
  // Called by the calling thread while code is generated, of which `done` of `total`
  // parts are finished or begun. VQ_ERR, after a diagnostic, stops. May be NULL.
  vq_status (*progress)(void *user, int64_t done, int64_t total);
  void *user;
} vq_backend_options;

// Compiles `m` (needs OUTLINED and PLANNED) and writes `path` atomically: a
// temporary file in the same directory, renamed when complete.
VQ_NODISCARD vq_status vq_backend_emit(const vq_module *m, vq_emit_kind kind,
                                       const char *path,
                                       const vq_backend_options *opt,
                                       vq_diag *diag);

// A vq_exec that compiles with this backend in process, for row `cpu` of targets.def,
// which has to run here, or "native", the first that does. `cpu` outlives it.
// vq_exec_ops.prepare clones the function into a module of its own, where it is
// @main, calls `lower`, which is to run a pipeline such as that of -O1, and compiles.
// `func` is the name that the function had.
typedef vq_status (*vq_lower_fn)(void *user, vq_module *m, vq_str func, vq_diag *diag);
vq_exec *vq_exec_jit(vq_lower_fn lower, void *user, const char *cpu);

// Rows of targets.def, best first, for --list-targets.
typedef struct vq_target_info {
  const char *name, *cpu, *help;  // cpu: LLVM's name
  uint64_t requires;  // vitq_isa mask
  bool bf16;          // the CPU has instructions for gradients with products of bf16
} vq_target_info;
const vq_target_info *vq_target_list(unsigned *n);
// Whether the running CPU has all of `requires`.
bool vq_target_runs_here(uint64_t requires);
// The row that float code of row `name` is that of: rows that differ in products of codes
// alone have none of their own. "native": of the first that runs here. Rows with a form of
// bf16 stand for themselves: gradients differ. NULL: no such row, or amx-soft.
const vq_target_info *vq_target_of_floats(const char *name);

// Reads the entries "preprocess.scale mean std resize crop interp". Numbers
// are decimal, lists are separated by commas.
VQ_NODISCARD vq_status vq_preprocess_read(const vq_module *m,
                                          vitq_preprocess *out, vq_diag *diag);

// LLVM's version, "19.1.7".
const char *vq_backend_version(void);

#endif
