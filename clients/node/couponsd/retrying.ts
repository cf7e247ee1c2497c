// SPDX-License-Identifier: Apache-2.0
// Calls that are tried again until they succeed or are refused for good.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import {
  type CallOptions, type ChannelCredentials, type ChannelOptions, type Client, type ClientUnaryCall, credentials,
  Metadata, type ServiceError, status,
} from "@grpc/grpc-js";

import { retryDelayMs } from "./errors.js";

const FIRST_BACKOFF_MS = 50, MAX_BACKOFF_MS = 2000;

const CHANNEL_OPTIONS: ChannelOptions = {
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1000,
  "grpc.enable_retries": 0,
};

/** A method of a stub that takes one message and answers one. */
export type UnaryMethod<Request, Response> = (
  request: Request, metadata: Metadata, options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void) => ClientUnaryCall;

export interface RetryOptions {
  /** For all tries together; 30 s unless told otherwise. */
  timeoutMs?: number;
  /** Is told of each new try. */
  onRetry?: (error: ServiceError, delayMs: number) => void;
}

/** A stub in plain text. It looks for a lost server every second, so that one that is back is found soon, and leaves
 * retries to retry(), which alone honours RetryInfo. Stubs of one target share a connection. */
export function connect<Stub extends Client>(
  Service: new (target: string, credentials: ChannelCredentials, options: ChannelOptions) => Stub, target: string,
): Stub {
  return new Service(target, credentials.createInsecure(), CHANNEL_OPTIONS);
}

/** One for each thing that is asked for; the same on each try. */
export function requestId(): string {
  return randomUUID();
}

/** Calls a unary method of a stub until it succeeds, is refused, or the time is over; throws the last error.
 *
 * UNAVAILABLE and RESOURCE_EXHAUSTED are tried again, after what the server asks for and a random part of a time that
 * doubles from 50 ms to 2 s. UNAVAILABLE does not say whether the server has done what was asked; the requestId makes
 * couponsd do it once. If RequestPublish, CreateCoupon or AddQuantity has an empty requestId, all tries send a copy with
 * one random id, and `request` stays as it is. Set an id yourself to repeat the call later. */
export async function retry<Request, Response>(
  stub: Client, method: UnaryMethod<Request, Response>, request: Request,
  { timeoutMs = 30_000, onRetry }: RetryOptions = {},
): Promise<Response> {
  const sent = withRequestId(request);
  const end = performance.now() + timeoutMs;
  for (let backoffMs = FIRST_BACKOFF_MS; ; backoffMs = Math.min(2 * backoffMs, MAX_BACKOFF_MS)) {
    try {
      return await once(stub, method, sent, end - performance.now());
    } catch (error) {
      // A crowd that is sent away together must not come back together: the random part comes on top.
      const delayMs = retryDelayMs(error) + Math.random() * backoffMs;
      if (!isRetriable(error) || performance.now() + delayMs >= end) throw error;
      onRetry?.(error, delayMs);
      await sleep(delayMs);
    }
  }
}

/** Only the requests that need an id have a field requestId. */
function withRequestId<Request>(request: Request): Request {
  const empty = typeof request === "object" && request !== null && "requestId" in request && !request.requestId;
  return empty ? { ...request, requestId: requestId() } : request;
}

function once<Request, Response>(
  stub: Client, method: UnaryMethod<Request, Response>, request: Request, timeoutMs: number,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    method.call(stub, request, new Metadata(), { deadline: Date.now() + timeoutMs },
      (error, response) => (error ? reject(error) : resolve(response)));
  });
}

function isRetriable(error: unknown): error is ServiceError {
  const { code } = error as Partial<ServiceError>;
  return code === status.UNAVAILABLE || code === status.RESOURCE_EXHAUSTED;
}
