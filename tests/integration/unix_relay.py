"""Relays a Unix socket to another, so that a test can take an engine away from one process."""

import asyncio
import contextlib
import sys


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


async def serve(path: str, target: str) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_unix_connection(target)
        await asyncio.gather(pipe(reader, there[1]), pipe(there[0], writer))
        for each in (writer, there[1]):
            each.close()

    server = await asyncio.start_unix_server(relay, path)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2].removeprefix("unix://")))
