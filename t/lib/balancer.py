"""A load balancer: passes TCP connections on to a server, each with the header
of the PROXY protocol in front of the client's bytes."""

import ipaddress
import socket
import struct
import threading

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def crc32c(data):
    """CRC-32C of some bytes."""
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def version1(src, dst, ports):
    """The line of text."""
    six = ipaddress.ip_address(src).version == 6
    return ("PROXY %s %s %s %d %d\r\n" % (
        "TCP6" if six else "TCP4", src, dst, *ports)).encode()


def version2(src, dst, ports, tlvs=(), checksum=False):
    """The binary one; tlvs are (type, value)."""
    src, dst = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    block = src.packed + dst.packed + struct.pack(">HH", *ports)
    for kind, value in tlvs:
        block += struct.pack(">BH", kind, len(value)) + value
    if checksum:
        block += struct.pack(">BHI", 3, 4, 0)
    head = SIGNATURE + bytes((0x21, 0x21 if src.version == 6 else 0x11))
    head += struct.pack(">H", len(block)) + block
    if checksum:
        head = head[:-4] + struct.pack(">I", crc32c(head))
    return head


class Balancer:
    """Listens on a port of its own until it is stopped."""

    def __init__(self, port, header, pieces=False):
        """port: of the server; header: bytes, also pieces by themselves; or
        with the first bytes of the client, which is the default."""
        self.target = port
        self.header = header
        self.pieces = pieces
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.pieces:
                for byte in self.header:
                    server.sendall(bytes((byte,)))
            elif self.header:
                server.sendall(self.header)
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=pair,
                                 daemon=True).start()

    @staticmethod
    def _copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has ended already
