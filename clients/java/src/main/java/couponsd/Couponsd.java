// SPDX-License-Identifier: Apache-2.0
package couponsd;

import com.google.protobuf.Message;
import io.grpc.Deadline;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.AbstractStub;
import java.io.IOException;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import java.util.function.BiFunction;

/**
 * Adds to the stubs of coupon.v1 what a client of couponsd needs: a channel that reaches a server soon after it has
 * started, and calls that are retried until they succeed or are refused for good.
 *
 * <pre>{@code
 * var channel = Couponsd.connect("127.0.0.1:50051");
 * var coupons = CouponServiceGrpc.newBlockingStub(channel);
 * var request = RequestPublishRequest.newBuilder()
 *     .setCouponId(7).setUserId(42).setRequestId(Couponsd.requestId()).build();
 * var status = Couponsd.retry(coupons, CouponServiceBlockingStub::requestPublish, request).getStatus();
 * }</pre>
 *
 * <p>All methods may be called from any thread.
 */
public final class Couponsd {
    public static final Duration DEFAULT_TIMEOUT = Duration.ofSeconds(30);

    private static final Set<Status.Code> RETRIABLE =
            EnumSet.of(Status.Code.UNAVAILABLE, Status.Code.RESOURCE_EXHAUSTED, Status.Code.DEADLINE_EXCEEDED);
    private static final Set<String> NEED_REQUEST_ID = Set.of(
            "coupon.v1.RequestPublishRequest", "coupon.v1.CreateCouponRequest", "coupon.v1.AddQuantityRequest");
    private static final Duration FIRST_BACKOFF = Duration.ofMillis(50);
    private static final Duration MAX_BACKOFF = Duration.ofSeconds(2);
    private static final int TRIES_MIN = 3; // that fit into the time of a call

    private Couponsd() {}

    /** Returns a channel without TLS; see {@link #connect(String, Options)}. */
    public static ManagedChannel connect(String target) {
        return connect(target, new Options());
    }

    /**
     * Returns a channel. It connects with its first call, tries to reach a lost server every second, and leaves retries
     * to {@link #retry}, since the retries of gRPC ignore RetryInfo.
     *
     * @param target HOST:PORT, several of them separated by commas, or any gRPC target. Calls take all addresses in
     *     turn, those of a single name too, except for unreachable ones
     * @throws IllegalArgumentException if a token would go over plain text to another address than loopback
     * @throws java.io.UncheckedIOException if a file cannot be read
     */
    public static ManagedChannel connect(String target, Options options) {
        return Channels.open(target, options);
    }

    /** Returns a new random id. Use one id for each request, and the same id for each try of that request. */
    public static String requestId() {
        return UUID.randomUUID().toString();
    }

    /** Calls {@link #retry(AbstractStub, BiFunction, Object, Duration, Duration, BiConsumer)} with
     * {@link #DEFAULT_TIMEOUT}. */
    public static <S extends AbstractStub<S>, Q, R> R retry(S stub, BiFunction<S, Q, R> method, Q request) {
        return retry(stub, method, request, DEFAULT_TIMEOUT, (error, delay) -> {});
    }

    /** Calls {@link #retry(AbstractStub, BiFunction, Object, Duration, Duration, BiConsumer)} with a third of the
     * timeout for each try. */
    public static <S extends AbstractStub<S>, Q, R> R retry(
            S stub,
            BiFunction<S, Q, R> method,
            Q request,
            Duration timeout,
            BiConsumer<StatusRuntimeException, Duration> onRetry) {
        return retry(stub, method, request, timeout, timeout.dividedBy(TRIES_MIN), onRetry);
    }

    /**
     * Calls a unary method of a blocking stub until it succeeds, is refused, or the time is over.
     *
     * <p>UNAVAILABLE and RESOURCE_EXHAUSTED are retried, and a try without an answer within its time: the next one may
     * reach another server. The delay is what the server asks for, plus a random part of a backoff that doubles from 50
     * ms to 2 s. The server may have executed a request that failed; because of the request_id, couponsd executes it
     * once. If RequestPublish, CreateCoupon or AddQuantity has an empty request_id, all tries send a copy with one
     * random id. Set an id yourself to repeat the call later.
     *
     * @param timeout for all tries together
     * @param tryTimeout for each try; VerifyCoupon may need more than a third of the timeout
     * @param onRetry called before each delay, with the error of the last try and the delay
     * @throws StatusRuntimeException the last error; CANCELLED if the thread is interrupted
     */
    public static <S extends AbstractStub<S>, Q, R> R retry(
            S stub,
            BiFunction<S, Q, R> method,
            Q request,
            Duration timeout,
            Duration tryTimeout,
            BiConsumer<StatusRuntimeException, Duration> onRetry) {
        Deadline deadline = Deadline.after(timeout.toNanos(), TimeUnit.NANOSECONDS);
        Q sent = withRequestId(request);
        Duration backoff = FIRST_BACKOFF;
        while (true) {
            try {
                Deadline end = Deadline.after(tryTimeout.toNanos(), TimeUnit.NANOSECONDS);
                return method.apply(stub.withDeadline(deadline.minimum(end)), sent);
            } catch (StatusRuntimeException error) {
                // The random part keeps clients that were refused at the same time from returning at the same time.
                Duration jitter = Duration.ofNanos(ThreadLocalRandom.current().nextLong(backoff.toNanos()));
                Duration delay = Errors.retryDelay(error).plus(jitter);
                Duration left = Duration.ofNanos(deadline.timeRemaining(TimeUnit.NANOSECONDS));
                if (!isRetriable(error.getStatus()) || delay.compareTo(left) >= 0) {
                    throw error;
                }
                onRetry.accept(error, delay);
                sleep(delay);
            }
            Duration doubled = backoff.multipliedBy(2);
            backoff = doubled.compareTo(MAX_BACKOFF) < 0 ? doubled : MAX_BACKOFF;
        }
    }

    private static boolean isRetriable(Status status) {
        // gRPC also reports some broken connections as UNKNOWN.
        return RETRIABLE.contains(status.getCode())
                || (status.getCode() == Status.Code.UNKNOWN && status.getCause() instanceof IOException);
    }

    @SuppressWarnings("unchecked") // a message's builder builds a message of the same type
    private static <Q> Q withRequestId(Q request) {
        if (!(request instanceof Message message)
                || !NEED_REQUEST_ID.contains(message.getDescriptorForType().getFullName())) {
            return request;
        }
        var field = message.getDescriptorForType().findFieldByName("request_id");
        return message.getField(field).equals("")
                ? (Q) message.toBuilder().setField(field, requestId()).build()
                : request;
    }

    private static void sleep(Duration delay) {
        try {
            TimeUnit.NANOSECONDS.sleep(delay.toNanos());
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw Status.CANCELLED
                    .withDescription("interrupted between two tries")
                    .withCause(interrupted)
                    .asRuntimeException();
        }
    }
}
