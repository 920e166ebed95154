package secretmanager

import (
	"context"
	"fmt"
	"net"
	"path"

	pb "cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Fault is called around every RPC with its short name, such as "AddSecretVersion". It may fail instead of calling next,
// call next and fail then, which is an answer that got lost, or alter the answer.
type Fault func(ctx context.Context, method string, next func() (any, error)) (any, error)

// Serve serves s on a free local port until stop is called. The options make Google's client talk to it. A nil fault
// leaves every call alone.
func Serve(s *Service, fault Fault) (options []option.ClientOption, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("serve Secret Manager: %w", err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(intercept(fault)))
	pb.RegisterSecretManagerServiceServer(server, s)
	go server.Serve(listener)
	return []option.ClientOption{
		option.WithEndpoint(listener.Addr().String()),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}, server.Stop, nil
}

func intercept(fault Fault) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		if fault == nil {
			return handle(ctx, request)
		}
		return fault(ctx, path.Base(info.FullMethod), func() (any, error) { return handle(ctx, request) })
	}
}
