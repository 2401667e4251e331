// Setting LLVM up and turning its complaints into ours.
//
// LLVM has two ways to fail: diagnostics, which go to the vq_diag of the
// module, and fatal errors, after which it would exit. The latter mean that
// an emitter built something that cannot be selected: a fault of ours, so they
// end in vq_bug with its reproducer.
#include "llvm.h"

#include <llvm-c/Analysis.h>
#include <llvm/Config/llvm-config.h>
#include <llvm-c/ErrorHandling.h>
#include <llvm-c/Linker.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>
#include <stdio.h>

#include "target.h"
#include "vq/backend.h"

static void on_fatal(const char *reason) { VQ_BUG("LLVM: %s", reason); }

static void on_diagnostic(LLVMDiagnosticInfoRef info, void *user) {
  vq_diag *diag = user;
  char *text = LLVMGetDiagInfoDescription(info);
  switch (LLVMGetDiagInfoSeverity(info)) {
    case LLVMDSError:
      vq_error(diag, VQ_E_backend, (vq_loc){0}, "LLVM: %s", text);
      break;
    case LLVMDSWarning:
      vq_warn(diag, VQ_E_backend, (vq_loc){0}, "LLVM: %s", text);
      break;
    case LLVMDSRemark:
    case LLVMDSNote:
      break;
  }
  LLVMDisposeMessage(text);
}

// LLVM accepts options once per process. Loop strength reduction finds nothing
// to gain in addresses that the emitters laid out, and takes a third of the
// time of code generation.
static void set_up_library(void) {
  const char *option[] = {"vitqc", "-disable-lsr"};
  LLVMParseCommandLineOptions((int)VQ_COUNT(option), option, NULL);
  LLVMResetFatalErrorHandler();
  LLVMInstallFatalErrorHandler(on_fatal);
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
}

vq_status vq_llvm_open(vq_llvm *l, const char *name, vq_diag *diag) {
  memset(l, 0, sizeof *l);
  l->diag = diag;
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, set_up_library);
  LLVMTargetRef target;
  char *message = NULL;
  if (LLVMGetTargetFromTriple(VQ_TRIPLE, &target, &message)) {
    vq_error(diag, VQ_E_backend, (vq_loc){0}, "LLVM: %s", message);
    LLVMDisposeMessage(message);
    return VQ_ERR;
  }
  l->tm = LLVMCreateTargetMachine(target, VQ_TRIPLE, "x86-64", "",
                                  LLVMCodeGenLevelDefault, LLVMRelocPIC,
                                  LLVMCodeModelSmall);
  l->lc = LLVMContextCreate();
  LLVMContextSetDiagnosticHandler(l->lc, on_diagnostic, diag);
  l->mod = LLVMModuleCreateWithNameInContext(name, l->lc);
  LLVMSetTarget(l->mod, VQ_TRIPLE);
  LLVMTargetDataRef td = LLVMCreateTargetDataLayout(l->tm);
  LLVMSetModuleDataLayout(l->mod, td);
  LLVMDisposeTargetData(td);
  return VQ_OK;
}

vq_llvm vq_llvm_sibling(const vq_llvm *l) {
  vq_llvm s = *l;
  s.mod = LLVMModuleCreateWithNameInContext("kernel", l->lc);
  LLVMSetTarget(s.mod, VQ_TRIPLE);
  LLVMSetModuleDataLayout(s.mod, LLVMGetModuleDataLayout(l->mod));
  return s;
}

void vq_llvm_join(vq_llvm *l, vq_llvm *sibling) {
  if (LLVMLinkModules2(l->mod, sibling->mod))
    VQ_BUG("two kernels cannot be in one LLVM module");
}

void vq_llvm_close(vq_llvm *l) {
  if (l->mod) LLVMDisposeModule(l->mod);
  if (l->lc) LLVMContextDispose(l->lc);
  if (l->tm) LLVMDisposeTargetMachine(l->tm);
  memset(l, 0, sizeof *l);
}

void vq_llvm_attr(LLVMContextRef lc, LLVMValueRef fn, LLVMAttributeIndex param,
                  const char *name, uint64_t value) {
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  if (!kind) VQ_BUG("LLVM knows no attribute '%s'", name);
  LLVMAddAttributeAtIndex(fn, param, LLVMCreateEnumAttribute(lc, kind, value));
}

static void string_attr(LLVMContextRef lc, LLVMValueRef fn, const char *key,
                        const char *value) {
  LLVMAttributeRef a =
      LLVMCreateStringAttribute(lc, key, (unsigned)strlen(key), value,
                                (unsigned)strlen(value));
  LLVMAddAttributeAtIndex(fn, LLVMAttributeFunctionIndex, a);
}

void vq_llvm_set_target(vq_llvm *l, LLVMValueRef fn, const vq_target *t) {
  char width[16];
  snprintf(width, sizeof width, "%u", t->vector_bits);
  string_attr(l->lc, fn, "target-cpu", t->cpu);
  if (*t->features) string_attr(l->lc, fn, "target-features", t->features);
  string_attr(l->lc, fn, "prefer-vector-width", width);
  string_attr(l->lc, fn, "min-legal-vector-width", width);
  vq_llvm_attr(l->lc, fn, LLVMAttributeFunctionIndex, "nounwind", 0);
}

// Emitters block, unroll and order their loops themselves, and there are no
// calls to inline: what is left is to fold addresses and to hoist. The plain
// loops of the generic emitter are vectorised. Together that is a third of the
// time of default<O2>, and models that run as fast.
#define COMBINE "instcombine<no-verify-fixpoint>"
static const char blocked[] =
    "function(early-cse<memssa>,loop-mssa(loop-rotate,licm)," COMBINE ","
    "loop-mssa(licm),early-cse<memssa>,simplifycfg)";
static const char plain[] =
    "function(sroa,early-cse<memssa>," COMBINE ",simplifycfg,"
    "loop-mssa(loop-rotate,licm),loop(indvars),loop-vectorize," COMBINE ","
    "loop-mssa(licm),early-cse<memssa>,simplifycfg)";

vq_status vq_llvm_optimize(vq_llvm *l, vq_loops loops) {
  char *message = NULL;
  if (LLVMVerifyModule(l->mod, LLVMReturnStatusAction, &message))
    VQ_BUG("an emitter built wrong LLVM IR: %s", message);
  LLVMDisposeMessage(message);
  LLVMPassBuilderOptionsRef o = LLVMCreatePassBuilderOptions();
  uint32_t errors = l->diag->n_error;
  LLVMErrorRef err = LLVMRunPasses(l->mod, loops == VQ_LOOPS_PLAIN ? plain : blocked, l->tm, o);
  LLVMDisposePassBuilderOptions(o);
  if (!err) return l->diag->n_error == errors ? VQ_OK : VQ_ERR;
  message = LLVMGetErrorMessage(err);
  vq_error(l->diag, VQ_E_backend, (vq_loc){0}, "LLVM: %s", message);
  LLVMDisposeErrorMessage(message);
  return VQ_ERR;
}

const char *vq_backend_version(void) { return LLVM_VERSION_STRING; }
