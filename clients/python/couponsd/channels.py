# SPDX-License-Identifier: Apache-2.0
"""Channels to couponsd: addresses, TLS, tokens, and lost connections."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from typing import Any, NamedTuple, Union

import grpc

from .address_list import AddressList

OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # While there are no calls, gRPC looks at its sockets every 5 s only. A TLS connection takes three looks, and a
    # connection that is not up after this time is tried again.
    ("grpc.min_reconnect_backoff_ms", 20_000),
    # A name is looked up again after a connection has failed, but by default only every 30 s.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    # A connection whose peer has vanished ends within 40 s, if it has a call. Servers of gRPC refuse clients that ping
    # more often than they allow, or without a call.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # The same for other pings of gRPC. While one is unanswered, no other is sent.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),  # no limit: a stream may be silent for hours
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ("grpc.enable_retries", 0),  # the retries of gRPC ignore RetryInfo
    ("grpc.enable_http_proxy", 0),
]

Path = Union[str, "os.PathLike[str]"]


def connect(target: str, *, tls: bool = False, ca: Path | None = None, certificate: Path | None = None,
            key: Path | None = None, server_name: str | None = None, token: str | None = None,
            plaintext_token: bool = False) -> grpc.Channel:
    """Returns a channel. It connects with its first call, tries to reach a lost server at least once a second, and
    leaves retries to retry().

    `target` is HOST:PORT, several of them separated by commas, or any gRPC target. Calls take all addresses in turn,
    those of a single name too, except for unreachable ones. Names are looked up again after a lost connection.

    With `tls`, `ca` or `certificate`, the channel uses TLS. `ca` is the file of the trusted authorities (PEM); without
    it, gRPC's own list is used. `certificate` and `key` are the files of a client certificate. `server_name` is the
    name in the server's certificate, if that is not the host of the target. All servers of a list show the same name,
    by default the host of the first address.

    `token` is sent with each call. Without TLS, it is sent to loopback addresses only, and this function raises
    ValueError for others, unless `plaintext_token` is true.
    """
    uris, hosts = _split_list(target)
    name = server_name or (hosts[0] if len(hosts) > 1 else None)
    options = [*OPTIONS]
    if name:
        options.append(("grpc.ssl_target_name_override", name))
    if len(hosts) > 1:
        options.append(("grpc.default_authority", name))  # otherwise each address has its own
        options.append(("grpc.client_idle_timeout_ms", 2**31 - 1))  # none: AddressList connects idle channels only once
    if tls or ca or certificate:
        credentials = grpc.ssl_channel_credentials(_read(ca), _read(key), _read(certificate))
        channels = [grpc.secure_channel(uri, credentials, options) for uri in uris]
    elif token and not plaintext_token and not all(map(_is_loopback, hosts)):
        raise ValueError(f"{target} is not loopback, and there is no TLS, so everybody on the way could read the token: "
                         "use TLS, or set plaintext_token where the network is trusted")
    else:
        channels = [grpc.insecure_channel(uri, options) for uri in uris]
    if token:
        channels = [grpc.intercept_channel(channel, _Token(token)) for channel in channels]
    return channels[0] if len(channels) == 1 else AddressList(channels)


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    with open(path, "rb") as file:
        return file.read()


def _split_list(target: str) -> tuple[list[str], list[str]]:
    """Returns the gRPC targets for a target, and the hosts in them."""
    scheme, addresses = re.fullmatch(r"(ipv4:|ipv6:|unix(?:-abstract)?:|dns:///|dns:|)(.*)", target, re.S).groups()
    if scheme.startswith("unix"):
        return [target], ["localhost"]
    pairs = [_split(address) for address in addresses.split(",")]
    hosts = [host for host, _ in pairs]
    if scheme or len(pairs) == 1:
        return [target], hosts
    for address, (host, port) in zip(addresses.split(","), pairs):
        if not host or not port or not port.isdecimal():
            raise ValueError(f'"{address}" is no HOST:PORT')
    return addresses.split(","), hosts


def _split(address: str) -> tuple[str, str | None]:
    """Splits HOST:PORT, [HOST]:PORT or HOST."""
    match = re.fullmatch(r"\[(.*)\](?::(.*))?", address) or re.fullmatch(r"([^:]*):([^:]*)", address)
    return match.groups() if match else (address, None)


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: Any
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Token(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Sends the token with each call. gRPC's call credentials would do so over TLS only."""

    def __init__(self, token: str):
        if not (token.isascii() and token.isprintable()):
            raise ValueError("the token has a character that no header may have, e.g. a line break")
        self._metadata = ("authorization", f"Bearer {token}")

    def intercept_unary_unary(self, continuation, details, request):
        metadata = [*(details.metadata or ()), self._metadata]
        return continuation(_Details(details.method, details.timeout, metadata, details.credentials,
                                     details.wait_for_ready, details.compression), request)

    intercept_unary_stream = intercept_unary_unary
