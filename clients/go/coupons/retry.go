// SPDX-License-Identifier: Apache-2.0

package coupons

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	defaultDeadline = 30 * time.Second
	firstBackoff    = 50 * time.Millisecond
	maxBackoff      = 2 * time.Second
)

// Retry calls a unary method of a stub until it succeeds, fails for good, or the deadline of ctx has come (30 s from
// now where ctx has none):
//
//	response, err := coupons.Retry(ctx, client.RequestPublish, &couponv1.RequestPublishRequest{...})
//
// UNAVAILABLE and RESOURCE_EXHAUSTED are tried again, after what the server asks for ([RetryDelay]) and a random part
// of a time that doubles from 50 ms to 2 s. Everything else is an answer. What is returned is the last error.
//
// UNAVAILABLE does not say whether the server has done what was asked. Every try sends the same request, and it is the
// request_id in it that makes couponsd do it once: give RequestPublish, CreateCoupon and AddQuantity one.
func Retry[Request, Response any](
	ctx context.Context,
	method func(context.Context, *Request, ...grpc.CallOption) (*Response, error),
	request *Request,
	options ...grpc.CallOption,
) (*Response, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultDeadline)
		defer cancel()
	}
	deadline, _ := ctx.Deadline()
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		response, err := method(ctx, request, options...)
		if err == nil || !retriable(err) {
			return response, err
		}
		// A crowd that is sent away together must not come back together: the random part comes on top.
		wait := RetryDelay(err) + rand.N(backoff)
		if time.Until(deadline) <= wait {
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
}

func retriable(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.ResourceExhausted
}
