// Types, names, use lists, rewriting, hashing, cloning and outlining.
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "vq/rewrite.h"
#include "vq/strbuf.h"
#include "vq/text.h"

typedef struct fixture {
  vq_ctx *ctx;
  vq_module *m;
  vq_strbuf text;
  vq_diag diag;
  vq_func *f;
  vq_builder b;
} fixture;

static const vq_type *f32(fixture *t, int64_t rows, int64_t cols) {
  return vq_type_tensor(t->ctx, VQ_f32, 2, (int64_t[]){rows, cols}, NULL);
}

// A module with an empty @main(x: 2x2, y: 2x2).
static void start(fixture *t) {
  *t = (fixture){.ctx = vq_ctx_create()};
  vq_diag_init(&t->diag, t->ctx, vq_sink_strbuf, &t->text);
  t->m = vq_module_create(t->ctx, VQ_LIT("m"));
  const vq_type *type[] = {f32(t, 2, 2), f32(t, 2, 2)};
  t->f = vq_func_create(t->m, VQ_FUNC, VQ_LIT("main"), 2, type,
                        (vq_str[]){VQ_LIT("x"), VQ_LIT("y")});
  t->b = (vq_builder){.func = t->f, .diag = &t->diag};
}

static void stop(fixture *t) {
  vq_module_destroy(t->m);
  vq_ctx_destroy(t->ctx);
  vq_strbuf_release(&t->text);
}

static vq_value *un(fixture *t, vq_opcode code, vq_value *x, const char *name) {
  return vq_build_unary(&t->b, code, x, vq_str_of(name));
}

static vq_value *bin(fixture *t, vq_opcode code, vq_value *x, vq_value *y,
                     const char *name) {
  return vq_build_binary(&t->b, code, x, y, vq_str_of(name));
}

static void ret(fixture *t, vq_value *v) {
  ck_assert(vq_build_return(&t->b, 1, &v, NULL) == VQ_OK);
}

static void expect_func(fixture *t, const vq_func *f, const char *want) {
  vq_strbuf_clear(&t->text);
  vq_print_func(&t->text, f);
  ck_assert_str_eq(vq_strbuf_z(&t->text), want);
}

// ---- types -----------------------------------------------------------------------

START_TEST(types_are_interned) {
  fixture t;
  start(&t);
  const vq_type *a = f32(&t, 3, 4);
  ck_assert_ptr_eq(a, f32(&t, 3, 4));
  ck_assert_ptr_ne(a, f32(&t, 4, 3));
  ck_assert_ptr_ne(a, vq_type_tensor(t.ctx, VQ_i32, 2, a->dim, NULL));
  ck_assert_int_eq(vq_type_count(a), 12);
  ck_assert_int_eq(vq_type_bytes(a), 48);
  int64_t dim[9] = {5, 1, 1, 1, 1, 1, 1, 1, 1}, stride[VQ_MAX_RANK];
  const vq_type *nibbles = vq_type_tensor(t.ctx, VQ_u4, 1, dim, NULL);
  ck_assert_int_eq(vq_type_bytes(nibbles), 3);
  ck_assert_int_eq(vq_type_count(vq_type_tensor(t.ctx, VQ_i8, 0, NULL, NULL)), 1);
  ck_assert_ptr_null(vq_type_tensor(t.ctx, VQ_f32, 9, dim, NULL));
  dim[0] = -1;
  ck_assert_ptr_null(vq_type_tensor(t.ctx, VQ_f32, 1, dim, NULL));
  dim[0] = (int64_t)1 << 40;
  ck_assert_ptr_nonnull(vq_type_tensor(t.ctx, VQ_i64, 2, dim, NULL));
  dim[1] = 2;
  ck_assert_ptr_null(vq_type_tensor(t.ctx, VQ_f32, 2, dim, NULL));
  dim[2] = 0;
  ck_assert_ptr_null(vq_type_tensor(t.ctx, VQ_f32, 3, dim, NULL));
  vq_type_strides(vq_type_tensor(t.ctx, VQ_f32, 3, (int64_t[]){2, 3, 4}, NULL),
                  stride);
  ck_assert(stride[0] == 12 && stride[1] == 4 && stride[2] == 1);
  stop(&t);
}
END_TEST

