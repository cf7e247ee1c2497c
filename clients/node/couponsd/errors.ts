// SPDX-License-Identifier: Apache-2.0
// Decodes the details of an error: google.rpc.ErrorInfo and google.rpc.RetryInfo in grpc-status-details-bin.

import type { ServiceError } from "@grpc/grpc-js";

import { ErrorInfo, RetryInfo } from "../stubs/google/rpc/error_details.js";
import { Status } from "../stubs/google/rpc/status.js";

export const DOMAIN = "coupon.v1";

/** Why couponsd refused a call, e.g. reason SOLD_OUT with metadata { coupon_id: "7" }. */
export interface Info {
  reason: string;
  metadata: Record<string, string>;
}

interface Kind<Detail> {
  $type: string;
  decode(bytes: Uint8Array): Detail;
}

function detail<Detail>(error: unknown, kind: Kind<Detail>): Detail | undefined {
  // A caught value may be anything, and errors that are not from gRPC have no metadata.
  const [bytes] = (error as Partial<ServiceError> | undefined)?.metadata?.get("grpc-status-details-bin") ?? [];
  if (!(bytes instanceof Uint8Array)) return undefined;
  try {
    const found = Status.decode(bytes).details.find(({ typeUrl }) => typeUrl.endsWith(`/${kind.$type}`));
    return found && kind.decode(found.value);
  } catch {
    return undefined; // details of another origin, such as a proxy
  }
}

/** Returns the reason and its metadata, or undefined if the error does not come from couponsd. */
export function info(error: unknown): Info | undefined {
  const found = detail(error, ErrorInfo);
  return found?.domain === DOMAIN ? { reason: found.reason, metadata: found.metadata } : undefined;
}

/** Returns the reason, or undefined if there is none. */
export function reason(error: unknown): string | undefined {
  return info(error)?.reason;
}

/** Returns the delay in milliseconds that couponsd asks for before the next try; 0 if it asks for none. */
export function retryDelayMs(error: unknown): number {
  const delay = detail(error, RetryInfo)?.retryDelay;
  return delay ? Number(delay.seconds) * 1e3 + delay.nanos / 1e6 : 0;
}
