"""Compiled models, run through libvitq."""
import ctypes as c
import os
import tempfile
import threading
from typing import TYPE_CHECKING, Any, List, NamedTuple, Optional, Tuple, Union

from . import _abi
from ._libraries import numpy as _numpy

if TYPE_CHECKING:
    import numpy

_INTERP = ("nearest", "bilinear", "bicubic")


class ModelError(Exception):
    """A compiled model cannot be loaded or run."""


class Tensor(NamedTuple):
    """An input or output."""
    name: str
    dtype: str              # NumPy's name
    shape: Tuple[int, ...]  # of one sample


class Preprocess(NamedTuple):
    """How pixels become the first input: resized, cropped, (pixel * scale - mean) / std."""
    scale: float
    mean: Tuple[float, ...]  # of each channel
    std: Tuple[float, ...]
    resize: int              # the shorter side before cropping; 0: none
    crop: int                # side of the centre square; 0: none
    interp: str              # "nearest", "bilinear" or "bicubic"

    def normalize(self, pixels: Any) -> "numpy.ndarray":
        """Pixels [N, H, W] or [N, H, W, C], 0 to 255 and already of the right size, as
        float32 [N, C, H, W]."""
        np = _numpy()
        pixels = np.asarray(pixels)
        if pixels.ndim == 3:
            pixels = pixels[..., None]
        if pixels.ndim != 4 or pixels.shape[3] != len(self.mean):
            raise ValueError(f"pixels have shape {list(pixels.shape)}, expected [N, H, W"
                             + ("]" if len(self.mean) == 1 else f", {len(self.mean)}]"))
        mean, std = np.float32(self.mean), np.float32(self.std)
        values = (pixels.astype(np.float32) * np.float32(self.scale) - mean) / std
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


class _Runner:
    """What one run at a time needs besides the model: memory and threads."""

    def __init__(self, library, handle, threads: int):
        self._library = library
        self.pool = c.c_void_p()
        if threads > 1:
            _check(library, library.vitq_pool_create(threads, c.byref(self.pool)), "threads")
        size = library.vitq_workspace_size(handle, threads)
        self._memory = c.create_string_buffer(size + _abi.ALIGN)
        address = c.addressof(self._memory)
        self.workspace = address + -address % _abi.ALIGN

    def close(self) -> None:
        self._library.vitq_pool_destroy(self.pool)
        self.pool = None


def _check(library, status: int, what: str, hidden: str = "") -> None:
    """Raises what `status` means; `hidden`: a file name that is not the user's."""
    if not status:
        return
    text = library.vitq_status_text(status).decode()
    why = library.vitq_last_error().decode("utf-8", "replace")
    if hidden:
        why = why.replace(hidden + ": ", "")
    raise ModelError(f"{what}: {text}" + (f": {why}" if why else ""))


def _tensor(info) -> Tensor:
    return Tensor(info.name.decode(), _abi.DTYPES[info.dtype], tuple(info.dim[1:info.rank]))


def _preprocess(info) -> Optional[Preprocess]:
    if not info.stated:
        return None
    n = info.channels
    return Preprocess(info.scale, tuple(info.mean[:n]), tuple(info.std[:n]), info.resize,
                      info.crop, _INTERP[info.interp])


