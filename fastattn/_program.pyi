"""Programs: steps of kernels, their plans, and the arrays that they point into."""

from typing import Any, Never, final

__pyx_capi__: dict[str, object]  # what the modules that add steps share

@final
class Program:
    """Steps that run one after the other inside as few parallel regions as possible."""

    @property
    def recorder(self) -> Any: ...
    @property
    def num_threads(self) -> int | None: ...
    def __init__(
        self, recorder: object | None = None, *, num_threads: int | None = None
    ) -> None: ...
    def __reduce__(self) -> Never: ...
    def record(self, name: str, value: object, kind: object) -> None:
        """Show a recorder the value that an array has after the steps so far."""

    def run(self) -> None:
        """Run the steps in order."""
