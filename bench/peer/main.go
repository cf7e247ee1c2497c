// SPDX-License-Identifier: Apache-2.0

// The refusal of a sold-out coupon by grpc-go, as a ceiling for ./dev bench: it knows the answer at once, and has its
// details packed before. Prints "listening HOST:PORT".
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// requestPublish decodes the request; its fields stay unknown ones.
func requestPublish(refusal error) grpc.MethodHandler {
	return func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		if err := decode(new(emptypb.Empty)); err != nil {
			return nil, err
		}
		return nil, refusal
	}
}

func main() {
	refused, err := status.New(codes.FailedPrecondition, "coupon 1 is sold out").WithDetails(&errdetails.ErrorInfo{
		Reason: "SOLD_OUT", Domain: "coupon.v1", Metadata: map[string]string{"coupon_id": "1"}})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "coupon.v1.CouponService",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "RequestPublish", Handler: requestPublish(refused.Err())}},
	}, nil)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-stop
		server.Stop()
	}()
	fmt.Printf("listening %s\n", listener.Addr())
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
