"""Finding and opening the shared libraries."""
import ctypes
import functools
import os

# Of the package in PREFIX/lib/python3/dist-packages: where PREFIX's libraries may be.
_LIB = os.path.join(os.path.dirname(os.path.abspath(__file__)), *[os.pardir] * 3)
_FOLDERS = (_LIB, os.path.join(_LIB, "x86_64-linux-gnu"))


class LibraryError(OSError):
    """A shared library of vitqc, or NumPy, cannot be found or loaded."""


def numpy():
    """The module NumPy."""
    try:
        import numpy as module
    except ImportError as error:
        raise LibraryError("running a model needs NumPy (Debian: python3-numpy): "
                           f"{error}") from error
    return module


@functools.lru_cache(maxsize=None)
def load(name: str, variable: str) -> ctypes.CDLL:
    """Opens `name`: the file that the environment's `variable` names, the one installed
    with this package, or the system's."""
    near = (os.path.normpath(os.path.join(folder, name)) for folder in _FOLDERS)
    path = os.environ.get(variable) or next(filter(os.path.exists, near), name)
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise LibraryError(f"cannot load {name}: {error}; {variable} can name the file") \
            from error
