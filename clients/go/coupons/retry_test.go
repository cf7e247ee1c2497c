// SPDX-License-Identifier: Apache-2.0

package coupons

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

type request struct{ id string }
type response struct{ ticket int }

// server answers each try with its next error, and with success when there are no more.
type server struct {
	errors []error
	tries  []time.Time
	seen   []*request
}

func (s *server) call(_ context.Context, r *request, _ ...grpc.CallOption) (*response, error) {
	s.tries = append(s.tries, time.Now())
	s.seen = append(s.seen, r)
	if n := len(s.tries) - 1; n < len(s.errors) {
		return nil, s.errors[n]
	}
	return &response{ticket: 1}, nil
}

func failure(t *testing.T, code codes.Code, details ...protoadapt.MessageV1) error {
	t.Helper()
	s, err := status.New(code, "no").WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

func repeat(err error, n int) []error {
	errors := make([]error, n)
	for i := range errors {
		errors[i] = err
	}
	return errors
}

func TestUnavailableAndResourceExhaustedAreRetriedWithTheSameRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{errors: []error{failure(t, codes.Unavailable), failure(t, codes.ResourceExhausted)}}
		sent := &request{id: "r"}
		got, err := Retry(t.Context(), s.call, sent)
		if err != nil || got.ticket != 1 || len(s.tries) != 3 {
			t.Fatalf("got %v, %v after %d tries; want ticket 1 after 3", got, err, len(s.tries))
		}
		for _, seen := range s.seen {
			if seen != sent {
				t.Errorf("sent %v on a retry, %v at first", seen, sent)
			}
		}
	})
}

func TestAnAnswerIsNotRetried(t *testing.T) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		if code == codes.Unavailable || code == codes.ResourceExhausted || code == codes.DeadlineExceeded {
			continue
		}
		s := &server{errors: repeat(failure(t, code), 1)}
		if _, err := Retry(t.Context(), s.call, &request{}); status.Code(err) != code || len(s.tries) != 1 {
			t.Errorf("got %v after %d tries; want %v after 1", err, len(s.tries), code)
		}
	}
}

func TestDelaysGrowToTheirLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{errors: repeat(failure(t, codes.Unavailable), 10)}
		if _, err := Retry(t.Context(), s.call, &request{}); err != nil {
			t.Fatal(err)
		}
		most := firstBackoff
		for i := 1; i < len(s.tries); i++ {
			if wait := s.tries[i].Sub(s.tries[i-1]); wait > most {
				t.Errorf("waited %v before try %d; want at most %v", wait, i+1, most)
			}
			most = min(2*most, maxBackoff)
		}
	})
}

func TestTheServersRetryDelayIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 5 * time.Second
		s := &server{errors: repeat(failure(t, codes.ResourceExhausted,
			&errdetails.ErrorInfo{Reason: ReasonOverloaded, Domain: Domain},
			&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)}), 1)}
		if _, err := Retry(t.Context(), s.call, &request{}); err != nil {
			t.Fatal(err)
		}
		if wait := s.tries[1].Sub(s.tries[0]); wait < delay || wait > delay+firstBackoff {
			t.Errorf("waited %v; want %v and up to %v more", wait, delay, firstBackoff)
		}
	})
}

func TestTheLastErrorIsReturnedAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, deadline := range []time.Duration{0, time.Second, 2 * time.Minute} {
			ctx, most := t.Context(), defaultDeadline
			if deadline > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, deadline)
				defer cancel()
				most = deadline
			}
			s := &server{errors: repeat(failure(t, codes.Unavailable), 10_000)}
			start := time.Now()
			_, err := Retry(ctx, s.call, &request{})
			took := time.Since(start)
			if status.Code(err) != codes.Unavailable || took > most || took < most-maxBackoff {
				t.Errorf("got %v after %v; want UNAVAILABLE after about %v", err, took, most)
			}
		}
	})
}

func TestATryWithoutAnAnswerIsGivenUpAndRepeated(t *testing.T) {
	for _, c := range []struct {
		options []grpc.CallOption
		want    time.Duration
	}{
		{nil, 2 * time.Second},
		{[]grpc.CallOption{TryTimeout(time.Second)}, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
			defer cancel()
			start, tries := time.Now(), 0
			_, err := Retry(ctx, func(ctx context.Context, _ *request, _ ...grpc.CallOption) (*response, error) {
				if tries++; tries > 1 {
					return &response{}, nil
				}
				<-ctx.Done()
				return nil, status.FromContextError(ctx.Err()).Err()
			}, &request{}, c.options...)
			if took := time.Since(start); err != nil || took < c.want || took > c.want+firstBackoff {
				t.Errorf("got %v after %v; want success after %v", err, took, c.want)
			}
		})
	}
}

func TestACancelledCallerIsNotKeptWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &server{errors: repeat(failure(t, codes.Unavailable,
			&errdetails.RetryInfo{RetryDelay: durationpb.New(10 * time.Second)}), 1)}
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		_, err := Retry(ctx, s.call, &request{})
		if took := time.Since(start); status.Code(err) != codes.Canceled || took != time.Second {
			t.Errorf("got %v after %v; want CANCELED after 1 s", err, took)
		}
	})
}

func TestReasonIsThatOfCouponsd(t *testing.T) {
	ours := &errdetails.ErrorInfo{Reason: ReasonSoldOut, Domain: Domain, Metadata: map[string]string{"coupon_id": "7"}}
	theirs := &errdetails.ErrorInfo{Reason: ReasonSoldOut, Domain: "elsewhere"}
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{context.Canceled, ""},
		{failure(t, codes.FailedPrecondition), ""},
		{failure(t, codes.FailedPrecondition, theirs), ""},
		{failure(t, codes.FailedPrecondition, theirs, ours), ReasonSoldOut},
	} {
		if got := Reason(c.err); got != c.want {
			t.Errorf("Reason(%v) = %q; want %q", c.err, got, c.want)
		}
	}
	if got := Info(failure(t, codes.FailedPrecondition, ours)).GetMetadata()["coupon_id"]; got != "7" {
		t.Errorf("metadata coupon_id = %q; want 7", got)
	}
}
