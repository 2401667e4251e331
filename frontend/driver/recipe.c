// From a recipe to options. Nothing else knows of recipes: rules about layers become the
// texts of --bits, --observer and --probability, and what is wrong with these texts is
// reported where the recipe says it.
#include "recipe.h"

#include <stdlib.h>

#include "recipe_xml.h"
#include "vq/rules.h"

enum { MOST_BYTES = 1 << 20, MOST_RULES = 4096 };

// What part of an option's text comes from where.
struct recipe_origin {
  const char *option;  // as locations name it
  size_t at;
  vq_loc loc;
  struct recipe_origin *next;
};

typedef struct rule_text {
  const char *option;
  opt_id id;
  vq_strbuf text;
  bool used;  // by the options
  unsigned n;
} rule_text;

typedef struct applier {
  driver *d;
  recipe_items items;
  rule_text bits, observer, probability;
  bool has_shapes, has_batch;  // said before: by the command line, by an element
} applier;

static vq_status wrong(const applier *a, vq_loc loc, const char *message) {
  return vq_error(&a->d->diag, VQ_E_option, loc, "%s", message);
}

static void give(driver *d, opt_id id, const char *text) {
  if (text && !opt_given(&d->opt, id)) d->opt.value[id] = text;
}

static const char *keep(driver *d, vq_strbuf *text) {
  const char *z = vq_arena_str(&d->arena, vq_strbuf_view(text)).p;
  vq_strbuf_release(text);
  return z;
}

vq_loc recipe_place(const driver *d, vq_loc loc) {
  vq_loc_info at = vq_loc_decode(d->ctx, loc);
  if (at.kind != VQ_LOC_TEXT || at.a != 1) return loc;
  for (const struct recipe_origin *o = d->origin; o; o = o->next)
    if (vq_str_is(at.path, o->option) && at.b == o->at + 1) return o->loc;
  return loc;
}

// ---- rules --------------------------------------------------------------------------

static void note_origin(applier *a, const rule_text *to, vq_loc loc) {
  struct recipe_origin *o = VQ_NEW(&a->d->arena, struct recipe_origin);
  *o = (struct recipe_origin){to->option, to->text.n, loc, a->d->origin};
  a->d->origin = o;
}

static void add_term(applier *a, rule_text *to, bool *first, const char *prefix, vq_str word,
                     vq_loc loc) {
  if (!word.n) return;
  if (!*first) vq_strbuf_putc(&to->text, '+');
  note_origin(a, to, loc);
  vq_strbuf_printf(&to->text, "%s%.*s", prefix, VQ_FMT(word));
  *first = false;
}

// The next word of a list; an absent list has one empty word.
static bool next_word(const char *list, size_t *at, vq_str *out) {
  if (!list) {
    *out = (vq_str){0};
    return (*at)++ == 0;
  }
  *at += strspn(list + *at, " \t\r\n");
  *out = (vq_str){list + *at, strcspn(list + *at, " \t\r\n")};
  *at += out->n;
  return out->n > 0;
}

// A rule for each role, block and stage of the lists. The value consists of two parts,
// each said by an attribute of its own.
static vq_status add_rules(applier *a, const recipe_item *it, rule_text *to,
                           const recipe_attr said[2], const char *const value[2]) {
  vq_str role, block, stage;
  vq_str name = vq_str_of(it->value[AT_name] ? it->value[AT_name] : "");
  for (size_t i = 0; next_word(it->value[AT_role], &i, &role);)
    for (size_t k = 0; next_word(it->value[AT_block], &k, &block);)
      for (size_t n = 0; next_word(it->value[AT_stage], &n, &stage);) {
        bool first = true;
        if (++to->n > MOST_RULES)
          return wrong(a, it->loc, "the recipe has more than 4096 rules about layers");
        vq_strbuf_putc(&to->text, ',');
        add_term(a, to, &first, "", role, it->at[AT_role]);
        add_term(a, to, &first, "block:", block, it->at[AT_block]);
        add_term(a, to, &first, "stage:", stage, it->at[AT_stage]);
        add_term(a, to, &first, "name:", name, it->at[AT_name]);
        vq_strbuf_putc(&to->text, '=');
        note_origin(a, to, it->at[value[0] ? said[0] : said[1]]);
        for (unsigned v = 0; v < 2; v++)
          if (value[v]) vq_strbuf_puts(&to->text, value[v]);
      }
  return VQ_OK;
}

