// SPDX-License-Identifier: Apache-2.0
// Stubs and their connections: addresses, TLS, tokens, and lost connections.

import { readFileSync } from "node:fs";
import { BlockList, isIP } from "node:net";

import {
  type ChannelCredentials, type ChannelOptions, type Client, type ClientOptions, credentials, experimental,
  InterceptingCall, type Interceptor,
} from "@grpc/grpc-js";

const CHANNEL_OPTIONS: ChannelOptions = {
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1000,
  // A name is looked up again after a connection has failed, but by default only every 30 s.
  "grpc.dns_min_time_between_resolutions_ms": 1000,
  // A connection whose peer has vanished ends within 40 s, if it has a call. Servers of gRPC refuse clients that ping
  // more often than they allow, or without a call.
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
  "grpc.enable_retries": 0, // the retries of gRPC ignore RetryInfo
  "grpc.enable_http_proxy": 0,
  // HTTP/2's first window of 64 KiB would hold up long lists, and couponsd answers fastest where the window is wider.
  "grpc-node.flow_control_window": 1 << 20,
};

export interface ConnectOptions {
  /** Use TLS. `ca` and `certificate` imply it. */
  tls?: boolean;
  /** The PEM file of the trusted authorities; by default, those of Node.js. */
  ca?: string;
  /** The PEM files of a client certificate, for servers that ask for one. */
  certificate?: string;
  key?: string;
  /** The name in the server's certificate, if that is not the host of the target. All servers of a list show the same
   * name, by default the host of the first address. */
  serverName?: string;
  /** Sent with each call. Without TLS, it is sent to loopback addresses only, unless `plaintextToken` is true. */
  token?: string;
  plaintextToken?: boolean;
}

/** Returns a stub. It connects with its first call, tries to reach a lost server at least once a second, and leaves
 * retries to retry(). Without TLS, stubs with the same target share a connection.
 *
 * `target` is HOST:PORT, several of them separated by commas, or any gRPC target. Calls take all addresses in turn, those
 * of a single name too, except for unreachable ones. Throws an error if a file cannot be used, or if a token would go over
 * plain text to another address than loopback. */
export function connect<Stub extends Client>(
  Service: new (target: string, credentials: ChannelCredentials, options: ClientOptions) => Stub, target: string,
  { tls, ca, certificate, key, serverName, token, plaintextToken }: ConnectOptions = {},
): Stub {
  const options: ClientOptions = { ...CHANNEL_OPTIONS };
  if (serverName) options["grpc.ssl_target_name_override"] = serverName;
  const isTls = Boolean(tls || ca || certificate);
  if (token !== undefined) {
    checkToken(token, isTls || plaintextToken, target);
    options.interceptors = [sendToken(token)];
  }
  const read = (file: string | undefined) => (file ? readFileSync(file) : null);
  const trust = isTls ? credentials.createSsl(read(ca), read(key), read(certificate)) : credentials.createInsecure();
  return new Service(target.includes(",") && !/^ipv[46]:/.test(target) ? `${SCHEME}:${target}` : target, trust, options);
}

/** gRPC's call credentials send a token over TLS only. */
function sendToken(token: string): Interceptor {
  return (options, nextCall) => new InterceptingCall(nextCall(options), {
    start(metadata, listener, next) {
      metadata.set("authorization", `Bearer ${token}`);
      next(metadata, listener);
    },
  });
}

function checkToken(token: string, mayGoAnywhere: boolean | undefined, target: string): void {
  if (!mayGoAnywhere && !isLoopback(target)) {
    throw new Error(`${target} is not loopback, and there is no TLS, so everybody on the way could read the token: ` +
      "use TLS, or plaintextToken where the network is trusted");
  }
  if (!/^[ -~]*$/.test(token)) throw new Error("the token has a character that no header may have, e.g. a line break");
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

function isLoopback(target: string): boolean {
  if (/^unix:/.test(target)) return true;
  return target.replace(/^(dns:\/\/\/|ipv[46]:)/, "").split(",").every((address) => {
    const host = (/^\[(.*)\](:\d*)?$/.exec(address) ?? /^([^:]*)(:\d*)?$/.exec(address))?.[1] ?? address;
    const family = isIP(host);
    return family ? loopback.check(host, family === 6 ? "ipv6" : "ipv4") : host.toLowerCase() === "localhost";
  });
}

// gRPC has no targets with several names. This resolver passes the names on, and each connection looks its own up.

const SCHEME = "couponsd";
const { registerResolver, splitHostPort, statusOrFromValue } = experimental;

class AddressList implements experimental.Resolver {
  readonly #listener: experimental.ResolverListener;
  readonly #endpoints: experimental.Endpoint[];
  #isReported = false;

  constructor(target: experimental.GrpcUri, listener: experimental.ResolverListener) {
    this.#listener = listener;
    this.#endpoints = target.path.split(",").map((address) => {
      const { host, port } = splitHostPort(address) ?? {};
      if (!host || port === undefined) throw new Error(`"${address}" is no HOST:PORT`);
      return { addresses: [{ host, port }] };
    });
  }

  updateResolution(): void {
    if (this.#isReported) return;
    this.#isReported = true;
    process.nextTick(() => {
      if (this.#isReported) this.#listener(statusOrFromValue(this.#endpoints), {}, null, "");
    });
  }

  destroy(): void {
    this.#isReported = false;
  }

  static getDefaultAuthority(target: experimental.GrpcUri): string {
    return target.path.split(",")[0] ?? "";
  }
}

registerResolver(SCHEME, AddressList);
