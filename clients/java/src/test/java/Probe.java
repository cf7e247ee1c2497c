// SPDX-License-Identifier: Apache-2.0
import coupon.v1.CouponServiceGrpc;
import coupon.v1.CouponServiceGrpc.CouponServiceBlockingStub;
import coupon.v1.RequestPublishRequest;
import coupon.v1.WatchStatusRequest;
import couponsd.Couponsd;
import couponsd.Errors;
import couponsd.Options;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Scanner;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Probe NAME=VALUE...: makes the calls that tests/clients asks for, on one channel. The options are target, tls, ca,
 * certificate, key, server_name, token and plaintext_token. Each line of stdin is a call, "request COUPON USER
 * TIMEOUT_MS" or "watch COUPON USER", and is answered by a line of JSON on stdout.
 */
public class Probe {
    public static void main(String[] args) {
        var given = new HashMap<String, String>();
        for (String each : args) {
            int equals = each.indexOf('=');
            given.put(each.substring(0, equals), each.substring(equals + 1));
        }
        ManagedChannel channel;
        try {
            channel = Couponsd.connect(given.get("target"), options(given));
        } catch (RuntimeException error) {
            System.out.printf("{\"error\": \"%s\"}%n", error.getMessage());
            return;
        }
        var coupons = CouponServiceGrpc.newBlockingStub(channel);
        for (var lines = new Scanner(System.in); lines.hasNextLine(); ) {
            String[] words = lines.nextLine().split(" ");
            long coupon = Long.parseLong(words[1]);
            long user = Long.parseLong(words[2]);
            System.out.println(words[0].equals("request")
                    ? request(coupons, coupon, user, Duration.ofMillis(Long.parseLong(words[3])))
                    : watch(coupons, coupon, user));
        }
        channel.shutdownNow();
    }

    private static Options options(Map<String, String> given) {
        var options = new Options().serverName(given.get("server_name")).token(given.get("token"));
        if (given.containsKey("tls")) {
            options.tls();
        }
        if (given.containsKey("ca")) {
            options.ca(Path.of(given.get("ca")));
        }
        if (given.containsKey("certificate")) {
            options.certificate(Path.of(given.get("certificate")), Path.of(given.get("key")));
        }
        return given.containsKey("plaintext_token") ? options.plaintextToken() : options;
    }

    private static String request(CouponServiceBlockingStub coupons, long coupon, long user, Duration timeout) {
        var retries = new AtomicInteger();
        try {
            var request = RequestPublishRequest.newBuilder().setCouponId(coupon).setUserId(user).build();
            long ticket = Couponsd.retry(coupons, CouponServiceBlockingStub::requestPublish, request, timeout,
                    (error, delay) -> retries.incrementAndGet()).getStatus().getTicket();
            return "{\"code\": 0, \"ticket\": %d, \"retries\": %d}".formatted(ticket, retries.get());
        } catch (StatusRuntimeException error) {
            return failure(error);
        }
    }

    private static String watch(CouponServiceBlockingStub coupons, long coupon, long user) {
        try {
            coupons.watchStatus(WatchStatusRequest.newBuilder().setCouponId(coupon).setUserId(user).build())
                    .forEachRemaining(change -> {});
            return "{\"code\": 0}";
        } catch (StatusRuntimeException error) {
            return failure(error);
        }
    }

    private static String failure(StatusRuntimeException error) {
        return "{\"code\": %d, \"reason\": \"%s\"}".formatted(error.getStatus().getCode().value(), Errors.reason(error));
    }
}
