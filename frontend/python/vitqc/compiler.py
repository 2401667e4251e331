"""Compiling, through libvitqc."""
import contextlib
import ctypes as c
import os
import signal
import sys
import threading
import warnings
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Tuple, Union

from . import _abi

_GOOD, _INTERRUPTED = 0, 130
_SEVERITY = ("note", "warning", "error")

Path = Union[str, "os.PathLike[str]"]
Progress = Callable[[str, int, int], Any]


class Diagnostic(NamedTuple):
    """Something that the compiler has to say."""
    severity: str  # "note" (belongs to the one before it), "warning" or "error"
    code: str      # "shape", "not-onnx", ...; "" for notes
    place: str     # "x.vq:3:14", "m.onnx:#41(/blocks.0/attn/MatMul)"; "" if unknown
    text: str
    path: str      # the file that `place` names, "vitqc" for options; "" if unknown
    line: int      # in IR text and recipes, from 1; 0 if unknown
    column: int
    rendered: str  # all of it as the command prints it, with the line of source


class CompileError(Exception):
    """The model was not compiled. `diagnostics` is all that was said; `code`, `place`,
    `text`, `path`, `line` and `column` are those of the first error. `result` is the exit
    code that the command would end with: 1 for the model, 2 for the options, 70 for a
    fault of the compiler."""

    def __init__(self, diagnostics: List[Diagnostic], result: int):
        said = "".join(d.rendered for d in diagnostics if d.severity != "warning").rstrip()
        super().__init__(said or f"vitqc ended with {result}")
        self.diagnostics = diagnostics
        self.result = result
        first = next((d for d in diagnostics if d.severity == "error"),
                     Diagnostic("error", "", "", str(self), "", 0, 0, str(self)))
        _, self.code, self.place, self.text, self.path, self.line, self.column, _ = first


class Interrupted(CompileError):
    """`progress` asked to stop."""


class VitqcWarning(UserWarning):
    """A warning of the compiler; `diagnostic` has its parts."""

    def __init__(self, diagnostic: Diagnostic):
        super().__init__(diagnostic.rendered.rstrip())
        self.diagnostic = diagnostic


def version() -> Tuple[str, str]:
    """("0.1.0", "19.1.7"): of vitqc and of LLVM."""
    library = _abi.compiler()
    return library.vitqc_version().decode(), library.vitqc_llvm_version().decode()


class _Host:
    """The callbacks of one call, and what they heard. An exception in a callback stops the
    call and is raised again after it."""

    def __init__(self, progress: Optional[Progress], on_output):
        self.diagnostics: List[Diagnostic] = []
        self.pressed = False  # Ctrl-C
        self._progress = progress
        self._on_output = on_output
        self._raised: Optional[BaseException] = None
        self.struct = _abi.Host(
            size=c.sizeof(_abi.Host), message=_abi.MESSAGE(self._on_message),
            print=_abi.PRINT(self._on_print), progress=_abi.PROGRESS(self._on_stage))

    def _guarded(self, function, *arguments) -> bool:
        try:
            return bool(function(*arguments))
        except BaseException as raised:  # it must not pass through C
            self._raised = self._raised or raised
            return True

    def _keep(self, m) -> None:
        code, place, text, path, rendered = (
            s.decode("utf-8", "replace") for s in (m.code, m.place, m.text, m.path,
                                                   m.rendered))
        self.diagnostics.append(Diagnostic(_SEVERITY[m.severity], code, place, text, path,
                                           m.line, m.column, rendered))

    def _on_message(self, _, message) -> None:
        self._guarded(self._keep, message.contents)

    def _on_print(self, _, is_log, text, n) -> None:
        if self._on_output:
            said = c.string_at(text, n).decode("utf-8", "replace")
            self._guarded(self._on_output, said, bool(is_log))

    def _on_stage(self, _, what, done, total) -> int:
        if self.pressed or self._raised:
            return 1
        if not self._progress:
            return 0
        return self._guarded(self._progress, what.decode("utf-8", "replace"), done, total)

    def finish(self, result: int) -> None:
        if self._raised:
            raise self._raised
        if self.pressed:
            raise KeyboardInterrupt
        for d in self.diagnostics:
            if d.severity == "warning":
                warnings.warn(VitqcWarning(d), stacklevel=3)
        if result == _INTERRUPTED:
            raise Interrupted(self.diagnostics, result)
        if result != _GOOD:
            raise CompileError(self.diagnostics, result)


