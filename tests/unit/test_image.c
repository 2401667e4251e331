// Decoders, resampling, cropping, tensors and NumPy files.
#include <check.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jpeglib.h>
#include <png.h>

#include "vq/image.h"
#include "vq/strbuf.h"

static vq_ctx *ctx;
static vq_diag diag;
static vq_strbuf said;

static void setup(void) {
  ctx = vq_ctx_create();
  vq_diag_init(&diag, ctx, vq_sink_strbuf, &said);
}

static void teardown(void) {
  vq_strbuf_release(&said);
  vq_ctx_destroy(ctx);
}

static void expect_error(vq_status s, const char *text) {
  ck_assert_int_eq(s, VQ_ERR);
  ck_assert_msg(strstr(vq_strbuf_z(&said), text), "expected '%s' in '%s'", text,
                vq_strbuf_z(&said));
  vq_strbuf_clear(&said);
}

static vq_image pattern(uint32_t w, uint32_t h) {
  vq_image im = vq_image_alloc(w, h, 1);
  for (uint32_t y = 0; y < h; y++)
    for (uint32_t x = 0; x < w; x++)
      im.px[y * w + x] = (uint8_t)(x * 37 + y * 91 + x * y * 11);
  return im;
}

// The 13x9 pattern as Pillow 11.3 resizes it.
static const struct {
  vq_interp interp;
  uint32_t w, h;
  uint8_t px[51];
} resized[] = {
    {VQ_INTERP_NEAREST, 5, 4,
     {139, 235, 123, 11, 107, 87, 227, 181, 135, 19, 35, 219, 239, 3, 187,
     239, 211, 41, 127, 99}},
    {VQ_INTERP_NEAREST, 17, 3,
     {91, 139, 139, 187, 235, 27, 27, 75, 123, 171, 219, 219, 11, 59, 107,
     107, 155, 108, 189, 189, 14, 95, 176, 176, 1, 82, 163, 244, 244, 69,
     150, 231, 231, 56, 125, 239, 239, 97, 211, 69, 69, 183, 41, 155, 13,
     13, 127, 241, 99, 99, 213}},
    {VQ_INTERP_BILINEAR, 5, 4,
     {109, 131, 126, 96, 115, 122, 125, 130, 136, 101, 124, 128, 138, 119,
     131, 155, 142, 122, 124, 148}},
    {VQ_INTERP_BILINEAR, 17, 3,
     {82, 115, 127, 128, 167, 116, 117, 140, 130, 120, 127, 123, 90, 80,
     88, 114, 147, 108, 123, 119, 108, 149, 129, 104, 99, 139, 158, 161,
     141, 99, 118, 136, 124, 84, 134, 144, 156, 162, 149, 136, 123, 118,
     130, 142, 119, 101, 114, 151, 130, 138, 189}},
    {VQ_INTERP_BICUBIC, 5, 4,
     {105, 135, 128, 89, 117, 124, 123, 130, 142, 94, 121, 127, 139, 121,
     133, 158, 144, 120, 121, 153}},
    {VQ_INTERP_BICUBIC, 17, 3,
     {78, 118, 128, 119, 165, 112, 119, 149, 127, 112, 123, 125, 94, 77,
     82, 114, 152, 107, 125, 117, 107, 159, 127, 94, 95, 141, 166, 169,
     141, 96, 117, 142, 123, 74, 135, 141, 159, 169, 143, 141, 123, 111,
     133, 145, 120, 98, 113, 153, 125, 138, 199}},
};

START_TEST(resize_equals_pillow) {
  vq_image im = pattern(13, 9);
  vq_image_resize(&im, resized[_i].w, resized[_i].h, resized[_i].interp);
  ck_assert_uint_eq(im.width, resized[_i].w);
  ck_assert_uint_eq(im.height, resized[_i].h);
  ck_assert_mem_eq(im.px, resized[_i].px, im.width * im.height);
  vq_image_release(&im);
}
END_TEST

START_TEST(resize_treats_channels_alike) {
  vq_image grey = pattern(13, 9), rgb = pattern(13, 9);
  vq_image_convert(&rgb, 3);
  vq_image_resize(&grey, 6, 20, VQ_INTERP_BICUBIC);
  vq_image_resize(&rgb, 6, 20, VQ_INTERP_BICUBIC);
  for (size_t i = 0; i < 6 * 20 * 3; i++)
    ck_assert_uint_eq(rgb.px[i], grey.px[i / 3]);
  vq_image_release(&grey);
  vq_image_release(&rgb);
}
END_TEST

