// Index maps: what a chain of reshape, transpose and slice reads of its source.
//
// A view maps each index of a shape to an element of a row-major source:
// element = offset + sum over atoms of digit * stride. Every dimension is a
// list of atoms (mixed-radix digits, outermost first), so merging dimensions
// that are not contiguous loses nothing: [B, h, N, d] -> [B*h, N, d] keeps B
// and h as two atoms of dimension 0, and a later reshape finds them again.
// Two chains that read the same elements in the same order have equal views
// after vq_view_simplify, whatever ops spell them; vq_view_steps turns a view
// back into the one canonical chain.
#ifndef VQ_CANON_VIEW_H
#define VQ_CANON_VIEW_H

#include "vq/type.h"

#define VQ_VIEW_ATOMS 24

typedef struct vq_atom {
  int64_t size;    // at least 2: dimensions of 1 have no atoms
  int64_t stride;  // in elements of the source, positive
} vq_atom;

typedef struct vq_view {
  unsigned rank;
  int64_t dim[VQ_MAX_RANK];
  vq_atom atom[VQ_VIEW_ATOMS];
  unsigned first[VQ_MAX_RANK + 1];  // atoms of dimension k: first[k] up to
  int64_t offset;                   // first[k + 1]
} vq_view;

// The view of a whole tensor. False when it has no elements.
bool vq_view_identity(vq_view *v, unsigned rank, const int64_t *dim);

// Composition with one more op. False, and `v` is unchanged, when the result
// is no view in the sense above (an unaligned split, a ragged slice).
bool vq_view_reshape(vq_view *v, unsigned rank, const int64_t *dim);
bool vq_view_transpose(vq_view *v, const int64_t *perm);
// `step` may be NULL (all 1); negative steps are refused.
bool vq_view_slice(vq_view *v, const int64_t *begin, const int64_t *size,
                   const int64_t *step);

// Replaces dimension `axis` by the elements begin + digits of it, in mixed radix
// (see vq_digits): what a gather with a regular index reads. False as above.
bool vq_view_pick(vq_view *v, unsigned axis, int64_t begin,
                  const vq_atom *digit, unsigned n_digit);

// Puts digits before those of dimension `axis`: what a concat of views of one
// source reads. False when there are too many.
bool vq_view_stack(vq_view *v, unsigned axis, const vq_atom *digit,
                   unsigned n_digit);

// Writes v[i] - v[0], for all i, as a mixed-radix number of i, outermost digit
// first and none overlapping another. Returns how many digits, or -1.
#define VQ_MAX_DIGITS 6
int vq_digits(const int64_t *v, int64_t n, vq_atom digit[VQ_MAX_DIGITS]);

// Merges atoms that follow each other contiguously inside a dimension.
void vq_view_simplify(vq_view *v);
bool vq_view_equal(const vq_view *a, const vq_view *b);

// Elements of the view, and whether it is a plain reshape of a source of that
// many elements.
int64_t vq_view_count(const vq_view *v);
bool vq_view_is_reshape(const vq_view *v, int64_t source_count);

typedef enum vq_step_kind {
  VQ_STEP_RESHAPE,
  VQ_STEP_TRANSPOSE,
  VQ_STEP_SLICE
} vq_step_kind;

typedef struct vq_step {
  vq_step_kind kind;
  unsigned rank;             // of `a`
  int64_t a[VQ_MAX_RANK];    // shape, perm or begin
  int64_t size[VQ_MAX_RANK];  // slice only
  int64_t step[VQ_MAX_RANK];  // slice only
} vq_step;

#define VQ_VIEW_STEPS 5

// The canonical chain for `v` over a source of shape `dim`: [reshape] [slice]
// [reshape] [transpose] [reshape], each only where needed. Returns the number
// of steps (0: the source itself) or -1 when the view cannot be spelled so.
int vq_view_steps(const vq_view *v, unsigned rank, const int64_t *dim,
                  vq_step out[VQ_VIEW_STEPS]);

#endif
