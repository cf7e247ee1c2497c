// SPDX-License-Identifier: Apache-2.0

// Package coupons adds to the generated stubs what a Go client of couponsd needs: a connection to one or several
// servers, retries, and the reasons of refusals.
package coupons

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/dns"
	"google.golang.org/grpc/resolver/manual"
)

// Options say how to reach couponsd. The zero value means plain text without a token.
type Options struct {
	// TLS is implied by CA and Certificate.
	TLS bool
	// CA is the PEM file of the trusted authorities. By default, those of the system are trusted.
	CA string
	// Certificate and Key are the PEM files of a client certificate, for servers that ask for one.
	Certificate, Key string
	// ServerName is the name in the server's certificate, if that is not the host of the target. All servers of a list
	// show the same name, by default the host of the first address.
	ServerName string

	// Token is sent with each call. Without TLS, it is sent to loopback addresses only, and NewClient fails for others,
	// unless PlaintextToken is set.
	Token          string
	PlaintextToken bool
}

// init lets all gRPC clients of the program look a name up again one second after the last time. By default, they do not
// find a new address for 30 s after they have found the old one.
func init() {
	dns.SetMinResolutionInterval(time.Second)
}

// NewClient returns a connection, which connects with its first call. It is [grpc.NewClient] with what couponsd needs;
// `more` adds options to those set here.
//
// The target is HOST:PORT, several of them separated by commas, or any target of gRPC. Calls take all addresses in turn,
// those of a single name too, except for unreachable ones.
func NewClient(target string, options Options, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	transport, err := options.transport()
	if err != nil {
		return nil, err
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		// While a channel waits before it reconnects, its calls fail at once. With gRPC's default backoff, that lasts up
		// to two minutes after the server is back.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay:  50 * time.Millisecond,
				Multiplier: 1.6,
				Jitter:     0.2,
				MaxDelay:   time.Second,
			},
			MinConnectTimeout: 5 * time.Second,
		}),
		// A connection whose peer has vanished ends within 40 s, if it has a call. Servers of gRPC refuse clients that
		// ping more often than they allow, or without a call.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithNoProxy(),
	}
	addresses, isList := split(target)
	if options.Token != "" {
		allowed := options.isTLS() || options.PlaintextToken || allLoopback(addresses)
		if !allowed {
			return nil, fmt.Errorf("%s is not loopback, and there is no TLS, so everybody on the way could read the "+
				"token: use TLS, or set PlaintextToken where the network is trusted", target)
		}
		if strings.ContainsFunc(options.Token, func(r rune) bool { return r < ' ' || r > '~' }) {
			return nil, errors.New("the token has a character that no header may have, e.g. a line break")
		}
		dial = append(dial, grpc.WithPerRPCCredentials(token(options.Token)))
	}
	if isList {
		list := manual.NewBuilderWithScheme("coupons")
		state := resolver.State{}
		for _, address := range addresses {
			state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
		}
		list.InitialState(state)
		dial = append(dial, grpc.WithResolvers(list))
		target = "coupons:///" + addresses[0]
	}
	return grpc.NewClient(target, append(dial, more...)...)
}

func (o Options) isTLS() bool {
	return o.TLS || o.CA != "" || o.Certificate != ""
}

func (o Options) transport() (credentials.TransportCredentials, error) {
	if !o.isTLS() {
		return insecure.NewCredentials(), nil
	}
	config := &tls.Config{ServerName: o.ServerName}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate in PEM", o.CA)
		}
	}
	if o.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(o.Certificate, o.Key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(config), nil
}

// token is sent over plain text, too: NewClient has checked whether it may.
type token string

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(t)}, nil
}

func (token) RequireTransportSecurity() bool { return false }

// split returns the addresses in a target, and whether it is a list, which gRPC itself does not know.
func split(target string) (addresses []string, isList bool) {
	if strings.HasPrefix(target, "unix:") || strings.HasPrefix(target, "unix-abstract:") {
		return []string{"localhost"}, false
	}
	addresses = strings.Split(strings.TrimPrefix(target, "dns:///"), ",")
	return addresses, len(addresses) > 1
}

func allLoopback(addresses []string) bool {
	for _, address := range addresses {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			host = strings.Trim(address, "[]") // without a port
		}
		if !strings.EqualFold(host, "localhost") && !net.ParseIP(host).IsLoopback() {
			return false
		}
	}
	return true
}