START_TEST(quants_are_interned) {
  fixture t;
  start(&t);
  float scale[] = {0.5f, 0.25f};
  int32_t zero[] = {0, 3};
  vq_quant q = {.name = VQ_LIT("q.w"), .store = VQ_i8, .lo = -128, .hi = 127,
                .n = 2, .scale = scale, .zero = zero};
  const vq_quant *a = vq_quant_intern(t.ctx, &q);
  ck_assert_ptr_eq(a, vq_quant_intern(t.ctx, &q));
  scale[1] = 1;
  ck_assert(a->scale[1] == 0.25f);
  ck_assert_ptr_ne(a, vq_quant_intern(t.ctx, &q));
  const vq_type *type = vq_type_tensor(t.ctx, VQ_i8, 1, (int64_t[]){2}, a);
  ck_assert_ptr_ne(type, vq_type_tensor(t.ctx, VQ_i8, 1, type->dim, NULL));
  vq_type_print(&t.text, type);
  ck_assert_str_eq(vq_strbuf_z(&t.text), "tensor<2, i8, q=@q.w>");
  stop(&t);
}
END_TEST

// In a module an entry has one name, and equal ones are one.
START_TEST(quants_of_a_module) {
  fixture t;
  start(&t);
  float scale = 0.5f;
  int32_t zero = 3;
  vq_quant q = {.name = VQ_LIT("q.x"), .store = VQ_u8, .lo = 0, .hi = 255, .axis = -1,
                .n = 1, .scale = &scale, .zero = &zero, .of = VQ_LIT("norm x")};
  vq_module *m = vq_module_create(t.ctx, VQ_LIT("m"));
  const vq_quant *a = vq_module_quant_like(m, &q);
  ck_assert_ptr_eq(a, vq_module_quant(m, VQ_LIT("q.x")));
  ck_assert_ptr_null(vq_module_define_quant(m, &q));
  q.of = VQ_LIT("another reader");
  ck_assert_ptr_eq(a, vq_module_quant_like(m, &q));
  q.hi = 15;
  const vq_quant *b = vq_module_quant_like(m, &q);
  ck_assert_ptr_ne(a, b);
  ck_assert(vq_str_is(b->name, "q.x.1") && !vq_quant_equal(a, b));
  vq_module *copy = vq_module_clone(m);
  ck_assert_ptr_eq(b, vq_module_quant(copy, VQ_LIT("q.x.1")));
  vq_module_destroy(copy);
  vq_module_destroy(m);
  stop(&t);
}
END_TEST

START_TEST(op_table_is_whole) {
  for (int i = 0; i < VQ_N_OPS; i++) {
    const vq_op_desc *d = vq_op_info((vq_opcode)i);
    vq_opcode code;
    ck_assert(vq_op_find(vq_str_of(d->name), &code) && code == (vq_opcode)i);
    ck_assert(d->min_in <= d->n_in);
    ck_assert(!d->variadic_out || !d->out);
    ck_assert(d->out || d->variadic_out || (d->traits & VQ_TRAIT_TERM));
    for (unsigned k = 0; k < d->n_attr; k++)
      ck_assert(d->attr[k].offset < d->attrs_size && d->attr[k].name);
    ck_assert(vq_op_attrs_equal(code, d->attrs_default, d->attrs_default));
  }
  vq_opcode code;
  ck_assert(!vq_op_find(VQ_LIT("nop"), &code));
  const vq_op_desc *d = vq_op_info(VQ_OP_linear);
  ck_assert(d->n_in == 3 && d->min_in == 2 && d->n_attr == 3);
  ck_assert_str_eq(d->in[2].name, "b");
  ck_assert(vq_op_info(VQ_OP_concat)->variadic_in);
}
END_TEST

