// SPDX-License-Identifier: Apache-2.0

// probe NAME=VALUE...: makes the calls that tests/clients asks for, on one connection. The options are target, tls, ca,
// certificate, key, server_name, token and plaintext_token. Each line of stdin is a call, "request COUPON USER
// TIMEOUT_MS" or "watch COUPON USER", and is answered by a line of JSON on stdout.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/couponsd/couponsd/clients/go/coupons"
	couponv1 "github.com/couponsd/couponsd/clients/go/gen/coupon/v1"
)

type end struct {
	Code    codes.Code `json:"code"`
	Reason  string     `json:"reason"`
	Ticket  int64      `json:"ticket"`
	Retries int        `json:"retries"`
}

func main() {
	given := map[string]string{}
	for _, argument := range os.Args[1:] {
		name, value, _ := strings.Cut(argument, "=")
		given[name] = value
	}
	connection, err := coupons.NewClient(given["target"], coupons.Options{
		TLS: given["tls"] != "", CA: given["ca"], Certificate: given["certificate"], Key: given["key"],
		ServerName: given["server_name"], Token: given["token"], PlaintextToken: given["plaintext_token"] != "",
	})
	if err != nil {
		print(map[string]string{"error": err.Error()})
		return
	}
	client := couponv1.NewCouponServiceClient(connection)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var coupon, user, timeoutMS int64
		if n, _ := fmt.Sscanf(lines.Text(), "request %d %d %d", &coupon, &user, &timeoutMS); n == 3 {
			print(request(client, coupon, user, time.Duration(timeoutMS)*time.Millisecond))
		} else if n, _ := fmt.Sscanf(lines.Text(), "watch %d %d", &coupon, &user); n == 2 {
			print(watch(client, coupon, user))
		}
	}
}

func request(client couponv1.CouponServiceClient, coupon, user int64, timeout time.Duration) end {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	tries := 0
	response, err := coupons.Retry(ctx, func(ctx context.Context, request *couponv1.RequestPublishRequest,
		options ...grpc.CallOption) (*couponv1.RequestPublishResponse, error) {
		tries++
		return client.RequestPublish(ctx, request, options...)
	}, &couponv1.RequestPublishRequest{CouponId: coupon, UserId: user})
	return end{status.Code(err), coupons.Reason(err), response.GetStatus().GetTicket(), tries - 1}
}

func watch(client couponv1.CouponServiceClient, coupon, user int64) end {
	stream, err := client.WatchStatus(context.Background(), &couponv1.WatchStatusRequest{CouponId: coupon, UserId: user})
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return end{Code: status.Code(err), Reason: coupons.Reason(err)}
}

func print(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}