// "w4" of "4"; NULL stays.
static const char *width(applier *a, const char *prefix, const char *v) {
  vq_strbuf text = {0};
  if (!v) return NULL;
  vq_strbuf_printf(&text, "%s%s", prefix, v);
  return keep(a->d, &text);
}

// ---- what the form of values does not say -------------------------------------------

static bool some_role(const char *roles, bool (*is)(const char *role)) {
  vq_str word;
  for (size_t at = 0; roles && next_word(roles, &at, &word);) {
    char name[32] = {0};
    memcpy(name, word.p, word.n);
    if (is(name)) return true;
  }
  return false;
}

static bool is_residual(const char *role) { return strcmp(role, "residual") == 0; }
static bool is_not_residual(const char *role) { return !is_residual(role); }
static bool is_not_weighing(const char *role) { return strcmp(role, "attn.av") != 0; }

static bool is_weightless(const char *role) {
  return is_residual(role) || strncmp(role, "attn.", 5) == 0;
}

static vq_status check_layer(const applier *a, const recipe_item *it) {
  const char *const *v = it->value, *role = v[AT_role];
  if (!role && !v[AT_block] && !v[AT_stage] && !v[AT_name])
    return wrong(a, it->loc, "<layer> selects none: give role, block, stage or name");
  if (!v[AT_weights] && !v[AT_acts] && !v[AT_all_float] && !v[AT_observer] && !v[AT_code])
    return wrong(a, it->loc, "<layer> says nothing about its layers");
  if (v[AT_all_float] && (v[AT_weights] || v[AT_acts]))
    return wrong(a, it->at[AT_all_float], "a layer of floats has no other widths");
  if (v[AT_weights] && strcmp(v[AT_weights], "16") == 0)
    return wrong(a, it->at[AT_weights], "weights have 3 to 8 bits or float");
  if (v[AT_weights] && some_role(role, is_weightless))
    return wrong(a, it->at[AT_weights],
                 "operands of attention and the residual stream have no weights");
  if (v[AT_acts] && strcmp(v[AT_acts], "16") == 0 &&
      (!role || some_role(role, is_not_residual)))
    return wrong(a, it->at[AT_acts], "only the residual stream has 16 bits");
  if (v[AT_observer] && some_role(role, is_residual))
    return wrong(a, it->at[AT_observer], "the residual stream is never clipped");
  if (v[AT_code] && some_role(role, is_not_weighing))
    return wrong(a, it->at[AT_code], "only attn.av has probabilities");
  return VQ_OK;
}

static vq_status check_level(const applier *a, const recipe_item *it) {
  const options *o = &a->d->opt;
  const char *level = opt_text(o, OPT_level);
  if (opt_given(o, OPT_passes))
    return wrong(a, it->loc, "--passes says what becomes codes: this would be ignored");
  if (level[0] < '2') return wrong(a, it->loc, "-O0 and -O1 make no codes: this would be ignored");
  return VQ_OK;
}

// ---- elements -----------------------------------------------------------------------

static vq_status take_input(applier *a, const recipe_item *it) {
  options *o = &a->d->opt;
  const char *shape = it->value[AT_shape], *name = it->value[AT_input_name];
  if (!shape && !it->value[AT_batch])
    return wrong(a, it->loc, "<input> says nothing: give shape or batch");
  if (it->value[AT_batch] && a->has_batch) return wrong(a, it->at[AT_batch], "a second batch");
  if (it->value[AT_batch]) a->has_batch = true;
  give(a->d, OPT_batch, it->value[AT_batch]);
  if (!shape || a->has_shapes) return VQ_OK;
  vq_strbuf text = {0};
  vq_strbuf_printf(&text, "%s%s%s", name ? name : "", name ? ":" : "", shape);
  options_append(o, &a->d->arena, OPT_input_shape, keep(a->d, &text));
  return VQ_OK;
}

