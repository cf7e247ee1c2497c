// SPDX-License-Identifier: Apache-2.0
package couponsd;

import io.grpc.EquivalentAddressGroup;
import io.grpc.NameResolver;
import io.grpc.NameResolverProvider;
import io.grpc.Status;
import io.grpc.StatusOr;
import io.grpc.SynchronizationContext;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.UnknownHostException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executor;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/**
 * Resolves targets that are HOST:PORT or a list of them, HOST:PORT,HOST:PORT. gRPC itself does not know lists, and it
 * keeps a name's addresses for 30 s, in addition to the time that Java keeps them.
 */
final class AddressList extends NameResolver {
    private static final String SCHEME = "couponsd";
    private static final String DNS = "dns:///";

    private static final long LOOKUP_AGAIN_MS = 1000;

    private final List<Name> names = new ArrayList<>();
    private final Executor executor;
    private final ScheduledExecutorService timer;
    private final SynchronizationContext context; // runs all that uses the fields of names
    private Listener2 listener;
    private boolean isShutDown;

    /** An address in the list. A lookup that fails leaves what an earlier one found. */
    private static final class Name {
        final URI address;
        List<EquivalentAddressGroup> found = List.of();
        boolean isSought; // until a lookup succeeds
        boolean isUnknown;

        Name(URI address) {
            this.address = address;
        }

        List<EquivalentAddressGroup> lookUp() throws UnknownHostException {
            var groups = new ArrayList<EquivalentAddressGroup>();
            for (InetAddress each : InetAddress.getAllByName(address.getHost())) {
                groups.add(new EquivalentAddressGroup(new InetSocketAddress(each, address.getPort())));
            }
            return groups;
        }
    }

    private AddressList(List<URI> addresses, NameResolver.Args args) {
        addresses.forEach(address -> names.add(new Name(address)));
        executor = args.getOffloadExecutor();
        timer = args.getScheduledExecutorService();
        context = args.getSynchronizationContext();
    }

    /** Returns the target in gRPC's words. */
    static String uri(String target) {
        try {
            boolean isOurs = target.contains(",") || target.matches("(?!dns:|unix:)([^:/\\[\\]]+|\\[.*\\]):\\d+");
            // This constructor escapes the brackets of IPv6 addresses.
            return isOurs ? new URI(SCHEME, "", "/" + target, null).toString() : target;
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
        return names.get(0).address.getAuthority();
    }

    @Override
    public void start(Listener2 listener) {
        this.listener = listener;
        refresh();
    }

    /** Looks the names up, each on a thread of its own, since some may take long. gRPC asks for it after a lost
     * connection. */
    @Override
    public void refresh() {
        context.execute(() -> names.forEach(this::seek));
    }

    private void seek(Name name) {
        if (!name.isSought) {
            name.isSought = true;
            tryToFind(name);
        }
    }

    private void tryToFind(Name name) {
        if (isShutDown) {
            return;
        }
        executor.execute(() -> {
            try {
                List<EquivalentAddressGroup> found = name.lookUp();
                context.execute(() -> onFound(name, found));
            } catch (UnknownHostException error) {
                context.execute(() -> onUnknown(name));
            }
        });
    }

    private void onFound(Name name, List<EquivalentAddressGroup> found) {
        name.isSought = false;
        name.isUnknown = false;
        name.found = found;
        report();
    }

    private void onUnknown(Name name) {
        boolean isNew = !name.isUnknown;
        name.isUnknown = true;
        if (isNew) {
            report();
        }
        context.schedule(() -> tryToFind(name), LOOKUP_AGAIN_MS, TimeUnit.MILLISECONDS, timer);
    }

    /** Reports what is known so far: a name that takes long does not hold up the others. */
    private void report() {
        if (isShutDown) {
            return;
        }
        var found = new ArrayList<EquivalentAddressGroup>();
        names.forEach(name -> found.addAll(name.found));
        if (!found.isEmpty()) {
            listener.onResult(ResolutionResult.newBuilder().setAddressesOrError(StatusOr.fromValue(found)).build());
        } else if (names.stream().allMatch(name -> name.isUnknown)) {
            String host = names.get(0).address.getHost();
            listener.onError(Status.UNAVAILABLE.withDescription("the name " + host + " can't be looked up"));
        }
    }

    @Override
    public void shutdown() {
        isShutDown = true;
    }

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
            return new AddressList(addresses, args);
        }
    }
}
