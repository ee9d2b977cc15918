#!/usr/bin/python3 -B
"""Slow strangers: a process of its own that keeps many connections busy with
nothing, each from an address of its own in 127.0.0.0/8, and comes back with
each that the server ends.

Run by itself it reads the arguments of Strangers as JSON from the first
argument, and ends with its standard input. It writes a line for each number of
strangers that have reached what they wanted for the first time: "ready N".
"""

import asyncio
import json
import os
import resource
import signal
import ssl
import subprocess
import sys

CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(30)
TICK = 1  # s, between two bytes, and before a stranger comes back


def address(number):
    """The address of a stranger: none that the test itself uses."""
    return "127.%d.%d.%d" % (1 + number // 60000, number // 250 % 240 + 1,
                             number % 250 + 1)


class Strangers:
    """The process, as the test sees it."""

    def __init__(self, port, kinds, ca, login=None, addresses=0):
        """kinds: {name of a behaviour below: how many}; login: what AUTH PLAIN
        says, for the behaviour that needs it; addresses: from so many only."""
        self.count = sum(kinds.values())
        self.lines = []
        arguments = {"port": port, "kinds": kinds, "ca": ca, "login": login,
                     "addresses": addresses}
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            (sys.executable, "-B", os.path.abspath(__file__),
             json.dumps(arguments)), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def ready(self):
        """Waits until all of them have been where they wanted to be."""
        for line in self.process.stdout:
            if line == "ready %d\n" % self.count:
                return self
        raise RuntimeError("the strangers have gone")


class Crowd:
    """The process itself."""

    def __init__(self, port, kinds, ca, login, addresses):
        self.port = port
        self.login = login
        self.context = ssl.create_default_context(cafile=ca)
        self.context.check_hostname = False
        self.addresses = addresses
        self.kinds = kinds
        self.done = asyncio.Event()
        self.arrived = set()

    async def hear(self, reader, seconds=None):
        """What comes within some seconds: b"" at the end, None for nothing."""
        try:
            return await asyncio.wait_for(reader.read(4096), seconds)
        except asyncio.TimeoutError:
            return None

    async def reply(self, reader):
        """The last line of a reply."""
        while True:
            line = await reader.readuntil(b"\n")
            if line[3:4] != b"-":
                return line

    def there(self, number):
        """This one has reached what it wanted."""
        if number not in self.arrived:
            self.arrived.add(number)
            print("ready %d" % len(self.arrived), flush=True)

    async def say(self, streams, line, code):
        """A command and the beginning of its reply."""
        streams[1].write(line + b"\r\n")
        if not (await self.reply(streams[0])).startswith(code):
            raise OSError("refused")

    async def to_tls(self, streams):
        """Up to EHLO under TLS."""
        await self.say(streams, b"EHLO stranger", b"250")
        await self.say(streams, b"STARTTLS", b"220")
        await streams[1].start_tls(self.context)
        await self.say(streams, b"EHLO stranger", b"250")

    async def silent(self, streams, number):
        """Connects and says nothing."""
        self.there(number)
        while await self.hear(streams[0]):
            continue

    async def half(self, streams, number):
        """Half a handshake: some bytes of it."""
        await self.say(streams, b"EHLO stranger", b"250")
        await self.say(streams, b"STARTTLS", b"220")
        streams[1].write(CLIENT_HELLO)
        await self.silent(streams, number)

    async def sitting(self, streams, number):
        """TLS, EHLO, and then nothing."""
        await self.to_tls(streams)
        await self.silent(streams, number)

    async def dribble(self, streams, text=b"x"):
        """A byte a second."""
        while await self.hear(streams[0], TICK) is None:
            streams[1].write(text)

    async def command(self, streams, number):
        """A command that takes for ever."""
        streams[1].write(b"NOOP ")
        self.there(number)
        await self.dribble(streams)

    async def data(self, streams, number):
        """Somebody who is logged in, with a message that takes for ever."""
        await self.to_tls(streams)
        await self.say(streams, b"AUTH PLAIN " + self.login.encode(), b"235")
        await self.say(streams, b"MAIL FROM:<ann@play.example>", b"250")
        await self.say(streams, b"RCPT TO:<bo@example.net>", b"250")
        await self.say(streams, b"DATA", b"354")
        self.there(number)
        await self.dribble(streams)

    async def once(self, number, kind):
        """One connection, to its end."""
        source = address(number % self.addresses if self.addresses else number)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(source, 0))
        try:
            await self.reply(reader)
            await getattr(self, kind)((reader, writer), number)
        finally:
            writer.transport.abort()

    async def for_ever(self, number, kind):
        """Comes back and back."""
        while not self.done.is_set():
            try:
                await self.once(number, kind)
            except (OSError, EOFError, asyncio.IncompleteReadError):
                pass
            try:
                await asyncio.wait_for(self.done.wait(), TICK)
            except asyncio.TimeoutError:
                pass

    async def run(self):
        """All of them, until nobody wants them any more."""
        kinds = [k for kind, n in self.kinds.items() for k in [kind] * n]
        loop = asyncio.get_running_loop()
        tasks = [asyncio.ensure_future(self.for_ever(n, kind))
                 for n, kind in enumerate(kinds)]
        await loop.run_in_executor(None, sys.stdin.read)
        self.done.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def main():
    """The process begins."""
    await Crowd(**json.loads(sys.argv[1])).run()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    asyncio.run(main())
