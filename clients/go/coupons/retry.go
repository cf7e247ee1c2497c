// SPDX-License-Identifier: Apache-2.0

package coupons

import (
	"context"
	crand "crypto/rand"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	defaultDeadline = 30 * time.Second
	firstBackoff    = 50 * time.Millisecond
	maxBackoff      = 2 * time.Second
	minTries        = 3 // that fit into the time of a call
)

// Retry calls a unary method of a stub until it succeeds, fails for good, or reaches the deadline of ctx (30 s from now
// if ctx has none):
//
//	response, err := coupons.Retry(ctx, client.RequestPublish, &couponv1.RequestPublishRequest{...})
//
// UNAVAILABLE and RESOURCE_EXHAUSTED are retried, and a try without an answer within a third of the time (or
// [TryTimeout]): the next one may reach another server. The delay is what the server asks for ([RetryDelay]), plus a
// random part of a backoff that doubles from 50 ms to 2 s. Every other error is an answer. Retry returns the last error.
//
// The server may have executed a request that failed. All tries send the same request, and because of its request_id
// couponsd executes it once. If RequestPublish, CreateCoupon or AddQuantity has an empty request_id, all
// tries send a copy with one random id, and *request stays as it is. Set an id yourself to repeat the call later.
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
	limit := time.Until(deadline) / minTries
	for _, option := range options {
		if given, ok := option.(tryTimeout); ok {
			limit = given.limit
		}
	}
	request = withRequestID(request)
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		response, err := try(ctx, limit, method, request, options)
		if err == nil || !retriable(err) {
			return response, err
		}
		// The random part keeps clients that were refused at the same time from returning at the same time.
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

// TryTimeout limits each try of [Retry] to another time than a third of the whole. VerifyCoupon may need more.
func TryTimeout(limit time.Duration) grpc.CallOption {
	return tryTimeout{limit: limit}
}

type tryTimeout struct {
	grpc.EmptyCallOption
	limit time.Duration
}

func try[Request, Response any](
	ctx context.Context,
	limit time.Duration,
	method func(context.Context, *Request, ...grpc.CallOption) (*Response, error),
	request *Request,
	options []grpc.CallOption,
) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return method(ctx, request, options...)
}

func retriable(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.ResourceExhausted || code == codes.DeadlineExceeded
}

// withRequestID returns the request itself, or a copy with a random request_id if its type has that field and it is
// empty.
func withRequestID[Request any](request *Request) *Request {
	message, ok := any(request).(proto.Message)
	if !ok {
		return request
	}
	descriptor := message.ProtoReflect().Descriptor()
	switch descriptor.FullName() {
	case "coupon.v1.RequestPublishRequest", "coupon.v1.CreateCouponRequest", "coupon.v1.AddQuantityRequest":
	default:
		return request
	}
	field := descriptor.Fields().ByName("request_id")
	if message.ProtoReflect().Get(field).String() != "" {
		return request
	}
	same := proto.Clone(message)
	same.ProtoReflect().Set(field, protoreflect.ValueOfString(crand.Text()))
	return any(same).(*Request)
}
