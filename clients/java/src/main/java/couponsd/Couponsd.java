// SPDX-License-Identifier: Apache-2.0
package couponsd;

import com.google.protobuf.Message;
import io.grpc.ConnectivityState;
import io.grpc.Deadline;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.AbstractStub;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
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
            EnumSet.of(Status.Code.UNAVAILABLE, Status.Code.RESOURCE_EXHAUSTED);
    private static final Set<String> NEED_REQUEST_ID = Set.of(
            "coupon.v1.RequestPublishRequest", "coupon.v1.CreateCouponRequest", "coupon.v1.AddQuantityRequest");
    private static final Duration FIRST_BACKOFF = Duration.ofMillis(50);
    private static final Duration MAX_BACKOFF = Duration.ofSeconds(2);
    private static final long RECONNECT_MS = 1000;

    private Couponsd() {}

    /**
     * Returns a channel without TLS. It tries to reach a lost server every second, and leaves retries to
     * {@link #retry}, since the retries of gRPC ignore RetryInfo.
     */
    public static ManagedChannel connect(String target) {
        ManagedChannel channel = ManagedChannelBuilder.forTarget(target).usePlaintext().disableRetry().build();
        keepReconnecting(channel);
        return channel;
    }

    /**
     * Ends gRPC's reconnect backoff every second. The backoff grows to two minutes, no setting bounds it, and calls
     * fail at once while it lasts. An idle channel is left alone: its next call connects.
     */
    private static void keepReconnecting(ManagedChannel channel) {
        ConnectivityState state = channel.getState(false);
        if (state == ConnectivityState.TRANSIENT_FAILURE) {
            // A timer, since the state may stay the same over many attempts, and then nothing would notify us.
            CompletableFuture.delayedExecutor(RECONNECT_MS, TimeUnit.MILLISECONDS).execute(() -> {
                channel.resetConnectBackoff();
                keepReconnecting(channel);
            });
        } else if (state != ConnectivityState.SHUTDOWN) {
            channel.notifyWhenStateChanged(state, () -> keepReconnecting(channel));
        }
    }

    /** Returns a new random id. Use one id for each request, and the same id for each try of that request. */
    public static String requestId() {
        return UUID.randomUUID().toString();
    }

    /** Calls {@link #retry(AbstractStub, BiFunction, Object, Duration, BiConsumer)} with {@link #DEFAULT_TIMEOUT}. */
    public static <S extends AbstractStub<S>, Q, R> R retry(S stub, BiFunction<S, Q, R> method, Q request) {
        return retry(stub, method, request, DEFAULT_TIMEOUT, (error, delay) -> {});
    }

    /**
     * Calls a unary method of a blocking stub until it succeeds, is refused, or the time is over.
     *
     * <p>UNAVAILABLE and RESOURCE_EXHAUSTED are retried. The delay is what the server asks for, plus a random part of a
     * backoff that doubles from 50 ms to 2 s. After UNAVAILABLE, the server may have executed the request; because of
     * the request_id, couponsd executes it once. If RequestPublish, CreateCoupon or AddQuantity has an empty
     * request_id, all tries send a copy with one random id. Set an id yourself to repeat the call later.
     *
     * @param timeout for all tries together
     * @param onRetry called before each delay, with the error of the last try and the delay
     * @throws StatusRuntimeException the last error; CANCELLED if the thread is interrupted
     */
    public static <S extends AbstractStub<S>, Q, R> R retry(
            S stub,
            BiFunction<S, Q, R> method,
            Q request,
            Duration timeout,
            BiConsumer<StatusRuntimeException, Duration> onRetry) {
        Deadline deadline = Deadline.after(timeout.toNanos(), TimeUnit.NANOSECONDS);
        Q sent = withRequestId(request);
        S bounded = stub.withDeadline(deadline);
        Duration backoff = FIRST_BACKOFF;
        while (true) {
            try {
                return method.apply(bounded, sent);
            } catch (StatusRuntimeException error) {
                // The random part keeps clients that were refused at the same time from returning at the same time.
                Duration jitter = Duration.ofNanos(ThreadLocalRandom.current().nextLong(backoff.toNanos()));
                Duration delay = Errors.retryDelay(error).plus(jitter);
                Duration left = Duration.ofNanos(deadline.timeRemaining(TimeUnit.NANOSECONDS));
                if (!RETRIABLE.contains(error.getStatus().getCode()) || delay.compareTo(left) >= 0) {
                    throw error;
                }
                onRetry.accept(error, delay);
                sleep(delay);
            }
            Duration doubled = backoff.multipliedBy(2);
            backoff = doubled.compareTo(MAX_BACKOFF) < 0 ? doubled : MAX_BACKOFF;
        }
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
