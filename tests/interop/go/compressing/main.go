// SPDX-License-Identifier: Apache-2.0

// A grpc-go interop server that supports the cases for compression, which grpc-go's own server does not. It refuses
// requests whose compression contradicts expect_compressed, and compresses the responses that should be compressed.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

type compressedKey struct{}

// Notes in the call's context whether its last message came compressed. The messages of a call come one by one.
type watcher struct{}

func (watcher) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, compressedKey{}, new(atomic.Bool))
}

func (watcher) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if payload, ok := event.(*stats.InPayload); ok {
		ctx.Value(compressedKey{}).(*atomic.Bool).Store(payload.CompressedLength != payload.Length)
	}
}

func (watcher) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (watcher) HandleConn(context.Context, stats.ConnStats)                       {}

func check(ctx context.Context, expected *testgrpc.BoolValue) error {
	came := ctx.Value(compressedKey{}).(*atomic.Bool).Load()
	if expected != nil && expected.Value != came {
		return status.Errorf(codes.InvalidArgument, "compressed: %v, and not %v", came, expected.Value)
	}
	return nil
}

type server struct {
	testgrpc.TestServiceServer
}

func (s server) UnaryCall(ctx context.Context, request *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	if err := check(ctx, request.GetExpectCompressed()); err != nil {
		return nil, err
	}
	// By default, grpc-go compresses the response to a compressed request.
	compressor := "identity"
	if request.GetResponseCompressed().GetValue() {
		compressor = "gzip"
	}
	if err := grpc.SetSendCompressor(ctx, compressor); err != nil {
		return nil, err
	}
	return s.TestServiceServer.UnaryCall(ctx, request)
}

func (s server) StreamingInputCall(stream testgrpc.TestService_StreamingInputCallServer) error {
	return s.TestServiceServer.StreamingInputCall(checked{stream})
}

type checked struct {
	testgrpc.TestService_StreamingInputCallServer
}

func (s checked) Recv() (*testgrpc.StreamingInputCallRequest, error) {
	request, err := s.TestService_StreamingInputCallServer.Recv()
	if err == nil {
		err = check(s.Context(), request.GetExpectCompressed())
	}
	return request, err
}

// Compresses each message if its parameters ask for that.
type chosen struct {
	testgrpc.TestService_StreamingOutputCallServer
	left []*testgrpc.ResponseParameters
}

func (c *chosen) Send(response *testgrpc.StreamingOutputCallResponse) error {
	compressed := c.left[0].GetCompressed().GetValue()
	c.left = c.left[1:]
	if compressed {
		return c.TestService_StreamingOutputCallServer.Send(response)
	}
	// The stream chose its encoding at its start: no compressor, because its request came without one.
	plain := &grpc.PreparedMsg{}
	if err := plain.Encode(c.TestService_StreamingOutputCallServer, response); err != nil {
		return err
	}
	return c.SendMsg(plain)
}

func (s server) StreamingOutputCall(request *testgrpc.StreamingOutputCallRequest,
	stream testgrpc.TestService_StreamingOutputCallServer) error {
	for _, parameters := range request.GetResponseParameters() {
		if parameters.GetCompressed().GetValue() {
			if err := grpc.SetSendCompressor(stream.Context(), "gzip"); err != nil {
				return err
			}
			break
		}
	}
	return s.TestServiceServer.StreamingOutputCall(request, &chosen{stream, request.GetResponseParameters()})
}

func main() {
	port := flag.Int("port", 0, "")
	flag.Parse()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	serving := grpc.NewServer(grpc.StatsHandler(watcher{}))
	testgrpc.RegisterTestServiceServer(serving, server{interop.NewTestServer()})
	fmt.Printf("listening %s\n", listener.Addr())
	log.Fatal(serving.Serve(listener))
}