# Python's own handler would raise where an exception is lost: on the way into a callback.
@contextlib.contextmanager
def _ctrl_c_stops(host: _Host) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread() or \
            signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def press(*_):
        host.pressed = True
    signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _words(words):
    encoded = [os.fsencode(word) for word in words]
    for word in encoded:
        if b"\0" in word:
            raise ValueError(f"an option has a zero byte: {word!r}")
    return (c.c_char_p * len(encoded))(*encoded), len(encoded)


def _keyword(name: str, value) -> List[str]:
    """The words of one keyword argument."""
    if value is None or value is False:
        return []
    if name == "level":
        return [f"-O{value}"]
    if name in ("quiet", "verbose") and value is True:
        return ["-" + name[0]]
    option = "--" + name.replace("_", "-")
    if value is True:
        return [option]
    values = value if isinstance(value, (list, tuple)) else [value]
    return [f"{option}={os.fspath(v) if isinstance(v, os.PathLike) else v}" for v in values]


def _show(text: str, is_log: bool) -> None:
    (sys.stderr if is_log else sys.stdout).write(text)


def _source(model, name: Optional[Path]):
    source = _abi.Source(size=c.sizeof(_abi.Source))
    if isinstance(model, (bytes, bytearray, memoryview)):
        model = bytes(model)
        source.data, source.n_data = model, len(model)
        source.path = os.fsencode(name) if name is not None else None
        return source
    if name is not None:
        raise TypeError("name is for models given as bytes")
    source.path = os.fsencode(model)
    return source


def compile(model: Union[Path, bytes, bytearray, memoryview], *options: str,
            output: Optional[Path] = None, name: Optional[Path] = None,
            progress: Optional[Progress] = None,
            on_output: Optional[Callable[[str, bool], Any]] = _show,
            **keywords) -> Optional[bytes]:
    """Compiles `model`, a path or bytes, ONNX or IR text. Returns the shared object, or
    what `emit` says, as bytes; None when `output` names a file for it.

    Options are those of the command, as strings ("--calib-steps=20") or as keywords
    (calib_steps=20). True is an option without a value, None and False leave it out, a
    list repeats it, level=1 is "-O1".

    name       file name of a model given as bytes: messages show it, and external data are
               looked for in its folder
    progress   progress(what, done, total) is called often, mostly on this thread, and ends
               the compilation with Interrupted by returning something true
    on_output  on_output(text, is_log) takes what options such as verbose=True print; by
               default it goes to sys.stdout and sys.stderr, None drops it

    Raises CompileError; warnings are VitqcWarning. No file is written then, and after
    Ctrl-C or an exception in a callback neither."""
    words = list(options)
    for key, value in keywords.items():
        words += _keyword(key, value)
    if output is not None:
        words += ["-o", os.fspath(output)]
    array, n = _words(words)
    host, source, buffer = _Host(progress, on_output), _source(model, name), _abi.Buffer()
    library = _abi.compiler()
    with _ctrl_c_stops(host):
        result = library.vitqc_compile(c.byref(source), array, n, c.byref(host.struct),
                                       c.byref(buffer) if output is None else None)
    try:
        host.finish(result)
        return c.string_at(buffer.data, buffer.size) if output is None else None
    finally:
        library.vitqc_free(c.byref(buffer))


def command(*arguments: Path, progress: Optional[Progress] = None,
            good: Tuple[int, ...] = (_GOOD,)) -> str:
    """Does what `vitqc ARGUMENTS` does and returns what that prints to standard output:
    command("inspect", "model.so"). Exit codes that are not in `good` raise
    CompileError."""
    out: List[str] = []
    host = _Host(progress, lambda text, is_log: None if is_log else out.append(text))
    array, n = _words(arguments)
    with _ctrl_c_stops(host):
        result = _abi.compiler().vitqc_command(array, n, c.byref(host.struct))
    host.finish(_GOOD if result in good else result)
    return "".join(out)
