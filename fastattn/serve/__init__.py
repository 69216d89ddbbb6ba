"""An HTTP server for models: ``fastattn serve``, and its application for any ASGI server.

It needs an extra: ``pip install 'fastattn[text,serve]'``. docs/serve.md is its page.
"""

from .app import create_app
from .limits import Limits
from .processes import serve

__all__ = ["Limits", "create_app", "serve"]
