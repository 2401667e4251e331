// PNG files from pictures, through libpng's simplified interface.
#include <stdlib.h>

#include <png.h>

#include "vq/image.h"
#include "vq/strbuf.h"

void vq_image_encode(const vq_image *im, vq_strbuf *out) {
  png_image png = {.version = PNG_IMAGE_VERSION, .width = im->width, .height = im->height,
                   .format = im->channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
  size_t n = PNG_IMAGE_PNG_SIZE_MAX(png);
  char *bytes = malloc(n);
  if (!bytes) vq_oom(n);
  if (png_image_write_to_memory(&png, bytes, &n, 0, im->px, 0, NULL))
    vq_strbuf_add(out, bytes, n);
  else
    vq_oom(n);  // the only thing that can go wrong
  free(bytes);
}
