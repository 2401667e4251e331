"""What --report=F.json wrote."""
import json
import math
import os
from types import SimpleNamespace
from typing import List, Union


class Report(SimpleNamespace):
    """A report. Its attributes, and those of what is in it, are the keys of the file
    (docs/report.md): report.sqnr_db, report.layers[0].cosine. A number that is not finite
    is None there."""

    def __repr__(self) -> str:
        return f"<vitqc.Report of {len(self.layers)} layers, {self.samples} samples>"

    def worst(self, n: int = 5) -> List[SimpleNamespace]:
        """The `n` layers that lose most, each measured alone, worst first."""
        def loss(layer):
            return math.inf if layer.sqnr_alone_db is None else layer.sqnr_alone_db
        measured = [layer for layer in self.layers if hasattr(layer, "sqnr_alone_db")]
        return sorted(measured, key=loss)[:n]


def read_report(path: Union[str, "os.PathLike[str]"]) -> Report:
    """Reads a report. Raises ValueError for a file that is none."""
    with open(path, encoding="utf-8") as file:
        try:
            top = json.load(file, object_hook=lambda keys: SimpleNamespace(**keys))
        except ValueError as error:
            raise ValueError(f"{path}: not JSON: {error}") from error
    missing = [key for key in ("samples", "sqnr_db", "layers", "kernels")
               if not hasattr(top, key)]
    if missing or not isinstance(top.layers, list):
        raise ValueError(f"{path}: not a report of vitqc: "
                         f"no {', '.join(missing) or 'list of layers'}")
    return Report(**vars(top))
