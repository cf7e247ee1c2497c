// SPDX-License-Identifier: Apache-2.0

// smoke HOST:PORT tests the Go client against a couponsd. Start couponsd, with a short queue (flow.queue_size), after
// this program has printed "calling". The last line of stdout is a JSON object with the results. On a failure, the exit
// code is 1 and stderr explains it.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/couponsd/couponsd/clients/go/coupons"
	couponv1 "github.com/couponsd/couponsd/clients/go/gen/coupon/v1"
)

const (
	watchTimeout = 30 * time.Second
	maxBursts    = 20
	burstSize    = 500
	burstOf      = 1000 // the quantity of a burst's coupon
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: smoke HOST:PORT")
		os.Exit(2)
	}
	seen, err := smoke(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "smoke:", err)
		os.Exit(1)
	}
	line, err := json.Marshal(seen)
	if err != nil {
		panic(err) // a defect: the summary has strings and numbers only
	}
	fmt.Println(string(line))
}

type summary struct {
	Client             string   `json:"client"`
	CouponID           string   `json:"coupon_id"`
	Ticket             int64    `json:"ticket"`
	Reasons            []string `json:"reasons"`
	UnavailableRetries int      `json:"unavailable_retries"`
	OverloadedRetries  int      `json:"overloaded_retries"`
}

type client struct {
	user    couponv1.CouponServiceClient
	admin   couponv1.CouponAdminServiceClient
	retries *retries
}

func smoke(address string) (*summary, error) {
	ctx := context.Background() // coupons.Retry sets a deadline
	retries := &retries{pending: map[any]failure{}}
	conn, err := coupons.NewClient(address, coupons.Options{},
		grpc.WithUnaryInterceptor(retries.watch))
	if err != nil {
		return nil, fmt.Errorf("address %s: %w", address, err)
	}
	defer conn.Close()
	c := &client{couponv1.NewCouponServiceClient(conn), couponv1.NewCouponAdminServiceClient(conn), retries}

	fmt.Println("calling")
	coupon, err := c.create(ctx, 1)
	if err != nil {
		return nil, err
	}
	if retries.count().unavailable == 0 {
		return nil, errors.New("expected the first call to be retried after UNAVAILABLE, but it succeeded at once: " +
			"start the server after the line calling")
	}
	ticket, reasons, err := c.publish(ctx, coupon)
	if err != nil {
		return nil, err
	}
	if err := c.watch(ctx, coupon); err != nil {
		return nil, err
	}
	if err := c.list(ctx, coupon); err != nil {
		return nil, err
	}
	if err := c.fillIn(ctx); err != nil {
		return nil, err
	}
	if err := c.overload(ctx); err != nil {
		return nil, err
	}
	count := retries.count()
	if count.early != nil {
		return nil, count.early
	}
	return &summary{
		Client:             "go",
		CouponID:           strconv.FormatInt(coupon, 10),
		Ticket:             ticket,
		Reasons:            reasons,
		UnavailableRetries: count.unavailable,
		OverloadedRetries:  count.overloaded,
	}, nil
}

// create creates a coupon with a random id.
func (c *client) create(ctx context.Context, quantity int64) (int64, error) {
	// Ids below 2^53 are exact even where numbers are doubles.
	random, err := rand.Int(rand.Reader, big.NewInt(1<<53-1))
	if err != nil {
		return 0, err
	}
	id := random.Int64() + 1
	response, err := coupons.Retry(ctx, c.admin.CreateCoupon, &couponv1.CreateCouponRequest{
		Coupon:    &couponv1.Coupon{Id: id, Name: "smoke", Quantity: quantity},
		RequestId: rand.Text(),
	})
	if err != nil {
		return 0, fmt.Errorf("expected CreateCoupon to succeed, got %w", err)
	}
	if got := response.GetCoupon(); got.GetId() != id || got.GetQuantity() != quantity {
		return 0, fmt.Errorf("expected CreateCoupon to make coupon %d of %d, got %v", id, quantity, got)
	}
	return id, nil
}

func (c *client) request(ctx context.Context, coupon, user int64, id string) (*couponv1.PublishStatus, error) {
	response, err := coupons.Retry(ctx, c.user.RequestPublish,
		&couponv1.RequestPublishRequest{CouponId: coupon, UserId: user, RequestId: id})
	return response.GetStatus(), err
}

