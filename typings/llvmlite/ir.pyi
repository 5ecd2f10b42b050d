from typing import Any

# Building instructions: untyped in llvmlite, and one function of ours long.
def __getattr__(name: str) -> Any: ...
