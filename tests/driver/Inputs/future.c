/* A model of an ABI version that does not exist. */
#include "vitq_abi.h"

const vitq_model *vitq_model_query(uint32_t max_version);
const vitq_model *vitq_model_query(uint32_t max_version) {
  static const vitq_model m = {.abi_version = 99, .size = sizeof m};
  (void)max_version;
  return &m;
}