// publish requests the only coupon for user 1, repeats the request, and expects other requests to be refused. It
// returns the ticket, and the reasons of the refusals.
func (c *client) publish(ctx context.Context, coupon int64) (ticket int64, reasons []string, err error) {
	requestID := rand.Text()
	for _, try := range []string{"RequestPublish", "RequestPublish again with the same request_id"} {
		got, err := c.request(ctx, coupon, 1, requestID)
		if err != nil {
			return 0, nil, fmt.Errorf("expected %s to succeed, got %w", try, err)
		}
		accepted := got.GetState() == couponv1.PublishStatus_STATE_ACCEPTED ||
			got.GetState() == couponv1.PublishStatus_STATE_ISSUED
		if !accepted || got.GetTicket() != 1 || got.GetRequestId() != requestID {
			return 0, nil, fmt.Errorf("expected %s to give ticket 1 to request %s, got %v", try, requestID, got)
		}
		ticket = got.GetTicket()
	}
	for _, refused := range []struct {
		user               int64
		code               codes.Code
		reason, key, value string
	}{
		{1, codes.AlreadyExists, coupons.ReasonAlreadyRequested, "ticket", "1"},
		{2, codes.FailedPrecondition, coupons.ReasonSoldOut, "coupon_id", strconv.FormatInt(coupon, 10)},
	} {
		_, err := c.request(ctx, coupon, refused.user, rand.Text())
		if err := expect(err, refused.code, refused.reason, refused.key, refused.value); err != nil {
			return 0, nil, fmt.Errorf("another request, of user %d: %w", refused.user, err)
		}
		reasons = append(reasons, coupons.Reason(err))
	}
	return ticket, reasons, nil
}

// expect returns an error if err has another code, reason or metadata.
func expect(err error, code codes.Code, reason, key, value string) error {
	info := coupons.Info(err)
	if status.Code(err) != code || info.GetReason() != reason || info.GetMetadata()[key] != value {
		return fmt.Errorf("expected %v, reason %s with %s=%s, got %v, reason %q with %v",
			code, reason, key, value, err, info.GetReason(), info.GetMetadata())
	}
	return nil
}

// watch follows the request of user 1 to the end of the stream.
func (c *client) watch(ctx context.Context, coupon int64) error {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	stream, err := c.user.WatchStatus(ctx, &couponv1.WatchStatusRequest{CouponId: coupon, UserId: 1})
	if err != nil {
		return fmt.Errorf("expected WatchStatus to start, got %w", err)
	}
	var last *couponv1.PublishStatus
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("expected WatchStatus to end well, got %w after %v", err, last)
		}
		last = response.GetStatus()
	}
	if last.GetState() != couponv1.PublishStatus_STATE_ISSUED || last.GetTicket() != 1 {
		return fmt.Errorf("expected WatchStatus to end with STATE_ISSUED and ticket 1, got %v", last)
	}
	return nil
}

// list expects user 1 to hold the coupon. It may be on any page, since earlier runs on the same server left coupons
// too.
func (c *client) list(ctx context.Context, coupon int64) error {
	request := &couponv1.ListUserCouponsRequest{UserId: 1}
	for {
		page, err := coupons.Retry(ctx, c.user.ListUserCoupons, request)
		if err != nil {
			return fmt.Errorf("expected ListUserCoupons to succeed, got %w", err)
		}
		for _, held := range page.GetUserCoupons() {
			if held.GetCouponId() == coupon && held.GetUserId() == 1 && held.GetTicket() == 1 {
				return nil
			}
		}
		if page.GetNextPageToken() == "" {
			return fmt.Errorf("expected ListUserCoupons to list coupon %d, but it does not", coupon)
		}
		request = &couponv1.ListUserCouponsRequest{UserId: 1, PageToken: page.GetNextPageToken()}
	}
}

