// SPDX-License-Identifier: Apache-2.0

// Package coupons adds to the generated stubs what a Go client of couponsd needs: a connection that reaches a server
// soon after it has started, retries, and the reasons of refusals.
package coupons

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// NewClient is [grpc.NewClient] with a shorter reconnect backoff. While a channel waits before it reconnects, its calls
// fail at once. With gRPC's default backoff, that lasts up to two minutes after the server is back.
func NewClient(target string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	reconnect := grpc.WithConnectParams(grpc.ConnectParams{
		Backoff: backoff.Config{
			BaseDelay:  50 * time.Millisecond,
			Multiplier: 1.6,
			Jitter:     0.2,
			MaxDelay:   time.Second,
		},
		MinConnectTimeout: 5 * time.Second,
	})
	return grpc.NewClient(target, append([]grpc.DialOption{reconnect}, options...)...)
}