START_TEST(encoded_pictures_decode) {
  vq_image grey = pattern(13, 9), rgb = pattern(13, 9), back;
  vq_image_convert(&rgb, 3);
  rgb.px[3 * 57 + 1] ^= 0x55;
  for (int i = 0; i < 2; i++) {
    const vq_image *im = i ? &rgb : &grey;
    vq_strbuf file = {0};
    vq_image_encode(im, &file);
    ck_assert_int_eq(vq_image_decode(file.p, file.n, (vq_loc){0}, &diag, &back), VQ_OK);
    ck_assert_uint_eq(back.channels, im->channels);
    ck_assert_uint_eq(back.width, 13);
    ck_assert_uint_eq(back.height, 9);
    ck_assert_mem_eq(back.px, im->px, (size_t)13 * 9 * im->channels);
    vq_image_release(&back);
    vq_strbuf_release(&file);
  }
  vq_image_release(&grey);
  vq_image_release(&rgb);
}
END_TEST

START_TEST(grey_is_luma) {
  static const uint8_t rgb[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30};
  vq_image im = vq_image_alloc(4, 1, 3);
  memcpy(im.px, rgb, sizeof rgb);
  vq_image_convert(&im, 1);
  ck_assert_mem_eq(im.px, ((uint8_t[]){76, 150, 29, 18}), 4);
  vq_image_release(&im);
}
END_TEST

START_TEST(crop_margin_rounds_down) {
  static const uint32_t surplus[] = {0, 1, 2, 3, 4, 5}, left[] = {0, 0, 1, 1, 2, 2};
  vq_image im = pattern(4 + surplus[_i], 4);
  vq_image whole = pattern(4 + surplus[_i], 4);
  vq_image_crop(&im, 4);
  ck_assert_uint_eq(im.width, 4);
  for (uint32_t y = 0; y < 4; y++)
    ck_assert_mem_eq(im.px + 4 * y, whole.px + whole.width * y + left[_i], 4);
  vq_image_release(&im);
  vq_image_release(&whole);
}
END_TEST

START_TEST(tensor_is_planes_of_normalised_samples) {
  vq_preproc pp = {.interp = VQ_INTERP_BICUBIC, .crop = 2, .scale = 0.5f,
                   .mean = {1, 2, 3}, .std = {2, 4, 8}};
  vq_image im = pattern(4, 2);
  vq_image_convert(&im, 3);
  float out[12];
  ck_assert_int_eq(vq_image_tensor(&im, &pp, 3, 2, 2, (vq_loc){0}, &diag, out),
                   VQ_OK);
  static const uint8_t px[] = {37, 74, 139, 187};
  for (int c = 0; c < 3; c++)
    for (int i = 0; i < 4; i++)
      ck_assert_float_eq(out[4 * c + i],
                         (px[i] * 0.5f - pp.mean[c]) / pp.std[c]);
  vq_image_release(&im);
}
END_TEST

START_TEST(tensor_resizes_the_shorter_side) {
  vq_preproc pp = {.interp = VQ_INTERP_NEAREST, .resize = 3, .crop = 3,
                   .scale = 1, .std = {1, 1, 1, 1}};
  vq_image im = pattern(13, 9);
  float out[9];
  ck_assert_int_eq(vq_image_tensor(&im, &pp, 1, 3, 3, (vq_loc){0}, &diag, out),
                   VQ_OK);
  vq_image_release(&im);
}
END_TEST

START_TEST(wrong_sizes_are_explained) {
  vq_preproc pp = {.crop = 8, .scale = 1, .std = {1, 1, 1, 1}};
  float out[192];
  vq_image im = pattern(7, 30);
  expect_error(vq_image_tensor(&im, &pp, 1, 8, 8, (vq_loc){0}, &diag, out),
               "the picture is 7x30, too small for the centre crop of 8x8");
  pp.crop = 0;
  expect_error(vq_image_tensor(&im, &pp, 1, 8, 8, (vq_loc){0}, &diag, out),
               "the picture is 7x30, the model takes 8x8");
  expect_error(vq_image_tensor(&im, &pp, 2, 8, 8, (vq_loc){0}, &diag, out),
               "the model takes 2 channels, pictures have 1 or 3");
  pp.resize = 1u << 27;
  expect_error(vq_image_tensor(&im, &pp, 1, 8, 8, (vq_loc){0}, &diag, out),
               "more than 2^28 pixels");
  vq_image_release(&im);
}
END_TEST

// ---- files --------------------------------------------------------------------

typedef struct blob {
  unsigned char *p;
  unsigned long n;
} blob;

