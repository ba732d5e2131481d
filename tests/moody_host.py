"""A local web server that serves one file and misbehaves on demand."""

import http.server
import re
import socket
import struct
import threading
import time


class Host:
    """Serves ``content`` under any path, with the faults that its attributes set.

    ``cuts``: how many bytes of each answer to send, one number per answer; then whole answers.
    ``statuses``: an HTTP status per answer to send instead of the file, None for the file; then the file.
    ``ranges``: "yes", "ignored" (200 and the whole file), "refused" (416), "wrong" (other bytes), "unknown"
    (``*`` for the total), "bare" (206 without saying which bytes).
    ``length``: "yes", "none", "chunked", or the number to announce.
    ``stalls``: how many answers stop half way and fall silent.
    ``moved_to``: the address to redirect to. ``pace``: seconds between blocks of 4 KiB.
    ``gate``: no body is sent until this event is set.
    ``asked``: the Range header of each request, None without one. ``sent``: bytes of all bodies together.
    """

    def __init__(self, content):
        self.content, self.cuts, self.statuses = content, [], []
        self.ranges, self.length, self.stalls, self.moved_to, self.pace = "yes", "yes", 0, None, 0
        self.asked, self.sent, self.closing, self.gate = [], 0, threading.Event(), threading.Event()
        self.gate.set()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/set.tar"

    def close(self):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def handler(host):
        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                try:
                    host.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the other side has gone

        return Handler

    def answer(self, request):
        asked = request.headers.get("Range")
        self.asked.append(asked)
        start, status = 0, 200
        if asked and self.ranges != "ignored":
            start, status = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]), 206
        if self.moved_to:
            status = 302
        elif status == 206 and self.ranges == "refused":
            status = 416
        if self.statuses:
            status = self.statuses.pop(0) or status
        request.send_response(status)
        if status == 302:
            request.send_header("Location", self.moved_to)
        if status not in (200, 206):
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        body = self.content[start:]
        if status == 206 and self.ranges != "bare":
            first = start + 7 * (self.ranges == "wrong")
            total = "*" if self.ranges == "unknown" else len(self.content)
            request.send_header("Content-Range", f"bytes {first}-{len(self.content) - 1}/{total}")
        if self.length == "chunked":
            request.send_header("Transfer-Encoding", "chunked")
        elif self.length != "none":
            request.send_header("Content-Length", str(len(body) if self.length == "yes" else self.length))
        request.end_headers()
        self.send(request, body)

    def send(self, request, body):
        self.gate.wait(60)
        cut = self.cuts.pop(0) if self.cuts else len(body)
        stall = self.stalls > 0
        self.stalls -= stall
        rest = memoryview(body)[: cut // 2 if stall else cut]
        while rest:
            block, rest = rest[:4096], rest[4096:]
            if self.length == "chunked":
                request.wfile.write(b"%x\r\n%b\r\n" % (len(block), bytes(block)))
            else:
                request.wfile.write(block)
            self.sent += len(block)
            if self.pace:
                time.sleep(self.pace)
        if stall:
            self.closing.wait(20)
        if cut < len(body) and cut % 2:  # an odd cut is a reset, which loses what is in transit
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.wfile = request.rfile  # so that nothing more is flushed
            request.connection.close()
        elif cut == len(body) and self.length == "chunked":
            request.wfile.write(b"0\r\n\r\n")