START_TEST(attributes_are_values) {
  vq_arena a = {0};
  int64_t axes[] = {1, 2};
  vq_attrs_reduce_sum one = {.axes = {axes, 2}, .keep = true}, two = one;
  const vq_opcode op = VQ_OP_reduce_sum;
  vq_attrs_reduce_sum *copy = vq_op_attrs_copy(&a, op, &one);
  ck_assert_ptr_ne(copy->axes.p, axes);
  ck_assert(vq_op_attrs_equal(op, &one, copy));
  ck_assert_uint_eq(vq_op_attrs_hash(op, &one, 1), vq_op_attrs_hash(op, copy, 1));
  two.keep = false;
  ck_assert(!vq_op_attrs_equal(op, &one, &two));
  ck_assert_uint_ne(vq_op_attrs_hash(op, &one, 1), vq_op_attrs_hash(op, &two, 1));
  axes[1] = 3;
  ck_assert(!vq_op_attrs_equal(op, &one, copy));
  vq_attrs_layer_norm e = {.eps = 1e-6f}, near = {.eps = 1.000001e-6f},
                      far = {.eps = 1.001e-6f};
  ck_assert(!vq_op_attrs_equal(VQ_OP_layer_norm, &e, &near));
  ck_assert_uint_eq(vq_op_attrs_hash(VQ_OP_layer_norm, &e, 1),
                    vq_op_attrs_hash(VQ_OP_layer_norm, &near, 1));
  ck_assert_uint_ne(vq_op_attrs_hash(VQ_OP_layer_norm, &e, 1),
                    vq_op_attrs_hash(VQ_OP_layer_norm, &far, 1));
  vq_arena_release(&a);
}
END_TEST

// ---- names and uses ----------------------------------------------------------------

START_TEST(names_are_unique) {
  fixture t;
  start(&t);
  vq_value *a = un(&t, VQ_OP_neg, &t.f->arg[0], "x");
  vq_value *b = un(&t, VQ_OP_neg, a, "x");
  ck_assert(vq_str_is(a->name, "x.1") && vq_str_is(b->name, "x.2"));
  ck_assert_ptr_eq(vq_func_value(t.f, VQ_LIT("x.2")), b);
  ck_assert_uint_eq(un(&t, VQ_OP_neg, a, "")->name.n, 0);
  vq_rename_value(t.f, a, VQ_LIT("other"));
  ck_assert_ptr_null(vq_func_value(t.f, VQ_LIT("x.1")));
  vq_value *c = un(&t, VQ_OP_neg, b, "x");
  ck_assert(vq_str_is(c->name, "x.1"));
  vq_erase_op(c->def);
  ck_assert(vq_str_is(un(&t, VQ_OP_neg, b, "x")->name, "x.1"));
  vq_const *k = vq_const_scalar_f32(t.m, VQ_LIT("k"), 1);
  vq_const *k1 = vq_const_scalar_f32(t.m, VQ_LIT("k"), 1);
  ck_assert(vq_str_is(k1->value.name, "k.1"));
  vq_erase_const(t.m, k);
  ck_assert_ptr_null(vq_module_const(t.m, VQ_LIT("k")));
  ck_assert_ptr_eq(vq_module_const(t.m, VQ_LIT("k.1")), k1);
  ck_assert_ptr_eq(t.m->first_const, k1);
  vq_func *f1 = vq_func_create(t.m, VQ_KERNEL, VQ_LIT("main"), 0, NULL, NULL);
  ck_assert_ptr_eq(vq_module_func(t.m, VQ_LIT("main.1")), f1);
  vq_erase_func(t.m, f1);
  ck_assert_ptr_null(vq_module_func(t.m, VQ_LIT("main.1")));
  stop(&t);
}
END_TEST

START_TEST(many_namesakes) {
  fixture t;
  start(&t);
  vq_value *v = &t.f->arg[0];
  for (int i = 0; i < 20000; i++) v = un(&t, VQ_OP_neg, v, "x");
  ck_assert(vq_str_is(v->name, "x.20000"));
  ck_assert_ptr_eq(vq_func_value(t.f, VQ_LIT("x.20000")), v);
  stop(&t);
}
END_TEST

static unsigned uses_in_order(const vq_value *v, vq_op *const *user) {
  unsigned n = 0;
  vq_use *prev = NULL;
  vq_each_use(v, u) {
    ck_assert_ptr_eq(u->user, user[n++]);
    ck_assert_ptr_eq(u->prev, prev);
    ck_assert_ptr_eq(u->val, v);
    prev = u;
  }
  ck_assert_ptr_eq(v->last_use, prev);
  ck_assert_uint_eq(vq_use_count(v), n);
  return n;
}