class Model:
    """A compiled model: a path, or bytes of a shared object. That is code and runs with
    all rights of this process: load only what you trust.

        model = vitqc.Model("model.so", threads=2)
        logits = model(pixels)

    threads    how many a run uses
    variant    one of `variants` instead of the best that this CPU has

    Its attributes describe it: name, compiler, batch, inputs, outputs, variants, variant,
    labels, preprocess (None if unknown), facts (a dict of what the compiler noted),
    constant_bytes, arena_bytes. Threads may share a model: each call runs by itself."""

    def __init__(self, source: Union[str, "os.PathLike[str]", bytes, bytearray, memoryview],
                 threads: int = 1, variant: Optional[str] = None):
        self._handle = None
        self._idle: List[_Runner] = []
        self._running = 0
        self._lock = threading.Lock()
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise ValueError(f"threads is {threads!r}, expected a whole number from 1")
        self.threads = threads
        self._library = _abi.runtime()
        self._open(source)
        if variant is not None:
            self._check(self._library.vitq_select(self._handle, os.fsencode(variant)))
        self._read()

    # The loader knows libraries by their names: of two files that had one name after each
    # other it would give the first again. So each is opened by a name of its own.
    def _open(self, source) -> None:
        handle = c.c_void_p()
        with tempfile.TemporaryDirectory(prefix="vitqc-") as folder:
            path = os.path.join(folder, "model.so")
            if isinstance(source, (bytes, bytearray, memoryview)):
                self._shown = f"{len(source)} bytes"
                with open(path, "wb") as file:
                    file.write(source)
            else:
                self._shown = os.fsdecode(source)
                with open(source, "rb"):  # with Python's own errors
                    pass
                os.symlink(os.path.abspath(self._shown), path)
            status = self._library.vitq_open(os.fsencode(path), c.byref(handle))
            _check(self._library, status, self._shown, hidden=path)
        self._handle = handle

    def _check(self, status: int) -> None:
        _check(self._library, status, self._shown)

    def _read(self) -> None:
        m = self._library.vitq_describe(self._handle).contents
        self.name: str = m.name.decode("utf-8", "replace")
        self.compiler: str = m.compiler.decode()
        self.batch: int = m.batch
        self.inputs = [_tensor(m.input[i]) for i in range(m.n_input)]
        self.outputs = [_tensor(m.output[i]) for i in range(m.n_output)]
        self.variants = [m.variant[i].name.decode() for i in range(m.n_variant)]
        self.variant: str = self._library.vitq_variant_name(self._handle).decode()
        self.labels = [m.label[i].decode("utf-8", "replace") for i in range(m.n_label)]
        self.facts = {m.meta[2 * i].decode(): m.meta[2 * i + 1].decode("utf-8", "replace")
                      for i in range(m.n_meta)}
        self.preprocess = _preprocess(m.preprocess.contents)
        self.constant_bytes: int = m.constant_bytes
        self.arena_bytes: int = m.arena_bytes

    def __repr__(self) -> str:
        def text(tensors):
            return ", ".join(f"{t.name}: {t.dtype}{['N', *t.shape]}".replace("'", "")
                             for t in tensors)
        return (f"<vitqc.Model {self.name}: {text(self.inputs)} -> {text(self.outputs)}, "
                f"{self.variant}{'' if self._handle else ', closed'}>")

    def close(self) -> None:
        """Unloads the model; it cannot be used after that. At the end of a `with`, and when
        nothing refers to the model any more, that is done by itself."""
        with self._lock:
            if self._running:
                raise ModelError(f"{self._shown}: the model is running")
            handle, self._handle = self._handle, None
            while self._idle:
                self._idle.pop().close()
        if handle:
            self._library.vitq_close(handle)

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __del__(self) -> None:
        if self._handle:
            self.close()

    def _input(self, np, tensor: Tensor, array, n: Optional[int]):
        """`array` as the model reads it; n: samples of the inputs before, or None."""
        array = np.asarray(array)
        if array.dtype != tensor.dtype:
            raise TypeError(f"input '{tensor.name}' is {array.dtype}, expected "
                            f"{tensor.dtype}")
        if array.ndim == 0 or array.shape[1:] != tensor.shape:
            expected = ", ".join(["N", *map(str, tensor.shape)])
            raise ValueError(f"input '{tensor.name}' has shape {list(array.shape)}, "
                             f"expected [{expected}]")
        if n is not None and len(array) != n:
            raise ValueError(f"input '{tensor.name}' has {len(array)} samples, the inputs "
                             f"before it have {n}")
        return np.ascontiguousarray(array)

    def _inputs(self, np, given) -> list:
        if len(given) != len(self.inputs):
            raise TypeError(f"{len(given)} inputs were given, expected {len(self.inputs)}: "
                            + ", ".join(t.name for t in self.inputs))
        for t in self.inputs + self.outputs:
            if t.dtype in ("int4", "uint4", "bfloat16"):
                raise ModelError(f"'{t.name}' is {t.dtype}, which NumPy does not have")
        arrays: list = []
        for tensor, array in zip(self.inputs, given):
            n = len(arrays[0]) if arrays else None
            arrays.append(self._input(np, tensor, array, n))
        return arrays

    def run(self, *inputs: Any) -> "List[numpy.ndarray]":
        """Runs any number of samples N. Each input is an array [N, *shape] of exactly the
        model's type. Returns new arrays [N, *shape], one for each output."""
        np = _numpy()
        arrays = self._inputs(np, inputs)
        n = len(arrays[0])
        out = [np.empty((n, *t.shape), t.dtype) for t in self.outputs]
        with self._lock:
            if not self._handle:
                raise ModelError(f"{self._shown}: the model is closed")
            self._running += 1
            runner = self._idle.pop() if self._idle else None
        try:
            runner = runner or _Runner(self._library, self._handle, self.threads)
            status = self._library.vitq_run(self._handle, n, _abi.addresses(arrays),
                                            _abi.addresses(out), runner.workspace,
                                            runner.pool)
        finally:
            with self._lock:
                self._running -= 1
                if runner:
                    self._idle.append(runner)
        self._check(status)
        return out

    def __call__(self, *inputs: Any) -> "Union[numpy.ndarray, List[numpy.ndarray]]":
        """As run, but the output itself where there is one."""
        out = self.run(*inputs)
        return out[0] if len(out) == 1 else out
