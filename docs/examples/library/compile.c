/* Compiles a model from memory to memory and says how far it is.
 *
 * usage: compile MODEL OUT.so [OPTION...] */
#include <stdio.h>
#include <stdlib.h>

#include "vitqc.h"

static void message(void *user, const vitqc_message *m) {
  (void)user;
  if (m->severity == VITQC_SEVERITY_ERROR)
    fprintf(stderr, "%s: %s (%s)\n", m->place, m->text, m->code);
}

static int progress(void *user, const char *what, int64_t done, int64_t total) {
  int *n = user;
  if (++*n == 1) fprintf(stderr, "%s %d/%d\n", what, (int)done, (int)total);
  return 0; /* anything else would stop */
}

static unsigned char *read_file(const char *path, size_t *n) {
  unsigned char *p = NULL;
  FILE *f = fopen(path, "rb");
  if (f && fseek(f, 0, SEEK_END) == 0) {
    *n = (size_t)ftell(f);
    rewind(f);
    p = malloc(*n + 1);
    if (p && fread(p, 1, *n, f) != *n) *n = 0;
  }
  if (f) fclose(f);
  return p;
}

static int write_file(const char *path, const vitqc_buffer *b) {
  FILE *f = fopen(path, "wb");
  int good = f && fwrite(b->data, 1, b->size, f) == b->size;
  if (f && fclose(f) != 0) good = 0;
  return good ? 0 : 1;
}

int main(int argc, char **argv) {
  int n_step = 0, code;
  vitqc_source model = {sizeof model, NULL, NULL, 0};
  vitqc_host host = {sizeof host, 0, NULL, NULL, NULL, NULL, NULL};
  vitqc_buffer out;
  unsigned char *bytes;
  if (argc < 3) return 2;
  bytes = read_file(argv[1], &model.n_data);
  if (!bytes) return 2;
  model.data = bytes;
  model.path = argv[1]; /* for messages, and where external data lie */
  host.user = &n_step;
  host.message = message;
  host.progress = progress;
  code = vitqc_compile(&model, (const char *const *)argv + 3, (size_t)argc - 3, &host, &out);
  if (code == VITQC_GOOD) code = write_file(argv[2], &out);
  vitqc_free(&out);
  free(bytes);
  return code;
}