START_TEST(use_lists_stay_right) {
  fixture t;
  start(&t);
  vq_value *x = &t.f->arg[0], *y = &t.f->arg[1];
  vq_value *a = bin(&t, VQ_OP_add, x, x, "a");
  vq_value *b = un(&t, VQ_OP_neg, x, "b");
  vq_value *c = bin(&t, VQ_OP_mul, a, b, "c");
  vq_op *A = a->def, *B = b->def, *C = c->def;
  ck_assert_uint_eq(uses_in_order(x, (vq_op *[]){A, A, B}), 3);
  vq_set_operand(A, 1, y);
  ck_assert_uint_eq(uses_in_order(x, (vq_op *[]){A, B}), 2);
  ck_assert(vq_has_one_use(y) && vq_has_one_use(a));
  vq_replace_uses_except(x, y, B);
  ck_assert_uint_eq(uses_in_order(x, (vq_op *[]){B}), 1);
  ck_assert_uint_eq(uses_in_order(y, (vq_op *[]){A, A}), 2);
  vq_set_operands(C, (vq_value *[]){b, b}, 2);
  ck_assert_uint_eq(uses_in_order(b, (vq_op *[]){C, C}), 2);
  vq_erase_op(A);
  ck_assert_uint_eq(uses_in_order(y, NULL), 0);
  ck_assert_ptr_eq(t.f->first, B);
  ret(&t, c);
  vq_replace_op(C, x);
  expect_func(&t, t.f,
              "func @main(%x: tensor<2x2, f32>, %y: tensor<2x2, f32>) ->"
              " (tensor<2x2, f32>) {\n"
              "  %b = neg %x : tensor<2x2, f32>\n"
              "  return %x\n"
              "}\n");
  stop(&t);
}
END_TEST

START_TEST(replacing_keeps_names) {
  fixture t;
  start(&t);
  vq_value *a = un(&t, VQ_OP_neg, &t.f->arg[0], "a");
  vq_value *b = un(&t, VQ_OP_neg, a, "b");
  ret(&t, b);
  t.b.before = b->def;
  vq_value *fresh = un(&t, VQ_OP_abs, a, "");
  vq_replace_op(b->def, fresh);
  ck_assert(vq_str_is(fresh->name, "b"));
  ck_assert_ptr_eq(vq_func_value(t.f, VQ_LIT("b")), fresh);
  vq_move_op(fresh->def, a->def);
  ck_assert(t.f->first == fresh->def && a->def->prev == fresh->def);
  ck_assert_ptr_eq(t.f->last->prev, a->def);
  stop(&t);
}
END_TEST

// ---- constants and facts ---------------------------------------------------------

START_TEST(constants_materialise) {
  fixture t;
  start(&t);
  vq_const *c = vq_const_fill(t.m, VQ_LIT("c"), f32(&t, 10, 10), 0.5);
  ck_assert(vq_const_f64(c, 99) == 0.5);
  ck_assert_ptr_eq(vq_const_bytes(c), vq_const_bytes(c));
  vq_const *i = vq_const_vec_i64(t.m, VQ_LIT(""), 2,
                                 (int64_t[]){INT64_MAX, INT64_MIN});
  ck_assert(vq_const_i64(i, 0) == INT64_MAX && vq_const_i64(i, 1) == INT64_MIN);
  ck_assert(vq_const_i64(vq_const_scalar_f32(t.m, VQ_LIT("s"), -3), 0) == -3);
  vq_const *missing = vq_const_new(t.m, VQ_LIT("m"), f32(&t, 1, 1), NULL);
  ck_assert(missing->init == VQ_INIT_MISSING && !vq_const_bytes(missing));
  const int64_t n = 100 * 100;
  vq_const *r = vq_const_random(t.m, VQ_LIT("r"), f32(&t, 100, 100), 7, 0.5f);
  vq_const *same = vq_const_random(t.m, VQ_LIT("r"), f32(&t, 100, 100), 7, 0.5f);
  vq_const *other = vq_const_random(t.m, VQ_LIT("r"), f32(&t, 100, 100), 8, 0.5f);
  ck_assert(!memcmp(vq_const_bytes(r), vq_const_bytes(same), 4 * (size_t)n));
  ck_assert(memcmp(vq_const_bytes(r), vq_const_bytes(other), 4 * (size_t)n));
  double sum = 0, square = 0;
  for (int64_t k = 0; k < n; k++) {
    double v = vq_const_f64(r, k);
    sum += v;
    square += v * v;
  }
  ck_assert(fabs(sum / (double)n) < 0.02);
  ck_assert(fabs(sqrt(square / (double)n) - 0.5) < 0.01);
  stop(&t);
}
END_TEST

