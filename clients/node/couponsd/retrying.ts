// SPDX-License-Identifier: Apache-2.0
// Retries calls until they succeed or are refused for good.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { type CallOptions, type Client, type ClientUnaryCall, Metadata, type ServiceError, status } from "@grpc/grpc-js";

import { retryDelayMs } from "./errors.js";

const FIRST_BACKOFF_MS = 50, MAX_BACKOFF_MS = 2000;
const TRIES_MIN = 3; // that fit into the time of a call

/** A method of a stub that takes one message and returns one. */
export type UnaryMethod<Request, Response> = (
  request: Request, metadata: Metadata, options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void) => ClientUnaryCall;

export interface RetryOptions {
  /** For all tries together, in milliseconds; 30 s by default. */
  timeoutMs?: number;
  /** For each try; a third of timeoutMs by default. VerifyCoupon may need more. */
  tryTimeoutMs?: number;
  /** Called before each delay, with the error of the last try. */
  onRetry?: (error: ServiceError, delayMs: number) => void;
}

/** Returns a new random id. Use one id for each request, and the same id for each try of that request. */
export function requestId(): string {
  return randomUUID();
}

/** Calls a unary method of a stub until it succeeds, is refused, or the time is over; throws the last error.
 *
 * UNAVAILABLE and RESOURCE_EXHAUSTED are retried, and a try without an answer within its time: the next one may reach
 * another server. The delay is what the server asks for, plus a random part of a backoff that doubles from 50 ms to 2 s.
 * The server may have executed a request that failed; because of the requestId, couponsd executes it once. If RequestPublish, CreateCoupon or AddQuantity has an empty requestId, all
 * tries send a copy with one random id, and `request` stays as it is. Set an id yourself to repeat the call later. */
export async function retry<Request, Response>(
  stub: Client, method: UnaryMethod<Request, Response>, request: Request,
  { timeoutMs = 30_000, tryTimeoutMs = timeoutMs / TRIES_MIN, onRetry }: RetryOptions = {},
): Promise<Response> {
  const sent = withRequestId(request);
  const end = performance.now() + timeoutMs;
  for (let backoffMs = FIRST_BACKOFF_MS; ; backoffMs = Math.min(2 * backoffMs, MAX_BACKOFF_MS)) {
    try {
      return await once(stub, method, sent, Math.min(end - performance.now(), tryTimeoutMs));
    } catch (error) {
      // The random part keeps clients that were refused at the same time from returning at the same time.
      const delayMs = retryDelayMs(error) + Math.random() * backoffMs;
      if (!isRetriable(error) || performance.now() + delayMs >= end) throw error;
      onRetry?.(error, delayMs);
      await sleep(delayMs);
    }
  }
}

/** Returns the request itself, or a copy with a random id if it has an empty field requestId. */
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
  return code === status.UNAVAILABLE || code === status.RESOURCE_EXHAUSTED || code === status.DEADLINE_EXCEEDED;
}
