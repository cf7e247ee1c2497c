// SPDX-License-Identifier: Apache-2.0

package coupons

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// Domain is the domain of the reasons that couponsd gives.
const Domain = "coupon.v1"

// Reasons of refused calls. The enum coupon.v1.ErrorReason has all of them, those of the administrative methods
// included.
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
	ReasonStopping           = "STOPPING"
	ReasonInternal           = "INTERNAL"
)

// Info returns the google.rpc.ErrorInfo that couponsd sent with err, or nil if err has none, for example because no
// server was reached. Its metadata has details, such as the ticket of ALREADY_REQUESTED.
func Info(err error) *errdetails.ErrorInfo {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Domain == Domain {
			return info
		}
	}
	return nil
}

// Reason returns why couponsd refused the call, such as [ReasonSoldOut], or "" if err has no reason from couponsd.
func Reason(err error) string {
	return Info(err).GetReason()
}

// RetryDelay returns the delay that the server asks for before the next try, or 0 if it asks for none.
func RetryDelay(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			return max(0, retry.GetRetryDelay().AsDuration())
		}
	}
	return 0
}