START_TEST(module_owns_memory_and_facts) {
  fixture t;
  start(&t);
  vq_module_own(t.m, malloc(100), 100, false);
  vq_meta_set(t.m, "labels", VQ_LIT("a"));
  vq_meta_set(t.m, "preprocess", VQ_LIT("p"));
  vq_meta_set(t.m, "labels", VQ_LIT("b"));
  ck_assert(vq_str_is(vq_meta_get(t.m, "labels"), "b"));
  ck_assert(vq_str_is(t.m->meta->key, "labels"));
  ck_assert_uint_eq(vq_meta_get(t.m, "none").n, 0);
  stop(&t);
}
END_TEST

START_TEST(macs_are_counted) {
  fixture t;
  start(&t);
  vq_value *x = &t.f->arg[0];
  ck_assert_int_eq(vq_op_macs(bin(&t, VQ_OP_matmul, x, x, "")->def), 8);
  ck_assert_int_eq(vq_op_macs(bin(&t, VQ_OP_add, x, x, "")->def), 0);
  const vq_type *seq = vq_type_tensor(t.ctx, VQ_f32, 3, (int64_t[]){2, 5, 8}, NULL);
  vq_value *s = &vq_const_fill(t.m, VQ_LIT("s"), seq, 0)->value;
  vq_attrs_attention a = {.heads = 2, .scale = 1};
  vq_op *op = vq_build(&t.b, VQ_OP_attention, (vq_value *[]){s, s, s}, 3, &a,
                       VQ_LIT(""));
  ck_assert_int_eq(vq_op_macs(op), 2 * 5 * 5 * 16);
  const vq_type *img = vq_type_tensor(t.ctx, VQ_f32, 4, (int64_t[]){1, 4, 8, 8}, NULL);
  const vq_type *w = vq_type_tensor(t.ctx, VQ_f32, 4, (int64_t[]){6, 2, 3, 3}, NULL);
  vq_attrs_conv2d c = {.stride = VQ_INTS(1, 1), .pad = VQ_INTS(1, 1, 1, 1),
                       .dilation = VQ_INTS(1, 1), .groups = 2};
  vq_value *in[] = {&vq_const_fill(t.m, VQ_LIT("i"), img, 0)->value,
                    &vq_const_fill(t.m, VQ_LIT("w"), w, 0)->value};
  op = vq_build(&t.b, VQ_OP_conv2d, in, 2, &c, VQ_LIT(""));
  ck_assert_int_eq(vq_op_macs(op), 6 * 64 * 2 * 9);
  stop(&t);
}
END_TEST

// ---- hash and clone ----------------------------------------------------------------

typedef struct variant {
  bool swapped, renamed, dead, other_attr, other_data, shared, crossed;
} variant;

// gelu(x) * w + gelu(y) * v, in many spellings.
static uint64_t hash_of(variant v, bool with_data) {
  fixture t;
  start(&t);
  vq_value *x = &t.f->arg[0], *y = &t.f->arg[1], *p, *q;
  if (v.crossed) x = &t.f->arg[1], y = &t.f->arg[0];
  vq_attrs_gelu form = {.form = v.other_attr ? VQ_LIT("tanh") : VQ_LIT("erf")};
  const char *n = v.renamed ? "other" : "g";
  t.b.loc = vq_loc_path(t.ctx, vq_str_of(n));
  vq_const *w = vq_const_fill(t.m, vq_str_of(n), f32(&t, 2, 2), 1);
  vq_const *z = v.shared ? w
                         : vq_const_fill(t.m, VQ_LIT("v"), f32(&t, 2, 2),
                                         v.other_data ? 3 : 2);
  if (v.swapped) {
    q = vq_build1(&t.b, VQ_OP_gelu, &y, 1, NULL, vq_str_of(n));
    p = vq_build1(&t.b, VQ_OP_gelu, &x, 1, &form, VQ_LIT("p"));
  } else {
    p = vq_build1(&t.b, VQ_OP_gelu, &x, 1, &form, vq_str_of(n));
    q = vq_build1(&t.b, VQ_OP_gelu, &y, 1, NULL, VQ_LIT("q"));
  }
  if (v.dead) un(&t, VQ_OP_exp, p, "dead");
  p = bin(&t, VQ_OP_mul, p, &w->value, "");
  q = bin(&t, VQ_OP_mul, q, &z->value, "");
  ret(&t, bin(&t, VQ_OP_add, p, q, n));
  uint64_t h = vq_module_hash(t.m, with_data);
  ck_assert_uint_eq(h, vq_func_hash(t.f, with_data));
  stop(&t);
  return h;
}

