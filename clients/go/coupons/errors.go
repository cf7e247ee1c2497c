// SPDX-License-Identifier: Apache-2.0

package coupons

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// Domain is the domain of the reasons that couponsd gives.
const Domain = "coupon.v1"

// What a failed call can say. These are the reasons of the contract; a server may know more.
const (
	ReasonSoldOut            = "SOLD_OUT"
	ReasonNotOpen            = "NOT_OPEN"
	ReasonPaused             = "PAUSED"
	ReasonClosed             = "CLOSED"
	ReasonExpired            = "EXPIRED"
	ReasonAlreadyRequested   = "ALREADY_REQUESTED"
	ReasonCouponNotFound     = "COUPON_NOT_FOUND"
	ReasonRequestNotFound    = "REQUEST_NOT_FOUND"
	ReasonInvalidField       = "INVALID_FIELD"
	ReasonOverloaded         = "OVERLOADED"
	ReasonBackendUnavailable = "BACKEND_UNAVAILABLE"
	ReasonPermission         = "PERMISSION"
)

// Info returns the google.rpc.ErrorInfo that couponsd sent with err, or nil where err carries none, as when no server
// was reached. Its metadata tells more, such as the ticket of ALREADY_REQUESTED.
func Info(err error) *errdetails.ErrorInfo {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Domain == Domain {
			return info
		}
	}
	return nil
}

// Reason returns why couponsd refused, such as [ReasonSoldOut], or "" where err carries no reason of couponsd's.
func Reason(err error) string {
	return Info(err).GetReason()
}

// RetryDelay returns how long the server asks to be left alone before the next try: 0 where it does not ask.
func RetryDelay(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			return max(0, retry.GetRetryDelay().AsDuration())
		}
	}
	return 0
}
