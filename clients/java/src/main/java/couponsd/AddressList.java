// SPDX-License-Identifier: Apache-2.0
package couponsd;

import io.grpc.EquivalentAddressGroup;
import io.grpc.NameResolver;
import io.grpc.NameResolverProvider;
import io.grpc.Status;
import io.grpc.StatusOr;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.UnknownHostException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executor;

/** Resolves targets with several addresses, HOST:PORT,HOST:PORT, which gRPC itself does not know. */
final class AddressList extends NameResolver {
    private static final String SCHEME = "couponsd";
    private static final String DNS = "dns:///";

    private final List<URI> addresses;
    private final Executor executor;
    private Listener2 listener;

    private AddressList(List<URI> addresses, Executor executor) {
        this.addresses = addresses;
        this.executor = executor;
    }

    /** Returns the target in gRPC's words. */
    static String uri(String target) {
        try {
            // This constructor escapes the brackets of IPv6 addresses.
            return target.contains(",") ? new URI(SCHEME, "", "/" + target, null).toString() : target;
        } catch (URISyntaxException error) {
            throw new IllegalArgumentException(error);
        }
    }

    /** Returns whether all addresses of a target are loopback addresses. */
    static boolean isLoopback(String target) {
        String list = target.startsWith(DNS) ? target.substring(DNS.length()) : target;
        return parse(list).stream().map(URI::getHost).allMatch(AddressList::isLoopbackHost);
    }

    private static boolean isLoopbackHost(String host) {
        // Only IP addresses are given to InetAddress, which would look names up.
        if (host == null || !(host.startsWith("[") || host.matches("\\d+\\.\\d+\\.\\d+\\.\\d+"))) {
            return "localhost".equalsIgnoreCase(host);
        }
        try {
            return InetAddress.getByName(host).isLoopbackAddress();
        } catch (UnknownHostException error) {
            return false;
        }
    }

    private static List<URI> parse(String list) {
        var addresses = new ArrayList<URI>();
        for (String address : list.split(",", -1)) {
            addresses.add(URI.create("//" + address));
        }
        return addresses;
    }

    @Override
    public String getServiceAuthority() {
        return addresses.get(0).getAuthority();
    }

    @Override
    public void start(Listener2 listener) {
        this.listener = listener;
        refresh();
    }

    /** Looks the names up. gRPC asks for it after a lost connection. */
    @Override
    public void refresh() {
        executor.execute(() -> {
            var found = new ArrayList<EquivalentAddressGroup>();
            var result = ResolutionResult.newBuilder();
            Status failure = Status.UNAVAILABLE;
            for (URI address : addresses) {
                try {
                    for (InetAddress each : InetAddress.getAllByName(address.getHost())) {
                        found.add(new EquivalentAddressGroup(new InetSocketAddress(each, address.getPort())));
                    }
                } catch (UnknownHostException error) {
                    failure = failure.withDescription(address.getHost() + " can't be looked up").withCause(error);
                }
            }
            result.setAddressesOrError(found.isEmpty() ? StatusOr.fromStatus(failure) : StatusOr.fromValue(found));
            listener.onResult(result.build());
        });
    }

    @Override
    public void shutdown() {}

    static final class Provider extends NameResolverProvider {
        @Override
        protected boolean isAvailable() {
            return true;
        }

        @Override
        protected int priority() {
            return 5; // as gRPC's own
        }

        @Override
        public String getDefaultScheme() {
            return SCHEME;
        }

        @Override
        public NameResolver newNameResolver(URI target, NameResolver.Args args) {
            if (!SCHEME.equals(target.getScheme())) {
                return null;
            }
            List<URI> addresses = parse(target.getPath().substring(1));
            for (URI address : addresses) {
                if (address.getHost() == null || address.getPort() < 0) {
                    throw new IllegalArgumentException("\"" + address.getAuthority() + "\" is no HOST:PORT");
                }
            }
            return new AddressList(addresses, args.getOffloadExecutor());
        }
    }
}
