"""``python -m fastattn`` is the command ``fastattn``."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
