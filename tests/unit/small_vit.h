// The small model of tests that make pictures.
#ifndef VQ_TEST_SMALL_VIT_H
#define VQ_TEST_SMALL_VIT_H

#include "compiled.h"

// A block of a ViT, its class token and head, for `batch` pictures.
static inline vq_module *small_vit(int batch) {
  vq_strbuf t = {0};
  vq_strbuf_printf(&t,
      "vq 1\nmodule \"vit\"\n"
      "const @wp : tensor<8x48, f32> = random<seed = 1, std = 0.2>\n"
      "const @pos : tensor<16x8, f32> = random<seed = 2, std = 0.5>\n"
      "const @cls : tensor<%1$dx1x8, f32> = fill<0.3>\n"
      "const @wqkv : tensor<24x8, f32> = random<seed = 3, std = 0.5>\n"
      "const @wo : tensor<8x8, f32> = random<seed = 4, std = 0.5>\n"
      "const @w1 : tensor<20x8, f32> = random<seed = 5, std = 0.5>\n"
      "const @w2 : tensor<8x20, f32> = random<seed = 6, std = 0.5>\n"
      "const @wh : tensor<5x8, f32> = random<seed = 7, std = 1>\n"
      "func @main(%%image: tensor<%1$dx3x16x16, f32>) -> (logits: tensor<%1$dx5, f32>) {\n"
      "  %%p = patch_embed %%image, @wp {patch = [4, 4]} : tensor<%1$dx16x8, f32>\n"
      "  %%e = add %%p, @pos : tensor<%1$dx16x8, f32>\n"
      "  %%x = concat @cls, %%e {axis = 1} : tensor<%1$dx17x8, f32>\n"
      "  %%n = layer_norm %%x : tensor<%1$dx17x8, f32>\n"
      "  %%qkv = linear %%n, @wqkv : tensor<%1$dx17x24, f32>\n"
      "  %%q = slice %%qkv {begin = [0, 0, 0], size = [%1$d, 17, 8]} : tensor<%1$dx17x8, f32>\n"
      "  %%k = slice %%qkv {begin = [0, 0, 8], size = [%1$d, 17, 8]} : tensor<%1$dx17x8, f32>\n"
      "  %%v = slice %%qkv {begin = [0, 0, 16], size = [%1$d, 17, 8]} : tensor<%1$dx17x8, f32>\n"
      "  %%a = attention %%q, %%k, %%v {heads = 2, scale = 0.5} : tensor<%1$dx17x8, f32>\n"
      "  %%o = linear %%a, @wo : tensor<%1$dx17x8, f32>\n"
      "  %%r = add %%x, %%o : tensor<%1$dx17x8, f32>\n"
      "  %%m = layer_norm %%r : tensor<%1$dx17x8, f32>\n"
      "  %%h = linear %%m, @w1 : tensor<%1$dx17x20, f32>\n"
      "  %%g = gelu %%h : tensor<%1$dx17x20, f32>\n"
      "  %%f = linear %%g, @w2 : tensor<%1$dx17x8, f32>\n"
      "  %%y = add %%r, %%f : tensor<%1$dx17x8, f32>\n"
      "  %%c = slice %%y {begin = [0, 0, 0], size = [%1$d, 1, 8]} : tensor<%1$dx1x8, f32>\n"
      "  %%l = linear %%c, @wh : tensor<%1$dx1x5, f32>\n"
      "  %%logits = reshape %%l {shape = [%1$d, 5]} : tensor<%1$dx5, f32>\n"
      "  return %%logits\n}\n", batch);
  vq_module *m = parse(vq_strbuf_z(&t));
  vq_strbuf_release(&t);
  return m;
}

#endif