static blob make_jpeg(int channels, int w, int h) {
  struct jpeg_compress_struct c;
  struct jpeg_error_mgr e;
  blob out = {0};
  c.err = jpeg_std_error(&e);
  jpeg_create_compress(&c);
  jpeg_mem_dest(&c, &out.p, &out.n);
  c.image_width = (JDIMENSION)w;
  c.image_height = (JDIMENSION)h;
  c.input_components = channels;
  c.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&c);
  jpeg_set_quality(&c, 100, TRUE);
  jpeg_start_compress(&c, TRUE);
  uint8_t *row = malloc((size_t)(w * channels));
  for (int y = 0; y < h; y++) {
    for (int i = 0; i < w * channels; i++)
      row[i] = (uint8_t)(40 * (i % channels) + 4 * y + 2 * (i / channels));
    jpeg_write_scanlines(&c, &row, 1);
  }
  free(row);
  jpeg_finish_compress(&c);
  jpeg_destroy_compress(&c);
  return out;
}

START_TEST(jpeg_decodes) {
  for (int channels = 1; channels <= 3; channels += 2) {
    blob b = make_jpeg(channels, 19, 11);
    vq_image im;
    ck_assert_int_eq(vq_image_decode(b.p, b.n, (vq_loc){0}, &diag, &im), VQ_OK);
    ck_assert_uint_eq(im.width, 19);
    ck_assert_uint_eq(im.height, 11);
    ck_assert_uint_eq(im.channels, channels);
    for (int i = 0; i < 19 * 11 * channels; i++) {
      int x = i / channels % 19, y = i / channels / 19;
      int want = 40 * (i % channels) + 4 * y + 2 * x;
      ck_assert_int_le(abs((int)im.px[i] - want), 6);
    }
    vq_image_release(&im);
    free(b.p);
  }
}
END_TEST

// libjpeg writes Adobe's marker for CMYK, so the samples count as inverted.
START_TEST(cmyk_jpeg_becomes_rgb) {
  blob b = make_jpeg(4, 16, 16);
  vq_image im;
  ck_assert_int_eq(vq_image_decode(b.p, b.n, (vq_loc){0}, &diag, &im), VQ_OK);
  ck_assert_uint_eq(im.channels, 3);
  for (int i = 0; i < 16 * 16 * 3; i++) {
    int at = 4 * (i / 3 / 16) + 2 * (i / 3 % 16);
    ck_assert_int_le(abs(im.px[i] - (40 * (i % 3) + at) * (120 + at) / 255), 6);
  }
  vq_image_release(&im);
  free(b.p);
}
END_TEST

START_TEST(cut_jpegs_are_refused_at_every_length) {
  blob b = make_jpeg(3, 19, 11);
  for (unsigned long n = 0; n + 2 < b.n; n++) {
    unsigned char *cut = malloc(n + 1);
    memcpy(cut, b.p, n);
    vq_image im;
    expect_error(vq_image_decode(cut, n, (vq_loc){0}, &diag, &im), "error");
    free(cut);
  }
  free(b.p);
}
END_TEST

typedef struct sink {
  uint8_t p[4096];
  size_t n;
} sink;

static void sink_write(png_structp png, png_bytep p, size_t n) {
  sink *s = png_get_io_ptr(png);
  memcpy(s->p + s->n, p, n);
  s->n += n;
}

static void make_png(sink *s, int type, int depth, const uint8_t *px,
                     size_t row_bytes) {
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, 0, 0, 0);
  png_infop info = png_create_info_struct(png);
  s->n = 0;
  png_set_write_fn(png, s, sink_write, NULL);
  png_set_IHDR(png, info, 4, 2, depth, type, PNG_INTERLACE_NONE, 0, 0);
  png_color palette[2] = {{1, 2, 3}, {200, 100, 50}};
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 2);
  png_set_gAMA(png, info, 1.0);
  png_write_info(png, info);
  for (int y = 0; y < 2; y++) png_write_row(png, px + (size_t)y * row_bytes);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
}

