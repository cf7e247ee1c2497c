// SPDX-License-Identifier: Apache-2.0
import com.google.rpc.ErrorInfo;
import coupon.v1.CouponAdminServiceGrpc;
import coupon.v1.CouponAdminServiceGrpc.CouponAdminServiceBlockingStub;
import coupon.v1.AddQuantityRequest;
import coupon.v1.CreateCouponRequest;
import coupon.v1.Coupon;
import coupon.v1.CouponServiceGrpc;
import coupon.v1.CouponServiceGrpc.CouponServiceBlockingStub;
import coupon.v1.ListUserCouponsRequest;
import coupon.v1.RequestPublishRequest;
import coupon.v1.WatchStatusRequest;
import coupon.v1.PublishStatus;
import coupon.v1.PublishStatus.State;
import couponsd.Couponsd;
import couponsd.Errors;
import io.grpc.Channel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.AbstractStub;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiFunction;
import java.util.stream.LongStream;

/**
 * Smoke HOST:PORT: tests the client against a couponsd. Start couponsd after this program has printed "calling", when its
 * first call is about to be retried. The last line of stdout is a JSON object with the results. On a failure, the exit
 * code is 1 and stderr explains it.
 */
public class Smoke {
    private static final int BURST = 500;
    private static final int BURSTS_MAX = 20;
    private static final Duration TIMEOUT = Duration.ofSeconds(60);

    private final CouponServiceBlockingStub coupons;
    private final CouponAdminServiceBlockingStub admin;
    private final AtomicInteger unavailable = new AtomicInteger();
    private final AtomicInteger overloaded = new AtomicInteger();

    private record Refusal(Status.Code code, String reason, ErrorInfo info) {}

    private Smoke(Channel channel) {
        coupons = CouponServiceGrpc.newBlockingStub(channel);
        admin = CouponAdminServiceGrpc.newBlockingStub(channel);
    }

    public static void main(String[] args) {
        var channel = Couponsd.connect(args[0]);
        try {
            var smoke = new Smoke(channel);
            System.out.println(smoke.run());
        } catch (Exception error) {
            System.err.println("smoke: " + error.getMessage());
            System.exit(1);
        } finally {
            channel.shutdownNow();
        }
    }

    private String run() throws Exception {
        long coupon = create(1);

        PublishStatus first = publish(coupon, 1, "first");
        check((first.getState() == State.STATE_ACCEPTED || first.getState() == State.STATE_ISSUED)
                && first.getTicket() == 1, "ticket 1", first);
        PublishStatus again = publish(coupon, 1, "first");
        check(again.getTicket() == 1 && again.getAcceptTime().equals(first.getAcceptTime()),
                "the first answer again, " + first, again);

        Refusal other = refusal(coupon, 1, "other");
        check(other.code() == Status.Code.ALREADY_EXISTS && other.reason().equals("ALREADY_REQUESTED")
                && other.info().getMetadataOrDefault("ticket", "").equals("1"),
                "ALREADY_REQUESTED with ticket 1", other);
        Refusal late = refusal(coupon, 2, "late");
        check(late.code() == Status.Code.FAILED_PRECONDITION && late.reason().equals("SOLD_OUT")
                && late.info().getMetadataOrDefault("coupon_id", "").equals(Long.toString(coupon)),
                "SOLD_OUT of coupon " + coupon, late);

        watch(coupon);
        var held = call(coupons, CouponServiceBlockingStub::listUserCoupons,
                ListUserCouponsRequest.newBuilder().setUserId(1).build()).getUserCouponsList();
        check(held.stream().anyMatch(each -> each.getCouponId() == coupon && each.getTicket() == 1),
                "coupon " + coupon + " in the user's list", held);

        expectIdsFilledIn();
        overload();
        return String.format(Locale.ROOT, "{\"client\": \"java\", \"coupon_id\": \"%d\", \"ticket\": %d, "
                + "\"reasons\": [\"%s\", \"%s\"], \"unavailable_retries\": %d, \"overloaded_retries\": %d}",
                coupon, first.getTicket(), other.reason(), late.reason(), unavailable.get(), overloaded.get());
    }

    /** Follows the request of user 1 until the server ends the stream. */
    private void watch(long coupon) {
        var changes = new ArrayList<PublishStatus>();
        coupons.withDeadlineAfter(TIMEOUT.toSeconds(), TimeUnit.SECONDS)
                .watchStatus(WatchStatusRequest.newBuilder().setCouponId(coupon).setUserId(1).build())
                .forEachRemaining(change -> changes.add(change.getStatus()));
        PublishStatus last = changes.isEmpty() ? PublishStatus.getDefaultInstance() : changes.get(changes.size() - 1);
        check(last.getState() == State.STATE_ISSUED && last.getTicket() == 1,
                "a stream that ends with ISSUED", changes);
    }