START_TEST(hash_sees_structure_only) {
  for (int data = 0; data < 2; data++) {
    uint64_t h = hash_of((variant){0}, data);
    ck_assert_uint_eq(h, hash_of((variant){.swapped = true}, data));
    ck_assert_uint_eq(h, hash_of((variant){.renamed = true}, data));
    ck_assert_uint_eq(h, hash_of((variant){.dead = true}, data));
    ck_assert_uint_ne(h, hash_of((variant){.other_attr = true}, data));
    ck_assert_uint_ne(h, hash_of((variant){.shared = true}, data));
    ck_assert_uint_ne(h, hash_of((variant){.crossed = true}, data));
    uint64_t other = hash_of((variant){.other_data = true}, data);
    ck_assert(data ? h != other : h == other);
  }
}
END_TEST

START_TEST(hash_of_a_deep_chain) {
  fixture t;
  start(&t);
  vq_value *v = &t.f->arg[0];
  for (int i = 0; i < 200000; i++) v = un(&t, VQ_OP_neg, v, "");
  ret(&t, v);
  ck_assert_uint_ne(vq_module_hash(t.m, false), 0);
  stop(&t);
}
END_TEST

START_TEST(clone_is_equal_and_apart) {
  fixture t;
  start(&t);
  vq_value *x = &t.f->arg[0];
  vq_const *w = vq_const_fill(t.m, VQ_LIT("w"), f32(&t, 2, 2), 0.5);
  vq_const_random(t.m, VQ_LIT("w"), f32(&t, 2, 2), 7, 1);
  vq_meta_set(t.m, "b", VQ_LIT("1"));
  vq_meta_set(t.m, "a", VQ_LIT("2"));
  vq_value *y = bin(&t, VQ_OP_add, x, &w->value, "y");
  y = un(&t, VQ_OP_exp, y, "y");
  vq_op *ops[] = {y->def->prev, y->def};
  ck_assert(vq_build_return(&t.b, 1, &y, (vq_str[]){VQ_LIT("out")}) == VQ_OK);
  ck_assert_ptr_nonnull(vq_outline(&t.diag, ops, 2, VQ_LIT("k")));
  vq_module *copy = vq_module_clone(t.m);
  vq_strbuf a = {0}, b = {0};
  ck_assert(vq_print(&a, t.m, VQ_PRINT_ELIDE, NULL) == VQ_OK);
  ck_assert(vq_print(&b, copy, VQ_PRINT_ELIDE, NULL) == VQ_OK);
  ck_assert_str_eq(vq_strbuf_z(&a), vq_strbuf_z(&b));
  ck_assert_uint_eq(vq_module_hash(t.m, true), vq_module_hash(copy, true));
  vq_func *main = vq_module_func(copy, VQ_LIT("main"));
  vq_rename_value(main, &main->first->out[0], VQ_LIT("z"));
  ck_assert(vq_str_is(t.f->first->out[0].name, "y.2"));
  vq_strbuf_release(&a);
  vq_strbuf_release(&b);
  vq_module_destroy(copy);
  stop(&t);
}
END_TEST

// ---- outlining -----------------------------------------------------------------------

#define T "tensor<2x2, f32>"

START_TEST(outline_makes_kernels) {
  fixture t;
  start(&t);
  vq_value *x = &t.f->arg[0], *y = &t.f->arg[1];
  vq_value *w = &vq_const_fill(t.m, VQ_LIT("w"), f32(&t, 2, 2), 1)->value;
  vq_value *a = bin(&t, VQ_OP_mul, x, w, "a");
  vq_value *late = un(&t, VQ_OP_neg, a, "late");
  vq_value *later = un(&t, VQ_OP_abs, late, "later");
  vq_value *free_ = un(&t, VQ_OP_exp, y, "free");
  vq_value *b = bin(&t, VQ_OP_add, a, free_, "b");
  vq_value *c = bin(&t, VQ_OP_mul, b, w, "c");
  ret(&t, bin(&t, VQ_OP_sub, c, later, "d"));
  vq_op *call = vq_outline(&t.diag, (vq_op *[]){a->def, b->def, c->def}, 3,
                           VQ_LIT("k"));
  ck_assert_ptr_nonnull(call);
  expect_func(&t, t.m->first_func,
              "kernel @k(%a: " T ", %b: " T ", %b.1: " T ") -> (" T ", " T ") {\n"
              "  %0 = mul %a, %b : " T "\n"
              "  %1 = add %0, %b.1 : " T "\n"
              "  %2 = mul %1, %b : " T "\n"
              "  return %0, %2\n"
              "}\n");
  expect_func(&t, t.f,
              "func @main(%x: " T ", %y: " T ") -> (" T ") {\n"
              "  %free = exp %y : " T "\n"
              "  %a, %c = call @k(%x, @w, %free) : " T ", " T "\n"
              "  %late = neg %a : " T "\n"
              "  %later = abs %late : " T "\n"
              "  %d = sub %c, %later : " T "\n"
              "  return %d\n"
              "}\n");
  stop(&t);
}
END_TEST