// Rows of 4 samples, 2 rows; the expected 8-bit samples of all 8 pixels.
static const struct {
  int type, depth;
  size_t row_bytes;
  uint8_t px[32], want[24];
  uint32_t channels;
} png_cases[] = {
    {PNG_COLOR_TYPE_GRAY, 8, 4, {0, 1, 2, 3, 252, 253, 254, 255},
     {0, 1, 2, 3, 252, 253, 254, 255}, 1},
    {PNG_COLOR_TYPE_GRAY, 1, 1, {0xa0, 0x50}, {255, 0, 255, 0, 0, 255, 0, 255}, 1},
    {PNG_COLOR_TYPE_GRAY, 16, 8,
     {1, 200, 2, 0, 3, 0, 4, 255, 5, 0, 6, 0, 7, 0, 8, 128},
     {1, 2, 3, 4, 5, 6, 7, 8}, 1},
    {PNG_COLOR_TYPE_GRAY_ALPHA, 8, 8,
     {1, 0, 2, 0, 3, 9, 4, 255, 5, 0, 6, 0, 7, 0, 8, 1},
     {1, 2, 3, 4, 5, 6, 7, 8}, 1},
    {PNG_COLOR_TYPE_PALETTE, 1, 1, {0x40, 0x00},
     {1, 2, 3, 200, 100, 50, 1, 2, 3, 1, 2, 3,
      1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3}, 3},
    {PNG_COLOR_TYPE_RGB_ALPHA, 8, 16,
     {1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 1, 10, 11, 12, 255,
      1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 1, 10, 11, 12, 255},
     {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 3},
};

START_TEST(png_samples_as_stored) {
  sink s;
  make_png(&s, png_cases[_i].type, png_cases[_i].depth, png_cases[_i].px,
           png_cases[_i].row_bytes);
  vq_image im;
  ck_assert_int_eq(vq_image_decode(s.p, s.n, (vq_loc){0}, &diag, &im), VQ_OK);
  ck_assert_uint_eq(im.channels, png_cases[_i].channels);
  ck_assert_mem_eq(im.px, png_cases[_i].want, 8 * im.channels);
  vq_image_release(&im);
  for (size_t n = 0; n < s.n; n++)
    expect_error(vq_image_decode(s.p, n, (vq_loc){0}, &diag, &im), "error");
}
END_TEST

static void write_bytes(const char *path, const void *p, size_t n) {
  FILE *f = fopen(path, "wb");
  ck_assert_ptr_nonnull(f);
  ck_assert_uint_eq(fwrite(p, 1, n, f), n);
  fclose(f);
}

START_TEST(folders_are_sorted_and_filtered) {
  char dir[] = "/tmp/vq-image-XXXXXX";
  ck_assert_ptr_nonnull(mkdtemp(dir));
  static const char *const names[] = {"b.PNG", "a.jpeg", "labels.txt", "c.jpg"};
  vq_path_list l;
  expect_error(vq_list_pictures(dir, &diag, &l), "no picture in this folder");
  for (size_t i = 0; i < VQ_COUNT(names); i++) {
    vq_strbuf path = {0};
    vq_strbuf_printf(&path, "%s/%s", dir, names[i]);
    write_bytes(path.p, "x", 1);
    vq_strbuf_release(&path);
  }
  ck_assert_int_eq(vq_list_pictures(dir, &diag, &l), VQ_OK);
  ck_assert_uint_eq(l.n, 3);
  ck_assert_str_eq(strrchr(l.path[0], '/'), "/a.jpeg");
  ck_assert_str_eq(strrchr(l.path[1], '/'), "/b.PNG");
  ck_assert_str_eq(strrchr(l.path[2], '/'), "/c.jpg");
  vq_image im;
  expect_error(vq_image_read(l.path[0], &diag, &im), "neither a JPEG nor a PNG");
  expect_error(vq_image_read(dir, &diag, &im), "found a folder");
  for (size_t i = 0; i < l.n; i++) remove(l.path[i]);
  vq_path_list_release(&l);
  vq_strbuf path = {0};
  vq_strbuf_printf(&path, "%s/labels.txt", dir);
  remove(path.p);
  vq_strbuf_release(&path);
  rmdir(dir);
  expect_error(vq_list_pictures(dir, &diag, &l), "cannot open: No such file");
}
END_TEST

// ---- NumPy --------------------------------------------------------------------

static vq_status parse_npy(int version, const char *header, size_t n_data,
                           vq_npy *a) {
  size_t n = strlen(header), at = version == 1 ? 10 : 12;
  uint8_t *p = calloc(1, at + n + n_data + 1);
  memcpy(p, "\x93NUMPY", 6);
  p[6] = (uint8_t)version;
  p[8] = (uint8_t)n;
  memcpy(p + at, header, n);
  for (size_t i = 0; i < n_data; i++) p[at + n + i] = (uint8_t)i;
  return vq_npy_parse(p, at + n + n_data, (vq_loc){0}, &diag, a);
}

START_TEST(npy_reads_all_versions) {
  for (int version = 1; version <= 3; version++) {
    vq_npy a;
    ck_assert_int_eq(
        parse_npy(version, "{'descr': '<f4', 'fortran_order': False, "
                  "'shape': (2, 3), }\n", 24, &a), VQ_OK);
    ck_assert_int_eq(a.dtype, VQ_f32);
    ck_assert_uint_eq(a.rank, 2);
    ck_assert_int_eq(a.dim[1], 3);
    ck_assert_int_eq(a.count, 6);
    ck_assert_uint_eq(((uint8_t *)a.data)[23], 23);
    vq_npy_release(&a);
  }
  vq_npy a;
  ck_assert_int_eq(parse_npy(1, "{\"shape\":(),'fortran_order':False,'descr':'|u1'}",
                             1, &a), VQ_OK);
  ck_assert_uint_eq(a.rank, 0);
  ck_assert_int_eq(a.count, 1);
  vq_npy_release(&a);
}
END_TEST

static const struct {
  const char *header, *error;
} bad_npy[] = {
    {"{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}", "Fortran order"},
    {"{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", "type '>f4'"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}",
     "needs 12 bytes of data, found 8"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "bad dimension"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}", "no tuple"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': "
     "(9223372036854775807,)}", "bad dimension"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': "
     "(4000000000, 4000000000, 4000000000)}", "huge shape"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': "
     "(1,1,1,1,1,1,1,1,1)}", "more than 8"},
    {"{'descr': '<f4', 'shape': (1,)}", "a key is missing"},
    {"{'descr': '<f4', 'shape': (1,)", "no dictionary"},
    {"{'colour': 1}", "unknown key"},
    {"[]", "no dictionary"},
};

