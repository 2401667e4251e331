"""The declarations of vitq_abi.h, vitq.h and vitqc.h that are used here."""
import ctypes as c
import functools

from ._libraries import load

MAX_RANK = 8
ALIGN = 64

# vitq_dtype, in NumPy's words.
DTYPES = ("float32", "int64", "int32", "int16", "int8", "uint8", "int4", "uint4", "bool",
          "bfloat16")


class TensorInfo(c.Structure):
    _fields_ = [("name", c.c_char_p), ("dtype", c.c_uint32), ("rank", c.c_uint32),
                ("dim", c.c_int64 * MAX_RANK), ("bytes_per_sample", c.c_uint64)]


class PreprocessInfo(c.Structure):
    _fields_ = [("size", c.c_uint32), ("stated", c.c_uint32), ("resize", c.c_uint32),
                ("crop", c.c_uint32), ("interp", c.c_uint32), ("channels", c.c_uint32),
                ("scale", c.c_float), ("mean", c.c_float * 4), ("std", c.c_float * 4)]


class Variant(c.Structure):
    _fields_ = [("name", c.c_char_p), ("requires", c.c_uint64), ("fn", c.c_void_p)]


class ModelInfo(c.Structure):
    _fields_ = [("abi_version", c.c_uint32), ("size", c.c_uint32), ("name", c.c_char_p),
                ("compiler", c.c_char_p), ("n_input", c.c_uint32), ("n_output", c.c_uint32),
                ("input", c.POINTER(TensorInfo)), ("output", c.POINTER(TensorInfo)),
                ("batch", c.c_uint32), ("n_variant", c.c_uint32),
                ("variant", c.POINTER(Variant)), ("n_kernel", c.c_uint32),
                ("n_step", c.c_uint32), ("kernel", c.c_void_p), ("step", c.c_void_p),
                ("arena_bytes", c.c_uint64), ("constants", c.c_void_p),
                ("constant_bytes", c.c_uint64), ("preprocess", c.POINTER(PreprocessInfo)),
                ("n_label", c.c_uint32), ("n_meta", c.c_uint32),
                ("label", c.POINTER(c.c_char_p)), ("meta", c.POINTER(c.c_char_p))]


class MessageInfo(c.Structure):
    _fields_ = [("size", c.c_uint32), ("severity", c.c_uint32), ("code", c.c_char_p),
                ("place", c.c_char_p), ("text", c.c_char_p), ("path", c.c_char_p),
                ("line", c.c_uint32), ("column", c.c_uint32), ("rendered", c.c_char_p)]


MESSAGE = c.CFUNCTYPE(None, c.c_void_p, c.POINTER(MessageInfo))
PRINT = c.CFUNCTYPE(None, c.c_void_p, c.c_int, c.c_void_p, c.c_size_t)
PROGRESS = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p, c.c_int64, c.c_int64)
TEMPORARY = c.CFUNCTYPE(None, c.c_void_p, c.c_char_p, c.c_int)


class Host(c.Structure):
    _fields_ = [("size", c.c_uint32), ("flags", c.c_uint32), ("user", c.c_void_p),
                ("message", MESSAGE), ("print", PRINT), ("progress", PROGRESS),
                ("temporary", TEMPORARY)]


class Source(c.Structure):
    _fields_ = [("size", c.c_uint32), ("path", c.c_char_p), ("data", c.c_char_p),
                ("n_data", c.c_size_t)]


class Buffer(c.Structure):
    _fields_ = [("data", c.c_void_p), ("size", c.c_size_t)]


def addresses(arrays):
    """Where the data of NumPy arrays are, as C wants it."""
    return (c.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))


def _declare(library, functions):
    for name, result, *arguments in functions:
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


@functools.lru_cache(maxsize=None)
def runtime():
    """libvitq, which runs models."""
    pointers = c.POINTER(c.c_void_p)
    return _declare(load("libvitq.so.0", "VITQ_LIBRARY"), [
        ("vitq_status_text", c.c_char_p, c.c_int),
        ("vitq_last_error", c.c_char_p),
        ("vitq_open", c.c_int, c.c_char_p, pointers),
        ("vitq_close", None, c.c_void_p),
        ("vitq_describe", c.POINTER(ModelInfo), c.c_void_p),
        ("vitq_variant_name", c.c_char_p, c.c_void_p),
        ("vitq_select", c.c_int, c.c_void_p, c.c_char_p),
        ("vitq_pool_create", c.c_int, c.c_uint, pointers),
        ("vitq_pool_destroy", None, c.c_void_p),
        ("vitq_workspace_size", c.c_size_t, c.c_void_p, c.c_uint),
        ("vitq_run", c.c_int, c.c_void_p, c.c_int64, pointers, pointers, c.c_void_p,
         c.c_void_p)])


@functools.lru_cache(maxsize=None)
def compiler():
    """libvitqc, which compiles."""
    words = c.POINTER(c.c_char_p)
    return _declare(load("libvitqc.so.0", "VITQC_LIBRARY"), [
        ("vitqc_version", c.c_char_p),
        ("vitqc_llvm_version", c.c_char_p),
        ("vitqc_api_version", c.c_uint32),
        ("vitqc_compile", c.c_int, c.POINTER(Source), words, c.c_size_t, c.POINTER(Host),
         c.POINTER(Buffer)),
        ("vitqc_free", None, c.POINTER(Buffer)),
        ("vitqc_command", c.c_int, words, c.c_size_t, c.POINTER(Host))])
