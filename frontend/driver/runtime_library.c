// Finding libvitq_rt.a: beside this library's build or installation.
#include "runtime_library.h"

#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

// Of the library that this code is in, or of the program that it was linked into.
static const char *own_folder(char self[PATH_MAX]) {
  static const char here;
  Dl_info info;
  if (!dladdr(&here, &info) || !realpath(info.dli_fname, self)) return ".";
  return dirname(self);
}

const char *runtime_library(driver *d) {
  static const char *const places[] = {VITQC_BUILD_RT, VITQC_INSTALL_RT};
  char self[PATH_MAX];
  const char *folder = own_folder(self);
  for (size_t i = 0; i < VQ_COUNT(places); i++) {
    vq_strbuf path = {0};
    vq_strbuf_printf(&path, "%s/%s", folder, places[i]);
    const char *found = access(path.p, R_OK) == 0
                            ? vq_arena_str(&d->arena, vq_strbuf_view(&path)).p
                            : NULL;
    vq_strbuf_release(&path);
    if (found) return found;
  }
  vq_error(&d->diag, VQ_E_io, at_path(d, "vitqc"),
           "libvitq_rt.a is not beside the compiler (looked for %s and %s in %s)",
           VITQC_BUILD_RT, VITQC_INSTALL_RT, folder);
  return NULL;
}
