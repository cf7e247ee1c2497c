// SPDX-License-Identifier: Apache-2.0
// A page's client of couponsd, through a proxy. The test calls window.request and window.watch.
import { fromBinary } from "@bufbuild/protobuf";
import { createClient, ConnectError, Code } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { CouponService } from "./gen/coupon/v1/coupon_service_pb.js";
import { PublishStatus_State } from "./gen/coupon/v1/publish_pb.js";
import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";

function client(protocol, baseUrl) {
  // Envoy's Connect bridge passes protobuf on, not JSON.
  const transport =
    protocol === "connect"
      ? createConnectTransport({ baseUrl, useBinaryFormat: true })
      : createGrpcWebTransport({ baseUrl });
  return createClient(CouponService, transport);
}

const nameOf = (status) => PublishStatus_State[status.state].toLowerCase();

// Envoy's Connect bridge names a detail's type by its URL, so findDetails does not find it.
const infoOf = (error) => {
  const packed = error.details.find(({ type }) => type?.endsWith("/google.rpc.ErrorInfo"));
  return packed ? fromBinary(ErrorInfoSchema, packed.value) : error.findDetails(ErrorInfoSchema)[0];
};

window.request = async (protocol, baseUrl, couponId, userId) => {
  try {
    const { status } = await client(protocol, baseUrl).requestPublish({
      couponId: BigInt(couponId),
      userId: BigInt(userId),
    });
    return { state: nameOf(status), ticket: String(status.ticket) };
  } catch (error) {
    const failed = ConnectError.from(error);
    const code = Code[failed.code].replace(/[A-Z]/g, (c, at) => (at ? "_" : "") + c.toLowerCase());
    return { code, reason: infoOf(failed)?.reason, message: failed.rawMessage };
  }
};

window.watch = async (protocol, baseUrl, couponId, userId) => {
  const states = [];
  const stream = client(protocol, baseUrl).watchStatus({ couponId: BigInt(couponId), userId: BigInt(userId) });
  for await (const { status } of stream) states.push(nameOf(status));
  return states;
};
