#!/usr/bin/env bash
# Subject:   TensorFlow's search for the CUDA libraries of NVIDIA's wheels
# Versions:  tensorflow 2.21.0, nvidia-cusolver-cu12 11.6.3.83, nvidia-cusparse-cu12 12.5.1.3
# Guess:     tensorflow[and-cuda] installs cuSOLVER beside TensorFlow, so TensorFlow's loader opens it as it opens cuSPARSE.
# Behaviour: The loader is in libtensorflow_framework.so.2. Its RUNPATH names the folders of all libraries that it opens but cuSOLVER's,
#            which only libtensorflow_cc.so.2 names. TensorFlow registers no GPU if one of these libraries cannot be opened.
# Control:   The same call for cuSPARSE, and for cuSOLVER with its folder in LD_LIBRARY_PATH.
# Input:     The function GetCusolverDsoHandle of TensorFlow itself, which needs no GPU.
# Output seen with these versions:
#   GUESS   cuSOLVER: opened
#   SEEN    cuSOLVER: not found
#   CONTROL cuSPARSE: opened
#   CONTROL cuSOLVER, LD_LIBRARY_PATH: opened
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: --no-deps \
  tensorflow==2.21.0 nvidia-cublas-cu12==12.5.3.2 nvidia-cusolver-cu12==11.6.3.83 nvidia-cusparse-cu12==12.5.1.3 \
  nvidia-nvjitlink-cu12==12.5.82
packages=$("$folder/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')

cat > "$folder/opened.py" <<'PY'
import ctypes
import sys

framework = ctypes.CDLL(sys.argv[1])
loader = getattr(framework, sys.argv[2])
loader.argtypes, loader.restype = [ctypes.c_void_p], None
# absl::StatusOr<void*>: 1 is the inlined OkStatus.
status = (ctypes.c_size_t * 2)()
loader(ctypes.addressof(status))
print("opened" if status[0] == 1 else "not found")
PY

opened() {
  "$folder/venv/bin/python" -I "$folder/opened.py" "$packages/tensorflow/libtensorflow_framework.so.2" \
    "_ZN3tsl8internal9DsoLoader20Get$1DsoHandleEv"
}

seen=$(unset LD_LIBRARY_PATH; opened Cusolver)
other=$(unset LD_LIBRARY_PATH; opened Cusparse)
helped=$(LD_LIBRARY_PATH=$packages/nvidia/cusolver/lib opened Cusolver)
echo "GUESS   cuSOLVER: $other"
echo "SEEN    cuSOLVER: $seen"
echo "CONTROL cuSPARSE: $other"
echo "CONTROL cuSOLVER, LD_LIBRARY_PATH: $helped"
[ "$seen/$other/$helped" = "not found/opened/opened" ] || { echo "the behaviour or a control has changed" >&2; exit 1; }
