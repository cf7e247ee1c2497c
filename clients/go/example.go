// SPDX-License-Identifier: Apache-2.0

// Requests coupon 7 for user 42 from the couponsd at 127.0.0.1:50051. Run it with: go run .
package main

import (
	"context"
	"fmt"
	"log"

	"couponsd/clients/go/coupons"
	couponv1 "couponsd/clients/go/gen/coupon/v1"
)

func main() {
	conn, err := coupons.NewClient("127.0.0.1:50051", coupons.Options{})
	if err != nil {
		log.Fatal(err)
	}
	client := couponv1.NewCouponServiceClient(conn)
	response, err := coupons.Retry(context.Background(), client.RequestPublish,
		&couponv1.RequestPublishRequest{CouponId: 7, UserId: 42, RequestId: "a1"})
	if coupons.Reason(err) == coupons.ReasonSoldOut {
		log.Fatal("sold out")
	} else if err != nil {
		log.Fatal(err)
	}
	fmt.Println("accepted, ticket", response.Status.Ticket)
}
