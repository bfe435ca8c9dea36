#!/bin/sh
# setup.sh DIR: what bench_peers.py needs, in DIR (some GB, outside the source tree): a Python environment with the peers, the
# native faces of oneDNN and of our library, LiteRT's models. What is there already stays; a peer that cannot be had is named and
# left out.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
mkdir -p "$1/native" "$1/models" || exit 1
home=$(cd "$1" && pwd)
python=$home/venv/bin/python
export PIP_REQUIRE_VIRTUALENV=1 # nothing may end up in the system's Python
[ -x "$python" ] || python3 -m venv "$home/venv" || exit 1

have() { (cd / && "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)"); }
install() { # install MODULE PACKAGE...
    module=$1
    shift
    have "$module" && return
    echo "== installing $*"
    "$python" -m pip install -q --disable-pip-version-check "$@" || echo "== left out: $* could not be installed"
}
install numpy numpy || exit 1
install torch torch
install onnx onnx
install onnxruntime onnxruntime
install openvino openvino
install ncnn ncnn
install cv2 opencv-python-headless
install ai_edge_litert ai-edge-litert
install tensorflow tensorflow-cpu

# oneDNN twice: the package for SYCL, and one whose threads are OpenMP's. Both have a libdnnl, so the second is unpacked beside
# the environment.
[ -e "$home/venv/include/dnnl.h" ] ||
    "$python" -m pip install -q --disable-pip-version-check onednn onednn-devel ||
    echo "== left out: onednn could not be installed"
openmp=$home/onednn-omp
if ! [ -e "$openmp/include/dnnl.h" ]; then
    "$python" -m pip download -q --disable-pip-version-check --no-deps --dest "$openmp/packages" \
        onednn-cpu-gomp==2023.2.0 onednn-devel-cpu-gomp==2023.2.0 || echo "== left out: onednn-cpu-gomp could not be had"
    for package in "$openmp"/packages/*.whl; do
        "$python" -m zipfile -e "$package" "$openmp/packages"
    done
    header=$(find "$openmp" -name dnnl.h | head -n 1)
    library=$(find "$openmp" -name 'libdnnl.so*' -type f | head -n 1)
    if [ -n "$header" ] && [ -n "$library" ]; then
        mkdir -p "$openmp/lib"
        ln -sfn "$(dirname "$header")" "$openmp/include"
        cp "$library" "$openmp/lib/libdnnl.so.3"
        ln -sf libdnnl.so.3 "$openmp/lib/libdnnl.so"
    fi
fi

face() { # face NAME SOURCE PREFIX-OF-HEADERS LIBRARY-FOLDER LIBRARY
    cc -std=c99 -D_GNU_SOURCE -O2 -fPIC -shared -I"$3" "$here/$2" -o "$home/native/$1.so" -L"$4" "-l$5" "-Wl,-rpath,$4" \
        -Wl,--allow-shlib-undefined || echo "== left out: $1 could not be compiled"
}
face ours ours.c "$root/include" "$root/build" convolution
[ -e "$home/venv/include/dnnl.h" ] && face onednn onednn.c "$home/venv/include" "$home/venv/lib" dnnl
[ -e "$openmp/include/dnnl.h" ] && face onednn-openmp onednn.c "$openmp/include" "$openmp/lib" dnnl

have tensorflow && have ai_edge_litert && "$python" "$here/litert_models.py" "$home/models" 2>&1 | grep 'no LiteRT model'
[ -e "$home/native/ours.so" ]
