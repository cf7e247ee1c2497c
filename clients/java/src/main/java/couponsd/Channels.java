// SPDX-License-Identifier: Apache-2.0
package couponsd;

import io.grpc.ChannelCredentials;
import io.grpc.ConnectivityState;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.NameResolverRegistry;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** Makes channels; see {@link Couponsd#connect(String, Options)}. */
final class Channels {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
    private static final long RECONNECT_MS = 1000;

    static {
        NameResolverRegistry.getDefaultRegistry().register(new AddressList.Provider());
    }

    private Channels() {}

    static ManagedChannel open(String target, Options options) {
        // A connection whose peer has vanished ends within 40 s, if it has a call. Servers of gRPC refuse clients that
        // ping more often than they allow, or without a call.
        var builder = Grpc.newChannelBuilder(AddressList.uri(target), credentials(options))
                .keepAliveTime(30, TimeUnit.SECONDS)
                .keepAliveTimeout(10, TimeUnit.SECONDS)
                .defaultLoadBalancingPolicy("round_robin")
                .disableRetry()
                .proxyDetector(address -> null);
        if (options.serverName != null) {
            builder.overrideAuthority(options.serverName);
        }
        if (options.token != null) {
            check(target, options);
            var headers = new Metadata();
            headers.put(AUTHORIZATION, "Bearer " + options.token);
            builder.intercept(MetadataUtils.newAttachHeadersInterceptor(headers));
        }
        ManagedChannel channel = builder.build();
        keepReconnecting(channel);
        return channel;
    }

    private static ChannelCredentials credentials(Options options) {
        if (!options.isTls) {
            return InsecureChannelCredentials.create();
        }
        var tls = TlsChannelCredentials.newBuilder();
        try {
            if (options.ca != null) {
                tls.trustManager(options.ca.toFile());
            }
            if (options.certificate != null) {
                tls.keyManager(options.certificate.toFile(), options.key.toFile());
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return tls.build();
    }

    private static void check(String target, Options options) {
        if (!options.isTls && !options.mayTokenGoOverPlaintext && !AddressList.isLoopback(target)) {
            throw new IllegalArgumentException(target + " is not loopback, and there is no TLS, so everybody on the way "
                    + "could read the token: use TLS, or plaintextToken() where the network is trusted");
        }
        if (!options.token.chars().allMatch(character -> character >= ' ' && character <= '~')) {
            throw new IllegalArgumentException("the token has a character that no header may have, e.g. a line break");
        }
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
}
