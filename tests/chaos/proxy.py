# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy on loopback whose connections can be cut, half closed, delayed and stalled.

One thread and one selector serve all listeners. Other threads call disturb() and calm(), which wake that thread. Bytes
that were read wait in the queue of their direction, each chunk with the earliest time at which it may be sent.
"""

import collections
import os
import selectors
import socket
import struct
import threading
import time

CHUNK = 1 << 18
WAITING_MAX = 1 << 22  # bytes that a direction queues; when it has more, we stop reading for it
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


class Direction:
    """From one socket to the other."""

    def __init__(self, source, target):
        self.source, self.target = source, target
        self.waiting = collections.deque()  # (due, bytes)
        self.size = 0
        self.ended = False  # the source has sent its last byte, or we say that it has
        self.shut = False  # we have shut down writing to the target


class Link:
    """A client's connection and the connection to its server."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.directions = {client: Direction(client, server), server: Direction(server, client)}
        self.interest = {client: 0, server: 0}  # the events registered with the selector
        self.connected = False


class Gate:
    """A listener, the server behind it, and the disturbance that applies to its connections now."""

    def __init__(self, name, port, target):
        self.name, self.target = name, target
        self.listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.links = set()
        self.what, self.delay_s = None, 0.0


class Proxy:
    def __init__(self, targets):
        """targets: name → (port to listen on or 0, port of the server)"""
        self.selector = selectors.DefaultSelector()
        self.gates = {name: Gate(name, port, target) for name, (port, target) in targets.items()}
        self.lock = threading.Lock()
        self.commands = []  # (gate, what, delay_s), not carried out yet
        self.delaying = False  # queued bytes may have a later due time
        self.wake_read, self.wake_write = os.pipe()
        os.set_blocking(self.wake_read, False)
        self.selector.register(self.wake_read, selectors.EVENT_READ)
        for gate in self.gates.values():
            self.selector.register(gate.listener, selectors.EVENT_READ, gate)
        self.stopping = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def port(self, name):
        return self.gates[name].port

    # --- called by other threads ---

    def command(self, name, what, delay_s=0.0):
        with self.lock:
            self.commands.append((self.gates[name], what, delay_s))
        os.write(self.wake_write, b"x")

    def disturb(self, name, what, delay_s):
        self.command(name, what, delay_s)

    def calm(self, name):
        self.command(name, None)

    def stop(self):
        self.stopping = True
        os.write(self.wake_write, b"x")
        self.thread.join()

    # --- the thread ---

    def run(self):
        while not self.stopping:
            events_of = self.selector.select(self.next_due())
            self.obey()  # before accepting, so that a command applies to every connection made after it
            for key, events in events_of:
                if key.fileobj == self.wake_read:
                    os.read(self.wake_read, 4096)
                elif isinstance(key.data, Gate):
                    self.accept(key.data)
                elif key.data[1] in key.data[0].links:  # not dropped meanwhile
                    self.serve(*key.data, key.fileobj, events)
            self.send_due()

    def next_due(self):
        now, least = time.monotonic(), None
        if not self.delaying:
            return None
        for gate in self.gates.values():
            if gate.what == "stall":
                continue
            for link in gate.links:
                for direction in link.directions.values():
                    if direction.waiting and direction.waiting[0][0] > now:
                        wait = direction.waiting[0][0] - now
                        least = wait if least is None else min(least, wait)
        self.delaying = least is not None or any(gate.what == "delay" for gate in self.gates.values())
        return least

    def obey(self):
        with self.lock:
            commands, self.commands = self.commands, []
        for gate, what, delay_s in commands:
            gate.what, gate.delay_s = what, delay_s
            self.delaying = self.delaying or what == "delay"
            for link in list(gate.links):
                if what == "cut":
                    self.drop(gate, link, reset=True)
                elif what == "half_close_to_client":
                    self.end(gate, link, link.directions[link.server])
                elif what == "half_close_to_server":
                    self.end(gate, link, link.directions[link.client])
                else:
                    self.flush(gate, link)

    def send_due(self):
        now = time.monotonic()
        if not self.delaying:
            return
        for gate in self.gates.values():
            if gate.what == "stall":
                continue
            for link in list(gate.links):
                if any(d.waiting and d.waiting[0][0] <= now for d in link.directions.values()):
                    self.flush(gate, link)

    def accept(self, gate):
        try:
            client, _ = gate.listener.accept()
        except OSError:
            return
        if gate.what == "cut":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            return
        server = socket.socket()
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.connect_ex(("127.0.0.1", gate.target))
        link = Link(client, server)
        gate.links.add(link)
        self.watch(gate, link)

    def serve(self, gate, link, end, events):
        if end is link.server and not link.connected:
            if link.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.drop(gate, link, reset=True)
                return
            if events & selectors.EVENT_WRITE:
                link.connected = True
        if events & selectors.EVENT_READ and not self.read(gate, link, link.directions[end]):
            self.drop(gate, link, reset=True)
            return
        self.flush(gate, link)

    def read(self, gate, link, direction):
        """Returns False if the connection is broken."""
        try:
            data = direction.source.recv(CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            direction.ended = True
        elif not direction.ended:  # after an end that we have faked, further bytes are dropped
            direction.waiting.append((time.monotonic() + (gate.delay_s if gate.what == "delay" else 0), data))
            direction.size += len(data)
        return True

    def end(self, gate, link, direction):
        direction.ended = True
        direction.waiting.clear()
        direction.size = 0
        self.flush(gate, link)

    def flush(self, gate, link):
        now = time.monotonic()
        if gate.what == "stall" or not link.connected:
            self.watch(gate, link)
            return
        for direction in link.directions.values():
            try:
                while direction.waiting and direction.waiting[0][0] <= now:
                    due, data = direction.waiting[0]
                    sent = direction.target.send(data)
                    direction.size -= sent
                    if sent < len(data):
                        direction.waiting[0] = (due, data[sent:])
                        break
                    direction.waiting.popleft()
                if direction.ended and not direction.waiting and not direction.shut:
                    direction.shut = True
                    direction.target.shutdown(socket.SHUT_WR)
            except BlockingIOError:
                pass
            except OSError:
                self.drop(gate, link, reset=True)
                return
        if all(direction.shut for direction in link.directions.values()):
            self.drop(gate, link, reset=False)
            return
        self.watch(gate, link)

    def watch(self, gate, link):
        """Registers each socket: for reading unless its queue is full, and for writing if due bytes could not be
        sent."""
        now = time.monotonic()
        for end in (link.client, link.server):
            incoming = link.directions[end]
            outgoing = link.directions[link.server if end is link.client else link.client]
            events = 0
            ended_by_source = incoming.ended and incoming.shut
            if incoming.size < WAITING_MAX and gate.what != "stall" and not ended_by_source:
                events |= selectors.EVENT_READ
            if end is link.server and not link.connected:
                events |= selectors.EVENT_WRITE
            elif outgoing.waiting and outgoing.waiting[0][0] <= now and gate.what != "stall":
                events |= selectors.EVENT_WRITE
            known = link.interest[end]
            link.interest[end] = events
            # The selector does not accept a socket without events.
            if events and known and events != known:
                self.selector.modify(end, events, (gate, link))
            elif events and not known:
                self.selector.register(end, events, (gate, link))
            elif known and not events:
                self.selector.unregister(end)

    def drop(self, gate, link, reset):
        if link not in gate.links:
            return
        gate.links.discard(link)
        for end in (link.client, link.server):
            if link.interest[end]:
                self.selector.unregister(end)
            if reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.close()