static void take_preprocess(applier *a, const recipe_item *it) {
  vq_strbuf text = {0};
  for (int k = AT_scale; k <= AT_interp; k++)
    if (it->value[k])
      vq_strbuf_printf(&text, "%s%s=%s", text.n ? " " : "",
                       recipe_attr_name((recipe_attr)k), it->value[k]);
  if (text.n) give(a->d, OPT_preprocess, keep(a->d, &text));
}

static vq_status take_calibration(applier *a, const recipe_item *it) {
  const char *from = it->value[AT_from];
  bool made = !from || strcmp(from, "psaq") == 0 || strcmp(from, "mimiq") == 0 ||
              strcmp(from, "psaq+mimiq") == 0 || strcmp(from, "scenes") == 0;
  if (it->value[AT_steps] && !made)
    return wrong(a, it->at[AT_steps], "only pictures out of the model are made in steps");
  if (it->value[AT_time] && !made)
    return wrong(a, it->at[AT_time], "only pictures out of the model take a time to make");
  if (it->value[AT_settled] && !made)
    return wrong(a, it->at[AT_settled],
                 "only pictures out of the model are made until ranges have settled");
  if (opt_given(&a->d->opt, OPT_profile)) return VQ_OK;  // which says all of it
  static const struct {
    opt_id id;
    recipe_attr attr;
  } said[] = {{OPT_calib, AT_from}, {OPT_calib_size, AT_size}, {OPT_calib_steps, AT_steps},
              {OPT_seed, AT_seed}, {OPT_calib_time, AT_time},
              {OPT_calib_settled, AT_settled}};
  bool other = opt_given(&a->d->opt, OPT_calib);  // then how they are made is of another way
  for (size_t i = 0; i < VQ_COUNT(said); i++)
    if (!other || (said[i].id != OPT_calib_steps && said[i].id != OPT_calib_time &&
                   said[i].id != OPT_calib_settled))
      give(a->d, said[i].id, it->value[said[i].attr]);
  return VQ_OK;
}

static vq_status take_budget(applier *a, const recipe_item *it) {
  const char *most = it->value[AT_most], *least = it->value[AT_least];
  vq_strbuf text = {0};
  if (!most && !least) return wrong(a, it->loc, "<budget> says nothing: give size or sqnr");
  if (most && least)
    return wrong(a, it->at[AT_least], "a budget is a size or an SQNR of the results, not both");
  if (check_level(a, it)) return VQ_ERR;
  if (opt_given(&a->d->opt, OPT_mixed)) return VQ_OK;
  vq_strbuf_printf(&text, "%s%s", most ? "size<=" : "sqnr>=", most ? most : least);
  const rule_text mixed = {.option = "mixed"};
  note_origin(a, &mixed, it->at[most ? AT_most : AT_least]);
  give(a->d, OPT_mixed, keep(a->d, &text));
  return VQ_OK;
}

static vq_status take_defaults(applier *a, const recipe_item *it) {
  static const recipe_attr widths[] = {AT_all_weights, AT_all_acts};
  for (unsigned i = 0; i < 2; i++)
    if (it->value[widths[i]] && strcmp(it->value[widths[i]], "16") == 0)
      return wrong(a, it->at[widths[i]], "only the residual stream has 16 bits");
  return check_level(a, it);
}

static vq_status take_layer(applier *a, const recipe_item *it) {
  if (check_layer(a, it) || check_level(a, it)) return VQ_ERR;
  const char *const *v = it->value;
  const char *bits[] = {width(a, "w", v[AT_all_float] ? "float" : v[AT_weights]),
                        width(a, "a", v[AT_all_float] ? "float" : v[AT_acts])};
  if (v[AT_all_float]) bits[0] = "float", bits[1] = NULL;
  const char *observer[] = {v[AT_observer], NULL}, *code[] = {v[AT_code], NULL};
  const recipe_attr of_bits[] = {v[AT_all_float] ? AT_all_float : AT_weights, AT_acts},
                    of_observer[] = {AT_observer, AT_observer}, of_code[] = {AT_code, AT_code};
  if ((bits[0] || bits[1]) && add_rules(a, it, &a->bits, of_bits, bits)) return VQ_ERR;
  if (observer[0] && add_rules(a, it, &a->observer, of_observer, observer)) return VQ_ERR;
  if (code[0] && add_rules(a, it, &a->probability, of_code, code)) return VQ_ERR;
  return VQ_OK;
}

