/* To be preloaded: LLVM finds every module wrong, as if an emitter had a fault. */
#include <stdlib.h>
#include <string.h>

int LLVMVerifyModule(void *module, int action, char **message);

int LLVMVerifyModule(void *module, int action, char **message) {
  (void)module, (void)action;
  *message = strdup("broken on purpose");
  return 1;
}