START_TEST(outline_shares_kernels) {
  fixture t;
  start(&t);
  vq_value *v = &t.f->arg[0];
  vq_op *group[3][2];
  for (int i = 0; i < 3; i++) {
    vq_const *w = vq_const_fill(t.m, VQ_LIT("w"), f32(&t, 2, 2), i);
    v = bin(&t, VQ_OP_mul, v, &w->value, "m");
    group[i][0] = v->def;
    v = un(&t, i == 2 ? VQ_OP_sin : VQ_OP_cos, v, "r");
    group[i][1] = v->def;
  }
  ret(&t, v);
  vq_op *call[3];
  for (int i = 0; i < 3; i++)
    call[i] = vq_outline(&t.diag, group[i], 2, VQ_LIT("k"));
  ck_assert(vq_str_is(VQ_ATTRS(call[0], call)->callee, "k"));
  ck_assert(vq_str_is(VQ_ATTRS(call[1], call)->callee, "k"));
  ck_assert(vq_str_is(VQ_ATTRS(call[2], call)->callee, "k.1"));
  ck_assert(vq_str_is(call[2]->out[0].name, "r.2"));
  ck_assert_ptr_eq(t.m->last_func, t.f);
  unsigned n = 0;
  vq_each_func(t.m, f) n++;
  ck_assert_uint_eq(n, 3);
  stop(&t);
}
END_TEST

START_TEST(outline_refuses) {
  fixture t;
  start(&t);
  vq_value *a = un(&t, VQ_OP_neg, &t.f->arg[0], "a");
  vq_value *b = un(&t, VQ_OP_exp, a, "b");
  vq_value *c = un(&t, VQ_OP_abs, b, "c");
  vq_value *d = bin(&t, VQ_OP_add, a, c, "d");
  ck_assert_ptr_null(
      vq_outline(&t.diag, (vq_op *[]){a->def, d->def}, 2, VQ_LIT("k")));
  ck_assert_str_eq(vq_strbuf_z(&t.text),
                   "error: cannot outline 'add' with the ops before it: an op"
                   " outside the group lies between them [structure]\n");
  vq_strbuf_clear(&t.text);
  ck_assert_ptr_null(vq_outline(&t.diag, &d->def, 1, VQ_LIT("k")));
  ck_assert_str_eq(vq_strbuf_z(&t.text),
                   "error: cannot outline 'add': no result of the group is"
                   " used [structure]\n");
  ck_assert_ptr_eq(t.m->first_func, t.m->last_func);
  stop(&t);
}
END_TEST

int main(void) {
  Suite *s = suite_create("core");
  TCase *t = tcase_create("core");
  tcase_add_test(t, types_are_interned);
  tcase_add_test(t, quants_are_interned);
  tcase_add_test(t, quants_of_a_module);
  tcase_add_test(t, op_table_is_whole);
  tcase_add_test(t, attributes_are_values);
  tcase_add_test(t, names_are_unique);
  tcase_add_test(t, many_namesakes);
  tcase_add_test(t, use_lists_stay_right);
  tcase_add_test(t, replacing_keeps_names);
  tcase_add_test(t, constants_materialise);
  tcase_add_test(t, module_owns_memory_and_facts);
  tcase_add_test(t, macs_are_counted);
  tcase_add_test(t, hash_sees_structure_only);
  tcase_add_test(t, hash_of_a_deep_chain);
  tcase_add_test(t, clone_is_equal_and_apart);
  tcase_add_test(t, outline_makes_kernels);
  tcase_add_test(t, outline_shares_kernels);
  tcase_add_test(t, outline_refuses);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_ENV);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
