// Folders of pictures.
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include "vq/image.h"
#include "vq/strbuf.h"
#include "vq/vec.h"

static bool is_picture_name(const char *name) {
  const char *dot = strrchr(name, '.');
  return dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg") ||
                 !strcasecmp(dot, ".png"));
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

vq_status vq_list_pictures(const char *dir, vq_diag *diag, vq_path_list *out) {
  vq_loc loc = vq_loc_path(diag->ctx, vq_str_of(dir));
  VQ_VEC(char *) list = {0};
  *out = (vq_path_list){0};
  DIR *d = opendir(dir);
  if (!d)
    return vq_error(diag, VQ_E_io, loc, "cannot open: %s", strerror(errno));
  for (struct dirent *e; (e = readdir(d));) {
    if (!is_picture_name(e->d_name)) continue;
    vq_strbuf path = {0};
    vq_strbuf_printf(&path, "%s/%s", dir, e->d_name);
    vq_vec_push(&list, path.p);
  }
  closedir(d);
  if (list.n) qsort(list.p, list.n, sizeof *list.p, by_name);
  *out = (vq_path_list){list.p, list.n};
  if (list.n) return VQ_OK;
  return vq_error(diag, VQ_E_picture, loc,
                  "no picture in this folder, expected .jpg, .jpeg or .png");
}

void vq_path_list_release(vq_path_list *l) {
  for (size_t i = 0; i < l->n; i++) free(l->path[i]);
  free(l->path);
  *l = (vq_path_list){0};
}
