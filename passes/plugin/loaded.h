// Plugins that are loaded; internal to passes/.
#ifndef VQ_PASSES_PLUGIN_LOADED_H
#define VQ_PASSES_PLUGIN_LOADED_H

#include "vq/plugin.h"

#include "vq/pass.h"

// The plugin that `pass`, one of a plugin's, comes from.
const vq_plugin *vq_plugin_of(const vq_pass *pass);

#endif
