// SPDX-License-Identifier: Apache-2.0
package couponsd;

import java.nio.file.Path;

/**
 * How to reach couponsd: TLS, a client certificate, a token. Without any, it means plain text.
 *
 * <pre>{@code
 * new Options().ca(Path.of("ca.pem")).certificate(Path.of("shop.pem"), Path.of("shop.key")).token(token)
 * }</pre>
 */
public final class Options {
    boolean isTls;
    Path ca;
    Path certificate;
    Path key;
    String serverName;
    String token;
    boolean mayTokenGoOverPlaintext;

    /** Uses TLS and trusts the authorities of the Java runtime. */
    public Options tls() {
        isTls = true;
        return this;
    }

    /** Uses TLS and trusts the authorities in this PEM file. */
    public Options ca(Path file) {
        ca = file;
        return tls();
    }

    /** Uses TLS and presents this client certificate, for servers that ask for one. Both files are PEM. */
    public Options certificate(Path file, Path keyFile) {
        certificate = file;
        key = keyFile;
        return tls();
    }

    /**
     * Sets the name in the server's certificate, if that is not the host of the target. All servers of a list show the
     * same name, by default the host of the first address.
     */
    public Options serverName(String name) {
        serverName = name;
        return this;
    }

    /** Sends this token with each call. Without TLS, it is sent to loopback addresses only. */
    public Options token(String text) {
        token = text;
        return this;
    }

    /** Sends the token without TLS to non-loopback addresses, too. */
    public Options plaintextToken() {
        mayTokenGoOverPlaintext = true;
        return this;
    }
}
