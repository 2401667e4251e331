// Recipes: how to quantize a model, as an XML document (docs/recipe.md).
#ifndef VQ_DRIVER_RECIPE_H
#define VQ_DRIVER_RECIPE_H

#include "driver.h"

// Gives the options that --recipe says something about and the command line does not.
VQ_NODISCARD vq_status recipe_apply(driver *d);

// Where the recipe says what is at `loc` in the text of an option; `loc` itself for
// what comes from elsewhere.
vq_loc recipe_place(const driver *d, vq_loc loc);

// Remarks on the rules about widths, from rule `first` on.
typedef struct recipe_remarks {
  unsigned first, n;
  const char *const *why;
} recipe_remarks;

// The fact of a module that names the recipe it was compiled by: the SHA-256 of its text.
#define RECIPE_META "recipe.sha256"

// Adds the recipe that says what the options say; `path` is for messages.
VQ_NODISCARD vq_status recipe_text(driver *d, const char *path,
                                   const recipe_remarks *or_null, vq_strbuf *out);
VQ_NODISCARD vq_status recipe_write(driver *d, const char *path,
                                    const recipe_remarks *or_null);

// Of a module whose compilation reads or writes a recipe: sets RECIPE_META.
VQ_NODISCARD vq_status recipe_mark(driver *d, vq_module *m);

#endif