    /** A call without a request_id sends the same random id on each try, so a lost response does not make it count
     * twice. */
    private void expectIdsFilledIn() {
        long coupon = create(2);
        PublishStatus status = publish(coupon, 1, "");
        check(status.getRequestId().length() == 36, "a random request_id", status);

        var ids = new ArrayList<String>();
        var request = AddQuantityRequest.newBuilder().setCouponId(coupon).setQuantity(3).build();
        long quantity = Couponsd.retry(admin, (bounded, sent) -> {
            ids.add(sent.getRequestId());
            var response = bounded.addQuantity(sent);
            if (ids.size() == 1) {
                throw Status.UNAVAILABLE.withDescription("the response was lost").asRuntimeException();
            }
            return response;
        }, request).getCoupon().getQuantity();
        check(quantity == 5 && ids.size() == 2 && ids.get(0).equals(ids.get(1)), "3 added once in two tries",
                quantity + " with ids " + ids);
    }

    /** Sends bursts until a try is answered OVERLOADED. In the end, each request must be accepted with its own
     * ticket. */
    private void overload() throws Exception {
        var pool = Executors.newFixedThreadPool(BURST);
        try {
            for (int burst = 0; burst < BURSTS_MAX && overloaded.get() == 0; burst++) {
                long coupon = create(1000);
                var answers = new ArrayList<Future<PublishStatus>>();
                for (int user = 1; user <= BURST; user++) {
                    int each = user;
                    answers.add(pool.submit(() -> publish(coupon, each, "burst " + each)));
                }
                List<Long> tickets = new ArrayList<>();
                for (var answer : answers) {
                    tickets.add(answer.get().getTicket());
                }
                tickets.sort(null);
                check(tickets.equals(LongStream.rangeClosed(1, BURST).boxed().toList()),
                        "tickets 1 to " + BURST, tickets);
            }
        } catch (ExecutionException failed) {
            throw failed.getCause() instanceof Exception cause ? cause : failed;
        } finally {
            pool.shutdownNow();
        }
        check(overloaded.get() > 0, "OVERLOADED", "none in " + BURSTS_MAX + " bursts");
    }

    private long create(long quantity) {
        // Ids below 2^53 are exact even where numbers are doubles.
        long id = ThreadLocalRandom.current().nextLong(1, 1L << 53);
        var coupon = Coupon.newBuilder().setId(id).setName("smoke").setQuantity(quantity);
        return call(admin, CouponAdminServiceBlockingStub::createCoupon, CreateCouponRequest.newBuilder()
                .setCoupon(coupon).setRequestId(Couponsd.requestId()).build()).getCoupon().getId();
    }

    private PublishStatus publish(long coupon, long user, String requestId) {
        return call(coupons, CouponServiceBlockingStub::requestPublish, RequestPublishRequest.newBuilder()
                .setCouponId(coupon).setUserId(user).setRequestId(requestId).build()).getStatus();
    }

    private Refusal refusal(long coupon, long user, String requestId) {
        PublishStatus accepted;
        try {
            accepted = publish(coupon, user, requestId);
        } catch (StatusRuntimeException error) {
            return new Refusal(error.getStatus().getCode(), Errors.reason(error),
                    Errors.info(error).orElse(ErrorInfo.getDefaultInstance()));
        }
        throw new IllegalStateException("expected a refusal, got " + line(accepted));
    }

    /** Retries as a user would, and checks that no try comes before RetryInfo allows it. */
    private <S extends AbstractStub<S>, Q, R> R call(S stub, BiFunction<S, Q, R> method, Q request) {
        long[] notBefore = {System.nanoTime()};
        return Couponsd.retry(stub, (bounded, same) -> {
            long early = notBefore[0] - System.nanoTime();
            check(early <= 0, "a delay as long as RetryInfo asks for", "a try " + early + " ns too early");
            return method.apply(bounded, same);
        }, request, TIMEOUT, (error, delay) -> {
            notBefore[0] = System.nanoTime() + Errors.retryDelay(error).toNanos();
            if (error.getStatus().getCode() == Status.Code.UNAVAILABLE) {
                if (unavailable.getAndIncrement() == 0) {
                    System.out.println("calling");
                }
                return;
            }
            if (error.getStatus().getCode() != Status.Code.RESOURCE_EXHAUSTED) {
                return;
            }
            overloaded.incrementAndGet();
            check(Errors.reason(error).equals("OVERLOADED") && Errors.retryDelay(error).compareTo(Duration.ZERO) > 0,
                    "OVERLOADED with a retry_delay", error.getMessage() + " " + Errors.info(error));
        });
    }

    private static void check(boolean ok, String expected, Object got) {
        if (!ok) {
            throw new IllegalStateException("expected " + line(expected) + ", got " + line(got));
        }
    }

    /** Joins the lines of a message's text into one. */
    private static String line(Object said) {
        return said.toString().strip().replaceAll("\\s+", " ");
    }
}
