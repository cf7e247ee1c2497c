// SPDX-License-Identifier: Apache-2.0
import coupon.v1.CouponServiceGrpc;
import coupon.v1.CouponServiceGrpc.CouponServiceBlockingStub;
import coupon.v1.RequestPublishRequest;
import couponsd.Couponsd;
import couponsd.Errors;
import io.grpc.StatusRuntimeException;

/** Example HOST:PORT COUPON USER: requests a coupon for a user. */
public class Example {
    public static void main(String[] args) {
        var channel = Couponsd.connect(args[0]);
        var coupons = CouponServiceGrpc.newBlockingStub(channel);
        var request = RequestPublishRequest.newBuilder()
                .setCouponId(Long.parseLong(args[1]))
                .setUserId(Long.parseLong(args[2]))
                .setRequestId(Couponsd.requestId())
                .build();
        try {
            var answer = Couponsd.retry(coupons, CouponServiceBlockingStub::requestPublish, request);
            System.out.println("accepted, ticket " + answer.getStatus().getTicket());
        } catch (StatusRuntimeException error) {
            String reason = Errors.reason(error);
            System.err.println("refused: " + (reason.isEmpty() ? error.getMessage() : reason));
            System.exit(1);
        } finally {
            channel.shutdownNow();
        }
    }
}
