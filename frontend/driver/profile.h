// Where the time of a compiled model goes, step by step.
#ifndef VQ_DRIVER_PROFILE_H
#define VQ_DRIVER_PROFILE_H

#include "json.h"
#include "machine.h"
#include "probe.h"

// What a step is for, as far as the kernels around it tell.
typedef enum role {
#define ROLE(id) ROLE_##id,
#include "roles.def"
#undef ROLE
  N_ROLES
} role;

typedef struct step_profile {
  role role;
  bool codes;             // its operands are codes
  double median_s, min_s;
} step_profile;

typedef struct profile {
  const vitq_model *model;
  int64_t n_pass;                // over the steps in one measured run
  step_profile *step;            // [model->n_step]
  double total_s;                // sum of medians
  peak peak_float, peak_codes;   // of the variant's instructions
} profile;

// What a step costs.
typedef struct step_rate {
  double us, share;      // median; of the time of all steps
  double gops, of_peak;  // 1e9 additions and multiplications a second; 0: it has none
} step_rate;

const char *profile_role_name(role r);
step_rate profile_rate(const profile *p, uint32_t step);

// The roles of a model's steps, role[model->n_step].
void step_roles(const vitq_model *m, role *out);

// Runs n samples `n_round` times, at most 200. Free *out with profile_release
// whatever the outcome.
VQ_NODISCARD vq_status profile_take(machine *m, int64_t n, const float *in,
                                    float *out, int64_t n_round, profile *p);
void profile_print(const profile *p, FILE *out);
void profile_json(const profile *p, json *j);  // members steps, roles
void profile_release(profile *p);              // NULL members are allowed

#endif
