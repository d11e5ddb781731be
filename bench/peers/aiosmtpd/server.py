"""aiosmtpd with its Sink handler: every message is read and dropped."""

import asyncio
import sys

from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP


async def main() -> None:
    loop = asyncio.get_running_loop()
    handler = Sink()
    server = await loop.create_server(
        lambda: SMTP(handler, hostname="mx.bench.example", loop=loop),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        backlog=1024,
    )
    await server.serve_forever()


asyncio.run(main())
