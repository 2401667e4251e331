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

// Writes the recipe that says what the options say.
VQ_NODISCARD vq_status recipe_write(driver *d, const char *path,
                                    const recipe_remarks *or_null);

#endif
