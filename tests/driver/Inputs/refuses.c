/* A model that cannot describe itself in the ABI version it is asked for. */
#include "vitq_abi.h"

const vitq_model *vitq_model_query(uint32_t max_version);
const vitq_model *vitq_model_query(uint32_t max_version) {
  (void)max_version;
  return NULL;
}
