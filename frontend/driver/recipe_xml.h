// Reading the XML of recipes: elements and attributes, each with its place.
#ifndef VQ_DRIVER_RECIPE_XML_H
#define VQ_DRIVER_RECIPE_XML_H

#include "vq/arena.h"
#include "vq/diag.h"
#include "vq/vec.h"

#define RECIPE_NAMESPACE "https://vitqc.dev/ns/recipe/1"

typedef enum recipe_element {
#define ELEMENT(name, once) IN_##name,
#define ATTR(element, id, spelling, kind, help)
#include "recipe.def"
#undef ELEMENT
#undef ATTR
  N_RECIPE_ELEMENTS
} recipe_element;

typedef enum recipe_attr {
#define ELEMENT(name, once)
#define ATTR(element, id, spelling, kind, help) AT_##id,
#include "recipe.def"
#undef ELEMENT
#undef ATTR
  N_RECIPE_ATTRS
} recipe_attr;

const char *recipe_element_name(recipe_element e);
const char *recipe_attr_name(recipe_attr a);

typedef struct recipe_item {
  recipe_element element;
  vq_loc loc;
  const char *value[N_RECIPE_ATTRS];  // NULL: not given
  vq_loc at[N_RECIPE_ATTRS];          // of the values
} recipe_item;

typedef struct recipe_items {
  recipe_item **p;  // in the document's order
  size_t n, cap;
} recipe_items;

// Checks elements, attributes and the form of values. `text` has to live as long as
// locations do. Nothing but `text` is read: document type declarations are refused,
// and with them all entities that are not XML's own. Release `out->p` in any case.
VQ_NODISCARD vq_status recipe_xml_read(vq_str text, const char *path, vq_arena *arena,
                                       vq_diag *diag, recipe_items *out);

// NULL, or what was expected of the value of `a`.
const char *recipe_value_wrong(recipe_attr a, const char *value);

#endif