static vq_status take(applier *a, const recipe_item *it) {
  switch (it->element) {
    case IN_recipe:
      if (it->value[AT_version]) return VQ_OK;
      return wrong(a, it->loc, "<recipe> has no version, expected version=\"1\"");
    case IN_input: return take_input(a, it);
    case IN_preprocess: take_preprocess(a, it); return VQ_OK;
    case IN_calibration: return take_calibration(a, it);
    case IN_budget: return take_budget(a, it);
    case IN_defaults: return take_defaults(a, it);
    case IN_layer: return take_layer(a, it);
    case N_RECIPE_ELEMENTS: break;
  }
  return VQ_OK;
}

// ---- the document -------------------------------------------------------------------

// The values that stand in front of the rules.
static void begin_texts(applier *a) {
  const recipe_item *it = NULL;
  for (size_t i = 0; i < a->items.n; i++)
    if (a->items.p[i]->element == IN_defaults) it = a->items.p[i];
  static const struct {
    recipe_attr attr;
    const char *def;
  } first[] = {{AT_all_weights, "8"}, {AT_all_acts, "8"}, {AT_all_observer, "mse"},
               {AT_all_code, "auto"}};
  const char *v[4];
  for (unsigned i = 0; i < 4; i++) {
    const char *said = it ? it->value[first[i].attr] : NULL;
    v[i] = said ? said : first[i].def;
  }
  vq_strbuf_printf(&a->bits.text, "w%sa%s", v[0], v[1]);
  vq_strbuf_puts(&a->observer.text, v[2]);
  vq_strbuf_puts(&a->probability.text, v[3]);
  a->bits.used = it && (it->value[AT_all_weights] || it->value[AT_all_acts]);
  a->observer.used = it && it->value[AT_all_observer];
  a->probability.used = it && it->value[AT_all_code];
}

// Texts that the command line has replaced come from there.
static void end_text(applier *a, rule_text *t) {
  if (opt_given(&a->d->opt, t->id)) {
    for (struct recipe_origin *o = a->d->origin; o; o = o->next)
      if (o->option == t->option) o->option = "";
  } else if (t->used || t->n) {
    a->d->opt.value[t->id] = vq_arena_str(&a->d->arena, vq_strbuf_view(&t->text)).p;
  }
  vq_strbuf_release(&t->text);
}

static vq_status read_text(driver *d, const char *path, vq_str *out) {
  FILE *f = fopen(path, "rb");
  if (!f) return vq_error(&d->diag, VQ_E_io, at_path(d, path), "%m");
  char *text = VQ_NEW_N(&d->arena, char, MOST_BYTES + 1);
  *out = (vq_str){text, fread(text, 1, MOST_BYTES + 1, f)};
  bool bad = ferror(f);
  fclose(f);
  if (bad) return vq_error(&d->diag, VQ_E_io, at_path(d, path), "cannot be read");
  if (out->n <= MOST_BYTES) return VQ_OK;
  return vq_error(&d->diag, VQ_E_limit, at_path(d, path), "a recipe has at most 1 MiB");
}

vq_status recipe_apply(driver *d) {
  const char *path = opt_text(&d->opt, OPT_recipe);
  applier a = {.d = d,
               .bits = {.option = "bits", .id = OPT_bits},
               .observer = {.option = "observer", .id = OPT_observer},
               .probability = {.option = "probability", .id = OPT_probability},
               .has_shapes = opt_given(&d->opt, OPT_input_shape)};
  vq_str text;
  if (!path) return VQ_OK;
  if (read_text(d, path, &text)) return VQ_ERR;
  vq_status s = recipe_xml_read(text, path, &d->arena, &d->diag, &a.items);
  if (!s) begin_texts(&a);
  for (size_t i = 0; i < a.items.n && !s; i++) s = take(&a, a.items.p[i]);
  end_text(&a, &a.bits);
  end_text(&a, &a.observer);
  end_text(&a, &a.probability);
  vq_vec_release(&a.items);
  return s;
}
