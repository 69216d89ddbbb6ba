"""The least server of a model that Starlette and uvicorn can be: `MODEL` is its argument.

It has no queue, limits, counts or options, and takes one text at a time.
"""

import asyncio
import sys

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import fastattn as fa
from fastattn.serve.processes import listen


def main(name):
    model = fa.load(name)

    async def embed(request: Request) -> Response:
        text = orjson.loads(await request.body())["input"]
        vector = await asyncio.to_thread(model.encode, text, num_threads=1)
        body = {"data": [{"embedding": vector}]}
        content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(content, media_type="application/json")

    app = Starlette(routes=[Route("/v1/embeddings", embed, methods=["POST"])])
    listener = listen("127.0.0.1", 0, 30)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, http="h11", log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