// fillIn calls without a request_id. Retry sends the same random id on each try, so a lost response does not make the
// call count twice.
func (c *client) fillIn(ctx context.Context) error {
	coupon, err := c.create(ctx, 2)
	if err != nil {
		return err
	}
	got, err := c.request(ctx, coupon, 1, "")
	if err != nil || got.GetRequestId() == "" {
		return fmt.Errorf("expected RequestPublish to be sent with a random request_id, got %v, %v", got, err)
	}
	var ids []string
	request := &couponv1.AddQuantityRequest{CouponId: coupon, Quantity: 3}
	response, err := coupons.Retry(ctx, func(ctx context.Context, try *couponv1.AddQuantityRequest,
		options ...grpc.CallOption) (*couponv1.AddQuantityResponse, error) {
		ids = append(ids, try.GetRequestId())
		response, err := c.admin.AddQuantity(ctx, try, options...)
		if err == nil && len(ids) == 1 {
			return nil, status.Error(codes.Unavailable, "the response was lost")
		}
		return response, err
	}, request)
	if quantity := response.GetCoupon().GetQuantity(); err != nil || quantity != 5 || len(ids) != 2 || ids[0] != ids[1] ||
		request.GetRequestId() != "" {
		return fmt.Errorf("expected 3 to be added once in two tries, got %d with ids %q, %v", quantity, ids, err)
	}
	return nil
}

// overload sends bursts until a try is answered OVERLOADED. Retry must hide that from the caller.
func (c *client) overload(ctx context.Context) error {
	for range maxBursts {
		coupon, err := c.create(ctx, burstOf)
		if err != nil {
			return err
		}
		if err := c.burst(ctx, coupon); err != nil {
			return err
		}
		if count := c.retries.count(); count.overloaded > 0 || count.early != nil {
			return count.early
		}
	}
	return fmt.Errorf("expected OVERLOADED with a retry_delay in %d bursts of %d requests, got none: "+
		"is flow.queue_size small?", maxBursts, burstSize)
}

// burst sends requests of many users at once. Each user must get a different ticket.
func (c *client) burst(ctx context.Context, coupon int64) error {
	var all sync.WaitGroup
	tickets, failures := make([]int64, burstSize), make([]error, burstSize)
	for i := range burstSize {
		all.Go(func() {
			got, err := c.request(ctx, coupon, int64(i+1), rand.Text())
			tickets[i], failures[i] = got.GetTicket(), err
		})
	}
	all.Wait()
	holders := map[int64]int{}
	for i, ticket := range tickets {
		user := i + 1
		if failures[i] != nil {
			return fmt.Errorf("expected each request of a burst to succeed in the end, got %w for user %d",
				failures[i], user)
		}
		if other, taken := holders[ticket]; taken || ticket < 1 || ticket > burstOf {
			return fmt.Errorf("expected distinct tickets from 1 to %d, got %d for user %d (and for user %d)",
				burstOf, ticket, user, other)
		}
		holders[ticket] = user
	}
	return nil
}

// retries is an interceptor below coupons.Retry. It sees each try, and counts the retries and those that came too
// early.
type retries struct {
	mutex   sync.Mutex
	pending map[any]failure // by request: the failure of its last try
	counts  counts
}

type failure struct {
	code      codes.Code
	reason    string
	notBefore time.Time
	delay     time.Duration
}

type counts struct {
	unavailable, overloaded int
	early                   error // the first try that came before RetryInfo allows it
}

func (r *retries) count() counts {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.counts
}

func (r *retries) watch(ctx context.Context, method string, request, response any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	r.begin(request)
	err := invoke(ctx, method, request, response, conn, options...)
	r.end(request, err)
	return err
}

func (r *retries) begin(request any) {
	now := time.Now()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	last, again := r.pending[request]
	if !again {
		return
	}
	delete(r.pending, request)
	switch {
	case now.Before(last.notBefore) && r.counts.early == nil:
		r.counts.early = fmt.Errorf("expected a retry after %v (RetryInfo) or later, got one %v too early",
			last.delay, last.notBefore.Sub(now))
	case last.code == codes.Unavailable:
		r.counts.unavailable++
	case last.code == codes.ResourceExhausted && last.reason == coupons.ReasonOverloaded && last.delay > 0:
		r.counts.overloaded++
	}
}

func (r *retries) end(request any, err error) {
	if err == nil {
		return
	}
	delay := coupons.RetryDelay(err)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.pending[request] = failure{status.Code(err), coupons.Reason(err), time.Now().Add(delay), delay}
}
