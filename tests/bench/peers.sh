#!/bin/sh
# Makes a virtual environment with the other tools and runs peers.py in it.
#   tests/bench/peers.sh MODEL.onnx --vitqc build/release/frontend/driver/vitqc
set -eu
here=$(dirname "$0")
venv=${VITQC_PEERS_VENV:-$here/../../.venv}
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q numpy onnxruntime openvino
fi
exec "$venv/bin/python" "$here/peers.py" "$@"
