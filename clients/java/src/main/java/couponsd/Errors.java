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

/** What the details of an error say: google.rpc.ErrorInfo and google.rpc.RetryInfo in grpc-status-details-bin. */
public final class Errors {
    /** The domain of the reasons that couponsd gives. */
    public static final String DOMAIN = "coupon.v1";

    private Errors() {}

    /** Why couponsd refused, e.g. reason SOLD_OUT with metadata coupon_id; empty if couponsd did not make the error. */
    public static Optional<ErrorInfo> info(Throwable error) {
        return detail(error, ErrorInfo.class).filter(info -> info.getDomain().equals(DOMAIN));
    }

    /** The reason alone, "" where there is none. */
    public static String reason(Throwable error) {
        return info(error).map(ErrorInfo::getReason).orElse("");
    }

    /** How long couponsd asks to wait before the next try; zero if it does not ask. */
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
            // Somebody else's details, a proxy's say, that cannot be read: as good as none.
        }
        return Optional.empty();
    }
}
