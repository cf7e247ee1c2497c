// SPDX-License-Identifier: Apache-2.0
package couponsd;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.Optional;

/** Decodes the details of an error: google.rpc.ErrorInfo and google.rpc.RetryInfo in grpc-status-details-bin. */
public final class Errors {
    /** The domain of the reasons that couponsd gives. */
    public static final String DOMAIN = "coupon.v1";

    private Errors() {}

    /** Returns the reason and its metadata, e.g. SOLD_OUT with coupon_id; empty if the error is not from couponsd. */
    public static Optional<ErrorInfo> info(Throwable error) {
        return detail(error, ErrorInfo.class).filter(info -> info.getDomain().equals(DOMAIN));
    }

    /** Returns the reason, or "" if there is none. */
    public static String reason(Throwable error) {
        return info(error).map(ErrorInfo::getReason).orElse("");
    }

    /** Returns the delay that couponsd asks for before the next try; zero if it asks for none. */
    public static Duration retryDelay(Throwable error) {
        return detail(error, RetryInfo.class)
                .map(RetryInfo::getRetryDelay)
                .map(delay -> Duration.ofSeconds(delay.getSeconds(), delay.getNanos()))
                .filter(delay -> !delay.isNegative())
                .orElse(Duration.ZERO);
    }

    private static <T extends Message> Optional<T> detail(Throwable error, Class<T> kind) {
        try {
            com.google.rpc.Status status = StatusProto.fromThrowable(error);
            if (status != null) {
                for (Any each : status.getDetailsList()) {
                    if (each.is(kind)) {
                        return Optional.of(each.unpack(kind));
                    }
                }
            }
        } catch (IllegalArgumentException | InvalidProtocolBufferException notOurs) {
            // Details of another origin, such as a proxy. The error then has none from couponsd.
        }
        return Optional.empty();
    }
}