START_TEST(npy_refuses) {
  vq_npy a;
  expect_error(parse_npy(1, bad_npy[_i].header, 8, &a), bad_npy[_i].error);
  ck_assert_ptr_null(a.file);
}
END_TEST

START_TEST(npy_cut_headers) {
  vq_strbuf h = {0};
  vq_npy_header(&h, VQ_f32, 2, (int64_t[]){1, 2});
  for (size_t n = 0; n < h.n; n++) {
    uint8_t *p = malloc(n + 1);
    memcpy(p, h.p, n);
    vq_npy a;
    expect_error(vq_npy_parse(p, n, (vq_loc){0}, &diag, &a), "error");
  }
  vq_strbuf_release(&h);
}
END_TEST

START_TEST(npy_header_reads_back) {
  static const int64_t dim[] = {1000, 28, 28};
  for (unsigned rank = 0; rank <= 3; rank++) {
    vq_strbuf h = {0};
    vq_npy_header(&h, VQ_u8, rank, dim);
    ck_assert_uint_eq(h.n % 64, 0);
    size_t n = h.n + 1000 * 28 * 28;
    uint8_t *p = calloc(1, n);
    memcpy(p, h.p, h.n);
    vq_strbuf_release(&h);
    vq_npy a;
    ck_assert_int_eq(vq_npy_parse(p, n, (vq_loc){0}, &diag, &a), VQ_OK);
    ck_assert_uint_eq(a.rank, rank);
    for (unsigned i = 0; i < rank; i++) ck_assert_int_eq(a.dim[i], dim[i]);
    vq_npy_release(&a);
  }
}
END_TEST

int main(void) {
  Suite *s = suite_create("image");
  TCase *c = tcase_create("image");
  tcase_add_checked_fixture(c, setup, teardown);
  tcase_add_loop_test(c, resize_equals_pillow, 0, (int)VQ_COUNT(resized));
  tcase_add_test(c, resize_treats_channels_alike);
  tcase_add_test(c, encoded_pictures_decode);
  tcase_add_test(c, grey_is_luma);
  tcase_add_loop_test(c, crop_margin_rounds_down, 0, 6);
  tcase_add_test(c, tensor_is_planes_of_normalised_samples);
  tcase_add_test(c, tensor_resizes_the_shorter_side);
  tcase_add_test(c, wrong_sizes_are_explained);
  tcase_add_test(c, jpeg_decodes);
  tcase_add_test(c, cmyk_jpeg_becomes_rgb);
  tcase_add_test(c, cut_jpegs_are_refused_at_every_length);
  tcase_add_loop_test(c, png_samples_as_stored, 0, (int)VQ_COUNT(png_cases));
  tcase_add_test(c, folders_are_sorted_and_filtered);
  tcase_add_test(c, npy_reads_all_versions);
  tcase_add_loop_test(c, npy_refuses, 0, (int)VQ_COUNT(bad_npy));
  tcase_add_test(c, npy_cut_headers);
  tcase_add_test(c, npy_header_reads_back);
  suite_add_tcase(s, c);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
