"""``python -m fastattn`` is the command ``fastattn``."""

from .cli import run

if __name__ == "__main__":
    run()
