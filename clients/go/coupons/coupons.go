// SPDX-License-Identifier: Apache-2.0

// Package coupons is what a Go client of couponsd needs beside the generated stubs: a connection that finds a server
// soon after it has started, retries, and the reason of a refusal.
package coupons

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// NewClient is [grpc.NewClient] with a shorter reconnect backoff. While a channel waits to connect again, calls fail at
// once; with gRPC's default they would for up to two minutes after the server is back.
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
