// SPDX-License-Identifier: Apache-2.0

// Requests a coupon for a user: go run . HOST:PORT COUPON USER
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"

	"github.com/couponsd/couponsd/clients/go/coupons"
	couponv1 "github.com/couponsd/couponsd/clients/go/gen/coupon/v1"
)

func number(text string) int64 {
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: go run . HOST:PORT COUPON USER")
	}
	conn, err := coupons.NewClient(os.Args[1], coupons.Options{})
	if err != nil {
		log.Fatal(err)
	}
	client := couponv1.NewCouponServiceClient(conn)
	response, err := coupons.Retry(context.Background(), client.RequestPublish,
		&couponv1.RequestPublishRequest{CouponId: number(os.Args[2]), UserId: number(os.Args[3])})
	if reason := coupons.Reason(err); reason != "" {
		log.Fatal("refused: ", reason)
	} else if err != nil {
		log.Fatal(err)
	}
	fmt.Println("accepted, ticket", response.Status.Ticket)
}
